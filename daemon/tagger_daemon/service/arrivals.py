"""Brings photos from the watch folders into the backlog: events, scans, settling."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loguru import logger

from tagger_daemon.backlog.store import Backlog, Priority
from tagger_daemon.errors import FolderUnavailable, PhotoUnreadable, StateUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.probe import being_written, look
from tagger_daemon.intake.scan import identity, scan
from tagger_daemon.intake.settle import Look, SettleTracker
from tagger_daemon.intake.watch import Watcher
from tagger_daemon.model import Photo
from tagger_daemon.service.clock import now_ms
from tagger_daemon.service.scope import Scope
from tagger_daemon.settings import FolderSettings, IntakeSettings

#: Seconds between two looks at what is settling.
TICK = 0.25
#: Seconds between two checks that every folder is still watched.
AUDIT_SECONDS = 60.0
#: Seconds between two checks of a folder that is away, so that its return is noticed soon.
ABSENT_SECONDS = 10.0
#: Photos that go to the database in one transaction.
BATCH = 500


class Arrivals:
    """Events are hints, the scan is the truth: losing every event costs time, never a photo."""

    def __init__(
        self,
        folders: Sequence[FolderSettings],
        intake: IntakeSettings,
        backlog: Backlog,
        *,
        arrived: Callable[[], None],
        extensions: Sequence[str] = (),
        watch: bool = True,
    ) -> None:
        """Prepare to watch.

        Args:
            folders: the watch folders.
            intake: settle time, names to ignore.
            backlog: where settled photos go.
            arrived: called when there is something new in the backlog.
            extensions: of file names, the only ones to take; none given: all that can be handled.
            watch: hear what arrives; False: only what is there now is read, and nobody's watches are used up.
        """
        self._folders = {folder.path: folder for folder in folders}
        self._settings = intake
        self._backlog = backlog
        self._arrived = arrived
        self._eligibility = Eligibility(intake.ignore, extensions=extensions)
        self.scope = Scope(folders, self._eligibility)
        self._tracker = SettleTracker(intake.settle_seconds)
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watcher = Watcher(folders, self._eligibility, wake=self._wake_from_thread)
        self._watch = watch
        self._dirty: set[Path] = set()  # folders to scan, watch folders or parts of them
        self._from_scan: set[Path] = set()  # pending paths that no event announced: they are catch-up
        self._busy = False
        self._absent: dict[Path, str] = {}
        self.last_moved = time.monotonic()

    @property
    def pending(self) -> int:
        """Files that are still settling."""
        return self._tracker.pending_count

    @property
    def idle(self) -> bool:
        """Nothing to scan, nothing settling: all that is there is in the backlog."""
        return not (self._dirty or self._busy or self.pending)

    @property
    def problems(self) -> list[str]:
        """What is not watched or not there, one sentence each."""
        return list(
            dict.fromkeys([*(self._watcher.problems() if self._watch else ()), *self._absent.values()])
        )

    async def start(self) -> None:
        """Set the watches, then mark everything for scanning: what arrives in between is seen by both."""
        if self._watch:
            await asyncio.to_thread(self._watcher.start)
        await asyncio.to_thread(self._backlog.watch_only, list(self._folders))
        for folder in self._folders.values():
            await asyncio.to_thread(
                self._backlog.leave_out,
                folder.path,
                lambda photo: not self.scope.takes_as(photo),
                now=now_ms(),
            )
        self.rescan()
        self._take_events()

    async def stop(self) -> None:
        """End the watches."""
        if self._watch:
            await asyncio.to_thread(self._watcher.stop)

    def rescan(self) -> None:
        """Have every folder re-read."""
        self._dirty.update(self._folders)
        self._wake.set()

    def look_again(self, path: Path) -> None:
        """Have one photo settle; one that is settling is left to it, however often it is asked for."""
        if not self._tracker.waits_for(path):
            self._tracker.touch(path, time.monotonic())

    def same_folder(self, folder: Path) -> bool:
        """Tell whether a watch folder is there and the one that was scanned; blocking."""
        try:
            seen = identity(self._folders[folder])
        except (FolderUnavailable, KeyError):
            return False
        known = self._backlog.folder_identity(folder)
        return known is None or known == seen

    async def run(self) -> None:
        """Turn for ever: take events, scan what is dirty, hand over what has settled."""
        while True:
            self.last_moved = time.monotonic()
            self._take_events()
            self._busy = True
            try:
                if self._dirty:
                    await self._scan(self._dirty.pop())
                await self._settle()
            except StateUnavailable as error:
                logger.warning("{}; new photos are taken in when it can", error)
                self.last_moved = time.monotonic()
                self.rescan()
                await asyncio.sleep(TICK * 20)
            finally:
                self._busy = False
            if self._dirty:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()

    async def keep_watch(self) -> None:
        """Turn for ever: see that every folder is watched and there, and re-read all now and then."""
        next_rescan = time.monotonic() + self._settings.rescan_minutes * 60
        while True:
            await asyncio.sleep(ABSENT_SECONDS if self._absent else AUDIT_SECONDS)
            if self._watch:
                await asyncio.to_thread(self._watcher.audit)
            self._dirty.update(self._absent)
            if time.monotonic() >= next_rescan:
                self.rescan()
                next_rescan = time.monotonic() + self._settings.rescan_minutes * 60

    def _wake_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._wake.set)

    def _take_events(self) -> None:
        self._wake.clear()
        changed, dirty = self._watcher.drain()
        now = time.monotonic()
        for path in changed:
            self._from_scan.discard(path)
            self._tracker.touch(path, now)
        self._dirty |= dirty
        if self._tracker.take_overflow():
            self._dirty.update(self._folders)

    async def _scan(self, where: Path) -> None:
        """Read one folder; what is unknown begins to settle."""
        folder = self.scope.folder_of(where)
        assert folder is not None  # what is dirty is a watch folder, or below one
        try:
            unknown = await asyncio.to_thread(self._unknown_in, folder, where)
        except FolderUnavailable as error:
            if folder.path not in self._absent:
                logger.warning("{}; its photos wait", error)
            self._absent[folder.path] = str(error)
            return
        if self._absent.pop(folder.path, None):
            logger.info("{} is back", folder.path)
            await asyncio.to_thread(self._backlog.resume_folder, folder.path)
        await self._observe(unknown, from_scan=True)

    def _unknown_in(self, folder: FolderSettings, where: Path) -> list[tuple[Path, Look]]:
        """Scan and leave out what the backlog knows; blocking, so it runs in a thread."""
        root = identity(folder)
        unknown: list[tuple[Path, Look]] = []
        batch: list[tuple[Path, Look]] = []

        def sift() -> None:
            photos = {path: (self._photo(folder.path, path, seen), seen) for path, seen in batch}
            new = self._backlog.unknown([photo for photo, _ in photos.values()])
            unknown.extend((photo.path, photos[photo.path][1]) for photo in new)
            batch.clear()
            self.last_moved = time.monotonic()

        empty = True
        for found in scan(folder, self._eligibility, report=logger.warning, below=where):
            empty = False
            batch.append(found)
            if len(batch) == BATCH:
                sift()
        sift()
        if where == folder.path:
            if empty:
                self._check_mounted(folder.path, root)
            gone = _vanished(self._backlog.failed(folder.path))
            self._backlog.forget_failed(folder.path, gone, now=now_ms())
            self._backlog.folder_scanned(folder.path, device=root[0], inode=root[1], now=now_ms())
        return unknown

    def _check_mounted(self, folder: Path, seen: tuple[int, int]) -> None:
        """Refuse an empty folder where photos have a way to go: a mount point without its disk."""
        known = self._backlog.folder_identity(folder)
        if known not in (None, seen) and self._backlog.awaits(folder):
            raise FolderUnavailable(
                f"the watch folder {str(folder)!r} is empty and not the one that was read before "
                "(is its disk mounted?)"
            )

    async def _settle(self) -> None:
        """Look again at whatever's time has come."""
        due = self._tracker.due(time.monotonic())
        for start in range(0, len(due), BATCH):
            looks = await asyncio.to_thread(_looks, due[start : start + BATCH])
            await self._observe(looks, from_scan=False)

    async def _observe(self, looks: Sequence[tuple[Path, Look | None]], *, from_scan: bool) -> None:
        """Tell the tracker what was seen, and hand over what is ready."""
        now, wall = time.monotonic(), time.time()
        ready: list[tuple[Path, Look]] = []
        for path, seen in looks:
            if from_scan:
                self._from_scan.add(path)
            if self._tracker.observe(path, seen, now, wall) and seen is not None:
                ready.append((path, seen))
            elif seen is None:
                self._from_scan.discard(path)
        for start in range(0, len(ready), BATCH):
            await self._hand_over(ready[start : start + BATCH])

    async def _hand_over(self, ready: Sequence[tuple[Path, Look]]) -> None:
        still = await asyncio.to_thread(_still, [path for path, _ in ready])
        photos: dict[int, list[Photo]] = {Priority.ARRIVAL: [], Priority.CATCH_UP: []}
        for path, seen in ready:
            if path not in still:
                self._tracker.touch(path, time.monotonic())
                continue
            folder = self.scope.folder_of(path)
            if folder is None or not self.scope.takes(path):
                continue  # asked for by its name, and no photo that is to be worked on
            priority = Priority.CATCH_UP if path in self._from_scan else Priority.ARRIVAL
            photos[priority].append(self._photo(folder.path, path, seen))
        for priority, group in photos.items():
            taken = await asyncio.to_thread(self._backlog.enqueue, group, priority=priority, now=now_ms())
            if taken:
                self._arrived()
        self._from_scan.difference_update(path for path, _ in ready)

    @staticmethod
    def _photo(folder: Path, path: Path, seen: Look) -> Photo:
        return Photo(path=path, folder=folder, fingerprint=seen.fingerprint)


def _looks(paths: Sequence[Path]) -> list[tuple[Path, Look | None]]:
    """Look at each; a file that may not be looked at is left for the next scan."""
    looks: list[tuple[Path, Look | None]] = []
    for path in paths:
        try:
            looks.append((path, look(path)))
        except (PhotoUnreadable, FolderUnavailable) as error:
            logger.warning("{}: {}", path, error)
            looks.append((path, None))
    return looks


def _vanished(paths: Sequence[Path]) -> list[Path]:
    """Those that are not there any more; of a file that may not be looked at nothing is known."""
    vanished = []
    for path in paths:
        with contextlib.suppress(PhotoUnreadable, FolderUnavailable):
            if look(path) is None:
                vanished.append(path)
    return vanished


def _still(paths: Sequence[Path]) -> set[Path]:
    """Those that are there, as a photo that was just moved on is not, and that no process is writing."""
    return {path for path in paths if path.exists() and not being_written(path)}
