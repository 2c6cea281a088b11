"""What a model is asked: messages of one shape for all stages, so that servers reuse their work on the photo.

A server caches the common beginning of requests. The system text, the picture and the facts are therefore the
same in all three stages, byte for byte, and what differs comes last.

    system   the profile's text
    user     the picture, then:  facts block, drafts block (description only), task block

Language and form of the answer are part of the task, because those of the keywords may be others.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from tagger_daemon.model import Draft, Stage
from tagger_daemon.vision.dialects import DIALECTS
from tagger_daemon.vision.entry import ChatRequest, Entry, Output, Profile

FACTS_HEADING = "Facts about this photo (use one only if it fits what is visible):"
DRAFTS_HEADING = "Drafts by an earlier step (they may be wrong):"
TASK_LABEL = "Task:"

#: What a profile's texts may leave to us to fill in.
MAX_KEYWORDS = "{max_keywords}"
LANGUAGE = "{language}"

#: For a second attempt. A loop is deterministic when the decoding is nearly greedy; chance leads out of it.
RETRY_TEMPERATURE = 0.7

#: Room for one keyword and its line end: a profile's cap must not cut off a longer list that was asked for.
TOKENS_A_KEYWORD = 8

#: What is said of the form, behind the instruction. Texts need no words: "a sentence" is one.
FORMS: Mapping[Output, str] = {
    "text": "",
    "lines": "One keyword per line and nothing else.",
    "json": 'Answer with one JSON object of this form and nothing else: {"keywords": ["...", "..."]}',
}

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
    blocks = (
        _block(FACTS_HEADING, facts),
        _block(DRAFTS_HEADING, _draft_lines(draft) if stage is Stage.DESCRIPTION else ()),
        f"{TASK_LABEL} {task_text(stage, profile, max_keywords=max_keywords)}",
    )
    temperature = prompt.temperature if attempt == 1 else max(prompt.temperature, RETRY_TEMPERATURE)
    constrained = prompt.output == "json" and entry.json_schema and DIALECTS[entry.dialect].json_schema
    system = system_text(profile, max_keywords=max_keywords)
    return ChatRequest(
        stage=stage,
        messages=_messages(system, picture_url, "\n\n".join(block for block in blocks if block)),
        max_tokens=max(prompt.max_tokens, TOKENS_A_KEYWORD * max_keywords if stage is Stage.KEYWORDS else 0),
        temperature=temperature,
        top_p=prompt.top_p,
        presence_penalty=prompt.presence_penalty,
        response_format=KEYWORDS_FORMAT if constrained else None,
    )


def system_text(profile: Profile, *, max_keywords: int) -> str:
    """Return what is said before the picture, the same for every stage."""
    # The texts' language, also for the keywords: what comes before the picture must not differ.
    return _filled(profile.system, profile.stages[Stage.CAPTION].language, max_keywords)


def task_text(stage: Stage, profile: Profile, *, max_keywords: int) -> str:
    """Return what a stage is told to do: the profile's words, then language and form of the answer."""
    prompt = profile.stages[stage]
    what = "the keywords" if stage is Stage.KEYWORDS else ""
    language = "" if LANGUAGE in prompt.instruction else f"Write {what}".rstrip() + f" in {prompt.language}."
    words = (_filled(prompt.instruction, prompt.language, max_keywords), language, FORMS[prompt.output])
    return " ".join(part for part in words if part)


def _filled(text: str, language: str, max_keywords: int) -> str:
    return text.replace(MAX_KEYWORDS, str(max_keywords)).replace(LANGUAGE, language)


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
