"""Which endpoint is asked next, and which is left alone until it is well again.

Everything happens on one event loop: state changes between two `await`s, so no lock is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from loguru import logger

from tagger_daemon.errors import (
    ConfigurationError,
    NotConsented,
    ReplyTimeout,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.model import Value
from tagger_daemon.vision.client import ChatClient, nothing_listens
from tagger_daemon.vision.consents import Consents, Disclosure, not_agreed
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Place
from tagger_daemon.vision.keys import looks_like_a_name
from tagger_daemon.vision.network import Resolver, resolve

#: Failures in a row that close an endpoint to photos. One is enough where nothing listens at all.
TOLERATED: Final = 3

#: Seconds between two looks at an endpoint that is down: the first, the growth, the most. The most and one
#: look (`client.PROBE_SECONDS`) together are 5: no returned server goes unnoticed for longer.
PAUSE: Final = 1.0
PAUSE_GROWTH: Final = 1.5
PAUSE_MOST: Final = 3.0

#: Seconds between two looks at an endpoint that refuses us: it takes a person to change that.
PAUSE_REFUSED: Final = 30.0

#: Seconds until a photo is looked at again that may not be sent to any endpoint, and one that may be sent to
#: some, of which none is up. It takes a person and a new start to change the first.
PAUSE_BARRED: Final = 3600.0
PAUSE_BARRED_ELSEWHERE: Final = 60.0
#: Seconds between two looks at an endpoint that is up.
CHECK_SECONDS: Final = 3600.0

State = Literal["unknown", "up", "down", "refused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointStatus(Value):
    """How one endpoint of one entry is doing."""

    entry: str  # name of the registry entry
    url: str  # base URL
    place: Place | None  # how what is sent to it is treated; None: not found yet
    state: State  # unknown: not looked at yet; refused: answers, but not for us
    in_flight: int  # requests under way
    asked: int  # requests sent to it so far
    failed: int  # of these, how many brought no reply
    last_error: str | None  # the server's last failure, in plain words; None once it has done well since
    since: float  # when it came into this state, on the pool's clock, seconds


@dataclass(eq=False, slots=True)
class _Endpoint:
    """One endpoint's books."""

    entry: Entry
    url: str
    client: ChatClient
    since: float
    state: State = "unknown"
    in_flight: int = 0
    asked: int = 0
    failed: int = 0
    in_a_row: int = 0  # failures since the last reply
    failing: set[str] = field(default_factory=set)  # sessions it failed or kept waiting since the last reply
    pause: float = PAUSE
    last_error: str | None = None
    watch: asyncio.Task[None] | None = None
    announced: set[Path] = field(default_factory=set)  # folders of which it was told that photos go there

    def rank(self, session: str) -> bytes:
        """Return this endpoint's weight for a session: the highest of all is the session's own."""
        return hashlib.sha256(f"{session}\0{self.url}".encode(errors="surrogateescape")).digest()

    def status(self) -> EndpointStatus:
        return EndpointStatus(
            entry=self.entry.name,
            url=self.url,
            place=self.client.place,
            state=self.state,
            in_flight=self.in_flight,
            asked=self.asked,
            failed=self.failed,
            last_error=self.last_error,
            since=self.since,
        )


class Pool:
    """All endpoints of the entries in use."""

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        clock: Callable[[], float] = time.monotonic,
        keys: Mapping[str, str],
        consents: Consents | None = None,
        resolve: Resolver = resolve,
        verify: Callable[[ChatClient], Awaitable[None]] | None = None,
    ) -> None:
        """Prepare to ask the endpoints of `entries`; nothing is sent yet.

        `keys` maps the names that entries give in `api_key_env` to keys, as the environment does. `consents`
        says which photos may be sent to endpoints outside the private network: none, if it is not given.
        `verify` looks at an endpoint before it is given photos, and every hour; it raises `ServerUnavailable`
        if it must not be.

        Raises:
            ConfigurationError: an entry's key is missing or cannot be sent.
        """
        self._clock = clock
        self._consents = consents = consents or Consents()
        self._verify = verify
        self._hours: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._told: set[tuple[str, Path]] = set()  # entries and folders of which it was told that they wait
        now = clock()

        def client(url: str, entry: Entry) -> ChatClient:
            key = key_of(entry, keys)
            return ChatClient(url, entry, api_key=key, clock=clock, consents=consents, resolve=resolve)

        self._endpoints = {
            entry.name: [_Endpoint(entry, url, client(url, entry), now) for url in entry.endpoints]
            for entry in {entry.name: entry for entry in entries}.values()
        }

    async def start(self) -> None:
        """Look at every endpoint once, and go on looking at those that are not up."""
        await asyncio.gather(*(self._look(endpoint) for endpoint in self._all()))
        self._hours = asyncio.create_task(self._look_hourly(), name="hourly look")

    async def close(self) -> None:
        """Stop looking, and close all connections."""
        watches = [endpoint.watch for endpoint in self._all() if endpoint.watch]
        watches += [self._hours] if self._hours else []
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await asyncio.gather(*(endpoint.client.close() for endpoint in self._all()))

    async def chat(
        self,
        entry: Entry,
        request: ChatRequest,
        *,
        session: str,
        disclosed: Disclosure = Disclosure(),  # noqa: B008 - frozen
    ) -> ChatReply:
        """Ask an endpoint of `entry`; where one is down, the next is tried at once.

        All requests of one session (one photo) go to the same endpoint while that is up and has room, so that
        the server finds the photo in its cache. With every endpoint busy, this waits for room.

        Args:
            entry: whose endpoints are asked.
            request: what is asked.
            session: names the photo.
            disclosed: what the request tells besides the picture; an endpoint that may not be told is passed
                over.

        Raises:
            ServerUnavailable: no endpoint takes requests now.
            NotConsented: no endpoint does that the photo may be sent to.
            ServerMisconfigured: no endpoint does, and all of them because they refuse us.
            RequestRejected, ReplyError: as `ChatClient.chat`.
        """
        tried: set[_Endpoint] = set()
        while True:
            endpoint = await self._room(entry, session, disclosed, tried)
            try:
                self._announce(endpoint, disclosed)
                return await self._ask(endpoint, request, session)
            except ServerUnavailable:
                tried.add(endpoint)  # which keeps the reason, should no other have room for us
            finally:
                endpoint.in_flight -= 1
                self._tell()

    def tellable(self, entry: Entry, folder: Path) -> Disclosure:
        """Return what an entry may be told about photos in a folder, whichever of its endpoints answers.

        Where it is all the same for every endpoint, the prompts of a photo begin alike for all of them.
        """
        public = [one.url for one in self._endpoints[entry.name] if one.client.place == "public"]
        agreed = [said for url in public if (said := self._consents.agreed(url, folder))]
        return Disclosure(
            folder=folder,
            people=all(said.people for said in agreed),
            places=all(said.places for said in agreed),
        )

    def admit(self, entry: Entry, folder: Path) -> None:
        """Refuse a photo that may not be sent to any endpoint of `entry`, before any work is put into it.

        That is logged once for each folder.

        Raises:
            NotConsented: says what a person has to add to the configuration.
        """
        barred = self._barred(
            self._endpoints[entry.name], Disclosure(folder=folder, people=False, places=False)
        )
        if barred is None:
            return
        if (entry.name, folder) not in self._told:
            self._told.add((entry.name, folder))
            logger.warning("{}: {}", entry.name, barred)
        raise barred

    def available(self, entry: Entry) -> bool:
        """Tell whether an endpoint of `entry` takes requests, as far as is known."""
        return any(endpoint.state == "up" for endpoint in self._endpoints[entry.name])

    async def wait_available(self, entries: Sequence[Entry]) -> None:
        """Wait until each of `entries` has an endpoint that takes requests."""
        while not all(self.available(entry) for entry in entries):
            await self._changed.wait()

    def snapshot(self) -> tuple[EndpointStatus, ...]:
        """Return how every endpoint is doing."""
        return tuple(endpoint.status() for endpoint in self._all())

    def _all(self) -> list[_Endpoint]:
        return [endpoint for endpoints in self._endpoints.values() for endpoint in endpoints]

    def _tell(self) -> None:
        """Wake all who wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _may(self, endpoint: _Endpoint, disclosed: Disclosure) -> bool:
        """Tell whether a photo may be sent to an endpoint, with what is told of it."""
        return endpoint.client.place != "public" or self._consents.permit(endpoint.url, disclosed)

    def _barred(self, endpoints: Sequence[_Endpoint], disclosed: Disclosure) -> NotConsented | None:
        """Return why a photo gets no answer though endpoints may be up: because it may not be sent there."""
        barred = [one for one in endpoints if not self._may(one, disclosed)]
        others = [one for one in endpoints if one not in barred]
        if not barred or any(one.state == "up" for one in others):
            return None
        reasons = [not_agreed(one.url, disclosed.folder) for one in barred]
        reasons += [_reason(one) for one in others]
        return NotConsented("; ".join(reasons), seconds=PAUSE_BARRED_ELSEWHERE if others else PAUSE_BARRED)

    def _announce(self, endpoint: _Endpoint, disclosed: Disclosure) -> None:
        """Say once that photos of a folder leave the private network."""
        agreed = self._consents.agreed(endpoint.url, disclosed.folder)
        if endpoint.client.place != "public" or agreed is None or agreed.folder in endpoint.announced:
            return
        assert agreed.folder is not None
        endpoint.announced.add(agreed.folder)
        logger.warning("photos of {} are sent to {}, outside your network", agreed.folder, endpoint.url)

    async def _room(
        self, entry: Entry, session: str, disclosed: Disclosure, tried: set[_Endpoint]
    ) -> _Endpoint:
        """Take a place at an endpoint that has room: the session's own, or the next in its order.

        The order is a rendezvous hash: an endpoint that goes or comes moves no sessions but its own.
        """
        ranked = sorted(self._endpoints[entry.name], key=lambda one: one.rank(session), reverse=True)
        while True:
            usable = [
                endpoint
                for endpoint in ranked
                if endpoint.state == "up" and endpoint not in tried and self._may(endpoint, disclosed)
            ]
            if not usable:
                raise self._barred(ranked, disclosed) or self._nobody(entry, ranked)
            for endpoint in usable:
                if endpoint.in_flight < entry.limits.max:
                    endpoint.in_flight += 1
                    return endpoint
            await self._changed.wait()

    def _nobody(self, entry: Entry, endpoints: Sequence[_Endpoint]) -> ServerUnavailable:
        kind = ServerMisconfigured if all(one.state == "refused" for one in endpoints) else ServerUnavailable
        reasons = "; ".join(map(_reason, endpoints))
        return kind(f"no server takes requests for {entry.name!r}: {reasons}")

    async def _ask(self, endpoint: _Endpoint, request: ChatRequest, session: str) -> ChatReply:
        endpoint.asked += 1
        try:
            reply = await endpoint.client.chat(request, session=session)
        except TaggerError as error:
            endpoint.failed += 1
            if isinstance(error, ReplyTimeout | ServerFailed):
                await self._judge(endpoint, error, session)
            if isinstance(error, ServerUnavailable):
                self._blame(endpoint, error)
            raise
        endpoint.in_a_row, endpoint.pause, endpoint.last_error = 0, PAUSE, None
        endpoint.failing.clear()
        return reply

    async def _judge(self, endpoint: _Endpoint, error: ReplyTimeout | ServerFailed, session: str) -> None:
        """Find out whose fault it is that a photo got no answer.

        A server that looks well failed because of the photo, unless it fails one photo after the other.

        Raises:
            ServerUnavailable: it is the server's.
            RequestRejected: the server broke down on this photo; a timeout returns, and stands as it is.
        """
        endpoint.failing.add(session)
        await self._look(endpoint)
        if endpoint.state != "up":
            raise ServerUnavailable(endpoint.last_error) from error
        if len(endpoint.failing) >= TOLERATED:
            unavailable = ServerUnavailable(f"{error}; others got no answer either")
            self._shut(endpoint, unavailable)
            raise unavailable from error
        if isinstance(error, ServerFailed):
            raise RequestRejected(str(error)) from error

    def _blame(self, endpoint: _Endpoint, error: ServerUnavailable) -> None:
        """Count a failure that is the server's, and leave the endpoint alone once it is enough."""
        endpoint.in_a_row += 1
        endpoint.last_error = str(error)
        at_once = isinstance(error, ServerMisconfigured) or nothing_listens(error)
        if at_once or endpoint.in_a_row >= TOLERATED:
            self._shut(endpoint, error)

    def _shut(self, endpoint: _Endpoint, error: ServerUnavailable) -> None:
        refused = isinstance(error, ServerMisconfigured)
        endpoint.last_error = str(error)
        self._enter(endpoint, "refused" if refused else "down")
        if endpoint.watch is None:
            endpoint.watch = asyncio.create_task(self._watch(endpoint), name=f"watch {endpoint.url}")

    async def _watch(self, endpoint: _Endpoint) -> None:
        """Look again and again until the endpoint is up."""
        while endpoint.state != "up":
            refused = endpoint.state == "refused"
            await asyncio.sleep(PAUSE_REFUSED if refused else endpoint.pause)
            if not refused:
                endpoint.pause = min(endpoint.pause * PAUSE_GROWTH, PAUSE_MOST)
            await self._look(endpoint)
        endpoint.watch = None

    async def _look_hourly(self) -> None:
        """Look at what is up, too: a server may be replaced while it is in use."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.gather(
                *(self._look(endpoint) for endpoint in self._all() if endpoint.state == "up")
            )

    async def _look(self, endpoint: _Endpoint) -> None:
        try:
            await endpoint.client.ready()
            if self._verify:
                await self._verify(endpoint.client)
        except ServerUnavailable as error:
            self._shut(endpoint, error)
        else:
            endpoint.last_error = None
            if endpoint.state in {"down", "refused"}:
                # A server may look well and still fail: after a fall, the next failure counts for all.
                endpoint.in_a_row = TOLERATED - 1
            self._enter(endpoint, "up")

    def _enter(self, endpoint: _Endpoint, state: State) -> None:
        if endpoint.state == state:
            return
        endpoint.state, endpoint.since = state, self._clock()
        if state == "up":
            logger.info("{}: {} is up", endpoint.entry.name, endpoint.url)
        elif state == "refused":
            logger.error("{}: {}", endpoint.entry.name, endpoint.last_error)
        else:
            logger.warning("{}: {}; photos wait or go elsewhere", endpoint.entry.name, endpoint.last_error)
        self._tell()


def key_of(entry: Entry, keys: Mapping[str, str]) -> str | None:
    """Return the key that an entry asks for, None where it asks for none.

    Raises:
        ConfigurationError: the variable that it names is not there.
    """
    if entry.api_key_env is None:
        return None
    if entry.api_key_env not in keys:
        # The key itself may stand there by mistake.
        name = entry.api_key_env if looks_like_a_name(entry.api_key_env) else "its api_key_env"
        raise ConfigurationError(
            f"{entry.name!r} needs the key in {name}, which is not set, neither in the environment nor as a"
            " credential of systemd (LoadCredential)"
        )
    return keys[entry.api_key_env]


def _reason(endpoint: _Endpoint) -> str:
    return endpoint.last_error or f"{endpoint.url} was not looked at yet"
