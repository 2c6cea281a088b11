"""`review`: shows what is proposed, keeps what a person decides, and writes it; for both programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tagger_daemon.backlog import store
from tagger_daemon.cli import logs
from tagger_daemon.cli.app import App
from tagger_daemon.cli.editor import EditorFailed, edited
from tagger_daemon.cli.exits import Program
from tagger_daemon.cli.proposals import count_photos, print_list, render, with_file
from tagger_daemon.cli.shared import AuditOf, ConfigOption, JsonOption, PathsArgument, SettingsOf
from tagger_daemon.cli.terminal import console, one_line
from tagger_daemon.database import Database
from tagger_daemon.errors import (
    ReviewRefused,
    StateUnavailable,
)
from tagger_daemon.ledger import records
from tagger_daemon.metadata.review import State
from tagger_daemon.model import Part, Stage, Verdict
from tagger_daemon.service.reviewing import (
    Desk,
    Order,
    Seen,
    Selection,
    find,
    one,
)
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings


class Field(StrEnum):
    """The fields as a person names them."""

    CAPTION = "caption"
    TITLE = "title"
    KEYWORDS = "keywords"
    DESCRIPTION = "description"

    @property
    def part(self) -> Part:
        """What of a proposal it is."""
        return Part.CAPTION if self is Field.TITLE else Part(self.value)


PhotoArgument = Annotated[Path, typer.Argument(metavar="PHOTO", help="One photo.")]
KeywordOption = Annotated[str | None, typer.Option("--keyword", metavar="WORD", help="A keyword.")]
FieldOption = Annotated[
    Field | None, typer.Option("--field", help="A field; `title` is another name of `caption`.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All that is proposed.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def review_group(program: Program, settings_of: SettingsOf, audit_of: AuditOf) -> App:
    """Return the group of commands.

    Args:
        program: whose it is.
        settings_of: gives the settings, and with them the state directory, by what `--config` says.
        audit_of: gives the file where each end gets its line.
    """
    command_name = f"{program.name} review"
    group = App(
        program,
        help="What is proposed: look at it, accept, edit or reject it, and have it written.",
        no_args_is_help=True,
    )

    @group.command("list")
    def list_proposals(
        paths: PathsArgument = None,
        keyword: KeywordOption = None,
        field: FieldOption = None,
        state: Annotated[State | None, typer.Option("--state", help="How far it is decided.")] = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """List what is proposed, photo by photo, and how far it is decided.

        Examples:

          $program review list

          $program review list /photos/2026-05 --keyword blue

          $program review list --state edited --json | jq -r '.[].photo'
        """
        database = _database(StateDirectory(root=settings_of(config).state_dir))
        selection = _selection(paths, keyword, field, state)
        print_list(find(database, selection), as_json=as_json)

    @group.command("show")
    def show(photo: PhotoArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
        """Show what is proposed for one photo: what stands there, what would stand there, what was decided.

        Examples:

          $program review show /photos/2026-05/a.jpg

          $program review show a.jpg --json
        """
        seen = one(_database(StateDirectory(root=settings_of(config).state_dir)), _place(photo))
        if as_json:
            typer.echo(json.dumps(with_file(seen), indent=2))
        else:
            console().print(render(seen))

    def decide(verdict: Verdict, paths: list[Path] | None, **given: Any) -> None:
        keyword, part = given["keyword"], given["field"]
        if keyword and part:
            raise typer.BadParameter("a keyword is of the field `keywords`: give --keyword or --field")
        if not (paths or keyword or given["everything"]):
            raise typer.BadParameter("say which photos: PATHs, --keyword or --all")
        selection = _selection(paths, keyword, part)
        order = Order(verdict=verdict, part=Part.KEYWORD if keyword else Part.PHOTO, word=keyword or "")
        if part:
            order = order.evolve(part=part.part)
        with _desk(settings_of(given["config"]), command_name) as desk:
            count = (desk.count if given["dry_run"] else desk.decide)(selection, order)
        _say_count(order, count, dry_run=given["dry_run"], as_json=given["as_json"])

    @group.command("accept")
    def accept(
        paths: PathsArgument = None,
        field: FieldOption = None,
        keyword: KeywordOption = None,
        everything: AllOption = False,
        dry_run: DryRunOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Accept what is proposed: whole photos, or one field or keyword of them.

        `apply` then writes it.

        Examples:

          $program review accept --all

          $program review accept /photos/2026-05

          $program review accept /photos/2026-05 --field keywords

          $program review accept a.jpg --keyword harbour
        """
        given = {"everything": everything, "dry_run": dry_run, "config": config, "as_json": as_json}
        decide(Verdict.ACCEPT, paths, field=field, keyword=keyword, **given)

    @group.command("reject")
    def reject(
        paths: PathsArgument = None,
        field: FieldOption = None,
        keyword: KeywordOption = None,
        everything: AllOption = False,
        dry_run: DryRunOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Reject what is proposed: whole photos, or one field or keyword of them.

        It is never proposed again.

        Examples:

          $program review reject a.jpg

          $program review reject --keyword blue --dry-run

          $program review reject /photos/2026-05 --keyword blue

          $program review reject /photos/2026-05 --field description
        """
        given = {"everything": everything, "dry_run": dry_run, "config": config, "as_json": as_json}
        decide(Verdict.REJECT, paths, field=field, keyword=keyword, **given)

    @group.command("edit")
    def edit(
        photo: PhotoArgument,
        field: FieldOption = None,
        text: Annotated[str | None, typer.Option("--text", help="The text; $EDITOR if none.")] = None,
        words: Annotated[
            list[str] | None, typer.Option("--add-keyword", metavar="WORD", help="One more keyword.")
        ] = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Put words of your own in the place of proposed ones, or beside them.

        They are yours from then on. Without --text, $EDITOR is opened.

        Examples:

          $program review edit a.jpg --field caption --text 'Grandma in the garden'

          $program review edit a.jpg --field description

          $program review edit a.jpg --add-keyword garden --add-keyword Rose
        """
        if field is Field.KEYWORDS:
            raise typer.BadParameter("keywords are added by --add-keyword, and taken out by `reject`")
        if field is None and (text is not None or not words):
            raise typer.BadParameter("say what: --field caption or description, or --add-keyword")
        with _desk(settings_of(config), command_name) as desk:
            seen = desk.one(_place(photo))
            texts = [(field.part, text if text is not None else _typed(seen, field))] if field else []
            seen = desk.edit(seen, texts, words or ())
        if as_json:
            typer.echo(json.dumps(with_file(seen), indent=2))
        else:
            console().print(render(seen))

    @group.command("reset")
    def reset(
        paths: PathsArgument = None,
        everything: AllOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Take decisions back that were not carried out, and refusals of whole photos that were.

        Examples:

          $program review reset a.jpg

          $program review reset --all
        """
        if not (paths or everything):
            raise typer.BadParameter("say which photos: PATHs or --all")
        with _desk(settings_of(config), command_name) as desk:
            count = desk.reset(_selection(paths))
        if as_json:
            typer.echo(json.dumps({"photos": count}))
        else:
            typer.echo(f"{count_photos(count)} to be decided anew.")

    @group.command("apply")
    def apply(
        paths: PathsArgument = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Write what was accepted and edited, and note what was refused; also while the service runs.

        Examples:

          $program review apply --dry-run

          $program review apply

          $program review apply /photos/2026-05 --yes
        """
        from tagger_daemon.cli.applying import Decided, Outcomes, carry_out, opened

        settings = settings_of(config)
        logs.configure("WARNING")
        state = StateDirectory(root=settings.state_dir)
        with opened(settings, state, command=command_name, audit=audit_of(settings)) as (desk, applier):
            meant = [
                Decided(proposal=seen.offer.record.id, path=seen.offer.path, state=seen.review.state)
                for seen in find(state.database, _selection(paths))
                if seen.waits
            ]
            status = carry_out(applier, desk, meant, Outcomes(), dry_run=dry_run, yes=yes, as_json=as_json)
        raise typer.Exit(status)

    return group


def _say_count(order: Order, count: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"done": not dry_run, "photos": count}))
        return
    what = {Part.PHOTO: "what is proposed", Part.KEYWORD: f"the keyword {order.word!r}"}.get(
        order.part, f"the {order.part}"
    )
    verb = "accepted" if order.verdict is Verdict.ACCEPT else "rejected"
    would = "would be " if dry_run else ""
    typer.echo(f"{count_photos(count)}: {one_line(what)} {would}{verb}.")


def _typed(seen: Seen, field: Field) -> str:
    """Have a person edit a text.

    Raises:
        ReviewRefused: nothing is proposed there, or nothing was saved.
    """
    stage = Stage.DESCRIPTION if field is Field.DESCRIPTION else Stage.CAPTION
    proposed = seen.review.text(stage)
    if proposed is None:
        raise ReviewRefused(f"{seen.offer.path.name}: nothing is proposed for its {stage}")
    try:
        text = edited(proposed.text + "\n")
    except EditorFailed as error:
        raise ReviewRefused(f"the editor cannot be used: {error}; give the text by --text") from error
    if text is None:
        raise ReviewRefused("nothing was saved in the editor: the text stays as it is")
    return text


@contextmanager
def _desk(settings: Settings, command: str) -> Iterator[Desk]:
    from tagger_daemon.service import by_hand

    state = StateDirectory(root=settings.state_dir)
    by_hand.check_owner(state, command=command)
    database = Database(state.database, (*store.migrations(), *records.migrations()))
    try:
        yield Desk(database)
    finally:
        database.close()


def _database(state: StateDirectory) -> Path:
    """Return the database, if there is one.

    Raises:
        StateUnavailable: nothing was ever written here.
    """
    if not state.database.exists():
        raise StateUnavailable(f"nothing was ever proposed by way of {state.root}")
    return state.database


def _selection(
    paths: Sequence[Path] | None,
    keyword: str | None = None,
    field: Field | None = None,
    state: State | None = None,
) -> Selection:
    return Selection(
        paths=frozenset(map(_place, paths or ())),
        keyword=keyword,
        part=field.part if field else None,
        state=state,
    )


def _place(path: Path) -> Path:
    # As text: a photo is known by the name under which its watch folder shows it, links and all.
    return Path(os.path.normpath(path.absolute()))
