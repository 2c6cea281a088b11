"""The one place where the service reads the time of day."""

from __future__ import annotations

import time
from datetime import datetime


def now_ms() -> int:
    """Milliseconds since the epoch, as the database counts."""
    return time.time_ns() // 1_000_000


def local_now() -> datetime:
    """Local time with its zone, as a photographer's day counts."""
    return datetime.now().astimezone()
