"""Tiny drawn pictures: four coloured quarters, which show any turn and any swapped channel."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageCms

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30)
QUARTERS = (RED, GREEN, BLUE, YELLOW)  # top left, top right, bottom left, bottom right

# What a camera held that way stores: the inverse of what EXIF orientation 1 to 8 asks a viewer to do.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def drawn(width: int = 96, height: int = 64) -> Image.Image:
    """Return an upright RGB picture of the four quarters."""
    image = Image.new("RGB", (width, height))
    half = (width // 2, height // 2)
    for index, colour in enumerate(QUARTERS):
        column, row = index % 2, index // 2
        image.paste(colour, (half[0] * column, half[1] * row, half[0] * (column + 1), half[1] * (row + 1)))
    return image


def quarters(jpeg: bytes) -> list[tuple[int, int, int]]:
    """Return the colours in the middles of a picture's four quarters, in the order of `QUARTERS`."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    columns, rows = ((size // 4, size * 3 // 4) for size in image.size)
    return [image.getpixel((x, y)) for y in rows for x in columns]  # type: ignore[misc]


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return what is stored in a file with this EXIF orientation, so that a viewer sees `image`."""
    return image.transpose(_STORED[orientation]) if orientation in _STORED else image


def exif(orientation: int) -> bytes:
    """Return an EXIF block with an orientation and something private."""
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010E] = "a private note"
    return block.tobytes()


def swapping_profile() -> bytes:
    """Return sRGB with red's and blue's primaries exchanged: whoever honours it sees red as blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def png_header(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a one-bit PNG of any announced size, with the given rows (none: no pixel at all)."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write_dng(
    path: Path,
    sensor: Image.Image,
    *,
    orientation: int = 1,
    preview: Image.Image | None = None,
    compression: int = 1,
) -> None:
    """Write a minimal raw (DNG 1.4, RGGB mosaic, 16 bits), with an embedded JPEG preview if one is given."""
    width, height = sensor.size
    mosaic = b"".join(
        struct.pack("<H", sensor.getpixel((x, y))[(y & 1) + (x & 1)] * 257)  # type: ignore[index]
        for y in range(height)
        for x in range(width)
    )
    jpeg = io.BytesIO()
    if preview is not None:
        preview.save(jpeg, "JPEG", quality=95)
    data_at = 8 + 4096
    preview_at = data_at + len(mosaic)
    ifd: list[tuple[int, str, Sequence[float] | bytes]] = [
        (254, "L", [0]),
        (256, "L", [width]),
        (257, "L", [height]),
        (258, "H", [16]),
        (259, "H", [compression]),
        (262, "H", [32803]),
        (271, "s", b"Drawn\0"),
        (272, "s", b"By Hand\0"),
        (273, "L", [data_at]),
        (274, "H", [orientation]),
        (277, "H", [1]),
        (278, "L", [height]),
        (279, "L", [len(mosaic)]),
        (33421, "H", [2, 2]),
        (33422, "B", [0, 1, 1, 2]),
        (50706, "B", [1, 4, 0, 0]),
        (50708, "s", b"Drawn By Hand\0"),
        (50717, "L", [65535]),
        (50721, "r", [3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570]),
        (50728, "R", [1, 1, 1]),
        (50778, "H", [21]),
    ]
    sub_at = 8 + 2048
    if preview is not None:
        ifd.append((330, "L", [sub_at]))
    head = b"II*\0" + struct.pack("<L", 8) + _ifd(ifd, 8)
    sub = _ifd(
        [
            (254, "L", [1]),
            (256, "L", [preview.width if preview else 0]),
            (257, "L", [preview.height if preview else 0]),
            (258, "H", [8, 8, 8]),
            (259, "H", [7]),
            (262, "H", [6]),
            (273, "L", [preview_at]),
            (277, "H", [3]),
            (278, "L", [preview.height if preview else 0]),
            (279, "L", [len(jpeg.getvalue())]),
        ],
        sub_at,
    )
    path.write_bytes(
        head.ljust(sub_at, b"\0") + sub.ljust(data_at - sub_at, b"\0") + mosaic + jpeg.getvalue()
    )


def _ifd(entries: list[tuple[int, str, Sequence[float] | bytes]], at: int) -> bytes:
    """Return one TIFF directory that will stand at offset `at`, its longer values behind it."""
    kinds = {"B": 1, "s": 2, "H": 3, "L": 4, "R": 5, "r": 10}
    table, values = b"", b""
    values_at = at + 2 + 12 * len(entries) + 4
    for tag, kind, items in sorted(entries):
        data = _packed(kind, items)
        if len(data) > 4:
            place = struct.pack("<L", values_at + len(values))
            values += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        table += struct.pack("<HHL", tag, kinds[kind], len(items)) + place
    return struct.pack("<H", len(entries)) + table + bytes(4) + values


def _packed(kind: str, items: Sequence[float] | bytes) -> bytes:
    if isinstance(items, bytes):
        return items
    if kind in "Rr":
        code = "<LL" if kind == "R" else "<ll"
        return b"".join(struct.pack(code, round(item * 10000), 10000) for item in items)
    return struct.pack(f"<{len(items)}{kind}", *items)
