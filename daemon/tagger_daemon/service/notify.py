"""What systemd is told: ready, stopping, alive. Without systemd, nobody is told."""

from __future__ import annotations

import os

from sdnotify import SystemdNotifier


class Notifier:
    """sd_notify(3). Texts are ours and plain ASCII: a file name in them could carry fields of its own."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier()
        #: Seconds within which systemd wants a sign of life; None: it wants none.
        self.watchdog_seconds = _watchdog_seconds()

    def ready(self, status: str) -> None:
        """Database, recovery and watches stand."""
        self._notifier.notify("READY=1")
        self.status(status)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._notifier.notify(f"STATUS={text}")

    def stopping(self, seconds: float) -> None:
        """An orderly end has begun and may take this long."""
        self._notifier.notify("STOPPING=1")
        self._notifier.notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """Every part moves."""
        self._notifier.notify("WATCHDOG=1")


def _watchdog_seconds() -> float | None:
    # sd_watchdog_enabled(3): the process id says whether it is we who are meant.
    usec, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if usec is None or (pid is not None and int(pid) != os.getpid()):
        return None
    return int(usec) / 1e6
