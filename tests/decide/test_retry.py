"""What becomes of a photo after an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon import errors
from tagger_daemon.backlog.retry import JITTER, LONGEST_BACKOFF, Decision, decide
from tagger_daemon.errors import TaggerError
from tagger_daemon.model import JobState


def decided(error: TaggerError, *, attempts: int = 0, spread: float = 0.5) -> Decision:
    decision = decide(error, attempts=attempts, max_attempts=4, backoff_seconds=60, spread=spread)
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    ("error", "state", "charged"),
    [
        (errors.PhotoGone("x"), JobState.GONE, 0),
        (errors.PhotoChanged("x"), JobState.WAITING, 0),
        (errors.PhotoHeld("x", seconds=60), JobState.WAITING, 0),
        (errors.PhotoUnreadable("x"), JobState.FAILED, 1),
        (errors.PhotoTooLarge("x"), JobState.FAILED, 1),
        (errors.ServerUnavailable("x"), JobState.WAITING, 0),
        (errors.ServerMisconfigured("x"), JobState.WAITING, 0),
        (errors.ReplyTruncated("x"), JobState.WAITING, 1),
        (errors.RequestRejected("x"), JobState.WAITING, 1),
        (errors.ExiftoolDied("x"), JobState.WAITING, 1),
        (errors.VerificationFailed("x"), JobState.FAILED, 1),
        (errors.FolderUnavailable("x"), JobState.WAITING, 0),
    ],
)
def test_first_failure(error: TaggerError, state: JobState, charged: int) -> None:
    decision = decided(error)
    assert (decision.state, decision.attempts) == (state, charged)


def test_lost_lease_is_nobodys_to_decide() -> None:
    error = errors.LeaseLost("x")
    assert decide(error, attempts=0, max_attempts=4, backoff_seconds=60, spread=0.5) is None


def test_configuration_errors_stop_the_service() -> None:
    with pytest.raises(errors.ConfigurationError):
        decided(errors.ConfigurationError("x"))


def test_waits_grow_fourfold_and_then_the_photo_is_given_up() -> None:
    waits = [decided(errors.ReplyTimeout("x"), attempts=n) for n in range(4)]
    assert [wait.delay for wait in waits[:3]] == [60, 240, 960]
    assert waits[3].state is JobState.FAILED


def test_an_outage_never_uses_up_a_photos_attempts() -> None:
    attempts = 3
    for _ in range(1000):
        attempts = decided(errors.ServerUnavailable("x"), attempts=attempts).attempts
    assert attempts == 3


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [(300, 300), (0, 1), (24 * 3600, LONGEST_BACKOFF), (LONGEST_BACKOFF, LONGEST_BACKOFF)],
)
def test_a_photo_that_is_held_is_looked_at_again_in_time_and_now_and_then(
    seconds: float, delay: float
) -> None:
    assert decided(errors.PhotoHeld("x", seconds=seconds), attempts=3) == Decision(
        state=JobState.WAITING, delay=delay, attempts=3
    )


@pytest.mark.parametrize(("seconds", "delay"), [(0, 1), (3600, 3600), (10**6, LONGEST_BACKOFF)])
def test_a_photo_that_may_not_be_sent_anywhere_waits_as_long_as_the_error_says(
    seconds: float, delay: float
) -> None:
    assert decided(errors.NotConsented("x", seconds=seconds), attempts=3) == Decision(
        state=JobState.WAITING, delay=delay, attempts=3
    )


@given(attempts=st.integers(0, 100), spread=st.floats(0, 1))
def test_waits_are_bounded_and_positive(attempts: int, spread: float) -> None:
    decision = decide(
        errors.ReplyMalformed("x"), attempts=attempts, max_attempts=1000, backoff_seconds=60, spread=spread
    )
    assert decision is not None
    assert 0 < decision.delay <= LONGEST_BACKOFF * (1 + JITTER)
