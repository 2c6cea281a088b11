"""An XMP packet as what it means, whichever of its many spellings it was written in.

Pure. The data model and its spellings in RDF are those of the XMP Specification, Part 1 (ISO 16684-1):
attributes or elements, one description or many, a structure as `rdf:parseType="Resource"` or as a description
of its own, a qualified value by way of `rdf:value`. What exiftool does not show is all here: languages and
other qualifiers, links, the order of lists, structures that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lxml import etree

from tagger_daemon.errors import VerificationFailed
from tagger_daemon.model import Value

Name = tuple[str, str]  # namespace, without a slash at its end; local name
Fields = tuple[tuple[Name, "Node"], ...]

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
LANGUAGE = (XML, "lang")
ABOUT, PARSE_TYPE, RESOURCE, VALUE = ((RDF, name) for name in ("about", "parseType", "resource", "value"))
DESCRIPTION = f"{{{RDF}}}Description"
PADDING = b"\0 \t\r\n"


class Form(StrEnum):
    """What a value is."""

    TEXT = "text"
    URI = "URI"  #: a link, `rdf:resource`
    STRUCT = "structure"
    BAG = "Bag"  #: a list without an order of its own
    SEQ = "Seq"  #: a list in order
    ALT = "Alt"  #: a list of alternatives, such as languages
    BARE = "bare"  #: elements that the model has no meaning for; compared as they stand


LISTS = {f"{{{RDF}}}{form}": form for form in (Form.BAG, Form.SEQ, Form.ALT)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Node(Value):
    """One value of XMP's data model."""

    form: Form
    text: str = ""  # of a text or URI
    items: tuple[Node, ...] = ()  # of a list, in the file's order
    fields: Fields = ()  # of a structure, by name
    qualifiers: Fields = ()  # what is said about the value, `xml:lang` included, by name


Packet = Mapping[Name, Node]  # a packet's properties; what it is about, if it says so, under `ABOUT`


def parse_packet(packet: bytes) -> Packet:
    """Return the properties of an XMP packet; none of an empty one.

    What exiftool does not keep and nobody misses is left out: lists without items, structures of nothing but
    such lists, and the slash at the end of a namespace, which exiftool sets right where it knows better.

    Raises:
        VerificationFailed: it is not XML, declares entities, is nested too deeply, or gives a property twice.
    """
    content = packet.strip(PADDING)
    if not content:
        return {}
    # Without `huge_tree`, as for `sidecar.flaw`: nesting and lengths are bounded by the parser.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(content, parser)
        if root.getroottree().docinfo.internalDTD is not None:
            raise VerificationFailed("its XMP cannot be compared: it declares entities of its own")
        return _properties(root if root.tag == f"{{{RDF}}}RDF" else root.find(f".//{{{RDF}}}RDF"))
    except etree.XMLSyntaxError as error:
        raise VerificationFailed(f"its XMP cannot be compared: {error.msg}") from error
    except RecursionError as error:
        raise VerificationFailed("its XMP cannot be compared: it is nested too deeply") from error


def _properties(rdf: etree._Element | None) -> Packet:
    properties: dict[Name, Node] = {}
    for description in () if rdf is None else rdf:
        for name, node in _fields(description):
            if name in properties and name != ABOUT:
                raise VerificationFailed(f"its XMP cannot be compared: it holds {name[1]} twice")
            properties.setdefault(name, node)
    return properties


def _fields(description: etree._Element) -> Iterator[tuple[Name, Node]]:
    """Give what a description says, in attributes and in elements."""
    for name, text in _attributes(description).items():
        if name != ABOUT or text:
            yield name, Node(form=Form.TEXT, text=text)
    yield from _elements(description)


def _elements(parent: etree._Element) -> Iterator[tuple[Name, Node]]:
    for element in parent:
        node = _value(element)
        if node is not None:
            yield _name(element.tag), node


def _value(element: etree._Element) -> Node | None:
    """Return the value of a property or of an item; None: nothing but empty lists."""
    attributes = _attributes(element)
    only = element[0] if len(element) == 1 else None
    if attributes.get(PARSE_TYPE) == "Resource":
        del attributes[PARSE_TYPE]
        return _structure(_elements(element), attributes, empty=len(element) == 0)
    if only is not None and only.tag in LISTS:
        items = tuple(node for item in only if (node := _value(item)) is not None)
        return Node(form=LISTS[only.tag], items=items, qualifiers=_texts(attributes)) if items else None
    if only is not None and only.tag == DESCRIPTION:
        return _structure(_fields(only), attributes, empty=len(only) == 0)
    if len(element):
        bare = _by_name(_elements(element))
        return Node(form=Form.BARE, fields=bare, qualifiers=_texts(attributes)) if bare else None
    return _leaf(element.text or "", attributes)


def _structure(
    fields: Iterable[tuple[Name, Node]], attributes: Mapping[Name, str], *, empty: bool
) -> Node | None:
    """Return a structure, or the value that it qualifies; None: it had fields, but only empty lists."""
    known = _by_name(fields)
    if not known and not empty:
        return None
    values = [node for name, node in known if name == VALUE]
    if len(values) != 1:
        return Node(form=Form.STRUCT, fields=known, qualifiers=_texts(attributes))
    others = [(name, node) for name, node in known if name != VALUE]
    return values[0].evolve(qualifiers=_by_name([*values[0].qualifiers, *others, *_texts(attributes)]))


def _leaf(text: str, attributes: dict[Name, str]) -> Node:
    """Return the value of an element that holds no others."""
    for name, form in ((RESOURCE, Form.URI), (VALUE, Form.TEXT)):
        if name in attributes:
            return Node(form=form, text=attributes.pop(name), qualifiers=_texts(attributes))
    fields = {name: value for name, value in attributes.items() if name[0] not in {RDF, XML}}
    if not fields or text.strip():
        return Node(form=Form.TEXT, text=text, qualifiers=_texts(attributes))
    rest = {name: value for name, value in attributes.items() if name not in fields}
    return Node(form=Form.STRUCT, fields=_texts(fields), qualifiers=_texts(rest))


def _texts(attributes: Mapping[Name, str]) -> Fields:
    return _by_name((name, Node(form=Form.TEXT, text=text)) for name, text in attributes.items())


def _by_name(fields: Iterable[tuple[Name, Node]]) -> Fields:
    return tuple(sorted(fields, key=lambda field: field[0]))


def _attributes(element: etree._Element) -> dict[Name, str]:
    """Return an element's attributes; RDF's own may stand without their namespace, as `about` of old."""
    return {
        _name(str(key) if "}" in str(key) else f"{{{RDF}}}{key!s}"): str(value)
        for key, value in element.attrib.items()
    }


def _name(tag: str) -> Name:
    namespace, _, local = tag.rpartition("}")
    return namespace[1:].rstrip("/"), local
