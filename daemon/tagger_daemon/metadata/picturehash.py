"""A hash of the picture without its metadata: the same before and after a write, a rename, a copy.

Formats by their own specifications: JPEG (ITU T.81), PNG (W3C), TIFF 6.0 with BigTIFF and DNG, PSD (Adobe);
for the newer ones see `containers.py`. A file of any other kind is never written into, so that all its bytes
are its picture.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tagger_daemon.metadata.boxes import exactly, opened, rest, whole
from tagger_daemon.metadata.containers import container_pieces

MOST_REPEATS = 16  # a file whose pieces overlap so much that they make this many times its size is an attack
MOST_IFDS = 1000  # more directories than any real file has: a loop or an attack

JPEG_PICTURE = frozenset(
    {*range(0xC0, 0xD0), 0xDB, 0xDD, 0xEE}
)  # SOF, DHT, DAC, DQT, DRI, APP14 (colour transform)
JPEG_SOS = 0xDA
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT"})

TIFF_TYPE_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
TIFF_DATA = {273: 279, 324: 325, 513: 514}  # where strips, tiles and thumbnails stand -> their lengths
TIFF_SUBIFDS = 330
TIFF_PICTURE = frozenset({256, 257, 258, 259, 262, 277, 278, 284, 317, 320, 322, 323, 338, 339, 347})


def content_hash(path: Path) -> str:
    """Return the SHA-256, in hexadecimal, of a photo's picture data.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read, or is damaged.
    """
    digest = hashlib.sha256()
    with opened(path) as stream:
        most = MOST_REPEATS * os.fstat(stream.fileno()).st_size
        for piece in _picture(stream, path.suffix.lower()):
            digest.update(piece)
            most -= len(piece)
            if most < 0:
                raise ValueError("the same data over and over")
    return digest.hexdigest()


def _picture(stream: BinaryIO, suffix: str) -> Iterator[bytes]:
    magic = stream.read(8)
    stream.seek(0)
    if magic.startswith(b"\xff\xd8\xff"):
        return _jpeg(stream)
    if magic == b"\x89PNG\r\n\x1a\n":
        return _png(stream)
    if magic.startswith(b"8BPS"):
        return _psd(stream)
    if suffix in {".tif", ".tiff", ".dng"} and magic[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return _tiff(stream)
    return container_pieces(stream, suffix) or rest(stream)


def _jpeg(stream: BinaryIO) -> Iterator[bytes]:
    """Give tables and frame headers, and everything from the first scan on."""
    stream.seek(2)
    while True:
        lead, code = struct.unpack("BB", stream.read(2))
        while code == 0xFF:  # fill bytes
            (code,) = struct.unpack("B", stream.read(1))
        if lead != 0xFF:
            raise ValueError("no marker where one should be")
        if code in JPEG_BARE:
            continue
        (length,) = struct.unpack(">H", stream.read(2))
        body = stream.read(length - 2)
        if code in JPEG_PICTURE or code == JPEG_SOS:
            yield struct.pack(">BH", code, length) + body
        if code == JPEG_SOS:
            yield from rest(stream)
            return


def _png(stream: BinaryIO) -> Iterator[bytes]:
    stream.seek(8)
    while header := stream.read(8):
        length, kind = struct.unpack(">I4s", header)
        if kind in PNG_PICTURE:
            yield kind
            yield from exactly(stream, length)
            stream.seek(4, os.SEEK_CUR)  # the checksum
        else:
            stream.seek(length + 4, os.SEEK_CUR)


def _psd(stream: BinaryIO) -> Iterator[bytes]:
    """Give header and palette, skip the resources, where metadata stands, and give layers and picture."""
    yield stream.read(26)
    (palette,) = struct.unpack(">I", stream.read(4))
    yield from exactly(stream, palette)
    (resources,) = struct.unpack(">I", stream.read(4))
    stream.seek(resources, os.SEEK_CUR)
    yield from rest(stream)


class _Field(NamedTuple):
    """One entry of a TIFF directory."""

    kind: int
    raw: bytes  # the value's bytes


class _Layout(NamedTuple):
    """How numbers stand in one TIFF file."""

    order: str  # struct's sign of the byte order
    big: bool  # BigTIFF: 64-bit offsets and counts

    def integers(self, field: _Field) -> tuple[int, ...]:
        code = TIFF_INTEGERS.get(field.kind)
        if code is None:
            raise ValueError("a position is not an integer")
        return struct.unpack(f"{self.order}{len(field.raw) // struct.calcsize(code)}{code}", field.raw)


def _tiff(stream: BinaryIO) -> Iterator[bytes]:
    """Give the strips and tiles of all directories, and the fields that say how they are to be decoded."""
    head = stream.read(16)
    order = "<" if head.startswith(b"II") else ">"
    layout = _Layout(order=order, big=head[2:4] in {b"+\0", b"\0+"})
    pending = [
        struct.unpack_from(f"{order}Q", head, 8)[0]
        if layout.big
        else struct.unpack_from(f"{order}I", head, 4)[0]
    ]
    seen: set[int] = set()
    while pending:
        position = pending.pop(0)
        if position == 0 or position in seen:
            continue
        seen.add(position)
        if len(seen) > MOST_IFDS:
            raise ValueError("too many directories")
        directory, following = _directory(stream, position, layout)
        if TIFF_SUBIFDS in directory:
            pending.extend(layout.integers(directory[TIFF_SUBIFDS]))
        pending.append(following)
        yield from _directory_picture(stream, directory, layout)


def _directory(stream: BinaryIO, position: int, layout: _Layout) -> tuple[dict[int, _Field], int]:
    """Read one directory: its fields by tag, and where the next one stands."""
    count_code, entry_code, offset_code = ("Q", "HHQ", "Q") if layout.big else ("H", "HHI", "I")
    inline = struct.calcsize(offset_code)
    stream.seek(position)
    (count,) = struct.unpack(layout.order + count_code, stream.read(struct.calcsize(count_code)))
    size = struct.calcsize(f"{layout.order}{entry_code}") + inline
    table = whole(stream, count * size)
    (following,) = struct.unpack(layout.order + offset_code, stream.read(inline).ljust(inline, b"\0"))
    directory = {}
    for start in range(0, len(table), size):
        tag, kind, number = struct.unpack_from(layout.order + entry_code, table, start)
        length = number * TIFF_TYPE_SIZES.get(kind, 1)
        value = table[start + size - inline : start + size]
        if length > inline:
            if tag not in TIFF_PICTURE and tag != TIFF_SUBIFDS and tag not in TIFF_DATA | _REVERSED:
                continue
            stream.seek(struct.unpack(layout.order + offset_code, value)[0])
            value = whole(stream, length)
        directory[tag] = _Field(kind=kind, raw=value[:length])
    return directory, following


_REVERSED = {length: start for start, length in TIFF_DATA.items()}


def _directory_picture(stream: BinaryIO, directory: dict[int, _Field], layout: _Layout) -> Iterator[bytes]:
    for tag in sorted(TIFF_PICTURE & directory.keys()):
        yield struct.pack(">HH", tag, directory[tag].kind) + directory[tag].raw
    for starts, lengths in TIFF_DATA.items():
        if starts in directory and lengths in directory:
            pieces = zip(layout.integers(directory[starts]), layout.integers(directory[lengths]), strict=True)
            for start, length in pieces:
                stream.seek(start)
                yield from exactly(stream, length)
