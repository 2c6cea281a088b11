"""Does a photo carry content credentials (C2PA), which any change to the file would break?

Only where they stand is looked at, and whether they are valid is not asked: C2PA Technical Specification 2.4,
Appendix A, and for their box ISO/IEC 19566-5 (JUMBF). PSD has no place for them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from tagger_daemon.errors import PhotoGone, PhotoUnreadable

MOST_PARTS = 100_000  # that are looked at in one file; a PNG of 800 MB in libpng's pieces of 8 kB has as many
MOST_FIELDS = 0xFFFF  # of one TIFF directory; more than a classic one can have

JPEG_APP11 = 0xEB
JPEG_ENDS = frozenset({0xD9, 0xDA})  # EOI, SOS: no more segments of metadata
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
JPEG_BOX = 8  # bytes of an APP11 segment before its box: "JP", instance, sequence number
PNG_CHUNK = b"caBX"
TIFF_TAG = 0xCD41
RIFF_CHUNK = b"C2PA"
BMFF_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
JXL_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
STORE_UUID = bytes.fromhex("6332706100110010800000aa00389b71")  # the type of a manifest store


def is_signed(path: Path) -> bool:
    """Tell whether content credentials stand in a photo; in one that cannot be followed, none are known.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read.
    """
    try:
        with path.open("rb") as stream:
            parts = _parts(stream, os.fstat(stream.fileno()).st_size)
            return any(islice(parts, MOST_PARTS))
    except FileNotFoundError as error:
        raise PhotoGone(f"{path.name} is no longer there") from error
    except OSError as error:
        raise PhotoUnreadable(f"{path.name} cannot be read: {error.strerror}") from error
    except struct.error:  # it ends too early, or leads beyond its end
        return False


def _parts(stream: BinaryIO, size: int) -> Iterator[bool]:
    """Give for each part of a file whether it holds credentials; its first bytes tell what its parts are."""
    magic = stream.read(12)
    if magic.startswith(b"\xff\xd8\xff"):
        return _jpeg(stream)
    if magic.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(stream, size)
    if magic[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return _tiff(stream, size)
    if magic.startswith(b"RIFF") and magic.endswith(b"WEBP"):
        return _webp(stream, size)
    if magic[4:8] == b"ftyp" or magic == JXL_SIGNATURE:
        return _boxes(stream, size)
    return iter(())


def _jpeg(stream: BinaryIO) -> Iterator[bool]:
    stream.seek(2)
    while True:
        lead, code = struct.unpack("BB", stream.read(2))
        if lead != 0xFF or code in JPEG_ENDS:
            return
        body = b""
        if code == 0xFF:  # a fill byte
            stream.seek(-1, os.SEEK_CUR)
        elif code not in JPEG_BARE:
            (length,) = struct.unpack(">H", stream.read(2))
            body = stream.read(max(0, length - 2))
        yield code == JPEG_APP11 and body.startswith(b"JP") and _is_store(body[JPEG_BOX:])


def _png(stream: BinaryIO, size: int) -> Iterator[bool]:
    position = 8
    while position < size:
        stream.seek(position)
        length, kind = struct.unpack(">I4s", stream.read(8))
        yield kind == PNG_CHUNK
        position += 12 + length


def _tiff(stream: BinaryIO, size: int) -> Iterator[bool]:
    """Give the fields of all directories, and once for each directory nothing: some have no fields."""
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = b"+" in head[2:4]
    number, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    (position,) = struct.unpack_from(order + offset, head, 8 if big else 4)
    while 0 < position < size:
        yield False
        stream.seek(position)
        (count,) = struct.unpack(order + number, stream.read(struct.calcsize(number)))
        table = stream.read(min(count, MOST_FIELDS) * entry)
        (position,) = struct.unpack(order + offset, stream.read(struct.calcsize(offset)))
        for start in range(0, len(table), entry):
            yield struct.unpack_from(f"{order}H", table, start) == (TIFF_TAG,)


def _webp(stream: BinaryIO, size: int) -> Iterator[bool]:
    position = 12
    while position < size:
        stream.seek(position)
        kind, length = struct.unpack("<4sI", stream.read(8))
        yield kind == RIFF_CHUNK
        position += 8 + length + length % 2


def _boxes(stream: BinaryIO, size: int) -> Iterator[bool]:
    """Give the top-level boxes of HEIC, HEIF and AVIF, whose credentials are a `uuid`, and of JPEG XL."""
    position = 0
    while position < size:
        stream.seek(position)
        head = stream.read(64)
        length, kind = struct.unpack_from(">I4s", head)
        start = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
            start = 16
        yield (kind == b"uuid" and head[start:].startswith(BMFF_UUID)) or _is_store(head)
        if length < start:  # to the end of the file, or nonsense
            return
        position += length


def _is_store(box: bytes) -> bool:
    """Tell whether a box, of which the beginning is enough, is a JUMBF superbox with a manifest store."""
    length, kind = struct.unpack_from(">I4s", box.ljust(8))
    inner = box[16 if length == 1 else 8 :]
    return kind == b"jumb" and inner[4:8] == b"jumd" and inner[8:24] == STORE_UUID
