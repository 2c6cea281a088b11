"""Photos go where a server takes them, stay there for all their stages, and wait for nobody who is down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from loguru import logger

from support.asking import PATIENCE, a_request, an_entry
from support.model_server import Drop, Fail, Hang, ModelServer, Say
from tagger_daemon.errors import (
    ConfigurationError,
    ReplyTimeout,
    RequestRejected,
    ServerMisconfigured,
    ServerUnavailable,
)
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import Entry, Limits, Timeouts
from tagger_daemon.vision.pool import TOLERATED, EndpointStatus, Pool

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parents[1]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def replica() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged, a level and a message each."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(line.strip()), format="{level} {message}", level="INFO")
    yield lines
    logger.remove(sink)


@asynccontextmanager
async def pooling(*entries: Entry) -> AsyncIterator[Pool]:
    pool = Pool(entries, keys={})
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def fail_until_shut(pool: Pool, entry: Entry, server: ModelServer, status: int) -> None:
    server.script("caption", *[Fail(status)] * TOLERATED)
    for number in range(TOLERATED):
        with pytest.raises((ServerUnavailable, RequestRejected)):
            await pool.chat(entry, a_request(), session=f"photo {number}")


def the_only(statuses: Sequence[EndpointStatus]) -> EndpointStatus:
    (status,) = statuses
    return status


async def test_all_stages_of_a_photo_meet_one_replica_and_photos_spread_over_all(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url)
    async with pooling(entry) as pool:
        homes = []
        for number in range(20):
            replies = [await pool.chat(entry, a_request(stage), session=str(number)) for stage in Stage]
            homes.append({reply.endpoint for reply in replies})
    assert all(len(home) == 1 for home in homes)
    assert set.union(*homes) == {server.base_url, replica.base_url}


async def test_a_photo_keeps_its_replica_over_a_restart(server: ModelServer, replica: ModelServer) -> None:
    homes = []
    for urls in ((server.base_url, replica.base_url), (replica.base_url, server.base_url)):
        entry = an_entry(*urls)
        async with pooling(entry) as pool:
            homes.append([(await pool.chat(entry, a_request(), session=str(n))).endpoint for n in range(8)])
    assert homes[0] == homes[1]


async def test_photos_of_a_dying_endpoint_go_to_the_other_at_once(
    server: ModelServer, replica: ModelServer, said: list[str]
) -> None:
    entry = an_entry(server.base_url, replica.base_url)
    async with pooling(entry) as pool:
        server.down()
        replies = [await pool.chat(entry, a_request(), session=str(number)) for number in range(12)]
        assert {reply.endpoint for reply in replies} == {replica.base_url}
        assert [status.state for status in pool.snapshot()] == ["down", "up"]
        assert pool.available(entry)
    assert len([line for line in said if line.startswith("WARNING")]) == 1
    assert pool.snapshot()[0].asked == pool.snapshot()[0].failed == 1


async def test_a_request_that_is_under_way_as_its_server_dies_is_answered_by_the_other(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url)
    server.hold()
    replica.hold()
    async with pooling(entry) as pool:
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session=str(n))) for n in range(12)]
        await asyncio.to_thread(server.wait_in_flight, 1)
        await asyncio.to_thread(replica.wait_in_flight, 1)
        server.down()
        replica.release()
        replies = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
    assert {reply.endpoint for reply in replies} == {replica.base_url}


async def test_with_every_endpoint_down_photos_wait_and_the_servers_return_is_noticed(
    server: ModelServer, said: list[str]
) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        server.down()
        with pytest.raises(
            ServerUnavailable, match=f"no server takes requests for 'vlm': .*{server.base_url}"
        ):
            await pool.chat(entry, a_request(), session="photo")
        with pytest.raises(ServerUnavailable):
            await pool.chat(entry, a_request(), session="another")
        assert not pool.available(entry)
        waiting = asyncio.create_task(pool.wait_available([entry]))
        server.up()
        await asyncio.wait_for(waiting, PATIENCE)
        assert (await pool.chat(entry, a_request(), session="photo")).text
        status = the_only(pool.snapshot())
    assert (status.state, status.asked, status.failed, status.last_error) == ("up", 2, 1, None)
    assert [line.split()[0] for line in said] == ["INFO", "WARNING", "INFO", "INFO"]


async def test_waiting_ends_when_every_entry_has_a_server(server: ModelServer, replica: ModelServer) -> None:
    replica.down()
    words, keywords = an_entry(server.base_url), an_entry(replica.base_url, name="keywords")
    async with pooling(words, keywords) as pool:
        await asyncio.wait_for(pool.wait_available([words]), PATIENCE)
        assert not pool.available(keywords)
        waiting = asyncio.create_task(pool.wait_available([words, keywords]))
        replica.up()
        await asyncio.wait_for(waiting, PATIENCE)
        assert pool.available(keywords)


async def test_an_endpoint_is_given_no_more_at_once_than_its_limit(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=1, max=3))
    server.delay = replica.delay = 0.01
    async with pooling(entry) as pool:
        asked = [pool.chat(entry, a_request(), session=str(number)) for number in range(50)]
        replies = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
        assert [status.in_flight for status in pool.snapshot()] == [0, 0]
    assert len(replies) == 50
    assert (server.max_in_flight, replica.max_in_flight) == (3, 3)


async def test_a_full_endpoint_passes_photos_on_to_the_next(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=1, max=1))
    server.hold()
    replica.hold()
    async with pooling(entry) as pool:
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session="photo")) for _ in range(2)]
        await asyncio.to_thread(server.wait_in_flight, 1)
        await asyncio.to_thread(replica.wait_in_flight, 1)
        server.release()
        replica.release()
        await asyncio.gather(*asked)


async def test_a_cancelled_request_frees_its_place(server: ModelServer) -> None:
    entry = an_entry(server.base_url, limits=Limits(start=1, max=1))
    server.script("caption", Hang())
    async with pooling(entry) as pool:
        hanging = asyncio.create_task(pool.chat(entry, a_request(), session="photo"))
        await asyncio.to_thread(server.wait_for, 1)
        hanging.cancel()
        await asyncio.wait({hanging})
        await asyncio.wait_for(pool.chat(entry, a_request(Stage.KEYWORDS), session="photo"), PATIENCE)
        server.release()


async def test_single_failures_are_borne_and_repeated_ones_are_not(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    shy = [Fail(503)] * (TOLERATED - 1)
    server.script("caption", *shy, Say("Fine."), *shy, Say("Fine again."))
    async with pooling(entry) as pool:
        for reply in (*shy, None, *shy, None):
            if reply is None:
                await pool.chat(entry, a_request(), session="photo")
            else:
                with pytest.raises(ServerUnavailable, match="503"):
                    await pool.chat(entry, a_request(), session="photo")
            assert pool.available(entry)
        await fail_until_shut(pool, entry, server, 503)
        assert the_only(pool.snapshot()).state == "down"


async def test_a_server_that_only_looks_well_is_left_alone_after_one_more_failure(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        await fail_until_shut(pool, entry, server, 500)
        await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
        server.script("caption", Fail(500))
        with pytest.raises(ServerUnavailable):
            await pool.chat(entry, a_request(), session="photo")
        assert not pool.available(entry)


@pytest.mark.parametrize("reply", [Fail(500), Drop()])
async def test_a_photo_on_which_a_healthy_server_breaks_down_is_to_blame_itself(
    server: ModelServer, reply: Fail | Drop
) -> None:
    entry = an_entry(server.base_url)
    # Twice each, because a broken connection is tried anew at once.
    server.script("caption", *[reply] * 2 * (TOLERATED + 1))
    async with pooling(entry) as pool:
        for _ in range(TOLERATED + 1):
            with pytest.raises(RequestRejected):
                await pool.chat(entry, a_request(), session="the same photo")
            assert pool.available(entry)


async def test_a_healthy_looking_server_that_keeps_everybody_waiting_is_closed(server: ModelServer) -> None:
    entry = an_entry(server.base_url, timeouts=Timeouts(stage=0.2))
    server.script("caption", *[Hang()] * TOLERATED)
    async with pooling(entry) as pool:
        for number in range(TOLERATED - 1):
            with pytest.raises(ReplyTimeout):
                await pool.chat(entry, a_request(), session=f"photo {number}")
        with pytest.raises(ServerUnavailable):
            await pool.chat(entry, a_request(), session="one photo more")
        assert not pool.available(entry)
        server.release()


@pytest.mark.parametrize("status", [401, 404])
async def test_a_refusal_is_told_once_and_loudly(server: ModelServer, said: list[str], status: int) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        server.script("caption", Fail(status))
        for _ in range(3):
            with pytest.raises(ServerMisconfigured, match=str(status)):
                await pool.chat(entry, a_request(), session="photo")
        assert the_only(pool.snapshot()).state == "refused"
    assert len([line for line in said if line.startswith("ERROR")]) == 1
    assert len(server.chat_requests) == 1


async def test_a_wrong_model_is_found_out_before_the_first_photo(server: ModelServer) -> None:
    entry = an_entry(server.base_url, served_model="qwen3-vl-8b")
    async with pooling(entry) as pool:
        assert the_only(pool.snapshot()).state == "refused"
        with pytest.raises(ServerMisconfigured, match="qwen3-vl-8b"):
            await pool.chat(entry, a_request(), session="photo")
    assert not server.chat_requests


async def test_what_a_photo_is_to_blame_for_leaves_the_endpoint_in_use(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        server.script("caption", *[Fail(400)] * (TOLERATED + 1))
        for _ in range(TOLERATED + 1):
            with pytest.raises(RequestRejected):
                await pool.chat(entry, a_request(), session="photo")
        status = the_only(pool.snapshot())
    assert (status.state, status.asked, status.failed) == ("up", TOLERATED + 1, TOLERATED + 1)


async def test_a_timeout_at_a_server_that_is_well_is_the_photos(server: ModelServer) -> None:
    entry = an_entry(server.base_url, timeouts=Timeouts(stage=0.2))
    server.script("caption", Hang())
    async with pooling(entry) as pool:
        with pytest.raises(ReplyTimeout):
            await pool.chat(entry, a_request(), session="photo")
        assert pool.available(entry)


@contextmanager
def a_process() -> Iterator[tuple[int, str]]:
    """Run the scripted server as a process; gives its id and base URL."""
    argv = [sys.executable, "-m", "support.model_server"]
    with subprocess.Popen(argv, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()


async def test_a_timeout_at_a_server_that_has_frozen_is_the_servers() -> None:
    with a_process() as (pid, url):
        entry = an_entry(url, timeouts=Timeouts(stage=0.5))
        async with pooling(entry) as pool:
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(ServerUnavailable, match="does not answer"):
                await pool.chat(entry, a_request(), session="photo")
            assert not pool.available(entry)
            os.kill(pid, signal.SIGCONT)
            await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)


async def test_before_it_is_started_nothing_is_known_or_asked(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    pool = Pool([entry], keys={})
    with pytest.raises(ServerUnavailable, match="not looked at yet"):
        await pool.chat(entry, a_request(), session="photo")
    status = the_only(pool.snapshot())
    assert (status.entry, status.url, status.state) == ("vlm", server.base_url, "unknown")
    assert not server.requests
    await pool.close()


async def test_a_state_has_the_time_of_its_beginning(server: ModelServer) -> None:
    now = 100.0
    pool = Pool([an_entry(server.base_url)], clock=lambda: now, keys={})
    assert the_only(pool.snapshot()).since == 100
    now = 107.0
    await pool.start()
    now = 200.0
    assert the_only(pool.snapshot()).since == 107
    await pool.close()


async def test_an_entry_that_serves_several_roles_has_one_set_of_books(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry, entry) as pool:
        assert the_only(pool.snapshot()).state == "up"


async def test_a_key_is_looked_up_by_the_name_that_the_entry_gives(server: ModelServer) -> None:
    entry = an_entry(server.base_url, api_key_env="VLM_KEY")
    pool = Pool([entry], keys={"VLM_KEY": "the-key"})
    await pool.start()
    await pool.chat(entry, a_request(), session="photo")
    await pool.close()
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer the-key"}
    with pytest.raises(ConfigurationError, match="VLM_KEY, which is not set"):
        Pool([entry], keys={})


async def test_closing_leaves_nothing_running(server: ModelServer) -> None:
    server.down()
    before = asyncio.all_tasks()
    async with pooling(an_entry(server.base_url)):
        assert asyncio.all_tasks() - before
    assert asyncio.all_tasks() == before
