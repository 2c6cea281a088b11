"""Makes the day's page from the ledger."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import date, datetime
from pathlib import Path

from tagger_daemon.backlog import store
from tagger_daemon.ledger import records
from tagger_daemon.model import OPEN_STATES
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
    return write_page(state.summaries, day, text)
