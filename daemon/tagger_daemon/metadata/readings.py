"""What was read of photos, kept until they are written to: what stands in them is not asked for twice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tagger_daemon.metadata.properties import Properties
from tagger_daemon.metadata.segments import hash_before
from tagger_daemon.model import Value

MOST_BYTES = 4 << 20  # of what exiftool said; about a photo it says 5 to 40 kB


class Seen(NamedTuple):
    """Which content of which file was read: a change of any kind makes another one of it.

    The time of the last change of state is among it, which nobody can set back. Yet no time tells of every
    change: a store into a page that is mapped and dirty moves none until the page is on disk, a network share
    shows old ones for some seconds, and two writes may fall into one tick of the clock.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    metadata: bytes | None  # hash of what stands before the picture; None: not known of this kind of file


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
        self._kept: dict[Seen, Reading] = {}
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
            self._drop(seen)
            self._kept[seen] = reading
            self._bytes += reading.size
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))

    def take(self, seen: Seen) -> Reading | None:
        """Give what this very content held, and forget it; None: that is not known, and has to be read."""
        with self._lock:
            return self._drop(seen)

    def _drop(self, seen: Seen) -> Reading | None:
        reading = self._kept.pop(seen, None)
        if reading is not None:
            self._bytes -= reading.size
        return reading


def seen(path: Path, status: os.stat_result) -> Seen:
    """Return which content of a file this is, by its status and by the bytes before its picture.

    Whatever stands behind the picture is hashed with it: see `picturehash`.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read.
    """
    return Seen(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        metadata=hash_before(path),
    )
