"""No photo goes to a server that is not what the registry describes, or does not see; over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from loguru import logger

from support import eyes
from support.asking import PATIENCE, a_request, an_entry
from support.model_server import DEFAULT_MODEL, Drop, Fail, Garbage, ModelServer
from tagger_daemon.errors import NotConsented, ServerDrifted, ServerMisconfigured, ServerUnavailable
from tagger_daemon.settings import RemoteSettings
from tagger_daemon.vision import client as client_module
from tagger_daemon.vision import pool as pool_module
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.entry import Entry, Limits, Timeouts
from tagger_daemon.vision.identity import Observation, template_hash
from tagger_daemon.vision.observe import observe
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.verifier import Verifier, show_canary

pytestmark = pytest.mark.anyio

DIGEST, OTHER = "3f9c2a" + "0" * 58, "cd11aa" + "1" * 58
PROPS = {
    "model_path": "/m/vlm.gguf",
    "chat_template": "one",
    "build_info": "b1",
    "total_slots": 2,
    "modalities": {"vision": True},
    "default_generation_settings": {"n_ctx": 8192},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def llama(server: ModelServer) -> ModelServer:
    server.pages["/props"] = dict(PROPS)
    return server


@pytest.fixture
def ollama(server: ModelServer) -> ModelServer:
    server.pages |= {
        "/api/tags": {"models": [{"name": f"{DEFAULT_MODEL}:latest", "digest": DIGEST}]},
        "/api/show": {"template": "one", "capabilities": ["completion", "vision"]},
        "/api/ps": {"models": []},
        "/api/version": {"version": "0.33.0"},
    }
    return server


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged, a level and a message each."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(line.strip()), format="{level} {message}", level="INFO")
    yield lines
    logger.remove(sink)


@asynccontextmanager
async def asking(
    server: ModelServer, *, consents: Consents | None = None, **changes: Any
) -> AsyncIterator[ChatClient]:
    entry = an_entry(server.base_url, **changes)
    client = ChatClient(server.base_url, entry, api_key=None, consents=consents)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def pooling(*entries: Entry) -> AsyncIterator[Pool]:
    pool = Pool(entries, keys={}, verify=Verifier().verify)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def refused(pool: Pool) -> None:
    async with asyncio.timeout(PATIENCE):
        while pool.snapshot()[0].state != "refused":  # noqa: ASYNC110  # the pool tells only of what is up
            await asyncio.sleep(0.01)


# --- Pages below the server's root ---


async def test_a_page_is_fetched_from_the_servers_root_whatever_its_status(server: ModelServer) -> None:
    server.pages["/version"] = {"version": "1"}
    server.pages["/api/show"] = {"version": "1"}
    async with asking(server) as client:
        assert (await client.get("/version")).json() == {"version": "1"}
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.post("/api/show", {"model": "x"})).json() == {"version": "1"}
        assert (client.endpoint, client.entry.name) == (server.base_url, "vlm")
    assert [(request.method, request.path) for request in server.requests] == [
        ("GET", "/version"),
        ("GET", "/nowhere"),
        ("POST", "/api/show"),
    ]
    assert server.requests[-1].json == {"model": "x"}


async def test_a_page_without_an_end_is_not_read_to_it(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LONGEST_ANSWER", 1000)
    server.pages["/version"] = b" " * 1001
    async with asking(server) as client:
        with pytest.raises(ServerMisconfigured, match="sends answers longer than"):
            await client.get("/version")


async def test_who_does_not_answer_is_unavailable(server: ModelServer) -> None:
    async with asking(server) as client:
        server.down()
        with pytest.raises(ServerUnavailable, match="cannot be reached"):
            await client.get("/version")


@pytest.mark.parametrize(
    ("body", "expected"), [(gzip.compress(b"{}", mtime=0), {}), (b"garbage", None)], ids=["sound", "broken"]
)
async def test_a_page_may_come_compressed(body: bytes, expected: Any) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(speak, "127.0.0.1")
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    client = ChatClient(url, an_entry(url), api_key=None)
    async with listener:
        if expected is None:
            with pytest.raises(ServerMisconfigured, match="cannot be decompressed"):
                await client.get("/version")
        else:
            page: httpx2.Response = await client.get("/version")
            assert page.json() == expected
    await client.close()


# --- What a server shows ---


async def test_each_kind_of_server_is_asked_in_its_own_way(server: ModelServer) -> None:
    server.card = {"root": "/m/vlm", "max_model_len": 8192}
    server.pages |= {
        "/version": {"version": "0.33.0"},
        "/model_info": {"model_path": "/m/x", "has_image_understanding": True},
        "/props": PROPS,
    }
    served = (DEFAULT_MODEL,)
    async with asking(server, dialect="vllm") as client:
        assert await observe(client) == Observation(
            served=served, context=8192, model_path="/m/vlm", build="0.33.0"
        )
    async with asking(server, dialect="sglang") as client:
        assert await observe(client) == Observation(
            served=served, context=8192, model_path="/m/x", vision=True
        )
    async with asking(server, dialect="llama-server") as client:
        assert await observe(client) == Observation(
            served=served,
            context=8192,
            model_path="/m/vlm.gguf",
            vision=True,
            template=template_hash("one"),
            build="b1",
            slots=2,
        )
    async with asking(server, dialect="compatible") as client:
        assert await observe(client) == Observation(served=served, context=8192)
    assert not server.canary_requests


async def test_ollama_is_asked_on_four_pages(ollama: ModelServer) -> None:
    async with asking(ollama, dialect="ollama-v1") as client:
        assert await observe(client) == Observation(
            served=(f"{DEFAULT_MODEL}:latest",),
            digest=DIGEST,
            vision=True,
            template=template_hash("one"),
            build="0.33.0",
        )
    (asked,) = (request for request in ollama.requests if request.path == "/api/show")
    assert asked.json == {"model": DEFAULT_MODEL}


async def test_lm_studio_is_asked_on_one_page(server: ModelServer) -> None:
    loaded = [{"id": DEFAULT_MODEL, "config": {"context_length": 4096}}]
    known = {"key": DEFAULT_MODEL, "capabilities": {"vision": True}, "loaded_instances": loaded}
    server.pages["/api/v1/models"] = {"models": [known]}
    async with asking(server, dialect="lmstudio") as client:
        assert await observe(client) == Observation(served=(DEFAULT_MODEL,), vision=True, context=4096)
    assert {request.path for request in server.requests} == {"/api/v1/models"}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_server_that_cannot_tell_now_is_not_taken_for_one_that_never_does(
    server: ModelServer, status: int
) -> None:
    server.pages["/props"] = dict(PROPS)
    async with asking(server, dialect="llama-server") as client:
        verifier = Verifier()
        server.statuses["/props"] = status
        with pytest.raises(ServerUnavailable, match=str(status)):
            await verifier.verify(client)
        for never in (501, 404):
            server.statuses["/props"] = never
            await verifier.verify(client)


async def test_a_server_that_is_still_loading_tells_later(server: ModelServer) -> None:
    server.models_status = 503
    async with asking(server) as client:
        with pytest.raises(ServerUnavailable, match="503"):
            await observe(client)


# --- The canary ---


@pytest.mark.parametrize("changes", [{}, {"json_schema": True}, {"limits": Limits(start=1, max=1)}])
async def test_a_model_that_sees_passes(server: ModelServer, changes: dict[str, Any]) -> None:
    async with asking(server, **changes) as client:
        await show_canary(client)
    assert len(server.canary_requests) == 3
    assert server.chat_requests == []
    shown = [server.image_bytes(request) for request in server.canary_requests]
    assert shown[0] != shown[1] or shown[1] != shown[2]
    assert {request.json["temperature"] for request in server.canary_requests if request.json} == {0}


@pytest.mark.parametrize(
    ("look", "fault"),
    [
        (eyes.blind, "does not see"),
        (eyes.mixed_up, "mixes pictures up"),
        (eyes.forgetful(), "mixes pictures up"),
        (eyes.colour_blind, "calls a red disc brown, a blue disc green"),
        (eyes.thinking, "switch thinking off"),
        (eyes.thinking_aside, "switch thinking off"),
        (eyes.talkative, "finish reason: length"),
        (lambda _: Garbage(b"[]"), "not a chat completion"),
        (lambda _: Fail(400, {"error": "no images here"}), "no images here"),
    ],
)
async def test_a_model_that_does_not_see_as_it_should_is_refused(
    server: ModelServer, look: eyes.Eyes, fault: str
) -> None:
    server.eyes = look
    async with asking(server) as client:
        with pytest.raises(
            ServerDrifted, match=f"'vlm' at {server.base_url} did not pass the canary"
        ) as told:
            await Verifier().verify(client)
    assert fault in str(told.value)


async def test_a_model_that_cannot_name_colours_passes_where_the_registry_says_so(
    server: ModelServer,
) -> None:
    server.eyes = eyes.colour_blind
    async with asking(server, canary="differences") as client:
        await Verifier().verify(client)


@pytest.mark.parametrize(("reply", "kind"), [(Fail(503), "cannot answer now"), (Drop(), "broke off")])
async def test_a_server_that_breaks_down_on_the_canary_is_down_and_not_refused(
    server: ModelServer, reply: Fail | Drop, kind: str
) -> None:
    server.eyes = lambda _: reply
    async with asking(server) as client:
        with pytest.raises(ServerUnavailable, match=kind) as told:
            await Verifier().verify(client)
    assert not isinstance(told.value, ServerMisconfigured)


async def test_a_server_that_keeps_the_canary_waiting_is_down(server: ModelServer) -> None:
    released = threading.Event()

    def wait(jpeg: bytes) -> Any:
        released.wait(PATIENCE)
        return eyes.seeing(jpeg)

    server.eyes = wait
    async with asking(server, timeouts=Timeouts(stage=0.2)) as client:
        try:
            with pytest.raises(ServerUnavailable, match=r"within 0\.2 s, though it was only shown"):
                await show_canary(client)
        finally:
            released.set()


@pytest.mark.parametrize(
    ("look", "slow"),
    [(eyes.counting(0, 20, 20), 1), (eyes.counting(0, 20, 280), 0), (eyes.seeing, 0)],
)
async def test_a_server_that_forgets_pictures_is_told_of_once(
    llama: ModelServer, said: list[str], look: eyes.Eyes, slow: int
) -> None:
    verifier = Verifier()
    llama.eyes = look
    async with asking(llama, dialect="llama-server") as client:
        await verifier.verify(client)
        llama.pages["/props"]["build_info"] = "b2"
        llama.eyes = eyes.counting(0, 0, 20) if slow else eyes.seeing
        await verifier.verify(client)
    assert sum("stages will be slow" in line for line in said) == slow
    assert {line.split()[0] for line in said} == {"INFO"}


# --- When it is shown ---


async def test_the_canary_is_shown_before_the_first_use_and_not_again(server: ModelServer) -> None:
    verifier = Verifier()
    async with asking(server) as client:
        for _ in range(3):
            await verifier.verify(client)
    assert len(server.canary_requests) == 3


async def test_looks_at_once_share_one_canary(server: ModelServer) -> None:
    verifier = Verifier()
    async with asking(server) as client:
        await asyncio.gather(*(verifier.verify(client) for _ in range(5)))
    assert len(server.canary_requests) == 3


async def test_a_canary_that_failed_is_shown_again(server: ModelServer) -> None:
    verifier = Verifier()
    server.eyes = eyes.blind
    async with asking(server) as client:
        for _ in range(2):
            with pytest.raises(ServerDrifted):
                await verifier.verify(client)
        server.eyes = eyes.seeing
        await verifier.verify(client)
    assert len(server.canary_requests) == 9


async def test_another_build_is_let_in_after_another_canary(llama: ModelServer, said: list[str]) -> None:
    verifier = Verifier()
    async with asking(llama, dialect="llama-server") as client:
        await verifier.verify(client)
        llama.pages["/props"]["build_info"] = "b2"
        await verifier.verify(client)
        assert len(llama.canary_requests) == 6
        assert any("build b2, before b1" in line for line in said)
        llama.pages["/props"]["build_info"] = "b3"
        llama.eyes = eyes.blind
        with pytest.raises(ServerDrifted):
            await verifier.verify(client)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("model_path", "/m/other.gguf", "/m/vlm.gguf at first, and now with /m/other.gguf"),
        ("chat_template", "two", f"{template_hash('one')} at first, and now with {template_hash('two')}"),
        ("modalities", {"vision": False}, "says that its 'test-vlm' does not"),
        ("default_generation_settings", {"n_ctx": 4096}, "needs a context of 8192 tokens.* gives 4096"),
    ],
)
async def test_what_was_right_once_has_to_stay_so_and_sees_anew_once_it_is_again(
    llama: ModelServer, part: str, value: Any, words: str
) -> None:
    verifier = Verifier()
    async with asking(llama, dialect="llama-server", context=8192) as client:
        await verifier.verify(client)
        llama.pages["/props"] = PROPS | {part: value}
        for _ in range(2):
            with pytest.raises(ServerDrifted, match=words):
                await verifier.verify(client)
        assert len(llama.canary_requests) == 3
        llama.pages["/props"] = dict(PROPS)
        await verifier.verify(client)
        assert len(llama.canary_requests) == 6


async def test_a_model_that_was_refused_is_not_what_others_are_held_to(llama: ModelServer) -> None:
    verifier = Verifier()
    llama.eyes = eyes.blind
    async with asking(llama, dialect="llama-server") as client:
        with pytest.raises(ServerDrifted):
            await verifier.verify(client)
        llama.pages["/props"]["model_path"] = "/m/better.gguf"
        llama.eyes = eyes.seeing
        await verifier.verify(client)


async def test_another_digest_is_refused_with_both(ollama: ModelServer) -> None:
    async with asking(ollama, dialect="ollama-v1", digest=f"sha256:{OTHER}") as client:
        with pytest.raises(ServerDrifted, match=f"pins digest sha256:{OTHER}, but .* serves {DIGEST}"):
            await Verifier().verify(client)
    async with asking(ollama, dialect="ollama-v1", digest=DIGEST[:12]) as client:
        await Verifier().verify(client)
    assert len(ollama.canary_requests) == 3


async def test_a_model_that_another_host_answers_for_is_refused_unless_that_was_meant(
    ollama: ModelServer,
) -> None:
    ollama.pages["/api/show"] |= {"remote_host": "https://ollama.com:443", "remote_model": "big"}
    async with asking(ollama, dialect="ollama-v1") as client:
        with pytest.raises(NotConsented, match=r"passes requests on to https://ollama\.com:443 \(big\)"):
            await Verifier().verify(client)
    assert not ollama.canary_requests
    agreed = RemoteSettings(endpoint=ollama.base_url, folders=(Path("/photos"),), allow_unencrypted=True)
    async with asking(ollama, consents=Consents([agreed]), dialect="ollama-v1") as client:
        await Verifier().verify(client)
        assert client.place == "public"


async def test_an_answer_that_another_host_gave_is_the_last_unless_that_was_meant() -> None:
    body = {"message": {"content": "A pier."}, "done_reason": "stop", "remote_host": "https://far.example"}
    with ModelServer(dialect="ollama") as server:
        consents = Consents([RemoteSettings(endpoint=server.base_url, folders=(Path("/photos"),))])
        for agreed, places in ((None, ["loopback", "public"]), (consents, ["loopback", "public"])):
            server.script("caption", Garbage(json.dumps(body).encode()))
            async with asking(server, dialect="ollama", consents=agreed) as client:
                await client.ready()
                before = client.place
                if agreed is None:
                    for _ in range(2):
                        with pytest.raises(NotConsented, match=r"passes requests on to https://far\.example"):
                            await client.chat(a_request(), session="photo")
                else:
                    await client.chat(a_request(), session="photo")
                assert [before, client.place] == places
    assert len(server.chat_requests) == 2


async def test_a_context_that_shows_only_once_the_model_is_loaded_is_held_too(ollama: ModelServer) -> None:
    def load(jpeg: bytes) -> Any:
        ollama.pages["/api/ps"] = {"models": [{"name": f"{DEFAULT_MODEL}:latest", "context_length": 4096}]}
        return eyes.seeing(jpeg)

    ollama.eyes = load
    async with asking(ollama, dialect="ollama-v1", context=8192) as client:
        with pytest.raises(ServerDrifted, match=r"needs a context of 8192 tokens, but .* gives 4096"):
            await Verifier().verify(client)


async def test_a_context_that_another_program_asked_for_stops_nobody_who_asks_for_its_own() -> None:
    def ps(context: int) -> Any:
        return {"models": [{"name": f"{DEFAULT_MODEL}:latest", "context_length": context}]}

    verifier, given = Verifier(), 8192
    with ModelServer(dialect="ollama") as running:

        def load(jpeg: bytes) -> Any:
            running.pages["/api/ps"] = ps(given)
            return eyes.seeing(jpeg)

        running.eyes = load
        async with asking(running, dialect="ollama", context=8192) as client:
            for canaries in (3, 6):
                running.pages["/api/ps"] = ps(4096)
                await verifier.verify(client)
                assert len(running.canary_requests) == canaries
            given = 4096  # as much as the model has
            running.pages["/api/ps"] = ps(4096)
            with pytest.raises(ServerDrifted, match=r"needs a context of 8192 tokens, but .* gives 4096"):
                await verifier.verify(client)


async def test_another_entry_of_the_same_name_begins_anew(server: ModelServer) -> None:
    verifier = Verifier()
    async with asking(server) as before, asking(server, json_schema=True) as after:
        await verifier.verify(before)
        await verifier.verify(after)
    assert len(server.canary_requests) == 6


# --- In the pool ---


async def test_a_refused_entry_gets_no_photo_is_told_of_once_and_resumes_by_itself(
    server: ModelServer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "PAUSE_REFUSED", 0.01)
    server.eyes = eyes.blind
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        (status,) = pool.snapshot()
        assert status.state == "refused"
        assert "does not see" in (status.last_error or "")
        with pytest.raises(ServerMisconfigured, match="does not see"):
            await pool.chat(entry, a_request(), session="photo")
        await asyncio.to_thread(server.wait_until, lambda: len(server.canary_requests) >= 9)
        assert len([line for line in said if line.startswith("ERROR")]) == 1
        assert server.chat_requests == []
        server.eyes = eyes.seeing
        await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
        assert (await pool.chat(entry, a_request(), session="photo")).text
    assert len(server.chat_requests) == 1


async def test_a_server_that_is_replaced_in_use_is_found_out_within_the_hour_and_others_go_on(
    llama: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(pool_module, "PAUSE_REFUSED", 0.01)
    with ModelServer() as unmoved:
        words = an_entry(llama.base_url, dialect="llama-server")
        keywords = an_entry(unmoved.base_url, name="keywords")
        async with pooling(words, keywords) as pool:
            assert [status.state for status in pool.snapshot()] == ["up", "up"]
            llama.pages["/props"] = PROPS | {"model_path": "/m/other.gguf"}
            await refused(pool)
            assert "/m/other.gguf" in (pool.snapshot()[0].last_error or "")
            assert (await pool.chat(keywords, a_request(), session="photo")).text
            with pytest.raises(ServerMisconfigured):
                await pool.chat(words, a_request(), session="photo")
            llama.pages["/props"] = dict(PROPS)
            await asyncio.wait_for(pool.wait_available([words]), PATIENCE)
            assert (await pool.chat(words, a_request(), session="photo")).text
    assert len(llama.canary_requests) == 6


async def test_a_server_that_comes_back_as_another_gets_no_photo(llama: ModelServer) -> None:
    entry = an_entry(llama.base_url, dialect="llama-server")
    async with pooling(entry) as pool:
        llama.down()
        with pytest.raises(ServerUnavailable):
            await pool.chat(entry, a_request(), session="photo")
        llama.pages["/props"] = PROPS | {"model_path": "/m/other.gguf"}
        llama.up()
        await refused(pool)
    assert llama.chat_requests == []


async def test_of_two_endpoints_the_one_that_drifted_is_left_out(server: ModelServer) -> None:
    with ModelServer() as replica:
        replica.eyes = eyes.mixed_up
        entry = an_entry(server.base_url, replica.base_url)
        async with pooling(entry) as pool:
            replies = [await pool.chat(entry, a_request(), session=str(number)) for number in range(6)]
        assert {reply.endpoint for reply in replies} == {server.base_url}
        assert replica.chat_requests == []
