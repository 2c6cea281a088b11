"""The XMP of a copy: what was planned, and all else as it was."""

from __future__ import annotations

import pytest

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.canonical import LANGUAGE, Form, Node, Packet, parse_packet
from tagger_daemon.metadata.verify import packet_differences
from tagger_daemon.model import NewValue, TagValue, TagWrite

HEAD = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:q="http://q/"
xmlns:xmpNote="http://ns.adobe.com/xmp/note/">"""
TITLE = fields.TITLE + fields.DEFAULT_LANGUAGE


def packet(properties: str) -> Packet:
    return parse_packet(f"{HEAD}{properties}</rdf:Description></rdf:RDF>".encode())


def titles(*items: tuple[str | None, str]) -> str:
    """Spell titles, each with its language; None: it says none."""
    spelt = [
        f"<rdf:li xml:lang='{code}'>{text}</rdf:li>" if code else f"<rdf:li>{text}</rdf:li>"
        for code, text in items
    ]
    return f"<dc:title><rdf:Alt>{''.join(spelt)}</rdf:Alt></dc:title>"


def words(*items: str, kind: str = "Bag") -> str:
    """Spell keywords, given as text or as elements."""
    spelt = [item if item.startswith("<") else f"<rdf:li>{item}</rdf:li>" for item in items]
    return f"<dc:subject><rdf:{kind}>{''.join(spelt)}</rdf:{kind}></dc:subject>"


def date(text: str) -> str:
    return f"<xmp:MetadataDate>{text}</xmp:MetadataDate>"


def headline(text: str) -> str:
    return f"<ps:Headline xmlns:ps='http://ns.adobe.com/photoshop/1.0/'>{text}</ps:Headline>"


def stood(tag: str, properties: str) -> TagValue | None:
    """Return what exiftool reads in a tag: a list, or the text in the default language."""
    node = packet(properties).get(fields.XMP_NAMES.get(tag.removesuffix(fields.DEFAULT_LANGUAGE), ("", "")))
    if node is None:
        return None
    if tag in fields.LISTS:
        return tuple(item.text for item in node.items)
    return next((item.text for item in node.items if (LANGUAGE, OUR_LANGUAGE) in item.qualifiers), None)


OUR_LANGUAGE = Node(form=Form.TEXT, text="x-default")
OURS, MEINS, BLANK = ("x-default", "Ours"), ("de", "Meins"), (None, " ")
ENGLISH_DOG = "<rdf:li xml:lang='en'>dog</rdf:li>"


@pytest.mark.parametrize(
    ("tag", "value", "before", "after"),
    [
        (TITLE, "Ours", "", titles(OURS)),
        (TITLE, "Ours", titles(MEINS, ("fr", "Le mien")), titles(OURS, MEINS, ("fr", "Le mien"))),
        (TITLE, "Ours", titles(MEINS, ("x-default", "old")), titles(MEINS, OURS)),
        (TITLE, "Ours", titles(BLANK, MEINS), titles(OURS, MEINS)),
        (TITLE, "Ours", "<dc:title> </dc:title>", titles(OURS)),
        (TITLE, None, titles(OURS, MEINS), titles(MEINS)),
        (TITLE, None, titles(OURS), ""),
        (fields.KEYWORDS, ("dog", "sea"), words("dog"), words("dog", "sea")),
        (fields.KEYWORDS, ("dog", "sea"), words("dog", kind="Seq"), words("dog", "sea")),
        (fields.KEYWORDS, ("dog", "sea"), words(ENGLISH_DOG), words(ENGLISH_DOG, "sea")),
        (fields.KEYWORDS, ("dog",), words("dog", "sea"), words("dog")),
        (fields.KEYWORDS, None, words("dog"), ""),
        (fields.METADATA_DATE, "2024:05:01 12:00:00+02:00", "", date("2024-05-01T12:00:00+02:00")),
        ("IPTC:ObjectName", "Ours", titles(MEINS), titles(MEINS)),
    ],
)  # fmt: skip
def test_what_was_planned_is_as_planned(tag: str, value: NewValue, before: str, after: str) -> None:
    write = TagWrite(tag=tag, value=value, before=stood(tag, before))
    assert packet_differences(packet(before), packet(after), [write]) == ()


@pytest.mark.parametrize(
    ("tag", "value", "before", "after"),
    [
        (TITLE, "Ours", "", ""),
        (TITLE, "Ours", "", titles(("x-default", "Else"))),
        (TITLE, "Ours", "", titles(OURS, OURS)),
        (TITLE, "Ours", "", "<dc:title>Ours</dc:title>"),
        (TITLE, "Ours", "", titles(("de", "Ours"))),
        (TITLE, "Ours", titles(MEINS), titles(OURS)),
        (TITLE, "Ours", titles(MEINS), titles(OURS, ("de", "Deins"))),
        (TITLE, "Ours", titles(MEINS), titles(OURS, ("de-CH", "Meins"))),
        (TITLE, None, titles(OURS, MEINS), ""),
        (TITLE, None, titles(OURS, MEINS), titles(OURS, MEINS)),
        (fields.KEYWORDS, ("dog", "sea"), words("dog"), words("sea", "dog")),
        (fields.KEYWORDS, ("dog", "sea"), words("dog"), words("dog", "sea", "sea")),
        (fields.KEYWORDS, ("dog", "sea"), words("dog"), words("dog")),
        (fields.KEYWORDS, ("dog", "sea"), words(ENGLISH_DOG), words("dog", "sea")),
        (fields.KEYWORDS, ("dog", "sea"), words("dog"), words(ENGLISH_DOG, "sea")),
        (fields.KEYWORDS, None, words("dog"), words("dog")),
        (fields.METADATA_DATE, "2024:05:01 12:00:00+02:00", "", date("2024-05-01")),
        (fields.SIDECAR_FOR, "NEF", "", ""),
    ],
)  # fmt: skip
def test_what_was_written_otherwise_is_named(tag: str, value: NewValue, before: str, after: str) -> None:
    write = TagWrite(tag=tag, value=value, before=stood(tag, before))
    (wrong,) = packet_differences(packet(before), packet(after), [write])
    assert wrong == f"{tag} is not as planned beside what stood there"


@pytest.mark.parametrize(
    ("tag", "value", "read", "before", "after"),
    [
        (fields.KEYWORDS, ("caf?", "sea"), ("caf?",), words("café"), words("caf?", "sea")),
        (fields.KEYWORDS, ("sea",), ("caf?",), words("café"), words("sea")),
        (fields.KEYWORDS, ("sea",), None, words("dog"), words("sea")),
        (fields.KEYWORDS, None, ("caf?",), words("café"), ""),
        (TITLE, "Ours", None, titles(("x-default", "Theirs"), MEINS), titles(OURS, MEINS)),
        (fields.HEADLINE, "Ours", None, headline("Theirs"), headline("Ours")),
    ],
)  # fmt: skip
def test_a_text_that_exiftool_read_otherwise_than_it_stands_does_not_go_unnoticed(
    tag: str, value: NewValue, read: TagValue | None, before: str, after: str
) -> None:
    write = TagWrite(tag=tag, value=value, before=read)
    assert packet_differences(packet(before), packet(after), [write]) != ()


def test_a_line_end_is_one_however_it_is_spelt() -> None:
    write = TagWrite(tag=fields.KEYWORDS, value=("a\rb", "sea"), before=("a\rb",))
    assert packet_differences(packet(words("a&#13;b")), packet(words("a\rb", "sea")), [write]) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<q:a>1</q:a>", ""),
        ("", "<q:a>1</q:a>"),
        ("<q:a>1</q:a>", "<q:a>2</q:a>"),
        ("<q:a>1</q:a>", "<q:a xml:lang='de'>1</q:a>"),
        ("<q:a rdf:resource='urn:1' q:by='me'/>", "<q:a q:by='me'/>"),
    ],
)
def test_what_nobody_planned_is_named(before: str, after: str) -> None:
    both = words("mine")
    write = TagWrite(tag=TITLE, value="Ours")
    wrong = packet_differences(packet(before + both), packet(after + both + titles(OURS)), [write])
    assert wrong == ("a of http://q changed",)
    not_ours = TagWrite(tag="XMP-q:A", value="2")  # a tag that is none of our constants excuses nothing
    assert packet_differences(packet(before), packet(after), [not_ours]) == wrong


def test_of_a_packet_that_goes_on_elsewhere_what_both_hold_is_compared() -> None:
    more = "<xmpNote:HasExtendedXMP>0123</xmpNote:HasExtendedXMP>"
    write = TagWrite(tag=TITLE, value="Ours")
    before = packet("<q:a>1</q:a><q:b>moves out</q:b>")
    assert packet_differences(before, packet("<q:a>1</q:a><q:c>moves in</q:c>" + more), [write]) == ()
    assert packet_differences(before, packet("<q:a>2</q:a>" + more), [write]) == ("a of http://q changed",)
    assert packet_differences(before, packet(titles(MEINS) + more), [write]) != ()


def test_every_tag_that_is_written_into_xmp_has_its_name_in_a_packet() -> None:
    written = {tag for tag in fields.WRITABLE if tag.startswith("XMP-")}
    assert written == fields.XMP_NAMES.keys()
