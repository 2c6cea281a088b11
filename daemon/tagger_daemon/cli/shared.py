"""Commands and options that both programs have."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tagger_daemon.cli import logs
from tagger_daemon.cli.exits import Program
from tagger_daemon.cli.terminal import console
from tagger_daemon.settings import ENV_PREFIX, Loaded, load

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
RegistryOption = Annotated[
    Path | None, typer.Option("--registry", metavar="PATH", help="Another one than the configuration's.")
]


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
