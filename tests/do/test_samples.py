"""The drawn samples are what they say they are, to exiftool and to the libraries that open photos."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import rawpy
from PIL import Image, ImageCms, ImageOps
from psd_tools import PSDImage

from make_samples import DEFAULT_SIZE, INBOX, Shot, draw_photo, make_broken, make_inbox, stamp
from sample_scenes import SCENES, draw

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_samples.py"
SIZE = 320
NAMES = [sample.name for sample in INBOX]
RAWS = ["LUM_0113.DNG", "DSC_0114.NEF"]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inbox")
    make_inbox(folder, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def told(inbox: Path) -> dict[str, dict[str, Any]]:
    """What exiftool says about each file of the inbox, by its name below it."""
    return {
        str(Path(tags["SourceFile"]).relative_to(inbox)): tags for tags in exiftool(inbox, "-r", "-n", "-G1")
    }


def exiftool(path: Path, *options: str) -> list[dict[str, Any]]:
    command = ["exiftool", "-j", "-charset", "filename=utf8", *options, str(path)]
    tags: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return tags


def decode(path: Path) -> Image.Image:
    """Return the picture in a file as a viewer shows it."""
    match path.suffix.lower():
        case ".dng" | ".nef":
            with rawpy.imread(str(path)) as raw:
                return Image.fromarray(
                    raw.postprocess(use_camera_wb=True, no_auto_bright=True, gamma=(2.4, 12.92))
                )
        case ".heic":
            return pillow_heif.open_heif(path).to_pillow()
        case ".psd":
            composed = PSDImage.open(path).composite()
            assert composed is not None
            return composed
        case _:
            with Image.open(path) as image:
                return ImageOps.exif_transpose(image).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures, 0 to 255, over their common part."""
    width, height = min(one.width, other.width), min(one.height, other.height)
    a, b = (
        np.asarray(image.convert("RGB").crop((0, 0, width, height)), dtype=float) for image in (one, other)
    )
    return float(np.abs(a - b).mean())


def test_the_inbox_has_every_format_and_a_folder_with_an_awkward_name(inbox: Path) -> None:
    found = [path for path in inbox.rglob("*") if path.is_file()]
    assert len(found) == len(INBOX) >= 12
    assert {path.suffix.lower() for path in found} == {
        ".jpg",
        ".png",
        ".tif",
        ".dng",
        ".nef",
        ".heic",
        ".psd",
    }
    assert "Zürich im Winter/weißer Morgen.jpg" in NAMES


@pytest.mark.parametrize("sample", INBOX, ids=NAMES)
def test_exiftool_reads_back_when_how_and_where(told: dict[str, dict[str, Any]], sample: Any) -> None:
    tags, shot = told[sample.name], sample.shot
    assert tags["ExifIFD:DateTimeOriginal"] == shot.taken
    assert tags["ExifIFD:OffsetTimeOriginal"] == shot.zone
    assert tags["ExifIFD:FNumber"] == shot.f_number
    assert tags["ExifIFD:ISO"] == shot.iso
    assert tags["ExifIFD:FocalLength"] == shot.focal
    assert tags["ExifIFD:FocalLengthIn35mmFormat"] == round(shot.focal * shot.crop)
    assert tags["ExifIFD:ExposureTime"] == pytest.approx(seconds(shot.exposure), rel=0.01)
    assert tags["IFD0:Orientation"] == sample.orientation
    assert tags["IFD0:Make"] == ("NIKON CORPORATION" if sample.name.endswith("NEF") else "Lumora")
    where = (tags.get("Composite:GPSLatitude"), tags.get("Composite:GPSLongitude"))
    assert where == (pytest.approx(shot.where, abs=1e-6) if shot.where else (None, None))


def seconds(exposure: str) -> float:
    above, _, below = exposure.partition("/")
    return float(above) / float(below or 1)


def test_places_lie_in_all_quarters_of_the_globe() -> None:
    quarters = {(lat > 0, lon > 0) for lat, lon in (s.shot.where for s in INBOX if s.shot.where)}
    assert len(quarters) == 4


@pytest.mark.parametrize("name", NAMES)
def test_exiftool_knows_the_type_and_finds_nothing_broken(told: dict[str, dict[str, Any]], name: str) -> None:
    kinds = {".jpg": "JPEG", ".tif": "TIFF"}
    suffix = Path(name).suffix.lower()
    assert told[name]["File:FileType"] == kinds.get(suffix, suffix[1:].upper())
    assert "ExifTool:Warning" not in told[name]
    assert "ExifTool:Error" not in told[name]


@pytest.mark.parametrize("number", range(len(INBOX)), ids=NAMES)
def test_every_photo_opens_and_shows_its_scene_upright(inbox: Path, number: int) -> None:
    sample = INBOX[number]
    shown = decode(inbox / sample.name)
    width, height = (213, SIZE) if sample.upright else (SIZE, 213)
    drawn = draw(sample.scene, width=width, height=height, seed=1 + number)
    assert abs(shown.width - width) + abs(shown.height - height) <= 2  # a mosaic has even sides
    # Lossy coding and the undone wide-gamut profile cost up to 8; another scene is 40 and more away.
    assert difference(shown, drawn) < 12


def test_portraits_are_stored_lying(inbox: Path) -> None:
    for name in ("LUM_0102.JPG", "LUM_0103.JPG"):
        with Image.open(inbox / name) as image:
            assert image.size == (SIZE, 213)


def test_the_wide_gamut_profile_leads_back_to_the_scene(inbox: Path) -> None:
    number = NAMES.index("wide gamut.jpg")
    drawn = draw("bokeh", width=SIZE, height=213, seed=1 + number)
    with Image.open(inbox / "wide gamut.jpg") as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert ImageCms.getProfileDescription(profile).strip() == "Sample wide gamut RGB"
        seen = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
        assert seen is not None
        assert difference(seen, drawn) < 4 < difference(image, drawn)


def test_the_16_bit_tiff_has_tones_that_8_bits_cannot_hold(
    told: dict[str, dict[str, Any]], inbox: Path
) -> None:
    assert told["fog, 16 bit.tif"]["IFD0:BitsPerSample"] == "16 16 16"
    pixels = (inbox / "fog, 16 bit.tif").read_bytes()[8 : 8 + SIZE * 213 * 6]
    assert np.any(np.frombuffer(pixels, dtype="<u2") % 257 != 0)  # 257 = 65535 / 255


@pytest.mark.parametrize("name", RAWS)
def test_a_raw_holds_a_mosaic_and_a_preview_of_full_size(inbox: Path, name: str) -> None:
    with rawpy.imread(str(inbox / name)) as raw:
        assert raw.raw_type is rawpy.RawType.Flat
        assert raw.color_desc == b"RGBG"
        thumbnail = raw.extract_thumb()
    assert thumbnail.format is rawpy.ThumbFormat.JPEG
    with Image.open(io.BytesIO(bytes(thumbnail.data))) as preview:
        assert preview.size == (SIZE, 212)

    tag = "-PreviewImage" if name.endswith("DNG") else "-JpgFromRaw"
    extracted = subprocess.run(["exiftool", "-b", tag, str(inbox / name)], capture_output=True, check=True)
    with Image.open(io.BytesIO(extracted.stdout)) as preview:
        assert preview.size == (SIZE, 212)


def test_the_preview_is_large_at_the_usual_size(tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "a.dng", scene="street", size=DEFAULT_SIZE)
    assert exiftool(photo, "-SubIFD1:ImageWidth")[0]["ImageWidth"] >= 1024


@pytest.mark.parametrize("suffix", ["dng", "nef", "jpg", "png", "tif", "heic", "psd"])
def test_exiftool_adds_xmp_without_touching_the_picture(tmp_path: Path, suffix: str) -> None:
    photo = draw_photo(tmp_path / f"a.{suffix}", shot=Shot())
    before = decode(photo)

    stamp([(photo, ["XMP-dc:Title=Täglich", "XMP-dc:Subject=one", "XMP-dc:Subject=two"])])

    tags = exiftool(photo, "-XMP-dc:all", "-validate", "-warning", "-G1")[0]
    assert tags["XMP-dc:Title"] == "Täglich"
    assert tags["XMP-dc:Subject"] == ["one", "two"]
    assert difference(decode(photo), before) == 0


def test_what_people_wrote_is_there(told: dict[str, dict[str, Any]]) -> None:
    complete = told["street, told by a person.jpg"]
    assert complete["XMP-dc:Title"] == "Alone in Linden Street"
    assert complete["XMP-dc:Description"].startswith("A lone walker")
    assert complete["XMP-dc:Subject"] == ["street", "black and white", "Linden Street"]

    keywords_only = told["meadow, keywords by a person.jpg"]
    assert keywords_only["XMP-dc:Subject"] == ["Opa's meadow", "poppy"]
    assert keywords_only["XMP-lr:HierarchicalSubject"] == "places|home|Opa's meadow"
    assert "XMP-dc:Title" not in keywords_only

    legacy = told["harbour 1998, legacy caption.jpg"]
    assert legacy["IPTC:Caption-Abstract"].endswith("© the family album")
    assert legacy["IPTC:Keywords"] == ["regatta", "Hafen früh"]
    assert [name for name, tags in told.items() if any(tag.startswith("IPTC:") for tag in tags)] == [
        "harbour 1998, legacy caption.jpg"
    ]

    named = told["Zürich im Winter/weißer Morgen.jpg"]
    assert (named["XMP-iptcCore:Location"], named["XMP-photoshop:City"], named["XMP-photoshop:Country"]) == (
        "Üetliberg",
        "Zürich",
        "Schweiz",
    )


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(inbox: Path, tmp_path: Path) -> None:
    def digests(files: list[Path]) -> list[str]:
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    first = digests([inbox / name for name in NAMES])
    assert digests(make_inbox(tmp_path / "again", size=SIZE)) == first
    assert not set(digests(make_inbox(tmp_path / "other", size=SIZE, seed=100))) & set(first)


def test_any_number_can_be_had(tmp_path: Path) -> None:
    assert len(make_inbox(tmp_path / "few", size=64, count=2)) == 2
    many = make_inbox(tmp_path / "many", size=64, count=len(INBOX) + 3)
    assert len(set(many)) == len(INBOX) + 3
    assert all(path.is_file() for path in many)


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_can_be_drawn_in_both_formats(scene: str) -> None:
    assert draw(scene, width=96, height=64).size == (96, 64)
    assert draw(scene, width=64, height=96).size == (64, 96)


def test_a_photo_without_a_shot_has_no_metadata(tmp_path: Path) -> None:
    groups = {tag.split(":")[0] for tag in exiftool(draw_photo(tmp_path / "bare.jpg"), "-G0")[0]}
    assert not groups & {"EXIF", "XMP", "IPTC"}


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photo_can_be_turned_and_titled_without_a_shot(tmp_path: Path, orientation: int) -> None:
    photo = draw_photo(tmp_path / "turned.jpg", orientation=orientation, extra=["XMP-dc:Title=Mine"])
    tags = exiftool(photo, "-n", "-EXIF:all", "-XMP:all")[0]
    assert (tags["Orientation"], tags["Title"]) == (orientation, "Mine")
    assert "DateTimeOriginal" not in tags
    assert difference(decode(photo), draw("sunset", width=SIZE, height=213)) < 5


def test_a_stamp_that_fails_says_so(tmp_path: Path) -> None:
    words = tmp_path / "words.jpg"
    words.write_text("not a photo", encoding="utf-8")
    photo = draw_photo(tmp_path / "photo.jpg")
    with pytest.raises(subprocess.CalledProcessError):
        stamp([(words, ["XMP-dc:Title=Mine"]), (photo, ["XMP-dc:Title=Mine"])])


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, Path]:
    return {path.name: path for path in make_broken(tmp_path)}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("cut in the middle.jpg", "truncated"),
        ("only words.jpg", "cannot identify"),
        ("empty.jpg", "cannot identify"),
        ("damaged.png", "data stream"),
        ("bomb.png", "decompression bomb"),
    ],
)
def test_no_picture_can_be_had_from_broken_files(broken: dict[str, Path], name: str, error: str) -> None:
    with (
        pytest.raises((OSError, SyntaxError, Image.DecompressionBombError), match=error),
        Image.open(broken[name]) as image,
    ):
        image.load()


def test_the_command_names_what_it_drew(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(SCRIPT),
        str(tmp_path / "in"),
        "--count",
        "2",
        "--size",
        "64",
        "--seed",
        "3",
    ]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert drawn == [str(tmp_path / "in" / name) for name in NAMES[:2]]
    shown = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True
    )
    assert "example: make_samples.py" in shown.stdout
