"""Reading what a photo and its sidecars say now."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable, PhotoChanged, PhotoGone, PhotoUnreadable, WriteRefused
from tagger_daemon.metadata import fields, gather
from tagger_daemon.metadata.canonical import PADDING
from tagger_daemon.metadata.containers import hidden_words, obstacle
from tagger_daemon.metadata.exiftool import ExifTool, path_argument
from tagger_daemon.metadata.files import fingerprint
from tagger_daemon.metadata.naming import (
    MODERN,
    extension,
    is_rendered,
    near,
    partner_of,
    place_for,
    sidecar_names,
)
from tagger_daemon.metadata.properties import Properties, parse_properties
from tagger_daemon.metadata.quiet import find_sign
from tagger_daemon.metadata.readings import Reading, Readings, seen
from tagger_daemon.metadata.segments import packets
from tagger_daemon.metadata.sidecar import check_sidecar, flaw
from tagger_daemon.metadata.signed import is_signed
from tagger_daemon.model import CatalogueSign, Existing, Fingerprint, Photo

SHOW = ("-X", "-struct", "-G1", "-n", "-e", "-api", "LargeFileSupport=1")  # without composite tags
PACKET = ("-b", "-XMP", "-api", "BlockExtract=2", "-api", "LargeFileSupport=1")  # 2: as it stands, unread
SIZE_OF_PACKET = ("-api", "RequestTags=XMP")  # beside what stands in it
PACKET_SIZE = "XMP:XMP"
IN_BYTES = re.compile(r"\(Binary data (\d+) bytes")
IIM_IS_UTF8 = ("-charset", "iptc=UTF8")
SECOND_IIM = "IPTC2"
WRAPPING = ("XMP-x:", "XMP-rdf:")  # of the packet, not of its content
LARGEST_SIDECAR = 64 << 20  # bytes; those of photo programs have thousands, with many masks some millions
KEEPS_IIM = frozenset({"jpg", "jpeg", "jpe", "tif", "tiff", "psd", "psb"})  # Adobe removes the block from DNG


def show(exiftool: ExifTool, path: Path) -> tuple[Properties, tuple[str, ...]]:
    """Return every property of a file, exactly, and the options that its legacy block has to be read with.

    Raises:
        PhotoGone: it is not there.
        PhotoUnreadable: exiftool cannot read it, and why.
    """
    properties, charset, _ = _show_exactly(exiftool, path)
    return properties, charset


def look(exiftool: ExifTool, path: Path) -> Reading:
    """Return every property of a photo as `show` does, and the XMP packet inside it as `embedded_packet`.

    Of a JPEG exiftool is asked only once: the packet that stands where it should, and has the size that
    exiftool says it has, is the one that it would give.

    Raises what `show` raises.
    """
    shown, charset, size = _show_exactly(exiftool, path, *SIZE_OF_PACKET)
    sizes = [int(said[1]) for text in shown.texts(PACKET_SIZE) if (said := IN_BYTES.match(text))]
    there = packets(path) or ()
    if sizes == [len(packet) for packet in there] and len(there) <= 1:
        packet = there[0] if there else b""
    else:
        packet = embedded_packet(exiftool, path)
    properties = shown.evolve(nodes={tag: said for tag, said in shown.nodes.items() if tag != PACKET_SIZE})
    return Reading(properties=properties, charset=charset, packet=packet, size=size)


def embedded_packet(exiftool: ExifTool, path: Path) -> bytes:
    """Return the XMP packet inside a photo, of a JPEG the main one; empty if there is none."""
    return exiftool.ask(*PACKET, path_argument(path)).stdout


def identity(path: Path) -> Fingerprint:
    """Return what tells this content of a photo from another.

    Raises:
        PhotoGone: it is not there.
        PhotoUnreadable: it may not be looked at.
    """
    return fingerprint(_status(path))


def read_existing(
    exiftool: ExifTool,
    photo: Photo,
    *,
    version: tuple[int, int],
    readings: Readings,
    ignore_captions: Sequence[str],
    full_names: bool = False,
    refusal: str | None = None,
) -> Existing:
    """Return what file and sidecars say, and where the next write goes.

    What stands in a JPEG that may be written into is kept in `readings`. `full_names` and `refusal` are as
    for `place_for`.

    Raises:
        PhotoGone: the photo is not there.
        PhotoUnreadable: it cannot be read.
        PhotoUnsupported: nothing is known about this kind of file.
        PhotoChanged: a sidecar disappeared while it was read.
        WriteRefused: its sidecar cannot be read, or not be rewritten without loss; or what a person may have
            written into it cannot be read.
    """
    status = _status(photo.path)
    image_fingerprint = fingerprint(status)
    if extension(photo.path) in MODERN and (wrong := hidden_words(photo.path, version)):
        raise WriteRefused(f"{photo.path.name} was left alone: its metadata {wrong}")
    shown: dict[str, Properties] = {}
    fingerprints: dict[str, Fingerprint] = {}
    siblings = _siblings(photo.path)
    for name in sidecar_names(photo.path, siblings):
        fingerprints[name], shown[name] = _show_sidecar(exiftool, photo.path.with_name(name))
    owners = {name: owner for name, seen in shown.items() if (owner := seen.text(fields.SIDECAR_FOR))}
    placed = partial(place_for, photo.path, siblings, owners, exiftool_version=version, full_names=full_names)
    place = placed(refusal=refusal)
    if place.embedded and is_signed(photo.path):
        place = placed(signed=True)
    if place.embedded:
        content = seen(photo.path, status)  # before it is read: a later change shows against it
        reading = look(exiftool, photo.path)
        image, charset = reading.properties, reading.charset
        if refusal := _reason_against(photo.path, reading):
            place = placed(refusal=refusal)
        else:
            readings.keep(content, reading)
    else:
        image, charset = show(exiftool, photo.path)
    target_fingerprint = image_fingerprint if place.embedded else fingerprints.get(place.target.name)
    sidecars = [shown[path.name] for path in place.sidecars]
    layers = [image, *sidecars] if place.embedded else [*sidecars, image]
    own = image if place.embedded else shown.get(place.target.name, Properties())
    notes = [place.note] if place.note else []
    if image.has_group(SECOND_IIM):
        notes.append("two IPTC blocks stand in the file; both are left as they are")
    elif gather.iim_is_broken(image):
        notes.append("the IPTC block is not in the encoding that it declares; it is left as it is")
    has_iptc = place.embedded and _keeps_iim(photo, image)
    return Existing(
        photo=photo,
        source=place.target,
        embedded=place.embedded,
        source_fingerprint=target_fingerprint,
        source_marked=gather.marker(layers[:1]) is not None,
        signs=_signs(
            (photo.path, image, image_fingerprint),
            *((path, shown[path.name], fingerprints[path.name]) for path in place.sidecars),
        ),
        stands=gather.stands(own, with_iim=has_iptc, undeclared_utf8=bool(charset)),
        texts=gather.texts(layers, ignore_captions),
        keywords=gather.keywords(layers),
        hierarchical=gather.hierarchical(layers),
        tags_list=gather.tags_list(layers),
        other_keywords=gather.other_keywords([image, *sidecars]),
        has_iptc=has_iptc,
        iim_disagrees=gather.iim_disagrees(image) if has_iptc else frozenset(),
        marker=gather.marker(layers),
        facts=gather.facts(layers).evolve(folders=gather.folders(photo)),
        partner=partner_of(photo.path, siblings),
        notes=tuple(notes),
    )


def read_target(exiftool: ExifTool, photo: Photo, target: Path) -> Existing:
    """Return what stands in one file that we wrote for a photo.

    Raises:
        PhotoGone: the photo is not there.
        PhotoUnreadable: it cannot be read.
        PhotoChanged: the sidecar is not there.
        WriteRefused: the sidecar cannot be read, or not be rewritten without loss.
    """
    embedded = target == photo.path
    if embedded:
        seen, (own, charset) = identity(target), show(exiftool, target)
    else:
        (seen, own), charset = _show_sidecar(exiftool, target), ()
    has_iptc = embedded and _keeps_iim(photo, own)
    return Existing(
        photo=photo,
        source=target,
        embedded=embedded,
        source_fingerprint=seen,
        ours_alone=not embedded and content_of(own) <= set(fields.WRITABLE),
        stands=gather.stands(own, with_iim=has_iptc, undeclared_utf8=bool(charset)),
        has_iptc=has_iptc,
        iim_beyond_latin=gather.iim_beyond_latin(own),
        marker=gather.marker([own]),
    )


def content_of(sidecar: Properties) -> set[str]:
    """Return the names of all that a sidecar says."""
    return {name for name in sidecar.nodes if name.startswith("XMP-") and not name.startswith(WRAPPING)}


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PhotoGone(f"{path.name} is no longer there") from error
    except PermissionError as error:
        raise PhotoUnreadable(f"{path.name} may not be read") from error


def _keeps_iim(photo: Photo, image: Properties) -> bool:
    """Tell whether the file has a legacy block to be kept in step; of two, nobody knows which counts."""
    unfit = image.has_group(SECOND_IIM) or gather.iim_is_broken(image)
    return extension(photo.path) in KEEPS_IIM and image.has_group("IPTC") and not unfit


def _signs(*files: tuple[Path, Properties, Fingerprint]) -> tuple[CatalogueSign, ...]:
    """Return the signs of a catalogue in a photo and its sidecars."""
    found = (
        find_sign(
            path.name,
            properties,
            rendered=is_rendered(path),
            changed_at=datetime.fromtimestamp(seen.mtime_ns / 1e9, UTC),
        )
        for path, properties, seen in files
    )
    return tuple(sign for sign in found if sign is not None)


def _show_exactly(exiftool: ExifTool, path: Path, *options: str) -> tuple[Properties, tuple[str, ...], int]:
    """Return properties, the options for the legacy block, and of how many bytes exiftool's answer was."""
    properties, size = _show(exiftool, path, *options)
    if not gather.iim_is_undeclared_utf8(properties):
        return properties, (), size
    properties, size = _show(exiftool, path, *options, *IIM_IS_UTF8)
    return properties, IIM_IS_UTF8, size


def _show(exiftool: ExifTool, path: Path, *options: str) -> tuple[Properties, int]:
    answer = exiftool.ask(*SHOW, *options, path_argument(path))
    properties = parse_properties(answer.stdout) if answer.stdout.strip() else Properties()
    if answer.status != 0:
        if not path.exists():
            raise PhotoGone(f"{path.name} is no longer there")
        reason = properties.text("ExifTool:Error") or answer.stderr.partition(" - ")[0]
        raise PhotoUnreadable(f"{path.name} cannot be read: {reason.removeprefix('Error: ')}")
    if (properties.text("File:MIMEType") or "").startswith("text/"):
        raise PhotoUnreadable(f"{path.name} cannot be read: it is a text file")
    return properties, len(answer.stdout)


def _reason_against(path: Path, reading: Reading) -> str | None:
    """Return why a photo should not be written into; exiftool keeps only what it understands of its XMP."""
    if extension(path) in MODERN and (reason := obstacle(path)):
        return reason
    wrong = flaw(reading.packet.strip(PADDING))
    return None if wrong is None else f"its XMP {wrong}"


def _show_sidecar(exiftool: ExifTool, path: Path) -> tuple[Fingerprint, Properties]:
    """Return what a sidecar holds, and its fingerprint from before: a later change shows against it."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WriteRefused(f"the sidecar {path.name} is not a regular file")
        if status.st_size > LARGEST_SIDECAR:
            raise WriteRefused(f"the sidecar {path.name} is larger than {LARGEST_SIDECAR >> 20} MB")
        content = path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise WriteRefused(f"the sidecar {path.name} is a link that leads nowhere") from error
        raise PhotoChanged(f"the sidecar {path.name} disappeared meanwhile") from error
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise WriteRefused(f"the sidecar {path.name} cannot be read: {reason}") from error
    check_sidecar(content, path.name)
    return fingerprint(status), show(exiftool, path)[0] if content.strip() else Properties()


def _siblings(path: Path) -> tuple[str, ...]:
    """Return the names in a photo's folder that can matter to it."""
    folder = path.parent
    try:
        return near(path, os.listdir(folder))  # noqa: PTH208 - names are wanted, of folders of any size
    except FileNotFoundError as error:
        raise PhotoGone(f"the folder {folder} is no longer there") from error
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise FolderUnavailable(f"the folder {folder} cannot be read now: {reason}") from error
