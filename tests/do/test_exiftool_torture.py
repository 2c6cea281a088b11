"""exiftool killed, stopped and flooding at random moments: no photo is harmed, and nobody waits for ever.

The signals are real and come from a thread of their own; the seed is fixed, the moments are not. Whatever the
moment, the command ends, the photo is as it was or as planned and proven, nothing is left beside it, and the
next command works.
"""

from __future__ import annotations

import io
import os
import random
import selectors
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.metadata_files import NOON, annotation, open_store, photo_at, policy
from tagger_daemon.errors import ExiftoolDied
from tagger_daemon.metadata.exiftool import Answer, ExifTool, path_argument
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Existing, Photo, WritePlan
from tagger_daemon.settings import MetadataSettings

EVENTS = 216  # signals and floods in all; a killed exiftool takes a tenth of a second or two to start anew
SEED = 20240501
PATIENCE = 30.0  # seconds; a command that nobody disturbs never takes so long
IMPATIENCE = 0.4  # seconds given to an exiftool that is stopped
LONGEST_READING = 0.05  # seconds within which reads are hit
LONGEST_PROOF = 0.02  # seconds, about, that the reading back of a copy takes
READING, WRITING = "-X", "-o"  # arguments by which commands are known

FLOODING = """#!/usr/bin/env perl
# The installed exiftool; before and after it reads or writes a file, it says some hundred kilobytes more.
use strict; use warnings;
$Image::ExifTool::configFile = $ARGV[1];  # as exiftool itself does before it loads the module
require Image::ExifTool;
srand(%(seed)d);
for my $name (qw(ExtractInfo WriteInfo)) {
    no strict 'refs'; no warnings 'redefine';
    my $real = \\&{"Image::ExifTool::$name"};
    *{"Image::ExifTool::$name"} = sub {
        print STDERR 'Warning: ', 'x' x (100_000 + int rand 200_000), "\\n";
        my @answer = wantarray ? &$real : scalar &$real;
        print STDERR 'y' x (100_000 + int rand 200_000), "\\n";
        wantarray ? @answer : $answer[0];
    };
}
$0 = '%(exiftool)s';
do $0; die $@;
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Observed(ExifTool):
    """The real exiftool; tells when a command of the awaited kind begins."""

    def __init__(self, executable: str = "exiftool") -> None:
        super().__init__(executable, timeout_seconds=PATIENCE)
        self.awaited = ""
        self.begun = threading.Event()

    def ask(self, *arguments: str | bytes) -> Answer:
        if self.awaited in arguments:
            self.begun.set()
        return super().ask(*arguments)

    def be_patient(self, seconds: float) -> None:
        """Change how long a command may take."""
        self._timeout_seconds = seconds

    def private_files(self) -> list[str]:
        """Return what stands in its private directory."""
        return names(Path(self._private_directory()))

    def send(self, number: int) -> None:
        """Send it a signal, if it runs, and see it die where that is what the signal does."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # somebody else saw it die
                os.kill(pid, number)
                if number == signal.SIGKILL:
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@dataclass(frozen=True)
class Bench:
    """A photo of some megabytes in a folder of its own, and the store that is tortured over it."""

    path: Path
    original: bytes
    exiftool: Observed
    store: MetadataStore

    @property
    def photo(self) -> Photo:
        return photo_at(self.path)

    def plan(self) -> WritePlan:
        return self.store.plan(self.store.read(self.photo), annotation(), policy())

    def survives(self, command: Callable[[], object], torment: AbstractContextManager[None]) -> bool:
        """Run a command that is disturbed, see that all is well, and tell whether it came to its end."""
        try:
            with torment:
                command()
        except ExiftoolDied:
            ended = False
            assert self.exiftool.pid is None  # what it may still do or say is nobody's
            assert self.path.read_bytes() == self.original
        else:
            ended = True
        assert names(self.path.parent) == [self.path.name]
        assert self.exiftool.private_files() == []
        self.exiftool.be_patient(PATIENCE)
        found = self.store.read(self.photo)  # the next command works
        if self.path.read_bytes() == self.original:
            assert found.marker is None
        else:
            assert whole(found, self.path)
            self.path.write_bytes(self.original)
        return ended


def whole(found: Existing, path: Path) -> bool:
    """Tell whether a photo has all that was planned, and its old picture."""
    said = annotation()
    assert found.marker is not None
    return (
        (found.title, found.alt_text, found.description) == (said.caption, said.caption, said.description)
        and found.keywords == found.marker.keywords == said.keywords
        and found.marker.content_hash == content_hash(path)
    )


@contextmanager
def bench_for(path: Path, executable: str = "exiftool") -> Iterator[Bench]:
    exiftool = Observed(executable)
    store = MetadataStore(MetadataSettings(), exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
    with closing(store):
        store.start()
        yield Bench(path=path, original=path.read_bytes(), exiftool=exiftool, store=store)


@pytest.fixture(scope="module")
def large() -> bytes:
    """A JPEG of four megabytes, all noise: copying it takes long enough to be hit."""
    noise = np.random.default_rng(SEED).integers(0, 256, (1400, 1200, 3), dtype=np.uint8)
    coded = io.BytesIO()
    Image.fromarray(noise).save(coded, "JPEG", quality=95, subsampling=0)
    return coded.getvalue()


@pytest.fixture
def bench(tmp_path: Path, large: bytes) -> Iterator[Bench]:
    path = tmp_path / "photo.jpg"
    path.write_bytes(large)
    with bench_for(path) as opened:
        yield opened


Moment = Callable[[threading.Event], object]  # returns when it has come, or when the event is set: too late


def later(seconds: float) -> Moment:
    """The moment so long after the begin."""
    return lambda over: over.wait(seconds)


def size_of_copy(path: Path) -> int:
    """Return how large what stands beside a file is by now; -1: nothing does."""
    for name in names(path.parent):
        if name != path.name:
            with suppress(FileNotFoundError):
                return path.with_name(name).stat().st_size
    return -1


def copied(bench: Bench, share: float, seconds: float = 0) -> Moment:
    """The moment when so much of the edited copy is written, or so long after it."""

    def wait(over: threading.Event) -> None:
        while not over.wait(0.0002) and size_of_copy(bench.path) < share * len(bench.original):
            pass
        over.wait(seconds)

    return wait


@contextmanager
def signals(bench: Bench, awaited: str, moment: Moment, *numbers: int, pause: float = 0) -> Iterator[None]:
    """Send exiftool signals from another thread, the first at a moment of a command of the awaited kind.

    Args:
        bench: whose exiftool.
        awaited: an argument that only such commands have.
        moment: when, counted from the begin of the command.
        numbers: the signals.
        pause: seconds between them.
    """
    over = threading.Event()

    def torment() -> None:
        bench.exiftool.begun.wait()
        moment(over)
        for number in numbers:
            bench.exiftool.send(number)
            over.wait(pause)

    bench.exiftool.begun.clear()
    bench.exiftool.awaited = awaited
    thread = threading.Thread(target=torment)
    thread.start()
    try:
        yield
    finally:
        bench.exiftool.awaited = ""
        over.set()
        bench.exiftool.begun.set()
        thread.join()
        bench.exiftool.send(signal.SIGCONT)  # if it was stopped when it had just come to its end


def test_killed_while_it_reads(bench: Bench) -> None:
    def read_on() -> None:
        for _ in range(100):
            bench.store.read(bench.photo)

    moments = random.Random(SEED)
    ended = 0
    for _ in range(EVENTS // 8):
        torment = signals(bench, READING, later(moments.uniform(0, LONGEST_READING)), signal.SIGKILL)
        ended += bench.survives(read_on, torment)
    assert ended < EVENTS // 8  # some were hit


def test_killed_while_it_writes_the_copy(bench: Bench) -> None:
    moments = random.Random(SEED)
    ended = 0
    for _ in range(EVENTS // 6):
        plan = bench.plan()
        torment = signals(bench, WRITING, copied(bench, moments.uniform(0, 0.9)), signal.SIGKILL)
        ended += bench.survives(partial(bench.store.apply, plan), torment)
    assert ended < EVENTS // 6


def test_killed_while_the_copy_is_read_back(bench: Bench) -> None:
    moments = random.Random(SEED)
    for _ in range(EVENTS // 10):
        plan = bench.plan()
        moment = copied(bench, 1, moments.uniform(0, LONGEST_PROOF))
        torment = signals(bench, WRITING, moment, signal.SIGKILL)
        bench.survives(partial(bench.store.apply, plan), torment)


@pytest.mark.parametrize("goes_on", [True, False])
def test_stopped_while_it_writes_the_copy(bench: Bench, goes_on: bool) -> None:
    moments = random.Random(SEED)
    numbers = (signal.SIGSTOP, signal.SIGCONT) if goes_on else (signal.SIGSTOP,)
    for _ in range(EVENTS // 24):
        plan = bench.plan()
        bench.exiftool.be_patient(PATIENCE if goes_on else IMPATIENCE)
        moment = copied(bench, moments.uniform(0, 0.9))
        torment = signals(bench, WRITING, moment, *numbers, pause=moments.uniform(0, 0.05))
        ended = bench.survives(partial(bench.store.apply, plan), torment)
        assert ended or not goes_on


class CountingSelector(selectors.DefaultSelector):
    """The real selector; counts how often anybody looked at it."""

    looks = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        CountingSelector.looks += 1
        return super().select(timeout)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_nothing_turns_in_circles_while_exiftool_is_stopped_or_dead(
    bench: Bench, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.exiftool.be_patient(1)
    monkeypatch.setattr(selectors, "DefaultSelector", CountingSelector)
    CountingSelector.looks = 0
    start = time.thread_time()
    with signals(bench, "-if", later(0.1), number), pytest.raises(ExiftoolDied):
        bench.exiftool.ask("-if", "sleep 60", path_argument(bench.path))
    assert time.thread_time() - start < 0.25  # of a second's waiting
    assert CountingSelector.looks < 10


def test_threads_that_share_an_exiftool_that_is_killed_again_and_again(tmp_path: Path, large: bytes) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "photo.jpg").write_bytes(large)
    moments = random.Random(SEED)
    over = threading.Event()

    with bench_for(tmp_path / "0" / "photo.jpg") as first, open_store() as witness:

        def work(number: int) -> int:
            path = tmp_path / str(number) / "photo.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(large)
            mine = replace(first, path=path)
            deaths = 0
            while True:
                last = over.is_set()
                try:
                    mine.store.apply(mine.plan())
                except ExiftoolDied:
                    assert not last
                    deaths += 1
                    assert path.read_bytes() == large
                else:
                    assert whole(witness.read(mine.photo), path)
                    path.write_bytes(large)
                assert names(path.parent) == [path.name]
                if last:
                    return deaths

        with ThreadPoolExecutor(3) as pool:
            workers = [pool.submit(work, number) for number in range(3)]
            for _ in range(EVENTS // 8):
                over.wait(moments.uniform(0.05, 0.25))
                first.exiftool.send(signal.SIGKILL)
            over.set()
            assert sum(worker.result() for worker in workers) > 0
        assert first.exiftool.private_files() == []


@pytest.fixture
def flooding(tmp_path: Path) -> Path:
    """An exiftool that floods what it says beside its answers."""
    installed = shutil.which("exiftool")
    assert installed is not None
    program = tmp_path / "bin" / "exiftool"
    program.parent.mkdir()
    program.write_text(FLOODING % {"exiftool": installed, "seed": SEED})
    program.chmod(0o755)
    return program


def test_flooded_with_complaints_every_command_does_its_work(
    tmp_path: Path, large: bytes, flooding: Path
) -> None:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "photo.jpg"
    path.write_bytes(large)
    with bench_for(path, str(flooding)) as bench:
        assert len(bench.exiftool.ask("-X", path_argument(path)).stderr) > 200_000
        for _ in range(EVENTS // 4):
            assert bench.survives(lambda: bench.store.apply(bench.plan()), nullcontext())


def test_killed_while_it_floods(tmp_path: Path, large: bytes, flooding: Path) -> None:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "photo.jpg"
    path.write_bytes(large)
    moments = random.Random(SEED)
    with bench_for(path, str(flooding)) as bench:
        for _ in range(EVENTS // 12):
            plan = bench.plan()
            torment = signals(bench, WRITING, copied(bench, moments.uniform(0, 1)), signal.SIGKILL)
            bench.survives(partial(bench.store.apply, plan), torment)
