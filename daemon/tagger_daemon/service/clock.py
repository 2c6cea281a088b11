"""The one place where the service reads the time of day, and which run of the machine this is."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from pathlib import Path


def now_ms() -> int:
    """Milliseconds since the epoch, as the database counts."""
    return time.time_ns() // 1_000_000


def local_now() -> datetime:
    """Local time with its zone, as a photographer's day counts."""
    return datetime.now().astimezone()


def boot_id() -> str:
    """Name this run of the machine, random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def new_run_id(now: datetime) -> str:
    """Return a name for this run of the program, by which what it wrote can be taken back."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
