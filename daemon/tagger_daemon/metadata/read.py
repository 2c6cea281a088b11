"""Reading what a photo and its sidecars say now."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable, PhotoChanged, PhotoGone, PhotoUnreadable, WriteRefused
from tagger_daemon.metadata import fields, gather
from tagger_daemon.metadata.containers import hidden_words, obstacle
from tagger_daemon.metadata.exiftool import ExifTool, path_argument
from tagger_daemon.metadata.files import fingerprint
from tagger_daemon.metadata.naming import MODERN, extension, place_for, sidecar_names
from tagger_daemon.metadata.properties import Properties, parse_properties
from tagger_daemon.metadata.sidecar import check_sidecar, flaw
from tagger_daemon.model import Existing, Fingerprint, Photo

SHOW = ("-X", "-struct", "-G1", "-n", "-api", "LargeFileSupport=1")
IIM_IS_UTF8 = ("-charset", "iptc=UTF8")
LARGEST_SIDECAR = 64 << 20  # bytes; those of photo programs have thousands, with many masks some millions
KEEPS_IIM = frozenset({"jpg", "jpeg", "jpe", "tif", "tiff", "psd", "psb"})  # Adobe removes the block from DNG


def show(exiftool: ExifTool, path: Path) -> tuple[Properties, tuple[str, ...]]:
    """Return every property of a file, exactly, and the options that its legacy block has to be read with.

    Raises:
        PhotoGone: it is not there.
        PhotoUnreadable: exiftool cannot read it, and why.
    """
    properties = _show(exiftool, path)
    if gather.iim_is_undeclared_utf8(properties):
        return _show(exiftool, path, *IIM_IS_UTF8), IIM_IS_UTF8
    return properties, ()


def read_existing(
    exiftool: ExifTool,
    photo: Photo,
    *,
    version: tuple[int, int],
    ignore_captions: Sequence[str],
    refusal: str | None = None,
) -> Existing:
    """Return what file and sidecars say, and where the next write goes; `refusal` as for `place_for`.

    Raises:
        PhotoGone: the photo is not there.
        PhotoUnreadable: it cannot be read.
        PhotoUnsupported: nothing is known about this kind of file.
        PhotoChanged: a sidecar disappeared while it was read.
        WriteRefused: its sidecar cannot be read, or not be rewritten without loss; or what a person may have
            written into it cannot be read.
    """
    image_fingerprint = _fingerprint(photo.path)
    if extension(photo.path) in MODERN and (wrong := hidden_words(photo.path, version)):
        raise WriteRefused(f"{photo.path.name} was left alone: its metadata {wrong}")
    shown: dict[str, Properties] = {}
    fingerprints: dict[str, Fingerprint] = {}
    siblings = _siblings(photo.path.parent)
    for name in sidecar_names(photo.path, siblings):
        fingerprints[name], shown[name] = _show_sidecar(exiftool, photo.path.with_name(name))
    owners = {name: owner for name, seen in shown.items() if (owner := seen.text(fields.SIDECAR_FOR))}
    place = place_for(photo.path, siblings, owners, exiftool_version=version, refusal=refusal)
    if place.embedded and (refusal := _reason_against(exiftool, photo.path)):
        place = place_for(photo.path, siblings, owners, exiftool_version=version, refusal=refusal)
    target_fingerprint = image_fingerprint if place.embedded else fingerprints.get(place.target.name)
    image, _ = show(exiftool, photo.path)
    sidecars = [shown[path.name] for path in place.sidecars]
    layers = [image, *sidecars] if place.embedded else [*sidecars, image]
    two_blocks = image.has_group("IPTC2")
    notes = [place.note] if place.note else []
    if two_blocks:
        notes.append("two IPTC blocks stand in the file; both are left as they are")
    has_iptc = (
        place.embedded and extension(photo.path) in KEEPS_IIM and image.has_group("IPTC") and not two_blocks
    )
    return Existing(
        photo=photo,
        source=place.target,
        embedded=place.embedded,
        source_fingerprint=target_fingerprint,
        title=gather.title(layers),
        headline=gather.headline(layers),
        description=gather.description(layers, ignore_captions),
        alt_text=gather.alt_text(layers),
        keywords=gather.keywords(layers),
        hierarchical=gather.hierarchical(layers),
        has_iptc=has_iptc,
        iptc_keywords=image.texts(fields.IIM_KEYWORDS) if has_iptc else (),
        marker=gather.marker(layers),
        facts=gather.facts([image, *sidecars]),
        notes=tuple(notes),
    )


def _show(exiftool: ExifTool, path: Path, *options: str) -> Properties:
    answer = exiftool.ask(*SHOW, *options, path_argument(path))
    properties = parse_properties(answer.stdout) if answer.stdout.strip() else Properties()
    if answer.status != 0:
        if not path.exists():
            raise PhotoGone(f"{path.name} is no longer there")
        reason = properties.text("ExifTool:Error") or answer.stderr.partition(" - ")[0]
        raise PhotoUnreadable(f"{path.name} cannot be read: {reason.removeprefix('Error: ')}")
    if (properties.text("File:MIMEType") or "").startswith("text/"):
        raise PhotoUnreadable(f"{path.name} cannot be read: it is a text file")
    return properties


def _reason_against(exiftool: ExifTool, path: Path) -> str | None:
    """Return why a photo should not be written into; exiftool keeps only what it understands of its XMP."""
    if extension(path) in MODERN and (reason := obstacle(path)):
        return reason
    packet = exiftool.ask("-b", "-api", "LargeFileSupport=1", "-XMP", path_argument(path)).stdout
    wrong = flaw(packet.strip(b"\0 \r\n"))
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
    return fingerprint(status), _show(exiftool, path) if content.strip() else Properties()


def _fingerprint(path: Path) -> Fingerprint:
    try:
        return fingerprint(path.stat())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PhotoGone(f"{path.name} is no longer there") from error
    except PermissionError as error:
        raise PhotoUnreadable(f"{path.name} may not be read") from error


def _siblings(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(path.name for path in folder.iterdir())
    except FileNotFoundError as error:
        raise PhotoGone(f"the folder {folder} is no longer there") from error
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise FolderUnavailable(f"the folder {folder} cannot be read now: {reason}") from error
