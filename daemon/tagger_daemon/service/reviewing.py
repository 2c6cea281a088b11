"""A person's review of what was proposed: lists it and keeps what is decided. No photo is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tagger_daemon.backlog.store import Backlog
from tagger_daemon.database import Database, read_only
from tagger_daemon.errors import (
    FolderUnavailable,
    PhotoUnreadable,
    ReviewRefused,
)
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger import decisions as decided
from tagger_daemon.ledger import proposals, records
from tagger_daemon.ledger.proposals import Offer
from tagger_daemon.metadata.merge import key
from tagger_daemon.metadata.review import (
    Review,
    State,
    clean_edit,
    clean_word,
    review_of,
)
from tagger_daemon.model import (
    Decision,
    Part,
    Stage,
    Value,
    Verdict,
)
from tagger_daemon.service.clock import now_ms

TEXT_STAGES = {Part.CAPTION: Stage.CAPTION, Part.DESCRIPTION: Stage.DESCRIPTION}


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
                text = review.text(TEXT_STAGES[self.part]) if self.part in TEXT_STAGES else None
                if not _has(review, self.part):
                    return ()
                if text and text.verdict is Verdict.EDIT and self.verdict is Verdict.ACCEPT:
                    return ()  # it is accepted already, in a person's words
        return (Decision(part=self.part, verdict=self.verdict),)


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
        return seen_of(offer)

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
                seen = seen_of(offer)
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
    name, stage = seen.offer.path.name, TEXT_STAGES[part]
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
    if key(cleaned) in {key(there) for there in (*seen.review.standing, *seen.review.leaving)}:
        raise ReviewRefused(f"{seen.offer.path.name} has the keyword {cleaned!r} already")
    proposed = {key(one): one for one in seen.review.proposed_words}
    if key(cleaned) in proposed:
        return Decision(part=Part.KEYWORD, verdict=Verdict.ACCEPT, word=proposed[key(cleaned)])
    return Decision(part=Part.KEYWORD, verdict=Verdict.ADD, word=cleaned)


def seen_of(offer: Offer) -> Seen:
    """Return a proposal with what was decided about it."""
    # Where a refusal is noted nothing is written, whatever words a person had put in before.
    noted = (Decision(part=Part.PHOTO, verdict=Verdict.REJECT),) if offer.refused_at is not None else ()
    review = review_of(offer.record, (*offer.decisions, *noted), left_out=offer.rejected)
    return Seen(offer=offer, review=review)


def _has(review: Review, part: Part) -> bool:
    if part in TEXT_STAGES:
        return review.text(TEXT_STAGES[part]) is not None
    return bool(review.words or review.leaving)


def is_unchanged(offer: Offer) -> bool:
    """Tell whether the very file is there for which something was proposed."""
    try:
        seen = look(offer.path)
    except (PhotoUnreadable, FolderUnavailable):
        return False
    return seen is not None and seen.fingerprint == offer.record.photo.fingerprint
