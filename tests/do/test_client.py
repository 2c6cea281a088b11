"""One endpoint is asked over real HTTP, and every way in which it can fail has its own plain error."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import socketserver
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import (
    DEFAULT_MODEL,
    Drop,
    Fail,
    Garbage,
    Hang,
    ModelServer,
    Say,
    error_body,
)
from tagger_daemon.errors import (
    ConfigurationError,
    ReplyMalformed,
    ReplyTimeout,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.model import Stage
from tagger_daemon.vision.client import LONGEST_ANSWER, ChatClient, nothing_listens
from tagger_daemon.vision.entry import Timeouts

pytestmark = pytest.mark.anyio

KEY = "sk-a-secret-of-the-photographer"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@asynccontextmanager
async def asking(url: str, *, api_key: str | None = None, **changes: Any) -> AsyncIterator[ChatClient]:
    client = ChatClient(url, an_entry(url, **changes), api_key=api_key)
    try:
        yield client
    finally:
        await client.close()


@contextmanager
def line_server(answer: bytes) -> Iterator[str]:
    """Serve a TCP port that answers whatever comes with these bytes, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 20)
            with suppress(ConnectionError):  # whoever asked has heard enough
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}/v1"
        finally:
            listener.shutdown()
            thread.join()


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_reply_carries_what_the_server_said(server: ModelServer) -> None:
    server.script("caption", Say("A pier at dusk.", reasoning="Water, so a pier."))
    async with asking(server.base_url) as client:
        reply = await client.chat(a_request(), session="photo 1")
    assert (reply.text, reply.finish_reason, reply.reasoning) == (
        "A pier at dusk.",
        "stop",
        "Water, so a pier.",
    )
    assert (reply.model, reply.endpoint, reply.refusal) == (DEFAULT_MODEL, server.base_url, None)
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 4)
    assert reply.seconds > 0


async def test_the_servers_name_for_the_model_is_one_short_printable_line(server: ModelServer) -> None:
    name = "acme/eyes\n\x00\uffff" + "x" * 5000
    completion = {"model": name, "choices": [{"message": {"content": "A pier."}, "finish_reason": "stop"}]}
    server.script("caption", Garbage(json.dumps(completion).encode()))
    async with asking(server.base_url) as client:
        reply = await client.chat(a_request(), session="photo 1")
    assert reply.model.startswith("acme/eyes xxx")
    assert reply.model.isprintable()
    assert len(reply.model) <= 200


@pytest.mark.parametrize("url", ["http://256.1.1.1:8000/v1", "http://xn--\u00fc:8000/v1"])
async def test_an_address_that_cannot_be_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be asked: Invalid"):
        ChatClient(url, an_entry(url), api_key=None)


async def test_the_trace_of_vllm_and_a_refusal_are_kept_apart_from_the_text(server: ModelServer) -> None:
    message = {"content": None, "reasoning": "Hm.", "refusal": "No."}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    server.script("caption", Garbage(json.dumps(body).encode()))
    async with asking(server.base_url) as client:
        reply = await client.chat(a_request(), session="photo 1")
    assert (reply.text, reply.reasoning, reply.refusal) == ("", "Hm.", "No.")
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, None)


@pytest.mark.parametrize("count", [-50, 10**400], ids=["negative", "endless"])
async def test_a_count_of_tokens_that_cannot_be_one_is_none_and_costs_no_answer(
    server: ModelServer, count: int
) -> None:
    body = {"choices": [{"message": {"content": "A pier."}, "finish_reason": "stop"}]}
    counts = {"prompt_tokens": count, "completion_tokens": count}
    server.script("caption", Garbage(json.dumps({**body, "usage": counts}).encode()))
    async with asking(server.base_url) as client:
        reply = await client.chat(a_request(), session="photo")
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("A pier.", None, None)


async def test_the_request_holds_what_was_asked_for_and_the_vendor_fields(server: ModelServer) -> None:
    vendor = {"chat_template_kwargs": {"enable_thinking": True}, "top_k": 20}
    async with asking(server.base_url, extra_body=vendor) as client:
        asked = a_request(response_format={"type": "json_object"}, presence_penalty=0.5)
        await client.chat(asked, session="photo 1")
    sent = server.chat_requests[0].json
    assert sent == {
        "model": DEFAULT_MODEL,
        "messages": list(a_request().messages),
        "max_tokens": 120,
        "temperature": 0.2,
        "top_p": 0.9,
        "presence_penalty": 0.5,
        "response_format": {"type": "json_object"},
        "chat_template_kwargs": {"enable_thinking": True},
        "top_k": 20,
    }


async def test_nothing_leaves_but_what_was_chosen(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    monkeypatch.setenv("OPENAI_ORG_ID", "the-organisation")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "the-project")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: yes\nAuthorization: Bearer sk-custom")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with asking(server.base_url) as client:
        await client.chat(a_request(), session="photo 1")
    headers = dict(server.chat_requests[0].headers)
    assert headers.pop("authorization") == "Bearer none"
    assert headers.pop("user-agent") == "tagger-daemon"
    assert set(headers) <= {
        "host",
        "connection",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "x-session-id",
    }


async def test_one_photo_has_one_session_header_which_does_not_tell_its_name(server: ModelServer) -> None:
    sessions = ["/photos/Anna's wedding/\udce4.jpg", "/photos/Anna's wedding/\udce4.jpg", "/photos/b.jpg"]
    async with asking(server.base_url) as client:
        for session in sessions:
            await client.chat(a_request(), session=session)
    first, again, other = (request.headers["x-session-id"] for request in server.chat_requests)
    assert first == again != other
    assert first.isalnum()


async def test_the_session_goes_into_the_header_that_the_entry_names(server: ModelServer) -> None:
    async with asking(server.base_url, affinity_header="x-litellm-session-id") as client:
        await client.chat(a_request(), session="photo 1")
    headers = server.chat_requests[0].headers
    assert len(headers["x-litellm-session-id"]) == 32
    assert "x-session-id" not in headers


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, ServerMisconfigured),
        (307, ServerMisconfigured),
        (400, RequestRejected),
        (401, ServerMisconfigured),
        (403, ServerMisconfigured),
        (404, ServerMisconfigured),
        (413, RequestRejected),
        (415, RequestRejected),
        (418, RequestRejected),
        (422, RequestRejected),
        (429, ServerUnavailable),
        (500, ServerFailed),
        (502, ServerUnavailable),
        (503, ServerUnavailable),
        (504, ServerUnavailable),
        (529, ServerUnavailable),
    ],
)
async def test_a_status_has_one_meaning(server: ModelServer, status: int, error: type[TaggerError]) -> None:
    server.script(
        "caption", Fail(status, error_body("nested", "Because.", status), {"Location": "/elsewhere"})
    )
    async with asking(server.base_url) as client:
        with pytest.raises(error, match=f"{server.base_url}.*{status}: Because") as caught:
            await client.chat(a_request(), session="photo 1")
    assert type(caught.value) is error
    assert len(server.requests) == 1  # neither retried nor followed


@pytest.mark.parametrize("shape", ["nested", "flat", "string", "list"])
async def test_the_servers_own_words_are_found_in_every_shape(server: ModelServer, shape: Any) -> None:
    server.script("caption", Fail(400, error_body(shape, "The image is too small.", 400)))
    async with asking(server.base_url) as client:
        with pytest.raises(RequestRejected, match=r"\(400: The image is too small\.\)$"):
            await client.chat(a_request(), session="photo 1")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>\x1b[31m\r\nbad\x00</html>", b"\xff\xfe", b"[]", b"7", b"x" * 5000, b"[" * 3000],
)
async def test_a_servers_words_are_one_short_printable_line(server: ModelServer, body: bytes) -> None:
    server.script("caption", Fail(422, body))
    async with asking(server.base_url) as client:
        with pytest.raises(RequestRejected) as caught:
            await client.chat(a_request(), session="photo 1")
    said = str(caught.value)
    assert said.isprintable()
    assert len(said.partition("(422")[2]) <= 203


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{}",
        b"[]",
        b"null",
        b'{"error": "out of memory"}',
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"choices": [{"message": {"content": "cut',
    ],
)
async def test_an_answer_that_is_no_chat_completion_is_malformed(server: ModelServer, body: bytes) -> None:
    server.script("caption", Garbage(body))
    async with asking(server.base_url) as client:
        with pytest.raises(ReplyMalformed, match="not a chat completion"):
            await client.chat(a_request(), session="photo 1")


async def test_an_answer_that_cannot_be_decompressed_is_malformed() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    with line_server(head + b"oops") as url:
        async with asking(url) as client:
            with pytest.raises(ReplyMalformed, match="decompressed"):
                await client.chat(a_request(), session="photo 1")


@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_without_an_end_is_not_read_to_its_end(status: int) -> None:
    head = f"HTTP/1.1 {status} So\r\nContent-Length: {1 << 40}\r\n\r\n".encode()
    with line_server(head + b" " * (2 * LONGEST_ANSWER)) as url:
        async with asking(url) as client:
            with pytest.raises(ReplyMalformed, match="an answer longer than 8 MB"):
                await client.chat(a_request(), session="photo 1")
            with pytest.raises(ServerMisconfigured, match="answers longer than 8 MB"):
                await client.get("/health")


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_unpacked_to_its_end() -> None:
    packed = gzip.compress(bytes(2 * LONGEST_ANSWER))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with line_server(head + packed) as url:
        async with asking(url) as client:
            with pytest.raises(ReplyMalformed, match="longer than 8 MB"):
                await client.chat(a_request(), session="photo 1")


async def test_a_packed_answer_is_unpacked() -> None:
    completion = b'{"choices": [{"message": {"content": "A pier."}, "finish_reason": "stop"}]}'
    packed = gzip.compress(completion)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with line_server(head + packed) as url:
        async with asking(url) as client:
            assert (await client.chat(a_request(), session="photo 1")).text == "A pier."


async def test_the_whole_answer_has_to_come_within_the_deadline(server: ModelServer) -> None:
    server.script("caption", Hang())
    async with asking(server.base_url, timeouts=Timeouts(stage=0.2)) as client:
        with pytest.raises(ReplyTimeout, match=r"did not answer within 0\.2 s"):
            await client.chat(a_request(), session="photo 1")


async def test_a_cancelled_request_hangs_up_and_leaves_the_client_usable(server: ModelServer) -> None:
    server.script("caption", Hang())
    async with asking(server.base_url) as client:
        asked = asyncio.create_task(client.chat(a_request(), session="photo 1"))
        await asyncio.to_thread(server.wait_for, 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await client.chat(a_request(Stage.KEYWORDS), session="photo 1")).text
        server.release()


async def test_a_connection_that_breaks_is_tried_once_more_afresh(server: ModelServer) -> None:
    server.script("caption", Say("One."), Drop(), Say("Two."))
    async with asking(server.base_url) as client:
        await client.chat(a_request(), session="photo 1")
        assert (await client.chat(a_request(), session="photo 1")).text == "Two."
    assert len(server.chat_requests) == 3


async def test_a_server_that_hangs_up_twice_is_unavailable(server: ModelServer) -> None:
    server.script("caption", Drop(), Drop())
    async with asking(server.base_url) as client:
        with pytest.raises(ServerUnavailable, match="closed the connection without an answer") as caught:
            await client.chat(a_request(), session="photo 1")
    assert not nothing_listens(caught.value)
    assert len(server.chat_requests) == 2


async def test_where_nothing_listens_the_error_says_so() -> None:
    url = f"http://127.0.0.1:{a_free_port()}/v1"
    async with asking(url) as client:
        with pytest.raises(ServerUnavailable, match=f"{url} cannot be reached") as asked:
            await client.chat(a_request(), session="photo 1")
        with pytest.raises(ServerUnavailable, match=f"{url} cannot be reached") as looked:
            await client.ready()
        with pytest.raises(ServerUnavailable, match=f"{url} cannot be reached") as read:
            await client.get("/props")
    assert all(nothing_listens(caught.value) for caught in (asked, looked, read))


async def test_a_host_that_does_not_exist_is_unavailable() -> None:
    async with asking("http://no-such-host.invalid/v1") as client:
        with pytest.raises(ServerUnavailable, match="no-such-host") as caught:
            await client.chat(a_request(), session="photo 1")
    assert nothing_listens(caught.value)


@pytest.mark.parametrize("before", [0, 160])  # characters; the latter has the key cut in the middle
@pytest.mark.parametrize("status", [400, 401, 404, 503])
async def test_the_key_is_sent_and_never_told(server: ModelServer, status: int, before: int) -> None:
    quoting = error_body("nested", f"{'x' * before} Incorrect API key {KEY} provided", status)
    server.script("caption", Fail(status, quoting))
    async with asking(server.base_url, api_key=KEY, api_key_env="VLM_KEY") as client:
        with pytest.raises(TaggerError) as caught:
            await client.chat(a_request(), session="photo 1")
        assert server.chat_requests[0].headers["authorization"] == f"Bearer {KEY}"
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(client)
    assert KEY[:12] not in told


@pytest.mark.parametrize("key", ["", "two\nlines", "with blank", "schlüssel", "nul\0"])
def test_a_key_that_cannot_be_sent_is_named_by_its_variable_only(key: str) -> None:
    with pytest.raises(ConfigurationError, match="VLM_KEY") as caught:
        ChatClient("http://127.0.0.1:1/v1", an_entry(api_key_env="VLM_KEY"), api_key=key)
    assert not key or key not in str(caught.value)


async def test_a_healthy_server_with_the_model_is_ready(server: ModelServer) -> None:
    async with asking(server.base_url) as client:
        await client.ready()
    assert {request.path for request in server.requests} == {"/health", "/v1/models"}


async def test_another_model_is_told_with_both_names(server: ModelServer) -> None:
    async with asking(server.base_url, served_model="qwen3-vl-8b") as client:
        with pytest.raises(
            ServerMisconfigured, match=f"serves {DEFAULT_MODEL}.*'vlm' asks for 'qwen3-vl-8b'"
        ):
            await client.ready()


@pytest.mark.parametrize(
    ("health", "models", "error"),
    [
        (503, 200, ServerUnavailable),  # vLLM whose engine has died
        (200, 503, ServerUnavailable),
        (200, 401, ServerMisconfigured),
        (404, 404, ServerMisconfigured),
    ],
)
async def test_a_server_is_not_ready_if_any_of_its_pages_denies_it(
    server: ModelServer, health: int, models: int, error: type[TaggerError]
) -> None:
    server.health_status, server.models_status = health, models
    async with asking(server.base_url) as client:
        with pytest.raises(error) as caught:
            await client.ready()
    assert type(caught.value) is error


async def test_a_server_that_lists_no_models_is_believed_on_its_health(server: ModelServer) -> None:
    server.models = ()
    async with asking(server.base_url) as client:
        await client.ready()


async def test_a_port_that_does_not_speak_http_is_not_ready() -> None:
    with line_server(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        async with asking(url) as client:
            with pytest.raises(ServerUnavailable) as caught:
                await client.ready()
    assert not nothing_listens(caught.value)


async def test_a_server_that_accepts_but_never_answers_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asking(f"http://127.0.0.1:{listener.getsockname()[1]}/v1") as client:
            with pytest.raises(ServerUnavailable, match="does not answer"):
                await asyncio.wait_for(client.ready(), PATIENCE)


async def test_as_many_requests_go_out_at_once_as_are_asked_for(server: ModelServer) -> None:
    server.hold()
    async with asking(server.base_url) as client:
        asked = [asyncio.create_task(client.chat(a_request(), session=str(n))) for n in range(24)]
        await asyncio.to_thread(server.wait_in_flight, 24)
        server.release()
        assert len(await asyncio.gather(*asked)) == 24
