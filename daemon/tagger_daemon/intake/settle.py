"""Has a file stopped changing?

Pure bookkeeping: whoever owns the clock says what time it is, whoever owns the files says what they look
like.

A path is *pending* from the first sign of it until it is still. It is still when two looks at it, at least
`settle_seconds` apart and with no event between them, are equal. A file that nobody touched for that long by
the wall clock is still at the first look: a start over 200,000 old photos must not wait for each of them.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tagger_daemon.model import Fingerprint, Value

#: Paths that may be pending at once; at about 0.5 KB each. More are dropped, and `take_overflow` says so.
MAX_PENDING = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Look(Value):
    """What one look at a file showed."""

    fingerprint: Fingerprint
    ctime_ns: int  # last change of content, name or attributes, nanoseconds since the epoch

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        """Make a look from what the file system said."""
        fingerprint = Fingerprint(size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino)
        return cls(fingerprint=fingerprint, ctime_ns=stat.st_ctime_ns)

    def age(self, wall: float) -> float:
        """Return the seconds since the file last changed in any way; negative for dates yet to come."""
        return wall - max(self.fingerprint.mtime_ns, self.ctime_ns) / 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wait(Value):
    """A path that was seen and is not still yet."""

    look: Look
    since: float  # monotonic seconds; nothing is known to have happened to the file since


class SettleTracker:
    """Waits for files to become still.

    The owner asks `due` which paths want another look, and tells `observe` what each look showed.

    Args:
        settle_seconds: how long a file must be unchanged.
        max_pending: paths kept at once.
    """

    def __init__(self, settle_seconds: float, *, max_pending: int = MAX_PENDING) -> None:
        self._settle = settle_seconds
        self._max = max_pending
        self._unseen: OrderedDict[Path, None] = OrderedDict()  # an event named them, nobody looked yet
        # All waits are equally long and time does not run backwards: the order of starting is that of ending.
        self._waits: OrderedDict[Path, _Wait] = OrderedDict()
        self._overflowed = False

    @property
    def pending_count(self) -> int:
        """How many paths are waited for."""
        return len(self._unseen) + len(self._waits)

    def waits_for(self, path: Path) -> bool:
        """Tell whether this path is pending."""
        return path in self._unseen or path in self._waits

    def touch(self, path: Path, now: float) -> None:
        """Note an event on this path, or that somebody still has it open: its wait starts again.

        Args:
            path: the file.
            now: monotonic seconds.
        """
        wait = self._waits.pop(path, None)
        if wait is not None:
            self._waits[path] = wait.evolve(since=now)
        elif path not in self._unseen and self._has_room():
            self._unseen[path] = None

    def due(self, now: float) -> list[Path]:
        """Return the paths that want another look; each stays due until `observe` hears of it.

        Args:
            now: monotonic seconds.
        """
        paths = list(self._unseen)
        for path, wait in self._waits.items():
            if now - wait.since < self._settle:
                break
            paths.append(path)
        return paths

    def observe(self, path: Path, look: Look | None, now: float, wall: float) -> bool:
        """Take note of one look at a file and tell whether it is ready to be worked on.

        A ready path is no longer pending. An empty file never is ready: once it is still it is let go,
        because filling it raises an event, or shows in the next scan.

        Args:
            path: the file.
            look: what it looks like; None if it is gone.
            now: monotonic seconds.
            wall: seconds since the epoch, to compare with the file's own dates.
        """
        touched = path in self._unseen
        self._unseen.pop(path, None)
        before = self._waits.get(path)
        if before is not None and look == before.look and now - before.since < self._settle:
            return False
        self._waits.pop(path, None)
        if look is None:
            return False
        # An event is fresher evidence than dates, which a file server with a slow clock may have set.
        old = before is None and not touched and look.age(wall) >= self._settle
        if old or (before is not None and look == before.look):
            return look.fingerprint.size > 0
        if self._has_room():
            self._waits[path] = _Wait(look=look, since=now)
        return False

    def take_overflow(self) -> bool:
        """Tell, once, whether paths were dropped for want of room; then the folders must be scanned again."""
        overflowed, self._overflowed = self._overflowed, False
        return overflowed

    def _has_room(self) -> bool:
        if self.pending_count < self._max:
            return True
        self._overflowed = True
        return False
