"""What `undo` shows: fit for a narrow terminal, and true also where it came to an early end."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tagger_daemon.cli import undo as page
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.stopping import Stop
from tagger_daemon.cli.undo import Outlook, Shown, exit_status, render, summary
from tagger_daemon.errors import ConfigurationError, PhotoGone, StateUnavailable, WriteRefused
from tagger_daemon.service.by_hand import check_owner
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.service.undoing import Found

LONG = "A yellow dog runs along the beach while two people are walking in the distance below a sky. " * 3


def shown(name: str, **changes: Any) -> Shown:
    path = Path("/photos/2026") / name
    known: dict[str, Any] = {
        "photo": path,
        "target": path,
        "removes": False,
        "changes": (("XMP-dc:Title", "A dog.", "Mine"), ("IPTC:ObjectName", "A dog.", None)),
        "restored": ("XMP-dc:Title",),
        "edited": (),
        "gone": (),
    }
    return Shown(**{**known, **changes})


def printed(outlook: Outlook) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(render(outlook, done=False))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def found(name: str) -> Found:
    path = Path("/photos") / name
    return Found(path=path, target=path, contents=frozenset(), meant=frozenset())


def test_photos_are_named_below_their_folder_and_long_values_are_cut() -> None:
    lists = ("XMP-dc:Subject", ("Rose", "dog", "sea"), ("Rose", "beach"))
    text = printed(
        Outlook(
            photos=[
                shown("may/a.jpg", changes=(("XMP-dc:Description", LONG, None), lists)),
                shown("june/b.nef", target=Path("/photos/2026/june/b.xmp"), removes=True),
                shown("june/c.jpg", edited=("XMP-dc:Description",), gone=("XMP-dc:Subject",)),
            ]
        )
    )
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "below /photos/2026"
    assert "may/a.jpg" in lines
    assert "june/b.nef (b.xmp)" in lines
    assert text.count("A yellow dog") == 1
    assert "…" in text
    assert any(line.split() == ["Keywords", "dog,", "sea", "beach"] for line in lines)
    assert any(line.split() == ["Title", "A", "dog.", "Mine"] for line in lines)
    assert text.count("A dog.") == 2  # the legacy block holds the same field once more
    assert "changed by a person since: stays" in text


def test_the_many_are_counted_and_every_reason_is_shown() -> None:
    outlook = Outlook(
        photos=[shown(f"{number}.jpg") for number in range(23)],
        failed=[(Path("/photos/a\n.jpg"), "it is write-protected")],
        missing=[Path("/photos/b.jpg")],
    )
    text = printed(outlook)
    assert "and 3 files more" in text
    assert "/photos/a\\n.jpg: it is write-protected" in text
    assert "/photos/b.jpg: not found here, nor under another name" in text
    assert summary(outlook, done=True) == (
        "23 files: 23 fields restored, 0 left as a person changed them since, 0 had been removed already; "
        "1 failed; 1 photo not found."
    )
    assert exit_status(outlook) is Exit.AMISS
    assert exit_status(Outlook(missing=[Path("/photos/b.jpg")])) is Exit.OK


def test_whatever_befalls_one_photo_the_others_go_on_but_not_without_the_state() -> None:
    ends: dict[str, Exception] = {
        "gone.jpg": PhotoGone("it is gone"),
        "protected.jpg": WriteRefused("it is write-protected"),
        "full.jpg": StateUnavailable("the disk is full"),
    }

    def deal(item: Found) -> None:
        if item.path.name in ends:
            raise ends[item.path.name]

    items = [found(name) for name in ("a.jpg", *ends, "b.jpg")]
    outlook = Outlook()
    page._each(items, deal, outlook, what="trying", stop=Stop())
    assert outlook.missing == [Path("/photos/gone.jpg")]
    assert outlook.failed == [(Path("/photos/protected.jpg"), "it is write-protected")]
    assert (outlook.stopped, outlook.left) == ("the disk is full", 2)
    assert "the disk is full, 2 files left" in summary(outlook, done=True)
    assert exit_status(outlook) is Exit.AMISS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_file_in_progress_be_ended(number: signal.Signals) -> None:
    dealt: list[str] = []

    def deal(item: Found) -> None:
        if item.path.name == "b.jpg":
            signal.raise_signal(number)
        dealt.append(item.path.name)

    before = signal.getsignal(number)
    outlook, stop = Outlook(), Stop()
    with stop.listening():
        page._each([found(f"{letter}.jpg") for letter in "abcd"], deal, outlook, what="trying", stop=stop)
    assert dealt == ["a.jpg", "b.jpg"]
    assert (outlook.stopped, outlook.left, exit_status(outlook)) == ("interrupted", 2, Exit.INTERRUPTED)
    assert signal.getsignal(number) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may touch what is another user's")
def test_root_leaves_no_files_in_another_users_state(tmp_path: Path) -> None:
    state = StateDirectory(root=tmp_path)
    state.database.touch()
    check_owner(state, command="tagger-daemon undo")
    os.chown(state.database, 54321, 54321)
    with pytest.raises(ConfigurationError, match="sudo -u 54321"):
        check_owner(state, command="tagger-daemon undo")
