"""Takes back what was written: finds the writes, says what would become of each photo, and does it.

The same plan, proof and swap as for any write, and the same order of effects: the intention is noted before
the file is touched, record and row end together.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from loguru import logger

from tagger_daemon.backlog.store import Backlog, is_queued
from tagger_daemon.database import Database, read_only
from tagger_daemon.errors import FolderUnavailable, PhotoGone, PhotoUnreadable, TaggerError
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.fields import LISTS, read_name
from tagger_daemon.metadata.lineage import contents_before, is_recognised, lineage
from tagger_daemon.metadata.merge import distinct, key, leaf
from tagger_daemon.metadata.naming import is_supported
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.metadata.undo import TakenBack, standing_records
from tagger_daemon.model import Existing, Outcome, Photo, Record, Value, WritePlan
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service.by_hand import HOLD
from tagger_daemon.service.clock import now_ms

History = Sequence[tuple[Path, Record]]  # oldest first; each with the name that its photo has now


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection(Value):
    """Which writes are to be taken back; what is given narrows it down together."""

    paths: frozenset[Path] = frozenset()  # photos, or folders with all below them; empty: wherever they are
    run: str | None = None
    day: date | None = None  # local, on which the writes were finished
    model: str | None = None  # as the server names it, or the registry's entry
    profile: str | None = None
    keyword: str | None = None  # only this one

    def within(self, path: Path) -> bool:
        """Tell whether a photo is meant by where it is."""
        return not self.paths or not self.paths.isdisjoint((path, *path.parents))

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
    """One file into which was written what is to be taken back."""

    path: Path  # of the photo, now
    target: Path  # the file that was written
    contents: frozenset[str]  # of the photo: more than one where the picture itself was edited in between
    meant: frozenset[str]  # ids of the writes that are to be taken back, if they stand in this file


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect(Value):
    """What taking writes back would do to one file."""

    found: Found
    photo: Photo
    plan: WritePlan
    taken: TakenBack
    words: tuple[str, ...]  # only these keywords; empty: everything
    content_hash: str  # under which its newest record stands
    rejected: tuple[str, ...]  # keywords that are never to be proposed again

    @property
    def leaves_alone(self) -> bool:
        """Whether the photo is not to be tagged again by itself: not that it only loses a keyword."""
        return not self.words and (self.taken.whole or bool(self.taken.restored))


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
        daemon_runs: Callable[[], bool],
    ) -> None:
        self._database = database
        self._backlog, self._ledger = Backlog(database), Ledger(database)
        self._audit = audit
        self._metadata = metadata
        self._run = run
        self._now = now
        self._daemon_runs = daemon_runs

    def find(self, selection: Selection) -> tuple[list[Found], list[Path]]:
        """Return the files whose writes are meant, and the photos that are nowhere to be found.

        Raises:
            StateUnavailable: the database cannot be read.
        """
        contents: dict[Path, set[str]] = {}
        missing: set[Path] = set()
        found: list[Found] = []
        # By a connection of its own: this may take a while, and must not hold up the daemon.
        with read_only(self._database.path) as db:
            for path, content in self._candidates(db, selection):
                place = _present(db, path, content)
                if place is None:
                    # One from which all was taken back before is not missed.
                    missing |= {path for _ in _written(db, path, [content], selection)}
                elif selection.within(place):
                    contents.setdefault(place, set()).add(content)
            for place, known in contents.items():
                found += _written(db, place, known, selection)
        return found, sorted(missing - contents.keys())

    def effect(self, found: Found, keyword: str | None) -> Effect | None:
        """Say what taking back would do to one file; None: what is meant does not stand in it.

        Raises:
            PhotoGone: the photo is not there, or another picture is.
            TaggerError: the file cannot be read, and why.
        """
        seen = look(found.path)
        if seen is None:
            raise PhotoGone(f"{found.path.name} is no longer there")
        photo = Photo(path=found.path, folder=found.path.parent, fingerprint=seen.fingerprint)
        existing = self._metadata.read_written(photo, found.target)
        with read_only(self._database.path) as db:
            history = self._history(db, found, existing)
            own = _own(db, history, found.path)
        into = [record for _, record in history if _target(record, found.path) == found.target]
        led = lineage(into, own, existing.stands)
        chosen = [record.id for record in standing_records(led) if record.id in found.meant]
        if not chosen:
            return None
        words = (keyword,) if keyword else ()
        plan, taken = self._metadata.plan_undo(existing, led, chosen, words)
        marked = existing.marker.rejected if existing.marker else ()
        content = led[-1].content_hash
        assert content is not None  # it was found by it
        folder = led[-1].photo.folder
        return Effect(
            found=found,
            photo=photo.evolve(folder=folder if found.path.is_relative_to(folder) else found.path.parent),
            plan=plan,
            taken=taken,
            words=words,
            content_hash=content,
            rejected=distinct((*self._ledger.recall(content).rejected, *marked, *taken.rejected, *words)),
        )

    def carry_out(self, effect: Effect) -> Record:
        """Take back, and note it. On any error the file is as it was, and nothing counts as taken back.

        Raises:
            LeaseLost: the daemon is at work on the photo.
            TaggerError: the file could not be written, and why.
        """
        path = effect.photo.path
        held = self._backlog.hold(path, now=now_ms(), lease_ms=HOLD, left_over=not self._daemon_runs())
        fingerprint = None  # what the row says stays, unless the file is written
        try:
            plan = effect.plan
            if plan.existing.embedded:
                plan = plan.evolve(content_hash=self._metadata.content_hash(effect.photo))
            record = self._record(effect)
            alone = [content for content in (effect.content_hash, plan.content_hash) if content]
            with self._database.transaction():
                self._ledger.intend(record)
                for content in alone if effect.leaves_alone else ():
                    self._ledger.note_undone(content, at=record.finished_at, known_as=effect.content_hash)
            try:
                fingerprint = self._metadata.apply(plan).photo_fingerprint
            except TaggerError:
                with self._database.transaction():
                    self._ledger.forget(record)
                    self._ledger.forget_undone(alone, at=record.finished_at)
                raise
            record = record.evolve(final_fingerprint=fingerprint)
            self._ledger.add(record)
        finally:
            if held is not None:
                self._backlog.let_go(held, fingerprint, now=now_ms())
        self._tell(record)
        return record

    def _tell(self, record: Record) -> None:
        try:
            self._audit.append(record)
        except FolderUnavailable as error:
            logger.warning("{}; the service adds the line at its next start", error)
        else:
            self._ledger.mark_audited(record)

    def _candidates(self, db: records.Connection, selection: Selection) -> Iterator[tuple[Path, str]]:
        """Give the photos that a selection can mean: where each was when it was written, and its content."""
        if not selection.paths:
            # A list: the rows are not to be read on while their photos are looked at.
            yield from list(
                records.written_photos(
                    db, day=selection.day, run=selection.run, mentions=selection.model or selection.profile
                )
            )
        for wanted in sorted(selection.paths):
            known = records.contents_below(db, wanted)
            yield from known
            if wanted.is_dir():
                yield from self._unseen(db, wanted, {path for path, _ in known})
            elif not known and (seen := look(wanted)) is not None:  # moved here without our seeing it
                photo = Photo(path=wanted, folder=wanted.parent, fingerprint=seen.fingerprint)
                yield wanted, self._metadata.content_hash(photo)

    def _unseen(
        self, db: records.Connection, folder: Path, known: Collection[Path]
    ) -> Iterator[tuple[Path, str]]:
        """Give the photos of ours that were moved into a folder without our seeing it, with their contents.

        Only files are read that are as large as a photo that is not where it was: there may be many others.
        """
        files: dict[int, list[Photo]] = {}
        for parent, _, names in os.walk(folder):
            for path in (Path(parent, name) for name in names):
                if path in known or not is_supported(path) or is_queued(db, path):
                    continue
                # Of what cannot be read nothing is known, so nothing of ours either.
                with suppress(PhotoUnreadable, FolderUnavailable):
                    if (seen := look(path)) is not None:
                        photo = Photo(path=path, folder=folder, fingerprint=seen.fingerprint)
                        files.setdefault(seen.fingerprint.size, []).append(photo)
        gone: dict[int, set[str]] = {}
        for place, content, size in records.sizes(db) if files else ():
            if size in files and not _is_there(place):
                gone.setdefault(size, set()).add(content)
        for size, contents in gone.items():
            for photo in files[size]:
                with suppress(PhotoUnreadable, PhotoGone):
                    content = self._metadata.content_hash(photo)
                    if content in contents:
                        yield photo.path, content

    def _history(self, db: records.Connection, found: Found, existing: Existing) -> History:
        """Return all that was written into copies of the picture that a file holds, and taken back.

        Raises:
            PhotoGone: it holds another picture than the one that is meant.
        """
        content = existing.marker.content_hash if existing.marker else ""
        history = _all_about(db, [content or self._metadata.content_hash(existing.photo)])
        if any(record.content_hash in found.contents for _, record in history):
            return history
        # Edited since, and its marker dropped: only the words themselves tell.
        history = _all_about(db, found.contents)
        if any(place == found.path and is_recognised(record, existing.stands) for place, record in history):
            return history
        raise PhotoGone(f"another picture has the name {found.path.name} now")

    def _record(self, effect: Effect) -> Record:
        now = self._now().isoformat(timespec="milliseconds")
        return Record(
            id=uuid.uuid4().hex,
            photo=effect.photo,
            outcome=Outcome.UNDONE,
            started_at=now,
            finished_at=now,
            target=effect.found.target,
            before={read_name(write.tag): write.before for write in effect.plan.writes},
            after={read_name(write.tag): write.value for write in effect.plan.writes},
            content_hash=effect.content_hash,
            run=self._run,
            final_fingerprint=effect.photo.fingerprint,
            marker=effect.taken.marker,
            rejected=effect.rejected,
            undoes=effect.taken.undoes,
            undone_words=effect.words,
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
        return Backlog(database).reopen(sorted({path for path, _ in meant}), now=now)


def adds(record: Record, keyword: str) -> bool:
    """Tell whether a write added this keyword, flat or as the last level of a hierarchical one."""
    return any(
        key(leaf(leaf(word), "/")) == key(keyword) and word not in (record.before.get(tag) or ())
        for tag in LISTS & record.after.keys()
        for word in _words(record.after[tag])
    )


def _words(value: object) -> Sequence[str]:
    return value if isinstance(value, tuple) else ()


def _present(db: records.Connection, path: Path, content: str) -> Path | None:
    """Return where a photo is: where it was last seen, or else another name of the same picture.

    A name that another picture has now is none of its.
    """
    for place in (path, *(other for other in records.places_of(db, content) if other != path)):
        last = records.content_at(db, place)
        if (last in (None, content) or content in _contents(db, [last])) and _is_there(place):
            return place
    return None


def _written(
    db: records.Connection, path: Path, contents: Iterable[str], selection: Selection
) -> Iterator[Found]:
    """Give the files of one photo with writes that are meant: its sidecars, and last the photo itself."""
    known = frozenset(contents)
    history = _all_about(db, known)
    undone = _undone(db, history, path)
    meant: dict[Path, set[str]] = {}
    for _, record in history:
        if record.outcome is Outcome.WRITTEN and record.id not in undone and selection.takes(record):
            meant.setdefault(_target(record, path), set()).add(record.id)
    for target in sorted(meant, key=lambda target: target == path):
        yield Found(path=path, target=target, contents=known, meant=frozenset(meant[target]))


def _undone(db: records.Connection, history: History, path: Path) -> set[str]:
    """Return the ids of the writes that were taken back from this photo, as far as its name tells.

    What was taken back under a name that is no more was taken back here, unless there are several copies, or
    this name has writes of its own: then the other was one of a copy.
    """
    undone: dict[Path, set[str]] = {}
    for place, record in history:
        if record.outcome is Outcome.UNDONE and not record.undone_words:
            undone.setdefault(place, set()).update(record.undoes)
    ids = undone.pop(path, set())
    if any(place == path and record.outcome is Outcome.WRITTEN for place, record in history):
        return ids
    gone = [place for place in undone if not _is_there(place)]
    contents = {content for _, record in history if (content := record.content_hash)}
    if gone and not any(
        place != path and _is_there(place) for content in contents for place in records.places_of(db, content)
    ):
        ids.update(*(undone[place] for place in gone))
    return ids


def _all_about(db: records.Connection, contents: Iterable[str]) -> History:
    """Return the history of pictures, that of what they were edited from included."""
    return records.history_of(db, _contents(db, contents))


def _contents(db: records.Connection, contents: Iterable[str]) -> set[str]:
    """Return contents with all that they were edited from, as far as we wrote into that."""
    known: set[str] = set()
    fresh = set(contents)
    while fresh:
        known |= fresh
        history = records.history_of(db, fresh)
        fresh = {content for _, record in history if (content := contents_before(record))} - known
    return known


def _own(db: records.Connection, history: History, path: Path) -> frozenset[str]:
    """Return the ids of the records of this photo: of its name, and of names that it had before."""
    own: dict[Path, bool] = {path: True}
    contents = {record.content_hash for _, record in history}
    for place, _ in history:
        if place not in own:
            own[place] = not _is_there(place) or records.content_at(db, place) not in contents
    return frozenset(record.id for place, record in history if own[place])


def _target(record: Record, path: Path) -> Path:
    """Return the file that a write went to, by the name that its photo has now."""
    written, photo = record.target, record.photo.path
    if written is None or written == photo:
        return path
    if photo.name == path.name:
        return path.with_name(written.name)
    base = path.name if written.stem.casefold() == photo.name.casefold() else path.stem
    return path.with_name(f"{base}{written.suffix}")


def _is_there(path: Path) -> bool:
    """Tell whether a file is there; one that may not be looked at is, and says so when its turn comes."""
    try:
        return look(path) is not None
    except (PhotoUnreadable, FolderUnavailable):
        return True
