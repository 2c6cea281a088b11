"""Words a run over folders: Markdown about the photos that lie there, as each was left by its newest record.

Pure. Records are looked at one after the other and not kept: the page and what it takes to make it stay
small, however many there are.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tagger_daemon import sentences
from tagger_daemon.model import UNWRITTEN, Outcome, Record, Stage, text_hash
from tagger_daemon.reports.markdown import plain, table
from tagger_daemon.reports.wording import (
    Counts,
    Models,
    Reasons,
    excerpt,
    headings,
    numbers,
    photos,
    section,
    sentence,
    shown,
    totals,
)

TITLE = "# Personal Tagger Summary"  # by which a page of ours is known again
HIGHLIGHTS_A_FOLDER = 3
MOST_FOLDERS = 200  # that have a row and highlights of their own; the others share a row


def render_batch(
    records: Iterable[Record],
    *,
    inputs: Sequence[Path],
    now: str,
    left: int = 0,
    held: int = 0,
    dry_run: bool = False,
    no_meta: bool = False,
) -> str:
    """Return the page about photos.

    Args:
        records: the newest of each photo, once, in any order; folders beyond the first 200 that they name
            are summed up.
        inputs: the folders and files that the run was about, absolute.
        now: when the page is made, as it shall be read.
        left: photos that have a way to go; some may have a record of an earlier run.
        held: photos that wait for a photo program, and are not among those that are left.
        dry_run: the run only made proposals.
        no_meta: the run was not to write metadata.
    """
    summary = _Summary()
    for record in records:
        summary.add(record)
    parts = [
        TITLE,
        f"Generated: {plain(now)}",
        "*A dry run: it wrote nothing; what it would write is kept for a review.*" if dry_run else "",
        "*A run without metadata: it wrote nothing into photos.*" if no_meta else "",
        section("Inputs", [f"- {plain(str(path))}" for path in inputs]),
        sentence(summary.count) if summary.count.total() else "No photo there was finished yet.",
        section("Left", _left_lines(left, held)),
        section("Totals", totals(summary.count)),
        section("Stages", summary.stage_lines()),
        section("Models", summary.models.lines()),
        section("Folders", summary.folder_lines()),
        section("Highlights", summary.highlight_lines()),
        section("Failures", summary.failures.lines(names=True)),
        section("Skipped", summary.skips.lines(names=False)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _left_lines(left: int, held: int) -> list[str]:
    lines = [f"- {photos(left)} not finished; the same command goes on with what is left"] if left else []
    if held:
        lines.append(f"- {photos(held)} not touched: a photo program may have newer edits")
    return lines


@dataclass(slots=True)
class _StageTotal:
    answers: int = 0
    seconds: float = 0.0
    read: int = 0  # tokens
    written: int = 0  # tokens


@dataclass(slots=True)
class _Folder:
    count: Counts = field(default_factory=Counter)
    # Chosen by a hash of the names, for neighbours look alike; the same photos are chosen each time.
    highlights: list[tuple[str, str, list[str]]] = field(default_factory=list)  # hash, path, lines

    def offer(self, record: Record) -> None:
        """Take a photo for a highlight if there is room, or if it comes before one that is there."""
        path = str(record.photo.path)
        order = text_hash(path)
        if len(self.highlights) < HIGHLIGHTS_A_FOLDER or order < self.highlights[-1][0]:
            bisect.insort(self.highlights, (order, path, _highlight(record)))
            del self.highlights[HIGHLIGHTS_A_FOLDER:]


class _Summary:
    """What is kept of all records: numbers, and a few excerpts."""

    def __init__(self) -> None:
        self.count: Counts = Counter()
        self.models = Models()
        self.failures = Reasons()
        self.skips = Reasons()
        self._stages = {stage: _StageTotal() for stage in Stage}
        self._folders: dict[str, _Folder] = {}
        self._other_folders: Counts = Counter()

    def add(self, record: Record) -> None:
        """Take one photo into account."""
        self.count[record.outcome] += 1
        self.models.add(record)
        for stage, origin in record.origins.items():
            total = self._stages[stage]
            total.answers += 1
            total.seconds += origin.seconds
            total.read += origin.prompt_tokens or 0
            total.written += origin.completion_tokens or 0
        if record.outcome is Outcome.FAILED:
            self.failures.add(record)
        if record.outcome is Outcome.SKIPPED:
            self.skips.add(record)
        self._add_to_folder(record)

    def _add_to_folder(self, record: Record) -> None:
        name = str(record.photo.path.parent)
        if name not in self._folders and len(self._folders) == MOST_FOLDERS:
            self._other_folders[record.outcome] += 1
            return
        folder = self._folders.setdefault(name, _Folder())
        folder.count[record.outcome] += 1
        if record.outcome in (Outcome.WRITTEN, *UNWRITTEN):
            folder.offer(record)

    def stage_lines(self) -> list[str]:
        """Return a table of the stages that have answers."""
        rows = [
            (
                stage.value,
                str(total.answers),
                f"{total.seconds / total.answers:.1f}",
                str(total.read),
                str(total.written),
            )
            for stage, total in self._stages.items()
            if total.answers
        ]
        return table(("Stage", "Answers", "Seconds an answer", "Tokens read", "Tokens written"), rows)

    def folder_lines(self) -> list[str]:
        """Return a table of the folders."""
        columns = shown(self.count)
        rows = [
            (plain(name), str(folder.count.total()), *numbers(folder.count, columns))
            for name, folder in sorted(self._folders.items())
        ]
        if others := self._other_folders.total():
            rows.append(("all other folders", str(others), *numbers(self._other_folders, columns)))
        return table(("Folder", "Photos", *headings(columns)), rows)

    def highlight_lines(self) -> list[str]:
        """Return a list of folders, each with a few of its photos that got words."""
        lines = []
        for name, folder in sorted(self._folders.items()):
            if not folder.highlights:
                continue
            got = photos(sum(folder.count[outcome] for outcome in (Outcome.WRITTEN, *UNWRITTEN)))
            lines.append(f"- {plain(name)} ({got} with words)")
            for _, _, highlight in sorted(folder.highlights, key=lambda chosen: chosen[1]):
                lines.extend(highlight)
        return lines


def _highlight(record: Record) -> list[str]:
    """Return the lines about one photo: what stands there, or what is proposed for it."""
    told: tuple[str | None, Sequence[str] | None, str | None] = (
        record.title,
        record.keywords,
        record.description,
    )
    if record.outcome in UNWRITTEN:
        told = (record.answers.caption, record.answers.keywords, record.answers.description)
    title, keywords, description = told
    lines = [f"  - **{plain(record.photo.path.name)}**: {plain(excerpt(title or 'no title'))}"]
    if keywords:
        lines.append(f"    - Keywords: {plain(excerpt(', '.join(keywords)))}")
    if description:
        opening = sentences.first(" ".join(description.split()))
        lines.append(f"    - Description: {plain(excerpt(opening))}")
    return lines
