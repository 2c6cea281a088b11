"""What the models see of a photo, whatever its file is like; and which files are refused, and why."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms
from psd_tools import PSDImage

from support import pictures
from support.pictures import QUARTERS, drawn, quarters, turned
from support.real_photos import REAL_PHOTOS
from tagger_daemon.errors import (
    PhotoGone,
    PhotoTooLarge,
    PhotoUnreadable,
    PhotoUnsupported,
    PhotoUnusable,
)
from tagger_daemon.model import Picture
from tagger_daemon.vision import decode as decoding


@pytest.fixture(scope="module", autouse=True)
def _equipped() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    decoding.equip()
    yield
    Image.MAX_IMAGE_PIXELS = limit


def decode(path: Path, *, long_edge: int = 96, max_pixels: int = 400_000_000) -> Picture:
    (picture,) = decoding.decode(path, long_edges=(long_edge,), quality=90, max_pixels=max_pixels)
    return picture


def assert_quarters(
    picture: Picture, expected: tuple[tuple[int, int, int], ...] = QUARTERS, off: int = 12
) -> None:
    found = quarters(picture.jpeg)
    assert all(
        abs(a - b) <= off
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    ), found


def segments(jpeg: bytes) -> list[int]:
    """Return the markers of all segments before the picture data."""
    markers, at = [], 2
    while jpeg[at + 1] != 0xDA:
        markers.append(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return markers


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_every_orientation_is_turned_upright_once(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "photo.bin"
    options = {"quality": 95} if kind in ("AVIF", "HEIF") else {}
    turned(drawn(), orientation).save(path, kind, exif=pictures.exif(orientation), **options)

    picture = decode(path)

    assert (picture.width, picture.height) == (96, 64)
    assert_quarters(picture)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_is_developed_upright(tmp_path: Path, orientation: int) -> None:
    pictures.write_dng(tmp_path / "a.dng", turned(drawn(), orientation), orientation=orientation)

    picture = decode(tmp_path / "a.dng", long_edge=64)

    assert (picture.width, picture.height) == (64, 43)
    assert_quarters(picture, off=100)  # developing brightens; no two of the colours are as near


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_large_enough_preview_spares_developing_a_raw(tmp_path: Path, orientation: int) -> None:
    grey = Image.new("RGB", turned(drawn(), orientation).size, "grey")
    preview = turned(drawn(), orientation)
    pictures.write_dng(tmp_path / "a.dng", grey, orientation=orientation, preview=preview)

    picture = decode(tmp_path / "a.dng")

    assert (picture.width, picture.height) == (96, 64)
    assert_quarters(picture)


def test_a_preview_that_the_camera_turned_already_is_not_turned_again(tmp_path: Path) -> None:
    upright = drawn(64, 96)
    pictures.write_dng(tmp_path / "a.dng", turned(upright, 6), orientation=6, preview=upright)

    picture = decode(tmp_path / "a.dng")

    assert (picture.width, picture.height) == (64, 96)
    assert_quarters(picture)


def test_a_small_preview_is_passed_over(tmp_path: Path) -> None:
    pictures.write_dng(tmp_path / "a.dng", drawn(), preview=Image.new("RGB", (24, 16), "grey"))

    assert_quarters(decode(tmp_path / "a.dng"), off=100)


def test_a_small_preview_serves_where_the_raw_data_cannot_be_developed(tmp_path: Path) -> None:
    jpeg_xl = 52546  # DNG 1.7; the developer that we use does not know it
    grey = Image.new("RGB", (96, 64), "grey")
    pictures.write_dng(tmp_path / "a.dng", grey, preview=drawn(48, 32), compression=jpeg_xl)

    picture = decode(tmp_path / "a.dng")

    assert (picture.width, picture.height) == (48, 32)
    assert_quarters(picture, off=20)


@pytest.mark.parametrize("name", ["a.nef", "a.dng", "a.png", "a.tif", "a"])
def test_content_decides_and_the_name_only_hints(tmp_path: Path, name: str) -> None:
    drawn().save(tmp_path / name, "JPEG", quality=95)

    assert_quarters(decode(tmp_path / name))


def test_a_plain_tiff_under_a_raw_name_is_a_picture(tmp_path: Path) -> None:
    drawn().save(tmp_path / "a.dng", "TIFF")

    assert_quarters(decode(tmp_path / "a.dng"))


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    raw, plain = (tmp_path / os.fsdecode(b"\xff\xe9" + suffix) for suffix in (b".dng", b".jpg"))
    pictures.write_dng(raw, drawn())
    with plain.open("wb") as file:
        drawn().save(file, "JPEG")

    assert decode(raw).width == decode(plain).width == 96


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "YCbCr", "LAB"])
def test_colours_survive_every_way_of_storing_them(tmp_path: Path, mode: str) -> None:
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(drawn(), srgb, lab, outputMode="LAB")
        assert image is not None
    else:
        image = drawn().convert(mode)
    image.save(tmp_path / "a.tif", "TIFF")

    assert_quarters(decode(tmp_path / "a.tif"))


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    drawn().convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.gif")

    assert_quarters(decode(tmp_path / "a.gif"))


@pytest.mark.parametrize(("mode", "off"), [("L", 12), ("1", 90), ("I;16", 12)])
def test_greys_keep_their_brightness(tmp_path: Path, mode: str, off: int) -> None:
    dark, bright = (0, 0, 0), (200, 200, 200)
    grey = Image.new("L", (96, 64), 200)
    grey.paste(0, (0, 0, 48, 64))
    image = grey.convert(mode, dither=Image.Dither.NONE)
    if mode == "I;16":
        image = Image.frombytes("I;16", grey.size, b"".join(bytes((0, value)) for value in grey.tobytes()))
    image.save(tmp_path / "a.png")

    assert_quarters(decode(tmp_path / "a.png"), (dark, bright, dark, bright), off)


def test_a_measuring_instruments_picture_is_stretched(tmp_path: Path) -> None:
    image = Image.new("F", (96, 64), 0.5)
    image.paste(-3.0, (0, 0, 48, 64))
    image.save(tmp_path / "a.tif")

    black, white = (0, 0, 0), (255, 255, 255)
    assert_quarters(decode(tmp_path / "a.tif"), (black, white, black, white))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (96, 64), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 48, 64))
    image.convert(mode).save(tmp_path / "a.png")

    black, white = (0, 0, 0), (255, 255, 255)
    assert_quarters(decode(tmp_path / "a.png"), (black, white, black, white))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_honoured(tmp_path: Path, mode: str) -> None:
    drawn().convert(mode).save(tmp_path / "a.png", icc_profile=pictures.swapping_profile())

    top_left, top_right, bottom_left, _ = quarters(decode(tmp_path / "a.png").jpeg)

    assert top_left[2] > 150 > top_left[0]
    assert top_right[1] > 150
    assert bottom_left[0] > 150 > bottom_left[2]


@pytest.mark.parametrize("profile", [b"no profile at all", pictures.swapping_profile()[:200]])
def test_a_broken_profile_counts_as_none(tmp_path: Path, profile: bytes) -> None:
    drawn().save(tmp_path / "a.png", icc_profile=profile)

    assert_quarters(decode(tmp_path / "a.png"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_photoshop_document_shows_its_merged_picture(tmp_path: Path, mode: str) -> None:
    image = drawn().convert(mode)
    stored = ImageChops.invert(image) if mode == "CMYK" else image  # Photoshop's 0 is full ink
    PSDImage.frompil(stored).save(tmp_path / "a.psd")
    grey = tuple(
        (value,) * 3 for value in (drawn().convert("L").getpixel((x, y)) for y in (16, 48) for x in (24, 72))
    )

    assert_quarters(decode(tmp_path / "a.psd"), grey if mode == "L" else QUARTERS)  # type: ignore[arg-type]


def test_the_longer_side_is_bounded_and_nothing_is_enlarged(tmp_path: Path) -> None:
    drawn(600, 300).save(tmp_path / "large.jpg", quality=95)
    drawn(40, 20).save(tmp_path / "small.jpg", quality=95)
    drawn(900, 1).save(tmp_path / "line.png")

    large, small, line = (decode(tmp_path / name) for name in ("large.jpg", "small.jpg", "line.png"))

    assert [(p.width, p.height) for p in (large, small, line)] == [(96, 48), (40, 20), (96, 1)]
    assert [Image.open(io.BytesIO(p.jpeg)).size for p in (large, small)] == [(96, 48), (40, 20)]
    assert_quarters(large)


def test_the_picture_is_a_plain_baseline_jpeg_and_nothing_private_is_left(tmp_path: Path) -> None:
    drawn(600, 300).save(
        tmp_path / "a.jpg",
        exif=pictures.exif(1),
        icc_profile=pictures.swapping_profile(),
        comment=b"a private remark",
        progressive=True,
    )

    jpeg = decode(tmp_path / "a.jpg").jpeg

    markers = segments(jpeg)
    assert set(markers) <= {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, quantisation, SOF0 = baseline, Huffman
    assert 0xC0 in markers
    assert b"private" not in jpeg


def test_the_same_photo_gives_the_same_bytes(tmp_path: Path) -> None:
    drawn(600, 300).save(tmp_path / "a.jpg")

    assert decode(tmp_path / "a.jpg") == decode(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "AVIF", "HEIF", "PSD", "DNG"])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_half_a_file_is_not_shown_to_anyone(tmp_path: Path, kind: str, share: float) -> None:
    whole = io.BytesIO()
    noise = Image.effect_noise((200, 150), 90).convert("RGB")
    if kind == "PSD":
        PSDImage.frompil(noise).save(whole)
    elif kind == "DNG":
        pictures.write_dng(tmp_path / "whole.dng", noise)
        whole.write((tmp_path / "whole.dng").read_bytes())
    else:
        noise.save(whole, kind)
    path = tmp_path / ("a.dng" if kind == "DNG" else "a.bin")
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])

    with pytest.raises(PhotoUnreadable):
        decode(path)


def test_a_truncated_photo_is_called_that(tmp_path: Path) -> None:
    drawn(600, 300).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(PhotoUnreadable, match="the file ends before its picture does"):
        decode(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.nef", "a.psd", "a.heic"])
def test_text_is_not_a_picture_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Dear diary, this is no photo.\n" * 40)

    with pytest.raises(PhotoUnsupported):
        decode(tmp_path / name)


@pytest.mark.parametrize(
    "head", [b"\xff\xd8\xff\xe0", b"II*\0", b"8BPS", b"\x89PNG\r\n\x1a\n", b"RIFF", b"FUJIFILMCCD-RAW"]
)
def test_a_promising_start_with_rubbish_behind_it_is_damage(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(head + b"\x07\x13\xf3" * 60)

    with pytest.raises(PhotoUnusable):
        decode(tmp_path / "a.jpg")


def test_an_empty_file_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()

    with pytest.raises(PhotoUnreadable, match="empty"):
        decode(tmp_path / "a.jpg")


def test_a_missing_photo_is_gone(tmp_path: Path) -> None:
    with pytest.raises(PhotoGone):
        decode(tmp_path / "a.jpg")


def test_a_folder_is_not_a_photo(tmp_path: Path) -> None:
    with pytest.raises(PhotoUnreadable):
        decode(tmp_path)


def test_broken_exif_is_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    drawn().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)

    assert_quarters(decode(tmp_path / "a.jpg"))


def test_the_pixel_limit_is_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png_header(60_000, 60_000))  # there is no pixel to decode

    with pytest.raises(PhotoTooLarge, match="3600 megapixels, more than the limit of 400"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.psd", "a.dng", "a.heic", "a.webp"])
def test_the_pixel_limit_holds_for_every_kind(tmp_path: Path, name: str) -> None:
    if name == "a.psd":
        PSDImage.frompil(drawn()).save(tmp_path / name)
    elif name == "a.dng":
        pictures.write_dng(tmp_path / name, drawn())
    else:
        drawn().save(tmp_path / name)

    assert decode(tmp_path / name, max_pixels=96 * 64).width == 96
    with pytest.raises(PhotoTooLarge):
        decode(tmp_path / name, max_pixels=96 * 64 - 1)


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason="needs real camera files: set TAGGER_REAL_PHOTOS")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("iPhone11Pro_sign.HEIC", (768, 1024)),
        ("RAW_KODAK_DC50_é.KDC", (768, 512)),
        ("cmyk_16bit.psd", (10, 12)),
        ("logo_icc.tif", (587, 1024)),
        ("Canon_EOS_7D.jpg", (600, 900)),
    ],
)
def test_real_cameras_files(name: str, size: tuple[int, int]) -> None:
    picture = decode(REAL_PHOTOS / name, long_edge=1024)

    assert (picture.width, picture.height) == size
