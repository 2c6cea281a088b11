"""Places go to those who wait for them, also while some go away; photos are not remembered for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tagger_daemon.errors import ServerUnavailable
from tagger_daemon.vision import line as line_module
from tagger_daemon.vision import throttle
from tagger_daemon.vision.line import Line, Sessions
from tagger_daemon.vision.throttle import Throttle, Turn

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(eq=False)
class Place:
    """An endpoint with one place."""

    url: str = "http://gpu:8000/v1"
    draining: bool = False
    is_open: bool = True
    throttle: Throttle = field(default_factory=lambda: Throttle(start=1, most=1))

    def room(self, now: float) -> int:
        return self.throttle.room(now)


def a_line(*hosts: Place, now: list[float] | None = None) -> Line[Place]:
    when = now or [0.0]
    return Line(
        "vlm",
        hosts,
        sessions=Sessions(),
        clock=lambda: when[0],
        nobody=lambda: ServerUnavailable("nobody is there"),
    )


async def waiting(line: Line[Place], *sessions: str) -> list[asyncio.Task[tuple[Place, Turn]]]:
    tasks = [asyncio.create_task(line.place(session)) for session in sessions]
    await asyncio.sleep(0)
    return tasks


async def test_a_place_passes_by_those_who_have_just_gone_away() -> None:
    host = Place()
    line = a_line(host)
    await line.place("first")
    gone, patient = await waiting(line, "gone", "patient")
    gone.cancel()
    host.throttle.leave(0.0)
    line.freed(host)
    assert (await patient)[0] is host
    assert gone.cancelled()
    assert (host.throttle.in_flight, line.waiting(host)) == (1, 0)


async def test_who_goes_away_with_a_place_in_hand_leaves_it_to_the_next() -> None:
    host = Place()
    line = a_line(host)
    await line.place("first")
    lucky, patient = await waiting(line, "lucky", "patient")
    host.throttle.leave(0.0)
    line.freed(host)  # `lucky` has it, and does not know yet
    lucky.cancel()
    assert (await patient)[0] is host
    assert lucky.cancelled()
    assert host.throttle.in_flight == 1


async def test_those_who_wait_are_told_once_nobody_is_left() -> None:
    host = Place()
    line = a_line(host)
    await line.place("first")
    (patient,) = await waiting(line, "patient")
    host.is_open = False
    line.changed()
    with pytest.raises(ServerUnavailable, match="nobody is there"):
        await patient
    with pytest.raises(ServerUnavailable, match="nobody is there"):
        await line.place("late")


async def test_photos_leave_a_server_that_asks_for_a_pause() -> None:
    resting, other = Place(url="http://a/v1"), Place(url="http://b/v1")
    line = a_line(resting, other)
    (own, _), (their, _) = await line.place("one"), await line.place("two")
    begun = "one" if own is resting else "two"
    assert {own, their} == {resting, other}
    resting.throttle.overloaded(0.0, retry_after=30)
    (moving,) = await waiting(line, begun)
    other.throttle.leave(0.0)
    line.freed(other)
    assert (await moving)[0] is other
    line.close()


async def test_a_pause_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "CALM_SECONDS", 0.01)
    host = Place()
    now = [0.0]
    line = a_line(host, now=now)
    await line.place("one")
    host.throttle.overloaded(0.0, retry_after=0.01)
    again = asyncio.create_task(line.place("one", again=True))
    await asyncio.sleep(0)
    now[0] = 5.0
    async with asyncio.timeout(30):
        assert (await again)[0] is host


def test_photos_are_remembered_for_a_while_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "REMEMBERED", 3)
    sessions = Sessions()
    for number in range(5):
        sessions.note(str(number), "vlm", "http://a/v1", now=0.0)
    assert [str(number) in sessions for number in range(5)] == [False, False, True, True, True]
    sessions.note("2", "other", "http://b/v1", now=100.0)
    assert (sessions.home("2", "vlm"), sessions.home("2", "other")) == ("http://a/v1", "http://b/v1")
    assert sessions.home("3", "other") is None
    sessions.note("new", "vlm", "http://a/v1", now=650.0)
    assert ("2" in sessions, "4" in sessions, sessions.home("4", "vlm")) == (True, False, None)
