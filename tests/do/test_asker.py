"""A stage is asked for once more, differently by what was wrong with the first answer, and then given up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from loguru import logger

from support.asking import an_entry
from support.model_server import ModelServer, Say, text
from tagger_daemon.errors import ReplyRefused, ReplyTruncated
from tagger_daemon.model import Draft, Facts, Fingerprint, Photo, Picture, Stage
from tagger_daemon.vision.asker import Asker, Conversation
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.profile import load_profile
from tagger_daemon.vision.replies import LONGEST_ANSWER

pytestmark = pytest.mark.anyio

A_PICTURE = Picture(jpeg=b"\xff\xd8jpeg", width=4, height=3)
LOOP = "A dog dog dog dog dog dog dog."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@asynccontextmanager
async def talking(server: ModelServer) -> AsyncIterator[Conversation]:
    entry = an_entry(server.base_url)
    pool = Pool([entry], keys={})
    await pool.start()
    asker = Asker(
        chains=dict.fromkeys(Stage, (entry,)),
        registry_hash="0" * 16,
        profile_of=lambda _: load_profile("default"),
        long_edge=8,
        max_keywords=15,
        hemisphere=None,
        chat=pool,
    )
    photo = Photo(
        path=Path("/photos/a.jpg"),
        folder=Path("/photos"),
        fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1),
    )
    try:
        yield asker.show(photo, {8: A_PICTURE}, Facts())
    finally:
        await pool.close()


async def test_a_loop_is_broken_by_chance(server: ModelServer) -> None:
    server.script("caption", Say(LOOP), Say("A dog on a beach."))
    async with talking(server) as conversation:
        caption = await conversation.ask(Stage.CAPTION, Draft())
    assert (caption.value, caption.origin.attempts) == ("A dog on a beach.", 2)
    first, second = (request.json for request in server.chat_requests)
    assert first is not None
    assert second == first | {"temperature": 0.7, "presence_penalty": 1.0}


async def test_what_the_model_said_is_kept_as_it_was_and_told_to_no_log(server: ModelServer) -> None:
    said = "Sure! Here is a caption:\n\n**A dog \u202e on a beach.**"
    server.script("caption", Say("I'm sorry, I can't identify people."), Say(said))
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", format="{message} {extra}")
    try:
        async with talking(server) as conversation:
            answer = await conversation.ask(Stage.CAPTION, Draft())
    finally:
        logger.remove(sink)
    assert (answer.value, answer.raw) == ("A dog on a beach.", said)
    assert any("asked again" in line for line in lines)
    assert [line for line in lines if "dog" in line or "identify" in line] == []


async def test_a_raw_answer_is_bounded_because_a_longer_one_is_no_answer(server: ModelServer) -> None:
    fits = "<think>" + "x" * (LONGEST_ANSWER - 32) + "</think>A dog on a beach."
    server.script("caption", Say("x" + fits), Say(fits))
    async with talking(server) as conversation:
        answer = await conversation.ask(Stage.CAPTION, Draft())
    assert (answer.origin.attempts, len(answer.raw)) == (2, LONGEST_ANSWER)
    assert answer.origin.backend == an_entry(server.base_url).backend


async def test_an_answer_that_is_too_long_gets_room(server: ModelServer) -> None:
    server.script("keywords", Say("dog\nbea", finish_reason="length"), Say("dog\nbeaches"))
    async with talking(server) as conversation:
        keywords = await conversation.ask(Stage.KEYWORDS, Draft())
    assert keywords.value == ("dog", "beach")
    first, second = (request.json for request in server.chat_requests)
    assert first is not None
    assert second is not None
    assert second == first | {"max_tokens": 2 * first["max_tokens"]}


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_refusal_is_asked_for_in_plain_words(server: ModelServer, stage: Stage) -> None:
    server.script(stage.value, Say("I'm sorry, I can't identify people."))
    async with talking(server) as conversation:
        await conversation.ask(stage, Draft())
    first, second = map(text, server.chat_requests)
    assert "not who they are" in second
    assert "not who they are" not in first


@pytest.mark.parametrize(
    ("bad", "error"),
    [(Say("I cannot do that."), ReplyRefused), (Say("A dog", finish_reason="length"), ReplyTruncated)],
)
async def test_what_is_no_better_is_given_up(server: ModelServer, bad: Say, error: type[Exception]) -> None:
    server.script("caption", bad, bad)
    async with talking(server) as conversation:
        with pytest.raises(error):
            await conversation.ask(Stage.CAPTION, Draft())
    assert len(server.chat_requests) == 2
