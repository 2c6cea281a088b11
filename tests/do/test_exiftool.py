"""The exiftool process: nothing it is told can be misread, and nothing it does can hang us."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.exiftools import EXIFTOOLS, exiftool_named
from support.metadata_files import draw
from support.running import wait_until
from tagger_daemon.errors import ConfigurationError, ExiftoolDied, WriteRefused
from tagger_daemon.metadata import exiftool as exiftool_module
from tagger_daemon.metadata.exiftool import CONFIG_FILE, STARTER, ExifTool, path_argument


@pytest.fixture
def exiftool() -> Iterator[ExifTool]:
    process = ExifTool(timeout_seconds=20)
    yield process
    process.close()


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    return path_argument(draw(tmp_path / "photo.jpg").path)


def test_tells_its_version(exiftool: ExifTool) -> None:
    assert exiftool.version() >= (12, 57)


def test_a_missing_exiftool_names_the_package_to_install() -> None:
    with pytest.raises(ConfigurationError, match="sudo apt install libimage-exiftool-perl"):
        ExifTool("no-such-exiftool")


@pytest.mark.parametrize(("answer", "complaint"), [("12.10", "too old"), ("hello", "does not answer as")])
def test_another_program_or_an_old_version_is_refused(tmp_path: Path, answer: str, complaint: str) -> None:
    program = tmp_path / "exiftool"
    program.write_text(
        "#!/bin/sh\n"
        "while read -r line; do\n"
        '  case "$line" in -execute*) n=${line#-execute}\n'
        f'    echo "{answer}"; echo "{{ready$n}}"; echo "=0=post$n" >&2;;\n'
        "  -stay_open) exit;; esac\ndone\n"
    )
    program.chmod(0o755)
    with ExifTool(str(program)) as process, pytest.raises(ConfigurationError, match=complaint):
        process.version()


@pytest.mark.parametrize("argument", ["x\n-if\n1", "x\ry", "x\0y", "#[CSTR]x", " x", "\tx", ""])
def test_arguments_that_could_be_misread_never_reach_it(exiftool: ExifTool, argument: str) -> None:
    with pytest.raises(WriteRefused):
        exiftool.ask("-ver", argument)
    assert exiftool.pid is None


def test_a_file_name_with_a_line_break_is_refused_with_a_reason() -> None:
    with pytest.raises(WriteRefused, match="line break; rename it"):
        path_argument(Path("/photos/a\n-delete.jpg"))


def test_the_inherited_execute_is_guarded_too(exiftool: ExifTool) -> None:
    assert str(exiftool.execute("-ver")).strip().startswith(f"{exiftool.version()[0]}.")
    with pytest.raises(WriteRefused):
        exiftool.execute("-ver\n-if\n1")


def test_values_travel_by_a_file_that_only_we_can_read(exiftool: ExifTool) -> None:
    with exiftool.values_file({"XMP-dc:Title": "secret"}) as argument:
        path = Path(argument.removeprefix("-json="))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


def test_closing_leaves_nothing_behind(photo: bytes) -> None:
    with ExifTool() as process:
        process.ask("-s", photo)
        with process.private_file(b"x", ".txt") as path:
            home = path.parent
    assert not home.exists()
    assert process.pid is None


def test_a_users_own_exiftool_config_is_not_run(
    tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ExifTool_config").write_text(f"open(F, '>{tmp_path}/run'); 1;")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EXIFTOOL_HOME", str(tmp_path))
    with ExifTool() as process:
        process.ask("-s", photo)
    assert not (tmp_path / "run").exists()


def test_killed_during_a_call_it_says_so_and_the_next_call_works(exiftool: ExifTool, photo: bytes) -> None:
    with pytest.raises(ExiftoolDied, match="ended unexpectedly"):
        exiftool.ask("-if", "require POSIX; kill 9, POSIX::getpid()", photo)
    assert b"image/jpeg" in exiftool.ask("-MIMEType", photo).stdout


def test_stopped_during_a_call_it_is_killed_and_the_next_call_works(photo: bytes) -> None:
    with ExifTool(timeout_seconds=3) as process:
        with pytest.raises(ExiftoolDied, match="did not answer within 3 seconds"):
            process.ask("-if", "require POSIX; kill 'STOP', POSIX::getpid()", photo)
        assert b"image/jpeg" in process.ask("-MIMEType", photo).stdout


def test_killed_between_calls_the_next_call_starts_another(exiftool: ExifTool, photo: bytes) -> None:
    exiftool.run()
    first = exiftool.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert exiftool.ask("-s", photo).status == 0
    assert exiftool.pid != first


def test_a_flood_of_complaints_does_not_block_it(exiftool: ExifTool, photo: bytes) -> None:
    answer = exiftool.ask("-if", "print STDERR 'x' x 500000; 1", "-MIMEType", photo)
    assert len(answer.stderr) >= 500_000
    assert b"image/jpeg" in answer.stdout


@pytest.mark.parametrize(
    "trickle", ["print STDERR 'x'; select(undef, undef, undef, 0.01)", "print STDERR 'x' x 1000000"]
)
def test_a_flood_without_end_is_cut_off(photo: bytes, trickle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagger_daemon.metadata.exiftool.MOST_OUTPUT", 50_000_000)
    with ExifTool(timeout_seconds=2) as process:
        with pytest.raises(ExiftoolDied):
            process.ask("-if", f"while (1) {{ {trickle} }}", photo)
        assert process.ask("-s", photo).status == 0


def test_a_flood_of_arguments_does_not_block_it(exiftool: ExifTool, photo: bytes) -> None:
    assert exiftool.ask(*["-XMP-dc:Title"] * 30_000, "-MIMEType", photo).status == 0


def test_threads_share_it_and_each_gets_its_own_answer(tmp_path: Path, exiftool: ExifTool) -> None:
    photos = [draw(tmp_path / f"{number}.jpg").path for number in range(4)]

    def names(path: Path) -> list[bytes]:
        return [exiftool.ask("-s3", "-FileName", path_argument(path)).stdout.strip() for _ in range(25)]

    with ThreadPoolExecutor(4) as pool:
        for path, answers in zip(photos, pool.map(names, photos), strict=True):
            assert answers == [os.fsencode(path.name)] * 25


def test_it_outlives_the_thread_that_started_it(exiftool: ExifTool, photo: bytes) -> None:
    starter = threading.Thread(target=exiftool.run)
    starter.start()
    starter.join()
    first = exiftool.pid
    exiftool.ask("-s", photo)
    assert exiftool.pid == first


def test_it_is_renewed_after_so_many_tasks(
    exiftool: ExifTool, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exiftool_module, "TASKS_PER_PROCESS", 2)
    pids = []
    for _ in range(4):
        exiftool.ask("-s", photo)
        pids.append(exiftool.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]


@pytest.mark.parametrize("name", EXIFTOOLS)
def test_it_ends_by_itself_once_whoever_started_it_was_killed(photo: bytes, name: str) -> None:
    code = (
        "import sys, time; from tagger_daemon.metadata.exiftool import ExifTool; "
        "tool = ExifTool(sys.argv[2]); tool.ask('-s', sys.argv[1].encode()); "
        "print(tool.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, os.fsdecode(photo), exiftool_named(name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        exiftool = Path(f"/proc/{int(starter.stdout.readline())}")
        assert exiftool.exists()
        starter.kill()
    wait_until(lambda: not exiftool.exists(), "exiftool has ended")


@pytest.mark.parametrize("name", EXIFTOOLS)
def test_it_ends_at_once_if_whoever_started_it_is_gone_already(name: str) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    command = [exiftool_named(name), "-config", str(CONFIG_FILE), "-stay_open", "True", "-@", "-"]
    environment = {**os.environ, STARTER: str(gone.pid)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            assert process.wait(timeout=20) == 1  # with its input open
        finally:
            process.kill()


@pytest.mark.parametrize("name", EXIFTOOLS)
def test_its_clock_cuts_off_no_wait_for_commands_and_stands_while_it_works(photo: bytes, name: str) -> None:
    with ExifTool(exiftool_named(name)) as process:
        assert process.ask(
            "-if", "not alarm 0", "-MIMEType", photo
        ).stdout  # seconds left of a clock that runs
        first = process.pid
        for _ in range(3):
            wait_until(lambda: state_of(first) == "S", "it waits for commands")
            os.kill(first or 0, signal.SIGALRM)
            wait_until(lambda: not is_pending(first, signal.SIGALRM), "the signal has come")
        answer = process.ask("-MIMEType", photo)
        assert (process.pid, answer.status, answer.stderr) == (first, 0, "")


def test_it_may_be_started_by_a_script(tmp_path: Path, photo: bytes) -> None:
    program = tmp_path / "exiftool"
    program.write_text(f'#!/bin/sh\n{shutil.which("exiftool")} "$@"\nexit $?\n')
    program.chmod(0o755)
    with ExifTool(str(program)) as process:
        assert b"image/jpeg" in process.ask("-MIMEType", photo).stdout


def state_of(pid: int | None) -> str:
    """Return the letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def is_pending(pid: int | None, number: signal.Signals) -> bool:
    """Tell whether a signal was sent to a process and has not come yet."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return any(int(lines[name], 16) >> (number - 1) & 1 for name in ("SigPnd", "ShdPnd"))
