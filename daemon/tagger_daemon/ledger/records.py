"""What became of every photo, in the state database: the audit and the day's page are made from it."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from tagger_daemon.database import Database, Migration
from tagger_daemon.model import Fingerprint, Kept, Origin, Outcome, Photo, Record, Stage


def migrations() -> tuple[Migration, ...]:
    """The ledger's part of the schema."""
    schema = resources.files("tagger_daemon.ledger").joinpath("schema.sql").read_text(encoding="utf-8")
    return (Migration(name="ledger-1", sql=schema),)


class Ledger:
    """The records in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intend(self, record: Record) -> None:
        """Note what is about to be written, before the file is replaced.

        If the process dies between the replacing and the finishing, `intended` is how the next one finds out
        that a file carries our words, and which words stood there before. A new intention replaces an older
        one for the same photo: what still has to be written was not written then.
        """
        with self._database.transaction() as db:
            db.execute("DELETE FROM record WHERE path = ? AND stands = 0", (os.fsencode(record.photo.path),))
            self._put(record, stands=False)

    def add(self, record: Record) -> None:
        """Keep a record, in place of its intention if there was one.

        Inside the transaction that finishes the job, both stand or neither.
        """
        self._put(record, stands=True)

    def _put(self, record: Record, *, stands: bool) -> None:
        moment = datetime.fromisoformat(record.finished_at)
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO record"
                "(id, path, outcome, finished_at, day, content_hash, body, stands) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    os.fsencode(record.photo.path),
                    record.outcome,
                    int(moment.timestamp() * 1000),
                    moment.date().isoformat(),
                    record.content_hash,
                    record_to_json(record),
                    stands,
                ),
            )

    def moved(self, path: Path, to: Path) -> None:
        """Keep a photo's records under the name that it has now; what they say stays as it was said."""
        with self._database.transaction() as db:
            db.execute("UPDATE record SET path = ? WHERE path = ?", (os.fsencode(to), os.fsencode(path)))

    def intended(self) -> list[Record]:
        """Writes that an earlier process began and may or may not have completed."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT body FROM record WHERE stands = 0 ORDER BY finished_at").fetchall()
        return [record_from_json(row["body"]) for row in rows]

    def forget(self, record: Record) -> None:
        """Drop an intention that was not carried out."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM record WHERE id = ? AND stands = 0", (record.id,))

    def unaudited(self) -> list[Record]:
        """Records whose line may not stand in the audit file yet, oldest first."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT body FROM record WHERE stands = 1 AND audited = 0 ORDER BY finished_at, rowid"
            ).fetchall()
        return [record_from_json(row["body"]) for row in rows]

    def mark_audited(self, record: Record) -> None:
        """Remember that the record's line stands in the audit file."""
        with self._database.transaction() as db:
            db.execute("UPDATE record SET audited = 1 WHERE id = ?", (record.id,))

    def happened(self, name: str, day: date) -> bool:
        """Tell whether the day's occasion has been dealt with."""
        with self._database.transaction() as db:
            query = "SELECT 1 FROM occasion WHERE name = ? AND day = ?"
            return db.execute(query, (name, day.isoformat())).fetchone() is not None

    def note_happened(self, name: str, day: date, *, now: int) -> None:
        """Remember that the day's occasion has been dealt with."""
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO occasion VALUES (?, ?, ?)", (name, day.isoformat(), now))


def records_of(db: sqlite3.Connection, day: date) -> list[Record]:
    """All records of one local day, in the order they were finished; works on a read-only connection too."""
    query = "SELECT body FROM record WHERE stands = 1 AND day = ? ORDER BY finished_at, rowid"
    return [record_from_json(row["body"]) for row in db.execute(query, (day.isoformat(),))]


def latest_records(db: sqlite3.Connection) -> list[Record]:
    """The newest record of every photo that was worked on, without those merely found to be tagged."""
    query = (
        "SELECT body FROM record WHERE rowid IN "
        "(SELECT max(rowid) FROM record WHERE stands = 1 AND outcome <> ? GROUP BY path) ORDER BY path"
    )
    return [record_from_json(row["body"]) for row in db.execute(query, (Outcome.SKIPPED,))]


def finished_since(db: sqlite3.Connection, moment_ms: int) -> int:
    """How many photos were described since a moment (skipped and failed ones not counted)."""
    query = "SELECT count(*) FROM record WHERE stands = 1 AND finished_at >= ? AND outcome IN (?, ?)"
    return int(db.execute(query, (moment_ms, Outcome.WRITTEN, Outcome.UNCHANGED)).fetchone()[0])


def record_to_json(record: Record) -> str:
    """Write a record as text; names that are not UTF-8 survive as escaped surrogates."""
    return json.dumps(dataclasses.asdict(record), default=str)


def record_from_json(text: str) -> Record:
    """Read a record back."""
    values: dict[str, Any] = json.loads(text)
    photo = values["photo"]
    final = values["final_fingerprint"]
    return Record(
        **values
        | {
            "photo": Photo(
                path=Path(photo["path"]),
                folder=Path(photo["folder"]),
                fingerprint=Fingerprint(**photo["fingerprint"]),
            ),
            "outcome": Outcome(values["outcome"]),
            "target": None if values["target"] is None else Path(values["target"]),
            "keywords": tuple(values["keywords"]),
            "before": _tag_values(values["before"]),
            "after": _tag_values(values["after"]),
            "kept": tuple(Kept(**kept) for kept in values["kept"]),
            "notes": tuple(values["notes"]),
            "origins": {Stage(stage): Origin(**origin) for stage, origin in values["origins"].items()},
            "final_fingerprint": None if final is None else Fingerprint(**final),
        }
    )


def _tag_values(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; lists of tag values travel as tuples."""
    return {tag: tuple(value) if isinstance(value, list) else value for tag, value in values.items()}
