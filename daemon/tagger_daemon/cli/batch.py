"""`imageworks-personal-tagger`: one run over folders, by the same engine as the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tagger_daemon.cli import logs, run_options, shared
from tagger_daemon.cli.app import App, start, with_debug, with_parameters
from tagger_daemon.cli.choice import Contradiction, chosen, without_effect
from tagger_daemon.cli.exits import BATCH
from tagger_daemon.cli.review import review_group
from tagger_daemon.cli.run_options import name_of
from tagger_daemon.cli.shared import ConfigOption, JsonOption
from tagger_daemon.reports.audit import AuditLog, single
from tagger_daemon.service.batch import state_of
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Loaded, Settings, load

app = App(BATCH, name=BATCH.name)
config_app = App(BATCH, help="The settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")


def run(
    ctx: typer.Context,
    config: ConfigOption = None,
    show: Annotated[
        bool | None,
        typer.Option("--progress/--no-progress", help="Show a progress bar; by default on a terminal."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, for scripts.")] = False,
    **given: Any,
) -> None:
    """Describe the photos of folders, and end when they are done.

    The bare command does the same as `run`.

    Examples:

      $program -i ~/Pictures/2026-05 --recursive --registry ~/models.json

      $program run -i a.jpg --base-url http://gpu:8000/v1 --model qwen3-vl-8b --dry-run

      $program run -i ~/Pictures --use-registry --caption-role narration
    """
    typed = run_options.typed(given)
    if ctx.invoked_subcommand is not None:
        # They would be taken for the bare command's, and be lost.
        if typed or config or as_json or show is not None:
            behind = f"{BATCH.name} {ctx.invoked_subcommand} …"
            raise typer.BadParameter(f"options of a command stand behind it: {behind}")
        return
    loaded = settled(config, typed)
    if not loaded.settings.input_dirs:
        raise typer.BadParameter("say which photos: --input-dir FOLDER, as often as you like")
    # The models' libraries take most of a second to load, and the other commands do without them.
    from tagger_daemon.cli import running

    raise typer.Exit(running.conduct(loaded, show=show, as_json=as_json))


def config_show(config: ConfigOption = None, as_json: JsonOption = False, **given: Any) -> None:
    """Print every setting's effective value and where it came from.

    With the options of a run, as that run would see them.

    Examples:

      $program config show

      $program config show --use-registry --max-keywords 20

      $program config show --json | jq -r .max_keywords.from
    """
    shared.show_settings(settled(config, run_options.typed(given)), as_json=as_json)


def settled(config: Path | None, typed: dict[str, Any]) -> Loaded:
    """Read the settings, with what was typed above all.

    Raises:
        ConfigurationError: they are not as they should be.
    """
    try:
        overrides = chosen(typed)
    except Contradiction as error:
        first, second = (name_of(key) for key in error.settings)
        raise typer.BadParameter(f"{first} and {second} contradict each other: {error.why}") from None
    loaded = load(config=config, overrides=overrides, program=BATCH.name)
    if key := without_effect(typed, loaded.settings):
        raise typer.BadParameter(f"{name_of(key)} is about a model that is not named: add {name_of('model')}")
    return loaded


def apply(
    jsonl: Annotated[
        Path, typer.Argument(metavar="JSONL", help="The audit of a dry run; edited, if you like.")
    ],
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write what a dry run proposed, without asking the models again.

    All of it, but for what `review` rejected or edited. The file may be edited before: another caption or
    description is yours from then on, a keyword that was taken out is never proposed again for that photo.

    Examples:

      $program apply outputs/results/personal_tagger.jsonl

      $program apply audit.jsonl --dry-run --json
    """
    from tagger_daemon.cli.applying import conduct_apply

    settings = batch_settings(config)
    logs.configure("WARNING")
    state = StateDirectory(root=settings.state_dir)
    command = f"{BATCH.name} apply"
    raise typer.Exit(
        conduct_apply(state, settings, jsonl, dry_run=dry_run, yes=yes, as_json=as_json, command=command)
    )


def batch_settings(config: Path | None) -> Settings:
    """Read the settings, with the state directory of batch runs.

    Raises:
        ConfigurationError: they are not as they should be.
    """
    settings = shared.read_settings(BATCH, config).settings
    return settings.model_copy(update={"state_dir": state_of(settings)})


def audit_of(settings: Settings) -> AuditLog:
    """Return where what becomes of photos is told."""
    return AuditLog(single(settings.output_jsonl.absolute()))


_run = with_parameters(run, run_options.parameters())
app.bare(with_debug(_run), invoke_without_command=True)
app.command()(_run)
app.command("list-registry")(shared.list_registry)
app.command()(shared.profiles)
app.command()(shared.preview)
app.command()(apply)
app.command()(shared.retry_command(batch_settings, idle="the next run over their folders takes them"))
app.command()(shared.undo_command(BATCH, batch_settings, audit_of))
app.add_typer(review_group(BATCH, batch_settings, audit_of), name="review")
config_app.command("show")(with_parameters(config_show, run_options.parameters()))


def main() -> None:
    """Run the command line."""
    start(app)
