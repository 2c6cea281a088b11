"""A state directory, a real exiftool, real files and played models: photos are tagged and undone here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.metadata_files import annotation, answer_of, open_store, photo_at, policy
from tagger_daemon.backlog import store
from tagger_daemon.backlog.store import Backlog, Priority
from tagger_daemon.database import Database
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.exiftool import ExifTool, path_argument
from tagger_daemon.metadata.properties import Properties, parse_properties
from tagger_daemon.metadata.read import SHOW
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import (
    Annotation,
    Answer,
    Draft,
    Existing,
    Facts,
    Fingerprint,
    JobState,
    Mode,
    Photo,
    Picture,
    Pictures,
    Policy,
    Record,
    Stage,
)
from tagger_daemon.pipeline import Steps, Tools, process
from tagger_daemon.reports.audit import AuditLog, daily
from tagger_daemon.service.crew import Journal
from tagger_daemon.service.pairs import Pairs
from tagger_daemon.service.undoing import Effect, Selection, Undoer

#: About the file and the tool, or worked out from the rest.
VOLATILE = ("ExifTool:", "System:", "Composite:", "XMP-x:", "File:CurrentIPTCDigest")


def meaning(path: Path) -> dict[str, Any]:
    """Return all that exiftool shows of a file, but for what every write changes."""
    with ExifTool() as exiftool:
        shown: Properties = parse_properties(exiftool.ask(*SHOW, path_argument(path)).stdout)
    return {name: nodes for name, nodes in shown.nodes.items() if not name.startswith(VOLATILE)}


def by_model(name: str, **answers: Any) -> tuple[Annotation, Policy]:
    """Return what a model of this name says, and the policy under which it is the one that is asked."""
    said = annotation(**answers)
    origins = {stage: origin.evolve(model=name, entry=name) for stage, origin in said.origins.items()}
    current = {stage: origin.identity for stage, origin in origins.items()}
    return said.evolve(origins=origins), policy(mode=Mode.REFRESH, current=current)


@dataclass(kw_only=True)
class Studio:
    """Where photos are tagged as the daemon tags them, one at a time."""

    folder: Path
    database: Database
    metadata: MetadataStore
    audit: AuditLog
    asked: list[tuple[Path, Stage]] = field(default_factory=list)
    told: list[Facts] = field(default_factory=list)  # what the models would have been told, photo by photo
    daemon_runs: bool = True
    now: datetime = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

    @property
    def backlog(self) -> Backlog:
        return Backlog(self.database)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database)

    def tag(
        self, path: Path, said: Annotation, rules: Policy, *, run: str = "run", beside: bool = False
    ) -> Record:
        """Queue a photo as it is now, and take it to its end; the words go beside it where that is wished."""
        photo = photo_at(path).evolve(folder=self.folder)
        self.backlog.watch_only([self.folder])
        self.backlog.enqueue([photo], priority=Priority.ARRIVAL, now=1)
        self.backlog.reopen([path], now=1)
        (job,) = (
            job for job in self.backlog.claim(limit=99, now=2, lease_ms=10**9) if job.photo.path == path
        )
        tools = self._tools(path, said, rules, run)
        if beside:
            tools = tools.evolve(metadata=_Beside(self.metadata))
        record = asyncio.run(process(job, tools, Steps()))
        with self.database.transaction():
            fingerprint = record.final_fingerprint or photo.fingerprint
            self.backlog.finish(job, state=JobState.DONE, fingerprint=fingerprint, now=3)
            self.ledger.add(record)
        return record

    def undo(self, *paths: Path, **selection: Any) -> list[Effect]:
        """Take back what is meant, and return what that did."""
        undoer = self.undoer()
        chosen = Selection(paths=frozenset(paths), **selection)
        found, missing = undoer.find(chosen)
        assert missing == []
        effects = [effect for item in found if (effect := undoer.effect(item, chosen.keyword)) is not None]
        for effect in effects:
            undoer.carry_out(effect)
        return effects

    def undoer(self) -> Undoer:
        return Undoer(
            database=self.database,
            audit=self.audit,
            metadata=self.metadata,
            run="undo",
            now=lambda: self.now,
            daemon_runs=lambda: self.daemon_runs,
        )

    def _tools(self, path: Path, said: Annotation, rules: Policy, run: str) -> Tools:
        studio = self

        class Conversation:
            async def ask(self, stage: Stage, _: Draft) -> Answer:
                studio.asked.append((path, stage))
                return answer_of(said, stage)

        def show(_photo: Photo, _pictures: Pictures, facts: Facts) -> Conversation:
            studio.told.append(facts)
            return Conversation()

        async def prepare(_: Path) -> Pictures:
            return {1: Picture(jpeg=b"", width=1, height=1)}

        return Tools(
            metadata=self.metadata,
            fingerprint=_fingerprint,
            read_through=lambda _: None,
            prepare=prepare,
            seat=nullcontext(),
            show=show,
            journal=Journal(self.backlog, self.ledger),
            now=lambda: self.now,
            policy=lambda _: rules,
            alone=Pairs().alone,
            run=run,
        )


class _Beside:
    """A metadata store that writes into no photo, as with an exiftool that cannot."""

    def __init__(self, metadata: MetadataStore) -> None:
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metadata, name)

    def read(self, photo: Photo) -> Existing:
        return self._metadata.read_beside(photo, "it is an old one")


def _fingerprint(path: Path) -> Fingerprint | None:
    seen = look(path)
    return None if seen is None else seen.fingerprint


@contextmanager
def open_studio(root: Path, *, metadata: MetadataStore | None = None, **settings: Any) -> Iterator[Studio]:
    """Give a studio whose photos lie in `root/photos`; with this metadata store, or one of its own."""
    folder = root / "photos"
    folder.mkdir()
    database = Database(root / "tagger.sqlite3", (*store.migrations(), *records.migrations()))
    try:
        with nullcontext(metadata) if metadata else open_store(**settings) as opened:
            audit = AuditLog(daily(root / "audit"))
            yield Studio(folder=folder, database=database, metadata=opened, audit=audit)
    finally:
        database.close()
