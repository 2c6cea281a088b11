"""What a request looks like on its way to a server, in the dialect of its entry.

A server is sent what its dialect knows and no more: some refuse fields that they do not know, and others drop
a field without a word, the token cap among them. How it samples is said with every request, as it would
otherwise depend on a file in the model's folder.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from tagger_daemon.vision.dialects import DIALECTS, KEEP_ALIVE, Dialect
from tagger_daemon.vision.entry import ChatRequest, Entry

#: What stands before a picture in its data URL.
_BASE64: Final = "base64,"


def chat_body(request: ChatRequest, entry: Entry) -> dict[str, Any]:
    """Return the body of a request, ready to be sent as JSON to the dialect's `chat` page.

    What the entry's `extra_body` says counts more than what the dialect would, object by object; model,
    messages and token cap stay ours.
    """
    if DIALECTS[entry.dialect].native:
        usual, ours = _native(request, entry)
    else:
        usual, ours = _common(request, entry)
    return _merged(_merged(usual, entry.extra_body), ours)


def chat_json(request: ChatRequest, entry: Entry) -> bytes:
    """Return `chat_body` as JSON, UTF-8.

    Base64 needs no escapes, and looking for some in hundreds of kilobytes takes longer than all else that is
    done for a request: the rest is encoded without the pictures, and they are put in afterwards.
    """
    mark = secrets.token_hex(16)  # stands in nothing that anybody wrote
    pictures: list[bytes] = []

    def marked(part: dict[str, Any]) -> dict[str, Any]:
        if not _is_picture(part):
            return part
        head, base64, picture = part["image_url"]["url"].partition(_BASE64)
        if not base64:
            return part
        pictures.append(picture.encode("ascii"))
        return {**part, "image_url": {**part["image_url"], "url": f"{head}{base64}{mark}"}}

    messages = tuple(
        {**message, "content": content if isinstance(content, str) else [*map(marked, content)]}
        for message in request.messages
        for content in [message["content"]]
    )
    body = chat_body(request.evolve(messages=messages), entry)
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    first, *others = text.split(mark.encode())
    # One step for all: each `+` would copy the pictures once more.
    return b"".join([first, *(piece for pair in zip(pictures, others, strict=True) for piece in pair)])


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """Return the text parts of one message."""
    return [part["text"] for part in _parts(message) if part["type"] == "text"]


def pictures_of(message: Mapping[str, Any]) -> list[str]:
    """Return the pictures of one message, base64."""
    urls = [part["image_url"]["url"] for part in _parts(message) if _is_picture(part)]
    return [url.partition(_BASE64)[2] for url in urls]


def _common(request: ChatRequest, entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the OpenAI protocol's body: what an entry may change, and what it may not."""
    dialect = DIALECTS[entry.dialect]
    usual = {**_sampling(request, dialect), **dialect.thinking_off}
    if request.response_format is not None and dialect.json_schema:
        usual["response_format"] = request.response_format
    ours = {"model": entry.served_model, "messages": request.messages, dialect.cap: request.max_tokens}
    return usual, ours


def _native(request: ChatRequest, entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Ollama's own body: what an entry may change, and what it may not.

    Source: https://github.com/ollama/ollama/blob/main/docs/api.md and `ChatRequest` in its api/types.go.
    """
    dialect = DIALECTS[entry.dialect]
    options = _sampling(request, dialect)
    if entry.context is not None:
        options["num_ctx"] = entry.context
    usual = {
        "options": options,
        "keep_alive": KEEP_ALIVE,
        "truncate": False,  # a request that does not fit is refused, instead of losing its picture
        **dialect.thinking_off,
    }
    if request.response_format is not None:
        schema = request.response_format.get("json_schema")
        usual["format"] = schema["schema"] if schema else "json"
    ours = {
        "model": entry.served_model,
        "messages": [_native_message(message) for message in request.messages],
        "stream": False,
        "options": {"num_predict": request.max_tokens},
    }
    return usual, ours


def _sampling(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    sampling: dict[str, Any] = {"temperature": request.temperature, "top_p": request.top_p}
    if request.presence_penalty is not None and dialect.presence_penalty:
        sampling["presence_penalty"] = request.presence_penalty
    return sampling


def _native_message(message: Mapping[str, Any]) -> dict[str, Any]:
    # In one message, because Ollama may drop all but the last one. Where it renders the prompt itself, as for
    # most models of its library, the pictures come before the text.
    native: dict[str, Any] = {"role": message["role"], "content": "\n".join(texts_of(message))}
    pictures = pictures_of(message)
    return native | {"images": pictures} if pictures else native


def _is_picture(part: Mapping[str, Any]) -> bool:
    return bool(part["type"] == "image_url")


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _merged(usual: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; where both name a key, objects are merged, and anything else is `stronger`'s."""
    merged = dict(usual)
    for key, value in stronger.items():
        before = merged.get(key)
        both_objects = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(before, value) if both_objects else value  # type: ignore[arg-type]  # checked
    return merged
