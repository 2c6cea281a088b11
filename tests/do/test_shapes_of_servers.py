"""What real servers were seen to do, and what becomes of the photo: one test for each shape.

Seen on llama-server b11434 and vLLM 0.32 (CPU), transformers 5.23 and LiteLLM 1.106, with a toy model. The
judgement of the answer's text belongs to the same promise, so it is passed here.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import DEFAULT_MODEL, Fail, Garbage, Hang, ModelServer, Say, error_body
from tagger_daemon.errors import (
    ReplyMalformed,
    ReplyRepetitive,
    ReplyTimeout,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.model import Stage
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.entry import Timeouts
from tagger_daemon.vision.replies import read_keywords, read_text

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["llama-server", "vllm"])
def server(request: pytest.FixtureRequest) -> Iterator[ModelServer]:
    with ModelServer(dialect=request.param) as running:
        yield running


@asynccontextmanager
async def asking(server: ModelServer, **changes: Any) -> AsyncIterator[ChatClient]:
    entry = an_entry(server.base_url, dialect=server.dialect, **changes)
    client = ChatClient(server.base_url, entry, api_key=None)
    try:
        yield client
    finally:
        await client.close()


async def keywords_of(server: ModelServer, said: Say) -> tuple[str, ...]:
    server.script("keywords", said)
    async with asking(server) as client:
        reply = await client.chat(a_request(Stage.KEYWORDS), session="photo 1")
    return read_keywords(reply, limit=15)


async def caption_of(server: ModelServer, said: Say) -> str:
    server.script("caption", said)
    async with asking(server) as client:
        reply = await client.chat(a_request(), session="photo 1")
    return read_text(reply, Stage.CAPTION)


# --- 1. Connections that close under keep-alive ---


async def test_1_a_connection_that_closes_after_some_requests_costs_no_photo(server: ModelServer) -> None:
    server.requests_a_connection = 2  # llama-server: 100, as it announces
    async with asking(server) as client:
        for number in range(5):
            assert (await client.chat(a_request(), session=str(number))).text
    assert len(server.chat_requests) == 5


async def test_1_a_500_that_is_followed_by_a_closed_connection_costs_one_request(server: ModelServer) -> None:
    for _ in range(3):
        server.script("caption", Fail(500), Say("A pier."))
    async with asking(server) as client:
        for _ in range(3):
            with pytest.raises(ServerFailed):
                await client.chat(a_request(), session="photo 1")
            assert (await client.chat(a_request(), session="photo 2")).text == "A pier."
    assert len(server.chat_requests) == 6


# --- 2. and 3. Servers that stop ---


async def test_2_an_answer_that_was_aborted_is_none_and_nobodys_fault(server: ModelServer) -> None:
    server.script("caption", Say("A pier at", finish_reason="abort"))
    async with asking(server) as client:
        with pytest.raises(ServerUnavailable, match="stopped before the answer was whole") as caught:
            await client.chat(a_request(), session="photo 1")
    assert type(caught.value) is ServerUnavailable  # which the pool does not turn against the photo


async def test_2_an_answer_that_ended_in_an_error_is_the_servers_to_explain(server: ModelServer) -> None:
    server.script("caption", Say("A pier at", finish_reason="error"))
    async with asking(server) as client:
        with pytest.raises(ServerFailed, match="failed in the middle of the answer"):
            await client.chat(a_request(), session="photo 1")


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_2_ollama_only_loaded_the_model(reason: str) -> None:
    with ModelServer(dialect="ollama") as server:
        server.script("caption", Say("", finish_reason=reason))
        async with asking(server) as client:
            with pytest.raises(ServerUnavailable):
                await client.chat(a_request(), session="photo 1")


async def test_3_a_request_that_hangs_ends_though_the_server_looks_well(server: ModelServer) -> None:
    server.script("caption", Hang())
    async with asking(server, timeouts=Timeouts(stage=0.2)) as client:
        with pytest.raises(ReplyTimeout):
            await client.chat(a_request(), session="photo 1")
        await client.ready()


# --- 4. and 5. Servers that break ---


async def test_4_a_killed_engine_is_told_from_a_photo_by_the_health_page() -> None:
    with ModelServer(dialect="vllm") as server:
        words = "EngineCore encountered an issue. See stack trace (above) for the root cause."
        server.script("caption", Fail(500, error_body("nested", words, 500)))
        server.health_status = 503
        async with asking(server) as client:
            with pytest.raises(ServerFailed, match="EngineCore"):
                await client.chat(a_request(), session="photo 1")
            with pytest.raises(ServerUnavailable, match="503"):
                await client.ready()


async def test_5_a_500_for_an_answer_that_broke_the_schema_is_asked_again() -> None:
    words = "The model produced output that does not match the expected peg-native format"
    with ModelServer(dialect="llama-server") as server:
        server.script("keywords", Fail(500, error_body("nested", words, 500)))
        async with asking(server) as client:
            with pytest.raises(ReplyMalformed, match="had not the form asked for"):
                await client.chat(a_request(Stage.KEYWORDS), session="photo 1")


# --- 6. JSON that is none ---


@pytest.mark.parametrize("control", ["\t", "\x00", "\x08"])
async def test_6_control_characters_in_json_are_no_part_of_a_keyword(
    server: ModelServer, control: str
) -> None:
    said = Say(f'{{"keywords": ["blue{control} sky", "dog"]}}')
    assert await keywords_of(server, said) == ("blue sky", "dog")


async def test_6_a_string_that_ended_at_a_quotation_mark_is_taken_as_it_is(server: ModelServer) -> None:
    assert await keywords_of(server, Say('{"keywords": ["sign ", "dog"]}')) == ("sign", "dog")


@pytest.mark.parametrize("blanks", ["{" + "\n" * 2000, '{"keywords": [' + " \t" * 1000])
async def test_6b_blanks_to_the_cap_are_no_answer(server: ModelServer, blanks: str) -> None:
    with pytest.raises(ReplyRepetitive, match="blanks"):
        await keywords_of(server, Say(blanks, finish_reason="length"))
    with pytest.raises(ReplyMalformed):
        await keywords_of(server, Say(blanks))


# --- 7. Thinking ---


async def test_7_a_trace_is_found_in_the_field_of_each_server(server: ModelServer) -> None:
    server.script("caption", Say("A pier.", reasoning="Water, so a pier."))
    async with asking(server) as client:
        reply = await client.chat(a_request(), session="photo 1")
    assert (reply.text, reply.reasoning) == ("A pier.", "Water, so a pier.")


@pytest.mark.parametrize("content", ["", None])  # llama-server, vLLM
async def test_7_an_answer_cut_while_thinking_is_cut_off(server: ModelServer, content: str | None) -> None:
    with pytest.raises(ReplyMalformed, match="only thought"):
        await caption_of(server, Say(content, finish_reason="length", reasoning="Water, so"))


async def test_7_an_answer_that_stopped_inside_the_thinking_holds_thoughts_only(server: ModelServer) -> None:
    with pytest.raises(ReplyMalformed, match="only thought"):
        await caption_of(server, Say(None, reasoning="Water, so a pier."))


async def test_7_thinking_that_stayed_in_the_content_is_taken_off(server: ModelServer) -> None:
    assert (
        await caption_of(server, Say("<think>Water, so a pier.</think>\nA pier at dusk."))
        == "A pier at dusk."
    )


# --- 8. Clients that leave ---


@contextmanager
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """Listen, never answer, and tell when whoever asked has hung up."""
    left = threading.Event()

    def watch(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(1 << 16):
                pass
        left.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=watch, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", left
        thread.join(PATIENCE)


async def test_8_a_request_that_is_given_up_is_hung_up_on_so_that_the_server_can_stop() -> None:
    with silent_server() as (url, left):
        client = ChatClient(url, an_entry(url, timeouts=Timeouts(stage=0.2)), api_key=None)
        with pytest.raises(ReplyTimeout):
            await client.chat(a_request(), session="photo 1")
        assert await asyncio.to_thread(left.wait, PATIENCE)
        await client.close()


# --- 9. More requests than slots ---


async def test_9_more_requests_than_slots_wait_and_get_the_same_answers(server: ModelServer) -> None:
    server.slots = 2
    server.hold()
    async with asking(server) as client:
        asked = [asyncio.create_task(client.chat(a_request(), session=str(n))) for n in range(6)]
        await asyncio.to_thread(server.wait_in_flight, 6)
        server.release()
        replies = await asyncio.gather(*asked)
    assert server.max_working == 2
    assert len({reply.text for reply in replies}) == 1


@pytest.mark.parametrize(("dialect", "status"), [("vllm", 503), ("ollama", 503), ("litellm", 429)])
async def test_9_a_full_queue_says_so_and_for_how_long(dialect: str, status: int) -> None:
    with ModelServer(dialect=dialect, slots=1, max_queued=0) as server:
        server.retry_after = 7
        server.hold()
        async with asking(server) as client:
            first = asyncio.create_task(client.chat(a_request(), session="photo 1"))
            await asyncio.to_thread(server.wait_in_flight, 1)
            with pytest.raises(ServerUnavailable, match=f"cannot answer now .{status}") as caught:
                await client.chat(a_request(), session="photo 2")
            server.release()
            assert (await first).text
    assert (caught.value.retry_after, server.refused) == (7, 1)


# --- 10. Streams: none is asked for ---


async def test_10_no_stream_is_asked_for(server: ModelServer) -> None:
    async with asking(server) as client:
        await client.chat(a_request(), session="photo 1")
    assert "stream" not in (server.chat_requests[0].json or {})


# --- 11. What the OpenAI client makes of errors, we make ours ---


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRejected),  # BadRequestError
        (401, ServerMisconfigured),  # AuthenticationError
        (404, ServerMisconfigured),  # NotFoundError
        (409, RequestRejected),  # ConflictError
        (422, RequestRejected),  # UnprocessableEntityError
        (429, ServerUnavailable),  # RateLimitError
        (500, ServerFailed),  # InternalServerError
    ],
)
async def test_11_each_error_of_the_openai_client_is_one_of_ours(
    server: ModelServer, status: int, error: type[TaggerError]
) -> None:
    server.script("caption", Fail(status, headers={"Retry-After": "1"}))
    async with asking(server) as client:
        with pytest.raises(error) as caught:
            await client.chat(a_request(), session="photo 1")
    assert type(caught.value) is error
    assert caught.value.__cause__ is None  # its error quotes the server
    assert len(server.chat_requests) == 1  # it retries nothing


async def test_11_what_a_server_adds_to_its_answer_does_no_harm(server: ModelServer) -> None:
    body = {
        "choices": [{"message": {"content": "A pier.", "tool_calls": []}, "finish_reason": "stop"}],
        "model": DEFAULT_MODEL,
        "timings": {"prompt_n": 1, "cache_n": 0},
        "provider_specific_fields": None,
    }
    server.script("caption", Garbage(json.dumps(body).encode()))
    async with asking(server) as client:
        reply = await client.chat(a_request(), session="photo 1")
    assert (reply.text, reply.prompt_tokens) == ("A pier.", None)
