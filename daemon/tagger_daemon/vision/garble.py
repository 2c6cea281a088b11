"""Tells when a text is broken: characters that a wrong decoding left, and runs of what is no writing."""

from __future__ import annotations

import re
from typing import Final

#: A replacement or private-use character where a letter was. Elsewhere they are dropped, and nothing is lost.
_HOLE: Final = re.compile(r"\w[\ufffd\ue000-\uf8ff]|[\ufffd\ue000-\uf8ff]\w")
#: UTF-8 that was read as Windows-1252 or Latin-1: two or three odd characters for each letter.
_MOJIBAKE: Final = re.compile(
    "\u00c3[\u0080-\u00bf\u0192\u201a-\u2122]|\u00c2[\u0080-\u00bf]|\u00e2[\u0080-\u009f\u20ac]"
    "|\u00ef\u00bf\u00bd|\u00f0\u0178|(?:[\u00d0\u00d1][\u0080-\u00bf\u2018-\u2122]){2}"
)
#: Beyond what any writing does: marks on end, and an unbroken run of Latin letters and digits.
_SYMBOLS: Final = re.compile(r"(?:[^\w\s]|_){8,}")
_LUMP: Final = re.compile(r"[A-Za-z0-9]{46,}")  # the longest word in an English dictionary has 45

#: At least so much of a text that is longer than a few words is letters, marks that belong to them included.
_FEWEST_LETTERS: Final = 0.5
_FEW: Final = 20  # characters


def is_garbled(text: str) -> bool:
    """Tell whether a text, as it came from the model, is mangled, or has runs of what is no writing."""
    return any(broken.search(text) for broken in (_HOLE, _MOJIBAKE, _SYMBOLS, _LUMP))


def is_noise(text: str) -> bool:
    """Tell whether less than half of a text of more than a few words is letters."""
    written = [letter for letter in text if not letter.isspace()]
    # Marks of Indic scripts and Arabic are no letters by themselves.
    letters = sum(letter.isalpha() or not letter.isascii() for letter in written)
    return len(written) > _FEW and letters < _FEWEST_LETTERS * len(written)
