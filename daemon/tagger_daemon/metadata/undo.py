"""Taking back what we wrote: what stands in each tag then, and what a person has made of it is left alone.

Pure. Every write left a layer on each tag that it changed: what stood there, and what stands there since.
Taking a write back removes its layers. Where the topmost goes, and its value still stands, what stood below
comes back, exactly, down to the first value that a person put there; where a later write lies above, the
value stays, and that write then lies on what stood below the one that went. Of a list only those entries go
that are ours by the marker of a write that goes and of none that stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tagger_daemon.metadata import fields, gather
from tagger_daemon.metadata.merge import distinct, key, leaf, spelling
from tagger_daemon.metadata.properties import Properties
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
    rejected: tuple[str, ...] = ()  # keywords and entries of ours that a person had removed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer(Value):
    """What one write did to one tag."""

    id: str
    before: TagValue | None
    after: TagValue | None
    ours: frozenset[str] = frozenset()  # a list's entries that are ours since, as they are spelt
    changed: bool = True  # False: the write left this list as it was
    theirs: bool = False  # a text that a person put in the place of ours before it was written: it stays
    by_hand: frozenset[str] = frozenset()  # keys of the keywords that a person added to ours: they stay


_Stack = tuple[_Layer, ...]


def standing_records(history: Sequence[Record]) -> tuple[Record, ...]:
    """Return the writes of a history that have not been taken back as a whole, oldest first."""
    undone = {id_ for record in history if not record.undone_words for id_ in record.undoes}
    return tuple(
        record for record in history if record.outcome is Outcome.WRITTEN and record.id not in undone
    )


def marker_of(record: Record) -> Marker | None:
    """Return the marker that a write left; records of before it was kept have it among their values."""
    if record.marker is not None:
        return record.marker
    nodes = {tag: (_tuple(value),) for tag, value in record.after.items() if tag in fields.MARKER}
    return gather.marker((Properties(nodes=nodes),))


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
    wanted = frozenset(chosen)
    ids = tuple(id_ for id_ in known if id_ in wanted)
    stacks = _stacks(history)
    values: dict[str, NewValue] = {}
    owned: dict[str, frozenset[str]] = {}
    counts: dict[str, list[str]] = {"restored": [], "edited": [], "gone": [], "covered": []}
    for tag, stack in stacks.items():
        if tag in BOOKKEEPING:
            continue
        now_there = stands.get(tag)
        value: TagValue | None
        if tag in _VISIBLE_LISTS:
            value, owned[tag], verdict = _list_value(stack, wanted, _tuple(now_there), words)
        elif words:
            continue
        else:
            value, verdict = _text_value(stack, wanted, now_there)
        if not any(layer.id in wanted for layer in stack):
            continue
        if value != now_there:
            values[tag] = value
        if not tag.startswith("IPTC:"):  # the same fields once more
            counts[verdict].append(tag)
    left = [record for record in known.values() if words or record.id not in wanted]
    rejected = _rejected(stacks, stands)
    values |= _bookkeeping(history, stands, values, whole=not left, now=now)
    marker = None
    if left:
        after = {tag: _without(stack, tag, wanted) for tag, stack in stacks.items()} if not words else stacks
        marker = _marker(left[-1], after, {**stands, **values}, owned, (*rejected, *words))
    return TakenBack(
        values=values,
        restored=tuple(counts["restored"]),
        edited=tuple(counts["edited"]),
        gone=tuple(counts["gone"]),
        whole=not left,
        created=not left and bool(known) and next(iter(known.values())).created,
        undoes=ids,
        marker=marker,
        rejected=rejected,
    )


def _stacks(history: Sequence[Record]) -> dict[str, _Stack]:
    """Return the layers on every tag, the oldest first, without those that were taken back before."""
    stacks: dict[str, _Stack] = {}
    for record in history:
        if record.outcome is Outcome.UNDONE:
            ids = frozenset(record.undoes)
            for tag, stack in stacks.items():
                if not record.undone_words:
                    stacks[tag] = _still_ours(_without(stack, tag, ids), tag, record)
                elif tag in _VISIBLE_LISTS:
                    stacks[tag] = _without_entries(stack, ids, record.undone_words)
            continue
        after = {fields.read_name(tag): value for tag, value in record.after.items()}
        before = {fields.read_name(tag): value for tag, value in record.before.items()}
        for tag in (*after, *(_VISIBLE_LISTS & stacks.keys() - after.keys())):
            value = after.get(tag)
            layer = _Layer(
                id=record.id,
                before=before.get(tag),
                after=str(value) if isinstance(value, int) else value,
                changed=tag in after,
                theirs=_is_theirs(record, tag, value),
                by_hand=_keys(_forms(record.by_hand)),
            )
            below = stacks.get(tag, ())
            stacks[tag] = (*below, layer.evolve(ours=_ours(record, tag, layer, below)))
    return {tag: stack for tag, stack in stacks.items() if any(layer.changed for layer in stack)}


def _is_theirs(record: Record, tag: str, value: NewValue) -> bool:
    """Tell whether a text that was written is a person's: the marker does not say that it is ours."""
    if record.marker is None or tag not in _TEXT_TAGS or value is None:
        return False
    return record.marker.fields.get(tag) != text_hash(str(value))


def _ours(record: Record, tag: str, layer: _Layer, below: _Stack) -> frozenset[str]:
    """Return which of a list's entries are ours after a write: by its marker, if that says so."""
    listed = _listed(record.marker, tag)
    if listed is not None:
        return listed
    before = below[-1].ours if below else frozenset()
    if not layer.changed:
        return before
    stood = _keys(_tuple(layer.before))
    added = frozenset(spelling(entry) for entry in _tuple(layer.after) if key(entry) not in stood)
    return before & _spelt(_tuple(layer.after)) | added


def _listed(marker: Marker | None, tag: str) -> frozenset[str] | None:
    """Return the entries of a list that a marker names; None if there is no marker."""
    if marker is None:
        return None
    match tag:
        case fields.KEYWORDS:
            return _spelt(marker.keywords)
        case fields.IIM_KEYWORDS:
            return _spelt(_forms(marker.keywords))
        case fields.HIERARCHICAL:
            return _spelt(marker.hierarchy)
        case fields.TAGS_LIST:
            return _spelt(marker.tags)
        case _:
            return frozenset()


def _still_ours(stack: _Stack, tag: str, record: Record) -> _Stack:
    """Leave out of what is ours what a person had removed when a later write was taken back."""
    listed = _listed(record.marker, tag)
    if not stack or listed is None or tag not in _VISIBLE_LISTS:
        return stack
    return (*stack[:-1], stack[-1].evolve(ours=stack[-1].ours & listed))


def _without(stack: _Stack, tag: str, ids: frozenset[str]) -> _Stack:
    """Remove the layers of some writes; the layer above one that goes stands on what that one stood on."""
    kept: list[_Layer] = []
    for at, layer in enumerate(stack):
        below = stack[:at]
        if layer.id in ids:
            continue
        if not below or below[-1].id not in ids:
            kept.append(layer)
        elif tag not in _VISIBLE_LISTS:
            kept.append(layer.evolve(before=_text_below(layer.before, below, ids)))
        else:
            # A write that left the list as it was takes over what it found, as far as that is its own too.
            after = layer.after if layer.changed else _last_left(below)
            before, _ = _list_below(_tuple(layer.before if layer.changed else after), below, ids)
            kept.append(layer.evolve(before=before or None, after=after, changed=True))
    return tuple(kept)


def _last_left(stack: _Stack) -> TagValue | None:
    """Return what the last write left that changed anything."""
    return next((layer.after for layer in reversed(stack) if layer.changed), None)


def _without_entries(stack: _Stack, ids: frozenset[str], words: Sequence[str]) -> _Stack:
    """Remove single keywords from the layers, from the first of these writes on."""
    doomed = _meant(stack, ids, words)
    left: list[_Layer] = []
    below: frozenset[str] = frozenset()
    for layer in stack:
        begun = any(one.id in ids for one in left)
        if begun or layer.id in ids:
            before = _drop(_tuple(layer.before), doomed & below) if begun else layer.before
            after = _drop(_tuple(layer.after), doomed & layer.ours)
            left.append(layer.evolve(before=before, after=after, ours=layer.ours - doomed))
        else:
            left.append(layer)
        below = layer.ours
    return tuple(left)


def _text_value(
    stack: _Stack, ids: frozenset[str], now_there: TagValue | None
) -> tuple[TagValue | None, str]:
    """Return what a text's tag shall hold, and what is to be said of it."""
    top = stack[-1]
    if top.id not in ids:
        return now_there, "covered"  # by a later write, which stays
    if now_there is None and top.after is not None:
        return None, "gone"
    if now_there != top.after or top.theirs:
        return now_there, "edited"
    return _text_below(now_there, stack, ids), "restored"


def _text_below(value: TagValue | None, stack: _Stack, ids: frozenset[str]) -> TagValue | None:
    """Return what stood below the layers that go, from the top down to the first that a person covered."""
    for layer in reversed(stack):
        if layer.id not in ids or layer.after != value or layer.theirs:
            break
        value = layer.before
    return value


def _list_value(
    stack: _Stack, ids: frozenset[str], now_there: tuple[str, ...], words: Sequence[str]
) -> tuple[TagValue | None, frozenset[str], str]:
    """Return what a list shall hold, what of it is ours then, and what is to be said of it."""
    if words:
        doomed = _meant(stack, ids, words)
        value, owned = _drop(now_there, doomed & stack[-1].ours), stack[-1].ours - doomed
        going = bool(doomed)
    else:
        removed = _missing(stack[-1].ours, now_there)  # by a person
        value, owned = _list_below(now_there, stack, ids, removed)
        going = bool(_claimed(stack, ids) - _staying(stack, ids))
    if value != now_there:
        return value or None, owned, "restored"
    # Nothing to be taken back: a person did it already, or a write that stays has the words too.
    return now_there or None, owned, "gone" if going else "covered"


def _list_below(
    value: tuple[str, ...], stack: _Stack, ids: frozenset[str], refused: frozenset[str] = frozenset()
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return a list without what the layers that go have put into it, and what of it is ours then.

    As long as the topmost layer goes, and what it left is what stands on it, what it found comes back, in its
    order. Else a person has changed the list: their changes stay, and entries go and come one by one.
    """
    while stack and stack[-1].id in ids and (not stack[-1].changed or _tuple(stack[-1].after) == value):
        value = _found_by(stack[-1]) if stack[-1].changed else value
        stack = stack[:-1]
    staying = _staying(stack, ids)
    doomed = _claimed(stack, ids) - staying
    owned = stack[-1].ours if stack else frozenset()
    kept = _drop(value, doomed & owned)
    back: list[str] = []
    for layer in reversed(stack):
        if layer.id not in ids:
            break
        returning = _missing(staying, _tuple(layer.after)) - refused
        back[:0] = [entry for entry in _tuple(layer.before) if spelling(entry) in returning]
    result = (*kept, *distinct(back, _keys(kept)))
    return result, (owned - doomed | _spelt(back)) & _spelt(result)


def _found_by(layer: _Layer) -> tuple[str, ...]:
    """Return what a write found in a list, and what a person put there with it."""
    before = _tuple(layer.before)
    by_hand = (entry for entry in _tuple(layer.after) if key(_last(entry)) in layer.by_hand)
    return (*before, *distinct(by_hand, _keys(before)))


def _claimed(stack: _Stack, ids: frozenset[str]) -> frozenset[str]:
    """Return the entries that some writes left there as ours."""
    return frozenset(entry for layer in stack if layer.id in ids for entry in layer.ours)


def _staying(stack: _Stack, ids: frozenset[str]) -> frozenset[str]:
    """Return the entries that are ours by the newest write that stays."""
    return next((layer.ours for layer in reversed(stack) if layer.id not in ids), frozenset())


def _meant(stack: _Stack, ids: frozenset[str], words: Sequence[str]) -> frozenset[str]:
    """Return our entries, of some writes, whose keyword is one of these."""
    keys = _keys(_forms(words))
    return frozenset(entry for entry in _claimed(stack, ids) if key(_last(entry)) in keys)


def _rejected(stacks: Mapping[str, _Stack], stands: Mapping[str, TagValue]) -> tuple[str, ...]:
    """Return our entries that a person has removed since; none where nothing of ours stands any more.

    A file from which everything has gone was stripped, or made anew: no keyword in particular was refused.
    """
    missing: list[str] = []
    known = fields.MARKER_SCHEMA in stands
    for tag, stack in stacks.items():
        if tag in _TEXT_TAGS:
            known |= tag in stands and stands[tag] == stack[-1].after
        if tag in _VISIBLE_LISTS and stack:
            there = _tuple(stands.get(tag))
            known |= bool(stack[-1].ours & _spelt(there))
            if tag != fields.IIM_KEYWORDS:
                missing += sorted(_missing(stack[-1].ours, there))
    return distinct(missing) if known else ()


def _marker(
    record: Record,
    stacks: Mapping[str, _Stack],
    stands: Mapping[str, NewValue],
    owned: Mapping[str, frozenset[str]],
    rejected: Sequence[str],
) -> Marker | None:
    """Return the marker of what is left of ours: the newest write's, without what was taken back."""
    marker = marker_of(record)
    if marker is None:
        return None
    tops = {tag: stacks[tag][-1] for tag in _TEXT_TAGS if stacks.get(tag)}
    texts = {tag: top.after for tag, top in tops.items() if not top.theirs}
    never_written = {tag: value for tag, value in marker.fields.items() if tag not in stacks}  # refused

    def ours(tag: str) -> tuple[str, ...]:
        return tuple(entry for entry in _tuple(stands.get(tag)) if spelling(entry) in owned.get(tag, ()))

    lists = {tag: ours(tag) for tag in (fields.KEYWORDS, fields.HIERARCHICAL, fields.TAGS_LIST)}
    there = _keys(word for words in lists.values() for word in words)
    return marker.evolve(
        fields={
            **never_written,
            **{tag: text_hash(str(text)) for tag, text in texts.items() if text is not None},
        },
        keywords=lists[fields.KEYWORDS],
        hierarchy=lists[fields.HIERARCHICAL],
        tags=lists[fields.TAGS_LIST],
        rejected=distinct((*marker.rejected, *rejected), there),
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
    changes = _since_nothing_was_ours(history)
    follow: dict[str, NewValue] = {}
    if whole:
        for tag in (fields.METADATA_DATE, fields.SIDECAR_FOR, fields.IIM_CHARSET, fields.IIM_ENVELOPE):
            stack = tuple(
                _Layer(id=record.id, before=record.before.get(tag), after=_text(record.after[tag]))
                for record in changes
                if tag in record.after
            )
            if tag == fields.METADATA_DATE and any(map(_is_old, changes)):
                continue  # which date stood there is not known
            below = _text_below(stands.get(tag), stack, frozenset(layer.id for layer in stack))
            if below != stands.get(tag):
                follow[tag] = below
        if fields.IIM_CHARSET not in follow:  # the version belongs to the declaration
            follow.pop(fields.IIM_ENVELOPE, None)
    elif values:
        follow[fields.METADATA_DATE] = fields.exiftool_date(now)
    digests = [record.before[fields.IIM_DIGEST] for record in changes if fields.IIM_DIGEST in record.before]
    touched = bool(digests) and any(tag.startswith("IPTC:") for tag in (*values, *follow))
    if touched and not _is_stale(stands.get(fields.IIM_DIGEST)):
        follow[fields.IIM_DIGEST] = _digest(changes, digests[0]) if whole else fields.NEW_DIGEST
    return follow


def _digest(changes: Sequence[Record], first: TagValue | None) -> NewValue:
    """Return what the legacy block's digest is to be once nothing of ours stands in it.

    Where a person edited the block by a program that knows nothing of XMP, before our first write or between
    two of them, it is stale again, so that the block goes on counting more than XMP.
    """
    digests = [record.before.get(fields.IIM_DIGEST) for record in changes if not _is_old(record)]
    stale = [digest for digest in digests if _is_stale(digest)]
    if stale:
        return stale[-1]
    return None if first is None else fields.NEW_DIGEST


def _is_stale(digest: TagValue | None) -> bool:
    return digest not in (None, fields.FITTING_DIGEST)


def _since_nothing_was_ours(history: Sequence[Record]) -> list[Record]:
    """Return the records since our first write of which anything still stands."""
    changes: list[Record] = []
    standing: set[str] = set()
    for record in history:
        changes.append(record)
        if record.outcome is Outcome.WRITTEN:
            standing.add(record.id)
        elif not record.undone_words:
            standing -= set(record.undoes)
            changes = changes if standing else []
    return changes


def _is_old(record: Record) -> bool:
    """Tell whether a write was recorded before all that it replaced was noted."""
    return record.outcome is Outcome.WRITTEN and record.marker is None


def _drop(entries: Sequence[str], ours: Iterable[str]) -> tuple[str, ...]:
    """Leave out entries of ours. One that a person respelt is theirs."""
    ours = frozenset(ours)
    return tuple(entry for entry in entries if spelling(entry) not in ours)


def _missing(ours: Iterable[str], entries: Iterable[str]) -> frozenset[str]:
    """Return those of our entries that do not stand among these, however they are spelt."""
    there = _keys(entries)
    return frozenset(entry for entry in ours if key(entry) not in there)


def _forms(words: Iterable[str]) -> Iterable[str]:
    """Return keywords, and what the legacy block holds of them."""
    return (form for word in words for form in (word, fields.cut_bytes(word, fields.LONGEST_IIM_KEYWORD)))


def _spelt(entries: Iterable[str]) -> frozenset[str]:
    return frozenset(spelling(entry) for entry in entries)


def _last(entry: str) -> str:
    """Return the keyword of an entry: its last level, in whichever way the levels are parted."""
    return leaf(leaf(entry), "/")


def _keys(words: Iterable[str]) -> frozenset[str]:
    return frozenset(key(word) for word in words)


def _text(value: NewValue) -> TagValue | None:
    return str(value) if isinstance(value, int) else value


def _tuple(value: NewValue) -> tuple[str, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (str(value),)
