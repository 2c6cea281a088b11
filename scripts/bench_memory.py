"""How much memory the daemon takes with a long queue and many photos in flight, and whether it grows.

A real daemon with its decoding processes; a model server that answers after a while. What is counted is the
resident memory of the whole process tree, beside that of a daemon with nothing to do.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench_machine import machine, positive, told

SIDE = 64  # pixels of a photo: small, so that the queue and not the decoding is measured
WITHIN_MB = 300  # above the idle daemon's
PATIENCE = 900.0  # seconds for the queue to fill

EXAMPLES = """\
examples:
  scripts/bench memory
  scripts/bench memory --photos 10000 --seconds 30 --json
"""


def add_parser(subjects: Any) -> None:
    """Add this subject to the command line."""
    parser = subjects.add_parser(
        "memory",
        help="memory with a long queue",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=positive, default=100_000, metavar="N", help="in the queue (100000)")
    parser.add_argument("--workers", type=positive, default=64, metavar="N", help="in flight (64)")
    parser.add_argument("--seconds", type=positive, default=120, metavar="N", help="of watching (120)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure the idle daemon, then the busy one, and print both."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, server() as url:
        root = Path(name)
        with daemon(root / "idle", url, arguments.workers) as idle:
            wait_for(lambda: status(root / "idle").get("phase") == "running")
            time.sleep(5)  # the decoding processes load their libraries
            at_rest = resident(idle)
        busy_root = root / "busy"
        draw(busy_root / "inbox", arguments.photos)
        with daemon(busy_root, url, arguments.workers) as busy:
            wait_for(lambda: queued(busy_root) >= arguments.photos)
            samples = []
            until = time.monotonic() + arguments.seconds
            while time.monotonic() < until:
                samples.append(resident(busy) - at_rest)
                time.sleep(1)
            done = status(busy_root)
    half = len(samples) // 2
    found = {
        "queued": arguments.photos,
        "in_flight": len(done["current"]),
        "finished_meanwhile": done["finished"],
        "idle_mb": round(at_rest / 1e6, 1),
        "more_at_most_mb": round(max(samples) / 1e6, 1),
        "more_first_half_mb": round(float(np.median(samples[:half])) / 1e6, 1),
        "more_second_half_mb": round(float(np.median(samples[half:])) / 1e6, 1),
        "within": max(samples) <= WITHIN_MB * 1e6,
    }
    about = machine(seconds=arguments.seconds)
    if arguments.json:
        print(json.dumps({"machine": about, **found}))
        return
    print(f"{told(about)}\n\n| | |\n|---|---:|")
    for key, value in found.items():
        print(f"| {key.replace('_', ' ')} | {value} |")


def draw(folder: Path, count: int) -> None:
    """Fill a folder with small photos, each another picture."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1)
    for number in range(count):
        place = folder / f"{number // 1000:03}"
        place.mkdir(exist_ok=True)
        small = noise.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE)).save(place / f"{number:06}.jpg", quality=70)


@contextmanager
def server() -> Iterator[str]:
    """Run the benchmarks' model server; give its base URL."""
    script = Path(__file__).with_name("bench_server.py")
    command = [sys.executable, str(script), "--slots", "64", "--seconds", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def daemon(root: Path, url: str, workers: int) -> Iterator[int]:
    """Run a daemon with a folder of its own; give its process id."""
    inbox = root / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    entry = {
        "name": "bench",
        "backend": "vllm",
        "served_model_id": "bench-vlm",
        "roles": ["caption", "keywords", "description"],
        "capabilities": {"vision": True},
        "serving": {"endpoints": [url], "limits": {"start": workers, "max": workers}},
    }
    (root / "registry.json").write_text(json.dumps([entry]))
    (root / "config.toml").write_text(
        f'folders = ["{inbox}"]\nstate_dir = "{root}/state"\nregistry = "{root}/registry.json"\n'
        f"max_workers = {workers}\n[intake]\nsettle_seconds = 0\n"
    )
    command = [str(Path(sys.executable).with_name("tagger-daemon")), "run", "--config", f"{root}/config.toml"]
    with (root / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


def resident(pid: int) -> int:
    """Return the resident memory of a process and all below it, bytes; shared pages count once each."""
    total = 0
    for member in tree(pid):
        try:
            rollup = Path(f"/proc/{member}/smaps_rollup").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended this moment
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
    return total


def tree(pid: int) -> Iterator[int]:
    """Yield a process and its children's children."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="utf-8").split():
            yield from tree(int(child))


def status(root: Path) -> dict[str, Any]:
    """Return what the daemon last said of itself; empty before it said anything."""
    file = root / "state" / "status.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def queued(root: Path) -> int:
    """Return how many photos were ever queued; none before the daemon has said that it is ready."""
    if status(root).get("phase") != "running":
        return 0
    uri = f"file:{root}/state/tagger.sqlite3?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        count: int = db.execute("SELECT count(*) FROM job").fetchone()[0]
        return count


def wait_for(condition: Any) -> None:
    """Wait until something in the daemon has come to pass."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("the daemon did not get there in time")
        time.sleep(0.2)
