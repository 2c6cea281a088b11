"""Checks that an endpoint serves what its entry describes, and sees what it is shown, before it gets photos.

Nothing of this is a photo's: no photo's answer is read, and none of its attempts is charged.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from loguru import logger

from tagger_daemon.errors import (
    ReplyMalformed,
    ReplyTimeout,
    RequestRejected,
    ServerDrifted,
    ServerUnavailable,
)
from tagger_daemon.vision import canary
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry
from tagger_daemon.vision.identity import Observation, drifts, news, told
from tagger_daemon.vision.observe import observe


@dataclass(eq=False, slots=True)
class _Known:
    """What one endpoint has shown for one entry."""

    entry: Entry
    first: Observation | None = None  # when it was first found right, filled up with what came to light since
    passed: Observation | None = None  # when the canary passed last; None while it has to be shown
    is_slow: bool = False  # was said
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Verifier:
    """Remembers what every endpoint has shown, as long as the process lives."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    async def verify(self, client: ChatClient) -> None:
        """Look at the endpoint; try the canary before its first use, and whenever it is not what it was.

        Raises:
            ServerDrifted: it serves something else, or its model does not see as it should.
            ServerUnavailable: it cannot be asked now.
        """
        known = self._of(client)
        async with known.turn:
            shown = await self._held(client, known)
            changes = news(known.passed, shown) if known.passed else ()
            if known.passed is not None and not changes:
                known.passed = known.passed.filled(shown)
                return
            name, endpoint = client.entry.name, client.endpoint
            if changes:
                logger.info("{}: {} has changed: {}; looked at anew", name, endpoint, "; ".join(changes))
            known.passed = None
            again = await show_canary(client)
            shown = await self._held(client, known, asked=True)  # some tell a context only of a loaded model
            known.passed = shown
            known.first = known.first.filled(shown) if known.first else shown
            logger.info("{}: {} {}, and passed the canary", name, endpoint, told(client.entry, shown))
            if canary.is_slow(again) and not known.is_slow:
                known.is_slow = True
                logger.info("{}: {} does not keep pictures: stages will be slow", name, endpoint)

    def _of(self, client: ChatClient) -> _Known:
        key = (client.entry.name, client.endpoint)
        known = self._known.get(key)
        if known is None or known.entry != client.entry:
            known = self._known[key] = _Known(client.entry)
        return known

    async def _held(self, client: ChatClient, known: _Known, *, asked: bool = False) -> Observation:
        try:
            return await identify(client, known.first, asked=asked)
        except ServerDrifted:
            known.passed = None  # whatever comes back has to show that it sees
            raise


async def identify(
    client: ChatClient, first: Observation | None = None, *, asked: bool = False
) -> Observation:
    """Return what the endpoint shows, if it is what its entry describes, and what it showed at first.

    `asked` says that it has just answered us, as in `drifts`.

    Raises:
        ServerDrifted: it is not; the message has both values.
        NotConsented: it passes requests on to somewhere else, and nobody has agreed to that.
        ServerUnavailable: it cannot be asked now.
    """
    shown = await observe(client)
    if shown.remote:
        client.regard_as_public(f"it passes requests on to {shown.remote}")
    if wrong := drifts(client.entry, client.endpoint, shown, first, asked=asked):
        raise ServerDrifted("; ".join(wrong))
    return shown


async def show_canary(client: ChatClient) -> ChatReply:
    """Show the endpoint two pictures at once, and the first once more; return the last answer.

    Raises:
        ServerDrifted: its answers show that photos would get wrong words, or none.
        ServerUnavailable: it cannot be asked now, or does not answer in time.
    """
    entry = client.entry
    one, other = canary.requests(entry)
    if entry.limits.max > 1:
        first, second = await _both(client, one, other)
    else:
        first, second = await _ask(client, one), await _ask(client, other)
    again = await _ask(client, one)
    if wrong := canary.faults(entry, first, second, again):
        raise ServerDrifted(_failed(client, "; ".join(wrong)))
    return again


async def _both(client: ChatClient, one: ChatRequest, other: ChatRequest) -> tuple[ChatReply, ChatReply]:
    asked = [asyncio.create_task(_ask(client, request)) for request in (one, other)]
    try:
        first, second = await asyncio.gather(*asked)
    finally:
        # Where one fails, the other's answer is of no use.
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return first, second


async def _ask(client: ChatClient, request: ChatRequest) -> ChatReply:
    try:
        return await client.chat(request, session="canary")
    except ReplyTimeout as error:
        raise ServerUnavailable(f"{error}, though it was only shown the canary") from error
    except (RequestRejected, ReplyMalformed) as error:
        raise ServerDrifted(_failed(client, str(error))) from error


def _failed(client: ChatClient, why: str) -> str:
    return f"{client.entry.name!r} at {client.endpoint} did not pass the canary: {why}"
