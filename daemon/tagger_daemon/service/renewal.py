"""Has photos taken up again of which there is more to be said now: what was proposed, and may be written by
now; and where that is wished, what carries the words of another model or prompt.

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
from tagger_daemon.model import Mode, Policy
from tagger_daemon.service.clock import now_ms

#: Photos that are looked at in one go: some milliseconds, for which the queue waits.
BATCH = 500
#: Seconds until the next try while the state directory cannot be read or written.
STATE_PAUSE = 5.0


class Renewal:
    """Looks once through everything that is tagged, by the ledger alone: no file is opened."""

    def __init__(
        self, policy: Policy, *, database: Path, backlog: Backlog, reopened: Callable[[], None]
    ) -> None:
        """Prepare to look.

        Args:
            policy: what may be written, and who would be asked now.
            database: the state database, which is read by a connection of its own.
            backlog: where photos are made ready again.
            reopened: called when there is something new in it.
        """
        self._policy = policy
        self._database = database
        self._backlog = backlog
        self._reopened = reopened
        self.done = asyncio.Event()  # nothing is to be looked through, or all of it was
        if policy.mode is Mode.PROPOSE:
            self.done.set()

    async def run(self) -> None:
        """Look through everything once, and then rest for ever."""
        count = 0
        last: Path | None = None
        while not self.done.is_set():
            try:
                last, stale = await asyncio.to_thread(self._batch, last)
            except StateUnavailable as error:
                logger.warning("{}; photos are described anew when it can", error)
                await asyncio.sleep(STATE_PAUSE)
                continue
            if stale:
                self._reopened()
            count += stale
            if last is None:
                self.done.set()
        if count:
            logger.info("{} photos have proposals, or words of other models: they are taken up again", count)
        await asyncio.Event().wait()

    def _batch(self, after: Path | None) -> tuple[Path | None, int]:
        """Make some ready again: the last one that was looked at, and how many."""
        if after is None:
            with read_only(self._database) as db:
                proposed = records.proposed_photos(db)
            if proposed and (count := self._backlog.reopen(proposed, now=now_ms())):
                return Path(), count  # which comes before all others
        if self._policy.mode is not Mode.REFRESH:
            return None, 0
        judge = judged_by(self._policy)
        with read_only(self._database) as db:
            tagged = records.tagged_photos(db, after=after, limit=BATCH)
        stale = [
            one.path
            for one in tagged
            # One that was measured by these very models needs no second look, whatever its marker says: what
            # they would write may be in fields that a person has.
            if one.marker is not None and one.judged != judge and is_stale(one.marker, self._policy)
        ]
        count = self._backlog.reopen(stale, now=now_ms()) if stale else 0
        return tagged[-1].path if tagged else None, count
