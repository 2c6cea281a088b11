"""Which of a picture's writes made a file what it is: a copy shares its original's up to the copying.

Pure. Every write finds a marker in its file, or none, and leaves another. So the marker that stands in a file
leads back, from write to write, to the first; also where other copies of the picture went other ways. Where a
program dropped it, the file's own name leads on, or a text of ours that stands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.plan import marker_values
from tagger_daemon.metadata.undo import BOOKKEEPING, marker_of
from tagger_daemon.model import NewValue, Record, TagValue

Mark = Mapping[str, TagValue]  # the marker's tags and values; those that are not there are left out


def lineage(
    history: Sequence[Record], own: Collection[str], stands: Mapping[str, TagValue]
) -> tuple[Record, ...]:
    """Return the records that led to a file, oldest first; none if nothing of ours is in it.

    Args:
        history: all that was written into copies of a picture, and taken back from them, oldest first.
        own: ids of the records that were made under the file's name, or under one that it had.
        stands: what stands in the file.
    """
    older = list(history)
    mark = _mark(stands)
    at = _left(older, own, mark) if mark else _newest(older, own)
    if at is None:
        at = _recognised(older, stands)
    trail: list[Record] = []
    while at is not None:
        record = older[at]
        trail.append(record)
        del older[at:]
        found = _found(record)
        at = _left(older, own, found) if found else None
        if at is None:  # it was the first, or a program dropped the marker in between
            at = _newest(older, own)
    return tuple(reversed(trail))


def contents_before(record: Record) -> str | None:
    """Return the content that a photo had when it was written before: the picture itself was edited since."""
    content = _found(record).get(fields.MARKER_CONTENT)
    return content if isinstance(content, str) and content != record.content_hash else None


def is_recognised(record: Record, stands: Mapping[str, TagValue]) -> bool:
    """Tell whether a text that a record wrote stands in a file."""
    written = {fields.read_name(tag): value for tag, value in record.after.items()}
    texts = written.keys() - BOOKKEEPING - fields.LISTS
    return any(stands.get(tag) == written[tag] for tag in texts if written[tag] is not None)


def _left(older: Sequence[Record], own: Collection[str], mark: Mark) -> int | None:
    """Return which record left this marker: the newest under the file's own name, else the newest."""
    left = [at for at, record in enumerate(older) if _after(record) == mark]
    return max(left, key=lambda at: (older[at].id in own, at), default=None)


def _newest(older: Sequence[Record], own: Collection[str]) -> int | None:
    return max((at for at, record in enumerate(older) if record.id in own), default=None)


def _recognised(older: Sequence[Record], stands: Mapping[str, TagValue]) -> int | None:
    return max((at for at, record in enumerate(older) if is_recognised(record, stands)), default=None)


def _after(record: Record) -> Mark:
    """Return the marker that a record left."""
    return _mark(marker_values(marker_of(record)))


def _found(record: Record) -> Mark:
    """Return the marker that stood there before: what was not written was the same."""
    written = {tag: value for tag, value in record.before.items() if tag in fields.MARKER}
    return _mark({**_after(record), **written})


def _mark(values: Mapping[str, NewValue]) -> Mark:
    found = {tag: values.get(tag) for tag in fields.MARKER}
    if found[fields.MARKER_SCHEMA] is None:
        return {}
    return {
        tag: str(value) if isinstance(value, int) else value
        for tag, value in found.items()
        if value is not None and value != ()
    }
