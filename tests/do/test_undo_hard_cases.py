"""Taking back what was written after all that can come in between: edits, copies, other names, deaths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.metadata_files import draw, stamp, tell
from support.studio import Studio, by_model, meaning, open_studio
from tagger_daemon.service.undoing import release

FIRST = by_model("eyes-1", caption="A dog.", keywords=("dog", "beach", "blue"), description="One dog.")
SECOND = by_model("eyes-2", caption="Two dogs.", keywords=("dog", "sea"), description="Dogs at sea.")
THIRD = by_model("eyes-3", caption="A cat.", keywords=("beach", "dog", "cat"), description="One cat.")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path) as opened:
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
