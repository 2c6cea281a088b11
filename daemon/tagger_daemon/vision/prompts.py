"""What a model is asked: messages of one shape for all stages, so that servers reuse their work on the photo.

A server caches the common beginning of requests. The system text, the picture and the facts are therefore the
same in all three stages, byte for byte, and what differs comes last.

    system   the profile's text
    user     the picture, then:  facts block, drafts block (description only), task block
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from tagger_daemon.model import Draft, Stage
from tagger_daemon.vision.entry import ChatRequest, Entry, Profile

FACTS_HEADING = "Facts about this photo (use one only if it fits what is visible):"
DRAFTS_HEADING = "Drafts by an earlier step (they may be wrong):"
TASK_LABEL = "Task:"

#: For a second attempt. A loop is deterministic when the decoding is nearly greedy; chance leads out of it.
RETRY_TEMPERATURE = 0.7

#: Room for one keyword and its line end: a profile's cap must not cut off a longer list that was asked for.
TOKENS_A_KEYWORD = 8

#: Without bounds on lengths or counts, which make several servers' grammars slow or endless.
KEYWORDS_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "keywords",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"keywords": {"type": "array", "items": {"type": "string"}}},
            "required": ["keywords"],
            "additionalProperties": False,
        },
    },
}


def picture_url(jpeg: bytes) -> str:
    """Return the data URL of a JPEG; make it once a photo, as all stages must send the same bytes."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def build_request(
    stage: Stage,
    *,
    picture_url: str,
    facts: Sequence[str],
    draft: Draft,
    profile: Profile,
    entry: Entry,
    max_keywords: int,
    attempt: int = 1,
) -> ChatRequest:
    """Return the request for one stage of one photo.

    Args:
        facts: lines as `facts.fact_lines` gives them; the same for every stage.
        draft: the answers so far; only the description stage is told of them.
        attempt: 1 for the first request; later ones are sampled more freely.
    """
    prompt = profile.stages[stage]
    instruction = prompt.instruction.replace("{max_keywords}", str(max_keywords))
    blocks = (
        _block(FACTS_HEADING, facts),
        _block(DRAFTS_HEADING, _draft_lines(draft) if stage is Stage.DESCRIPTION else ()),
        f"{TASK_LABEL} {instruction}",
    )
    temperature = prompt.temperature if attempt == 1 else max(prompt.temperature, RETRY_TEMPERATURE)
    as_json = stage is Stage.KEYWORDS and entry.json_schema
    return ChatRequest(
        stage=stage,
        messages=_messages(profile.system, picture_url, "\n\n".join(block for block in blocks if block)),
        max_tokens=max(prompt.max_tokens, TOKENS_A_KEYWORD * max_keywords if stage is Stage.KEYWORDS else 0),
        temperature=temperature,
        top_p=prompt.top_p,
        response_format=KEYWORDS_FORMAT if as_json else None,
    )


def _messages(system: str, picture_url: str, text: str) -> tuple[Mapping[str, Any], ...]:
    """Return the conversation; the picture comes first, where every server's template can put it."""
    content = [{"type": "image_url", "image_url": {"url": picture_url}}, {"type": "text", "text": text}]
    return ({"role": "system", "content": system}, {"role": "user", "content": content})


def _block(heading: str, lines: Sequence[str]) -> str:
    return "\n".join((heading, *(f"- {line}" for line in lines))) if lines else ""


def _draft_lines(draft: Draft) -> tuple[str, ...]:
    caption = (f"Caption: {draft.caption}",) if draft.caption else ()
    keywords = (f"Keywords: {', '.join(draft.keywords)}",) if draft.keywords else ()
    return caption + keywords
