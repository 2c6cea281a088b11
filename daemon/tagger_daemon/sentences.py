"""Where sentences end, so that a text which is too long loses whole ones from its end, and never half of one.

Pure. In what language a model wrote is not known here, and only one kind of mistake matters: an end that is
none leaves a reader half a sentence, while one that is missed costs a little more text. So an end is taken
for one only where it can hardly be anything else. Libraries weigh both alike, and have to be told the
language: of the texts in tests/decide/test_sentences.py in which no sentence ends, sentencex 1.0.32 (MIT,
well kept) broke 18 of 42 when they were called English. pysbd has had no release since 2021.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

_OPENING = "\"'\u201c\u2018\u201e\u201a\u00ab\u00bb\u2039\u203a([{\u00bf\u00a1"
_CLOSING = "\"'\u201d\u2019\u201c\u2018\u00bb\u00ab\u203a\u2039)\\]}\u300d\u300f\u3011\u300b\uff09"
#: Stops that say nothing but that a sentence ends, and need no blank after them: Chinese and Japanese, the
#: danda of the Indic scripts, the question mark of Arabic and the full stop of Urdu, Armenian, Ethiopic,
#: Burmese and Khmer.
_CLEAR = "\u3002\uff01\uff1f\uff61\u0964\u0965\u061f\u06d4\u0589\u1362\u104b\u17d4"
_STOP = re.compile(f"(?P<marks>[.!?\u2026\u203d{_CLEAR}]+)(?P<closing>[{_CLOSING}]*)")
_FIRST_LETTER = re.compile(rf"\s+[{re.escape(_OPENING)}]*(\w?)")

_BRACKETS = (
    *(("(", ")"), ("[", "]"), ("{", "}"), ("\uff08", "\uff09")),
    *(("\u300a", "\u300b"), ("\u300c", "\u300d"), ("\u300e", "\u300f"), ("\u3010", "\u3011")),
)
#: Which of them open and which close depends on the language: every second one closes.
_DOUBLE_QUOTES = frozenset('"\u201c\u201d\u201e\u201f\u00ab\u00bb')
_PAIRED = _DOUBLE_QUOTES.union(*_BRACKETS)

_ROMAN = re.compile(r"[IVXLCDM]+")
#: Abbreviations with a vowel; others are known by having none. Words that also end sentences (no, sun, art)
#: are left out: what follows them as abbreviations is mostly a number, and no sentence is taken to begin so.
_ABBREVIATION = re.compile(
    """
    al|approx|aprox|apt|assoc|aug|ave|av|avda|avv|bijv|bros|boul|ca|capt|cie|cit|co|
    col|corp|dept|dipl|dott|dra|eccl|ed|eds|ehem|ej|env|enz|esp|esq|est|etc|evtl|excl|
    exkl|ext|fam|feat|fig|geb|gen|gest|gov|gral|hon|ibid|inc|incl|ing|inkl|insp|isl|
    jun|lieut|mag|messrs|mlle|mme|mus|nat|oct|op|orig|pag|prof|prov|pza|rep|rev|sen|
    sept|sig|soc|sra|srta|sta|ste|sto|supt|univ|usw|vol|zool
    """,
    re.IGNORECASE | re.VERBOSE,
)
_LONGEST_WORD = 40  # characters that are looked at; abbreviations are shorter
_STREETS = "str"  # the end of Bahnhofstr. and its like
_MOST_ORDINAL_DIGITS = 2  # "am 3. Mai", "19. Jahrhundert"; a year has more
_LONGEST_SHORT_FORM = 2  # letters of a word that is not in ASCII: "ул.", "डॉ."


def within(text: str, limit: int) -> str | None:
    """Return a text, or as many of its first sentences as fit.

    Args:
        text: on one line.
        limit: characters.

    Returns:
        All of the text if it fits; else a beginning that ends where a sentence does; None if even the first
        sentence is longer.
    """
    if len(text) <= limit:
        return text
    *_, end = 0, *_ends(text, limit)
    return text[:end] or None


def first(text: str) -> str:
    """Return the first sentence of a text on one line; all of the text where no end is found in it."""
    return text[: next(_ends(text, len(text)), len(text))]


def _ends(text: str, limit: int) -> Iterator[int]:
    """Yield where sentences end that are within a limit, the marks and quotes that close them included."""
    paired: Counter[str] = Counter()
    seen = 0
    for stop in _STOP.finditer(text):
        if stop.end() > limit:
            return
        paired.update(letter for letter in text[seen : stop.end()] if letter in _PAIRED)
        seen = stop.end()
        if _is_end(text, stop) and not _is_within(paired):
            yield stop.end()


def _is_end(text: str, stop: re.Match[str]) -> bool:
    marks, closing = stop["marks"], stop["closing"]
    if marks[-1] in _CLEAR:
        # In quotes, what was said ends there; the sentence may go on.
        return not closing or text[stop.end() :][:1].isspace()
    following = _FIRST_LETTER.match(text, stop.end())
    if following is None or not following[1].isalpha() or following[1].islower():
        return False
    if marks == ".":
        return not _is_abbreviation(text[max(0, stop.start() - _LONGEST_WORD) : stop.start()])
    # Dots may be a pause, and a question or a call in quotes part of a sentence: “Stop!” Anna calls.
    return set(marks) <= set("!?\u203d") and not closing


def _is_abbreviation(text: str) -> bool:
    """Tell whether the full stop after this text may be there for its last word's sake."""
    word = re.split(r"\s", text)[-1].lstrip(_OPENING)
    if len(word) <= 1 or "." in word or _ABBREVIATION.fullmatch(word) or _ROMAN.fullmatch(word):
        return True
    if word.isdigit():
        return len(word) <= _MOST_ORDINAL_DIGITS
    if not word.isascii():
        return len(word) <= _LONGEST_SHORT_FORM
    has_vowel = bool(set(word.casefold()) & set("aeiouy"))
    return word.casefold().endswith(_STREETS) or (word.isalpha() and not has_vowel)


def _is_within(paired: Mapping[str, int]) -> bool:
    """Tell whether quotes or brackets are open, of which so many have been seen."""
    if sum(paired[quote] for quote in _DOUBLE_QUOTES) % 2:
        return True
    return any(paired[opening] != paired[closing] for opening, closing in _BRACKETS)
