"""A person's review of what was proposed: lists it, keeps what is decided, and writes exactly that.

No model is asked. Writing is done as any write is: plan, proof and swap, the intention before the file is
touched, record and row together. Decisions stay until they are carried out or taken back.
"""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from tagger_daemon.backlog.store import Backlog, Held
from tagger_daemon.database import Database, read_only
from tagger_daemon.errors import (
    DecidedOtherwise,
    EmbeddingRefused,
    FolderUnavailable,
    PhotoChanged,
    PhotoGone,
    PhotoUnreadable,
    ReviewRefused,
    TaggerError,
)
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger import decisions as decided
from tagger_daemon.ledger import proposals, records
from tagger_daemon.ledger.proposals import Offer
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.fields import read_name
from tagger_daemon.metadata.merge import key
from tagger_daemon.metadata.ownership import known
from tagger_daemon.metadata.review import (
    Review,
    State,
    annotation_of,
    clean_edit,
    clean_word,
    is_as_decided,
    is_as_proposed,
    policy_of,
    refused_words,
    review_of,
)
from tagger_daemon.model import (
    Decision,
    Existing,
    Outcome,
    Part,
    Photo,
    Record,
    Stage,
    Value,
    Verdict,
    WritePlan,
)
from tagger_daemon.service.by_hand import HOLD, Bench
from tagger_daemon.service.clock import now_ms

#: Bytes of a line of a file that a person hands in: a hundred times what a photo's words take up.
LONGEST_LINE = 4 << 20

_STAGES = {Part.CAPTION: Stage.CAPTION, Part.DESCRIPTION: Stage.DESCRIPTION}


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection(Value):
    """Which proposals are meant; what is given narrows it down together."""

    paths: frozenset[Path] = frozenset()  # photos, or folders with all below them; empty: wherever they are
    keyword: str | None = None  # those that propose it
    part: Part | None = None  # those that propose something for this field
    state: State | None = None

    def takes(self, review: Review) -> bool:
        """Tell whether a proposal is meant; where its photo is does not matter here."""
        return (
            (self.keyword is None or review.word(self.keyword) is not None)
            and (self.part is None or _has(review, self.part))
            and (self.state is None or review.state is self.state)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen(Value):
    """One proposal, and what was decided about it."""

    offer: Offer
    review: Review

    @property
    def done(self) -> bool:
        """Whether what was decided has been carried out."""
        return self.offer.settled or self.offer.refused_at is not None

    @property
    def waits(self) -> bool:
        """Whether it was decided, and that is still to be carried out."""
        return not self.done and self.review.begun and self.review.state is not State.PENDING

    def with_decisions(self, fresh: Iterable[Decision]) -> Seen:
        """Return it with more decisions, each in the place of an earlier one about the same part."""
        made: dict[tuple[Part, str], Decision] = {}
        for one in (*self.offer.decisions, *fresh):
            made.pop((one.part, key(one.word)), None)  # said anew, it is the last that was said
            made[one.part, key(one.word)] = one
        offer = self.offer.evolve(decisions=tuple(made.values()))
        return Seen(offer=offer, review=review_of(offer.record, offer.decisions, left_out=offer.rejected))


@dataclass(frozen=True, kw_only=True, slots=True)
class Order(Value):
    """What a person says about many photos at once."""

    verdict: Verdict  # ACCEPT or REJECT
    part: Part = Part.PHOTO
    word: str = ""  # the keyword, where it is about a single one

    def decisions(self, seen: Seen, *, named: bool) -> tuple[Decision, ...]:
        """Return what it comes to for one photo; nothing where it says nothing about that.

        Args:
            seen: the proposal.
            named: the photo itself was named, and not a folder that it is in.
        """
        review = seen.review
        # What was refused as a whole is not accepted along with all others.
        if self.verdict is Verdict.ACCEPT and review.whole is Verdict.REJECT and not named:
            return ()
        match self.part:
            case Part.PHOTO:
                pass
            case Part.KEYWORD:
                word = review.word(self.word)
                if word is None or (word.verdict is Verdict.ADD and self.verdict is Verdict.ACCEPT):
                    return ()  # one that a person added is accepted already
                return (Decision(part=self.part, verdict=self.verdict, word=word.word),)
            case _:
                text = review.text(_STAGES[self.part]) if self.part in _STAGES else None
                if not _has(review, self.part):
                    return ()
                if text and text.verdict is Verdict.EDIT and self.verdict is Verdict.ACCEPT:
                    return ()  # it is accepted already, in a person's words
        return (Decision(part=self.part, verdict=self.verdict),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect(Value):
    """What carrying out a review would do to one photo."""

    seen: Seen
    photo: Photo  # as it is now
    plan: WritePlan | None  # None: it was refused as a whole, and its file is not touched


class Desk:
    """Lists proposals and keeps what is decided about them. No file of a person's is touched."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._backlog = Backlog(database)

    def find(self, selection: Selection) -> Iterator[Seen]:
        """Give the proposals that are meant, by the names of their photos, as they are read.

        Raises:
            StateUnavailable: the database cannot be read.
        """
        return find(self._database.path, selection)

    def one(self, path: Path) -> Seen:
        """Return the proposal for one photo.

        Raises:
            ReviewRefused: there is none.
        """
        return one(self._database.path, path)

    def by_id(self, proposal: str) -> Seen:
        """Return the proposal of this id, whatever became of it.

        Raises:
            ReviewRefused: there is none.
        """
        with self._database.transaction() as db:
            offer = proposals.offer(db, proposal)
        if offer is None:
            raise ReviewRefused("this state directory knows no such proposal")
        return _seen(offer)

    def decide(self, selection: Selection, order: Order) -> int:
        """Keep what a person says about all photos that are meant: about all, or about none.

        Returns:
            About how many photos something was kept.
        """
        # No more than ids and decisions: there may be very many.
        orders = [(seen.offer.record.id, made) for seen, made in self._orders(selection, order)]
        with self._database.transaction():
            return sum(self._keep(proposal, made) for proposal, made in orders)

    def count(self, selection: Selection, order: Order) -> int:
        """Say about how many photos `decide` would keep something."""
        return sum(1 for _ in self._orders(selection, order))

    def _orders(self, selection: Selection, order: Order) -> Iterator[tuple[Seen, tuple[Decision, ...]]]:
        for seen in self.find(selection):
            made = order.decisions(seen, named=seen.offer.path in selection.paths)
            if made and not seen.done:
                yield seen, made

    def keep(self, seen: Seen, made: Iterable[Decision]) -> bool:
        """Keep decisions about one proposal; False: it was settled meanwhile."""
        return self._keep(seen.offer.record.id, made)

    def _keep(self, proposal: str, made: Iterable[Decision]) -> bool:
        with self._database.transaction() as db:
            return decided.decide(db, proposal, [(key(one.word), one) for one in made]) > 0

    def edit(self, seen: Seen, texts: Iterable[tuple[Part, str]], words: Iterable[str]) -> Seen:
        """Put a person's words into a proposal: texts in place of the models', and more keywords.

        Raises:
            ReviewRefused: a text or a keyword cannot be written, or nothing is proposed there.
        """
        fresh = [edited(seen, part, text) for part, text in texts]
        fresh += [added(seen, word) for word in words]
        if seen.done or not self.keep(seen, fresh):
            raise ReviewRefused(f"{seen.offer.path.name}: what was proposed for it has been dealt with")
        return seen.with_decisions(fresh)

    def reset(self, selection: Selection) -> int:
        """Take decisions back, and refusals: what was proposed is to be decided anew.

        Where a refusal that was noted is lifted, a person's own words from before are there again.
        A photo that has changed since is worked on again, for another proposal. That one begins with what a
        person wrote and refused: their words are not lost because a file has changed.

        Returns:
            For how many photos.
        """
        meant = [
            (
                seen.offer.record.id,
                seen.offer.record.content_hash or "",
                seen.offer.path,
                is_unchanged(seen.offer),
            )
            for seen in self.find(selection)
            if seen.review.begun or seen.offer.refused_at
        ]
        with self._database.transaction() as db:
            again: set[Path] = set()
            for proposal, content, path, unchanged in meant:
                if not unchanged:
                    decided.set_aside(db, proposal, gone=not os.path.lexists(path))
                decided.forget(db, proposal)
                again |= {*decided.put_off(db, proposal)} - {path}
                if not unchanged or not decided.is_open(db, proposal):
                    again |= {path, *records.places_of(db, content)}
            self._backlog.reopen(sorted(again), now=now_ms())
        return len(meant)


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


def find(database: Path, selection: Selection) -> Iterator[Seen]:
    """Give the proposals that are meant, by the names of their photos, as they are read.

    By a connection of its own: this may take a while, and must not hold up the daemon.

    Raises:
        StateUnavailable: the database cannot be read.
    """
    wanted: list[Path | None] = [
        *sorted(path for path in selection.paths if not selection.paths.intersection(path.parents))
    ]
    with read_only(database) as db:
        for below in wanted or [None]:
            for offer in proposals.offers(db, below):
                seen = _seen(offer)
                if selection.takes(seen.review):
                    yield seen


def one(database: Path, path: Path) -> Seen:
    """Return the proposal for one photo.

    Raises:
        ReviewRefused: there is none.
    """
    found = list(find(database, Selection(paths=frozenset({path}))))
    if [seen.offer.path for seen in found] != [path]:
        raise ReviewRefused(f"nothing is proposed for {path}; `review list` shows for which photos")
    return found[0]


def edited(seen: Seen, part: Part, text: str) -> Decision:
    """Return the decision that puts a person's text in the place of a proposed one.

    Raises:
        ReviewRefused: it cannot be written, or nothing is proposed there.
    """
    name, stage = seen.offer.path.name, _STAGES[part]
    proposed = seen.review.text(stage)
    if proposed is None:
        raise ReviewRefused(f"{name}: nothing is proposed for its {part}")
    try:
        cleaned = clean_edit(stage, text)
    except ValueError as error:
        raise ReviewRefused(f"{name}: the {part} cannot be written: {error}") from error
    if not cleaned:
        raise ReviewRefused(f"{name}: the {part} is empty; to have none, reject it")
    if cleaned == clean_edit(stage, proposed.proposed):
        return Decision(part=part, verdict=Verdict.ACCEPT)
    return Decision(part=part, verdict=Verdict.EDIT, text=cleaned)


def added(seen: Seen, word: str) -> Decision:
    """Return the decision that adds a keyword of a person's.

    Raises:
        ReviewRefused: it cannot be written.
    """
    try:
        cleaned = clean_word(word)
    except ValueError as error:
        raise ReviewRefused(f"{seen.offer.path.name}: {error}") from error
    if key(cleaned) in {key(standing) for standing in seen.review.standing}:
        raise ReviewRefused(f"{seen.offer.path.name} has the keyword {cleaned!r} already")
    proposed = {key(one): one for one in seen.review.proposed_words}
    if key(cleaned) in proposed:
        return Decision(part=Part.KEYWORD, verdict=Verdict.ACCEPT, word=proposed[key(cleaned)])
    return Decision(part=Part.KEYWORD, verdict=Verdict.ADD, word=cleaned)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line(Value):
    """One proposal of a file that a person hands in."""

    number: int  # of the line, from 1
    seen: Seen  # with all decisions, those of the file included
    fresh: tuple[Decision, ...]  # the decisions that are still to be kept


def proposals_in(database: Path, file: Path, *, problem: Callable[[str], None]) -> Iterator[Line]:
    """Give the proposals of an audit file, with what a person made of them in that very file.

    A text that differs from the model's is an edit, an empty one a refusal, none at all says nothing; a
    keyword that was taken out is refused, another one is added by hand. Of two lines about one proposal the
    first counts, and the other is told. What is not decided otherwise is accepted: the file is handed in to
    be carried out.

    Args:
        database: of the state directory that the proposals were stored in.
        file: the JSON lines; nothing in it is trusted.
        problem: told of each line that cannot be used, and why; the others count all the same.

    Raises:
        ReviewRefused: the file cannot be read.
        StateUnavailable: the database cannot be read.
    """
    first: dict[str, int] = {}
    with read_only(database) as db:
        for number, raw in _lines(file):
            try:
                said = _parsed(raw)
                if said is None:
                    continue
                offer = proposals.offer(db, said["id"])
                if offer is None:
                    raise ReviewRefused("this state directory knows no such proposal")
                if offer.record.id in first:
                    raise ReviewRefused(
                        f"line {first[offer.record.id]} is about the same proposal, and counts"
                    )
                line = _line(number, _seen(offer), said)
                first[offer.record.id] = number
                yield line
            except ReviewRefused as error:
                problem(f"line {number}: {error}")


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as opened:
            number = 0
            while raw := opened.readline(LONGEST_LINE + 1):
                number += 1
                yield number, raw if number > 1 else raw.removeprefix(BOM_UTF8)  # some editors put one there
                while len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
                    raw = opened.readline(LONGEST_LINE + 1)
                    if not raw:
                        return
    except OSError as error:
        raise ReviewRefused(f"{file} cannot be read: {error.strerror}") from error


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """Return what a line says of a proposal, checked; None: it is about something else.

    Raises:
        ReviewRefused: it is not what a line of an audit is.
    """
    if len(raw) > LONGEST_LINE:
        raise ReviewRefused("it is too long to be a line of an audit")
    if not raw.strip():
        return None
    try:
        said = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReviewRefused("it is no JSON, or not the whole of a line") from error
    if not isinstance(said, dict):
        raise ReviewRefused("it is no JSON object")
    if said.get("outcome") != Outcome.PROPOSED:
        return None
    if not isinstance(said.get("id"), str) or not said["id"].isascii():
        raise ReviewRefused("its `id` is missing, or none of ours")
    for name in (Part.CAPTION, Part.DESCRIPTION):
        text = said.get(name)
        if not isinstance(text, str | None):
            raise ReviewRefused(f"its `{name}` is no text")
        _check_whole(name, text or "")
    words = said.get("keywords", [])
    if words is not None and not (
        isinstance(words, list)
        and all(isinstance(one, dict) and isinstance(one.get("keyword"), str) for one in words)
    ):
        raise ReviewRefused('its `keywords` are no list of {"keyword": "…"}')
    for one in words or ():
        _check_whole(Part.KEYWORDS, one["keyword"])
    return said


def _check_whole(name: str, text: str) -> None:
    """Refuse half a character: an editor has lost the other, and who knows what else.

    Raises:
        ReviewRefused: there is one.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ReviewRefused(f"its `{name}` holds half a character")


def _line(number: int, seen: Seen, said: dict[str, Any]) -> Line:
    """Compare what a line says with what was proposed."""
    if seen.done:
        return Line(number=number, seen=seen, fresh=())
    fresh: list[Decision] = []
    if seen.review.whole is None:
        fresh.append(Decision(part=Part.PHOTO, verdict=Verdict.ACCEPT))
    for part, stage in _STAGES.items():
        if (text := said.get(part)) is not None:  # null says nothing
            fresh += _about_text(seen, part, stage, text)
    if (words := said.get("keywords")) is not None:
        fresh += _about_words(seen, [one["keyword"] for one in words])
    return Line(number=number, seen=seen.with_decisions(fresh), fresh=tuple(fresh))


def _about_text(seen: Seen, part: Part, stage: Stage, text: str) -> list[Decision]:
    answered = getattr(seen.offer.record.answers, stage.value) or ""
    if text == answered:
        return []
    if not text.strip() and seen.review.text(stage) is not None:
        return [Decision(part=part, verdict=Verdict.REJECT)]
    return [edited(seen, part, text)]


def _about_words(seen: Seen, words: Sequence[str]) -> list[Decision]:
    there = {key(word) for word in words}
    answered = {key(word) for word in seen.offer.record.answers.keywords or ()}
    proposed = {key(word) for word in seen.review.proposed_words}
    standing = {key(word) for word in seen.review.standing}
    fresh = [
        Decision(part=Part.KEYWORD, verdict=Verdict.REJECT, word=word)
        for word in seen.review.proposed_words
        if key(word) not in there
    ]
    known_words = answered | proposed | standing
    return [*fresh, *(added(seen, word) for word in words if key(word) not in known_words)]


def _seen(offer: Offer) -> Seen:
    # Where a refusal is noted nothing is written, whatever words a person had put in before.
    noted = (Decision(part=Part.PHOTO, verdict=Verdict.REJECT),) if offer.refused_at is not None else ()
    review = review_of(offer.record, (*offer.decisions, *noted), left_out=offer.rejected)
    return Seen(offer=offer, review=review)


def _has(review: Review, part: Part) -> bool:
    if part in _STAGES:
        return review.text(_STAGES[part]) is not None
    return bool(review.words)


def _photo(offer: Offer, path: Path) -> Photo:
    folder = offer.record.photo.folder
    return offer.record.photo.evolve(path=path, folder=folder if path.is_relative_to(folder) else path.parent)


def is_unchanged(offer: Offer) -> bool:
    """Tell whether the very file is there for which something was proposed."""
    try:
        seen = look(offer.path)
    except (PhotoUnreadable, FolderUnavailable):
        return False
    return seen is not None and seen.fingerprint == offer.record.photo.fingerprint


def _changed(offer: Offer) -> PhotoChanged:
    return PhotoChanged(
        f"{offer.path.name} has changed since it was proposed; it is left alone and waits "
        "(`review reset` lets it be proposed anew)"
    )
