"""Shows the whole job without a GPU: a demo inbox, the daemon, the describing server that comes with it.

Run it by `scripts/quickstart [FOLDER]`, which sets up what it needs. FOLDER is only read: up to 50 of its
photos are copied, and the copies are described.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from make_samples import make_inbox
from tagger_daemon.intake.eligible import Eligibility

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
MOST_PHOTOS = 50
SIDECARS = (".xmp", ".XMP")

CONFIG = """\
# Made by scripts/quickstart for a first look. A real one: config/tagger-daemon.example.toml
folders = [{inbox}]
state_dir = {state}
registry = {registry}
max_workers = 4
log_level = "WARNING"

[intake]
settle_seconds = 0.5

[queue]
backoff_seconds = 1
"""

NEXT = """
Next:
  Look at what was written   exiftool -XMP:Title -XMP:Subject -XMP:Description {inbox}
  Use your own GPU server    copy config/registry.example.json, put in your server's address and model,
                             and name that file as `registry` in a configuration like
                             {config}
                             README.md has vLLM, LMDeploy, Ollama and llama-server. To check it:
                             {command} doctor --config FILE
  Keep it running            sudo scripts/install-service --help

The words above come from a built-in describer that names only what can be measured: colours, light,
layout, and what the file itself says of date and place. A vision model says what is in the picture.
"""


def main() -> int:
    """Prepare the demo, run the daemon over it once, and say what comes next."""
    parser = argparse.ArgumentParser(prog="scripts/quickstart", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="photos of yours; copies are described")
    source: Path | None = parser.parse_args().folder
    if source is not None and not source.is_dir():
        parser.error(f"{source} is not a folder")
    home = _home(source)
    inbox = home / "inbox"
    _fill(inbox, source)
    config = _configure(home, inbox)
    command = Path(sys.executable).with_name("tagger-daemon")
    status = _run([command, "run", "--once", "--config", config])
    if status in (0, 1):  # all described, or all but some
        print(NEXT.format(inbox=inbox, config=config, command=command))
    return status


def _run(command: list[str | Path]) -> int:
    """Run the daemon; Ctrl-C reaches it too, and it ends in good order."""
    with subprocess.Popen(command) as daemon:
        while True:
            try:
                return daemon.wait()
            except KeyboardInterrupt:
                _say("stopping; the same command again continues where it stopped")


def _home(source: Path | None) -> Path:
    """One folder of its own for each source, so that a second run finds what the first one did."""
    if source is None:
        return DEMO / "samples"
    path = source.resolve()
    return DEMO / f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _fill(inbox: Path, source: Path | None) -> None:
    if source is None:
        if not inbox.exists():
            _say(f"drawing sample photos into {inbox}")
            # Under another name first: an interrupted drawing must not pass for a whole inbox.
            fresh = inbox.with_name("inbox.new")
            shutil.rmtree(fresh, ignore_errors=True)
            make_inbox(fresh)
            fresh.rename(inbox)
        return
    photos = list(_photos(source.resolve()))
    copied = 0
    for photo in photos[:MOST_PHOTOS]:
        for path in (photo, *_sidecars(photo)):
            target = inbox / path.relative_to(source.resolve())
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                # Originals may be write-protected; the copies are there to be written to.
                target.chmod(target.stat().st_mode | stat.S_IWUSR)
                copied += path == photo
    more = f" (the first {MOST_PHOTOS} of {len(photos)})" if len(photos) > MOST_PHOTOS else ""
    _say(f"{copied} photos of {source} copied to {inbox}{more}; the originals are not touched")
    inbox.mkdir(parents=True, exist_ok=True)


def _photos(source: Path) -> Iterator[Path]:
    eligibility = Eligibility()
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if eligibility.folder(name))
        for name in sorted(names):
            path = Path(folder, name)
            if eligibility.photo(name) and path.is_file() and DEMO not in path.parents:
                yield path


def _sidecars(photo: Path) -> list[Path]:
    names = [photo.with_suffix(suffix) for suffix in SIDECARS] + [Path(f"{photo}{end}") for end in SIDECARS]
    return [path for path in names if path.is_file()]


def _configure(home: Path, inbox: Path) -> Path:
    """Write a registry with the built-in describer alone, on a free port, and a configuration with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    entries = json.loads((ROOT / "config" / "registry.example.json").read_text(encoding="utf-8"))
    builtin = next(entry for entry in entries if entry["backend"] == "builtin")
    builtin["serving"]["endpoints"] = [f"http://127.0.0.1:{port}/v1"]
    registry = home / "registry.json"
    registry.write_text(json.dumps([builtin], indent=2), encoding="utf-8")
    config = home / "config.toml"
    texts = {"inbox": inbox, "state": home / "state", "registry": registry}
    # JSON's strings are TOML's basic strings.
    config.write_text(
        CONFIG.format(**{key: json.dumps(str(path), ensure_ascii=False) for key, path in texts.items()}),
        encoding="utf-8",
    )
    return config


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
