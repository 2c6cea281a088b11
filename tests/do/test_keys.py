"""Keys come from where the registry says, and are told to nobody but the server that they are for."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socketserver
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from loguru import logger

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import DEFAULT_MODEL, Fail, Garbage, ModelServer, error_body
from support.unprivileged import run_unprivileged
from tagger_daemon.errors import ConfigurationError, ReplyMalformed, TaggerError
from tagger_daemon.vision.child import LOG_WIDTH, LogTail
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.entry import Entry, Launch
from tagger_daemon.vision.keys import MAX_SIZE, Keys, looks_like_a_name, tells_key, without_keys
from tagger_daemon.vision.loader import Loader
from tagger_daemon.vision.pool import Pool, key_of
from tagger_daemon.vision.verifier import Verifier

TESTS = Path(__file__).parents[1]
CANARY = 'sk-9zq7x-"4c"/91c2+e84b=='
SPELLINGS = (CANARY, CANARY.upper(), json.dumps(CANARY)[1:-1], quote(CANARY, safe=""))
PIECE = "9zq7x"  # which stands nowhere else


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Everything that is logged, by us and by the libraries."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", diagnose=False)
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)
    logger.remove(sink)


@asynccontextmanager
async def asking(url: str, **changes: Any) -> AsyncIterator[ChatClient]:
    client = ChatClient(url, an_entry(url, api_key_env="VLM_KEY", **changes), api_key=CANARY)
    try:
        yield client
    finally:
        await client.close()


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


# --- Where keys come from ---


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


def test_a_key_is_a_credential_or_a_variable_and_the_credential_counts_more(credentials: Path) -> None:
    (credentials / "VLM_KEY").write_bytes(b"of-the-credential\r\n")
    (credentials / "OTHER").write_bytes(b"other")
    keys = Keys({"CREDENTIALS_DIRECTORY": str(credentials), "VLM_KEY": "of-the-environment", "MINE": "mine"})
    assert (keys["VLM_KEY"], keys["OTHER"], keys["MINE"]) == ("of-the-credential", "other", "mine")
    assert set(keys) == {"CREDENTIALS_DIRECTORY", "VLM_KEY", "OTHER", "MINE"}
    assert (len(keys), keys.get("NONE"), "NONE" in keys) == (4, None, False)
    assert Keys({"VLM_KEY": "of-the-environment"})["VLM_KEY"] == "of-the-environment"


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "/etc/hostname", "sub/key", "sub"])
def test_nothing_but_files_of_the_credentials_directory_is_read(credentials: Path, name: str) -> None:
    (credentials.parent / "secret").write_text("not for us")
    (credentials / "sub").mkdir()
    (credentials / "sub" / "key").write_text("not for us")
    with pytest.raises(KeyError):
        Keys({"CREDENTIALS_DIRECTORY": str(credentials)})[name]


def test_a_directory_that_is_not_named_absolutely_is_no_credentials_directory(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials / "VLM_KEY").write_text("planted")
    monkeypatch.chdir(credentials.parent)
    assert "VLM_KEY" not in Keys({"CREDENTIALS_DIRECTORY": "credentials"})
    assert "VLM_KEY" not in Keys({"CREDENTIALS_DIRECTORY": str(credentials.parent / "gone")})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"x" * (MAX_SIZE + 1), "too large"),
        (b"\x7fELF 9zq7x", "control characters"),
        (b"9zq7x\nsecond line\n", "line breaks"),
        ("9zq7x-schl\u00fcssel".encode(), "not text"),
        (b"9zq7x\0", "control characters"),
    ],
)
def test_a_credential_that_is_no_key_is_refused_without_showing_it(
    credentials: Path, content: bytes, why: str
) -> None:
    (credentials / "VLM_KEY").write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"VLM_KEY is .*{why}") as caught:
        Keys({"CREDENTIALS_DIRECTORY": str(credentials)})["VLM_KEY"]
    assert PIECE not in told(caught.value)


def test_a_key_of_the_greatest_size_is_taken(credentials: Path) -> None:
    (credentials / "VLM_KEY").write_bytes(b"x" * MAX_SIZE)
    assert len(Keys({"CREDENTIALS_DIRECTORY": str(credentials)})["VLM_KEY"]) == MAX_SIZE


@pytest.mark.parametrize("closed", ["VLM_KEY", "."])
def test_a_credential_that_may_not_be_read_is_told_by_its_name(
    credentials: Path, closed: str, request: pytest.FixtureRequest
) -> None:
    (credentials / "VLM_KEY").write_text(CANARY)
    (credentials / closed).chmod(0)
    request.addfinalizer(lambda: credentials.chmod(0o700))
    program = (
        "import sys\n"
        "from tagger_daemon.errors import ConfigurationError\n"
        "from tagger_daemon.vision.keys import Keys\n"
        "try:\n"
        "    Keys({'CREDENTIALS_DIRECTORY': sys.argv[1]})['VLM_KEY']\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )
    said = run_unprivileged(program, str(credentials))
    assert said == f"the credential {credentials}/VLM_KEY cannot be read: Permission denied\n"


# --- Who is told of them ---


def test_a_key_shows_in_no_repr(server: ModelServer) -> None:
    entry = an_entry(server.base_url, launch=Launch(argv=("serve", CANARY), env={"VLM_API_KEY": CANARY}))
    client = ChatClient(server.base_url, entry, api_key=CANARY)
    keys = Keys({"VLM_KEY": CANARY})
    for shown in (entry, client, keys, Pool([entry], keys=keys), Loader(environ=keys, keys=keys)):
        assert PIECE not in f"{shown!r} {shown}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("VLM_KEY", True),
        ("openai_key_2", True),
        ("AIzaSyNobodysKeyNobodysKeyNobodys12345", False),
        ("sk_live_4f8a91c27be3", False),
        ("CANARY" * 10, False),
    ],
)
def test_a_key_that_stands_where_its_name_should_is_not_repeated(name: str, shown: bool) -> None:
    assert looks_like_a_name(name) is shown
    with pytest.raises(ConfigurationError, match="'vlm' needs the key in") as caught:
        key_of(an_entry(api_key_env=name), {})
    assert (name in str(caught.value)) is shown


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_keys_are_taken_out_of_foreign_text_however_they_are_spelt(spelling: str) -> None:
    assert without_keys(f"the key {spelling}, yes", [CANARY]) == "the key [key], yes"
    assert tells_key(f"the key {spelling}, yes", CANARY)


def test_only_keys_that_could_be_no_words_are_looked_for_in_answers() -> None:
    assert not tells_key("A photographer at the pier.", "photographer")
    assert not tells_key("A pier.", CANARY)
    assert not tells_key(None, CANARY)
    assert not tells_key("A pier.", None)


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("shape", ["nested", "flat", "string", "list"])
async def test_a_server_that_repeats_the_key_in_its_errors_is_quoted_without(
    server: ModelServer, said: list[str], shape: Any, spelling: str
) -> None:
    async with asking(server.base_url) as client:
        for status in (301, 307, 400, 401, 404, 413, 418, 429, 500, 503):
            headers = {"Location": f"/{quote(CANARY, safe='')}", "X-Key": spelling}
            server.script("caption", Fail(status, error_body(shape, f"bad key {spelling}", status), headers))
            with pytest.raises(TaggerError) as caught:
                await client.chat(a_request(), session="photo")
            assert PIECE not in told(caught.value).lower()
    assert PIECE not in "".join(said).lower()


@pytest.mark.anyio
async def test_a_server_that_lists_the_key_as_a_model_is_quoted_without(
    server: ModelServer, said: list[str]
) -> None:
    server.models = (f"{'x' * 180}{CANARY}", CANARY)
    async with asking(server.base_url) as client:
        with pytest.raises(TaggerError, match=r"\[key\]") as caught:
            await client.ready()
    assert PIECE not in told(caught.value) + "".join(said)


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", [json.dumps(CANARY)[1:-1], "".join(f"\\u{ord(c):04x}" for c in CANARY)])
async def test_a_server_that_shows_the_key_among_what_it_is_is_refused_without_showing_it(
    server: ModelServer, said: list[str], spelling: str
) -> None:
    server.pages["/version"] = f'{{"version": "{"x" * 180}{spelling}"}}'.encode()
    entry = an_entry(server.base_url, api_key_env="VLM_KEY")
    pool = Pool([entry], keys={"VLM_KEY": CANARY}, verify=Verifier().verify)
    await pool.start()
    await pool.close()
    (status,) = pool.snapshot()
    assert (status.state, "our key in it" in (status.last_error or "")) == ("refused", True)
    assert CANARY[:6] not in f"{status}{said}"


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("where", ["content", "reasoning", "reasoning_content", "refusal", "model", "finish"])
async def test_an_answer_with_the_key_in_it_is_none(
    server: ModelServer, said: list[str], where: str, spelling: str
) -> None:
    message: dict[str, Any] = {"content": "A pier.", where: f"It is {spelling}."}
    finish, model = ("stop", DEFAULT_MODEL)
    if where == "finish":
        finish = spelling
    if where == "model":
        model = spelling
    body = {"model": model, "choices": [{"message": message, "finish_reason": finish}]}
    server.script("caption", Garbage(json.dumps(body).encode()))
    async with asking(server.base_url) as client:
        with pytest.raises(ReplyMalformed, match="our key in it") as caught:
            await client.chat(a_request(), session="photo")
    assert PIECE not in (told(caught.value) + "".join(said)).lower()


@contextmanager
def line_server(answer: bytes) -> Iterator[str]:
    """Serve a TCP port that answers whatever comes with these bytes, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 20)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}/v1"
        finally:
            listener.shutdown()
            thread.join()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        f"{CANARY}\r\n\r\n",
        f"HTTP/1.1 200 {CANARY}\r\nBad header {CANARY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n{CANARY[:6]}",
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset={CANARY}\r\n\r\n{CANARY}",
        f"HTTP/1.1 418 {CANARY}\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_even_http_is_not_quoted(answer: str, said: list[str]) -> None:
    with line_server(answer.encode()) as url:
        async with asking(url, dialect="openai") as client:
            for question in (client.chat(a_request(), session="photo"), client.ready()):
                with pytest.raises(TaggerError) as caught:
                    await question
                assert PIECE not in told(caught.value)
    assert PIECE not in "".join(said)


@pytest.mark.parametrize("key", ["9zq7x\nX-Evil: 1", "9zq7x 9zq7x", "9zq7x\0", "\u00e4-9zq7x", "9zq7x\x7f"])
def test_a_key_that_no_header_can_carry_is_told_by_its_name(key: str) -> None:
    with pytest.raises(ConfigurationError, match="VLM_KEY") as caught:
        ChatClient("http://127.0.0.1:1/v1", an_entry(api_key_env="VLM_KEY"), api_key=key)
    assert PIECE not in told(caught.value)


def test_the_library_logs_no_request_though_the_environment_says_so(server: ModelServer) -> None:
    program = (
        "import asyncio\n"
        "from support.asking import a_request, an_entry\n"
        "from tagger_daemon.vision.client import ChatClient\n"
        "async def main(url, key):\n"
        "    client = ChatClient(url, an_entry(url), api_key=key)\n"
        "    await client.chat(a_request(), session='photo')\n"
        "    await client.close()\n"
        f"asyncio.run(main({server.base_url!r}, {CANARY!r}))\n"
    )
    environ = {**os.environ, "OPENAI_LOG": "debug", "PYTHONPATH": str(TESTS)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert server.chat_requests[0].headers["authorization"] == f"Bearer {CANARY}"


# --- Servers that we start ---

#: Prints its environment, its arguments and its key, and serves.
TALKATIVE = (
    "import os, sys\n"
    "print('environment', dict(os.environ)); print('arguments', sys.argv, flush=True)\n"
    "from support.model_server import main; main(sys.argv[1:3])\n"
)


def launched(server: ModelServer, *more: str, env: dict[str, str], program: str = TALKATIVE) -> Entry:
    with server:
        port = server.port  # free again once the block is left
    launch = Launch(
        argv=("{python}", "-c", program, "--port", "{port}", *more),
        env={"PYTHONPATH": str(TESTS), **env},
        ready_seconds=30,
    )
    return an_entry(f"http://127.0.0.1:{port}/v1", launch=launch, api_key_env="VLM_KEY")


@pytest.mark.anyio
async def test_a_started_server_gets_the_key_only_where_it_is_said_so_and_its_output_is_shown_without(
    said: list[str],
) -> None:
    environ = {**os.environ, "VLM_KEY": CANARY, "HF_TOKEN": f"{CANARY}-hf", "HF_HOME": "/hf"}
    keys = Keys(environ)
    for env, given in (({}, 0), ({"MY_KEY": "{key}", "SOME_TOKEN": "9zq7x-of-another"}, 1)):
        loader = Loader(environ=environ, keys=keys)
        await asyncio.wait_for(loader.start([launched(ModelServer(), env=env)]), PATIENCE)
        try:
            (status,) = loader.snapshot()
            output = "\n".join(status.log_tail)
            process = Path(f"/proc/{status.pid}")
            assert process.joinpath("environ").read_text().count(CANARY) == given
            assert PIECE not in process.joinpath("cmdline").read_text()
        finally:
            await loader.stop()
        assert "'HF_HOME': '/hf'" in output
        assert "HF_TOKEN" not in output
        assert output.count("[key]") == 2 * given
        assert PIECE not in output
    assert PIECE not in "".join(said)


@pytest.mark.anyio
async def test_a_key_among_the_arguments_is_warned_of_and_not_shown(said: list[str]) -> None:
    dies = "import sys; sys.exit(' '.join(sys.argv))"
    entry = launched(ModelServer(), "--api-key", CANARY, env={}, program=dies)
    environ = {**os.environ, "VLM_KEY": CANARY}
    with pytest.raises(ConfigurationError, match=r"last words: .*\[key\]") as caught:
        await Loader(environ=environ).start([entry])
    assert any("a key stands in launch.argv" in line and "{key}" in line for line in said)
    assert PIECE not in told(caught.value) + "".join(said)


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_a_key_that_stands_where_a_line_is_cut_is_not_shown_in_part(piece: int) -> None:
    tail = LogTail(clean=lambda line: without_keys(line, [CANARY]))
    for end in ("\n", ""):
        line = f"{'x' * (LOG_WIDTH - len(CANARY) // 2)}{CANARY}{'y' * 5000}{CANARY}{end}".encode()
        for start in range(0, len(line), piece):
            tail.feed(line[start : start + piece])
    assert len(tail.lines()) == 2
    assert CANARY[:6] not in "".join(tail.lines())
