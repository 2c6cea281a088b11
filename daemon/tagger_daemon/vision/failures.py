"""What an answer other than success means for the photo: a pure answer to (status, headers, body).

The status speaks first; the words decide where one status means several things. They are foreign: what is
passed on of them is one short line, without the key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from tagger_daemon.errors import (
    ReplyMalformed,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.keys import without_keys
from tagger_daemon.vision.wire import one_line, server_words

#: Part of a body that is searched for the reason, bytes.
_SEARCHED: Final = 8192

#: The request does not fit: llama-server, vLLM, SGLang, LMDeploy, Ollama, LiteLLM.
_NO_ROOM = re.compile(
    r"exceed_context_size|context (?:length|size|window)|context_length_exceeded|ContextWindowExceeded",
    re.IGNORECASE,
)
#: How many tokens would fit, where the server tells.
_ROOM = re.compile(
    r"n_ctx\W{1,6}(\d{1,9})|context (?:length|size|window)(?: is| of)?\D{0,3}(\d{1,9})", re.IGNORECASE
)

#: The model sees no pictures: llama-server without --mmproj, Ollama, vLLM with a model for text.
_BLIND = re.compile(
    r"image input is not supported|missing data required for image input|not a multimodal model"
    r"|does not support (?:images?|vision)\b",
    re.IGNORECASE,
)

#: 400 for a model that is not served: llama-server as a router, LiteLLM, LM Studio, transformers.
_NO_MODEL = re.compile(
    r"model ['\"`]?[^'\"`\s]{1,200}['\"`]? (?:was )?(?:not found|does not exist)"
    r"|model_not_found|invalid model (?:name|identifier)|server is pinned to",
    re.IGNORECASE,
)

#: llama-server, when the answer broke out of the form that its grammar was to hold it in. Chance decides.
_BROKE_FORM = re.compile(r"produced output that does not match the expected", re.IGNORECASE)

#: A gateway whose servers are all away.
_NOBODY_BEHIND = re.compile(r"connection error|cannot connect to host", re.IGNORECASE)


def failure(
    status: int, headers: Mapping[str, str], content: bytes, *, who: str, entry: Entry, key: str | None
) -> TaggerError:
    """Return the error that an HTTP status other than success stands for.

    Args:
        headers: of the answer; looked up as given, so they have to ignore case.
        who: the server, as messages name it.
        key: what must not be told, should the server quote it.
    """
    words = one_line(without_keys(server_words(content), [key] if key else []))
    said = f" ({status}{': ' if words else ''}{words})"
    reason = content[:_SEARCHED].decode(errors="replace")
    if 300 <= status < 400:
        return ServerMisconfigured(
            f"{who} redirects elsewhere{said}; give the address it leads to in the registry"
        )
    if status in {401, 402, 403}:
        return ServerMisconfigured(f"{who} refuses our key{said}; {_key_advice(entry)}")
    if status in {404, 405, 410} or (status == 400 and _NO_MODEL.search(reason)):
        return ServerMisconfigured(f"{who} does not know the model {entry.served_model!r}{said}")
    if status in {408, 429} or status > 500:
        return ServerUnavailable(f"{who} cannot answer now{said}", retry_after=retry_after(headers))
    return _refused(status, reason, who, said, entry)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how long the server asks to be left alone, in seconds; None if it does not.

    A date counts from the answer's own `Date`, as the server's clock may differ from ours (RFC 9110, 10.2.3).
    """
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            asked_for = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError):
            return None
        seconds = asked_for.total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _refused(status: int, reason: str, who: str, said: str, entry: Entry) -> TaggerError:
    """Tell apart what 500 and the statuses for bad requests stand for."""
    if _BLIND.search(reason):
        return ServerMisconfigured(
            f"{who} shows {entry.served_model!r} no pictures{said}; serve it with its vision part (for "
            "llama-server: --mmproj), or give the roles to another entry"
        )
    if _NO_ROOM.search(reason):
        return RequestRejected(f"{who} has no room for the request{_room(reason)}{said}")
    if status != 500:
        return RequestRejected(f"{who} refuses the request{' as too large' if status == 413 else ''}{said}")
    if _BROKE_FORM.search(reason):
        return ReplyMalformed(f"{who} stopped the model, whose answer had not the form asked for{said}")
    if entry.dialect == "litellm" and _NOBODY_BEHIND.search(reason):
        return ServerUnavailable(f"{who} reaches no server behind it{said}")
    return ServerFailed(f"{who} failed on the request{said}")


def _room(reason: str) -> str:
    found = _ROOM.search(reason)
    tokens = f" of {found[1] or found[2]} tokens" if found else ""
    return f" in its context{tokens}: start it with a longer one, or send smaller pictures"


def _key_advice(entry: Entry) -> str:
    variable = entry.api_key_env
    return f"check {variable}" if variable else f"name its key in api_key_env of {entry.name!r}"
