"""What a person makes of a proposal: the difference, how far it is decided, and what is to be written.

Pure. A decision about a single keyword counts more than one about all of them, and that more than one about
the whole photo. Refusing the whole photo overrules what was decided about parts of it before, and not what is
said about them afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import clean_keyword, distinct, key
from tagger_daemon.model import (
    Annotation,
    Decision,
    Draft,
    Existing,
    Kept,
    Mode,
    Part,
    Policy,
    Record,
    Stage,
    Value,
    Verdict,
    WritePlan,
    text_hash,
)

_TEXTS = (Stage.CAPTION, Stage.DESCRIPTION)
_LISTS = frozenset({fields.KEYWORDS, fields.HIERARCHICAL, fields.TAGS_LIST, fields.IIM_KEYWORDS})
_WRITER = "CaptionWriter"


class State(StrEnum):
    """How far a proposal is decided."""

    PENDING = "pending"  #: something of it is not decided yet
    ACCEPTED = "accepted"  #: all of it, as it is
    EDITED = "edited"  #: decided, and something else is written than was proposed
    REFUSED = "refused"  #: nothing of it is written


@dataclass(frozen=True, kw_only=True, slots=True)
class TextChange(Value):
    """What is proposed for the fields of one stage, and what was decided about it."""

    stage: Stage
    names: tuple[str, ...]  # of the fields that would change, as the settings name them
    before: str | None  # what stands in the first of them; None: nothing
    proposed: str
    verdict: Verdict | None  # None: not decided
    text: str  # what is written if it is accepted: the proposed text, or a person's


@dataclass(frozen=True, kw_only=True, slots=True)
class WordChange(Value):
    """One keyword that is proposed, or that a person adds."""

    word: str
    verdict: Verdict | None  # None: not decided


@dataclass(frozen=True, kw_only=True, slots=True)
class Review(Value):
    """One proposal, and what was decided about it."""

    texts: tuple[TextChange, ...]
    words: tuple[WordChange, ...]
    standing: tuple[str, ...]  # keywords that stand there and stay
    leaving: tuple[str, ...]  # keywords of ours that stand there, and that the models do not give any more
    leaving_verdict: Verdict | None  # whether those are taken out; None: not decided
    kept: tuple[Kept, ...]  # what the proposal leaves alone, and why
    whole: Verdict | None  # what was decided about the photo as a whole

    @property
    def state(self) -> State:
        """How far it is decided."""
        verdicts = self._verdicts
        if None in verdicts or not (verdicts or self.whole):
            return State.PENDING
        if set(verdicts or [self.whole]) == {Verdict.REJECT}:
            return State.REFUSED
        return State.ACCEPTED if set(verdicts) <= {Verdict.ACCEPT} else State.EDITED

    @property
    def begun(self) -> bool:
        """Whether anything was decided."""
        return any(verdict is not None for verdict in (self.whole, *self._verdicts))

    @property
    def _verdicts(self) -> list[Verdict | None]:
        told = [*(text.verdict for text in self.texts), *(word.verdict for word in self.words)]
        return [*told, self.leaving_verdict] if self.leaving else told

    @property
    def proposed_words(self) -> tuple[str, ...]:
        """The keywords that the models gave."""
        return tuple(word.word for word in self.words if word.verdict is not Verdict.ADD)

    def text(self, stage: Stage) -> TextChange | None:
        """Return what is proposed for a stage's fields; None: nothing is."""
        return next((text for text in self.texts if text.stage is stage), None)

    def word(self, word: str) -> WordChange | None:
        """Return what is proposed, or added, of a keyword in any spelling; None: nothing is."""
        return next((one for one in self.words if key(one.word) == key(word)), None)


def review_of(record: Record, decisions: Iterable[Decision] = (), *, left_out: Iterable[str] = ()) -> Review:
    """Return a proposal with what was decided about it.

    Args:
        record: of the proposal.
        decisions: in the order in which they were made, at most one about each part; about what is not
            proposed they say nothing.
        left_out: keywords that a person has refused for this picture since, in the review of another copy.
    """
    made: dict[tuple[Part, str], Decision] = {}
    for one in decisions:
        if (one.part, one.verdict) == (Part.PHOTO, Verdict.REJECT):
            made.clear()
        made[one.part, key(one.word)] = one
    photo = made.get((Part.PHOTO, ""))
    whole = photo.verdict if photo else None
    texts = []
    for stage, names in _names(record).items():
        proposed = _said(record, stage, names)
        decision = made.get((Part(stage.value), ""))
        stood = record.before.get(fields.TEXT_FIELDS[names[0]].tag)
        texts.append(
            TextChange(
                stage=stage,
                names=names,
                before=None if stood is None else str(stood),
                proposed=proposed,
                verdict=decision.verdict if decision else whole,
                text=decision.text if decision and decision.verdict is Verdict.EDIT else proposed,
            )
        )
    all_words = made.get((Part.KEYWORDS, ""))
    general = all_words.verdict if all_words else whole
    proposed_words = distinct(_words(record), map(key, left_out))
    words = []
    for word in proposed_words:
        single = made.get((Part.KEYWORD, key(word)))
        words.append(WordChange(word=word, verdict=single.verdict if single else general))
    added = [one.word for one in made.values() if one.verdict is Verdict.ADD]
    words += [
        WordChange(word=word, verdict=Verdict.ADD) for word in distinct(added, map(key, proposed_words))
    ]
    return Review(
        texts=tuple(texts),
        words=tuple(words),
        standing=_standing(record),
        leaving=_leaving(record),
        leaving_verdict=_leaving_verdict(all_words, words, whole),
        kept=record.kept,
        whole=whole,
    )


def _leaving_verdict(
    about_all: Decision | None, words: Iterable[WordChange], whole: Verdict | None
) -> Verdict | None:
    """Return whether keywords of ours give way to those that are proposed: not if none of these is wanted."""
    if about_all is not None:
        return about_all.verdict
    verdicts = {word.verdict for word in words if word.verdict is not Verdict.ADD}
    if verdicts == {Verdict.REJECT}:
        return Verdict.REJECT
    return Verdict.ACCEPT if Verdict.ACCEPT in verdicts else whole


def annotation_of(record: Record, review: Review) -> Annotation:
    """Return what is to be written of a proposal, and what of it is a person's or refused.

    What is not decided is neither.
    """
    accepted = {text.stage: text.text for text in review.texts if text.verdict is Verdict.ACCEPT}
    refused = {text.stage: text.proposed for text in review.texts if text.verdict is Verdict.REJECT}
    by_hand = {text.stage: text.text for text in review.texts if text.verdict is Verdict.EDIT}
    # Those of ours that stay are said again: words that are not among a model's are taken out.
    staying = (
        review.standing if review.leaving_verdict is Verdict.ACCEPT else (*review.standing, *review.leaving)
    )
    ours = _ours(record)
    return Annotation(
        caption=accepted.get(Stage.CAPTION),
        keywords=(
            *(word for word in staying if key(word) in ours),
            *_with(review.words, Verdict.ACCEPT),
        ),
        description=accepted.get(Stage.DESCRIPTION),
        origins=record.answers.origins,
        by_hand=_draft(by_hand, _with(review.words, Verdict.ADD)),
        refused=_draft(refused, _with(review.words, Verdict.REJECT)),
    )


def _draft(texts: Mapping[Stage, str], words: tuple[str, ...]) -> Draft:
    return Draft(
        caption=texts.get(Stage.CAPTION),
        keywords=words or None,
        description=texts.get(Stage.DESCRIPTION),
    )


def policy_of(record: Record, review: Review, *, keyword_root: str = "") -> Policy:
    """Return what may be written to carry out a proposal: the very fields that it was made for.

    Its texts go over whatever they were proposed to go over; that it still stands there, the caller sees to.
    """
    listed = bool(_LISTS & record.after.keys()) or any(word.verdict is Verdict.ADD for word in review.words)
    names = _names(record)
    if fields.CAPTION_WRITER in record.after and names:
        stage = max(names)  # of caption and description the later one: it is a description's writer
        names[stage] = (*names[stage], _WRITER)
    return Policy(
        mode=Mode.PROPOSE,
        overwrite=True,
        fields={**names, Stage.KEYWORDS: ("Subject",) if listed else ()},
        keyword_root=keyword_root,
    )


def is_as_proposed(record: Record, existing: Existing) -> bool:
    """Tell whether there still stands what a proposal was made against.

    In every tag that it would change, and in all words of the photo's in whichever file: a sidecar that has
    appeared since may hold a person's.
    """
    if record.known not in ("", reading_of(existing)):
        return False
    return all(existing.stands.get(tag) == (value or None) for tag, value in record.before.items())


def reading_of(existing: Existing) -> str:
    """Return a hash of all words that stand in a photo and its sidecars."""
    lists = (existing.keywords, existing.hierarchical, existing.tags_list, existing.other_keywords)
    return text_hash(json.dumps([dict(existing.texts), *lists], sort_keys=True))


def is_as_decided(plan: WritePlan, annotation: Annotation, policy: Policy, review: Review) -> bool:
    """Tell whether a plan writes what was decided, and neither more nor less."""
    written = {fields.read_name(write.tag): write.value for write in plan.writes}
    for stage in _TEXTS:
        answers = annotation.by_hand if annotation.by_hand.has(stage) else annotation
        answer = "" if annotation.refused.has(stage) else getattr(answers, stage.value) or ""
        for name in policy.fields.get(stage, ()):
            place = fields.TEXT_FIELDS[name]
            wanted = place.fit(answer) or None
            if wanted is None:  # refused, or too long for this field: what stands there stays
                wrong = place.tag in written
            else:
                wrong = wanted != written.get(place.tag, plan.existing.stands.get(place.tag))
            if wrong and name != _WRITER:
                return False
    keys = {key(word) for word in (*review.standing, *(annotation.keywords or ()))}
    keys |= {key(word) for word in annotation.by_hand.keywords or ()}
    found = {key(word) for word in plan.result.keywords}
    # One of ours that is to stay is not brought back where a person has removed it from one block.
    removed = {key(word) for word in review.leaving} - found
    return not policy.fields.get(Stage.KEYWORDS) or found == keys - removed


def refused_words(record: Record) -> tuple[str, ...]:
    """Return the keywords that are never to be proposed again once a proposal is refused as a whole."""
    return distinct((*record.rejected, *_words(record)))


def clean_edit(stage: Stage, text: str) -> str:
    """Return a person's text as it can be written; empty: nothing of it can be seen.

    Raises:
        ValueError: it is too long.
    """
    if len(text) > fields.LONGEST_TEXT:
        raise ValueError(f"it has {len(text)} letters; {fields.LONGEST_TEXT} fit into a field")
    return fields.clean_text(text) if stage is Stage.DESCRIPTION else fields.clean_line(text)


def clean_word(word: str) -> str:
    """Return a person's keyword as it can be written.

    Raises:
        ValueError: it cannot be written as it is.
    """
    cleaned = fields.clean_line(word)
    if not cleaned:
        raise ValueError("a keyword is a word")
    if cleaned != clean_keyword(cleaned):
        raise ValueError(
            f"a keyword has no | , ; < > / and at most {fields.LONGEST_IIM_KEYWORD} bytes: {cleaned[:80]!r}"
        )
    return cleaned


def _names(record: Record) -> dict[Stage, tuple[str, ...]]:
    """Return the text fields that a proposal would change, by the stage whose answer goes there."""
    found: dict[Stage, tuple[str, ...]] = dict.fromkeys(_TEXTS, ())
    for name, place in fields.TEXT_FIELDS.items():
        proposed = record.after.get(place.tag)
        if name != _WRITER and proposed is not None:
            answers = {stage: str(getattr(record.answers, stage.value) or "") for stage in _TEXTS}
            usual = Stage.DESCRIPTION if place.lines else Stage.CAPTION
            stage = next((stage for stage in _TEXTS if _gives(place, answers[stage], proposed)), usual)
            found[stage] = (*found[stage], name)
    return {stage: names for stage, names in found.items() if names}


def _gives(place: fields.TextField, answer: str, proposed: object) -> bool:
    return answer == proposed or place.fit(answer) == proposed


def _said(record: Record, stage: Stage, names: Sequence[str]) -> str:
    """Return what is proposed for these fields: the answer; of a record that holds none, what would stand."""
    values = [str(record.after[fields.TEXT_FIELDS[name].tag]) for name in names]
    return str(getattr(record.answers, stage.value) or max(values, key=len))


def _words(record: Record) -> tuple[str, ...]:
    """Return the keywords that a proposal would add."""
    return distinct(_tuple(record.after.get(fields.KEYWORDS)), map(key, _standing(record)))


def _standing(record: Record) -> tuple[str, ...]:
    """Return the keywords that stand there, in whichever block, and stay."""
    return distinct(_stood(record), map(key, _leaving(record)))


def _leaving(record: Record) -> tuple[str, ...]:
    """Return the keywords of ours that a proposal would take out; a person's never are."""
    if fields.KEYWORDS not in record.after:
        return ()
    leaving = _ours(record) - {key(word) for word in _tuple(record.after[fields.KEYWORDS])}
    return tuple(word for word in _stood(record) if key(word) in leaving)


def _ours(record: Record) -> set[str]:
    """Return the keys of the keywords that we wrote before."""
    return {key(word) for word in record.marker.keywords} if record.marker else set()


def _stood(record: Record) -> tuple[str, ...]:
    return distinct((*_tuple(record.before.get(fields.KEYWORDS)), *record.keywords))


def _with(words: Sequence[WordChange], verdict: Verdict) -> tuple[str, ...]:
    return tuple(word.word for word in words if word.verdict is verdict)


def _tuple(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
