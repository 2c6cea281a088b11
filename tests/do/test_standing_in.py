"""Who answers a stage: the entry that has the role, and while it has no server, those that may stand in."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from loguru import logger
from PIL import Image

from support.asking import an_entry
from support.model_server import Fail, ModelServer, Say
from tagger_daemon.errors import ReplyError, RequestRejected, ServerUnavailable
from tagger_daemon.model import Draft, Facts, Fingerprint, Origin, Photo, Picture, Stage
from tagger_daemon.vision.asker import Asker
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.profile import load_profile

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(models=["big"]) as running:
        yield running


@pytest.fixture
def spare() -> Iterator[ModelServer]:
    with ModelServer(models=["small"]) as running:
        yield running


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the asker logs, a level and a message each."""
    lines: list[str] = []
    sink = logger.add(
        lambda line: lines.append(line.strip()),
        format="{level} {message}",
        level="INFO",
        filter="tagger_daemon.vision.asker",
    )
    yield lines
    logger.remove(sink)


def picture() -> Picture:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(content, "JPEG")
    return Picture(jpeg=content.getvalue(), width=8, height=8)


class Asked:
    """One asker, its pool, and photos to show it."""

    def __init__(self, chain: tuple[Entry, ...], pool: Pool) -> None:
        self.pool = pool
        self._photos = 0
        self._asker = Asker(
            long_edge=8,
            chains=dict.fromkeys(Stage, chain),
            registry_hash="0" * 16,
            profile_of=lambda _: load_profile("default"),
            max_keywords=15,
            hemisphere="north",
            chat=pool,
        )

    async def one(self, stage: Stage = Stage.CAPTION, *, same: bool = False) -> Origin:
        """Ask about another photo, or the same once more, and return who answered."""
        self._photos += not same
        photo = Photo(
            path=Path(f"/photos/{self._photos}.jpg"),
            folder=Path("/photos"),
            fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1),
        )
        answer = await self._asker.show(photo, {8: picture()}, Facts()).ask(stage, Draft())
        return answer.origin


def first(server: ModelServer) -> Entry:
    return an_entry(server.base_url, name="first", served_model="big")


def second(spare: ModelServer) -> Entry:
    return an_entry(spare.base_url, name="second", served_model="small")


@asynccontextmanager
async def asking(*chain: Entry) -> AsyncIterator[Asked]:
    pool = Pool(chain, keys={})
    await pool.start()
    try:
        yield Asked(chain, pool)
    finally:
        await pool.close()


async def test_while_its_server_is_up_the_first_answers_every_stage(
    server: ModelServer, spare: ModelServer, said: list[str]
) -> None:
    async with asking(first(server), second(spare)) as asked:
        origins = [await asked.one(stage) for stage in Stage]
    assert {(origin.entry, origin.served, origin.fallback_for) for origin in origins} == {
        ("first", "big", "")
    }
    assert (spare.chat_requests, said) == ([], [])


async def test_while_it_is_down_the_next_answers_and_is_on_record(
    server: ModelServer, spare: ModelServer, said: list[str]
) -> None:
    server.down()
    async with asking(first(server), second(spare)) as asked:
        origins = [await asked.one(stage) for stage in Stage for _ in range(3)]
    assert {(one.entry, one.served, one.model, one.endpoint, one.fallback_for) for one in origins} == {
        ("second", "small", "small", spare.base_url, "first")
    }
    assert said == ["WARNING second stands in for first, which takes no requests now"]


async def test_a_server_that_dies_is_left_and_one_that_returns_is_asked_again(
    server: ModelServer, spare: ModelServer
) -> None:
    async with asking(first(server), second(spare)) as asked:
        assert (await asked.one()).entry == "first"
        server.down()
        assert (await asked.one()).entry == "second"
        server.up()
        await asked.pool.wait_available([first(server)])
        assert (await asked.one()).entry == "first"


async def test_nobody_stands_in_for_a_photo_that_is_at_an_endpoint_that_is_drained(
    server: ModelServer, spare: ModelServer
) -> None:
    async with asking(first(server), second(spare)) as asked:
        await asked.one(Stage.CAPTION)
        asked.pool.drain({server.base_url})
        assert (await asked.one(Stage.KEYWORDS, same=True)).entry == "first"
        assert (await asked.one(Stage.CAPTION)).entry == "second"


async def test_no_answer_of_the_first_is_a_reason_to_ask_another(
    server: ModelServer, spare: ModelServer
) -> None:
    async with asking(first(server), second(spare)) as asked:
        server.script("caption", Fail(400))
        with pytest.raises(RequestRejected):
            await asked.one()
        server.script("caption", *[Say("I'm sorry, I can't help with that.")] * 2)
        with pytest.raises(ReplyError):
            await asked.one()
    assert spare.chat_requests == []


async def test_with_nobody_there_the_first_is_named(server: ModelServer, spare: ModelServer) -> None:
    server.down()
    spare.down()
    async with asking(first(server), second(spare)) as asked:
        with pytest.raises(ServerUnavailable, match="no server takes requests for 'first'"):
            await asked.one()


async def test_where_all_fail_just_now_the_first_one_s_reason_is_told(
    server: ModelServer, spare: ModelServer
) -> None:
    async with asking(first(server), second(spare)) as asked:
        server.down()
        spare.down()
        with pytest.raises(ServerUnavailable, match="'first'"):
            await asked.one()


async def test_nobody_stands_in_unless_that_was_set(server: ModelServer, spare: ModelServer) -> None:
    server.down()
    pool = Pool([first(server), second(spare)], keys={})
    await pool.start()
    try:
        with pytest.raises(ServerUnavailable, match="'first'"):
            await Asked((first(server),), pool).one()
    finally:
        await pool.close()
    assert spare.chat_requests == []


async def test_an_overloaded_first_is_asked_again_and_nobody_stands_in(
    server: ModelServer, spare: ModelServer, said: list[str]
) -> None:
    async with asking(first(server), second(spare)) as asked:
        server.script("caption", Fail(429))
        assert (await asked.one()).entry == "first"
    assert len(server.chat_requests) == 2
    assert spare.chat_requests == []
    assert said == []
