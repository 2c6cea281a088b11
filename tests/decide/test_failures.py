"""What a status other than success stands for, in the words of every kind of server."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tagger_daemon.errors import (
    ReplyMalformed,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.failures import failure, retry_after


def failed(
    status: int, body: Any, *, dialect: str = "compatible", key: str | None = None, **headers: str
) -> TaggerError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    entry = Entry(name="vlm", backend="x", served_model="m", dialect=dialect)
    sent = httpx2.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return failure(status, sent, content, who="the server", entry=entry, key=key)


def nested(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


LLAMA_FULL = nested(
    "request (32975 tokens) exceeds the available context size (8192 tokens), try increasing it",
    code=400,
    type="exceed_context_size_error",
    n_prompt_tokens=32975,
    n_ctx=8192,
)
VLLM_FULL = nested(
    "This model's maximum context length is 8192 tokens. However, your prompt contains at least 8193 input "
    "tokens.",
    type="BadRequestError",
    param="input_tokens",
)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, nested("Failed to load image or audio file"), RequestRejected),
        (400, nested("At most 4 image(s) may be provided in one prompt."), RequestRejected),
        (400, nested("Grammar error: unrecognized type strnig"), RequestRejected),
        (413, b"", RequestRejected),
        (422, {"detail": "Unexpected fields in the request: {'n'}"}, RequestRejected),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "Input should be 1"}]}, RequestRejected),
        # The model is not there, though the status is 400.
        (400, {"detail": "Server is pinned to 'M/hf'; requested 'm'."}, ServerMisconfigured),
        (400, nested("model 'nope' not found"), ServerMisconfigured),
        (400, nested("/chat/completions: Invalid model name passed in model=m."), ServerMisconfigured),
        (404, nested("The model `m` does not exist. Valid aliases: a"), ServerMisconfigured),
        (404, {"error": "model 'm' not found, try pulling it first"}, ServerMisconfigured),
        (404, {"object": "error", "message": "no such model", "code": 404}, ServerMisconfigured),
        # The model sees nothing.
        (500, nested("image input is not supported - hint: pass --mmproj"), ServerMisconfigured),
        (500, {"error": "this model is missing data required for image input"}, ServerMisconfigured),
        (400, nested("m is not a multimodal model"), ServerMisconfigured),
        # The key.
        (401, nested("Invalid API Key", type="authentication_error", code=401), ServerMisconfigured),
        (401, {"error": "Unauthorized"}, ServerMisconfigured),
        # Not now.
        (503, nested("Loading model", type="unavailable_error", code=503), ServerUnavailable),
        (
            503,
            {"error": "server busy, please try again.  maximum pending requests exceeded"},
            ServerUnavailable,
        ),
        (429, nested("No deployments available, Try again in 10 seconds."), ServerUnavailable),
        (429, b"", ServerUnavailable),
        (529, b"", ServerUnavailable),
        (408, b"", ServerUnavailable),
        # The server broke down.
        (500, nested("EngineCore encountered an issue. See stack trace (above)."), ServerFailed),
        (500, b"Internal Server Error", ServerFailed),
        (500, nested("Invalid base64 value"), ServerFailed),
        # The model's answer broke out of the form.
        (
            500,
            nested("The model produced output that does not match the expected peg-native format"),
            ReplyMalformed,
        ),
    ],
)
def test_what_servers_really_say(status: int, body: Any, error: type[TaggerError]) -> None:
    assert type(failed(status, body)) is error


@pytest.mark.parametrize(
    ("body", "room"),
    [
        (LLAMA_FULL, " of 8192 tokens"),
        (VLLM_FULL, " of 8192 tokens"),
        (
            {"message": "The input is longer than the model's context length (32768 tokens)."},
            " of 32768 tokens",
        ),
        ({"error": json.dumps(LLAMA_FULL)}, " of 8192 tokens"),  # Ollama quotes the llama-server inside it
        (nested("litellm.ContextWindowExceededError: too long", code="400"), ""),
        ({"error": "the prompt is longer than the context length currently available to the model"}, ""),
        ([nested("maximum context length exceeded", code=400)], ""),
    ],
)
def test_a_request_that_does_not_fit_says_into_what(body: Any, room: str) -> None:
    error = failed(400, body)
    assert type(error) is RequestRejected
    assert f"has no room for the request in its context{room}: start it with a longer one" in str(error)


def test_a_gateway_whose_servers_are_all_away_is_not_the_photos_fault() -> None:
    away = nested("litellm.InternalServerError: OpenAIException - Connection error.", code="500")
    assert type(failed(500, away, dialect="litellm")) is ServerUnavailable
    assert type(failed(500, away, dialect="vllm")) is ServerFailed


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "0.5"}, 0.5),
        ({"Retry_After": "86400"}, 86400),
        ({"Retry_After": "-3"}, 0),
        ({"Retry_After": "nan"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),  # by whose clock?
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"Retry_After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 -0000"}, None),
    ],
)
def test_how_long_a_server_asks_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    error = failed(429, b"", **headers)
    assert isinstance(error, ServerUnavailable)
    assert error.retry_after == seconds
    assert retry_after(httpx2.Headers()) is None


@pytest.mark.parametrize("status", [307, 400, 401, 404, 413, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [nested("your key sk-secret is bad"), b"\x1b[31m sk-secret\r\n\x00", b"x" * 150 + b"sk-secret" * 999],
)
def test_a_servers_words_are_one_short_line_without_the_key(status: int, body: Any) -> None:
    said = str(failed(status, body, key="sk-secret"))
    assert said.isprintable()
    assert "sk-secret" not in said
    assert len(said) < 400
