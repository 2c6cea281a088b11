"""Small photos of each kind, drawn here, and a metadata store to try on them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.files import fingerprint
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Annotation, Answer, Origin, Photo, Policy, Stage
from tagger_daemon.settings import MetadataSettings

NOON = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
DNG_VERSION = 50706
EXIF_DIRECTORY = 34665


def draw(path: Path, *stamps: str, iptc_charset: str = "Latin") -> Photo:
    """Draw a small photo of the kind that the name tells, write metadata into it, and return it.

    Args:
        path: where to.
        stamps: exiftool assignments, such as "XMP-dc:Title=Mine".
        iptc_charset: exiftool's name of the encoding in which a legacy block is written.
    """
    kind = path.suffix.lower()
    image = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
    if kind in {".psd", ".psb"}:
        path.write_bytes(_psd(image, large=kind == ".psb"))
    elif kind in {".dng", ".nef", ".cr2"}:
        image.save(path, "TIFF", tiffinfo={DNG_VERSION: bytes((1, 4, 0, 0))} if kind == ".dng" else {})
    else:
        image.save(path)
    if stamps:
        stamp(path, *stamps, iptc_charset=iptc_charset)
    return photo_at(path)


def photo_at(path: Path) -> Photo:
    """Return the value for a photo that lies on disk now."""
    return Photo(path=path, folder=path.parent, fingerprint=fingerprint(path.stat()))


def stamp(path: Path, *stamps: str, iptc_charset: str = "Latin") -> None:
    """Write metadata by another exiftool than ours, as a person's photo program would."""
    command = ["exiftool", "-q", "-overwrite_original", "-charset", f"iptc={iptc_charset}"]
    subprocess.run([*command, *(f"-{value}" for value in stamps), str(path)], check=True)


def tell(path: Path, tag: str) -> str:
    """Return a tag's text as another exiftool shows it, the items of a list joined by `|`."""
    command = ["exiftool", "-s3", "-sep", "|", "-charset", "iptc=Latin", f"-{tag}", str(path)]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode().rstrip("\n")


def packet_of(path: Path) -> bytes:
    """Return the XMP packet inside a photo, byte for byte."""
    return subprocess.run(["exiftool", "-b", "-XMP", str(path)], check=True, capture_output=True).stdout


def annotation(**changes: Any) -> Annotation:
    """Return three answers, or others where they are given."""
    origin = Origin(
        entry="eyes",
        model="acme/eyes-7b",
        digest="abc",
        registry="0123",
        profile="default",
        profile_hash="4567",
        endpoint="http://10.0.0.5:8000/v1",
    )
    answers: dict[str, Any] = {
        "caption": "A yellow dog runs along the beach.",
        "keywords": ("dog", "beach", "sea"),
        "description": "A dog runs.\nThe sea is “calm” 😀 日本.",
        "origins": dict.fromkeys(Stage, origin),
    }
    return Annotation(**{**answers, **changes})


def answer_of(said: Annotation, stage: Stage) -> Answer:
    """Return one stage's answer, as a conversation gives it."""
    value: str | tuple[str, ...] | None = getattr(said, stage.value)
    assert value is not None
    return Answer(value=value, origin=said.origins[stage], raw=f"Here you are: {value}")


def policy(**changes: Any) -> Policy:
    """Return what may be written by default, when those are asked that `annotation` speaks for."""
    settings = MetadataSettings().fields
    known: dict[str, Any] = {
        "fields": {stage: getattr(settings, stage.value) for stage in Stage},
        "current": {stage: origin.identity for stage, origin in annotation().origins.items()},
    }
    return Policy(**{**known, **changes})


def draw_torn(path: Path, *stamps: str) -> Photo:
    """Draw a TIFF as `draw` does, but one that exiftool does not write into: its EXIF leads nowhere."""
    draw(path, "EXIF:UserComment=torn", *stamps)
    content = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, entry) == (EXIF_DIRECTORY,):
            struct.pack_into("<I", content, entry + 8, len(content) - 4)
    path.write_bytes(content)
    return photo_at(path)


@contextmanager
def open_store(**settings: Any) -> Iterator[MetadataStore]:
    """Give a started metadata store whose clock stands at noon."""
    known = MetadataSettings(**settings)
    exiftool = ExifTool(known.exiftool, timeout_seconds=known.timeout_seconds)
    store = MetadataStore(known, exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
    try:
        store.start()
        yield store
    finally:
        store.close()


def _psd(image: Image.Image, *, large: bool) -> bytes:
    """Return a PSD, or PSB, of one layer-less RGB picture, uncompressed, with its resolution alone."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 2 if large else 1, 3, image.height, image.width, 8, 3)
    planes = b"".join(band.tobytes() for band in image.split())
    resolution = struct.pack(">4sHHIIHHIHH", b"8BIM", 1005, 0, 16, 72 << 16, 1, 1, 72 << 16, 1, 1)
    layers = struct.pack(">Q" if large else ">I", 0)
    sections = struct.pack(">II", 0, len(resolution)) + resolution + layers
    return header + sections + struct.pack(">H", 0) + planes
