"""Servers are started, found, started again and stopped: real processes on loopback ports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import DEFAULT_MODEL, ModelServer
from tagger_daemon.errors import ConfigurationError, ServerUnavailable
from tagger_daemon.vision import child, loader
from tagger_daemon.vision.child import LOG_LINES, LOG_WIDTH, LogTail
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.entry import Entry, Launch
from tagger_daemon.vision.loader import Loader, ServerStatus

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parents[1]
SERVE = "from support.model_server import main; main()"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Said:
    """What is logged, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def hear(self, line: str) -> None:
        self.lines.append(line.strip())
        self._more.set()

    async def until(self, words: str, count: int = 1) -> None:
        """Wait until so many lines hold these words."""
        async with asyncio.timeout(PATIENCE):
            while sum(words in line for line in self.lines) < count:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def said() -> Iterator[Said]:
    heard = Said()
    sink = logger.add(heard.hear, format="{level} {message}", level="INFO")
    yield heard
    logger.remove(sink)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
        return free


def launched(port: int, program: str = SERVE, **changes: Any) -> Entry:
    """Return an entry whose server is this Python program, told its port."""
    launch = Launch(
        argv=("{python}", "-c", program, "--port", "{port}"), env={"PYTHONPATH": str(TESTS)}, ready_seconds=30
    )
    return an_entry(f"http://127.0.0.1:{port}/v1", launch=launch.evolve(**changes))


@asynccontextmanager
async def loading(*entries: Entry, environ: dict[str, str] | None = None) -> AsyncIterator[Loader]:
    made = Loader(environ=os.environ if environ is None else environ)
    await made.start(entries)
    try:
        yield made
    finally:
        await made.stop()


def the_only(made: Loader) -> ServerStatus:
    (status,) = made.snapshot()
    return status


def the_pid(made: Loader) -> int:
    pid = the_only(made).pid
    assert pid is not None
    return pid


def living(group: int) -> list[int]:
    """Return the processes of a group that are not dead, zombies being dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_server_is_started_in_a_group_of_its_own_and_stopped(port: int) -> None:
    async with loading(launched(port)) as made:
        status = the_only(made)
        pid = the_pid(made)
        assert (status.entry, status.state, status.restarts) == ("vlm", "running", 0)
        assert status.url == f"http://127.0.0.1:{port}/v1"
        assert living(pid) == [pid]
        assert os.getpgid(pid) == pid != os.getpgid(0)
        assert status.log_tail == (f"http://127.0.0.1:{port}/v1",)
    assert not living(pid)
    assert (the_only(made).state, the_only(made).pid) == ("stopped", None)


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
async def test_a_server_that_listens_to_the_whole_network_is_warned_of(
    port: int, said: Said, host: str, warnings: int
) -> None:
    program = f"""
import socketserver

def bind(self, usual=socketserver.TCPServer.server_bind):
    self.server_address = ("{host}", {port})
    usual(self)

socketserver.TCPServer.server_bind = bind
{SERVE}
"""
    async with loading(launched(port, program)):
        assert sum("listens to the whole network" in line for line in said.lines) == warnings


@pytest.mark.parametrize(
    ("family", "host", "outside"),
    [
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, "127.9.8.7", False),
        (socket.AF_INET, "0.0.0.0", True),
        (socket.AF_INET6, "::1", False),
        (socket.AF_INET6, "::ffff:127.0.0.1", False),
        (socket.AF_INET6, "::", True),
    ],
)
def test_what_others_can_reach_is_told_from_what_they_cannot(
    family: socket.AddressFamily, host: str, outside: bool
) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        listener.listen()
        assert child.reachable_from_outside(listener.getsockname()[1]) is outside


async def test_an_entry_that_serves_several_roles_is_started_once(port: int) -> None:
    async with loading(launched(port), launched(port)) as made:
        assert the_only(made).state == "running"


async def test_an_entry_without_a_launch_command_is_left_alone() -> None:
    async with loading(an_entry("http://127.0.0.1:9/v1")) as made:
        assert made.snapshot() == ()


async def test_a_server_gets_a_minimal_environment(port: int) -> None:
    program = "import json, os; print(json.dumps(dict(os.environ)), flush=True); " + SERVE
    environ = {
        "PATH": "/usr/bin",
        "HOME": "/home/anna",
        "LANG": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "1",
        "HF_HOME": "/hf",
        "LD_LIBRARY_PATH": "/lib",
        "OPENAI_API_KEY": "sk-secret",
        "PATHOLOGY": "no",
    }
    async with loading(launched(port, program), environ=environ) as made:
        got = json.loads(the_only(made).log_tail[0])
    got.pop("LC_CTYPE", None)  # Python's own
    del environ["OPENAI_API_KEY"], environ["PATHOLOGY"]
    assert got == environ | {"PYTHONPATH": str(TESTS)}


async def test_a_server_that_exits_at_once_is_told_with_its_last_words(port: int) -> None:
    entry = launched(port, "import sys; print('loading', flush=True); sys.exit('no such model: x')")
    with pytest.raises(
        ConfigurationError, match="'vlm' stopped with exit status 1; its last words: no such model: x"
    ):
        await asyncio.wait_for(Loader(environ=os.environ).start([entry]), PATIENCE)


async def test_a_server_that_never_gets_ready_is_ended(port: int, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid()));"
        "print('loading weights', flush=True); time.sleep(600)"
    )
    with pytest.raises(ServerUnavailable, match="not ready after 2 s; its last words: loading weights"):
        await Loader(environ=os.environ).start([launched(port, program, ready_seconds=2)])
    assert not living(int(note.read_text()))


async def test_a_server_of_the_wrong_model_is_ended(port: int) -> None:
    entry = launched(port).evolve(served_model="qwen3-vl-8b")
    with pytest.raises(ConfigurationError, match=f"not right: .* serves {DEFAULT_MODEL}.*'qwen3-vl-8b'"):
        await Loader(environ=os.environ).start([entry])
    assert not answers(port)


async def test_a_program_that_does_not_exist_is_a_setting_to_correct(port: int) -> None:
    entry = launched(port, argv=("no-such-program",))
    with pytest.raises(ConfigurationError, match="'vlm' cannot be started: no-such-program: No such file"):
        await Loader(environ=os.environ).start([entry])


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:8000/v1", "http://gpu.example:8000/v1", "http://127.0.0.1/v1"]
)
async def test_only_a_port_of_this_machine_can_be_launched_on(url: str, port: int) -> None:
    entries = [launched(port), launched(port).evolve(name="far", endpoints=(url,))]
    with pytest.raises(ConfigurationError, match=f"'far' has a launch command.*{url}"):
        await Loader(environ=os.environ).start(entries)
    assert not answers(port)


async def test_if_one_server_cannot_be_had_the_others_are_stopped_again(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        second = launched(taken.getsockname()[1], "raise SystemExit(3)", ready_seconds=0.1)
        with pytest.raises(ConfigurationError):
            await Loader(environ=os.environ).start([launched(port), second])
    assert not answers(port)


async def test_the_right_server_found_running_is_used_and_never_stopped() -> None:
    with ModelServer() as found:
        async with loading(launched(found.port)) as made:
            assert (the_only(made).state, the_only(made).pid) == ("adopted", None)
        assert answers(found.port)


class LoadingServer(ModelServer):
    """Is still loading when it is first looked at."""

    def record(self, path: str, method: str, headers: Mapping[str, str], body: bytes) -> int:
        self.health_status = 200 if self.requests else 503
        return super().record(path, method, headers, body)


async def test_a_server_that_is_still_loading_is_waited_for() -> None:
    with LoadingServer() as found:
        async with loading(launched(found.port)) as made:
            assert the_only(made).state == "adopted"


async def test_a_port_held_by_a_server_of_another_model_is_told() -> None:
    with (
        ModelServer(models=("llava",)) as found,
        pytest.raises(ConfigurationError, match=f"port {found.port}.*taken: .*serves llava.*{DEFAULT_MODEL}"),
    ):
        await Loader(environ=os.environ).start([launched(found.port)])


async def test_a_port_held_by_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}.*taken: .*does not answer"):
            await Loader(environ=os.environ).start([launched(port, ready_seconds=0.1)])


async def test_a_server_that_is_killed_is_started_again(port: int, said: Said) -> None:
    async with loading(launched(port)) as made:
        first = the_pid(made)
        os.kill(first, signal.SIGKILL)
        await said.until("its server runs", 2)
        second = the_pid(made)
        assert (the_only(made).state, the_only(made).restarts) == ("running", 1)
        assert second != first
        assert answers(port)
    assert not living(second)
    assert [line for line in said.lines if line.startswith("WARNING")] == [
        "WARNING 'vlm': its server was ended by signal 9; starting it again in 1 s"
    ]


async def test_a_server_that_keeps_dying_is_started_at_ever_longer_intervals(
    port: int, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "BACK_OFF", 0.02)
    monkeypatch.setattr(loader, "BACK_OFF_MOST", 0.07)
    once = tmp_path / "once"
    program = f"import pathlib; pathlib.Path({str(once)!r}).touch(exist_ok=False); {SERVE}"
    async with loading(launched(port, program)) as made:
        os.kill(the_pid(made), signal.SIGKILL)
        await said.until("starting it again", 4)
    warnings = [line for line in said.lines if line.startswith("WARNING")]
    assert [line.rpartition(" in ")[2] for line in warnings[:4]] == ["0.02 s", "0.04 s", "0.07 s", "0.07 s"]
    assert "FileExistsError" in warnings[1]
    assert not answers(port)


async def test_when_a_server_found_running_goes_one_is_started(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "LOOK_FOUND", 0.05)
    with ModelServer() as found:
        async with loading(launched(found.port)) as made:
            found.down()
            await said.until("its server runs")
            assert the_only(made).state == "running"
            assert answers(found.port)


async def test_the_server_of_a_killed_daemon_is_found_and_used_again(port: int) -> None:
    daemon = f"""
import asyncio, os
from tagger_daemon.vision.loader import Loader
from test_loader import launched

async def main():
    loader = Loader(environ=os.environ)
    await loader.start([launched({port})])
    print(loader.snapshot()[0].pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", daemon, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    assert process.stdout is not None
    orphan = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    try:
        async with loading(launched(port)) as made:
            assert the_only(made).state == "adopted"
        assert living(orphan) == [orphan]
    finally:
        os.killpg(orphan, signal.SIGKILL)


async def test_what_a_server_started_ends_with_it(port: int) -> None:
    worker = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(600)"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {worker!r}]); {SERVE}"
    async with loading(launched(port, program)) as made:
        group = the_pid(made)
        assert len(living(group)) == 2
    assert not living(group)


async def test_a_server_that_ignores_sigterm_is_killed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "GRACE", 0.2)
    program = (
        "import signal, time; from support.model_server import ModelServer;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"ModelServer(port={port}).up(); time.sleep(600)"
    )
    async with loading(launched(port, program)) as made:
        group = the_pid(made)
    assert not living(group)


async def test_a_server_that_says_a_lot_is_not_held_up(port: int) -> None:
    program = f"print('x' * 5_000_000, flush=True); print('done', flush=True); {SERVE}"
    async with loading(launched(port, program)) as made:
        tail = the_only(made).log_tail
    assert tail[:2] == ("x" * LOG_WIDTH, "done")


def test_the_tail_keeps_the_last_lines_printable_and_short() -> None:
    tail = LogTail()
    for number in range(LOG_LINES + 50):
        tail.feed(f"line {number}\n".encode())
    assert tail.lines() == tuple(f"line {number}" for number in range(50, LOG_LINES + 50))
    tail.feed(b"\x1b[31mred\x00\xff\r\n\r\n 10%\r 20")
    assert tail.lines()[-3:] == (" [31mred \ufffd", " 10%", " 20")
    tail.feed(b"%\n" + b"y" * 10_000)
    tail.feed(b"y" * 10_000)
    assert tail.lines()[-2:] == (" 20%", "y" * LOG_WIDTH)


def llama(entry: Entry, **changes: Any) -> Entry:
    return entry.evolve(dialect="llama-server", **changes)


PROPS = {"model_path": "/m/vlm.gguf", "default_generation_settings": {"n_ctx": 4096}}


async def test_a_server_found_running_is_used_only_if_it_is_what_the_registry_describes() -> None:
    with ModelServer() as found:
        found.pages["/props"] = PROPS
        entry = launched(found.port)
        with pytest.raises(
            ConfigurationError,
            match=f"port {found.port}.*taken: .*/m/other.gguf, but {found.base_url} serves /m/vlm.gguf",
        ):
            await Loader(environ=os.environ).start([llama(entry, model_path="/m/other.gguf")])
        async with loading(llama(entry, model_path="vlm.gguf", context=4096)) as made:
            assert the_only(made).state == "adopted"
        assert answers(found.port)
        assert found.canary_requests == []  # the pool shows it, before the first photo


async def test_a_started_server_of_too_small_a_context_is_ended(port: int) -> None:
    program = (
        "import threading; from support.model_server import ModelServer;"
        f"server = ModelServer(port={port}); server.pages['/props'] = {PROPS!r};"
        "server.up(); threading.Event().wait()"
    )
    with pytest.raises(ConfigurationError, match=r"not right: .*8192 tokens, but .* gives 4096"):
        await Loader(environ=os.environ).start([llama(launched(port, program), context=8192)])
    assert not answers(port)


async def test_a_started_server_that_dies_as_it_is_looked_at_is_told_with_its_last_words(port: int) -> None:
    program = f"""
import os
from support.model_server import ModelServer

class Dying(ModelServer):
    def record(self, path, method, headers, body):
        if path == "/props":
            print("out of memory", flush=True)
            os._exit(3)
        return super().record(path, method, headers, body)

Dying(port={port}).up()
"""
    with pytest.raises(ConfigurationError, match="exit status 3; its last words: out of memory"):
        await Loader(environ=os.environ).start([llama(launched(port, program))])


async def test_a_server_that_will_not_stop_before_it_has_answered_is_killed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As llama-server is: with a request under way it stays after SIGTERM for as long as that may take."""
    monkeypatch.setattr(child, "GRACE", 0.2)
    program = f"""
import signal, threading
from support.model_server import ModelServer

signal.signal(signal.SIGTERM, lambda *_: print("closing", flush=True))
server = ModelServer(port={port})
server.hold()
server.up()
server.wait_for(1, timeout=600)
print("asked", flush=True)
threading.Event().wait()
"""
    entry = launched(port, program)
    asker = ChatClient(entry.endpoints[0], entry, api_key=None)
    async with loading(entry) as made:
        group = the_pid(made)
        asked = asyncio.create_task(asker.chat(a_request(), session="photo"))
        async with asyncio.timeout(PATIENCE):
            while the_only(made).log_tail != ("asked",):  # noqa: ASYNC110  # nothing tells of a line
                await asyncio.sleep(0.01)
    assert not living(group)
    assert the_only(made).log_tail == ("asked", "closing")
    with pytest.raises(ServerUnavailable):
        await asyncio.wait_for(asked, PATIENCE)
    await asker.close()
