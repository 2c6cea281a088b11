"""What files said and say: what of it was lost, what changed, and what appeared that nobody asked for.

Pure, and without a line of the program that is judged: what that may write is listed here once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

Values = Mapping[str, tuple[str, ...]]  # property -> its texts, in order

PACKET = "packet "  # begins the names of what stands in the XML of XMP itself

#: Lists that may get items from the program. None of a person's may go, and their order stays.
LISTS = frozenset(
    {
        *("XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList", "IPTC:Keywords"),
        *(f"{PACKET}dc:subject Bag", f"{PACKET}lr:hierarchicalSubject Bag", f"{PACKET}digiKam:TagsList Seq"),
    }
)
#: Texts that the program may put where there is none.
FILLED = frozenset(
    {
        *("XMP-dc:Title", "XMP-dc:Description", "IPTC:ObjectName", "IPTC:Caption-Abstract"),
        *("XMP-iptcCore:AltTextAccessibility", "XMP-iptcCore:ExtDescrAccessibility"),
        *(f"{PACKET}dc:title [x-default]", f"{PACKET}dc:description [x-default]"),
        f"{PACKET}Iptc4xmpCore:AltTextAccessibility [x-default]",
        f"{PACKET}Iptc4xmpCore:ExtDescrAccessibility [x-default]",
    }
)
#: What says something about the rest: it may change while the program's words stand, and comes back after.
DIGEST = "digest of the IPTC block"
BOOKKEEPING = frozenset(
    {
        *("XMP-xmp:MetadataDate", f"{PACKET}xmp:MetadataDate", DIGEST),
        *("XMP-photoshop:SidecarForExtension", f"{PACKET}photoshop:SidecarForExtension"),
        *("IPTC:CodedCharacterSet", "IPTC:EnvelopeRecordVersion", "IPTC:ApplicationRecordVersion"),
    }
)
#: What an IPTC block in UTF-8 that does not say so gets, and keeps: its texts are the same.
DECLARATION = frozenset({"IPTC:CodedCharacterSet", "IPTC:EnvelopeRecordVersion"})
#: The program's own namespace.
MARKER = ("XMP-tagger:", f"{PACKET}http://ns.tagger-daemon/1.0/ ")

PICTURE, FILE = "picture", "file"  # in the place of a property's name


@dataclass(frozen=True, kw_only=True)
class Content:
    """One file, as far as it matters whether it is the same."""

    values: Values = field(default_factory=dict)
    picture: str = ""  # hash of the decoded pixels; of a sidecar none
    data: str = ""  # hash of the picture data as it is stored
    bytes: str = ""  # hash of the whole file


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    what: str  # lost, changed, moved, appeared, returned, vanished
    property: str
    was: str | None = None
    now: str | None = None


@dataclass(frozen=True, kw_only=True)
class Edits:
    """What a person did to one file."""

    texts: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)  # None: removed
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # to lists
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # from lists


def compare(
    before: Content,
    now: Content,
    *,
    ours: bool,
    edits: Edits | None = None,
    theirs: Iterable[str] = (),
) -> list[Finding]:
    """Return all that is not as it should be in one file.

    Args:
        before: what a person left there.
        now: what stands there.
        ours: the program's words stand there too; otherwise the two have to say the same.
        edits: what a person did to the file; what they removed does not come back.
        theirs: a person's own keywords elsewhere in the photo or beside it. The program brings them together,
            and they may stay together in a list that a person has then edited.
    """
    edits = edits or Edits()
    found: list[Finding] = []
    for name in sorted(before.values.keys() | now.values.keys()):
        was, stands = before.values.get(name, ()), now.values.get(name, ())
        if ours and _is_free(name):
            continue
        if edits.added.get(name) or edits.removed.get(name):
            gathered = set(theirs) - set(was)
            stands = tuple(text for text in stands if text not in gathered)
        found += _compare_property(name, was, stands, ours=ours)
    if (before.picture, before.data) != (now.picture, now.data):
        found.append(Finding(what="changed", property=PICTURE))
    return [*found, *_returned(now.values, edits)]


def changed_bytes(before: Content, now: Content) -> list[Finding]:
    """Return a finding if a file is not the same to the byte."""
    return [] if before.bytes == now.bytes else [Finding(what="changed", property=FILE)]


def count(values: Values) -> int:
    """Return how many values there are: XMP once, not in its XML too, and no bookkeeping."""
    counted = (name for name in values if not name.startswith(PACKET) and name not in BOOKKEEPING)
    return sum(len(values[name]) for name in counted)


def without(values: Values, others: Values) -> dict[str, tuple[str, ...]]:
    """Return the values that the others lack."""
    left = {name: _minus(texts, others.get(name, ())) for name, texts in values.items()}
    return {name: texts for name, texts in left.items() if texts}


def surviving(by_hand: Values, now: Values) -> int:
    """Return how many values of a person's stand there now."""
    return count(by_hand) - count(without(by_hand, now))


def edits_between(before: Values, after: Values) -> Edits:
    """Return what a person did between two readings."""
    texts: dict[str, tuple[str, ...] | None] = {}
    added: dict[str, tuple[str, ...]] = {}
    removed: dict[str, tuple[str, ...]] = {}
    for name in before.keys() | after.keys():
        was, stands = before.get(name, ()), after.get(name, ())
        if name in LISTS:
            added[name], removed[name] = _minus(stands, was), _minus(was, stands)
        elif was != stands:
            texts[name] = after.get(name)
    return Edits(texts=texts, added=added, removed=removed)


def edited(content: Content, edits: Edits) -> Content:
    """Return what a file would hold if the program had never been there, and the person did the same."""
    values = dict(content.values)
    for name, text in edits.texts.items():
        if text is None:
            values.pop(name, None)
        else:
            values[name] = text
    for name in edits.added.keys() | edits.removed.keys():
        kept = _minus(values.pop(name, ()), edits.removed.get(name, ()))
        if items := (*kept, *edits.added.get(name, ())):
            values[name] = items
    return replace(content, values=values)


def _is_free(name: str) -> bool:
    return name in BOOKKEEPING or name.startswith(MARKER)


def _compare_property(
    name: str, was: tuple[str, ...], stands: tuple[str, ...], *, ours: bool
) -> list[Finding]:
    now = _told(stands) if stands else None
    if lost := _minus(was, stands):
        return [Finding(what="lost", property=name, was=text, now=now) for text in lost]
    may_grow = ours and (name in LISTS or (name in FILLED and not was))
    if (more := _minus(stands, was)) and not may_grow:
        return [Finding(what="appeared", property=name, now=text) for text in more]
    if tuple(text for text in stands if text in was) != was:
        return [Finding(what="moved", property=name, was=_told(was), now=now)]
    return []


def _returned(now: Values, edits: Edits) -> list[Finding]:
    """Return what a person threw out and stands there again, in whichever spelling and list."""
    words = {word.casefold() for removed in edits.removed.values() for word in removed}
    found = [
        Finding(what="returned", property=name, now=item)
        for name in sorted(LISTS & now.keys())
        for item in now[name]
        if item.casefold() in words
    ]
    emptied = [name for name, text in edits.texts.items() if text is None and name in now]
    return found + [Finding(what="returned", property=name, now=_told(now[name])) for name in emptied]


def _minus(texts: Sequence[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return the texts that are not among the others, each as often as it is missing there."""
    there = Counter(others)
    left = []
    for text in texts:
        there[text] -= 1
        if there[text] < 0:
            left.append(text)
    return tuple(left)


def _told(texts: Sequence[str]) -> str:
    return " | ".join(texts)
