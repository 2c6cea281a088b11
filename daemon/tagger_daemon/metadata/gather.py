"""From what file and sidecar hold to what they say: title, description, keywords, facts, our marker.

Pure. Several layers are read, the one that counts first; each field is taken from the first that has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import union
from tagger_daemon.metadata.properties import Properties
from tagger_daemon.model import Facts, Marker

TITLES = (fields.TITLE, fields.IIM_TITLE)
HEADLINES = (fields.HEADLINE, "IPTC:Headline")
CAMERAS_DESCRIPTIONS = (fields.EXIF_DESCRIPTION, "XMP-tiff:ImageDescription")
DESCRIPTIONS = (fields.DESCRIPTION, fields.IIM_DESCRIPTION, *CAMERAS_DESCRIPTIONS)
# Where a camera writes, it may put the file's name: DC0003M, DSC_0001, IMG_1234, P1010001.
CAMERAS_FILE_NAME = re.compile(r"[A-Z]{1,4}[-_]?\d{4,8}[A-Z]?(\.[A-Za-z]{3})?")
PLACES = (
    ("XMP-iptcCore:Location", "IPTC:Sub-location"),
    ("XMP-photoshop:City", "IPTC:City"),
    ("XMP-photoshop:State", "IPTC:Province-State"),
    ("XMP-photoshop:Country", "IPTC:Country-PrimaryLocationName"),
)
TAKEN = ("ExifIFD:DateTimeOriginal", "XMP-exif:DateTimeOriginal")
FLASH_FIRED = 1  # bit of EXIF's Flash

Layers = Sequence[Properties]


def title(layers: Layers) -> str | None:
    """Return the title that a person gave."""
    return _first_text(layers, TITLES)


def headline(layers: Layers) -> str | None:
    """Return the headline, which agencies use for the title."""
    return _first_text(layers, HEADLINES)


def description(layers: Layers, junk: Sequence[str]) -> str | None:
    """Return the description that a person wrote, in whichever field.

    Args:
        layers: the properties read.
        junk: shell patterns, case aside, of captions that cameras write by themselves.
    """

    def is_junk(tag: str, text: str) -> bool:
        if tag in CAMERAS_DESCRIPTIONS and CAMERAS_FILE_NAME.fullmatch(text):
            return True
        return any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in junk)

    return _first_text(layers, DESCRIPTIONS, is_junk)


def alt_text(layers: Layers) -> str | None:
    """Return the alternative text."""
    return _first_text(layers, (fields.ALT_TEXT,))


def keywords(layers: Layers) -> tuple[str, ...]:
    """Return the flat keywords in the file's order: XMP's, then those that only the legacy block has."""
    return _first_list(
        layers, lambda layer: union(layer.texts(fields.KEYWORDS), layer.texts(fields.IIM_KEYWORDS))
    )


def hierarchical(layers: Layers) -> tuple[str, ...]:
    """Return the hierarchical keywords as full paths."""
    return _first_list(layers, lambda layer: layer.texts(fields.HIERARCHICAL))


def marker(layers: Layers) -> Marker | None:
    """Return our provenance marker, where one stands."""
    for layer in layers:
        version = layer.number(fields.MARKER_SCHEMA)
        if version is not None:
            return Marker(
                schema_version=int(version),
                tool_version=layer.text(fields.MARKER_TOOL) or "",
                written_at=layer.text(fields.MARKER_DATE) or "",
                content_hash=layer.text(fields.MARKER_CONTENT) or "",
                fields=_hashes(layer.text(fields.MARKER_FIELDS) or "{}"),
                keywords=layer.texts(fields.MARKER_KEYWORDS),
            )
    return None


def facts(layers: Layers) -> Facts:
    """Return what is known about the photo without looking at it. Implausible values are left out."""
    flash = _first_number(layers, "ExifIFD:Flash")
    iso = _first_positive(layers, "ExifIFD:ISO")
    return Facts(
        taken=_taken(layers),
        latitude=_latitude(layers),
        place=tuple(name for tags in PLACES if (name := _first_text(layers, tags))),
        focal_length_35mm=_first_positive(layers, "ExifIFD:FocalLengthIn35mmFormat"),
        exposure_seconds=_first_positive(layers, "ExifIFD:ExposureTime"),
        f_number=_first_positive(layers, "ExifIFD:FNumber"),
        iso=None if iso is None else int(iso),
        flash_fired=None if flash is None else bool(int(flash) & FLASH_FIRED),
    )


def iim_is_undeclared_utf8(image: Properties) -> bool:
    """Tell whether the legacy block was read as Latin-1 although it is UTF-8 that forgot to say so.

    Many programs write it that way; text with accents in another encoding is hardly ever valid UTF-8.
    """
    if image.text("IPTC:CodedCharacterSet"):
        return False
    texts = [text for name in image.nodes if name.startswith("IPTC:") for text in image.texts(name)]
    accented = [text for text in texts if not text.isascii()]
    return bool(accented) and all(_is_utf8_read_as_latin(text) for text in accented)


def _nothing(_tag: str, _text: str) -> bool:
    return False


def _first_text(
    layers: Layers, tags: Sequence[str], passed_over: Callable[[str, str], bool] = _nothing
) -> str | None:
    for layer in layers:
        for tag in tags:
            text = (layer.text(tag) or "").strip()
            if text and not passed_over(tag, text):
                return text
    return None


def _first_list(layers: Layers, read: Callable[[Properties], Sequence[str]]) -> tuple[str, ...]:
    for layer in layers:
        items = tuple(item for item in read(layer) if item.strip())
        if items:
            return items
    return ()


def _first_number(layers: Layers, tag: str) -> float | None:
    return next((number for layer in layers if (number := layer.number(tag)) is not None), None)


def _first_positive(layers: Layers, tag: str) -> float | None:
    number = _first_number(layers, tag)
    return number if number is not None and number > 0 else None


def _taken(layers: Layers) -> str | None:
    for layer in layers:
        for tag in TAKEN:
            try:
                moment = datetime.strptime((layer.text(tag) or "")[:19], "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
            except ValueError:  # cameras without a clock write zeros
                continue
            return moment.isoformat()
    return None


def _latitude(layers: Layers) -> float | None:
    for layer in layers:
        for group in ("Composite", "XMP-exif"):
            latitude, longitude = layer.number(f"{group}:GPSLatitude"), layer.number(f"{group}:GPSLongitude")
            at_null_island = latitude == 0 and longitude == 0  # a receiver without a fix
            if latitude is not None and abs(latitude) <= 90 and not at_null_island:
                return latitude
    return None


def _hashes(text: str) -> dict[str, str]:
    """Return the marker's hashes, or none: what stands in a file is not to be trusted."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {tag: value for tag, value in found.items() if isinstance(value, str)}


def _is_utf8_read_as_latin(text: str) -> bool:
    try:
        b"".join(_latin_byte(character) for character in text).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _latin_byte(character: str) -> bytes:
    """Return the byte that exiftool's `Latin` (Windows-1252) shows as this character."""
    return bytes([ord(character)]) if "\x80" <= character <= "\x9f" else character.encode("cp1252")
