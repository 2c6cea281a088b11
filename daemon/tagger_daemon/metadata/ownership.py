"""Whose words are these? For each field and each keyword: a person's, ours, or ours that a person edited.

Pure. The marker in the file says what we wrote there. Where a photo program dropped it, the ledger's memory
of the same picture stands in, but only if something that stands in the file is known again: a copy of the
picture that never carried our words has nothing of ours to be missed.
"""

from __future__ import annotations

import json
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from tagger_daemon.metadata.fields import SCHEMA_VERSION, TEXT_FIELDS, TextField
from tagger_daemon.metadata.merge import distinct, key
from tagger_daemon.model import (
    UNVERIFIABLE,
    Draft,
    Existing,
    Identity,
    Marker,
    Memory,
    Mode,
    Policy,
    Stage,
    text_hash,
)

#: What of an identity makes words stale once it changes. The registry's hash changes with any entry.
TELLING = ("entry", "model", "digest", "profile", "profile_hash")
#: Keywords by which a photo is known again, and half of ours at least: a person may have the same idea.
FEWEST_KNOWN = 2


class Owner(StrEnum):
    """Who a field belongs to."""

    NOBODY = "nobody"  #: it is empty
    HUMAN = "human"  #: a person wrote it
    OURS = "ours"  #: it stands as we wrote it
    EDITED = "edited"  #: we wrote it, and a person changed it since
    REMOVED = "removed"  #: we wrote it, and a person removed it since


def owner(field: TextField, text: str | None, marker: Marker | None) -> Owner:
    """Say whose text this is."""
    written = marker.fields.get(field.tag) if marker else None
    if not text:
        return Owner.REMOVED if written else Owner.NOBODY
    if written is None:
        return Owner.HUMAN
    return Owner.OURS if written == text_hash(text) else Owner.EDITED


def known(existing: Existing, memory: Memory) -> Existing:
    """Return what stands in the file with the marker that counts, and with all that was ever rejected."""
    marker = existing.marker
    remembered = memory.marker
    if marker is None and remembered is not None and _recognised(existing, remembered, memory.places):
        marker, existing = remembered, existing.evolve(source_marked=True)
    elif marker is not None and remembered is not None and _same_words(marker, remembered):
        # Asked anew, another model gave the same words: nothing was written, and the file's marker is old.
        marker = marker.evolve(models=remembered.models)
    rejected = distinct((*(marker.rejected if marker else ()), *memory.rejected))
    return existing.evolve(marker=marker, rejected=rejected)


def is_stale(marker: Marker, policy: Policy) -> bool:
    """Tell whether other models, prompts or rules would write now than those that wrote."""
    if marker.schema_version != SCHEMA_VERSION:
        return True
    return any(
        not same_source(marker.models.get(stage.value, {}), policy.current[stage])
        for stage in policy.stages
        if stage in policy.current
    )


def judged_by(policy: Policy) -> str:
    """Return a name for all that `is_stale` goes by: a photo that was measured by it needs no second look."""
    sources = {
        stage.value: [policy.current[stage].get(name) for name in TELLING]
        for stage in policy.stages
        if stage in policy.current
    }
    # What was measured before texts of a person's could be replaced keeps its name.
    more = ["overwrite"] if policy.overwrite else []
    return text_hash(json.dumps([SCHEMA_VERSION, policy.mode, sources, *more], sort_keys=True))


def same_source(one: Identity, other: Identity) -> bool:
    """Tell whether two answers would come from the same model, asked with the same prompts."""
    return all(_told(one, name) == _told(other, name) for name in TELLING)


def _told(identity: Identity, name: str) -> str | None:
    # Markers of before digests were checked hold none.
    return identity.get(name) or (UNVERIFIABLE if name == "digest" else None)


def still_good(answers: Draft, policy: Policy) -> Draft:
    """Return those of earlier answers that the same model would give now, asked with the same prompts."""
    return answers.only(
        stage
        for stage, origin in answers.origins.items()
        if stage in policy.current and same_source(origin.identity, policy.current[stage])
    )


def nothing_to_do(existing: Existing, memory: Memory, policy: Policy) -> str | None:
    """Return in plain words why a photo is left alone without asking a model, or None if it is not."""
    if memory.undone_at is not None:
        return (
            f"its words were taken back on {memory.undone_at[:10]}; `retry --undone` lets it be tagged again"
        )
    if memory.refused_at is not None:
        return f"a person refused what was proposed on {memory.refused_at[:10]}; `review reset` lifts that"
    if memory.review:
        return "a review of it is under way"
    marker = existing.marker
    if marker is not None:
        if policy.mode is Mode.REFRESH and (is_stale(marker, policy) or _replaces_persons(existing, policy)):
            return None
        day = marker.written_at[:10]
        return f"already tagged by tagger-daemon on {day}" if day else "already tagged by tagger-daemon"
    titled = existing.title or existing.texts.get("Headline")
    if titled and existing.description and _has_keywords(existing, policy) and not policy.overwrite:
        return "already has a title, keywords and a description"
    return None


def wanted(existing: Existing, policy: Policy) -> tuple[Stage, ...]:
    """Return the stages whose answers could go anywhere in this photo."""
    return tuple(
        stage
        for stage in policy.stages
        if stage is Stage.KEYWORDS
        or any(writable(name, existing, policy) for name in policy.fields[stage] if name != "CaptionWriter")
    )


def writable(name: str, existing: Existing, policy: Policy) -> bool:
    """Tell whether a text may be put into this field."""
    match owner(TEXT_FIELDS[name], existing.texts.get(name), existing.marker):
        case Owner.NOBODY:
            return True
        case Owner.OURS:
            return policy.mode is not Mode.FILL
        case Owner.HUMAN | Owner.EDITED:
            return policy.overwrite and name != "CaptionWriter"
        case Owner.REMOVED:
            return False


def _replaces_persons(existing: Existing, policy: Policy) -> bool:
    """Tell whether a person's text stands beside words of ours, and is to be replaced as these were not to.

    Of ours that a person changed this is not said: that photo was done, and the person had the last word.
    """
    return any(
        owner(TEXT_FIELDS[name], existing.texts.get(name), existing.marker) is Owner.HUMAN
        and writable(name, existing, policy)
        for stage in (Stage.CAPTION, Stage.DESCRIPTION)
        for name in policy.fields.get(stage, ())
    )


def _recognised(existing: Existing, marker: Marker, places: frozenset[Path]) -> bool:
    """Tell whether anything in the file is what this marker says that we wrote.

    A text tells wherever it stands. Keywords are common: those of another copy of the picture may be a
    person's, who had the same idea.
    """
    hashes = {TEXT_FIELDS[name].tag: text_hash(text) for name, text in existing.texts.items()}
    if any(marker.fields.get(tag) == value for tag, value in hashes.items()):
        return True
    if existing.photo.path not in places:
        return False
    ours = {key(word) for word in marker.keywords}
    standing = ours & {key(word) for word in existing.keywords}
    return len(standing) >= max(FEWEST_KNOWN, len(ours) / 2)


def _same_words(one: Marker, other: Marker) -> bool:
    return dict(one.fields) == dict(other.fields) and one.keywords == other.keywords


def _has_keywords(existing: Existing, policy: Policy) -> bool:
    """Tell whether the photo has keywords that a person gave to it, and not an import preset to all."""
    words = (*existing.keywords, *existing.hierarchical, *existing.tags_list, *existing.other_keywords)
    patterns = [pattern.casefold() for pattern in policy.ignore_keywords]
    return any(not any(fnmatchcase(word.casefold(), pattern) for pattern in patterns) for word in words)
