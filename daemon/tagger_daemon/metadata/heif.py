"""The directory of a HEIC or AVIF file: its items, what they are to one another, and where they stand.

By ISO/IEC 14496-12:2022, 8.11 (`meta`), and 23008-12. Everything is the picture but the Exif and XMP items
and the positions: a hash of image data alone would not notice a lost rotation, a lost alpha channel, or tiles
in another order.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from tagger_daemon.metadata.boxes import Box, boxes_of_file, boxes_within, size_of

RDF = b"application/rdf+xml"
TABLES = frozenset({b"iinf", b"iref", b"iloc"})  # compared entry by entry
CONTENT = frozenset({b"mdat", b"idat"})  # which of it counts is told by the tables
NOTHING = frozenset({b"free", b"skip"})
IN_FILE, IN_IDAT = 0, 1  # how an item's position is meant; the others are not in use


class Item(NamedTuple):
    """One item: a picture, a part of one, or words about one."""

    number: int
    entry: bytes  # as it stands in the directory
    words: bool  # it is Exif or XMP
    packing: bytes  # how words are packed, such as b"deflate"; b"": they are not


class Reference(NamedTuple):
    """What an item is to others."""

    kind: bytes
    source: int
    targets: tuple[int, ...]


class Place(NamedTuple):
    """Where an item stands: pieces as start and length."""

    number: int
    extents: tuple[tuple[int, int], ...]


def heif_pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Give what the picture is made of."""
    for box in boxes_of_file(stream):
        if box.kind == b"meta":
            yield from Directory(stream, box).pieces()
        elif box.kind not in CONTENT | NOTHING:
            yield from box.pieces(stream)


def packings(stream: BinaryIO) -> frozenset[bytes]:
    """Return how the file's words are packed, those that are."""
    return frozenset(
        item.packing
        for box in boxes_of_file(stream)
        if box.kind == b"meta"
        for item in Directory(stream, box).items()
        if item.packing
    )


class Directory:
    """A `meta` box.

    Raises:
        ValueError: it is damaged. Its methods raise that too.
    """

    def __init__(self, stream: BinaryIO, box: Box) -> None:
        self._stream = stream
        self._head = Box(b"meta", box.start, box.start + 4).content(stream)  # version and flags
        self._boxes = [
            child for child in boxes_within(stream, box.start + 4, box.end) if child.kind not in NOTHING
        ]
        self._by_kind = {child.kind: child for child in self._boxes}
        if len(self._by_kind) < len(self._boxes):
            raise ValueError("two tables of one kind")

    def pieces(self) -> Iterator[bytes]:
        """Give what the picture is made of."""
        words = self._words_about_the_picture()
        yield self._head
        for box in self._boxes:
            if box.kind not in TABLES | CONTENT:
                yield from box.pieces(self._stream)
        items = tuple(self.items())
        yield struct.pack(">q", self._item_count() - len(items))
        yield from (self._flags(kind) for kind in sorted(TABLES))
        for item in items:
            if item.number not in words:
                yield struct.pack(">Q", len(item.entry)) + item.entry
        for kind, source, targets in self._references():
            if source not in words:
                yield struct.pack(f">4s{len(targets) + 2}Q", kind, source, len(targets), *targets)
        for number, extents in self._places():
            if number not in words:
                yield struct.pack(">QQ", number, len(extents))
                for start, length in extents:
                    if not 0 <= length <= size_of(self._stream) - start:
                        raise ValueError("an item reaches beyond the file")
                    yield from Box(b"", start, start + length).pieces(self._stream)

    def items(self) -> Iterator[Item]:
        """Give all items."""
        table = self._table(b"iinf")
        if table is None:
            return
        table.take(_count_width(table))
        box = self._by_kind[b"iinf"]
        for entry in boxes_within(self._stream, box.start + table.tell(), box.end):
            yield _item(entry.kind, entry.content(self._stream))

    def _item_count(self) -> int:
        """Return how many items the file says it has."""
        table = self._table(b"iinf")
        return 0 if table is None else table.number(_count_width(table))

    def _flags(self, kind: bytes) -> bytes:
        table = self._table(kind)
        return struct.pack(">I", 0 if table is None else table.flags)

    def _words_about_the_picture(self) -> frozenset[int]:
        """Return the numbers of the items that are about the picture that is shown.

        Words about another one, such as its gain map, belong to that and are edited by nobody.
        """
        table = self._table(b"pitm")
        if table is None:
            raise ValueError("no picture is the one to be shown")
        shown = table.number(2 if table.version == 0 else 4)
        about = {ref.source: ref.targets for ref in self._references() if ref.kind == b"cdsc"}
        return frozenset(
            item.number for item in self.items() if item.words and shown in about.get(item.number, (shown,))
        )

    def _references(self) -> Iterator[Reference]:
        table = self._table(b"iref")
        if table is None:
            return
        width = 2 if table.version == 0 else 4
        box = self._by_kind[b"iref"]
        for entry in boxes_within(self._stream, box.start + table.tell(), box.end):
            numbers = _Table(entry.content(self._stream))
            source, count = numbers.number(width), numbers.number(2)
            yield Reference(entry.kind, source, tuple(numbers.number(width) for _ in range(count)))

    def _places(self) -> Iterator[Place]:
        table = self._table(b"iloc")
        if table is None:
            return
        widths = table.number(2)
        offset, length, base, index = (widths >> shift & 0xF for shift in (12, 8, 4, 0))
        wide = 4 if table.version == 2 else 2
        for _ in range(table.number(wide)):
            number = table.number(wide)
            meant = table.number(2) & 0xF if table.version in {1, 2} else IN_FILE
            if table.number(2) != 0:
                raise ValueError("an item stands in another file")
            start, end = self._bounds(meant)
            start += table.number(base)
            extents = []
            for _ in range(table.number(2)):
                table.take(index if table.version in {1, 2} else 0)
                here = start + table.number(offset)
                extents.append((here, table.number(length) or end - here))
            if len(extents) > 1 and offset + length == 0:
                raise ValueError("one place many times")
            yield Place(number, tuple(extents))

    def _bounds(self, meant: int) -> tuple[int, int]:
        if meant == IN_FILE:
            return 0, size_of(self._stream)
        if meant == IN_IDAT and b"idat" in self._by_kind:
            return self._by_kind[b"idat"].start, self._by_kind[b"idat"].end
        raise ValueError("an item's position cannot be understood")

    def _table(self, kind: bytes) -> _Table | None:
        if kind not in self._by_kind:
            return None
        table = _Table(self._by_kind[kind].content(self._stream), full=True)
        if table.version > 2:
            raise ValueError("a table of a kind that is not known")
        return table


class _Table(io.BytesIO):
    """The content of a box, taken number by number; `full` ones begin with a version and flags."""

    def __init__(self, content: bytes, *, full: bool = False) -> None:
        super().__init__(content)
        self.version, self.flags = divmod(self.number(4), 1 << 24) if full else (0, 0)

    def take(self, size: int) -> bytes:
        taken = self.read(size)
        if len(taken) < size:
            raise ValueError("a table ends too early")
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> bytes:
        """Take the text up to the next zero byte, or to the end."""
        return b"".join(iter(lambda: self.read(1) or b"\0", b"\0"))


def _count_width(items: _Table) -> int:
    return 2 if items.version == 0 else 4


def _item(name: bytes, entry: bytes) -> Item:
    table = _Table(entry, full=True)
    number = table.number(4 if table.version == 3 else 2)
    table.take(2)  # protection
    kind = table.take(4) if table.version >= 2 else b"mime"
    table.text()  # a name
    content, packing = (table.text(), table.text()) if kind == b"mime" else (b"", b"")
    words = kind == b"Exif" or content == RDF
    return Item(number, name + entry, words, packing if words else b"")
