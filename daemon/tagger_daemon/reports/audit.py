"""The audit: one JSON line for each photo that a journey ended for, a file a day, never rewritten."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.model import Origin, Outcome, Record

SCHEMA_VERSION = 1


class AuditLog:
    """Appends to `DATE.jsonl` in one folder, where DATE is the local date on which a record was finished."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, record: Record) -> None:
        """Add one record's line; it is on the disk when this returns.

        A line that an earlier process was killed over is closed first, so that it spoils no other.

        Raises:
            FolderUnavailable: the disk is full or read-only, or the folder cannot be used.
        """
        line = audit_line(record)
        with self._opened(record, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
            end = os.fstat(descriptor).st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):
                raise FolderUnavailable(f"the disk of {self._folder} is full: the audit cannot be written")
            os.fsync(descriptor)
            if not end:
                _sync_folder(self._folder)

    def contains(self, record: Record) -> bool:
        """Tell whether a record's line stands in its day's file, whole.

        Raises:
            FolderUnavailable: the folder cannot be used.
        """
        needle = b'"id": ' + json.dumps(record.id).encode()  # quotes in values are escaped: this is the key
        with self._opened(record, os.O_RDONLY | os.O_CREAT) as descriptor:
            if not os.fstat(descriptor).st_size:
                return False  # which cannot be mapped
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as lines:
                at = lines.rfind(needle)
                if at < 0:
                    return False
                start, stop = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
                return _is_whole(lines[start:stop] if stop >= 0 else lines[start:])

    @contextmanager
    def _opened(self, record: Record, flags: int) -> Iterator[int]:
        day = datetime.fromisoformat(record.finished_at).date()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{day.isoformat()}.jsonl"
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FolderUnavailable(
                f"the audit in {self._folder} cannot be used: {error.strerror}"
            ) from error


def audit_line(record: Record) -> bytes:
    """Return a record as one line of UTF-8 JSON, newline included.

    Bytes of a file name that are not UTF-8 appear as JSON's escapes of surrogates, `\\udc80` to `\\udcff`.
    """
    text = json.dumps(_as_json(record), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _as_json(record: Record) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "id": record.id,
        "image": str(record.photo.path),
        "outcome": record.outcome,
        "reason": record.reason,
        "caption": record.title,
        "keywords": [{"keyword": keyword, "score": None} for keyword in record.keywords],
        "description": record.description,
        "metadata_written": record.outcome is Outcome.WRITTEN,
        "target": None if record.target is None else str(record.target),
        "original": None if record.original is None else str(record.original),
        "before": dict(record.before),
        "after": dict(record.after),
        "kept": [{"field": kept.field, "reason": kept.reason} for kept in record.kept],
        "notes": list(record.notes),
        "models": {stage: _origin_as_json(origin) for stage, origin in record.origins.items()},
        "content_hash": record.content_hash,
        "attempts": record.attempts,
        "seconds": dict(record.seconds),
        "duration_seconds": round(sum(record.seconds.values()), 3),
        "finished_at": record.finished_at,
    }


def _origin_as_json(origin: Origin) -> dict[str, Any]:
    return {
        "entry": origin.entry,
        "model": origin.model,
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
        "fallback_for": origin.fallback_for or None,
        "seconds": origin.seconds,
        "attempts": origin.attempts,
    }


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
