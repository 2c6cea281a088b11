"""How a batch run goes: a display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tagger_daemon.cli.progress import headline
from tagger_daemon.cli.terminal import one_line, shown
from tagger_daemon.model import Stage
from tagger_daemon.service.snapshot import Snapshot
from tagger_daemon.vision.pool import EndpointStatus

#: Seconds between two lines about a run that has no terminal, while it is at the same thing.
LINE_SECONDS: Final = 10.0
#: The steps of a journey, in order.
STEPS: Final = ("read", "prepare", "prepared", *Stage, "write", "finish")


class Board:
    """The display: a bar, how many photos are at which step, and how busy each endpoint is."""

    def __init__(self, found: int, screen: Console) -> None:
        """Prepare.

        Args:
            found: photos of this run, those of earlier ones that are done included.
            screen: where it is shown.
        """
        self._found = found
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("starting", total=found, rate="")
        self.live = Live(self._bar, console=screen, refresh_per_second=4, transient=True)

    def __call__(self, snapshot: Snapshot) -> None:
        """Show how it stands."""
        self._bar.update(
            self._task,
            description=headline(snapshot, once=True),
            completed=done_of(snapshot, self._found),
            rate=rate_of(snapshot),
        )
        endpoints = Table.grid(padding=(0, 2))
        for endpoint in snapshot.endpoints:
            state = endpoint.state if endpoint.state == "up" else f"[yellow]{endpoint.state}[/]"
            endpoints.add_row(shown(endpoint.entry), shown(endpoint.url), state, load_of(endpoint))
        self.live.update(Group(self._bar, steps_of(snapshot), endpoints))


class Lines:
    """A line at each turn of what the run is at, and every ten seconds in between."""

    def __init__(
        self, found: int, *, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare.

        Args:
            found: photos of this run, those of earlier ones that are done included.
            write: takes a line.
            clock: seconds, from any beginning.
        """
        self._found = found
        self._write = write
        self._clock = clock
        self._headline = ""
        self._next = float("-inf")

    def __call__(self, snapshot: Snapshot) -> None:
        """Tell how it stands, if it is time."""
        now, head = self._clock(), headline(snapshot, once=True)
        if head == self._headline and now < self._next:
            return
        endpoints = (
            f"{one_line(endpoint.url)} {endpoint.state}, {load_of(endpoint)}"
            for endpoint in snapshot.endpoints
        )
        parts = (
            f"{head}: {done_of(snapshot, self._found)} of {self._found} done",
            rate_of(snapshot),
            steps_of(snapshot),
            *endpoints,
        )
        self._write("; ".join(part for part in parts if part))
        self._headline, self._next = head, now + LINE_SECONDS


def done_of(snapshot: Snapshot, found: int) -> int:
    """Return how many of the photos that were found have met their end, those of earlier runs included."""
    if not snapshot.idle:
        return snapshot.finished  # which of the others are done already is not known yet
    return max(found - snapshot.open_rows - snapshot.settling - snapshot.held, 0)


def rate_of(snapshot: Snapshot) -> str:
    """Say how many photos are done in a minute; "" before any is."""
    seconds = snapshot.lived_seconds
    return f"{60 * snapshot.finished / seconds:.1f}/min" if snapshot.finished and seconds else ""


def steps_of(snapshot: Snapshot) -> str:
    """Say how many photos are at which step."""
    counts = Counter(current.step for current in snapshot.current)
    return ", ".join(f"{step} {counts[step]}" for step in STEPS if counts[step])


def load_of(endpoint: EndpointStatus) -> str:
    """Say how busy an endpoint is."""
    waiting = f", {endpoint.waiting} waiting" if endpoint.waiting else ""
    return f"{endpoint.in_flight} of {endpoint.limit} at once{waiting}"
