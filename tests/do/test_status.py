"""What `status` shows, whatever it finds."""

from __future__ import annotations

from tagger_daemon.cli.status import View


def test_a_daemon_that_has_not_yet_said_anything_of_itself_has_no_rate() -> None:
    assert View(running=True, process={}, folders=(), troubles=(), recent=3).per_hour is None
