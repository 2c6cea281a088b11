"""What is to be written: empty fields are filled, our own words renewed, nothing of a person's replaced.

Pure. `ownership` says whose a field is, `merge` joins the keywords; this makes the writes, and the marker
that says what they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import (
    Merged,
    clean_keyword,
    distinct,
    for_iim,
    key,
    leaf,
    levels,
    merge,
)
from tagger_daemon.metadata.naming import extension
from tagger_daemon.metadata.ownership import Owner, owner, writable
from tagger_daemon.metadata.undo import TakenBack
from tagger_daemon.model import (
    Annotation,
    Existing,
    Kept,
    Marker,
    Mode,
    NewValue,
    Policy,
    Stage,
    TagValue,
    TagWrite,
    Value,
    WritePlan,
    text_hash,
)

ENVELOPE_VERSION = "4"  # IPTC IIM 4.2

REASONS = {
    Owner.HUMAN: "a person's words",
    Owner.EDITED: "a person changed our words",
    Owner.REMOVED: "a person removed our words",
    Owner.OURS: "our own words from before",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lists(Value):
    """The lists of keywords as they shall stand, and what in them is ours."""

    values: Mapping[str, tuple[str, ...]]  # tag -> whole list
    flat: Merged
    hierarchy: Merged
    tags: Merged


@dataclass(frozen=True, kw_only=True, slots=True)
class _Texts(Value):
    """The texts that shall be written, by tag; and why others are not."""

    values: Mapping[str, str] = field(default_factory=dict)  # tag, as it is read -> text
    by_field: Mapping[str, str] = field(default_factory=dict)  # field name -> text
    kept: tuple[Kept, ...] = ()
    theirs: frozenset[str] = frozenset()  # tags of those that are a person's: they never count as ours
    refused: Mapping[str, str] = field(default_factory=dict)  # tag -> text that a person does not want there


def make_plan(
    existing: Existing,
    annotation: Annotation,
    policy: Policy,
    *,
    content_hash: str | None,
    tool_version: str,
    now: str,
) -> WritePlan:
    """Decide what is written for one photo. Where all stands as it should, nothing is.

    Args:
        existing: what file and sidecar say, with the marker that counts.
        annotation: the models' answers.
        policy: what may be written.
        content_hash: of the picture data, for the marker; None where there is none.
        tool_version: ours, for the marker.
        now: ISO 8601 with zone, whole seconds.
    """
    texts = _texts(existing, annotation, policy)
    lists = _lists(existing, annotation, policy)
    kept = texts.kept
    if set(existing.keywords) - set(lists.flat.ours) or set(existing.hierarchical) - set(
        lists.hierarchy.ours
    ):
        kept += (Kept(field="Keywords", reason="a person's words stay"),)
    marker = _marker(existing, annotation, texts, lists, content_hash, tool_version, now)
    result = existing.evolve(
        texts={**existing.texts, **texts.by_field},
        keywords=lists.flat.words,
        hierarchical=lists.hierarchy.words,
        tags_list=lists.tags.words,
        marker=marker,
    )
    seen: dict[str, TagValue | None] = {**texts.values, **lists.values}
    visible = {tag: value for tag, value in seen.items() if existing.stands.get(tag) != (value or None)}
    if not visible:
        return WritePlan(existing=existing, result=result, writes=(), kept=kept, content_hash=content_hash)
    values: dict[str, NewValue] = {**visible}
    if existing.source_fingerprint is None:
        values[fields.SIDECAR_FOR] = extension(existing.photo.path).upper()
    values |= _iim_values(existing, visible)
    values[fields.METADATA_DATE] = fields.exiftool_date(now)
    values |= marker_values(marker)
    return WritePlan(
        existing=existing,
        result=result,
        writes=as_writes(values, existing.stands),
        kept=kept,
        content_hash=content_hash,
    )


def make_undo_plan(existing: Existing, taken: TakenBack) -> WritePlan:
    """Turn what is taken back into a plan.

    Args:
        existing: what stands in the target, and whether nothing else does.
        taken: what shall stand there.
    """
    values = dict(taken.values)
    if values.get(fields.IIM_CHARSET, fields.UTF8) is None and not _fits_latin(existing, values):
        # A person has put other letters into the block since: it stays what it is now.
        del values[fields.IIM_CHARSET]
        values.pop(fields.IIM_ENVELOPE, None)
    values |= marker_values(taken.marker)
    writes = as_writes(values, existing.stands)
    removed = {fields.read_name(write.tag) for write in writes if write.value is None}
    return WritePlan(
        existing=existing,
        result=existing.evolve(marker=taken.marker),
        writes=writes,
        removes=taken.created and existing.ours_alone and existing.stands.keys() <= removed,
    )


def _fits_latin(existing: Existing, values: Mapping[str, NewValue]) -> bool:
    """Tell whether a legacy block could do without UTF-8 once it holds these values."""
    block = [value for tag, value in values.items() if tag.startswith("IPTC:") and value is not None]
    texts = [text for value in block for text in (value if isinstance(value, tuple) else (str(value),))]
    return existing.iim_beyond_latin <= values.keys() and all(map(fields.is_latin, texts))


def as_writes(values: Mapping[str, NewValue], stands: Mapping[str, TagValue]) -> tuple[TagWrite, ...]:
    """Return the writes that bring tags to these values; those that have them need none.

    Args:
        values: tag, as it is read -> what shall stand there; None or an empty list: it is to be removed.
        stands: what stands there now.
    """
    writes = []
    for tag, value in values.items():
        wanted = None if value in (None, ()) else value
        if stands.get(tag) == (str(wanted) if isinstance(wanted, int) else wanted):
            continue
        writes.append(TagWrite(tag=_WRITE_NAMES.get(tag, tag), value=wanted, before=stands.get(tag)))
    return tuple(writes)


def marker_values(marker: Marker | None) -> dict[str, NewValue]:
    """Return the tags of a marker; of none, that all of them are to be removed."""
    if marker is None:
        return dict.fromkeys(fields.MARKER)
    return {
        fields.MARKER_SCHEMA: marker.schema_version,
        fields.MARKER_TOOL: marker.tool_version,
        fields.MARKER_DATE: marker.written_at,
        fields.MARKER_CONTENT: marker.content_hash or None,
        fields.MARKER_FIELDS: _json(marker.fields),
        fields.MARKER_MODELS: _json(marker.models),
        fields.MARKER_KEYWORDS: marker.keywords,
        fields.MARKER_HIERARCHY: marker.hierarchy,
        fields.MARKER_TAGS: marker.tags,
        fields.MARKER_REJECTED: marker.rejected,
    }


def _iim_values(existing: Existing, visible: Mapping[str, NewValue]) -> dict[str, str]:
    """Return what a legacy block that is written to says of itself: that it is UTF-8, and in step with XMP.

    One that is newer than XMP, and says something else, stays the one that counts: with a fresh digest
    Adobe's programs would show what XMP says instead of what a person wrote into the block.
    """
    written = {tag for tag in visible if tag.startswith("IPTC:")}
    if not written:
        return {}
    values = {fields.IIM_CHARSET: fields.UTF8}
    if fields.IIM_ENVELOPE not in existing.stands:  # where a charset is declared, exiftool adds it
        values[fields.IIM_ENVELOPE] = ENVELOPE_VERSION
    settled = written if _lists_agree(existing, visible) else written - {fields.IIM_KEYWORDS}
    if existing.iim_disagrees <= settled:
        values[fields.IIM_DIGEST] = fields.NEW_DIGEST
    return values


def _lists_agree(existing: Existing, visible: Mapping[str, NewValue]) -> bool:
    """Tell whether the block will have every keyword that XMP has."""
    xmp, block = (
        value if isinstance(value := visible.get(tag, existing.stands.get(tag)), tuple) else ()
        for tag in (fields.KEYWORDS, fields.IIM_KEYWORDS)
    )
    return all(_in_block(word, block) for word in xmp)


_WRITE_NAMES = {text.tag: text.write_tag for text in fields.TEXT_FIELDS.values()}


def _texts(existing: Existing, annotation: Annotation, policy: Policy) -> _Texts:
    values: dict[str, str] = {}
    by_field: dict[str, str] = {}
    kept: list[Kept] = []
    written: set[Stage] = set()
    theirs: set[str] = set()
    refused: dict[str, str] = {}
    for stage in (Stage.CAPTION, Stage.DESCRIPTION):
        unwanted = getattr(annotation.refused, stage.value)
        by_hand = annotation.by_hand.has(stage)
        # The writer's name comes last: it goes beside words that are ours, if there are any.
        for name in sorted(policy.fields.get(stage, ()), key=lambda name: name == "CaptionWriter"):
            place = fields.TEXT_FIELDS[name]
            text = place.fit(_answer(stage, name, annotation))
            if unwanted is not None:
                if name != "CaptionWriter" and not existing.texts.get(name):
                    refused[place.tag] = unwanted
                kept.append(Kept(field=place.label, reason="a person refused what was proposed"))
            elif not writable(name, existing, policy):
                whose = owner(place, existing.texts.get(name), existing.marker)
                kept.append(Kept(field=place.label, reason=REASONS[whose]))
            elif text is None:
                reason = f"no whole sentence of the answer fits into {place.longest} characters"
                kept.append(Kept(field=place.label, reason=reason))
            elif text and (name != "CaptionWriter" or stage in written):
                by_field[name] = values[place.tag] = text
                if existing.has_iptc and place.iim:
                    values[place.iim] = fields.cut_bytes(text, place.iim_bytes)
                if by_hand:
                    theirs |= {place.tag, place.iim or place.tag}
                else:
                    written.add(stage)
    return _Texts(
        values=values, by_field=by_field, kept=tuple(kept), theirs=frozenset(theirs), refused=refused
    )


def _answer(stage: Stage, name: str, annotation: Annotation) -> str:
    answer = getattr(annotation.by_hand if annotation.by_hand.has(stage) else annotation, stage.value)
    if answer is None:
        return ""
    if name == "CaptionWriter":
        origin = annotation.origins.get(stage)
        return f"AI: {origin.identity['model']}" if origin else ""
    return str(answer)


def _lists(existing: Existing, annotation: Annotation, policy: Policy) -> _Lists:
    """Merge every list of keywords that there is, or shall be."""
    marker = existing.marker
    ours = {key(path) for path in marker.hierarchy} if marker else set()
    their_paths = [path for path in existing.hierarchical if key(path) not in ours]
    proposed = _proposed(existing, annotation, policy, their_paths)
    last = marker.keywords if marker else ()
    rejected = distinct((*existing.rejected, *(annotation.refused.keywords or ())))
    standing = _standing(existing, last)
    # What a person adds in a review stands as if it had stood before: it is theirs.
    by_hand = distinct(annotation.by_hand.keywords or (), _keys(standing))
    flat = merge((*standing, *by_hand), last, proposed, rejected)
    values = {}
    if policy.fields.get(Stage.KEYWORDS):
        values[fields.KEYWORDS] = flat.words
    else:
        flat = flat.evolve(words=existing.keywords, ours=last)
    hierarchy, tags = _paths(existing, flat, policy, their_paths, by_hand=by_hand, rejected=rejected)
    if existing.hierarchical or hierarchy.words:
        values[fields.HIERARCHICAL] = hierarchy.words
    if existing.tags_list:
        values[fields.TAGS_LIST] = tags.words
    if existing.has_iptc and fields.KEYWORDS in values:
        stood = existing.stands.get(fields.IIM_KEYWORDS, ())
        dropped = [word for word in (*last, *existing.keywords) if key(word) not in _keys(flat.words)]
        words: Sequence[str] = flat.words
        if stood and fields.IIM_KEYWORDS in existing.iim_disagrees:
            # What a person removed from the block, which is the newer, does not come back there.
            words = [word for word in words if word in flat.ours or _in_block(word, stood)]
        values[fields.IIM_KEYWORDS] = for_iim(stood, words, dropped)
    if not by_hand and not _touched(existing, flat):
        values = {}
    return _Lists(values=values, flat=flat, hierarchy=hierarchy, tags=tags)


def _proposed(
    existing: Existing, annotation: Annotation, policy: Policy, their_paths: Sequence[str]
) -> tuple[str, ...]:
    """Return our keywords, without those that a person has in some other place."""
    last = existing.marker.keywords if existing.marker else ()
    if annotation.keywords is None or not policy.fields.get(Stage.KEYWORDS):
        return last
    elsewhere = {key(leaf(path)) for path in their_paths} | _keys(existing.other_keywords)
    known = elsewhere - _keys(existing.keywords)
    kept = last if policy.mode is Mode.FILL else ()
    return distinct((*kept, *(clean_keyword(word) for word in annotation.keywords)), known)


def _standing(existing: Existing, last: Sequence[str]) -> tuple[str, ...]:
    """Return the keywords that stand, without ours that a person removed from one block only."""
    in_xmp, in_iim = existing.stands.get(fields.KEYWORDS, ()), existing.stands.get(fields.IIM_KEYWORDS, ())
    left_over = (_keys(in_iim) - _keys(in_xmp)) & _keys(last)
    if in_iim and fields.IIM_KEYWORDS in existing.iim_disagrees:  # removed from the block, which is the newer
        left_over |= {key(word) for word in in_xmp if not _in_block(word, in_iim)} & _keys(last)
    return tuple(word for word in existing.keywords if key(word) not in left_over)


def _paths(
    existing: Existing,
    flat: Merged,
    policy: Policy,
    their_paths: Sequence[str],
    *,
    by_hand: Sequence[str],
    rejected: Sequence[str],
) -> tuple[Merged, Merged]:
    """Merge the hierarchical lists: where there is one, every keyword stands in it.

    Some programs look at nothing else once it is there, so that a list without them would hide the others.
    """
    marker = existing.marker
    placed = levels(their_paths)
    ours = _keys(flat.ours)
    root = policy.keyword_root
    wanted = [
        f"{root}|{word}" if root and key(word) in ours else word
        for word in flat.words
        if key(word) not in placed and "|" not in word
    ]
    exists = bool(existing.hierarchical or root or (marker and marker.hierarchy))
    hierarchy = merge(
        (*existing.hierarchical, *(distinct(by_hand, placed) if exists else ())),
        marker.hierarchy if marker else (),
        wanted if exists else (),
        rejected,
    )
    ours_tags = _keys(marker.tags) if marker else set()
    placed = levels([path for path in existing.tags_list if key(path) not in ours_tags], "/")
    wanted = [f"{root}/{word}" if root else word for word in flat.ours if key(word) not in placed]
    tags = merge(
        (*existing.tags_list, *(distinct(by_hand, placed) if existing.tags_list else ())),
        marker.tags if marker else (),
        wanted if existing.tags_list else (),
        rejected,
    )
    return hierarchy, tags


def _in_block(word: str, block: TagValue) -> bool:
    """Tell whether a legacy block has a keyword, which it may have cut."""
    return key(fields.cut_bytes(word, fields.LONGEST_IIM_KEYWORD)) in _keys(block)


def _touched(existing: Existing, flat: Merged) -> bool:
    """Tell whether anything of ours comes or goes: a person's lists are not touched for their own sake."""
    marker = existing.marker
    return bool(flat.ours) or bool(marker and (marker.keywords or marker.hierarchy or marker.tags))


def _marker(
    existing: Existing,
    annotation: Annotation,
    texts: _Texts,
    lists: _Lists,
    content_hash: str | None,
    tool_version: str,
    now: str,
) -> Marker:
    before = existing.marker
    hashes = {tag: text_hash(text) for tag, text in {**texts.values, **texts.refused}.items()}
    known = {**(before.fields if before else {}), **hashes}
    models = {stage.value: origin.identity for stage, origin in annotation.origins.items()}
    return Marker(
        schema_version=fields.SCHEMA_VERSION,
        tool_version=tool_version,
        written_at=now,
        content_hash=content_hash or "",
        fields={tag: value for tag, value in known.items() if tag not in texts.theirs},
        keywords=lists.flat.ours,
        hierarchy=lists.hierarchy.ours,
        tags=lists.tags.ours,
        rejected=distinct((*lists.flat.rejected, *lists.hierarchy.rejected, *lists.tags.rejected)),
        models={**(before.models if before else {}), **models},
    )


def _keys(words: Iterable[str]) -> set[str]:
    return {key(word) for word in words}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
