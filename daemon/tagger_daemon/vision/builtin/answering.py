"""One chat completion: read the request, look at the picture, say what was seen."""

from __future__ import annotations

from typing import Any

from tagger_daemon.vision.builtin import look, pixels, prompt, protocol, words


def answer(body: bytes, created: int) -> dict[str, Any]:
    """Answer one request.

    Args:
        body: the request's, as it came.
        created: the time, in seconds since the epoch.

    Raises:
        Refusal: the request cannot be answered, and why.
    """
    question = protocol.read_question(body)
    brief = prompt.read_brief(question.text)
    seen = look.observe(pixels.decode(question.picture))
    return protocol.completion(question, brief.stage, words.answer(seen, brief), created=created)
