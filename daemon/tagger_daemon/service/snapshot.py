"""How the daemon stands, at one moment: what `status` shows of a running one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tagger_daemon import __version__
from tagger_daemon.model import Value
from tagger_daemon.service.arrivals import Arrivals
from tagger_daemon.service.calendar import Occasion
from tagger_daemon.service.clock import local_now
from tagger_daemon.service.crew import Crew
from tagger_daemon.service.handoff import Mover
from tagger_daemon.vision.loader import Loader, ServerStatus
from tagger_daemon.vision.pool import EndpointStatus, Pool


class Phase(StrEnum):
    """Where the daemon's life stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Current(Value):
    """One photo in flight."""

    path: str
    step: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot(Value):
    """Everything about the running process that the database does not know."""

    phase: Phase
    version: str
    pid: int
    since: str  # ISO 8601 with zone
    run: str  # names this life: what it wrote can be taken back by it
    at: str  # when this was taken
    settling: int  # files that have not stopped changing
    idle: bool  # every folder is read, nothing is settling, and all that is to be renewed is queued
    moving: bool  # finished photos are being moved on, or can be
    open_rows: int  # photos with a way to go, but for those that are held
    held: int  # photos that wait for a photo program
    finished: int  # photos that met their end in this life
    current: tuple[Current, ...]
    endpoints: tuple[EndpointStatus, ...]
    servers: tuple[ServerStatus, ...]
    problems: tuple[str, ...]  # what is not watched or not there
    upcoming: Mapping[str, str]  # occasion -> local date and time

    @property
    def is_over(self) -> bool:
        """Every photo that is there has met its end and was moved on, or is held up, maybe for a day."""
        return self.idle and self.open_rows == 0 and not self.current and not self.moving

    @property
    def lived_seconds(self) -> float:
        """How long this life has lasted."""
        return (datetime.fromisoformat(self.at) - datetime.fromisoformat(self.since)).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Give the form of the status file; names that are not text are escaped."""
        return dataclasses.asdict(self)


def take_snapshot(
    *,
    phase: Phase,
    since: datetime,
    run: str,
    crew: Crew,
    arrivals: Arrivals,
    mover: Mover,
    pool: Pool,
    loader: Loader,
    idle: bool,
    open_rows: int,
    held: int,
    upcoming: Mapping[Occasion, datetime],
) -> Snapshot:
    """Look at every part."""
    return Snapshot(
        phase=phase,
        version=__version__,
        pid=os.getpid(),
        since=since.isoformat(timespec="seconds"),
        run=run,
        at=local_now().isoformat(timespec="seconds"),
        settling=arrivals.pending,
        idle=idle,
        moving=not mover.idle,
        open_rows=open_rows,
        held=held,
        finished=crew.finished,
        current=tuple(Current(path=str(walk.job.photo.path), step=walk.steps.current) for walk in crew.walks),
        endpoints=pool.snapshot(),
        servers=loader.snapshot(),
        problems=tuple(arrivals.problems),
        upcoming={occasion: moment.isoformat(timespec="minutes") for occasion, moment in upcoming.items()},
    )
