"""Bring pixels of any mode and colour space to 8-bit sRGB: pictures in, pictures out."""

from __future__ import annotations

import io

import numpy
from PIL import Image, ImageCms

_READY = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


def eight_bits(image: Image.Image) -> Image.Image:
    """Return the picture in one of the modes L, LA, RGB, RGBA, CMYK, in the colour space that it had.

    16-bit greys keep their scale; 32-bit ones, which have none, are stretched from darkest to brightest.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((numpy.asarray(image) >> 8).astype(numpy.uint8))
    if image.mode in ("I", "F"):
        return _stretched(image)
    if image.mode in _READY and "transparency" not in image.info:
        return image
    if image.mode == "LAB":
        return _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an RGB picture in sRGB, transparency laid on white, without any `info`.

    Args:
        image: in one of the modes that `eight_bits` returns.
        profile: its ICC profile. One that is broken, or made for another mode, counts as none: then the
            numbers are taken as sRGB, as viewers do.
    """
    opaque = image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))
    converted = _profiled(opaque, profile) if profile else opaque.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(converted, mask=image.getchannel("A") if "A" in image.mode else None)
    return page


def _profiled(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        return _transformed(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")


def _transformed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.PERCEPTUAL,
        outputMode="RGB",
    )
    assert converted is not None  # None is for changes in place only
    return converted


def _stretched(image: Image.Image) -> Image.Image:
    values = numpy.nan_to_num(numpy.asarray(image, dtype=numpy.float64), posinf=0.0, neginf=0.0)
    darkest, brightest = float(numpy.min(values)), float(numpy.max(values))
    span = (brightest - darkest) or 1.0
    return Image.fromarray(((values - darkest) / span * 255).astype(numpy.uint8))
