"""Whoever gives up a request, at whatever moment, leaves no connection open behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import ModelServer
from tagger_daemon.vision.client import ChatClient

pytestmark = pytest.mark.anyio

#: Connections that lie idle as the server hangs up.
IDLE = 8
#: Rounds of the event loop after which a request is given up: the last of them is behind all closing.
ROUNDS = range(0, 4 * IDLE, 3)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Fail where a connection was left to the garbage collector."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(one.message) for one in told] == []


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_request_that_is_given_up_closes_all_that_it_began_to_close(rounds: int) -> None:
    with ModelServer() as server, nothing_left_open():
        client = ChatClient(server.base_url, an_entry(server.base_url), api_key=None)
        server.hold()
        asked = [asyncio.create_task(client.chat(a_request(), session=str(number))) for number in range(IDLE)]
        await asyncio.to_thread(server.wait_in_flight, IDLE)
        server.release()
        await asyncio.gather(*asked)
        await asyncio.to_thread(server.down)  # the next request finds all of them cut, and closes them first
        given_up = asyncio.create_task(client.chat(a_request(), session="given up"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert given_up.cancelled() or given_up.exception() is not None  # it may have found nobody before
        await client.close()


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_request_that_is_given_up_while_it_is_written_closes_its_connection(times: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, nothing_left_open():
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        client = ChatClient(url, an_entry(url), api_key=None)
        picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{'A' * (16 << 20)}"}}
        request = a_request(messages=({"role": "user", "content": [picture]},))
        asked = asyncio.create_task(client.chat(request, session="photo"))
        connection, _ = await asyncio.wait_for(loop.sock_accept(listener), PATIENCE)
        with connection:
            assert await asyncio.wait_for(loop.sock_recv(connection, 1), PATIENCE)  # and no more is read
            for _ in range(times):
                asked.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([asked], timeout=PATIENCE)
            assert asked.cancelled()
        await client.close()


async def test_a_client_whose_closing_is_cut_short_closes_all_the_same() -> None:
    with ModelServer() as server, nothing_left_open():
        client = ChatClient(server.base_url, an_entry(server.base_url), api_key=None)
        server.hold()
        asked = [asyncio.create_task(client.chat(a_request(), session=str(number))) for number in range(IDLE)]
        await asyncio.to_thread(server.wait_in_flight, IDLE)
        server.release()
        await asyncio.gather(*asked)
        closing = asyncio.create_task(client.close())
        for _ in range(3):  # two connections are closed by then, as it was
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await client.close()
