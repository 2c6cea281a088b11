"""Small photos in the newer formats: HEIC, AVIF and WebP by their libraries, JPEG XL made by hand."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import pillow_heif
from PIL import Image

from sample_files import write_heic
from support.metadata_files import photo_at
from tagger_daemon.model import Photo

# Eight by eight grey pixels, by libjxl 0.11.
JXL_CODESTREAM = base64.b64decode("/wpBQCQIBAEAPABLGIsVgB3U/wAY0K+awAE=")
JXL_BEGINNING = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
# XMP whose dc:title is "Mine", as Brotli packs it.
PACKED_XMP = base64.b64decode(
    "GygBAGRxTmV3jCrKjMAdhRsAPT1waEnLk5YkkARtl+9iN7h9t+PJb7dcMCzEQTZ9/ad24NEObbqEf0V9OXQIkz5KsZuxTZeQgaFNSYZ/L/Ca"
    "piTT16B1SLjikklJpiQj89kt4UG6+QZSG1wrU5JhGPXrogMgSxKTD+vUiCUxa2jLBBUMDC2JcSmXJmW1myXBqSmVo22wCbtch4O8DklgvMou"
    "1ZgXGwrEdQxrxApEa/h7gaGxCZEB"
)


def draw_modern(path: Path) -> Photo:
    """Draw a small photo and return it.

    Its format is told by the name's suffix; "alpha" in the name makes it see-through where it can be,
    "lossless" without loss, "moving" a sequence of two pictures.
    """
    image = Image.linear_gradient("L").resize((36, 24)).convert("RGB")
    if "alpha" in path.name:
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    if path.suffix == ".jxl":
        path.write_bytes(jxl())
    elif path.suffix == ".heic":
        write_heic(path, image)
    elif "moving" in path.name:
        image.save(path, save_all=True, append_images=[image.rotate(180)])
    else:
        image.save(path, lossless="lossless" in path.name)
    return photo_at(path)


def pixels(path: Path) -> bytes:
    """Return the pixels of all pictures in a photo; of a JPEG XL, which nothing here decodes, the code."""
    if path.suffix == ".jxl":
        content = path.read_bytes()
        return content[content.index(JXL_CODESTREAM) :][: len(JXL_CODESTREAM)]
    pillow_heif.register_heif_opener()
    shown = b""
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            shown += image.convert("RGBA").tobytes()
    return shown


def jxl(*boxes: tuple[bytes, bytes]) -> bytes:
    """Return a JPEG XL file with such boxes, kind and content, before its picture."""
    return JXL_BEGINNING + b"".join(box(*one) for one in (*boxes, (b"jxlc", JXL_CODESTREAM)))


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box as ISO/IEC 14496-12 has it."""
    return struct.pack(">I4s", len(content) + 8, kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    """Return a box that begins with its version, and flags that are not set."""
    return box(kind, struct.pack(">I", version << 24) + content)
