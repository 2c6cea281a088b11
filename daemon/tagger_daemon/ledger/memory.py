"""What the history of one picture amounts to: what of it is ours, what was refused, what was answered.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from tagger_daemon.model import Draft, Memory, Outcome, Record

#: Records of one picture that are looked at, newest first. Each carries on what the older ones knew; more
#: than one is needed only to step over those that know nothing.
MOST_RECALLED = 20


def remember(history: Sequence[Record], *, undone_at: str | None) -> Memory:
    """Say what is known of a picture.

    Args:
        history: its records, the newest first; failures left out.
        undone_at: when a person had our words taken back, if they are still to be left out.
    """
    if not history:
        return Memory(undone_at=undone_at)
    marked = next((record for record in history if record.outcome is not Outcome.PROPOSED), None)
    answers = Draft()
    for record in history:
        if record.outcome is Outcome.UNDONE:
            break  # what was taken back is not to be written again from memory
        if record.answers != Draft():
            answers = record.answers
            break
    return Memory(
        marker=marked.marker if marked else None,
        rejected=history[0].rejected,
        undone_at=undone_at,
        answers=answers,
    )
