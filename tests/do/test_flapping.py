"""Servers that come and go the whole time cost no photo anything, and no answer is asked for twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from loguru import logger

from support.asking import PATIENCE, an_entry
from support.metadata_files import policy
from support.model_server import ModelServer
from tagger_daemon.backlog import retry, store
from tagger_daemon.backlog.store import Backlog, Priority
from tagger_daemon.database import Database
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.model import (
    Annotation,
    Draft,
    Existing,
    Fingerprint,
    Job,
    JobState,
    Photo,
    Picture,
    Pictures,
    Policy,
    Record,
    Stage,
    WritePlan,
)
from tagger_daemon.pipeline import Tools
from tagger_daemon.service import crew as crew_module
from tagger_daemon.service.crew import Crew, Journal
from tagger_daemon.service.pairs import Pairs
from tagger_daemon.settings import QueueSettings
from tagger_daemon.vision import pool as pool_module
from tagger_daemon.vision.asker import Asker
from tagger_daemon.vision.entry import Limits
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.profile import load_profile

pytestmark = pytest.mark.anyio

FOLDER = Path("/photos")
PRINT = Fingerprint(size=10, mtime_ns=5, inode=1)
PHOTOS = 300
AT_ONCE = 16
#: Answers between two changes of the weather.
SPELL = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("PAUSE", 0.02), ("PAUSE_MOST", 0.05), ("PAUSE_SUSPECT", 0.02)):
        monkeypatch.setattr(pool_module, name, seconds)
    monkeypatch.setattr(retry, "SERVER_WAIT", 0.02)
    monkeypatch.setattr(crew_module, "TICK", 0.02)


@pytest.fixture
def servers() -> Iterator[tuple[ModelServer, ...]]:
    with ExitStack() as stack:
        yield tuple(stack.enter_context(ModelServer()) for _ in range(2))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "tagger.sqlite3", (*store.migrations(), *records.migrations()))
    yield database
    database.close()


class Paper:
    """Metadata of photos that exist on paper only: nothing stands there, and nothing is written."""

    def read(self, photo: Photo) -> Existing:
        return Existing(photo=photo, source=photo.path, embedded=True, source_fingerprint=photo.fingerprint)

    def check_writable(self, existing: Existing) -> None:
        """Paper takes anything."""

    def content_hash(self, photo: Photo) -> str:
        return photo.path.name

    def plan(self, existing: Existing, annotation: Annotation, policy: Policy) -> WritePlan:
        return WritePlan(existing=existing, result=existing, writes=())


class Watched(Journal):
    """A journal that counts."""

    def __init__(self, backlog: Backlog, ledger: Ledger) -> None:
        super().__init__(backlog, ledger)
        self.saved: Counter[tuple[Path, int]] = Counter()

    async def save_draft(self, job: Job, draft: Draft) -> None:
        await super().save_draft(job, draft)
        self.saved[job.photo.path, len(draft.missing(tuple(Stage)))] += 1


class Weather:
    """Takes servers down and up again, by what has been done and not by the clock."""

    def __init__(self, pool: Pool, servers: tuple[ModelServer, ...]) -> None:
        self._pool = pool
        self._servers = servers
        self._chance = random.Random(300)
        self.falls = 0

    async def change(self) -> None:
        """Let each server be down with a chance of a third from now on; both, for a moment."""
        to_be_up = [self._chance.random() > 1 / 3 for _ in self._servers]
        for server, up in zip(self._servers, to_be_up, strict=True):
            if up and not self._is_up(server):
                await asyncio.to_thread(server.up)
        for server, up in zip(self._servers, to_be_up, strict=True):
            if not up and self._is_up(server):
                self.falls += 1
                await asyncio.to_thread(server.down)
        # One that is back before anyone has looked was not away: its photos are then to blame themselves.
        await until(lambda: all(self._noticed(server) for server in self._servers))
        if not any(to_be_up):
            await self.change()

    async def clear_up(self) -> None:
        for server in self._servers:
            if not self._is_up(server):
                await asyncio.to_thread(server.up)

    def _is_up(self, server: ModelServer) -> bool:
        return server.listening

    def _noticed(self, server: ModelServer) -> bool:
        status = next(one for one in self._pool.snapshot() if one.url == server.base_url)
        return server.listening or status.state == "down"


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # it comes to pass in other tasks and threads
            await asyncio.sleep(0.002)


async def test_servers_that_are_down_a_third_of_the_time_cost_nothing_but_time(
    database: Database, servers: tuple[ModelServer, ...]
) -> None:
    backlog, ledger = Backlog(database), Ledger(database)
    photos = [
        Photo(path=FOLDER / f"{number:03}.jpg", folder=FOLDER, fingerprint=PRINT) for number in range(PHOTOS)
    ]
    backlog.watch_only([FOLDER])
    backlog.enqueue(photos, priority=Priority.ARRIVAL, now=1)
    journal = Watched(backlog, ledger)
    finished: list[Record] = []
    told: list[str] = []
    entry = an_entry(*(server.base_url for server in servers), limits=Limits(start=4, max=16))
    pool = Pool([entry], keys={})
    profile, rules = load_profile("default"), policy()
    asker = Asker(
        chains=dict.fromkeys(Stage, (entry,)),
        registry_hash="",
        profile_of=lambda _: profile,
        long_edge=8,
        max_keywords=15,
        hemisphere=None,
        chat=pool,
    )

    async def prepare(path: Path) -> Pictures:
        return {8: Picture(jpeg=path.name.encode(), width=1, height=1)}

    class Audit:
        def append(self, record: Record) -> None:
            finished.append(record)

    crew = Crew(
        database=database,
        backlog=backlog,
        ledger=ledger,
        audit=Audit(),
        tools=Tools(
            metadata=cast(Any, Paper()),
            fingerprint=lambda _: PRINT,
            read_through=lambda _: None,
            prepare=prepare,
            seat=asyncio.Semaphore(AT_ONCE),
            show=asker.show,
            journal=journal,
            now=lambda: datetime.now(UTC),
            policy=lambda _: rules,
            alone=Pairs().alone,
            run="1",
        ),
        gate=lambda: pool.available(entry),
        queue=QueueSettings(),
        journeys=AT_ONCE + 8,
        look_again=lambda _: None,
        same_folder=lambda _: True,
    )
    sink = logger.add(lambda line: told.append(str(line)), level="WARNING", format="{message}")
    weather = Weather(pool, servers)
    await pool.start()
    running = asyncio.create_task(crew.run())
    try:
        while (answers := journal.saved.total()) < (PHOTOS - AT_ONCE) * len(Stage):
            await until(lambda: journal.saved.total() >= answers + SPELL)  # awaited at once
            await weather.change()
        await weather.clear_up()
        await until(lambda: len(finished) == PHOTOS)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        statuses = pool.snapshot()
        await pool.close()
        logger.remove(sink)

    assert weather.falls > 10
    assert {record.photo for record in finished} == set(photos)
    assert {record.attempts for record in finished} == {0}
    assert [folder.counts for folder in backlog.folders(now=0)] == [{JobState.DONE: PHOTOS}]
    assert not [line for line in told if "failed:" in line]
    # Every answer that came was saved, once; every other request was cut or refused as a server went down.
    assert set(journal.saved.values()) == {1}
    assert len(journal.saved) == sum(one.asked - one.failed for one in statuses) == PHOTOS * len(Stage)
