"""The sample photos' file formats, and files from which no picture can be had."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pillow_heif
from PIL import Image, ImageCms
from psd_tools import PSDImage

from sample_raw import dng, nef, rgb16_tiff
from sample_scenes import draw


def write_jpeg(path: Path, image: Image.Image, *, wide_gamut: bool = False) -> Path:
    """Write a baseline JPEG; `wide_gamut` converts it to `wide_gamut_profile` and embeds that."""
    profile = None
    if wide_gamut:
        profile = wide_gamut_profile()
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target)
        assert converted is not None  # only a conversion in place gives none
        image = converted
    image.save(path, "JPEG", quality=90, icc_profile=profile)
    return path


def write_png(path: Path, image: Image.Image) -> Path:
    """Write a PNG of 8 bits a channel."""
    image.save(path, "PNG", compress_level=3)
    return path


def write_tiff(path: Path, image: Image.Image, *, bits: int = 8) -> Path:
    """Write a TIFF: LZW for 8 bits a channel, uncompressed for 16."""
    if bits == 16:
        path.write_bytes(rgb16_tiff(image))
    else:
        image.save(path, "TIFF", compression="tiff_lzw")
    return path


def write_dng(path: Path, image: Image.Image) -> Path:
    """Write a DNG with an RGGB mosaic and a JPEG preview of full size."""
    path.write_bytes(dng(image))
    return path


def write_nef(path: Path, image: Image.Image) -> Path:
    """Write a NEF with an RGGB mosaic and a JPEG of full size."""
    path.write_bytes(nef(image))
    return path


def write_heic(path: Path, image: Image.Image) -> Path:
    """Write a HEIC."""
    # x265's slower presets take seconds a photo, to save bytes that nobody counts here.
    pillow_heif.from_pillow(image).save(path, quality=80, enc_params={"preset": "ultrafast"})
    return path


def write_psd(path: Path, image: Image.Image) -> Path:
    """Write a flat PSD."""
    PSDImage.frompil(image).save(path)
    return path


def write_psb(path: Path, image: Image.Image) -> Path:
    """Write a flat PSB, uncompressed (Adobe Photoshop File Formats Specification, 2019)."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 2, 3, image.height, image.width, 8, 3)
    no_colours, no_resources, no_layers = bytes(4), bytes(4), bytes(8)
    planes = b"".join(band.tobytes() for band in image.convert("RGB").split())
    path.write_bytes(header + no_colours + no_resources + no_layers + struct.pack(">H", 0) + planes)
    return path


WRITERS: Mapping[str, Callable[..., Path]] = {
    ".jpg": write_jpeg,
    ".jpeg": write_jpeg,
    ".png": write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".dng": write_dng,
    ".nef": write_nef,
    ".heic": write_heic,
    ".psd": write_psd,
    ".psb": write_psb,
}


def make_broken(folder: Path) -> list[Path]:
    """Put files into a folder from which no picture can be had, and return them.

    A JPEG cut in the middle, text that calls itself a JPEG, an empty file, a PNG with damaged picture data,
    and a PNG whose header claims 60,000 by 60,000 pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = draw("sunset", width=320, height=213)
    cut = write_jpeg(folder / "cut in the middle.jpg", scene)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    words = folder / "only words.jpg"
    words.write_text("This is a shopping list: bread, butter, film.\n", encoding="utf-8")
    empty = folder / "empty.jpg"
    empty.touch()
    damaged = write_png(folder / "damaged.png", scene)
    data = bytearray(damaged.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    damaged.write_bytes(data)
    bomb = folder / "bomb.png"
    bomb.write_bytes(_png_claiming(60_000, 60_000))
    return [cut, words, empty, damaged, bomb]


def wide_gamut_profile() -> bytes:
    """Return an RGB profile with the primaries of Adobe RGB (1998) and gamma 563/256.

    ICC.1:2001-04 (version 2.4) for the structure; Adobe RGB (1998) Color Image Encoding for the colorants,
    adapted to D50.
    """
    tags = {
        b"cprt": b"text\0\0\0\0No copyright\0",
        b"desc": _icc_description("Sample wide gamut RGB"),
        b"wtpt": _icc_xyz(0.95045, 1.0, 1.08905),
        b"rXYZ": _icc_xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": _icc_xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": _icc_xyz(0.14919, 0.06322, 0.74457),
        b"rTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, 563),
        b"gTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, 563),
        b"bTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, 563),
    }
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content.ljust(-(-len(content) // 4) * 4, b"\0")
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x3I48x",
        *(start + len(data), 0x02400000, b"mntr", b"RGB ", b"XYZ "),
        *(2024, 1, 1, 0, 0, 0, b"acsp"),
        *(0xF6D6, 0x10000, 0xD32D),  # the D50 illuminant
    )
    return header + struct.pack(">I", len(tags)) + table + data


def _icc_xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))


def _icc_description(text: str) -> bytes:
    data = text.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(data)) + data + bytes(4 + 4 + 2 + 1 + 67)


def _png_claiming(width: int, height: int) -> bytes:
    """Return a well-formed PNG whose header promises far more than its data holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return (
        signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
