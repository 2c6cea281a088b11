"""What models are told of a photo's words: a person's, and never ours, whatever programs do to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.metadata_files import draw, open_store, stamp
from support.studio import Studio, by_model, open_studio
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.vision.facts import fact_lines

CAPTION, DESCRIPTION = (
    "A yellow dog runs along the beach.",
    "A dog runs.\nThe sea is calm, and gulls sit on a rock.",
)
FIRST, _RULES = by_model("first", caption=CAPTION, keywords=("dog", "beach", "sea"), description=DESCRIPTION)
SECOND, RENEW = by_model("second", caption="A cat.", keywords=("cat",), description="A cat sleeps.")


@pytest.fixture(scope="module")
def store() -> Iterator[MetadataStore]:
    with open_store() as opened:
        yield opened


@pytest.fixture
def studio(tmp_path: Path, store: MetadataStore) -> Iterator[Studio]:
    with open_studio(tmp_path, metadata=store) as opened:
        yield opened


def told(studio: Studio) -> list[str]:
    """Return what the models were told about the last photo that they saw, but for its light and time."""
    return [line for line in fact_lines(studio.told[-1]) if not line.startswith(("Kind", "Season", "Part"))]


def tag_twice(studio: Studio, path: Path, *edits: str) -> list[str]:
    """Have a photo tagged, edit it as a person does, have another model see it; return what that was told."""
    studio.tag(path, FIRST, _RULES)
    if edits:
        stamp(path, *edits)
    seen = len(studio.told)
    studio.tag(path, SECOND, RENEW)
    assert len(studio.told) == seen + 1
    return told(studio)


def test_a_persons_words_are_told_the_first_time_and_the_second_and_ours_never(studio: Studio) -> None:
    (studio.folder / "2024-07 Lofoten").mkdir()
    path = studio.folder / "2024-07 Lofoten" / "photo.jpg"
    draw(
        path,
        *("XMP-dc:Subject=Rex", "XMP-dc:Subject=holiday", "XMP-lr:HierarchicalSubject=Pets|Rex"),
        *("XMP-dc:Title=Rex at the sea", "XMP-iptcExt:PersonInImage=Anna Smith", "XMP-photoshop:City=Reine"),
    )
    studio.tag(path, FIRST, _RULES)
    theirs = [
        "Place: Reine",
        "People: Anna Smith",
        "Folder: Lofoten",
        "Owner's keywords: Rex, holiday",
        "Owner's caption: Rex at the sea",
    ]
    assert told(studio) == theirs
    studio.tag(path, SECOND, RENEW)
    assert told(studio) == theirs
    assert len(studio.told) == 2


def test_words_that_a_person_adds_or_edits_afterwards_are_theirs(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    assert tag_twice(studio, path, "XMP-dc:Title=Rex runs along the beach.", "XMP-dc:Subject+=Rex") == [
        "Owner's keywords: Rex",
        "Owner's caption: Rex runs along the beach.",
    ]
    assert told(studio)[0] == "Owner's keywords: Rex"


STRIPPED = "XMP-tagger:all="


@pytest.mark.parametrize(
    "edits",
    [
        (),
        (STRIPPED,),
        (STRIPPED, "XMP-dc:Title="),
        (STRIPPED, "XMP-dc:Title=", "XMP-dc:Description=", "XMP-iptcCore:all="),
        (
            STRIPPED,
            "XMP-dc:all=",
            "XMP-iptcCore:all=",
            f"IPTC:Caption-Abstract={DESCRIPTION}",
            "IPTC:Keywords=dog",
        ),
        (STRIPPED, "XMP-dc:all=", "XMP-iptcCore:all=", f"EXIF:ImageDescription={CAPTION}"),
        (STRIPPED, "XMP-dc:Subject=Beach", "XMP-dc:Title=", "XMP-dc:Description=", "XMP-iptcCore:all="),
        (STRIPPED, "XMP-dc:all=", "XMP-iptcCore:all=", "XMP-microsoft:LastKeywordXMP=dog"),
        (STRIPPED, "XMP-dc:all=", "XMP-iptcCore:all=", f"XMP-dc:Description={DESCRIPTION[:40]}"),
        (STRIPPED, "XMP-dc:all=", "XMP-iptcCore:all=", f"XMP-photoshop:Headline={CAPTION}"),
    ],
)
def test_our_words_are_not_told_to_us_whatever_became_of_the_marker(
    studio: Studio, edits: tuple[str, ...]
) -> None:
    assert tag_twice(studio, draw(studio.folder / "photo.jpg").path, *edits) == []


def test_our_words_are_known_in_a_copy_elsewhere_and_without_a_marker(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg").path
    studio.tag(path, FIRST, _RULES)
    copy = studio.folder / "copy.jpg"
    copy.write_bytes(path.read_bytes())
    stamp(copy, STRIPPED, "XMP-dc:Title=", "XMP-dc:Description=", "XMP-iptcCore:all=")
    studio.tag(copy, SECOND, RENEW)
    assert (told(studio), len(studio.told)) == ([], 2)


def test_what_a_sidecar_holds_of_ours_is_not_told(studio: Studio) -> None:
    path = draw(studio.folder / "IMG.nef", "XMP-dc:Subject=Rex").path
    (studio.folder / "IMG.xmp").write_bytes(EMPTY)
    studio.tag(path, FIRST, _RULES)
    stamp(studio.folder / "IMG.xmp", STRIPPED)
    studio.tag(path, SECOND, RENEW)
    assert (told(studio), len(studio.told)) == (["Owner's keywords: Rex"], 2)
