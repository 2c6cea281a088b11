"""What an XMP packet means does not depend on its spelling, and on nothing else that is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tagger_daemon.errors import VerificationFailed
from tagger_daemon.metadata.canonical import (
    ABOUT,
    LANGUAGE,
    RDF,
    VALUE,
    XML,
    Fields,
    Form,
    Name,
    Node,
    Packet,
    parse_packet,
)

U, Q = "http://example.org/u/1.0", "http://example.org/q"
NAMES = [(namespace, local) for namespace in (U, Q) for local in "abc"]
XMP = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="any"><rdf:RDF xmlns:rdf="{RDF}">
<rdf:Description rdf:about="" xmlns:u="{U}/" xmlns:q="{Q}">%s</rdf:Description></rdf:RDF></x:xmpmeta>"""

Choose = Callable[[st.SearchStrategy[Any]], Any]
Field = tuple[Name, Node]

texts = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", include_characters="\n\t"
    ),
    max_size=8,
)
languages = st.sampled_from(["x-default", "de", "fr-CA"])


def by_name(fields: Iterable[Field]) -> Fields:
    return tuple(sorted(fields, key=lambda field: field[0]))


def fields_of(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Fields]:
    chosen = st.dictionaries(st.sampled_from(NAMES), nodes, max_size=3)
    return chosen.map(lambda found: by_name(found.items()))


def qualified(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Say something about some of the values: their language, or what has a name of its own."""
    plain = texts.map(lambda text: Node(form=Form.TEXT, text=text))
    language = languages.map(lambda code: ((LANGUAGE, Node(form=Form.TEXT, text=code)),))
    return st.builds(
        lambda node, language, others: node.evolve(qualifiers=by_name((*language, *others))),
        nodes,
        st.one_of(st.just(()), language),
        st.one_of(st.just(()), fields_of(plain)),
    )


leaves = qualified(st.builds(Node, form=st.sampled_from([Form.TEXT, Form.URI]), text=texts))
values = st.recursive(
    leaves,
    lambda inner: qualified(
        st.one_of(
            st.builds(Node, form=st.just(Form.STRUCT), fields=fields_of(inner)),
            st.builds(
                Node,
                form=st.sampled_from([Form.BAG, Form.SEQ, Form.ALT]),
                items=st.lists(inner, min_size=1, max_size=3).map(tuple),
            ),
        )
    ),
    max_leaves=6,
)
packets = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)


def is_plain(node: Node) -> bool:
    return node.form is Form.TEXT and not node.qualifiers


def spelt(packet: Packet, choose: Choose) -> bytes:
    """Spell a packet in one of the many ways that there are; `choose` says in which."""
    rdf = etree.Element(f"{{{RDF}}}RDF")
    for name in choose(st.permutations([*packet])):
        if not len(rdf) or choose(st.booleans()):
            etree.SubElement(rdf, f"{{{RDF}}}Description").set(f"{{{RDF}}}about", "")
        spell_fields(rdf[-1], [(name, packet[name])], choose)
    if choose(st.booleans()):
        return etree.tostring(rdf, encoding="utf-8")
    meta = etree.Element("{adobe:ns:meta/}xmpmeta")
    meta.append(etree.Comment("not a part of it"))
    meta.append(rdf)
    return (
        b"<?xpacket begin='' id='x'?>" + etree.tostring(meta, encoding="utf-8") + b"<?xpacket end='w'?>\n\0\0"
    )


def tag_of(name: Name, choose: Choose) -> str:
    namespace, local = name
    return f"{{{namespace}{choose(st.sampled_from(['', '/'])) if namespace in (U, Q) else ''}}}{local}"


def spell_fields(
    parent: etree._Element, fields: Sequence[Field], choose: Choose, *, attributes: bool = True
) -> None:
    """Spell fields into a description: as its attributes where they can be, or as elements."""
    for name, node in choose(st.permutations(fields)):
        if attributes and is_plain(node) and choose(st.booleans()):
            parent.set(tag_of(name, choose), node.text)
        else:
            spell(etree.SubElement(parent, tag_of(name, choose)), node, choose)


def spell(element: etree._Element, node: Node, choose: Choose) -> None:
    """Spell a value into the element of its property."""
    others = tuple(field for field in node.qualifiers if field[0] != LANGUAGE)
    language = tuple(field for field in node.qualifiers if field[0] == LANGUAGE)
    of_the_whole = () if others and choose(st.booleans()) else language
    for _, code in of_the_whole:
        element.set(f"{{{XML}}}lang", code.text)
    if others:  # the language may also be said of the value alone
        value = node.evolve(qualifiers=() if of_the_whole else language)
        spell_structure(element, [(VALUE, value), *others], choose)
        return
    if node.form is Form.TEXT:
        element.text = node.text
    elif node.form is Form.URI:
        element.set(f"{{{RDF}}}resource", node.text)
    elif node.form is Form.STRUCT:
        spell_structure(element, node.fields, choose)
    else:
        items = etree.SubElement(element, f"{{{RDF}}}{node.form}")
        for item in node.items:
            spell(etree.SubElement(items, f"{{{RDF}}}li"), item, choose)


def spell_structure(element: etree._Element, fields: Sequence[Field], choose: Choose) -> None:
    ways = ["Resource", "Description"]
    if fields and all(is_plain(node) for _, node in fields):
        ways.append("attributes")
    way = choose(st.sampled_from(ways))
    if way == "attributes":
        for name, node in fields:
            element.set(tag_of(name, choose), node.text)
    elif way == "Resource":
        element.set(f"{{{RDF}}}parseType", "Resource")
        spell_fields(element, fields, choose, attributes=False)
    else:
        element.text = "\n  "
        spell_fields(etree.SubElement(element, f"{{{RDF}}}Description"), fields, choose)


@given(packet=packets, data=st.data())
def test_every_spelling_of_a_packet_means_that_packet_and_no_other(
    packet: Packet, data: st.DataObject
) -> None:
    assert parse_packet(spelt(packet, data.draw)) == packet


def meaning(properties: str) -> Packet:
    return parse_packet((XMP % properties).encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<u:a>x</u:a>", "<u:a>y</u:a>"),
        ("<u:a>x</u:a>", "<u:a>x </u:a>"),
        ("<u:a>x</u:a>", "<u:b>x</u:b>"),
        ("<u:a>x</u:a>", "<q:a>x</q:a>"),
        ("<u:a>x</u:a>", ""),
        ("<u:a/>", ""),
        ("<u:a/>", '<u:a rdf:parseType="Resource"/>'),
        ("<u:a>x</u:a>", '<u:a xml:lang="de">x</u:a>'),
        ('<u:a xml:lang="en">x</u:a>', '<u:a xml:lang="de">x</u:a>'),
        ("<u:a>urn:x</u:a>", '<u:a rdf:resource="urn:x"/>'),
        ('<u:a rdf:resource="urn:x"/>', '<u:a rdf:resource="urn:y"/>'),
        ('<u:a rdf:resource="urn:x"/>', '<u:a rdf:resource="urn:x" q:by="me"/>'),
        ('<u:a rdf:value="x" q:by="me"/>', '<u:a rdf:value="x" q:by="you"/>'),
        ('<u:a rdf:value="x" q:by="me"/>', "<u:a>x</u:a>"),
        ('<u:a rdf:value="x" q:by="me"/>', '<u:a q:by="me"/>'),
        ('<u:a u:x="1" u:y="2"/>', '<u:a u:x="1" u:y="3"/>'),
        ('<u:a u:x="1" u:y="2"/>', '<u:a u:x="1"/>'),
        (
            "<u:a><rdf:Seq><rdf:li>1</rdf:li></rdf:Seq></u:a>",
            "<u:a><rdf:Bag><rdf:li>1</rdf:li></rdf:Bag></u:a>",
        ),
        (
            "<u:a><rdf:Bag><rdf:li>1</rdf:li><rdf:li>2</rdf:li></rdf:Bag></u:a>",
            "<u:a><rdf:Bag><rdf:li>2</rdf:li><rdf:li>1</rdf:li></rdf:Bag></u:a>",
        ),
        (
            "<u:a><rdf:Bag><rdf:li>1</rdf:li><rdf:li>1</rdf:li></rdf:Bag></u:a>",
            "<u:a><rdf:Bag><rdf:li>1</rdf:li></rdf:Bag></u:a>",
        ),
        (
            "<u:a rdf:parseType='Resource'><u:b>1</u:b><u:c>2</u:c></u:a>",
            "<u:a><u:b>1</u:b><u:c>2</u:c></u:a>",
        ),
        ("<u:a><u:T><u:b>1</u:b></u:T></u:a>", "<u:a rdf:parseType='Resource'><u:T u:b='1'/></u:a>"),
        ("<u:a rdf:datatype='d'>5</u:a>", "<u:a>5</u:a>"),
    ],
)
def test_what_means_something_else_is_not_the_same(one: str, other: str) -> None:
    assert meaning(one) != meaning(other)


@pytest.mark.parametrize(
    "nothing",
    [
        "",
        "<!-- <u:a>x</u:a> -->",
        "<u:a><rdf:Bag/></u:a>",
        "<u:a>\n <rdf:Seq>\n </rdf:Seq>\n</u:a>",
        "<u:a rdf:parseType='Resource'><u:b><rdf:Bag/></u:b></u:a>",
        "<u:a><rdf:Seq><rdf:li><rdf:Bag/></rdf:li></rdf:Seq></u:a>",
    ],
)
def test_lists_without_items_are_nothing(nothing: str) -> None:
    assert meaning(nothing) == {}


def test_what_a_packet_is_about_counts_in_the_old_spelling_too() -> None:
    about = {ABOUT: Node(form=Form.TEXT, text="uuid:1")}
    rdf = f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description %s="uuid:1"/></rdf:RDF>'
    assert parse_packet((rdf % "rdf:about").encode()) == parse_packet((rdf % "about").encode()) == about


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"<x", "cannot be compared"),
        ((XMP % "<u:a>1</u:a><u:a>2</u:a>").encode(), "holds a twice"),
        (b"<!DOCTYPE x [<!ENTITY a 'x'>]>" + (XMP % "<u:a>&a;</u:a>").encode(), "declares entities"),
        ((XMP % ("<u:a rdf:parseType='Resource'>" * 300 + "</u:a>" * 300)).encode(), "cannot be compared"),
    ],
    ids=["no XML", "twice", "entities", "deep"],
)
def test_what_cannot_be_followed_is_never_taken_for_equal(packet: bytes, reason: str) -> None:
    with pytest.raises(VerificationFailed, match=reason):
        parse_packet(packet)


def test_no_packet_means_nothing() -> None:
    assert parse_packet(b"\0\0 \n") == {}
