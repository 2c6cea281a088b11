"""The processes that decode photos: what a bad photo can cost, and what it cannot."""

from __future__ import annotations

import asyncio
import io
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from PIL import Image

from support import pictures
from support.pictures import drawn
from tagger_daemon.errors import DecoderDied, PhotoGone, PhotoTooLarge, PhotoUnsupported, PhotoUnusable
from tagger_daemon.settings import ImageSettings
from tagger_daemon.vision.image import Preparer

pytestmark = pytest.mark.anyio

DAEMON = """
import asyncio, pathlib, sys
from tagger_daemon.settings import ImageSettings
from tagger_daemon.vision.image import Preparer

preparer = Preparer(ImageSettings(workers=1))
preparer.start()
asyncio.run(preparer.prepare(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Trap:
    """A path that nobody ever finishes reading: whoever opens it is stuck until the trap is sprung."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trap.jpg"
        os.mkfifo(self.path)
        self._end: int | None = None

    async def holds(self) -> int:
        """Wait until a decoding process is caught; return its process id."""
        await asyncio.to_thread(self.wait)
        return next(pid for pid in workers() if self._is_open_in(pid))

    def wait(self) -> None:
        """Wait until somebody has it open."""
        self._end = os.open(self.path, os.O_WRONLY)  # a named pipe opens when both sides do

    def _is_open_in(self, pid: int) -> bool:
        descriptors = Path(f"/proc/{pid}/fd")
        return any(descriptor.readlink() == self.path for descriptor in descriptors.iterdir())

    def wait_until_left(self) -> None:
        """Wait until nobody has it open any more."""
        assert self._end is not None
        poll = select.poll()
        poll.register(self._end, 0)
        poll.poll()

    def spring(self, data: bytes = b"") -> None:
        if self._end is not None:
            if data:
                os.write(self._end, data)
            os.close(self._end)
            self._end = None


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    trap = Trap(tmp_path)
    yield trap
    trap.spring()


def end(pid: int) -> None:
    """Kill a child and wait until it is dead, leaving its exit status to whoever started it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def workers() -> list[int]:
    """Return the decoding processes that this process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[1]) == os.getpid() and b"tagger_daemon.vision.worker" in command:
            found.append(int(stat.parent.name))
    return found


@pytest.fixture
async def preparer() -> AsyncIterator[Preparer]:
    preparer = Preparer(ImageSettings(long_edge=96, workers=2))
    preparer.start()
    yield preparer
    await preparer.close()
    assert workers() == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    drawn(600, 300).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path / "photo.jpg"


async def test_photos_are_prepared_side_by_side(preparer: Preparer, photo: Path) -> None:
    several = await asyncio.gather(*(preparer.prepare(photo) for _ in range(6)))

    assert len({pictures[96] for pictures in several}) == 1
    picture = several[0][96]
    assert (picture.width, picture.height) == (96, 48)
    assert picture.jpeg.startswith(b"\xff\xd8\xff")


async def test_a_photo_is_decoded_once_for_all_the_sizes_that_models_are_shown(photo: Path) -> None:
    preparer = Preparer(ImageSettings(workers=1), long_edges=(96, 300, 96))
    preparer.start()

    pictures = await preparer.prepare(photo)

    assert {edge: Image.open(io.BytesIO(one.jpeg)).size for edge, one in pictures.items()} == {
        96: (96, 48),
        300: (300, 150),
    }
    await preparer.close()


async def test_what_is_wrong_with_a_photo_comes_back_and_costs_no_process(
    preparer: Preparer, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "bomb.png").write_bytes(pictures.png_header(60_000, 60_000))
    await asyncio.gather(preparer.prepare(photo), preparer.prepare(photo))
    before = workers()

    for name, error in [("none.jpg", PhotoGone), ("text.jpg", PhotoUnsupported), ("bomb.png", PhotoTooLarge)]:
        with pytest.raises(error):
            await preparer.prepare(tmp_path / name)

    assert workers() == before


async def test_a_killed_process_fails_its_own_photo_only(preparer: Preparer, photo: Path, trap: Trap) -> None:
    doomed = asyncio.create_task(preparer.prepare(trap.path))
    pid = await trap.holds()
    other = asyncio.create_task(preparer.prepare(photo))
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(DecoderDied, match="crashed"):
        await doomed

    assert (await other)[96].width == 96
    assert len(await asyncio.gather(*(preparer.prepare(photo) for _ in range(3)))) == 3
    assert pid not in workers()


async def test_processes_killed_while_idle_cost_no_photo(preparer: Preparer, photo: Path) -> None:
    await asyncio.gather(preparer.prepare(photo), preparer.prepare(photo))
    for pid in workers():
        end(pid)

    assert (await preparer.prepare(photo))[96].width == 96


async def test_a_decode_that_overruns_is_killed(photo: Path, trap: Trap) -> None:
    preparer = Preparer(ImageSettings(workers=1, timeout_seconds=0.2))
    preparer.start()
    doomed = asyncio.create_task(preparer.prepare(trap.path))
    pid = await trap.holds()

    with pytest.raises(DecoderDied, match=r"longer than 0\.2 seconds"):
        await doomed

    assert pid not in workers()
    await preparer.close()


async def test_cancelling_kills_the_decode_and_the_next_photo_is_served(photo: Path, trap: Trap) -> None:
    preparer = Preparer(ImageSettings(workers=1))
    preparer.start()
    doomed = asyncio.create_task(preparer.prepare(trap.path))
    pid = await trap.holds()

    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed

    assert pid not in workers()
    assert (await preparer.prepare(photo))[1024].width == 600
    await preparer.close()


async def test_closing_ends_a_decode_in_progress(trap: Trap) -> None:
    preparer = Preparer(ImageSettings(workers=1))
    preparer.start()
    doomed = asyncio.create_task(preparer.prepare(trap.path))
    await trap.holds()

    await preparer.close()

    with pytest.raises(DecoderDied):
        await doomed
    assert workers() == []


async def test_processes_finish_their_photo_when_the_service_is_asked_to_stop(
    preparer: Preparer, trap: Trap
) -> None:
    answer = asyncio.create_task(preparer.prepare(trap.path))
    pid = await trap.holds()
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)

    trap.spring(b"no photo")

    with pytest.raises(PhotoUnusable):  # an answer, not a death
        await answer
    assert pid in workers()


def test_processes_die_with_a_killed_daemon_even_while_decoding(trap: Trap) -> None:
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(trap.path)])
    trap.wait()
    daemon.kill()
    daemon.wait()

    trap.wait_until_left()  # the test's own time limit speaks if it never is


async def test_a_photo_that_takes_too_much_memory_is_refused_and_nothing_dies(
    tmp_path: Path, photo: Path
) -> None:
    rows = (b"\0" + bytes(12_000 // 8)) * 12_000
    (tmp_path / "huge.png").write_bytes(pictures.png_header(12_000, 12_000, rows))
    preparer = Preparer(ImageSettings(workers=1, memory_megabytes=256))
    preparer.start()
    await preparer.prepare(photo)
    before = workers()

    with pytest.raises(PhotoTooLarge, match="memory"):
        await preparer.prepare(tmp_path / "huge.png")

    assert workers() == before
    await preparer.close()


async def test_the_processes_know_none_of_the_services_secrets(
    monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a secret")
    preparer = Preparer(ImageSettings(workers=1))
    preparer.start()
    await preparer.prepare(photo)

    (pid,) = workers()

    assert b"a secret" not in environment(pid)
    await preparer.close()
