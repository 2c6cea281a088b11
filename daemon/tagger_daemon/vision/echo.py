"""Tells when a model says back what it was told, whatever the profile says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

#: Words, and single characters of the scripts that put no blanks between them.
_TOKEN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]|\w+")

#: So many words in a row, taken from the instruction, are no accident.
RUN: Final = 7
#: Shorter runs count together: an answer that consists of them by half is a collage of the instruction. One
#: or two of them are what anybody says: "in the photo", "from left to right".
PHRASE: Final = 3
MOST_TAKEN: Final = 0.5
FEWEST_TAKEN: Final = 6


def is_echo(text: str, instruction: str) -> bool:
    """Tell whether an answer is made of the instruction: seven words of it in a row; or at least half of the
    answer, and six words, in phrases of three words or more; or nothing but such phrases.
    """
    words, told = _tokens(text), _tokens(instruction)
    if len(words) < PHRASE or not told:
        return False
    if _phrases(words, RUN) & _told(told, RUN):
        return True
    known = _told(told, PHRASE)
    taken: set[int] = set()
    for start in range(len(words) - PHRASE + 1):
        if words[start : start + PHRASE] in known:
            taken.update(range(start, start + PHRASE))
    is_collage = len(taken) >= max(MOST_TAKEN * len(words), FEWEST_TAKEN)
    return is_collage or len(taken) == len(words)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text.casefold()))


@lru_cache(maxsize=16)  # a run of the service has one profile: two lengths for each of three stages
def _told(words: tuple[str, ...], length: int) -> frozenset[tuple[str, ...]]:
    return _phrases(words, length)


def _phrases(words: Sequence[str], length: int) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(words[start : start + length]) for start in range(len(words) - length + 1))
