"""`tagger-daemon undo`: shows what it would take back, asks, and takes it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, Group
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from tagger_daemon import __version__
from tagger_daemon.backlog import store
from tagger_daemon.backlog.store import Backlog
from tagger_daemon.cli.terminal import one_line
from tagger_daemon.database import Database
from tagger_daemon.errors import StateUnavailable, TaggerError
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.metadata.undo import BOOKKEEPING
from tagger_daemon.model import NewValue, Outcome
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service.clock import local_now, new_run_id, now_ms
from tagger_daemon.service.recovery import settle_intentions
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.service.undoing import Effect, Found, Selection, Undoer
from tagger_daemon.settings import Settings

PHOTOS_SHOWN = 20
LONGEST_VALUE = 60  # characters of a value in the table

Item = TypeVar("Item", Found, Effect)


@dataclass(kw_only=True)
class Outlook:
    """What would be taken back, or was."""

    effects: list[Effect] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)  # photos that are nowhere to be found
    failed: list[tuple[Path, str]] = field(default_factory=list)  # photos and why they were left as they were

    @property
    def counts(self) -> dict[str, int]:
        """Fields whose former value comes back, that a person changed, and that a person emptied already."""
        count: Counter[str] = Counter()
        for effect in self.effects:
            for name in ("restored", "edited", "gone"):
                count[name] += len(getattr(effect.taken, name))
        return {name: count[name] for name in ("restored", "edited", "gone")}

    def to_json(self, *, done: bool) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "done": done,
            "fields": self.counts,
            "photos": [_effect_to_json(effect) for effect in self.effects],
            "missing": [str(path) for path in self.missing],
            "failed": [{"photo": str(path), "reason": reason} for path, reason in self.failed],
        }


@contextmanager
def opened(settings: Settings, state: StateDirectory) -> Iterator[Undoer]:
    """Give what takes back, with a database and an exiftool of its own; the daemon may run meanwhile.

    Raises:
        StateUnavailable: nothing was ever written here.
    """
    if not state.database.exists():
        raise StateUnavailable(f"nothing was ever written by way of {state.root}")
    database = Database(state.database, (*store.migrations(), *records.migrations()))
    exiftool = ExifTool(settings.metadata.exiftool, timeout_seconds=settings.metadata.timeout_seconds)
    metadata = MetadataStore(settings.metadata, exiftool=exiftool, tool_version=__version__, now=local_now)
    try:
        metadata.start()
        settle_intentions(
            database, Backlog(database), Ledger(database), metadata, now=now_ms(), only=Outcome.UNDONE
        )
        yield Undoer(
            database=database,
            audit=AuditLog(state.audit),
            metadata=metadata,
            run=new_run_id(local_now()),
            now=local_now,
        )
    finally:
        metadata.close()
        database.close()


def look(undoer: Undoer, selection: Selection) -> Outlook:
    """Find out what taking back would do, photo by photo."""
    found, missing = undoer.find(selection)
    outlook = Outlook(missing=missing)
    for item in _counted(found, "reading"):
        try:
            effect = undoer.effect(item, selection.keyword)
        except TaggerError as error:
            outlook.failed.append((item.path, str(error)))
        else:
            outlook.effects.append(effect)
    return outlook


def carry_out(undoer: Undoer, selection: Selection, outlook: Outlook) -> Outlook:
    """Do it, and return what was done."""
    done = Outlook(missing=outlook.missing, failed=list(outlook.failed))
    for effect in _counted(outlook.effects, "taking back"):
        try:
            undoer.carry_out(effect, selection.keyword)
        except TaggerError as error:
            done.failed.append((effect.found.path, str(error)))
        else:
            done.effects.append(effect)
    return done


def render(outlook: Outlook) -> Group:
    """Show what would be taken back."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    for name in ("Photo", "Field", "Now", "Then"):
        table.add_column(name, overflow="fold")
    for effect in outlook.effects[:PHOTOS_SHOWN]:
        name = one_line(str(effect.found.path))
        for tag, now, then in _changes(effect):
            table.add_row(Text(name), Text(tag), Text(_short(now)), Text(_short(then)))
            name = ""
        for tag in effect.taken.edited:
            table.add_row(Text(name), Text(_label(tag)), Text("changed by a person since"), Text("stays"))
            name = ""
    more = len(outlook.effects) - PHOTOS_SHOWN
    rest = [Text(f"and {more} more")] if more > 0 else []
    return Group(table, *rest, *_troubles(outlook))


def summary(outlook: Outlook, *, done: bool) -> str:
    """Say in one line what the three counts are."""
    counts = outlook.counts
    verb = "restored" if done else "to be restored"
    photos = len(outlook.effects)
    return (
        f"{photos} {'photo' if photos == 1 else 'photos'}: {counts['restored']} fields {verb}, "
        f"{counts['edited']} left as a person changed them since, {counts['gone']} had been removed already"
        + (f"; {len(outlook.failed)} photos failed" if outlook.failed else "")
        + (f"; {len(outlook.missing)} not found" if outlook.missing else "")
        + "."
    )


def unknown_run(state: StateDirectory, run: str) -> str | None:
    """Return why nothing can be found of a run, with those that there are; None if it is known."""
    database = Database(state.database, (*store.migrations(), *records.migrations()))
    try:
        with database.transaction() as db:
            known = records.runs(db)
    finally:
        database.close()
    if any(name == run for name, _, _ in known):
        return None
    lines = [f"  {name}  {day}  {writes} photos" for name, day, writes in known[:10]]
    return (
        "\n".join((f"there is no run {run!r}; the last ones are:", *lines))
        if lines
        else "nothing was written yet"
    )


def _effect_to_json(effect: Effect) -> dict[str, Any]:
    return {
        "photo": str(effect.found.path),
        "target": str(effect.found.target),
        "removes_file": effect.plan.removes,
        "changes": [
            {"tag": tag, "now": now, "then": then} for tag, now, then in _changes(effect, whole=True)
        ],
        "edited": list(effect.taken.edited),
        "gone": list(effect.taken.gone),
    }


def _changes(effect: Effect, *, whole: bool = False) -> list[tuple[str, NewValue, NewValue]]:
    stands = effect.plan.existing.stands
    return [
        (tag if whole else _label(tag), stands.get(tag), value)
        for tag, value in effect.taken.values.items()
        if tag not in BOOKKEEPING and (whole or not tag.startswith("IPTC:"))
    ]


def _label(tag: str) -> str:
    return tag.rpartition(":")[2]


def _short(value: NewValue) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value or "")
    text = one_line(" ".join(text.split()))
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _troubles(outlook: Outlook) -> list[Text]:
    failed = [
        Text(f"{one_line(str(path))}: {one_line(reason)}", style="red") for path, reason in outlook.failed
    ]
    missing = [
        Text(f"{one_line(str(path))}: not found here, nor under another name", style="yellow")
        for path in outlook.missing
    ]
    return [*failed[:PHOTOS_SHOWN], *missing[:PHOTOS_SHOWN]]


def _counted(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Give the items, with a bar on the terminal when there are many."""
    with Progress(
        console=Console(stderr=True), transient=True, disable=len(items) < PHOTOS_SHOWN
    ) as progress:
        yield from progress.track(items, description=what)
