"""What a person sees of a single run: a bar while it goes, a table at its end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import Pending, pending
from tagger_daemon.cli import logs, status
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.terminal import console, one_line, shown
from tagger_daemon.database import read_only
from tagger_daemon.ledger import records
from tagger_daemon.model import OPEN_STATES, JobState, Outcome, Record
from tagger_daemon.service.clock import local_now, now_ms
from tagger_daemon.service.daemon import Daemon
from tagger_daemon.service.reporting import make_page
from tagger_daemon.service.snapshot import Snapshot
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings

Watcher = Callable[[Snapshot], None]

#: Characters of a file's name beside the bar: it must fit into 80 columns with the rest.
LONGEST_NAME = 14
#: Rows of the table at the end; more are in the day's page.
LONGEST_TABLE = 60
#: Why a finished photo was not moved on, where nothing stands in its own way.
NOT_TOLD = "its turn has not come: what belongs to it is not finished"


async def run_with_bar(settings: Settings, *, once: bool, level: str) -> None:
    """Run the daemon under a progress bar; log lines scroll above it."""
    screen = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}", style="dim"),
        console=screen,
    )
    logs.configure(level, write=lambda line: screen.print(line, markup=False, highlight=False, style="dim"))
    with bar:
        task = bar.add_task("starting", total=None, now="")

        def update(snapshot: Snapshot) -> None:
            bar.update(
                task,
                description=headline(snapshot, once=once),
                completed=snapshot.finished,
                total=snapshot.finished + snapshot.open_rows + snapshot.settling,
                now=escape(_doing(snapshot)),
            )

        await Daemon.live(settings, once=once, watcher=update)


def plain_lines() -> Watcher:
    """Give a watcher of a single run that prints a line whenever something changed: for logs and pipes."""
    last = ""

    def watch(snapshot: Snapshot) -> None:
        nonlocal last
        held = f", {snapshot.held} held" if snapshot.held else ""
        to_go = snapshot.open_rows + snapshot.settling
        line = f"{headline(snapshot, once=True)}: {snapshot.finished} done, {to_go} to go{held}"
        if line != last:
            print(line, file=sys.stderr, flush=True)
        last = line

    return watch


def headline(snapshot: Snapshot, *, once: bool = False) -> str:
    """Say in two or three words what the daemon is at; `once`: it waits for no new photos."""
    if snapshot.open_rows and not any(endpoint.state in ("up", "trying") for endpoint in snapshot.endpoints):
        return "waiting for a model"
    if snapshot.current:
        return "describing"
    if not snapshot.idle:
        return "reading folders"
    if snapshot.moving:
        return "moving photos on"
    if not once:
        return "watching"
    return "waiting" if snapshot.open_rows else "done"


def print_outcome(state: StateDirectory) -> Exit:
    """Print what became of every photo, and where the reports are.

    Returns:
        INTERRUPTED when photos are left, AMISS when photos failed, could not be moved on, or a folder could
        not be read.
    """
    out = console()
    with read_only(state.database) as db:
        found = records.latest_records(db)
        page = make_page(state, db, local_now().date(), now=local_now())
        folders = [folder for folder in store.folders(db, now=now_ms()) if folder.watched]
        troubles = store.troubles(db, limit=-1)
        waiting = pending(db)
    failed = [one for one in troubles if one.state is JobState.FAILED]
    held = [one for one in troubles if one.held]
    written = [record for record in found if record.outcome in (Outcome.WRITTEN, Outcome.UNCHANGED)]
    if written:
        out.print(_written_table(written))
    if failed:
        out.print(_troubles_table("failed", failed, [folder.path for folder in folders]))
    if held:
        out.print(_troubles_table("held", held, [folder.path for folder in folders]))
    if waiting:
        out.print(_waiting_table(waiting))
    counts = sum((Counter(folder.counts) for folder in folders), Counter[JobState]())
    became = Counter(record.outcome for record in found)
    proposed, undone = became[Outcome.PROPOSED], became[Outcome.UNDONE]
    refused = became[Outcome.REFUSED]
    skipped = counts[JobState.DONE] - len(written) - proposed - undone - refused
    left = sum(counts[state] for state in OPEN_STATES) - len(held)
    clauses = [
        f"{len(written)} photos described",
        *([f"{proposed} proposed and kept in the ledger"] if proposed else []),
        *([f"{undone} left alone since they were undone"] if undone else []),
        *([f"{refused} left alone since a person refused the proposal"] if refused else []),
        f"{max(skipped, 0)} were tagged already",
        f"{len(failed)} failed",
    ]
    out.print(f"{', '.join(clauses)}.", highlight=False)
    out.print(f"The day's page: {page}\nThe audit:      {state.audit}", highlight=False, soft_wrap=True)
    problems = state.read_status().get("problems", [])
    for problem in problems:
        out.print(shown(problem), style="yellow", highlight=False)
    if held:
        out.print(
            f"{status.held(len(held))}: a photo program may have newer edits; the same command looks again.",
            highlight=False,
        )
    if left:
        out.print(f"{left} are left; the same command goes on with them.", highlight=False)
        return Exit.INTERRUPTED
    return Exit.AMISS if failed or waiting or problems else Exit.OK


def _written_table(found: list[Record]) -> Table:
    table = Table("file", "title", "keywords", "written to", expand=False)
    for record in found[:LONGEST_TABLE]:
        table.add_row(
            shown(_below(record.photo.path, record.photo.folder)),
            shown(record.title or ""),
            shown(", ".join(record.keywords)),
            _place(record),
        )
    if len(found) > LONGEST_TABLE:
        table.caption = f"and {len(found) - LONGEST_TABLE} more, see the day's page"
    return table


def _troubles_table(what: str, found: list[store.Trouble], folders: list[Path]) -> Table:
    table = Table(what, "why")
    for one in found[:LONGEST_TABLE]:
        folder = next(folder for folder in folders if folder in one.path.parents)
        table.add_row(shown(_below(one.path, folder)), shown(one.error))
    if len(found) > LONGEST_TABLE:
        table.caption = f"and {len(found) - LONGEST_TABLE} more"
    return table


def _waiting_table(found: list[Pending]) -> Table:
    table = Table("not moved on", "why")
    for one in found[:LONGEST_TABLE]:
        table.add_row(shown(_below(one.path, one.folder)), shown(one.why or NOT_TOLD))
    if len(found) > LONGEST_TABLE:
        table.caption = f"and {len(found) - LONGEST_TABLE} more"
    return table


def _place(record: Record) -> str:
    if record.target is None or record.target == record.photo.path:
        return "the file itself"
    return shown(f"{record.target.name} beside it")


def _below(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))


def _doing(snapshot: Snapshot) -> str:
    if not snapshot.current:
        return ""
    first = snapshot.current[0]
    name = one_line(Path(first.path).name)
    return f"{name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + '…'}: {first.step}"
