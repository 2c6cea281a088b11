"""`tagger-daemon`: run it, look at it, mend it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tagger_daemon import __version__
from tagger_daemon.backlog import store
from tagger_daemon.cli import logs
from tagger_daemon.cli import status as status_page
from tagger_daemon.cli.exits import TABLE, Exit, told
from tagger_daemon.cli.review import review_group
from tagger_daemon.cli.terminal import console
from tagger_daemon.database import Database, read_only
from tagger_daemon.ledger import records
from tagger_daemon.service.clock import local_now, now_ms
from tagger_daemon.service.reporting import make_page
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import ENV_PREFIX, Loaded, load

app = typer.Typer(
    name="tagger-daemon",
    help="Watches photo folders and writes titles, keywords and descriptions from your own vision models.",
    epilog=TABLE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="The settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
app.add_typer(
    review_group("tagger-daemon", lambda config: _load(config).settings), name="review", epilog=TABLE
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration; by default ~/.config/tagger-daemon/config.toml, "
        "else /etc/tagger-daemon/config.toml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Watches photo folders and writes titles, keywords and descriptions from your own vision models."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command(epilog=TABLE)
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

      tagger-daemon run

      tagger-daemon run --config ~/tagger.toml --once

      tagger-daemon run --use-registry
    """
    # The models' libraries take most of a second to load, and the other commands do without them.
    from tagger_daemon.cli import progress
    from tagger_daemon.service.daemon import Daemon

    with told():
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


@app.command(epilog=TABLE)
def status(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it, until interrupted.")] = False,
) -> None:
    """Say how the daemon is: running or not, what it does, what went wrong.

    Examples:

      tagger-daemon status

      tagger-daemon status --json | jq .counts
    """
    with told():
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


@app.command(epilog=TABLE)
def retry(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Photos or folders; all that failed if none."),
    ] = None,
    undone: Annotated[
        bool, typer.Option("--undone", help="Tag photos again whose words were taken back by `undo`.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Try failed photos again.

    Examples:

      tagger-daemon retry

      tagger-daemon retry --undone /photos/inbox/2026-05-01

      tagger-daemon retry /photos/inbox/2026-05-01 /photos/inbox/a.jpg
    """
    from tagger_daemon.service.undoing import release

    with told():
        state = StateDirectory(root=_load(config).settings.state_dir)
        if not state.database.exists():
            typer.echo("Nothing was ever queued here.")
            return
        database = Database(state.database, (*store.migrations(), *records.migrations()))
        try:
            backlog = store.Backlog(database)
            # As text: a photo is queued by the name under which its watch folder shows it, links and all.
            targets = [Path(os.path.normpath(path.absolute())) for path in paths] if paths else [None]
            if undone:
                count = sum(release(database, target, now=now_ms()) for target in targets)
            else:
                count = sum(backlog.retry(target, now=now_ms()) for target in targets)
        finally:
            database.close()
        running = "" if state.is_held() else "; the daemon is not running, they wait for it"
        typer.echo(
            f"{count} {'photo is' if count == 1 else 'photos are'} queued again{running if count else ''}."
        )


@app.command(epilog=TABLE)
def drain(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Endpoints, as the registry has them.")],
    config: ConfigOption = None,
) -> None:
    """Give model servers no new photos, until `resume`: before they are shut down, for example.

    Examples:

      tagger-daemon drain http://gpu2:8000/v1
    """
    from tagger_daemon.cli import drain as drains

    with told():
        drains.drain(_load(config).settings, urls)


@app.command(epilog=TABLE)
def resume(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="Endpoints; all that are drained if none.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Give model servers photos again that were drained.

    Examples:

      tagger-daemon resume

      tagger-daemon resume http://gpu2:8000/v1
    """
    from tagger_daemon.cli import drain as drains

    with told():
        drains.resume(_load(config).settings, urls or [])


@app.command(epilog=TABLE)
def undo(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Photos, or folders with all below them.")
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="What one run of the program wrote; `status` names it."),
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--day", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="What was written on that day."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="What this model wrote: its served name, or the registry's entry.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="What was written with this prompt profile.")] = None,
    keyword: Annotated[
        str | None, typer.Option(help="This keyword only; it is never proposed again for these photos.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that was ever written.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what was written: former values come back wherever ours still stand.

    What is given narrows it down together. What a person edited since is left alone. It may be done while the
    service runs. Photos whose words were taken back are not tagged again by themselves; `retry --undone` has
    them tagged.

    Examples:

      tagger-daemon undo /photos/2026-05 --dry-run

      tagger-daemon undo --day 2026-05-01 --model qwen3-vl-8b

      tagger-daemon undo --run 20260501T093000-1a2b

      tagger-daemon undo --keyword blue --all --yes
    """
    from tagger_daemon.cli import undo as undo_page
    from tagger_daemon.service.undoing import Selection

    with told():
        if not any((paths, run_id, day, model, profile, keyword, everything)):
            raise typer.BadParameter("say what: PATHs, --run, --day, --model, --profile, --keyword or --all")
        loaded = _load(config)
        logs.configure("WARNING")
        state = StateDirectory(root=loaded.settings.state_dir)
        selection = Selection(
            paths=frozenset(Path(os.path.normpath(path.absolute())) for path in paths or ()),
            run=run_id,
            day=day.date() if day else None,
            model=model,
            profile=profile,
            keyword=keyword,
        )
        with undo_page.opened(loaded.settings, state) as undoer:
            if run_id is not None and (problem := undo_page.unknown_run(state, run_id)):
                raise typer.BadParameter(problem)
            status = undo_page.conduct(undoer, selection, dry_run=dry_run, yes=yes, as_json=as_json)
        raise typer.Exit(status)


@app.command(epilog=TABLE)
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

      tagger-daemon summary

      tagger-daemon summary --date 2026-05-01 --print
    """
    with told():
        state = StateDirectory(root=_load(config).settings.state_dir)
        state.make()
        which: date = (day or local_now()).date()
        with read_only(state.database) as db:
            page = make_page(state, db, which, now=local_now())
        typer.echo(page.read_text(encoding="utf-8") if show else str(page))


@app.command("list-registry", epilog=TABLE)
def list_registry(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Look at every endpoint too, as the daemon does.")
    ] = False,
) -> None:
    """List the model registry: who takes which role, where each model answers, and what is wrong.

    Examples:

      tagger-daemon list-registry

      tagger-daemon list-registry --check

      tagger-daemon list-registry --json | jq -r '.roles.caption[0]'
    """
    from tagger_daemon.cli import registry as registry_page

    with told():
        raise typer.Exit(registry_page.conduct(_load(config).settings, as_json=as_json, check=check))


@app.command(epilog=TABLE)
def profiles(
    name: Annotated[
        list[str] | None,
        typer.Argument(metavar="[show] NAME", help="Show the texts of this one; by its id or its name."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the prompt profiles, and show what one of them says.

    Examples:

      tagger-daemon profiles

      tagger-daemon profiles show travel

      tagger-daemon profiles "Family archive"
    """
    from tagger_daemon.cli import profiles as profiles_page

    with told():
        settings = _load(config).settings
        words = name[1:] if name and name[0] == "show" else name
        if words == []:
            raise typer.BadParameter("say which one: `profiles` lists them")
        if words:
            found = profiles_page.named(" ".join(words), settings)
            most = settings.max_keywords
            if as_json:
                typer.echo(json.dumps(profiles_page.texts_to_json(*found, max_keywords=most), indent=2))
            else:
                console().print(profiles_page.render_texts(*found, max_keywords=most))
            return
        page = profiles_page.gather(settings)
        if as_json:
            typer.echo(json.dumps(profiles_page.to_json(page), indent=2))
        else:
            console().print(profiles_page.render(page))
        raise typer.Exit(profiles_page.exit_status(page))


@app.command(epilog=TABLE)
def preview(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="It need not be in a watch folder.")],
    profile: Annotated[
        str | None, typer.Option(help="Another prompt profile than the photo's, by its id or its name.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to keep the picture that is shown; a new folder by default.",
        ),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask/--no-ask", help="Ask the models; or speak to no server at all.")
    ] = True,
    use_loader: Annotated[
        bool,
        typer.Option("--use-loader", help="Start the servers that are ours to start, and stop them again."),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show for one photo what is asked, what is answered and what would be written; write nothing.

    Examples:

      tagger-daemon preview ~/Pictures/a.jpg --no-ask

      tagger-daemon preview ~/Pictures/a.jpg --profile travel

      tagger-daemon preview ~/Pictures/a.jpg --json | jq .fields
    """
    from tagger_daemon.cli import preview as preview_page
    from tagger_daemon.service import previewing

    with told():
        settings = _load(config).settings
        logs.configure("ERROR")
        if save is not None:
            preview_page.check_place(save, settings)
        path = Path(os.path.normpath(photo.absolute()))
        looking = previewing.preview(
            settings, path, profile=profile, ask=ask, use_loader=use_loader, environ=os.environ
        )
        seen = asyncio.run(looking)
        saved = preview_page.save(seen.pictures, path, save)
        if as_json:
            typer.echo(json.dumps(preview_page.to_json(seen, saved), indent=2))
        else:
            console().print(preview_page.render(seen, saved))
        raise typer.Exit(preview_page.exit_status(seen))


@app.command(epilog=TABLE)
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check everything that the daemon needs, and say what to do about what is missing.

    Example:

      tagger-daemon doctor
    """
    from tagger_daemon.cli import checks
    from tagger_daemon.cli import doctor as doctor_page

    with told():
        findings = asyncio.run(doctor_page.examine(_load(config)))
        if as_json:
            typer.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
        else:
            console().print(checks.render(findings))
        raise typer.Exit(Exit.OK if all(finding.passed for finding in findings) else Exit.AMISS)


@config_app.command("show")
def config_show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print every setting's effective value and where it came from."""
    with told():
        loaded = _load(config)
        rows = dict(_flat(loaded.settings.model_dump(mode="json")))
        origins = {key: _origin(loaded, key) for key in rows}
        if as_json:
            typer.echo(
                json.dumps({key: {"value": rows[key], "from": origins[key]} for key in rows}, indent=2)
            )
            return
        for key, value in rows.items():
            typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}  # {origins[key]}")
        typer.echo(
            f"# the environment sets a key as {ENV_PREFIX}KEY, nested ones as {ENV_PREFIX}SECTION__KEY"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        flat += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return flat


def _origin(loaded: Loaded, key: str) -> str:
    return loaded.origins.get(key, "default")


def _load(config: Path | None, **overrides: Any) -> Loaded:
    return load(
        config=config, overrides={key: value for key, value in overrides.items() if value is not None}
    )


def main() -> None:
    """Run the command line."""
    app()
