"""Raw and JPEG of one photo share their answers, and nothing else that merely has the name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from support.metadata_files import tell
from support.studio import Studio, by_model, open_studio
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.model import Record

DOG = by_model("eyes", caption="A dog.")
WALL = by_model("eyes", caption="A wall.")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path) as opened:
        yield opened


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (48, 32), colour).save(path, "TIFF" if path.suffix == ".NEF" else None)
    return path


@pytest.mark.parametrize(("first", "second"), [("IMG_1.NEF", "IMG_1.jpg"), ("IMG_1.jpg", "IMG_1.NEF")])
def test_the_next_card_has_the_same_names_and_other_pictures(studio: Studio, first: str, second: str) -> None:
    studio.tag(picture(studio.folder / first, "red"), *DOG)
    for path in studio.folder.iterdir():
        path.unlink()
    picture(studio.folder / first, "green")
    studio.tag(picture(studio.folder / second, "green"), *WALL)
    target = studio.folder / ("IMG_1.xmp" if second.endswith("NEF") else second)
    assert tell(target, "XMP-dc:Title") == "A wall."
    assert len(studio.asked) == 6


def test_a_partner_that_was_edited_since_is_known_by_its_picture(studio: Studio) -> None:
    jpeg = picture(studio.folder / "IMG_1.jpg", "red")
    studio.tag(jpeg, *DOG)
    jpeg.touch()
    studio.tag(picture(studio.folder / "IMG_1.NEF", "red"), *WALL)
    assert len(studio.asked) == 3
    assert tell(studio.folder / "IMG_1.xmp", "XMP-dc:Title") == "A dog."


def test_a_partner_that_is_written_this_moment_is_not_asked_about_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its file is another one already, and its record does not stand yet.
    def add(_: Ledger, record: Record) -> None:
        raise KeyboardInterrupt

    jpeg = picture(studio.folder / "IMG_1.jpg", "red")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "add", add)
        studio.tag(jpeg, *DOG)
    assert tell(jpeg, "XMP-dc:Title") == "A dog."
    studio.tag(picture(studio.folder / "IMG_1.NEF", "red"), *WALL)
    assert len(studio.asked) == 3
