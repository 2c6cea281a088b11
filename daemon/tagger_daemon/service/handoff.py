"""Moves finished photos on to where their watch folder says: which, when, and what to do if it cannot be.

What belongs together goes together, one set after another, and never while a journey has one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from tagger_daemon.backlog.handoffs import HandOffs, Standing
from tagger_daemon.database import Database
from tagger_daemon.errors import (
    FolderUnavailable,
    HandOffBlocked,
    PhotoUnreadable,
    StateUnavailable,
    TaggerError,
)
from tagger_daemon.intake.probe import being_written, look
from tagger_daemon.intake.settle import Look
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata import moving
from tagger_daemon.metadata.naming import belongings, companions, is_supported, sidecar_names
from tagger_daemon.model import OPEN_STATES, JobState, Move, Outcome, Photo, Record, Value
from tagger_daemon.service.clock import now_ms
from tagger_daemon.settings import FolderSettings

#: Seconds between two tries of all that waits; a destination that cannot be used rests that long.
SWEEP_SECONDS = 30.0
#: Seconds until the next try while the state directory cannot be read or written.
STATE_PAUSE = 5.0
#: Photos that are moved on. Named one by one: whatever else may become of a photo, it stays.
FINISHED = frozenset({Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.REFUSED})


Listings = dict[Path, dict[str, list[str]]]  # folder -> stem, case aside -> the names that have it


@dataclass(frozen=True, kw_only=True, slots=True)
class _Set(Value):
    """Photos that go together now."""

    going: Mapping[Path, Standing]
    staying: tuple[str, ...]  # their companions that do not come along: failed, or never taken
    failed: tuple[str, ...]  # those of them that were given up


def noting(folders: Sequence[FolderSettings], handoffs: HandOffs) -> Callable[[Record], None]:
    """Give what remembers, in the transaction that ends a job, that its photo is to be moved on."""
    sent = {folder.path for folder in folders if folder.after}

    def note(record: Record) -> None:
        under_review = record.outcome is Outcome.SKIPPED and record.proposal
        if record.outcome in FINISHED and not under_review and record.photo.folder in sent:
            handoffs.expect(record.photo, now=now_ms())

    return note


class Mover:
    """The rows are the truth; being told of an end only saves waiting for the next sweep."""

    def __init__(
        self,
        folders: Sequence[FolderSettings],
        *,
        database: Database,
        handoffs: HandOffs,
        ledger: Ledger,
        eligible: Callable[[str], bool],
        same_folder: Callable[[Path], bool],
        look_again: Callable[[Path], None],
    ) -> None:
        """Prepare to move.

        Args:
            folders: the watch folders, and where their photos go.
            database: of hand-offs and ledger, for the transaction that ends a hand-off.
            handoffs: what is to be moved on.
            ledger: is told where photos are now.
            eligible: whether a file of this name is ever taken as a photo.
            same_folder: whether a watch folder still is the one that was scanned, and readable.
            look_again: told of a photo that changed since it was finished; called on the event loop.
        """
        self._folders = {folder.path: folder for folder in folders}
        self._database = database
        self._handoffs = handoffs
        self._ledger = ledger
        self._eligible = eligible
        self._same_folder = same_folder
        self._look_again = look_again
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self._ended: dict[Path, Photo] = {}  # journeys that are over, and whose sets were not looked at since
        self._swept = False  # all that can be done was tried at least once
        self._busy = False
        self._resting: dict[Path, str] = {}  # destination -> why it cannot be used, until the next sweep
        self._told: dict[Path, str] = {}  # photo or destination -> what the log said last about it

    @property
    def idle(self) -> bool:
        """All that is to be moved on has been, or waits for a reason."""
        return self._swept and not (self._busy or self._ended)

    def ended(self, photo: Photo) -> None:
        """Say that a journey is over: its photo may go, or others may that waited for it."""
        if self._folders[photo.folder].after:
            self._ended[photo.path] = photo
            self._wake.set()

    async def start(self) -> None:
        """Say which folders' photos are moved on, and where to; the backlog has to know the folders."""
        destinations = {path: folder.after for path, folder in self._folders.items() if folder.after}
        await asyncio.to_thread(self._handoffs.send_to, destinations)

    async def run(self) -> None:
        """Turn for ever: move what has just been finished, and now and then try all that waits."""
        next_sweep = time.monotonic()
        try:
            while True:
                self._wake.clear()
                self._busy = True
                ended, self._ended = self._ended, {}
                sweep = time.monotonic() >= next_sweep
                try:
                    await asyncio.to_thread(self._sweep if sweep else self._follow, ended)
                except StateUnavailable as error:
                    logger.warning("{}; no photo is moved on until it can", error)
                    self._swept, next_sweep = False, time.monotonic() + STATE_PAUSE
                else:
                    self._swept = True
                    next_sweep = time.monotonic() + SWEEP_SECONDS if sweep else next_sweep
                finally:
                    self._busy = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, next_sweep - time.monotonic())):
                        await self._wake.wait()
        finally:
            self._stopping.set()

    def _sweep(self, _ended: Mapping[Path, Photo]) -> None:
        """Try everything: first what was begun and cut off, then what has not been tried for longest."""
        self._resting.clear()
        for move, folder in {one.begun: one.folder for one in self._handoffs.pending() if one.begun}.items():
            if not self._stopping.is_set():
                self._resume(move, folder)
        seen: set[Path] = set()
        listings: Listings = {}
        for one in self._handoffs.pending():
            if self._stopping.is_set():
                return
            rests = one.after and self._resting.get(one.after)
            if one.path not in seen and one.after and not (rests and rests == one.why):
                seen |= self._attempt(one.path, self._folders[one.folder], listings)

    def _follow(self, ended: Mapping[Path, Photo]) -> None:
        """Try the sets of photos whose journeys are over."""
        seen: set[Path] = set()
        listings: Listings = {}
        for photo in ended.values():
            if not self._stopping.is_set() and photo.path not in seen:
                seen |= self._attempt(photo.path, self._folders[photo.folder], listings)

    def _attempt(self, path: Path, folder: FolderSettings, listings: Listings) -> set[Path]:
        """Move one photo's set if it is ready, and return the photos that this was about."""
        assert folder.after is not None
        waiting: dict[Path, int] = {}
        try:
            if rests := self._resting.get(folder.after):
                waiting = self._pending(folder.path, [path])
                self._handoffs.wait(list(waiting.values()), rests, now=None)
                return {path}
            if path.parent not in listings:
                listings[path.parent] = _by_stem(_names(path.parent))
            if self._judged(path, folder, listings[path.parent].get(path.stem.casefold(), [])) is None:
                return {path}
            # Once more, by what the folder holds now: the listing spares the many that wait, and may be old.
            names = _names(path.parent)
            ready = self._judged(path, folder, names)
            if ready is None:
                return {path}
            waiting = {one: standing.job_id for one, standing in ready.going.items()}
            self._hand_off(path, folder, ready, names)
        except (HandOffBlocked, FolderUnavailable) as error:
            self._waits(waiting or self._pending(folder.path, [path]), folder.after, error)
        return {path, *waiting}

    def _judged(self, path: Path, folder: FolderSettings, names: Collection[str]) -> _Set | None:
        """Return what goes with a photo, if all of it is ready and something is to be moved on at all."""
        together = [path.with_name(name) for name in companions(path, names)]
        standings = self._handoffs.standing(folder.path, together)
        going: dict[Path, Standing] = {}
        held = False
        for one in together:
            standing, seen = standings.get(one), _look(one)
            pending = standing is not None and standing.pending
            if standing is not None and pending and standing.begun is None:
                if seen is None:
                    self._vanished(one, folder.path, standing)
                    continue
                if standing.state is JobState.DONE and seen.fingerprint != standing.fingerprint:
                    self._changed(one, standing)
            if seen is None or not seen.fingerprint.size or not (pending or self._eligible(one.name)):
                continue
            if standing is None or _is_unfinished(standing, seen):
                held = True
            elif standing.state is JobState.DONE:
                going[one] = standing
        if held or not any(standing.pending for standing in going.values()):
            return None
        staying = [one for one in together if one not in going]
        failed = [one for one in staying if one in standings and standings[one].state is JobState.FAILED]
        return _Set(
            going=going,
            staying=tuple(one.name for one in staying),
            failed=tuple(one.name for one in failed),
        )

    def _hand_off(self, path: Path, folder: FolderSettings, ready: _Set, names: Collection[str]) -> None:
        assert folder.after is not None
        self._check_mount(folder.after)
        target = folder.after
        if folder.after_keep_folders:
            target = folder.after / path.parent.relative_to(folder.path)
            moving.make_folder(folder.after, target)
        sidecars = {name for one in ready.going for name in sidecar_names(one, names)}
        owners = moving.sidecar_owners(path.parent, sidecars)
        move = Move(
            source=path.parent,
            target=target,
            names=belongings(path, names, owners, staying=ready.staying),
        )
        moving.check_move(move)
        for name in move.names:
            if being_written(move.source / name):
                raise HandOffBlocked(f"{name} is being written by another program")
        photos = [
            Photo(path=one, folder=folder.path, fingerprint=standing.fingerprint)
            for one, standing in ready.going.items()
        ]
        if not self._handoffs.begin(move, photos, now=now_ms()):
            return  # a journey has one of them again
        if ready.failed:
            alone = ", ".join(one.name for one in ready.going)
            logger.warning("{} goes on without {}, which failed", alone, ", ".join(ready.failed))
        self._carry(move, {one: standing.job_id for one, standing in ready.going.items()}, folder.after)

    def _resume(self, move: Move, folder: Path) -> None:
        """Bring a move to an end that was cut off: on where it can go on, back where a photo has changed."""
        pictures = [move.source / name for name in move.names if is_supported(Path(name))]
        begun = {
            path: standing
            for path, standing in self._handoffs.standing(folder, pictures).items()
            if standing.begun == move
        }
        jobs = {path: standing.job_id for path, standing in begun.items()}
        destination = next(
            (path for path in (move.target, *move.target.parents) if self._handoffs.mount_known(path)),
            move.target,
        )
        try:
            self._check_source(folder)
            self._check_mount(destination)
            moving.make_folder(destination, move.target)
            changed = {
                path: standing
                for path, standing in begun.items()
                if (seen := _look(path))
                and (standing.state is not JobState.DONE or standing.fingerprint != seen.fingerprint)
            }
            if changed and self._called_off(move, jobs):
                for path, standing in changed.items():
                    self._changed(path, standing)
                return
            names = tuple(name for name in move.names if move.source / name not in changed)
            gone = {path: job for path, job in jobs.items() if path not in changed}
            self._carry(move.evolve(names=names), gone, destination)
            for path, standing in changed.items():
                self._changed(path, standing)
        except (HandOffBlocked, FolderUnavailable) as error:
            self._waits(jobs, destination, error)

    def _carry(self, move: Move, jobs: Mapping[Path, int], destination: Path) -> None:
        """Move, and end the hand-off together with the ledger's knowing where the photos are."""
        try:
            moving.carry(move, stopping=self._stopping.is_set)
        except (HandOffBlocked, FolderUnavailable):
            self._called_off(move, jobs)
            raise
        with self._database.transaction():
            for path in jobs:
                self._ledger.moved(path, move.target / path.name)
            self._handoffs.left(list(jobs.values()), now=now_ms())
        for path in (*jobs, destination):
            self._told.pop(path, None)
        logger.info("{} went to {}", ", ".join(move.names), move.target)

    def _called_off(self, move: Move, jobs: Mapping[Path, int]) -> bool:
        """Undo what there is of a move; False: it can only go on."""
        if not moving.bring_back(move):
            return False
        self._handoffs.call_off(list(jobs.values()))
        return True

    def _check_source(self, folder: Path) -> None:
        """A photo that is gone with its whole folder is not gone: the disk is away."""
        if not self._same_folder(folder):
            raise HandOffBlocked(f"the watch folder {folder} is not there (unmounted?)")

    def _check_mount(self, destination: Path) -> None:
        """Refuse the bare mount point of a disk that is away: the next mount would hide what went there."""
        mount, known = moving.mount_of(destination), self._handoffs.mount_known(destination)
        if known is not None and mount in known.parents:
            raise FolderUnavailable(
                f"{destination} lay on a disk that was mounted at {known}, and is not mounted now"
            )
        if mount != known:
            self._handoffs.note_mount(destination, mount)

    def _vanished(self, path: Path, folder: Path, standing: Standing) -> None:
        self._check_source(folder)
        logger.info("{}: is no longer there, so it is not moved on", path)
        self._handoffs.forget([standing.job_id])

    def _changed(self, path: Path, standing: Standing) -> None:
        """It is taken up anew, and moved on when it is finished again."""
        logger.info("{}: changed since it was finished, so it is not moved on yet", path)
        self._handoffs.forget([standing.job_id])
        self._loop.call_soon_threadsafe(self._look_again, path)

    def _pending(self, folder: Path, paths: Collection[Path]) -> dict[Path, int]:
        standings = self._handoffs.standing(folder, paths)
        return {path: standing.job_id for path, standing in standings.items() if standing.pending}

    def _waits(self, jobs: Mapping[Path, int], destination: Path, error: TaggerError) -> None:
        """Keep the reason where `status` shows it, and say it once."""
        if self._stopping.is_set():
            return
        self._handoffs.wait(list(jobs.values()), str(error), now=now_ms())
        about = [destination] if isinstance(error, FolderUnavailable) else list(jobs)
        if isinstance(error, FolderUnavailable):
            self._resting[destination] = str(error)
        if any(self._told.get(one) != str(error) for one in about):
            names = ", ".join(path.name for path in jobs)
            logger.warning("{}: not moved on: {}; tried again every {:.0f} s", names, error, SWEEP_SECONDS)
        self._told |= dict.fromkeys(about, str(error))


def _is_unfinished(standing: Standing, seen: Look) -> bool:
    """Tell whether the backlog still has something to do about a file, or will have once it looks again."""
    return (
        standing.state in OPEN_STATES
        or standing.state is JobState.GONE
        or standing.begun is not None
        or standing.fingerprint != seen.fingerprint
    )


def _look(path: Path) -> Look | None:
    try:
        return look(path)
    except (PhotoUnreadable, FolderUnavailable) as error:
        raise HandOffBlocked(f"{path.name}: {error}") from error


def _by_stem(names: Collection[str]) -> dict[str, list[str]]:
    """Sort names so that companions are found without a look at all of a large folder's."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(Path(name).stem.casefold(), []).append(name)
    return found


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(os.listdir(folder))  # noqa: PTH208 - names are wanted, of folders of any size
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise HandOffBlocked(f"{folder} cannot be read: {os.strerror(error.errno or 0).lower()}") from error
