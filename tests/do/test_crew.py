"""Every end is written down once, also while the state directory is full and while the service ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from support.metadata_files import annotation, answer_of, policy
from tagger_daemon.backlog import retry, store
from tagger_daemon.backlog.handoffs import HandOffs
from tagger_daemon.backlog.store import Backlog, Priority
from tagger_daemon.database import Database
from tagger_daemon.errors import FolderUnavailable, PhotoHeld, StateUnavailable
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.model import (
    Annotation,
    Answer,
    Draft,
    Existing,
    Fingerprint,
    JobState,
    Photo,
    Picture,
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

pytestmark = pytest.mark.anyio

FOLDER = Path("/photos")
PRINT = Fingerprint(size=10, mtime_ns=5, inode=1)
PHOTO = Photo(path=FOLDER / "a.jpg", folder=FOLDER, fingerprint=PRINT)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "STATE_PAUSE", 0.01)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "tagger.sqlite3", (*store.migrations(), *records.migrations()))
    yield database
    database.close()


class Audit:
    """Counts the lines; refuses them while its disk is full."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.full = False
        self.refused = 0

    def append(self, record: Record) -> None:
        if self.full:
            self.refused += 1
            raise FolderUnavailable("the disk is full")
        self.lines.append(record.id)


class Tagged:
    """Metadata of a photo on which there is nothing to do."""

    def read(self, photo: Photo) -> Existing:
        return Existing(
            photo=photo,
            source=photo.path,
            embedded=True,
            source_fingerprint=photo.fingerprint,
            texts={"Title": "t", "Description": "d"},
            keywords=("k",),
        )

    def content_hash(self, photo: Photo) -> str:
        return "c0ffee"


@asynccontextmanager
async def at_work(
    database: Database,
    audit: Audit,
    *,
    fingerprint: Callable[[Path], Fingerprint | None] = lambda _: PRINT,
    same_folder: Callable[[Path], bool] = lambda _: True,
    ledger: Ledger | None = None,
    finished: Callable[[Record], None] = lambda _: None,
    ended: Callable[[Photo], None] = lambda _: None,
    photos: Sequence[Photo] = (PHOTO,),
    journeys: int = 1,
    **others: Any,
) -> AsyncIterator[Crew]:
    backlog = Backlog(database)
    backlog.watch_only([FOLDER])
    backlog.enqueue(photos, priority=Priority.ARRIVAL, now=1)
    tools: dict[str, Any] = dict.fromkeys(("read_through", "prepare", "seat", "show", "alone"))
    tools |= {"metadata": Tagged(), "policy": lambda _: Policy(), **others}
    crew = Crew(
        database=database,
        backlog=backlog,
        ledger=ledger or Ledger(database),
        audit=audit,
        tools=Tools(
            fingerprint=fingerprint,
            now=lambda: datetime.now(UTC),
            journal=Journal(backlog, ledger or Ledger(database)),
            run="1",
            **tools,
        ),
        gate=lambda: True,
        queue=QueueSettings(),
        journeys=journeys,
        look_again=lambda _: None,
        same_folder=same_folder,
        finished=finished,
        ended=ended,
    )
    running = asyncio.create_task(crew.run())
    try:
        async with asyncio.timeout(20):
            yield crew
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Blank(Tagged):
    """Metadata of photos about which nothing is known; what is to be written is not."""

    def read(self, photo: Photo) -> Existing:
        return Existing(
            photo=photo,
            source=photo.path,
            embedded=True,
            source_fingerprint=photo.fingerprint,
        )

    def content_hash(self, photo: Photo) -> str:
        return photo.path.name

    def check_writable(self, existing: Existing) -> None:
        """It is."""

    def plan(self, existing: Existing, annotation: Annotation, policy: Policy) -> WritePlan:
        return WritePlan(existing=existing, result=existing, writes=())


class Talk:
    """A conversation that waits until it may go on."""

    def __init__(self, go_on: asyncio.Event) -> None:
        self._go_on = go_on

    async def ask(self, stage: Stage, _: Draft) -> Answer:
        await self._go_on.wait()
        return answer_of(annotation(), stage)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # it comes to pass in other tasks and threads
        await asyncio.sleep(0.01)


def database_rows(database: Database) -> list[Any]:
    with database.transaction() as db:
        return db.execute("SELECT * FROM job").fetchall()


def states(database: Database) -> list[JobState]:
    return [state for folder in Backlog(database).folders(now=0) for state in folder.counts]


async def test_a_line_that_stands_is_not_added_again_because_it_could_not_be_noted(
    database: Database,
) -> None:
    class Forgetful(Ledger):
        failures = 3

        def mark_audited(self, record: Record) -> None:
            if self.failures:
                self.failures -= 1
                raise StateUnavailable("the disk is full")
            super().mark_audited(record)

    audit, ledger = Audit(), Forgetful(database)
    async with at_work(database, audit, ledger=ledger):
        await until(lambda: audit.lines != [] and not ledger.unaudited())
    assert len(audit.lines) == 1


async def test_a_job_ends_together_with_what_follows_from_it_or_not_at_all(database: Database) -> None:
    tries = []

    def finished(record: Record) -> None:
        HandOffs(database).expect(record.photo, now=1)
        tries.append((states(database), len(Ledger(database).unaudited())))
        if len(tries) < 3:
            raise StateUnavailable("the disk is full")

    ended: list[Photo] = []
    async with at_work(database, Audit(), finished=finished, ended=ended.append) as crew:
        await until(lambda: ended != [])
        assert crew.walks == ()
    # Inside each try job and record are ended; between them neither is.
    assert tries == [([JobState.DONE], 1)] * 3
    assert len(Ledger(database).unaudited()) == 0
    (pending,) = HandOffs(database).standing(FOLDER, [PHOTO.path]).values()
    assert pending.pending


async def test_a_closed_folder_does_not_hold_up_the_others_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "FOLDER_PAUSE", 0.05)
    monkeypatch.setattr(retry, "REQUEUE_WAIT", 0.0)
    backlog, audit = Backlog(database), Audit()
    closed = [PHOTO.evolve(path=FOLDER / "closed" / f"{number}.jpg") for number in range(3)]
    backlog.watch_only([FOLDER])
    backlog.enqueue(closed, priority=Priority.ARRIVAL, now=1)

    def fingerprint(path: Path) -> Fingerprint:
        if path.parent.name == "closed":
            raise FolderUnavailable("the folder may not be written to")
        return PRINT

    async with at_work(database, audit, fingerprint=fingerprint):
        await until(lambda: audit.lines != [])


async def test_the_end_of_the_service_does_not_wait_for_room_on_the_disk(database: Database) -> None:
    audit = Audit()
    audit.full = True
    async with at_work(database, audit) as crew:
        await until(lambda: audit.refused > 2)
        await crew.drain(0, hurry=asyncio.Event())
    assert states(database) == [JobState.DONE]
    assert len(Ledger(database).unaudited()) == 1


async def test_photos_are_prepared_ahead_of_those_that_are_asked_about_and_put_back_at_the_end(
    database: Database,
) -> None:
    go_on = asyncio.Event()
    photos = [PHOTO.evolve(path=FOLDER / f"{number}.jpg") for number in range(9)]
    prepared = []

    async def prepare(path: Path) -> Picture:
        prepared.append(path)
        return Picture(jpeg=b"", width=1, height=1)

    async with at_work(
        database,
        Audit(),
        photos=photos,
        journeys=5,
        metadata=Blank(),
        policy=lambda _: policy(),
        read_through=lambda _: None,
        prepare=prepare,
        seat=asyncio.Semaphore(2),
        show=lambda *_: Talk(go_on),
        alone=Pairs().alone,
    ) as crew:

        def steps() -> list[str]:
            return sorted(walk.steps.current for walk in crew.walks)

        await until(lambda: steps() == ["caption"] * 2 + ["prepared"] * 3)
        assert len(prepared) == 5  # and no more pictures than that are held
        draining = asyncio.create_task(crew.drain(20, hurry=asyncio.Event()))
        await until(lambda: steps() == ["caption"] * 2)
        go_on.set()
        await draining
    (folder,) = Backlog(database).folders(now=0)
    assert folder.counts == {JobState.DONE: 2, JobState.READY: 7}


async def test_a_photo_that_is_held_is_looked_at_again_and_that_is_told_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "REQUEUE_WAIT", 0.0)
    looks, told = [], []
    sink = logger.add(lambda line: told.append(str(line)), format="{message}")

    def held(path: Path) -> Fingerprint:
        looks.append(path)
        raise PhotoHeld("a.jpg is rated, and a catalogue is open", seconds=0.001)

    try:
        async with at_work(database, Audit(), fingerprint=held):
            await until(lambda: len(looks) > 3)
    finally:
        logger.remove(sink)
    assert told == ["a.jpg: a.jpg is rated, and a catalogue is open\n"]
    (row,) = database_rows(database)
    assert (row["attempts"], row["error_class"]) == (0, "PhotoHeld")


async def test_a_vanished_photo_waits_while_nobody_can_say_whether_its_folder_is_there(
    database: Database,
) -> None:
    asked = []

    def unknown(folder: Path) -> bool:
        asked.append(folder)
        raise StateUnavailable("the database is locked")

    async with at_work(database, Audit(), fingerprint=lambda _: None, same_folder=unknown) as crew:
        await until(lambda: asked != [] and not crew.walks)
    assert states(database) == [JobState.WAITING]
