"""Decides which replica a photo belongs to, so that the server finds its picture in its cache.

Rendezvous hashing (Thaler and Ravishankar 1998): an endpoint that goes or comes moves no photos but its own.
With bounded loads (Mirrokni, Thorup and Zadimoghaddam, arXiv 1608.01350): none is given much more than its
share.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tagger_daemon.model import Value

#: How much more than its share an endpoint may be given, as a factor.
BALANCE: Final = 1.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Load(Value):
    """What one endpoint has to do."""

    requests: int  # under way there, or waiting to be
    limit: int  # how many at once it is given at most: its share goes by this
    room: bool  # whether it takes one more now


def rank(session: str, url: str) -> bytes:
    """Return the weight of an endpoint for a session: the highest of all is the session's own."""
    return hashlib.sha256(f"{session}\0{url}".encode(errors="surrogateescape")).digest()


def choose(loads: Sequence[Load]) -> int | None:
    """Choose an endpoint for a new photo: the first with room that has no more than its share.

    Where all that have room have more than their share, a place that is free is better than a good one.

    Args:
        loads: of the endpoints that may be chosen, in the photo's order.

    Returns:
        Its index; None where no one has room.
    """
    free = [number for number, load in enumerate(loads) if load.room]
    requests = 1 + sum(load.requests for load in loads)
    limits = sum(load.limit for load in loads)
    within = (
        number
        for number in free
        if loads[number].requests < math.ceil(BALANCE * requests * loads[number].limit / limits)
    )
    return next(within, free[0] if free else None)
