"""From the bytes of a picture to the array that is looked at."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageOps

from tagger_daemon.vision.builtin.colours import Pixels
from tagger_daemon.vision.builtin.refusals import Refusal

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 40_000_000  # more than twice the largest picture that the daemon sends (4096 x 4096)
EDGE = 512  # longer side of the array, pixels: the scale that focus and layout are judged at

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def decode(data: bytes) -> Pixels:
    """Decode a picture, upright, its longer side at most `EDGE`.

    Returns:
        sRGB bytes of shape (height, width, 3). A colour profile is not applied: senders are asked for sRGB.

    Raises:
        Refusal: not a picture of a known format, a damaged one, one of too many pixels, or one with more
            than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image)
            image.thumbnail((EDGE, EDGE), Image.Resampling.BILINEAR)
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many() from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:  # what Pillow's plugins raise
        raise Refusal(
            "The image cannot be decoded; send a whole JPEG, PNG or WebP file.", param="messages"
        ) from error


def _check(image: Image.Image) -> None:
    """Refuse what must not, or cannot properly, be decoded. Only the header has been read by now."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_many()
    if image.mode not in _EIGHT_BIT_MODES:
        raise Refusal("The image has more than 8 bits a channel; send 8.", param="messages")


def _too_many() -> Refusal:
    return Refusal(f"The image has more than {MAX_PIXELS // 1_000_000} megapixels.", param="messages")
