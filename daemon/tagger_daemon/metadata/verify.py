"""Is the edited copy what was planned, and nothing else?

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tagger_daemon.metadata.fields import DEFAULT_LANGUAGE, IIM_DIGEST, NEW_DIGEST
from tagger_daemon.metadata.properties import Node, Properties
from tagger_daemon.model import NewValue, TagWrite

FREE_GROUPS = (
    "ExifTool:",
    "System:",
    "Composite:",
)  # about the file and the tool, or worked out from the rest
FREE_TAGS = frozenset(
    {
        "XMP-x:XMPToolkit",  # who wrote last
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


def _texts_of(value: NewValue) -> tuple[str, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (str(value),)


def _solid(properties: Properties, tag: str) -> list[Node]:
    """Return a tag's values without empty lists, which exiftool drops, in an order of their own."""
    return sorted((node for node in properties.nodes.get(tag, ()) if node != ()), key=repr)
