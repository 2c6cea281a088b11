"""How well the models' servers are kept busy, and what a photo costs this machine.

*Saturation*: against a server that takes c requests at once, each t seconds, no more than c / (3 t) photos a
second can be finished. Only asking is measured, with a picture that is ready.

*Whole*: a real daemon with photos of 24 megapixels and a server that answers at once, beside what the
decoding processes alone can do, and the CPU time of all its processes beside that of the floor:
libjpeg-turbo's scaled decode, a resize and an encode of the same file. The floor is measured twice: by one
process alone, and by as many beside each other as the daemon decodes with, since two threads of one core slow
each other down. *Once warm* leaves out the first few photos, with which things are loaded that stay.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import bench_decode
from bench_machine import machine, positive, told
from tagger_daemon.model import Draft, Facts, Fingerprint, Photo, Picture, Stage
from tagger_daemon.settings import ImageSettings
from tagger_daemon.vision.asker import Asker
from tagger_daemon.vision.entry import Entry, Limits
from tagger_daemon.vision.image import Preparer
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.profile import load_profile

MODEL = "bench-vlm"
SECONDS = (0.05, 0.2, 1.0)
SLOTS = (1, 4, 16, 64)
LEAST_SECONDS = 6.0  # that a case is measured
FIRST_SECONDS = 2.0  # that are not counted
AHEAD = 8  # photos in flight beyond the server's places
EDGE = 1024  # pixels
QUALITY = 90  # of photos; makes 5 MB

CORES = len(os.sched_getaffinity(0))
FIRST = 8  # photos at most, after which everything is loaded
FLOOR = 16  # photos that the floor is measured on

SATURATED = 0.95
PREPARED = 0.90
CPU = 1.5

EXAMPLES = """\
examples:
  scripts/bench vision
  scripts/bench vision --part saturation --seconds 0.05 --slots 64
  scripts/bench vision --part whole --photos 100 --quality 95 --json
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One server, and how well it was kept busy."""

    seconds: float  # of one request
    slots: int  # requests at once
    start: int  # requests at once that we began with; the server's places or fewer
    most: int  # requests at once that we allowed ourselves
    photos: float  # finished a second
    limit: float  # the server's own
    ratio: float
    cpu: float  # of one core, how much we took


def add_parser(subjects: Any) -> None:
    """Add this subject to the command line."""
    parser = subjects.add_parser(
        "vision",
        help="how busy servers are kept, and what a photo costs",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=["saturation", "whole"], help="one part only")
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, metavar="T", help="a request")
    parser.add_argument("--slots", type=positive, nargs="+", default=SLOTS, metavar="C", help="at once")
    parser.add_argument("--photos", type=positive, default=40, metavar="N", help="for the whole (40)")
    parser.add_argument(
        "--workers", type=positive, default=CORES, metavar="N", help=f"that decode ({CORES}: all cores)"
    )
    parser.add_argument(
        "--quality", type=positive, default=QUALITY, metavar="Q", help=f"of the photos as JPEGs ({QUALITY})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    about = machine()
    found: dict[str, Any] = {"machine": about}
    if arguments.part != "whole":
        found["saturation"] = [
            asdict(case)
            for seconds in arguments.seconds
            for slots in arguments.slots
            for case in saturation(seconds, slots)
        ]
    if arguments.part != "saturation":
        found["whole"] = whole(arguments.photos, arguments.quality, arguments.workers)
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{told(about)}\n")
    if "saturation" in found:
        print("| s a request | at once | began with | at most | photos/s | limit | ratio | our CPU |")
        print("|---:|---:|---:|---:|---:|---:|---:|---:|")
        for case in found["saturation"]:
            print(f"| {' | '.join(map(str, case.values()))} |")
    if "whole" in found:
        print("\n| | |\n|---|---:|")
        for key, value in found["whole"].items():
            print(f"| {key.replace('_', ' ')} | {value} |")


def saturation(seconds: float, slots: int) -> Iterator[Case]:
    """Measure one server: held to its number of places, and with that found out."""
    yield asyncio.run(saturate(seconds, slots, Limits(start=slots, max=slots)))
    yield asyncio.run(saturate(seconds, slots, Limits(start=min(4, slots), max=max(4, 2 * slots))))


async def saturate(seconds: float, slots: int, limits: Limits) -> Case:
    """Ask about photos for a while; what counts is between the first and the last third."""
    with server(slots, seconds) as url:
        entry = Entry(
            name="bench",
            backend="vllm",
            dialect="vllm",
            served_model=MODEL,
            endpoints=(url,),
            vision=True,
            limits=limits,
        )
        profile = load_profile("default")
        pool = Pool([entry], keys={})
        await pool.start()
        asker = Asker(
            chains=dict.fromkeys(Stage, (entry,)),
            registry_hash="",
            profile_of=lambda _: profile,
            max_keywords=15,
            long_edge=EDGE,
            hemisphere=None,
            chat=pool,
        )
        picture = a_picture()
        ends: list[float] = []  # of requests
        count = iter(range(10**9))
        # Twice as long for the case that has to find out: the first half is for that.
        # Else the first photos, for which dictionaries are loaded.
        warm_up = LEAST_SECONDS if limits.start < slots else max(FIRST_SECONDS, 4 * seconds)
        until = time.monotonic() + warm_up + LEAST_SECONDS + 4 * seconds

        async def work() -> None:
            while time.monotonic() < until:
                conversation = asker.show(a_photo(next(count)), {EDGE: picture}, Facts())
                draft = Draft()
                for stage in Stage:
                    answer = await conversation.ask(stage, draft)
                    ends.append(time.monotonic())
                    draft = draft.with_answer(stage, answer)

        begin, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(work() for _ in range(limits.max + AHEAD)))
        cpu = (time.process_time() - cpu) / (time.monotonic() - begin)
        await pool.close()
    counted = [end for end in ends if begin + warm_up + 3 * seconds <= end <= until]
    rate = photos_a_second(counted, slots)
    limit = slots / (3 * seconds)
    return Case(
        seconds=seconds,
        slots=slots,
        start=limits.start,
        most=limits.max,
        photos=round(rate, 2),
        limit=round(limit, 2),
        ratio=round(rate / limit, 3),
        cpu=round(cpu, 2),
    )


def photos_a_second(ends: list[float], slots: int) -> float:
    """Return the rate at which requests ended, by three.

    Requests that began together end together, so that it matters where one begins and ends to count: from one
    such moment to another there is one lot too many. What is taken is the time from the middle of the first
    `slots` ends to that of the last.
    """
    if len(ends) < 2 * slots:
        return 0.0
    seconds = statistics.fmean(ends[-slots:]) - statistics.fmean(ends[:slots])
    return (len(ends) - slots) / seconds / len(Stage)


def whole(count: int, quality: int, workers: int) -> dict[str, Any]:
    """Measure a real daemon on large photos, the decoding alone, and the floor."""
    few = min(FIRST, count // 2)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, server(64, 0.0) as url:
        root = Path(name)
        photos = draw(root / "drawn", count, quality)
        megabytes = sum(photo.stat().st_size for photo in photos) / count / 1e6
        alone = asyncio.run(prepare(photos, workers))
        floor = floor_seconds(photos[:FLOOR])
        beside = floor_beside(photos[:FLOOR], workers)
        _, rest = daemon(root / "rest", url, [], workers)
        _, first = daemon(root / "first", url, photos[:few], workers)
        rate, spent = daemon(root / "busy", url, photos, workers)
    cpu = (spent - rest) / count
    warm = (spent - first) / (count - few)
    return {
        "photos": count,
        "decoding_processes": workers,
        "megabytes_a_photo": round(megabytes, 1),
        "prepared_alone_a_second": round(alone, 2),
        "finished_a_second": round(rate, 2),
        "finished_to_prepared": round(rate / alone, 2),
        "cpu_ms_a_photo": round(1000 * cpu, 1),
        "cpu_ms_a_photo_once_warm": round(1000 * warm, 1),
        "floor_ms_a_photo": round(1000 * floor, 1),
        "floor_ms_a_photo_beside_each_other": round(1000 * beside, 1),
        "cpu_to_floor": round(cpu / floor, 2),
        "cpu_once_warm_to_floor_beside_each_other": round(warm / beside, 2),
    }


def draw(folder: Path, count: int, quality: int) -> list[Path]:
    """Draw photos of 24 megapixels, each another picture."""
    folder.mkdir()
    pixels = np.asarray(Image.open(io.BytesIO(bench_decode.draw())))
    paths = []
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        Image.fromarray(np.roll(pixels, 97 * number, axis=1)).save(path, quality=quality, subsampling="4:2:0")
        paths.append(path)
    return paths


async def prepare(photos: list[Path], workers: int) -> float:
    """Return how many photos a second the decoding processes alone make ready."""
    preparer = Preparer(ImageSettings(workers=workers))
    preparer.start()
    await asyncio.gather(*(preparer.prepare(photo) for photo in photos[:workers]))
    start = time.monotonic()
    await asyncio.gather(*(preparer.prepare(photo) for photo in photos))
    seconds = time.monotonic() - start
    await preparer.close()
    return len(photos) / seconds


def floor_seconds(photos: list[Path]) -> float:
    """Return the CPU seconds of the least that could be done about one photo."""
    jpegs = [photo.read_bytes() for photo in photos]
    bench_decode.pillow(jpegs[0], 1)
    start = time.process_time()
    for jpeg in jpegs:
        bench_decode.pillow(jpeg, 1)
    return (time.process_time() - start) / len(jpegs)


def floor_beside(photos: list[Path], workers: int) -> float:
    """Return the same as `floor_seconds`, for so many processes at once."""
    context = multiprocessing.get_context("spawn")
    together, found = context.Barrier(workers), context.SimpleQueue()
    processes = [context.Process(target=floor_of_one, args=(photos, together, found)) for _ in range(workers)]
    for process in processes:
        process.start()
    seconds: list[float] = [found.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(seconds) / workers


def floor_of_one(photos: list[Path], together: Barrier, found: Any) -> None:
    """Measure the floor in a process of its own, beginning when all have loaded what they need."""
    bench_decode.pillow(photos[0].read_bytes(), 1)
    together.wait()
    found.put(floor_seconds(photos))


def daemon(root: Path, url: str, photos: list[Path], workers: int) -> tuple[float, float]:
    """Let a daemon do these photos; return how many a second it finished, and the CPU seconds of it all."""
    inbox = root / "inbox"
    inbox.mkdir(parents=True)
    for photo in photos:
        (inbox / photo.name).write_bytes(photo.read_bytes())
    entry = {
        "name": "bench",
        "backend": "vllm",
        "served_model_id": MODEL,
        "roles": ["caption", "keywords", "description"],
        "capabilities": {"vision": True},
        "serving": {"endpoints": [url], "limits": {"start": 16, "max": 16}},
    }
    (root / "registry.json").write_text(json.dumps([entry]))
    (root / "config.toml").write_text(
        f'folders = ["{inbox}"]\nstate_dir = "{root}/state"\nregistry = "{root}/registry.json"\n'
        f"[intake]\nsettle_seconds = 0\n[image]\nworkers = {workers}\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = Path(sys.executable).with_name("tagger-daemon")
    with (root / "log").open("wb") as log:
        command = [str(program), "run", "--once", "--config", f"{root}/config.toml"]
        subprocess.run(command, stdout=log, stderr=log, check=bool(photos))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for file in (root / "state" / "audit").glob("*.jsonl") for line in file.open()]
    ends = sorted(datetime.fromisoformat(json.loads(line)["finished_at"]).timestamp() for line in lines)
    steady = ends[len(ends) // 5 :]  # without the start, when everything is loaded for the first time
    rate = (len(steady) - 1) / (steady[-1] - steady[0]) if len(steady) > 1 else 0.0
    return rate, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def server(slots: int, seconds: float) -> Iterator[str]:
    """Run the benchmarks' model server; give its base URL."""
    script = Path(__file__).with_name("bench_server.py")
    command = [sys.executable, str(script), "--slots", str(slots), "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def a_picture() -> Picture:
    """Return a picture of the usual size."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (171, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((EDGE, 683)).save(buffer, "JPEG", quality=85)
    return Picture(jpeg=buffer.getvalue(), width=EDGE, height=683)


def a_photo(number: int) -> Photo:
    """Return a photo that only its name is asked of."""
    fingerprint = Fingerprint(size=number, mtime_ns=number, inode=number)
    return Photo(path=Path(f"/photos/{number}.jpg"), folder=Path("/photos"), fingerprint=fingerprint)
