"""A small TIFF writer, and the camera raw files built on it: DNG and NEF, and TIFF with 16 bits.

Sources: TIFF 6.0 (Adobe, 1992) for the structure; TIFF/EP (ISO 12234-2) for the CFA tags and SubIFDs; DNG
1.4.0.0 (Adobe, 2012), chapters 3 and 4, for its tags and the layout: thumbnail in IFD0, the rest in SubIFDs.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]

# XYZ (D65) to linear sRGB, IEC 61966-2-1: the "camera" of our DNG sees in sRGB primaries, which makes it
# neutral at (1, 1, 1) under D65 and keeps the file honest without a real camera's measurements.
XYZ_TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])

# XYZ (D65) to a Nikon D750's camera space, as LibRaw has it: a NEF has no matrix, decoders go by the model.
XYZ_TO_D750 = np.array([[0.9020, -0.2890, -0.0715], [-0.4535, 1.2436, 0.2348], [-0.0934, 0.1919, 0.7086]])

THUMBNAIL_SIZE = 256  # long edge, pixels
RGGB = bytes([0, 1, 1, 2])


@dataclass(frozen=True, kw_only=True)
class Field:
    """The value of one tag, as it goes into the file."""

    type: int  # TIFF 6.0, page 15
    count: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One image file directory: its tags, its picture data, the directories below it."""

    tags: Mapping[int, Field]
    data: bytes
    data_tags: tuple[int, int] = (273, 279)  # where offset and length go: StripOffsets, StripByteCounts
    children: tuple[Directory, ...] = field(default=())  # SubIFDs


def byte(*values: int) -> Field:
    """Return a BYTE field."""
    return Field(type=1, count=len(values), data=bytes(values))


def ascii_text(value: str) -> Field:
    """Return an ASCII field."""
    data = value.encode("ascii") + b"\0"
    return Field(type=2, count=len(data), data=data)


def short(*values: int) -> Field:
    """Return a SHORT field."""
    return Field(type=3, count=len(values), data=struct.pack(f"<{len(values)}H", *values))


def long(*values: int) -> Field:
    """Return a LONG field."""
    return Field(type=4, count=len(values), data=struct.pack(f"<{len(values)}I", *values))


def rational(*values: float) -> Field:
    """Return a RATIONAL field, to four decimals."""
    parts = [part for value in values for part in (round(value * 10_000), 10_000)]
    return Field(type=5, count=len(values), data=struct.pack(f"<{len(parts)}I", *parts))


def signed_rational(*values: float) -> Field:
    """Return an SRATIONAL field, to four decimals."""
    parts = [part for value in values for part in (round(value * 10_000), 10_000)]
    return Field(type=10, count=len(values), data=struct.pack(f"<{len(parts)}i", *parts))


def tiff_bytes(root: Directory) -> bytes:
    """Return a little-endian TIFF file whose IFD0 is `root`."""
    out = bytearray(b"II*\0\0\0\0\0")
    out[4:8] = struct.pack("<I", _append_directory(out, root))
    return bytes(out)


def rgb16_tiff(image: Image.Image) -> bytes:
    """Return an uncompressed TIFF with 16 bits a channel, with tones between those of 8 bits."""
    # A blur by half a pixel makes the in-between values that 8 bits cannot hold.
    values = _floats(image)
    values = (values + np.roll(values, 1, axis=1)) / 2
    data = np.round(values * 65535).astype("<u2").tobytes()
    tags = {
        **_size(image),
        258: short(16, 16, 16),
        259: short(1),
        262: short(2),  # PhotometricInterpretation: RGB
        277: short(3),
        **_resolution(),
    }
    return tiff_bytes(Directory(tags=tags, data=data))


def dng(image: Image.Image) -> bytes:
    """Return a DNG 1.4 of this RGB picture: thumbnail, RGGB mosaic, full-size JPEG preview.

    The mosaic has 16 bits with black at 1024 and white at 65535; width and height are made even.
    """
    image = _even(image)
    black, white = 1024, 65535
    mosaic = np.round(_mosaic(image, XYZ_TO_SRGB) * (white - black) + black).astype("<u2")
    raw = {
        **_cfa_tags(image),
        50711: short(1),  # CFALayout: rectangular
        50714: short(black),
        50717: short(white),
        50719: short(0, 0),  # DefaultCropOrigin
        50720: short(*image.size),  # DefaultCropSize
    }
    preview = {
        **_size(image),
        254: long(1),  # NewSubfileType: a reduced or processed copy
        258: short(8, 8, 8),
        259: short(7),  # Compression: JPEG
        262: short(6),  # PhotometricInterpretation: YCbCr
        277: short(3),
        530: short(2, 2),  # YCbCrSubSampling, as `_jpeg` encodes it
        50970: long(2),  # PreviewColorSpace: sRGB
    }
    head = {
        271: ascii_text("Lumora"),
        272: ascii_text("Lumora Field 3"),
        50706: byte(1, 4, 0, 0),  # DNGVersion
        50707: byte(1, 1, 0, 0),  # DNGBackwardVersion
        50708: ascii_text("Lumora Field 3"),  # UniqueCameraModel
        50721: signed_rational(*XYZ_TO_SRGB.flat),  # ColorMatrix1
        50728: rational(1, 1, 1),  # AsShotNeutral
        50778: short(21),  # CalibrationIlluminant1: D65
    }
    return tiff_bytes(
        _with_thumbnail(
            image,
            head,
            Directory(tags=raw, data=mosaic.tobytes()),
            Directory(tags=preview, data=_jpeg(image)),
        )
    )


def nef(image: Image.Image) -> bytes:
    """Return a NEF of this RGB picture as a Nikon D750 lays it out, without its maker notes.

    IFD0 is a thumbnail, the first SubIFD a full-size JPEG ("JpgFromRaw"), the second an uncompressed
    RGGB mosaic of 16 bits; width and height are made even.
    """
    image = _even(image)
    black, white = 600, 65535  # the black level is the one that LibRaw takes for this model
    mosaic = np.round(_mosaic(image, XYZ_TO_D750) * (white - black) + black).astype("<u2")
    preview = {254: long(1), 259: short(6), **_resolution(), 531: short(2)}  # Compression: old-style JPEG
    head = {
        271: ascii_text("NIKON CORPORATION"),
        272: ascii_text("NIKON D750"),
        305: ascii_text("Ver.1.00"),
        # A DNG tag: cameras say the white balance in maker notes, but LibRaw takes it from here too.
        50728: rational(*_from_srgb(XYZ_TO_D750).sum(axis=1)),  # AsShotNeutral: what white looks like
    }
    return tiff_bytes(
        _with_thumbnail(
            image,
            head,
            Directory(tags=preview, data=_jpeg(image), data_tags=(513, 514)),
            Directory(tags=_cfa_tags(image), data=mosaic.tobytes()),
        )
    )


def _append_directory(out: bytearray, directory: Directory) -> int:
    """Append a directory after all that it points to, and return its offset."""
    offset_tag, length_tag = directory.data_tags
    tags = {
        **directory.tags,
        offset_tag: long(_append(out, directory.data)),
        length_tag: long(len(directory.data)),
    }
    if directory.children:
        tags[330] = long(*(_append_directory(out, child) for child in directory.children))
    entries = b""
    for tag, value in sorted(tags.items()):
        fits = len(value.data) <= 4
        content = value.data.ljust(4, b"\0") if fits else struct.pack("<I", _append(out, value.data))
        entries += struct.pack("<HHI", tag, value.type, value.count) + content
    return _append(out, struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))


def _append(out: bytearray, data: bytes) -> int:
    """Append data at an even offset, as TIFF 6.0 asks, and return that offset."""
    out += b"\0" * (len(out) % 2)
    offset = len(out)
    out += data
    return offset


def _with_thumbnail(image: Image.Image, head: Mapping[int, Field], *children: Directory) -> Directory:
    """Return an IFD0 with an uncompressed thumbnail and the tags that speak for the whole file."""
    thumbnail = image.copy()
    thumbnail.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    tags = {
        **_size(thumbnail),
        254: long(1),
        258: short(8, 8, 8),
        259: short(1),
        262: short(2),  # PhotometricInterpretation: RGB
        274: short(1),
        277: short(3),
        284: short(1),
        **head,
    }
    return Directory(tags=tags, data=thumbnail.tobytes(), children=children)


def _size(image: Image.Image) -> dict[int, Field]:
    """Return width, height, and the one strip that holds all rows."""
    return {256: long(image.width), 257: long(image.height), 278: long(image.height)}


def _resolution() -> dict[int, Field]:
    return {282: rational(300), 283: rational(300), 296: short(2)}  # dots per inch


def _cfa_tags(image: Image.Image) -> dict[int, Field]:
    return {
        **_size(image),
        254: long(0),  # NewSubfileType: the primary picture
        258: short(16),
        259: short(1),
        262: short(32803),  # PhotometricInterpretation: colour filter array
        277: short(1),
        284: short(1),
        33421: short(2, 2),  # CFARepeatPatternDim
        33422: byte(*RGGB),
    }


def _mosaic(image: Image.Image, xyz_to_camera: Floats) -> Floats:
    """Return what a sensor under an RGGB filter sees: floats of shape (height, width) from 0 to 1."""
    encoded = _floats(image)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    camera = np.clip(linear @ _from_srgb(xyz_to_camera).T, 0, 1)
    seen = camera[:, :, 1].copy()
    seen[0::2, 0::2] = camera[0::2, 0::2, 0]
    seen[1::2, 1::2] = camera[1::2, 1::2, 2]
    return seen


def _from_srgb(xyz_to_camera: Floats) -> Floats:
    """Return the matrix from linear sRGB to camera space."""
    matrix: Floats = xyz_to_camera @ np.linalg.inv(XYZ_TO_SRGB)
    return matrix


def _floats(image: Image.Image) -> Floats:
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def _even(image: Image.Image) -> Image.Image:
    return image.convert("RGB").crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 88, "subsampling": "4:2:0"}
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()
