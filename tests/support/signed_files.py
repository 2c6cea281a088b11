"""Content credentials (C2PA) of no worth, put where those of worth stand."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

STORE_TYPE = bytes.fromhex("6332706100110010800000aa00389b71")
CREDENTIALS_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box as JUMBF and ISO base media files have them."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def store(type_: bytes = STORE_TYPE) -> bytes:
    """Return a JUMBF superbox of a type: a manifest store, or another one."""
    return box(b"jumb", box(b"jumd", type_ + b"\x03c2pa\0") + box(b"jumb", b"a manifest"))


def sign(path: Path, content: bytes | None = None) -> None:
    """Put a manifest store, or other content, into a photo where its format has a place for it."""
    data = path.read_bytes()
    inner = store() if content is None else content
    kind = path.suffix.lower()
    if kind == ".jpg":
        data = data[:2] + jpeg_segment(inner) + data[2:]
    elif kind == ".png":
        header = 8 + 25  # signature and IHDR
        check = struct.pack(">I", zlib.crc32(b"caBX" + inner))
        data = data[:header] + struct.pack(">I", len(inner)) + b"caBX" + inner + check + data[header:]
    elif kind in {".tif", ".dng"}:
        data = with_tiff_field(data, 0xCD41, inner)
    elif kind == ".webp":
        inner += b"\0" * (len(inner) % 2)
        data += b"C2PA" + struct.pack("<I", len(inner)) + inner
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    else:  # at the end, where it moves nothing
        data += box(b"uuid", CREDENTIALS_UUID + bytes(4) + b"manifest\0" + bytes(8) + inner)
    path.write_bytes(data)


def jpeg_segment(content: bytes) -> bytes:
    """Return an APP11 segment that holds a box."""
    body = b"JP" + struct.pack(">HI", 1, 1) + content
    return b"\xff\xeb" + struct.pack(">H", 2 + len(body)) + body


def with_tiff_field(data: bytes, tag: int, content: bytes) -> bytes:
    """Return a little-endian TIFF with one more field in its first directory, which moves to the end."""
    (position,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, position)
    table = data[position + 2 : position + 2 + 12 * count]
    following = data[position + 2 + 12 * count :][:4]
    padded = data + b"\0" * (len(data) % 2)
    field = struct.pack("<HHII", tag, 7, len(content), len(padded))
    directory = len(padded) + len(content) + len(content) % 2
    body = padded + content + b"\0" * (len(content) % 2)
    return (
        body[:4]
        + struct.pack("<I", directory)
        + body[8:]
        + struct.pack("<H", count + 1)
        + table
        + field
        + following
    )
