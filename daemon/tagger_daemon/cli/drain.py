"""`drain` and `resume`: which endpoints get new photos."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import typer

from tagger_daemon.cli.terminal import one_line
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.service.parts import registry_of
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings
from tagger_daemon.vision.problems import nearest
from tagger_daemon.vision.registry import read_registry


def drain(settings: Settings, given: Sequence[str]) -> None:
    """Have these endpoints get no new photos, besides those that get none already.

    Raises:
        ConfigurationError: the registry cannot be read, or has no such endpoint.
        StateUnavailable: it cannot be written down.
    """
    state = StateDirectory(root=settings.state_dir)
    known = {url: None for entry in read_registry(registry_of(settings)).entries for url in entry.endpoints}
    _say(state, state.read_drained() | {_found(url, known) for url in given})


def resume(settings: Settings, given: Sequence[str]) -> None:
    """Have these endpoints get new photos again; all, if none is given.

    Raises:
        ConfigurationError: none of them is drained.
        StateUnavailable: it cannot be written down.
    """
    state = StateDirectory(root=settings.state_dir)
    drained = state.read_drained()
    _say(state, drained - {_found(url, dict.fromkeys(drained)) for url in given} if given else frozenset())


def _found(given: str, known: dict[str, None]) -> str:
    """Return the endpoint that is meant: `/v1` may be left out."""
    for url in known:
        if given.rstrip("/").removesuffix("/v1") == url.removesuffix("/v1"):
            return url
    raise ConfigurationError(f"there is no endpoint {given!r}{nearest(given, known)}")


def _say(state: StateDirectory, urls: Collection[str]) -> None:
    state.make()
    state.write_drained(urls)
    for url in sorted(urls):
        typer.echo(f"{one_line(url)} gets no new photos; those that are there finish")
    if not urls:
        typer.echo("every endpoint gets photos")
