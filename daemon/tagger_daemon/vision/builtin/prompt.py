"""What a prompt asks for, and the facts it offers. The text is data: nothing in it is obeyed but the task."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tagger_daemon.model import Stage, Value

MOST_KEYWORDS = 15

_FACTS = "facts about this photo"
_FACT = re.compile(r"-\s*(season|part of day|place|kind of shot)\s*:(.*)", re.IGNORECASE)
_TASK = re.compile(r"^\s*task\s*:", re.IGNORECASE | re.MULTILINE)
_VERB = re.compile(r"\b(?:write|list|give|name|suggest|describe|compose|provide)\b", re.IGNORECASE)
_NOUNS = re.compile(
    r"\b(?:(?P<keywords>key\s?words?|tags?)"
    r"|(?P<caption>captions?|titles?|headlines?|one(?:\s+[\w-]+)?\s+sentence)"
    r"|(?P<description>descriptions?|paragraphs?))\b",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"\b(\d{1,3})\s+(?:[\w-]+\s+){0,2}(?:key\s?words|tags)\b", re.IGNORECASE)
_PLAIN_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")  # letters, with single spaces and hyphens between


@dataclass(frozen=True, kw_only=True, slots=True)
class Told(Value):
    """What the prompt says about the photo, as far as it can be repeated."""

    season: str | None = None  # "summer"
    part_of_day: str | None = None  # "evening"
    place: tuple[str, ...] = ()  # narrowest first: "Alfama", "Lisbon", "Portugal"
    kinds: tuple[str, ...] = ()  # of shot: "wide-angle view", "with flash"


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief(Value):
    """What one prompt comes to."""

    stage: Stage  # the kind of answer wanted
    most_keywords: int = MOST_KEYWORDS  # 1..MOST_KEYWORDS
    told: Told = Told()


def read_brief(text: str) -> Brief:
    """Read a prompt: the wanted kind of answer, its keyword limit, the facts. Never fails."""
    task = _task(text)
    return Brief(stage=_stage(task), most_keywords=_limit(task), told=_told(text))


def _task(text: str) -> str:
    """Return the words after the last "Task:", or all lines that are not list items (facts and drafts)."""
    marks = list(_TASK.finditer(text))
    if marks:
        return text[marks[-1].end() :]
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("-"))


def _stage(task: str) -> Stage:
    """Tell the wanted answer by the first fitting noun after the first verb that asks for one.

    "Using the caption, write a description" asks for a description; without any noun it is one too.
    """
    verb = _VERB.search(task)
    noun = _NOUNS.search(task, verb.start() if verb else 0)
    return Stage(noun.lastgroup) if noun and noun.lastgroup else Stage.DESCRIPTION


def _limit(task: str) -> int:
    found = _LIMIT.search(task)
    return min(max(int(found[1]), 1), MOST_KEYWORDS) if found else MOST_KEYWORDS


def _told(text: str) -> Told:
    """Read the block of facts: the list right under its heading, so that no later text can add to it."""
    facts: dict[str, str] = {}
    lines = iter(text.splitlines())
    if any(line.strip().lower().startswith(_FACTS) for line in lines):
        for line in lines:
            if not line.lstrip().startswith("-"):
                break
            if fact := _FACT.fullmatch(line.strip()):
                facts.setdefault(fact[1].lower(), fact[2])
    return Told(
        season=_word(facts.get("season", "")),
        part_of_day=_word(facts.get("part of day", "")),
        place=_items(facts.get("place", "")),
        kinds=_items(facts.get("kind of shot", "")),
    )


def _word(text: str) -> str | None:
    """Return a season or part of day in lower case, or None for anything but a few plain words."""
    text = text.strip().lower()
    return text if len(text) <= 24 and _PLAIN_WORDS.fullmatch(text) else None


def _items(text: str) -> tuple[str, ...]:
    """Split at commas into at most four short names that hold a letter, each once; drop the others."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    items = [" ".join(part.split()).strip(" .;:") for part in printable.split(",")]
    usable = [item for item in items if len(item) <= 60 and any(char.isalpha() for char in item)]
    return tuple(dict.fromkeys(usable))[:4]
