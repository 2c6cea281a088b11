"""Reads all that files say, by exiftool and from the XML of their XMP, and hashes their pictures.

Nothing of the program's own reading is used but one hash, which stands beside the decoded pixels.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pillow_heif
import rawpy
from lxml import etree
from PIL import Image, ImageSequence
from psd_tools import PSDImage

from survival_check import DIGEST, PACKET, Content
from tagger_daemon.errors import PhotoUnreadable
from tagger_daemon.metadata.picturehash import content_hash

SENSOR = frozenset({".nef", ".dng"})
LAYERED = frozenset({".psd", ".psb"})
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
XML = "{http://www.w3.org/XML/1998/namespace}"
ARRAYS = (f"{RDF}Bag", f"{RDF}Seq")
GROUPS = "http://ns.exiftool.org/"

#: Everything, duplicates and binary data too, in the units of the file, and XMP as the text that it is.
SHOW = ("-config", "", "-X", "-struct", "-G1", "-n", "-a", "-b", "-api", "LargeFileSupport=1", "-all", "-XMP")
#: About the file on disk and the tool, or worked out from the rest.
VOLATILE = ("System:", "Composite:", "XMP-x:", "ExifTool:ExifToolVersion")
#: HEIC and AVIF keep XMP in the box that holds the picture; a WebP that has XMP states its size elsewhere.
OF_THE_CONTAINER = frozenset(
    {
        *("QuickTime:MediaDataSize", "File:FileType", "File:FileTypeExtension", "File:MIMEType"),
        *("RIFF:ImageHeight", "RIFF:ImageWidth", "RIFF:WebP_Flags"),
    }
)
POSITION = re.compile(r".*(Offset|Offsets|Start|Pointer)")  # where in the file something stands
PACKET_TAG = "XMP:XMP"
SPLIT = "XMP-xmpNote:HasExtendedXMP"  # tells by which hash the other parts of XMP are known
CURRENT_DIGEST, KEPT_DIGEST = "File:CurrentIPTCDigest", "Photoshop:IPTCDigest"

#: So that findings can be read. Other namespaces are told by their addresses.
PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://www.digikam.org/ns/1.0/": "digiKam",
}

Values = dict[str, tuple[str, ...]]


def read(
    files: Iterable[Path], *, exiftool: str, charsets: Mapping[Path, str], pictures: bool = True
) -> dict[Path, Content]:
    """Return what each file holds.

    Args:
        files: photos and sidecars.
        exiftool: the program.
        charsets: exiftool's name of the encoding of an IPTC block that declares none; `Latin` for the others.
        pictures: decode and hash the pictures too.

    Raises:
        etree.XMLSyntaxError: exiftool did not answer.
    """
    files = list(files)
    contents: dict[Path, Content] = {}
    for charset in sorted({charsets.get(path, "Latin") for path in files}):
        group = [path for path in files if charsets.get(path, "Latin") == charset]
        for path, values in zip(group, _show(group, exiftool, charset), strict=True):
            contents[path] = Content(values=values, bytes=_sha256(path.read_bytes()))
    if pictures:
        for path in files:
            if path.suffix.lower() != ".xmp":
                contents[path] = replace(
                    contents[path], picture=_hash(picture, path), data=_hash(content_hash, path)
                )
    return contents


def picture(path: Path) -> str:
    """Return a hash of the picture as it is decoded; of a raw, of the sensor's values and the preview.

    Raises:
        OSError, ValueError, rawpy.LibRawError: it cannot be decoded.
    """
    kind = path.suffix.lower()
    if kind in SENSOR:
        with rawpy.imread(str(path)) as raw:
            preview = raw.extract_thumb().data
            pixels = preview if isinstance(preview, bytes) else preview.tobytes()
            return _sha256(raw.raw_image_visible.tobytes(), pixels)
    if kind in LAYERED:
        image = PSDImage.open(path).topil()
        assert image is not None
        return _sha256(*_pixels(image))
    if kind == ".heic":
        return _sha256(*_pixels(pillow_heif.open_heif(path).to_pillow()))
    with Image.open(path) as image:
        return _sha256(*(part for frame in ImageSequence.Iterator(image) for part in _pixels(frame)))


def packet_values(xmp: bytes) -> Values:
    """Return what the XML of XMP says, value by value: the same for whichever way it is spelt in.

    A list is named with its kind, and an item of several languages with its own; empty lists say nothing.

    Raises:
        etree.XMLSyntaxError: it is not XML.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    root = etree.fromstring(xmp, parser)
    values: dict[str, list[str]] = {}
    for description in root.iter(f"{RDF}Description"):
        parent = description.getparent()
        if parent is not None and parent.tag == f"{RDF}RDF":
            for name, text in _members(description):
                values.setdefault(f"{PACKET}{name}", []).append(text)
    return {name: tuple(texts) for name, texts in values.items()}


def _show(files: Sequence[Path], exiftool: str, charset: str) -> list[Values]:
    command = [exiftool, *SHOW, "-charset", f"iptc={charset}", "-charset", "filename=utf8", *map(str, files)]
    output = subprocess.run(command, capture_output=True, check=False).stdout
    root = etree.fromstring(output, etree.XMLParser(huge_tree=True, resolve_entities=False))
    return [_values(description, path) for description, path in zip(root, files, strict=True)]


def _values(description: etree._Element, path: Path) -> Values:
    found: dict[str, list[str]] = {}
    for element in description:
        found.setdefault(_name(element), []).extend(_leaves(element))
    packets = [text.encode() for text in dict.fromkeys(found.pop(PACKET_TAG, ()))]  # shown twice with -a
    digests = [found.pop(name, [""])[0] for name in (CURRENT_DIGEST, KEPT_DIGEST)]
    values = {name: tuple(texts) for name, texts in found.items() if texts and not _is_volatile(name)}
    if digests[1]:
        values[DIGEST] = ("fits" if digests[0] == digests[1] else "is stale",)
    if path.suffix.lower() == ".xmp":
        packets = [path.read_bytes()]
    # Of XMP that is so long that a JPEG holds it in parts, the parts are shuffled; exiftool joins them.
    for packet in packets if SPLIT not in values else ():
        for name, texts in _packet_values(packet.strip(b"\0 \r\n")).items():
            values[name] = (*values.get(name, ()), *texts)
    return {name: texts for name, texts in values.items() if name != SPLIT}


def _packet_values(xmp: bytes) -> Values:
    try:
        return packet_values(xmp)
    except etree.XMLSyntaxError as error:
        return {f"{PACKET}cannot be read": (str(error),)}


def _hash(hashing: Callable[[Path], str], path: Path) -> str:
    """Return a hash, or why there is none: a file that was damaged is a finding and not our end."""
    try:
        return hashing(path)
    except (OSError, ValueError, rawpy.LibRawError, PhotoUnreadable) as error:
        return f"cannot be read: {type(error).__name__}"


def _is_volatile(name: str) -> bool:
    # The warning about a stale digest is told by the digest itself.
    return (
        name in OF_THE_CONTAINER
        or name == "ExifTool:Warning"
        or name.startswith(VOLATILE)
        or POSITION.fullmatch(name) is not None
    )


def _name(element: etree._Element) -> str:
    qname = etree.QName(element)
    group = (qname.namespace or "").removeprefix(GROUPS).split("/")[-3:-2]  # .../XMP/XMP-dc/1.0/
    return f"{''.join(group)}:{qname.localname}"


def _leaves(element: etree._Element, path: str = "") -> Iterator[str]:
    """Yield the texts of a property as exiftool shows it; one inside a structure with the way to it."""
    items = [item for array in element.iterfind(f"{RDF}Bag") for item in array]
    for number, item in enumerate(items):
        yield from _leaves(item, f"{path}[{number}]" if len(item) else path)
    if items or element.find(f"{RDF}Bag") is not None:
        return
    for child in element:
        yield from _leaves(child, f"{path}/{_name(child)}")
    if not len(element):
        text = element.text or ""
        if element.get(f"{RDF}datatype", "").endswith("base64Binary"):
            text = base64.b64decode(text).decode("utf-8", "backslashreplace")
        yield f"{path}={text}" if path else text


def _members(element: etree._Element, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the properties of a description or structure, those written as attributes first."""
    for name, text in element.attrib.items():
        if not str(name).startswith((RDF, XML)):
            yield f"{path}{_told(str(name))}", str(text)
    for child in element:
        yield from _property(child, f"{path}{_told(str(child.tag))}")


def _property(element: etree._Element, name: str) -> Iterator[tuple[str, str]]:
    if language := element.get(f"{XML}lang"):
        name = f"{name} [{language}]"
    if (resource := element.get(f"{RDF}resource")) is not None:
        yield f"{name} resource", resource
    inner = element.find(f"{RDF}Description")
    alternatives = element.find(f"{RDF}Alt")
    arrays = [child for child in element if child.tag in ARRAYS]
    if alternatives is not None:
        for item in alternatives:
            yield from _property(item, name)
    elif arrays:
        named = f"{name} {etree.QName(arrays[0]).localname}"
        for number, item in enumerate(arrays[0]):
            plain = not len(item) and not item.attrib
            yield from _property(item, named if plain else f"{named}[{number}]")
    elif inner is not None:
        yield from _members(inner, f"{name}/")
    elif len(element) and element.get(f"{RDF}parseType") != "Resource":
        yield from _members(element, f"{name} of no type/")  # no RDF, but exiftool writes it at times
    elif len(element) or any(not str(key).startswith((RDF, XML)) for key in element.attrib):
        yield from _members(element, f"{name}/")
    elif resource is None:
        yield name, element.text or ""


def _told(tag: str) -> str:
    qname = etree.QName(tag)
    prefix = PREFIXES.get(qname.namespace or "")
    return f"{prefix}:{qname.localname}" if prefix else f"{qname.namespace} {qname.localname}"


def _pixels(image: Image.Image) -> tuple[bytes, ...]:
    profile = image.info.get("icc_profile") or b""
    return (f"{image.mode} {image.size}".encode(), image.tobytes(), profile)


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
