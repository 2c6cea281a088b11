"""The manners that both programs share: help in sections, `--version`, `--debug`, completion, colours."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from tagger_daemon import __version__
from tagger_daemon.cli.exits import Program, Session, told

#: Columns of help at most: longer lines are hard to read, and a narrow terminal gets what it has.
WIDEST_HELP: Final = 100

_F = TypeVar("_F", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command whose help has sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of the help page."""
        _format_sections(self, ctx, formatter)


class Group(TyperGroup):
    """Commands whose help has sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of the help page, and the commands."""
        _format_sections(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _format_sections(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    """Show options below the headings that they were given (`rich_help_panel`), and the others last."""
    sections: dict[str, list[tuple[str, str]]] = {}
    params: list[Any] = command.get_params(ctx)
    for param in params:
        usual = "Arguments" if param.param_type_name == "argument" else "Options"
        if record := param.get_help_record(ctx):
            sections.setdefault(param.rich_help_panel or usual, []).append(record)
    others = sections.pop("Options", [])
    for title, records in (*sections.items(), ("Options", others)):
        with formatter.section(title):
            formatter.write_dl(records)


class App(typer.Typer):
    """The commands of a program, or a group of them.

    Every command takes `--debug` besides the options that it is written with, and its help shows what the
    exit statuses mean.
    """

    def __init__(self, program: Program, *, name: str, text: str, **settings: Any) -> None:
        super().__init__(
            name=name,
            cls=Group,
            help=text,
            epilog=program.table,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            context_settings={"max_content_width": WIDEST_HELP},
            **settings,
        )
        self.program = program

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_F], _F]:
        """Register a command, as Typer does. In its help, `$program` is the program's name."""

        def registered(function: _F) -> _F:
            text = self.help_of(function)
            register = super(App, self).command(
                name, cls=Command, help=text, epilog=self.program.table, **settings
            )
            register(with_debug(function))
            return function

        return registered

    def help_of(self, function: Callable[..., Any]) -> str:
        """Return what a command's help says."""
        return (inspect.getdoc(function) or "").replace("$program", self.program.name)


def with_debug(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes `--debug` too."""
    return _with(
        function,
        debug=Annotated[
            bool,
            typer.Option("--debug", help="Show tracebacks of errors.", callback=_note_debug, is_eager=True),
        ],
    )


def with_version(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes `--version` too."""
    return _with(
        function,
        version=Annotated[
            bool,
            typer.Option(
                "--version", "-V", help="Print the version.", callback=_print_version, is_eager=True
            ),
        ],
    )


def with_parameters(
    function: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> Callable[..., Any]:
    """Return a command that takes these parameters instead of the `**keywords` that it is written with."""
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]

    @functools.wraps(function)
    def command(*args: Any, **keywords: Any) -> Any:
        return function(*args, **keywords)

    command.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]  # read by `inspect`
    return command


def _with(function: Callable[..., Any], **switches: Any) -> Callable[..., Any]:
    """Return a command with more switches: their callbacks deal with them, the function never sees them."""
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in switches.items()
    ]

    @functools.wraps(function)
    def without(*args: Any, **keywords: Any) -> Any:
        return function(*args, **{key: value for key, value in keywords.items() if key not in switches})

    signature = inspect.signature(function, eval_str=True)
    without.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *parameters])  # type: ignore[attr-defined]  # read by `inspect`
    return without


def _note_debug(ctx: typer.Context, asked: bool) -> None:
    if asked and isinstance(ctx.obj, Session):
        ctx.obj.debug = True


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def start(app: App) -> None:
    """Run a program's command line.

    Raises:
        SystemExit: always; its status is the program's.
    """
    session = Session(program=app.program)
    # Rich does the same by itself. See https://no-color.org: whatever the variable says, if it says anything.
    color = False if os.environ.get("NO_COLOR") else None
    with told(session):
        app(prog_name=app.program.name, obj=session, color=color)
