"""What is different about the second request for an answer, given what was wrong with the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tagger_daemon.errors import ReplyError, ReplyRefused, ReplyRepetitive, ReplyTruncated
from tagger_daemon.model import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Change(Value):
    """How a request differs from what the profile says. By default it does not."""

    temperature: float = 0.0  # at least this
    presence_penalty: float | None = None  # at least this, where the server knows it; None: the profile's
    more_tokens: int = 1  # times the profile's cap
    neutral: bool = False  # asked in plain words of ours instead of the profile's


AS_THE_PROFILE_SAYS: Final = Change()

#: When the decoding is nearly greedy, the same request gets the same answer, a loop above all; chance leads
#: out of it. Qwen advises the like, and a penalty of up to 1.5, for the loops of its vision models.
FREER: Final = 0.7
PENALTY: Final = 1.0

#: Most answers that are cut off are only a little too long; those that are not would not end at all.
MORE_TOKENS: Final = 2


def again(error: ReplyError) -> Change:
    """Return what to change after an answer that could not be used."""
    if isinstance(error, ReplyRepetitive):
        return Change(temperature=FREER, presence_penalty=PENALTY)
    if isinstance(error, ReplyTruncated):
        return Change(more_tokens=MORE_TOKENS)
    if isinstance(error, ReplyRefused):
        return Change(neutral=True)
    return Change(temperature=FREER)
