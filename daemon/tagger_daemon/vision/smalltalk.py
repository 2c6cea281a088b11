"""A question without a picture: whether a server answers at all, apart from whether its model sees."""

from __future__ import annotations

from typing import Final

from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import ChatReply, ChatRequest

#: The question; servers in tests know it by its words.
QUESTION: Final = "Are you there? Answer with one word."

SYSTEM: Final = "You answer briefly."

#: Tokens for the answer: a model that thinks first gets some way.
MAX_TOKENS: Final = 64


def request() -> ChatRequest:
    """Return the question."""
    return ChatRequest(
        stage=Stage.CAPTION,
        messages=(
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ),
        max_tokens=MAX_TOKENS,
        temperature=0,
        top_p=1,
    )


def is_answer(reply: ChatReply) -> bool:
    """Tell whether anything was said, be it a thought or a refusal."""
    return any((said or "").strip() for said in (reply.text, reply.reasoning, reply.refusal))
