"""What `status` shows, whatever it finds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tagger_daemon.backlog.handoffs import Pending
from tagger_daemon.backlog.store import FolderState, Trouble
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.progress import headline
from tagger_daemon.cli.status import TROUBLES_SHOWN, View, exit_status, render
from tagger_daemon.errors import PhotoHeld
from tagger_daemon.model import JobState
from tagger_daemon.service.snapshot import Phase, Snapshot

WAITS = Pending(
    path=Path("/photos/inbox/a.jpg"),
    folder=Path("/photos/inbox"),
    after=Path("/photos/after"),
    why="/photos/after is not there [away]",
    begun=None,
)


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


@pytest.mark.parametrize(
    ("handoffs", "expected"), [((), Exit.OK), ((WAITS.evolve(why=None),), Exit.OK), ((WAITS,), Exit.AMISS)]
)
def test_a_photo_that_cannot_be_moved_on_is_amiss_and_one_whose_turn_has_not_come_is_not(
    handoffs: tuple[Pending, ...], expected: Exit
) -> None:
    view = View(running=True, process={}, folders=(), troubles=(), recent=0, handoffs=handoffs)
    assert exit_status(view) is expected


@pytest.mark.parametrize("moving", [False, True])
def test_a_single_run_is_not_over_while_photos_are_being_moved_on(moving: bool) -> None:
    snapshot = Snapshot(
        phase=Phase.RUNNING,
        version="0",
        pid=1,
        since="",
        run="",
        at="",
        settling=0,
        idle=True,
        moving=moving,
        open_rows=0,
        held=0,
        finished=1,
        current=(),
        endpoints=(),
        servers=(),
        problems=(),
        upcoming={},
    )
    assert snapshot.is_over is not moving
    assert headline(snapshot) == ("moving photos on" if moving else "watching")
    assert headline(snapshot, once=True) == ("moving photos on" if moving else "done")
    assert headline(snapshot.evolve(open_rows=1, moving=False), once=True) == "waiting for a model"


def test_what_cannot_be_moved_on_is_shown_with_its_reason_and_the_many_are_counted() -> None:
    view = View(running=True, process={}, folders=(), troubles=(), recent=0, handoffs=(WAITS,) * 13)
    console = Console(width=120, record=True)
    console.print(render(view))
    text = console.export_text()
    assert "13 finished photos are to be moved on" in text
    assert text.count("/photos/after is not there [away]") == TROUBLES_SHOWN
    assert "and 3 more" in text
    assert view.to_json()["handoffs"]["pending"] == 13
    assert view.to_json()["handoffs"]["waiting"][0] == {
        "path": "/photos/inbox/a.jpg",
        "to": "/photos/after",
        "why": "/photos/after is not there [away]",
    }


@pytest.mark.parametrize("running", [True, False])
def test_the_run_is_named_by_which_it_can_be_taken_back(running: bool) -> None:
    process = {
        "phase": "running",
        "since": "2026-05-01T12:00:00+00:00",
        "at": "now",
        "run": "20260501T120000-1a2b",
    }
    console = Console(width=80, record=True)
    console.print(render(View(running=running, process=process, folders=(), troubles=(), recent=0)))
    assert "run 20260501T120000-1a2b" in console.export_text()


@pytest.mark.parametrize(("state", "told"), [("backing-off", True), ("starting", True), ("running", False)])
def test_a_server_that_does_not_run_is_shown_with_its_last_words(state: str, told: bool) -> None:
    server = {"entry": "eyes", "state": state, "pid": None, "log_tail": ["loading", "out of memory"]}
    view = View(running=True, process={"servers": [server]}, folders=(), troubles=(), recent=0)
    screen = Console(width=100, record=True, file=io.StringIO())
    screen.print(render(view))
    text = screen.export_text()
    assert f"server of eyes: {state}, process None" in text
    assert ("it says: out of memory" in text) == told
