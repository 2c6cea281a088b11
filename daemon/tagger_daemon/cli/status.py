"""`tagger-daemon status`: how it is, whether it runs or not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import Pending, pending
from tagger_daemon.backlog.store import FolderState, Trouble
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.terminal import shown
from tagger_daemon.database import read_only
from tagger_daemon.ledger import records
from tagger_daemon.model import OPEN_STATES, JobState, Value
from tagger_daemon.service.clock import now_ms
from tagger_daemon.service.state import StateDirectory

#: The rate is taken over this time.
RATE_WINDOW_MS = 10 * 60 * 1000
#: Errors shown.
TROUBLES_SHOWN = 10
REFRESH_SECONDS = 1.0
#: Steps of photos that are only counted: nobody is asked about them yet.
AHEAD = frozenset({"waiting", "read", "prepare", "prepared"})


@dataclass(frozen=True, kw_only=True, slots=True)
class View(Value):
    """Everything that the page shows."""

    running: bool
    process: Mapping[str, Any]  # the status file; what a daemon last said of itself
    folders: tuple[FolderState, ...]
    troubles: tuple[Trouble, ...]
    recent: int  # photos described within the rate's window
    held: int = 0  # photos that wait for a photo program
    handoffs: tuple[Pending, ...] = ()  # finished photos that are to be moved on

    @property
    def counts(self) -> dict[JobState, int]:
        """Rows by state, over all folders."""
        return {
            state: sum(folder.counts.get(state, 0) for folder in self.folders)
            for state in JobState
            if any(state in folder.counts for folder in self.folders)
        }

    @property
    def open_rows(self) -> int:
        """Photos with a way to go, but for those that are held."""
        watched = (folder.counts for folder in self.folders if folder.watched)
        return sum(counts.get(state, 0) for counts in watched for state in OPEN_STATES) - self.held

    @property
    def held_up(self) -> tuple[Pending, ...]:
        """Finished photos that cannot be moved on for a reason."""
        return tuple(one for one in self.handoffs if one.why)

    @property
    def per_hour(self) -> float | None:
        """Photos an hour, over the last minutes; None when there were none or the daemon is down."""
        if not self.running or not self.recent or "since" not in self.process:
            return None
        lived = (time.time() - datetime.fromisoformat(self.process["since"]).timestamp()) * 1000
        return self.recent / min(RATE_WINDOW_MS, max(lived, 1000)) * 3_600_000

    @property
    def seconds_left(self) -> float | None:
        """At the present rate."""
        return self.open_rows / self.per_hour * 3600 if self.per_hour else None

    def to_json(self) -> dict[str, Any]:
        """Give the form for scripts."""
        return {
            "running": self.running,
            "process": dict(self.process),
            "counts": {state.value: rows for state, rows in self.counts.items()},
            "folders": [
                {
                    "path": str(folder.path),
                    "counts": {state.value: rows for state, rows in folder.counts.items()},
                    "watched": folder.watched,
                    "paused": folder.paused_why,
                }
                for folder in self.folders
            ],
            "held": self.held,
            "photos_per_hour": self.per_hour,
            "seconds_left": self.seconds_left,
            "handoffs": {
                "pending": len(self.handoffs),
                "waiting": [
                    {"path": str(one.path), "to": str(one.after), "why": one.why} for one in self.held_up
                ],
            },
            "errors": [asdict(trouble) | {"path": str(trouble.path)} for trouble in self.troubles],
        }


def gather(state: StateDirectory) -> View:
    """Look at the status file and the database; nothing is written.

    Raises:
        StateUnavailable: they cannot be read.
    """
    running = state.is_held()
    process = state.read_status()
    if not state.database.exists():
        return View(running=running, process=process, folders=(), troubles=(), recent=0)
    with read_only(state.database) as db:
        return View(
            running=running,
            process=process,
            folders=tuple(store.folders(db, now=now_ms())),
            troubles=tuple(store.troubles(db, limit=TROUBLES_SHOWN)),
            recent=records.finished_since(db, now_ms() - RATE_WINDOW_MS),
            held=store.held_rows(db),
            handoffs=tuple(pending(db)),
        )


def exit_status(view: View) -> Exit:
    """OK, AMISS when a server is down, a folder is away, photos failed or are held up, NOT_RUNNING."""
    if not view.running:
        return Exit.NOT_RUNNING
    down = [
        endpoint for endpoint in view.process.get("endpoints", ()) if endpoint["state"] in ("down", "refused")
    ]
    paused = [folder for folder in view.folders if folder.paused_why]
    problems = view.process.get("problems")
    amiss = down or paused or problems or view.counts.get(JobState.FAILED) or view.held_up
    return Exit.AMISS if amiss else Exit.OK


def watch(state: StateDirectory) -> None:
    """Show it again and again, until interrupted."""
    with Live(render(gather(state)), console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(REFRESH_SECONDS)
            live.update(render(gather(state)), refresh=True)


def render(view: View) -> RenderableType:
    """Draw the page."""
    parts: list[RenderableType] = [_headline(view)]
    if view.folders:
        parts.append(_folders(view))
    if view.running:
        parts += _running(view)
    if view.held:
        parts.append(Text(f"{held(view.held)}: a photo program may have newer edits"))
    if view.handoffs:
        count = len(view.handoffs)
        photos = "1 finished photo is" if count == 1 else f"{count} finished photos are"
        parts.append(Text(f"{photos} to be moved on"))
    if view.held_up:
        parts.append(_held_up(view))
    if view.troubles:
        parts.append(_troubles(view))
    return Group(*parts)


def held(count: int) -> str:
    """Say how many photos wait for a photo program."""
    return f"{count} {'photo is' if count == 1 else 'photos are'} held"


def _headline(view: View) -> Text:
    process = view.process
    if not view.running:
        if not process:
            return Text("not running, and it never ran here", style="bold red")
        ended = "stopped in good order" if process.get("phase") == "stopped" else "ended without saying so"
        text = Text(f"not running: {ended}, last seen {process['at']}", style="bold red")
        text.append(_run(process))
        return text
    text = Text(f"{process.get('phase', 'starting')}", style="bold green")
    text.append(
        f" since {process.get('since')}, process {process.get('pid')}, version {process.get('version')}",
        "dim",
    )
    text.append(_run(process))
    if view.per_hour:
        text.append(f"\n{view.per_hour:.0f} photos an hour")
        if view.open_rows:
            text.append(f", about {_duration(view.seconds_left or 0)} left for {view.open_rows}")
    return text


def _run(process: Mapping[str, Any]) -> Text:
    """Name the run, by which `undo` takes back what it wrote."""
    return Text(f"\nrun {process['run']}" if process.get("run") else "", style="not bold dim")


def _folders(view: View) -> Table:
    states = list(view.counts)
    table = Table("folder", *states, "", box=None, pad_edge=False)
    for folder in view.folders:
        table.add_row(
            shown(str(folder.path)),
            *(str(folder.counts.get(state, 0)) for state in states),
            _standing(folder),
        )
    if len(view.folders) > 1:
        table.add_row("all", *(str(rows) for rows in view.counts.values()), "", style="bold")
    return table


def _standing(folder: FolderState) -> str:
    if not folder.watched:
        return "no longer watched"
    return shown(f"paused: {folder.paused_why}") if folder.paused_why else ""


def _running(view: View) -> list[RenderableType]:
    process = view.process
    parts: list[RenderableType] = []
    if process.get("settling"):
        parts.append(Text(f"{process['settling']} files have not stopped changing"))
    if process.get("current"):
        parts.append(_current(process["current"]))
    if process.get("endpoints"):
        parts.append(_endpoints(process["endpoints"]))
    parts += [Text(_server(server), style="dim") for server in process.get("servers", ())]
    parts += [Text(problem, style="yellow") for problem in process.get("problems", ())]
    upcoming = process.get("upcoming", {})
    if upcoming:
        text = ", ".join(f"{name} {moment.replace('T', ' ')}" for name, moment in upcoming.items())
        parts.append(Text(f"next: {text}", style="dim"))
    return parts


def _server(server: Mapping[str, Any]) -> str:
    """Word how a server of ours is doing; one that does not run is told with its last line of output."""
    line = f"server of {shown(server['entry'])}: {server['state']}, process {server['pid']}"
    if server["state"] in ("starting", "backing-off") and server["log_tail"]:
        line += f"; it says: {shown(server['log_tail'][-1])}"
    return line


def _current(photos: Sequence[Mapping[str, Any]]) -> Table:
    """Show those that are asked about or written; of those that wait for that, how many there are."""
    table = Table("in flight", "step", box=None, pad_edge=False)
    ahead = Counter(photo["step"] for photo in photos if photo["step"] in AHEAD)
    for photo in photos:
        if photo["step"] not in AHEAD:
            table.add_row(shown(photo["path"]), photo["step"])
    for step, count in ahead.items():
        table.add_row(f"{count} more", step, style="dim")
    return table


def _endpoints(endpoints: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("endpoint", "model", "place", "state", "in flight", "waiting", "asked", "failed")
    table = Table(*columns, "seconds", "tokens/s", "", box=None, pad_edge=False)
    for endpoint in endpoints:
        limit = endpoint.get("limit")  # the file may be of an older version, which did not say
        table.add_row(
            shown(endpoint["url"]),
            shown(endpoint["entry"]),
            endpoint.get("place") or "",
            endpoint["state"],
            f"{endpoint['in_flight']} of {limit}" if limit else str(endpoint["in_flight"]),
            *(str(endpoint.get(key, "")) for key in ("waiting", "asked", "failed")),
            *(_figure(endpoint.get(key)) for key in ("seconds", "tokens_per_second")),
            shown(endpoint["last_error"] or ""),
        )
    return table


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _held_up(view: View) -> Table:
    table = Table("not moved on", "to", "why", box=None, pad_edge=False)
    for one in view.held_up[:TROUBLES_SHOWN]:
        table.add_row(shown(one.path.name), shown(str(one.after or "")), shown(one.why or ""))
    if len(view.held_up) > TROUBLES_SHOWN:
        table.add_row(f"and {len(view.held_up) - TROUBLES_SHOWN} more", "", "")
    return table


def _troubles(view: View) -> Table:
    table = Table("last errors", "state", "why", box=None, pad_edge=False)
    for trouble in view.troubles:
        table.add_row(
            shown(Path(trouble.path).name),
            "failed" if trouble.state is JobState.FAILED else "held" if trouble.held else "waits",
            shown(trouble.error),
        )
    return table


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "a minute"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
