"""A person's review by a file: the audit of a dry run, edited and handed in; nothing in it is trusted."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger_daemon.database import read_only
from tagger_daemon.errors import ReviewRefused
from tagger_daemon.ledger import proposals
from tagger_daemon.metadata.merge import key
from tagger_daemon.model import Decision, Outcome, Part, Stage, Value, Verdict
from tagger_daemon.service.reviewing import TEXT_STAGES, Seen, added, edited, seen_of

#: Bytes of a line: a hundred times what a photo's words take up.
LONGEST_LINE = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Line(Value):
    """One proposal of a file that a person hands in."""

    number: int  # of the line, from 1
    seen: Seen  # with all decisions, those of the file included
    fresh: tuple[Decision, ...]  # the decisions that are still to be kept


def proposals_in(database: Path, file: Path, *, problem: Callable[[str], None]) -> Iterator[Line]:
    """Give the proposals of an audit file, with what a person made of them in that very file.

    A text that differs from the model's is an edit, an empty one a refusal, none at all says nothing; a
    keyword that was taken out is refused, another one is added by hand. Of two lines about one proposal the
    first counts, and the other is told. What is not decided otherwise is accepted: the file is handed in to
    be carried out.

    Args:
        database: of the state directory that the proposals were stored in.
        file: the JSON lines; nothing in it is trusted.
        problem: told of each line that cannot be used, and why; the others count all the same.

    Raises:
        ReviewRefused: the file cannot be read.
        StateUnavailable: the database cannot be read.
    """
    first: dict[str, int] = {}
    with read_only(database) as db:
        for number, raw in _lines(file):
            try:
                said = _parsed(raw)
                if said is None:
                    continue
                offer = proposals.offer(db, said["id"])
                if offer is None:
                    raise ReviewRefused("this state directory knows no such proposal")
                if offer.record.id in first:
                    raise ReviewRefused(
                        f"line {first[offer.record.id]} is about the same proposal, and counts"
                    )
                line = _line(number, seen_of(offer), said)
                first[offer.record.id] = number
                yield line
            except ReviewRefused as error:
                problem(f"line {number}: {error}")


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as opened:
            number = 0
            while raw := opened.readline(LONGEST_LINE + 1):
                number += 1
                yield number, raw if number > 1 else raw.removeprefix(BOM_UTF8)  # some editors put one there
                while len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
                    raw = opened.readline(LONGEST_LINE + 1)
                    if not raw:
                        return
    except OSError as error:
        raise ReviewRefused(f"{file} cannot be read: {error.strerror}") from error


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """Return what a line says of a proposal, checked; None: it is about something else.

    Raises:
        ReviewRefused: it is not what a line of an audit is.
    """
    if len(raw) > LONGEST_LINE:
        raise ReviewRefused("it is too long to be a line of an audit")
    if not raw.strip():
        return None
    try:
        said = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReviewRefused("it is no JSON, or not the whole of a line") from error
    if not isinstance(said, dict):
        raise ReviewRefused("it is no JSON object")
    if said.get("outcome") != Outcome.PROPOSED:
        return None
    if not isinstance(said.get("id"), str) or not said["id"].isascii():
        raise ReviewRefused("its `id` is missing, or none of ours")
    for name in (Part.CAPTION, Part.DESCRIPTION):
        text = said.get(name)
        if not isinstance(text, str | None):
            raise ReviewRefused(f"its `{name}` is no text")
        _check_whole(name, text or "")
    words = said.get("keywords", [])
    if words is not None and not (
        isinstance(words, list)
        and all(isinstance(one, dict) and isinstance(one.get("keyword"), str) for one in words)
    ):
        raise ReviewRefused('its `keywords` are no list of {"keyword": "…"}')
    for one in words or ():
        _check_whole(Part.KEYWORDS, one["keyword"])
    return said


def _check_whole(name: str, text: str) -> None:
    """Refuse half a character: an editor has lost the other, and who knows what else.

    Raises:
        ReviewRefused: there is one.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ReviewRefused(f"its `{name}` holds half a character")


def _line(number: int, seen: Seen, said: dict[str, Any]) -> Line:
    """Compare what a line says with what was proposed."""
    if seen.done:
        return Line(number=number, seen=seen, fresh=())
    fresh: list[Decision] = []
    if seen.review.whole is None:
        fresh.append(Decision(part=Part.PHOTO, verdict=Verdict.ACCEPT))
    for part, stage in TEXT_STAGES.items():
        if (text := said.get(part)) is not None:  # null says nothing
            fresh += _about_text(seen, part, stage, text)
    if (words := said.get("keywords")) is not None:
        fresh += _about_words(seen, [one["keyword"] for one in words])
    return Line(number=number, seen=seen.with_decisions(fresh), fresh=tuple(fresh))


def _about_text(seen: Seen, part: Part, stage: Stage, text: str) -> list[Decision]:
    answered = getattr(seen.offer.record.answers, stage.value) or ""
    if text == answered:
        return []
    if not text.strip() and seen.review.text(stage) is not None:
        return [Decision(part=part, verdict=Verdict.REJECT)]
    return [edited(seen, part, text)]


def _about_words(seen: Seen, words: Sequence[str]) -> list[Decision]:
    there = {key(word) for word in words}
    answered = {key(word) for word in seen.offer.record.answers.keywords or ()}
    proposed = {key(word) for word in seen.review.proposed_words}
    standing = {key(word) for word in (*seen.review.standing, *seen.review.leaving)}
    fresh = [
        Decision(part=Part.KEYWORD, verdict=Verdict.REJECT, word=word)
        for word in seen.review.proposed_words
        if key(word) not in there
    ]
    known_words = answered | proposed | standing
    return [*fresh, *(added(seen, word) for word in words if key(word) not in known_words)]
