"""What people call a colour: pixels to CIELAB, CIELAB to one of thirteen plain English names.

Sources: IEC 61966-2-1 for sRGB's transfer curve and primaries; CIE 15:2018 for L*a*b* under D65; for the
names, the colour survey of 222,500 people published at https://xkcd.com/color/rgb.txt (2010, CC0). The
survey's finer names are gathered under the eleven basic terms of Berlin and Kay (1969), plus turquoise
and beige.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

NEUTRAL_CHROMA = 9.0  # C*ab under which a pixel is called black, grey or white
BLACK_BELOW = 18.0  # L* of a neutral pixel
WHITE_ABOVE = 88.0  # L* of a neutral pixel
LIGHTLESS = 7.0  # L* under which any pixel is black, whatever its chroma

_SRGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float64
)
_D65 = np.array([0.9505, 1.0, 1.0890], dtype=np.float64)

# Plain name: the survey's colours that go by it (red, dark red, deep red, brick red, crimson; and so on).
_SURVEY = {
    "red": "e50000 840000 9a0200 8f1402 8c000f d9544d",
    "orange": "f97306 c65102 fdaa48 ff9408 cb7723 ca6641",
    "yellow": "ffff14 d5b60a fffe7a ceb301 fac205 dbb40c",
    "green": "15b01a 033500 96f97b 76cd26 769958 677a04 4b5d16 82a67d b0dd16 2b5d34",
    "turquoise": "06c2ac 029386 04d8b2 014d4e 7ef4cc 0b8b87 0a888a",
    "blue": "0343df 00035b 95d0fc 75bbfd 01153e 5b7c99 03719c 6b8ba4 29465b b7c9e2 6a79f7 8f99fb",
    "purple": "7e1e9c 35063e bf77f6 c79fef 887191 856798 380282",
    "pink": "ff81c0 cb416b ffd1df ff796c c0737a c20078 fe01b1 ffcfdc",
    "brown": "653700 341c02 ad8150 7f2b0a 8b2e16 a9561e 696112 836539 7f7053 6b4247",
    "beige": "e6daa6 d1b26f ac9362 b9a281 ffffc2 ffd8b1 ffffd4",
}
_NEUTRALS = ("black", "grey", "white")

NAMES: tuple[str, ...] = (*_NEUTRALS, *_SURVEY)


def to_lab(pixels: Pixels) -> Floats:
    """Turn sRGB bytes of shape (..., 3) into CIELAB of the same shape: L* 0..100, a*, b*."""
    encoded = pixels.astype(np.float64) / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ _SRGB_TO_XYZ.T) / _D65
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def chroma(lab: Floats) -> Floats:
    """Return C*ab, the distance from grey, of CIELAB values of shape (..., 3)."""
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def shares(lab: Floats) -> dict[str, float]:
    """Return what share of the pixels goes by each name: largest first, names that do not occur left out.

    `lab` has the shape (..., 3). Ties keep the order of `NAMES`, so that the answer never varies.
    """
    flat = lab.reshape(-1, 3)
    counts = np.bincount(_name_indices(flat), minlength=len(NAMES)) / len(flat)
    order = sorted(range(len(NAMES)), key=lambda index: (-counts[index], index))
    return {NAMES[index]: float(counts[index]) for index in order if counts[index] > 0}


def _name_indices(flat: Floats) -> NDArray[np.intp]:
    """Return for each CIELAB row the index of its name: neutrals by lightness, others by nearest anchor."""
    anchors, owners = _anchors()
    squared = (
        (flat**2).sum(axis=1, keepdims=True) - 2 * flat @ anchors.T + (anchors**2).sum(axis=1)
    )  # |p - a|^2, written out so that no (pixels, anchors, 3) array is needed
    named = owners[np.argmin(squared, axis=1)]
    lightness = flat[:, 0]
    neutral = np.digitize(lightness, [BLACK_BELOW, WHITE_ABOVE])
    named = np.where(chroma(flat) < NEUTRAL_CHROMA, neutral, named)
    return np.where(lightness < LIGHTLESS, _NEUTRALS.index("black"), named)


def _anchors() -> tuple[Floats, NDArray[np.intp]]:
    """Return the survey's colours in CIELAB, and for each the index of the plain name it belongs to."""
    codes = [(name, code) for name, many in _SURVEY.items() for code in many.split()]
    rgb = np.array([list(bytes.fromhex(code)) for _, code in codes], dtype=np.uint8)
    return to_lab(rgb), np.array([NAMES.index(name) for name, _ in codes], dtype=np.intp)
