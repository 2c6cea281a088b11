"""What exiftool shows of a file, as exact text.

Pure. Its RDF output (`-X`) is read, because its JSON turns a keyword `1.50` into a number and `True` into
`true`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lxml import etree

from tagger_daemon.errors import PhotoUnreadable
from tagger_daemon.model import Value

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
GROUPS = "http://ns.exiftool.org/"

Node = str | tuple["Node", ...]  # a text; a list; a structure as a list of its fields, sorted


class Field(NamedTuple):
    """One field of a structure."""

    name: str
    node: Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Properties(Value):
    """Every property of one file: `group:name`, group as exiftool's family 1, to all its occurrences."""

    nodes: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)
    guessed: frozenset[str] = frozenset()  # names of those whose bytes are not UTF-8, and were read as Latin

    def text(self, tag: str) -> str | None:
        """Return the first text of a tag that is not blank, in its default language or else in any."""
        for name in (tag, *self.languages(tag)):
            for text in self.texts(name):
                if text.strip():
                    return text
        return None

    def texts(self, tag: str) -> tuple[str, ...]:
        """Return all texts of a tag, the items of its lists one by one."""
        return tuple(text for node in self.nodes.get(tag, ()) for text in _leaves(node))

    def number(self, tag: str) -> float | None:
        """Return a tag's value where it is a finite number."""
        try:
            number = float(self.text(tag) or "")
        except ValueError:
            return None
        return number if abs(number) < float("inf") else None

    def structures(self, tag: str) -> Iterator[Mapping[str, Node]]:
        """Yield the structures that a tag holds, however deep, each as its fields by name."""
        for node in self.nodes.get(tag, ()):
            yield from _structures(node)

    def languages(self, tag: str) -> tuple[str, ...]:
        """Return the names under which other languages of a text are shown, such as `XMP-dc:Title-de`."""
        return tuple(name for name in self.nodes if name.startswith(f"{tag}-"))

    def has_group(self, group: str) -> bool:
        """Tell whether anything is there of a group, such as `IPTC`."""
        return any(name.startswith(f"{group}:") for name in self.nodes)


def parse_properties(xml: bytes) -> Properties:
    """Read exiftool's answer to `-X -struct -G1 -n` about one file.

    Raises:
        PhotoUnreadable: the answer is not XML; something in the file cannot be shown.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True)
    try:
        # exiftool leaves carriage returns as they are, and a parser would make line feeds of them.
        root = etree.fromstring(xml.replace(b"\r", b"&#13;"), parser)
    except etree.XMLSyntaxError as error:
        raise PhotoUnreadable("its metadata holds something that exiftool cannot show as text") from error
    nodes: dict[str, tuple[Node, ...]] = {}
    guessed = set()
    try:
        for element in root.iterfind(f"{RDF}Description/*"):
            name = _name(element)
            nodes[name] = (*nodes.get(name, ()), _node(element))
            if any(_is_guessed(part) for part in element.iter()):
                guessed.add(name)
    except RecursionError as error:
        raise PhotoUnreadable("its metadata is nested too deeply") from error
    return Properties(nodes=nodes, guessed=frozenset(guessed))


def _name(element: etree._Element) -> str:
    qname = etree.QName(element)
    group = (qname.namespace or "").removeprefix(GROUPS).split("/")[-3:-2]  # .../XMP/XMP-dc/1.0/
    return f"{''.join(group)}:{qname.localname}"


def _node(element: etree._Element) -> Node:
    items = element.find(f"{RDF}Bag")
    if items is not None:
        return tuple(_node(item) for item in items)
    if len(element):
        return tuple(sorted(Field(_name(child), _node(child)) for child in element))
    wrapped = _unwrapped(element)
    if wrapped is None:
        return element.text or ""
    try:
        return wrapped.decode("utf-8")
    except UnicodeDecodeError:
        return wrapped.decode("cp1252", "backslashreplace")  # stays comparable, whatever it is


def _is_guessed(element: etree._Element) -> bool:
    wrapped = _unwrapped(element)
    if wrapped is None:
        return False
    try:
        wrapped.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _unwrapped(element: etree._Element) -> bytes | None:
    """Return the bytes that exiftool wrapped because they are no text that XML can hold; None: it did not."""
    if not element.get(f"{RDF}datatype", "").endswith("base64Binary"):
        return None
    try:
        return base64.b64decode(element.text or "")
    except binascii.Error:
        return None


def _structures(node: Node) -> Iterator[Mapping[str, Node]]:
    if isinstance(node, str):
        return
    fields = [child for child in node if isinstance(child, Field)]
    if fields:
        yield dict(fields)
    for child in node:
        yield from _structures(child.node if isinstance(child, Field) else child)


def _leaves(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        for child in node:
            yield from _leaves(child)
