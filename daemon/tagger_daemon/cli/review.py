"""`review`: shows what is proposed, keeps what a person decides, and writes it; for both programs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tagger_daemon.backlog import store
from tagger_daemon.cli import logs
from tagger_daemon.cli.app import App
from tagger_daemon.cli.editor import EditorFailed, edited
from tagger_daemon.cli.exits import Exit, Program
from tagger_daemon.cli.shared import AuditOf, ConfigOption, JsonOption, PathsArgument, SettingsOf
from tagger_daemon.cli.stopping import Stop
from tagger_daemon.cli.terminal import console, one_line
from tagger_daemon.database import Database
from tagger_daemon.errors import (
    DecidedOtherwise,
    PhotoChanged,
    PhotoGone,
    ReviewRefused,
    StateUnavailable,
    TaggerError,
)
from tagger_daemon.ledger import records
from tagger_daemon.metadata.review import State, TextChange
from tagger_daemon.model import Decision, Part, Stage, Value, Verdict
from tagger_daemon.reports.audit import AuditLog, single
from tagger_daemon.service import by_hand
from tagger_daemon.service.reviewing import (
    Applier,
    Desk,
    Order,
    Seen,
    Selection,
    find,
    is_unchanged,
    one,
    proposals_in,
)
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings

PROBLEMS_SHOWN = 20
INTERRUPTED = "interrupted"


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
            typer.echo(json.dumps(_with_file(seen), indent=2))
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
            typer.echo(json.dumps(_with_file(seen), indent=2))
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
            typer.echo(f"{_photos(count)} to be decided anew.")

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


def conduct_apply(
    state: StateDirectory,
    settings: Settings,
    jsonl: Path,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    command: str,
) -> Exit:
    """Carry out the proposals of an audit file, edited or not: what is not refused is written.

    Raises:
        TaggerError: nothing could be begun, and why.
    """
    # What becomes of the photos is told in the same file, behind what was proposed for them.
    with opened(settings, state, command=command, audit=AuditLog(single(jsonl))) as (desk, applier):
        outcomes = Outcomes()
        meant: dict[str, Decided] = {}
        settled: set[str] = set()
        for line in proposals_in(state.database, jsonl, problem=outcomes.problems.append):
            seen = line.seen
            proposal = seen.offer.record.id
            if seen.done:
                settled.add(proposal)
            elif seen.waits:
                state_then = seen.review.state
                meant[proposal] = Decided(
                    proposal=proposal, path=seen.offer.path, state=state_then, fresh=line.fresh
                )
        outcomes.settled = len(settled)
        return carry_out(
            applier, desk, list(meant.values()), outcomes, dry_run=dry_run, yes=yes, as_json=as_json
        )


@contextmanager
def opened(
    settings: Settings, state: StateDirectory, *, command: str, audit: AuditLog
) -> Iterator[tuple[Desk, Applier]]:
    """Give what decisions are kept with, and what writes; the daemon may run meanwhile.

    Raises what `by_hand.opened` raises.
    """
    with by_hand.opened(settings, state, command=command, audit=audit) as bench:
        yield Desk(bench.database), Applier(bench, keyword_root=settings.metadata.keyword_root)


@dataclass(kw_only=True)
class Outcomes:
    """What became of the photos of a review, or would."""

    photos: list[tuple[Path, str]] = field(default_factory=list)  # photo, and what it got
    failed: list[tuple[Path, str]] = field(default_factory=list)  # photo, and why it was left as it was
    waiting: list[tuple[Path, str]] = field(default_factory=list)  # changed since, gone, or decided anew
    problems: list[str] = field(default_factory=list)  # lines of a file that could not be used
    settled: int = 0  # photos of a file that were dealt with before
    stopped: str | None = None  # why it ended before its time
    left: int = 0  # photos that were not looked at then

    @property
    def counts(self) -> Counter[str]:
        """Photos by what they got."""
        return Counter(what for _, what in self.photos)

    def to_json(self, *, done: bool) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "done": done,
            "photos": [{"photo": str(path), "outcome": what} for path, what in self.photos],
            "waiting": [{"photo": str(path), "reason": why} for path, why in self.waiting],
            "failed": [{"photo": str(path), "reason": why} for path, why in self.failed],
            "problems": self.problems,
            "settled_before": self.settled,
            "stopped": self.stopped,
            "left": self.left,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided(Value):
    """One photo that is to be dealt with; its proposal is read when its turn comes, as there may be many."""

    proposal: str  # id of its record
    path: Path
    state: State
    fresh: tuple[Decision, ...] = ()  # decisions that are to be kept before they are carried out


def carry_out(
    applier: Applier,
    desk: Desk,
    meant: Sequence[Decided],
    outcomes: Outcomes,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> Exit:
    """Say what is to be done, ask, do it, and tell. What is asked, and what for, goes to stderr beside JSON.

    Args:
        applier: what writes.
        desk: what keeps decisions.
        meant: photos that are decided.
        outcomes: what is known of those that are not among them.
        dry_run: only look.
        yes: do not ask.
        as_json: print JSON.
    """
    done = not dry_run and bool(meant)
    if done and not yes:
        kinds = Counter(one.state for one in meant)
        typer.echo(f"{_photos(len(meant))}: {_kinds(kinds)}.", err=True)
        for problem in outcomes.problems[:PROBLEMS_SHOWN]:
            typer.echo(one_line(problem), err=True)
        done = typer.confirm("Write this?", err=True)
        if not done:
            outcomes.left = len(meant)
            meant = ()
    stop = Stop()
    with stop.listening():
        _each(applier, desk, meant, outcomes, done=done, stop=stop)
    if as_json:
        typer.echo(json.dumps(outcomes.to_json(done=done), indent=2))
    else:
        _print_outcomes(outcomes, done=done or not dry_run)
    if outcomes.stopped == INTERRUPTED:
        return Exit.INTERRUPTED
    amiss = outcomes.failed or outcomes.waiting or outcomes.problems or outcomes.stopped
    return Exit.AMISS if amiss else Exit.OK


def _each(
    applier: Applier, desk: Desk, meant: Sequence[Decided], outcomes: Outcomes, *, done: bool, stop: Stop
) -> None:
    """Deal with one photo after another; what befalls one is told, and the others go on."""
    for number, decided in enumerate(meant):
        path = decided.path
        if stop.asked:
            outcomes.stopped, outcomes.left = INTERRUPTED, len(meant) - number
            break
        try:
            seen, fresh = desk.by_id(decided.proposal), decided.fresh
            if seen.review.whole is not None:  # said meanwhile: handing a file in accepts only what is open
                fresh = tuple(one for one in fresh if one.part is not Part.PHOTO)
            seen = seen.with_decisions(fresh)
            if not seen.waits:
                raise DecidedOtherwise(f"{path.name}: it is not to be written any more, as it is decided now")
            effect = applier.effect(seen)
            if done:
                if fresh and not desk.keep(seen, fresh):
                    raise DecidedOtherwise(f"{path.name}: what was proposed for it has been dealt with")
                outcomes.photos.append((effect.photo.path, applier.carry_out(effect).outcome.value))
            else:
                writes = effect.plan is not None and bool(effect.plan.writes)
                what = "written" if writes else "unchanged" if effect.plan else "refused"
                outcomes.photos.append((effect.photo.path, what))
        except StateUnavailable as error:
            outcomes.stopped, outcomes.left = str(error), len(meant) - number
            break
        except (PhotoChanged, PhotoGone, DecidedOtherwise) as error:
            outcomes.waiting.append((path, str(error)))
        except TaggerError as error:
            outcomes.failed.append((path, str(error)))
        except OSError as error:  # of a kind that nobody has foreseen
            outcomes.failed.append((path, error.strerror or str(error)))


def print_list(found: Iterable[Seen], *, as_json: bool) -> None:
    """Print proposals as they are read: there may be very many."""
    if as_json:
        typer.echo("[", nl=False)
        for number, seen in enumerate(found):
            typer.echo(f"{',' if number else ''}\n{json.dumps(to_json(seen))}", nl=False)
        typer.echo("\n]")
        return
    kinds: Counter[State] = Counter()
    for seen in found:
        kinds[seen.review.state] += 1
        typer.echo(_row(seen))
    typer.echo(f"{_photos(kinds.total())}{': ' if kinds else ''}{_kinds(kinds)}.", err=True)


def to_json(seen: Seen) -> dict[str, Any]:
    """Give the form for scripts."""
    review = seen.review
    return {
        "photo": str(seen.offer.path),
        "id": seen.offer.record.id,
        "proposed_at": seen.offer.record.finished_at,
        "state": review.state,
        "noted": seen.offer.refused_at is not None,
        "texts": [
            {
                "field": text.stage,
                "into": list(text.names),
                "before": text.before,
                "proposed": text.proposed,
                "verdict": text.verdict,
                "text": None if text.verdict is Verdict.REJECT else text.text,
            }
            for text in review.texts
        ],
        "keywords": [{"keyword": word.word, "verdict": word.verdict} for word in review.words],
        "keywords_that_stay": list(review.standing),
        "kept": [{"field": kept.field, "reason": kept.reason} for kept in review.kept],
    }


def render(seen: Seen) -> Group:
    """Show one proposal: what stands there, what would, and what was decided."""
    review = seen.review
    parts: list[RenderableType] = [
        Text(one_line(str(seen.offer.path)), style="bold"),
        Text(f"{review.state}, proposed {seen.offer.record.finished_at[:16].replace('T', ' ')}", style="dim"),
    ]
    if not is_unchanged(seen.offer) and review.state is not State.REFUSED:
        parts.append(Text("the file has changed since, or is not there", style="yellow"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "field", "words", "decided"):
        table.add_column(heading, overflow="fold")
    for text in review.texts:
        _add_text(table, text)
    for word in review.words:
        sign, style = _sign(word.verdict)
        table.add_row(
            Text(sign, style=style), "keyword", Text(one_line(word.word), style=style), _decided(word.verdict)
        )
    for standing in review.standing:
        table.add_row(" ", "keyword", Text(one_line(standing), style="dim"), "stays")
    for kept in review.kept:
        why = Text(f"kept: {one_line(kept.reason)}", style="dim")
        table.add_row(" ", Text(one_line(kept.field)), "", why)
    return Group(*parts, table)


def _add_text(table: Table, text: TextChange) -> None:
    name = "description" if text.stage is Stage.DESCRIPTION else "caption"
    written = text.verdict is not Verdict.REJECT
    if text.before:
        table.add_row(
            Text("-" if written else " ", style="red" if written else ""),
            name,
            Text(_flowing(text.before)),
            "is replaced" if written else "stays",
        )
    if text.verdict is Verdict.EDIT:
        table.add_row(" ", name, Text(_flowing(text.proposed), style="dim strike"), "was proposed")
    sign, style = _sign(text.verdict)
    table.add_row(
        Text(sign, style=style), name, Text(_flowing(text.text), style=style), _decided(text.verdict)
    )


def _sign(verdict: Verdict | None) -> tuple[str, str]:
    match verdict:
        case None:
            return "?", "yellow"
        case Verdict.REJECT:
            return "x", "red"
        case _:
            return "+", "green"


def _decided(verdict: Verdict | None) -> str:
    match verdict:
        case None:
            return "to be decided"
        case Verdict.ACCEPT:
            return "accepted"
        case Verdict.REJECT:
            return "rejected"
        case Verdict.EDIT:
            return "in your words"
        case Verdict.ADD:
            return "added by you"


def _row(seen: Seen) -> str:
    review = seen.review
    told = [_labelled(text.stage, text.verdict) for text in review.texts]
    words = Counter(word.verdict for word in review.words)
    if review.words:
        told.append(f"{len(review.words) - words[Verdict.REJECT]} of {len(review.words)} keywords")
    return f"{review.state:<9} {one_line(str(seen.offer.path))}  {', '.join(told)}"


def _labelled(stage: Stage, verdict: Verdict | None) -> str:
    match verdict:
        case Verdict.REJECT:
            return f"no {stage}"
        case Verdict.EDIT:
            return f"{stage} in your words"
        case _:
            return str(stage)


def _say_count(order: Order, count: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"done": not dry_run, "photos": count}))
        return
    what = {Part.PHOTO: "what is proposed", Part.KEYWORD: f"the keyword {order.word!r}"}.get(
        order.part, f"the {order.part}"
    )
    verb = "accepted" if order.verdict is Verdict.ACCEPT else "rejected"
    would = "would be " if dry_run else ""
    typer.echo(f"{_photos(count)}: {one_line(what)} {would}{verb}.")


def _print_outcomes(outcomes: Outcomes, *, done: bool) -> None:
    lines = [
        *((f"{path}: {why}", "red") for path, why in outcomes.failed),
        *((f"{path}: {why}", "yellow") for path, why in outcomes.waiting),
        *((problem, "red") for problem in outcomes.problems),
    ]
    page = console()
    for line, style in lines[:PROBLEMS_SHOWN]:
        page.print(Text(one_line(line), style=style), soft_wrap=True)
    if (more := len(lines) - PROBLEMS_SHOWN) > 0:
        page.print(f"and {more} more", highlight=False)
    would = "" if done else "would be "
    clauses = [f"{count} {would}{what}" for what, count in sorted(outcomes.counts.items())]
    clauses = clauses or [f"nothing {'was' if done else 'would be'} written"]
    if outcomes.waiting:
        clauses.append(f"{len(outcomes.waiting)} wait")
    if outcomes.failed:
        clauses.append(f"{len(outcomes.failed)} failed")
    if outcomes.settled:
        clauses.append(f"{outcomes.settled} had been dealt with before")
    if outcomes.problems:
        clauses.append(f"{len(outcomes.problems)} lines could not be used")
    if outcomes.stopped:
        clauses.append(f"{outcomes.stopped}, {outcomes.left} left: the same command goes on with them")
    typer.echo(f"{_photos(len(outcomes.photos))}: {'; '.join(clauses)}.")


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


def _with_file(seen: Seen) -> dict[str, Any]:
    return {**to_json(seen), "file_is_unchanged": is_unchanged(seen.offer)}


def _kinds(kinds: Counter[State]) -> str:
    return ", ".join(f"{kinds[state]} {state}" for state in State if kinds[state])


def _flowing(text: str) -> str:
    return one_line(" ".join(text.split()))


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
