"""Tells when a model ran in circles: small models do on some pictures, and it fills the whole answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

#: A few characters, ten times in a row: catches loops in scripts without spaces too.
STUTTER = re.compile(r"(.{1,20}?)\1{9,}")

#: Phrases of so many words are looked for, one directly after the other.
LONGEST_PHRASE = 20

#: So many words, so often anywhere in a text, are no style any more.
RECURRING_WORDS = 6
RECURRING_TIMES = 4

#: A list this long with every item twice is not a list of what the picture shows.
LONG_LIST = 12

#: Nor is one of which three in four begin, or end, with the same word.
SAME_WORD = 0.75

#: Blanks on end, or at the end: grammars allow any number of them between the parts of JSON.
BLANKS = re.compile(r"\s{60}")


def runs_in_circles(text: str) -> bool:
    """Tell whether a text repeats a word five times, two words four times or a phrase three times in a row,
    or comes back to the same six words four times.
    """
    words = re.findall(r"\w+", text.casefold())
    in_a_row = any(_repeats(words, length) for length in range(1, LONGEST_PHRASE + 1))
    return in_a_row or _recurs(words) or bool(STUTTER.search(text))


def lists_in_circles(items: Sequence[str]) -> bool:
    """Tell whether at least half of a long list repeats other items, numbers in them not counted, or varies
    one word: `coastal scene, coastal view, coastal life`.
    """
    if len(items) < LONG_LIST:
        return False
    spelt = [re.sub(r"[\W\d]+", " ", item).strip().casefold() for item in items]
    phrases = [phrase.split(" ") for phrase in spelt if " " in phrase]
    ends = (Counter(phrase[end] for phrase in phrases) for end in (0, -1))
    most_alike = max(count for times in ends for count in (0, *times.values()))
    return 2 * len(set(spelt)) <= len(items) or most_alike >= SAME_WORD * len(items)


def is_blank_without_end(text: str) -> bool:
    """Tell whether an answer that was cut off was running into blanks."""
    return bool(BLANKS.search(text))


def _repeats(words: Sequence[str], length: int) -> bool:
    times = {1: 5, 2: 4}.get(length, 3)
    same = 0
    for word, later in zip(words, words[length:], strict=False):
        same = same + 1 if word == later else 0
        if same >= length * (times - 1):
            return True
    return False


def _recurs(words: Sequence[str]) -> bool:
    phrases = zip(*(words[start:] for start in range(RECURRING_WORDS)), strict=False)
    return any(times >= RECURRING_TIMES for times in Counter(phrases).values())
