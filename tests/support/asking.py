"""What the tests of asking share: an entry of the registry, and one request."""

from __future__ import annotations

from typing import Any

from support.model_server import DEFAULT_MODEL
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import ChatRequest, Entry

#: Seconds after which a test gives up waiting for something that should have come long ago.
PATIENCE = 30


def an_entry(*urls: str, **changes: Any) -> Entry:
    """Return an entry for the scripted server's model at these base URLs."""
    entry = Entry(
        name="vlm", backend="vllm", dialect="vllm", served_model=DEFAULT_MODEL, endpoints=urls, vision=True
    )
    return entry.evolve(**changes)


def a_request(stage: Stage = Stage.CAPTION, **changes: Any) -> ChatRequest:
    """Return a request as the prompts make it, without a picture."""
    request = ChatRequest(
        stage=stage,
        messages=(
            {"role": "system", "content": "You describe photos."},
            {"role": "user", "content": [{"type": "text", "text": f"Task: {stage}"}]},
        ),
        max_tokens=120,
        temperature=0.2,
        top_p=0.9,
    )
    return request.evolve(**changes)
