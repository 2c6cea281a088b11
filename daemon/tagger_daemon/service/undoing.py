"""Takes back what was written: finds the writes, says what would become of each photo, and does it.

The same plan, proof and swap as for any write, and the same order of effects: the intention is noted before
the file is touched, record and row end together.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from tagger_daemon.backlog.store import Backlog
from tagger_daemon.database import Database
from tagger_daemon.errors import PhotoGone, TaggerError
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.fields import LISTS, read_name
from tagger_daemon.metadata.merge import distinct, key, leaf
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.metadata.undo import TakenBack, standing_records
from tagger_daemon.model import Outcome, Photo, Record, Value, WritePlan
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service.clock import now_ms

#: A photo is kept from the daemon for at most this long, milliseconds; a write takes a fraction of it.
HOLD = 300_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection(Value):
    """Which writes are to be taken back; what is given narrows it down together."""

    paths: tuple[Path, ...] = ()  # photos, or folders with all below them; empty: wherever they are
    run: str | None = None
    day: date | None = None  # local, on which the writes were finished
    model: str | None = None  # as the server names it, or the registry's entry
    profile: str | None = None
    keyword: str | None = None  # only this one

    def takes(self, record: Record) -> bool:
        """Tell whether a write is meant; where its photo is does not matter here."""
        origins = record.origins.values()
        return (
            (self.run is None or record.run == self.run)
            and (self.day is None or datetime.fromisoformat(record.finished_at).date() == self.day)
            and (
                self.model is None
                or any(self.model in (origin.model, origin.served, origin.entry) for origin in origins)
            )
            and (self.profile is None or any(self.profile == origin.profile for origin in origins))
            and (self.keyword is None or adds(record, self.keyword))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Found(Value):
    """One file, and the writes into it that are to be taken back."""

    path: Path  # of the photo, now
    target: Path  # the file that was written
    content_hash: str
    history: tuple[Record, ...]  # all that was written there and taken back, oldest first
    chosen: tuple[str, ...]  # ids of those that are to be taken back


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect(Value):
    """What taking writes back would do to one file."""

    found: Found
    photo: Photo
    plan: WritePlan
    taken: TakenBack


class Undoer:
    """Finds, looks, takes back. Its methods block."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditLog,
        metadata: MetadataStore,
        run: str,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._backlog, self._ledger = Backlog(database), Ledger(database)
        self._audit = audit
        self._metadata = metadata
        self._run = run
        self._now = now

    def find(self, selection: Selection) -> tuple[list[Found], list[Path]]:
        """Return the files whose writes are meant, and the photos that are nowhere to be found.

        Raises:
            StateUnavailable: the database cannot be read.
        """
        found: list[Found] = []
        missing: list[Path] = []
        with self._database.transaction() as db:
            for path, content in self._meant(db, selection):
                if look(path) is None:
                    missing.append(path)
                    continue
                found += self._writes(db, path, content, selection)
        return found, missing

    def effect(self, found: Found, keyword: str | None) -> Effect:
        """Say what taking back would do to one file.

        Raises:
            TaggerError: the file cannot be read, and why.
        """
        seen = look(found.path)
        if seen is None:
            raise PhotoGone(f"{found.path.name} is no longer there")
        photo = Photo(path=found.path, folder=found.history[-1].photo.folder, fingerprint=seen.fingerprint)
        words = (keyword,) if keyword else ()
        plan, taken = self._metadata.plan_undo(photo, found.target, found.history, found.chosen, words)
        return Effect(found=found, photo=photo, plan=plan, taken=taken)

    def carry_out(self, effect: Effect, keyword: str | None) -> Record:
        """Take back, and note it. On any error the file is as it was, and nothing counts as taken back.

        Raises:
            LeaseLost: the daemon is at work on the photo.
            TaggerError: the file could not be written, and why.
        """
        held = self._backlog.hold(effect.photo.path, now=now_ms(), lease_ms=HOLD)
        record = self._record(effect, keyword)
        leave_alone = effect.taken.whole and keyword is None
        fingerprint = effect.photo.fingerprint
        try:
            with self._database.transaction():
                self._ledger.intend(record)
                if leave_alone:
                    self._ledger.note_undone(effect.found.content_hash, at=record.finished_at)
            try:
                fingerprint = self._metadata.apply(effect.plan).photo_fingerprint
            except TaggerError:
                with self._database.transaction():
                    self._ledger.forget(record)
                    if leave_alone:
                        self._ledger.forget_undone([effect.found.content_hash])
                raise
            record = record.evolve(final_fingerprint=fingerprint)
            self._ledger.add(record)
        finally:
            if held is not None:
                self._backlog.let_go(held, fingerprint, now=now_ms())
        self._audit.append(record)
        self._ledger.mark_audited(record)
        return record

    def _meant(self, db: records.Connection, selection: Selection) -> Iterator[tuple[Path, str]]:
        """Give the photos that a selection can mean: where each is now, and its content; none twice."""
        seen: set[tuple[Path, str]] = set()
        for path, content in self._candidates(db, selection):
            place = _present(db, path, content)
            if selection.paths and not any(place.is_relative_to(wanted) for wanted in selection.paths):
                continue
            if (place, content) not in seen:
                seen.add((place, content))
                yield place, content

    def _candidates(self, db: records.Connection, selection: Selection) -> Iterator[tuple[Path, str]]:
        if not selection.paths:
            for path, record in list(records.written_records(db, day=selection.day)):
                if record.content_hash is not None and selection.takes(record):
                    yield path, record.content_hash
            return
        for wanted in selection.paths:
            known = records.contents_below(db, wanted)
            yield from known
            if not known and wanted.is_file():  # moved here without our seeing it
                seen = look(wanted)
                assert seen is not None
                photo = Photo(path=wanted, folder=wanted.parent, fingerprint=seen.fingerprint)
                yield wanted, self._metadata.content_hash(photo)

    def _writes(
        self, db: records.Connection, path: Path, content: str, selection: Selection
    ) -> Iterator[Found]:
        """Give the files of one photo with writes that are meant: the photo itself, its sidecar, or both."""
        history = _own(records.history_of(db, content), path)
        for target in dict.fromkeys(_target(record, path) for record in history):
            here = tuple(record for record in history if _target(record, path) == target)
            chosen = tuple(record.id for record in standing_records(here) if selection.takes(record))
            if chosen:
                yield Found(path=path, target=target, content_hash=content, history=here, chosen=chosen)

    def _record(self, effect: Effect, keyword: str | None) -> Record:
        newest = effect.found.history[-1]
        return Record(
            id=uuid.uuid4().hex,
            photo=effect.photo,
            outcome=Outcome.UNDONE,
            finished_at=self._now().isoformat(timespec="milliseconds"),
            target=effect.found.target,
            before={read_name(write.tag): write.before for write in effect.plan.writes},
            after={read_name(write.tag): write.value for write in effect.plan.writes},
            content_hash=effect.found.content_hash,
            run=self._run,
            final_fingerprint=effect.photo.fingerprint,
            marker=effect.taken.marker,
            rejected=distinct((*newest.rejected, *effect.taken.rejected, *((keyword,) if keyword else ()))),
            undoes=effect.taken.undoes,
            undone_words=(keyword,) if keyword else (),
        )


def release(database: Database, below: Path | None, *, now: int) -> int:
    """Have photos tagged again whose words were taken back: all, one, or those below a folder.

    Returns:
        How many are queued again; one that lies in no watch folder is tagged when it comes into one.
    """
    with database.transaction() as db:
        meant = [
            (path, content)
            for path, content in records.undone_photos(db)
            if below is None or path.is_relative_to(below)
        ]
        Ledger(database).forget_undone(content for _, content in meant)
        return Backlog(database).reopen([path for path, _ in meant], now=now)


def adds(record: Record, keyword: str) -> bool:
    """Tell whether a write added this keyword, flat or as the last level of a hierarchical one."""
    return any(
        key(leaf(leaf(word), "/")) == key(keyword) and word not in (record.before.get(tag) or ())
        for tag in LISTS & record.after.keys()
        for word in _words(record.after[tag])
    )


def _words(value: object) -> Sequence[str]:
    return value if isinstance(value, tuple) else ()


def _present(db: records.Connection, path: Path, content: str) -> Path:
    """Return where a photo is: where it was last seen, or else another name of the same picture."""
    if path.exists():
        return path
    return next((other for other in records.places_of(db, content) if other.exists()), path)


def _own(history: Sequence[tuple[Path, Record]], path: Path) -> list[Record]:
    """Return the writes that stand in this file: its own, and those of names that it had before.

    A copy of a tagged photo has no writes of its own: it carries those of the photo that it was made of.
    """
    own = [record for place, record in history if place == path or not place.exists()]
    if any(record.outcome is Outcome.WRITTEN for record in own):
        return own
    return [record for _, record in history]


def _target(record: Record, path: Path) -> Path:
    """Return the file that a write went to, by the name that its photo has now."""
    written, photo = record.target, record.photo.path
    if written is None or written == photo:
        return path
    base = path.name if written.stem.casefold() == photo.name.casefold() else path.stem
    return path.with_name(f"{base}{written.suffix}")
