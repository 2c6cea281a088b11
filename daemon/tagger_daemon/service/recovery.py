"""Takes up what the last process left: writes begun, lines not yet in the audit, temporary files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from loguru import logger

from tagger_daemon.backlog.store import CRASHED, Backlog
from tagger_daemon.database import Database
from tagger_daemon.errors import TaggerError
from tagger_daemon.intake.probe import look
from tagger_daemon.ledger.decisions import SETTLED
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.files import sweep, sweep_beside
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Outcome, Record
from tagger_daemon.pipeline import Steps, failed_record
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service.clock import boot_id, local_now, now_ms
from tagger_daemon.settings import FolderSettings

#: Seconds after which a copy is nobody's any more: a write is over in seconds, exiftool's share is limited.
ABANDONED = 3600.0


def take_up(database: Database, backlog: Backlog, ledger: Ledger, *, run: str, by_hand: bool = False) -> None:
    """Hand what was being worked on back to the queue; what we died of too often is failed, visibly.

    `run` is the one that finds out. `by_hand`: an `undo` or a review is at work, and keeps what it holds.
    """
    with database.transaction():
        for job in backlog.recover(now=now_ms(), boot=boot_id(), by_hand=by_hand):
            logger.warning("{}: failed: {}", job.photo.path, CRASHED)
            ledger.add(
                failed_record(
                    job, now=local_now(), reason=CRASHED, attempts=job.attempts, steps=Steps(), run=run
                )
            )


def settle_intentions(
    database: Database,
    backlog: Backlog,
    ledger: Ledger,
    metadata: MetadataStore,
    *,
    now: int,
    mine: Callable[[Record], bool] = lambda _: True,
    finished: Callable[[Record], None] = lambda _: None,
) -> None:
    """Find out which of the writes that were begun took place, and finish their jobs.

    A photo that cannot be read now keeps its intention until the next start. What was left of its copies is
    removed first.

    Args:
        database: of backlog and ledger.
        backlog: the queue.
        ledger: the records.
        metadata: looks into the files.
        now: milliseconds since the epoch.
        mine: whether it may be settled; what others have in hand who are at work is not to be touched.
        finished: is told of each that is done, in the same transaction.
    """
    for record in ledger.intended():
        if not mine(record):
            continue
        _sweep_for(record)
        try:
            took_place = metadata.carries(record)
            seen = look(record.photo.path)
        except TaggerError as error:
            logger.info("{}: {}; whether it was written is found out later", record.photo.path.name, error)
            continue
        if seen is None or not took_place:
            with database.transaction():
                ledger.forget(record)
                if record.outcome is Outcome.UNDONE and record.content_hash is not None:
                    ledger.forget_undone([record.content_hash], at=record.finished_at)
            continue
        photo = record.photo.evolve(fingerprint=seen.fingerprint)
        with database.transaction():
            backlog.finish_recovered(photo, now=now)
            if record.proposal:
                ledger.followed(record)
            ledger.add(record.evolve(final_fingerprint=seen.fingerprint))
            finished(record)
        logger.info("{}: had been {} died", record.photo.path.name, _what(record))


def is_by_hand(record: Record) -> bool:
    """Tell whether somebody who is no daemon began this: an `undo`, or a review that is carried out."""
    return record.outcome is Outcome.UNDONE or (bool(record.proposal) and record.outcome in SETTLED)


def _what(record: Record) -> str:
    if record.outcome is Outcome.UNDONE:
        return "taken back when an `undo`"
    return "written when a review" if record.proposal else "written when the service"


def complete_audit(
    ledger: Ledger, audit: AuditLog, *, mine: Callable[[Record], bool] = lambda _: True
) -> None:
    """Add the lines of records that ended before their line could be written; none twice.

    `mine` is as for `settle_intentions`.

    Raises:
        FolderUnavailable: the audit folder's disk is full or read-only.
    """
    for record in ledger.unaudited():
        if not mine(record):
            continue
        if not audit.contains(record):
            audit.append(record)
        ledger.mark_audited(record)


def sweep_folders(folders: Sequence[FolderSettings], *, now: int) -> None:
    """Remove the copies in the folders that nobody knows of any more, as after the loss of a state directory.

    Another daemon, or a batch run, may be writing to the same photos: what is young is left. So is all beside
    photos that were named one by one: what this state directory began there, `settle_intentions` clears away.

    `now`: milliseconds since the epoch.
    """
    for folder in folders:
        if not folder.only:
            _swept(folder.path, partial(sweep, recursive=folder.recursive, before=now / 1000 - ABANDONED))


def _sweep_for(record: Record) -> None:
    """Remove the temporary copies of one file, which a write that was begun may have left."""
    target = record.target or record.photo.path
    _swept(target, sweep_beside)


def _swept(path: Path, sweeping: Callable[[Path], Iterable[Path]]) -> None:
    try:
        for removed in sweeping(path):
            logger.info("removed {}, left by a write that was interrupted", removed)
    except OSError as error:
        logger.warning("{}: interrupted writes could not be cleared away: {}", path, error.strerror)
