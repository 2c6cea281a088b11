"""Finished photos go on, with all that belongs to them; whatever is in the way, none is forgotten or lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.disks import Doorman, mount, mounted, remount, unmount
from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import HandOffs, Pending
from tagger_daemon.backlog.store import Backlog, Priority
from tagger_daemon.database import Database, read_only
from tagger_daemon.errors import StateUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.files import fingerprint
from tagger_daemon.model import JobState, Move, Outcome, Photo, Record
from tagger_daemon.service import handoff
from tagger_daemon.service.handoff import Mover, noting
from tagger_daemon.settings import FolderSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """A watch folder with its backlog, and where its finished photos go."""

    root: Path
    database: Database
    settings: dict[str, Any] = field(default_factory=dict)
    there: bool = True  # the watch folder is the one that was scanned
    looked_again: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox.mkdir()
        self.after.mkdir()
        self.backlog, self.ledger = Backlog(self.database), Ledger(self.database)
        self.handoffs = HandOffs(self.database)
        self.backlog.watch_only([self.inbox])

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def after(self) -> Path:
        return self.root / "after"

    @property
    def folder(self) -> FolderSettings:
        return FolderSettings.model_validate({"path": self.inbox, "after": self.after, **self.settings})

    def put(self, name: str, content: bytes = b"a picture") -> Path:
        """Put a file into the watch folder."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def queue(self, name: str, content: bytes = b"a picture") -> Photo:
        """Put a photo into the watch folder and into the backlog."""
        path = self.put(name, content)
        photo = Photo(path=path, folder=self.inbox, fingerprint=fingerprint(path.stat()))
        self.backlog.enqueue([photo], priority=Priority.ARRIVAL, now=1)
        return photo

    def end(self, outcome: Outcome = Outcome.WRITTEN, *, note: bool = True) -> None:
        """End all that is queued."""
        finished = noting([self.folder], self.handoffs)
        for job in self.backlog.claim(limit=99, now=2, lease_ms=1000):
            record = Record(
                id=uuid.uuid4().hex,
                photo=job.photo,
                outcome=outcome,
                finished_at=datetime.now(UTC).isoformat(),
            )
            state = JobState.FAILED if outcome is Outcome.FAILED else JobState.DONE
            with self.database.transaction():
                self.backlog.finish(job, state=state, fingerprint=job.photo.fingerprint, now=3)
                self.ledger.add(record)
                if note:
                    finished(record)

    def finish(self, *names: str) -> None:
        """Put photos into the watch folder that are finished."""
        for name in names:
            self.queue(name)
        self.end()

    def begin(self, *names: str, pictures: list[str], target: Path | None = None) -> Move:
        """Do as a process that dies right after it has begun a move."""
        move = Move(source=self.inbox, target=target or self.after, names=names)
        photos = [
            Photo(
                path=self.inbox / name,
                folder=self.inbox,
                fingerprint=fingerprint((self.inbox / name).stat()),
            )
            for name in pictures
        ]
        assert self.handoffs.begin(move, photos, now=5)
        return move

    def mover(self, *, ledger: Ledger | None = None) -> Mover:
        return Mover(
            [self.folder],
            database=self.database,
            handoffs=self.handoffs,
            ledger=ledger or self.ledger,
            eligible=Eligibility(["*_proof.jpg"]).photo,
            same_folder=lambda _: self.there,
            look_again=self.looked_again.append,
        )

    @asynccontextmanager
    async def moving(self, *, ledger: Ledger | None = None) -> AsyncIterator[Mover]:
        """Let a mover live."""
        mover = self.mover(ledger=ledger)
        await mover.start()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            running = group.create_task(mover.run())
            yield mover
            running.cancel()

    async def move(self, *, ledger: Ledger | None = None) -> None:
        """Let a mover live until all is moved on that can be."""
        async with self.moving(ledger=ledger) as mover:
            await until(lambda: mover.idle)

    def waiting(self) -> dict[str, str | None]:
        return {one.path.name: one.why for one in self.pending()}

    def pending(self) -> list[Pending]:
        return self.handoffs.pending()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # it comes to pass in other tasks and threads
        await asyncio.sleep(0.01)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    database = Database(tmp_path / "db", (*store.migrations(), *records.migrations()))
    yield Scene(root=tmp_path, database=database)
    database.close()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handoff, "SWEEP_SECONDS", 0.05)


# --- What goes, and with what ---


@pytest.mark.parametrize("outcome", Outcome)
async def test_finished_photos_go_and_failed_ones_stay(scene: Scene, outcome: Outcome) -> None:
    scene.queue("a.jpg")
    scene.end(outcome)
    await scene.move()
    goes = outcome in (Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.REFUSED)
    assert names(scene.after if goes else scene.inbox) == ["a.jpg"]
    assert scene.pending() == []


async def test_the_ledger_knows_where_the_photo_is_and_what_it_was_called(scene: Scene) -> None:
    scene.finish("a.jpg")
    await scene.move()
    with read_only(scene.database.path) as db:
        (row,) = db.execute("SELECT path FROM record").fetchall()
        (record,) = records.latest_records(db)
    assert os.fsdecode(row["path"]) == str(scene.after / "a.jpg")
    assert record.photo.path == scene.inbox / "a.jpg"


async def test_the_same_file_put_back_is_taken_up_and_goes_again(scene: Scene) -> None:
    scene.finish("a.jpg")
    await scene.move()
    (scene.after / "a.jpg").rename(scene.inbox / "a.jpg")
    back = Photo(
        path=scene.inbox / "a.jpg",
        folder=scene.inbox,
        fingerprint=fingerprint((scene.inbox / "a.jpg").stat()),
    )
    assert scene.backlog.unknown([back]) == [back]
    assert scene.backlog.enqueue([back], priority=Priority.ARRIVAL, now=9) == 1
    scene.end(Outcome.SKIPPED)
    await scene.move()
    assert names(scene.after) == ["a.jpg"]


async def test_a_raw_its_jpeg_and_their_sidecar_go_together_once_both_are_finished(scene: Scene) -> None:
    scene.put("IMG.xmp")
    scene.finish("IMG.NEF")
    jpeg = scene.queue("IMG.JPG")
    doorman = Doorman(scene.after)
    async with scene.moving() as mover:
        await until(lambda: mover.idle)
        assert names(scene.after) == []
        assert scene.waiting() == {"IMG.NEF": None}
        scene.end()
        mover.ended(jpeg)
        await until(lambda: mover.idle)
    assert doorman.seen() == ["IMG.xmp", "IMG.NEF", "IMG.JPG"]
    doorman.close()
    assert names(scene.inbox) == []
    assert scene.pending() == []


async def test_what_failed_does_not_hold_the_other_for_ever_nor_lose_its_sidecar(scene: Scene) -> None:
    scene.put("IMG.xmp")
    raw = scene.queue("IMG.NEF")
    scene.end(Outcome.FAILED)
    scene.finish("IMG.JPG")
    scene.finish("IMG2.NEF")
    scene.put("IMG2.xmp")
    async with scene.moving() as mover:
        jpeg = scene.queue("IMG2.JPG")
        await until(lambda: mover.idle)
        assert names(scene.after) == ["IMG.JPG"]
        scene.end(Outcome.FAILED)
        mover.ended(jpeg)
        await until(lambda: mover.idle)
    assert names(scene.after) == ["IMG.JPG", "IMG2.NEF", "IMG2.xmp"]
    assert names(scene.inbox) == ["IMG.NEF", "IMG.xmp", "IMG2.JPG"]
    assert raw.path.exists()


async def test_a_companion_that_was_finished_before_there_was_a_destination_comes_along(scene: Scene) -> None:
    scene.queue("IMG.NEF")
    scene.end(note=False)
    scene.finish("IMG.JPG", "other.jpg")
    await scene.move()
    assert names(scene.after) == ["IMG.JPG", "IMG.NEF", "other.jpg"]


async def test_a_companion_that_will_be_taken_up_is_waited_for_and_no_other_file(scene: Scene) -> None:
    scene.finish("a.NEF", "b.NEF", "c_proof.NEF")
    scene.put("a.JPG")
    scene.put("b.JPG", b"")
    scene.put("c_proof.jpg")
    await scene.move()
    assert names(scene.after) == ["b.NEF", "c_proof.NEF"]
    assert scene.waiting() == {"a.NEF": None}


@pytest.mark.parametrize("keep", [False, True])
async def test_folders_are_kept_if_that_is_wished(scene: Scene, keep: bool) -> None:
    scene.settings["after_keep_folders"] = keep
    scene.put("2026/05/a.xmp")
    scene.finish("2026/05/a.nef", "b.jpg")
    await scene.move()
    flat, kept = ["a.nef", "a.xmp", "b.jpg"], ["2026/05/a.nef", "2026/05/a.xmp", "b.jpg"]
    assert names(scene.after) == (kept if keep else flat)


# --- What stands in the way ---


@pytest.mark.usefixtures("often")
async def test_a_taken_name_holds_up_its_own_photo_until_it_is_free(scene: Scene) -> None:
    (scene.after / "a.xmp").write_bytes(b"another photo's")
    scene.put("a.xmp")
    scene.finish("a.nef", "b.nef")
    async with scene.moving() as mover:
        await until(lambda: mover.idle)
        assert names(scene.after) == ["a.xmp", "b.nef"]
        assert scene.waiting() == {"a.nef": f"{scene.after} has a file named a.xmp already"}
        (scene.after / "a.xmp").unlink()
        await until(lambda: scene.pending() == [])
    assert names(scene.after) == ["a.nef", "a.xmp", "b.nef"]


async def test_names_that_are_no_text_go_and_wait_as_others_do(scene: Scene) -> None:
    odd = os.fsdecode(b"caf\xe9.nef")
    scene.put(os.fsdecode(b"caf\xe9.xmp"))
    (scene.after / odd).write_bytes(b"another photo")
    scene.finish(odd)
    await scene.move()
    assert scene.waiting() == {odd: f"{scene.after} has a file named caf\\udce9.nef already"}
    (scene.after / odd).unlink()
    scene.begin(os.fsdecode(b"caf\xe9.xmp"), odd, pictures=[odd])
    await scene.move()
    assert len(names(scene.after)) == 2
    assert names(scene.inbox) == []


@pytest.mark.usefixtures("often")
async def test_a_destination_that_is_away_holds_everything_up_until_it_is_back(scene: Scene) -> None:
    scene.after.rmdir()
    scene.finish("a.jpg", "b.jpg")
    async with scene.moving() as mover:
        await until(lambda: mover.idle)
        reasons = set(scene.waiting().values())
        assert reasons == {f"{scene.after} is not there (is its disk mounted?)"}
        scene.after.mkdir()
        await until(lambda: scene.pending() == [])
    assert names(scene.after) == ["a.jpg", "b.jpg"]


@pytest.mark.usefixtures("often")
async def test_the_bare_mount_point_of_a_disk_that_is_away_gets_nothing(scene: Scene) -> None:
    with mounted(scene.after):
        scene.finish("a.jpg")
        async with scene.moving() as mover:
            await until(lambda: mover.idle)
            assert names(scene.after) == ["a.jpg"]
            unmount(scene.after)
            scene.finish("b.jpg")
            await until(lambda: scene.waiting().get("b.jpg") is not None)
            assert "not mounted now" in str(scene.waiting()["b.jpg"])
            assert names(scene.after) == []
            mount(scene.after)
            await until(lambda: scene.pending() == [])
            assert names(scene.after) == ["b.jpg"]


@pytest.mark.usefixtures("often")
async def test_a_read_only_destination_is_waited_for(scene: Scene) -> None:
    with mounted(scene.after):
        remount(scene.after, "ro")
        scene.finish("a.jpg")
        async with scene.moving() as mover:
            await until(lambda: mover.idle)
            assert "read-only" in str(scene.waiting()["a.jpg"])
            remount(scene.after, "rw")
            await until(lambda: scene.pending() == [])
        assert names(scene.after) == ["a.jpg"]


@pytest.mark.usefixtures("often")
async def test_one_photo_that_is_too_large_for_the_disk_does_not_hold_up_the_others(scene: Scene) -> None:
    with mounted(scene.after, megabytes=4):
        scene.queue("large.jpg", bytes(5_000_000))
        scene.queue("a.jpg")
        scene.queue("b.jpg")
        scene.end()
        async with scene.moving():
            await until(lambda: names(scene.after) == ["a.jpg", "b.jpg"])
        assert "disk is full" in str(scene.waiting()["large.jpg"])


async def test_a_link_stays_with_the_reason(scene: Scene) -> None:
    real = scene.root / "real.jpg"
    real.write_bytes(b"a picture")
    (scene.inbox / "a.jpg").symlink_to(real)
    photo = Photo(path=scene.inbox / "a.jpg", folder=scene.inbox, fingerprint=fingerprint(real.stat()))
    scene.backlog.enqueue([photo], priority=0, now=1)
    scene.end()
    await scene.move()
    assert "is a link" in str(scene.waiting()["a.jpg"])


async def test_a_photo_that_somebody_is_writing_to_stays(scene: Scene) -> None:
    scene.finish("a.jpg")
    with (scene.inbox / "a.jpg").open("r+b"):
        await scene.move()
        assert scene.waiting() == {"a.jpg": "a.jpg is being written by another program"}


async def test_a_photo_that_a_person_took_away_is_no_longer_to_be_moved(scene: Scene) -> None:
    scene.finish("a.jpg")
    (scene.inbox / "a.jpg").unlink()
    await scene.move()
    assert scene.pending() == []


async def test_a_photo_that_is_gone_with_its_whole_folder_is_still_to_be_moved(scene: Scene) -> None:
    scene.finish("a.jpg", "deep/b.jpg")
    scene.there = False
    away = scene.inbox.rename(scene.root / "away")
    await scene.move()
    assert set(scene.waiting()) == {"a.jpg", "b.jpg"}
    assert all("unmounted" in str(why) for why in scene.waiting().values())
    away.rename(scene.inbox)
    scene.there = True
    await scene.move()
    assert names(scene.after) == ["a.jpg", "b.jpg"]


async def test_a_photo_that_changed_stays_and_is_looked_at_again(scene: Scene) -> None:
    scene.finish("a.jpg")
    changed = scene.put("a.jpg", b"another picture")
    await scene.move()
    assert names(scene.after) == []
    assert scene.looked_again == [changed]
    scene.queue("a.jpg", b"another picture")
    scene.end()
    await scene.move()
    assert (scene.after / "a.jpg").read_bytes() == b"another picture"


async def test_a_folder_whose_destination_was_taken_out_of_the_settings_is_left_alone(scene: Scene) -> None:
    scene.finish("a.jpg")
    scene.settings["after"] = None
    await scene.move()
    assert (scene.pending(), names(scene.inbox)) == ([], ["a.jpg"])
    del scene.settings["after"]
    await scene.move()
    assert names(scene.after) == ["a.jpg"]


# --- Cut off ---


def test_no_move_begins_while_a_journey_has_the_photo_and_no_journey_while_it_is_moved(scene: Scene) -> None:
    photo = scene.queue("a.jpg")
    move = Move(source=scene.inbox, target=scene.after, names=("a.jpg",))
    assert not scene.handoffs.begin(move, [photo], now=5)
    (job,) = scene.backlog.claim(limit=1, now=2, lease_ms=1000)
    assert not scene.handoffs.begin(move, [photo], now=5)
    scene.backlog.finish(job, state=JobState.DONE, fingerprint=photo.fingerprint, now=3)
    newer = photo.evolve(fingerprint=photo.fingerprint.evolve(size=99))
    assert not scene.handoffs.begin(move, [newer], now=5)
    assert scene.handoffs.begin(move, [photo], now=5)
    scene.backlog.enqueue([newer], priority=Priority.ARRIVAL, now=6)
    assert scene.backlog.claim(limit=1, now=7, lease_ms=1000) == []
    scene.handoffs.call_off([job.id])
    assert len(scene.backlog.claim(limit=1, now=8, lease_ms=1000)) == 1


@pytest.mark.parametrize("gone", [[], ["a.xmp"], ["a.xmp", "a.nef"], ["a.xmp", "a.nef", "a.jpg"]], ids=str)
async def test_a_move_that_was_cut_off_goes_on_at_the_start(scene: Scene, gone: list[str]) -> None:
    scene.put("a.xmp")
    scene.finish("a.nef", "a.jpg")
    scene.begin("a.xmp", "a.nef", "a.jpg", pictures=["a.nef", "a.jpg"])
    for name in gone:
        (scene.inbox / name).rename(scene.after / name)
    await scene.move()
    assert names(scene.after) == ["a.jpg", "a.nef", "a.xmp"]
    assert names(scene.inbox) == []
    assert scene.pending() == []


async def test_a_move_goes_on_to_where_it_began_although_the_settings_say_otherwise_now(scene: Scene) -> None:
    scene.put("a.xmp")
    scene.finish("a.nef")
    scene.begin("a.xmp", "a.nef", pictures=["a.nef"])
    (scene.inbox / "a.xmp").rename(scene.after / "a.xmp")
    scene.settings["after"] = None
    await scene.move()
    assert names(scene.after) == ["a.nef", "a.xmp"]
    assert scene.pending() == []


async def test_a_folder_that_was_removed_at_the_destination_meanwhile_is_made_again(scene: Scene) -> None:
    scene.settings["after_keep_folders"] = True
    scene.handoffs.note_mount(scene.after, Path("/"))
    scene.finish("a.jpg")
    scene.begin("a.jpg", pictures=["a.jpg"], target=scene.after / "2026")
    await scene.move()
    assert names(scene.after) == ["2026/a.jpg"]


async def test_a_photo_that_changed_after_its_sidecar_had_gone_gets_it_back(scene: Scene) -> None:
    scene.put("a.xmp", b"a person's words")
    scene.finish("a.nef")
    scene.begin("a.xmp", "a.nef", pictures=["a.nef"])
    (scene.inbox / "a.xmp").rename(scene.after / "a.xmp")
    newer = scene.queue("a.nef", b"another picture")
    await scene.move()
    assert names(scene.after) == []
    assert (scene.inbox / "a.xmp").read_bytes() == b"a person's words"
    assert scene.looked_again == [newer.path]
    (job,) = scene.backlog.claim(limit=1, now=9, lease_ms=1000)
    assert job.photo == newer


async def test_what_has_gone_when_its_companion_changes_has_gone_for_good(scene: Scene) -> None:
    scene.finish("a.nef", "a.jpg")
    scene.begin("a.nef", "a.jpg", pictures=["a.nef", "a.jpg"])
    (scene.inbox / "a.nef").rename(scene.after / "a.nef")
    scene.queue("a.jpg", b"another picture")
    await scene.move()
    assert (names(scene.inbox), names(scene.after)) == (["a.jpg"], ["a.nef"])
    assert scene.pending() == []
    scene.end()
    await scene.move()
    assert (scene.after / "a.jpg").read_bytes() == b"another picture"


@pytest.mark.usefixtures("often")
async def test_a_cut_off_move_waits_for_its_disk(scene: Scene) -> None:
    with mounted(scene.after):
        scene.put("a.xmp")
        scene.finish("first.jpg", "a.nef")
        scene.begin("a.xmp", "a.nef", pictures=["a.nef"])
        shutil.copy(scene.inbox / "a.xmp", scene.after / "a.xmp")
        scene.handoffs.note_mount(scene.after, scene.after)
        unmount(scene.after)
        async with scene.moving() as mover:
            await until(lambda: mover.idle)
            assert "not mounted now" in str(scene.waiting()["a.nef"])
            assert names(scene.inbox) == ["a.nef", "a.xmp", "first.jpg"]
            mount(scene.after)
            await until(lambda: scene.pending() == [])
        assert names(scene.after) == ["a.nef", "a.xmp", "first.jpg"]


async def test_a_move_whose_end_could_not_be_noted_is_ended_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Ledger):
        failures = 2

        def moved(self, path: Path, to: Path) -> None:
            if self.failures:
                self.failures -= 1
                raise StateUnavailable("the disk is full")
            super().moved(path, to)

    monkeypatch.setattr(handoff, "STATE_PAUSE", 0.01)
    scene.finish("a.jpg")
    await scene.move(ledger=Full(scene.database))
    assert names(scene.after) == ["a.jpg"]
    assert scene.pending() == []
    with read_only(scene.database.path) as db:
        (row,) = db.execute("SELECT path FROM record").fetchall()
    assert os.fsdecode(row["path"]) == str(scene.after / "a.jpg")
