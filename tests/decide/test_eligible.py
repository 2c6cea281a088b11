"""Which names are photos of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.intake.eligible import (
    PHOTO_EXTENSIONS,
    Eligibility,
)


@pytest.mark.parametrize("extension", sorted(PHOTO_EXTENSIONS))
def test_every_photo_extension_is_taken_in_either_case(extension: str) -> None:
    assert Eligibility().photo(f"IMG_0001.{extension}")
    assert Eligibility().photo(f"IMG_0001.{extension.upper()}")


@pytest.mark.parametrize(
    "name",
    [
        "holiday.edited.jpg",
        "no spaces? (1) [x] {y} %s.JPG",
        "-rf.jpg",
        "line\nbreak.jpg",
        "not-utf8-\udcff.jpg",
        "日本.heic",
        "Tmp.jpg",
        "original.jpg",
    ],
)
def test_odd_names_are_photos_too(name: str) -> None:
    assert Eligibility().photo(name)


@pytest.mark.parametrize(
    "name",
    [
        "jpg",
        "notes.txt",
        "clip.mov",
        "IMG_0001.jpg.txt",
        "IMG_0001.jpg ",
        "IMG_0001.jpg\n",
        "",
        ".jpg",
        ".hidden.jpg",
        "._IMG_0001.jpg",
        ".IMG_0001.tagger-3f9a.jpg",
        ".syncthing.IMG_0001.jpg.tmp",
        ".nfs000000000123.jpg",
        ".fuse_hidden0001.jpg",
        "~syncthing~IMG_0001.jpg",
        "IMG_0001.jpg~",
        "IMG_0001.jpg.part",
        "IMG_0001.jpg.partial",
        "IMG_0001.jpg.tmp",
        "IMG_0001.jpg.crdownload",
        "IMG_0001.jpg_exiftool_tmp",
        "IMG_0001.jpg_original",
        "IMG_0001.xmp",
        "IMG_0001.CR2.XMP",
    ],
)
def test_what_is_not_a_finished_photo_is_passed_over(name: str) -> None:
    assert not Eligibility().photo(name)


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".Trash-1000",
        ".stversions",
        ".thumbnails",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "$Recycle.Bin",
        "System Volume Information",
        "lost+found",
        "Thumbnails",
        "Catalog Previews.lrdata",
        "__MACOSX",
        "CaptureOne",
        "mipmaps-3f2a91.d",
    ],
)
def test_folders_of_other_programs_are_not_entered(name: str) -> None:
    assert not Eligibility().folder(name)


@pytest.mark.parametrize("name", ["2026", "Thumbnails of mine", "line\nbreak", "\udcff", "lrdata", "recycle"])
def test_people_s_folders_are_entered(name: str) -> None:
    assert Eligibility().folder(name)


def test_the_user_s_patterns_come_on_top_for_files_and_folders() -> None:
    eligibility = Eligibility(["*-draft.*", "Export", "[xy]?.jpg"])
    assert not eligibility.photo("sunset-DRAFT.jpg")
    assert not eligibility.photo("x1.jpg")
    assert not eligibility.photo("IMG.jpg.part")
    assert not eligibility.folder("export")
    assert not eligibility.folder("@eaDir")
    assert eligibility.photo("Export.jpg")
    assert eligibility.folder("Exported")


@pytest.mark.parametrize("pattern", ["", "Export/", "2026/*.jpg"])
def test_a_pattern_that_could_never_match_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="can never match"):
        Eligibility([pattern])


@given(st.text(), st.sampled_from(sorted(PHOTO_EXTENSIONS)))
def test_a_hidden_name_is_never_a_photo_whatever_follows(stem: str, extension: str) -> None:
    assert not Eligibility().photo(f".{stem}.{extension}")
    assert not Eligibility().folder(f".{stem}")
