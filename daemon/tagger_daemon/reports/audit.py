"""The audit: one JSON line for each photo that a journey ended for, appended and never rewritten.

`audit.schema.json` beside this module is its JSON Schema, docs/audit.md explains it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.model import Draft, Fingerprint, Origin, Outcome, Record, Stage

#: The first number is another one once a key goes away or changes its meaning, the second once one is added.
SCHEMA_VERSION = "2.0"

#: Ends of journeys after which nobody looked at what stands in the file.
_UNSEEN = frozenset({Outcome.FAILED, Outcome.UNDONE})


def daily(folder: Path) -> Callable[[Record], Path]:
    """Place lines in `DATE.jsonl` in a folder; DATE is the local date on which a record was finished."""
    return lambda record: folder / f"{datetime.fromisoformat(record.finished_at).date().isoformat()}.jsonl"


def single(file: Path) -> Callable[[Record], Path]:
    """Place all lines in one file; what stands there already, whoever wrote it, stays."""
    return lambda _: file


class AuditLog:
    """Appends each record's line to the file where `place` says that it belongs."""

    def __init__(self, place: Callable[[Record], Path]) -> None:
        self._place = place
        self._alone = threading.Lock()  # half of another's line must not be taken for one that was torn

    def append(self, record: Record) -> None:
        """Add one record's line; it is on the disk when this returns.

        A line that an earlier process was killed over is closed first, so that it spoils no other.

        Raises:
            FolderUnavailable: the disk is full or read-only, or the file or its folder cannot be used.
        """
        line = audit_line(record)
        path = self._place(record)
        with _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
            with self._alone, _locked(descriptor):
                end = os.fstat(descriptor).st_size
                if end and os.pread(descriptor, 1, end - 1) != b"\n":
                    line = b"\n" + line
                if os.write(descriptor, line) < len(line):
                    raise FolderUnavailable(f"the disk of {path.parent} is full: the audit cannot be written")
            os.fsync(descriptor)
            if not end:
                _sync_folder(path.parent)

    def contains(self, record: Record) -> bool:
        """Tell whether a record's line stands in its file, whole.

        Raises:
            FolderUnavailable: the file or its folder cannot be used.
        """
        needle = b'"id": ' + json.dumps(record.id).encode()  # quotes in values are escaped: this is the key
        with _opened(self._place(record), os.O_RDONLY | os.O_CREAT) as descriptor:
            if not os.fstat(descriptor).st_size:
                return False  # which cannot be mapped
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as lines:
                at = lines.rfind(needle)
                if at < 0:
                    return False
                start, stop = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
                return _is_whole(lines[start:stop] if stop >= 0 else lines[start:])


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Keep other processes from appending meanwhile, as the daemon and a review may do to one file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # some network shares know no locks
            raise
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def audit_line(record: Record) -> bytes:
    """Return a record as one line of UTF-8 JSON, newline included.

    Bytes of a file name that are not UTF-8 appear as JSON's escapes of surrogates, `\\udc80` to `\\udcff`.
    """
    text = json.dumps(_as_json(record), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _as_json(record: Record) -> dict[str, Any]:
    said, origins = record.answers, record.origins
    in_order = [origins[stage] for stage in Stage if stage in origins]
    return {
        "schema_version": SCHEMA_VERSION,
        # Named and shaped as in ImageWorks' record, whose readers read ours.
        "image": str(record.photo.path),
        "caption": said.caption or "",
        "keywords": _ranked(said.keywords or ()),
        "description": said.description or "",
        "metadata_written": record.outcome is Outcome.WRITTEN,
        "backend": ", ".join(dict.fromkeys(origin.backend for origin in in_order if origin.backend)),
        "models": {stage: origins[stage].model if stage in origins else "" for stage in Stage},
        "notes": "; ".join((*((record.reason,) if record.reason else ()), *record.notes)),
        "duration_seconds": round(sum(record.seconds.values()), 3),
        # Our own.
        "id": record.id,
        "run": record.run,
        "outcome": record.outcome,
        "reason": record.reason,
        "folder": str(record.photo.folder),
        "content_hash": record.content_hash,
        "fingerprint": _fingerprint_as_json(record.final_fingerprint),
        "stands": _standing(record),
        "target": None if record.target is None else str(record.target),
        "original": None if record.original is None else str(record.original),
        "before": dict(record.before),
        "after": dict(record.after),
        "kept": [{"field": kept.field, "reason": kept.reason} for kept in record.kept],
        "stages": {stage: _stage_as_json(origins[stage], said, stage) for stage in Stage if stage in origins},
        "attempts": record.attempts,
        "seconds": dict(record.seconds),
        "started_at": record.started_at or None,
        "finished_at": record.finished_at,
    }


def _ranked(keywords: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return keywords with their places in the model's order: 1 for the first, falling evenly."""
    return [
        {"keyword": keyword, "score": round(1 - place / len(keywords), 4)}
        for place, keyword in enumerate(keywords)
    ]


def _standing(record: Record) -> dict[str, Any] | None:
    if record.outcome in _UNSEEN:
        return None
    return {"title": record.title, "keywords": list(record.keywords), "description": record.description}


def _fingerprint_as_json(fingerprint: Fingerprint | None) -> dict[str, int] | None:
    if fingerprint is None:
        return None
    return {"size": fingerprint.size, "mtime_ns": fingerprint.mtime_ns, "inode": fingerprint.inode}


def _stage_as_json(origin: Origin, said: Draft, stage: Stage) -> dict[str, Any]:
    return {
        "entry": origin.entry,
        "model": origin.model,
        "served": origin.served,
        "backend": origin.backend,
        "digest": origin.digest,
        "profile": origin.profile,
        "profile_hash": origin.profile_hash,
        "registry": origin.registry,
        "endpoint": origin.endpoint,
        "tokens": {
            "prompt": origin.prompt_tokens,
            "completion": origin.completion_tokens,
            "cached": origin.cached_tokens,
        },
        "seconds": origin.seconds,
        "attempts": origin.attempts,
        "fallback_for": origin.fallback_for or None,
        "raw": said.raw.get(stage),
    }


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FolderUnavailable(f"the audit {path} cannot be used: {error.strerror}") from error


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
