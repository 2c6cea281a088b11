"""Hears from the kernel what happens in the watch folders, and knows when it may have missed something.

Events are hints: they name paths to look at soon. Wherever one may be missing, the folder is *dirty* and
wants a scan. What inotify(7) and watchdog 7.1 do and do not tell was measured; the comments say what each
step answers.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loguru import logger
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyObserver

from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.scan import identity
from tagger_daemon.model import Value
from tagger_daemon.settings import FolderSettings

#: Paths kept between two drains; of a burst beyond that only the watch folder is remembered, as dirty.
CAPACITY = 50_000

#: Opening and reading are left out: hearing our own scans would overflow the kernel's queue for ever.
#: Creation is in: a file that is in a new folder before the folder's watch is set is told of by a made-up
#: creation and nothing else.
EVENTS: tuple[type[FileSystemEvent], ...] = (
    *(FileCreatedEvent, FileClosedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
)

#: watchdog raises no event when the kernel's queue runs over; it says so here.
OVERFLOW_LOGGER = "watchdog.observers.inotify_c"

_LIMITS = Path("/proc/sys/fs/inotify")
_KERNEL_WATCH = re.compile(r"^inotify wd:\S+ ino:([0-9a-f]+) sdev:([0-9a-f]+)", re.MULTILINE)


class _Inbox:
    """What was heard since the last drain: each path once, and a bounded number of them."""

    def __init__(self, capacity: int, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._wake = wake
        self._changed: set[Path] = set()
        self._dirty: set[Path] = set()

    def changed(self, path: Path, root: Path) -> None:
        """Keep a file to look at; without room its watch folder."""
        self._keep(root, changed=path)

    def dirty(self, folder: Path, root: Path) -> None:
        """Keep a folder to scan; without room its watch folder."""
        self._keep(root, dirty=folder)

    def drain(self) -> tuple[list[Path], set[Path]]:
        """Hand over everything and forget it; folders under a dirty folder go without saying."""
        with self._lock:
            changed, dirty = self._changed, self._dirty
            self._changed, self._dirty = set(), set()
        return list(changed), {folder for folder in dirty if dirty.isdisjoint(folder.parents)}

    def _keep(self, root: Path, *, changed: Path | None = None, dirty: Path | None = None) -> None:
        with self._lock:
            first = not self._changed and not self._dirty
            if len(self._changed) + len(self._dirty) >= self._capacity:
                self._dirty.add(root)
            elif changed is not None:
                self._changed.add(changed)
            elif dirty is not None:
                self._dirty.add(dirty)
        # Once a drain: waking an event loop for each of 100,000 events held it up for 590 ms, measured.
        if first:
            self._wake()


class _Handler(FileSystemEventHandler):
    """Puts the events of one watch folder into the inbox; runs in watchdog's thread, so it does no more."""

    def __init__(self, folder: FolderSettings, eligibility: Eligibility, inbox: _Inbox) -> None:
        self._folder = folder
        self._eligibility = eligibility
        self._inbox = inbox

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take note of both ends of a move, and of the one path of everything else."""
        for name in (event.src_path, event.dest_path):
            if name:
                self._hear(Path(os.fsdecode(name)), is_folder=event.is_directory)

    def _hear(self, path: Path, *, is_folder: bool) -> None:
        root = self._folder.path
        names = path.relative_to(root).parts
        folders = names if is_folder else names[:-1]
        if not all(self._eligibility.folder(name) for name in folders):
            return
        if is_folder and (self._folder.recursive or path == root):
            self._inbox.dirty(path, root)
        elif not is_folder and self._is_wanted(path.name):
            self._inbox.changed(path, root)

    def _is_wanted(self, name: str) -> bool:
        return self._eligibility.photo(name) and (not self._folder.only or name in self._folder.only)


class _OverflowHook(logging.Handler):
    """Listens to watchdog's log for the one thing that it tells nowhere else."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_overflow = on_overflow

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on that the kernel dropped events."""
        if "overflow" in record.getMessage():
            self._on_overflow()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Armed(Value):
    """One watch folder that the kernel watches for us."""

    watch: ObservedWatch
    identity: tuple[int, int]  # device and inode of what stood at the path when the watch was set
    listed: (
        bool  # the kernel lists the watch under that identity; some file systems number their folders twice
    )


class Watcher:
    """Watches folders until it is stopped.

    Starting to watch a folder, for the first time or again, makes it dirty: what was there before is not
    known. `start`, `audit` and `stop` are called one at a time; they touch the disk, so a dead mount may hold
    them up.

    Args:
        folders: the watch folders.
        eligibility: which names are heard.
        wake: called from another thread, once after each drain, as soon as there is something to drain; must
        not
            raise.
        capacity: paths kept between two drains.
    """

    def __init__(
        self,
        folders: Sequence[FolderSettings],
        eligibility: Eligibility,
        *,
        wake: Callable[[], None],
        capacity: int = CAPACITY,
    ) -> None:
        self._folders = {folder.path: folder for folder in folders}
        self._eligibility = eligibility
        self._inbox = _Inbox(capacity, wake)
        self._hook = _OverflowHook(self._overflowed)
        self._observer: BaseObserver | None = None
        self._armed: dict[Path, _Armed] = {}
        self._problems: list[str] = []
        self._events_lost = False
        self._limit_hit = False

    def start(self) -> None:
        """Begin to watch what can be watched; `problems` tells about the rest."""
        # Its warning about a watch that is set twice prints the whole table of watches, over 100 KB a line.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
        log = logging.getLogger(OVERFLOW_LOGGER)
        log.setLevel(logging.WARNING)
        log.addHandler(self._hook)
        self.audit()

    def stop(self) -> None:
        """Stop watching. What was heard until now can still be drained."""
        logging.getLogger(OVERFLOW_LOGGER).removeHandler(self._hook)
        self._stop_observer()

    def drain(self) -> tuple[list[Path], set[Path]]:
        """Return the files to look at and the folders to scan since the last call, each once.

        A path need not exist: it may have been deleted, or moved away.
        """
        return self._inbox.drain()

    def problems(self) -> list[str]:
        """Return what is not watched and why, one sentence each, as of the last audit."""
        return list(self._problems)

    def audit(self) -> None:
        """Check that every folder is still being watched, and see to it where it is not.

        To be called about once a minute: nothing else notices a disk that was unmounted or swapped, a folder
        that was replaced, or a watch that ended.
        """
        if self._events_lost:
            logger.warning(
                "more happened in the watch folders than the kernel could report; they are read again"
            )
            self._events_lost = False
            # watchdog sets its watches anew only after it tells of the loss; a scan may have been quicker.
            self._make_all_dirty()
        if self._observer is None or not self._observer.is_alive():
            self._stop_observer()
            self._problems = self._start_observer()
        if self._observer is not None:
            self._problems = self._audit_folders(self._observer)

    def _start_observer(self) -> list[str]:
        try:
            self._observer = InotifyObserver()
        except OSError as error:
            return [f"no watch folder is watched, only re-read: {_advice(error)}"]
        self._observer.start()
        return []

    def _stop_observer(self) -> None:
        observer, self._observer = self._observer, None
        self._armed.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def _audit_folders(self, observer: BaseObserver) -> list[str]:
        limit_was_hit, self._limit_hit = self._limit_hit, not _room_for_another_watch()
        if limit_was_hit and not self._limit_hit:
            # watchdog passes over folders beyond the limit in silence, and never comes back to them.
            for path in list(self._armed):
                self._disarm(observer, path)
        watched = _kernel_watches()
        found = [self._audit_folder(observer, folder, watched) for folder in self._folders.values()]
        problems = [problem for problem in found if problem is not None]
        self._limit_hit = self._limit_hit or not _room_for_another_watch()
        if self._limit_hit:
            advice = _advice(OSError(errno.ENOSPC, ""))
            problems.append(f"not every folder may be watched, the others are only re-read: {advice}")
        return problems

    def _audit_folder(
        self, observer: BaseObserver, folder: FolderSettings, watched: set[tuple[int, int]]
    ) -> str | None:
        try:
            seen = identity(folder)
        except FolderUnavailable as error:
            self._disarm(observer, folder.path)
            return str(error)
        if self._still_watched(observer, folder.path, seen, watched):
            return None
        self._disarm(observer, folder.path)
        try:
            self._arm(observer, folder, seen)
        except OSError as error:
            return f"{str(folder.path)!r} is not watched, only re-read: {_advice(error)}"
        return None

    def _still_watched(
        self, observer: BaseObserver, path: Path, seen: tuple[int, int], watched: set[tuple[int, int]]
    ) -> bool:
        armed = self._armed.get(path)
        if armed is None or armed.identity != seen:
            return False
        # The observer outlives its emitters and tells nothing of their end.
        if not any(emitter.watch is armed.watch and emitter.is_alive() for emitter in observer.emitters):
            return False
        return not armed.listed or seen in watched

    def _arm(self, observer: BaseObserver, folder: FolderSettings, seen: tuple[int, int]) -> None:
        watch = observer.schedule(
            _Handler(folder, self._eligibility, self._inbox),
            # A watch on a link would tell of the link only; the dot makes it one on the folder behind it.
            f"{folder.path}/.",
            recursive=folder.recursive,
            event_filter=list(EVENTS),
        )
        self._armed[folder.path] = _Armed(watch=watch, identity=seen, listed=seen in _kernel_watches())
        self._inbox.dirty(folder.path, folder.path)

    def _disarm(self, observer: BaseObserver, path: Path) -> None:
        armed = self._armed.pop(path, None)
        if armed is not None:
            observer.unschedule(armed.watch)

    def _overflowed(self) -> None:
        self._events_lost = True
        self._make_all_dirty()

    def _make_all_dirty(self) -> None:
        for path in self._folders:
            self._inbox.dirty(path, path)


def _kernel_watches() -> set[tuple[int, int]]:
    """Return device and inode of all that this process watches, as the kernel tells it (proc(5), fdinfo)."""
    watched = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if descriptor.readlink() != Path("anon_inode:inotify"):
                continue
            text = Path("/proc/self/fdinfo", descriptor.name).read_text(encoding="ascii")
        except FileNotFoundError:  # closed meanwhile
            continue
        for inode, device in _KERNEL_WATCH.findall(text):
            # The kernel's own packing: 20 bits of minor number.
            number = int(device, 16)
            watched.add((os.makedev(number >> 20, number & 0xFFFFF), int(inode, 16)))
    return watched


def _room_for_another_watch() -> bool:
    """Try whether the user's limit allows one more watch: only the attempt tells (inotify(7), ENOSPC)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor == -1:
        return True
    try:
        in_delete_self = 0x400
        added = libc.inotify_add_watch(descriptor, b"/", in_delete_self)
        return added != -1 or ctypes.get_errno() != errno.ENOSPC
    finally:
        os.close(descriptor)


def _advice(error: OSError) -> str:
    """Say what to do about a watch that could not be set."""
    limit = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}.get(error.errno or 0)
    if limit is None:
        return os.strerror(error.errno or 0).lower()
    doubled = 2 * int((_LIMITS / limit).read_text(encoding="ascii"))
    return f"raise the kernel's limit: sudo sysctl fs.inotify.{limit}={doubled} (in /etc/sysctl.d to keep it)"
