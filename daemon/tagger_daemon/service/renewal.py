"""Has photos worked on anew by what the ledger says of them: those of other models, and those of proposals.

After the start, a few at a time: there may be many, and neither start nor arrivals are to wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from tagger_daemon.backlog.store import Backlog
from tagger_daemon.database import read_only
from tagger_daemon.errors import StateUnavailable
from tagger_daemon.ledger import records
from tagger_daemon.metadata.ownership import is_stale, judged_by
from tagger_daemon.model import Mode, Outcome, Policy
from tagger_daemon.service.clock import now_ms

#: Photos that are looked at in one go: some milliseconds, for which the queue waits.
BATCH = 500
#: Seconds until the next try while the state directory cannot be read or written.
STATE_PAUSE = 5.0


class Renewal:
    """Looks once through the ledger; no file is opened."""

    def __init__(
        self,
        mode: Mode,
        policy_at: Callable[[Path], Policy],
        *,
        takes: Callable[[Path], bool],
        database: Path,
        backlog: Backlog,
        reopened: Callable[[], None],
    ) -> None:
        """Prepare to look.

        Args:
            mode: what may be done to photos that have words already.
            policy_at: what may be written into the photo of this path, and who would be asked now.
            takes: whether the photo of this path is among those that are to be worked on: the ledger knows of
                others, of earlier runs and of folders that are no longer watched.
            database: the state database, which is read by a connection of its own.
            backlog: where photos are made ready again.
            reopened: called when there is something new in it.
        """
        self._mode = mode
        self._policy_at = policy_at
        self._takes = takes
        self._database = database
        self._backlog = backlog
        self._reopened = reopened
        self.done = asyncio.Event()  # all that is to be looked through was

    async def run(self) -> None:
        """Look through everything once, and then rest for ever."""
        if count := await self._each(self._unwritten):
            logger.info("{} photos have words that were not written yet", count)
        if self._mode is Mode.REFRESH and (count := await self._each(self._stale)):
            logger.info("{} photos carry words of other models or prompts; they are described anew", count)
        self.done.set()
        await asyncio.Event().wait()

    async def _each(self, batch: Callable[[Path | None], tuple[Path | None, list[Path]]]) -> int:
        """Make photos ready again, batch by batch, and return how many were."""
        count = 0
        last: Path | None = None
        while True:
            try:
                end, meant = await asyncio.to_thread(batch, last)
                ready = await asyncio.to_thread(self._backlog.reopen, meant, now=now_ms())
            except StateUnavailable as error:
                logger.warning("{}; photos are worked on anew when it can", error)
                await asyncio.sleep(STATE_PAUSE)
                continue
            if ready:
                self._reopened()
            count += ready
            if end is None:
                return count
            last = end

    def _unwritten(self, after: Path | None) -> tuple[Path | None, list[Path]]:
        """Return those of the next photos whose words may go further now, and the last one of them.

        What was proposed may be written; what was only told may be written, or proposed. What a person has
        begun to decide about, or refused, is not among them.
        """
        with read_only(self._database) as db:
            photos = records.unwritten_photos(db, after=after, limit=BATCH)
        meant = [path for path, outcome in photos if self._takes(path) and self._goes_further(path, outcome)]
        return (photos[-1][0] if photos else None), meant

    def _goes_further(self, path: Path, outcome: Outcome) -> bool:
        ends_as = self._policy_at(path).unwritten
        return ends_as is None or (outcome is Outcome.RECORDED and ends_as is not Outcome.RECORDED)

    def _stale(self, after: Path | None) -> tuple[Path | None, list[Path]]:
        """Return those of the next photos whose words are stale, and the last one that was looked at."""
        with read_only(self._database) as db:
            tagged = records.tagged_photos(db, after=after, limit=BATCH)
        stale = [one.path for one in tagged if self._takes(one.path) and self._is_stale(one)]
        return (tagged[-1].path if tagged else None), stale

    def _is_stale(self, one: records.Tagged) -> bool:
        policy = self._policy_at(one.path)
        if policy.mode is not Mode.REFRESH or one.judged == judged_by(policy):
            # One that was measured by these very models needs no second look, whatever its marker says: what
            # they would write may be in fields that a person has.
            return False
        if one.marker is None:
            return policy.overwrite and not one.left_alone
        return is_stale(one.marker, policy) or (policy.overwrite and one.has_persons and not one.left_alone)
