"""The words that the scripted model server speaks: replies to queue, requests as recorded, bodies as sent.

All of it is pure; `support.model_server` does the serving and offers these names too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

#: What a picture costs here.
PICTURE_TOKENS = 1024


@dataclass(frozen=True)
class Say:
    """Answer with this text."""

    text: str | None
    finish_reason: str = "stop"
    reasoning: str | None = None  # a thinking trace, in the field where the server puts it
    refusal: str | None = None
    model: str | None = None  # who answers, if not who was asked
    prompt_tokens: int | None = None  # what `usage` tells, if not the truth


@dataclass(frozen=True)
class Fail:
    """Answer with an error status; without a body, with a nested one that names the status."""

    status: int
    body: Any = None  # bytes go out as they are, everything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Give no answer until the next `release()`, then the usual one."""


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Garbage:
    """Answer 200 with this body, whatever it is."""

    body: bytes


Reply = Say | Fail | Hang | Drop | Garbage


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One request as it came in."""

    path: str
    method: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    json: dict[str, Any] | None  # the body, where it is a JSON object
    stage: str | None  # of a chat request, "canary" for the canary's; else None
    started: float  # seconds of the monotonic clock
    finished: float | None  # just before the answer left or the line was dropped; None while in flight


def error_body(
    shape: Literal["nested", "flat", "string", "list", "detail"], message: str, code: int = 500
) -> Any:
    """Return an error body in one of the five shapes that real servers send.

    Nested: OpenAI, vLLM, llama-server. Flat: LMDeploy, SGLang. String: vLLM behind an API key, Ollama's own
    interface, LM Studio. List: Gemini's compatible endpoint. Detail: transformers.
    """
    details = {"message": message, "type": "error", "code": code}
    match shape:
        case "nested":
            return {"error": details}
        case "flat":
            return {"object": "error", **details}
        case "string":
            return {"error": message}
        case "list":
            return [{"error": details}]
        case "detail":
            return {"detail": message}


def image_bytes(request: Recorded) -> bytes:
    """Return the decoded picture of a chat request; empty if it shows none."""
    for part in _parts(request.json, "user"):
        if part.get("type") == "image_url":
            _, _, encoded = part["image_url"]["url"].partition("base64,")
            return base64.b64decode(encoded)
    return b""


def text(request: Recorded) -> str:
    """Return what the user's messages of a chat request say."""
    return said_by("user", request.json)


def system_text(request: Recorded) -> str:
    """Return what the system messages of a chat request say."""
    return said_by("system", request.json)


def said_by(role: str, content: Mapping[str, Any] | None) -> str:
    """Return the text parts of all messages of one role, one a line."""
    return "\n".join(part["text"] for part in _parts(content, role) if part.get("type") == "text")


def stage_of(prompt: str) -> str:
    """Tell the stage by which of their names comes first after the last "Task:"; a caption if none does."""
    task = prompt.rpartition("Task:")[2].lower()
    named = re.search(r"keyword|description|caption", task)
    return {"keyword": "keywords", "description": "description"}.get(named[0] if named else "", "caption")


def as_asked(said: Say, request: Recorded) -> Say:
    """Return an answer to the canary in the form that was asked for: text, or JSON under the schema's key."""
    asked = request.json or {}
    wanted = asked.get("format")  # Ollama's own
    if asked.get("response_format"):
        wanted = asked["response_format"]["json_schema"]["schema"]
    if not wanted:
        return said
    (key,) = wanted["properties"]
    return replace(said, text=json.dumps({key: said.text}))


def answer(stage: str, image: bytes) -> str:
    """Return the unscripted answer to one stage about one picture."""
    mark = hashlib.sha256(image).hexdigest()[:6]
    return {
        "caption": f"A test caption {mark}.",
        "keywords": f"alpha\nbeta\nphoto {mark}",
        "description": f"A test description {mark}. It has two sentences.",
    }[stage]


def prompt_of(request: Recorded) -> list[tuple[str, int]]:
    """Return what a chat request has a server read, in order, with rough tokens: 1 a word, 1024 a picture."""
    prompt: list[tuple[str, int]] = []
    for message in (request.json or {}).get("messages", []):
        for part in _parts_of(message):
            if part.get("type") == "image_url":
                prompt.append((_sha256(part["image_url"]["url"].encode()), PICTURE_TOKENS))
            else:
                prompt.extend((word, 1) for word in part.get("text", "").split())
    return prompt


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a server counted."""

    prompt: int
    cached: int | None  # None: it does not say
    told: int


def completion(
    said: Say, request: Recorded, usage: Usage, *, created: float, reasoning: str, model: Any
) -> dict[str, Any]:
    """Return the body of a chat completion; `reasoning` is the field for the thinking trace."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.reasoning is not None:
        message[reasoning] = said.reasoning
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.told,
        "total_tokens": usage.prompt + usage.told,
    }
    if usage.cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    return {
        "id": f"chatcmpl-{_sha256(request.body)[:12]}",
        "object": "chat.completion",
        "created": int(created),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": said.finish_reason}],
        "usage": counts,
    }


def native_chat(said: Say, usage: Usage, *, model: Any) -> dict[str, Any]:
    """Return the same as Ollama says it over its own interface."""
    message = {"role": "assistant", "content": said.text or ""}
    if said.reasoning is not None:
        message["thinking"] = said.reasoning
    body = {
        "model": model,
        "created_at": "2026-01-01T00:00:00Z",
        "message": message,
        "done": True,
        "done_reason": said.finish_reason,
        "prompt_eval_count": usage.prompt,
        "eval_count": usage.told,
    }
    return body if usage.cached is None else body | {"prompt_eval_cached_count": usage.cached}


def log_line(event: str, number: int, request: Recorded, *, at: float) -> str:
    """Return one JSON line: what happened to which request when, and digests of what it showed and said."""
    line = {
        "event": event,
        "number": number,
        "stage": request.stage,
        "image_sha256": _sha256(image_bytes(request)),
        "system_sha256": _sha256(system_text(request).encode()),
        "body_sha256": _sha256(request.body),
        "time": at,
    }
    return json.dumps(line) + "\n"


def _parts(content: Mapping[str, Any] | None, role: str) -> list[dict[str, Any]]:
    """Return the content parts of all messages of one role."""
    messages = (content or {}).get("messages", [])
    return [part for message in messages if message.get("role") == role for part in _parts_of(message)]


def _parts_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the content parts of a message: Ollama's `images` first; a bare string is one text part."""
    said = message["content"]
    pictures = [
        {"type": "image_url", "image_url": {"url": f"base64,{encoded}"}}
        for encoded in message.get("images", [])
    ]
    return [*pictures, *([{"type": "text", "text": said}] if isinstance(said, str) else said)]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
