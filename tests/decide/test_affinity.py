"""Photos spread over replicas by their shares, and stay where they are when others come and go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.vision.affinity import BALANCE, Load, choose, rank

URLS = [f"http://gpu{number}:8000/v1" for number in range(5)]


def home(session: str, urls: list[str]) -> str:
    return max(urls, key=lambda url: rank(session, url))


def test_an_endpoint_that_goes_moves_no_photos_but_its_own() -> None:
    sessions = [f"photo {number}" for number in range(500)]
    before = {session: home(session, URLS) for session in sessions}
    after = {session: home(session, URLS[1:]) for session in sessions}
    assert {session for session in sessions if before[session] != after[session]} == {
        session for session in sessions if before[session] == URLS[0]
    }
    assert min(Counter(before.values()).values()) > 70


def loads(*endpoints: tuple[int, int]) -> list[Load]:
    return [Load(requests=requests, limit=limit, room=requests < limit) for requests, limit in endpoints]


def test_the_first_in_the_order_has_it_while_that_is_not_too_much() -> None:
    assert choose(loads((0, 8), (0, 8))) == 0
    assert choose(loads((4, 8), (4, 8))) == 0
    assert choose(loads((6, 8), (2, 8))) == 1


def test_shares_go_by_the_limits() -> None:
    assert choose(loads((12, 24), (3, 4))) == 0
    assert choose(loads((3, 4), (3, 24))) == 1


def test_a_place_that_is_free_is_better_than_none_of_the_share() -> None:
    assert choose(loads((8, 8), (7, 8))) == 1
    crowded = [Load(requests=9, limit=16, room=True), Load(requests=1, limit=16, room=False)]
    assert choose(crowded) == 0
    assert choose(loads((8, 8), (8, 8))) is None
    assert choose([]) is None


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(1, 64)), min_size=1, max_size=6))
def test_nobody_is_given_more_than_a_quarter_above_its_share_without_need(
    endpoints: list[tuple[int, int]],
) -> None:
    given = loads(*endpoints)
    chosen = choose(given)
    assert (chosen is None) == (not any(load.room for load in given))
    if chosen is None:
        return
    total, limits = 1 + sum(load.requests for load in given), sum(load.limit for load in given)
    within = [load.room and load.requests + 1 <= BALANCE * total * load.limit / limits for load in given]
    assert given[chosen].room
    assert given[chosen].requests < BALANCE * total * given[chosen].limit / limits or not any(within)
