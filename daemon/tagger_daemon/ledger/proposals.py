"""The proposals that stand in the ledger, with what was decided about each; a page at a time."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tagger_daemon.ledger.decisions import decisions_about
from tagger_daemon.ledger.records import record_from_json
from tagger_daemon.model import Decision, Outcome, Record, Value

#: Proposals that are read in one go: a few megabytes.
PAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer(Value):
    """One proposal."""

    path: Path  # where its photo is now, as far as is known; its record says where it was
    record: Record
    decisions: tuple[Decision, ...]
    refused_at: str | None = None  # when a person refused it, and that was noted; None: it is still open
    rejected: tuple[str, ...] = ()  # keywords that are never to be proposed for its picture, as known by now
    settled: bool = False  # something was written or noted about its photo since


def offers(db: sqlite3.Connection, below: Path | None = None) -> Iterator[Offer]:
    """Give all proposals that are open or were refused, by the names of their photos.

    Args:
        db: a connection, that may be a read-only one.
        below: only the photo of this path, or those below this folder.
    """
    query = (
        "SELECT proposed.rowid AS number, proposed.id, proposed.path, proposed.body, refused.at "
        "FROM record AS proposed LEFT JOIN refused ON refused.proposal = proposed.id "
        "WHERE proposed.outcome = 'proposed' AND proposed.stands = 1 "
        "AND (proposed.path, proposed.rowid) > (?, ?) "
        "AND (? IS NULL OR proposed.path = ? OR (proposed.path > ? AND proposed.path < ?)) "
        "AND (refused.at IS NOT NULL OR EXISTS (SELECT 1 FROM open_proposal WHERE id = proposed.id)) "
        "ORDER BY proposed.path, proposed.rowid LIMIT ?"
    )
    exact = None if below is None else os.fsencode(below)
    # A range, which the index on the paths knows: 0 comes after the slash.
    prefix = b"" if exact is None else exact.rstrip(b"/")
    last = (exact or b"", -1)
    while True:
        rows = db.execute(query, (*last, exact, exact, prefix + b"/", prefix + b"0", PAGE)).fetchall()
        for row in rows:
            yield _offer(db, row)
        if len(rows) < PAGE:
            return
        last = (rows[-1]["path"], rows[-1]["number"])


def offer(db: sqlite3.Connection, proposal: str) -> Offer | None:
    """Return the proposal of this id, whatever became of it; None: there is none."""
    query = (
        "SELECT proposed.id, proposed.path, proposed.body, refused.at, "
        "NOT EXISTS (SELECT 1 FROM open_proposal WHERE id = proposed.id) AS settled FROM record AS proposed "
        "LEFT JOIN refused ON refused.proposal = proposed.id "
        "WHERE proposed.id = ? AND proposed.outcome = 'proposed' AND proposed.stands = 1"
    )
    row = db.execute(query, (proposal,)).fetchone()
    return None if row is None else _offer(db, row).evolve(settled=bool(row["settled"]))


def _offer(db: sqlite3.Connection, row: sqlite3.Row) -> Offer:
    record = record_from_json(row["body"])
    return Offer(
        path=Path(os.fsdecode(row["path"])),
        record=record,
        decisions=decisions_about(db, row["id"]),
        refused_at=row["at"],
        rejected=_rejected(db, record),
    )


def _rejected(db: sqlite3.Connection, record: Record) -> tuple[str, ...]:
    """Return the keywords that the newest record of a picture rejects; refusals as a whole do not count."""
    query = (
        "SELECT json_extract(body, '$.rejected') FROM record "
        "WHERE content_hash = ? AND stands = 1 AND outcome NOT IN (?, ?) "
        "ORDER BY finished_at DESC, rowid DESC LIMIT 1"
    )
    row = db.execute(query, (record.content_hash, Outcome.FAILED, Outcome.REFUSED)).fetchone()
    return () if row is None else tuple(json.loads(row[0] or "[]"))
