"""Which endpoint is asked next, and which is left alone until it is well again.

Everything happens on one event loop: state changes between two `await`s, so no lock is needed.

An endpoint is a circuit breaker with the states of one, in plain words: *up* (closed), *down* or *refused*
(open), and *trying* (half open): it looks well again, and one photo finds out whether it is.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
from loguru import logger

from tagger_daemon.errors import (
    ConfigurationError,
    NotConsented,
    ReplyError,
    ReplyTimeout,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.model import Value
from tagger_daemon.vision.client import ChatClient, is_cut_off, is_gone, is_silent, nothing_listens
from tagger_daemon.vision.consents import Consents, Disclosure, not_agreed
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Place
from tagger_daemon.vision.keys import looks_like_a_name
from tagger_daemon.vision.line import Line, Sessions
from tagger_daemon.vision.network import Resolver, resolve
from tagger_daemon.vision.throttle import Throttle, Turn

#: Failures in a row that close an endpoint to photos. One is enough where nothing listens at all.
TOLERATED: Final = 3

#: Looks in a row without an answer after which what a server has in hand is given up: a machine without
#: power refuses no connection, and its photos would wait for their deadline. One that is busy misses one.
SILENT_LOOKS: Final = 3

#: Seconds until a photo is looked at again that a server had in hand that had just come back, and died:
#: another photo tries it first, as this one may be what it dies of.
PAUSE_SUSPECT: Final = 30.0

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

#: Seconds between two looks at an endpoint that is up: what it serves may have been changed meanwhile.
CHECK_SECONDS: Final = 3600.0

#: unknown: not looked at yet. up: takes photos. trying: one photo finds out whether it does again. draining:
#: takes no new photos, and lets those that are there finish. down: left alone until it looks well. refused:
#: answers, but not for us.
State = Literal["unknown", "up", "trying", "draining", "down", "refused"]

#: Finds out whether a server is what the registry says, by whatever it takes to ask it.
Verify = Callable[[ChatClient], Awaitable[None]]

#: Finds out whether a server answers at all, by asking it something that is no photo.
Prove = Callable[[ChatClient], Awaitable[object]]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointStatus(Value):
    """How one endpoint of one entry is doing."""

    entry: str  # name of the registry entry
    url: str  # base URL
    place: Place | None  # how what is sent to it is treated; None: not found yet
    state: State
    limit: int  # requests that it is given at once, at present
    in_flight: int  # requests under way
    waiting: int  # requests that would take a place there, if there was one
    asked: int  # requests sent to it so far
    failed: int  # of these, how many brought no reply
    seconds: float | None  # median of the last replies; None: there were none
    tokens_per_second: float | None  # over the last replies; None: not told
    last_error: str | None  # the server's last failure, in plain words; None once it has done well since
    since: float  # when it came into this state, on the pool's clock, seconds


@dataclass(eq=False, slots=True)
class _Endpoint:
    """One endpoint's books."""

    entry: Entry
    url: str
    client: ChatClient
    since: float
    throttle: Throttle
    state: State = "unknown"
    draining: bool = False
    asked: int = 0
    failed: int = 0
    in_a_row: int = 0  # failures since the last reply
    failing: set[str] = field(default_factory=set)  # sessions it failed or kept waiting since the last reply
    falls: int = 0  # times that it stopped taking photos
    silent: int = 0  # looks in a row without an answer
    stays: set[asyncio.Timeout] = field(default_factory=set)  # of the requests under way
    pause: float = PAUSE
    last_error: str | None = None
    watch: asyncio.Task[None] | None = None
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    looked: float = float("-inf")  # when the last look began
    announced: set[Path] = field(default_factory=set)  # folders of which it was told that photos go there

    @property
    def is_open(self) -> bool:
        return self.state in {"up", "trying"}

    def room(self, now: float) -> int:
        room = self.throttle.room(now)
        return min(room, 1 - self.throttle.in_flight) if self.state == "trying" else room

    def status(self, *, waiting: int, now: float) -> EndpointStatus:
        return EndpointStatus(
            entry=self.entry.name,
            url=self.url,
            place=self.client.place,
            state="draining" if self.draining and self.is_open else self.state,
            limit=self.throttle.limit,
            in_flight=self.throttle.in_flight,
            waiting=waiting,
            asked=self.asked,
            failed=self.failed,
            seconds=self.throttle.seconds,
            tokens_per_second=self.throttle.tokens_per_second(now),
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
        verify: Verify | None = None,
        prove: Prove | None = None,
    ) -> None:
        """Prepare to ask the endpoints of `entries`; nothing is sent yet.

        Args:
            entries: those in use; one that is there twice counts once.
            clock: seconds, never going back.
            keys: maps the names that entries give in `api_key_env` to keys, as the environment does.
            consents: say which photos may be sent to endpoints outside the private network: none, if they
                are not given.
            resolve: finds the addresses of a host.
            verify: awaited before an endpoint is used, and once an hour while it is. It raises
                ServerUnavailable where the endpoint must not be used.
            prove: awaited where the first photo after a server's return gets no answer, to tell whose fault
                that is. It raises ServerUnavailable where it is the server's. Without it, it always is.

        Raises:
            ConfigurationError: an entry's key is missing or cannot be sent.
        """
        self._clock = clock
        self._verify = verify
        self._prove = prove
        self._consents = consents or Consents()
        self._resolve = resolve
        self._told: set[tuple[str, Path]] = set()  # entries and folders of which it was told that they wait
        self._changed = asyncio.Event()
        self._checks: asyncio.Task[None] | None = None
        self._defect: BaseException | None = None  # what ended one of the looks
        self._broken = asyncio.Event()
        self._endpoints = {
            entry.name: [self._endpoint(url, entry, keys) for url in entry.endpoints]
            for entry in {entry.name: entry for entry in entries}.values()
        }
        self._sessions = Sessions()
        self._lines = {
            name: Line(
                name,
                endpoints,
                sessions=self._sessions,
                clock=clock,
                nobody=functools.partial(self._nobody, name),
            )
            for name, endpoints in self._endpoints.items()
        }

    async def start(self) -> None:
        """Look at every endpoint once, and go on: soon at those that are not up, hourly at those that are.

        Called again, it looks at every endpoint once more.
        """
        await asyncio.gather(*(self._look(endpoint) for endpoint in self._all()))
        if self._checks is None:
            self._checks = self._go_on(self._keep_checking(), name="hourly look at the servers")

    async def look_on(self) -> None:
        """Wait for as long as the looks at the servers go on: for ever.

        Raises:
            BaseException: what ended one of them, a defect: nobody would notice that server's return.
        """
        await self._broken.wait()
        assert self._defect is not None
        raise self._defect

    async def close(self) -> None:
        """Stop looking, and close all connections."""
        tasks = [task for task in (self._checks, *(one.watch for one in self._all())) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines.values():
            line.close()
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

        All requests of one session (one photo) go to the same endpoint while that is up, so that the server
        finds the photo in its cache. With no place free, this waits for one; a server that has too much to do
        is asked again once it has less.

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
        line = self._lines[entry.name]
        tried: set[_Endpoint] = set()
        again = is_suspect = False
        while True:
            try:
                endpoint, turn = await self._place(entry, session, disclosed, tried, again=again)
            except ServerUnavailable as error:
                error.seconds = max(error.seconds, PAUSE_SUSPECT if is_suspect else 0.0)
                raise
            tries = endpoint.state == "trying"
            try:
                self._announce(endpoint, disclosed)
                return await self._ask(endpoint, turn, request, session)
            except ServerUnavailable as error:
                is_suspect |= tries and is_cut_off(error)
                again = is_overload(error) and endpoint.is_open
                if not again:
                    tried.add(endpoint)  # which keeps the reason, should no other have room for us
            finally:
                line.freed(endpoint)

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
        barred = self._barred(entry, Disclosure(folder=folder, people=False, places=False))
        if barred is None:
            return
        if (entry.name, folder) not in self._told:
            self._told.add((entry.name, folder))
            logger.warning("{}: {}", entry.name, barred)
        raise barred

    def available(self, entry: Entry, *, session: str | None = None) -> bool:
        """Tell whether an endpoint of `entry` takes this photo, or new ones, as far as is known."""
        home = None if session is None else self._sessions.home(session, entry.name)
        return any(
            endpoint.is_open and (endpoint.url == home or not endpoint.draining)
            for endpoint in self._endpoints[entry.name]
        )

    async def wait_available(self, entries: Sequence[Entry]) -> None:
        """Wait until each of `entries` has an endpoint that takes new photos."""
        while not all(self.available(entry) for entry in entries):
            await self._changed.wait()

    def drain(self, urls: Collection[str]) -> None:
        """Send no new photos to the endpoints at these URLs, and to all others again.

        Photos that are there already finish there.
        """
        for endpoint in self._all():
            draining = endpoint.url in urls
            if endpoint.draining != draining:
                endpoint.draining = draining
                words = _GETS_NONE if draining else _GETS_SOME
                logger.info("{}: {} {}", endpoint.entry.name, endpoint.url, words)
                self._tell(endpoint)

    def snapshot(self) -> tuple[EndpointStatus, ...]:
        """Return how every endpoint is doing."""
        now = self._clock()
        return tuple(
            endpoint.status(waiting=self._lines[name].waiting(endpoint), now=now)
            for name, endpoints in self._endpoints.items()
            for endpoint in endpoints
        )

    def _endpoint(self, url: str, entry: Entry, keys: Mapping[str, str]) -> _Endpoint:
        client = ChatClient(
            url,
            entry,
            api_key=key_of(entry, keys),
            clock=self._clock,
            consents=self._consents,
            resolve=self._resolve,
        )
        throttle = Throttle(start=entry.limits.start, most=entry.limits.max)
        return _Endpoint(entry, url, client, self._clock(), throttle)

    def _go_on(self, looks: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(looks, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (defect := task.exception()):
            self._defect = defect
            self._broken.set()

    def _all(self) -> list[_Endpoint]:
        return [endpoint for endpoints in self._endpoints.values() for endpoint in endpoints]

    def _tell(self, endpoint: _Endpoint) -> None:
        """Tell all whom it concerns that an endpoint takes photos now, or does not any more."""
        self._lines[endpoint.entry.name].changed()
        self._changed.set()
        self._changed = asyncio.Event()

    def _may(self, endpoint: _Endpoint, disclosed: Disclosure) -> bool:
        """Tell whether a photo may be sent to an endpoint, with what is told of it."""
        return endpoint.client.place != "public" or self._consents.permit(endpoint.url, disclosed)

    def _barred(self, entry: Entry, disclosed: Disclosure) -> NotConsented | None:
        """Return why a photo gets no answer though endpoints may be up: because it may not be sent there."""
        endpoints = self._endpoints[entry.name]
        barred = [one for one in endpoints if not self._may(one, disclosed)]
        others = [one for one in endpoints if one not in barred]
        if not barred or any(one.is_open for one in others):
            return None
        reasons = [not_agreed(one.url, disclosed.folder) for one in barred]
        reasons += [one.last_error or _reason(one) for one in others]
        return NotConsented("; ".join(reasons), seconds=PAUSE_BARRED_ELSEWHERE if others else PAUSE_BARRED)

    def _announce(self, endpoint: _Endpoint, disclosed: Disclosure) -> None:
        """Say once that photos of a folder leave the private network."""
        agreed = self._consents.agreed(endpoint.url, disclosed.folder)
        if endpoint.client.place != "public" or agreed is None or agreed.folder in endpoint.announced:
            return
        assert agreed.folder is not None
        endpoint.announced.add(agreed.folder)
        logger.warning("photos of {} are sent to {}, outside your network", agreed.folder, endpoint.url)

    async def _place(
        self, entry: Entry, session: str, disclosed: Disclosure, tried: set[_Endpoint], *, again: bool
    ) -> tuple[_Endpoint, Turn]:
        """Take a place at an endpoint that the photo may be sent to."""
        while True:
            barred = {one for one in self._endpoints[entry.name] if not self._may(one, disclosed)}
            try:
                endpoint, turn = await self._lines[entry.name].place(
                    session, shunned=tried | barred, again=again
                )
            except ServerUnavailable as error:
                raise self._barred(entry, disclosed) or error from None
            if self._may(endpoint, disclosed):
                return endpoint, turn
            # While it waited, it came out that the endpoint passes photos on.
            endpoint.throttle.leave(self._clock())
            self._lines[entry.name].freed(endpoint)

    def _nobody(self, name: str) -> ServerUnavailable:
        endpoints = self._endpoints[name]
        kind = ServerMisconfigured if all(one.state == "refused" for one in endpoints) else ServerUnavailable
        reasons = "; ".join(one.last_error or _reason(one) for one in endpoints)
        return kind(f"no server takes requests for {name!r}: {reasons}")

    async def _ask(self, endpoint: _Endpoint, turn: Turn, request: ChatRequest, session: str) -> ChatReply:
        endpoint.asked += 1
        throttle, falls = endpoint.throttle, endpoint.falls
        try:
            reply = await self._stay(endpoint, endpoint.client.chat(request, session=session))
        except TimeoutError as error:
            endpoint.failed += 1
            throttle.leave(self._clock())
            raise ServerUnavailable(f"{endpoint.last_error}; it had a request in hand") from error
        except TaggerError as error:
            endpoint.failed += 1
            if endpoint.falls > falls and isinstance(error, ReplyTimeout | ServerFailed):
                throttle.leave(self._clock())
                raise ServerUnavailable(f"{error}; it was down meanwhile") from error
            if isinstance(error, ReplyTimeout) or is_overload(error):
                throttle.overloaded(self._clock(), retry_after=getattr(error, "retry_after", None))
            else:
                throttle.leave(self._clock())
            await self._find_out(endpoint, error, session)
            raise
        except BaseException:  # cancelled, or a defect of ours: the place must not be lost
            throttle.leave(self._clock())
            raise
        throttle.answered(turn, self._clock(), kind=request.stage, tokens=reply.completion_tokens)
        self._did_well(endpoint)
        return reply

    async def _stay(self, endpoint: _Endpoint, reply: Awaitable[ChatReply]) -> ChatReply:
        """Wait for a reply for as long as one is to be expected.

        Raises:
            TimeoutError: none is any more: see `_give_up_requests`.
        """
        async with asyncio.timeout(None) as stay:
            endpoint.stays.add(stay)
            try:
                return await reply
            finally:
                endpoint.stays.discard(stay)

    def _did_well(self, endpoint: _Endpoint) -> None:
        endpoint.in_a_row, endpoint.pause = 0, PAUSE
        endpoint.failing.clear()
        if endpoint.is_open:  # else this was begun before, and the reason why it is not has to stay
            endpoint.last_error = None
        if endpoint.state == "trying":
            self._enter(endpoint, "up")

    async def _find_out(self, endpoint: _Endpoint, error: TaggerError, session: str) -> None:
        """Find out what a failed request says about the endpoint.

        Raises:
            ServerUnavailable: it is the server's fault where the error says that it may be the photo's.
            RequestRejected: the server broke down on this photo.
        """
        match error:
            case ReplyTimeout() | ServerFailed():
                await self._judge(endpoint, error, session)
            case ServerUnavailable() if is_overload(error):
                await self._overloaded(endpoint, error)
            case ServerUnavailable():
                self._blame(endpoint, error)
            case RequestRejected() | ReplyError():
                if endpoint.state == "trying":  # it works; whether it likes this photo is another matter
                    self._enter(endpoint, "up")

    async def _judge(self, endpoint: _Endpoint, error: ReplyTimeout | ServerFailed, session: str) -> None:
        """Find out whose fault it is that a photo got no answer.

        A server that looks well failed because of the photo, unless it fails one photo after the other, or
        has just come back and answers nothing else either.

        Raises:
            ServerUnavailable: it is the server's.
            RequestRejected: the server broke down on this photo; a timeout returns, and stands as it is.
        """
        endpoint.failing.add(session)
        if endpoint.is_open:
            await self._look(endpoint, after=self._clock())
        if not endpoint.is_open:
            raise ServerUnavailable(endpoint.last_error) from error
        if endpoint.state == "trying":
            await self._try_without_photo(endpoint, error)
        elif len(endpoint.failing) >= TOLERATED:
            unavailable = ServerUnavailable(f"{error}; others got no answer either")
            self._shut(endpoint, unavailable)
            self._give_up_requests(endpoint)
            raise unavailable from error
        if isinstance(error, ServerFailed):
            raise RequestRejected(str(error)) from error

    async def _try_without_photo(self, endpoint: _Endpoint, error: ReplyTimeout | ServerFailed) -> None:
        """Find out whether a server that has just come back answers at all, as a photo got no answer.

        Raises:
            ServerUnavailable: it does not, or nothing but photos can be shown to it.
        """
        try:
            if self._prove is None:
                raise ServerUnavailable(f"{error}, though it looked well")
            await self._prove(endpoint.client)
        except ServerUnavailable as unavailable:
            self._shut(endpoint, unavailable)
            raise ServerUnavailable(str(unavailable)) from error
        self._did_well(endpoint)

    async def _overloaded(self, endpoint: _Endpoint, error: ServerUnavailable) -> None:
        """Bear with a server that has too much to do, unless it does nothing at all of ours."""
        endpoint.last_error = str(error)
        if endpoint.throttle.rests(self._clock()):
            self._lines[endpoint.entry.name].changed()
        if endpoint.throttle.in_flight == 0 and endpoint.is_open:
            await self._look(endpoint, after=self._clock())
            if endpoint.is_open:
                self._blame(endpoint, error)

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
        if is_gone(error):
            # Before anybody is told: who waits for the pause to end has no reason to.
            endpoint.throttle.forget_pause()
        self._enter(endpoint, "refused" if refused else "down")
        if is_gone(error):
            self._give_up_requests(endpoint)
        if endpoint.watch is None:
            endpoint.watch = self._go_on(self._watch(endpoint), name=f"watch {endpoint.url}")

    def _give_up_requests(self, endpoint: _Endpoint) -> None:
        """Send the photos that are at an endpoint elsewhere: no answer is to be expected there."""
        for stay in endpoint.stays:
            stay.reschedule(asyncio.get_running_loop().time())
        endpoint.stays.clear()

    async def _watch(self, endpoint: _Endpoint) -> None:
        """Look again and again until the endpoint takes photos."""
        while not endpoint.is_open:
            refused = endpoint.state == "refused"
            await asyncio.sleep(PAUSE_REFUSED if refused else endpoint.pause)
            if not refused:
                endpoint.pause = min(endpoint.pause * PAUSE_GROWTH, PAUSE_MOST)
            await self._look(endpoint)
        endpoint.watch = None

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            open_ones = [endpoint for endpoint in self._all() if endpoint.is_open]
            await asyncio.gather(*(self._look(endpoint, thorough=True) for endpoint in open_ones))

    async def _look(self, endpoint: _Endpoint, *, after: float | None = None, thorough: bool = False) -> None:
        """Look how an endpoint is; where many ask at once, one look is for all.

        Args:
            endpoint: at which to look.
            after: a look that began later than this has been enough.
            thorough: verify also an endpoint that is in use.
        """
        async with endpoint.looking:
            if after is not None and endpoint.looked > after:
                return
            endpoint.looked = self._clock()
            try:
                await endpoint.client.ready()
                if self._verify is not None and (thorough or not endpoint.is_open):
                    await self._verify(endpoint.client)
            except ServerUnavailable as error:
                self._shut(endpoint, error)
                endpoint.silent = endpoint.silent + 1 if is_silent(error) else 0
                if endpoint.silent >= SILENT_LOOKS:
                    self._give_up_requests(endpoint)
                return
            endpoint.last_error, endpoint.silent = None, 0
            if endpoint.state in {"down", "refused"}:
                # A server may look well and still fail: after a fall, the next failure counts for all.
                endpoint.in_a_row = TOLERATED - 1
                self._enter(endpoint, "trying")
            elif endpoint.state == "unknown":
                self._enter(endpoint, "up")

    def _enter(self, endpoint: _Endpoint, state: State) -> None:
        if endpoint.state == state:
            return
        endpoint.state, endpoint.since = state, self._clock()
        endpoint.falls += not endpoint.is_open
        name, url = endpoint.entry.name, endpoint.url
        if state == "up":
            logger.info("{}: {} is up", name, url)
        elif state == "trying":
            logger.info("{}: {} looks well again; one photo tries it", name, url)
        elif state == "refused":
            logger.error("{}: {}", name, endpoint.last_error)
        else:
            logger.warning("{}: {}; photos wait or go elsewhere", name, endpoint.last_error)
        self._tell(endpoint)


_GETS_NONE = "gets no new photos; those that are there finish"
_GETS_SOME = "gets new photos again"


def is_overload(error: TaggerError) -> bool:
    """Tell whether the server itself says that it has too much to do or is not ready: 429, 503, 529."""
    special = isinstance(error, ServerFailed | ServerMisconfigured)
    reached = not isinstance(error.__cause__, httpx2.TransportError)
    return isinstance(error, ServerUnavailable) and not special and reached


def _reason(endpoint: _Endpoint) -> str:
    if endpoint.state == "unknown":
        return f"{endpoint.url} was not looked at yet"
    return f"{endpoint.url} {_GETS_NONE if endpoint.draining else 'did not take this request'}"


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
