"""What is proposed and what was decided about it, as people and scripts are shown it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tagger_daemon.cli.terminal import one_line
from tagger_daemon.metadata.review import State, TextChange
from tagger_daemon.model import Stage, Verdict
from tagger_daemon.service.reviewing import Seen, is_unchanged


def print_list(found: Iterable[Seen], *, as_json: bool) -> None:
    """Print proposals as they are read: there may be very many."""
    if as_json:
        typer.echo("[", nl=False)
        for number, seen in enumerate(found):
            typer.echo(f"{',' if number else ''}\n{json.dumps(to_json(seen))}", nl=False)
        typer.echo("\n]")
        return
    states: Counter[State] = Counter()
    for seen in found:
        states[seen.review.state] += 1
        typer.echo(_row(seen))
    typer.echo(f"{count_photos(states.total())}{': ' if states else ''}{count_states(states)}.", err=True)


def to_json(seen: Seen) -> dict[str, Any]:
    """Give the form for scripts."""
    review = seen.review
    return {
        "photo": str(seen.offer.path),
        "id": seen.offer.record.id,
        "proposed_at": seen.offer.record.finished_at,
        "state": review.state,
        "noted": seen.offer.refused_at is not None,
        "texts": [
            {
                "field": text.stage,
                "into": list(text.names),
                "before": text.before,
                "proposed": text.proposed,
                "verdict": text.verdict,
                "text": None if text.verdict is Verdict.REJECT else text.text,
            }
            for text in review.texts
        ],
        "keywords": [{"keyword": word.word, "verdict": word.verdict} for word in review.words],
        "keywords_that_stay": list(review.standing),
        "keywords_that_go": {"keywords": list(review.leaving), "verdict": review.leaving_verdict},
        "kept": [{"field": kept.field, "reason": kept.reason} for kept in review.kept],
    }


def render(seen: Seen) -> Group:
    """Show one proposal: what stands there, what would, and what was decided."""
    review = seen.review
    parts: list[RenderableType] = [
        Text(one_line(str(seen.offer.path)), style="bold"),
        Text(f"{review.state}, proposed {seen.offer.record.finished_at[:16].replace('T', ' ')}", style="dim"),
    ]
    if not is_unchanged(seen.offer) and review.state is not State.REFUSED:
        parts.append(Text("the file has changed since, or is not there", style="yellow"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "field", "words", "decided"):
        table.add_column(heading, overflow="fold")
    for text in review.texts:
        _add_text(table, text)
    for word in review.words:
        sign, style = _sign(word.verdict)
        table.add_row(
            Text(sign, style=style), "keyword", Text(one_line(word.word), style=style), _decided(word.verdict)
        )
    for leaving in review.leaving:
        stays = review.leaving_verdict is Verdict.REJECT
        told = (
            "is to be taken out" if review.leaving_verdict is None else "stays" if stays else "is taken out"
        )
        style = "dim" if stays else "red"
        table.add_row(
            Text(" " if stays else "-", style=style), "keyword", Text(one_line(leaving), style=style), told
        )
    for standing in review.standing:
        table.add_row(" ", "keyword", Text(one_line(standing), style="dim"), "stays")
    for kept in review.kept:
        why = Text(f"kept: {one_line(kept.reason)}", style="dim")
        table.add_row(" ", Text(one_line(kept.field)), "", why)
    return Group(*parts, table)


def with_file(seen: Seen) -> dict[str, Any]:
    """Give the form for scripts, and whether the file is still the one that it is about."""
    return {**to_json(seen), "file_is_unchanged": is_unchanged(seen.offer)}


def count_states(states: Counter[State]) -> str:
    """Say how many photos are in which state."""
    return ", ".join(f"{states[state]} {state}" for state in State if states[state])


def count_photos(count: int) -> str:
    """Say how many photos these are."""
    return "1 photo" if count == 1 else f"{count} photos"


def _add_text(table: Table, text: TextChange) -> None:
    name = "description" if text.stage is Stage.DESCRIPTION else "caption"
    written = text.verdict is not Verdict.REJECT
    if text.before:
        table.add_row(
            Text("-" if written else " ", style="red" if written else ""),
            name,
            Text(_flowing(text.before)),
            "is replaced" if written else "stays",
        )
    if text.verdict is Verdict.EDIT:
        table.add_row(" ", name, Text(_flowing(text.proposed), style="dim strike"), "was proposed")
    sign, style = _sign(text.verdict)
    table.add_row(
        Text(sign, style=style), name, Text(_flowing(text.text), style=style), _decided(text.verdict)
    )


def _sign(verdict: Verdict | None) -> tuple[str, str]:
    match verdict:
        case None:
            return "?", "yellow"
        case Verdict.REJECT:
            return "x", "red"
        case _:
            return "+", "green"


def _decided(verdict: Verdict | None) -> str:
    match verdict:
        case None:
            return "to be decided"
        case Verdict.ACCEPT:
            return "accepted"
        case Verdict.REJECT:
            return "rejected"
        case Verdict.EDIT:
            return "in your words"
        case Verdict.ADD:
            return "added by you"


def _row(seen: Seen) -> str:
    review = seen.review
    told = [_labelled(text.stage, text.verdict) for text in review.texts]
    words = Counter(word.verdict for word in review.words)
    if review.words:
        told.append(f"{len(review.words) - words[Verdict.REJECT]} of {len(review.words)} keywords")
    return f"{review.state:<9} {one_line(str(seen.offer.path))}  {', '.join(told)}"


def _labelled(stage: Stage, verdict: Verdict | None) -> str:
    match verdict:
        case Verdict.REJECT:
            return f"no {stage}"
        case Verdict.EDIT:
            return f"{stage} in your words"
        case _:
            return str(stage)


def _flowing(text: str) -> str:
    return one_line(" ".join(text.split()))
