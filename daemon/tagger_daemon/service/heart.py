"""Tells systemd's watchdog that we live, only while every part does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

from loguru import logger

from tagger_daemon.backlog.store import Backlog
from tagger_daemon.errors import StateUnavailable
from tagger_daemon.service.notify import Notifier

#: Seconds after which a part that has not moved is held to be stuck.
STUCK_SECONDS = 30.0


class Part(Protocol):
    """Something that moves while it lives."""

    last_moved: float


class Heart:
    """Asks the database and both loops, then beats."""

    def __init__(self, notifier: Notifier, *, crew: Part, arrivals: Part, backlog: Backlog) -> None:
        self._notifier = notifier
        self._parts = {"the claiming of photos": crew, "the taking in of photos": arrivals}
        self._backlog = backlog
        self._complained = False

    async def beat(self) -> None:
        """Turn for ever, three times within what systemd allows."""
        if self._notifier.watchdog_seconds is None:
            await asyncio.Event().wait()
            return
        while True:
            if await self._all_alive():
                self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_seconds / 3)

    async def _all_alive(self) -> bool:
        # A full disk is told elsewhere, and a restart would not empty it.
        with contextlib.suppress(StateUnavailable):
            await asyncio.to_thread(self._backlog.open_rows)
        now = time.monotonic()
        stuck = [name for name, part in self._parts.items() if now - part.last_moved > STUCK_SECONDS]
        if stuck and not self._complained:
            logger.error("{} has not moved for {:.0f} s", " and ".join(stuck), STUCK_SECONDS)
        self._complained = bool(stuck)
        return not stuck
