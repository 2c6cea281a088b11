"""The tags that are read and written, by exiftool's names, and what may stand in them.

Pure. Lengths: IPTC IIM 4.2 for the legacy block, IPTC Photo Metadata 2021.1 for alternative text.
"""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass

from tagger_daemon.model import Value
from tagger_daemon.sentences import within

TITLE = "XMP-dc:Title"
DESCRIPTION = "XMP-dc:Description"
HEADLINE = "XMP-photoshop:Headline"
ALT_TEXT = "XMP-iptcCore:AltTextAccessibility"
EXTENDED_DESCRIPTION = "XMP-iptcCore:ExtDescrAccessibility"
CAPTION_WRITER = "XMP-photoshop:CaptionWriter"
KEYWORDS = "XMP-dc:Subject"
HIERARCHICAL = "XMP-lr:HierarchicalSubject"
TAGS_LIST = "XMP-digiKam:TagsList"
SIDECAR_FOR = "XMP-photoshop:SidecarForExtension"
METADATA_DATE = "XMP-xmp:MetadataDate"

IIM_TITLE = "IPTC:ObjectName"
IIM_DESCRIPTION = "IPTC:Caption-Abstract"
IIM_HEADLINE = "IPTC:Headline"
IIM_WRITER = "IPTC:Writer-Editor"
IIM_KEYWORDS = "IPTC:Keywords"
IIM_CHARSET = "IPTC:CodedCharacterSet"
IIM_ENVELOPE = "IPTC:EnvelopeRecordVersion"
IIM_DIGEST = "Photoshop:IPTCDigest"
UTF8 = "\x1b%G"  # how a legacy block declares it (ISO 2022)
NEW_DIGEST = "new"  # to be worked out anew from the block as it is then
FITTING_DIGEST = "fits"  # what is noted of one that is right: it is worked out, and no value to be given back
EXIF_DESCRIPTION = "IFD0:ImageDescription"

#: The other fields that block and XMP have in common (XMP-Toolkit-SDK, ReconcileIPTC): never written to.
IIM_TWINS = {
    "IPTC:By-line": "XMP-dc:Creator",
    "IPTC:By-lineTitle": "XMP-photoshop:AuthorsPosition",
    "IPTC:Category": "XMP-photoshop:Category",
    "IPTC:City": "XMP-photoshop:City",
    "IPTC:CopyrightNotice": "XMP-dc:Rights",
    "IPTC:Country-PrimaryLocationCode": "XMP-iptcCore:CountryCode",
    "IPTC:Country-PrimaryLocationName": "XMP-photoshop:Country",
    "IPTC:Credit": "XMP-photoshop:Credit",
    "IPTC:OriginalTransmissionReference": "XMP-photoshop:TransmissionReference",
    "IPTC:Province-State": "XMP-photoshop:State",
    "IPTC:Source": "XMP-photoshop:Source",
    "IPTC:SpecialInstructions": "XMP-photoshop:Instructions",
    "IPTC:Sub-location": "XMP-iptcCore:Location",
    "IPTC:SupplementalCategories": "XMP-photoshop:SupplementalCategories",
}

#: Other programs' stores of keywords: evidence of a person's work, and never written to.
OTHER_KEYWORDS = ("XMP-microsoft:LastKeywordXMP", "XMP-acdsee:Keywords", "XMP-mediapro:CatalogSets")
ACDSEE_CATEGORIES = "XMP-acdsee:Categories"

MARKER_SCHEMA = "XMP-tagger:SchemaVersion"
MARKER_TOOL = "XMP-tagger:ToolVersion"
MARKER_DATE = "XMP-tagger:Date"
MARKER_CONTENT = "XMP-tagger:ContentHash"
MARKER_FIELDS = "XMP-tagger:Fields"
MARKER_MODELS = "XMP-tagger:Models"
MARKER_KEYWORDS = "XMP-tagger:AIKeywords"
MARKER_HIERARCHY = "XMP-tagger:AIHierarchy"
MARKER_TAGS = "XMP-tagger:AITagsList"
MARKER_REJECTED = "XMP-tagger:Rejected"
MARKER = (
    *(MARKER_SCHEMA, MARKER_TOOL, MARKER_DATE, MARKER_CONTENT, MARKER_FIELDS, MARKER_MODELS),
    *(MARKER_KEYWORDS, MARKER_HIERARCHY, MARKER_TAGS, MARKER_REJECTED),
)
SCHEMA_VERSION = 1

_DC = "http://purl.org/dc/elements/1.1"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0"
_MARKER = "http://ns.tagger-daemon/1.0"
#: What the tags of XMP are called in a packet: namespace, without the slash at its end, and local name.
XMP_NAMES = {
    TITLE: (_DC, "title"),
    DESCRIPTION: (_DC, "description"),
    KEYWORDS: (_DC, "subject"),
    HIERARCHICAL: ("http://ns.adobe.com/lightroom/1.0", "hierarchicalSubject"),
    ALT_TEXT: ("http://iptc.org/std/Iptc4xmpCore/1.0/xmlns", "AltTextAccessibility"),
    EXTENDED_DESCRIPTION: ("http://iptc.org/std/Iptc4xmpCore/1.0/xmlns", "ExtDescrAccessibility"),
    HEADLINE: (_PHOTOSHOP, "Headline"),
    CAPTION_WRITER: (_PHOTOSHOP, "CaptionWriter"),
    TAGS_LIST: ("http://www.digikam.org/ns/1.0", "TagsList"),
    SIDECAR_FOR: (_PHOTOSHOP, "SidecarForExtension"),
    METADATA_DATE: ("http://ns.adobe.com/xap/1.0", "MetadataDate"),
    MARKER_SCHEMA: (_MARKER, "SchemaVersion"),
    MARKER_TOOL: (_MARKER, "ToolVersion"),
    MARKER_DATE: (_MARKER, "Date"),
    MARKER_CONTENT: (_MARKER, "ContentHash"),
    MARKER_FIELDS: (_MARKER, "Fields"),
    MARKER_MODELS: (_MARKER, "Models"),
    MARKER_KEYWORDS: (_MARKER, "AIKeywords"),
    MARKER_HIERARCHY: (_MARKER, "AIHierarchy"),
    MARKER_TAGS: (_MARKER, "AITagsList"),
    MARKER_REJECTED: (_MARKER, "Rejected"),
}

DEFAULT_LANGUAGE = "-x-default"  # written without it, a tag's other languages would be deleted

LONGEST_TEXT = 8000  # characters; longer ones make exiftool split the XMP of a JPEG
LONGEST_ALT_TEXT = 250  # characters, IPTC's recommendation
LONGEST_IIM_KEYWORD = 64  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TextField(Value):
    """A field that takes one text: where it stands and what fits."""

    label: str  # as Lightroom calls it
    tag: str  # where it is written
    iim: str | None = None  # its place in the legacy block
    iim_bytes: int = 0  # that fit there
    longest: int = LONGEST_TEXT  # characters
    lines: bool = False  # it may have several
    languages: bool = True  # it is kept in several languages, of which the default one is ours

    @property
    def write_tag(self) -> str:
        """The name by which it is written, without touching its other languages."""
        return self.tag + DEFAULT_LANGUAGE if self.languages else self.tag

    def fit(self, text: str) -> str | None:
        """Return a text as this field takes it; None: not even its first sentence is short enough."""
        return within(clean_text(text) if self.lines else clean_line(text), self.longest)


#: By the names that the settings use.
TEXT_FIELDS = {
    "Title": TextField(label="Title", tag=TITLE, iim=IIM_TITLE, iim_bytes=64),
    "Headline": TextField(label="Headline", tag=HEADLINE, iim=IIM_HEADLINE, iim_bytes=256, languages=False),
    "Description": TextField(
        label="Description", tag=DESCRIPTION, iim=IIM_DESCRIPTION, iim_bytes=2000, lines=True
    ),
    "AltTextAccessibility": TextField(label="Alt text", tag=ALT_TEXT, longest=LONGEST_ALT_TEXT),
    "ExtDescrAccessibility": TextField(label="Extended description", tag=EXTENDED_DESCRIPTION, lines=True),
    "CaptionWriter": TextField(
        label="Description writer", tag=CAPTION_WRITER, iim=IIM_WRITER, iim_bytes=32, languages=False
    ),
}
#: Every tag that is ever written, by the name under which exiftool shows it.
WRITABLE = (
    *(field.tag for field in TEXT_FIELDS.values()),
    *(field.iim for field in TEXT_FIELDS.values() if field.iim),
    *(KEYWORDS, HIERARCHICAL, TAGS_LIST, IIM_KEYWORDS, IIM_CHARSET, IIM_ENVELOPE, IIM_DIGEST),
    *(SIDECAR_FOR, METADATA_DATE, *MARKER),
)
#: Those of them that are lists.
LISTS = frozenset({KEYWORDS, HIERARCHICAL, TAGS_LIST, IIM_KEYWORDS, *MARKER[-4:]})

_LINE_ENDS = re.compile(r"\r\n?|[\u0085\u2028\u2029]")
#: What neither XML nor exiftool takes: controls but line feeds, surrogates, noncharacters.
_IMPOSSIBLE = r"\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef" + "".join(
    f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17)
)
#: What shows a reader something else than what stands there, or makes two keywords of one. Embeddings,
#: overrides and isolates turn round what comes after them, another field's text too (Unicode Annex 9); soft
#: hyphen, zero-width space, word joiner, byte order mark and invisible operators are not seen; annotations
#: and tags can hide a whole sentence.
_MISLEADING = (
    r"\u202a-\u202e\u2066-\u206f"
    r"\u00ad\u200b\u2060-\u2065\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f"
)
#: Not seen either, but kept: Persian, the Indic scripts and emoji are misspelt without the joiners, and
#: Arabic or Hebrew beside Latin letters and numbers stands in the wrong order without the marks.
_MARKS = "\u200c\u200d\u200e\u200f\u061c"
_UNFIT = re.compile(f"[{_IMPOSSIBLE}{_MISLEADING}]")
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def read_name(tag: str) -> str:
    """Return the name under which a written tag is shown: that of its default language."""
    return tag.removesuffix(DEFAULT_LANGUAGE)


def clean_text(text: str) -> str:
    """Return text as it may be written: NFC, trimmed, capped, with nothing in it that misleads a reader.

    Of controls only line feeds stay, of what is invisible only what scripts need. A text that nobody could
    see is none.
    """
    text = _LINE_ENDS.sub("\n", text).replace("\t", " ")
    text = unicodedata.normalize("NFC", _UNFIT.sub("", text)).strip()[:LONGEST_TEXT].rstrip()
    return text if text.strip(_MARKS + string.whitespace) else ""


def clean_line(text: str) -> str:
    """Return text as `clean_text` does, on one line."""
    return " ".join(clean_text(text).split())


def without_controls(text: str) -> str:
    """Return a person's text as XMP can hold it: all of it but the characters that XML has no place for."""
    return _NOT_IN_XML.sub("", text)


def cut_bytes(text: str, length: int) -> str:
    """Return text of at most `length` bytes in UTF-8, no character broken."""
    encoded = text.encode("utf-8")
    return text if len(encoded) <= length else encoded[:length].decode("utf-8", "ignore").rstrip()


def is_latin(text: str) -> bool:
    """Tell whether a text could stand in a legacy block that declares no encoding: exiftool's `Latin`."""
    try:
        text.encode("cp1252")
    except UnicodeError:
        return False
    return True


def exiftool_date(iso: str) -> str:
    """Return an ISO 8601 date as exiftool writes and shows it: `2024-05-01T12:00:00+02:00` with colons."""
    return iso[:10].replace("-", ":") + iso[10:].replace("T", " ", 1)
