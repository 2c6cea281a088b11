"""Decides how many requests one endpoint is given at once: found out by trying, because servers do not say.

Most servers queue without bound instead of refusing, so that refusals alone would tell nothing. What tells is
throughput: by Little's law, requests under way divided by the seconds that one takes. More at once is right
for as long as that grows. Refusals and timeouts cut, as in AIMD (additive increase, multiplicative decrease).

Everything is judged by the step: the time for which one limit is tried, until enough requests that began in
it have been answered. Only requests count during which most places were taken; a server with little to do
proves nothing.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tagger_daemon.model import Value

#: What an overload leaves of the limit.
CUT: Final = 0.75

#: Seconds in which further refusals belong to the same burst: only its first one cuts.
CALM_SECONDS: Final = 2.0

#: The longest `Retry-After` that is obeyed, seconds: a server must not keep its photos waiting for ever.
LONGEST_REST: Final = 60.0

#: More at once is worth it if it brings this share of throughput; fewer do as well if they cost no more.
GAIN: Final = 0.03
LOSS: Final = 0.02

#: Above this many times the best latency fewer requests are tried: they may do as well. Above the second,
#: more are not tried any more, and fewer again and again.
STRETCHED: Final = 1.5
OVERSTRETCHED: Final = 2.5

#: Beyond what is proven, the limit grows by this share at once, and by one at least: where the server once
#: refused more, and where it never did. Smaller steps bring less than can be told from chance.
OVERSHOOT: Final = 0.1
STRIDE: Final = 0.25

#: Requests that a step needs at least: while the limit is doubled, while it stays, while another is tried.
FEWEST_RISING: Final = 8
FEWEST: Final = 32
FEWEST_TRYING: Final = 64

#: Steps before something is tried that brought nothing: at first, and at most; each failure doubles them.
PATIENCE: Final = 4
PATIENCE_MOST: Final = 64

#: Seconds for which the best latency is remembered. A server that has become slower for good has a new best.
MEMORY_SECONDS: Final = 900.0

#: What a request costs besides its own tokens, in tokens: prefill and picture. Without it, answers of three
#: tokens would look slow.
PREFILL: Final = 50

#: More tokens than any answer has.
MOST_TOKENS: Final = 1_000_000

#: A request counts if on average this share of the limit was taken during it.
BUSY: Final = 0.75

#: Requests over which the median seconds and the tokens a second are taken.
SHOWN: Final = 64

#: rising: doubled at each step. recovering: grows to what was proven. steady: stays. climbing and easing:
#: more, or fewer, are being tried.
Phase = Literal["rising", "recovering", "steady", "climbing", "easing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn(Value):
    """One request under way."""

    began: float  # on the caller's clock, seconds
    step: int | None  # in which step it began; None: too soon after the last one to tell of its own
    area: float  # request-seconds before it: with those at its end, they tell how many were under way with it


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample(Value):
    """One answer."""

    kind: str  # requests of one kind cost about the same
    cost: float  # seconds for each unit of its work
    company: float  # requests under way meanwhile, itself among them, on average


class Throttle:
    """The limit of one endpoint. Times are seconds on the caller's clock, which never goes back."""

    def __init__(self, *, start: int, most: int) -> None:
        """Begin with `start` requests at once, and never allow more than `most`."""
        self.limit = min(start, most)
        self.in_flight = 0
        self._floor, self._most = self.limit, most
        self._phase: Phase = "rising"
        self._step = 0
        self._samples: list[Sample] = []
        self._answers = 0  # in this step, of requests whenever they began
        self._settling = 0  # answers until the last step is out of the server's queue
        self._units: dict[str, float] = {}  # kind -> cost of one of its requests, when it was first seen
        self._best: deque[tuple[float, float]] = deque()  # when, and how slow a step was
        self._slowness = 1.0  # of the last step, in units
        self._proven: tuple[int, float | None] = (self.limit, None)  # a limit, and the throughput it brought
        self._measured = 0  # over how many steps that is the mean
        self._ceiling = most  # the limit up to which one grows without proof
        self._patience, self._steps_left = PATIENCE, PATIENCE
        self._eased_last = False
        self._calm_until = self._rest_until = float("-inf")
        self._kept = 0  # requests that the server did not refuse in this burst
        self._area = self._area_at = 0.0
        self._seconds: deque[float] = deque(maxlen=SHOWN)
        self._tokens: deque[tuple[float, int]] = deque(maxlen=SHOWN)

    @property
    def seconds(self) -> float | None:
        """Median seconds of the last answers; None: there were none."""
        return statistics.median(self._seconds) if self._seconds else None

    def tokens_per_second(self, now: float) -> float | None:
        """Tokens a second over the last answers; None: not told, or too few."""
        if len(self._tokens) < 2 or now <= self._tokens[0][0]:
            return None
        return sum(tokens for _, tokens in self._tokens) / (now - self._tokens[0][0])

    def room(self, now: float) -> int:
        """Say how many requests may be sent now."""
        if now < self._rest_until:
            return 0
        # What a refusal frees is not filled again while its burst lasts: it would be refused too.
        limit = self.limit if now >= self._calm_until else min(self.limit, self._kept)
        return max(limit - self.in_flight, 0)

    def rests(self, now: float) -> bool:
        """Tell whether the server has asked for a pause that is not over."""
        return now < self._rest_until

    def calm_in(self, now: float) -> float:
        """Say in how many seconds there may be room without any answer; 0: time alone changes nothing."""
        return max(self._calm_until - now, self._rest_until - now, 0.0)

    def forget_pause(self) -> None:
        """Go by no pause any more: the server that asked for it is gone."""
        self._calm_until = self._rest_until = float("-inf")

    def begin(self, now: float) -> Turn:
        """Count a request that is sent."""
        self._pass(now)
        self.in_flight += 1
        return Turn(began=now, step=self._step if self._answers >= self._settling else None, area=self._area)

    def leave(self, now: float) -> None:
        """Count a request as over that tells nothing about the server."""
        self._pass(now)
        self.in_flight -= 1

    def answered(self, turn: Turn, now: float, *, kind: str, tokens: int | None) -> None:
        """Count an answer, and learn from it; `tokens` are those of the answer, if the server says."""
        self.leave(now)
        seconds = now - turn.began
        self._seconds.append(seconds)
        if tokens is not None and not 0 <= tokens <= MOST_TOKENS:
            tokens = None  # a server may say anything
        if tokens is not None:
            self._tokens.append((now, tokens))
        self._answers += 1
        if turn.step != self._step or seconds <= 0:
            return
        company = (self._area - turn.area) / seconds
        if company < BUSY * self.limit:
            return
        work = 1 if tokens is None else PREFILL + tokens
        # With and without tokens are two kinds: their costs have nothing to do with one another.
        kind = kind if tokens is None else f"{kind}, by the token"
        self._samples.append(Sample(kind=kind, cost=seconds / work, company=company))
        if len(self._samples) >= self._enough():
            self._end_step(now)

    def overloaded(self, now: float, *, retry_after: float | None = None) -> None:
        """Count a request that the server refused as too much, or let run out of time, and slow down."""
        self.leave(now)
        if retry_after is not None:
            self._rest_until = max(self._rest_until, now + min(max(retry_after, 0.0), LONGEST_REST))
        if now < self._calm_until:
            self._kept = min(self._kept, self.in_flight)
            return
        self._kept = self.in_flight
        self._calm_until = max(now + CALM_SECONDS, self._rest_until)
        if self._phase == "climbing" and self._proven[0] < self.limit:
            self._give_up()  # a little more was too much, and the less before it was not
            return
        self._ceiling = max(self.limit - 1, 1)
        self._patience = self._steps_left = PATIENCE
        self._proven = (self.limit, None)
        self._go(max(int(self.limit * CUT), 1), "recovering")

    def _pass(self, now: float) -> None:
        self._area += self.in_flight * (now - self._area_at)
        self._area_at = now

    def _enough(self) -> int:
        if self._phase == "rising":
            return max(-(-self.limit // 2), FEWEST_RISING)
        if self._phase == "recovering":
            return self.limit
        return max(self.limit, FEWEST) if self._phase == "steady" else max(2 * self.limit, FEWEST_TRYING)

    def _go(self, limit: int, phase: Phase) -> None:
        """Begin a step."""
        # While it is doubled, quick matters more than exact.
        self._settling = 0 if phase == "rising" or limit == self.limit else limit
        self.limit, self._phase, self._answers = limit, phase, 0
        self._step += 1
        self._samples.clear()

    def _end_step(self, now: float) -> None:
        throughput, stretch = self._measure(now)
        limit, before = self._proven
        match self._phase:
            case "rising" if before is None or throughput > before * (1 + GAIN):
                self._proven = (self.limit, throughput)
                more = min(self.limit * 2, self._most)
                self._go(more, "rising" if more > self.limit else "steady")
            case "rising":
                self._proven = (limit, None)  # measured anew: doubling leaves no time to do that exactly
                self._go(limit, "steady")
                self._steps_left = 2  # half of what the last step added may have been for nothing, too
            case "recovering":
                more = self.limit + 1
                self._proven = (self.limit, None)
                self._go(min(more, self._ceiling), "recovering" if more < self._ceiling else "steady")
            case "steady":
                self._proven = (self.limit, self._mixed(before, throughput))
                self._steps_left -= 1
                if stretch > OVERSTRETCHED or _is_other(before, throughput):
                    self._steps_left = min(self._steps_left, PATIENCE)  # what was tried once tells no more
                self._go(self.limit, "steady")
                if self._steps_left <= 0:
                    self._try_another(stretch)
            case "climbing" if before is None or throughput > before * (1 + GAIN):
                self._succeed(throughput)
                self._climb()
            case "easing" if before is None or throughput > before * (1 - LOSS):
                self._succeed(before or throughput)  # the measure stays: small losses must not add up
                if stretch > STRETCHED and self.limit > self._floor:
                    self._ease()
            case _:
                self._give_up(insist=self._phase == "easing" and stretch > OVERSTRETCHED)

    def _measure(self, now: float) -> tuple[float, float]:
        """Return the step's throughput, in requests' worth at once, and its latency against the best."""
        known = [one for one in self._samples if one.kind in self._units]
        slowness = _middle([one.cost / self._units[one.kind] for one in known]) if known else self._slowness
        for kind in {one.kind for one in self._samples} - set(self._units):
            costs = [one.cost for one in self._samples if one.kind == kind]
            self._units[kind] = _middle(costs) / slowness  # comparable with the kinds that were known before
        self._slowness = _middle([one.cost / self._units[one.kind] for one in self._samples])
        company = statistics.fmean(one.company for one in self._samples)
        while self._best and (now - self._best[0][0] > MEMORY_SECONDS):
            self._best.popleft()
        while self._best and self._best[-1][1] >= self._slowness:
            self._best.pop()
        self._best.append((now, self._slowness))
        return company / self._slowness, self._slowness / self._best[0][1]

    def _mixed(self, before: float | None, throughput: float) -> float:
        """Return the mean over the last steps at this limit."""
        self._measured = 1 if before is None else min(self._measured + 1, PATIENCE)
        return throughput if before is None else before + (throughput - before) / self._measured

    def _try_another(self, stretch: float) -> None:
        """Try fewer where answers are slow, more where they are not; of two that failed, the other."""
        stretched = stretch > STRETCHED and self.limit > self._floor
        other = self._eased_last and self.limit < self._most and stretch <= OVERSTRETCHED
        if stretched and not other:
            self._ease()
        elif self.limit < self._most:
            self._climb()
        else:
            self._steps_left = self._patience

    def _ease(self) -> None:
        self._eased_last = True
        self._go(max(int(self.limit * CUT), self._floor), "easing")

    def _climb(self) -> None:
        self._eased_last = False
        share = OVERSHOOT if self._ceiling < self._most else STRIDE
        more = min(self.limit + max(int(self.limit * share), 1), self._most)
        self._go(more, "climbing" if more > self.limit else "steady")

    def _succeed(self, throughput: float) -> None:
        """What was tried is the limit from now on."""
        self._proven = (self.limit, throughput)
        self._patience = self._steps_left = PATIENCE
        self._go(self.limit, "steady")

    def _give_up(self, *, insist: bool = False) -> None:
        """Go back to what is proven, and try again later; unless there is much to gain, later each time."""
        self._proven = (self._proven[0], None)
        self._go(self._proven[0], "steady")
        self._steps_left = self._patience
        self._patience = PATIENCE if insist else min(self._patience * 2, PATIENCE_MOST)


def _middle(values: Sequence[float]) -> float:
    """Return the mean without the tenth at either end; a mean, because Little's law is about nothing else."""
    off = len(values) // 10
    return statistics.fmean(sorted(values)[off : len(values) - off])


def _is_other(before: float | None, throughput: float) -> bool:
    """Tell whether a server does so much more or less than before that something has happened to it."""
    return before is not None and not before / (1 + STRIDE) < throughput < before * (1 + STRIDE)
