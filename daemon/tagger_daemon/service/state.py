"""The state directory: who holds it, and what the holder says of itself."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger_daemon.errors import AlreadyRunning, ConfigurationError, StateUnavailable
from tagger_daemon.model import Value

#: A look whether a daemon runs takes the lock for a moment: a daemon that starts just then tries again.
LOCK_TRIES = 5
LOCK_PAUSE = 0.1  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class StateDirectory(Value):
    """Where everything that outlives the process stands."""

    root: Path

    @property
    def database(self) -> Path:
        """Queue and ledger."""
        return self.root / "tagger.sqlite3"

    @property
    def audit(self) -> Path:
        """One JSONL file a day."""
        return self.root / "audit"

    @property
    def summaries(self) -> Path:
        """One Markdown page a day."""
        return self.root / "summaries"

    @property
    def originals(self) -> Path:
        """Files as they were before our first write, where that is wished."""
        return self.root / "originals"

    @property
    def status(self) -> Path:
        """What the running daemon last said of itself."""
        return self.root / "status.json"

    @property
    def drains(self) -> Path:
        """The endpoints that get no new photos, as `drain` and `resume` left it."""
        return self.root / "drained.json"

    @property
    def lock(self) -> Path:
        """Held by the one running daemon for as long as it lives."""
        return self.root / "tagger.lock"

    @property
    def undo_lock(self) -> Path:
        """Held by the one `undo` or `review` that is at work on files."""
        return self.root / "undo.lock"

    def make(self) -> None:
        """Create the folders.

        Raises:
            ConfigurationError: they cannot be made or written to.
        """
        try:
            for folder in (self.root, self.audit, self.summaries):
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise ConfigurationError(
                f"the state directory {self.root} cannot be used: {error.strerror}. "
                "Set state_dir to a folder that this user can write."
            ) from error

    def acquire(self) -> int:
        """Become the one daemon on this directory; the lock goes with the process, however it ends.

        Returns:
            The lock's descriptor, to be kept open.

        Raises:
            AlreadyRunning: another process holds it.
            ConfigurationError: the lock file is not ours to open.
        """
        descriptor = _take(self.lock)
        if descriptor is None:
            raise AlreadyRunning(f"another service or run is at work on {self.root} already")
        return descriptor

    @contextmanager
    def by_hand(self) -> Iterator[bool]:
        """Be the one that writes beside the daemon, or see that somebody is, while the context lasts.

        Yields:
            False if somebody else is at it.

        Raises:
            ConfigurationError: the lock file is not ours to open.
        """
        descriptor = _take(self.undo_lock)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def is_held(self) -> bool:
        """Tell whether a daemon runs here.

        Raises:
            StateUnavailable: this user may not look.
        """
        return _is_taken(self.lock)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace the status file in one step.

        Raises:
            StateUnavailable: the disk is full or read-only.
        """
        _replace(self.status, status)

    def read_status(self) -> dict[str, Any]:
        """Read the status file; empty before the first daemon has run.

        Raises:
            StateUnavailable: it cannot be read.
        """
        try:
            status: dict[str, Any] = json.loads(self.status.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StateUnavailable(f"{self.status} cannot be read: {error}") from error
        return status

    def write_drained(self, urls: Iterable[str]) -> None:
        """Say which endpoints get no new photos; a running daemon goes by it within about a second.

        Raises:
            StateUnavailable: the disk is full or read-only, or this user may not write here.
        """
        _replace(self.drains, sorted(urls))

    def read_drained(self) -> frozenset[str]:
        """Return the endpoints that get no new photos.

        Raises:
            StateUnavailable: it cannot be read.
        """
        try:
            return frozenset(map(str, json.loads(self.drains.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, TypeError) as error:
            raise StateUnavailable(f"{self.drains} cannot be read: {error}") from error


def _replace(file: Path, content: Any) -> None:
    """Write JSON in one step, so that nobody ever reads half of it.

    Raises:
        StateUnavailable: it cannot be written.
    """
    fresh = file.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(content), encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        raise StateUnavailable(f"{file} cannot be written: {error.strerror}") from error


def _take(lock: Path) -> int | None:
    """Lock a file and return its descriptor; None: another process has it."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"{lock} cannot be opened: {error.strerror}. "
            "If another user ran the daemon here once, give this user all of its files."
        ) from error
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE)
        else:
            return descriptor
    os.close(descriptor)
    return None


def _is_taken(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StateUnavailable(f"{lock} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
