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


@dataclass(frozen=True)
class Say:
    """Answer with this text."""

    text: str | None
    finish_reason: str = "stop"
    reasoning: str | None = None  # a thinking trace, sent as `reasoning_content`
    refusal: str | None = None


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


def error_body(shape: Literal["nested", "flat", "string", "list"], message: str, code: int = 500) -> Any:
    """Return an error body in one of the four shapes that real servers send.

    Nested: OpenAI, vLLM, llama-server. Flat: LMDeploy, SGLang. String: vLLM behind an API key.
    List: Gemini's compatible endpoint.
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
    wanted = (request.json or {}).get("response_format")
    if not wanted:
        return said
    (key,) = wanted["json_schema"]["schema"]["properties"]
    return replace(said, text=json.dumps({key: said.text}))


def answer(stage: str, image: bytes) -> str:
    """Return the unscripted answer to one stage about one picture."""
    mark = hashlib.sha256(image).hexdigest()[:6]
    return {
        "caption": f"A test caption {mark}.",
        "keywords": f"alpha\nbeta\nphoto {mark}",
        "description": f"A test description {mark}. It has two sentences.",
    }[stage]


def completion(said: Say, request: Recorded, *, created: float) -> dict[str, Any]:
    """Return the body of a chat completion; `usage` counts words, and 1024 for a picture."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.reasoning is not None:
        message["reasoning_content"] = said.reasoning
    words = len(f"{system_text(request)} {text(request)}".split())
    asked = words + (1024 if image_bytes(request) else 0)
    told = len((said.text or "").split())
    return {
        "id": f"chatcmpl-{_sha256(request.body)[:12]}",
        "object": "chat.completion",
        "created": int(created),
        "model": (request.json or {}).get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": said.finish_reason}],
        "usage": {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told},
    }


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
    """Return the content parts of all messages of one role; a bare string is one text part."""
    parts: list[dict[str, Any]] = []
    for message in (content or {}).get("messages", []):
        if message.get("role") == role:
            said = message["content"]
            parts.extend([{"type": "text", "text": said}] if isinstance(said, str) else said)
    return parts


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
