"""Judges what a model answered: text that may be written into a photo, or an error that says what is wrong.

Nothing is repaired by guessing. What is taken off is wrapping (a thinking trace, "Here is a caption:",
quotes, emphasis); an answer that is wrong inside is asked for again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tagger_daemon.errors import ReplyMalformed, ReplyRefused, ReplyRepetitive, ReplyTruncated
from tagger_daemon.model import Stage
from tagger_daemon.sentences import within
from tagger_daemon.vision.entry import ChatReply
from tagger_daemon.vision.keywords import SEPARATORS, clean_keywords
from tagger_daemon.vision.loops import lists_in_circles, runs_in_circles
from tagger_daemon.vision.plain import plain
from tagger_daemon.vision.prompts import DRAFTS_HEADING, FACTS_HEADING, TASK_LABEL

NAMES = {Stage.CAPTION: "a caption", Stage.KEYWORDS: "keywords", Stage.DESCRIPTION: "a description"}

#: Characters of the longest usable answer.
LONGEST = {Stage.CAPTION: 2000, Stage.KEYWORDS: 4000, Stage.DESCRIPTION: 2000}

#: Characters of a caption, as it is asked for. What is longer loses sentences from its end.
LONGEST_CAPTION = 200

#: Characters that are looked at at all, thoughts included: many times what our token caps allow.
LONGEST_ANSWER = 20_000

THINKING = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
#: Some templates open the trace in the prompt, so that the answer holds only its end.
THINKING_END = re.compile(r"\A.*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)

#: How refusals begin. A model that says that it sees no picture was not shown one: no answer of it is of use.
REFUSAL = re.compile(
    r"(?:i['\u2019]m|i am) (?:so |very |really )?(?:sorry|unable|not able|not comfortable|just an?)\b"
    r"|(?:sorry|apologies|unfortunately)[,.!]?\s(?:but )?(?:i|there is no)\b"
    r"|i (?:cannot|can not|will not|apologi[sz]e|(?:can|won)['\u2019]t)\b"
    r"|i (?:do not|don['\u2019]t) (?:see|have|feel)\b"
    r"|as an? (?:ai|artificial|(?:large )?language model)\b"
    r"|(?:there is )?no (?:image|photo|picture) (?:was |is |has been )?(?:attached|provided|visible|shown)\b"
    r"|please (?:provide|upload|attach|share)\b",
    re.IGNORECASE,
)

EMPHASIS = re.compile(r"(?<!\w)([*_`]{1,3})(?=\S)([^*_`\n]+)(?<=\S)\1(?!\w)")
LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}|[-*•]|\d{1,2}[.)])\s+", re.MULTILINE)
PREAMBLE = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|ok)[!.,:]\s+"
    r"|here(?:['\u2019]s| is| are)\b[^:]{0,60}\b(?:caption|description|sentence|paragraph)s?\b[^:]{0,60}:"
    r"|(?:caption|description|title|alt[- ]text|answer)[ \t]*[:\n]",
    re.IGNORECASE,
)
FAREWELL = re.compile(
    r"(?<=[.!?])\s+(?:let me know|i hope|hope (?:this|that|it)|feel free"
    r"|would you like|is there anything)\b[^.!?]*[.!?]?$",
    re.IGNORECASE,
)
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c", "«": "»"}

#: JSON or code at the start; and lines of a list.
STRUCTURE = re.compile(r"\s*(?:```|\{|\[\s*[\"{\[])")
LIST_LINE = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])\s+\S", re.MULTILINE)

#: HTML, control tokens such as <|im_end|>, code, Markdown, addresses.
MARKUP = re.compile(
    r"</?[a-z][^<>]*>|<\||\|>|\[/?INST\]|```|\*\*|__|\]\(|https?://|www\.|mailto:", re.IGNORECASE
)

#: Words of ours, which no photo's text needs.
ECHO = re.compile(
    rf"{re.escape(FACTS_HEADING)}|{re.escape(DRAFTS_HEADING)}|\A{TASK_LABEL}"
    r"|\A(?:write|list|describe|answer)\b.*\b(?:sentences?|keywords?|caption|description)\b",
    re.IGNORECASE,
)
NO_ANSWER = frozenset({"n/a", "na", "none", "null", "unknown", "untitled"})

FENCE = re.compile(r"```\w*\s*(.*?)```", re.DOTALL)
JSON_BODY = re.compile(r"[\[{].*[\]}]", re.DOTALL)
MAX_JSON_DEPTH = 4
#: Under these keys models put one keyword beside its score.
KEYWORD_KEYS = ("keyword", "name", "tag", "label", "term")


def read_text(reply: ChatReply, stage: Stage) -> str:
    """Return the caption or the description: one line of NFC text without wrapping.

    A caption that is longer than 200 characters loses whole sentences from its end.

    Raises:
        ReplyRefused: the model, or a filter before it, declined, or saw no picture.
        ReplyTruncated: the answer did not come to its own end.
        ReplyRepetitive: the answer runs in circles.
        ReplyMalformed: empty, thoughts only, our own instruction, a list or JSON, markup or addresses, or
            longer than 2000 characters; a caption whose first sentence is longer than 200.
    """
    answer = _answer(reply, stage)
    if STRUCTURE.match(answer) or len(LIST_LINE.findall(answer)) > 1:
        raise ReplyMalformed(f"the model gave a list or code instead of {NAMES[stage]}")
    text = _unwrapped(answer)
    _check_refusal(text, stage)
    if not any(letter.isalpha() for letter in text) or text.rstrip(".").casefold() in NO_ANSWER:
        raise ReplyMalformed(f"the model's {stage} says nothing")
    if ECHO.search(text):
        raise ReplyMalformed(f"the model repeated its instruction instead of giving {NAMES[stage]}")
    if MARKUP.search(text):
        raise ReplyMalformed(f"the model's {stage} contains markup or a web address")
    if runs_in_circles(text):
        raise ReplyRepetitive(f"the model's {stage} repeats itself over and over")
    if len(text) > LONGEST[stage]:
        raise ReplyMalformed(f"the model's {stage} is longer than {LONGEST[stage]} characters")
    if stage is not Stage.CAPTION:
        return text
    caption = within(text, LONGEST_CAPTION)
    if caption is None:
        raise ReplyMalformed(f"the model's caption is longer than {LONGEST_CAPTION} characters")
    return caption


def read_keywords(reply: ChatReply, *, limit: int) -> tuple[str, ...]:
    """Return the cleaned keywords, at least one and at most `limit`, best first.

    Read are JSON (an array, or an object that holds some; fenced or not), lines, bullets, numbering, commas.

    Raises:
        ReplyRefused, ReplyTruncated, ReplyRepetitive: as for `read_text`.
        ReplyMalformed: there is no usable keyword, or the answer is longer than 4000 characters.
    """
    stage = Stage.KEYWORDS
    answer = _answer(reply, stage)
    _check_refusal(plain(answer), stage)
    if len(answer) > LONGEST[stage]:
        raise ReplyMalformed(f"the model's list of keywords is longer than {LONGEST[stage]} characters")
    words = _listed(answer)
    if lists_in_circles([item for word in words for item in SEPARATORS.split(word) if item.strip()]):
        raise ReplyRepetitive("the model lists the same keywords over and over")
    keywords = clean_keywords(words, limit=limit)
    if not keywords:
        raise ReplyMalformed("the model's answer contains no usable keyword")
    return keywords


def _answer(reply: ChatReply, stage: Stage) -> str:
    """Return what the model said after its thoughts, if it came to its own end."""
    if reply.refusal or reply.finish_reason == "content_filter":
        raise ReplyRefused(f"the model declined to give {NAMES[stage]}")
    if reply.finish_reason == "repetition":  # vLLM's own detector of loops
        raise ReplyRepetitive(f"the server stopped the model, which repeated itself in the {stage}")
    if reply.finish_reason != "stop":
        reason = plain(reply.finish_reason or "none")[:40]
        raise ReplyTruncated(f"the model did not finish the {stage} (finish reason: {reason})")
    if len(reply.text) > LONGEST_ANSWER:
        raise ReplyMalformed(f"the model's answer is far too long for {NAMES[stage]}")
    answer = THINKING_END.sub("", THINKING.sub("", reply.text))
    if plain(answer):
        return answer
    if reply.reasoning or plain(reply.text):
        raise ReplyMalformed(
            f"the model only thought and did not give {NAMES[stage]}; switch its thinking off"
        )
    raise ReplyMalformed(f"the model gave an empty answer instead of {NAMES[stage]}")


def _check_refusal(text: str, stage: Stage) -> None:
    if REFUSAL.match(text):
        raise ReplyRefused(f"the model declined to give {NAMES[stage]}, or says that it saw no picture")


def _unwrapped(answer: str) -> str:
    """Return the text on one line, without what models put around it."""
    text = LINE_MARK.sub("", EMPHASIS.sub(r"\2", answer)).strip()
    while match := PREAMBLE.match(text):
        text = text[match.end() :].lstrip()
    text = FAREWELL.sub("", plain(text))
    inner = text[1:-1]
    is_quoted = len(text) > 2 and QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(inner)
    return inner.strip() if is_quoted else text


def _listed(answer: str) -> list[str]:
    """Return the items of an answer: what its JSON holds, or else its lines."""
    fenced = FENCE.search(answer)
    body = fenced[1] if fenced else answer
    found = JSON_BODY.search(body)
    try:
        words = list(_words(json.loads(found[0]), MAX_JSON_DEPTH)) if found else []
    except (ValueError, RecursionError):
        words = []  # brackets that are not JSON: cleaning takes them off
    return words or body.splitlines()


def _words(value: Any, depth: int) -> Iterator[str]:
    """Yield the keywords in a JSON value, in order, whichever of the usual shapes it has."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for item in value:
            yield from _words(item, depth - 1)
    elif depth and isinstance(value, dict):
        named = next((value[key] for key in KEYWORD_KEYS if key in value), None)
        for item in value.values() if named is None else (named,):
            yield from _words(item, depth - 1)
