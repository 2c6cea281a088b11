"""What may be told to a model about a photo besides the picture: few facts, in words, only trusted ones.

Models believe text more than their eyes (arXiv 2503.02199), so a fact that could be wrong is left out: no
season without a hemisphere, no part of day from a date alone, neither where a folder's date contradicts the
photo's. Coordinates and file names are never told, and nothing that a model wrote before.

All of it is foreign text. A value is validated, bounded and on one line, so that it can look neither like
another fact nor like a part of the prompt or of a server's template; one that could is left out, and not
repaired.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from tagger_daemon.model import Facts
from tagger_daemon.sentences import within
from tagger_daemon.vision.folders import Period, read_folders
from tagger_daemon.vision.plain import JOINERS, plain

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

MAX_NAME = 60  # characters: longer than nearly all names of places and people, and too short for a story
NAME_MARKS = frozenset(" '\u2019.\u00b7-\u2013()&/") | JOINERS  # both apostrophes, the Catalan dot, the dash
MAX_PLACE_NAMES = 4  # sublocation, city, state, country
MAX_PEOPLE = 10
MAX_FOLDERS = 4  # the innermost ones
MAX_KEYWORDS = 20
MAX_CAPTION = 300  # characters

#: How photo programs call those that nobody has named.
NOBODY = frozenset({"face", "ignored", "person", "unconfirmed", "unknown", "unknown person", "unnamed"})

LABELS = (
    *("Season", "Part of day", "Place", "People", "Folder", "Owner's keywords", "Owner's caption"),
    "Kind of shot",
)
#: Templates and markup are made of these; `<|im_end|>` in a caption would end the turn on some servers.
TEMPLATE_MARKS = frozenset("<>[]{}|`\\")
#: What would look like another line of ours, like somebody else's turn, or lead elsewhere.
FORGED = re.compile(
    r"://|www\.|facts about this|drafts by an"
    rf"|\b(?:{'|'.join(map(re.escape, LABELS))}|caption|keywords|task|system|user|assistant)\s?:",
    re.IGNORECASE,
)


def fact_lines(
    facts: Facts, *, hemisphere: Hemisphere | None = None, people: bool = True, places: bool = True
) -> tuple[str, ...]:
    """Return the facts as lines: `Season: …`, `Part of day: …`, `Place: …` and so on, as in `LABELS`.

    Args:
        hemisphere: where photos without a latitude are taken to be from; None: not known.
        people: whether names of people may be told.
        places: whether names of places may be told. A person's own words and names of folders may hold
            either; they are told only if both may be.

    Returns:
        Up to eight lines, in the order of `LABELS`; each is there only if it is known.
    """
    folders = read_folders(facts.folders)
    taken, period = _taken(facts.taken), folders.period
    if taken is not None:
        fits = period is None or _fits(taken, period)
        taken, period = (taken, _month_of(taken)) if fits else (None, None)
    place = _names(facts.place)[:MAX_PLACE_NAMES]
    named = [name for name in _names(facts.people) if name.casefold() not in NOBODY][:MAX_PEOPLE]
    # A name among the keywords would be taken for a thing that has to be seen somewhere.
    keywords = _names(facts.keywords, known=(*place, *named))[:MAX_KEYWORDS]
    values = (
        _season(period, facts.latitude, hemisphere),
        _part_of_day(taken),
        ", ".join(place) if places else "",
        ", ".join(named) if people else "",
        ", ".join(_names(folders.names)[-MAX_FOLDERS:]) if people and places else "",
        ", ".join(keywords) if people and places else "",
        _caption(facts.caption) if people and places else "",
        _kind_of_shot(facts),
    )
    return tuple(f"{label}: {value}" for label, value in zip(LABELS, values, strict=True) if value)


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


def _month_of(taken: datetime) -> Period:
    month = 12 * taken.year + taken.month - 1
    return Period(first=month, last=month)


def _fits(taken: datetime, period: Period) -> bool:
    """Tell whether a photo may be of these months, or of those beside them: journeys cross their ends.

    If it is not, one date is of something else: of a scan, of an unset clock, of the day of the import.
    """
    return period.first - 1 <= _month_of(taken).first <= period.last + 1


def _season(period: Period | None, latitude: float | None, hemisphere: Hemisphere | None) -> str:
    if latitude is not None and abs(latitude) <= 90:
        if abs(latitude) < TROPIC:
            return ""
        hemisphere = "north" if latitude > 0 else "south"
    if period is None or hemisphere is None:
        return ""
    seasons = {SEASONS[month % 12 + 1] for month in range(period.first, period.last + 1)}
    if len(seasons) > 1:
        return ""
    (season,) = seasons
    return season if hemisphere == "north" else OPPOSITE[season]


def _part_of_day(taken: datetime | None) -> str:
    # Midnight to the second means a date without a time much more often than a photo.
    if taken is None or _is_midnight(taken):
        return ""
    return next(name for until, name in PARTS_OF_DAY if taken.hour < until)


def _names(names: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """Return the usable ones of these names, each once, without those that are known."""
    seen = {name.casefold() for name in known}
    found: dict[str, str] = {}
    for name in map(plain, names):
        if _is_name(name) and name.casefold() not in seen:
            found.setdefault(name.casefold(), name)
    return list(found.values())


def _is_name(name: str) -> bool:
    """Tell whether this is spelt as names are: no markup, no labels, no lists, no stories."""
    spelt = all(unicodedata.category(letter)[0] in "LMN" or letter in NAME_MARKS for letter in name)
    is_word = any(letter.isalpha() for letter in name)
    return len(name) <= MAX_NAME and spelt and is_word and not FORGED.search(name)


def _caption(text: str | None) -> str:
    caption = within(plain(text or ""), MAX_CAPTION) or ""
    is_words = any(letter.isalpha() for letter in caption)
    return caption if is_words and not TEMPLATE_MARKS & set(caption) and not FORGED.search(caption) else ""


def _kind_of_shot(facts: Facts) -> str:
    kinds = []
    focal_length = facts.focal_length_35mm
    if focal_length is not None and 0 < focal_length < math.inf:
        kinds.append(next(view for below, view in VIEWS if focal_length < below))
    if facts.macro:
        kinds.append("macro")
    if facts.exposure_seconds is not None and LONG_EXPOSURE <= facts.exposure_seconds < math.inf:
        kinds.append("long exposure")
    if facts.flash_fired:
        kinds.append("with flash")
    return ", ".join(kinds)
