"""The state database's file: migrations, damage, transactions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tagger_daemon.database import Database, Migration, read_only
from tagger_daemon.errors import ConfigurationError, StateUnavailable

ONE = Migration(name="one", sql="CREATE TABLE a(x INTEGER) STRICT;\nINSERT INTO a VALUES (1);")
TWO = Migration(name="two", sql="INSERT INTO a VALUES (2);")


def values(path: Path) -> list[int]:
    with read_only(path) as db:
        return [row["x"] for row in db.execute("SELECT x FROM a ORDER BY x")]


def test_each_migration_is_applied_once(tmp_path: Path) -> None:
    path = tmp_path / "db"
    for migrations in ((ONE,), (ONE,), (ONE, TWO), (ONE, TWO)):
        Database(path, migrations).close()
    assert values(path) == [1, 2]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Database(path, (ONE, TWO)).close()
    with pytest.raises(ConfigurationError, match="newer"):
        Database(path, (ONE,))
    assert values(path) == [1, 2]


def test_a_failing_migration_leaves_no_half_schema(tmp_path: Path) -> None:
    path = tmp_path / "db"
    broken = Migration(
        name="broken", sql="CREATE TABLE b(x INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);"
    )
    with pytest.raises(ConfigurationError):
        Database(path, (broken,))
    with read_only(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'b'").fetchone()[0] == 0


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is no database, but it is long enough to look like one" * 100)
    with pytest.raises(ConfigurationError, match="Move it aside"):
        Database(path, (ONE,))


def test_a_locked_file_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "db"
    Database(path, (ONE,)).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **how: connect(path, **how | {"timeout": 0.1}))
    with pytest.raises(StateUnavailable, match="locked"):
        Database(path, (ONE,))
    holder.close()


def test_damage_inside_the_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "db"
    database = Database(path, (ONE,))
    with database.transaction() as db:
        db.execute("INSERT INTO a VALUES (NULL)")
        db.execute("PRAGMA writable_schema = ON")
        # A well-formed file whose content breaks its own rules: only SQLite's check finds it.
        db.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE a(x INTEGER NOT NULL) STRICT' WHERE name = 'a'"
        )
    database.close()
    with pytest.raises(ConfigurationError, match="Move it aside"):
        Database(path, (ONE,))


def test_an_error_inside_a_transaction_undoes_all_of_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (ONE,))
    with pytest.raises(ZeroDivisionError), database.transaction() as db:
        db.execute("INSERT INTO a VALUES (7)")
        with database.transaction() as inner:
            inner.execute("INSERT INTO a VALUES (8)")
        raise ZeroDivisionError
    assert values(tmp_path / "db") == [1]
    database.close()


def test_a_full_disk_is_a_passing_trouble(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (ONE,))
    with database.transaction() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    with pytest.raises(StateUnavailable), database.transaction() as db:
        db.execute(f"PRAGMA max_page_count = {pages}")
        db.execute("CREATE TABLE big(x TEXT) STRICT")
        db.executemany("INSERT INTO big VALUES (?)", [("x" * 4000,)] * 50)
    with database.transaction() as db:
        db.execute("PRAGMA max_page_count = 1000000")
        db.execute("INSERT INTO a VALUES (3)")
    assert values(tmp_path / "db") == [1, 3]
    database.close()


@pytest.mark.parametrize("closed", [True, False])
def test_a_reader_sees_what_was_committed_whether_the_daemon_runs_or_not(
    tmp_path: Path, closed: bool
) -> None:
    database = Database(tmp_path / "db", (ONE,))
    if closed:
        database.close()
    assert values(tmp_path / "db") == [1]
    if not closed:
        with read_only(tmp_path / "db") as db, pytest.raises(sqlite3.OperationalError):
            db.execute("INSERT INTO a VALUES (5)")
        database.close()


def test_no_database_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="cannot be read"), read_only(tmp_path / "none"):
        pass
