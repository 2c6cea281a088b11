"""Keywords for an observation and its facts, best first. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterator

from tagger_daemon.vision.builtin.observation import (
    Contrast,
    Density,
    Focus,
    Light,
    Observation,
    Shape,
    Spot,
    Toning,
    Vividness,
    Warmth,
)
from tagger_daemon.vision.builtin.prompt import MOST_KEYWORDS, Told

FEWEST_KEYWORDS = 8  # where the prompt allows as many

_TONING = {Toning.BLACK_AND_WHITE: "black and white", Toning.SEPIA: "sepia"}
_WARMTH = {
    Warmth.WARM: "warm colours",
    Warmth.COOL: "cool colours",
    Warmth.BOTH: "warm and cool colours",
    Warmth.NEITHER: "balanced colours",
}
_VIVIDNESS = {
    Vividness.VIVID: "vivid colours",
    Vividness.NATURAL: "natural colours",
    Vividness.MUTED: "muted colours",
}
_LIGHT = {
    Light.HIGH_KEY: "high key",
    Light.BRIGHT: "bright",
    Light.MEDIUM: "balanced light",
    Light.DARK: "dark",
    Light.LOW_KEY: "low key",
}
_CONTRAST = {
    Contrast.HARD: "high contrast",
    Contrast.MEDIUM: "moderate contrast",
    Contrast.SOFT: "low contrast",
}
_FOCUS = {Focus.SHARP: "sharp detail", Focus.SOFT: "soft focus", Focus.BLURRED: "blurred"}
_DENSITY = {
    Density.EMPTY: "empty space",
    Density.PLAIN: "plain",
    Density.MEDIUM: "moderate detail",
    Density.BUSY: "busy",
}
_SPOT = {
    Spot.NOWHERE: "no detail",
    Spot.SPREAD: "detail throughout",
    Spot.CENTRE: "centred",
    Spot.LEFT: "detail on the left",
    Spot.RIGHT: "detail on the right",
    Spot.UPPER: "detail at the top",
    Spot.LOWER: "detail at the bottom",
}
_SHAPE = {
    Shape.LANDSCAPE: "landscape format",
    Shape.PORTRAIT: "portrait format",
    Shape.SQUARE: "square format",
    Shape.PANORAMA: "panoramic format",
    Shape.TALL: "tall format",
}


def keywords(seen: Observation, told: Told, most: int = MOST_KEYWORDS) -> tuple[str, ...]:
    """Return up to `most` keywords: at least `FEWEST_KEYWORDS` where `most` allows.

    What is ordinary about a picture is named only where too little is telling.
    """
    aspects = list(_aspects(seen))
    telling = [*_colours(seen), *_facts(told), *(word for word, tells in aspects if tells)]
    ordinary = [word for word, tells in aspects if not tells]
    found = list(dict.fromkeys(telling))
    missing = max(0, FEWEST_KEYWORDS - len(found))
    return tuple([*found, *ordinary[:missing]][:most])


def _colours(seen: Observation) -> tuple[str, ...]:
    return (_TONING[seen.toning],) if seen.toning in _TONING else seen.colours


def _facts(told: Told) -> Iterator[str]:
    yield from told.place
    yield from (word for word in (told.season, told.part_of_day) if word)
    yield from (kind.removeprefix("with ") for kind in told.kinds)


def _aspects(seen: Observation) -> Iterator[tuple[str, bool]]:
    """Yield a keyword for each aspect, best first, and whether it tells this picture from an ordinary one."""
    if seen.toning is Toning.COLOUR:
        yield _WARMTH[seen.warmth], seen.warmth is not Warmth.NEITHER
        yield _VIVIDNESS[seen.vividness], seen.vividness is not Vividness.NATURAL
    else:
        yield "monochrome", seen.toning is Toning.ONE_HUE
    yield _LIGHT[seen.light], seen.light is not Light.MEDIUM
    yield _CONTRAST[seen.contrast], seen.contrast is not Contrast.MEDIUM
    if seen.focus in _FOCUS:
        yield _FOCUS[seen.focus], seen.focus is not Focus.SHARP
    yield _DENSITY[seen.density], seen.density is not Density.MEDIUM
    if seen.symmetric:
        yield "symmetry", True
    yield _SPOT[seen.spot], seen.spot not in (Spot.NOWHERE, Spot.SPREAD)
    yield _SHAPE[seen.shape], True
    if seen.toning in _TONING:
        yield from ((colour, False) for colour in seen.colours)
    elif len(seen.colours) == 1:
        yield "one main colour", False
