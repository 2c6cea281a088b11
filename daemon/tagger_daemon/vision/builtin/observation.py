"""What can be said of a picture without knowing its subject: shape, colour, light, focus, layout."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tagger_daemon.model import Value


class Shape(StrEnum):
    """The frame. Nearly square counts as square; from 2:1 on it is a panorama."""

    LANDSCAPE = "landscape"
    PORTRAIT = "portrait"
    SQUARE = "square"
    PANORAMA = "panorama"
    TALL = "tall"


class Toning(StrEnum):
    """How much hue there is at all."""

    COLOUR = "colour"
    BLACK_AND_WHITE = "black-and-white"
    SEPIA = "sepia"
    ONE_HUE = "one hue"  # many lightnesses of a single hue


class Warmth(StrEnum):
    """Which side of the colour circle prevails."""

    WARM = "warm"
    COOL = "cool"
    BOTH = "both"  # warm and cool side by side, in plenty
    NEITHER = "neither"


class Vividness(StrEnum):
    """Colourfulness as a person would rate it."""

    VIVID = "vivid"
    NATURAL = "natural"
    MUTED = "muted"


class Light(StrEnum):
    """How light the picture is as a whole."""

    HIGH_KEY = "high-key"
    BRIGHT = "bright"
    MEDIUM = "medium"
    DARK = "dark"
    LOW_KEY = "low-key"


class Contrast(StrEnum):
    """How far the light and the dark tones lie apart."""

    HARD = "hard"
    MEDIUM = "medium"
    SOFT = "soft"


class Focus(StrEnum):
    """Whether the finest detail in the picture is crisp."""

    SHARP = "sharp"
    SOFT = "soft"
    BLURRED = "blurred"
    UNCLEAR = "unclear"  # there is no detail to judge by


class Division(StrEnum):
    """Large areas of light and dark against each other."""

    NONE = "none"
    BRIGHT_ABOVE = "bright above"
    BRIGHT_BELOW = "bright below"
    BRIGHT_LEFT = "bright left"
    BRIGHT_RIGHT = "bright right"
    BRIGHT_EDGES = "bright edges"
    BRIGHT_CENTRE = "bright centre"


class Spot(StrEnum):
    """Where most of the detail sits."""

    NOWHERE = "nowhere"
    SPREAD = "spread"
    CENTRE = "centre"
    LEFT = "left"
    RIGHT = "right"
    UPPER = "upper"
    LOWER = "lower"


class Density(StrEnum):
    """How much goes on in the frame."""

    EMPTY = "empty"  # most of the frame has no detail at all
    PLAIN = "plain"
    MEDIUM = "medium"
    BUSY = "busy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation(Value):
    """What was seen. Holds nothing that the pixels do not show."""

    shape: Shape
    colours: tuple[str, ...]  # plain names of the prevailing colours, largest area first; never empty
    toning: Toning
    warmth: Warmth
    vividness: Vividness
    light: Light
    contrast: Contrast
    focus: Focus
    division: Division
    divided_at: float  # where the two areas meet, 0..1 from the top or the left; 0.5 without a division
    spot: Spot
    density: Density
    symmetric: bool  # the left half mirrors the right
