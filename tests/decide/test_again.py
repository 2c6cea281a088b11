"""What went wrong with an answer says what is changed in the next request for it."""

from __future__ import annotations

import pytest

from tagger_daemon.errors import ReplyError, ReplyMalformed, ReplyRefused, ReplyRepetitive, ReplyTruncated
from tagger_daemon.vision.again import AS_THE_PROFILE_SAYS, Change, again


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (ReplyRepetitive("x"), Change(temperature=0.7, presence_penalty=1.0)),
        (ReplyMalformed("x"), Change(temperature=0.7)),
        (ReplyTruncated("x"), Change(more_tokens=2)),
        (ReplyRefused("x"), Change(neutral=True)),
    ],
)
def test_each_error_has_its_remedy(error: ReplyError, change: Change) -> None:
    assert again(error) == change != AS_THE_PROFILE_SAYS
