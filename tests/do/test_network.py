"""Nothing is connected to but what was judged, and nothing is sent to where it should not go.

No name is really resolved here: each test says where its names lead.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import ModelServer
from tagger_daemon.errors import NotConsented, ServerMisconfigured, ServerUnavailable
from tagger_daemon.settings import RemoteSettings
from tagger_daemon.vision.client import ChatClient, nothing_listens
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.entry import Place
from tagger_daemon.vision.network import Route

pytestmark = pytest.mark.anyio

#: Documentation's (RFC 5737, 3849): as public as any, and nobody's.
PUBLIC, PUBLIC6 = "203.0.113.7", "2001:db8::7"
KEY = "sk-a-secret-of-the-photographer"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


class Names:
    """A resolver that gives these answers one after another, and the last one from then on."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Cables(httpcore2.AsyncNetworkBackend):
    """Connects to nothing, and notes to which addresses it was to; those named answer."""

    def __init__(self, *answering: str) -> None:
        self.answering = answering
        self.tried: list[tuple[str, float | None]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.tried.append((host, timeout))
        if host in self.answering:
            return httpcore2.AsyncMockStream([])
        raise httpcore2.ConnectError(f"no cable to {host}")


def agreeing(url: str, **changes: Any) -> Consents:
    return Consents([RemoteSettings(endpoint=url, folders=(Path("/photos"),), **changes)])


def a_route(
    *answers: Sequence[str],
    url: str = "https://gpu.example/v1",
    cables: Cables | None = None,
    privacy: Place | None = None,
    consents: Consents | None = None,
) -> Route:
    return Route(
        url,
        an_entry(url, privacy=privacy),
        consents=consents or Consents(),
        resolve=Names(*answers),
        tcp=cables or Cables(*(address for answer in answers for address in answer)),
    )


async def connect(route: Route, host: str = "gpu.example") -> None:
    await route.connect_tcp(host, 443, timeout=PATIENCE)


@asynccontextmanager
async def asking(
    url: str, names: Names, *, consents: Consents | None = None, **changes: Any
) -> AsyncIterator[ChatClient]:
    client = ChatClient(url, an_entry(url, **changes), api_key=KEY, consents=consents, resolve=names)
    try:
        yield client
    finally:
        await client.close()


# --- Which addresses are connected to ---


async def test_the_address_that_was_judged_is_connected_to_and_no_name_is_resolved_twice(
    server: ModelServer,
) -> None:
    names = Names(["127.0.0.1"])
    async with asking(f"http://gpu.example:{server.port}/v1", names) as client:
        places = [client.place]
        await client.chat(a_request(), session="photo")
        places.append(client.place)
    assert places == [None, "loopback"]
    assert names.asked == ["gpu.example"]
    assert server.chat_requests[0].headers["host"] == f"gpu.example:{server.port}"


async def test_the_certificate_is_asked_for_by_the_name_of_the_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"https://gpu.example:{listener.getsockname()[1]}/v1"
        async with asking(url, Names(["127.0.0.1"])) as client:
            asked = asyncio.create_task(client.chat(a_request(), session="photo"))
            loop = asyncio.get_running_loop()
            connection, _ = await asyncio.wait_for(loop.sock_accept(listener), PATIENCE)
            with connection:
                hello = await asyncio.wait_for(loop.sock_recv(connection, 1 << 16), PATIENCE)
            with pytest.raises(ServerUnavailable, match="cannot be reached"):
                await asked
    assert b"gpu.example" in hello
    assert KEY.encode() not in hello


async def test_localhost_is_this_machine(server: ModelServer) -> None:
    url = f"http://localhost:{server.port}/v1"
    client = ChatClient(url, an_entry(url), api_key=None)
    try:
        await client.ready()
        assert client.place == "loopback"
    finally:
        await client.close()


async def test_addresses_are_tried_in_turn_those_of_ipv4_first_and_share_the_time() -> None:
    cables = Cables("fd00::2")
    route = a_route(["fd00::1", "fd00::2", "10.0.0.1"], cables=cables)
    await connect(route)
    assert cables.tried == [(address, PATIENCE / 3) for address in ("10.0.0.1", "fd00::1", "fd00::2")]


async def test_an_address_needs_no_resolver() -> None:
    names = Names([])
    route = Route("https://[::1]/v1", an_entry(), consents=Consents(), resolve=names, tcp=Cables("::1"))
    await connect(route, "::1")
    assert (names.asked, route.place) == ([], "loopback")


async def test_where_no_address_answers_it_is_as_if_nothing_listened() -> None:
    with pytest.raises(httpcore2.ConnectError, match=r"no cable to fd00::1"):
        await connect(a_route(["10.0.0.1", "fd00::1"], cables=Cables()))


@pytest.mark.parametrize("failure", [OSError("no such host"), UnicodeError("label too long"), None])
async def test_a_name_that_leads_nowhere_is_a_server_that_is_not_there(failure: Exception | None) -> None:
    async def lost(host: str) -> Sequence[str]:
        if failure:
            raise failure
        return []

    url = "http://gpu.example/v1"
    client = ChatClient(url, an_entry(url), api_key=None, resolve=lost)
    with pytest.raises(ServerUnavailable, match=r"gpu\.example") as caught:
        await client.ready()
    assert nothing_listens(caught.value)
    await client.close()


async def test_a_resolver_that_never_answers_is_given_up() -> None:
    async def dumb(host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    route = Route("http://gpu.example/v1", an_entry(), consents=Consents(), resolve=dumb, tcp=Cables())
    with pytest.raises(httpcore2.ConnectTimeout):
        await route.connect_tcp("gpu.example", 80, timeout=0.01)


# --- Where it may be ---


@pytest.mark.parametrize(
    "addresses", [[PUBLIC], [PUBLIC6], ["127.0.0.1", PUBLIC], ["192.168.1.5", PUBLIC6], [f"::ffff:{PUBLIC}"]]
)
async def test_what_is_public_in_any_of_its_addresses_is_refused_without_consent(
    addresses: list[str],
) -> None:
    cables = Cables(*addresses)
    route = a_route(addresses, cables=cables)
    with pytest.raises(
        NotConsented, match=r"gpu\.example is outside your network \(.*\[\[remote\]\]"
    ) as caught:
        await connect(route)
    assert addresses[-1] in str(caught.value)
    assert (cables.tried, route.place) == ([], None)


async def test_a_public_server_that_was_agreed_to_is_connected_to() -> None:
    route = a_route([PUBLIC], consents=agreeing("https://gpu.example/v1"))
    await connect(route)
    assert route.place == "public"


async def test_a_public_server_is_not_asked_in_clear_unless_that_is_agreed_to_too() -> None:
    url = "http://gpu.example/v1"
    cables = Cables(PUBLIC)
    with pytest.raises(ServerMisconfigured, match="allow_unencrypted = true"):
        await connect(a_route([PUBLIC], url=url, cables=cables, consents=agreeing(url)))
    assert cables.tried == []
    await connect(a_route([PUBLIC], url=url, cables=cables, consents=agreeing(url, allow_unencrypted=True)))
    assert cables.tried


@pytest.mark.parametrize(
    ("declared", "address", "fine"),
    [
        ("loopback", "127.0.0.1", True),
        ("loopback", "192.168.1.5", False),
        ("loopback", PUBLIC, False),
        ("private", "127.0.0.1", True),
        ("private", "192.168.1.5", True),
        ("private", PUBLIC, False),
    ],
)
async def test_a_server_may_be_as_far_away_as_the_registry_says_and_no_farther(
    declared: Place, address: str, fine: bool
) -> None:
    cables = Cables(address)
    route = a_route([address], privacy=declared, cables=cables, consents=agreeing("https://gpu.example/v1"))
    if fine:
        await connect(route)
    else:
        with pytest.raises(ServerMisconfigured, match=f"serving.privacy of 'vlm' says {declared}"):
            await connect(route)
    assert bool(cables.tried) is fine


async def test_a_gateway_nearby_that_is_said_to_be_public_is_treated_so(server: ModelServer) -> None:
    async with asking(server.base_url, Names([]), privacy="public") as client:
        assert client.place == "public"
        with pytest.raises(NotConsented, match="the registry says that it is public"):
            await client.ready()
        with pytest.raises(NotConsented):
            await client.chat(a_request(), session="photo")
    assert server.requests == []
    agreed = agreeing(server.base_url)
    async with asking(server.base_url, Names([]), privacy="public", consents=agreed) as client:
        await client.ready()
        assert client.place == "public"


async def test_no_connection_is_made_to_what_is_said_to_be_public_without_consent() -> None:
    cables = Cables("127.0.0.1")
    with pytest.raises(NotConsented):
        await connect(a_route(["127.0.0.1"], privacy="public", cables=cables))
    assert cables.tried == []


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (["127.0.0.1"], [PUBLIC]),
        (["127.0.0.1"], ["192.168.1.5"]),
        (["192.168.1.5"], ["127.0.0.1"]),
        ([PUBLIC], ["127.0.0.1"]),
    ],
)
async def test_a_name_that_leads_elsewhere_later_gets_nothing(first: list[str], then: list[str]) -> None:
    cables = Cables(*first, *then)
    route = a_route(first, then, cables=cables, consents=agreeing("https://gpu.example/v1"))
    await connect(route)
    with pytest.raises(ServerMisconfigured, match=r"gpu\.example is .* before"):
        await connect(route)
    assert [address for address, _ in cables.tried] == first


async def test_a_photo_is_not_sent_to_where_a_name_leads_by_then(server: ModelServer) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.1"], [PUBLIC])
    async with asking(f"http://gpu.example:{server.port}/v1", names) as client:
        await client.ready()  # two pages, each over a connection of its own
        with pytest.raises(ServerMisconfigured, match=PUBLIC):
            await client.chat(a_request(), session="photo")
    assert len(names.asked) == 3
    assert not server.chat_requests


async def test_what_was_refused_far_away_is_used_once_it_is_near_again() -> None:
    route = a_route([PUBLIC], ["192.168.1.5"])
    with pytest.raises(NotConsented):
        await connect(route)
    await connect(route)
    assert route.place == "private"


# --- What passes on to somewhere else ---


async def test_a_server_that_passes_on_to_somewhere_else_needs_a_consent(server: ModelServer) -> None:
    async with asking(server.base_url, Names([])) as client:
        await client.ready()
        await client.chat(a_request(), session="photo")  # which leaves a connection open
        with pytest.raises(NotConsented, match=r"it passes photos on to ollama\.com"):
            client.regard_as_public("it passes photos on to ollama.com")
        assert client.place == "public"
        with pytest.raises(NotConsented, match=r"ollama\.com"):
            await client.chat(a_request(), session="photo")
        with pytest.raises(NotConsented, match=r"ollama\.com"):
            await client.ready()
    assert len(server.chat_requests) == 1


async def test_a_server_that_passes_on_with_consent_is_asked(server: ModelServer) -> None:
    async with asking(server.base_url, Names([]), consents=agreeing(server.base_url)) as client:
        await client.ready()
        places = [client.place]
        client.regard_as_public("it passes photos on to ollama.com")
        places.append(client.place)
        assert (await client.chat(a_request(), session="photo")).text
    assert places == ["loopback", "public"]


async def test_proxies_of_the_environment_are_not_heeded(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with asking(f"http://gpu.example:{server.port}/v1", Names(["127.0.0.1"])) as client:
        assert (await client.chat(a_request(), session="photo")).text
