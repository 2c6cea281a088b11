"""The durable queue. Its promise: a photo that was once taken in is never forgotten, whatever dies.

Every method is one transaction. Times come in as milliseconds since the epoch: the clock is the caller's.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from tagger_daemon.backlog.retry import JITTER, LONGEST_BACKOFF, Decision
from tagger_daemon.database import Database, Migration
from tagger_daemon.errors import LeaseLost, NotConsented, PhotoChanged, PhotoHeld
from tagger_daemon.model import Draft, Fingerprint, Job, JobState, Photo, Value, to_json

#: Deaths of the service during one photo after which that photo is failed instead of tried again.
MAX_CRASHES = 3
#: Class of the error with which photos wait that a photo program may hold edits of.
HELD = PhotoHeld.__name__
#: The error of photos that may not be sent to where they would have to go.
BARRED = NotConsented.__name__
#: What the leases begin with of those who are no daemon.
HAND = "hand-"
CRASHED = f"the service died {MAX_CRASHES} times while it worked on this photo"

#: No wait is longer than this, milliseconds: a moment further off was set before the clock was put back.
_FARTHEST_DUE = int(LONGEST_BACKOFF * (1 + JITTER) * 1000)


class Priority:
    """Which photos go first."""

    BY_HAND = 20
    ARRIVAL = 10
    CATCH_UP = 0
    RENEWAL = -2  # tagged before, by another model
    HELD_UP = -5  # its folder could not be used: others of that folder may fare better
    ONCE_MORE = -10  # given up by an earlier run: those go first that may fare better


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderState(Value):
    """How a watch folder stands."""

    path: Path
    counts: Mapping[JobState, int]
    watched: bool  # False: no longer in the settings
    paused_why: str | None  # None: not paused
    scanned_at: int | None  # end of the last complete scan, milliseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble(Value):
    """A photo that failed, or waits after an error."""

    path: Path
    state: JobState
    error: str
    error_class: str
    attempts: int
    due_at: int
    updated_at: int

    @property
    def held(self) -> bool:
        """Whether it waits because a photo program may hold edits of it."""
        return self.state is JobState.WAITING and self.error_class == HELD


@dataclass(frozen=True, kw_only=True, slots=True)
class Held(Value):
    """A row that is kept from the daemon for a moment."""

    job_id: int
    lease: str
    state: JobState  # that it had before, and gets back


def _file(name: str) -> str:
    return resources.files("tagger_daemon.backlog").joinpath(name).read_text(encoding="utf-8")


def migrations() -> tuple[Migration, ...]:
    """The backlog's part of the schema."""
    return (
        Migration(name="backlog-1", sql=_file("schema.sql")),
        Migration(name="backlog-handoff", sql=_file("handoff.sql")),
    )


@cache
def queries() -> Mapping[str, str]:
    """Give every statement of `queries.sql` by its name."""
    parts = re.split(r"^-- name: (\w+)\n", _file("queries.sql"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


class Backlog:
    """The queue of photos in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recover(self, *, now: int, boot: str, by_hand: bool = False) -> list[Job]:
        """Take up what the last process left: call once at start, under the instance lock.

        Args:
            now: milliseconds since the epoch.
            boot: names this run of the machine; a process that ended with it was not killed by a photo.
            by_hand: somebody who is no daemon is at work now, and keeps what they hold.

        Returns:
            The photos that are given up, because the service died too often while they were worked on.
        """
        with self._database.transaction() as db:
            marks = {row["name"]: row["value"] for row in db.execute(queries()["marks"])}
            died = marks.get("clean") == "0" and marks.get("boot") == boot
            values = {"now": now, "hand": HAND}
            if not by_hand:
                self.recover_by_hand(now=now)
            db.execute(queries()["recover_crashed" if died else "recover_clean"], values)
            db.execute(queries()["recover_held"], {"now": now, "held_class": HELD, "barred_class": BARRED})
            db.executemany(
                queries()["set_mark"], [{"name": "clean", "value": "0"}, {"name": "boot", "value": boot}]
            )
            values = {"now": now, "max_crashes": MAX_CRASHES, "error": CRASHED}
            return [_job(row) for row in db.execute(queries()["give_up"], values).fetchall()]

    def recover_by_hand(self, *, now: int) -> None:
        """Take up what somebody held who is no daemon, and died over it; nobody else of them is at work."""
        with self._database.transaction() as db:
            db.execute(queries()["recover_by_hand"], {"now": now, "hand": HAND})

    def mark_clean(self) -> None:
        """Say that this process ends in good order: what is still running was handed back."""
        with self._database.transaction() as db:
            db.execute(queries()["set_mark"], {"name": "clean", "value": "1"})

    def watch_only(self, folders: Sequence[Path]) -> None:
        """Make these the watch folders; photos of others are not claimed while theirs is not among them."""
        with self._database.transaction() as db:
            db.execute(queries()["watch_none"])
            for folder in folders:
                db.execute(queries()["watch"], {"path": os.fsencode(folder)})

    def leave_out(self, folder: Path, unwanted: Callable[[Photo], bool], *, now: int) -> None:
        """Take photos from the queue that are not to be described any more; a scan may find them again.

        Args:
            folder: a watch folder.
            unwanted: tells which of its photos these are.
            now: milliseconds since the epoch.
        """
        with self._database.transaction() as db:
            rows = db.execute(queries()["open_of"], {"path": os.fsencode(folder)}).fetchall()
            left = [row["id"] for row in rows if unwanted(_photo(row))]
            db.executemany(queries()["leave"], [{"id": id_, "now": now} for id_ in left])

    def enqueue(self, photos: Sequence[Photo], *, priority: int, now: int) -> int:
        """Take in settled photos; those whose content we know already change nothing.

        Returns:
            How many were new or had changed.
        """
        with self._database.transaction() as db:
            return sum(
                db.execute(
                    queries()["enqueue"],
                    {
                        "priority": priority,
                        "most_crashes": MAX_CRASHES - 1,
                        "now": now,
                        **photo_columns(photo),
                    },
                ).rowcount
                for photo in photos
            )

    def unknown(self, photos: Sequence[Photo]) -> list[Photo]:
        """Leave out the photos whose very content is in the backlog already, in any state but gone."""
        with self._database.transaction() as db:
            return [
                photo
                for photo in photos
                if db.execute(queries()["knows"], photo_columns(photo)).fetchone() is None
            ]

    def claim(self, *, limit: int, now: int, lease_ms: int, held: Sequence[str] = ()) -> list[Job]:
        """Take up to `limit` ready photos, each under a lease that must be renewed within `lease_ms`.

        Args:
            limit: photos at most.
            now: milliseconds since the epoch.
            lease_ms: how long a lease lasts.
            held: leases that the caller is at work under. They do not expire, whatever the clock says: it
                leaps when the machine wakes from sleep.
        """
        with self._database.transaction() as db:
            db.execute(queries()["promote_due"], {"now": now, "farthest": now + _FARTHEST_DUE})
            db.execute(queries()["promote_expired"], {"now": now, "held": json.dumps(list(held))})
            rows = db.execute(
                queries()["claim"],
                {"limit": limit, "now": now, "until": now + lease_ms, "farthest": now + _FARTHEST_DUE},
            ).fetchall()
        # RETURNING gives rows in no promised order.
        return [_job(row) for row in sorted(rows, key=lambda row: (-row["priority"], row["id"]))]

    def renew(self, jobs: Sequence[Job], *, until: int) -> None:
        """Extend the leases of jobs that are still being worked on."""
        with self._database.transaction() as db:
            db.executemany(
                queries()["renew"], [{"id": job.id, "lease": job.lease, "until": until} for job in jobs]
            )

    def save_draft(self, job: Job, draft: Draft, *, now: int) -> None:
        """Keep what has been answered so far.

        Raises:
            PhotoChanged: the file has newer content than the draft is about.
            LeaseLost: the job is no longer ours.
        """
        with self._database.transaction() as db:
            saved = db.execute(
                queries()["save_draft"],
                {
                    "id": job.id,
                    "lease": job.lease,
                    "generation": job.generation,
                    "draft": to_json(draft),
                    "now": now,
                },
            ).rowcount
            if saved == 1:
                return
            holder = db.execute(queries()["holder"], {"id": job.id}).fetchone()
        if holder is not None and holder["lease"] == job.lease:
            raise PhotoChanged(f"{job.photo.path.name} changed while it was being described")
        raise LeaseLost(f"{job.photo.path.name} was taken over while it was being described")

    def draft_of(self, photo: Photo) -> Draft | None:
        """Give the answers so far about a photo, none where it is done; None: this content is not known."""
        with self._database.transaction() as db:
            row = _row_of(db, photo.path)
        if row is None or fingerprint_of(row) != photo.fingerprint:
            return None
        return draft_from_json(row["draft"])

    def finish(
        self,
        job: Job,
        *,
        state: JobState,
        fingerprint: Fingerprint,
        now: int,
        error: str | None = None,
        error_class: str | None = None,
        attempts: int = 0,
    ) -> None:
        """End a job as done, failed or gone.

        Args:
            job: as claimed.
            state: DONE, FAILED or GONE.
            fingerprint: of the photo as we left it, so that our own write is not taken for a new photo.
            now: milliseconds since the epoch.
            error: the reason, in plain words.
            error_class: name of the error's class.
            attempts: charged in all.

        Raises:
            LeaseLost: the job is no longer ours; nothing was changed.
        """
        with self._database.transaction() as db:
            values = {
                "id": job.id,
                "lease": job.lease,
                "generation": job.generation,
                "state": state,
                "error": None if error is None else readable(error),
                "error_class": error_class,
                "attempts": attempts,
                "now": now,
                **_fingerprint_columns(fingerprint),
            }
            finished = db.execute(queries()["finish"], values).rowcount
            if not finished and not db.execute(queries()["reopen"], values).rowcount:
                raise LeaseLost(f"{job.photo.path.name} was taken over while it was being described")

    def finish_recovered(self, photo: Photo, *, now: int) -> None:
        """End the job of a photo whose write an earlier process completed without getting to say so.

        Args:
            photo: with the fingerprint that it has now.
            now: milliseconds since the epoch.
        """
        with self._database.transaction() as db:
            db.execute(queries()["finish_recovered"], {"now": now, **photo_columns(photo)})

    def put_back(
        self,
        job: Job,
        decision: Decision,
        *,
        now: int,
        error: str | None = None,
        error_class: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Return a job to the queue, to be claimed again after the decision's delay.

        Args:
            job: as claimed.
            decision: where it goes.
            now: milliseconds since the epoch.
            error: the reason, in plain words.
            error_class: name of the error's class.
            priority: lowers the photo's own where that is higher.

        Raises:
            LeaseLost: the job is no longer ours; nothing was changed.
        """
        with self._database.transaction() as db:
            returned = db.execute(
                queries()["put_back"],
                {
                    "id": job.id,
                    "lease": job.lease,
                    "generation": job.generation,
                    "priority": priority,
                    "due_at": now + int(decision.delay * 1000),
                    "attempts": decision.attempts,
                    "error": None if error is None else readable(error),
                    "error_class": error_class,
                    "now": now,
                },
            ).rowcount
            if returned != 1:
                raise LeaseLost(f"{job.photo.path.name} was taken over while it was being described")

    def failed(self, folder: Path) -> list[Path]:
        """Give the photos of a watch folder that were given up."""
        with self._database.transaction() as db:
            rows = db.execute(queries()["failed"], {"path": os.fsencode(folder)}).fetchall()
        return [folder / os.fsdecode(row["rel"]) for row in rows]

    def forget_failed(self, folder: Path, gone: Sequence[Path], *, now: int) -> None:
        """Count photos that were given up, and are no longer there, as gone."""
        with self._database.transaction() as db:
            db.executemany(
                queries()["forget_failed"],
                [
                    {"path": os.fsencode(folder), "rel": os.fsencode(path.relative_to(folder)), "now": now}
                    for path in gone
                ],
            )

    def retry(self, prefix: Path | None, *, now: int) -> int:
        """Make failed and waiting photos ready again, by hand: all, one file's, or all below a folder."""
        return self._retry(prefix, Priority.BY_HAND, most_crashes=0, now=now)

    def once_more(self, *, now: int) -> int:
        """Make failed and waiting photos ready again, after all others: call before `recover`.

        One that the service died of too often gets one try, alone, and is given up if it dies again.
        """
        return self._retry(None, Priority.ONCE_MORE, most_crashes=MAX_CRASHES - 1, now=now)

    def _retry(self, prefix: Path | None, priority: int, *, most_crashes: int, now: int) -> int:
        with self._database.transaction() as db:
            return db.execute(
                queries()["retry"],
                {
                    "prefix": None if prefix is None else os.fsencode(prefix),
                    "priority": priority,
                    "most_crashes": most_crashes,
                    "now": now,
                },
            ).rowcount

    def reopen(self, paths: Iterable[Path], *, now: int) -> int:
        """Make photos that are done ready again, after all others: they can be described better now.

        Rows of folders that are not watched stay as they are: nobody is to work on them.
        """
        with self._database.transaction() as db:
            folders = {path: known for path, known in _folder_ids(db).items() if known[0]}
            rows = [row for path in paths if (row := _row_of(db, path, folders)) is not None]
            values = [{"id": row["id"], "priority": Priority.RENEWAL, "now": now} for row in rows]
            return db.executemany(queries()["reopen_done"], values).rowcount if values else 0

    def hold(self, path: Path, *, now: int, lease_ms: int, left_over: bool) -> Held | None:
        """Take a photo's row away from the daemon while its file is edited by somebody else of ours.

        Args:
            path: of the photo.
            now: milliseconds since the epoch.
            lease_ms: how long it is held at most.
            left_over: no daemon runs, so that a row which is being worked on was left by one that died.

        Returns:
            How it is held; None where the photo has no row.

        Raises:
            LeaseLost: the daemon is at work on it, or is moving it on.
        """
        with self._database.transaction() as db:
            row = _row_of(db, path)
            if row is None:
                return None
            state = JobState(row["state"])
            if row["moving"] or (state is JobState.RUNNING and not left_over):
                raise LeaseLost(f"{path.name} is being worked on by the daemon now; try again")
            values = {"id": row["id"], "hand": HAND, "now": now, "until": now + lease_ms}
            lease = db.execute(queries()["hold"], values).fetchone()["lease"]
            return Held(job_id=row["id"], lease=lease, state=state)

    def let_go(self, held: Held, fingerprint: Fingerprint | None, *, now: int) -> None:
        """Give back a row that was held, in the state that it had.

        Args:
            held: as `hold` gave it.
            fingerprint: what the photo is like now; None: nobody has touched it.
            now: milliseconds since the epoch.
        """
        nothing = {"size": None, "mtime_ns": None, "inode": None}
        with self._database.transaction() as db:
            values = {"id": held.job_id, "lease": held.lease, "state": held.state, "now": now}
            columns = nothing if fingerprint is None else _fingerprint_columns(fingerprint)
            db.execute(queries()["let_go"], {**values, **columns})

    def pause_folder(self, folder: Path, *, until: int, why: str) -> None:
        """Keep a folder's photos in the queue until a moment."""
        with self._database.transaction() as db:
            db.execute(
                queries()["pause_folder"], {"path": os.fsencode(folder), "until": until, "why": readable(why)}
            )

    def resume_folder(self, folder: Path) -> None:
        """Let a folder's photos be claimed again."""
        with self._database.transaction() as db:
            db.execute(queries()["resume_folder"], {"path": os.fsencode(folder)})

    def folder_scanned(self, folder: Path, *, device: int, inode: int, now: int) -> None:
        """Remember that a complete scan has ended, and which disk and folder it read."""
        with self._database.transaction() as db:
            db.execute(
                queries()["folder_scanned"],
                {"path": os.fsencode(folder), "device": device, "inode": inode, "now": now},
            )

    def folder_identity(self, folder: Path) -> tuple[int, int] | None:
        """Device and inode that stood there at the last complete scan; None before the first."""
        with self._database.transaction() as db:
            row = db.execute(queries()["folder_identity"], {"path": os.fsencode(folder)}).fetchone()
        return None if row is None else (row["device"], row["inode"])

    def open_rows(self, folder: Path | None = None) -> int:
        """Photos that still have a way to go, of one watch folder or all: ready, running or waiting."""
        with self._database.transaction() as db:
            return _open_rows(db, folder)[0]

    def open_and_held(self) -> tuple[int, int]:
        """Photos that still have a way to go, and how many of these a photo program holds up."""
        with self._database.transaction() as db:
            return _open_rows(db)

    def awaits(self, folder: Path) -> bool:
        """Tell whether photos of a watch folder have a way to go: to be described, or to be moved on."""
        with self._database.transaction() as db:
            return db.execute(queries()["awaits"], {"path": os.fsencode(folder)}).fetchone() is not None

    def folders(self, *, now: int) -> list[FolderState]:
        """How every watch folder stands."""
        with self._database.transaction() as db:
            return folders(db, now=now)


def folders(db: sqlite3.Connection, *, now: int) -> list[FolderState]:
    """How every watch folder stands; works on a read-only connection too."""
    counts: dict[bytes, dict[JobState, int]] = {}
    for row in db.execute(queries()["counts"]):
        counts.setdefault(row["path"], {})[JobState(row["state"])] = row["rows"]
    return [
        FolderState(
            path=Path(os.fsdecode(row["path"])),
            counts=counts.get(row["path"], {}),
            watched=bool(row["watched"]),
            paused_why=row["paused_why"] if row["paused_until"] > now else None,
            scanned_at=row["scanned_at"],
        )
        for row in db.execute(queries()["folders"])
    ]


def troubles(db: sqlite3.Connection, *, limit: int) -> list[Trouble]:
    """The newest photos with an error, those that are held last; all if the limit is negative.

    Works on a read-only connection too.
    """
    rows = db.execute(queries()["troubles"], {"limit": limit, "held_class": HELD})
    return [
        Trouble(
            path=path_of(row),
            state=JobState(row["state"]),
            error=row["error"],
            error_class=row["error_class"] or "",
            attempts=row["attempts"],
            due_at=row["due_at"],
            updated_at=row["updated_at"],
        )
        for row in rows
    ]


def is_queued(db: sqlite3.Connection, path: Path) -> bool:
    """Tell whether a photo has a row, in whatever state; works on a read-only connection too."""
    return _row_of(db, path) is not None


def open_and_held(db: sqlite3.Connection) -> tuple[int, int]:
    """Photos that have a way to go, and how many of these are held; works on a read-only connection too."""
    return _open_rows(db)


def held_rows(db: sqlite3.Connection) -> int:
    """How many photos wait for a photo program; works on a read-only connection too."""
    return _open_rows(db)[1]


def draft_from_json(text: str | None) -> Draft:
    """Read a draft back; no text is an empty draft."""
    return Draft() if text is None else Draft.from_plain(json.loads(text))


def _open_rows(db: sqlite3.Connection, folder: Path | None = None) -> tuple[int, int]:
    path = None if folder is None else os.fsencode(folder)
    row = db.execute(queries()["open_rows"], {"path": path, "held_class": HELD}).fetchone()
    return row["rows"], row["held"]


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        photo=_photo(row),
        state=JobState(row["state"]),
        lease=row["lease"] or "",
        generation=row["generation"],
        attempts=row["attempts"],
        draft=draft_from_json(row["draft"]),
        last_error=row["error"],
    )


def _photo(row: sqlite3.Row) -> Photo:
    folder = Path(os.fsdecode(row["folder_path"]))
    return Photo(path=path_of(row), folder=folder, fingerprint=fingerprint_of(row))


def _folder_ids(db: sqlite3.Connection) -> dict[Path, tuple[bool, int]]:
    """Return every folder that is or was watched: whether it is, and its row."""
    rows = db.execute(queries()["folders"])
    return {Path(os.fsdecode(row["path"])): (bool(row["watched"]), row["id"]) for row in rows}


def _row_of(
    db: sqlite3.Connection, path: Path, folders: Mapping[Path, tuple[bool, int]] | None = None
) -> sqlite3.Row | None:
    """Return the row of a photo, if it has one: that of the watched folder, where it was in others before."""
    folders = _folder_ids(db) if folders is None else folders
    above = (parent for parent in path.parents if parent in folders)  # the nearest first
    for folder in sorted(above, key=lambda parent: not folders[parent][0]):
        values = {"folder_id": folders[folder][1], "rel": os.fsencode(path.relative_to(folder))}
        row: sqlite3.Row | None = db.execute(queries()["row_of"], values).fetchone()
        if row is not None:
            return row
    return None


def readable(text: str) -> str:
    """Return text that may quote a file name as SQLite takes it: bytes that are no text as `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def path_of(row: sqlite3.Row) -> Path:
    """Return the photo's path, of a row that has its folder's."""
    return Path(os.fsdecode(row["folder_path"])) / os.fsdecode(row["rel"])


def fingerprint_of(row: sqlite3.Row) -> Fingerprint:
    """Return the content that a row is about."""
    return Fingerprint(size=row["size"], mtime_ns=row["mtime_ns"], inode=row["inode"] % 2**64)


def photo_columns(photo: Photo) -> dict[str, int | bytes]:
    """Return what names a photo and its content in a statement."""
    return {
        "folder": os.fsencode(photo.folder),
        "rel": os.fsencode(photo.path.relative_to(photo.folder)),
        **_fingerprint_columns(photo.fingerprint),
    }


def _fingerprint_columns(fingerprint: Fingerprint) -> dict[str, int]:
    return {"size": fingerprint.size, "mtime_ns": fingerprint.mtime_ns, "inode": _signed(fingerprint.inode)}


def _signed(inode: int) -> int:
    """Some file systems use all 64 bits of an inode number; SQLite's integers are signed."""
    return inode - 2**64 if inode >= 2**63 else inode
