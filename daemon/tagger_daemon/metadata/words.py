"""A person's own words about a photo, to be told to a model, and none of ours.

Pure. More counts as ours here than where `ownership` decides what may be replaced: all that we are known to
have said about this very picture, wherever it stands and whatever became of the marker. A model that is told
what a model said believes it, and what was wrong once stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tagger_daemon.metadata.gather import CAMERAS_FILE_NAME
from tagger_daemon.metadata.merge import distinct, key, leaf
from tagger_daemon.model import Existing, Facts, Marker, Memory, Policy, text_hash

#: The fields that say what a photo is about, the shortest first.
CAPTIONS = ("Title", "Headline", "Description")
#: Characters of a text that may be ours cut short, by a program or a legacy block: fewer tell nothing.
SHORTEST_CUT = 30
STOPS = frozenset(".!?\u2026\u3002\uff01\uff1f\u0964\u061f\u06d4")


def persons_words(existing: Existing, memory: Memory, policy: Policy) -> Facts:
    """Return what is known about a photo, with the caption and the keywords that a person gave to it.

    Args:
        existing: what stands in the files, with the marker that counts.
        memory: what the ledger knows of the picture.
        policy: which keywords an import preset gives to all photos, and below which one ours stand.
    """
    markers = [marker for marker in (existing.marker, memory.marker) if marker is not None]
    captions = [
        text
        for text in distinct(existing.texts.get(name, "") for name in CAPTIONS)
        if not _is_ours(text, markers, memory) and not _is_file_name(text, existing.photo.path)
    ]
    flat = [word for word in (*existing.keywords, *existing.other_keywords) if "|" not in word]
    leaves = _leaves(existing, markers, policy.keyword_root)
    words = distinct((*flat, *leaves), _words_of_ours(existing, markers, memory))
    patterns = [pattern.casefold() for pattern in policy.ignore_keywords]
    return existing.facts.evolve(
        caption=" ".join((*map(_ended, captions[:-1]), *captions[-1:])) or None,
        keywords=tuple(
            word for word in words if not any(fnmatchcase(word.casefold(), pattern) for pattern in patterns)
        ),
    )


def _is_ours(text: str, markers: Iterable[Marker], memory: Memory) -> bool:
    """Tell whether we said this, in whichever field; a text of ours that a person edited is theirs."""
    if any(text_hash(text) in marker.fields.values() for marker in markers):
        return True
    said = [key(answer) for answer in (memory.answers.caption, memory.answers.description) if answer]
    return any(
        answer == key(text) or (len(text) >= SHORTEST_CUT and answer.startswith(key(text))) for answer in said
    )


def _is_file_name(text: str, path: Path) -> bool:
    return bool(CAMERAS_FILE_NAME.fullmatch(text)) or text.casefold() in {
        path.name.casefold(),
        path.stem.casefold(),
    }


def _leaves(existing: Existing, markers: Iterable[Marker], root: str) -> list[str]:
    """Return the last levels of the hierarchical keywords, without entries of ours and all below our root.

    An entry of ours may hold a keyword of a person's: that stands among the flat ones too.
    """
    ours = {key(path) for marker in markers for path in (*marker.hierarchy, *marker.tags)}
    written_flat = [word for word in (*existing.keywords, *existing.other_keywords) if "|" in word]
    paths = [
        *(path.split("|") for path in (*existing.hierarchical, *written_flat) if key(path) not in ours),
        *(path.split("/") for path in existing.tags_list if key(path) not in ours),
    ]
    return [path[-1] for path in paths if not root or key(path[0]) != key(root)]


def _words_of_ours(existing: Existing, markers: Sequence[Marker], memory: Memory) -> set[str]:
    """Return the keys of all keywords that we gave to this picture, and of those that a person removed."""
    lists = [(*marker.keywords, *marker.rejected) for marker in markers]
    words = [word for words in (*lists, existing.rejected, memory.rejected) for word in words]
    return {key(part) for word in words for part in (word, leaf(word), leaf(word, "/"))}


def _ended(text: str) -> str:
    return text if text[-1] in STOPS else f"{text}."
