"""Which file gets the words: the photo, or which sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tagger_daemon.errors import PhotoUnsupported
from tagger_daemon.metadata.naming import (
    EMBEDDED,
    MODERN,
    RAW,
    Place,
    is_our_temp,
    is_supported,
    place_for,
    sidecar_names,
    temp_name,
)

FOLDER = Path("/photos")
OLD, NEW = (12, 57), (13, 25)


def place(name: str, *beside: str, version: tuple[int, int] = OLD, **owners: str) -> Place:
    """Decide for a photo among its siblings; owners are given as IMG_xmp="CR2" for IMG.xmp."""
    by_name = {key.replace("_", "."): owner for key, owner in owners.items()}
    return place_for(FOLDER / name, (name, *beside), by_name, exiftool_version=version)


@pytest.mark.parametrize("kind", sorted(EMBEDDED))
def test_pictures_that_lightroom_writes_into_are_written_into(kind: str) -> None:
    found = place(f"IMG.{kind.upper()}")
    assert (found.embedded, found.target) == (True, FOLDER / f"IMG.{kind.upper()}")


@pytest.mark.parametrize("kind", sorted(RAW))
def test_a_raw_is_never_written_into_whatever_the_version(kind: str) -> None:
    found = place(f"IMG.{kind}", version=(99, 0))
    assert (found.embedded, found.target) == (False, FOLDER / "IMG.xmp")


@pytest.mark.parametrize(
    ("beside", "target"),
    [
        (["IMG.xmp"], "IMG.xmp"),
        (["IMG.XMP"], "IMG.XMP"),
        (["IMG.CR2.xmp"], "IMG.CR2.xmp"),
        (["img.cr2.XMP"], "img.cr2.XMP"),
        (["IMG.CR2.xmp", "IMG.xmp"], "IMG.xmp"),
        (["IMG.XMP", "IMG.xmp"], "IMG.xmp"),
        (["IMG2.xmp"], "IMG.xmp"),
    ],
)
def test_a_raws_own_sidecar_is_used_again_in_either_naming_and_case(beside: list[str], target: str) -> None:
    assert place("IMG.CR2", *beside).target == FOLDER / target


def test_a_new_sidecar_may_bear_the_raws_full_name_and_one_that_exists_is_used_all_the_same() -> None:
    def full(*beside: str) -> Path:
        siblings = ("IMG.CR2", *beside)
        return place_for(FOLDER / "IMG.CR2", siblings, {}, exiftool_version=(12, 57), full_names=True).target

    assert full() == FOLDER / "IMG.CR2.xmp"
    assert full("IMG.XMP") == FOLDER / "IMG.XMP"


def test_two_sidecars_are_both_read_and_a_person_is_told() -> None:
    found = place("IMG.CR2", "IMG.CR2.xmp", "IMG.xmp")
    assert found.sidecars == (FOLDER / "IMG.xmp", FOLDER / "IMG.CR2.xmp")
    assert found.note == "two sidecars stand beside it; IMG.xmp is the one written to"


def test_another_photos_sidecar_is_left_alone() -> None:
    found = place("IMG.HIF", "IMG.CR3", "IMG.xmp", IMG_xmp="CR3")
    assert found.target == FOLDER / "IMG.HIF.xmp"
    raw = place("IMG.NEF", "IMG.cr3", "IMG.xmp", IMG_xmp="CR3")
    assert (raw.target, raw.sidecars) == (FOLDER / "IMG.NEF.xmp", ())
    assert raw.note == "IMG.xmp belongs to another photo, so its words go to IMG.NEF.xmp"


def test_a_sidecar_whose_owner_is_gone_is_taken_over() -> None:
    assert place("IMG.NEF", "IMG.xmp", IMG_xmp="CR3").target == FOLDER / "IMG.xmp"
    assert place("IMG.NEF", "IMG.xmp", IMG_xmp="nef").target == FOLDER / "IMG.xmp"


def test_a_jpeg_does_not_read_the_sidecar_of_its_raw() -> None:
    assert place("IMG.JPG", "IMG.CR2", "IMG.xmp").sidecars == ()
    assert place("IMG.JPG", "IMG.xmp").sidecars == (FOLDER / "IMG.xmp",)
    assert place("IMG.JPG", "IMG.CR2", "IMG.JPG.xmp").sidecars == (FOLDER / "IMG.JPG.xmp",)


@pytest.mark.parametrize("kind", sorted(MODERN))
def test_modern_kinds_are_written_into_only_by_an_exiftool_that_does_not_damage_them(kind: str) -> None:
    assert place(f"IMG.{kind}", version=NEW).embedded
    old = place(f"IMG.{kind}", version=OLD)
    assert (old.embedded, old.target) == (False, FOLDER / f"IMG.{kind}.xmp")
    assert old.note == f"its words go to IMG.{kind}.xmp: writing into {kind} files needs exiftool 13.25"


@pytest.mark.parametrize("kind", ["tif", "heic"])
def test_a_picture_that_refuses_gets_a_sidecar_of_its_full_name_and_the_reason_is_told(kind: str) -> None:
    names = (f"IMG.{kind}", "IMG.CR2", "IMG.xmp", f"img.{kind}.XMP")
    found = place_for(FOLDER / names[0], names, {}, exiftool_version=NEW, refusal="Bad IFD")
    assert (found.embedded, found.target) == (False, FOLDER / f"img.{kind}.XMP")
    assert found.sidecars == (found.target,)  # the other is the raw's
    assert "this file is not written into (Bad IFD)" in str(found.note)


def test_a_signed_picture_is_not_written_into_and_its_note_says_so() -> None:
    found = place_for(FOLDER / "IMG.jpg", ("IMG.jpg",), {}, exiftool_version=NEW, signed=True)
    assert (found.embedded, found.target) == (False, FOLDER / "IMG.jpg.xmp")
    assert found.note == (
        "words inside would break this file's content credentials (C2PA); "
        "the words stand in IMG.jpg.xmp beside it, which Lightroom does not read for this type"
    )


@pytest.mark.parametrize(
    ("beside", "owners", "target"),
    [
        (["IMG.xmp"], {}, "IMG.xmp"),
        (["img.XMP"], {}, "img.XMP"),
        (["IMG.xmp", "IMG.heic.xmp"], {}, "IMG.heic.xmp"),
        (["IMG.xmp"], {"IMG.xmp": "HEIC"}, "IMG.xmp"),
        (["IMG.xmp"], {"IMG.xmp": "JPG"}, "IMG.xmp"),
        (["IMG.xmp", "IMG.mov", "IMG.txt"], {}, "IMG.xmp"),
        (["IMG.xmp", "IMG.jpg"], {}, "IMG.heic.xmp"),
        (["IMG.xmp", "IMG.jpg"], {"IMG.xmp": "JPG"}, "IMG.heic.xmp"),
        (["IMG.xmp", "IMG.jpg"], {"IMG.xmp": "HEIC"}, "IMG.xmp"),
        (["IMG.xmp", "img.HEIC"], {}, "IMG.heic.xmp"),
        (["IMG.xmp", "IMG.CR2"], {}, "IMG.heic.xmp"),
    ],
)
def test_a_picture_that_is_not_written_into_has_one_sidecar_which_is_its_own(
    beside: list[str], owners: dict[str, str], target: str
) -> None:
    path = FOLDER / "IMG.heic"
    for changes in ({"exiftool_version": OLD}, {"signed": True}, {"refusal": "Bad IFD"}):
        known: dict[str, Any] = {"exiftool_version": NEW, **changes}
        found = place_for(path, ("IMG.heic", *beside), owners, **known)
        assert (found.embedded, found.target) == (False, FOLDER / target)
        assert found.note is not None
        assert target in found.note


def test_a_persons_words_count_in_a_sidecar_that_may_be_another_photos_too() -> None:
    found = place("IMG.heic", "IMG.jpg", "IMG.xmp")
    assert (found.target, found.sidecars) == (FOLDER / "IMG.heic.xmp", (FOLDER / "IMG.xmp",))


def test_only_a_raw_is_given_the_sidecar_of_a_raw_to_look_into() -> None:
    names = ("IMG.jpg", "IMG.NEF", "IMG.xmp", "IMG.jpg.xmp")
    assert sidecar_names(FOLDER / "IMG.jpg", names) == ("IMG.jpg.xmp",)
    assert sidecar_names(FOLDER / "IMG.NEF", names) == ("IMG.xmp",)


@pytest.mark.parametrize("name", ["notes.txt", "film.mov", "noextension", "IMG.xmp", "x.gif"])
def test_other_files_are_refused(name: str) -> None:
    assert not is_supported(Path(name))
    with pytest.raises(PhotoUnsupported, match="not a kind of picture"):
        place(name)


@pytest.mark.parametrize(
    "name", ["IMG.CR2", "x" * 250 + ".jpg", "100%d.jpg", "日" * 80 + ".xmp", ".hidden.jpg"]
)
def test_temporary_names_are_known_again_and_fit_the_file_system(name: str) -> None:
    temp = temp_name(Path(name), "0123456789ab")
    assert is_our_temp(temp)
    assert temp.startswith(".")
    assert Path(temp).suffix == Path(name).suffix
    assert len(temp.encode()) <= 255
    assert "%" not in temp


@pytest.mark.parametrize("name", ["IMG.jpg", ".IMG.tagger-notes.jpg", "IMG.tagger-0123456789ab.jpg", ".xmp"])
def test_other_peoples_names_are_not_taken_for_ours(name: str) -> None:
    assert not is_our_temp(name)
