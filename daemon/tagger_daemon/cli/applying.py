"""Has what was decided written, photo by photo: `review apply`, and `apply` of an audit file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.proposals import count_photos, count_states
from tagger_daemon.cli.stopping import Stop
from tagger_daemon.cli.terminal import console, one_line
from tagger_daemon.errors import DecidedOtherwise, PhotoChanged, PhotoGone, StateUnavailable, TaggerError
from tagger_daemon.metadata.review import State
from tagger_daemon.model import Decision, Part, Value
from tagger_daemon.reports.audit import AuditLog, single
from tagger_daemon.service import by_hand
from tagger_daemon.service.applying import Applier
from tagger_daemon.service.handed_in import proposals_in
from tagger_daemon.service.reviewing import Desk
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings

PROBLEMS_SHOWN = 20
INTERRUPTED = "interrupted"


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
        states = Counter(one.state for one in meant)
        typer.echo(f"{count_photos(len(meant))}: {count_states(states)}.", err=True)
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
    typer.echo(f"{count_photos(len(outcomes.photos))}: {'; '.join(clauses)}.")
