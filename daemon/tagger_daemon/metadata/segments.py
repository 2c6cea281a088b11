"""The XMP packets that stand in a JPEG's segments (XMP Specification, Part 3), found without exiftool."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from tagger_daemon.metadata.boxes import opened

SOI = b"\xff\xd8"
APP1 = 0xE1
ENDS = frozenset({0xD9, 0xDA})  # EOI, SOS: no more segments of metadata
HEADER = b"http://ns.adobe.com/xap/1.0/\0"


def packets(path: Path) -> tuple[bytes, ...] | None:
    """Return a JPEG's XMP packets, without those parts of a long one that stand in segments of their own.

    Returns:
        The packets; None: the file is no JPEG, or has anything odd before its picture.

    Raises:
        PhotoGone: the file is not there.
        PhotoUnreadable: it may not be read.
    """
    found: list[bytes] = []
    with opened(path) as stream:
        if stream.read(len(SOI)) != SOI:
            return None
        while True:
            head = stream.read(4)
            if len(head) < 4 or head[0] != 0xFF or head[1] < 0xC0 or head[1] == 0xFF:
                return None
            code, length = struct.unpack(">xBH", head)
            if code in ENDS:
                return tuple(found)
            if length < 2:
                return None
            start = stream.tell()
            if code == APP1 and stream.read(len(HEADER)) == HEADER and length >= 2 + len(HEADER):
                found.append(stream.read(length - 2 - len(HEADER)))
            stream.seek(start + length - 2, os.SEEK_SET)
