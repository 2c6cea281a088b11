"""What may be told to a model about a photo besides the picture: few facts, in words, only trusted ones.

Models believe text more than their eyes (arXiv 2503.02199), so a fact that could be wrong is left out: no
season without a hemisphere, no part of day from a date alone. Coordinates and file names are never told.
"""

from __future__ import annotations

import math
import unicodedata
from datetime import datetime
from typing import Literal

from tagger_daemon.model import Facts
from tagger_daemon.vision.plain import plain

Hemisphere = Literal["north", "south"]

#: The oldest photograph that is left to us was taken in 1826 or 1827; older dates are slips.
FIRST_PHOTO = 1826

#: Between the tropics, the four seasons say little about a photo. Degrees.
TROPIC = 23.4

#: Meteorological seasons of the north, by month.
SEASONS = {
    **dict.fromkeys((12, 1, 2), "winter"),
    **dict.fromkeys((3, 4, 5), "spring"),
    **dict.fromkeys((6, 7, 8), "summer"),
    **dict.fromkeys((9, 10, 11), "autumn"),
}
OPPOSITE = {"winter": "summer", "spring": "autumn", "summer": "winter", "autumn": "spring"}

#: Part of day up to, and without, this hour of local time; what follows the last is night again.
PARTS_OF_DAY = (
    (5, "night"),
    (7, "early morning"),
    (11, "morning"),
    (14, "midday"),
    (18, "afternoon"),
    (22, "evening"),
    (24, "night"),
)

#: Kind of view below this focal length, in millimetres as on full-frame film: the trade's usual borders.
VIEWS = ((24, "ultra-wide view"), (36, "wide-angle view"), (70, "normal view"), (math.inf, "telephoto view"))

LONG_EXPOSURE = 1.0  # seconds: moving things are smeared

MAX_PLACE_NAME = 60  # characters: longer than nearly all place names, and too short for a story
PLACE_MARKS = frozenset(" '\u2019.\u00b7-\u2013()&/")  # both apostrophes, the Catalan dot, the dash
MAX_PLACE_NAMES = 4  # sublocation, city, state, country


def fact_lines(facts: Facts, *, hemisphere: Hemisphere | None = None) -> tuple[str, ...]:
    """Return the facts as lines: `Season: …`, `Part of day: …`, `Place: …`, `Kind of shot: …`.

    Args:
        hemisphere: where photos without a latitude are taken to be from; None: not known.

    Returns:
        Up to four lines, in this order; each is there only if it is known.
    """
    taken = _taken(facts.taken)
    lines = (
        ("Season", _season(taken, facts.latitude, hemisphere)),
        ("Part of day", _part_of_day(taken)),
        ("Place", _place(facts.place)),
        ("Kind of shot", _kind_of_shot(facts)),
    )
    return tuple(f"{label}: {value}" for label, value in lines if value)


def _taken(text: str | None) -> datetime | None:
    """Return the moment of the exposure, unless it is missing, impossible or a camera's unset clock."""
    try:
        taken = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    # New Year at the stroke of midnight is what an unset clock and a scan of unknown date say.
    unset = (taken.month, taken.day) == (1, 1) and _is_midnight(taken)
    return None if taken.year < FIRST_PHOTO or unset else taken


def _is_midnight(taken: datetime) -> bool:
    return (taken.hour, taken.minute, taken.second) == (0, 0, 0)


def _season(taken: datetime | None, latitude: float | None, hemisphere: Hemisphere | None) -> str:
    if latitude is not None and abs(latitude) <= 90:
        if abs(latitude) < TROPIC:
            return ""
        hemisphere = "north" if latitude > 0 else "south"
    if taken is None or hemisphere is None:
        return ""
    season = SEASONS[taken.month]
    return season if hemisphere == "north" else OPPOSITE[season]


def _part_of_day(taken: datetime | None) -> str:
    # Midnight to the second means a date without a time much more often than a photo.
    if taken is None or _is_midnight(taken):
        return ""
    return next(name for until, name in PARTS_OF_DAY if taken.hour < until)


def _place(names: tuple[str, ...]) -> str:
    usable = [name for name in map(plain, names) if _is_place_name(name)]
    distinct = {name.casefold(): name for name in reversed(usable)}
    return ", ".join(list(reversed(distinct.values()))[:MAX_PLACE_NAMES])


def _is_place_name(name: str) -> bool:
    """Tell whether this is spelt as places are: no markup, no labels, no lists, no stories."""
    spelt = all(unicodedata.category(letter)[0] in "LMN" or letter in PLACE_MARKS for letter in name)
    return 0 < len(name) <= MAX_PLACE_NAME and spelt and any(letter.isalpha() for letter in name)


def _kind_of_shot(facts: Facts) -> str:
    kinds = []
    focal_length = facts.focal_length_35mm
    if focal_length is not None and 0 < focal_length < math.inf:
        kinds.append(next(view for below, view in VIEWS if focal_length < below))
    if facts.exposure_seconds is not None and LONG_EXPOSURE <= facts.exposure_seconds < math.inf:
        kinds.append("long exposure")
    if facts.flash_fired:
        kinds.append("with flash")
    return ", ".join(kinds)
