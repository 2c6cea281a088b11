"""The real daemon as a process, for the acceptance tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from make_samples import draw_photo
from tagger_daemon.backlog import store
from tagger_daemon.backlog.store import draft_from_json
from tagger_daemon.database import read_only
from tagger_daemon.model import Draft, JobState

ROOT = Path(__file__).resolve().parent.parent.parent

#: Generous: a loaded machine must not fail a test.
PATIENCE = 45.0

SCENES = ("sunset", "mountains", "still_life", "meadow", "night", "leaves")


def entry(base_url: str, **changes: Any) -> dict[str, Any]:
    """A registry entry for a scripted model server."""
    return {
        "name": "test-entry",
        "backend": "vllm",
        "served_model_id": "test-vlm",
        "roles": ["caption", "keywords", "description"],
        "capabilities": {"vision": True},
        "serving": {"endpoints": [base_url], "limits": {"start": 8, "max": 8}},
        **changes,
    }


@dataclass
class House:
    """A watch folder, a state directory, a registry and a configuration, all under one temporary folder."""

    root: Path
    registry: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def inbox(self) -> Path:
        """The watch folder."""
        return self.root / "inbox"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.root / "state"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "config.toml"

    def write(self) -> None:
        """Write registry and configuration."""
        (self.root / "registry.json").write_text(json.dumps(self.registry))
        top = {
            "folders": [str(self.inbox)],
            "state_dir": str(self.state),
            "registry": str(self.root / "registry.json"),
            "max_workers": 6,
            "intake": {"settle_seconds": 0.3},
            "queue": {"backoff_seconds": 0.2},
            "image": {"workers": 1},
        }
        for key, value in self.settings.items():
            top[key] = {**top.get(key, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
        lines = [f"{key} = {_toml(value)}" for key, value in top.items() if not isinstance(value, dict)]
        for section, values in top.items():
            if isinstance(values, dict):
                lines += [f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def command(self, *arguments: str) -> list[str]:
        """The command line of a `tagger-daemon` command on this house."""
        command = [str(Path(sys.executable).with_name("tagger-daemon")), *arguments]
        return [*command, "--config", str(self.config)]

    def run(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `said` is what a person types meanwhile."""
        return subprocess.run(
            self.command(*arguments),
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env=self._env(),
        )

    def batch_command(self, *arguments: str) -> list[str]:
        """The command line of an `imageworks-personal-tagger` command on this house."""
        command = [str(Path(sys.executable).with_name("imageworks-personal-tagger")), *arguments]
        return [*command, "--config", str(self.config)]

    def batch(
        self, *arguments: str, said: str = "", patience: float = 2 * PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run an `imageworks-personal-tagger` command to its end, in this house's folder."""
        return subprocess.run(
            self.batch_command(*arguments),
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience,
            env=self._env(),
            cwd=self.root,
        )

    def spawn_batch(self, *arguments: str) -> Running:
        """Begin an `imageworks-personal-tagger` command; what it says on stderr is kept."""
        log = (self.root / "log").open("ab")
        mark = log.tell()
        process = subprocess.Popen(
            self.batch_command(*arguments),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=self._env(),
            cwd=self.root,
        )
        return Running(process=process, log=self.root / "log", sink=log, mark=mark)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command, whose output can be read."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*arguments), stdin=subprocess.DEVNULL, stdout=pipe, text=True, env=self._env()
        )

    def start(self, *arguments: str) -> Running:
        """Start `run` and wait until it is ready."""
        running = self.spawn(*arguments)
        running.wait_log("ready:")
        return running

    def spawn(self, *arguments: str) -> Running:
        """Start `run`."""
        log = (self.root / "log").open("ab")
        mark = log.tell()
        process = subprocess.Popen(
            self.command("run", *arguments), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._env()
        )
        return Running(process=process, log=self.root / "log", sink=log, mark=mark)

    def draw(self, count: int, *, suffix: str = ".jpg", size: int = 96, prefix: str = "photo") -> list[Path]:
        """Put photos into the watch folder, each by a rename, as a careful copier does."""
        paths = []
        for number in range(count):
            path = self.inbox / f"{prefix}-{number:03}{suffix}"
            outside = self.root / f"drawing{suffix}"
            seed = zlib.crc32(path.name.encode())  # the same picture under two names is asked about once
            draw_photo(outside, scene=SCENES[number % len(SCENES)], size=size, seed=seed)
            shutil.move(outside, path)
            paths.append(path)
        return paths

    def counts(self) -> dict[JobState, int]:
        """Rows of the backlog by state."""
        if not (self.state / "tagger.sqlite3").exists():
            return {}
        with read_only(self.state / "tagger.sqlite3") as db:
            folders = store.folders(db, now=0)
        return dict(folders[0].counts) if folders else {}

    def drafts(self) -> dict[str, Draft]:
        """What is saved of each photo that is not finished, by file name."""
        with read_only(self.state / "tagger.sqlite3") as db:
            rows = db.execute(
                "SELECT rel, draft FROM job WHERE state <> 'done' AND draft IS NOT NULL"
            ).fetchall()
        return {os.fsdecode(row["rel"]): draft_from_json(row["draft"]) for row in rows}

    def wait_done(self, count: int) -> None:
        """Wait until so many photos are done."""
        wait_until(
            lambda: self.counts().get(JobState.DONE, 0) >= count, f"{count} photos are done: {self.counts()}"
        )

    def audit(self) -> list[dict[str, Any]]:
        """Every line of the audit."""
        return [
            json.loads(line)
            for file in sorted((self.state / "audit").glob("*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]

    def log_text(self) -> str:
        """What all daemons of this house have printed so far."""
        return (self.root / "log").read_text(errors="replace")

    def _env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        return {**kept, "HOME": str(self.root), **self.environ}


def _toml(value: Any) -> str:
    """Write a value as TOML does; only tables differ from JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


@dataclass
class Running:
    """One daemon process."""

    process: subprocess.Popen[bytes]
    log: Path
    sink: IO[bytes]
    mark: int  # where in the log this process begins

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.sink.close()

    def text(self) -> str:
        """What this process has printed so far."""
        return self.log.read_bytes()[self.mark :].decode(errors="replace")

    def wait_log(self, words: str) -> None:
        """Wait until the log says so."""
        wait_until(lambda: words in self.text() or self.process.poll() is not None, f"the log says {words!r}")
        assert words in self.text(), self.text()

    def terminate(self) -> int:
        """Send SIGTERM and give the exit status; an orderly end takes less than 15 seconds."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def kill(self) -> None:
        """Die without a chance to say anything."""
        self.process.kill()
        self.process.wait()


def wait_until(condition: Callable[[], bool], what: str, *, patience: float = PATIENCE) -> None:
    """Wait for something in another process, where no event can reach us."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it never came to pass that {what}")
        time.sleep(0.05)


def read_tags(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Read metadata back by exiftool, as any other program would; by file name."""
    command = ["exiftool", "-json", "-struct", "-G1", "-XMP:all", "-IPTC:all", *map(str, paths)]
    output = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE).stdout
    return {Path(found["SourceFile"]).name: found for found in json.loads(output)}
