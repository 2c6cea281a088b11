"""The picture inside the newer formats, HEIC, AVIF, JPEG XL and WebP, and what is odd about one such file.

By ISO/IEC 14496-12 and 23008-12, ISO/IEC 18181-2, and RFC 9649. Everything is the picture but the items,
boxes and chunks that hold Exif or XMP.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tagger_daemon.metadata.boxes import Box, boxes_of_file, opened, rest, size_of
from tagger_daemon.metadata.heif import heif_pieces, packings

MAGIC = 12  # bytes that tell the formats apart

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".avif"})  # raw files and films may begin like them
DEFLATE_SINCE = (12, 88)  # exiftool's own list of changes

JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
JXL_BARE = b"\xff\x0a"
JXL_WORDS = frozenset({b"exif", b"xml "})  # in lower case: inside packed boxes, encoders differ

WEBP_WORDS = frozenset({b"EXIF", b"XMP "})
WEBP_SAID_BY_CHUNKS = 0x2C  # VP8X's flags for XMP, Exif and a colour profile; the chunks themselves tell
WEBP_ALPHA = 0x10


def container_pieces(stream: BinaryIO, suffix: str) -> Iterator[bytes] | None:
    """Return what a picture in one of these formats is made of; None: the file is none of them.

    Args:
        stream: the file.
        suffix: of its name, in lower case, with the dot.
    """
    magic = _magic(stream)
    if magic == JXL_CONTAINER:
        return _jpeg_xl(stream)
    if magic[:4] == b"RIFF" and magic[8:] == b"WEBP":
        return _webp(stream)
    if _is_heif(magic, suffix):
        return rest(stream) if _is_sequence(stream) else heif_pieces(stream)
    return None


def hidden_words(path: Path, version: tuple[int, int]) -> str | None:
    """Return why words in a file would not be seen, as what would follow "its metadata"; None: they would be.

    Args:
        path: the photo.
        version: exiftool's.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read, or is damaged.
    """
    with opened(path) as stream:
        magic = _magic(stream)
        if magic == JXL_CONTAINER and any(_is_packed(stream, box) for box in boxes_of_file(stream)):
            return "is packed with Brotli, where a person's words could not be seen"
        if _is_heif(magic, path.suffix.lower()):
            packed = packings(stream)
            if packed - {b"deflate"}:
                return "is packed in a way that exiftool does not know"
            if packed and version < DEFLATE_SINCE:
                wanted = ".".join(map(str, DEFLATE_SINCE))
                return f"is packed, and only exiftool {wanted} or newer can read it"
    return None


def obstacle(path: Path) -> str | None:
    """Return why nothing should be written into a file that exiftool might write into; None: nothing is.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read.
    """
    with opened(path) as stream:
        magic = _magic(stream)
        if magic.startswith(JXL_BARE):
            return "it is a bare codestream, which has no room for words"
        if magic == JXL_CONTAINER and any(box.kind == b"jbrd" for box in boxes_of_file(stream)):
            return "a JPEG can be had back from it bit by bit, but not with other XMP"
        if _is_heif(magic, path.suffix.lower()) and _is_sequence(stream):
            return "it is a sequence of pictures"
    return None


def _magic(stream: BinaryIO) -> bytes:
    stream.seek(0)
    magic = stream.read(MAGIC)
    stream.seek(0)
    return magic


def _is_heif(magic: bytes, suffix: str) -> bool:
    return magic[4:8] == b"ftyp" and suffix in HEIF_SUFFIXES


def _is_sequence(stream: BinaryIO) -> bool:
    found = any(box.kind == b"moov" for box in boxes_of_file(stream))
    stream.seek(0)
    return found


def _jpeg_xl(stream: BinaryIO) -> Iterator[bytes]:
    for box in boxes_of_file(stream):
        if box.kind.lower() not in JXL_WORDS and not _is_packed(stream, box):
            yield from box.pieces(stream)


def _is_packed(stream: BinaryIO, box: Box) -> bool:
    """Tell whether a box holds Exif or XMP that Brotli has packed."""
    if box.kind != b"brob":
        return False
    stream.seek(box.start)
    return stream.read(4).lower() in JXL_WORDS


def _webp(stream: BinaryIO) -> Iterator[bytes]:
    """Give the chunks; a plain file, which lacks the one that tells its features, gives what it would say."""
    (length,) = struct.unpack("<4xI4x", stream.read(MAGIC))
    end = length + 8
    if end > size_of(stream):
        raise ValueError("the file ends too early")
    position = MAGIC
    while position < end:
        stream.seek(position)
        kind, length = struct.unpack("<4sI", stream.read(8))
        chunk = Box(kind, position + 8, position + 8 + length)
        if kind == b"VP8X":
            flags, *others = chunk.content(stream)
            yield bytes((flags & ~WEBP_SAID_BY_CHUNKS, *others))
        elif position == MAGIC:
            yield _features(kind, stream.read(10))
        if kind not in WEBP_WORDS | {b"VP8X"}:
            yield from chunk.pieces(stream)
        position = chunk.end + length % 2
    stream.seek(end)
    yield from rest(stream)


def _features(kind: bytes, head: bytes) -> bytes:
    """Return the features of a plain file, as a VP8X chunk says them, from its picture's first bytes."""
    if kind == b"VP8 ":  # RFC 6386, 9.1
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", head, 6))
        alpha = False
    elif kind == b"VP8L":  # RFC 9649, 3.4
        (bits,) = struct.unpack_from("<I", head, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        alpha = bool(bits >> 28 & 1)
    else:
        raise ValueError("no picture where one should be")
    flags = WEBP_ALPHA if alpha else 0
    return struct.pack("<I", flags) + b"".join((size - 1).to_bytes(3, "little") for size in (width, height))
