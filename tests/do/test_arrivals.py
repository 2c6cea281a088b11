"""Photos come from real folders into a real backlog, whatever becomes of the folders."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import HandOffs
from tagger_daemon.backlog.store import Backlog
from tagger_daemon.database import Database
from tagger_daemon.model import JobState
from tagger_daemon.service.arrivals import Arrivals
from tagger_daemon.settings import FolderSettings, IntakeSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


@asynccontextmanager
async def at_work(inbox: Path) -> AsyncIterator[tuple[Arrivals, Backlog]]:
    database = Database(inbox.parent / "tagger.sqlite3", store.migrations())
    backlog = Backlog(database)
    folders = [FolderSettings.model_validate({"path": inbox})]
    intake = IntakeSettings.model_validate({"settle_seconds": 0})
    arrivals = Arrivals(folders, intake, backlog, arrived=lambda: None)
    await arrivals.start()
    running = asyncio.create_task(arrivals.run())
    try:
        async with asyncio.timeout(20):
            yield arrivals, backlog
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await arrivals.stop()
        database.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # it comes to pass in other tasks and threads
        await asyncio.sleep(0.02)


def swap(inbox: Path) -> None:
    """Put an empty folder into the inbox's place, as an unmounting does."""
    inbox.rename(inbox.with_name("away"))
    inbox.mkdir()


def swap_back(inbox: Path) -> None:
    inbox.rmdir()
    inbox.with_name("away").rename(inbox)


def make_folders(inbox: Path, count: int) -> None:
    for number in range(count):
        (inbox / f"{number:03}").mkdir()
        (inbox / f"{number:03}" / "a.jpg").write_bytes(b"x")


async def test_an_empty_folder_in_the_place_of_one_with_waiting_photos_is_taken_for_an_absent_disk(
    inbox: Path,
) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    async with at_work(inbox) as (arrivals, backlog):
        await until(lambda: arrivals.idle and backlog.open_rows() == 1)
        assert arrivals.same_folder(inbox)
        swap(inbox)
        arrivals.rescan()
        await until(lambda: arrivals.idle)
        assert not arrivals.same_folder(inbox)
        assert "mounted" in "".join(arrivals.problems)

        swap_back(inbox)
        arrivals.rescan()
        await until(lambda: arrivals.idle)
        assert arrivals.same_folder(inbox)
        assert not arrivals.problems


async def test_an_empty_folder_in_the_place_of_one_with_photos_to_be_moved_on_is_an_absent_disk_too(
    inbox: Path,
) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    async with at_work(inbox) as (arrivals, backlog):
        await until(lambda: arrivals.idle and backlog.open_rows() == 1)
        (job,) = backlog.claim(limit=1, now=1, lease_ms=1000)
        backlog.finish(job, state=JobState.DONE, fingerprint=job.photo.fingerprint, now=2)
        with contextlib.closing(Database(inbox.parent / "tagger.sqlite3", store.migrations())) as database:
            HandOffs(database).expect(job.photo, now=2)
        swap(inbox)
        arrivals.rescan()
        await until(lambda: arrivals.idle)
        assert not arrivals.same_folder(inbox)


async def test_another_folder_that_holds_photos_is_taken_as_it_is(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    async with at_work(inbox) as (arrivals, backlog):
        await until(lambda: arrivals.idle and backlog.open_rows() == 1)
        swap(inbox)
        (inbox / "b.jpg").write_bytes(b"y")
        arrivals.rescan()
        await until(lambda: arrivals.idle and backlog.open_rows() == 2)
        assert arrivals.same_folder(inbox)


async def test_a_failed_photo_that_was_removed_is_no_failure_any_more(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    (inbox / "b.jpg").write_bytes(b"y")
    async with at_work(inbox) as (arrivals, backlog):
        await until(lambda: arrivals.idle and backlog.open_rows() == 2)
        for job in backlog.claim(limit=2, now=1, lease_ms=1000):
            backlog.finish(job, state=JobState.FAILED, fingerprint=job.photo.fingerprint, now=2, error="no")
        remove(inbox / "a.jpg")
        arrivals.rescan()
        await until(lambda: arrivals.idle)
        assert backlog.failed(inbox) == [inbox / "b.jpg"]


def remove(path: Path) -> None:
    path.unlink()


async def test_a_hundred_folders_at_once_are_read_without_a_pause_after_each(inbox: Path) -> None:
    async with at_work(inbox) as (arrivals, backlog):
        await until(lambda: arrivals.idle)
        make_folders(inbox, 100)
        started = asyncio.get_running_loop().time()
        await until(lambda: arrivals.idle and backlog.open_rows() == 100)
        assert asyncio.get_running_loop().time() - started < 10
