"""What is typed at a shell, read as the program reads it, without a process of its own."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from tagger_daemon.cli import batch, run_options
from tagger_daemon.cli.app import App, start
from tagger_daemon.cli.exits import BATCH, Session
from tagger_daemon.settings import Loaded


def settings_of(*typed: str) -> Loaded:
    """Return the settings of `imageworks-personal-tagger run` with these options."""
    root: Any = typer.main.get_command(batch.app)
    with root.commands["run"].make_context("run", [*typed], obj=Session(program=BATCH)) as context:
        return batch.settled(context.params["config"], run_options.typed(context.params))


def called(app: App, monkeypatch: pytest.MonkeyPatch, *typed: str) -> int:
    """Call a program as its entry point does, and return its exit status."""
    monkeypatch.setattr("sys.argv", [app.program.name, *typed])
    with pytest.raises(SystemExit) as end:
        start(app)
    return int(end.value.code or 0)
