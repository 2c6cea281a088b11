"""What became of every photo, in the state database: the audit and the day's page are made from it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from tagger_daemon.database import Database, Migration
from tagger_daemon.errors import LeaseLost, PhotoChanged
from tagger_daemon.ledger.decisions import carried_words, carry_over, refused_at, settle, under_review
from tagger_daemon.ledger.memory import MOST_RECALLED, remember
from tagger_daemon.model import (
    UNWRITTEN,
    Draft,
    Fingerprint,
    Kept,
    Marker,
    Memory,
    Origin,
    Outcome,
    Photo,
    Record,
    Stage,
    Value,
    to_json,
)

Connection = sqlite3.Connection


def migrations() -> tuple[Migration, ...]:
    """The ledger's part of the schema."""
    return (
        Migration(name="ledger-1", sql=_file("schema.sql")),
        Migration(name="ledger-undone", sql=_file("undone.sql")),
        Migration(name="ledger-review", sql=_file("review.sql")),
    )


def _file(name: str) -> str:
    return resources.files("tagger_daemon.ledger").joinpath(name).read_text(encoding="utf-8")


class Ledger:
    """The records in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intend(self, record: Record) -> None:
        """Note what is about to be written, before the file is replaced.

        If the process dies between the replacing and the finishing, `intended` is how the next one finds out
        that a file carries our words, and which words stood there before. A new intention replaces an older
        one for the same photo: what still has to be written was not written then.

        Raises:
            PhotoChanged: a person has begun to decide, meanwhile, about what was proposed for this picture.
        """
        with self._database.transaction() as db:
            if record.outcome is Outcome.WRITTEN and not record.proposal and record.content_hash:
                content = record.content_hash
                if under_review(db, content, record.photo.path) or refused_at(db, content):
                    raise PhotoChanged(f"{record.photo.path.name}: a review of it has begun")
            db.execute("DELETE FROM record WHERE path = ? AND stands = 0", (os.fsencode(record.photo.path),))
            self._put(record, stands=False)

    def add(self, record: Record) -> None:
        """Keep a record, in place of its intention if there was one.

        Inside the transaction that finishes the job, both stand or neither. A review that it ends is over.

        Raises:
            LeaseLost: it is a proposal, and a person has begun, meanwhile, to decide about the one before.
        """
        with self._database.transaction() as db:
            if record.outcome is Outcome.PROPOSED and under_review(
                db, record.content_hash or "", record.photo.path
            ):
                raise LeaseLost(f"{record.photo.path.name}: a review of it has begun")
            self._put(record, stands=True)
            settle(db, record)
            carry_over(db, record)

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

    def recall(self, content_hash: str, path: Path | None = None) -> Memory:
        """Say what is known of a picture, by its content: what we wrote, what was refused, what was said.

        Given a path, a review of the photo there counts too, whichever picture it was then.
        """
        with self._database.transaction() as db:
            return memory_of(db, content_hash, path)

    def answers_about(self, photo: Photo) -> Draft:
        """Give the newest answers about this very photo, as we left it; none where no model was asked."""
        query = (
            "SELECT body FROM record WHERE path = ? AND stands = 1 AND outcome <> ? "
            "ORDER BY finished_at DESC, rowid DESC LIMIT 1"
        )
        with self._database.transaction() as db:
            row = db.execute(query, (os.fsencode(photo.path), Outcome.SKIPPED)).fetchone()
        record = None if row is None else record_from_json(row["body"])
        known = record is not None and record.final_fingerprint == photo.fingerprint
        return record.answers if record is not None and known else Draft()

    def note_undone(self, content_hash: str, *, at: str, known_as: str) -> None:
        """Have a picture left alone from now on; one that is already keeps its date.

        Args:
            content_hash: of the picture as it is now.
            at: ISO 8601 with zone.
            known_as: the content under which its records stand.
        """
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO undone(content_hash, at, known_as) VALUES (?, ?, ?)",
                (content_hash, at, known_as),
            )

    def forget_undone(self, content_hashes: Iterable[str], *, at: str | None = None) -> None:
        """Let pictures be tagged again; given a date, only those that are left alone since then."""
        with self._database.transaction() as db:
            db.executemany(
                "DELETE FROM undone WHERE content_hash = ? AND (? IS NULL OR at = ?)",
                [(content, at, at) for content in content_hashes],
            )

    def moved(self, path: Path, to: Path) -> None:
        """Keep a photo's records under the name that it has now; what they say stays as it was said."""
        with self._database.transaction() as db:
            values = (os.fsencode(to), os.fsencode(path))
            db.execute("UPDATE record SET path = ? WHERE path = ?", values)
            db.execute("UPDATE OR REPLACE carried SET path = ? WHERE path = ?", values)

    def followed(self, record: Record) -> None:
        """Keep the proposal that a review carried out under the name that its photo has now."""
        with self._database.transaction() as db:
            row = db.execute("SELECT path FROM record WHERE id = ?", (record.proposal,)).fetchone()
            if row is not None and row["path"] != os.fsencode(record.photo.path):
                self.moved(Path(os.fsdecode(row["path"])), record.photo.path)

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


def memory_of(db: sqlite3.Connection, content_hash: str, path: Path | None = None) -> Memory:
    """Say what is known of a picture, by its content; `path` is as for `Ledger.recall`."""
    query = (
        "SELECT body, stands FROM record WHERE content_hash = ? AND outcome <> ? "
        "ORDER BY stands, finished_at DESC, rowid DESC LIMIT ?"
    )
    rows = db.execute(query, (content_hash, Outcome.FAILED, MOST_RECALLED)).fetchall()
    query = "SELECT DISTINCT path FROM record WHERE content_hash = ? AND stands = 1 AND outcome = ?"
    places = db.execute(query, (content_hash, Outcome.WRITTEN)).fetchall()
    undone = db.execute("SELECT at FROM undone WHERE content_hash = ?", (content_hash,)).fetchone()
    history = [record_from_json(row["body"]) for row in rows]
    begun = sum(not row["stands"] for row in rows)
    return remember(
        history[begun:],
        begun=history[:begun],
        refused_words=carried_words(db, content_hash),
        places=frozenset(Path(os.fsdecode(row["path"])) for row in places),
        undone_at=None if undone is None else str(undone["at"]),
        refused_at=refused_at(db, content_hash),
        review=under_review(db, content_hash, path),
    )


def undone_photos(db: sqlite3.Connection) -> list[tuple[Path, str]]:
    """The photos whose words were taken back and that are left alone since: where they are, and which."""
    query = (
        "SELECT DISTINCT record.path, undone.content_hash FROM undone "
        "JOIN record ON record.content_hash = undone.known_as "
        "WHERE record.stands = 1"
    )
    return [(Path(os.fsdecode(row["path"])), row["content_hash"]) for row in db.execute(query)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagged(Value):
    """One photo as it was left when it was last worked on."""

    path: Path
    marker: Marker | None  # what it said then; None: none of our words stood there
    judged: str  # by which models and prompts it was measured then
    left_alone: bool = False  # a person took our words back, or refused them
    has_persons: bool = False  # texts of a person's may stand beside ours: some stayed, or nobody compared


def tagged_photos(db: sqlite3.Connection, *, after: Path | None, limit: int) -> list[Tagged]:
    """The next photos by their names, with what their markers said; those left alone since an undo have none.

    Args:
        db: a connection, that may be a read-only one.
        after: the last one that was given before; None: from the first on.
        limit: so many at most.
    """
    query = (
        "SELECT path, json_extract(body, '$.judged') AS judged, "
        "CASE WHEN content_hash IN (SELECT content_hash FROM undone) THEN NULL "
        "ELSE json_extract(body, '$.marker') END AS marker, "
        "content_hash IN (SELECT content_hash FROM undone UNION SELECT content_hash FROM refused) "
        "AS left_alone, outcome = ? OR EXISTS (SELECT 1 FROM json_each(body, '$.kept') "
        "WHERE json_extract(value, '$.field') <> 'Keywords') AS has_persons FROM record WHERE rowid IN "
        "(SELECT max(rowid) FROM record WHERE path > ? AND stands = 1 AND outcome NOT IN (?, ?, ?) "
        "GROUP BY path ORDER BY path LIMIT ?) ORDER BY path"
    )
    start = b"" if after is None else os.fsencode(after)
    return [
        Tagged(
            path=Path(os.fsdecode(row["path"])),
            marker=Marker.from_plain(json.loads(row["marker"])) if row["marker"] else None,
            judged=row["judged"] or "",
            left_alone=bool(row["left_alone"]),
            has_persons=bool(row["has_persons"]),
        )
        for row in db.execute(query, (Outcome.SKIPPED, start, Outcome.FAILED, *UNWRITTEN, limit))
    ]


def unwritten_photos(db: sqlite3.Connection, *, after: Path | None, limit: int) -> list[tuple[Path, Outcome]]:
    """The next photos by their names whose words were proposed or told, and nothing done or said since.

    Args:
        db: a connection, that may be a read-only one.
        after: the last one that was given before; None: from the first on.
        limit: so many at most.
    """
    query = (
        "SELECT path, 'proposed' AS outcome FROM open_proposal WHERE path > ? "
        "AND NOT EXISTS (SELECT 1 FROM decision WHERE decision.content_hash = open_proposal.content_hash) "
        "AND NOT EXISTS (SELECT 1 FROM refused WHERE refused.content_hash = open_proposal.content_hash) "
        "UNION SELECT path, 'recorded' FROM record AS told "
        "WHERE outcome = 'recorded' AND stands = 1 AND path > ? AND NOT EXISTS ("
        "SELECT 1 FROM record AS later WHERE later.path = told.path AND later.rowid > told.rowid "
        "AND later.stands = 1 AND later.outcome <> 'failed') ORDER BY path LIMIT ?"
    )
    start = b"" if after is None else os.fsencode(after)
    rows = db.execute(query, (start, start, limit))
    return [(Path(os.fsdecode(row["path"])), Outcome(row["outcome"])) for row in rows]


def written_photos(
    db: sqlite3.Connection, *, day: date | None = None, run: str | None = None, mentions: str | None = None
) -> Iterator[tuple[Path, str]]:
    """Give every photo that was written: where it is, and its content.

    Args:
        db: a connection, that may be a read-only one.
        day: only what was finished on this local day.
        run: only what was written in this run.
        mentions: only records in which this text stands, as a whole value, somewhere.
    """
    query = (
        "SELECT path, content_hash FROM record WHERE stands = 1 AND outcome = ? AND content_hash IS NOT NULL "
        "AND (? IS NULL OR day = ?) AND (? IS NULL OR json_extract(body, '$.run') = ?) "
        "AND (? IS NULL OR instr(body, ?) > 0) "
        "GROUP BY path, content_hash ORDER BY min(finished_at), min(rowid)"
    )
    text = None if day is None else day.isoformat()
    quoted = None if mentions is None else json.dumps(mentions)
    for row in db.execute(query, (Outcome.WRITTEN, text, text, run, run, quoted, quoted)):
        yield Path(os.fsdecode(row["path"])), row["content_hash"]


def history_of(db: sqlite3.Connection, content_hashes: Iterable[str]) -> list[tuple[Path, Record]]:
    """All writes of these pictures and all that was taken back, oldest first, and where each photo is now."""
    query = (
        "SELECT path, body FROM record WHERE content_hash IN (SELECT value FROM json_each(?)) "
        "AND stands = 1 AND outcome IN (?, ?) ORDER BY finished_at, rowid"
    )
    rows = db.execute(query, (json.dumps(list(content_hashes)), Outcome.WRITTEN, Outcome.UNDONE))
    return [(Path(os.fsdecode(row["path"])), record_from_json(row["body"])) for row in rows]


def places_of(db: sqlite3.Connection, content_hash: str) -> list[Path]:
    """Every name under which a picture was ever seen, the newest first."""
    query = (
        "SELECT path FROM record WHERE stands = 1 AND content_hash = ? "
        "GROUP BY path ORDER BY max(finished_at) DESC"
    )
    return [Path(os.fsdecode(row["path"])) for row in db.execute(query, (content_hash,))]


def content_at(db: sqlite3.Connection, path: Path) -> str | None:
    """Which picture was last seen under a name; None if none ever was."""
    query = (
        "SELECT content_hash FROM record WHERE path = ? AND stands = 1 AND content_hash IS NOT NULL "
        "ORDER BY finished_at DESC, rowid DESC LIMIT 1"
    )
    row = db.execute(query, (os.fsencode(path),)).fetchone()
    return None if row is None else str(row["content_hash"])


def contents_below(db: sqlite3.Connection, path: Path) -> list[tuple[Path, str]]:
    """The photos that are or were at a path, or below it: name and content."""
    # A range, which the index on the paths knows: 0 comes after the slash.
    query = (
        "SELECT path, content_hash FROM record "
        "WHERE (path = ? OR (path > ? AND path < ?)) AND stands = 1 AND content_hash IS NOT NULL "
        "GROUP BY path, content_hash ORDER BY path"
    )
    exact = os.fsencode(path)
    prefix = exact.rstrip(b"/")
    rows = db.execute(query, (exact, prefix + b"/", prefix + b"0"))
    return [(Path(os.fsdecode(row["path"])), row["content_hash"]) for row in rows]


def sizes(db: sqlite3.Connection) -> Iterator[tuple[Path, str, int]]:
    """Every photo as it was last left: where, which picture, and the bytes of its file."""
    query = (
        "SELECT path, content_hash, json_extract(body, '$.final_fingerprint.size') AS size FROM record "
        "WHERE rowid IN (SELECT max(rowid) FROM record WHERE stands = 1 AND content_hash IS NOT NULL "
        "GROUP BY path) AND size IS NOT NULL"
    )
    for row in db.execute(query):
        yield Path(os.fsdecode(row["path"])), row["content_hash"], row["size"]


def runs(db: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """The runs that wrote anything: name, local day, writes; the newest first."""
    query = (
        "SELECT json_extract(body, '$.run') AS run, max(day) AS day, count(*) AS writes FROM record "
        "WHERE stands = 1 AND outcome = ? GROUP BY run ORDER BY max(finished_at) DESC"
    )
    rows = db.execute(query, (Outcome.WRITTEN,))
    return [(row["run"], row["day"], row["writes"]) for row in rows if row["run"]]


def records_of(db: sqlite3.Connection, day: date) -> list[Record]:
    """All records of one local day, in the order they were finished; works on a read-only connection too."""
    query = "SELECT body FROM record WHERE stands = 1 AND day = ? ORDER BY finished_at, rowid"
    return [record_from_json(row["body"]) for row in db.execute(query, (day.isoformat(),))]


def count_unaudited(db: sqlite3.Connection) -> int:
    """How many records have no line in the audit yet."""
    return int(db.execute("SELECT count(*) FROM record WHERE stands = 1 AND audited = 0").fetchone()[0])


def records_of_run(db: sqlite3.Connection, run: str) -> Iterator[Record]:
    """All records of one run of the program, in the order they were finished."""
    query = (
        "SELECT body FROM record WHERE stands = 1 AND json_extract(body, '$.run') = ? "
        "ORDER BY finished_at, rowid"
    )
    for row in db.execute(query, (run,)):
        yield record_from_json(row["body"])


def latest_records(db: sqlite3.Connection) -> list[Record]:
    """The newest record of every photo that was worked on, without those merely found to be tagged."""
    query = (
        "SELECT body FROM record WHERE rowid IN "
        "(SELECT max(rowid) FROM record WHERE stands = 1 AND outcome <> ? GROUP BY path) ORDER BY path"
    )
    return [record_from_json(row["body"]) for row in db.execute(query, (Outcome.SKIPPED,))]


def newest_below(db: sqlite3.Connection, paths: Iterable[Path]) -> Iterator[Record]:
    """Give the newest record of every photo at or below these paths, one after the other, ordered by path.

    Each is about the name that its photo has now. A photo below several of the paths is given once.
    """
    # Names first, by their index: so no more than one record is held, and nothing has to be sorted.
    query = (
        "SELECT path, max(rowid) AS newest FROM record "
        "WHERE (path = ? OR (path > ? AND path < ?)) AND stands = 1 GROUP BY path ORDER BY path"
    )
    for exact in _outermost(paths):
        prefix = exact.rstrip(b"/")
        for row in db.execute(query, (exact, prefix + b"/", prefix + b"0")):
            (body,) = db.execute("SELECT body FROM record WHERE rowid = ?", (row["newest"],)).fetchone()
            record = record_from_json(body)
            yield record.evolve(photo=record.photo.evolve(path=Path(os.fsdecode(row["path"]))))


def _outermost(paths: Iterable[Path]) -> list[bytes]:
    """Return paths in order, without those below others."""
    chosen = set(paths)
    return sorted(os.fsencode(path) for path in chosen if chosen.isdisjoint(path.parents))


def finished_since(db: sqlite3.Connection, moment_ms: int) -> int:
    """How many photos were described since a moment (skipped and failed ones not counted)."""
    query = "SELECT count(*) FROM record WHERE stands = 1 AND finished_at >= ? AND outcome IN (?, ?, ?, ?)"
    described = (Outcome.WRITTEN, Outcome.UNCHANGED, *UNWRITTEN)
    return int(db.execute(query, (moment_ms, *described)).fetchone()[0])


def record_to_json(record: Record) -> str:
    """Write a record as text."""
    values = record.plain()
    if record.answers.origins == record.origins:  # they nearly always are, and take up a tenth of it
        values["answers"] = {name: held for name, held in record.answers.plain().items() if name != "origins"}
    return to_json(values)


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
            "original": Path(values["original"]) if values.get("original") else None,  # older rows lack it
            "keywords": tuple(values["keywords"]),
            "before": _tag_values(values["before"]),
            "after": _tag_values(values["after"]),
            "kept": tuple(Kept(**kept) for kept in values["kept"]),
            "notes": tuple(values["notes"]),
            "origins": {Stage(stage): Origin(**origin) for stage, origin in values["origins"].items()},
            "final_fingerprint": None if final is None else Fingerprint(**final),
            # Not in records of before these were kept:
            "marker": Marker.from_plain(values["marker"]) if values.get("marker") else None,
            "rejected": tuple(values.get("rejected", ())),
            "answers": Draft.from_plain({"origins": values["origins"], **values.get("answers", {})}),
            "undoes": tuple(values.get("undoes", ())),
            "undone_words": tuple(values.get("undone_words", ())),
            "by_hand": tuple(values.get("by_hand", ())),
        }
    )


def _tag_values(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; lists of tag values travel as tuples."""
    return {tag: tuple(value) if isinstance(value, list) else value for tag, value in values.items()}
