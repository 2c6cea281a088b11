"""What a start makes of a death at the worst moment: between the replacing of a file and the saying so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.metadata_files import annotation, draw, open_store, photo_at, policy
from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import HandOffs
from tagger_daemon.backlog.store import MAX_CRASHES, Backlog, Priority
from tagger_daemon.database import Database
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.fields import read_name
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Job, Outcome, Photo, Record, WritePlan
from tagger_daemon.reports.audit import AuditLog, daily
from tagger_daemon.service.clock import boot_id
from tagger_daemon.service.handoff import noting
from tagger_daemon.service.recovery import (
    ABANDONED,
    complete_audit,
    settle_intentions,
    sweep_folders,
    take_up,
)
from tagger_daemon.settings import FolderSettings


@dataclass
class Scene:
    """One photo, claimed, its plan made and its intention noted."""

    database: Database
    backlog: Backlog
    ledger: Ledger
    metadata: MetadataStore
    photo: Photo
    job: Job
    plan: WritePlan
    record: Record

    def start_again(self) -> None:
        """Do what a new process does first."""
        self.backlog.recover(now=50, boot="a")
        settle_intentions(
            self.database,
            self.backlog,
            self.ledger,
            self.metadata,
            now=60,
            finished=noting([self.folder], self.handoffs),
        )

    @property
    def folder(self) -> FolderSettings:
        """The watch folder; its finished photos are moved on."""
        folder = self.photo.folder
        return FolderSettings.model_validate({"path": folder, "after": folder.with_name("after")})

    @property
    def handoffs(self) -> HandOffs:
        """What is to be moved on."""
        return HandOffs(self.database)

    def photo_now(self) -> Photo:
        """The photo with the fingerprint that it has now."""
        return photo_at(self.photo.path)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    database = Database(tmp_path / "db", (*store.migrations(), *records.migrations()))
    backlog, ledger = Backlog(database), Ledger(database)
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = draw(folder / "a.jpg")
    backlog.recover(now=0, boot=boot_id())
    backlog.watch_only([folder])
    backlog.enqueue([photo], priority=Priority.ARRIVAL, now=1)
    (job,) = backlog.claim(limit=1, now=2, lease_ms=1000)
    with open_store() as metadata:
        plan = metadata.plan(metadata.read(photo), annotation(), policy())
        record = Record(
            id="1",
            photo=photo,
            outcome=Outcome.WRITTEN,
            finished_at="2026-05-01T12:00:00+00:00",
            target=plan.target,
            after={read_name(write.tag): write.value for write in plan.writes},
        )
        ledger.intend(record)
        yield Scene(
            database=database,
            backlog=backlog,
            ledger=ledger,
            metadata=metadata,
            photo=photo,
            job=job,
            plan=plan,
            record=record,
        )
    database.close()


def test_a_write_that_took_place_is_recorded_and_its_photo_done(scene: Scene) -> None:
    scene.metadata.apply(scene.plan)
    scene.start_again()
    (record,) = scene.ledger.unaudited()
    assert (record.id, record.outcome) == ("1", Outcome.WRITTEN)
    assert scene.ledger.intended() == []
    assert scene.backlog.open_rows() == 0
    assert scene.backlog.unknown([scene.photo_now()]) == []


def test_a_write_that_took_place_is_moved_on_as_any_other(scene: Scene) -> None:
    scene.metadata.apply(scene.plan)
    scene.start_again()
    standing = scene.handoffs.standing(scene.photo.folder, [scene.photo.path])[scene.photo.path]
    assert standing.pending
    assert standing.fingerprint == scene.photo_now().fingerprint


def test_a_write_that_did_not_take_place_is_forgotten_and_done_anew(scene: Scene) -> None:
    scene.start_again()
    assert scene.ledger.unaudited() == scene.ledger.intended() == []
    (job,) = scene.backlog.claim(limit=9, now=100, lease_ms=1000)
    assert job.photo == scene.photo


def test_the_copy_of_a_killed_write_is_removed_and_those_of_others_at_work_are_not(scene: Scene) -> None:
    mine, theirs = (scene.photo.path.with_name(f".{name}.jpg.tagger-0123456789ab.jpg") for name in "ab")
    mine.touch()
    theirs.touch()
    now = theirs.stat().st_ctime_ns // 1_000_000
    sweep_folders([scene.folder], now=now)
    scene.start_again()
    assert (mine.exists(), theirs.exists()) == (False, True)

    later = now + int(ABANDONED * 1000) + 1000
    sweep_folders([scene.folder.model_copy(update={"only": ("a.jpg",)})], now=later)
    assert theirs.exists()
    sweep_folders([scene.folder], now=later)
    assert not theirs.exists()


def test_a_photo_that_has_gone_meanwhile_keeps_its_intention(scene: Scene) -> None:
    scene.metadata.apply(scene.plan)
    away = scene.photo.path.rename(scene.photo.path.with_name("away"))
    scene.start_again()
    assert scene.ledger.intended() == [scene.record]
    away.rename(scene.photo.path)
    scene.start_again()
    assert [record.id for record in scene.ledger.unaudited()] == ["1"]


def test_what_the_service_died_of_too_often_is_failed_where_a_person_sees_it(scene: Scene) -> None:
    for _ in range(MAX_CRASHES):
        take_up(scene.database, scene.backlog, scene.ledger, run="7")
        scene.backlog.claim(limit=1, now=70, lease_ms=1000)
    (record,) = scene.ledger.unaudited()
    assert (record.outcome, record.photo, record.run) == (Outcome.FAILED, scene.photo, "7")
    assert "died 3 times" in (record.reason or "")
    assert scene.backlog.open_rows() == 0


def test_the_audit_gets_every_line_once(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    audit = AuditLog(daily(tmp_path / "audit"))
    scene.ledger.add(scene.record)
    scene.ledger.add(scene.record.evolve(id="2"))
    # The first line was written by a process that died before it could note so.
    audit.append(scene.record)
    complete_audit(scene.ledger, audit)
    complete_audit(scene.ledger, audit)
    (file,) = (tmp_path / "audit").iterdir()
    assert [line.count('"id"') for line in file.read_text().splitlines()] == [1, 1]
