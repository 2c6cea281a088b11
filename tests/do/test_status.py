"""What `status` shows, whatever it finds."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from tagger_daemon.backlog.store import FolderState, Trouble
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.status import View, exit_status, render
from tagger_daemon.errors import PhotoHeld
from tagger_daemon.model import JobState


def test_a_daemon_that_has_not_yet_said_anything_of_itself_has_no_rate() -> None:
    assert View(running=True, process={}, folders=(), troubles=(), recent=3).per_hour is None


def test_photos_that_are_held_are_shown_and_nothing_is_amiss() -> None:
    folder = FolderState(
        path=Path("/photos"),
        counts={JobState.WAITING: 3, JobState.READY: 1},
        watched=True,
        paused_why=None,
        scanned_at=None,
    )
    held = Trouble(
        path=Path("/photos/IMG.nef"),
        state=JobState.WAITING,
        error="IMG.xmp holds develop settings",
        error_class=PhotoHeld.__name__,
        attempts=0,
        due_at=0,
        updated_at=0,
    )
    view = View(running=True, process={}, folders=(folder,), troubles=(held,), recent=0, held=2)
    screen = Console(width=100, record=True, file=io.StringIO())
    screen.print(render(view))
    shown = screen.export_text()
    assert "2 photos are held: a photo program may have newer edits" in shown
    assert "IMG.nef      held   IMG.xmp holds develop settings" in shown
    assert (exit_status(view), view.open_rows, view.to_json()["held"]) == (Exit.OK, 2, 2)
