"""One photo's journey: `process` is the whole of it, in order."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tagger_daemon.errors import EmbeddingRefused, PhotoChanged, PhotoGone, PhotoPassedOver
from tagger_daemon.metadata.fields import read_name
from tagger_daemon.metadata.ownership import judged_by, known, nothing_to_do, still_good, wanted
from tagger_daemon.metadata.review import reading_of
from tagger_daemon.metadata.words import persons_words
from tagger_daemon.model import (
    UNWRITTEN,
    Annotation,
    Answer,
    Draft,
    Existing,
    Facts,
    Fingerprint,
    Job,
    Memory,
    Outcome,
    Photo,
    Pictures,
    Policy,
    Record,
    Stage,
    Value,
    WritePlan,
    Written,
)


class Metadata(Protocol):
    """Reads and writes what stands in files; blocking calls, from any thread."""

    def read(self, photo: Photo) -> Existing:
        """Say what file and sidecar hold now."""

    def read_beside(self, photo: Photo, refusal: str) -> Existing:
        """Do as `read`, for a photo that cannot be written into: its words go beside it."""

    def check_writable(self, existing: Existing) -> None:
        """Refuse a photo whose words could not be written, before any are asked for."""

    def content_hash(self, photo: Photo) -> str:
        """Say which picture this is, whatever its name and its metadata."""

    def plan(self, existing: Existing, annotation: Annotation, policy: Policy) -> WritePlan:
        """Decide what to write where; hashes the picture data for the marker."""

    def apply(self, plan: WritePlan) -> Written:
        """Write a copy, verify it, swap it in."""


class Conversation(Protocol):
    """The prompts about one picture."""

    async def ask(self, stage: Stage, draft: Draft) -> Answer:
        """Ask one stage."""


class Journal(Protocol):
    """Keeps what must survive a death in the middle of a journey, and remembers earlier ones."""

    async def recall(self, content_hash: str, path: Path | None = None) -> Memory:
        """Say what is known of a picture, by its content; and whether the photo at a path is under review."""

    async def answers_about(self, photo: Photo) -> Draft | None:
        """Give the newest answers about a photo, finished or not; None: this content of it is not known."""

    async def save_draft(self, job: Job, draft: Draft) -> None:
        """Keep the answers so far."""

    async def intend(self, record: Record) -> None:
        """Note what is about to be written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools(Value):
    """All that a journey touches. A dry run hands in other ones."""

    metadata: Metadata
    fingerprint: Callable[[Path], Fingerprint | None]  # of the file as it is now; None: no file is there
    read_through: Callable[[Path], None]  # a bad sector or a lost share shows here, not in a decoder
    prepare: Callable[[Path], Awaitable[Pictures]]  # decodes in a worker process
    seat: AbstractAsyncContextManager[object]  # held by each photo that is asked about: there are so many
    show: Callable[[Photo, Pictures, Facts], Conversation]
    journal: Journal
    now: Callable[[], datetime]  # local time, with zone
    policy: Callable[[Photo], Policy]  # what may be written into it, and who would be asked for that now
    alone: Callable[
        [Photo, Path | None], AbstractAsyncContextManager[None]
    ]  # while asking: not beside its partner
    run: str  # which run of the program this is
    admit: Callable[[Photo, Sequence[Stage]], None] = lambda _photo, _stages: (
        None
    )  # refuses a photo that may not be shown to whom it would have to be
    takes: Callable[[Photo], bool] = lambda _: True  # whether a queued photo is one that this run is about


async def process(job: Job, tools: Tools, steps: Steps) -> Record:
    """Take one photo from the queue to its record.

    A photo whose draft is complete goes straight to the writing; one that is tagged costs no request.

    Args:
        job: as claimed, with what earlier attempts already answered.
        tools: what the journey touches.
        steps: where the journey stands, and how long each part of it took.

    Raises:
        TaggerError: of any kind but ConfigurationError; its fate says what becomes of the photo.
    """
    photo, policy = job.photo, tools.policy(job.photo)
    if not tools.takes(photo):
        raise PhotoPassedOver(f"{photo.path.name} is not among the photos that are to be worked on")
    steps.begin(tools.now(), job.draft)
    with steps("read"):
        await asyncio.to_thread(_check_unchanged, photo, tools)
        existing = await asyncio.to_thread(tools.metadata.read, photo)
        existing, memory = await recognised(existing, tools)
    # What was taken back or refused stays so, also where answers were left that had not been written yet.
    at_the_beginning = job.draft == Draft() or memory.left_alone
    if at_the_beginning and (reason := nothing_to_do(existing, memory, policy)):
        skipped = _record(job, tools, steps, existing, outcome=Outcome.SKIPPED, reason=reason)
        return skipped.evolve(proposal=memory.review)

    stages = wanted(existing, policy)
    draft = job.draft if job.draft != Draft() else still_good(memory.answers, policy)
    if draft.missing(stages):
        told = existing.evolve(facts=persons_words(existing, memory, policy))
        draft = await _ask(job, tools, steps, told, draft, stages)
    steps.draft = draft

    with steps("write"):
        try:
            record = await _write(job, tools, steps, existing, draft, stages)
        except EmbeddingRefused as error:
            beside = await asyncio.to_thread(tools.metadata.read_beside, photo, error.reason)
            beside = known(beside, memory).evolve(content_hash=existing.content_hash)
            record = await _write(job, tools, steps, beside, draft, stages)
    return record.evolve(
        finished_at=tools.now().isoformat(timespec="milliseconds"), seconds=dict(steps.seconds)
    )


class Steps:
    """Where one journey stands, how long each step took, and what was answered."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.current = "waiting"
        self.seconds: dict[str, float] = {}
        self.started_at = ""  # ISO 8601 with zone
        self.draft = Draft()

    def begin(self, now: datetime, draft: Draft) -> None:
        """Note when the journey begins, and which answers there are already."""
        self.started_at = now.isoformat(timespec="milliseconds")
        self.draft = draft

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Measure one step, also when it fails."""
        self.current = step
        start = self._clock()
        try:
            yield
        finally:
            self.seconds[step] = round(self._clock() - start, 3)


def failed_record(
    job: Job, *, now: datetime, reason: str, attempts: int, steps: Steps, run: str = ""
) -> Record:
    """The record of a photo that is given up, with the answers that it got."""
    draft = steps.draft if steps.started_at else job.draft
    return Record(
        id=uuid.uuid4().hex,
        photo=job.photo,
        outcome=Outcome.FAILED,
        started_at=steps.started_at,
        finished_at=now.isoformat(timespec="milliseconds"),
        reason=reason,
        origins=draft.origins,
        answers=draft,
        attempts=attempts,
        seconds=dict(steps.seconds),
        final_fingerprint=job.photo.fingerprint,
        run=run,
    )


def _check_unchanged(photo: Photo, tools: Tools) -> None:
    """Refuse other content than the one that was claimed: the draft would be about another picture."""
    now = tools.fingerprint(photo.path)
    if now is None:
        raise PhotoGone(f"{photo.path.name} is no longer there")
    if now != photo.fingerprint:
        raise PhotoChanged(f"{photo.path.name} has changed since it was queued")


async def recognised(existing: Existing, tools: Tools) -> tuple[Existing, Memory]:
    """Say which picture this is, and what is known of it.

    A tagged photo's marker tells, and it need not be read to its end for that. Where more depends on it than
    that the photo is left alone, it is read all the same: an export keeps the marker of another picture.
    """
    claimed = existing.marker.content_hash if existing.marker else ""
    if claimed:
        memory = await tools.journal.recall(claimed, existing.photo.path)
        seen = known(existing, memory)
        if not memory.left_alone and nothing_to_do(seen, memory, tools.policy(existing.photo)):
            return seen, memory
    content = await asyncio.to_thread(tools.metadata.content_hash, existing.photo)
    if content != claimed:
        memory = await tools.journal.recall(content, existing.photo.path)
    return known(existing.evolve(content_hash=content), memory), memory


async def _ask(
    job: Job, tools: Tools, steps: Steps, existing: Existing, draft: Draft, stages: Sequence[Stage]
) -> Draft:
    """Ask what is missing. Raw and JPEG of one photo are asked about once: the second takes those answers."""
    photo = job.photo
    if tools.policy(photo).unwritten is None:
        await asyncio.to_thread(tools.metadata.check_writable, existing)
    async with tools.alone(photo, existing.partner):
        if existing.partner is not None and draft == Draft():
            answers = await _answers_about(photo.evolve(path=existing.partner), tools)
            draft = still_good(answers, tools.policy(photo)).only(stages)
        if draft.missing(stages):
            draft = await converse(job, tools, steps, existing.facts, draft, stages)
    return draft


async def converse(
    job: Job, tools: Tools, steps: Steps, facts: Facts, draft: Draft, stages: Sequence[Stage]
) -> Draft:
    """Show the photo and ask what is missing, whatever the photo says already.

    Raises:
        TaggerError: the photo cannot be shown, or a stage has no usable answer.
    """
    photo, steps.draft = job.photo, draft
    tools.admit(photo, draft.missing(stages))
    with steps("prepare"):
        await asyncio.to_thread(tools.read_through, photo.path)
        pictures = await tools.prepare(photo.path)
    conversation = tools.show(photo, pictures, facts)
    steps.current = "prepared"
    async with tools.seat:
        for stage in draft.missing(stages):
            with steps(stage):
                draft = draft.with_answer(stage, await conversation.ask(stage, draft))
                steps.draft = draft
                await tools.journal.save_draft(job, draft)
    return draft


async def _answers_about(partner: Photo, tools: Tools) -> Draft:
    """Return the answers about the other half of a pair: about what it is now, not what once had its name."""
    seen = await asyncio.to_thread(tools.fingerprint, partner.path)
    if seen is None:
        return Draft()
    partner = partner.evolve(fingerprint=seen)
    answers = await tools.journal.answers_about(partner)
    if answers is None:  # written this moment, or edited since: its picture tells
        content = await asyncio.to_thread(tools.metadata.content_hash, partner)
        answers = (await tools.journal.recall(content)).answers
    return answers


async def _write(
    job: Job, tools: Tools, steps: Steps, existing: Existing, draft: Draft, stages: Sequence[Stage]
) -> Record:
    """Write the answers where `existing` says; the intention stands before the file is touched."""
    policy = tools.policy(job.photo)
    plan = await asyncio.to_thread(tools.metadata.plan, existing, draft.complete(stages), policy)
    outcome = policy.unwritten or Outcome.WRITTEN
    if not plan.writes and outcome is not Outcome.RECORDED:
        outcome = Outcome.UNCHANGED
    record = _record(job, tools, steps, existing, outcome=outcome, plan=plan, draft=draft)
    if outcome is not Outcome.WRITTEN:
        return record
    await tools.journal.intend(record)
    written = await asyncio.to_thread(tools.metadata.apply, plan)
    return record.evolve(content_hash=written.content_hash, final_fingerprint=written.photo_fingerprint)


def _content_of(existing: Existing) -> str | None:
    """Say which picture a photo is that was left alone, as far as that is known."""
    return existing.content_hash or (existing.marker.content_hash or None if existing.marker else None)


def _record(
    job: Job,
    tools: Tools,
    steps: Steps,
    existing: Existing,
    *,
    outcome: Outcome,
    reason: str | None = None,
    plan: WritePlan | None = None,
    draft: Draft = Draft(),  # noqa: B008 - frozen
) -> Record:
    """Put together what is known at the end of a journey; a write adds what it left on disk."""
    writes = plan.writes if plan else ()
    written = outcome is Outcome.WRITTEN
    stands = plan.result if plan and outcome not in UNWRITTEN else existing
    return Record(
        id=uuid.uuid4().hex,
        photo=job.photo,
        outcome=outcome,
        started_at=steps.started_at,
        finished_at=tools.now().isoformat(timespec="milliseconds"),
        reason=reason,
        target=existing.source if written else None,
        original=plan.original if plan and written else None,
        title=stands.title,
        keywords=stands.keywords,
        description=stands.description,
        before={read_name(write.tag): write.before for write in writes},
        after={read_name(write.tag): write.value for write in writes},
        kept=plan.kept if plan else (),
        notes=existing.notes,
        origins=draft.origins,
        content_hash=plan.content_hash if plan else _content_of(existing),
        attempts=job.attempts,
        seconds=dict(steps.seconds),
        final_fingerprint=job.photo.fingerprint,
        run=tools.run,
        judged=judged_by(tools.policy(job.photo)),
        created=written and existing.source_fingerprint is None,
        marker=stands.marker,
        rejected=stands.marker.rejected if plan and stands.marker else existing.rejected,
        answers=draft,
        known=reading_of(existing) if outcome is Outcome.PROPOSED else "",
    )
