"""Taking back what was written after all that can come in between: edits, copies, other names, deaths."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from support.metadata_files import draw, open_store, photo_at, stamp, tell
from support.studio import Studio, by_model, meaning, open_studio
from tagger_daemon.backlog.retry import Decision
from tagger_daemon.errors import PhotoGone, WriteRefused
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Draft, JobState, Outcome
from tagger_daemon.service.recovery import is_by_hand, settle_intentions
from tagger_daemon.service.undoing import Selection, release

FIRST = by_model("eyes-1", caption="A dog.", keywords=("dog", "beach", "blue"), description="One dog.")
SECOND = by_model("eyes-2", caption="Two dogs.", keywords=("dog", "sea"), description="Dogs at sea.")
THIRD = by_model("eyes-3", caption="A cat.", keywords=("beach", "dog", "cat"), description="One cat.")


@pytest.fixture(scope="module")
def metadata() -> Iterator[MetadataStore]:
    with open_store() as store:
        yield store


@pytest.fixture
def studio(tmp_path: Path, metadata: MetadataStore) -> Iterator[Studio]:
    with open_studio(tmp_path, metadata=metadata) as opened:
        yield opened


# --- What a person did between our writes ---


@pytest.mark.parametrize("edit", ["XMP-dc:Title=Mine", "XMP-dc:Description=Mine"])
def test_a_sidecar_of_ours_with_one_text_of_a_persons_is_not_removed(studio: Studio, edit: str) -> None:
    raw = draw(studio.folder / "IMG.nef").path
    studio.tag(raw, *FIRST)
    sidecar = studio.folder / "IMG.xmp"
    stamp(sidecar, edit)
    studio.undo()
    assert tell(sidecar, edit.partition("=")[0]) == "Mine"
    assert tell(sidecar, "XMP-dc:Subject") == tell(sidecar, "XMP-tagger:all") == ""


@pytest.mark.parametrize("models", [("eyes-1", "eyes-2"), ("eyes-2", "eyes-1"), (None,)])
def test_a_keyword_that_a_person_added_between_two_writes_stays(
    studio: Studio, models: tuple[str | None, ...]
) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    studio.tag(path, *FIRST)
    stamp(path, "XMP-dc:Subject+=Oma")
    studio.tag(path, *SECOND)
    for model in models:
        studio.undo(model=model)
    assert tell(path, "XMP-dc:Subject") == "Rose|Oma"
    assert tell(path, "XMP-tagger:all") == ""


def test_a_text_that_a_person_wrote_over_ours_comes_back_and_not_what_was_there_before(
    studio: Studio,
) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    stamp(path, "XMP-dc:Title=Mine")
    said, rules = SECOND
    studio.tag(path, said, rules.evolve(overwrite=True))
    assert tell(path, "XMP-dc:Title") == "Two dogs."
    studio.undo()
    assert tell(path, "XMP-dc:Title") == "Mine"


def test_a_keyword_of_a_persons_that_only_the_legacy_block_held_never_counts_as_ours(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "IPTC:Keywords=Oma", "XMP-dc:Subject=Rose").path
    studio.tag(path, *FIRST)
    studio.tag(path, *SECOND)
    studio.undo(model="eyes-2")
    release(studio.database, None, now=9)
    studio.tag(path, *THIRD)
    assert set(tell(path, "IPTC:Keywords").split("|")) == {"Oma", "Rose", "beach", "dog", "cat"}
    assert set(tell(path, "XMP-dc:Subject").split("|")) == {"Oma", "Rose", "beach", "dog", "cat"}


@pytest.mark.parametrize("model", [None, "eyes-2"])
def test_a_keyword_that_a_person_deleted_stays_away_after_an_undo_too(
    studio: Studio, model: str | None
) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.tag(path, *SECOND)
    stamp(path, "XMP-dc:Subject-=dog")
    studio.undo(model=model)
    release(studio.database, None, now=9)
    studio.tag(path, *THIRD)
    assert "dog" not in tell(path, "XMP-dc:Subject").split("|")
    assert "cat" in tell(path, "XMP-dc:Subject").split("|")


def test_a_keyword_of_ours_that_a_person_respelt_is_theirs_and_stays(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    stamp(path, "XMP-dc:Subject=Dog", "XMP-dc:Subject=beach", "XMP-dc:Subject=blue")
    studio.tag(path, *SECOND)
    studio.undo()
    assert tell(path, "XMP-dc:Subject") == "Dog"


def test_records_of_before_markers_were_kept_are_taken_back_too(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    before = meaning(path)
    record = studio.tag(path, *FIRST)
    old = record.evolve(
        # As it was noted then: by the names that were written, and without what came later.
        before={"XMP-dc:Subject": ("Rose",)},
        after={
            f"{tag}-x-default" if tag in ("XMP-dc:Title", "XMP-dc:Description") else tag: value
            for tag, value in record.after.items()
        },
        marker=None,
        rejected=(),
        run="",
    )
    studio.ledger.add(old)
    (effect,) = studio.undo()
    assert effect.taken.gone == effect.taken.edited == ()
    after = meaning(path)
    # Its date before that write is not known.
    assert {name for name in after if after[name] != before.get(name)} == {"XMP-xmp:MetadataDate"}


# --- Copies, other names, other pictures ---


def copy_of(path: Path, name: str = "copy.jpg") -> Path:
    copy = path.with_name(name)
    copy.write_bytes(path.read_bytes())
    return copy


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (48, 32), colour).save(path, "TIFF" if path.suffix == ".NEF" else None)
    return path


def test_a_copy_goes_its_own_way_from_the_copying_on(studio: Studio) -> None:
    original = draw(studio.folder / "a.jpg", "XMP-dc:Subject=Rose").path
    before = meaning(original)
    studio.tag(original, *FIRST)
    plain, renewed = copy_of(original, "plain.jpg"), copy_of(original, "renewed.jpg")
    studio.tag(renewed, *SECOND)
    studio.tag(original, *THIRD)
    for path in (original, plain, renewed):
        studio.undo(path)
        assert meaning(path) == before, path.name


def test_of_a_copy_only_the_newer_words_can_be_taken_back(studio: Studio) -> None:
    original = draw(studio.folder / "a.jpg").path
    studio.tag(original, *FIRST)
    copy = copy_of(original)
    studio.tag(copy, *SECOND)
    studio.undo(copy, model="eyes-2")
    assert (tell(copy, "XMP-dc:Title"), tell(copy, "XMP-dc:Subject")) == ("A dog.", "dog|beach|blue")
    studio.undo(original)
    studio.undo(copy, model="eyes-1")
    assert tell(copy, "XMP-dc:Title") == tell(copy, "XMP-tagger:all") == ""


def test_a_copy_without_our_words_has_nothing_to_be_taken_back(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    untagged = copy_of(path)
    studio.tag(path, *FIRST)
    content = untagged.read_bytes()
    assert studio.undo(untagged) == []
    assert untagged.read_bytes() == content


def test_a_failed_undo_of_a_copy_does_not_have_the_original_tagged_again(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *FIRST)
    copy = copy_of(path)
    studio.undo(path)
    copy.chmod(0o444)
    studio.now += timedelta(seconds=1)
    with pytest.raises(WriteRefused):
        studio.undo(copy)
    assert studio.tag(path, *FIRST).outcome is Outcome.SKIPPED


def test_another_picture_of_the_same_name_keeps_what_was_written_to_it(studio: Studio) -> None:
    path = picture(studio.folder / "IMG_1.jpg", "red")
    studio.tag(path, *FIRST, run="monday")
    path.rename(studio.folder.parent / "away.jpg")
    picture(path, "green")
    studio.tag(path, *THIRD, run="tuesday")
    undoer = studio.undoer()
    assert undoer.find(Selection(run="monday")) == ([], [path])
    studio.undo(path)
    assert tell(path, "XMP-dc:Title") == tell(path, "XMP-dc:Subject") == ""


def test_a_picture_that_nobody_has_seen_yet_under_the_name_is_left_alone(studio: Studio) -> None:
    path = picture(studio.folder / "IMG_1.jpg", "red")
    studio.tag(path, *FIRST)
    path.unlink()
    picture(path, "green")
    stamp(path, "XMP-dc:Subject=dog")
    undoer = studio.undoer()
    (found,) = undoer.find(Selection())[0]
    with pytest.raises(PhotoGone, match="another picture"):
        undoer.effect(found, None)


def test_a_photo_that_was_edited_and_renewed_since_is_taken_back_to_the_beginning(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    studio.tag(path, *FIRST)
    with Image.open(path) as image:  # as Photoshop does: other pixels, and the XMP stays
        xmp, pixels = image.info["xmp"], image.convert("RGB").transpose(Image.Transpose.ROTATE_180)
    pixels.save(path, xmp=xmp)
    studio.tag(path, *SECOND)
    assert tell(path, "XMP-dc:Title") == "Two dogs."
    assert len(studio.undo()) == 1
    assert (tell(path, "XMP-dc:Title"), tell(path, "XMP-dc:Subject")) == ("", "Rose")
    assert tell(path, "XMP-tagger:all") == ""


def test_a_photo_that_was_edited_since_is_left_alone_all_the_same_and_can_be_tagged_again(
    studio: Studio,
) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    with Image.open(path) as image:
        xmp, pixels = image.info["xmp"], image.convert("RGB").transpose(Image.Transpose.ROTATE_180)
    pixels.save(path, xmp=xmp)
    studio.undo()
    assert studio.tag(path, *FIRST).outcome is Outcome.SKIPPED
    assert release(studio.database, path, now=9) == 1
    assert studio.tag(path, *FIRST).outcome is Outcome.WRITTEN


def test_photos_moved_to_where_nobody_watches_are_found_by_their_new_folder(studio: Studio) -> None:
    jpeg, raw = draw(studio.folder / "a.jpg").path, picture(studio.folder / "b.NEF", "red")
    for path in (jpeg, raw):
        studio.tag(path, *FIRST)
    archive = studio.folder.parent / "archive"
    archive.mkdir()
    for name in ("a.jpg", "b.NEF", "b.xmp"):
        (studio.folder / name).rename(archive / name)
    picture(archive / "theirs.jpg", "green")
    (archive / "torn.jpg").write_bytes(b"\xff\xd8" + bytes((archive / "a.jpg").stat().st_size - 2))
    assert {effect.found.path.name for effect in studio.undo(archive)} == {"a.jpg", "b.NEF"}
    assert sorted(path.name for path in archive.iterdir()) == ["a.jpg", "b.NEF", "theirs.jpg", "torn.jpg"]
    assert tell(archive / "a.jpg", "XMP-dc:Title") == ""


def test_a_sidecar_that_spells_the_name_in_another_case_is_found(studio: Studio) -> None:
    raw = picture(studio.folder / "IMG_1.NEF", "red")
    sidecar = studio.folder / "img_1.xmp"
    sidecar.write_bytes(EMPTY)
    studio.tag(raw, *FIRST)
    assert tell(sidecar, "XMP-dc:Title") == "A dog."
    studio.undo()
    assert tell(sidecar, "XMP-dc:Title") == ""


def test_a_sidecar_that_is_gone_already_counts_as_taken_back(studio: Studio) -> None:
    raw = picture(studio.folder / "IMG_1.NEF", "red")
    studio.tag(raw, *FIRST)
    (studio.folder / "IMG_1.xmp").unlink()
    (effect,) = studio.undo()
    assert "XMP-dc:Title" in effect.taken.gone
    assert studio.undoer().find(Selection()) == ([], [])
    assert studio.tag(raw, *FIRST).outcome is Outcome.SKIPPED
    release(studio.database, None, now=9)
    assert studio.tag(raw, *FIRST).outcome is Outcome.WRITTEN
    assert tell(studio.folder / "IMG_1.xmp", "XMP-dc:Subject") == "dog|beach|blue"  # nobody refused a keyword


@pytest.mark.parametrize("first_beside", [True, False])
def test_words_in_the_file_and_beside_it_are_taken_back_both(studio: Studio, first_beside: bool) -> None:
    """As after another exiftool came, which writes into files that the old one did not write into."""
    path = draw(studio.folder / "photo.tif").path
    before = meaning(path)
    for model, beside in ((FIRST, first_beside), (SECOND, not first_beside)):
        assert studio.tag(path, *model, beside=beside).outcome is Outcome.WRITTEN
    assert (studio.folder / "photo.tif.xmp").exists()
    assert len(studio.undo()) == 2
    assert [one.name for one in studio.folder.iterdir()] == ["photo.tif"]
    assert meaning(path) == before


# --- What the daemon does afterwards ---


def test_what_was_taken_back_in_part_is_not_renewed_by_itself(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.tag(path, *SECOND)
    studio.undo(model="eyes-2")
    assert studio.tag(path, *SECOND).outcome is Outcome.SKIPPED
    assert tell(path, "XMP-dc:Title") == "A dog."
    assert release(studio.database, None, now=9) == 1
    assert studio.tag(path, *SECOND).outcome is Outcome.WRITTEN


def test_a_photo_that_was_half_asked_about_is_left_alone_all_the_same(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    said, _ = SECOND
    studio.backlog.reopen([path], now=5)
    (job,) = studio.backlog.claim(limit=1, now=6, lease_ms=10**9)
    studio.backlog.save_draft(job, Draft(caption=said.caption, origins=said.origins), now=7)
    waits = Decision(state=JobState.WAITING, delay=0, attempts=0)
    studio.backlog.put_back(job, waits, now=8, error="no server", error_class="ServerUnavailable")
    studio.undo()
    assert studio.tag(path, *SECOND).outcome is Outcome.SKIPPED
    assert tell(path, "XMP-dc:Title") == ""


def test_a_photo_of_a_folder_that_was_watched_by_another_name_is_kept_from_the_daemon(
    studio: Studio,
) -> None:
    outer = studio.folder.parent
    path = draw(studio.folder / "photo.jpg").path
    studio.backlog.watch_only([outer])  # as it was once
    studio.backlog.enqueue([photo_at(path).evolve(folder=outer)], priority=1, now=1)
    studio.tag(path, *FIRST)
    studio.undo()
    assert studio.backlog.unknown([photo_at(path).evolve(folder=studio.folder)]) == []
    assert release(studio.database, None, now=9) == 1
    assert [job.photo.path for job in studio.backlog.claim(limit=9, now=10, lease_ms=9)] == [path]


# --- Deaths ---


class Killed(Exception):
    """As if the process ended here."""


def dies(studio: Studio, part: str, name: str) -> None:
    """Take everything back, and die at a call of `name` of one of the undoer's parts."""
    undoer = studio.undoer()
    (found,) = undoer.find(Selection())[0]
    effect = undoer.effect(found, None)
    assert effect is not None

    def die(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getattr(undoer, part), name, die)
        patch.setattr(
            undoer._backlog, "let_go", lambda *_, **__: None
        )  # a process that is killed clears nothing away
        with pytest.raises(Killed):
            undoer.carry_out(effect)


@pytest.mark.parametrize(
    ("part", "name", "taken"),
    [("_ledger", "intend", False), ("_metadata", "apply", False), ("_ledger", "add", True)],
)
@pytest.mark.parametrize("moved", [False, True])
def test_whatever_an_undo_dies_of_the_next_one_brings_it_to_its_end(
    studio: Studio, part: str, name: str, taken: bool, moved: bool
) -> None:
    path = draw(studio.folder / "photo.jpg").path
    before = meaning(path)
    studio.tag(path, *FIRST)
    if moved:
        path = path.rename(studio.folder.parent / "moved.jpg")
        studio.ledger.moved(studio.folder / "photo.jpg", path)
    dies(studio, part, name)
    assert (meaning(path) == before) is taken
    leftover = path.with_name(f".{path.name}.tagger-0123456789ab.jpg")
    theirs = path.with_name(".other.jpg.tagger-0123456789ab.jpg")
    leftover.touch()
    theirs.touch()
    parts = (studio.database, studio.backlog, studio.ledger, studio.metadata)
    settle_intentions(*parts, now=9, mine=is_by_hand)
    studio.backlog.recover_by_hand(now=9)
    assert theirs.exists()
    assert leftover.exists() is (name == "intend")
    assert studio.ledger.intended() == []
    assert len(studio.undo()) == (0 if taken else 1)
    assert meaning(path) == before


def test_what_a_dead_undo_held_is_handed_back_at_the_start_and_charged_to_nobody(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.backlog.recover(now=3, boot="a")
    dies(studio, "_ledger", "add")
    for _ in range(5):  # starts after deaths of the service, while an undo is at work
        assert studio.backlog.recover(now=4, boot="a", by_hand=True) == []
        assert studio.backlog.claim(limit=9, now=5, lease_ms=9) == []
    assert studio.backlog.recover(now=6, boot="a") == []
    assert len(studio.backlog.claim(limit=9, now=7, lease_ms=9)) == 1


def test_what_a_dead_daemon_worked_on_is_taken_back_and_still_looked_at_by_the_next(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    studio.backlog.reopen([path], now=5)
    studio.backlog.claim(limit=1, now=6, lease_ms=10**9)
    studio.daemon_runs = False
    studio.undo()
    assert tell(path, "XMP-dc:Title") == ""
    studio.backlog.recover(now=7, boot="a")
    assert len(studio.backlog.claim(limit=1, now=8, lease_ms=9)) == 1


def test_a_photo_that_could_not_be_written_is_still_looked_at_if_it_had_changed(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, *FIRST)
    stamp(path, "XMP-xmp:Rating=3")
    path.chmod(0o444)
    with pytest.raises(WriteRefused):
        studio.undo()
    changed = photo_at(path).evolve(folder=studio.folder)
    assert studio.backlog.unknown([changed]) == [changed]
