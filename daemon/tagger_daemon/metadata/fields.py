"""The tags that are read and written, by exiftool's names, and what may stand in them.

Pure. Lengths: IPTC IIM 4.2 for the legacy block, IPTC Photo Metadata 2021.1 for alternative text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

TITLE = "XMP-dc:Title"
DESCRIPTION = "XMP-dc:Description"
KEYWORDS = "XMP-dc:Subject"
HIERARCHICAL = "XMP-lr:HierarchicalSubject"
ALT_TEXT = "XMP-iptcCore:AltTextAccessibility"
HEADLINE = "XMP-photoshop:Headline"
SIDECAR_FOR = "XMP-photoshop:SidecarForExtension"
METADATA_DATE = "XMP-xmp:MetadataDate"

IIM_TITLE = "IPTC:ObjectName"
IIM_DESCRIPTION = "IPTC:Caption-Abstract"
IIM_KEYWORDS = "IPTC:Keywords"
EXIF_DESCRIPTION = "IFD0:ImageDescription"

MARKER_SCHEMA = "XMP-tagger:SchemaVersion"
MARKER_TOOL = "XMP-tagger:ToolVersion"
MARKER_DATE = "XMP-tagger:Date"
MARKER_CONTENT = "XMP-tagger:ContentHash"
MARKER_FIELDS = "XMP-tagger:Fields"
MARKER_MODELS = "XMP-tagger:Models"
MARKER_KEYWORDS = "XMP-tagger:AIKeywords"
SCHEMA_VERSION = 1

_DC = "http://purl.org/dc/elements/1.1"
_MARKER = "http://ns.tagger-daemon/1.0"
#: What the tags of XMP are called in a packet: namespace, without the slash at its end, and local name.
XMP_NAMES = {
    TITLE: (_DC, "title"),
    DESCRIPTION: (_DC, "description"),
    KEYWORDS: (_DC, "subject"),
    HIERARCHICAL: ("http://ns.adobe.com/lightroom/1.0", "hierarchicalSubject"),
    ALT_TEXT: ("http://iptc.org/std/Iptc4xmpCore/1.0/xmlns", "AltTextAccessibility"),
    SIDECAR_FOR: ("http://ns.adobe.com/photoshop/1.0", "SidecarForExtension"),
    METADATA_DATE: ("http://ns.adobe.com/xap/1.0", "MetadataDate"),
    MARKER_SCHEMA: (_MARKER, "SchemaVersion"),
    MARKER_TOOL: (_MARKER, "ToolVersion"),
    MARKER_DATE: (_MARKER, "Date"),
    MARKER_CONTENT: (_MARKER, "ContentHash"),
    MARKER_FIELDS: (_MARKER, "Fields"),
    MARKER_MODELS: (_MARKER, "Models"),
    MARKER_KEYWORDS: (_MARKER, "AIKeywords"),
}

DEFAULT_LANGUAGE = "-x-default"  # written without it, a tag's other languages would be deleted

LONGEST_TEXT = 8000  # characters; longer ones make exiftool split the XMP of a JPEG
LONGEST_ALT_TEXT = 250  # characters, IPTC's recommendation
LONGEST_IIM_TITLE = 64  # bytes
LONGEST_IIM_KEYWORD = 64  # bytes
LONGEST_IIM_DESCRIPTION = 2000  # bytes

_LINE_ENDS = re.compile(r"\r\n?|[\u0085\u2028\u2029]")
_UNFIT = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)


def clean_text(text: str) -> str:
    """Return text as it may be written: NFC, trimmed, capped, of controls only line feeds, no surrogates."""
    text = _LINE_ENDS.sub("\n", text).replace("\t", " ")
    return unicodedata.normalize("NFC", _UNFIT.sub("", text)).strip()[:LONGEST_TEXT].rstrip()


def clean_line(text: str) -> str:
    """Return text as `clean_text` does, on one line."""
    return " ".join(clean_text(text).split())


def cut_at_word(text: str, length: int) -> str:
    """Return text of at most `length` characters, cut between words where there is a gap to cut at."""
    if len(text) <= length:
        return text
    head, gap, _ = text[: length + 1].rpartition(" ")
    return head.rstrip() if gap else text[:length]


def cut_bytes(text: str, length: int) -> str:
    """Return text of at most `length` bytes in UTF-8, no character broken."""
    encoded = text.encode("utf-8")
    return text if len(encoded) <= length else encoded[:length].decode("utf-8", "ignore").rstrip()


def text_hash(text: str) -> str:
    """Return the first 16 hexadecimal digits of a text's SHA-256, by which our own words are known again."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def exiftool_date(iso: str) -> str:
    """Return an ISO 8601 date as exiftool writes and shows it: `2024-05-01T12:00:00+02:00` with colons."""
    return iso[:10].replace("-", ":") + iso[10:].replace("T", " ", 1)
