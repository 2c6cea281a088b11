"""Makes pages from the ledger: the day's, and that of a run over folders."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

from tagger_daemon.backlog import store
from tagger_daemon.ledger import records
from tagger_daemon.model import OPEN_STATES
from tagger_daemon.reports.batch import render_batch
from tagger_daemon.reports.daily import render_day
from tagger_daemon.reports.page import write_page
from tagger_daemon.service.state import StateDirectory


def make_page(state: StateDirectory, db: sqlite3.Connection, day: date, *, now: datetime) -> Path:
    """Write the page about one local day and return where it stands.

    Raises:
        FolderUnavailable: the disk is full or read-only.
    """
    waiting: Counter[str] = Counter()
    for folder in store.folders(db, now=int(now.timestamp() * 1000)):
        if folder.watched:
            waiting.update({state: folder.counts.get(state, 0) for state in OPEN_STATES})
    text = render_day(
        day, records.records_of(db, day), backlog=+waiting, now=now.isoformat(sep=" ", timespec="minutes")
    )
    page = state.summaries / f"{day.isoformat()}.md"
    write_page(page, text)
    return page


def make_batch_page(
    db: sqlite3.Connection,
    page: Path,
    *,
    inputs: Sequence[Path],
    takes: Callable[[Path], bool],
    now: datetime,
    dry_run: bool = False,
    no_meta: bool = False,
) -> None:
    """Write the page about the photos of the inputs, as each stands in the ledger now.

    Photos that are no longer there are not among them.

    Args:
        db: a connection, that may be a read-only one.
        page: where the page goes; an earlier one is replaced.
        inputs: folders and files, absolute.
        takes: whether the run was about the photo of this path; other photos may lie below the inputs.
        now: local time, with zone.
        dry_run: the run only made proposals.
        no_meta: the run was not to write metadata.

    Raises:
        FolderUnavailable: the disk is full or read-only, or the page's folder cannot be used.
    """
    found = (
        record
        for record in records.newest_below(db, inputs)
        if takes(record.photo.path) and _is_there(record.photo.path)
    )
    left, held = store.open_and_held(db)
    text = render_batch(
        found,
        inputs=inputs,
        now=now.isoformat(sep=" ", timespec="seconds"),
        left=left - held,
        held=held,
        dry_run=dry_run,
        no_meta=no_meta,
    )
    write_page(page, text)


def _is_there(path: Path) -> bool:
    """Tell whether a file is there; one that may not be looked at is."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
