"""Taking back what we wrote: what stands in each tag then, and what a person has made of it is left alone.

Pure. Every write left a layer on each tag that it changed: what stood there, and what stands there since.
Taking a write back removes its layers. Where the topmost goes, and its value still stands, what stood below
comes back, exactly; where a later write lies above, the value stays, and that write then lies on what stood
below the one that went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import key, leaf
from tagger_daemon.model import Marker, NewValue, Outcome, Record, TagValue, Value, text_hash

#: Tags that only say something about the others: they follow, and are not counted.
BOOKKEEPING = frozenset(
    {
        *fields.MARKER,
        *(
            fields.METADATA_DATE,
            fields.SIDECAR_FOR,
            fields.IIM_CHARSET,
            fields.IIM_ENVELOPE,
            fields.IIM_DIGEST,
        ),
    }
)
_TEXT_TAGS = frozenset(text.tag for text in fields.TEXT_FIELDS.values()) | {
    text.iim for text in fields.TEXT_FIELDS.values() if text.iim
}
_VISIBLE_LISTS = fields.LISTS - BOOKKEEPING


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenBack(Value):
    """What taking writes back comes to, in one file."""

    values: Mapping[str, NewValue] = field(
        default_factory=dict
    )  # tag -> what shall stand there, where it changes
    restored: tuple[str, ...] = ()  # tags whose former value comes back
    edited: tuple[str, ...] = ()  # tags that a person changed since: left alone
    gone: tuple[str, ...] = ()  # tags from which a person removed our value already
    whole: bool = False  # nothing of ours is left in this file
    created: bool = False  # the file itself was ours
    undoes: tuple[str, ...] = ()  # ids of the records that are taken back
    marker: Marker | None = None  # what is left of ours


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer(Value):
    """What one write did to one tag."""

    id: str
    before: TagValue | None
    after: TagValue | None


_Stacks = Mapping[str, tuple[_Layer, ...]]


def standing_records(history: Sequence[Record]) -> tuple[Record, ...]:
    """Return the writes of a history that have not been taken back as a whole, oldest first."""
    undone = {id_ for record in history if not record.undone_words for id_ in record.undoes}
    return tuple(
        record for record in history if record.outcome is Outcome.WRITTEN and record.id not in undone
    )


def take_back(
    history: Sequence[Record],
    chosen: Iterable[str],
    *,
    words: Sequence[str] = (),
    stands: Mapping[str, TagValue],
    now: str,
) -> TakenBack:
    """Say what becomes of a file when writes into it are taken back.

    Args:
        history: all that was written into the file and taken back from it, oldest first.
        chosen: ids of the writes that are taken back.
        words: take back these keywords only; they are never proposed again. Empty: take back everything.
        stands: what stands in the file now.
        now: ISO 8601 with zone.
    """
    known = {record.id: record for record in standing_records(history)}
    ids = tuple(id_ for id_ in known if id_ in set(chosen))
    before = _stacks(history)
    after = _without_words(before, ids, words) if words else _without(before, ids)
    values: dict[str, NewValue] = {}
    counts: dict[str, list[str]] = {"restored": [], "edited": [], "gone": [], "covered": []}
    for tag, stack in before.items():
        if tag in BOOKKEEPING or not any(layer.id in ids for layer in stack):
            continue
        now_there = stands.get(tag)
        if tag in _VISIBLE_LISTS:
            wanted, verdict = _list_value(stack, after[tag], ids, _tuple(now_there), words)
        elif words:
            continue
        else:
            wanted, verdict = _text_value(stack, after[tag], now_there)
        if wanted != now_there:
            values[tag] = wanted
        if not tag.startswith("IPTC:"):  # the same fields once more
            counts[verdict].append(tag)
    left = [record for record in known.values() if words or record.id not in ids]
    whole = not left
    marker = None if whole else _marker(left[-1], after, {**stands, **values}, words)
    values |= _bookkeeping(history, stands, values, whole=whole, now=now)
    return TakenBack(
        values=values,
        restored=tuple(counts["restored"]),
        edited=tuple(counts["edited"]),
        gone=tuple(counts["gone"]),
        whole=whole,
        created=whole and bool(known) and next(iter(known.values())).created,
        undoes=ids,
        marker=marker,
    )


def _stacks(history: Sequence[Record]) -> dict[str, tuple[_Layer, ...]]:
    """Return the layers on every tag, the oldest first, without those that were taken back before."""
    stacks: dict[str, tuple[_Layer, ...]] = {}
    for record in history:
        if record.outcome is Outcome.UNDONE:
            words = record.undone_words
            stacks = (
                _without_words(stacks, record.undoes, words) if words else _without(stacks, record.undoes)
            )
            continue
        for tag, value in record.after.items():
            layer = _Layer(
                id=record.id,
                before=record.before.get(tag),
                after=str(value) if isinstance(value, int) else value,
            )
            stacks[tag] = (*stacks.get(tag, ()), layer)
    return stacks


def _without(stacks: _Stacks, ids: Iterable[str]) -> dict[str, tuple[_Layer, ...]]:
    """Remove the layers of some writes; the layer above one that goes stands on what that one stood on."""
    ids = frozenset(ids)
    left: dict[str, tuple[_Layer, ...]] = {}
    for tag, stack in stacks.items():
        kept: list[_Layer] = []
        ground: list[TagValue | None] = []  # what the lowest of a run of removed layers stood on
        for layer in stack:
            if layer.id in ids:
                ground = ground or [layer.before]
                continue
            kept.append(layer.evolve(before=ground[0]) if ground else layer)
            ground = []
        left[tag] = tuple(kept)
    return left


def _without_words(
    stacks: _Stacks, ids: Iterable[str], words: Sequence[str]
) -> dict[str, tuple[_Layer, ...]]:
    """Remove single keywords from the layers, where one of these writes added them."""
    ids = frozenset(ids)
    keys = _all_keys(words)
    left = dict(stacks)
    for tag in _VISIBLE_LISTS & stacks.keys():
        doomed: set[str] = set()
        kept = []
        for layer in stacks[tag]:
            before = _drop(_tuple(layer.before), doomed)
            if layer.id in ids:
                doomed |= {key(word) for word in _added(layer) if key(_last(word)) in keys}
            kept.append(layer.evolve(before=before, after=_drop(_tuple(layer.after), doomed)))
        left[tag] = tuple(kept)
    return left


def _text_value(
    stack: Sequence[_Layer], left: Sequence[_Layer], now_there: TagValue | None
) -> tuple[TagValue | None, str]:
    """Return what a text's tag shall hold, and what is to be said of it."""
    top = stack[-1]
    if left and left[-1].id == top.id:
        return now_there, "covered"  # by a later write, which stays
    if now_there is None and top.after is not None:
        return None, "gone"
    if now_there != top.after:
        return now_there, "edited"
    return _below(stack, left), "restored"


def _list_value(
    stack: Sequence[_Layer],
    left: Sequence[_Layer],
    ids: Iterable[str],
    now_there: tuple[str, ...],
    words: Sequence[str],
) -> tuple[TagValue | None, str]:
    """Return what a list shall hold, and what is to be said of it: a person's own changes of it stay."""
    removed = [layer for layer in stack if layer.id in frozenset(ids)]
    top_goes = not words and removed[-1].id == stack[-1].id
    if top_goes and now_there == _tuple(stack[-1].after):
        return _below(stack, left), "restored"
    remaining = _keys(word for layer in left for word in _added(layer))
    doomed = _keys(word for layer in removed for word in _added(layer)) - remaining
    if words:
        keys = _all_keys(words)
        doomed = {key(word) for layer in removed for word in _added(layer) if key(_last(word)) in keys}
    kept = _drop(now_there, doomed)
    # What the removed layers had taken out comes back, unless it stands there or what is below lacks it.
    below = _keys(_tuple(_below(stack, left))) if top_goes else set()
    back = tuple(
        word
        for layer in removed
        for word in _tuple(layer.before)
        if key(word) not in _keys(_tuple(layer.after)) | _keys(now_there) and key(word) in below
    )
    wanted = (*kept, *dict.fromkeys(back))
    if wanted != now_there:
        return wanted or None, "restored"
    # Nothing to be taken back: a person did it already, or a later write has the words too.
    return now_there or None, "gone" if doomed else "covered"


def _below(stack: Sequence[_Layer], left: Sequence[_Layer]) -> TagValue | None:
    """Return what stood below the run of layers that goes from the top."""
    kept = {layer.id for layer in left}
    value = stack[-1].after
    for layer in reversed(stack):
        if layer.id in kept:
            break
        value = layer.before
    return value


def _marker(
    record: Record, stacks: _Stacks, stands: Mapping[str, NewValue], words: Sequence[str]
) -> Marker | None:
    """Return the marker of what is left of ours: the newest write's, without what was taken back."""
    if record.marker is None:
        return None
    hashes = {tag: text_hash(str(stacks[tag][-1].after)) for tag in _TEXT_TAGS if stacks.get(tag)}

    def ours(tag: str) -> tuple[str, ...]:
        added = _keys(word for layer in stacks.get(tag, ()) for word in _added(layer))
        return tuple(word for word in _tuple(stands.get(tag)) if key(word) in added)

    return record.marker.evolve(
        fields=hashes,
        keywords=ours(fields.KEYWORDS),
        hierarchy=ours(fields.HIERARCHICAL),
        tags=ours(fields.TAGS_LIST),
        rejected=tuple(dict.fromkeys((*record.marker.rejected, *words))),
    )


def _bookkeeping(
    history: Sequence[Record],
    stands: Mapping[str, TagValue],
    values: Mapping[str, NewValue],
    *,
    whole: bool,
    now: str,
) -> dict[str, NewValue]:
    """Return what the tags shall hold that say something about the others."""
    first = _before_all(history)
    last = {tag: value for record in history for tag, value in record.after.items()}
    follow: dict[str, NewValue] = {}
    if whole:
        for tag in (fields.METADATA_DATE, fields.SIDECAR_FOR, fields.IIM_CHARSET, fields.IIM_ENVELOPE):
            if tag in first and stands.get(tag) == last.get(tag):
                follow[tag] = first[tag]
        if fields.IIM_CHARSET not in follow:  # the version belongs to the declaration
            follow.pop(fields.IIM_ENVELOPE, None)
    elif values:
        follow[fields.METADATA_DATE] = fields.exiftool_date(now)
    if fields.IIM_DIGEST in first and any(tag.startswith("IPTC:") for tag in (*values, *follow)):
        restored = whole and first[fields.IIM_DIGEST] is None
        follow[fields.IIM_DIGEST] = None if restored else fields.NEW_DIGEST
    return follow


def _before_all(history: Sequence[Record]) -> dict[str, TagValue | None]:
    """Return what stood in each tag before our first write that still stands in part."""
    first: dict[str, TagValue | None] = {}
    standing: set[str] = set()
    for record in history:
        if record.outcome is Outcome.WRITTEN:
            standing.add(record.id)
            first = {**record.before, **first}
        elif not record.undone_words:
            standing -= set(record.undoes)
            first = first if standing else {}
    return first


def _added(layer: _Layer) -> tuple[str, ...]:
    stood = _keys(_tuple(layer.before))
    return tuple(word for word in _tuple(layer.after) if key(word) not in stood)


def _drop(words: Sequence[str], keys: Iterable[str]) -> tuple[str, ...]:
    keys = frozenset(keys)
    return tuple(word for word in words if key(word) not in keys)


def _all_keys(words: Iterable[str]) -> set[str]:
    """Return the keys of keywords, and of what the legacy block holds of them."""
    return {
        key(form) for word in words for form in (word, fields.cut_bytes(word, fields.LONGEST_IIM_KEYWORD))
    }


def _last(entry: str) -> str:
    """Return the keyword of an entry: its last level, in whichever way the levels are parted."""
    return leaf(leaf(entry), "/")


def _keys(words: Iterable[str]) -> set[str]:
    return {key(word) for word in words}


def _tuple(value: NewValue) -> tuple[str, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (str(value),)
