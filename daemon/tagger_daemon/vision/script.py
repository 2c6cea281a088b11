"""In which writing a text is, and whether that is the one of the language that was asked for."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache
from typing import Final

from babel.core import get_global

#: How Unicode's names of letters begin, by the script that a language is written in (ISO 15924).
_LETTERS: Final = {
    "Arab": ("ARABIC",),
    "Armn": ("ARMENIAN",),
    "Beng": ("BENGALI",),
    "Cyrl": ("CYRILLIC",),
    "Deva": ("DEVANAGARI",),
    "Ethi": ("ETHIOPIC",),
    "Geor": ("GEORGIAN",),
    "Grek": ("GREEK",),
    "Gujr": ("GUJARATI",),
    "Guru": ("GURMUKHI",),
    "Hang": ("HANGUL", "CJK"),
    "Hans": ("CJK",),
    "Hant": ("CJK", "BOPOMOFO"),
    "Hebr": ("HEBREW",),
    "Jpan": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "Khmr": ("KHMER",),
    "Knda": ("KANNADA",),
    "Kore": ("HANGUL", "CJK"),
    "Laoo": ("LAO",),
    "Latn": ("LATIN",),
    "Mlym": ("MALAYALAM",),
    "Mymr": ("MYANMAR",),
    "Sinh": ("SINHALA",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Thai": ("THAI",),
    "Tibt": ("TIBETAN",),
}
_LATIN: Final = "LATIN"

#: Share of letters in other scripts that names and quoted signs may have. Latin ones are found all over the
#: world, on shops and cars.
MOST_FOREIGN: Final = 0.3
MOST_LATIN: Final = 0.5


def is_foreign(text: str, language: str) -> bool:
    """Tell whether too much of a text is in another script than its language is written in.

    Args:
        language: BCP 47; one whose script is not known here is never foreign.
    """
    expected = _LETTERS.get(_script(language))
    if expected is None:
        return False
    found = Counter(_writing(letter) for letter in text if letter.isalpha())
    foreign = {writing: times for writing, times in found.items() if writing not in expected}
    latin = foreign.pop(_LATIN, 0)
    return sum(foreign.values()) > MOST_FOREIGN * found.total() or latin > MOST_LATIN * found.total()


def is_english(language: str) -> bool:
    """Tell whether a BCP 47 tag means English."""
    return language.casefold().split("-")[0] == "en"


@cache
def _script(language: str) -> str:
    """Return the ISO 15924 code: that of the tag, or the likeliest by Unicode's CLDR; empty if unknown."""
    code, *parts = language.split("-")
    named = next((part.title() for part in parts if len(part) == 4 and part.isalpha()), "")
    region = next((part.upper() for part in parts if len(part) == 2), "")
    likely = get_global("likely_subtags")
    full = likely.get(f"{code.casefold()}_{region}") or likely.get(code.casefold()) or ""
    return named or next(iter(full.split("_")[1:2]), "")


@cache
def _writing(letter: str) -> str:
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return name.split(" ")[0]
