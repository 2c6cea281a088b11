"""The daemon's life: start, run, stop. Parts are built one after another and end in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import date, datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from loguru import logger

from tagger_daemon import __version__
from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import HandOffs
from tagger_daemon.backlog.store import Backlog
from tagger_daemon.database import Database, read_only
from tagger_daemon.errors import FolderUnavailable, ServerUnavailable, StateUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.probe import fingerprint_of, readable_to_end
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Record
from tagger_daemon.pipeline import Tools
from tagger_daemon.reports.audit import AuditLog, daily
from tagger_daemon.service.arrivals import Arrivals
from tagger_daemon.service.calendar import Due, Occasion, due, upcoming
from tagger_daemon.service.clock import local_now, new_run_id, now_ms
from tagger_daemon.service.crew import Crew, Journal
from tagger_daemon.service.handoff import Mover, noting
from tagger_daemon.service.heart import Heart
from tagger_daemon.service.notify import Notifier
from tagger_daemon.service.pairs import Pairs
from tagger_daemon.service.parts import cast, check_folders, keys_of, make_asker, policies
from tagger_daemon.service.recovery import (
    complete_audit,
    is_by_hand,
    settle_intentions,
    sweep_folders,
    take_up,
)
from tagger_daemon.service.renewal import Renewal
from tagger_daemon.service.reporting import make_page
from tagger_daemon.service.snapshot import Phase, Snapshot, take_snapshot
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings
from tagger_daemon.vision.asker import Asker
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.image import Preparer
from tagger_daemon.vision.loader import Loader
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.verifier import Verifier, show_canary

#: Seconds between two looks at the calendar.
CALENDAR_SECONDS = 60
#: Seconds between two writings of the status file.
STATUS_SECONDS = 1.0
#: Seconds between two looks at what `drain` and `resume` say.
DRAIN_SECONDS = 1.0
#: Times that a photo is tried in a folder that cannot be used, where nobody waits for it to be mended.
FOLDER_TRIES = 3
#: Seconds until a server that would not become ready is started again.
RELAUNCH_SECONDS = 30.0

Watcher = Callable[[Snapshot], None]


class Daemon:
    """One life: `run` returns when it has ended in good order, and raises when it could not go on."""

    def __init__(
        self,
        settings: Settings,
        *,
        once: bool = False,
        watcher: Watcher | None = None,
        audit: AuditLog | None = None,
        again: bool = False,
    ) -> None:
        """Prepare; nothing is touched yet.

        Args:
            settings: as validated.
            once: end when every photo has met its end, instead of waiting for more.
            watcher: is shown a snapshot about once a second.
            audit: where each end gets its line; None: a file a day in the state directory.
            again: one of several runs over what is given, and no service: photos that were given up are
                tried once more, what arrives meanwhile is left to the next run, and a folder that cannot be
                written to is not waited for.
        """
        self.settings = settings
        self.state = StateDirectory(root=settings.state_dir)
        self._once = once
        self._again = again
        self.is_over = False  # a single run has come to its end by itself
        self._watcher = watcher
        self._given_audit = audit
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._phase = Phase.STARTING
        self._since = local_now()
        self.run_id = new_run_id(self._since)
        self._notifier = Notifier()
        self._servers_known = False  # every server was looked at
        self._status_is_old = False  # it could not be written the last time

    @classmethod
    async def live(cls, settings: Settings, *, once: bool = False, watcher: Watcher | None = None) -> None:
        """Make a daemon and let it live: its parts belong to the event loop that runs this. See `run`."""
        await cls(settings, once=once, watcher=watcher).run()

    async def run(self) -> None:
        """Live.

        Raises:
            ConfigurationError: it cannot start, or not go on, until a person changes something.
        """
        with _signals(self._stop, self._hurry):
            async with AsyncExitStack() as stack:
                await self._start(stack)
                await self._live()
        self._phase = Phase.STOPPED
        self._write_status()
        logger.info("stopped in good order")

    async def _start(self, stack: AsyncExitStack) -> None:
        """Build every part. Ready means: the database is open and recovered, and the watches stand."""
        settings = self.settings
        check_folders(settings)
        self._cast = cast(settings)
        threads = self._threads()
        self.state.make()
        stack.callback(os.close, self.state.acquire())
        self._write_status(starting=True)

        self._database = Database(self.state.database, (*store.migrations(), *records.migrations()))
        stack.callback(self._database.close)
        # Before the database closes: a call whose caller was cancelled goes on in its thread.
        stack.callback(threads.shutdown)
        self._backlog, self._ledger = Backlog(self._database), Ledger(self._database)
        handoffs = HandOffs(self._database)
        self._note_finished = noting(settings.folders, handoffs)
        self._audit = self._given_audit or AuditLog(daily(self.state.audit))
        metadata = self._metadata(stack)
        await asyncio.to_thread(self._recover, metadata)

        keys, consents = keys_of(settings, os.environ), Consents(settings.remote)
        self._pool = Pool(
            self._cast.distinct, keys=keys, consents=consents, verify=Verifier().verify, prove=show_canary
        )
        stack.push_async_callback(self._pool.close)
        self._loader = Loader(environ=os.environ, keys=keys, consents=consents)
        stack.push_async_callback(self._loader.stop)
        asker = make_asker(settings, self._cast, self._pool)
        preparer = Preparer(settings.image, long_edges=asker.long_edges)
        stack.push_async_callback(preparer.close)
        preparer.start()

        self._arrivals = Arrivals(
            settings.folders,
            settings.intake,
            self._backlog,
            arrived=self._wake_crew,
            extensions=settings.image_exts,
            watch=not self._again,
        )
        self._policies = policies(settings, self._cast)
        self._mover = self._make_mover(handoffs)
        self._crew = self._make_crew(metadata, preparer, asker)
        self._renewal = Renewal(
            settings.metadata.mode,
            self._policies.at,
            takes=self._arrivals.scope.takes,
            database=self.state.database,
            backlog=self._backlog,
            reopened=self._wake_crew,
        )
        stack.push_async_callback(self._arrivals.stop)
        await self._arrivals.start()
        await self._mover.start()
        # Starting reads every folder: a catch-up that is due today has thereby happened.
        for item in await asyncio.to_thread(self._due):
            if item.occasion is Occasion.CATCH_UP:
                await asyncio.to_thread(self._ledger.note_happened, item.occasion, item.day, now=now_ms())
        stack.callback(self._calendar().shutdown, wait=False)

    def _threads(self) -> ThreadPoolExecutor:
        # Blocking calls of every journey run in threads; exiftool's may queue for its lock, and the database
        # must not wait behind them.
        threads = ThreadPoolExecutor(_journeys(self.settings) + 8, thread_name_prefix="blocking")
        asyncio.get_running_loop().set_default_executor(threads)
        return threads

    def _metadata(self, stack: AsyncExitStack) -> MetadataStore:
        settings = self.settings.metadata
        exiftool = ExifTool(settings.exiftool, timeout_seconds=settings.timeout_seconds)
        metadata = MetadataStore(
            settings,
            exiftool=exiftool,
            tool_version=__version__,
            now=local_now,
            originals=self.state.originals if self.settings.backup_originals else None,
        )
        stack.callback(metadata.close)
        metadata.start()
        return metadata

    def _recover(self, metadata: MetadataStore) -> None:
        with self.state.by_hand() as alone:
            # What an `undo` or a review has in hand is left to it: copies, rows, intentions, lines.
            def mine(record: Record) -> bool:
                return alone or not is_by_hand(record)

            if alone:
                sweep_folders(self.settings.folders, now=now_ms())
            if self._again:
                # Before what the last process died of is given up: that is told, and not tried again at once.
                self._backlog.once_more(now=now_ms())
            take_up(self._database, self._backlog, self._ledger, run=self.run_id, by_hand=not alone)
            settle_intentions(
                self._database,
                self._backlog,
                self._ledger,
                metadata,
                now=now_ms(),
                mine=mine,
                finished=self._note_finished,
            )
            complete_audit(self._ledger, self._audit, mine=mine)

    def _make_crew(self, metadata: MetadataStore, preparer: Preparer, asker: Asker) -> Crew:
        settings = self.settings
        tools = Tools(
            metadata=metadata,
            fingerprint=fingerprint_of,
            read_through=readable_to_end,
            prepare=preparer.prepare,
            seat=asyncio.Semaphore(settings.max_workers),
            show=asker.show,
            journal=Journal(self._backlog, self._ledger),
            now=local_now,
            policy=self._policies.of,
            alone=Pairs().alone,
            run=self.run_id,
            admit=asker.admit,
            takes=self._arrivals.scope.takes_as,
        )
        return Crew(
            database=self._database,
            backlog=self._backlog,
            ledger=self._ledger,
            audit=self._audit,
            tools=tools,
            gate=self._gate_is_open,
            queue=settings.queue,
            journeys=_journeys(settings),
            look_again=self._arrivals.look_again,
            same_folder=self._arrivals.same_folder,
            finished=self._note_finished,
            ended=self._mover.ended,
            folder_tries=FOLDER_TRIES if self._again else None,
        )

    def _make_mover(self, handoffs: HandOffs) -> Mover:
        return Mover(
            self.settings.folders,
            database=self._database,
            handoffs=handoffs,
            ledger=self._ledger,
            eligible=Eligibility(self.settings.intake.ignore).photo,
            same_folder=self._arrivals.same_folder,
            look_again=self._arrivals.look_again,
        )

    def _wake_crew(self) -> None:
        self._crew.wake()

    def _gate_is_open(self) -> bool:
        """Each stage has somebody who takes requests: who has the role, or who may stand in."""
        if self._cast.may_fall_back and not self._servers_known:
            return False  # or somebody would stand in for an entry that is well and was not looked at yet
        return all(
            any(self._pool.available(entry) for entry in chain) for chain in self._cast.chains.values()
        )

    async def _live(self) -> None:
        """Run every part until asked to stop; a part that ends by itself takes the service down, loudly."""
        self._phase = Phase.RUNNING
        logger.info("ready: {}", self._introduction())
        self._notifier.ready("watching")
        crew = asyncio.create_task(self._crew.run(), name="crew")
        leases = asyncio.create_task(self._crew.keep_leases(), name="leases")
        models = asyncio.create_task(self._models(), name="models")
        others = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("arrivals", self._arrivals.run()),
                ("watches", self._arrivals.keep_watch()),
                ("hand-offs", self._mover.run()),
                ("renewal", self._renewal.run()),
                ("looks at the servers", self._pool.look_on()),
                ("drains", self._drain()),
                ("status", self._report()),
                ("watchdog", self._beat()),
            )
        ]
        asked = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await _first_failure([crew, leases, models, *others], until=asked)
        finally:
            self._phase = Phase.STOPPING
            self._notifier.stopping(self.settings.queue.drain_seconds + 30)
            await _cancel([*others, models])
            await self._crew.drain(self.settings.queue.drain_seconds, hurry=self._hurry)
            await _cancel([crew, leases, asked])
        await asyncio.to_thread(self._backlog.mark_clean)

    def _introduction(self) -> str:
        folders = ", ".join(
            f"{folder.path} (then to {folder.after})" if folder.after else str(folder.path)
            for folder in self.settings.folders
        )
        entries = ", ".join(
            f"{stage} by {' or else '.join(entry.name for entry in chain)}"
            for stage, chain in self._cast.chains.items()
        )
        at_what = "going once through" if self._once else "watching"
        return f"{at_what} {folders}; {entries}; state in {self.state.root}; this is run {self.run_id}"

    async def _models(self) -> None:
        """Have the servers started that are ours to start, then look at every endpoint."""
        while self.settings.use_loader:
            try:
                await self._loader.start(self._cast.distinct)
                break
            except ServerUnavailable as error:
                logger.warning("{}; started again in {:.0f} s", error, RELAUNCH_SECONDS)
                if self._cast.may_fall_back:
                    await self._look_at_servers()
                await asyncio.sleep(RELAUNCH_SECONDS)
        await self._look_at_servers()
        # Should others stand in before that, the crew finds out when it next looks at its gate.
        await self._pool.wait_available(tuple(self._cast.entries.values()))
        self._crew.wake()
        await asyncio.Event().wait()

    async def _drain(self) -> None:
        """Do as `drain` and `resume` say, also what they said before this start."""
        told = ""
        while True:
            try:
                self._pool.drain(self.state.read_drained())
            except StateUnavailable as error:
                if str(error) != told:
                    logger.warning("{}; what was drained stays so", error)
                told = str(error)
            await asyncio.sleep(DRAIN_SECONDS)

    async def _look_at_servers(self) -> None:
        await self._pool.start()
        self._servers_known = True

    def _calendar(self) -> AsyncIOScheduler:
        """APScheduler only ticks: its own dates skip or double days around summer time."""
        scheduler = AsyncIOScheduler()
        scheduler.add_job(
            self._look_at_calendar,
            "interval",
            seconds=CALENDAR_SECONDS,
            next_run_time=local_now(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        scheduler.start()
        return scheduler

    async def _look_at_calendar(self) -> None:
        try:
            for item in await asyncio.to_thread(self._due):
                await self._hold(item)
        except StateUnavailable as error:
            logger.warning("{}; tried again in {} s", error, CALENDAR_SECONDS)

    def _due(self) -> list[Due]:
        return list(due(self.settings.schedule, now=local_now(), happened=self._ledger.happened))

    async def _hold(self, item: Due) -> None:
        """Do what is due, and note that it has happened; what fails is due again."""
        if item.occasion is Occasion.CATCH_UP:
            logger.info("catch-up: every folder is read again")
            self._arrivals.rescan()
        else:
            try:
                await asyncio.to_thread(self._page, item.day)
            except FolderUnavailable as error:
                logger.warning(
                    "the page about {}: {}; tried again in {} s", item.day, error, CALENDAR_SECONDS
                )
                return
        await asyncio.to_thread(self._ledger.note_happened, item.occasion, item.day, now=now_ms())

    def _page(self, day: date) -> None:
        # By a connection of its own: wording a long day must not hold up the queue.
        with read_only(self.state.database) as db:
            if records.records_of(db, day):
                page = make_page(self.state, db, day, now=local_now())
                logger.info("the page about {} is {}", day, page)

    async def _report(self) -> None:
        """Show how it stands, to the status file and to whoever watches; end a single run that is over."""
        while True:
            # While the database cannot be asked, the parts that need it say so, and the last status stands.
            with suppress(StateUnavailable):
                snapshot = await self._snapshot()
                self._write_status(snapshot)
                if self._watcher:
                    self._watcher(snapshot)
                if self._once and snapshot.is_over and not self._stop.is_set():
                    self.is_over = True
                    self._stop.set()
            await asyncio.sleep(STATUS_SECONDS)

    async def _snapshot(self) -> Snapshot:
        # Before the rows are counted: a photo that is handed over between the two looks must show in one.
        idle = self._arrivals.idle and self._renewal.done.is_set()
        open_rows, held = await asyncio.to_thread(self._backlog.open_and_held)
        return take_snapshot(
            phase=self._phase,
            since=self._since,
            run=self.run_id,
            crew=self._crew,
            arrivals=self._arrivals,
            mover=self._mover,
            pool=self._pool,
            loader=self._loader,
            idle=idle,
            open_rows=open_rows - held,
            held=held,
            upcoming=await asyncio.to_thread(self._upcoming),
        )

    def _upcoming(self) -> dict[Occasion, datetime]:
        return upcoming(self.settings.schedule, now=local_now(), happened=self._ledger.happened)

    def _write_status(self, snapshot: Snapshot | None = None, *, starting: bool = False) -> None:
        try:
            if snapshot:
                self.state.write_status(snapshot.to_json())
            else:
                # What the last process said of its work is no news of this one.
                last = {} if starting else self.state.read_status()
                since = self._since.isoformat(timespec="seconds")
                now = local_now().isoformat(timespec="seconds")
                ours = {
                    "phase": self._phase,
                    "pid": os.getpid(),
                    "version": __version__,
                    "run": self.run_id,
                }
                self.state.write_status({**last, **ours, "since": since, "at": now})
        except StateUnavailable as error:
            if not self._status_is_old:
                logger.warning("{}; `status` shows the last one until it can", error)
            self._status_is_old = True
        else:
            self._status_is_old = False

    async def _beat(self) -> None:
        """Tell systemd that we live, for as long as every part moves."""
        heart = Heart(self._notifier, crew=self._crew, arrivals=self._arrivals, backlog=self._backlog)
        await heart.beat()


def _journeys(settings: Settings) -> int:
    """How many photos are in hand at once: those that are asked about, and those that are to be next."""
    return settings.max_workers + settings.batch_size


@contextmanager
def _signals(stop: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    """Let SIGTERM, SIGINT and a closed terminal ask for the end, and a second time for a quick end."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        (hurry if stop.is_set() else stop).set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _first_failure(tasks: list[asyncio.Task[Any]], *, until: asyncio.Task[Any]) -> None:
    """Wait until `until` is done, or raise what ended one of the tasks."""
    done, _ = await asyncio.wait([*tasks, until], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {until}:
        task.result()
        raise RuntimeError(f"{task.get_name()} has ended by itself")


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
