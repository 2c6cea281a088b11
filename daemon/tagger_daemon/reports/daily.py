"""Words the day: Markdown about what became of the photos, from the day's records alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from types import MappingProxyType

from tagger_daemon.model import Outcome, Record, Stage
from tagger_daemon.reports.markdown import plain, table
from tagger_daemon.reports.wording import (
    Counts,
    Models,
    Reasons,
    counted,
    excerpt,
    headings,
    numbers,
    section,
    sentence,
    shown,
    totals,
)

HIGHLIGHTS = 8


def render_day(
    day: date, records: Sequence[Record], *, backlog: Mapping[str, int] = MappingProxyType({}), now: str
) -> str:
    """Return the page about one day.

    Where a photo has several records, the last one tells what became of it; speed counts them all.

    Args:
        day: the day, in local time.
        records: what was finished on it, in any order.
        backlog: photos by state, at `now`; nothing is said about an empty one.
        now: when the page is made, as it shall be read.
    """
    journeys = sorted(records, key=lambda record: (_finished(record), record.id))
    photos = list({record.photo.path: record for record in journeys}.values())
    parts = [
        f"# Photos tagged on {day.isoformat()}",
        _summary(photos),
        section("Totals", totals(counted(photos))),
        section("Still waiting", _backlog(backlog)),
        section("Folders", _folders(photos)),
        section("Speed", _speed(journeys)),
        section("Highlights", _highlights(photos)),
        section("Failures", _reasons(photos, Outcome.FAILED).lines(names=True)),
        section("Skipped", _reasons(photos, Outcome.SKIPPED).lines(names=False)),
        section("Models", _models(photos)),
        f"Made {plain(now)}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(photos: Sequence[Record]) -> str:
    if not photos:
        return "No photo was finished on this day."
    return sentence(counted(photos))


def _backlog(backlog: Mapping[str, int]) -> list[str]:
    rows = [(plain(str(state)), str(count)) for state, count in sorted(backlog.items()) if count]
    return table(("State", "Photos"), rows)


def _folders(photos: Sequence[Record]) -> list[str]:
    folders: defaultdict[str, Counts] = defaultdict(Counter)
    for record in photos:
        folders[str(record.photo.path.parent)][record.outcome] += 1
    columns = shown(counted(photos))
    rows = [(plain(folder), *numbers(folders[folder], columns)) for folder in sorted(folders)]
    return table(("Folder", *headings(columns)), rows)


def _speed(journeys: Sequence[Record]) -> list[str]:
    """Say how fast it went, of the journeys on which a model was asked."""
    asked = [record for record in journeys if record.origins]
    if not asked:
        return []
    begun = min(_finished(record) - timedelta(seconds=sum(record.seconds.values())) for record in asked)
    hours = (_finished(asked[-1]) - begun) / timedelta(hours=1)
    lines = [f"- {len(asked) / hours:.0f} photos an hour while there was work"] if hours > 0 else []
    lines.append(f"- {median(sum(record.seconds.values()) for record in asked):.1f} seconds a photo (median)")
    for step in sorted({step for record in asked for step in record.seconds}, key=_step_order):
        seconds = [record.seconds[step] for record in asked if step in record.seconds]
        lines.append(f"  - {plain(str(step))}: {median(seconds):.1f}")
    origins = [origin for record in asked for origin in record.origins.values()]
    read = sum(origin.prompt_tokens or 0 for origin in origins)
    written = sum(origin.completion_tokens or 0 for origin in origins)
    if read or written:
        lines.append(f"- {read} tokens read by the models, {written} written")
    return lines


def _step_order(step: str) -> tuple[int, str]:
    order = ["read", "prepare", *Stage, "write"]
    return (order.index(step) if step in order else len(order), step)


def _highlights(photos: Sequence[Record]) -> list[str]:
    """Show a few of the photos that got words, spread over the day."""
    written = [record for record in photos if record.outcome is Outcome.WRITTEN]
    chosen = min(HIGHLIGHTS, len(written))
    lines = []
    for record in (written[index * len(written) // chosen] for index in range(chosen)):
        lines.append(f"- **{plain(record.photo.path.name)}**: {plain(excerpt(record.title or 'no title'))}")
        if record.description:
            lines.append(f"  - Description: {plain(excerpt(record.description))}")
        if record.keywords:
            lines.append(f"  - Keywords: {plain(excerpt(', '.join(record.keywords)))}")
    return lines


def _reasons(photos: Sequence[Record], outcome: Outcome) -> Reasons:
    reasons = Reasons()
    for record in photos:
        if record.outcome is outcome:
            reasons.add(record)
    return reasons


def _models(photos: Sequence[Record]) -> list[str]:
    models = Models()
    for record in photos:
        models.add(record)
    return models.lines()


def _finished(record: Record) -> datetime:
    return datetime.fromisoformat(record.finished_at)
