"""Commands and options that both programs have."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tagger_daemon.backlog import store
from tagger_daemon.cli import logs
from tagger_daemon.cli.exits import Program
from tagger_daemon.cli.terminal import console
from tagger_daemon.database import Database
from tagger_daemon.ledger import records
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service.clock import now_ms
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import ENV_PREFIX, Loaded, Settings, load

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
SettingsOf = Callable[[Path | None], Settings]
AuditOf = Callable[[Settings], AuditLog]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RegistryOption = Annotated[
    Path | None, typer.Option("--registry", metavar="PATH", help="Another one than the configuration's.")
]
PathsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH]...", help="Photos, or folders with all below them.")
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="ID", help="What one run wrote; for an unknown ID, it lists the last."),
]
DayOption = Annotated[
    datetime | None,
    typer.Option("--day", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="What was written on that day."),
]
ProfileOption = Annotated[str | None, typer.Option(help="What was written with this prompt profile.")]


def read_settings(program: Program, config: Path | None, **given: Any) -> Loaded:
    """Read the settings of a program; `given` is what was typed, None where it was not.

    Raises:
        ConfigurationError: they are not as they should be.
    """
    overrides = {key: value for key, value in given.items() if value is not None}
    return load(config=config, overrides=overrides, program=program.name)


def list_registry(
    ctx: typer.Context,
    config: ConfigOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Look at every endpoint too, as a run does.")
    ] = False,
) -> None:
    """List the model registry: who takes which role, where each model answers, and what is wrong.

    Examples:

      $program list-registry

      $program list-registry --check

      $program list-registry --registry ~/imageworks/configs

      $program list-registry --json | jq -r '.roles.caption[0]'
    """
    from tagger_daemon.cli import registry as registry_page

    settings = read_settings(ctx.obj.program, config, registry=registry).settings
    raise typer.Exit(registry_page.conduct(settings, as_json=as_json, check=check))


def profiles(
    ctx: typer.Context,
    name: Annotated[
        list[str] | None,
        typer.Argument(metavar="[show] NAME", help="Show the texts of this one; by its id or its name."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the prompt profiles, and show what one of them says.

    Examples:

      $program profiles

      $program profiles show travel

      $program profiles "Family archive"
    """
    from tagger_daemon.cli import profiles as profiles_page

    settings = read_settings(ctx.obj.program, config).settings
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


def preview(
    ctx: typer.Context,
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

      $program preview ~/Pictures/a.jpg --no-ask

      $program preview ~/Pictures/a.jpg --profile travel

      $program preview ~/Pictures/a.jpg --json | jq .fields
    """
    from tagger_daemon.cli import preview as preview_page
    from tagger_daemon.service import previewing

    settings = read_settings(ctx.obj.program, config).settings
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


def retry_command(settings_of: SettingsOf, *, idle: str) -> Callable[..., None]:
    """Return the command that has photos tried again.

    Args:
        settings_of: as for `undo_command`.
        idle: what is said of them while nobody works on the state directory.
    """

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

          $program retry

          $program retry --undone /photos/inbox/2026-05-01

          $program retry /photos/inbox/2026-05-01 /photos/inbox/a.jpg
        """
        from tagger_daemon.service.undoing import release

        state = StateDirectory(root=settings_of(config).state_dir)
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
        running = "" if state.is_held() else f"; {idle}"
        typer.echo(
            f"{count} {'photo is' if count == 1 else 'photos are'} queued again{running if count else ''}."
        )

    return retry


def undo_command(program: Program, settings_of: SettingsOf, audit_of: AuditOf) -> Callable[..., None]:
    """Return the command that takes back what a program wrote.

    Args:
        program: whose it is.
        settings_of: gives the settings, and with them the state directory, by what `--config` says.
        audit_of: gives the file where each end gets its line.
    """
    command = f"{program.name} undo"

    def undo(
        paths: PathsArgument = None,
        run_id: RunOption = None,
        day: DayOption = None,
        model: Annotated[
            str | None, typer.Option(help="What this model wrote: its served name, or the registry's entry.")
        ] = None,
        profile: ProfileOption = None,
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

        What is given narrows it down together. What a person edited since is left alone. It may be done while
        photos are being described. Photos whose words were taken back are not tagged again by themselves;
        `retry --undone` has them tagged.

        Examples:

          $program undo /photos/2026-05 --dry-run

          $program undo --day 2026-05-01 --model qwen3-vl-8b

          $program undo --run 20260501T093000-1a2b

          $program undo --keyword blue --all --yes
        """
        from tagger_daemon.cli import undo as undo_page
        from tagger_daemon.service.undoing import Selection

        if not any((paths, run_id, day, model, profile, keyword, everything)):
            raise typer.BadParameter("say what: PATHs, --run, --day, --model, --profile, --keyword or --all")
        settings = settings_of(config)
        logs.configure("WARNING")
        state = StateDirectory(root=settings.state_dir)
        selection = Selection(
            paths=frozenset(Path(os.path.normpath(path.absolute())) for path in paths or ()),
            run=run_id,
            day=day.date() if day else None,
            model=model,
            profile=profile,
            keyword=keyword,
        )
        with undo_page.opened(settings, state, command=command, audit=audit_of(settings)) as undoer:
            if run_id is not None and (problem := undo_page.unknown_run(state, run_id)):
                raise typer.BadParameter(problem)
            status = undo_page.conduct(undoer, selection, dry_run=dry_run, yes=yes, as_json=as_json)
        raise typer.Exit(status)

    return undo


def show_settings(loaded: Loaded, *, as_json: bool) -> None:
    """Print every setting's effective value and where it came from; of a key, that there is one."""
    rows = dict(_flat(loaded.settings.model_dump(mode="json")))
    origins = {key: loaded.origins.get(key, "default") for key in rows}
    if as_json:
        typer.echo(json.dumps({key: {"value": rows[key], "from": origins[key]} for key in rows}, indent=2))
        return
    for key, value in rows.items():
        typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}  # {origins[key]}")
    typer.echo(f"# the environment sets a key as {ENV_PREFIX}KEY, nested ones as {ENV_PREFIX}SECTION__KEY")


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        flat += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return flat
