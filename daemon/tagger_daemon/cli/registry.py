"""`list-registry`: the model registry as it stands, who takes which role, and what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.terminal import console, one_line, shown
from tagger_daemon.errors import ConfigurationError, ServerMisconfigured, ServerUnavailable
from tagger_daemon.model import Stage, Value
from tagger_daemon.service.parts import fallbacks_of, registry_of, roles_of
from tagger_daemon.settings import Settings
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.dialects import confirmed_digest
from tagger_daemon.vision.entry import Entry, Registry
from tagger_daemon.vision.keys import Keys
from tagger_daemon.vision.pool import key_of
from tagger_daemon.vision.registry import read_registry
from tagger_daemon.vision.roles import lacks, resolve_chains, resolve_role

#: Digits of a digest that are shown, its kind included; `--json` has all.
SHORT_DIGEST = 20
#: Columns for names, and what stands below them.
WIDEST_NAME = 32

State = Literal["up", "down", "refused", "not asked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen(Value):
    """What a look at one endpoint showed."""

    url: str  # base URL
    state: State  # refused: answers, but not for us; not asked: there is nothing to ask it for, or no key
    reason: str  # in plain words; empty where it is up


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing(Value):
    """A registry, and what these settings make of it."""

    registry: Registry
    roles: Mapping[Stage, str]  # the role that is asked for each stage
    chains: Mapping[Stage, tuple[Entry, ...]]  # whom to ask, in order; stages that nobody answers are absent
    problems: tuple[str, ...]  # of the registry, of roles and of fall-backs
    seen: Mapping[str, tuple[Seen, ...]]  # entry -> its endpoints; empty where nobody looked

    def wins(self, entry: Entry, role: str) -> bool:
        """Tell whether this entry takes a role that is asked."""
        return any(
            self.roles[stage] == role and chain[0].name == entry.name for stage, chain in self.chains.items()
        )

    def stands_in(self, entry: Entry) -> tuple[Stage, ...]:
        """Return the stages at which this entry stands in for another."""
        return tuple(
            stage for stage, chain in self.chains.items() if any(one.name == entry.name for one in chain[1:])
        )

    @property
    def in_use(self) -> frozenset[str]:
        """Names of the entries that may be asked."""
        return frozenset(entry.name for chain in self.chains.values() for entry in chain)

    def to_json(self) -> dict[str, Any]:
        """Give the form for scripts. Commands and environments of servers stay out: keys may be in them."""
        return {
            "source": self.registry.source,
            "hash": self.registry.hash,
            "roles": {
                stage.value: [entry.name for entry in self.chains.get(stage, ())] for stage in self.roles
            },
            "entries": [self._to_json(entry) for entry in self.registry.entries],
            "problems": list(self.problems),
        }

    def _to_json(self, entry: Entry) -> dict[str, Any]:
        seen = {one.url: one for one in self.seen.get(entry.name, ())}
        return {
            "name": entry.name,
            "display_name": entry.display_name or None,
            "backend": entry.backend,
            "dialect": entry.dialect,
            "served_model": entry.served_model or None,
            "roles": [
                {
                    "role": role,
                    "priority": entry.role_priority.get(role, 0),
                    "wins": self.wins(entry, role),
                }
                for role in entry.roles
            ],
            "stands_in": [stage.value for stage in self.stands_in(entry)],
            "lacks": list(lacks(entry)),
            "endpoints": [
                {
                    "url": url,
                    "state": seen[url].state if url in seen else None,
                    "reason": (seen[url].reason or None) if url in seen else None,
                }
                for url in entry.endpoints
            ],
            "launched": entry.launch is not None,
            "digest": confirmed_digest(entry),
            "deprecated": entry.deprecated,
        }


def conduct(settings: Settings, *, as_json: bool, check: bool) -> Exit:
    """Read, look, show.

    Returns:
        AMISS where something is wrong with the registry, or, having looked, with an endpoint of an entry that
        is in use; else OK.

    Raises:
        ConfigurationError: no registry is set, or it cannot be read at all.
    """
    listing = gather(settings)
    if check:
        consents = Consents(settings.remote)
        listing = listing.evolve(seen=asyncio.run(look(listing.registry.entries, consents)))
    if as_json:
        typer.echo(json.dumps(listing.to_json(), indent=2))
    else:
        console().print(render(listing))
        for problem in listing.problems:
            typer.secho(one_line(problem), fg="red")
    return exit_status(listing)


def gather(settings: Settings) -> Listing:
    """Read the registry, and find out who answers; nothing is written, nobody is asked.

    Raises:
        ConfigurationError: no registry is set, or it cannot be read at all.
    """
    registry = read_registry(registry_of(settings))
    roles = roles_of(settings)
    problems = dict.fromkeys(registry.problems)
    entries: dict[Stage, Entry] = {}
    for stage, role in roles.items():
        try:
            entries[stage] = resolve_role(role, registry)
        except ConfigurationError as error:
            problems[str(error)] = None
    chains: Mapping[Stage, tuple[Entry, ...]]
    try:
        chains = resolve_chains(entries, fallbacks_of(settings), registry)
    except ConfigurationError as error:
        problems |= dict.fromkeys(str(error).splitlines())
        chains = {stage: (entry,) for stage, entry in entries.items()}
    return Listing(registry=registry, roles=roles, chains=chains, problems=tuple(problems), seen={})


async def look(entries: Sequence[Entry], consents: Consents) -> dict[str, tuple[Seen, ...]]:
    """Look at every endpoint of every entry, all at once; public ones only if they are agreed to."""
    looks = (asyncio.gather(*(_look(entry, url, consents) for url in entry.endpoints)) for entry in entries)
    found = await asyncio.gather(*looks)
    return {entry.name: tuple(seen) for entry, seen in zip(entries, found, strict=True)}


async def _look(entry: Entry, url: str, consents: Consents) -> Seen:
    if not entry.served_model:
        return Seen(url=url, state="not asked", reason=", ".join(lacks(entry)))
    try:
        client = ChatClient(url, entry, api_key=key_of(entry, Keys(os.environ)), consents=consents)
    except ConfigurationError as error:
        return Seen(url=url, state="not asked", reason=str(error))
    try:
        await client.ready()
    except ServerUnavailable as error:
        state: State = "refused" if isinstance(error, ServerMisconfigured) else "down"
        return Seen(url=url, state=state, reason=str(error))
    finally:
        await client.close()
    return Seen(url=url, state="up", reason="")


def render(listing: Listing) -> Group:
    """Draw the entries, and what a look at them showed."""
    parts: list[RenderableType] = [
        Text(f"{one_line(listing.registry.source)}  {listing.registry.hash}", style="dim"),
        _entries(listing),
    ]
    if listing.seen:
        parts.append(_endpoints(listing))
    return Group(*parts)


def exit_status(listing: Listing) -> Exit:
    """AMISS where something is wrong, or an endpoint of an entry in use was looked at and is not up."""
    down = [one for name in listing.in_use for one in listing.seen.get(name, ()) if one.state != "up"]
    return Exit.AMISS if listing.problems or down else Exit.OK


def _entries(listing: Listing) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("entry", overflow="fold", max_width=WIDEST_NAME)
    for heading in ("server", "roles", "model, digest", "endpoints"):
        table.add_column(heading, overflow="fold")
    for entry in listing.registry.entries:
        model = Text(one_line(entry.served_model)) if entry.served_model else Text("null", style="red")
        table.add_row(
            _lines((Text(one_line(entry.name), style="bold"), *_notes(listing, entry))),
            Text(_server(entry)),
            _lines(_role(listing, entry, role) for role in entry.roles),
            _lines((model, Text(_short(confirmed_digest(entry)), style="dim"))),
            _lines(Text(url) for url in entry.endpoints),
        )
    return table


def _server(entry: Entry) -> str:
    """Name the server's kind, and how it is spoken to where that is another word."""
    backend = one_line(entry.backend)
    return backend if backend == entry.dialect else f"{backend} ({entry.dialect})"


def _role(listing: Listing, entry: Entry, role: str) -> Text:
    wins = listing.wins(entry, role)
    words = f"{one_line(role)} {entry.role_priority.get(role, 0)}"
    return Text(f"{words}, wins" if wins else words, style="green" if wins else "")


def _notes(listing: Listing, entry: Entry) -> Iterator[Text]:
    if stages := listing.stands_in(entry):
        yield Text(f"stands in for {', '.join(stages)}", style="dim")
    yield from (Text(lack, style="yellow") for lack in lacks(entry))


def _lines(texts: Iterable[Text]) -> Text:
    return Text("\n").join(texts)


def _short(digest: str) -> str:
    return digest if len(digest) <= SHORT_DIGEST else f"{digest[:SHORT_DIGEST]}…"


def _endpoints(listing: Listing) -> Table:
    table = Table("endpoint", "entry", "state", "", box=None, pad_edge=False)
    for name, seen in listing.seen.items():
        used = "" if name in listing.in_use else "dim"
        for one in seen:
            table.add_row(
                shown(one.url),
                shown(name),
                Text(one.state, style="green" if one.state == "up" else "red"),
                shown(one.reason),
                style=used,
            )
    return table
