"""What was written is taken back: exactly, only where it still stands, and for good."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from support.metadata_files import draw, photo_at, policy, stamp, tell
from support.studio import Studio, by_model, meaning, open_studio
from tagger_daemon.errors import LeaseLost, WriteRefused
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.model import JobState, Mode, Outcome
from tagger_daemon.service.recovery import settle_intentions
from tagger_daemon.service.undoing import Selection, release

FIRST = by_model("eyes-1", caption="A dog.", keywords=("dog", "beach", "blue"), description="One dog.")
SECOND = by_model("eyes-2", caption="Two dogs.", keywords=("dog", "sea"), description="Dogs at sea.")
HAND_TAGGED = (
    *("XMP-dc:Subject=Rose", "XMP-dc:Subject=Dog", "XMP-lr:HierarchicalSubject=People|Rose"),
    *("XMP-digiKam:TagsList=People/Rose", "XMP-xmp:Rating=4", "XMP-xmp:MetadataDate=2020:01:02 03:04:05"),
    *("XMP-dc:Title-de=Hund", "XMP-iptcCore:AltTextAccessibility-de=Ein Hund"),
)
LEGACY = (*("IPTC:Keywords=José", "IPTC:City=Café", "IPTC:By-line=Renée"), "XMP-dc:Subject=José")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["jpg", "tif", "png", "psd", "dng"])
@pytest.mark.parametrize("words", [(), HAND_TAGGED])
def test_undoing_everything_leaves_the_metadata_as_it_was(
    studio: Studio, kind: str, words: tuple[str, ...]
) -> None:
    path = draw(studio.folder / f"photo.{kind}", *words).path
    before = meaning(path)
    studio.tag(path, *FIRST)
    assert studio.tag(path, *SECOND).outcome is Outcome.WRITTEN
    assert tell(path, "XMP-dc:Subject").endswith("sea")
    (effect,) = studio.undo()
    assert meaning(path) == before
    assert effect.taken.whole
    assert effect.taken.edited == effect.taken.gone == ()


@pytest.mark.parametrize("charset", ["Latin", "UTF8"])
def test_a_legacy_block_gets_back_its_encoding_and_its_digest(studio: Studio, charset: str) -> None:
    path = draw(studio.folder / "photo.jpg", *LEGACY, iptc_charset=charset).path
    before = meaning(path)
    studio.tag(path, *by_model("eyes", caption="日本", keywords=("海",), description="…"))
    assert tell(path, "IPTC:Keywords") == "José|海"
    studio.undo()
    after = meaning(path)
    if charset == "UTF8":  # it had been all along, without saying so; that it says so now harms nobody
        for name in ("IPTC:CodedCharacterSet", "IPTC:EnvelopeRecordVersion"):
            assert name not in before
            assert after.pop(name)
        assert tell(path, "IPTC:City") == "Café"
        assert after.keys() == before.keys()
    else:
        assert after == before


@pytest.mark.parametrize(
    "edit", [(), ("IPTC:Keywords+=box 7",), ("IPTC:Keywords+=box 7", "IPTC:By-line=Zoë")]
)
def test_a_legacy_block_that_counted_more_than_xmp_does_so_again(
    studio: Studio, edit: tuple[str, ...]
) -> None:
    digest = "new" if edit else "0" * 32  # somebody edits the block between our writes, or did so before
    words = (*LEGACY, "IPTC:Keywords=Hafen", "XMP-dc:Creator=Renée")
    path = draw(studio.folder / "photo.jpg", *words, f"IPTCDigest={digest}").path
    before = meaning(path)
    studio.tag(path, *FIRST)
    stamp(path, *edit)
    studio.tag(path, *SECOND)
    studio.undo()
    assert tell(path, "Photoshop:IPTCDigest") != tell(path, "File:CurrentIPTCDigest")
    assert tell(path, "IPTC:Keywords") == "|".join(("José", "Hafen", *(("box 7",) if edit else ())))
    assert tell(path, "XMP-dc:Subject") == "José"
    if not edit:
        assert meaning(path) == before


def test_a_sidecar_that_is_ours_alone_goes(studio: Studio) -> None:
    raw = draw(studio.folder / "IMG.nef").path
    studio.tag(raw, *FIRST)
    assert (studio.folder / "IMG.xmp").exists()
    studio.undo()
    assert [path.name for path in studio.folder.iterdir()] == ["IMG.nef"]


def test_a_sidecar_that_got_a_persons_words_since_keeps_them(studio: Studio) -> None:
    raw = draw(studio.folder / "IMG.nef").path
    studio.tag(raw, *FIRST)
    sidecar = studio.folder / "IMG.xmp"
    stamp(sidecar, "XMP-xmp:Rating=5", "XMP-dc:Subject+=Rose", "XMP-dc:Title=Mine")
    (effect,) = studio.undo()
    assert (tell(sidecar, "XMP-xmp:Rating"), tell(sidecar, "XMP-dc:Subject")) == ("5", "Rose")
    assert tell(sidecar, "XMP-dc:Title") == "Mine"
    assert tell(sidecar, "XMP-dc:Description") == tell(sidecar, "XMP-tagger:all") == ""
    assert effect.taken.edited == ("XMP-dc:Title",)


def test_a_sidecar_that_was_there_before_stays(studio: Studio) -> None:
    raw = draw(studio.folder / "IMG.nef").path
    sidecar = studio.folder / "IMG.xmp"
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-crs:Exposure2012=+1.00", "XMP-dc:Subject=mine")
    before = meaning(sidecar)
    studio.tag(raw, *FIRST)
    studio.undo()
    assert meaning(sidecar) == before


def test_only_what_still_is_ours_is_taken_back_and_all_is_counted(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    stamp(path, "XMP-dc:Title=Mine", "XMP-dc:Description=", "XMP-dc:Subject-=blue", "XMP-dc:Subject+=Rose")
    (effect,) = studio.undo()
    assert effect.taken.edited == ("XMP-dc:Title",)
    assert effect.taken.gone == ("XMP-dc:Description",)
    assert set(effect.taken.restored) == {
        "XMP-iptcCore:AltTextAccessibility",
        "XMP-iptcCore:ExtDescrAccessibility",
        "XMP-dc:Subject",
    }
    assert tell(path, "XMP-dc:Subject") == "Rose"
    assert tell(path, "XMP-dc:Title") == "Mine"


def test_undoing_the_newer_model_brings_back_the_older_ones_words(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    studio.tag(path, *FIRST)
    first = meaning(path)
    studio.tag(path, *SECOND)
    studio.undo(model="eyes-2")
    after = meaning(path)
    assert tell(path, "XMP-dc:Title") == "A dog."
    assert tell(path, "XMP-dc:Subject") == "Rose|dog|beach|blue"
    changed = {name for name in after if after[name] != first.get(name)}
    assert changed <= {"XMP-xmp:MetadataDate"}
    assert studio.tag(path, *FIRST).outcome is Outcome.SKIPPED  # the older model's words are current for it


def test_undoing_the_older_model_leaves_the_newer_ones_words_and_then_nothing_is_left(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    before = meaning(path)
    studio.tag(path, *FIRST)
    studio.tag(path, *SECOND)
    studio.undo(model="eyes-1")
    assert tell(path, "XMP-dc:Title") == "Two dogs."
    assert tell(path, "XMP-dc:Subject") == "Rose|dog|sea"
    studio.undo(model="eyes-2")
    assert meaning(path) == before


def test_a_single_keyword_is_taken_back_everywhere_and_never_proposed_again(studio: Studio) -> None:
    paths = [draw(studio.folder / name, *HAND_TAGGED[:4]).path for name in ("a.jpg", "b.jpg")]
    theirs = draw(studio.folder / "c.jpg", "XMP-dc:Subject=Blue").path
    for path in (*paths, theirs):
        studio.tag(path, *FIRST)
    effects = studio.undo(keyword="Blue")
    assert [effect.found.path for effect in effects] == paths
    for path in paths:
        for tag in ("XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList"):
            assert "beach" in tell(path, tag)
            assert "blue" not in tell(path, tag)
        assert tell(path, "XMP-dc:Title") == "A dog."
    assert tell(theirs, "XMP-dc:Subject") == "Blue|dog|beach"
    studio.tag(paths[0], *by_model("eyes-3", keywords=("blue", "sky")))
    assert "blue" not in tell(paths[0], "XMP-dc:Subject")
    assert "sky" in tell(paths[0], "XMP-dc:Subject")
    studio.undo()
    assert tell(paths[0], "XMP-dc:Subject") == tell(paths[1], "XMP-dc:Subject") == "Rose|Dog"


def test_what_was_taken_back_is_left_alone_until_a_person_says_otherwise(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.undo(path)
    stamp(path, "XMP-xmp:Rating=3")  # a change that has it queued anew
    record = studio.tag(path, *FIRST)
    assert record.outcome is Outcome.SKIPPED
    assert record.reason is not None
    assert "taken back" in record.reason
    assert release(studio.database, studio.folder, now=9) == 1
    studio.asked.clear()
    assert studio.tag(path, *FIRST).outcome is Outcome.WRITTEN
    assert len(studio.asked) == 3  # what was taken back is not written again from memory


@pytest.mark.parametrize(
    ("selection", "undone"),
    [
        ({"run": "monday"}, {"a.jpg"}),
        ({"model": "eyes-2"}, {"b.jpg"}),
        ({"profile": "default"}, {"a.jpg", "b.jpg"}),
        ({"profile": "travel"}, set()),
        ({"run": "monday", "model": "eyes-2"}, set()),
        ({"keyword": "sea"}, {"b.jpg"}),
        ({}, {"a.jpg", "b.jpg"}),
    ],
)
def test_what_is_given_narrows_down_what_is_meant(
    studio: Studio, selection: dict[str, str], undone: set[str]
) -> None:
    studio.tag(draw(studio.folder / "a.jpg").path, *FIRST, run="monday")
    studio.tag(draw(studio.folder / "b.jpg").path, *SECOND, run="tuesday")
    assert {effect.found.path.name for effect in studio.undo(**selection)} == undone


def test_photos_are_found_by_day_by_folder_and_under_another_name(studio: Studio) -> None:
    below = studio.folder / "below"
    below.mkdir()
    first, second = draw(studio.folder / "a.jpg").path, below / "b.jpg"
    Image.new("RGB", (20, 10)).save(second)
    studio.tag(first, *FIRST)
    studio.tag(second, *FIRST)
    day = studio.ledger.unaudited()[0].finished_at[:10]
    undoer = studio.undoer()
    assert len(undoer.find(Selection(day=date.fromisoformat(day)))[0]) == 2
    assert undoer.find(Selection(day=date(1999, 1, 1)))[0] == []
    assert [found.path for found in undoer.find(Selection(paths=frozenset({below})))[0]] == [second]
    moved = second.rename(studio.folder / "moved.jpg")
    assert [found.path for found in undoer.find(Selection(paths=frozenset({moved})))[0]] == [moved]
    assert undoer.find(Selection(paths=frozenset({below}))) == ([], [second])


def test_a_copy_of_a_tagged_photo_is_undone_by_its_own_name(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    before = meaning(path)
    studio.tag(path, *FIRST)
    copy = studio.folder / "copy.jpg"
    copy.write_bytes(path.read_bytes())
    studio.undo(copy)
    assert meaning(copy) == before
    assert tell(path, "XMP-dc:Title") == "A dog."
    studio.undo(path)
    assert meaning(path) == before


def test_a_write_that_fails_counts_as_not_taken_back(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    path.chmod(0o444)
    with pytest.raises(WriteRefused, match="write-protected"):
        studio.undo()
    assert studio.ledger.intended() == []
    path.chmod(0o644)
    assert studio.tag(path, *SECOND).outcome is Outcome.WRITTEN


def test_a_photo_that_the_daemon_works_on_is_left_to_it(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    content = path.read_bytes()
    studio.backlog.reopen([path], now=5)
    studio.backlog.claim(limit=1, now=6, lease_ms=10**9)
    with pytest.raises(LeaseLost, match="being worked on"):
        studio.undo()
    assert path.read_bytes() == content


def test_a_death_between_the_swap_and_the_record_is_found_out(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    undoer = studio.undoer()
    (found,) = undoer.find(Selection())[0]
    effect = undoer.effect(found, None)
    assert effect is not None

    class Killed(Exception):
        """As if the process ended here."""

    class Dying(type(studio.ledger)):  # type: ignore[misc]  # the class is what it is at run time
        def add(self, record: object) -> None:
            raise Killed

    undoer._ledger = Dying(studio.database)
    with pytest.raises(Killed):
        undoer.carry_out(effect)
    assert tell(path, "XMP-dc:Title") == ""
    settle_intentions(studio.database, studio.backlog, studio.ledger, studio.metadata, now=9)
    assert studio.ledger.intended() == []
    assert studio.undoer().find(Selection()) == ([], [])
    assert studio.tag(path, *FIRST).outcome is Outcome.SKIPPED


def test_a_persons_text_that_was_replaced_by_wish_comes_back(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Title=Mine", "XMP-dc:Title-de=Meins").path
    before = meaning(path)
    said, rules = FIRST
    record = studio.tag(path, said, rules.evolve(overwrite=True))
    assert tell(path, "XMP-dc:Title") == "A dog."
    assert record.before["XMP-dc:Title"] == "Mine"
    studio.undo()
    assert meaning(path) == before


def test_the_daemon_does_not_take_an_undone_photo_for_a_new_one(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.undo()
    seen = studio.backlog.folders(now=9)[0].counts
    assert seen == {JobState.DONE: 1}
    assert studio.backlog.unknown([photo_at(path).evolve(folder=studio.folder)]) == []


def test_a_line_of_the_audit_tells_what_was_taken_back(studio: Studio, tmp_path: Path) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.undo()
    (file,) = (tmp_path / "audit").iterdir()
    line = json.loads(file.read_text().splitlines()[-1])
    assert (line["outcome"], line["image"]) == ("undone", os.fspath(path))
    assert line["before"]["XMP-dc:Title"] == "A dog."
    assert line["after"]["XMP-dc:Title"] is None


def test_propose_writes_nothing_and_asks_nobody_twice(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    content = path.read_bytes()
    said, rules = FIRST
    record = studio.tag(path, said, rules.evolve(mode=Mode.PROPOSE))
    assert (record.outcome, path.read_bytes()) == (Outcome.PROPOSED, content)
    assert record.after["XMP-dc:Title"] == "A dog."
    assert len(studio.asked) == 3
    assert studio.tag(path, said, rules).outcome is Outcome.WRITTEN
    assert len(studio.asked) == 3
    assert policy().mode is Mode.FILL


def test_raw_and_jpeg_are_asked_about_once_and_both_are_written(studio: Studio) -> None:
    raw, jpeg = draw(studio.folder / "IMG_1.NEF").path, draw(studio.folder / "IMG_1.jpg").path
    studio.tag(raw, *FIRST)
    studio.tag(jpeg, *FIRST)
    assert len(studio.asked) == 3
    assert tell(jpeg, "XMP-dc:Title") == tell(studio.folder / "IMG_1.xmp", "XMP-dc:Title") == "A dog."
    assert sorted(path.name for path in studio.folder.iterdir()) == ["IMG_1.NEF", "IMG_1.jpg", "IMG_1.xmp"]
    assert tell(studio.folder / "IMG_1.xmp", "XMP-photoshop:SidecarForExtension") == "NEF"
