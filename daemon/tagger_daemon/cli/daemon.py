"""`tagger-daemon`: run it, look at it, mend it."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tagger_daemon.cli import logs, shared
from tagger_daemon.cli import status as status_page
from tagger_daemon.cli.app import App, start
from tagger_daemon.cli.exits import DAEMON, Exit
from tagger_daemon.cli.review import review_group
from tagger_daemon.cli.shared import ConfigOption, JsonOption, read_settings
from tagger_daemon.cli.terminal import console
from tagger_daemon.database import read_only
from tagger_daemon.reports.audit import AuditLog, daily
from tagger_daemon.service.clock import local_now
from tagger_daemon.service.reporting import make_page
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Loaded, Settings

app = App(DAEMON, name=DAEMON.name, no_args_is_help=True)
config_app = App(DAEMON, help="The settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")


def _daemon_settings(config: Path | None) -> Settings:
    return _load(config).settings


def _daemon_audit(settings: Settings) -> AuditLog:
    return AuditLog(daily(StateDirectory(root=settings.state_dir).audit))


app.add_typer(review_group(DAEMON, _daemon_settings, _daemon_audit), name="review")


def root() -> None:
    """Watches photo folders and writes titles, keywords and descriptions from your own vision models.

    Examples:

      $program doctor

      $program run

      $program status
    """


app.bare(root)


@app.command()
def run(
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="End when every photo is done.")] = False,
    show: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress", help="Show a progress bar; by default with --once on a terminal."
        ),
    ] = None,
    overwrite: Annotated[
        bool | None,
        typer.Option(
            "--overwrite-metadata/--no-overwrite-metadata",
            help="Replace titles and descriptions of a person's too; the ledger keeps them.",
        ),
    ] = None,
    use_loader: Annotated[
        bool | None,
        typer.Option(
            "--use-loader/--use-registry",
            help="Start the model servers that the registry says how to start, or use only those that run.",
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
) -> None:
    """Watch the folders and describe what arrives, until stopped.

    Examples:

      $program run

      $program run --config ~/tagger.toml --once

      $program run --use-registry
    """
    # The models' libraries take most of a second to load, and the other commands do without them.
    from tagger_daemon.cli import progress
    from tagger_daemon.service.daemon import Daemon

    loaded = _load(config, log_level=log_level, overwrite_metadata=overwrite, use_loader=use_loader)
    level = loaded.settings.log_level
    if show if show is not None else once and sys.stderr.isatty():
        asyncio.run(progress.run_with_bar(loaded.settings, once=once, level=level))
    else:
        logs.configure(level)
        plain = progress.plain_lines() if once else None
        asyncio.run(Daemon.live(loaded.settings, once=once, watcher=plain))
    if once:
        raise typer.Exit(progress.print_outcome(StateDirectory(root=loaded.settings.state_dir)))


@app.command()
def status(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it, until interrupted.")] = False,
) -> None:
    """Say how the daemon is: running or not, what it does, what went wrong.

    Examples:

      $program status

      $program status --json | jq .counts
    """
    state = StateDirectory(root=_load(config).settings.state_dir)
    if watch:
        status_page.watch(state)
        return
    view = status_page.gather(state)
    if as_json:
        typer.echo(json.dumps(view.to_json(), indent=2))
    else:
        console().print(status_page.render(view))
    raise typer.Exit(status_page.exit_status(view))


app.command()(shared.retry_command(_daemon_settings, idle="the daemon is not running, they wait for it"))


@app.command()
def drain(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Endpoints, as the registry has them.")],
    config: ConfigOption = None,
) -> None:
    """Give model servers no new photos, until `resume`: before they are shut down, for example.

    Examples:

      $program drain http://gpu2:8000/v1
    """
    from tagger_daemon.cli import drain as drains

    drains.drain(_load(config).settings, urls)


@app.command()
def resume(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="Endpoints; all that are drained if none.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Give model servers photos again that were drained.

    Examples:

      $program resume

      $program resume http://gpu2:8000/v1
    """
    from tagger_daemon.cli import drain as drains

    drains.resume(_load(config).settings, urls or [])


app.command()(shared.undo_command(DAEMON, _daemon_settings, _daemon_audit))


@app.command()
def summary(
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The day; today by default."),
    ] = None,
    config: ConfigOption = None,
    show: Annotated[bool, typer.Option("--print", help="Print the page too.")] = False,
) -> None:
    """Make the Markdown page about a day.

    Examples:

      $program summary

      $program summary --date 2026-05-01 --print
    """
    state = StateDirectory(root=_load(config).settings.state_dir)
    state.make()
    which: date = (day or local_now()).date()
    with read_only(state.database) as db:
        page = make_page(state, db, which, now=local_now())
    typer.echo(page.read_text(encoding="utf-8") if show else str(page))


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check everything that the daemon needs, and say what to do about what is missing.

    Example:

      $program doctor
    """
    from tagger_daemon.cli import checks
    from tagger_daemon.cli import doctor as doctor_page

    findings = asyncio.run(doctor_page.examine(_load(config)))
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        console().print(checks.render(findings))
    raise typer.Exit(Exit.OK if all(finding.passed for finding in findings) else Exit.AMISS)


# In the order in which they are listed.
app.command("list-registry")(shared.list_registry)
app.command()(shared.profiles)
app.command()(shared.preview)


@config_app.command("show")
def config_show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print every setting's effective value and where it came from.

    Examples:

      $program config show

      $program config show --json | jq -r .max_keywords.from
    """
    shared.show_settings(_load(config), as_json=as_json)


def _load(config: Path | None, **given: Any) -> Loaded:
    return read_settings(DAEMON, config, **given)


def main() -> None:
    """Run the command line."""
    start(app)
