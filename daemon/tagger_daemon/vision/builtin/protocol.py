"""The OpenAI-compatible protocol, as far as it is spoken here: request bytes to a question, answer to a body.

Shapes follow https://platform.openai.com/docs/api-reference/chat; error bodies and the 404 for a model that
is not served follow vLLM's server.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tagger_daemon.model import Stage, Value
from tagger_daemon.vision.builtin.forms import Form, read_form, render
from tagger_daemon.vision.builtin.refusals import Refusal

MODEL = "builtin-describer"

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question(Value):
    """One chat completion that can be answered."""

    id: str  # of the answer; the same request gets the same one
    picture: bytes  # the one image, still encoded
    text: str  # what the user said, all text parts
    form: Form
    max_tokens: int | None
    prompt_tokens: int  # words and punctuation marks of all messages; the picture is not counted


def read_question(body: bytes) -> Question:
    """Read the body of a chat completion.

    Raises:
        Refusal: it is not JSON, asks for another model, or for something that this server does not do.
    """
    request = _object(body)
    _check_model(request.get("model"))
    _check_limits(request)
    spoken, asked, urls = _messages(request.get("messages"))
    if len(urls) != 1:
        raise Refusal(f"Send exactly one image_url part; there are {len(urls)}.", param="messages")
    return Question(
        id=f"chatcmpl-{hashlib.sha256(body).hexdigest()[:24]}",
        picture=_picture(urls[0]),
        text="\n".join(asked),
        form=read_form(request.get("response_format")),
        max_tokens=_max_tokens(request),
        prompt_tokens=sum(len(_TOKEN.findall(text)) for text in spoken),
    )


def completion(
    question: Question, stage: Stage, answer: str | tuple[str, ...], *, created: int
) -> dict[str, Any]:
    """Return the response body, the answer cut where it runs over the request's token limit.

    Args:
        created: seconds since the epoch.
    """
    text, tokens, finish = _cut(render(answer, stage, question.form), question.max_tokens)
    return {
        "id": question.id,
        "object": "chat.completion",
        "created": created,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": {
            "prompt_tokens": question.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": question.prompt_tokens + tokens,
        },
    }


def models() -> dict[str, Any]:
    """Return the list of served models: one."""
    served = {"id": MODEL, "object": "model", "created": 0, "owned_by": "tagger-daemon"}
    return {"object": "list", "data": [served]}


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal("The body is not valid JSON.") from None
    if not isinstance(request, dict):
        raise Refusal("The body is not a JSON object.")
    return request


def _check_model(model: object) -> None:
    if not isinstance(model, str):
        raise Refusal("Name the model as a string.", param="model")
    if model != MODEL:
        raise Refusal(
            f"The model `{model[:100]}` does not exist. Served models: {MODEL}.", status=404, param="model"
        )


def _check_limits(request: Mapping[str, Any]) -> None:
    """Refuse what would change the shape of the answer, and is not done here."""
    if request.get("stream"):
        raise Refusal("Streaming is not supported; leave `stream` out.", param="stream")
    if request.get("n") not in (None, 1):
        raise Refusal("Only one choice can be had; leave `n` out or set it to 1.", param="n")


def _max_tokens(request: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = request.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refusal(f"`{name}` must be a whole number from 1 on.", param=name)
        return value
    return None


def _messages(messages: object) -> tuple[list[str], list[str], list[str]]:
    """Return the texts of all messages, those of the user alone, and the URLs of the images."""
    if not isinstance(messages, list) or not messages:
        raise Refusal("`messages` must be a list of at least one message.", param="messages")
    spoken: list[str] = []
    asked: list[str] = []
    urls: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Refusal("Each message must be an object with a role.", param="messages")
        for kind, content in _parts(message.get("content")):
            if kind == "image_url":
                urls.append(content)
                continue
            spoken.append(content)
            if message["role"] == "user":
                asked.append(content)
    return spoken, asked, urls


def _parts(content: object) -> Iterator[tuple[str, str]]:
    """Yield each content part as its type and its text or URL."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise Refusal("A message's content must be a string or a list of parts.", param="messages")
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                yield "text", text
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield "image_url", url
            case _:
                raise Refusal("A content part must be a text or an image_url.", param="messages")


def _picture(url: str) -> bytes:
    scheme = _DATA_URL.match(url)
    if scheme is None:
        raise Refusal(
            "Send the image as a base64 data URL (data:image/jpeg;base64,...); nothing is fetched.",
            param="messages",
        )
    try:
        return base64.b64decode(url[scheme.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("The image's base64 is damaged.", param="messages") from None


def _cut(text: str, most: int | None) -> tuple[str, int, str]:
    """Return the text up to `most` tokens, how many it has, and why it ends."""
    ends = [token.end() for token in _TOKEN.finditer(text)]
    if most is None or len(ends) <= most:
        return text, len(ends), "stop"
    return text[: ends[most - 1]], most, "length"
