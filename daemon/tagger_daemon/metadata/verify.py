"""Is the edited copy what was planned, and nothing else?

Pure. Two views of both files are compared: what exiftool shows of all that stands in them, and what their XMP
means, down to what exiftool does not show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.canonical import LANGUAGE, Form, Name, Node, Packet
from tagger_daemon.metadata.fields import DEFAULT_LANGUAGE, IIM_DIGEST, NEW_DIGEST
from tagger_daemon.metadata.properties import Field, Properties
from tagger_daemon.metadata.properties import Node as Shown
from tagger_daemon.model import NewValue, TagWrite

FREE_GROUPS = (
    "ExifTool:",
    "System:",
    "Composite:",
)  # about the file and the tool, or worked out from the rest
FREE_TAGS = frozenset(
    {
        "XMP-x:XMPToolkit",  # who wrote last
        "XMP-xmpNote:HasExtendedXMP",  # what grows beyond 64 kB goes on in other segments of a JPEG
        "File:CurrentIPTCDigest",  # worked out
        "QuickTime:MediaDataSize",  # HEIC and AVIF keep their XMP in the box that holds the picture
        "File:FileType",  # a plain WebP becomes an extended one, which states its size in another place
        "RIFF:ImageHeight",
        "RIFF:ImageWidth",
        "RIFF:WebP_Flags",
    }
)
FREE_WITH_IIM = frozenset(
    {
        "IPTC:CodedCharacterSet",
        "IPTC:EnvelopeRecordVersion",
        "IPTC:ApplicationRecordVersion",
        "Photoshop:IPTCDigest",
    }
)
EXTENDED: Name = ("http://ns.adobe.com/xmp/note", "HasExtendedXMP")  # leads to the rest of a JPEG's XMP
POSITION = re.compile(r".*(Offset|Offsets|Start|Pointer)")  # where in the file something stands


def differences(before: Properties, after: Properties, writes: Sequence[TagWrite]) -> tuple[str, ...]:
    """Return the tags of the copy that are not as they should be, with what is wrong. Empty: all is well.

    Args:
        before: of the original.
        after: of its edited copy.
        writes: what was planned.
    """
    planned = {write.tag.removesuffix(DEFAULT_LANGUAGE): write.value for write in writes}
    free = FREE_TAGS | (FREE_WITH_IIM if any(tag.startswith("IPTC:") for tag in planned) else set())
    wrong = [
        f"{tag} was not {'removed' if value is None else 'written'} as planned"
        for tag, value in planned.items()
        if (tag, value) != (IIM_DIGEST, NEW_DIGEST) and after.texts(tag) != _texts_of(value)
    ]
    for tag in sorted(before.nodes.keys() | after.nodes.keys()):
        if tag in planned or tag in free or tag.startswith(FREE_GROUPS) or POSITION.fullmatch(tag):
            continue
        if _solid(before, tag) != _solid(after, tag):
            wrong.append(f"{tag} changed")
    return tuple(wrong)


def packet_differences(before: Packet, after: Packet, writes: Sequence[TagWrite]) -> tuple[str, ...]:
    """Return the properties of the copy's XMP that are not as they should be, with what is wrong.

    Of a JPEG whose XMP is so long that a part of it stands in segments of its own, the main packets are
    compared, and of them what stands in both: properties move between packet and segments, and `differences`
    sees them in either.

    Args:
        before: of the original.
        after: of its edited copy.
        writes: what was planned.
    """
    planned = {
        fields.XMP_NAMES[tag]: write
        for write in writes
        if (tag := write.tag.removesuffix(DEFAULT_LANGUAGE)) in fields.XMP_NAMES
    }
    names = before.keys() | after.keys() | planned.keys()
    if EXTENDED in before or EXTENDED in after:
        names = (before.keys() | planned.keys()) & after.keys() - {EXTENDED}
    wrong = []
    for name in sorted(names):
        old, new = before.get(name), after.get(name)
        write = planned.get(name)
        if write is None and old != new:
            wrong.append(f"{name[1]} of {name[0]} changed")
        elif write is not None and not _is_as_planned(write, old, new):
            wrong.append(f"{write.tag} is not as planned beside what stood there")
    return tuple(wrong)


def _texts_of(value: NewValue) -> tuple[str, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (str(value),)


def _is_as_planned(write: TagWrite, old: Node | None, new: Node | None) -> bool:
    """Tell whether a property of the copy is what was planned, and what stood beside it is as before."""
    if _is_overlooked(write, old, new):
        return False
    expected = tuple(map(_lines, _texts_of(write.value)))
    if write.tag.endswith(DEFAULT_LANGUAGE):
        ours = tuple(_lines(node.text) for node in _listed(new) if _is_default(node))
        before, after = ([node for node in _listed(side) if not _is_default(node)] for side in (old, new))
        return ours == expected and before == after and (new is None or new.form is Form.ALT)
    if new is None or not expected:
        return new is None and not expected
    if isinstance(write.value, tuple):
        stood = _listed(old)
        known = {node.text for node in stood}
        return (
            new.form in {Form.BAG, Form.SEQ}
            and tuple(_lines(node.text) for node in new.items) == expected
            and all(node in stood for node in new.items if node.text in known)  # with their qualifiers
        )
    text = fields.exiftool_date(new.text) if write.tag == fields.METADATA_DATE else new.text
    return new.form is Form.TEXT and (_lines(text),) == expected


def _is_overlooked(write: TagWrite, old: Node | None, new: Node | None) -> bool:
    """Tell whether a text is gone that exiftool did not read as it stands: the plan knew nothing of it."""
    if isinstance(write.before, str):  # all that there was to know; a date is shown in another form
        return False
    stood, stands = ({_lines(node.text) for node in _ours(write, side)} for side in (old, new))
    known = stands.union(map(_lines, write.before or ()))
    return any(text.strip() and text not in known for text in stood)


def _ours(write: TagWrite, node: Node | None) -> tuple[Node, ...]:
    """Return the parts of a property that a write replaces."""
    parts = _listed(node)
    return tuple(filter(_is_default, parts)) if write.tag.endswith(DEFAULT_LANGUAGE) else parts


def _lines(text: str) -> str:
    """Return text with line feeds for line ends, as they are for whoever reads what exiftool wrote."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _listed(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list; a value that stands where a list should is its one item."""
    if node is None:
        return ()
    return node.items if node.form in {Form.BAG, Form.SEQ, Form.ALT} else (node,)


def _is_default(node: Node) -> bool:
    """Tell whether a text is in the default language; one that names no language is."""
    languages = [language.text.casefold() for name, language in node.qualifiers if name == LANGUAGE]
    return languages in ([], ["x-default"])


def _solid(properties: Properties, tag: str) -> list[Shown]:
    """Return a tag's values without what is empty, in an order of their own.

    exiftool drops empty lists, of which darktable writes many, and shows them as it shows empty texts.
    """
    return sorted((solid for node in properties.nodes.get(tag, ()) if (solid := _filled(node))), key=repr)


def _filled(node: Shown) -> Shown:
    if isinstance(node, str):
        return node
    if isinstance(node, Field):
        inner = _filled(node.node)
        return Field(node.name, inner) if inner else ()
    return tuple(solid for item in node if (solid := _filled(item)))
