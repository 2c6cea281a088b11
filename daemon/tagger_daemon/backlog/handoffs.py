"""Which finished photos have to be moved on. Their promise: none is forgotten, whatever dies.

Every method is one transaction, or part of the caller's.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagger_daemon.backlog.store import fingerprint_of, path_of, photo_columns, queries, readable
from tagger_daemon.database import Database
from tagger_daemon.model import Fingerprint, JobState, Move, Photo, Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing(Value):
    """How one photo of the backlog stands, and its hand-off."""

    job_id: int
    state: JobState
    fingerprint: Fingerprint  # the newest content that is known
    pending: bool  # it is to be moved on
    why: str | None  # why that waits, as far as is known
    begun: Move | None  # the move that is under way, or was cut off


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending(Value):
    """One photo that is to be moved on."""

    path: Path
    folder: Path  # its watch folder
    after: Path | None  # where to; None: no longer in the settings, and yet begun
    why: str | None  # why it waits, in plain words; None: its turn has not come
    begun: Move | None  # the move that is under way, or was cut off


class HandOffs:
    """The photos to be moved on, in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def send_to(self, destinations: Mapping[Path, Path]) -> None:
        """Make these the watch folders whose finished photos are moved on, and where to."""
        with self._database.transaction() as db:
            db.execute(queries()["send_nowhere"])
            for folder, after in destinations.items():
                db.execute(queries()["send_to"], {"path": os.fsencode(folder), "after": os.fsencode(after)})

    def expect(self, photo: Photo, *, now: int) -> None:
        """Remember to move a photo on; to be called in the transaction that finishes its job."""
        with self._database.transaction() as db:
            db.execute(queries()["expect_handoff"], {"now": now, **photo_columns(photo)})

    def pending(self, folder: Path | None = None) -> list[Pending]:
        """Give what is to be moved on, of one watch folder or all."""
        with self._database.transaction() as db:
            return pending(db, folder=folder)

    def standing(self, folder: Path, paths: Iterable[Path]) -> dict[Path, Standing]:
        """Say how photos of one watch folder stand; those that the backlog does not know are left out."""
        found: dict[Path, Standing] = {}
        with self._database.transaction() as db:
            for path in paths:
                where = {"folder": os.fsencode(folder), "rel": os.fsencode(path.relative_to(folder))}
                if row := db.execute(queries()["standing"], where).fetchone():
                    found[path] = _standing(row)
        return found

    def begin(self, move: Move, photos: Collection[Photo], *, now: int) -> bool:
        """Note that a move is under way, before anything of it happens.

        Returns:
            False if one of the photos is not finished any more, or has other content: nothing was noted.
        """
        with self._database.transaction() as db:
            rows = [db.execute(queries()["standing"], photo_columns(photo)).fetchone() for photo in photos]
            for row, photo in zip(rows, photos, strict=True):
                if row is None or row["state"] != JobState.DONE or fingerprint_of(row) != photo.fingerprint:
                    return False
            begun = move_to_json(move)
            db.executemany(
                queries()["begin_handoff"], [{"id": row["id"], "now": now, "begun": begun} for row in rows]
            )
        return True

    def call_off(self, jobs: Sequence[int]) -> None:
        """Note that a move did not take place, and that everything stands where it stood."""
        self._each("call_off_handoff", jobs)

    def wait(self, jobs: Sequence[int], why: str, *, now: int | None) -> None:
        """Say why photos are not moved on yet; `now` is None where it was not even tried."""
        self._each("handoff_waits", jobs, why=readable(why), now=now)

    def forget(self, jobs: Sequence[int]) -> None:
        """Do not move these on any more."""
        self._each("forget_handoff", jobs)

    def left(self, jobs: Sequence[int], *, now: int) -> None:
        """Note that photos have gone on. What comes under their names is new."""
        with self._database.transaction():
            self._each("left", jobs, now=now)
            self.forget(jobs)

    def mount_known(self, destination: Path) -> Path | None:
        """Where the disk was mounted on which a destination lay when it was last used."""
        with self._database.transaction() as db:
            row = db.execute(queries()["mount_known"], {"path": os.fsencode(destination)}).fetchone()
        return None if row is None else Path(os.fsdecode(row["mount"]))

    def note_mount(self, destination: Path, mount: Path) -> None:
        """Remember where the disk is mounted on which a destination lies."""
        values = {"path": os.fsencode(destination), "mount": os.fsencode(mount)}
        with self._database.transaction() as db:
            db.execute(queries()["note_mount"], values)

    def _each(self, query: str, jobs: Sequence[int], **values: str | int | None) -> None:
        with self._database.transaction() as db:
            db.executemany(queries()[query], [{"id": job, **values} for job in jobs])


def pending(db: sqlite3.Connection, *, folder: Path | None = None, limit: int = -1) -> list[Pending]:
    """Give what is to be moved on, all if the limit is negative; works on a read-only connection too."""
    values = {"path": None if folder is None else os.fsencode(folder), "limit": limit}
    return [
        Pending(
            path=path_of(row),
            folder=Path(os.fsdecode(row["folder_path"])),
            after=None if row["after"] is None else Path(os.fsdecode(row["after"])),
            why=row["why"],
            begun=_begun(row),
        )
        for row in db.execute(queries()["handoffs"], values)
    ]


def move_to_json(move: Move) -> str:
    """Write a move as text; names that are not UTF-8 survive as escaped surrogates."""
    return json.dumps({"source": str(move.source), "target": str(move.target), "names": move.names})


def move_from_json(text: str) -> Move:
    """Read a move back."""
    values = json.loads(text)
    return Move(source=Path(values["source"]), target=Path(values["target"]), names=tuple(values["names"]))


def _standing(row: sqlite3.Row) -> Standing:
    return Standing(
        job_id=row["id"],
        state=JobState(row["state"]),
        fingerprint=fingerprint_of(row),
        pending=bool(row["pending"]),
        why=row["why"],
        begun=_begun(row),
    )


def _begun(row: sqlite3.Row) -> Move | None:
    return None if row["begun"] is None else move_from_json(row["begun"])
