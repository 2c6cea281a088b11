"""Who gets the next free place at the endpoints of one entry: photos that were begun first, each where it is.

A free place wakes one request and no more, however many wait. Everything happens on one event loop: state
changes between two `await`s, so no lock is needed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from tagger_daemon.errors import ServerUnavailable
from tagger_daemon.vision.affinity import Load, choose, rank
from tagger_daemon.vision.throttle import Throttle, Turn

#: Photos whose endpoint is remembered: several times as many as can be asked about at once.
REMEMBERED: Final = 4096

#: Seconds after its last request for which a photo is. Servers forget its picture too.
REMEMBERED_SECONDS: Final = 600.0


class Host(Protocol):
    """An endpoint, as far as its places are concerned."""

    url: str
    throttle: Throttle
    draining: bool  # takes only photos that are there already

    @property
    def is_open(self) -> bool:
        """Whether it takes requests at all."""

    def room(self, now: float) -> int:
        """Say how many requests may be sent to it now."""


H = TypeVar("H", bound=Host)


class Sessions:
    """Where the photos are that were asked about lately."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, dict[str, str]]] = OrderedDict()

    def __contains__(self, session: str) -> bool:
        """Tell whether the photo had a request before, to whichever model."""
        return session in self._seen

    def home(self, session: str, entry: str) -> str | None:
        """Return the endpoint that had this photo last; None where no one had, or it is forgotten."""
        return self._seen[session][1].get(entry) if session in self._seen else None

    def note(self, session: str, entry: str, url: str, *, now: float) -> None:
        """Remember where the photo is now, and forget those of long ago."""
        _, homes = self._seen.pop(session, (now, {}))
        homes[entry] = url
        self._seen[session] = (now, homes)
        while (
            len(self._seen) > REMEMBERED or now - self._seen[next(iter(self._seen))][0] > REMEMBERED_SECONDS
        ):
            self._seen.popitem(last=False)


@dataclass(eq=False, slots=True)
class _Waiter(Generic[H]):
    """One request that waits for a place."""

    session: str
    shunned: Collection[H]
    place: asyncio.Future[tuple[H, Turn]]


class Line(Generic[H]):
    """The requests that wait for a place, and the rules by which they get one."""

    def __init__(
        self,
        entry: str,
        hosts: Sequence[H],
        *,
        sessions: Sessions,
        clock: Callable[[], float],
        nobody: Callable[[], ServerUnavailable],
    ) -> None:
        """Prepare for the endpoints of the entry of this name; `nobody` says why none takes requests."""
        self._entry = entry
        self._hosts = tuple(hosts)
        self._sessions = sessions
        self._clock = clock
        self._nobody = nobody
        self._at: dict[H, deque[_Waiter[H]]] = {host: deque() for host in hosts}
        self._anywhere: deque[_Waiter[H]] = deque()  # photos that were begun, and whose endpoint has no use
        self._new: deque[_Waiter[H]] = deque()
        self._timers: dict[H, asyncio.TimerHandle] = {}

    async def place(
        self, session: str, *, shunned: Collection[H] = (), again: bool = False
    ) -> tuple[H, Turn]:
        """Take a place, at once or when it is this request's turn.

        A photo stays where it is while that endpoint is open and does not rest. A new one goes to its own
        endpoint, or to the next in its order that has room, or it waits for the first place that is left.

        Args:
            session: names the photo.
            shunned: endpoints that are of no use to this request.
            again: the server at which it had a place did not want it then: it is the next, and anywhere.

        Raises:
            ServerUnavailable: no endpoint takes it.
        """
        if not any(self._takes(host, session, shunned) for host in self._hosts):
            raise self._nobody()
        home = None if again else self._home(session, shunned)
        host = self._free(session, shunned, home)
        if host is not None:
            return self._grant(host, session)
        waiter = _Waiter(session, shunned, asyncio.get_running_loop().create_future())
        if home is not None:
            queue = self._at[home]
        else:
            queue = self._anywhere if session in self._sessions else self._new
        if again:
            queue.appendleft(waiter)
        else:
            queue.append(waiter)
        # One that is before it may have no use for a place that is free; nothing else would give it.
        for free in self._in_order(session):
            self.freed(free)
        self._wake_later()
        try:
            return await waiter.place
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def freed(self, host: H) -> None:
        """Give the places that are free at `host` to those whose turn it is."""
        while host.is_open and host.room(self._clock()) > 0 and (waiter := self._next(host)):
            waiter.place.set_result(self._grant(host, waiter.session))
        self._wake_later()

    def changed(self) -> None:
        """Go by what has become of the endpoints: some came, went, or rest."""
        for host, queue in self._at.items():
            if not host.is_open or host.throttle.rests(self._clock()):
                self._anywhere.extend(queue)
                queue.clear()
        for host in self._hosts:
            self.freed(host)
        for queue in (self._anywhere, self._new):
            for waiter in [*queue]:
                if waiter.place.done():
                    continue
                if not any(self._takes(host, waiter.session, waiter.shunned) for host in self._hosts):
                    queue.remove(waiter)
                    waiter.place.set_exception(self._nobody())

    def waiting(self, host: H) -> int:
        """Return how many requests would take a place at `host`."""
        return len(self._at[host]) + len(self._anywhere) + len(self._new)

    def close(self) -> None:
        """Wake nobody any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _takes(self, host: H, session: str, shunned: Collection[H]) -> bool:
        there = self._sessions.home(session, self._entry) == host.url
        return host.is_open and host not in shunned and (there or not host.draining)

    def _home(self, session: str, shunned: Collection[H]) -> H | None:
        """Return the endpoint that has this photo, if it can go on there."""
        url = self._sessions.home(session, self._entry)
        for host in self._hosts:
            if host.url == url and self._takes(host, session, shunned):
                return None if host.throttle.rests(self._clock()) else host
        return None

    def _free(self, session: str, shunned: Collection[H], home: H | None) -> H | None:
        """Return the endpoint at which this request can have a place now, without getting before others."""
        now = self._clock()
        if home is not None:
            return home if home.room(now) > 0 and not self._at[home] else None
        if self._anywhere or (self._new and session not in self._sessions):
            return None
        hosts = [host for host in self._in_order(session) if self._takes(host, session, shunned)]
        loads = [
            Load(
                requests=host.throttle.in_flight + len(self._at[host]),
                limit=host.throttle.limit,
                room=host.room(now) > 0 and not self._at[host],
            )
            for host in hosts
        ]
        chosen = choose(loads)
        return None if chosen is None else hosts[chosen]

    def _in_order(self, session: str) -> list[H]:
        return sorted(self._hosts, key=lambda host: rank(session, host.url), reverse=True)

    def _next(self, host: H) -> _Waiter[H] | None:
        for queue in (self._at[host], self._anywhere, self._new):
            for number, waiter in enumerate(queue):
                # One that is cancelled stands in line until its task has run.
                if not waiter.place.done() and self._takes(host, waiter.session, waiter.shunned):
                    del queue[number]
                    return waiter
        return None

    def _grant(self, host: H, session: str) -> tuple[H, Turn]:
        now = self._clock()
        self._sessions.note(session, self._entry, host.url, now=now)
        return host, host.throttle.begin(now)

    def _forget(self, waiter: _Waiter[H]) -> None:
        """Let go of what a request had that is not wanted any more: its turn, or a place that it just got."""
        for queue in (*self._at.values(), self._anywhere, self._new):
            if waiter in queue:
                queue.remove(waiter)
        if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
            host, _ = waiter.place.result()
            host.throttle.leave(self._clock())
            self.freed(host)

    def _wake_later(self) -> None:
        """See to it that a place is given that comes free by time alone."""
        now = self._clock()
        for host in self._hosts:
            calm = host.throttle.calm_in(now)
            if calm > 0 and host not in self._timers and self.waiting(host):
                self._timers[host] = asyncio.get_running_loop().call_later(calm, self._calm, host)

    def _calm(self, host: H) -> None:
        del self._timers[host]
        self.freed(host)
