"""Hearing of real changes through real inotify. Every wait is for an event, never for a time."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagger_daemon.intake import watch
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.probe import look
from tagger_daemon.intake.scan import scan
from tagger_daemon.intake.settle import SettleTracker
from tagger_daemon.intake.watch import OVERFLOW_LOGGER, Watcher
from tagger_daemon.settings import FolderSettings

LONG = 30  # seconds until a wait is given up; a failing test takes that long, a passing one does not


class Ear:
    """A watcher, and all that was drained from it so far."""

    def __init__(self, *folders: FolderSettings, capacity: int = 50_000) -> None:
        self.woken = threading.Event()
        self.watcher = Watcher(folders, Eligibility(), wake=self.woken.set, capacity=capacity)
        self.changed: set[Path] = set()
        self.dirty: set[Path] = set()

    def collect(self) -> None:
        """Drain what is there."""
        self.woken.clear()
        changed, dirty = self.watcher.drain()
        self.changed.update(changed)
        self.dirty.update(dirty)

    def until(self, done: Callable[[], bool]) -> None:
        """Drain whenever woken until the condition holds."""
        while True:
            self.collect()
            if done():
                return
            assert self.woken.wait(LONG), f"heard only {self.changed} and {self.dirty}"

    def forget(self) -> None:
        """Start afresh."""
        self.changed.clear()
        self.dirty.clear()


@contextmanager
def listening(*folders: FolderSettings, capacity: int = 50_000) -> Iterator[Ear]:
    """Watch the folders; what makes them dirty at the start is drained already."""
    ear = Ear(*folders, capacity=capacity)
    ear.watcher.start()
    try:
        ear.collect()
        ear.forget()
        yield ear
    finally:
        ear.watcher.stop()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def ear(inbox: Path) -> Iterator[Ear]:
    with listening(FolderSettings(path=inbox)) as ear:
        yield ear


def last(ear: Ear, inbox: Path) -> None:
    """Make one more photo and wait for it: what came before has been heard by then, or never will be."""
    path = inbox / "the last one.jpg"
    path.write_bytes(b"x")
    ear.until(lambda: path in ear.changed)
    ear.changed.discard(path)


def test_starting_makes_every_folder_dirty_for_nothing_is_known_of_before(inbox: Path) -> None:
    watcher = Watcher([FolderSettings(path=inbox)], Eligibility(), wake=lambda: None)
    watcher.start()
    assert watcher.drain() == ([], {inbox})
    assert watcher.problems() == []
    watcher.stop()


def test_a_new_file_is_heard(ear: Ear, inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    ear.until(lambda: inbox / "a.jpg" in ear.changed)


def test_a_file_written_in_place_is_heard(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    with listening(FolderSettings(path=inbox)) as ear:
        with (inbox / "a.jpg").open("r+b") as file:
            file.write(b"y")
        ear.until(lambda: inbox / "a.jpg" in ear.changed)


def test_a_file_moved_in_is_heard(ear: Ear, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").rename(inbox / "a.jpg")
    ear.until(lambda: inbox / "a.jpg" in ear.changed)


def test_of_a_renamed_file_both_names_are_heard(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    with listening(FolderSettings(path=inbox)) as ear:
        (inbox / "a.jpg").rename(inbox / "b.jpg")
        ear.until(lambda: {inbox / "a.jpg", inbox / "b.jpg"} <= ear.changed)


def test_a_finished_copy_moved_over_a_photo_is_heard_as_that_photo_only(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    with listening(FolderSettings(path=inbox)) as ear:
        temporary = inbox / ".a.tagger-1f3c.jpg"
        temporary.write_bytes(b"y")
        temporary.replace(inbox / "a.jpg")
        ear.until(lambda: inbox / "a.jpg" in ear.changed)
        last(ear, inbox)
        assert ear.changed == {inbox / "a.jpg"}


def test_a_deleted_file_is_heard(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"x")
    with listening(FolderSettings(path=inbox)) as ear:
        (inbox / "a.jpg").unlink()
        ear.until(lambda: inbox / "a.jpg" in ear.changed)


def test_reading_raises_nothing(inbox: Path) -> None:
    (inbox / "sub").mkdir()
    (inbox / "sub" / "a.jpg").write_bytes(b"x")
    with listening(FolderSettings(path=inbox)) as ear:
        assert len(list(scan(FolderSettings(path=inbox), Eligibility(), report=pytest.fail))) == 1
        (inbox / "sub" / "a.jpg").read_bytes()
        last(ear, inbox)
        assert (ear.changed, ear.dirty) == (set(), set())


def test_names_that_are_no_photos_of_ours_are_not_heard(inbox: Path) -> None:
    (inbox / "@eaDir").mkdir()
    with listening(FolderSettings(path=inbox)) as ear:
        for name in ("notes.txt", "a.xmp", ".hidden.jpg", "a.jpg.part", "a.jpg_exiftool_tmp", "@eaDir/a.jpg"):
            (inbox / name).write_bytes(b"x")
        (inbox / "@eaDir" / "deeper").mkdir()
        (inbox / ".thumbnails").mkdir()
        last(ear, inbox)
        assert (ear.changed, ear.dirty) == (set(), set())


def test_odd_names_are_heard_as_they_are(ear: Ear, inbox: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9.jpg", b"line\nbreak.jpg", b"{} %s.jpg")]
    for name in names:
        (inbox / name).write_bytes(b"x")
    ear.until(lambda: {inbox / name for name in names} <= ear.changed)


def found(ear: Ear, inbox: Path) -> set[Path]:
    """Do what the service does: take the paths heard of, and scan the folders that are dirty."""
    folder = FolderSettings(path=inbox)
    scanned = {
        path
        for dirty in ear.dirty
        for path, _ in scan(folder, Eligibility(), report=pytest.fail, below=dirty)
    }
    return scanned | {path for path in ear.changed if path.exists()}


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_every_photo_of_a_tree_that_arrives_is_found(ear: Ear, inbox: Path, tmp_path: Path, how: str) -> None:
    tree = tmp_path / "tree"
    for folder in ("", "a", "a/b", "a/b/c", "d"):
        for number in range(10):
            (tree / folder).mkdir(parents=True, exist_ok=True)
            (tree / folder / f"{number}.jpg").write_bytes(b"x")
    expected = {inbox / "tree" / path.relative_to(tree) for path in tree.rglob("*.jpg")}
    if how == "copied":
        shutil.copytree(tree, inbox / "tree")
    else:
        tree.rename(inbox / "tree")
    ear.until(lambda: found(ear, inbox) == expected)
    late = inbox / "tree" / "a" / "b" / "c" / "late.jpg"
    ear.forget()
    late.write_bytes(b"x")
    ear.until(lambda: late in ear.changed)


def test_a_folder_renamed_inside_is_dirty_under_its_new_name(inbox: Path) -> None:
    (inbox / "old").mkdir()
    (inbox / "old" / "a.jpg").write_bytes(b"x")
    with listening(FolderSettings(path=inbox)) as ear:
        (inbox / "old").rename(inbox / "new")
        ear.until(lambda: inbox / "new" in ear.dirty)


def test_a_folder_under_a_dirty_folder_goes_without_saying(inbox: Path) -> None:
    folders = [FolderSettings(path=inbox / name) for name in ("outer", "outer/inner")]
    folders[1].path.mkdir(parents=True)
    watcher = Watcher(folders, Eligibility(), wake=lambda: None)
    watcher.start()
    assert watcher.drain() == ([], {inbox / "outer"})
    watcher.stop()


def test_a_burst_of_files_is_heard_to_the_last_one(ear: Ear, inbox: Path) -> None:
    expected = {inbox / f"{number}.jpg" for number in range(500)}
    for path in expected:
        path.write_bytes(b"x")
    ear.until(lambda: expected <= ear.changed)


def test_a_drain_in_the_middle_of_a_burst_loses_nothing(ear: Ear, inbox: Path) -> None:
    expected = {inbox / f"{number}.jpg" for number in range(1000)}

    def make_all() -> None:
        for path in expected:
            path.touch()

    burst = threading.Thread(target=make_all)
    burst.start()
    while burst.is_alive():
        ear.collect()
    burst.join()
    ear.until(lambda: expected <= ear.changed)


def test_one_drain_takes_one_wake_however_much_happens(inbox: Path) -> None:
    calls: list[None] = []
    watcher = Watcher([FolderSettings(path=inbox)], Eligibility(), wake=lambda: calls.append(None))
    watcher.start()
    for number in range(50):
        (inbox / f"{number}.jpg").write_bytes(b"x")
    watcher.stop()
    assert len(calls) == 1


def test_more_than_there_is_room_for_makes_the_folder_dirty(inbox: Path) -> None:
    with listening(FolderSettings(path=inbox), capacity=10) as ear:
        for number in range(50):
            (inbox / f"{number}.jpg").write_bytes(b"x")
        ear.until(lambda: len(found(ear, inbox)) == 50)


def test_without_recursion_folders_below_are_silent(inbox: Path) -> None:
    (inbox / "sub").mkdir()
    with listening(FolderSettings(path=inbox, recursive=False)) as ear:
        (inbox / "sub" / "a.jpg").write_bytes(b"x")
        (inbox / "new").mkdir()
        last(ear, inbox)
        assert (ear.changed, ear.dirty) == (set(), set())


def test_a_watch_folder_that_is_a_link_is_watched_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "disk" / "sub").mkdir(parents=True)
    (tmp_path / "inbox").symlink_to(tmp_path / "disk")
    with listening(FolderSettings(path=tmp_path / "inbox")) as ear:
        (tmp_path / "disk" / "a.jpg").write_bytes(b"x")
        (tmp_path / "disk" / "sub" / "b.jpg").write_bytes(b"x")
        ear.until(lambda: {tmp_path / "inbox" / name for name in ("a.jpg", "sub/b.jpg")} <= ear.changed)


def test_a_growing_file_becomes_ready_once_it_has_stopped(ear: Ear, inbox: Path) -> None:
    path = inbox / "a.jpg"
    tracker = SettleTracker(10)
    now = 0.0

    def heard() -> bool:
        return path in ear.changed

    with path.open("wb", buffering=0) as file:
        file.write(b"half")
        ear.until(heard)
        for heard_of in ear.changed:
            tracker.touch(heard_of, now)
        for _ in range(3):
            for due in tracker.due(now):
                assert not tracker.observe(due, look(due), now, wall=1e10)
            file.write(b" and more")
            now += 10
    ear.forget()
    ear.until(heard)
    tracker.touch(path, now)
    assert not tracker.observe(path, look(path), now, wall=1e10)
    assert tracker.due(now + 10) == [path]
    assert tracker.observe(path, look(path), now + 10, wall=1e10)


def test_a_missing_folder_is_a_problem_and_the_others_are_watched(inbox: Path, tmp_path: Path) -> None:
    missing = tmp_path / "not mounted"
    with listening(FolderSettings(path=missing), FolderSettings(path=inbox)) as ear:
        [problem] = ear.watcher.problems()
        assert "not mounted" in problem
        (inbox / "a.jpg").write_bytes(b"x")
        ear.until(lambda: inbox / "a.jpg" in ear.changed)

        missing.mkdir()
        ear.watcher.audit()
        assert ear.watcher.problems() == []
        ear.until(lambda: missing in ear.dirty)
        (missing / "b.jpg").write_bytes(b"x")
        ear.until(lambda: missing / "b.jpg" in ear.changed)


@pytest.mark.parametrize("listed", [True, False], ids=["ordinary", "numbers its folders twice"])
@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_folder_that_was_replaced_is_dirty_and_watched_again(
    inbox: Path, tmp_path: Path, how: str, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not listed:  # as on overlays and btrfs, where the kernel's list does not name what stat names
        monkeypatch.setattr(watch, "_kernel_watches", set)
    with listening(FolderSettings(path=inbox)) as ear:
        if how == "deleted":
            inbox.rmdir()
            ear.until(lambda: inbox in ear.dirty)
        else:
            inbox.rename(tmp_path / "old")
        inbox.mkdir()
        ear.forget()
        ear.watcher.audit()
        assert ear.watcher.problems() == []
        ear.until(lambda: inbox in ear.dirty)
        (inbox / "a.jpg").write_bytes(b"x")
        ear.until(lambda: inbox / "a.jpg" in ear.changed)


def test_a_folder_that_goes_away_is_a_problem_until_it_is_back(ear: Ear, inbox: Path, tmp_path: Path) -> None:
    inbox.rename(tmp_path / "away")
    ear.watcher.audit()
    assert "inbox' cannot be read: no such file" in ear.watcher.problems()[0]
    (tmp_path / "away").rename(inbox)
    ear.watcher.audit()
    assert ear.watcher.problems() == []
    ear.until(lambda: inbox in ear.dirty)


def test_an_audit_leaves_alone_what_is_in_order(ear: Ear, inbox: Path) -> None:
    ear.watcher.audit()
    ear.collect()
    assert (ear.changed, ear.dirty, ear.watcher.problems()) == (set(), set(), [])


def test_lost_events_make_every_folder_dirty_now_and_at_the_next_audit(ear: Ear, inbox: Path) -> None:
    logging.getLogger(OVERFLOW_LOGGER).warning("Inotify queue overflowed; filesystem events were lost")
    ear.until(lambda: inbox in ear.dirty)
    for expected in ({inbox}, set()):
        ear.forget()
        ear.watcher.audit()
        ear.collect()
        assert ear.dirty == expected


def test_stopping_ends_all_threads_and_lets_go_of_the_log(inbox: Path) -> None:
    before = threading.active_count()
    with listening(FolderSettings(path=inbox)) as ear:
        assert threading.active_count() > before
    assert threading.active_count() == before
    assert logging.getLogger(OVERFLOW_LOGGER).handlers == []
    ear.watcher.stop()


def in_namespace(kind: str, setup: str, program: str, inbox: Path) -> str:
    """Run a program where limits or mounts are its own, after a shell line, and return what it printed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is missing")
    shell = f'{setup} || exit 77; exec "$2" -c "$3" "$1"'
    result = subprocess.run(
        [unshare, kind, "sh", "-c", shell, "sh", str(inbox), sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode == 77 or result.stderr.startswith("unshare:"):
        pytest.skip(f"no namespaces here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    return result.stdout


#: Begins every program that watches in a process of its own.
WATCH = """
import pathlib, sys, threading
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.watch import Watcher
from tagger_daemon.settings import FolderSettings

woken = threading.Event()
inbox = pathlib.Path(sys.argv[1])
watcher = Watcher([FolderSettings(path=inbox)], Eligibility(), wake=woken.set)
watcher.start()
woken.clear()
watcher.drain()
"""


def test_a_real_overflow_of_the_kernel_s_queue_makes_the_folder_dirty(inbox: Path) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    if queue > 20_000:
        pytest.skip("the kernel's queue is too long to be filled in a test")
    wait = """
print("listening", flush=True)
while woken.wait():
    woken.clear()
    if inbox in watcher.drain()[1]:
        break
print("dirty", flush=True)
watcher.stop()
"""
    with subprocess.Popen(
        [sys.executable, "-c", WATCH + wait, str(inbox)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        for number in range(queue // 2 + 100):  # two events each
            (inbox / f"{number}.jpg").touch()
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "dirty\n"
    assert process.returncode == 0


def test_a_watch_limit_is_a_problem_with_its_cure_and_ends_with_it(inbox: Path) -> None:
    for number in range(10):
        (inbox / str(number)).mkdir()
    limited = """
limit = pathlib.Path("/proc/sys/user/max_inotify_watches")
print(watcher.problems())
limit.write_text("1000")
watcher.audit()
print(watcher.problems(), watcher.drain()[1] == {inbox})
(inbox / "9" / "a.jpg").touch()
while not any(path.name == "a.jpg" for path in watcher.drain()[0]):
    woken.wait()
watcher.stop()
"""
    setup = "echo 5 > /proc/sys/user/max_inotify_watches"
    before, after = in_namespace("-Ur", setup, WATCH + limited, inbox).splitlines()
    assert "sudo sysctl fs.inotify.max_user_watches=" in before
    assert after == "[] True"


def test_a_disk_that_was_unmounted_and_mounted_again_is_watched_again(inbox: Path) -> None:
    remounted = """
import subprocess
subprocess.run(["umount", "--lazy", inbox], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", inbox], check=True)
watcher.audit()
print(watcher.problems(), watcher.drain()[1] == {inbox})
(inbox / "a.jpg").touch()
while not any(path.name == "a.jpg" for path in watcher.drain()[0]):
    woken.wait()
watcher.stop()
"""
    assert in_namespace("-rm", "mount -t tmpfs none $1", WATCH + remounted, inbox) == "[] True\n"
