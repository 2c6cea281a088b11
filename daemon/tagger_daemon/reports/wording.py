"""What the pages say alike: totals, folders, reasons, models, excerpts. Markdown from counts alone.

Pure. What is counted one record at a time stays small, however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tagger_daemon.model import Outcome, Record, Stage
from tagger_daemon.reports.markdown import plain, table

EXCERPT_LETTERS = 160
REASON_LETTERS = 500
NAMES_SHOWN = 10  # of the photos for which there is one reason
MOST_REASONS = 100  # that are told apart

#: Shown even where there are none.
_USUAL = (Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.FAILED)
_MEANINGS = {
    Outcome.WRITTEN: "metadata written",
    Outcome.UNCHANGED: "already carried what would have been written",
    Outcome.SKIPPED: "already tagged, no model asked",
    Outcome.PROPOSED: "to be reviewed, nothing written",
    Outcome.RECORDED: "described, nothing is to be written",
    Outcome.UNDONE: "our words taken back by a person",
    Outcome.REFUSED: "a person refused what was proposed",
    Outcome.FAILED: "given up, see below",
}

Counts = Counter[Outcome]  # of photos


def section(title: str, lines: Iterable[str]) -> str:
    """Return a section, nothing where it would be empty."""
    body = "\n".join(lines)
    return f"## {title}\n\n{body}" if body else ""


def photos(count: int) -> str:
    """Return a number of photos in words."""
    return "1 photo" if count == 1 else f"{count} photos"


def excerpt(text: str, letters: int = EXCERPT_LETTERS) -> str:
    """Return the beginning of a text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def sentence(count: Counts) -> str:
    """Return all in one sentence; there must be a photo."""
    clauses = [
        f"{photos(count.total())} finished",
        f"{count[Outcome.WRITTEN]} got new metadata",
        f"{count[Outcome.UNCHANGED] + count[Outcome.SKIPPED]} needed none",
    ]
    if proposed := count[Outcome.PROPOSED]:
        clauses.append(f"{proposed} got proposals")
    if recorded := count[Outcome.RECORDED]:
        clauses.append(f"{recorded} were described and not written to")
    if undone := count[Outcome.UNDONE]:
        clauses.append(f"{undone} had our words taken back")
    if refused := count[Outcome.REFUSED]:
        clauses.append(f"{refused} had their proposals refused")
    failed = count[Outcome.FAILED]
    return f"{clauses[0]}: {', '.join(clauses[1:])}, and {failed or 'none'} failed."


def shown(count: Counts) -> list[Outcome]:
    """Return the outcomes that a page has rows and columns for."""
    return [outcome for outcome in Outcome if count[outcome] or outcome in _USUAL]


def totals(count: Counts) -> list[str]:
    """Return a table of outcomes, none without photos."""
    if not count.total():
        return []
    rows = [(outcome.value, str(count[outcome]), _MEANINGS[outcome]) for outcome in shown(count)]
    return table(("Outcome", "Photos", "Meaning"), rows)


def headings(columns: Sequence[Outcome]) -> list[str]:
    """Return what stands over the columns of outcomes."""
    return [outcome.value.capitalize() for outcome in columns]


def numbers(count: Counts, columns: Sequence[Outcome]) -> list[str]:
    """Return the cells of one row."""
    return [str(count[outcome]) for outcome in columns]


class Reasons:
    """Counts photos by the reason for their outcome."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._others = 0

    def add(self, record: Record) -> None:
        """Count one photo."""
        reason = excerpt(record.reason or "no reason was noted", REASON_LETTERS)
        group = self._groups.get(reason)
        if group is None:
            if len(self._groups) == MOST_REASONS:
                self._others += 1
                return
            group = self._groups[reason] = _Group()
        group.count += 1
        if len(group.names) < NAMES_SHOWN:
            group.names.append(str(record.photo.path))

    def lines(self, *, names: bool) -> list[str]:
        """Return a list, the most frequent reason first; with the first of its photos if names are wished."""
        lines = []
        for reason, group in sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0])):
            lines.append(f"- {photos(group.count)}: {plain(reason)}")
            if names:
                lines.extend(f"  - {plain(name)}" for name in group.names)
                if group.count > len(group.names):
                    lines.append(f"  - and {group.count - len(group.names)} more")
        if self._others:
            lines.append(f"- and {self._others} more, for other reasons: the audit has each")
        return lines


@dataclass(slots=True)
class _Group:
    count: int = 0
    names: list[str] = field(default_factory=list)


class Models:
    """Counts photos by who answered which stage."""

    def __init__(self) -> None:
        self._used: Counter[tuple[int, str, str, str]] = Counter()

    def add(self, record: Record) -> None:
        """Count one photo."""
        order = list(Stage)
        self._used.update(
            (order.index(stage), origin.entry, origin.model, origin.profile)
            for stage, origin in record.origins.items()
        )

    def lines(self) -> list[str]:
        """Return a table."""
        rows = [
            (list(Stage)[stage].value, plain(entry), plain(model), plain(profile), str(count))
            for (stage, entry, model, profile), count in sorted(self._used.items())
        ]
        return table(("Stage", "Entry", "Model", "Prompts", "Photos"), rows)


def counted(records: Iterable[Record]) -> Counts:
    """Count photos by outcome."""
    return Counter(record.outcome for record in records)
