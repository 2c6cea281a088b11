"""Keywords: theirs and ours, none of theirs lost.

Pure. Keywords are compared case aside; the spelling that stands in the file stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tagger_daemon.metadata.fields import LONGEST_IIM_KEYWORD, clean_line, cut_bytes

_SEPARATORS = str.maketrans(dict.fromkeys("|,;<>/", " "))  # each means something to some photo program


def clean_keyword(text: str) -> str:
    """Return a keyword of ours as it may be written: one line, no separators, short enough everywhere."""
    return cut_bytes(clean_line(text.translate(_SEPARATORS)), LONGEST_IIM_KEYWORD)


def union(xmp: Sequence[str], iim: Sequence[str]) -> tuple[str, ...]:
    """Return XMP's keywords as they are, then those of the legacy block that are not the same cut short."""
    known = {_key(word) for word in xmp} | {_key(cut_bytes(word, LONGEST_IIM_KEYWORD)) for word in xmp}
    return (*xmp, *_unknown(iim, known))


def added(proposed: Iterable[str], theirs: Iterable[str], hierarchical: Iterable[str]) -> tuple[str, ...]:
    """Return those of our keywords that the photo does not have yet, flat or as a leaf of a hierarchy."""
    known = {_key(word) for word in theirs} | {_key(path.rpartition("|")[2]) for path in hierarchical}
    return _unknown((clean_keyword(word) for word in proposed), known)


def for_iim(theirs: Iterable[str], keywords: Iterable[str]) -> tuple[str, ...]:
    """Return those that stand in the legacy block as they are, then those of all keywords that it lacks.

    It holds 64 bytes each.
    """
    stood = tuple(cut_bytes(word, LONGEST_IIM_KEYWORD) for word in theirs if word.strip())
    known = {_key(word) for word in stood}
    return (*stood, *_unknown((cut_bytes(word, LONGEST_IIM_KEYWORD) for word in keywords), known))


def _unknown(words: Iterable[str], known: set[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for word in words:
        key = _key(word)
        if key and key not in known:
            found.setdefault(key, word)
    return tuple(found.values())


def _key(word: str) -> str:
    return " ".join(word.split()).casefold()
