"""The help of every command, word by word: what a person reads does not change by accident.

After a change that was meant:

    RENEW_GOLDEN=1 scripts/test tests/do/test_help.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from support.typing_it import called
from tagger_daemon.cli import batch, daemon
from tagger_daemon.cli.app import App

GOLDEN = Path(__file__).parents[1] / "golden"
RENEW = "RENEW_GOLDEN"


def paths(app: typer.Typer, *above: str) -> list[tuple[str, ...]]:
    """Return the words that lead to each command, groups included."""
    found = [above]
    for command in app.registered_commands:
        assert command.callback is not None
        found.append((*above, command.name or command.callback.__name__))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        assert group.name is not None
        found += paths(group.typer_instance, *above, group.name)
    return found


PAGES = {
    "-".join((app.program.name, *words)): (app, words)
    for app in (daemon.app, batch.app)
    for words in paths(app)
}


@pytest.mark.parametrize("page", PAGES)
def test_the_help_is_as_it_was(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app: App
    app, words = PAGES[page]
    monkeypatch.setenv("COLUMNS", "100")
    assert called(app, monkeypatch, *words, "--help") == 0
    said = capsys.readouterr().out
    golden = GOLDEN / f"{page}.txt"
    if os.environ.get(RENEW):
        golden.write_text(said, encoding="utf-8")
        pytest.skip(f"{golden.name} is renewed")
    assert said == golden.read_text(encoding="utf-8"), f"if that was meant: {RENEW}=1"


@pytest.mark.parametrize("page", PAGES)
def test_the_help_fits_a_narrow_terminal_and_has_examples(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app, words = PAGES[page]
    monkeypatch.setenv("COLUMNS", "80")
    assert called(app, monkeypatch, *words, "--help") == 0
    said = capsys.readouterr().out
    # The names of variables are longer than a column, and nothing else is.
    assert [line for line in said.splitlines() if len(line) > 80 and "__" not in line] == []
    assert "$program" not in said
    is_group = any(other[: len(words)] == words for other in paths(app) if other != words)
    if not is_group or not words:
        assert f"    {app.program.name}" in said
    assert "Exit status:" in said


def test_no_page_is_left_of_a_command_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {*PAGES}
