"""Keywords: theirs and ours, none of theirs lost, and none of ours that they threw out brought back.

Pure. Keywords are compared by their letters, case, blanks and controls aside; the spelling in the file stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tagger_daemon.metadata.fields import LONGEST_IIM_KEYWORD, clean_line, cut_bytes, without_controls
from tagger_daemon.model import Value

_SEPARATORS = str.maketrans(dict.fromkeys("|,;<>/", " "))  # each means something to some photo program


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged(Value):
    """One list after a merge."""

    words: tuple[str, ...]  # the whole list, in the order in which it is written
    ours: tuple[str, ...]  # those of them that are ours, as they stand in the list
    rejected: tuple[str, ...]  # ours of before that a person removed: never again


def merge(
    current: Sequence[str], last: Iterable[str], proposed: Iterable[str], rejected: Iterable[str]
) -> Merged:
    """Join what stands in a list with what we propose, by what we last wrote there.

    What a person wrote stays as it is and where it is, a word of ours that they respelt among it. What is
    ours stays if it is proposed again, else goes. What was ours and is gone was removed by a person; it does
    not come back, however often it is proposed.

    Args:
        current: what stands there now.
        last: what of it, or of what stood there, is ours.
        proposed: what should stand there of ours.
        rejected: what a person removed before.
    """
    standing = {key(word) for word in current}
    ours_before = {spelling(word) for word in last}
    wanted = {key(word): word for word in reversed(tuple(proposed)) if key(word)}
    refused = {key(word): word for word in (*rejected, *last) if key(word) not in standing}
    kept = tuple(word for word in current if spelling(word) not in ours_before or key(word) in wanted)
    added = tuple(
        word for word in reversed(wanted.values()) if key(word) not in standing and key(word) not in refused
    )
    return Merged(
        words=(*kept, *added),
        ours=(*(word for word in kept if spelling(word) in ours_before), *added),
        rejected=tuple(refused.values()),
    )


def clean_keyword(text: str) -> str:
    """Return a keyword of ours as it may be written: one line, no separators, short enough everywhere."""
    return cut_bytes(clean_line(text.translate(_SEPARATORS)), LONGEST_IIM_KEYWORD)


def union(xmp: Sequence[str], iim: Sequence[str]) -> tuple[str, ...]:
    """Return XMP's keywords as they are, then those of the legacy block that are not the same cut short."""
    known = {key(word) for word in xmp} | {key(cut_bytes(word, LONGEST_IIM_KEYWORD)) for word in xmp}
    return (*xmp, *distinct(iim, known))


def leaf(path: str, separator: str = "|") -> str:
    """Return the last level of a hierarchical keyword."""
    return path.rpartition(separator)[2]


def levels(paths: Iterable[str], separator: str = "|") -> set[str]:
    """Return the keys of all levels of hierarchical keywords."""
    return {key(level) for path in paths for level in path.split(separator)}


def for_iim(stood: Iterable[str], keywords: Iterable[str], dropped: Iterable[str]) -> tuple[str, ...]:
    """Return what is to stand in the legacy block, which holds 64 bytes a keyword.

    Args:
        stood: what stands there; its spelling stays.
        keywords: all that the photo has now.
        dropped: what it had, and has no more.
    """
    gone = {key(cut_bytes(word, LONGEST_IIM_KEYWORD)) for word in dropped}
    kept = tuple(cut_bytes(word, LONGEST_IIM_KEYWORD) for word in stood if word.strip())
    kept = tuple(word for word in kept if key(word) not in gone)
    known = {key(word) for word in kept}
    return (*kept, *distinct((cut_bytes(word, LONGEST_IIM_KEYWORD) for word in keywords), known))


def distinct(words: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return each word once, by its first spelling, without blanks and those whose keys are known."""
    known = frozenset(known)
    found: dict[str, str] = {}
    for word in words:
        if key(word) and key(word) not in known:
            found.setdefault(key(word), word)
    return tuple(found.values())


def spelling(word: str) -> str:
    """Return a keyword as it is spelt, whichever way its accents are encoded."""
    return unicodedata.normalize("NFC", " ".join(word.split()))


@lru_cache(maxsize=1 << 14)  # a library has some thousand keywords, and each of them on many photos
def key(word: str) -> str:
    """Return what two spellings of one keyword have in common."""
    return unicodedata.normalize("NFC", " ".join(without_controls(word).split()).casefold())
