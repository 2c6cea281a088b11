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
    ServerDrifted,
    ServerMisconfigured,
    ServerUnavailable,
)
from tagger_daemon.model import Stage
from tagger_daemon.vision import client as client_module
from tagger_daemon.vision import pool as pool_module
from tagger_daemon.vision import throttle
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.entry import Entry, Limits, Timeouts
from tagger_daemon.vision.pool import PAUSE_SUSPECT, TOLERATED, EndpointStatus, Pool, Prove, Verify
from tagger_daemon.vision.verifier import show_canary

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parents[1]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def short_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "CALM_SECONDS", 0.02)


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
async def pooling(*entries: Entry, verify: Verify | None = None) -> AsyncIterator[Pool]:
    pool = Pool(entries, keys={}, verify=verify)
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


async def test_a_pool_that_is_started_again_looks_again_and_leaves_nothing_behind(
    server: ModelServer,
) -> None:
    before = asyncio.all_tasks()
    pool = Pool([an_entry(server.base_url)], keys={})
    await pool.start()
    looks = len(server.requests)
    await pool.start()
    assert len(server.requests) == 2 * looks
    await pool.close()
    assert asyncio.all_tasks() == before


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
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=3, max=3))
    server.hold()
    replica.hold()
    async with pooling(entry) as pool:
        asked = [
            asyncio.create_task(pool.chat(entry, a_request(), session=str(number))) for number in range(50)
        ]
        for one in (server, replica):
            await asyncio.to_thread(one.wait_in_flight, 3)
            one.release()
        replies = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
        assert [status.in_flight for status in pool.snapshot()] == [0, 0]
    assert len(replies) == 50
    assert (server.max_in_flight, replica.max_in_flight) == (3, 3)


async def test_a_full_endpoint_passes_new_photos_on_to_the_next(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=1, max=1))
    server.hold()
    replica.hold()
    async with pooling(entry) as pool:
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session=str(n))) for n in range(2)]
        await asyncio.to_thread(server.wait_in_flight, 1)
        await asyncio.to_thread(replica.wait_in_flight, 1)
        server.release()
        replica.release()
        await asyncio.gather(*asked)


async def test_a_photo_that_was_begun_waits_for_its_own_replica_and_comes_before_new_ones(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=1, max=1))
    async with pooling(entry) as pool:
        home = (await pool.chat(entry, a_request(), session="begun")).endpoint
        own, other = (server, replica) if home == server.base_url else (replica, server)
        own.hold()
        other.hold()
        names = [str(number) for number in range(4)]
        new = [asyncio.create_task(pool.chat(entry, a_request(), session=name)) for name in names]
        await asyncio.to_thread(own.wait_in_flight, 1)
        await asyncio.to_thread(other.wait_in_flight, 1)
        begun = asyncio.create_task(pool.chat(entry, a_request(Stage.KEYWORDS), session="begun"))
        await asyncio.sleep(0)
        assert {status.waiting for status in pool.snapshot()} == {2, 3}
        own.release()
        assert (await asyncio.wait_for(begun, PATIENCE)).endpoint == home
        other.release()
        await asyncio.wait_for(asyncio.gather(*new), PATIENCE)
    assert [request.stage for request in own.chat_requests][:3] == ["caption", "caption", "keywords"]


async def test_those_that_wait_get_their_places_in_the_order_in_which_they_came(server: ModelServer) -> None:
    entry = an_entry(server.base_url, limits=Limits(start=1, max=1))
    finished: list[str] = []

    async def ask(session: str) -> None:
        await pool.chat(entry, a_request(), session=session)
        finished.append(session)

    async with pooling(entry) as pool:
        names = [f"{number:02}" for number in range(20)]
        await asyncio.wait_for(asyncio.gather(*map(ask, names)), PATIENCE)
    assert finished == names


async def test_replicas_with_room_share_the_photos_evenly(server: ModelServer, replica: ModelServer) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=16, max=16))
    server.hold()
    replica.hold()
    async with pooling(entry) as pool:
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session=str(n))) for n in range(16)]
        await asyncio.to_thread(server.wait_in_flight, 6)
        await asyncio.to_thread(replica.wait_in_flight, 6)
        assert {status.in_flight for status in pool.snapshot()} <= set(range(6, 11))
        server.release()
        replica.release()
        await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)


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


async def test_a_defect_of_ours_frees_its_place(server: ModelServer) -> None:
    entry = an_entry(server.base_url, limits=Limits(start=1, max=1))
    unsendable = a_request(messages=({"role": "user", "content": [{"type": "text", "text": b"bytes"}]},))
    async with pooling(entry) as pool:
        with pytest.raises(TypeError):
            await pool.chat(entry, unsendable, session="photo")
        await asyncio.wait_for(pool.chat(entry, a_request(), session="photo"), PATIENCE)


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_single_refusals_are_borne_and_a_server_that_only_refuses_is_not(
    server: ModelServer, status: int
) -> None:
    entry = an_entry(server.base_url)
    refusal = Fail(status, b"Too much to do.")
    shy = [refusal] * (TOLERATED - 1)
    server.script("caption", *shy, Say("Fine."), *shy, Say("Fine again."), *[refusal] * TOLERATED)
    async with pooling(entry) as pool:
        for text in ("Fine.", "Fine again."):
            assert (await pool.chat(entry, a_request(), session="photo")).text == text
            assert pool.available(entry)
        with pytest.raises(ServerUnavailable, match=str(status)):
            await pool.chat(entry, a_request(), session="photo")
        assert the_only(pool.snapshot()).state == "down"


async def test_what_one_server_refuses_as_too_much_the_other_takes(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=8, max=8))
    server.hold()  # or what is refused would be all that it has
    async with pooling(entry) as pool:
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session=str(n))) for n in range(8)]
        await asyncio.to_thread(server.wait_in_flight, 3)
        server.script("keywords", *[Fail(429)] * 3)
        server.release()
        await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
        later = [pool.chat(entry, a_request(Stage.KEYWORDS), session=str(n)) for n in range(8)]
        replies = await asyncio.wait_for(asyncio.gather(*later), PATIENCE)
        assert [one.state for one in pool.snapshot()] == ["up", "up"]
        assert pool.snapshot()[0].limit < 8
    assert len(replies) == 8


async def test_an_endpoint_that_came_back_is_tried_by_one_photo_before_it_gets_more(
    server: ModelServer, said: list[str]
) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        await fail_until_shut(pool, entry, server, 500)
        server.hold()
        await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session=str(n))) for n in range(4)]
        await asyncio.to_thread(server.wait_in_flight, 1)
        status = the_only(pool.snapshot())
        assert (status.state, status.in_flight, status.waiting) == ("trying", 1, 3)
        server.release()
        await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
        assert the_only(pool.snapshot()).state == "up"
    assert any("one photo tries it" in line for line in said)


async def test_what_a_photo_is_to_blame_for_does_not_keep_a_server_from_coming_back(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        server.down()
        with pytest.raises(ServerUnavailable):
            await pool.chat(entry, a_request(), session="photo")
        server.up()
        await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
        server.script("caption", Fail(400))
        with pytest.raises(RequestRejected):
            await pool.chat(entry, a_request(), session="photo")
        assert the_only(pool.snapshot()).state == "up"


async def test_a_drained_endpoint_gets_no_new_photos_and_those_there_finish(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url)
    async with pooling(entry) as pool:
        homes = [(await pool.chat(entry, a_request(), session=str(n))).endpoint for n in range(8)]
        pool.drain({server.base_url})
        assert [status.state for status in pool.snapshot()] == ["draining", "up"]
        for number, home in enumerate(homes):
            reply = await pool.chat(entry, a_request(Stage.KEYWORDS), session=str(number))
            assert reply.endpoint == home
        new = [await pool.chat(entry, a_request(), session=f"new {n}") for n in range(8)]
        assert {reply.endpoint for reply in new} == {replica.base_url}
        pool.drain({server.base_url, replica.base_url})
        assert not pool.available(entry)
        with pytest.raises(ServerUnavailable, match="no new photos"):
            await pool.chat(entry, a_request(), session="one more")
        pool.drain({replica.base_url})
        assert pool.available(entry)
        assert (await pool.chat(entry, a_request(), session="one more")).endpoint == server.base_url


async def test_photos_that_wait_for_an_endpoint_go_elsewhere_once_it_dies(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url, limits=Limits(start=1, max=1))
    async with pooling(entry) as pool:
        home = (await pool.chat(entry, a_request(), session="begun")).endpoint
        own, other = (server, replica) if home == server.base_url else (replica, server)
        own.hold()
        first = asyncio.create_task(pool.chat(entry, a_request(), session="begun"))
        await asyncio.to_thread(own.wait_in_flight, 1)
        second = asyncio.create_task(pool.chat(entry, a_request(Stage.KEYWORDS), session="begun"))
        await asyncio.sleep(0)
        own.down()
        replies = await asyncio.wait_for(asyncio.gather(first, second), PATIENCE)
    assert {reply.endpoint for reply in replies} == {other.base_url}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ServerDrifted("it sees no colours"), "refused"),
        (ServerMisconfigured("another model"), "refused"),
        (ServerUnavailable("no answer"), "down"),
    ],
)
async def test_an_endpoint_is_used_once_it_is_verified(
    server: ModelServer, error: ServerUnavailable, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "PAUSE_REFUSED", 0.05)
    errors = [error]
    verified: list[ChatClient] = []

    async def verify(client: ChatClient) -> None:
        verified.append(client)
        if errors:
            raise errors.pop()

    entry = an_entry(server.base_url)
    pool = Pool([entry], keys={}, verify=verify)
    await pool.start()
    assert (the_only(pool.snapshot()).state, the_only(pool.snapshot()).last_error) == (state, str(error))
    await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
    await pool.chat(entry, a_request(), session="photo")
    # Looking whether a server is still well costs nothing more.
    server.script("caption", Fail(500))
    with pytest.raises(RequestRejected):
        await pool.chat(entry, a_request(), session="photo")
    assert len(verified) == 2
    await pool.close()


async def test_an_endpoint_in_use_is_verified_again_and_again(
    server: ModelServer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CHECK_SECONDS", 0.01)
    looks = []

    async def verify(client: ChatClient) -> None:
        looks.append(client)
        if len(looks) == 3:
            raise ServerDrifted("it serves another model now")

    entry = an_entry(server.base_url)
    async with pooling(entry, verify=verify) as pool:
        async with asyncio.timeout(PATIENCE):
            while pool.available(entry):  # noqa: ASYNC110  # it comes to pass in another task
                await asyncio.sleep(0.01)
        assert the_only(pool.snapshot()).state == "refused"
    assert "ERROR vlm: it serves another model now" in said


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


async def test_photos_at_a_server_that_is_gone_do_not_wait_there_for_their_deadline(
    server: ModelServer, replica: ModelServer
) -> None:
    entry = an_entry(server.base_url, replica.base_url)
    server.hold()
    replica.hold()
    async with pooling(entry) as pool:
        asked = [asyncio.create_task(pool.chat(entry, a_request(), session=str(n))) for n in range(8)]
        await asyncio.to_thread(server.wait_in_flight, 2)
        server.refuse_connections()
        replica.release()
        await pool.start()
        replies = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
        assert [status.in_flight for status in pool.snapshot()] == [0, 0]
    assert {reply.endpoint for reply in replies} == {replica.base_url}


async def test_photos_at_a_server_that_stays_silent_are_given_up_after_some_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(pool_module, "SILENT_LOOKS", 2)
    with a_process() as (pid, url):
        entry = an_entry(url)
        async with pooling(entry) as pool:
            os.kill(pid, signal.SIGSTOP)
            asked = asyncio.create_task(pool.chat(entry, a_request(), session="photo"))
            await pool.start()
            assert (the_only(pool.snapshot()).state, asked.done()) == ("down", False)
            with pytest.raises(ServerUnavailable, match="does not answer"):
                await asyncio.wait_for(asked, PATIENCE)
            assert the_only(pool.snapshot()).in_flight == 0


async def test_photos_at_a_server_that_answers_nobody_do_not_wait_there_for_their_deadline(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    server.script("keywords", Hang())
    async with pooling(entry) as pool:
        asked = asyncio.create_task(pool.chat(entry, a_request(Stage.KEYWORDS), session="photo"))
        await asyncio.to_thread(server.wait_for, 1)
        await fail_until_shut(pool, entry, server, 500)
        with pytest.raises(ServerUnavailable):
            await asyncio.wait_for(asked, PATIENCE)
        server.release()


async def test_a_server_that_came_back_is_not_judged_by_what_it_had_in_hand_before(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "PAUSE_REFUSED", 0.01)
    entry = an_entry(server.base_url, timeouts=Timeouts(stage=1))
    server.script("caption", Hang())
    server.script("keywords", Fail(401))
    async with pooling(entry) as pool:
        asked = asyncio.create_task(pool.chat(entry, a_request(), session="photo"))
        await asyncio.to_thread(server.wait_for, 1)
        with pytest.raises(ServerMisconfigured):
            await pool.chat(entry, a_request(Stage.KEYWORDS), session="another")
        await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
        # It is out of time after the server's return, which is no fault of the photo.
        assert (await asyncio.wait_for(asked, PATIENCE)).text
        assert the_only(pool.snapshot()).state == "up"
        server.release()


async def test_an_answer_that_was_under_way_leaves_the_reason_why_the_rest_wait(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    server.hold()
    async with pooling(entry) as pool:
        asked = asyncio.create_task(pool.chat(entry, a_request(), session="photo"))
        await asyncio.to_thread(server.wait_in_flight, 1)
        server.models_status = 401
        await pool.start()
        server.release()
        await asyncio.wait_for(asked, PATIENCE)
        status = the_only(pool.snapshot())
    assert status.state == "refused"
    assert "401" in (status.last_error or "")


@asynccontextmanager
async def just_back(
    server: ModelServer, entry: Entry, prove: Prove | None = show_canary
) -> AsyncIterator[Pool]:
    """Give a pool whose server was down and came back, and was not asked about a photo since."""
    pool = Pool([entry], keys={}, prove=prove)
    server.down()
    await pool.start()
    server.up()
    await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
    assert the_only(pool.snapshot()).state == "trying"
    yield pool
    await pool.close()


async def test_a_photo_that_alone_gets_no_answer_from_a_server_that_came_back_is_to_blame(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    server.script("caption", Fail(500))
    async with just_back(server, entry) as pool:
        with pytest.raises(RequestRejected):
            await pool.chat(entry, a_request(), session="photo")
        assert the_only(pool.snapshot()).state == "up"
    assert len(server.canary_requests) == 3


@pytest.mark.parametrize("prove", [show_canary, None])
async def test_a_server_that_came_back_and_answers_nothing_is_left_alone_and_no_photo_to_blame(
    server: ModelServer, prove: Prove | None
) -> None:
    entry = an_entry(server.base_url)
    server.script("caption", Fail(500))
    server.eyes = lambda _: Fail(500)
    async with just_back(server, entry, prove) as pool:
        with pytest.raises(ServerUnavailable, match="500") as caught:
            await pool.chat(entry, a_request(), session="photo")
        assert the_only(pool.snapshot()).state == "down"
    assert caught.value.seconds == PAUSE_SUSPECT


async def test_a_photo_under_which_a_server_dies_that_just_came_back_lets_another_try_it(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    async with just_back(server, entry) as pool:
        server.hold()
        asked = asyncio.create_task(pool.chat(entry, a_request(), session="photo"))
        await asyncio.to_thread(server.wait_in_flight, 1)
        server.down()
        with pytest.raises(ServerUnavailable) as caught:
            await asyncio.wait_for(asked, PATIENCE)
        assert caught.value.seconds == PAUSE_SUSPECT
        with pytest.raises(ServerUnavailable) as caught:
            await pool.chat(entry, a_request(), session="another")
        assert caught.value.seconds == 0


async def test_a_photo_that_never_reached_a_server_that_just_came_back_is_not_what_it_died_of(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    async with just_back(server, entry) as pool:
        server.down()
        with pytest.raises(ServerUnavailable) as caught:
            await pool.chat(entry, a_request(), session="photo")
        assert caught.value.seconds == 0


async def test_a_pause_ends_with_the_server_that_asked_for_it(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    server.script("caption", Fail(503, b"Too much to do.", {"Retry-After": "60"}))
    async with pooling(entry) as pool:
        asked = asyncio.create_task(pool.chat(entry, a_request(), session="photo"))
        await asyncio.to_thread(server.wait_until, lambda: len(server.chat_requests) == 1)
        async with asyncio.timeout(PATIENCE):
            while the_only(pool.snapshot()).waiting == 0:  # noqa: ASYNC110  # another task brings it about
                await asyncio.sleep(0.01)
        server.down()
        await pool.start()
        with pytest.raises(ServerUnavailable):
            await asked
        server.up()
        await asyncio.wait_for(pool.wait_available([entry]), PATIENCE)
        await asyncio.wait_for(pool.chat(entry, a_request(), session="photo"), PATIENCE)


async def test_a_defect_that_ends_a_look_is_told(server: ModelServer) -> None:
    async def verify(_: ChatClient) -> None:
        raise ZeroDivisionError

    server.down()
    async with pooling(an_entry(server.base_url), verify=verify) as pool:
        looks = asyncio.create_task(pool.look_on())
        server.up()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(looks, PATIENCE)


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


async def test_started_again_it_looks_again_and_leaves_nothing_running(server: ModelServer) -> None:
    before = asyncio.all_tasks()
    async with pooling(an_entry(server.base_url)) as pool:
        looks = len(server.requests)
        await pool.start()
        assert len(server.requests) == 2 * looks
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


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
