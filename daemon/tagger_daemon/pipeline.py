"""One photo's journey: `process` is the whole of it, in order."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tagger_daemon.errors import EmbeddingRefused, PhotoChanged, PhotoGone
from tagger_daemon.metadata.plan import already_tagged
from tagger_daemon.model import (
    Annotation,
    Draft,
    Existing,
    Facts,
    Fingerprint,
    Job,
    Origin,
    Outcome,
    Photo,
    Picture,
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

    def plan(self, existing: Existing, annotation: Annotation) -> WritePlan:
        """Decide what to write where; hashes the picture data for the marker."""

    def apply(self, plan: WritePlan) -> Written:
        """Write a copy, verify it, swap it in."""


class Conversation(Protocol):
    """The prompts about one picture."""

    async def ask(self, stage: Stage, draft: Draft) -> tuple[str | tuple[str, ...], Origin]:
        """Ask one stage."""


class Journal(Protocol):
    """Keeps what must survive a death in the middle of a journey."""

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
    prepare: Callable[[Path], Awaitable[Picture]]  # decodes in a worker process
    show: Callable[[Photo, Picture, Facts], Conversation]
    journal: Journal
    now: Callable[[], datetime]  # local time, with zone


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
    photo, draft = job.photo, job.draft
    with steps("read"):
        await asyncio.to_thread(_check_unchanged, photo, tools)
        existing = await asyncio.to_thread(tools.metadata.read, photo)
    if draft == Draft() and (reason := already_tagged(existing)):
        return _record(job, tools, steps, existing, outcome=Outcome.SKIPPED, reason=reason)

    if draft.missing:
        with steps("prepare"):
            await asyncio.to_thread(tools.metadata.check_writable, existing)
            await asyncio.to_thread(tools.read_through, photo.path)
            picture = await tools.prepare(photo.path)
        conversation = tools.show(photo, picture, existing.facts)
        for stage in draft.missing:
            with steps(stage):
                answer, origin = await conversation.ask(stage, draft)
                draft = draft.with_answer(stage, answer, origin)
                await tools.journal.save_draft(job, draft)

    with steps("write"):
        try:
            record = await _write(job, tools, steps, existing, draft)
        except EmbeddingRefused as error:
            beside = await asyncio.to_thread(tools.metadata.read_beside, photo, error.reason)
            record = await _write(job, tools, steps, beside, draft)
    return record.evolve(
        finished_at=tools.now().isoformat(timespec="milliseconds"), seconds=dict(steps.seconds)
    )


class Steps:
    """Where one journey stands, and how long each step took."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.current = "waiting"
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Measure one step, also when it fails."""
        self.current = step
        start = self._clock()
        try:
            yield
        finally:
            self.seconds[step] = round(self._clock() - start, 3)


def failed_record(job: Job, *, now: datetime, reason: str, attempts: int, steps: Steps) -> Record:
    """The record of a photo that is given up."""
    return Record(
        id=uuid.uuid4().hex,
        photo=job.photo,
        outcome=Outcome.FAILED,
        finished_at=now.isoformat(timespec="milliseconds"),
        reason=reason,
        origins=job.draft.origins,
        attempts=attempts,
        seconds=dict(steps.seconds),
        final_fingerprint=job.photo.fingerprint,
    )


def _check_unchanged(photo: Photo, tools: Tools) -> None:
    """Refuse other content than the one that was claimed: the draft would be about another picture."""
    now = tools.fingerprint(photo.path)
    if now is None:
        raise PhotoGone(f"{photo.path.name} is no longer there")
    if now != photo.fingerprint:
        raise PhotoChanged(f"{photo.path.name} has changed since it was queued")


async def _write(job: Job, tools: Tools, steps: Steps, existing: Existing, draft: Draft) -> Record:
    """Write a complete draft where `existing` says; the intention stands before the file is touched."""
    plan = await asyncio.to_thread(tools.metadata.plan, existing, draft.complete())
    outcome = Outcome.WRITTEN if plan.writes else Outcome.UNCHANGED
    record = _record(job, tools, steps, existing, outcome=outcome, plan=plan, draft=draft)
    if not plan.writes:
        return record
    await tools.journal.intend(record)
    written = await asyncio.to_thread(tools.metadata.apply, plan)
    return record.evolve(content_hash=written.content_hash, final_fingerprint=written.photo_fingerprint)


def _record(
    job: Job,
    tools: Tools,
    steps: Steps,
    existing: Existing,
    *,
    outcome: Outcome,
    reason: str | None = None,
    plan: WritePlan | None = None,
    draft: Draft | None = None,
) -> Record:
    """Put together what is known at the end of a journey; a write adds what it left on disk."""
    writes = plan.writes if plan else ()
    stands = plan.result if plan else existing
    return Record(
        id=uuid.uuid4().hex,
        photo=job.photo,
        outcome=outcome,
        finished_at=tools.now().isoformat(timespec="milliseconds"),
        reason=reason,
        target=existing.source if writes else None,
        original=plan.original if plan else None,
        title=stands.title,
        keywords=stands.keywords,
        description=stands.description,
        before={write.tag: write.before for write in writes},
        after={write.tag: write.value for write in writes},
        kept=plan.kept if plan else (),
        notes=existing.notes,
        origins=draft.origins if draft else {},
        attempts=job.attempts,
        seconds=dict(steps.seconds),
        final_fingerprint=job.photo.fingerprint,
    )
