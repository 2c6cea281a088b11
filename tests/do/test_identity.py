"""Which picture is this? Names come again, markers travel with exports, answers are about one only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from support.metadata_files import draw, photo_at, stamp, tell
from support.studio import Studio, by_model, open_studio
from tagger_daemon.ledger import records
from tagger_daemon.model import Draft, JobState, Mode, Outcome
from tagger_daemon.service.recovery import settle_intentions
from tagger_daemon.service.undoing import Selection

FIRST = by_model("eyes-1", caption="A dog.", keywords=("dog", "beach", "blue"), description="One dog.")
SECOND = by_model("eyes-2", caption="Two cats.", keywords=("cat", "sea"), description="Cats at sea.")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path) as opened:
        yield opened


def other_picture(path: Path) -> Path:
    Image.new("RGB", (40, 24), "navy").save(path)
    return path


def test_a_partner_that_is_another_photo_by_now_lends_no_answers(studio: Studio) -> None:
    raw = draw(studio.folder / "IMG_1.nef").path
    studio.tag(raw, *FIRST)
    raw.unlink()
    draw(raw, "EXIF:Artist=another card")  # the camera's numbers begin anew
    jpeg = other_picture(studio.folder / "IMG_1.jpg")
    studio.asked.clear()
    studio.tag(jpeg, *SECOND)
    assert tell(jpeg, "XMP-dc:Title") == "Two cats."
    assert len(studio.asked) == 3


def test_an_export_with_the_marker_of_another_picture_gets_no_answers_about_that(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *FIRST)
    studio.tag(path, *SECOND)
    export = other_picture(studio.folder / "crop.jpg")
    stamp(export, "XMP-dc:Title=A dog.", "XMP-dc:Subject=dog")
    marker = {tag: tell(path, f"XMP-tagger:{tag}") for tag in ("SchemaVersion", "ContentHash", "Date")}
    with studio.metadata._exiftool.values_file({f"XMP-tagger:{k}": v for k, v in marker.items()}) as values:
        studio.metadata._exiftool.ask(values, "-overwrite_original", str(export))
    studio.asked.clear()
    studio.tag(export, *SECOND)
    assert [asked for asked, _ in studio.asked] == [export] * 3


def test_words_that_a_person_removed_in_the_legacy_block_stay_away(studio: Studio) -> None:
    words = ("XMP-dc:Subject=Anna", "XMP-dc:Subject=Rose", "IPTC:Keywords=Anna", "IPTC:Keywords=Rose")
    path = draw(studio.folder / "a.jpg", *words, "IPTCDigest=new").path
    studio.tag(path, *FIRST)
    stamp(path, "IPTC:Keywords-=dog", "IPTC:Keywords-=Anna")  # by a program that knows nothing of XMP
    studio.tag(path, *by_model("eyes-2", keywords=("dog", "sea")))
    assert tell(path, "IPTC:Keywords") == "Rose|sea"
    assert "dog" not in tell(path, "XMP-dc:Subject").split("|")
    assert "Anna" in tell(path, "XMP-dc:Subject").split("|")  # a person's: it is for them to remove it there
    assert tell(path, "Photoshop:IPTCDigest") != tell(path, "File:CurrentIPTCDigest")


def test_answers_that_were_left_are_not_written_over_an_undoing(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *FIRST)
    studio.undo()
    said, rules = SECOND
    photo = photo_at(path).evolve(folder=studio.folder)
    studio.backlog.reopen([path], now=5)
    (job,) = studio.backlog.claim(limit=1, now=6, lease_ms=10**9)
    draft = Draft(caption=said.caption, keywords=said.keywords, description=said.description)
    studio.backlog.save_draft(job, draft.evolve(origins=said.origins), now=7)
    studio.backlog.finish(job, state=JobState.FAILED, fingerprint=photo.fingerprint, now=8, error="x")
    studio.backlog.retry(None, now=9)
    assert studio.tag(path, said, rules).outcome is Outcome.SKIPPED
    assert tell(path, "XMP-dc:Title") == ""


def test_what_was_proposed_is_known_until_it_is_written(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    said, rules = FIRST
    record = studio.tag(path, said, rules.evolve(mode=Mode.PROPOSE))
    assert (record.target, record.original) == (None, None)
    with studio.database.transaction() as db:
        assert records.unwritten_photos(db, after=None, limit=9) == [(path, Outcome.PROPOSED)]
    assert studio.tag(path, said, rules).outcome is Outcome.WRITTEN
    with studio.database.transaction() as db:
        assert records.unwritten_photos(db, after=None, limit=9) == []


def test_a_marker_that_no_program_of_ours_wrote_harms_nobody(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    odd = {
        "XMP-tagger:SchemaVersion": "1",
        "XMP-tagger:Fields": json.dumps({"XMP-dc:Title": "\ud800", "x": ["y"], "XMP-dc:Source": "0" * 16}),
        "XMP-tagger:Models": json.dumps({"caption": {"model": "\ud800", "entry": 1}, "keywords": 3}),
    }
    with studio.metadata._exiftool.values_file(odd) as values:
        studio.metadata._exiftool.ask(values, "-overwrite_original", str(path))
    assert studio.tag(path, *FIRST).outcome is Outcome.WRITTEN
    assert tell(path, "XMP-dc:Title") == "A dog."


def test_an_undoing_that_was_killed_before_it_wrote_leaves_no_trace(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *FIRST)
    undoer = studio.undoer()
    (found,) = undoer.find(Selection())[0]
    effect = undoer.effect(found, None)
    assert effect is not None
    record = undoer._record(effect)
    assert record.content_hash is not None
    with studio.database.transaction():
        studio.ledger.intend(record)
        studio.ledger.note_undone(record.content_hash, at=record.finished_at, known_as=record.content_hash)
    settle_intentions(studio.database, studio.backlog, studio.ledger, studio.metadata, now=9)
    assert studio.ledger.intended() == []
    assert studio.tag(path, *SECOND).outcome is Outcome.WRITTEN


def test_a_copy_that_was_undone_and_removed_does_not_stand_for_the_photo(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *FIRST)
    copy = studio.folder / "b.jpg"
    copy.write_bytes(path.read_bytes())
    studio.tag(copy, *FIRST)
    studio.undo(copy)
    copy.unlink()
    assert len(studio.undo(path)) == 1
    assert tell(path, "XMP-dc:Title") == ""
