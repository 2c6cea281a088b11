"""From what file and sidecar hold to what they say: title, description, keywords, facts, our marker.

Pure. Several layers are read, the one that counts first; each field is taken from the first that has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import distinct, key, union
from tagger_daemon.metadata.properties import Properties
from tagger_daemon.model import Facts, Marker, Photo, Stage, TagValue

CAMERAS_DESCRIPTIONS = (fields.EXIF_DESCRIPTION, "XMP-tiff:ImageDescription")
# Where a camera writes, it may put the file's name: DC0003M, DSC_0001, IMG_1234, P1010001.
CAMERAS_FILE_NAME = re.compile(r"[A-Z]{1,4}[-_]?\d{4,8}[A-Z]?(\.[A-Za-z]{3})?")
PLACES = (
    ("XMP-iptcCore:Location", "IPTC:Sub-location"),
    ("XMP-photoshop:City", "IPTC:City"),
    ("XMP-photoshop:State", "IPTC:Province-State"),
    ("XMP-photoshop:Country", "IPTC:Country-PrimaryLocationName"),
)
#: Places as structures: what the picture shows, and where the camera stood.
WHOLE_PLACES = ("XMP-iptcExt:LocationShown", "XMP-iptcExt:LocationCreated")
LEVELS = tuple(f"XMP-iptcExt:{level}" for level in ("Sublocation", "City", "ProvinceState", "CountryName"))
PEOPLE = "XMP-iptcExt:PersonInImage"
PEOPLE_IN_DETAIL = ("XMP-iptcExt:PersonInImageWDetails", "XMP-iptcExt:PersonName")
FACES = ("XMP-mwg-rs:RegionInfo", "XMP-mwg-rs:Name")  # among the regions of other things
FACE = ("XMP-mwg-rs:Type", "Face")
MICROSOFTS_FACES = ("XMP-MP:RegionInfoMP", "XMP-MP:PersonDisplayName")
CURRENT_DIGEST = "File:CurrentIPTCDigest"  # worked out by exiftool
TAKEN = ("ExifIFD:DateTimeOriginal", "XMP-exif:DateTimeOriginal")
OFFSETS = ("ExifIFD:OffsetTimeOriginal", "ExifIFD:OffsetTimeDigitized")
GPS_TIME = ("GPS:GPSDateStamp", "GPS:GPSTimeStamp")  # UTC
GPS_NEGATIVE = {"GPSLatitude": "S", "GPSLongitude": "W"}
DATE_TIME = "%Y:%m:%d %H:%M:%S"
ZONE = re.compile(r"([+-])(\d\d):(\d\d)\Z")
#: Hours between sun and law: summer time in Galicia, Beijing's in Kashgar and Alaska's in Nome come to three.
MOST_FROM_THE_SUN = 3.5
MACRO = 1  # of EXIF's SubjectDistanceRange
ACDSEE_ASSIGNED = re.compile(r'Assigned="1">([^<]+)')  # in XML that stands as text in one property
STAGES = frozenset(stage.value for stage in Stage)
HASH = re.compile(r"[0-9a-f]{16}")
SHORTEST_CUT = 30  # bytes: a shorter text was not cut to fit into the legacy block's names
FLASH_FIRED = 1  # bit of EXIF's Flash

Layers = Sequence[Properties]


def texts(layers: Layers, junk: Sequence[str]) -> dict[str, str]:
    """Return the text of every field that has one, by the field's name, in whichever tag it stands.

    Args:
        layers: the properties read.
        junk: shell patterns, case aside, of descriptions that cameras write by themselves.
    """

    def is_junk(tag: str, text: str) -> bool:
        if tag in CAMERAS_DESCRIPTIONS and CAMERAS_FILE_NAME.fullmatch(text):
            return True
        return any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in junk)

    found: dict[str, str] = {}
    for name, field in fields.TEXT_FIELDS.items():
        is_description = field.tag == fields.DESCRIPTION
        others = CAMERAS_DESCRIPTIONS if is_description else ()
        text = _first_text(layers, field, others, is_junk if is_description else _nothing)
        if text:
            found[name] = text
    return found


def iim_counts(image: Properties) -> bool:
    """Tell whether the legacy block was edited by a program that knows nothing of XMP: then it is the newer.

    Adobe's programs see that by the digest that is kept of it; one that is missing tells nothing
    (XMP-Toolkit-SDK, ReconcileIPTC).
    """
    digest = image.text(fields.IIM_DIGEST)
    return digest is not None and digest != image.text(CURRENT_DIGEST)


def iim_disagrees(image: Properties) -> frozenset[str]:
    """Return the tags of a newer legacy block that say something else than XMP, and count instead of it."""
    if not iim_counts(image):
        return frozenset()
    pairs = {field.iim: field.tag for field in fields.TEXT_FIELDS.values() if field.iim} | fields.IIM_TWINS
    texts = {iim for iim, xmp in pairs.items() if not _alike(image.texts(iim), image.texts(xmp))}
    block = {key(word) for word in image.texts(fields.IIM_KEYWORDS)}
    held = {key(fields.cut_bytes(word, fields.LONGEST_IIM_KEYWORD)) for word in image.texts(fields.KEYWORDS)}
    listed = {fields.IIM_KEYWORDS} if block and block != held else set()
    return frozenset(texts | listed)


def _alike(legacy: Sequence[str], xmp: Sequence[str]) -> bool:
    """Tell whether one block adds nothing to the other; the legacy one may have cut what it holds."""
    if not legacy or not xmp:
        return True
    return len(legacy) == len(xmp) and all(
        there == here or (len(here.encode()) >= SHORTEST_CUT and there.startswith(here))
        for here, there in zip(legacy, xmp, strict=True)
    )


def stands(target: Properties, *, with_iim: bool, undeclared_utf8: bool = False) -> dict[str, TagValue]:
    """Return what stands in the tags that we may write: exactly, in the default language.

    Args:
        target: the properties of the file that is written to.
        with_iim: whether its legacy block is written to as well.
        undeclared_utf8: that block is UTF-8 without saying so; it counts as if it did.

    Of a digest that fits its block, only that is told.
    """
    found: dict[str, TagValue] = {}
    for tag in fields.WRITABLE:
        if tag not in target.nodes or (tag.startswith(("IPTC:", "Photoshop:")) and not with_iim):
            continue
        values = target.texts(tag)
        if tag in fields.LISTS:
            found[tag] = values
        elif values:
            found[tag] = values[0]
    if with_iim and undeclared_utf8:
        found[fields.IIM_CHARSET] = fields.UTF8
    if fields.IIM_DIGEST in found and not iim_counts(target):
        found[fields.IIM_DIGEST] = fields.FITTING_DIGEST
    return found


def keywords(layers: Layers) -> tuple[str, ...]:
    """Return the flat keywords in the file's order: XMP's, then those that only the legacy block has."""
    return _first_list(
        layers, lambda layer: union(layer.texts(fields.KEYWORDS), layer.texts(fields.IIM_KEYWORDS))
    )


def tags_list(layers: Layers) -> tuple[str, ...]:
    """Return digiKam's keywords as full paths."""
    return _first_list(layers, lambda layer: layer.texts(fields.TAGS_LIST))


def other_keywords(layers: Layers) -> tuple[str, ...]:
    """Return the keywords in other programs' stores, the last level of each."""
    found = [text for layer in layers for tag in fields.OTHER_KEYWORDS for text in layer.texts(tag)]
    found += [
        text
        for layer in layers
        for categories in layer.texts(fields.ACDSEE_CATEGORIES)
        for text in ACDSEE_ASSIGNED.findall(categories)
    ]
    return tuple(re.split(r"[/|]", text)[-1].strip() for text in found if text.strip())


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
                hierarchy=layer.texts(fields.MARKER_HIERARCHY),
                tags=layer.texts(fields.MARKER_TAGS),
                rejected=layer.texts(fields.MARKER_REJECTED),
                models=_models(layer.text(fields.MARKER_MODELS) or "{}"),
            )
    return None


def facts(layers: Layers) -> Facts:
    """Return what is known about the photo without looking at it. Implausible values are left out.

    Words of a person's are not among it: whose words these are is told by the marker.
    """
    flash = _first_number(layers, "ExifIFD:Flash")
    iso = _first_positive(layers, "ExifIFD:ISO")
    distance = _first_positive(layers, "ExifIFD:SubjectDistanceRange")
    return Facts(
        taken=_taken(layers),
        latitude=_latitude(layers),
        place=_place(layers),
        focal_length_35mm=_first_positive(layers, "ExifIFD:FocalLengthIn35mmFormat"),
        exposure_seconds=_first_positive(layers, "ExifIFD:ExposureTime"),
        f_number=_first_positive(layers, "ExifIFD:FNumber"),
        iso=None if iso is None else int(iso),
        flash_fired=None if flash is None else bool(int(flash) & FLASH_FIRED),
        macro=None if distance is None else distance == MACRO,
        people=_people(layers),
    )


def folders(photo: Photo) -> tuple[str, ...]:
    """Return the names of the folders below the watch folder that a photo lies in, the outermost first."""
    parent = photo.path.parent
    return parent.relative_to(photo.folder).parts if parent.is_relative_to(photo.folder) else ()


def iim_is_undeclared_utf8(image: Properties) -> bool:
    """Tell whether the legacy block was read as Latin-1 although it is UTF-8 that forgot to say so.

    Many programs write it that way; text with accents in another encoding is hardly ever valid UTF-8.
    """
    if image.text("IPTC:CodedCharacterSet"):
        return False
    texts = [text for name in image.nodes if name.startswith("IPTC:") for text in image.texts(name)]
    accented = [text for text in texts if not text.isascii()]
    return bool(accented) and all(_is_utf8_read_as_latin(text) for text in accented)


def iim_is_broken(image: Properties) -> bool:
    """Tell whether the legacy block declares UTF-8, but holds something else: nobody can write it anew."""
    return any(name.startswith("IPTC:") for name in image.guessed)


def iim_beyond_latin(image: Properties) -> frozenset[str]:
    """Return the tags of a legacy block that hold letters which it could not hold without declaring UTF-8."""
    return frozenset(
        name
        for name in image.nodes
        if name.startswith("IPTC:") and name != fields.IIM_CHARSET
        if not all(map(fields.is_latin, image.texts(name)))
    )


def _nothing(_tag: str, _text: str) -> bool:
    return False


def _first_text(
    layers: Layers,
    field: fields.TextField,
    others: Sequence[str],
    passed_over: Callable[[str, str], bool],
) -> str | None:
    for layer in layers:
        iim = (field.iim,) if field.iim else ()
        newer = field.iim is not None and iim_counts(layer) and not _agree(layer, field)
        for tag in (*iim, field.tag, *others) if newer else (field.tag, *iim, *others):
            text = (layer.text(tag) or "").strip()
            if text and not passed_over(tag, text):
                return text
    return None


def _agree(layer: Properties, field: fields.TextField) -> bool:
    """Tell whether the legacy block says of a field what XMP says, as far as it holds it."""
    assert field.iim is not None
    text, legacy = layer.text(field.tag), layer.text(field.iim)
    return not text or not legacy or legacy in (text, fields.cut_bytes(text, field.iim_bytes))


def _first_of(layers: Layers, tags: Sequence[str]) -> str | None:
    found = (layer.text(tag) or "" for layer in layers for tag in tags)
    return next((text.strip() for text in found if text.strip()), None)


def _first_list(layers: Layers, read: Callable[[Properties], Sequence[str]]) -> tuple[str, ...]:
    """Return the first list that has items, each as XMP can hold it: some programs end them with a zero."""
    for layer in layers:
        items = tuple(fields.without_controls(item) for item in read(layer) if item.strip())
        if items:
            return items
    return ()


def _first_number(layers: Layers, tag: str) -> float | None:
    return next((number for layer in layers if (number := layer.number(tag)) is not None), None)


def _first_positive(layers: Layers, tag: str) -> float | None:
    number = _first_number(layers, tag)
    return number if number is not None and number > 0 else None


def _people(layers: Layers) -> tuple[str, ...]:
    """Return the names that a person gave to people in the picture, each once."""
    found = [name for layer in layers for name in layer.texts(PEOPLE)]
    for layer in layers:
        for tag, field in (PEOPLE_IN_DETAIL, FACES, MICROSOFTS_FACES):
            for structure in layer.structures(tag):
                named = structure.get(field)
                is_person = tag != FACES[0] or structure.get(FACE[0]) == FACE[1]
                if isinstance(named, str) and is_person:
                    found.append(named)
    return distinct(name.strip() for name in found)


def _place(layers: Layers) -> tuple[str, ...]:
    """Return the names of one place; those of several that a picture shows would make up another."""
    if names := tuple(name for tags in PLACES if (name := _first_of(layers, tags))):
        return names
    for tag in WHOLE_PLACES:
        for layer in layers:
            places = {
                tuple(found for level in LEVELS if isinstance(found := whole.get(level), str))
                for whole in layer.structures(tag)
            } - {()}
            if len(places) == 1:
                return places.pop()
    return ()


def _taken(layers: Layers) -> str | None:
    """Return when the photo was taken, as clocks there showed it; where that is not known, the day alone."""
    day = None
    for layer in layers:
        for tag in TAKEN:
            text = layer.text(tag) or ""
            moment = _moment(text)
            if moment is None:  # cameras without a clock write zeros
                continue
            if not text.endswith("Z") and _clock_fits_the_sun(layers, layer, moment, text):
                return moment.isoformat()
            day = day or moment.date().isoformat()
    return day


def _clock_fits_the_sun(layers: Layers, layer: Properties, moment: datetime, text: str) -> bool:
    """Tell whether a camera's clock was set to where it was, as far as longitude and zone can say.

    Travellers forget to: noon in California is nine in the evening on a clock from Berlin.
    """
    longitude = _longitude(layers)
    zones = (ZONE.search(zone) for zone in (text, *(layer.text(tag) or "" for tag in OFFSETS)))
    zone = next(filter(None, zones), None)
    universal = next(filter(None, map(_gps_time, layers)), None)
    if longitude is None or (zone is None and universal is None):
        return True
    if zone is not None:
        sign, hours, minutes = zone.groups()
        ahead = (int(hours) + int(minutes) / 60) * (-1 if sign == "-" else 1)
    else:
        assert universal is not None
        ahead = (moment - universal).total_seconds() / 3600
    off = (ahead - longitude / 15 + 12) % 24 - 12  # the sun goes 15 degrees an hour
    return abs(off) <= MOST_FROM_THE_SUN


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text[:19], DATE_TIME)  # noqa: DTZ007 - of the clocks there
    except ValueError:
        return None


def _gps_time(layer: Properties) -> datetime | None:
    return _moment(" ".join(layer.text(tag) or "" for tag in GPS_TIME))


def _latitude(layers: Layers) -> float | None:
    position = _position(layers)
    return position[0] if position else None


def _longitude(layers: Layers) -> float | None:
    position = _position(layers)
    return position[1] if position else None


def _position(layers: Layers) -> tuple[float, float | None] | None:
    """Return latitude and longitude, in degrees."""
    for layer in layers:
        for degrees in (_exif_degrees, _xmp_degrees):
            latitude, longitude = (degrees(layer, name) for name in GPS_NEGATIVE)
            at_null_island = latitude == 0 and longitude == 0  # a receiver without a fix
            if latitude is not None and abs(latitude) <= 90 and not at_null_island:
                return latitude, longitude
    return None


def _exif_degrees(layer: Properties, name: str) -> float | None:
    """Return latitude or longitude; without its hemisphere it tells nothing."""
    degrees, hemisphere = layer.number(f"GPS:{name}"), layer.text(f"GPS:{name}Ref")
    if degrees is None or hemisphere is None:
        return None
    return -degrees if hemisphere.strip().upper().startswith(GPS_NEGATIVE[name]) else degrees


def _xmp_degrees(layer: Properties, name: str) -> float | None:
    return layer.number(f"XMP-exif:{name}")


def _hashes(text: str) -> dict[str, str]:
    """Return the marker's hashes, those that may be ours: what stands in a file is not to be trusted."""
    return {
        tag: value
        for tag, value in _table(text).items()
        if tag in fields.WRITABLE and isinstance(value, str) and HASH.fullmatch(value)
    }


def _models(text: str) -> dict[str, dict[str, str | None]]:
    """Return the marker's models, those that are of the right shape."""
    return {
        stage: {name: value for name, value in model.items() if value is None or _is_text(value)}
        for stage, model in _table(text).items()
        if stage in STAGES and isinstance(model, dict) and all(map(_is_text, model))
    }


def _is_text(value: object) -> bool:
    """Tell whether a value read from JSON could be written again: halves of surrogate pairs could not."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _table(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_utf8_read_as_latin(text: str) -> bool:
    try:
        b"".join(_latin_byte(character) for character in text).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _latin_byte(character: str) -> bytes:
    """Return the byte that exiftool's `Latin` (Windows-1252) shows as this character."""
    return bytes([ord(character)]) if "\x80" <= character <= "\x9f" else character.encode("cp1252")
