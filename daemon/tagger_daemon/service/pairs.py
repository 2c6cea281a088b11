"""Raw and JPEG of one photo: while one of them is asked about, the other waits for the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tagger_daemon.model import Photo


class Pairs:
    """One lock a pair, for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[frozenset[Path], asyncio.Lock] = {}
        self._users: dict[frozenset[Path], int] = {}

    @asynccontextmanager
    async def alone(self, photo: Photo, partner: Path | None) -> AsyncIterator[None]:
        """Keep the partner waiting meanwhile; a photo without one waits for nobody."""
        if partner is None:
            yield
            return
        pair = frozenset((photo.path, partner))
        lock = self._locks.setdefault(pair, asyncio.Lock())
        self._users[pair] = self._users.get(pair, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[pair] -= 1
            if not self._users[pair]:
                del self._users[pair], self._locks[pair]
