"""Looking at one real file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.unprivileged import run_unprivileged
from tagger_daemon.errors import PhotoGone, PhotoUnreadable
from tagger_daemon.intake.probe import BLOCK, being_written, look, readable_to_end
from tagger_daemon.intake.settle import Look

APPENDER = """
import sys
while True:
    with open(sys.argv[1], "ab") as file:
        file.write(b"x")
    print("once more", flush=True)
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x" * (2 * BLOCK + 1))
    return path


def test_a_look_shows_size_dates_and_inode(photo: Path) -> None:
    seen = look(photo)
    assert seen == Look.of(photo.stat())
    assert seen is not None
    assert seen.fingerprint.size == 2 * BLOCK + 1


def test_replacing_a_file_by_an_equal_one_shows(photo: Path) -> None:
    before = look(photo)
    assert before is not None
    stat = photo.stat()
    twin = photo.with_name("b.jpg")
    twin.write_bytes(photo.read_bytes())
    os.utime(twin, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    twin.replace(photo)
    after = look(photo)
    assert after is not None
    assert after.fingerprint.mtime_ns == before.fingerprint.mtime_ns
    assert after.fingerprint != before.fingerprint


def test_a_touched_up_date_cannot_hide_a_change(photo: Path) -> None:
    before = look(photo)
    assert before is not None
    stat = photo.stat()
    with photo.open("r+b") as file:
        file.write(b"changed")
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = look(photo)
    assert after is not None
    assert after.fingerprint == before.fingerprint
    assert after != before


def test_there_is_nothing_to_see_where_no_file_is(tmp_path: Path, photo: Path) -> None:
    assert look(tmp_path / "missing.jpg") is None
    assert look(photo / "below a file.jpg") is None
    assert look(tmp_path) is None
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "missing.jpg")
    assert look(tmp_path / "dangling.jpg") is None
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert look(tmp_path / "loop.jpg") is None


def test_a_good_file_reads_to_its_end(photo: Path) -> None:
    readable_to_end(photo)


def test_reading_a_missing_file_says_that_it_is_gone(tmp_path: Path) -> None:
    with pytest.raises(PhotoGone, match="no longer there"):
        readable_to_end(tmp_path / "missing.jpg")


def test_reading_what_is_no_file_fails_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoUnreadable, match="not a regular file"):
        readable_to_end(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoUnreadable):
        readable_to_end(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs proc")
def test_a_read_error_is_told_with_its_reason() -> None:
    # The page at address zero is never mapped, and reading it gives EIO: as near as one gets to a bad disk.
    with pytest.raises(PhotoUnreadable, match="cannot be read: input/output error"):
        readable_to_end(Path("/proc/self/mem"))


def test_a_file_that_may_not_be_read_says_what_to_do(photo: Path) -> None:
    photo.chmod(0)
    program = """
import pathlib, sys
from tagger_daemon.errors import PhotoUnreadable
from tagger_daemon.intake.probe import being_written, readable_to_end
try:
    readable_to_end(pathlib.Path(sys.argv[1]))
except PhotoUnreadable as error:
    print(error, being_written(pathlib.Path(sys.argv[1])))
"""
    told = run_unprivileged(program, str(photo))
    assert told == "the photo may not be read; allow this user to, then `retry` False\n"


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_open_for_writing_is_being_written(photo: Path, mode: str) -> None:
    assert not being_written(photo)
    with photo.open(mode):
        assert being_written(photo)
    assert not being_written(photo)


def test_a_writer_in_another_process_is_seen(photo: Path) -> None:
    program = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(photo)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        assert being_written(photo)
        writer.communicate()
    assert not being_written(photo)


def test_readers_are_no_writers(photo: Path) -> None:
    with photo.open("rb"):
        assert not being_written(photo)


def test_what_cannot_be_told_is_not_being_written(tmp_path: Path) -> None:
    assert not being_written(tmp_path / "missing.jpg")
    assert not being_written(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert not being_written(tmp_path / "pipe.jpg")


def test_probing_survives_a_writer_that_opens_the_file_all_the_time(photo: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(photo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        answers = []
        for _ in range(200):
            answers += [being_written(photo) for _ in range(50)]
            writer.stdout.readline()  # the probes have not stopped the writer
        writer.terminate()
    assert set(answers) == {True, False}
