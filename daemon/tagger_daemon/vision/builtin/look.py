"""Looks at a picture and tells what can be seen without knowing what it shows.

Pure: pixels in, an `Observation` out. Each threshold stands where it is used; those without a source were
set on drawn pictures, and on photographs, sharp and blurred by known amounts.
"""

from __future__ import annotations

import numpy as np

from tagger_daemon.vision.builtin.colours import Floats, Pixels, chroma, shares, to_lab
from tagger_daemon.vision.builtin.observation import (
    Contrast,
    Density,
    Division,
    Focus,
    Light,
    Observation,
    Shape,
    Spot,
    Toning,
    Vividness,
    Warmth,
)


def observe(pixels: Pixels) -> Observation:
    """Look at one picture.

    Args:
        pixels: sRGB bytes of shape (height, width, 3), upright, the longer side at most about 512: focus is
            judged at the scale that it is given.

    Raises:
        ValueError: the array has another shape, or no pixels.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"a picture has the shape (height, width, 3), not {pixels.shape}")
    lab = to_lab(pixels)
    lightness = lab[..., 0]
    toning = _toning(lab)
    division, divided_at = _division(lightness)
    return Observation(
        shape=_shape(pixels.shape[1], pixels.shape[0]),
        colours=_colours(lab, toning),
        toning=toning,
        warmth=_warmth(lab),
        vividness=_vividness(pixels),
        light=_light(lightness),
        contrast=_contrast(lightness),
        focus=_focus(lightness),
        division=division,
        divided_at=divided_at,
        spot=_spot(lightness),
        density=_density(lightness),
        symmetric=_symmetric(lightness),
    )


def _shape(width: int, height: int) -> Shape:
    if width >= 2 * height:
        return Shape.PANORAMA
    if height >= 2 * width:
        return Shape.TALL
    if max(width, height) <= 1.05 * min(width, height):
        return Shape.SQUARE
    return Shape.LANDSCAPE if width > height else Shape.PORTRAIT


def _colours(lab: Floats, toning: Toning) -> tuple[str, ...]:
    """Name up to three colours that cover a tenth of the frame, and the largest in any case.

    In a black-and-white picture only the neutrals are named: a trace of hue is noise there.
    """
    if toning is Toning.BLACK_AND_WHITE:
        lab = lab * np.array([1.0, 0.0, 0.0])
    ranked = shares(lab)
    return tuple(name for place, (name, share) in enumerate(ranked.items()) if place == 0 or share >= 0.1)[:3]


def _toning(lab: Floats) -> Toning:
    """Tell colour from black-and-white, and from a picture in many lightnesses of one hue.

    Chroma under 4 is not seen as colour in a photograph; 98 of 100 pixels must stay below it.
    """
    strength = chroma(lab)
    if np.percentile(strength, 98) < 4:
        return Toning.BLACK_AND_WHITE
    if np.median(strength) < 6 or lab[..., 0].std() < 8:
        return Toning.COLOUR
    vectors = lab[..., 1] + 1j * lab[..., 2]
    mean = vectors.sum() / strength.sum()  # length 1: every pixel has the same hue
    if abs(mean) < 0.97:
        return Toning.COLOUR
    hue = np.degrees(np.angle(mean)) % 360
    toned_brown = 40 <= hue <= 95 and np.percentile(strength, 98) < 45
    return Toning.SEPIA if toned_brown else Toning.ONE_HUE


def _warmth(lab: Floats) -> Warmth:
    """Weigh warm hues (red to yellow) against cool ones (green-blue to violet); near-greys do not count."""
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    coloured = chroma(lab) > 9
    warm = float((coloured & ((hue < 100) | (hue > 345))).mean())
    cool = float((coloured & (hue > 170) & (hue < 320)).mean())
    if warm + cool < 0.2:
        return Warmth.NEITHER
    if warm >= 0.15 and cool >= 0.15:
        return Warmth.BOTH
    return Warmth.WARM if warm > cool else Warmth.COOL


def _vividness(pixels: Pixels) -> Vividness:
    """Rate colourfulness by M3 of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003).

    Their observers called 15 slightly, 33 moderately, 59 quite colourful.
    """
    red, green, blue = (pixels[..., channel].astype(np.float64) for channel in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    colourfulness = spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
    if colourfulness >= 59:
        return Vividness.VIVID
    return Vividness.MUTED if colourfulness < 20 else Vividness.NATURAL


def _light(lightness: Floats) -> Light:
    """Judge by the spread of L*: a key is high (low) when hardly anything is dark (light)."""
    low, middle, high = np.percentile(lightness, [10, 50, 90])
    mean = lightness.mean()
    if middle >= 82 and low >= 55:
        return Light.HIGH_KEY
    if middle <= 22 and high <= 55:
        return Light.LOW_KEY
    if mean >= 65:
        return Light.BRIGHT
    return Light.DARK if mean <= 33 else Light.MEDIUM


def _contrast(lightness: Floats) -> Contrast:
    low, high = np.percentile(lightness, [5, 95])
    if high - low >= 80:
        return Contrast.HARD
    return Contrast.SOFT if high - low <= 40 else Contrast.MEDIUM


def _focus(lightness: Floats) -> Focus:
    """Judge the crispest tenth of the frame by its Laplacian's variance over its own variance.

    The variance of the Laplacian is Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy"
    (2000). Dividing by the tile's variance keeps a low contrast from passing for blur, and judging the
    crispest tiles keeps a blurred background from passing for a blurred picture.
    """
    laplacian = (
        lightness[:-2, 1:-1] + lightness[2:, 1:-1] + lightness[1:-1, :-2] + lightness[1:-1, 2:]
    ) - 4 * lightness[1:-1, 1:-1]
    tiles = _tile_variances(lightness[1:-1, 1:-1], 32)
    telling = tiles > 16  # variance of L*: flatter tiles hold noise, not detail
    if not telling.any():
        return Focus.UNCLEAR
    crispness = np.percentile((_tile_variances(laplacian, 32)[telling] / tiles[telling]), 90)
    if crispness >= 0.2:
        return Focus.SHARP
    return Focus.BLURRED if crispness < 0.04 else Focus.SOFT


def _tile_variances(plane: Floats, side: int) -> Floats:
    """Return the variance of each whole square tile, flat; empty where the plane is smaller than a tile."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    tiles = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(tiles.var(axis=(1, 3))).ravel()


def _division(lightness: Floats) -> tuple[Division, float]:
    """Find the strongest meeting of a light and a dark area: across, upright, or edges against centre."""
    total = float(lightness.var())
    if total < 25:
        return Division.NONE, 0.5
    across, row, above = _best_split(lightness.mean(axis=1))
    upright, column, left = _best_split(lightness.mean(axis=0))
    ringed, centre = _ring(lightness)
    explained = max(across, upright, ringed) / total  # share of the variance that the two areas account for
    if explained < 0.35:
        return Division.NONE, 0.5
    if ringed >= max(across, upright):
        return (Division.BRIGHT_CENTRE if centre > 0 else Division.BRIGHT_EDGES), 0.5
    if across >= upright:
        return (Division.BRIGHT_ABOVE if above > 0 else Division.BRIGHT_BELOW), row
    return (Division.BRIGHT_LEFT if left > 0 else Division.BRIGHT_RIGHT), column


def _best_split(profile: Floats) -> tuple[float, float, float]:
    """Split a profile in two as Otsu (1979) splits a histogram, with a fifth left on either side at least.

    Returns:
        The variance between the two parts, where the cut lies (0..1), and by how much the first is lighter.
    """
    length = len(profile)
    cuts = np.arange(max(1, length // 5), length - length // 5)
    if len(cuts) == 0:
        return 0.0, 0.5, 0.0
    sums = np.cumsum(profile)
    first = sums[cuts - 1] / cuts
    second = (sums[-1] - sums[cuts - 1]) / (length - cuts)
    between = cuts * (length - cuts) / length**2 * (first - second) ** 2
    best = int(np.argmax(between))
    return float(between[best]), float(cuts[best] / length), float(first[best] - second[best])


def _ring(lightness: Floats) -> tuple[float, float]:
    """Return the variance between the frame's middle (half of each side) and the rest, and the difference."""
    height, width = lightness.shape
    inner = np.zeros(lightness.shape, dtype=bool)
    inner[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    share = inner.mean()
    if share == 1:
        return 0.0, 0.0
    difference = float(lightness[inner].mean() - lightness[~inner].mean())
    return float(share * (1 - share) * difference**2), difference


def _steps(lightness: Floats) -> Floats:
    """Return how strongly L* changes at each pixel: the gradient's length, in L* a pixel."""
    down = np.diff(lightness, axis=0, append=lightness[-1:])
    right = np.diff(lightness, axis=1, append=lightness[:, -1:])
    return np.asarray(np.hypot(down, right))


def _spot(lightness: Floats) -> Spot:
    """Find the third of the frame, or the middle, that holds well over its fair share of the detail."""
    steps = np.where(_steps(lightness) > 3, 1.0, 0.0)
    if steps.mean() < 0.002:
        return Spot.NOWHERE
    steps /= steps.sum()
    height, width = steps.shape
    middle = steps[height // 4 : height - height // 4, width // 4 : width - width // 4].sum()
    thirds = {
        Spot.LEFT: steps[:, : width // 3].sum(),
        Spot.RIGHT: steps[:, width - width // 3 :].sum(),
        Spot.UPPER: steps[: height // 3].sum(),
        Spot.LOWER: steps[height - height // 3 :].sum(),
    }
    if middle > 0.5:  # a quarter of the frame
        return Spot.CENTRE
    spot, share = max(thirds.items(), key=lambda item: item[1])
    return spot if share > 0.55 else Spot.SPREAD


def _density(lightness: Floats) -> Density:
    """Judge by the share of pixels where something changes, and of 16-pixel tiles where nothing does."""
    tiles = _tile_variances(lightness, 16)
    if (len(tiles) == 0 and lightness.var() < 2) or (len(tiles) > 0 and (tiles < 2).mean() > 0.6):
        return Density.EMPTY
    changing = float((_steps(lightness) > 5).mean())
    if changing > 0.3:
        return Density.BUSY
    return Density.PLAIN if changing < 0.06 else Density.MEDIUM


def _symmetric(lightness: Floats) -> bool:
    """Tell whether the left half mirrors the right, beyond what every picture of level bands does.

    Each row's mean is taken out first: a sky over a sea is no mirror image.
    """
    residue = lightness - lightness.mean(axis=1, keepdims=True)
    if residue.std() < 5:
        return False
    return float((residue * residue[:, ::-1]).mean() / residue.var()) > 0.85
