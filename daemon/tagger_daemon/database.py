"""The one SQLite file: opens, migrates, gives transactions. Backlog and ledger share it.

Write-ahead log with full synchronisation: `done` means done, also after a power cut. Every transaction
begins with the write lock (`BEGIN IMMEDIATE`), because a read that turns into a write fails at once with
"database is locked" whatever the busy timeout says.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tagger_daemon.errors import ConfigurationError, StateUnavailable
from tagger_daemon.model import Value

#: Kinds of SQLite failure that pass when there is room, or a disk, again, or another program lets go.
_PASSING = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    sqlite3.SQLITE_BUSY,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration(Value):
    """One step of the schema, applied once and for ever."""

    name: str
    sql: str


class Database:
    """One connection, shared by the threads of one process under a lock."""

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        """Open the file, making it if needed, and bring its schema up to date.

        Raises:
            ConfigurationError: the file is damaged, of a newer version, or on a file system without locks.
            StateUnavailable: another program keeps it locked, or the disk is full, read-only or failing.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            with ExitStack() as undo:
                undo.callback(self._connection.close)
                self._connection.row_factory = sqlite3.Row
                self._prepare()
                self._migrate(migrations)
                undo.pop_all()
        except sqlite3.DatabaseError as error:
            if _kind(error) in _PASSING:
                raise StateUnavailable(f"the state database {path} cannot be opened: {error}") from error
            raise self._unusable(str(error)) from error

    def _prepare(self) -> None:
        mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise ConfigurationError(
                f"{self.path} is on a file system that cannot hold a write-ahead log (a network share?). "
                "Set state_dir to a local disk."
            )
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA journal_size_limit = 67108864")
        verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise self._unusable(verdict)

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the state database {self.path} cannot be used ({why}). Move it aside and start again: the "
            "watch folders are then read anew, and photos with our marker are not asked about again."
        )

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        with self.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS migration(name TEXT PRIMARY KEY) STRICT")
            applied = {row["name"] for row in db.execute("SELECT name FROM migration")}
            if unknown := applied - {migration.name for migration in migrations}:
                raise ConfigurationError(
                    f"{self.path} was made by a newer tagger-daemon (it has {', '.join(sorted(unknown))}). "
                    "Install that version again, or set another state_dir."
                )
            for migration in migrations:
                if migration.name not in applied:
                    # executescript would commit what came before; one statement at a time does not.
                    for statement in _statements(migration.sql):
                        db.execute(statement)
                    db.execute("INSERT INTO migration(name) VALUES (?)", (migration.name,))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a write transaction; commit at the end, roll back on any error.

        A transaction inside another joins it: the outermost decides.

        Raises:
            StateUnavailable: the disk is full, read-only or failing; nothing was changed.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            try:
                with ExitStack() as undo:
                    self._connection.execute("BEGIN IMMEDIATE")
                    undo.callback(self._roll_back)
                    yield self._connection
                    self._connection.execute("COMMIT")
                    undo.pop_all()
            except sqlite3.OperationalError as error:
                if _kind(error) not in _PASSING:
                    raise
                raise StateUnavailable(
                    f"the state database {self.path} cannot be written: {error}"
                ) from error

    def _roll_back(self) -> None:
        # SQLite has already rolled back by itself after some failures, a full disk among them.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Fold the log into the file and close."""
        with self._lock:
            self._connection.close()


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that cannot write, to look at a running or stopped daemon's state.

    After a clean end there is no log, and only `immutable` can be read without write permission; while a log
    exists `immutable` would miss what is in it.

    Raises:
        StateUnavailable: there is no readable database.
    """
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=5)
        try:
            connection.row_factory = sqlite3.Row
            yield connection
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise StateUnavailable(f"the state database {path} cannot be read: {error}") from error


def _kind(error: sqlite3.Error) -> int:
    """Return the primary result code; the extended part is in the higher bits. Not all errors carry one."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements, as the SQLite shell does."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
