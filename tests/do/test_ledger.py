"""The ledger keeps every record whole, once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tagger_daemon.database import Database, read_only
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.model import Draft, Fingerprint, Kept, Origin, Outcome, Photo, Record, Stage

RECORD = Record(
    id="1",
    photo=Photo(
        path=Path("/p/caf\udce9.jpg"),
        folder=Path("/p"),
        fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3),
    ),
    outcome=Outcome.WRITTEN,
    finished_at="2026-03-29T23:59:00+02:00",
    target=Path("/p/caf\udce9.xmp"),
    original=Path("/s/originals/ab/abc/caf\udce9.xmp"),
    title="Ein Weg",
    keywords=("weg", "wald"),
    before={"XMP-dc:Subject": ()},
    after={"XMP-dc:Subject": ("weg", "wald"), "XMP-dc:Title-x-default": "Ein Weg"},
    kept=(Kept(field="Description", reason="a person's words"),),
    origins={
        Stage.CAPTION: Origin(
            entry="e", model="m", digest=None, registry="r", profile="p", profile_hash="h", endpoint="u"
        )
    },
    seconds={"caption": 1.5},
    content_hash="abc",
    final_fingerprint=Fingerprint(size=4, mtime_ns=5, inode=6),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db", records.migrations())
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def test_of_several_tries_to_write_a_photo_only_the_last_can_have_taken_place(ledger: Ledger) -> None:
    for number in range(3):
        ledger.intend(RECORD.evolve(id=str(number)))
    assert [record.id for record in ledger.intended()] == ["2"]


def test_a_record_from_before_originals_were_kept_has_none() -> None:
    values = json.loads(records.record_to_json(RECORD))
    del values["original"]
    assert records.record_from_json(json.dumps(values)) == RECORD.evolve(original=None)


ANSWERS = Draft(
    caption="Ein Weg",
    origins=RECORD.origins,
    raw={Stage.CAPTION: 'Here you are: "Ein Weg" \ud83d'},
)


def test_what_the_models_said_is_kept_once(ledger: Ledger, database: Database) -> None:
    record = RECORD.evolve(answers=ANSWERS)
    assert records.record_to_json(record).count("Here you are") == 1
    ledger.add(record)
    assert of_day(database, date(2026, 3, 29)) == [record]


def test_a_record_from_before_raw_answers_were_kept_has_none() -> None:
    values = json.loads(
        records.record_to_json(RECORD.evolve(answers=ANSWERS, started_at="2026-03-29T23:58:00Z"))
    )
    del values["answers"]["raw"], values["started_at"], values["origins"]["caption"]["backend"]
    answers = ANSWERS.evolve(raw={})
    assert records.record_from_json(json.dumps(values)) == RECORD.evolve(answers=answers, started_at="")


def of_day(database: Database, day: date) -> list[Record]:
    with read_only(database.path) as db:
        return records.records_of(db, day)


def test_a_record_comes_back_as_it_was_on_its_own_local_day(ledger: Ledger, database: Database) -> None:
    ledger.add(RECORD)
    assert of_day(database, date(2026, 3, 29)) == [RECORD]
    assert of_day(database, date(2026, 3, 30)) == []


def test_a_record_is_unaudited_until_its_line_stands(ledger: Ledger) -> None:
    ledger.add(RECORD)
    assert ledger.unaudited() == [RECORD]
    ledger.mark_audited(RECORD)
    assert ledger.unaudited() == []


def test_an_intention_is_no_record_until_it_is_carried_out(ledger: Ledger, database: Database) -> None:
    ledger.intend(RECORD)
    assert ledger.intended() == [RECORD]
    assert ledger.unaudited() == []
    assert of_day(database, date(2026, 3, 29)) == []
    ledger.add(RECORD)
    assert ledger.intended() == []
    assert ledger.unaudited() == [RECORD]


def test_an_intention_that_was_not_carried_out_is_forgotten_but_never_a_record(ledger: Ledger) -> None:
    ledger.intend(RECORD)
    ledger.forget(RECORD)
    assert ledger.intended() == []
    ledger.add(RECORD)
    ledger.forget(RECORD)
    assert ledger.unaudited() == [RECORD]


def test_the_latest_record_of_each_photo_that_was_worked_on(ledger: Ledger, database: Database) -> None:
    ledger.add(RECORD)
    ledger.add(RECORD.evolve(id="2", title="Second"))
    ledger.add(RECORD.evolve(id="3", outcome=Outcome.SKIPPED))
    with read_only(database.path) as db:
        assert [record.id for record in records.latest_records(db)] == ["2"]
        assert records.finished_since(db, 0) == 2


def test_an_occasion_happens_once_a_day(ledger: Ledger) -> None:
    day = date(2026, 10, 25)
    assert not ledger.happened("summary", day)
    ledger.note_happened("summary", day, now=1)
    ledger.note_happened("summary", day, now=2)
    assert ledger.happened("summary", day)
    assert not ledger.happened("catch-up", day)


def at(path: str, **changes: object) -> Record:
    return RECORD.evolve(id=uuid.uuid4().hex, photo=RECORD.photo.evolve(path=Path(path))).evolve(**changes)


def below(database: Database, *paths: str) -> list[tuple[str, str | None]]:
    with read_only(database.path) as db:
        found = records.newest_below(db, map(Path, paths))
        return [(str(record.photo.path), record.title) for record in found]


def test_the_newest_record_of_each_photo_below_some_folders_and_no_others(
    ledger: Ledger, database: Database
) -> None:
    inside = ("/p/a/1.jpg", "/p/a/sub/caf\udce9.jpg")
    for path in (*inside, "/p/a.jpg", "/p/ab/2.jpg", "/q/3.jpg", "/p/a0/4.jpg"):
        ledger.add(at(path, title="old"))
    ledger.add(at("/p/a/1.jpg", title="new", outcome=Outcome.SKIPPED))
    ledger.intend(at("/p/a/sub/caf\udce9.jpg", title="may never be"))
    expected = [("/p/a/1.jpg", "new"), ("/p/a/sub/caf\udce9.jpg", "old")]
    assert below(database, "/p/a") == expected
    assert below(database, "/p/a/sub", "/p/a", "/p/a/1.jpg", "/p/a") == expected
    assert below(database, "/q/3.jpg", "/p/ab") == [("/p/ab/2.jpg", "old"), ("/q/3.jpg", "old")]
    assert below(database, "/p/a/2.jpg", "/r") == []
    assert below(database) == []
    assert len(below(database, "/")) == 6


def test_a_photo_that_moved_is_found_where_it_is_now(ledger: Ledger, database: Database) -> None:
    ledger.add(at("/p/a/1.jpg"))
    ledger.moved(Path("/p/a/1.jpg"), Path("/q/1.jpg"))
    assert below(database, "/p") == []
    assert below(database, "/q") == [("/q/1.jpg", "Ein Weg")]


def test_records_are_given_one_after_the_other_while_others_are_added(
    ledger: Ledger, database: Database
) -> None:
    for number in range(5):
        ledger.add(at(f"/p/{number}.jpg"))
    with read_only(database.path) as db:
        found = records.newest_below(db, [Path("/p")])
        first = next(found)
        ledger.add(at("/p/4.jpg", title="later"))
        rest = list(found)
    assert [record.photo.path.name for record in (first, *rest)] == [f"{number}.jpg" for number in range(5)]
    assert rest[-1].title == "Ein Weg"
