"""The limit of an endpoint finds its place at servers of every kind. Time is simulated: nothing waits."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

import pytest

from tagger_daemon.vision.throttle import CALM_SECONDS, LONGEST_REST, Throttle, Turn

#: Stages, and how much more than a caption they cost.
STAGES = {"caption": 1.0, "keywords": 1.6, "description": 2.5}
MEAN = fmean(STAGES.values())
#: How different requests of one stage are, up and down.
SPREAD = 0.3
SEED = 7


class Server(Protocol):
    def accepts(self) -> bool: ...
    def add(self, number: int, work: float) -> None: ...
    def until_next(self) -> float: ...
    def pass_time(self, seconds: float) -> list[int]: ...


@dataclass
class Slots:
    """So many at once, each on its own; the others queue, or are refused (llama-server, llama-swap)."""

    count: int
    slowness: float = 1.0
    most: int | None = None  # refuses those beyond
    running: dict[int, float] = field(default_factory=dict)
    queue: deque[tuple[int, float]] = field(default_factory=deque)

    def accepts(self) -> bool:
        return self.most is None or len(self.running) + len(self.queue) < self.most

    def add(self, number: int, work: float) -> None:
        self.queue.append((number, work))
        self._start()

    def until_next(self) -> float:
        return min(self.running.values(), default=float("inf")) * self.slowness

    def pass_time(self, seconds: float) -> list[int]:
        self.running = {number: left - seconds / self.slowness for number, left in self.running.items()}
        done = [number for number, left in self.running.items() if left <= 1e-9]
        for number in done:
            del self.running[number]
        self._start()
        return done

    def _start(self) -> None:
        while self.queue and len(self.running) < self.count:
            number, work = self.queue.popleft()
            self.running[number] = work


@dataclass
class Card:
    """All at once, each the slower the more there are: a graphics card that works in batches (vLLM)."""

    slowdown: Callable[[int], float]  # requests at once -> how many times longer each takes
    running: dict[int, float] = field(default_factory=dict)

    def accepts(self) -> bool:
        return True

    def add(self, number: int, work: float) -> None:
        self.running[number] = work

    def until_next(self) -> float:
        return min(self.running.values(), default=float("inf")) * self.slowdown(len(self.running))

    def pass_time(self, seconds: float) -> list[int]:
        share = seconds / self.slowdown(max(len(self.running), 1))
        self.running = {number: left - share for number, left in self.running.items()}
        done = [number for number, left in self.running.items() if left <= 1e-9]
        for number in done:
            del self.running[number]
        return done


@dataclass
class Course:
    """What happened."""

    answers: list[float] = field(default_factory=list)  # when
    limits: list[tuple[float, int]] = field(default_factory=list)  # at each answer
    refused: list[float] = field(default_factory=list)

    def rate(self, begin: float, end: float) -> float:
        """Mean captions' worth a second."""
        return sum(begin <= when < end for when in self.answers) / (end - begin) * MEAN

    def limit(self, begin: float, end: float) -> float:
        return fmean(limit for when, limit in self.limits if begin <= when < end)


def drive(
    server: Server,
    throttle: Throttle,
    *,
    seconds: float,
    tokens: int | None = None,
    events: Sequence[tuple[float, Callable[[], None]]] = (),
    photos: Callable[[float], int] = lambda _: 10**9,
) -> Course:
    """Keep an endpoint as busy as its limit and the photos allow; `events` happen at their time."""
    chance, course, now, number = random.Random(SEED), Course(), 0.0, 0
    under_way: dict[int, tuple[Turn, str]] = {}
    to_come = deque(events)
    while now < seconds:
        while throttle.room(now) > 0 and len(under_way) < photos(now):
            turn = throttle.begin(now)
            if not server.accepts():
                throttle.overloaded(now)
                course.refused.append(now)
                continue
            number += 1
            stage = chance.choice([*STAGES])
            under_way[number] = (turn, stage)
            server.add(number, STAGES[stage] * (1 + chance.uniform(-SPREAD, SPREAD)))
        calm = throttle.calm_in(now)
        step = min(
            server.until_next(),
            calm + 1e-6 if calm else float("inf"),
            max(to_come[0][0] - now, 0.0) if to_come else float("inf"),
        )
        now += step
        for done in server.pass_time(step):
            turn, stage = under_way.pop(done)
            throttle.answered(turn, now, kind=stage, tokens=tokens)
            course.answers.append(now)
            course.limits.append((now, throttle.limit))
        while to_come and to_come[0][0] <= now:
            to_come.popleft()[1]()
    return course


@pytest.mark.parametrize("start", [1, 4])
@pytest.mark.parametrize("count", [1, 2, 4, 10, 16, 32, 64])
def test_a_server_with_slots_is_kept_busy_and_not_much_more(count: int, start: int) -> None:
    end = max(1500 // (1 + count // 8), 300)
    course = drive(Slots(count), Throttle(start=start, most=128), seconds=end)
    assert course.rate(end / 3, end) > 0.95 * count
    assert course.limit(end / 3, end) <= max(1.5 * count + 1, start + 2.5)
    # The beginning is short: from one to 64 at once in some twenty times what one request takes.
    assert course.rate(0, end / 3) > 0.6 * count


@pytest.mark.parametrize(("half", "share"), [(1, 0.85), (2, 0.85), (4, 0.9), (8, 0.9), (16, 0.9)])
@pytest.mark.parametrize("tokens", [None, 100])
def test_a_card_that_works_in_batches_gets_batches(half: int, share: float, tokens: int | None) -> None:
    """With `half` at once it does half of what it can at most; each answer then takes twice as long."""
    course = drive(
        Card(lambda at_once: 1 + at_once / half), Throttle(start=4, most=64), seconds=2000, tokens=tokens
    )
    assert course.rate(500, 2000) > share * 64 / (1 + 64 / half)


def test_a_card_that_chokes_on_too_many_is_given_fewer() -> None:
    """Beyond 20 at once it does less in all, as when its memory for contexts is full."""

    def slowdown(at_once: int) -> float:
        return max(1 + at_once / 40, at_once / 13.3 * (1 + max(at_once - 20, 0) / 20))

    best = max(at_once / slowdown(at_once) for at_once in range(1, 65))
    course = drive(Card(slowdown), Throttle(start=4, most=64), seconds=2000)
    assert course.rate(500, 2000) > 0.9 * best
    assert course.limit(500, 2000) < 32


@pytest.mark.parametrize("start", [1, 4, 16, 64])
def test_a_server_that_refuses_the_eleventh_gets_about_ten(start: int) -> None:
    course = drive(Slots(10, most=10), Throttle(start=start, most=64), seconds=2000)
    assert 8.5 < course.limit(200, 2000) <= 10.5
    assert course.rate(200, 2000) > 0.95 * 10
    assert len(course.refused) < 0.01 * len(course.answers) + start


def test_a_server_that_becomes_slow_is_relieved_and_gets_more_once_it_has_recovered() -> None:
    server = Slots(16)

    def lose_slots() -> None:
        server.count = 4

    def regain_slots() -> None:
        server.count = 16

    course = drive(
        server,
        Throttle(start=2, most=64),
        seconds=4500,
        events=[(1000, lose_slots), (2500, regain_slots)],
    )
    assert course.rate(500, 1000) > 0.95 * 16
    assert course.rate(1000, 2500) > 0.95 * 4
    assert course.limit(2300, 2500) < course.limit(500, 1000)
    assert course.rate(3500, 4500) > 0.95 * 16


def test_a_server_that_only_takes_longer_keeps_its_work() -> None:
    server = Slots(10)

    def slow_down() -> None:
        server.slowness = 4.0

    def recover() -> None:
        server.slowness = 1.0

    course = drive(
        server, Throttle(start=4, most=64), seconds=6000, events=[(1000, slow_down), (3000, recover)]
    )
    assert course.rate(1000, 3000) > 0.95 * 10 / 4
    assert course.rate(3000, 6000) > 0.95 * 10


def test_an_endpoint_with_little_to_do_proves_nothing() -> None:
    throttle = Throttle(start=8, most=64)
    drive(Slots(64), throttle, seconds=500, photos=lambda _: 3)
    assert throttle.limit == 8


def test_a_limit_is_never_above_the_most_or_below_one() -> None:
    assert Throttle(start=9, most=5).limit == 5
    throttle = Throttle(start=4, most=5)
    for now in range(0, 1000, 10):
        throttle.begin(now)
        throttle.overloaded(now)
    assert throttle.limit == 1
    course = drive(Slots(64), Throttle(start=4, most=5), seconds=300)
    assert max(limit for _, limit in course.limits) == 5


def test_only_the_first_refusal_of_a_burst_cuts() -> None:
    throttle = Throttle(start=16, most=64)
    for _ in range(16):
        throttle.begin(0.0)
    for _ in range(6):
        throttle.overloaded(0.1)
    assert throttle.limit == 12
    # Nothing is sent in place of what was refused, until the burst is over.
    assert (throttle.in_flight, throttle.room(0.2)) == (10, 0)
    assert throttle.calm_in(0.1) == CALM_SECONDS
    assert throttle.room(0.1 + CALM_SECONDS) == 2
    throttle.overloaded(0.2 + CALM_SECONDS)
    assert throttle.limit == 9


def test_a_server_that_says_when_to_come_back_is_left_alone_until_then_and_not_for_ever() -> None:
    throttle = Throttle(start=4, most=64)
    throttle.begin(0.0)
    throttle.overloaded(1.0, retry_after=20)
    assert (throttle.room(20.9), throttle.rests(20.9)) == (0, True)
    assert (throttle.room(21.0), throttle.rests(21.0)) == (3, False)
    throttle.begin(30.0)
    throttle.overloaded(30.0, retry_after=99_999)
    assert throttle.calm_in(30.0) == LONGEST_REST


@pytest.mark.parametrize("tokens", [-50, -1, 10**400])
def test_a_count_of_tokens_that_cannot_be_is_none(tokens: int) -> None:
    throttle = Throttle(start=1, most=8)
    drive(Slots(4), throttle, seconds=200, tokens=tokens)
    assert throttle.limit >= 4
    assert throttle.tokens_per_second(200) is None


def test_what_is_told_of_an_endpoint_is_about_its_last_answers() -> None:
    throttle = Throttle(start=4, most=4)
    assert throttle.seconds is None
    assert throttle.tokens_per_second(5.0) is None
    for number in range(200):
        turn = throttle.begin(float(number))
        throttle.answered(turn, number + (0.9 if number < 100 else 0.5), kind="caption", tokens=40)
    assert throttle.seconds == pytest.approx(0.5)
    assert throttle.tokens_per_second(199.5) == pytest.approx(64 * 40 / 63)
