"""Judges what a model answered: text that may be written into a photo, or an error that says what is wrong.

Nothing is repaired by guessing. What is taken off is wrapping (a thinking trace, "Here is a caption:",
quotes, emphasis); an answer that is wrong inside is asked for again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tagger_daemon.errors import ReplyMalformed, ReplyRefused, ReplyRepetitive, ReplyTruncated
from tagger_daemon.model import Stage
from tagger_daemon.sentences import within
from tagger_daemon.vision.echo import is_echo
from tagger_daemon.vision.entry import ChatReply
from tagger_daemon.vision.garble import is_garbled, is_noise
from tagger_daemon.vision.keywords import COMMAS, LABEL, SPELT_LINE_END, clean_keywords, is_prose
from tagger_daemon.vision.loops import is_blank_without_end, lists_in_circles, runs_in_circles
from tagger_daemon.vision.plain import plain
from tagger_daemon.vision.prompts import DRAFTS_HEADING, FACTS_HEADING, TASK_LABEL
from tagger_daemon.vision.refusal import is_refusal, is_unfilled
from tagger_daemon.vision.script import is_foreign
from tagger_daemon.vision.thoughts import answer_of, thinks_aloud

NAMES = {Stage.CAPTION: "a caption", Stage.KEYWORDS: "keywords", Stage.DESCRIPTION: "a description"}

#: Characters of the longest usable answer.
LONGEST = {Stage.CAPTION: 2000, Stage.KEYWORDS: 4000, Stage.DESCRIPTION: 2000}

#: Characters of a caption, as it is asked for. What is longer loses sentences from its end.
LONGEST_CAPTION = 200

#: Characters that are looked at at all, thoughts included: many times what our token caps allow.
LONGEST_ANSWER = 20_000

EMPHASIS = re.compile(r"(?<!\w)([*_`]{1,3})(?=\S)([^*_`\n]+)(?<=\S)\1(?!\w)")
#: Before a line. Of numbers only the first of a list, which it is: "3. Mai" and "-5 °C" are what is shown.
LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}|[-*•](?!\s+\d+\s*°)|1[.)])\s+", re.MULTILINE)
RULE = re.compile(r"^[ \t]*[-*_=]{3,}[ \t]*$", re.MULTILINE)
PREAMBLE = re.compile(
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok)(?:[!.:]\s+(?-i:(?![a-z]))|,\s+)"
    r"|(?:alright|great)!\s+(?-i:(?![a-z]))"
    r"|here(?:['\u2019]s| is| are) (?:an?|the|my|your|some|one|two|three)\b[^:]{0,60}"
    r"\b(?:caption|description|sentence|paragraph)s?(?: (?:for|of|that)\b[^:]{0,60})?:"
    r"|(?:(?:alright, )?here(?: you go|['\u2019]s my take)|as requested):"
    r"|(?:an?|one|my) (?:(?:possible|suitable|fitting|factual|short|concise|suggested|descriptive) )*"
    r"(?:caption|description|sentence)(?: for [^:]{0,40})?(?: (?:could|would|might) be| is)?:"
    r"|(?:based on|from) (?:the|this|your) (?:image|photo|picture)(?:,[^:.]{0,60})?:"
    r"|(?:hier (?:ist|sind)|voici|aquí (?:está|tienes?)|aqui está|ecco|hier is)\b[^:.]{0,80}:"
    r"|(?:(?:photo |image |final |short )?(?:caption|description|title|alt[- ]text|answer|output|response)"
    r"|assistant|bildunterschrift|beschreibung|titel|légende|titre|pie de foto|descripción|título|didascalia"
    r"|描述|标题|説明|キャプション)[ \t]*[:\uff1a\n]",
    re.IGNORECASE,
)
#: What says of a picture that it is one. Only before an article or a number: what stays is a whole phrase.
SHOWN = re.compile(
    r"(?:this is an? (?:image|photo|photograph|picture) of|the (?:image|photo|photograph|picture) is of"
    r"|(?:in )?(?:the|this) (?:image|photo|photograph|picture)(?: here)? (?:shows|depicts|features|captures"
    r"|displays|presents|portrays)|in (?:the|this) (?:image|photo|photograph|picture),?"
    r"(?: (?:we|you|i) (?:can )?see| there (?:is|are))?)"
    r"\s+(?=(?:an?|the|one|two|three|four|five|several|some|many)\s)",
    re.IGNORECASE,
)
FAREWELL = re.compile(
    r"(?<=[.!?])\s+(?:let me know (?:if|what|when|whether)|i hope (?:this|that|it)|hope (?:this|that|it)"
    r"|feel free to (?:ask|let|reach|use|adjust|modify|change)|would you like (?:me|another|a different|to)"
    r"|is there anything)\b[^.!?]*[.!?]?$",
    re.IGNORECASE,
)
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c", "«": "»"}

#: JSON or code at the start; and lines of a list.
STRUCTURE = re.compile(r"\s*(?:```|\{|\[\s*[\"{\[])")
#: Another field than the one that was asked for, or a note about it, on a line of its own or behind the text.
OTHER_FIELD = re.compile(
    r"(?:^|(?<=[.!?])\s)[ \t#*_(\[-]*(?:task|title|headline|caption|description|alt[- ]text|keywords?|tags"
    r"|note|season|part of day|kind of shot|(?:option|caption|version|alternative) \d{1,2}|character count"
    r"|word count)[ \t*_]*:"
    r"|(?:[(\[]|(?<=[.!?])\s+)\d{1,3} (?:characters|chars|words)\b"
    r"|(?<=[.!?])\s+this (?:caption|sentence|description|title) ",
    re.IGNORECASE | re.MULTILINE,
)
LIST_LINE = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])\s+\S", re.MULTILINE)

#: HTML, control tokens such as <|im_end|>, code, Markdown, addresses, characters that are spelt out, TeX.
MARKUP = re.compile(
    r"</?[a-z][^<>]*>|<\||\|>|\[/?(?:INST|THINK)\]|```|\*\*|__|\]\(|[a-z]://|www\.|mailto:"
    r"|[\w.+-]{1,64}@[\w-]+\.\w|&(?:[a-z]{2,8}|#x?[0-9a-f]{1,6});|\\(?:u[0-9a-f]{4}|[a-z]{2,12}\{)",
    re.IGNORECASE,
)

#: Words of ours, which no photo's text needs.
ECHO = re.compile(
    rf"{re.escape(FACTS_HEADING)}|{re.escape(DRAFTS_HEADING)}|\A(?:{TASK_LABEL}|keywords?:)"
    r"|\A(?:write|list|describe|answer) (?:an?|one|two|three|up to|the|this|in|with|exactly)\b"
    r"[^.,;:\"\u201c]*\b(?:sentences?|keywords?|caption|description)\b",
    re.IGNORECASE,
)
NO_ANSWER = frozenset({"n/a", "na", "none", "null", "unknown", "untitled"})

FENCE = re.compile(r"```\w*\s*(.*?)(?:```|\Z)", re.DOTALL)
BRACKET = re.compile(r"[\[{]")
MAX_JSON_DEPTH = 4
#: Brackets that are tried as the beginning of JSON, one after the other; in prose none of them is.
MOST_BRACKETS = 50
#: Under these keys models put the list, beside a caption perhaps; and one keyword, beside its score.
LIST_KEYS = frozenset({"keywords", "keyword_list", "tags", "labels", "terms"})
KEYWORD_KEYS = ("keyword", "name", "tag", "label", "term", "text", "word")


def read_text(reply: ChatReply, stage: Stage, *, language: str = "en", instruction: str = "") -> str:
    """Return the caption or the description: one line of NFC text without wrapping.

    A caption that is longer than 200 characters loses whole sentences from its end.

    Args:
        language: BCP 47, that the text was asked for in.
        instruction: all that the model was told in words of ours and of the profile.

    Raises:
        ReplyRefused: the model, or a filter before it, declined, or saw no picture.
        ReplyTruncated: the answer did not come to its own end.
        ReplyRepetitive: the answer runs in circles, or into blanks.
        ReplyMalformed: empty, thoughts only, the instruction, a list, markup or addresses, garbled, in
            another script than its language's, or longer than 2000 characters; a caption whose first sentence
            is longer than 200.
    """
    answer = SPELT_LINE_END.sub("\n", _text_of(_answer(reply, stage), stage))
    _check_whole(answer, stage)
    if STRUCTURE.match(answer) or len(LIST_LINE.findall(answer)) > 1:
        raise ReplyMalformed(f"the model gave a list or code instead of {NAMES[stage]}")
    unwrapped = _unwrapped(answer)
    text = _as_a_phrase(_unquoted(FAREWELL.sub("", plain(unwrapped))))
    _check_refusal(f"{text}\n{answer}", stage)
    if is_noise(text) or not re.search(r"[^\W\d_]", text) or text.rstrip(".").casefold() in NO_ANSWER:
        raise ReplyMalformed(f"the model's {stage} says nothing")
    if OTHER_FIELD.search(unwrapped):
        raise ReplyMalformed(f"the model gave something else beside {NAMES[stage]}")
    if ECHO.search(text) or is_unfilled(text) or is_echo(text, instruction):
        raise ReplyMalformed(f"the model repeated its instruction instead of giving {NAMES[stage]}")
    if MARKUP.search(text):
        raise ReplyMalformed(f"the model's {stage} contains markup or an address")
    if runs_in_circles(text):
        raise ReplyRepetitive(f"the model's {stage} repeats itself over and over")
    _check_writing(text, stage, language)
    if len(text) > LONGEST[stage]:
        raise ReplyMalformed(f"the model's {stage} is longer than {LONGEST[stage]} characters")
    if stage is not Stage.CAPTION:
        return text
    caption = within(text, LONGEST_CAPTION)
    if caption is None:
        raise ReplyMalformed(f"the model's caption is longer than {LONGEST_CAPTION} characters")
    return caption


def read_keywords(
    reply: ChatReply, *, limit: int, language: str = "en", instruction: str = ""
) -> tuple[str, ...]:
    """Return the cleaned keywords, at least one and at most `limit`, best first.

    Read are JSON (arrays, or objects that hold some; fenced, in prose, several), lines, bullets, numbering,
    commas.

    Args:
        language, instruction: as for `read_text`.

    Raises:
        ReplyRefused, ReplyTruncated, ReplyRepetitive: as for `read_text`.
        ReplyMalformed: there is no usable keyword, the answer is prose, thoughts, the instruction, garbled,
            in another script than its language's, or longer than 4000 characters.
    """
    stage = Stage.KEYWORDS
    answer = _answer(reply, stage)
    _check_refusal(answer, stage)
    if len(answer) > LONGEST[stage]:
        raise ReplyMalformed(f"the model's list of keywords is longer than {LONGEST[stage]} characters")
    words = _listed(answer)
    _check_whole(" ".join(words), stage)
    if lists_in_circles(_items(words)):
        raise ReplyRepetitive("the model lists the same keywords over and over")
    if is_prose(words):
        raise ReplyMalformed("the model gave prose instead of keywords")
    keywords = clean_keywords(words, limit=limit, language=language)
    # Behind a label, because "Keywords for this photo:" is said by models that were asked for just that.
    said = " ".join(LABEL.split(word)[-1] for word in words)
    if is_unfilled(answer) or is_echo(said, instruction):
        raise ReplyMalformed("the model repeated its instruction instead of giving keywords")
    if not keywords:
        raise ReplyMalformed("the model's answer contains no usable keyword")
    _check_writing(" ".join(keywords), stage, language)
    return keywords


def _answer(reply: ChatReply, stage: Stage) -> str:
    """Return what the model said after its thoughts, if it came to its own end."""
    if reply.refusal or reply.finish_reason == "content_filter":
        raise ReplyRefused(f"the model declined to give {NAMES[stage]}")
    if reply.finish_reason == "repetition":  # vLLM's own detector of loops
        raise ReplyRepetitive(f"the server stopped the model, which repeated itself in the {stage}")
    if reply.finish_reason != "stop":
        raise _unfinished(reply, stage)
    if len(reply.text) > LONGEST_ANSWER:
        raise ReplyMalformed(f"the model's answer is far too long for {NAMES[stage]}")
    answer = answer_of(reply.text)
    if not plain(answer):
        if reply.reasoning or plain(reply.text):
            raise _only_thoughts(stage)
        raise ReplyMalformed(f"the model gave an empty answer instead of {NAMES[stage]}")
    if thinks_aloud(answer):
        raise _only_thoughts(stage)
    return answer


def _unfinished(reply: ChatReply, stage: Stage) -> ReplyMalformed | ReplyRepetitive | ReplyTruncated:
    """Return why an answer has no end: what was cut off may be no answer, or one that would never end."""
    answer = answer_of(reply.text[:LONGEST_ANSWER])
    if is_blank_without_end(reply.text):
        return ReplyRepetitive(f"the model ran into blanks instead of giving {NAMES[stage]}")
    if runs_in_circles(answer) or lists_in_circles(_items(answer.splitlines())):
        return ReplyRepetitive(f"the model repeats itself over and over instead of giving {NAMES[stage]}")
    if reply.finish_reason == "length" and not plain(answer) and (reply.reasoning or plain(reply.text)):
        return _only_thoughts(stage)
    reason = plain(reply.finish_reason or "none")[:40]
    return ReplyTruncated(f"the model did not finish the {stage} (finish reason: {reason})")


def _only_thoughts(stage: Stage) -> ReplyMalformed:
    return ReplyMalformed(f"the model only thought and did not give {NAMES[stage]}; switch its thinking off")


def _check_refusal(text: str, stage: Stage) -> None:
    if is_refusal(text):
        raise ReplyRefused(f"the model declined to give {NAMES[stage]}, or says that it saw no picture")


def _check_whole(answer: str, stage: Stage) -> None:
    if is_garbled(answer):
        raise ReplyMalformed(f"the model's answer for {NAMES[stage]} is garbled")


def _check_writing(text: str, stage: Stage, language: str) -> None:
    if is_foreign(text, language):
        raise ReplyMalformed(f"the model did not give {NAMES[stage]} in the script of {language}")


def _unwrapped(answer: str) -> str:
    """Return the text without what models put before it and on its lines."""
    text = LINE_MARK.sub("", RULE.sub("", EMPHASIS.sub(r"\2", answer))).strip()
    start = text
    while match := PREAMBLE.match(text):
        text = text[match.end() :].lstrip()
    return text if text == start else _begun(text)


def _as_a_phrase(text: str) -> str:
    """Return what a text says that a picture shows; a text that says nothing of a picture, as it is."""
    shown = SHOWN.match(text)
    return _begun(text[shown.end() :]) if shown else text


def _begun(text: str) -> str:
    """Return a text that stood in the middle of a sentence; an iPhone keeps its small letter."""
    return text[:1].upper() + text[1:] if text.split(" ", 1)[0].islower() else text


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    is_quoted = len(text) > 2 and QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(inner)
    return inner.strip() if is_quoted else text


def _items(words: list[str]) -> list[str]:
    return [item for word in words for item in COMMAS.split(word) if item.strip()]


def _text_of(answer: str, stage: Stage) -> str:
    """Return what a JSON object holds under the stage's name; an answer that is none, as it is."""
    if not STRUCTURE.match(answer):
        return answer
    objects = (value for value in _json_values(answer) if isinstance(value, dict))
    texts = [found[stage.value] for found in objects if isinstance(found.get(stage.value), str)]
    return str(texts[0]) if len(texts) == 1 else answer


def _listed(answer: str) -> list[str]:
    """Return the items of an answer: what its JSON holds, or else its lines."""
    fenced = FENCE.findall(answer)
    body = "\n".join(fenced) if fenced else answer
    words = [word for value in _json_values(body) for word in _words(value, MAX_JSON_DEPTH)]
    return words or body.splitlines()


def _json_values(text: str) -> Iterator[Any]:
    """Yield every JSON array and object in a text, whatever stands between them."""
    # Control characters inside strings are what vLLM's grammar lets through; cleaning takes them out.
    decoder = json.JSONDecoder(strict=False)
    start = 0
    for _ in range(MOST_BRACKETS):
        bracket = BRACKET.search(text, start)
        if bracket is None:
            return
        try:
            value, start = decoder.raw_decode(text, bracket.start())
        except (ValueError, RecursionError):
            start = bracket.end()  # a bracket that is not JSON: cleaning takes it off
        else:
            yield value


def _words(value: Any, depth: int) -> Iterator[str]:
    """Yield the keywords in a JSON value, in order, whichever of the usual shapes it has."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for item in value:
            yield from _words(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in _telling(value):
            yield from _words(item, depth - 1)


def _telling(found: Mapping[str, Any]) -> list[Any]:
    """Return what of a JSON object holds keywords: its list, its keyword, its scored keys, or all of it."""
    lists = [value for key, value in found.items() if key.casefold() in LIST_KEYS]
    named = [found[key] for key in KEYWORD_KEYS if key in found][:1]
    is_score = all(isinstance(value, int | float) for value in found.values())
    scored = [key for key, value in found.items() if value] if is_score else []
    return lists or named or scored or list(found.values())
