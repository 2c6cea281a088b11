"""Each free place at an endpoint goes to one request that has a use for it, and none is lost."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from support.asking import PATIENCE
from tagger_daemon.errors import ServerUnavailable
from tagger_daemon.vision.line import Line, Sessions
from tagger_daemon.vision.throttle import Throttle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(eq=False)
class OnePlace:
    """An endpoint that takes one request at once."""

    url: str
    throttle: Throttle = field(default_factory=lambda: Throttle(start=1, most=1))
    draining: bool = False
    is_open: bool = True

    def room(self, now: float) -> int:
        return self.throttle.room(now)


def a_line(*hosts: OnePlace) -> Line[OnePlace]:
    return Line(
        "vlm",
        hosts,
        sessions=Sessions(),
        clock=time.monotonic,
        nobody=lambda: ServerUnavailable("nobody takes requests"),
    )


async def test_a_place_is_not_given_to_one_that_was_cancelled_this_moment() -> None:
    host = OnePlace("http://one/v1")
    line = a_line(host)
    await line.place("first")
    second, third = (asyncio.create_task(line.place(name)) for name in ("second", "third"))
    await asyncio.sleep(0)
    second.cancel()
    host.throttle.leave(time.monotonic())
    line.freed(host)
    assert await asyncio.wait_for(third, PATIENCE)
    with pytest.raises(asyncio.CancelledError):
        await second
    assert host.throttle.in_flight == 1


async def test_the_end_of_every_endpoint_is_told_to_those_that_were_not_cancelled() -> None:
    host = OnePlace("http://one/v1")
    line = a_line(host)
    await line.place("first")
    second, third = (asyncio.create_task(line.place(name)) for name in ("second", "third"))
    await asyncio.sleep(0)
    second.cancel()
    host.is_open = False
    line.changed()
    with pytest.raises(ServerUnavailable):
        await third
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_free_place_does_not_wait_for_one_that_has_no_use_for_it() -> None:
    idle, busy = OnePlace("http://idle/v1"), OnePlace("http://busy/v1")
    line = a_line(idle, busy)
    await line.place("elsewhere", shunned={idle})
    waits = asyncio.create_task(line.place("begun", shunned={idle}))
    await asyncio.sleep(0)
    host, _ = await asyncio.wait_for(line.place("new"), PATIENCE)
    assert host is idle
    assert not waits.done()
    waits.cancel()
    await asyncio.wait({waits})
