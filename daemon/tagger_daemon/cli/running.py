"""A batch run from its beginning to its end: what is found, whether all is there, the work, and its end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tagger_daemon.cli import logs, preflight
from tagger_daemon.cli.board import Board, Lines
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.outcome import Result, gather, print_result
from tagger_daemon.cli.terminal import PIPED_WIDTH, console
from tagger_daemon.database import read_only
from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.reports.audit import AuditLog, single
from tagger_daemon.reports.totals import Totals
from tagger_daemon.service.batch import Batch, discover, make_batch
from tagger_daemon.service.clock import local_now
from tagger_daemon.service.daemon import Daemon
from tagger_daemon.service.outputs import check_appendable
from tagger_daemon.service.parts import cast
from tagger_daemon.service.reporting import make_batch_page
from tagger_daemon.service.scope import Scope
from tagger_daemon.service.snapshot import Snapshot
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Loaded


def conduct(loaded: Loaded, *, show: bool | None, as_json: bool) -> Exit:
    """Do a run.

    Args:
        loaded: the settings, with the inputs among them.
        show: a progress display instead of lines; None: on a terminal.
        as_json: print what became of it as JSON.

    Raises:
        ConfigurationError: an input, a setting, the registry or a profile is not as needed.
    """
    batch = make_batch(loaded, cwd=Path.cwd())
    cast(batch.settings)  # an unknown role, profile or backend is told before anything else
    screen = Console(stderr=True) if sys.stderr.isatty() else Console(stderr=True, width=PIPED_WIDTH)
    logs.configure(loaded.settings.log_level)
    unread: list[str] = []
    counts = discover(batch.settings, report=unread.append)
    found = sum(counts.values())
    places = "1 folder" if len(counts) == 1 else f"{len(counts)} folders"
    screen.print(f"{found} {'photo' if found == 1 else 'photos'} in {places}", highlight=False)
    result = Result(run="", found=found, totals=Totals(), problems=tuple(unread))
    if found:
        if not (loaded.settings.skip_preflight or _is_ready(batch, screen, as_json=as_json)):
            return Exit.PREFLIGHT
        check_appendable(batch.output_jsonl)
        show = screen.is_terminal if show is None else show
        result = _run(batch, found, unread, screen=screen, show=show)
    outputs = {"output_jsonl": batch.output_jsonl, "summary": batch.summary}
    if as_json:
        print(json.dumps(result.to_json(**outputs), indent=2))
    else:
        print_result(console(), result, **outputs)
    return result.exit


def _is_ready(batch: Batch, screen: Console, *, as_json: bool) -> bool:
    findings = asyncio.run(preflight.examine(batch.settings, outputs=batch.outputs))
    screen.print(preflight.render(findings))
    ready = all(finding.passed for finding in findings)
    if as_json and not ready:
        told = {"preflight": [finding.to_json() for finding in findings], "exit_status": int(Exit.PREFLIGHT)}
        print(json.dumps(told, indent=2))
    return ready


def _run(batch: Batch, found: int, unread: list[str], *, screen: Console, show: bool) -> Result:
    """Let the daemon do it once, and show how it goes; then write the summary."""
    settings = batch.settings
    daemon: list[Daemon] = []

    async def live(watcher: Callable[[Snapshot], None]) -> None:
        # Its parts belong to the event loop that runs this.
        daemon.append(
            Daemon(
                settings, once=True, watcher=watcher, audit=AuditLog(single(batch.output_jsonl)), again=True
            )
        )
        await daemon[0].run()

    if show:
        board = Board(found, screen)
        logs.configure(
            settings.log_level,
            write=lambda line: screen.print(line, markup=False, highlight=False, style="dim"),
        )
        with board.live:
            asyncio.run(live(board))
    else:
        asyncio.run(live(Lines(found, write=lambda line: print(line, file=sys.stderr, flush=True))))
    state = StateDirectory(root=settings.state_dir)
    problems = [*unread, *state.read_status().get("problems", ())]
    try:
        with read_only(state.database) as db:
            make_batch_page(
                db,
                batch.summary,
                inputs=batch.inputs,
                takes=Scope.of(settings).takes,
                now=local_now(),
                dry_run=settings.dry_run,
                no_meta=settings.no_meta,
            )
    except FolderUnavailable as error:  # what became of the photos is told all the same
        problems.append(str(error))
    return gather(state, run=daemon[0].run_id, found=found, over=daemon[0].is_over, problems=problems)
