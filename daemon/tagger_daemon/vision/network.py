"""The way to one endpoint: its host is resolved, judged and connected to as one step.

What was judged is what is connected to. A name that leads near when it is looked at, and far away when a
photo is sent (DNS rebinding, a VPN that is down, a laptop in another network), gets nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpcore2
import httpx2

from tagger_daemon.errors import NotConsented, ServerMisconfigured
from tagger_daemon.vision.consents import Consents, how_to_agree
from tagger_daemon.vision.entry import Entry, Place
from tagger_daemon.vision.places import farthest, is_beyond, place_of

#: Gives all IP addresses of a host. Raises OSError where there are none.
Resolver = Callable[[str], Awaitable[Sequence[str]]]

T = TypeVar("T")

_WORDS: dict[Place, str] = {
    "loopback": "on this machine",
    "private": "in a private network",
    "public": "outside your network",
}


async def resolve(host: str) -> Sequence[str]:
    """Ask the system for all addresses of a host, as every program on this machine would."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # IPv6 has a fourth part, the interface, without which a link-local address means nothing.
    return [
        f"{where[0]}%{where[3]}" if len(where) == 4 and where[3] else str(where[0]) for *_, where in found
    ]


class Route(httpcore2.AsyncNetworkBackend):
    """Connects to the host of one endpoint, if that is where it may be."""

    def __init__(
        self,
        url: str,
        entry: Entry,
        *,
        consents: Consents,
        resolve: Resolver = resolve,
        tcp: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """Prepare; nothing is resolved yet.

        Args:
            url: the endpoint's base URL.
            entry: whose `privacy` says how far away the endpoint may be.
            consents: what may be sent to endpoints outside the private network.
            resolve: gives the addresses of a host.
            tcp: connects to an address; by default over the network.
        """
        self._url = url
        self._limit = entry.privacy
        self._name = entry.name
        self._consents = consents
        self._resolve = resolve
        self._tcp = tcp or httpcore2.AnyIOBackend()
        self._found: Place | None = None  # at the first look that it passed
        self._why_public = "the registry says that it is public" if entry.privacy == "public" else ""

    @property
    def place(self) -> Place | None:
        """How what is sent to the endpoint is to be treated; None before it was first found."""
        return "public" if self._why_public else self._found

    def regard_as_public(self, reason: str) -> None:
        """Treat the endpoint as public, wherever it is: what is sent to it goes on to somewhere else.

        Args:
            reason: says why, as it follows "the model server at …: ".

        Raises:
            NotConsented: and nobody has agreed that photos are sent to it.
        """
        self._why_public = reason
        self.check_consent()

    def check_consent(self) -> None:
        """Refuse a public endpoint that no folder's photos may be sent to.

        Raises:
            NotConsented: it is one, as far as is known.
        """
        if self.place == "public" and not self._consents.known(self._url):
            raise self._unwanted(self._why_public or _WORDS["public"])

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore2 has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to an address of the host that was judged before.

        Raises:
            ServerMisconfigured: it is somewhere else than it should be, or nobody has agreed to it.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: no connection came about.
        """
        self.check_consent()
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host)
                self._judge(host, addresses)
                share = None if timeout is None else timeout / len(addresses)
                return await self._first(addresses, port, share, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} could not be reached in time") from error

    async def _first(
        self,
        addresses: Sequence[str],
        port: int,
        share: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers; each gets its share of the time."""
        *others, last = addresses
        for address in others:
            try:
                return await self._tcp.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._tcp.connect_tcp(last, port, share, local_address, socket_options)

    async def _addresses(self, host: str) -> list[str]:
        """Return the host's addresses, those of IPv4 first: many model servers listen on no other."""
        try:
            # A name that the resolver refuses to encode is a UnicodeError.
            found = dict.fromkeys([host] if _is_address(host) else await self._resolve(host))
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host}: {error}") from error
        if not found:
            raise httpcore2.ConnectError(f"{host} has no address")
        return sorted(found, key=lambda address: ":" in address)

    def _judge(self, host: str, addresses: Sequence[str]) -> None:
        """Refuse addresses that are not where they should be; the farthest of them counts for all.

        Raises:
            ServerMisconfigured: as `connect_tcp`.
        """
        found = farthest(map(place_of, addresses))
        told = ", ".join(address for address in addresses if place_of(address) == found)
        where = f"{host} is {_WORDS[found]}" if told == host else f"{host} is {_WORDS[found]} ({told})"
        if self._limit is not None and is_beyond(found, self._limit):
            raise ServerMisconfigured(
                f"{self._url} is not asked: {where}, but serving.privacy of {self._name!r} says {self._limit}"
            )
        if self._limit is None and self._found is not None and found != self._found:
            raise ServerMisconfigured(
                f"{self._url} is not asked: {where}, and was {_WORDS[self._found]} before;"
                f" say in serving.privacy of {self._name!r} how far away it may be, or restart"
            )
        if found == "public":
            if not self._consents.known(self._url):
                raise self._unwanted(where)
            if urlsplit(self._url).scheme != "https" and not self._consents.unencrypted(self._url):
                raise ServerMisconfigured(
                    f"{self._url} is not asked: {where}, and over http everybody on the way could read key"
                    " and photos; give its https address, or allow_unencrypted = true in its [[remote]]"
                )
        self._found = found

    def _unwanted(self, why: str) -> NotConsented:
        return NotConsented(
            f"photos are not sent to {self._url}: {why}, and nobody has agreed to that;"
            f" {how_to_agree(self._url, None)}"
        )


class Transport(httpx2.AsyncHTTPTransport):
    """httpx2's transport, whose connections take a route of ours."""

    def __init__(self, route: Route, *, url: str, limits: httpx2.Limits) -> None:
        # Not the parent's: it offers no way to say how connections come about. What it makes is made here.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False) if url.startswith("https:") else None,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=route,
        )


async def cleared_up(work: Coroutine[Any, Any, T]) -> T:
    """Await what httpcore2 does for us; whoever is cancelled meanwhile leaves no socket open behind.

    httpcore2 closes connections behind anyio's shields, which hold back anyio's cancellation and not that of
    asyncio, by which photos are given up: it would end a round of closings in the middle, and what is left
    is closed by nobody, as the pool of connections has forgotten it already. So the work is a task of its
    own, cancelled in anyio's way, and its clearing up is waited for, however often the caller is cancelled.
    """
    scope = anyio.CancelScope()

    async def cancellable() -> T:
        with scope:
            return await work
        raise asyncio.CancelledError

    task = asyncio.create_task(cancellable())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        scope.cancel()
        while not task.done():
            with suppress(asyncio.CancelledError):  # one more; the first is raised
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # of no interest to anybody any more
        raise


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
