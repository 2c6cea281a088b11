"""Claims photos, walks each through its journey, and sees that every end is written down."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loguru import logger

from tagger_daemon.backlog import retry
from tagger_daemon.backlog.store import Backlog, Priority
from tagger_daemon.database import Database
from tagger_daemon.errors import (
    Defect,
    Fate,
    FolderUnavailable,
    LeaseLost,
    PhotoChanged,
    PhotoGone,
    StateUnavailable,
    TaggerError,
    WriteRefused,
)
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.model import Draft, Fingerprint, Job, JobState, Memory, Photo, Record, Value
from tagger_daemon.pipeline import Steps, Tools, failed_record, process
from tagger_daemon.service.clock import now_ms
from tagger_daemon.settings import QueueSettings

#: Seconds between two looks at the queue when nothing wakes the crew: due times pass unannounced.
TICK = 0.5
#: Seconds that a folder rests whose disk is full, read-only or away.
FOLDER_PAUSE = 15
#: Seconds between two tries to write down a result while the state directory's disk is full.
STATE_PAUSE = 5.0
#: Steps in which a journey is never cut off: the file is being replaced, or its end written down.
UNTOUCHABLE = frozenset({"write", "finish"})
#: Steps in which no model was asked yet: at the end of the service nothing is lost by putting the photo back.
UNASKED = frozenset({"waiting", "read", "prepare", "prepared"})


class Audit(Protocol):
    """Where each end gets its line."""

    def append(self, record: Record) -> None:
        """Add the line of one record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk(Value):
    """One journey under way."""

    job: Job
    steps: Steps
    task: asyncio.Task[None]


class Journal:
    """Keeps drafts and intentions in the state database, off the event loop."""

    def __init__(self, backlog: Backlog, ledger: Ledger) -> None:
        self._backlog = backlog
        self._ledger = ledger

    async def save_draft(self, job: Job, draft: Draft) -> None:
        """Keep the answers so far."""
        await asyncio.to_thread(self._backlog.save_draft, job, draft, now=now_ms())

    async def recall(self, content_hash: str, path: Path | None = None) -> Memory:
        """Say what is known of a picture, by its content; and whether the photo at a path is under review."""
        return await asyncio.to_thread(self._ledger.recall, content_hash, path)

    async def answers_about(self, photo: Photo) -> Draft | None:
        """Give the newest answers about a photo, of a journey under way or the last one; None: not known."""
        return await asyncio.to_thread(self._answers_about, photo)

    def _answers_about(self, photo: Photo) -> Draft | None:
        draft = self._backlog.draft_of(photo)
        return draft if draft is None or draft != Draft() else self._ledger.answers_about(photo)

    async def intend(self, record: Record) -> None:
        """Note what is about to be written."""
        await asyncio.to_thread(self._ledger.intend, record)


class Crew:
    """As many journeys at once as may be asked about or prepared ahead, and no more claims than that."""

    def __init__(
        self,
        *,
        database: Database,
        backlog: Backlog,
        ledger: Ledger,
        audit: Audit,
        tools: Tools,
        gate: Callable[[], bool],
        queue: QueueSettings,
        journeys: int,
        look_again: Callable[[Path], None],
        same_folder: Callable[[Path], bool],
        finished: Callable[[Record], None] = lambda _: None,
        ended: Callable[[Photo], None] = lambda _: None,
        folder_tries: int | None = None,
    ) -> None:
        """Put the crew together.

        Args:
            database: of backlog and ledger, for the transaction that ends a job.
            backlog: the queue.
            ledger: the records.
            audit: the day's lines.
            tools: what the journeys touch.
            gate: whether the models can be asked; nothing is claimed while they cannot.
            queue: leases, attempts, back-off.
            journeys: photos at once that are prepared, asked about or written. How many of them are asked
                about is up to `tools.seat`; the others keep that busy.
            look_again: told of a photo that changed meanwhile.
            same_folder: whether a watch folder still is the one that was scanned, and readable.
            finished: told of each record, in the transaction that ends its job.
            ended: told of each photo whose journey is over for now, however it ended.
            folder_tries: times that a photo is tried in a folder that cannot be used, before it is given up;
                None: it waits until the folder can.
        """
        self._database = database
        self._backlog = backlog
        self._ledger = ledger
        self._audit = audit
        self._tools = tools
        self._gate = gate
        self._queue = queue
        self._journeys = journeys
        self._look_again = look_again
        self._same_folder = same_folder
        self._finished = finished
        self._ended = ended
        self._folder_tries = folder_tries
        self._tried: Counter[Path] = Counter()  # photos in folders that cannot be used
        self._walks: dict[str, Walk] = {}  # by lease: a photo that was just put back may be claimed again
        self._wake = asyncio.Event()
        self._stopping = False
        self._broken: BaseException | None = None
        self.finished = 0
        self.last_moved = time.monotonic()  # when the claiming loop last turned

    @property
    def walks(self) -> tuple[Walk, ...]:
        """The journeys under way."""
        return tuple(self._walks.values())

    def wake(self) -> None:
        """Say that there may be something to claim."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and walk until stopped."""
        while not self._stopping:
            self.last_moved = time.monotonic()
            self._wake.clear()
            free = self._journeys - len(self._walks)
            if free and self._gate():
                await self._claim(free)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            if self._broken is not None:
                raise self._broken

    async def drain(self, seconds: float, *, hurry: asyncio.Event) -> None:
        """Claim nothing more, let photos that were asked about end for a while, hand the rest back.

        A write is never cut off.

        Args:
            seconds: how long they get.
            hurry: ends that time early.
        """
        self._stopping = True
        self.wake()
        unasked = [walk for walk in self.walks if walk.steps.current in UNASKED]
        for walk in unasked:
            walk.task.cancel()
        if asked := len(self._walks) - len(unasked):
            logger.info("stopping: {} photos in flight get {:g} s to finish", asked, seconds)
            hurried = asyncio.create_task(hurry.wait())
            deadline = asyncio.get_running_loop().time() + seconds
            while self._walks and not hurried.done():
                tasks = [hurried, *(walk.task for walk in self.walks)]
                left = deadline - asyncio.get_running_loop().time()
                done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
            hurried.cancel()
        for walk in self.walks:
            if walk.steps.current not in UNTOUCHABLE:
                walk.task.cancel()
        await asyncio.gather(*(walk.task for walk in self.walks), return_exceptions=True)

    async def keep_leases(self) -> None:
        """Renew the leases of all that is being worked on, for as long as the crew works."""
        lease = self._queue.lease_seconds
        while True:
            await asyncio.sleep(lease / 3)
            jobs = [walk.job for walk in self.walks]
            until = now_ms() + _ms(lease)
            await self._written_down(functools.partial(self._backlog.renew, jobs, until=until))

    async def _claim(self, free: int) -> None:
        try:
            jobs = await asyncio.to_thread(
                self._backlog.claim,
                limit=free,
                now=now_ms(),
                lease_ms=_ms(self._queue.lease_seconds),
                held=[walk.job.lease for walk in self.walks],
            )
        except StateUnavailable as error:
            logger.warning("{}; no photo is taken up until it can", error)
            self.last_moved = time.monotonic()
            await asyncio.sleep(STATE_PAUSE)
            return
        if self._stopping:
            return  # too late to begin: what is claimed and never begun is ready again at the next start
        for job in jobs:
            steps = Steps()
            task = asyncio.create_task(self._walk(job, steps), name=f"photo {job.id}")
            self._walks[job.lease] = Walk(job=job, steps=steps, task=task)
            task.add_done_callback(functools.partial(self._gone_home, job.lease))

    def _gone_home(self, lease: str, task: asyncio.Task[None]) -> None:
        self._ended(self._walks.pop(lease).job.photo)
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
        self.wake()

    async def _walk(self, job: Job, steps: Steps) -> None:
        """One journey and its end. A loop edge: nothing that a photo does may get past it."""
        try:
            record = await process(job, self._tools, steps)
            steps.current = "finish"
            await self._finish(job, record, JobState.DONE)
        except asyncio.CancelledError:
            await self._put_back(job, retry.Decision(state=JobState.WAITING, delay=0, attempts=job.attempts))
        except TaggerError as error:
            steps.current = "finish"
            await self._failed(job, error, steps)
        except Exception as error:  # noqa: BLE001 - a defect of ours on one photo must not stop the others
            steps.current = "finish"
            logger.opt(exception=error).error("{}: a defect of tagger-daemon", job.photo.path.name)
            await self._failed(job, Defect(f"a defect of tagger-daemon: {type(error).__name__}"), steps)

    async def _failed(self, job: Job, error: TaggerError, steps: Steps) -> None:
        """Let the error's fate decide."""
        error = self._waited_enough(job, await asyncio.to_thread(self._judged, job, error))
        decision = retry.decide(
            error,
            attempts=job.attempts,
            max_attempts=self._queue.max_attempts,
            backoff_seconds=self._queue.backoff_seconds,
            spread=random.random(),  # noqa: S311 - spreads load, hides nothing
        )
        if decision is None:
            logger.info("{}: {}", job.photo.path.name, error)
            return
        if isinstance(error, PhotoChanged):
            self._look_again(job.photo.path)
        if isinstance(error, FolderUnavailable):
            await self._pause(job, error)
        if decision.state is JobState.WAITING:
            _tell_waiting(job, error, decision)
            await self._put_back(job, decision, error)
            return
        if decision.state is JobState.GONE:
            logger.info("{}: {}", job.photo.path.name, error)
            await self._written_down(lambda: self._close(job, JobState.GONE, job.photo.fingerprint))
            return
        logger.warning("{}: failed: {}", job.photo.path, error)
        record = failed_record(
            job,
            now=self._tools.now(),
            reason=str(error),
            attempts=decision.attempts,
            steps=steps,
            run=self._tools.run,
        )
        await self._finish(job, record, JobState.FAILED, error)

    def _waited_enough(self, job: Job, error: TaggerError) -> TaggerError:
        """Give a photo up that was tried often enough in a folder that cannot be used."""
        if self._folder_tries is None or not isinstance(error, FolderUnavailable):
            return error
        self._tried[job.photo.path] += 1
        return error if self._tried[job.photo.path] < self._folder_tries else WriteRefused(str(error))

    def _judged(self, job: Job, error: TaggerError) -> TaggerError:
        """A photo that is gone with its whole folder is not gone: the disk is away."""
        try:
            if isinstance(error, PhotoGone) and not self._same_folder(job.photo.folder):
                return FolderUnavailable(f"the watch folder {job.photo.folder} is not there (unmounted?)")
        except StateUnavailable as unknown:
            return unknown
        return error

    async def _pause(self, job: Job, error: FolderUnavailable) -> None:
        folder, until = job.photo.folder, now_ms() + _ms(FOLDER_PAUSE)
        logger.warning("{}: paused for {} s: {}", folder, FOLDER_PAUSE, error)
        await self._written_down(lambda: self._backlog.pause_folder(folder, until=until, why=str(error)))

    async def _put_back(self, job: Job, decision: retry.Decision, error: TaggerError | None = None) -> None:
        await self._written_down(
            lambda: self._backlog.put_back(
                job,
                decision,
                now=now_ms(),
                error=None if error is None else str(error),
                error_class=None if error is None else type(error).__name__,
                # One of many folders below the watch folder may be closed to us: its photos must not be first
                # each time the pause is over.
                priority=Priority.HELD_UP if isinstance(error, FolderUnavailable) else None,
            )
        )

    async def _finish(
        self, job: Job, record: Record, state: JobState, error: TaggerError | None = None
    ) -> None:
        """Job and record end together or not at all; the audit's line follows."""

        def end() -> None:
            with self._database.transaction():
                self._close(
                    job,
                    state,
                    record.final_fingerprint or job.photo.fingerprint,
                    error=error,
                    attempts=record.attempts,
                )
                self._ledger.add(record)
                self._finished(record)

        if await self._written_down(end):
            self.finished += 1
            # One after the other: a line that stands must not be added again because it could not be noted.
            if await self._written_down(lambda: self._audit.append(record)):
                await self._written_down(lambda: self._ledger.mark_audited(record))

    def _close(
        self,
        job: Job,
        state: JobState,
        fingerprint: Fingerprint,
        *,
        error: TaggerError | None = None,
        attempts: int = 0,
    ) -> None:
        self._backlog.finish(
            job,
            state=state,
            fingerprint=fingerprint,
            now=now_ms(),
            error=None if error is None else str(error),
            error_class=None if error is None else type(error).__name__,
            attempts=attempts,
        )

    async def _written_down(self, write: Callable[[], None]) -> bool:
        """Write to the state directory, as often as it takes: a result is held until there is room for it.

        At the end of the service it is not waited for: the next start finds out what became of the photo.

        Returns:
            False if nothing was written: the job was no longer ours, or the service ends.
        """
        told = False
        while True:
            try:
                await asyncio.to_thread(write)
            except (StateUnavailable, FolderUnavailable) as error:
                if self._stopping:
                    logger.warning("{}; the next start takes it up", error)
                    return False
                if not told:
                    logger.warning("{}; tried again every {:g} s", error, STATE_PAUSE)
                told = True
                await asyncio.sleep(STATE_PAUSE)
            except LeaseLost as error:
                logger.info("{}; the result is dropped", error)
                return False
            else:
                return True


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _tell_waiting(job: Job, error: TaggerError, decision: retry.Decision) -> None:
    # What waits for a server, a consent or a folder is told once, by the pool or with the folder's pause.
    if error.fate is Fate.RETRY:
        logger.info("{}: {}; tried again in {:.0f} s", job.photo.path.name, error, decision.delay)
    elif error.fate is not Fate.WAIT and error.seconds and str(error) != job.last_error:
        logger.info("{}: {}", job.photo.path.name, error)
