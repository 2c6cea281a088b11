"""`undo`: shows what it would take back, asks, and takes it back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.stopping import Stop
from tagger_daemon.cli.terminal import console, one_line
from tagger_daemon.database import read_only
from tagger_daemon.errors import PhotoGone, StateUnavailable, TaggerError
from tagger_daemon.ledger import records
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import key
from tagger_daemon.metadata.undo import BOOKKEEPING
from tagger_daemon.model import NewValue, Value
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service import by_hand
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.service.undoing import Effect, Found, Selection, Undoer
from tagger_daemon.settings import Settings

PHOTOS_SHOWN = 20
LONGEST_VALUE = 70  # characters of a value that is shown: two lines of a narrow terminal
RUNS_SHOWN = 10
INTERRUPTED = "interrupted"

LABELS = {
    **{text.tag: text.label for text in fields.TEXT_FIELDS.values()},
    fields.KEYWORDS: "Keywords",
    fields.HIERARCHICAL: "Hierarchy",
    fields.TAGS_LIST: "digiKam's tags",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown(Value):
    """What taking back does to one file, as it is shown."""

    photo: Path
    target: Path
    removes: bool  # the target is a sidecar that goes as a whole
    changes: tuple[tuple[str, NewValue, NewValue], ...]  # tag, value now, value then
    restored: tuple[str, ...]  # tags whose former value comes back
    edited: tuple[str, ...]  # tags that a person changed since
    gone: tuple[str, ...]  # tags from which a person removed our value already


@dataclass(kw_only=True)
class Outlook:
    """What would be taken back, or was."""

    photos: list[Shown] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)  # photos that are nowhere to be found
    failed: list[tuple[Path, str]] = field(default_factory=list)  # photos and why they were left as they were
    stopped: str | None = None  # why it ended before its time
    left: int = 0  # files that were not looked at then

    @property
    def counts(self) -> dict[str, int]:
        """Fields whose former value comes back, that a person changed, and that a person emptied already."""
        names = ("restored", "edited", "gone")
        return {name: sum(len(getattr(shown, name)) for shown in self.photos) for name in names}

    def to_json(self, *, done: bool) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "done": done,
            "fields": self.counts,
            "photos": [_to_json(shown) for shown in self.photos],
            "missing": [str(path) for path in self.missing],
            "failed": [{"photo": str(path), "reason": reason} for path, reason in self.failed],
            "stopped": self.stopped,
            "left": self.left,
        }


@contextmanager
def opened(settings: Settings, state: StateDirectory, *, command: str, audit: AuditLog) -> Iterator[Undoer]:
    """Give what takes back, with a database and an exiftool of its own; the daemon may run meanwhile.

    Args:
        settings: how metadata is written.
        state: of what wrote.
        command: as a person types it, for what is told.
        audit: where each end gets its line.

    Raises:
        StateUnavailable: nothing was ever written here, or another `undo` is at work.
        ConfigurationError: exiftool does not work, or the state belongs to somebody else.
    """
    with by_hand.opened(settings, state, command=command, audit=audit) as bench:
        yield Undoer(
            database=bench.database,
            audit=bench.audit,
            metadata=bench.metadata,
            run=bench.run,
            now=bench.now,
            daemon_runs=bench.daemon_runs,
        )


def conduct(undoer: Undoer, selection: Selection, *, dry_run: bool, yes: bool, as_json: bool) -> Exit:
    """Find, show, ask, take back, and tell. What is asked, and what for, goes to stderr beside JSON."""
    with Console(stderr=True).status("looking for the photos"):
        found, missing = undoer.find(selection)
    done = yes and not dry_run
    outlook = (carry_out if done else look)(undoer, selection.keyword, found, missing)
    asks = not done and not dry_run and bool(outlook.photos)
    if asks or not as_json:
        page = Console(stderr=True) if as_json else console()
        page.print(render(outlook, done=done))
        typer.echo(summary(outlook, done=done), err=as_json)
    if asks:
        done = typer.confirm("Take this back?", err=True)
        if done:
            outlook = carry_out(undoer, selection.keyword, found, missing)
        if not as_json:
            typer.echo(summary(outlook, done=True) if done else "Nothing was taken back.")
    if as_json:
        typer.echo(json.dumps(outlook.to_json(done=done), indent=2))
    return exit_status(outlook)


def look(undoer: Undoer, keyword: str | None, found: Sequence[Found], missing: Sequence[Path]) -> Outlook:
    """Find out what taking back would do, file by file."""
    outlook = Outlook(missing=list(missing))
    _each(found, lambda item: undoer.effect(item, keyword), outlook, what="reading", stop=Stop())
    return outlook


def carry_out(
    undoer: Undoer, keyword: str | None, found: Sequence[Found], missing: Sequence[Path]
) -> Outlook:
    """Do it, and return what was done. Each file is looked at once more, just before."""

    def take_back(item: Found) -> Effect | None:
        effect = undoer.effect(item, keyword)
        if effect is not None:
            undoer.carry_out(effect)
        return effect

    outlook, stop = Outlook(missing=list(missing)), Stop()
    with stop.listening():
        _each(found, take_back, outlook, what="taking back", stop=stop)
    return outlook


def _each(
    found: Sequence[Found],
    deal: Callable[[Found], Effect | None],
    outlook: Outlook,
    *,
    what: str,
    stop: Stop,
) -> None:
    """Deal with one file after another, and note what became of each."""
    for number, item in enumerate(_counted(found, what)):
        if stop.asked:
            outlook.stopped, outlook.left = INTERRUPTED, len(found) - number
            break
        try:
            effect = deal(item)
        except PhotoGone:
            outlook.missing.append(item.path)
        except StateUnavailable as error:
            outlook.stopped, outlook.left = str(error), len(found) - number
            break
        except TaggerError as error:
            outlook.failed.append((item.path, str(error)))
        except OSError as error:  # of a kind that nobody has foreseen
            outlook.failed.append((item.path, error.strerror or str(error)))
        else:
            outlook.photos += [] if effect is None else [_shown(effect)]


def render(outlook: Outlook, *, done: bool) -> Group:
    """Show what would be taken back, or was: so much of it as fits on a page."""
    parts: list[RenderableType] = []
    shown = outlook.photos[:PHOTOS_SHOWN]
    if shown:
        folder = Path(os.path.commonpath([photo.photo.parent for photo in shown]))
        parts.append(Text(f"below {one_line(str(folder))}", style="dim"))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("Field", "Went" if done else "Goes", "Came back" if done else "Comes back"):
            table.add_column(name, overflow="fold")
        for photo in shown:
            _add(table, photo, folder)
        parts.append(table)
    if more := len(outlook.photos) - len(shown):
        parts.append(Text(f"and {_count(more, 'file')} more"))
    lines = [
        *(Text(f"{one_line(str(path))}: {one_line(why)}", style="red") for path, why in outlook.failed),
        *(
            Text(f"{one_line(str(path))}: not found here, nor under another name", style="yellow")
            for path in outlook.missing
        ),
    ]
    parts += lines[:PHOTOS_SHOWN]
    if (more := len(lines) - PHOTOS_SHOWN) > 0:
        parts.append(Text(f"and {more} more that could not be taken back"))
    return Group(*parts)


def summary(outlook: Outlook, *, done: bool) -> str:
    """Say in one line what the three counts are, and what went wrong."""
    counts = outlook.counts
    clauses = [
        f"{_count(counts['restored'], 'field')} {'restored' if done else 'to be restored'}",
        f"{counts['edited']} left as a person changed them since",
        f"{counts['gone']} had been removed already",
    ]
    text = f"{_count(len(outlook.photos), 'file')}: {', '.join(clauses)}"
    if outlook.failed:
        text += f"; {len(outlook.failed)} failed"
    if outlook.missing:
        text += f"; {_count(len(outlook.missing), 'photo')} not found"
    if outlook.stopped:
        text += (
            f"; {outlook.stopped}, {_count(outlook.left, 'file')} left: the same command goes on with them"
        )
    return f"{text}."


def exit_status(outlook: Outlook) -> Exit:
    """AMISS when a photo failed or the state could not be used, INTERRUPTED, else OK."""
    if outlook.stopped == INTERRUPTED:
        return Exit.INTERRUPTED
    return Exit.AMISS if outlook.failed or outlook.stopped else Exit.OK


def unknown_run(state: StateDirectory, run: str) -> str | None:
    """Return why nothing can be found of a run, with those that there are; None if it is known."""
    with read_only(state.database) as db:
        known = records.runs(db)
    if any(name == run for name, _, _ in known):
        return None
    if not known:
        return "nothing was written yet"
    lines = [f"  {name}  {day}  {_count(writes, 'file')}" for name, day, writes in known[:RUNS_SHOWN]]
    return "\n".join((f"there is no run {run!r}; the last ones are:", *lines))


def _shown(effect: Effect) -> Shown:
    stands = effect.plan.existing.stands
    return Shown(
        photo=effect.found.path,
        target=effect.found.target,
        removes=effect.plan.removes,
        changes=tuple(
            (tag, stands.get(tag), value)
            for tag, value in effect.taken.values.items()
            if tag not in BOOKKEEPING
        ),
        restored=effect.taken.restored,
        edited=effect.taken.edited,
        gone=effect.taken.gone,
    )


def _to_json(shown: Shown) -> dict[str, Any]:
    return {
        "photo": str(shown.photo),
        "target": str(shown.target),
        "removes_file": shown.removes,
        "changes": [{"tag": tag, "now": now, "then": then} for tag, now, then in shown.changes],
        "restored": list(shown.restored),
        "edited": list(shown.edited),
        "gone": list(shown.gone),
    }


def _add(table: Table, shown: Shown, folder: Path) -> None:
    """Add a photo's rows: its name, then its fields."""
    beside = "" if shown.target == shown.photo else f" ({shown.target.name})"
    name = f"{shown.photo.relative_to(folder)}{beside}"
    table.add_row(Text(one_line(name), style="bold"))
    for tag, now, then in shown.changes:
        if not tag.startswith("IPTC:"):  # the same fields once more
            goes, comes = _difference(now, then)
            table.add_row(_labelled(tag), Text(_short(goes)), Text(_short(comes)))
    for tag in shown.edited:
        table.add_row(_labelled(tag), Text("changed by a person since: stays", style="dim"))
    for tag in shown.gone:
        table.add_row(_labelled(tag), Text("removed by a person already", style="dim"))
    if shown.removes:
        table.add_row("", Text("and the file itself, which was ours alone"))


def _labelled(tag: str) -> str:
    return f"  {LABELS.get(tag, tag)}"


def _difference(now: NewValue, then: NewValue) -> tuple[NewValue, NewValue]:
    """Return of two lists what only one of them has; texts are shown whole."""
    if not isinstance(now, tuple) and not isinstance(then, tuple):
        return now, then
    here, there = ((value if isinstance(value, tuple) else ()) for value in (now, then))
    kept = {key(word) for word in here} & {key(word) for word in there}
    goes, comes = (tuple(word for word in words if key(word) not in kept) for words in (here, there))
    return goes, comes


def _short(value: NewValue) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value or "")
    text = one_line(" ".join(text.split()))
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _counted(items: Sequence[Found], what: str) -> Iterator[Found]:
    """Give the items, with a bar on the terminal when there are many."""
    quiet = len(items) < PHOTOS_SHOWN or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        yield from progress.track(items, description=what)
