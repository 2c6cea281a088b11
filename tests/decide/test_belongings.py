"""Which files are one photo, and what goes with it when it is moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.metadata.naming import belongings, companions, partner_of

FOLDER = Path("/photos")


def partner(name: str, *beside: str) -> str | None:
    found = partner_of(FOLDER / name, (name, *beside))
    return None if found is None else found.relative_to(FOLDER).as_posix()


def goes(name: str, *beside: str, staying: tuple[str, ...] = (), **owners: str) -> tuple[str, ...]:
    """Decide for a photo among its siblings; owners are given as IMG_xmp="CR2" for IMG.xmp."""
    by_name = {key.replace("_", "."): owner for key, owner in owners.items()}
    return belongings(FOLDER / name, (name, *beside), by_name, staying=staying)


@pytest.mark.parametrize(
    ("name", "beside", "expected"),
    [
        ("IMG.CR3", ["IMG.JPG", "IMG.HIF"], "IMG.JPG"),
        ("IMG.CR3", ["IMG.HIF"], "IMG.HIF"),
        ("IMG.DNG", ["IMG.jpg"], "IMG.jpg"),
        ("IMG.JPG", ["IMG.CR3"], "IMG.CR3"),
        ("IMG.heic", ["IMG.DNG"], "IMG.DNG"),
        ("IMG.JPG", ["IMG.DNG", "IMG.NEF"], "IMG.NEF"),
        ("img.jpeg", ["IMG.nef"], "IMG.nef"),
        ("IMG.NEF", ["img.jpg", "IMG.jpg"], "IMG.jpg"),
        ("IMG.NEF", ["IMG.JPEG", "IMG.JPG"], "IMG.JPEG"),
        ("IMG.JPG", ["IMG.HEIC"], None),
        ("IMG.NEF", ["IMG.CR3"], None),
        ("IMG.NEF", ["IMG.TIF", "IMG.PNG", "IMG.xmp"], None),
        ("IMG.TIF", ["IMG.NEF"], None),
        ("IMG.NEF", ["IMG.edit.JPG", "IMG2.JPG", "MG.JPG"], None),
    ],
)
def test_a_raw_and_what_the_camera_made_of_it_are_partners(
    name: str, beside: list[str], expected: str | None
) -> None:
    assert partner(name, *beside) == expected


@pytest.mark.parametrize(
    ("name", "beside", "expected"),
    [
        ("IMG.JPG", ["IMG.NEF", "IMG.HIF", "IMG.TIF"], ("IMG.NEF", "IMG.HIF", "IMG.JPG")),
        ("IMG.NEF", ["img.jpg"], ("IMG.NEF", "img.jpg")),
        ("IMG.NEF", ["IMG.CR3", "IMG.DNG"], ("IMG.NEF", "IMG.CR3", "IMG.DNG")),
        ("IMG.JPG", ["IMG.HIF"], ("IMG.JPG",)),
        ("IMG.TIF", ["IMG.NEF", "IMG.JPG"], ("IMG.TIF",)),
    ],
)
def test_what_is_one_photo_with_it(name: str, beside: list[str], expected: tuple[str, ...]) -> None:
    assert companions(FOLDER / name, (name, *beside)) == expected


@pytest.mark.parametrize("name", ["IMG.NEF", "IMG.JPG"])
def test_sidecars_go_first_then_the_raw_then_the_jpeg(name: str) -> None:
    names = ("IMG.JPG", "IMG.NEF.xmp", "IMG.NEF", "IMG.xmp", "IMG.JPG.xmp", "IMG2.xmp", "IMG.mov")
    found = belongings(FOLDER / name, names, {})
    assert found == ("IMG.xmp", "IMG.NEF.xmp", "IMG.JPG.xmp", "IMG.NEF", "IMG.JPG")


def test_a_photo_alone_takes_every_sidecar_of_its_own() -> None:
    assert goes("IMG.JPG", "IMG.xmp", "img.jpg.XMP") == ("IMG.xmp", "img.jpg.XMP", "IMG.JPG")
    assert goes("IMG.JPG") == ("IMG.JPG",)


def test_a_jpeg_leaves_the_raws_sidecar_to_a_raw_that_stays() -> None:
    assert goes("IMG.JPG", "IMG.NEF", "IMG.xmp", staying=("IMG.NEF",)) == ("IMG.JPG",)
    assert goes("IMG.JPG", "IMG.DNG", "IMG.xmp", staying=("IMG.DNG",)) == ("IMG.JPG",)
    assert goes("IMG.NEF", "IMG.JPG", "IMG.xmp", staying=("IMG.JPG",)) == ("IMG.xmp", "IMG.NEF")


def test_another_photos_sidecar_stays_with_it() -> None:
    assert goes("IMG.TIF", "IMG.NEF", "IMG.xmp") == ("IMG.TIF",)
    assert goes("IMG.TIF", "IMG.JPG", "IMG.xmp") == ("IMG.TIF",)  # either's: the last to leave takes it
    assert goes("IMG.TIF", "IMG.JPG", "IMG.xmp", "IMG.TIF.xmp") == ("IMG.TIF.xmp", "IMG.TIF")


def test_a_raw_that_goes_takes_the_sidecar_that_holds_its_words() -> None:
    beside = ("IMG.CR3", "IMG.xmp", "IMG.NEF.xmp")
    assert goes("IMG.NEF", *beside, staying=("IMG.CR3",)) == ("IMG.xmp", "IMG.NEF.xmp", "IMG.NEF")
    assert goes("IMG.NEF", *beside, staying=("IMG.CR3",), IMG_xmp="CR3") == ("IMG.NEF.xmp", "IMG.NEF")


KINDS = ["NEF", "CR3", "dng", "JPG", "jpeg", "HIF", "tif", "png"]
NAMES = [f"{stem}.{kind}" for stem in ("IMG", "img", "IMG2") for kind in KINDS]
SIDECARS = ["IMG.xmp", "img.xmp", "IMG.NEF.xmp", "IMG.JPG.xmp", "IMG2.xmp"]


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sets(st.sampled_from(SIDECARS)))
def test_whichever_is_asked_for_the_same_go_and_pictures_are_last(
    names: set[str], sidecars: set[str]
) -> None:
    beside = names | sidecars
    for name in names:
        together = companions(FOLDER / name, beside)
        found = belongings(FOLDER / name, beside, {})
        assert set(found) <= beside
        assert len(set(found)) == len(found)
        assert found[-len(together) :] == together
        assert all(other.endswith(".xmp") for other in found[: -len(together)])
        for other in together:
            assert set(companions(FOLDER / other, beside)) == set(together)
        half = partner_of(FOLDER / name, beside)
        assert half is None or half.name in together
