"""The canary: two drawn pictures and one question, which tell whether a server's model sees what it is shown.

Asked before a server's first photo, and whenever the server is no longer what it was. Each answer tells of a
fault that real servers have: a projector that was not loaded, a template that drops the picture, a cache that
confuses two pictures, a model that thinks aloud.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from PIL import Image, ImageDraw

from tagger_daemon.model import Stage
from tagger_daemon.vision.dialects import DIALECTS
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry
from tagger_daemon.vision.plain import plain
from tagger_daemon.vision.prompts import picture_url
from tagger_daemon.vision.thoughts import answer_of, has_trace
from tagger_daemon.vision.wire import one_line

#: The question; servers in tests know a canary by it.
CANARY: Final = (
    "Task: What is the colour of the large disc in this picture? Write one short sentence in English that"
    " names its colour."
)

SYSTEM: Final = "You describe pictures."

#: Tokens for the answer: several times a short sentence.
MAX_TOKENS: Final = 64

#: Edge of the pictures, pixels: a multiple of the patches (14, 16, 28, 32) that vision models cut them into.
EDGE: Final = 448

#: The discs' colours, by the name that everybody gives them: none that a model could take for the other, or
#: for a neighbour's.
COLOURS: Final[Mapping[str, tuple[int, int, int]]] = {"red": (214, 24, 32), "blue": (24, 56, 214)}
GROUND: Final = (244, 243, 238)

_FIRST, _SECOND = COLOURS

#: Characters of an answer that are judged.
_LONGEST: Final = 500

MIXED_UP: Final = (
    "it mixes pictures up: it answers about one as if it were shown another. Its cache confuses them, and"
    " would give photos the words of others"
)
BY_CHANCE: Final = (
    "it mixes pictures up, or answers by chance: what it says of a picture that it is shown again is no"
    " more like what it said before than what it said of another"
)

#: What an answer may call a disc.
_COLOUR_NAMES: Final = re.compile(
    r"\b(red|blue|green|yellow|orange|purple|violet|pink|brown|black|white|gr[ae]y|turquoise|cyan|magenta)\b",
    re.IGNORECASE,
)

#: Characters that a model which need not make sense may fill, of those that it would else fill without end.
#: Others get no bound: several servers' grammars become slow, or forbid quotation marks.
BOUND: Final = 48


def draw(colour: str) -> bytes:
    """Return a JPEG of a large disc of one of the `COLOURS` on a pale ground, the same bytes every time."""
    picture = Image.new("RGB", (EDGE, EDGE), GROUND)
    margin = EDGE // 8
    ImageDraw.Draw(picture).ellipse((margin, margin, EDGE - margin, EDGE - margin), fill=COLOURS[colour])
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return jpeg.getvalue()


def requests(entry: Entry) -> tuple[ChatRequest, ChatRequest]:
    """Return the question about the first picture, and the same about the second."""
    first, second = (
        ChatRequest(
            stage=Stage.CAPTION,
            messages=_messages(draw(colour)),
            max_tokens=MAX_TOKENS,
            temperature=0,
            top_p=1,
            response_format=_format(entry) if _as_json(entry) else None,
        )
        for colour in COLOURS
    )
    return first, second


def faults(entry: Entry, first: ChatReply, second: ChatReply, again: ChatReply) -> tuple[str, ...]:
    """Judge the answers; return what is wrong, nothing if all is well.

    Args:
        entry: says whether colours have to be named, or the pictures only told apart.
        first: the answer about the first picture.
        second: that about the second, asked at the same time.
        again: that about the first once more, asked when both were there.
    """
    replies = (first, second, again)
    as_json = _as_json(entry)
    if unsound := tuple(dict.fromkeys(fault for reply in replies if (fault := _unsound(reply, as_json)))):
        return unsound
    texts = tuple(_text(reply, as_json) or "" for reply in replies)
    if texts[0] == texts[1]:
        return (f"it says the same of two pictures, so it does not see them{_why_unseen(replies)}",)
    if entry.canary == "differences":
        return _apart(*texts) or _costless(replies)
    return _named(*texts, why=_why_unseen(replies))


def is_slow(again: ChatReply) -> bool:
    """Tell whether a server that counts what it kept had not kept the picture that it was just shown."""
    if again.cached_tokens is None:
        return False
    # What stands before the picture is always kept; it is far from half of the prompt.
    return again.cached_tokens == 0 or 2 * again.cached_tokens < (again.prompt_tokens or 0)


def _as_json(entry: Entry) -> bool:
    return entry.json_schema and DIALECTS[entry.dialect].json_schema


def _format(entry: Entry) -> Mapping[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    if entry.canary == "differences":
        text["maxLength"] = BOUND
    schema = {
        "type": "object",
        "properties": {"colour": text},
        "required": ["colour"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "colour", "strict": True, "schema": schema}}


def _messages(jpeg: bytes) -> tuple[Mapping[str, Any], ...]:
    """Return a conversation of the shape that photos' have."""
    content = [
        {"type": "image_url", "image_url": {"url": picture_url(jpeg)}},
        {"type": "text", "text": CANARY},
    ]
    return ({"role": "system", "content": SYSTEM}, {"role": "user", "content": content})


def _unsound(reply: ChatReply, as_json: bool) -> str:
    """Return what is wrong with an answer whatever it says, nothing if it is sound."""
    if (reply.reasoning or "").strip() or has_trace(reply.text):
        without = "" if reply.text else " and gives no answer"
        return (
            f"it thinks aloud{without}; switch thinking off, at the server or in serving.extra_body, or take"
            " a model that does not"
        )
    if reply.finish_reason != "stop":
        reason = one_line(reply.finish_reason or "none")[:40]
        return f"it does not end a short answer within {MAX_TOKENS} tokens (finish reason: {reason})"
    text = _text(reply, as_json)
    if text is None:
        return "it does not keep to a JSON schema; set serving.json_schema to false"
    return "" if text else "it gives an empty answer"


def _text(reply: ChatReply, as_json: bool) -> str | None:
    """Return what was said; None where it should be in JSON and is not."""
    if not as_json:
        return plain(answer_of(reply.text))[:_LONGEST]
    try:
        said = json.loads(answer_of(reply.text))
    except (ValueError, RecursionError):
        return None
    colour = said.get("colour") if isinstance(said, dict) else None
    return plain(colour)[:_LONGEST] if isinstance(colour, str) else None


def _named(first: str, second: str, again: str, *, why: str) -> tuple[str, ...]:
    """Judge whether each disc got its colour's name, and not the other's."""
    seen = tuple(_which(text) for text in (first, second, again))
    if seen == ({_FIRST}, {_SECOND}, {_FIRST}):
        return ()
    if seen[:2] == ({_SECOND}, {_FIRST}) or seen == ({_FIRST}, {_SECOND}, {_SECOND}):
        return (MIXED_UP,)
    shown = ((_FIRST, first), (_SECOND, second), (_FIRST, again))
    calls = ", ".join(f"a {colour} disc {_words(text)}" for colour, text in shown)
    return (f"it does not see what it is shown: it calls {calls}{why}",)


def _apart(first: str, second: str, again: str) -> tuple[str, ...]:
    """Judge whether a picture that is shown again gets about the answer that it got before."""
    return () if _likeness(again, first) > _likeness(again, second) else (BY_CHANCE,)


def _costless(replies: Sequence[ChatReply]) -> tuple[str, ...]:
    why = _why_unseen(replies)
    return (f"it cannot see pictures{why}",) if why else ()


def _why_unseen(replies: Sequence[ChatReply]) -> str:
    """Return, for the end of a sentence, that the picture was no part of the prompt, if the count says so.

    Without the picture, question and template come to less than a token for two characters; the smallest
    picture of any model costs 64 tokens. Where colours are named rightly the count does not matter: some
    servers leave pictures out of it.
    """
    told = [reply.prompt_tokens for reply in replies[:2] if reply.prompt_tokens is not None]
    if not told or max(told) > len(SYSTEM + CANARY) // 2:
        return ""
    return f" (its prompt had {max(told)} tokens: the picture was left out)"


def _which(text: str) -> set[str]:
    return {name for name in _names(text) if name in COLOURS}


def _words(text: str) -> str:
    """Return how a disc was called, in words of ours: a model's own are not passed on."""
    return " and ".join(dict.fromkeys(_names(text))) or "no colour"


def _names(text: str) -> list[str]:
    return [name.lower() for name in _COLOUR_NAMES.findall(text)]


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.casefold(), other.casefold(), autojunk=False).ratio()
