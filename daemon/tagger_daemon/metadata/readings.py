"""What was read of photos, kept until they are written to: what stands in them is not asked for twice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tagger_daemon.metadata.properties import Properties
from tagger_daemon.metadata.segments import Around, around_picture
from tagger_daemon.model import Value

MOST_BYTES = 4 << 20  # of what exiftool said; about a photo it says 5 to 40 kB


class Status(NamedTuple):
    """What the system says of a file.

    The time of the last change of state is among it, which nobody can set back. Yet no time tells of every
    change: a store into a page that is mapped and dirty moves none until the page is on disk, a network share
    shows old ones for some seconds, and two writes may fall into one tick of the clock.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Seen(NamedTuple):
    """Which content of which file was read: a change of any kind makes another one of it."""

    status: Status
    metadata: Around | None  # where all metadata stands; None: not known of this kind of file


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Value):
    """What stands in a file, in both views."""

    properties: Properties  # as exiftool shows them
    charset: tuple[str, ...]  # the options that its legacy block has to be read with
    packet: bytes  # its XMP, as it stands
    size: int  # bytes that exiftool said about it


class Readings:
    """The newest readings, a few megabytes of them. Any thread may ask."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Status, tuple[Seen, Reading]] = {}
        self._bytes = 0
        self._lock = Lock()

    def keep(self, seen: Seen, reading: Reading) -> None:
        """Keep what a file held; the oldest readings go where there is no room.

        Of files whose metadata has no hash nothing is kept.

        Args:
            seen: from before the file was read, so that a change meanwhile makes another one of it.
            reading: what was read.
        """
        if seen.metadata is None:
            return
        with self._lock:
            self._drop(seen.status)
            self._kept[seen.status] = (seen, reading)
            self._bytes += reading.size
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))

    def seen(self, path: Path, status: os.stat_result) -> Seen:
        """Return which content of a file this is, as `seen`, and sooner where a reading of it is kept."""
        with self._lock:
            before, _ = self._kept.get(_told(status), (None, None))
        return seen(path, status, end=before.metadata.end if before and before.metadata else None)

    def take(self, seen: Seen) -> Reading | None:
        """Give what this very content held, and forget it; None: that is not known, and has to be read."""
        with self._lock:
            before, reading = self._kept.get(seen.status, (None, None))
            if before != seen:
                return None
            self._drop(seen.status)
            return reading

    def _drop(self, status: Status) -> None:
        if status in self._kept:
            _, reading = self._kept.pop(status)
            self._bytes -= reading.size


def seen(path: Path, status: os.stat_result, *, end: int | None = None) -> Seen:
    """Return which content of a file this is, by its status and by the bytes that hold its metadata.

    Args:
        path: the file.
        status: what the system says of it.
        end: of the picture in it, as for `around_picture`.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read.
    """
    return Seen(_told(status), around_picture(path, end=end))


def _told(status: os.stat_result) -> Status:
    return Status(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
