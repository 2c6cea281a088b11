"""Turn one photo file, of whatever kind, into one small upright sRGB JPEG.

This is what runs inside a decoding process (`worker`): the files are untrusted, and the libraries that read
them are large. Content decides what a file is; its name only tells raws from TIFFs, which begin alike.
"""

from __future__ import annotations

import errno
import io
import math
import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy
import pillow_heif
import psd_tools
import rawpy
from PIL import Image, UnidentifiedImageError
from psd_tools.compression import PSDDecompressionWarning
from psd_tools.constants import Compression, Resource

from tagger_daemon.errors import (
    FolderUnavailable,
    PhotoGone,
    PhotoTooLarge,
    PhotoUnreadable,
    PhotoUnsupported,
    TaggerError,
)
from tagger_daemon.model import Picture
from tagger_daemon.vision.colour import eight_bits, to_srgb

RAW_SUFFIXES = (
    *(".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dcs", ".dng", ".erf", ".fff"),
    *(".gpr", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"),
    *(".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)

# Only these of Pillow's formats are tried: others (EPS, PDF, ...) would start further programs.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")

# First bytes that only a raw has, and those that no raw has, whatever the file is called.
_RAW_STARTS = (
    b"FUJIFILMCCD-RAW",
    b"IIRO",
    b"IIRS",
    b"MMOR",
    b"IIU\0",
    b"\0MRM",
    b"FOVb",
    b"II\x1a\0\0\0HEAPCCDR",
)
_PLAIN_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"8BPS", b"BM")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEAD_BYTES = 32

# EXIF 2.32, tag 0x0112: what has to be done to a picture to see it upright.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# LibRaw's `flip` (0 to 7) as an EXIF orientation, after dcraw's tiff_head().
_ORIENTATION_OF_FLIP = (1, 2, 4, 3, 5, 8, 6, 7)

# What the libraries raise on damaged input. None of them promises a closed list: these are what their
# parsers raise by themselves, and what plain Python raises on numbers that make no sense.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    PSDDecompressionWarning,
    rawpy.LibRawError,
    rawpy.NotSupportedError,
    struct.error,
    zlib.error,
)

_TRUNCATED = "the file ends before its picture does"

# A file system that has gone away answers with these; the photo itself is not to blame.
_ABSENT_FOLDER = frozenset(
    {
        errno.ESTALE,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIMEDOUT,
        errno.ENODEV,
        errno.ENXIO,
    }
)


class _Source(NamedTuple):
    """A picture as it came out of its file."""

    image: Image.Image  # `info["icc_profile"]` holds its profile, if any
    orientation: int  # EXIF, 1 to 8


def equip() -> None:
    """Teach Pillow what it needs to know, once a process: HEIF, and that the size limit is ours."""
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    Image.MAX_IMAGE_PIXELS = None  # ours is checked before each decode, see _check_size


def decode(path: Path, *, long_edges: Sequence[int], quality: int, max_pixels: int) -> tuple[Picture, ...]:
    """Return the photo as baseline sRGB JPEGs: upright, without metadata, one for each of `long_edges`.

    The same file gives the same bytes. `equip` must have been called in this process.

    Args:
        path: the photo.
        long_edges: pixels of the longer side at most, one or more; smaller photos are not enlarged.
        quality: JPEG quality, 1 to 95.
        max_pixels: a photo whose header announces more is not decoded.

    Raises:
        PhotoGone: there is no such file.
        PhotoUnreadable: it is damaged, truncated or protected.
        PhotoUnsupported: it is not a picture of a kind that is handled.
        PhotoTooLarge: it has too many pixels, or takes too much memory.
        FolderUnavailable: its file system is not there now.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the libraries can live with, we can; but this one means
            warnings.simplefilter("error", PSDDecompressionWarning)  # that black was put for lost pixels
            source = _open(file, path.suffix.lower(), long_edge=max(long_edges), max_pixels=max_pixels)
            return tuple(_render(source, long_edge=edge, quality=quality) for edge in long_edges)
    except (MemoryError, rawpy.LibRawUnsufficientMemoryError) as error:
        raise PhotoTooLarge("decoding the photo takes more memory than a decoding process may use") from error
    except _DAMAGE as error:
        raise _explained(error) from error


def _open(file: BinaryIO, suffix: str, *, long_edge: int, max_pixels: int) -> _Source:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if not head:
        raise PhotoUnreadable("the file is empty")
    if head.startswith(b"8BPS"):
        return _open_psd(file, head, max_pixels)
    if _is_raw(head, suffix):
        try:
            return _open_raw(file, long_edge, max_pixels)
        except rawpy.LibRawFileUnsupportedError:
            file.seek(0)  # a DNG made by software can be a plain TIFF inside
    return _open_plain(file, head, long_edge, max_pixels)


def _is_raw(head: bytes, suffix: str) -> bool:
    canon = head[4:12] == b"ftypcrx " or (head.startswith(_TIFF_STARTS) and head[8:10] == b"CR")
    if canon or head.startswith(_RAW_STARTS):
        return True
    return suffix in RAW_SUFFIXES and not head.startswith(_PLAIN_STARTS) and head[4:8] != b"ftyp"


def _open_plain(file: BinaryIO, head: bytes, long_edge: int, max_pixels: int) -> _Source:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        if head.startswith(_PLAIN_STARTS + _TIFF_STARTS) or head[4:8] == b"ftyp":
            raise PhotoUnreadable("the beginning of the file is damaged") from error
        raise PhotoUnsupported("the file is not a picture of a kind that is handled") from error
    _check_size(image.width, image.height, max_pixels)
    _load(image, long_edge)
    return _Source(image, _exif_orientation(image) or 1)


def _open_psd(file: BinaryIO, head: bytes, max_pixels: int) -> _Source:
    """Take the merged picture that Photoshop saved, or merge the layers where it saved none."""
    height, width = struct.unpack_from(">II", head, 14)
    _check_size(width, height, max_pixels)
    try:
        document = psd_tools.PSDImage.open(file)
        _check_whole(document)
        merged = document.has_preview()
        image = document.topil(apply_icc=False) if merged else document.composite(apply_icc=False)
    except ImportError as error:
        raise PhotoUnsupported(
            "the document was saved without a merged picture: save it again with Maximize Compatibility"
        ) from error
    except _DAMAGE:
        file.seek(0)
        image = Image.open(file, formats=("PSD",))  # reads the merged picture alone, and stumbles over less
        image.load()
        return _Source(image, 1)
    if image is None:
        raise PhotoUnreadable("the document holds no picture")
    if Resource.ICC_PROFILE in document.image_resources:
        image.info["icc_profile"] = document.image_resources.get_data(Resource.ICC_PROFILE)
    return _Source(image, 1)


def _check_whole(document: psd_tools.PSDImage) -> None:
    """Refuse a document whose rows are cut off: psd_tools would fill them with black."""
    header, merged = document._record.header, document._record.image_data
    if merged.compression == Compression.RLE:
        row_counts = numpy.dtype(">u2" if header.version == 1 else ">u4")
        rows = header.height * header.channels
        promised = numpy.frombuffer(merged.data[: rows * row_counts.itemsize], row_counts)
        if promised.size < rows or len(merged.data) < promised.nbytes + promised.sum(dtype=numpy.int64):
            raise PhotoUnreadable(_TRUNCATED)


def _open_raw(file: BinaryIO, long_edge: int, max_pixels: int) -> _Source:
    """Take the camera's own preview where it is large enough, else develop, else any preview at all."""
    # LibRaw takes a name in UTF-8 only, which a file's name need not be; this one always is.
    with rawpy.imread(f"/proc/self/fd/{file.fileno()}") as raw:
        sizes = raw.sizes
        _check_size(sizes.raw_width, sizes.raw_height, max_pixels)
        sensor_edge = max(sizes.width, sizes.height)
        preview = _preview(raw, sizes, long_edge, max_pixels)
        if preview is not None and max(preview.image.size) >= min(long_edge, sensor_edge):
            return preview
        try:
            pixels = raw.postprocess(
                use_camera_wb=True,
                half_size=sensor_edge >= 2 * long_edge,
                output_color=rawpy.ColorSpace.sRGB,
                output_bps=8,
            )
        except (rawpy.LibRawError, rawpy.NotSupportedError):
            if preview is None:
                raise
            return preview
    return _Source(Image.fromarray(pixels), 1)  # LibRaw has turned it upright


def _preview(raw: rawpy.RawPy, sizes: rawpy.ImageSizes, long_edge: int, max_pixels: int) -> _Source | None:
    """Return the largest preview in a raw; None if there is none that can be read."""
    try:
        thumb = raw.extract_thumb()
        if isinstance(thumb.data, bytes):
            image: Image.Image = Image.open(io.BytesIO(thumb.data), formats=("JPEG",))
            _check_size(image.width, image.height, max_pixels)
            _load(image, long_edge)
        else:
            image = Image.fromarray(thumb.data)
    except _DAMAGE:
        return None  # the sensor's data are still there to be developed
    return _Source(image, _preview_orientation(image, sizes))


def _preview_orientation(image: Image.Image, sizes: rawpy.ImageSizes) -> int:
    orientation = _exif_orientation(image) or _ORIENTATION_OF_FLIP[sizes.flip & 7]
    turns_sideways = orientation >= 5
    lies_like_sensor = (image.width >= image.height) == (sizes.width >= sizes.height)
    if turns_sideways and not lies_like_sensor:
        return 1  # the camera has turned the preview already, and left the tag
    return orientation


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        megapixels, limit = width * height / 1e6, max_pixels / 1e6
        raise PhotoTooLarge(f"the photo has {megapixels:.4g} megapixels, more than the limit of {limit:g}")


def _load(image: Image.Image, long_edge: int) -> None:
    """Decode the pixels; a JPEG in the smallest of its scales (1/8, 1/4, 1/2, whole) that is large enough.

    Scaling in the decoding loses nothing that could be seen, and saves most of the time: docs/benchmarks.md
    has the figures. The short side has to be asked for as what it is, or the scale comes out twice too large.
    """
    scale = min(1.0, long_edge / max(image.size))
    image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
    image.load()


def _exif_orientation(image: Image.Image) -> int | None:
    """Return EXIF's orientation; None where there is none or where it makes no sense."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except _DAMAGE:
        return None  # broken metadata are no reason to refuse the picture
    return orientation if orientation in range(1, 9) else None


def _render(source: _Source, *, long_edge: int, quality: int) -> Picture:
    image, profile = source.image, source.image.info.get("icc_profile")
    image = eight_bits(image)
    scale = long_edge / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        # Bicubic: Lanczos takes half as long again, for a likeness within 0.4 dB (docs/benchmarks.md).
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    image = to_srgb(image, profile)
    if source.orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[source.orientation])
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True, progressive=False)
    return Picture(jpeg=buffer.getvalue(), width=image.width, height=image.height)


def _explained(error: Exception) -> TaggerError:
    """Say what an exception of the libraries or of the system means for the photo."""
    if isinstance(error, OSError) and error.errno is not None:
        return _explained_by_system(error)
    text = " ".join(str(error).split())
    if isinstance(error, EOFError | rawpy.LibRawIOError) or "truncated" in text.lower():
        return PhotoUnreadable(_TRUNCATED)
    return PhotoUnreadable(
        f"the picture is damaged and cannot be decoded ({text[:120] or type(error).__name__})"
    )


def _explained_by_system(error: OSError) -> TaggerError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return PhotoGone("the photo is no longer there")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PhotoUnreadable("the service may not read the file: give its user permission to")
    if error.errno in _ABSENT_FOLDER:
        return FolderUnavailable(f"the folder does not answer: {os.strerror(error.errno)}")
    return PhotoUnreadable(f"the file cannot be read from its disk: {os.strerror(error.errno or 0)}")
