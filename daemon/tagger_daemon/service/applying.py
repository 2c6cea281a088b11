"""Carries out what a person decided about proposals: writes exactly that, and notes it.

No model is asked. Writing is done as any write is: plan, proof and swap, the intention before the file is
touched, record and row together. Decisions stay until they are carried out or taken back.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from tagger_daemon.backlog.store import Backlog, Held
from tagger_daemon.errors import (
    DecidedOtherwise,
    EmbeddingRefused,
    FolderUnavailable,
    PhotoChanged,
    PhotoGone,
    TaggerError,
)
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger import decisions as decided
from tagger_daemon.ledger import records
from tagger_daemon.ledger.proposals import Offer
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.fields import read_name
from tagger_daemon.metadata.ownership import known
from tagger_daemon.metadata.review import (
    State,
    annotation_of,
    is_as_decided,
    is_as_proposed,
    policy_of,
    refused_words,
)
from tagger_daemon.model import Existing, Outcome, Photo, Record, Value, Verdict, WritePlan
from tagger_daemon.service.by_hand import HOLD, Bench
from tagger_daemon.service.clock import now_ms
from tagger_daemon.service.reviewing import Seen, is_unchanged


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect(Value):
    """What carrying out a review would do to one photo."""

    seen: Seen
    photo: Photo  # as it is now
    plan: WritePlan | None  # None: it was refused as a whole, and its file is not touched


class Applier:
    """Writes what was decided. Its methods block."""

    def __init__(self, bench: Bench, *, keyword_root: str = "") -> None:
        """Prepare.

        Args:
            bench: what is worked with.
            keyword_root: our keywords stand below this one in hierarchies; "" for none.
        """
        self._bench = bench
        self._backlog, self._ledger = Backlog(bench.database), Ledger(bench.database)
        self._keyword_root = keyword_root

    def effect(self, seen: Seen) -> Effect:
        """Say what would be written for one photo.

        Raises:
            PhotoGone: the photo is not there.
            PhotoChanged: it has changed since it was proposed.
            TaggerError: it cannot be read, and why.
        """
        if seen.review.state is State.REFUSED:
            return Effect(seen=seen, photo=_photo(seen.offer, seen.offer.path), plan=None)
        photo = self._found(seen.offer)
        return self._planned(seen, photo, self._bench.metadata.read(photo))

    def carry_out(self, effect: Effect) -> Record:
        """Write, and note it. On any error the file is as it was, and the decisions still stand.

        Raises:
            LeaseLost: the daemon is at work on the photo.
            DecidedOtherwise: a person has decided something else about it since the effect was worked out.
            TaggerError: the file could not be written, and why.
        """
        if effect.plan is None:
            record = self._record(effect, Outcome.REFUSED)
            self._end(effect, record, None)
            self._tell(record)
            return record
        path = effect.photo.path
        held = self._backlog.hold(path, now=now_ms(), lease_ms=HOLD, left_over=not self._bench.daemon_runs())
        try:
            try:
                record = self._write(effect)
            except EmbeddingRefused as error:
                beside = self._bench.metadata.read_beside(effect.photo, error.reason)
                record = self._write(self._planned(effect.seen, effect.photo, beside, elsewhere=True))
            self._end(effect, record, held)
        except BaseException:  # also Ctrl-C: the daemon must get the photo back
            if held is not None:
                self._backlog.let_go(held, None, now=now_ms())
            raise
        self._tell(record)
        return record

    def _found(self, offer: Offer) -> Photo:
        """Return a proposal's photo as it is now; by another name, where the file has only been renamed.

        Raises:
            PhotoGone: it is nowhere to be found.
            PhotoChanged: it is not the file any more for which something was proposed.
        """
        with self._bench.database.transaction() as db:
            others = records.places_of(db, offer.record.content_hash or "")
        seen = look(offer.path)
        if seen is not None and seen.fingerprint == offer.record.photo.fingerprint:
            return _photo(offer, offer.path)
        for path in others:
            if is_unchanged(offer.evolve(path=path)):
                return _photo(offer, path)
        if seen is None:
            raise PhotoGone(f"{offer.path.name} is no longer there")
        raise _changed(offer)

    def _planned(self, seen: Seen, photo: Photo, existing: Existing, *, elsewhere: bool = False) -> Effect:
        """Plan what was decided.

        `elsewhere`: not where it was proposed, as it turned out that nothing can be written there.
        """
        record, review = seen.offer.record, seen.review
        content = record.content_hash or self._bench.metadata.content_hash(photo)
        existing = known(existing, self._ledger.recall(content)).evolve(content_hash=content)
        if not elsewhere and not is_as_proposed(record, existing):
            raise _changed(seen.offer)
        annotation = annotation_of(record, review)
        policy = policy_of(record, review, keyword_root=self._keyword_root)
        plan = self._bench.metadata.plan(existing, annotation, policy)
        if not is_as_decided(plan, annotation, policy, review):
            raise _changed(seen.offer)
        return Effect(seen=seen, photo=photo, plan=plan)

    def _write(self, effect: Effect) -> Record:
        plan = effect.plan
        assert plan is not None
        if not plan.writes:
            return self._record(effect, Outcome.UNCHANGED)
        record = self._record(effect, Outcome.WRITTEN)
        with self._bench.database.transaction() as db:
            _check_still_decided(db, effect.seen)
            self._ledger.intend(record)
        try:
            written = self._bench.metadata.apply(plan)
        except TaggerError:
            self._ledger.forget(record)
            raise
        return record.evolve(content_hash=written.content_hash, final_fingerprint=written.photo_fingerprint)

    def _end(self, effect: Effect, record: Record, held: Held | None) -> None:
        """Row and record end together."""
        with self._bench.database.transaction() as db:
            if record.outcome is not Outcome.WRITTEN:  # of a write that was seen to before it was begun
                _check_still_decided(db, effect.seen)
            if held is not None:
                self._backlog.let_go(held, record.final_fingerprint, now=now_ms())
            self._ledger.followed(record)
            self._ledger.add(record)
            self._bench.finished(record)
            # Other copies of the picture were left as they are meanwhile: now it is their turn.
            others = set(decided.put_off(db, record.proposal)) - {record.photo.path}
            self._backlog.reopen(sorted(others), now=now_ms())

    def _tell(self, record: Record) -> None:
        """Add the line of the audit."""
        try:
            self._bench.audit.append(record)
        except FolderUnavailable as error:
            logger.warning("{}; the service adds the line at its next start", error)
        else:
            self._ledger.mark_audited(record)

    def _record(self, effect: Effect, outcome: Outcome) -> Record:
        offered, plan = effect.seen.offer.record, effect.plan
        record = Record(
            id=uuid.uuid4().hex,
            photo=effect.photo,
            outcome=outcome,
            finished_at=self._bench.now().isoformat(timespec="milliseconds"),
            title=offered.title,
            keywords=offered.keywords,
            description=offered.description,
            notes=offered.notes,
            origins=offered.origins,
            content_hash=offered.content_hash,
            final_fingerprint=effect.photo.fingerprint,
            run=self._bench.run,
            judged=offered.judged,
            marker=offered.marker,
            answers=offered.answers,
            proposal=offered.id,
        )
        if plan is None:
            return record.evolve(reason="a person refused it", rejected=refused_words(offered))
        marker = plan.result.marker
        written = outcome is Outcome.WRITTEN
        return record.evolve(
            target=plan.target if written else None,
            original=plan.original if written else None,
            title=plan.result.title,
            keywords=plan.result.keywords,
            description=plan.result.description,
            before={read_name(write.tag): write.before for write in plan.writes},
            after={read_name(write.tag): write.value for write in plan.writes},
            kept=plan.kept,
            notes=plan.existing.notes,
            created=written and plan.existing.source_fingerprint is None,
            marker=marker,
            by_hand=tuple(word.word for word in effect.seen.review.words if word.verdict is Verdict.ADD),
            rejected=marker.rejected if marker else plan.existing.rejected,
        )


def _check_still_decided(db: sqlite3.Connection, seen: Seen) -> None:
    """Look once more, in the transaction that begins or ends it, whether a person still wants this.

    Raises:
        DecidedOtherwise: something else was decided meanwhile, or it was settled.
    """
    proposal = seen.offer.record.id
    standing = set(decided.decisions_about(db, proposal))
    if standing != set(seen.offer.decisions) or not decided.is_open(db, proposal):
        raise DecidedOtherwise(f"{seen.offer.path.name}: something else was decided about it meanwhile")


def _photo(offer: Offer, path: Path) -> Photo:
    folder = offer.record.photo.folder
    return offer.record.photo.evolve(path=path, folder=folder if path.is_relative_to(folder) else path.parent)


def _changed(offer: Offer) -> PhotoChanged:
    return PhotoChanged(
        f"{offer.path.name} has changed since it was proposed; it is left alone and waits "
        "(`review reset` lets it be proposed anew)"
    )
