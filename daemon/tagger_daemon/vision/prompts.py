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
from tagger_daemon.vision.again import AS_THE_PROFILE_SAYS, Change
from tagger_daemon.vision.dialects import DIALECTS
from tagger_daemon.vision.entry import ChatRequest, Entry, Profile, StagePrompt

FACTS_HEADING = "Facts about this photo (use one only if it fits what is visible):"
DRAFTS_HEADING = "Drafts by an earlier step (they may be wrong):"
TASK_LABEL = "Task:"

#: What a profile's texts may leave to us to fill in.
MAX_KEYWORDS = "{max_keywords}"
LANGUAGE = "{language}"

#: Asked instead of the profile's instruction where that was declined, mostly for the sake of people in it.
NEUTRAL: Mapping[Stage, str] = {
    Stage.CAPTION: """Write a caption for this picture: one plain sentence that says what can be \
seen. Of people, say only what they do, not who they are.""",
    Stage.KEYWORDS: """List up to {max_keywords} keywords for what can be seen in this picture, \
each in one to three plain words. Of people, say only what they do, not who they are.""",
    Stage.DESCRIPTION: """Write a description of this picture: two or three plain sentences that say what \
can be seen. Of people, say only what they do and wear, not who they are.""",
}

#: Room for one keyword and its line end: a profile's cap must not cut off a longer list that was asked for.
TOKENS_A_KEYWORD = 8

#: What is said of the form where JSON is wanted, behind the instruction.
AS_JSON = 'Answer with one JSON object of this form and nothing else: {{"{name}": {value}}}'


def _schema(stage: Stage) -> Mapping[str, Any]:
    """Return what a server's grammar is to hold an answer to.

    Without bounds on lengths or counts, which make several servers' grammars slow or endless.
    """
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {stage.value: {"type": "array", "items": text} if stage is Stage.KEYWORDS else text},
        "required": [stage.value],
        "additionalProperties": False,
    }
    return {
        "type": "json_schema",
        "json_schema": {"name": stage.value, "strict": True, "schema": schema},
    }


SCHEMAS: Mapping[Stage, Mapping[str, Any]] = {stage: _schema(stage) for stage in Stage}


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
    change: Change = AS_THE_PROFILE_SAYS,
) -> ChatRequest:
    """Return the request for one stage of one photo.

    Args:
        facts: lines as `facts.fact_lines` gives them; the same for every stage.
        draft: the answers so far; only the description stage is told of them.
        change: what is to be different from what the profile says, on a second attempt.
    """
    prompt = profile.stages[stage]
    blocks = (
        _block(FACTS_HEADING, facts),
        _block(DRAFTS_HEADING, _draft_lines(draft) if stage is Stage.DESCRIPTION else ()),
        f"{TASK_LABEL} {task_text(stage, profile, max_keywords=max_keywords, change=change)}",
    )
    dialect = DIALECTS[entry.dialect]
    constrained = prompt.output == "json" and entry.json_schema and dialect.json_schema
    cap = max(prompt.max_tokens, TOKENS_A_KEYWORD * max_keywords if stage is Stage.KEYWORDS else 0)
    system = system_text(profile, max_keywords=max_keywords)
    return ChatRequest(
        stage=stage,
        messages=_messages(system, picture_url, "\n\n".join(block for block in blocks if block)),
        max_tokens=cap * change.more_tokens,
        temperature=max(prompt.temperature, change.temperature),
        top_p=prompt.top_p,
        presence_penalty=_penalty(prompt, change) if dialect.presence_penalty else None,
        response_format=SCHEMAS[stage] if constrained else None,
    )


def told(stage: Stage, profile: Profile, *, max_keywords: int, change: Change = AS_THE_PROFILE_SAYS) -> str:
    """Return all that a request says in words of ours and of the profile, and that no answer is to say back.

    What is known of the photo is not among it, nor are the drafts: an answer may well repeat those.
    """
    task = task_text(stage, profile, max_keywords=max_keywords, change=change)
    system = system_text(profile, max_keywords=max_keywords)
    return "\n".join((system, FACTS_HEADING, DRAFTS_HEADING, task))


def system_text(profile: Profile, *, max_keywords: int) -> str:
    """Return what is said before the picture, the same for every stage."""
    # The texts' language, also for the keywords: what comes before the picture must not differ.
    return _filled(profile.system, profile.stages[Stage.CAPTION].language, max_keywords)


def task_text(
    stage: Stage, profile: Profile, *, max_keywords: int, change: Change = AS_THE_PROFILE_SAYS
) -> str:
    """Return what a stage is told to do: the profile's words, then language and form of the answer."""
    prompt = profile.stages[stage]
    instruction = NEUTRAL[stage] if change.neutral else prompt.instruction
    what = "the keywords" if stage is Stage.KEYWORDS else ""
    language = "" if LANGUAGE in instruction else f"Write {what}".rstrip() + f" in {prompt.language}."
    words = (_filled(instruction, prompt.language, max_keywords), language, _form(stage, prompt))
    return " ".join(part for part in words if part)


def _form(stage: Stage, prompt: StagePrompt) -> str:
    """Return what is said of the form. Texts as such need no words: "a sentence" is one."""
    if prompt.output == "json":
        return AS_JSON.format(name=stage, value='["...", "..."]' if stage is Stage.KEYWORDS else '"..."')
    return "One keyword per line and nothing else." if prompt.output == "lines" else ""


def _penalty(prompt: StagePrompt, change: Change) -> float | None:
    penalties = [one for one in (prompt.presence_penalty, change.presence_penalty) if one is not None]
    return max(penalties, default=None)


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
