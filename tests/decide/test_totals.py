"""What a run comes to, from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tagger_daemon.model import Fingerprint, Origin, Outcome, Photo, Record, Stage
from tagger_daemon.reports.totals import Totals

PHOTO = Photo(path=Path("/p/a.jpg"), folder=Path("/p"), fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1))


def origin(**changes: Any) -> Origin:
    known = {"entry": "e", "model": "m", "digest": None, "registry": "", "profile": "p", "profile_hash": ""}
    return Origin(**{**known, "endpoint": "", "seconds": 1.5, "prompt_tokens": 100, **changes})


def record(outcome: Outcome, *, asked: tuple[Stage, ...], origins: dict[Stage, Origin]) -> Record:
    return Record(
        id="1",
        photo=PHOTO,
        outcome=outcome,
        finished_at="2026-05-01T10:00:00+02:00",
        seconds={"read": 0.1, **{stage.value: 2.0 for stage in asked}},
        origins=origins,
    )


def test_each_stage_is_told_for_itself() -> None:
    totals = Totals()
    everything = {stage: origin(attempts=2, completion_tokens=7) for stage in Stage}
    totals.add(record(Outcome.WRITTEN, asked=tuple(Stage), origins=everything))
    given_up = {Stage.CAPTION: origin()}
    totals.add(record(Outcome.FAILED, asked=(Stage.CAPTION, Stage.KEYWORDS), origins=given_up))
    totals.add(record(Outcome.SKIPPED, asked=(), origins={}))

    assert totals.photos == 3
    assert totals.outcomes == {Outcome.WRITTEN: 1, Outcome.FAILED: 1, Outcome.SKIPPED: 1}
    caption, keywords, description = (totals.stages[stage] for stage in Stage)
    assert (caption.asked, caption.ok, caption.failed, caption.retried) == (2, 2, 0, 1)
    assert (keywords.asked, keywords.ok, keywords.failed) == (2, 1, 1)
    assert (description.asked, description.ok, description.failed) == (1, 1, 0)
    assert (caption.seconds, caption.prompt_tokens, caption.completion_tokens) == (3.0, 200, 7)


def test_answers_of_an_earlier_run_were_not_asked_for() -> None:
    totals = Totals()
    totals.add(record(Outcome.WRITTEN, asked=(), origins={stage: origin() for stage in Stage}))
    assert [one.asked for one in totals.stages.values()] == [0, 0, 0]


def test_a_photo_that_fails_while_it_is_written_failed_at_no_stage() -> None:
    totals = Totals()
    totals.add(record(Outcome.FAILED, asked=tuple(Stage), origins={stage: origin() for stage in Stage}))
    assert [one.failed for one in totals.stages.values()] == [0, 0, 0]
