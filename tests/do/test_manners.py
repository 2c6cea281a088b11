"""How both programs behave at a shell: help, completion, errors, statuses, colours, keys."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from support.running import PATIENCE
from support.typing_it import called
from tagger_daemon import __version__
from tagger_daemon.cli import batch, daemon
from tagger_daemon.cli.app import App
from tagger_daemon.cli.exits import BATCH, DAEMON, Exit, Program
from tagger_daemon.errors import AlreadyRunning, ConfigurationError, PhotoGone

APPS = {DAEMON.name: daemon.app, BATCH.name: batch.app}
PROGRAMS = pytest.mark.parametrize("program", [DAEMON, BATCH], ids=lambda program: program.name)
KEY = "sk-never-shown-0123456789"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executable(program: Program) -> str:
    return str(Path(sys.executable).with_name(program.name))


def process(program: Program, *typed: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program as it is installed."""
    return subprocess.run(
        [executable(program), *typed],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, **environ},
    )


# --- The bare command ---


#: What makes an option what it is.
TRAITS = (
    *("name", "opts", "secondary_opts", "help", "metavar", "multiple", "default", "is_flag", "required"),
    *("rich_help_panel", "hidden", "envvar"),
)


def parameters(command: Any) -> list[dict[str, Any]]:
    return [
        {trait: getattr(param, trait) for trait in TRAITS} | {"type": param.type_descriptor.annotation}
        for param in command.params
    ]


def test_the_bare_command_takes_what_run_takes() -> None:
    root: Any = typer.main.get_command(batch.app)
    of_program = {"version", "install_completion", "show_completion"}
    bare = [param for param in parameters(root) if param["name"] not in of_program]
    assert bare == parameters(root.commands["run"])
    assert len(bare) > 40


def test_the_bare_command_does_what_run_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("-i", "a", "--base-url", "http://x/v1"), ("-i", "a", "--max-keywords", "0")):
        bare = (called(batch.app, monkeypatch, *words), capsys.readouterr().err.splitlines()[-1])
        assert bare == (
            called(batch.app, monkeypatch, "run", *words),
            capsys.readouterr().err.splitlines()[-1],
        )
        assert bare[0] == Exit.USAGE


def test_an_option_before_a_command_is_not_lost_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--recursive"], ["--no-recursive"], ["--config", "x.toml"], ["--json"], ["-i", "a"]):
        assert called(batch.app, monkeypatch, *option, "config", "show") == Exit.USAGE
        assert f"stand behind it: {BATCH.name} config" in capsys.readouterr().err


# --- Help, version, completion ---


@PROGRAMS
@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(
    program: Program, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(APPS[program.name], monkeypatch, option) == Exit.OK
    assert capsys.readouterr().out == f"{__version__}\n"


COMPLETED = {
    DAEMON.name: [("tagger-daemon list", ["list-registry"]), ("tagger-daemon run --onc", ["--once"])],
    BATCH.name: [
        ("imageworks-personal-tagger --keyword-r", ["--keyword-role", "--keyword-registry-model"]),
        ("imageworks-personal-tagger run --no-bac", ["--no-backup-originals"]),
        ("imageworks-personal-tagger config sh", ["show"]),
    ],
}


@PROGRAMS
def test_a_shell_is_told_how_words_go_on(program: Program) -> None:
    variable = f"_{program.name.replace('-', '_').upper()}_COMPLETE"
    for line, expected in COMPLETED[program.name]:
        position = str(len(line.split()) - 1)
        asked = {variable: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": position}
        done = process(program, **asked)
        assert (sorted(done.stdout.split()), done.returncode) == (sorted(expected), 0)


@PROGRAMS
def test_bash_completes_once_it_was_installed(program: Program, home: Path) -> None:
    # What is the shell is found out from the processes above: so it is a shell that asks.
    script = f"{executable(program)} --show-completion && {executable(program)} --install-completion; true"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert f"_{program.name.replace('-', '_')}_completion {program.name}" in done.stdout
    assert "bash completion installed" in done.stdout
    line = {DAEMON.name: "ret", BATCH.name: "prev"}[program.name]
    asks = (
        f"source ~/.bashrc; PATH={Path(executable(program)).parent}:$PATH; "
        f"COMP_WORDS=({program.name} {line}); COMP_CWORD=1; "
        f'_{program.name.replace("-", "_")}_completion {program.name}; echo "${{COMPREPLY[@]}}"'
    )
    shown = subprocess.run(["bash", "-c", asks], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert shown.stdout.split() == [{DAEMON.name: "retry", BATCH.name: "preview"}[program.name]]


# --- Errors and statuses ---


def failing(program: Program, error: Exception) -> App:
    """Return a program with one command more, which fails."""
    app = App(program, name=program.name)

    @app.command()
    def fail() -> None:
        """Fail."""
        raise error

    @app.command()
    def other() -> None:
        """Do nothing."""

    return app


@pytest.mark.parametrize(
    ("error", "of_daemon", "of_batch"),
    [
        (ConfigurationError("no registry\nand no model"), Exit.CONFIGURATION, Exit.USAGE),
        (AlreadyRunning("no registry\nand no model"), Exit.ALREADY_RUNNING, Exit.PREFLIGHT),
        (PhotoGone("no registry\nand no model"), Exit.AMISS, Exit.AMISS),
    ],
)
@PROGRAMS
def test_an_error_is_told_in_its_own_words_and_without_a_traceback(
    program: Program,
    error: Exception,
    of_daemon: Exit,
    of_batch: Exit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = failing(program, error)
    expected = of_daemon if program is DAEMON else of_batch
    assert called(app, monkeypatch, "fail") == expected
    lines = f"{program.name}: no registry\n{program.name}: and no model\n"
    assert capsys.readouterr().err == lines
    assert called(app, monkeypatch, "fail", "--debug") == expected
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert "raise error" in told
    assert told.endswith(lines)


@PROGRAMS
def test_a_defect_is_called_one(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = failing(program, ZeroDivisionError(f"something about {KEY}"))
    assert called(app, monkeypatch, "fail") == Exit.AMISS
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"{program.name}: this is a defect of the program, not of what you typed: ZeroDivisionError; "
        "--debug shows where"
    )
    assert called(app, monkeypatch, "fail", "--debug") == Exit.AMISS
    assert "raise error" in capsys.readouterr().err


@PROGRAMS
def test_an_interruption_has_its_status(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(failing(program, KeyboardInterrupt()), monkeypatch, "fail") == Exit.INTERRUPTED  # type: ignore[arg-type]  # no Exception


@PROGRAMS
@pytest.mark.parametrize("words", [["no-such-command"], ["--no-such-option"], ["config"]])
def test_wrong_usage_has_its_status(
    program: Program, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(APPS[program.name], monkeypatch, *words) == Exit.USAGE
    assert f"Usage: {program.name}" in capsys.readouterr().err


# --- Colours ---


def on_terminal(*command: str, **environ: str) -> str:
    """Run a command on a terminal, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env={**os.environ, **environ}
    ) as running:
        os.close(theirs)
        written = b""
        # The terminal's end is an error on Linux, once nobody holds its other side.
        try:
            while piece := os.read(ours, 65536):
                written += piece
        except OSError:
            pass
        finally:
            os.close(ours)
        running.wait(timeout=PATIENCE)
    return written.decode()


COLOUR = "\x1b[3"  # what begins a colour; bold and dim are none


@PROGRAMS
def test_colours_are_for_terminals_that_want_them(program: Program, home: Path) -> None:
    (home / "registry.json").write_text('[{"name": "broken", "roles": 7}]', encoding="utf-8")
    words = ("list-registry", "--registry", str(home / "registry.json"))
    assert COLOUR in on_terminal(executable(program), *words)
    assert COLOUR not in on_terminal(executable(program), *words, NO_COLOR="1")
    assert "\x1b" not in process(program, *words).stdout


# --- Keys ---


@pytest.mark.parametrize(
    "words",
    [
        ["config", "show"],
        ["config", "show", "--json"],
        ["--help"],
        ["run", "--help"],
        ["run", "-i", "a", "--max-keywords", "0"],
        ["run", "-i", "a", "--max-keywords", "0", "--debug"],
        ["run", "-i", "a", "--model", "m", "--use-registry"],
        ["run", "-i", "a", "--temperature", "hot"],
        ["run", "-i", "a", "--base-url", "http://x/v1", "--debug"],
    ],
)
@pytest.mark.parametrize("way", ["typed", "environment", "file"])
def test_a_key_is_shown_nowhere(
    words: list[str],
    way: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if way == "environment":
        monkeypatch.setenv("IMAGEWORKS_PERSONAL_TAGGER__API_KEY", KEY)
    elif way == "file":
        text = f'[tool.imageworks.personal_tagger]\ndefault_api_key = "{KEY}"'
        (home / "pyproject.toml").write_text(text, encoding="utf-8")
    elif "--help" not in words:
        words = [*words, "--api-key", KEY]
    status = called(batch.app, monkeypatch, *words)
    said = "".join(capsys.readouterr())
    assert status == (Exit.USAGE if "run" in words and "--help" not in words else Exit.OK)
    assert said
    assert KEY not in said
    if "show" in words:
        assert "**********" in said
