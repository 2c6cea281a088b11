"""What became of a batch run: gathered from queue and ledger, shown as tables or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tagger_daemon.backlog import store
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.terminal import shown
from tagger_daemon.database import read_only
from tagger_daemon.ledger import records
from tagger_daemon.model import OPEN_STATES, JobState, Outcome, Value
from tagger_daemon.reports.totals import Totals
from tagger_daemon.service.clock import now_ms
from tagger_daemon.service.state import StateDirectory

#: Rows of the table of photos that failed; the summary has all of them.
MOST_FAILURES: Final = 20
#: What is said of each end that a photo may come to.
WORDS: Final[Mapping[Outcome, str]] = {
    Outcome.WRITTEN: "written",
    Outcome.PROPOSED: "proposed, to be reviewed",
    Outcome.RECORDED: "described, nothing written",
    Outcome.UNCHANGED: "carried the same words already",
    Outcome.SKIPPED: "left alone, no model asked",
    Outcome.FAILED: "failed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Result(Value):
    """What a run came to."""

    run: str  # names it, for `undo`; "" where nothing was begun
    found: int  # photos
    totals: Totals  # of this run alone
    failures: tuple[tuple[Path, str], ...] = ()  # photos that are given up, and why
    left: int = 0  # photos with a way to go
    held: int = 0  # photos that wait for a photo program
    problems: tuple[str, ...] = ()  # what could not be read or written, but for photos

    @property
    def exit(self) -> Exit:
        """The exit status that it ends the command with."""
        if self.left:
            return Exit.INTERRUPTED
        return Exit.AMISS if self.failures or self.problems else Exit.OK

    def to_json(self, *, output_jsonl: Path, summary: Path) -> dict[str, Any]:
        """Give the form for scripts."""
        return {
            "run": self.run,
            "found": self.found,
            "outcomes": {outcome.value: self.totals.outcomes[outcome] for outcome in WORDS},
            "stages": {
                stage.value: {
                    "asked": totals.asked,
                    "ok": totals.ok,
                    "retried": totals.retried,
                    "failed": totals.failed,
                    "seconds": round(totals.seconds, 3),
                    "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
                }
                for stage, totals in self.totals.stages.items()
            },
            "failures": [{"image": str(path), "reason": reason} for path, reason in self.failures],
            "left": self.left,
            "held": self.held,
            "problems": list(self.problems),
            "output_jsonl": str(output_jsonl) if self.run else None,
            "summary": str(summary) if self.run else None,
            "exit_status": int(self.exit),
        }


def gather(state: StateDirectory, *, run: str, found: int, over: bool, problems: Sequence[str]) -> Result:
    """Look up what became of the photos of the folders that were worked on last.

    Args:
        state: where queue and ledger are.
        run: the run whose records count.
        found: photos that there were.
        over: it came to its end by itself; if not, some of them may not have been queued yet.
        problems: what could not be read or written.
    """
    totals = Totals()
    with read_only(state.database) as db:
        for record in records.records_of_run(db, run):
            totals.add(record)
        watched = [folder.counts for folder in store.folders(db, now=now_ms()) if folder.watched]
        troubles = store.troubles(db, limit=-1)
        untold = records.count_unaudited(db)
    held = sum(one.held for one in troubles)
    left = sum(counts.get(state, 0) for counts in watched for state in OPEN_STATES) - held
    if not over:
        ended = sum(counts.get(state, 0) for counts in watched for state in (JobState.DONE, JobState.FAILED))
        left = max(left, found - held - ended)
    if untold:
        problems = [*problems, f"{untold} lines are missing in the audit; the same command adds them"]
    return Result(
        run=run,
        found=found,
        totals=totals,
        failures=tuple((one.path, one.error) for one in troubles if one.state is JobState.FAILED),
        left=left,
        held=held,
        problems=tuple(dict.fromkeys(problems)),
    )


def print_result(out: Console, result: Result, *, output_jsonl: Path, summary: Path) -> None:
    """Print what a run came to, and where its reports are."""
    if any(totals.asked for totals in result.totals.stages.values()):
        out.print(_stages_table(result.totals))
    if result.failures:
        out.print(_failures_table(result.failures))
    clauses = [f"{count} {words}" for kind, words in WORDS.items() if (count := result.totals.outcomes[kind])]
    earlier = result.found - result.totals.photos - result.left - result.held
    if earlier > 0:
        clauses.append(f"{earlier} done by earlier runs")
    out.print(f"{', '.join(clauses) or 'No photo was found'}.", highlight=False)
    if result.run:
        reports = f"The audit:   {output_jsonl}\nThe summary: {summary}"
        out.print(f"The run:     {result.run}\n{reports}", highlight=False, soft_wrap=True)
    for problem in result.problems:
        out.print(shown(problem), style="yellow", highlight=False)
    if result.totals.outcomes[Outcome.PROPOSED]:
        out.print(
            "imageworks-personal-tagger review list shows the proposals; apply writes them.", highlight=False
        )
    if result.held:
        out.print(
            f"{result.held} wait: a photo program may have newer edits; the same command looks again.",
            highlight=False,
        )
    if result.left:
        out.print(f"{result.left} are left; the same command goes on with them.", highlight=False)


def _stages_table(totals: Totals) -> Table:
    table = Table("stage", "asked", "ok", "asked twice", "failed", "seconds", "tokens in", "tokens out")
    for column in table.columns[1:]:
        column.justify = "right"
    for stage, one in totals.stages.items():
        numbers = (one.asked, one.ok, one.retried, one.failed)
        tokens = (one.prompt_tokens, one.completion_tokens)
        table.add_row(
            stage,
            *map(str, numbers),
            f"{one.seconds:.1f}",
            *(str(count) if count else "" for count in tokens),
        )
    return table


def _failures_table(failures: tuple[tuple[Path, str], ...]) -> Table:
    table = Table("failed", "why")
    for path, reason in failures[:MOST_FAILURES]:
        table.add_row(shown(str(path)), shown(reason))
    if len(failures) > MOST_FAILURES:
        table.caption = f"and {len(failures) - MOST_FAILURES} more, see the summary"
    return table
