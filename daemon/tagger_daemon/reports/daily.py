"""Words the day: Markdown about what became of the photos, from the day's records alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from types import MappingProxyType

from tagger_daemon.model import Outcome, Record, Stage
from tagger_daemon.reports.markdown import plain, table

HIGHLIGHTS = 8
EXCERPT_LETTERS = 160
NAMES_SHOWN = 10  # of the photos that failed for one reason

#: Shown even where there are none.
_USUAL = (Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.FAILED)
_MEANINGS = {
    Outcome.WRITTEN: "metadata written",
    Outcome.UNCHANGED: "already carried what would have been written",
    Outcome.SKIPPED: "already tagged, no model asked",
    Outcome.PROPOSED: "to be reviewed, nothing written",
    Outcome.UNDONE: "our words taken back by a person",
    Outcome.REFUSED: "a person refused what was proposed",
    Outcome.FAILED: "given up, see below",
}


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
        _section("Totals", _totals(photos)),
        _section("Still waiting", _backlog(backlog)),
        _section("Folders", _folders(photos)),
        _section("Speed", _speed(journeys)),
        _section("Highlights", _highlights(photos)),
        _section("Failures", _failures(photos)),
        _section("Skipped", _skipped(photos)),
        _section("Models", _models(photos)),
        f"Made {plain(now)}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return f"## {title}\n\n{body}" if body else ""


def _summary(photos: Sequence[Record]) -> str:
    if not photos:
        return "No photo was finished on this day."
    count = Counter(record.outcome for record in photos)
    clauses = [
        f"{_photos(len(photos))} finished",
        f"{count[Outcome.WRITTEN]} got new metadata",
        f"{count[Outcome.UNCHANGED] + count[Outcome.SKIPPED]} needed none",
    ]
    if proposed := count[Outcome.PROPOSED]:
        clauses.append(f"{proposed} got proposals")
    if undone := count[Outcome.UNDONE]:
        clauses.append(f"{undone} had our words taken back")
    if refused := count[Outcome.REFUSED]:
        clauses.append(f"{refused} had their proposals refused")
    failed = count[Outcome.FAILED]
    return f"{clauses[0]}: {', '.join(clauses[1:])}, and {failed or 'none'} failed."


def _totals(photos: Sequence[Record]) -> list[str]:
    if not photos:
        return []
    count = Counter(record.outcome for record in photos)
    rows = [(outcome.value, str(count[outcome]), _MEANINGS[outcome]) for outcome in _shown(photos)]
    return table(("Outcome", "Photos", "Meaning"), rows)


def _backlog(backlog: Mapping[str, int]) -> list[str]:
    rows = [(plain(str(state)), str(count)) for state, count in sorted(backlog.items()) if count]
    return table(("State", "Photos"), rows)


def _folders(photos: Sequence[Record]) -> list[str]:
    folders: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
    for record in photos:
        folders[str(record.photo.path.parent)][record.outcome] += 1
    shown = _shown(photos)
    rows = [
        (plain(folder), *(str(folders[folder][outcome]) for outcome in shown)) for folder in sorted(folders)
    ]
    return table(("Folder", *(outcome.value.capitalize() for outcome in shown)), rows)


def _shown(photos: Sequence[Record]) -> list[Outcome]:
    """The outcomes that a page has rows and columns for."""
    there = {record.outcome for record in photos}
    return [outcome for outcome in Outcome if outcome in there or outcome in _USUAL]


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
    shown = min(HIGHLIGHTS, len(written))
    lines = []
    for record in (written[index * len(written) // shown] for index in range(shown)):
        lines.append(f"- **{plain(record.photo.path.name)}**: {plain(_excerpt(record.title or 'no title'))}")
        if record.description:
            lines.append(f"  - Description: {plain(_excerpt(record.description))}")
        if record.keywords:
            lines.append(f"  - Keywords: {plain(_excerpt(', '.join(record.keywords)))}")
    return lines


def _failures(photos: Sequence[Record]) -> list[str]:
    lines = []
    for reason, failed in _by_reason(photos, Outcome.FAILED):
        names = [plain(str(record.photo.path)) for record in failed]
        lines.append(f"- {_photos(len(failed))}: {plain(reason)}")
        lines.extend(f"  - {name}" for name in names[:NAMES_SHOWN])
        if len(names) > NAMES_SHOWN:
            lines.append(f"  - and {len(names) - NAMES_SHOWN} more")
    return lines


def _skipped(photos: Sequence[Record]) -> list[str]:
    return [
        f"- {_photos(len(skipped))}: {plain(reason)}"
        for reason, skipped in _by_reason(photos, Outcome.SKIPPED)
    ]


def _by_reason(photos: Sequence[Record], outcome: Outcome) -> list[tuple[str, list[Record]]]:
    """Group the photos of one outcome by reason, the most frequent first."""
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in photos:
        if record.outcome is outcome:
            groups[record.reason or "no reason was noted"].append(record)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def _models(photos: Sequence[Record]) -> list[str]:
    used = Counter(
        (list(Stage).index(stage), stage.value, origin.entry, origin.model, origin.profile)
        for record in photos
        for stage, origin in record.origins.items()
    )
    rows = [
        (stage, plain(entry), plain(model), plain(profile), str(used[key]))
        for key in sorted(used)
        for _, stage, entry, model, profile in [key]
    ]
    return table(("Stage", "Entry", "Model", "Prompts", "Photos"), rows)


def _finished(record: Record) -> datetime:
    return datetime.fromisoformat(record.finished_at)


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _excerpt(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT_LETTERS else text[: EXCERPT_LETTERS - 1].rstrip() + "…"
