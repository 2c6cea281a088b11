"""Reading a photo's bytes piece by piece: streams, and the boxes of ISO/IEC 14496-12.

Nothing is believed of what a file says about its own size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tagger_daemon.errors import PhotoGone, PhotoUnreadable

BLOCK = 1 << 20  # bytes read at once


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Give a photo's bytes; what goes wrong while they are read is put down to the photo.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read, or is damaged.
    """
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise PhotoGone(f"{path.name} is no longer there") from error
    except OSError as error:
        raise PhotoUnreadable(f"{path.name} cannot be read: {error.strerror}") from error
    except (struct.error, ValueError, OverflowError) as error:  # an offset of 2**64, too
        raise PhotoUnreadable(f"{path.name} is damaged: its picture data cannot be followed") from error


def size_of(stream: BinaryIO) -> int:
    """Return how many bytes the file has."""
    return os.fstat(stream.fileno()).st_size


def rest(stream: BinaryIO) -> Iterator[bytes]:
    """Give everything up to the end."""
    while block := stream.read(BLOCK):
        yield block


def exactly(stream: BinaryIO, length: int) -> Iterator[bytes]:
    """Give so many bytes, or as many as there are."""
    while length > 0 and (block := stream.read(min(length, BLOCK))):
        length -= len(block)
        yield block


def whole(stream: BinaryIO, length: int) -> bytes:
    """Read so many bytes, of which none may be missing; nothing is set aside for more than there are."""
    if length > size_of(stream) - stream.tell():
        raise ValueError("the file ends too early")
    return stream.read(length)


class Box(NamedTuple):
    """One box: what it is, and where its content begins and ends."""

    kind: bytes  # b"": bytes that are no box
    start: int
    end: int

    def content(self, stream: BinaryIO) -> bytes:
        """Return what the box holds."""
        stream.seek(self.start)
        return whole(stream, self.end - self.start)

    def pieces(self, stream: BinaryIO) -> Iterator[bytes]:
        """Give kind, length and content, which together no other box has."""
        yield struct.pack(">4sQ", self.kind, self.end - self.start)
        stream.seek(self.start)
        yield from exactly(stream, self.end - self.start)


def boxes_of_file(stream: BinaryIO) -> Iterator[Box]:
    """Give a file's boxes, and as one more whatever stands behind the last."""
    start, end = 0, size_of(stream)
    while start < end:
        box = _box(stream, start, end) or Box(b"", start, end)
        yield box
        start = box.end


def boxes_within(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Give the boxes between two positions, which they fill."""
    while start < end:
        box = _box(stream, start, end)
        if box is None:
            raise ValueError("a box is larger than what holds it")
        yield box
        start = box.end


def _box(stream: BinaryIO, start: int, end: int) -> Box | None:
    stream.seek(start)
    header = stream.read(16)
    if len(header) < 8:
        return None
    size, kind = struct.unpack_from(">I4s", header)
    head = 8
    if size == 1 and len(header) == 16:
        (size,) = struct.unpack_from(">Q", header, 8)
        head = 16
    elif size == 0:
        size = end - start
    return Box(kind, start + head, start + size) if head <= size <= end - start else None
