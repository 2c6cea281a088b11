"""What the history of one picture amounts to: what of it is ours, what was refused, what was answered.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tagger_daemon.model import UNWRITTEN, Draft, Memory, Outcome, Record

#: Records of one picture that are looked at, newest first. Each carries on what the older ones knew; more
#: than one is needed only to step over those that know nothing.
MOST_RECALLED = 20


def remember(
    history: Sequence[Record],
    *,
    begun: Sequence[Record] = (),
    places: frozenset[Path] = frozenset(),
    undone_at: str | None,
    refused_at: str | None = None,
    review: str = "",
    refused_words: Sequence[str] = (),
) -> Memory:
    """Say what is known of a picture.

    Args:
        history: its records, the newest first; failures left out.
        begun: writes that are under way: of these, only the answers are known to be so.
        places: the names under which it was written, as they are now.
        undone_at: when a person had our words taken back, if they are still to be left out.
        refused_at: when a person refused all that was proposed, if that still counts.
        review: id of the proposal that a person has begun to decide about.
        refused_words: keywords that a person refused in a review that was given up, as the photo had changed.
    """
    # A refusal as a whole has the photo left alone; once it is lifted, its keywords may be proposed again.
    history = [record for record in history if record.outcome is not Outcome.REFUSED]
    marked = next((record for record in history if record.outcome not in UNWRITTEN), None)
    answers = Draft()
    for record in (*begun, *history):
        if record.outcome is Outcome.UNDONE:
            break  # what was taken back is not to be written again from memory
        if record.answers != Draft():
            answers = record.answers
            break
    return Memory(
        marker=marked.marker if marked else None,
        places=places,
        rejected=(*(history[0].rejected if history else ()), *refused_words),
        undone_at=undone_at,
        answers=answers,
        refused_at=refused_at,
        review=review,
    )
