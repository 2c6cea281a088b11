"""What becomes of a row after an error: a pure answer to (error, attempts so far)."""

from __future__ import annotations

from dataclasses import dataclass

from tagger_daemon.errors import Fate, TaggerError
from tagger_daemon.model import JobState, Value

#: A photo is never made to wait longer than this for its next attempt.
LONGEST_BACKOFF = 6 * 3600.0
#: Each failure makes the wait this many times longer.
BACKOFF_FACTOR = 4.0
#: Waits are spread by this share up and down, so that a batch that failed together does not return together.
JITTER = 0.2
#: Seconds until a row whose server was away is looked at again, unless the error says more. The pool's gate
#: holds it back meanwhile.
SERVER_WAIT = 1.0
#: Seconds until a changed photo is looked at again, and until a paused folder's photo is: no wait is shorter.
REQUEUE_WAIT = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision(Value):
    """Where the row goes next."""

    state: JobState  # WAITING to try again, FAILED to give up, GONE to forget
    delay: float  # seconds until it may be claimed again
    attempts: int  # charged so far, this one included where it counts


def decide(
    error: TaggerError, *, attempts: int, max_attempts: int, backoff_seconds: float, spread: float
) -> Decision | None:
    """Say what becomes of a row that ended with this error.

    Args:
        error: what ended the journey.
        attempts: failures charged before.
        max_attempts: failures after which the photo is given up.
        backoff_seconds: wait after the first charged failure.
        spread: a random number in [0, 1], for the jitter.

    Returns:
        The decision; None where the row is no longer ours to decide about (lease lost).

    Raises:
        TaggerError: the error itself, when its fate is to stop the service.
    """
    waiting = Decision(state=JobState.WAITING, delay=REQUEUE_WAIT, attempts=attempts)
    match error.fate:
        case Fate.STOP:
            raise error
        case Fate.DISCARD:
            return None
        case Fate.DROP:
            return waiting.evolve(state=JobState.GONE, delay=0.0)
        case Fate.FAIL:
            return waiting.evolve(state=JobState.FAILED, delay=0.0, attempts=attempts + 1)
        case Fate.WAIT:
            return waiting.evolve(delay=min(max(error.seconds, SERVER_WAIT), LONGEST_BACKOFF))
        case Fate.REQUEUE | Fate.PAUSE | Fate.POSTPONE:
            # A longer wait is cut in parts: a due time further off is taken for one from before the clock was
            # put back, and meanwhile the reason may have gone.
            return waiting.evolve(delay=min(max(error.seconds, REQUEUE_WAIT), LONGEST_BACKOFF))
        case Fate.RETRY if attempts + 1 >= max_attempts:
            return waiting.evolve(state=JobState.FAILED, delay=0.0, attempts=attempts + 1)
        case Fate.RETRY:
            wait = min(backoff_seconds * BACKOFF_FACTOR**attempts, LONGEST_BACKOFF)
            return waiting.evolve(delay=wait * (1 + JITTER * (2 * spread - 1)), attempts=attempts + 1)
