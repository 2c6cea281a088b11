"""What persons decided about proposals, until it is carried out; and the photos that they refused as a whole.

Every function works on the caller's connection, inside the caller's transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from tagger_daemon.model import Decision, Outcome, Part, Record, Verdict

#: Outcomes of a review that is over.
SETTLED = frozenset({Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.REFUSED})


def decide(db: sqlite3.Connection, proposal: str, decisions: Iterable[tuple[str, Decision]]) -> int:
    """Keep decisions about a proposal, each in the place of an earlier one about the same part.

    Args:
        db: inside a transaction.
        proposal: id of its record; about one that was settled meanwhile nothing is kept.
        decisions: each with its keyword as it is compared, "" for none.

    Returns:
        How many were kept.
    """
    statement = (
        "INSERT OR REPLACE INTO decision(proposal, content_hash, part, word, verdict, spelt, text, number) "
        "SELECT id, content_hash, ?, ?, ?, ?, ?, "
        "(SELECT coalesce(max(number), 0) + 1 FROM decision WHERE proposal = id) "
        "FROM open_proposal WHERE id = ?"
    )
    return sum(
        db.execute(statement, (one.part, word, one.verdict, one.word, one.text, proposal)).rowcount
        for word, one in decisions
    )


def decisions_about(db: sqlite3.Connection, proposal: str) -> tuple[Decision, ...]:
    """Return what was decided about a proposal so far, in the order in which it was."""
    query = "SELECT part, verdict, spelt, text FROM decision WHERE proposal = ? ORDER BY number"
    return tuple(
        Decision(part=Part(row["part"]), verdict=Verdict(row["verdict"]), word=row["spelt"], text=row["text"])
        for row in db.execute(query, (proposal,))
    )


def forget(db: sqlite3.Connection, proposal: str) -> None:
    """Lift the refusal of a proposal; if it was not refused, take back all decisions about it."""
    if not db.execute("DELETE FROM refused WHERE proposal = ?", (proposal,)).rowcount:
        db.execute("DELETE FROM decision WHERE proposal = ?", (proposal,))


def set_aside(db: sqlite3.Connection, proposal: str, *, gone: bool) -> None:
    """Take back a proposal's decisions, and keep what they say of its parts for the next one of its photo.

    Acceptances are of what was proposed then, and go.

    Args:
        db: inside a transaction.
        proposal: id of its record.
        gone: no file is at its path: the next one may be at another.
    """
    db.execute(
        "INSERT OR REPLACE INTO carried(path, content_hash, gone, part, word, verdict, spelt, text, number) "
        "SELECT record.path, decision.content_hash, ?, part, word, verdict, spelt, text, number "
        "FROM decision JOIN record ON record.id = decision.proposal "
        "WHERE proposal = ? AND part <> ? AND verdict <> ?",
        (gone, proposal, Part.PHOTO, Verdict.ACCEPT),
    )
    db.execute("DELETE FROM decision WHERE proposal = ?", (proposal,))


def carry_over(db: sqlite3.Connection, record: Record) -> None:
    """Have a new proposal begin with what was decided about the one before, if that was set aside."""
    if record.outcome is not Outcome.PROPOSED:
        return
    places = (os.fsencode(record.photo.path), record.content_hash or "")
    db.execute(
        "INSERT OR REPLACE INTO decision(proposal, content_hash, part, word, verdict, spelt, text, number) "
        "SELECT ?, ?, part, word, verdict, spelt, text, number FROM carried "
        "WHERE path = ? OR (gone AND content_hash = ?)",
        (record.id, record.content_hash or "", *places),
    )
    db.execute("DELETE FROM carried WHERE path = ? OR (gone AND content_hash = ?)", places)


def carried_words(db: sqlite3.Connection, content_hash: str) -> tuple[str, ...]:
    """Return the keywords of a picture that were refused and set aside: nobody has to refuse them twice."""
    query = "SELECT spelt FROM carried WHERE content_hash = ? AND part = ? AND verdict = ? ORDER BY word"
    rows = db.execute(query, (content_hash, Part.KEYWORD, Verdict.REJECT))
    return tuple(row["spelt"] for row in rows)


def is_open(db: sqlite3.Connection, proposal: str) -> bool:
    """Tell whether nothing was settled about a proposal."""
    return db.execute("SELECT 1 FROM open_proposal WHERE id = ?", (proposal,)).fetchone() is not None


def settle(db: sqlite3.Connection, record: Record) -> None:
    """Note that a review is over, where a record says so."""
    if not record.proposal or record.outcome not in SETTLED:
        return
    refused = record.outcome is Outcome.REFUSED
    db.execute(
        "DELETE FROM decision WHERE proposal = ? AND NOT (? AND verdict IN (?, ?))",
        (record.proposal, refused, Verdict.EDIT, Verdict.ADD),
    )
    if refused:
        db.execute(
            "INSERT OR REPLACE INTO refused(content_hash, at, proposal) VALUES (?, ?, ?)",
            (record.content_hash, record.finished_at, record.proposal),
        )


def under_review(db: sqlite3.Connection, content_hash: str, path: Path | None = None) -> str:
    """Return the id of the proposal that a person has begun to decide about; "" for none.

    Args:
        db: a connection, that may be a read-only one.
        content_hash: of the picture, whichever name it has.
        path: of the photo, whichever picture stands there now.
    """
    query = (
        "SELECT open_proposal.id FROM decision JOIN open_proposal ON open_proposal.id = decision.proposal "
        "WHERE decision.content_hash = ? UNION ALL "
        "SELECT id FROM open_proposal "
        "WHERE path = ? AND EXISTS (SELECT 1 FROM decision WHERE proposal = open_proposal.id) LIMIT 1"
    )
    place = None if path is None else os.fsencode(path)
    row = db.execute(query, (content_hash, place)).fetchone()
    return "" if row is None else str(row["id"])


def put_off(db: sqlite3.Connection, proposal: str) -> list[Path]:
    """Return the photos that were left as they are because of this proposal's review, copies included."""
    query = (
        "SELECT DISTINCT later.path FROM record AS proposed JOIN record AS later "
        "ON later.content_hash = proposed.content_hash OR later.path = proposed.path "
        "WHERE proposed.id = ? AND later.outcome = ? AND later.stands = 1 "
        "AND json_extract(later.body, '$.proposal') = proposed.id ORDER BY later.path"
    )
    rows = db.execute(query, (proposal, Outcome.SKIPPED))
    return [Path(os.fsdecode(row["path"])) for row in rows]


def refused_at(db: sqlite3.Connection, content_hash: str) -> str | None:
    """Return when a person refused all that was proposed for a picture; None: it is not refused."""
    (at,) = db.execute("SELECT max(at) FROM refused WHERE content_hash = ?", (content_hash,)).fetchone()
    return None if at is None else str(at)
