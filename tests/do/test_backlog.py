"""The queue's promises, on a real SQLite file."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagger_daemon.backlog import store
from tagger_daemon.backlog.retry import Decision, decide
from tagger_daemon.backlog.store import MAX_CRASHES, Backlog, Priority
from tagger_daemon.database import Database, read_only
from tagger_daemon.errors import LeaseLost, NotConsented, PhotoChanged, PhotoHeld, TaggerError
from tagger_daemon.model import Answer, Draft, Fingerprint, Job, JobState, Origin, Photo, Stage

FOLDER = Path("/photos")
ORIGIN = Origin(entry="e", model="m", digest=None, registry="r", profile="p", profile_hash="h", endpoint="u")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "tagger.sqlite3", store.migrations())
    yield database
    database.close()


@pytest.fixture
def backlog(database: Database) -> Backlog:
    backlog = Backlog(database)
    backlog.recover(now=0, boot="a")
    backlog.watch_only([FOLDER])
    return backlog


def photo(name: str = "a.jpg", *, size: int = 10, inode: int = 1) -> Photo:
    return Photo(
        path=FOLDER / name, folder=FOLDER, fingerprint=Fingerprint(size=size, mtime_ns=5, inode=inode)
    )


def put(backlog: Backlog, *photos: Photo, priority: int = Priority.ARRIVAL) -> int:
    return backlog.enqueue(photos, priority=priority, now=1)


def claim(backlog: Backlog, limit: int = 10, *, now: int = 10) -> list[Job]:
    return backlog.claim(limit=limit, now=now, lease_ms=1000)


def state_counts(database: Database) -> dict[JobState, int]:
    with read_only(database.path) as db:
        return dict(store.folders(db, now=0)[0].counts)


def done(backlog: Backlog, job: Job, fingerprint: Fingerprint | None = None) -> None:
    backlog.finish(job, state=JobState.DONE, fingerprint=fingerprint or job.photo.fingerprint, now=20)


def test_a_photo_is_claimed_once(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    assert job.photo == photo()
    assert claim(backlog) == []


def test_the_same_content_is_taken_in_once(backlog: Backlog) -> None:
    assert put(backlog, photo()) == 1
    assert put(backlog, photo()) == 0


def test_a_finished_photo_does_not_come_back_with_the_fingerprint_that_our_write_left(
    backlog: Backlog,
) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    ours = Fingerprint(size=99, mtime_ns=9, inode=7)
    done(backlog, job, ours)
    assert put(backlog, dataclasses.replace(photo(), fingerprint=ours)) == 0
    assert backlog.unknown([dataclasses.replace(photo(), fingerprint=ours)]) == []
    assert backlog.open_rows() == 0


def test_our_own_write_seen_before_the_job_is_finished_is_not_new_work(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    ours = Fingerprint(size=99, mtime_ns=9, inode=7)
    put(backlog, dataclasses.replace(photo(), fingerprint=ours))
    done(backlog, job, ours)
    assert backlog.open_rows() == 0


def test_a_photo_replaced_by_another_hand_while_running_is_ready_again(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    put(backlog, photo(size=77))
    with pytest.raises(PhotoChanged):
        backlog.save_draft(job, Draft(caption="of the old content"), now=11)
    done(backlog, job)
    (again,) = claim(backlog)
    assert again.photo.fingerprint.size == 77
    assert again.draft == Draft()


def test_newer_content_neither_waits_nor_pays_for_what_befell_the_older(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    put(backlog, photo(size=77))
    failure = Decision(state=JobState.WAITING, delay=3600, attempts=3)
    backlog.put_back(job, failure, now=11, error="cut off", error_class="ReplyTruncated")
    (again,) = claim(backlog, now=12)
    assert (again.photo.fingerprint.size, again.attempts, again.last_error) == (77, 0, None)


def test_newer_content_is_not_charged_for_the_failing_of_the_older(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    put(backlog, photo(size=77))
    backlog.finish(
        job, state=JobState.FAILED, fingerprint=job.photo.fingerprint, now=11, error="no", attempts=4
    )
    (again,) = claim(backlog)
    assert (again.photo.fingerprint.size, again.attempts, again.last_error) == (77, 0, None)


def test_work_under_way_is_not_given_away_when_the_clock_leaps(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    assert backlog.claim(limit=10, now=10**9, lease_ms=1000, held=[job.lease]) == []
    done(backlog, job)


def test_nothing_waits_for_a_moment_that_was_set_before_the_clock_was_put_back(backlog: Backlog) -> None:
    year = 365 * 24 * 3600 * 1000
    put(backlog, photo())
    (job,) = claim(backlog, now=year)
    backlog.put_back(job, Decision(state=JobState.WAITING, delay=60, attempts=1), now=year)
    backlog.pause_folder(FOLDER, until=year + 15_000, why="the disk is full")
    assert len(claim(backlog, now=10)) == 1


def hold(backlog: Backlog, *, now: int, hours: float = 24, error: TaggerError | None = None) -> None:
    """Claim the photos and put them back for so long, as the crew does."""
    error = error or PhotoHeld("a catalogue may hold newer edits", seconds=hours * 3600)
    decision = decide(error, attempts=0, max_attempts=4, backoff_seconds=60, spread=0.5)
    assert decision is not None
    for job in claim(backlog, now=now):
        backlog.put_back(job, decision, now=now, error=str(error), error_class=type(error).__name__)


def test_a_photo_that_is_held_for_a_day_is_looked_at_every_few_hours_and_not_before(backlog: Backlog) -> None:
    hour = 3600 * 1000
    put(backlog, photo())
    hold(backlog, now=hour)
    assert claim(backlog, now=2 * hour) == []
    assert claim(backlog, now=6 * hour) == []
    hold(backlog, now=7 * hour)
    assert claim(backlog, now=8 * hour) == []
    # The clock is put back by a year: nobody waits for that to pass.
    assert len(claim(backlog, now=-365 * 24 * hour)) == 1


def test_photos_that_are_held_are_counted_and_listed_after_the_others(
    backlog: Backlog, database: Database
) -> None:
    put(backlog, photo("failed.jpg"))
    (job,) = claim(backlog)
    backlog.finish(job, state=JobState.FAILED, fingerprint=job.photo.fingerprint, now=10, error="bad")
    put(backlog, photo("held.jpg"), photo("also.jpg"))
    hold(backlog, now=20)
    put(backlog, photo("ready.jpg"))
    assert backlog.open_and_held() == (3, 2)
    with read_only(database.path) as db:
        assert store.held_rows(db) == 2
        found = store.troubles(db, limit=-1)
    assert [(one.path.name, one.held) for one in found] == [
        ("failed.jpg", False),
        ("also.jpg", True),
        ("held.jpg", True),
    ]


def test_a_start_looks_again_at_what_is_held(backlog: Backlog) -> None:
    put(backlog, photo())
    hold(backlog, now=10)
    backlog.recover(now=20, boot="a")
    assert backlog.open_and_held() == (1, 0)
    assert len(claim(backlog, now=21)) == 1


def test_a_start_looks_again_at_what_may_not_be_sent_for_a_person_may_have_agreed(backlog: Backlog) -> None:
    put(backlog, photo())
    hold(backlog, now=10, error=NotConsented("nobody has agreed to that", seconds=3600))
    assert claim(backlog, now=20_000) == []
    backlog.recover(now=20_000, boot="a")
    assert len(claim(backlog, now=20_001)) == 1


def test_a_photo_that_was_held_up_lets_the_others_of_its_folder_go_first(backlog: Backlog) -> None:
    put(backlog, photo("closed/a.jpg"), photo("b.jpg"), priority=Priority.CATCH_UP)
    (job,) = claim(backlog, 1)
    paused = Decision(state=JobState.WAITING, delay=0, attempts=0)
    backlog.put_back(job, paused, now=11, error="may not be written to", priority=Priority.HELD_UP)
    assert [job.photo.path.name for job in claim(backlog)] == ["b.jpg", "a.jpg"]


def test_a_draft_survives_and_resumes_at_the_next_stage(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    caption = Answer(value="A wall.", origin=ORIGIN, raw="Caption: a wall.\ud83d")
    keywords = Answer(value=("wall",), origin=ORIGIN, raw="- Walls")
    draft = Draft().with_answer(Stage.CAPTION, caption).with_answer(Stage.KEYWORDS, keywords)
    backlog.save_draft(job, draft, now=11)
    assert backlog.recover(now=12, boot="a") == []
    (again,) = claim(backlog)
    assert again.draft == draft
    assert again.draft.missing(Stage) == (Stage.DESCRIPTION,)


def test_only_the_holder_of_the_lease_finishes(backlog: Backlog) -> None:
    put(backlog, photo())
    (late,) = claim(backlog, now=10)
    (current,) = claim(backlog, now=5000)
    assert late.lease != current.lease
    with pytest.raises(LeaseLost):
        backlog.save_draft(late, Draft(caption="too late"), now=5001)
    with pytest.raises(LeaseLost):
        done(backlog, late)
    with pytest.raises(LeaseLost):
        backlog.put_back(late, Decision(state=JobState.WAITING, delay=0, attempts=0), now=5001)
    done(backlog, current)


def test_a_renewed_lease_is_not_taken_over(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog, now=10)
    backlog.renew([job], until=9000)
    assert claim(backlog, now=5000) == []


def test_waiting_photos_come_when_they_are_due(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    backlog.put_back(job, Decision(state=JobState.WAITING, delay=5.0, attempts=1), now=100, error="e")
    assert claim(backlog, now=5099) == []
    (again,) = claim(backlog, now=5100)
    assert (again.attempts, again.last_error) == (1, "e")


def test_failed_photos_stay_visible_until_retried_by_hand(backlog: Backlog, database: Database) -> None:
    put(backlog, photo("a.jpg"), photo("sub/b.jpg"), photo("sub-way/c.jpg"), photo("sub/ü.jpg"))
    for job in claim(backlog):
        backlog.finish(
            job, state=JobState.FAILED, fingerprint=job.photo.fingerprint, now=20, error="bad", attempts=1
        )
    assert claim(backlog, now=10**15) == []
    with read_only(database.path) as db:
        assert {trouble.path.name for trouble in store.troubles(db, limit=10)} == {
            "a.jpg",
            "b.jpg",
            "c.jpg",
            "ü.jpg",
        }
    assert backlog.retry(FOLDER / "sub", now=30) == 2
    assert [job.photo.path.name for job in claim(backlog)] == ["b.jpg", "ü.jpg"]
    assert backlog.retry(FOLDER / "a.jpg", now=30) == 1
    assert backlog.retry(None, now=30) == 1


def test_a_photo_that_was_gone_comes_back(backlog: Backlog) -> None:
    put(backlog, photo())
    (job,) = claim(backlog)
    backlog.finish(job, state=JobState.GONE, fingerprint=job.photo.fingerprint, now=20)
    assert backlog.unknown([photo()]) == [photo()]
    assert put(backlog, photo()) == 1
    assert len(claim(backlog)) == 1


def test_what_is_left_out_by_one_run_keeps_its_answers_for_the_next(backlog: Backlog) -> None:
    put(backlog, photo("same.jpg"), photo("changed.jpg"), photo("named.jpg"))
    answered = Draft(caption="A wall.")
    for job in claim(backlog):
        backlog.save_draft(job, answered, now=11)
        backlog.put_back(job, Decision(state=JobState.WAITING, delay=0, attempts=1), now=12, error="e")
    backlog.leave_out(FOLDER, lambda one: one.path.name != "named.jpg", now=13)
    (named,) = claim(backlog)
    assert (named.photo.path.name, named.draft) == ("named.jpg", answered)

    assert put(backlog, photo("same.jpg"), photo("changed.jpg", size=11), photo("named.jpg")) == 2
    assert {job.photo.path.name: (job.draft, job.attempts) for job in claim(backlog)} == {
        "same.jpg": (answered, 0),
        "changed.jpg": (Draft(), 0),
    }


def test_a_photo_that_was_left_out_under_suspicion_is_still_alone(backlog: Backlog) -> None:
    put(backlog, photo("a.jpg"), photo("b.jpg"))
    claim(backlog)
    backlog.recover(now=30, boot="a")
    backlog.leave_out(FOLDER, lambda _: True, now=31)
    put(backlog, photo("a.jpg"), photo("b.jpg"))
    assert len(claim(backlog)) == 1


def test_urgent_photos_go_first(backlog: Backlog) -> None:
    put(backlog, photo("old.jpg"), priority=Priority.CATCH_UP)
    put(backlog, photo("new.jpg"), priority=Priority.ARRIVAL)
    assert [job.photo.path.name for job in claim(backlog)] == ["new.jpg", "old.jpg"]


def test_a_paused_folder_keeps_its_photos(backlog: Backlog) -> None:
    put(backlog, photo())
    backlog.pause_folder(FOLDER, until=500, why="the disk is full")
    assert claim(backlog, now=499) == []
    assert backlog.folders(now=499)[0].paused_why == "the disk is full"
    backlog.resume_folder(FOLDER)
    assert len(claim(backlog, now=499)) == 1


def test_photos_of_a_folder_that_is_no_longer_watched_wait_for_it(backlog: Backlog) -> None:
    put(backlog, photo())
    backlog.watch_only([Path("/elsewhere")])
    assert claim(backlog) == []
    assert backlog.open_rows() == 0
    assert [folder.watched for folder in backlog.folders(now=0)] == [False, True]
    backlog.watch_only([FOLDER])
    assert [job.photo for job in claim(backlog)] == [photo()]


def test_after_an_orderly_end_nothing_is_charged(backlog: Backlog, database: Database) -> None:
    put(backlog, photo())
    for _ in range(MAX_CRASHES + 2):
        claim(backlog)
        backlog.mark_clean()
        backlog.recover(now=30, boot="a")
    assert state_counts(database) == {JobState.READY: 1}


def test_a_machine_that_went_down_charges_no_photo(backlog: Backlog, database: Database) -> None:
    put(backlog, photo())
    for number in range(MAX_CRASHES + 1):
        assert len(claim(backlog)) == 1
        assert backlog.recover(now=30, boot=f"boot {number}") == []
    assert state_counts(database) == {JobState.READY: 1}


def test_a_photo_that_kills_the_service_again_and_again_is_failed(
    backlog: Backlog, database: Database
) -> None:
    put(backlog, photo())
    given_up: list[Job] = []
    for _ in range(MAX_CRASHES):
        assert given_up == []
        assert len(claim(backlog)) == 1
        given_up = backlog.recover(now=30, boot="a")
    assert [job.photo for job in given_up] == [photo()]
    assert state_counts(database) == {JobState.FAILED: 1}


def test_after_a_crash_each_suspect_is_alone(backlog: Backlog) -> None:
    put(backlog, *(photo(f"{n}.jpg") for n in range(4)))
    claim(backlog)
    backlog.recover(now=30, boot="a")
    (first,) = claim(backlog)
    assert claim(backlog) == []
    done(backlog, first)
    (second,) = claim(backlog)
    backlog.recover(now=40, boot="a")
    # The one that was there twice waits until the others are cleared.
    (third,) = claim(backlog)
    assert len({first.id, second.id, third.id}) == 3


def test_crash_suspects_go_last(backlog: Backlog) -> None:
    put(backlog, photo("suspect.jpg"))
    claim(backlog)
    backlog.recover(now=30, boot="a")
    put(backlog, photo("fresh.jpg"), priority=Priority.CATCH_UP)
    assert [job.photo.path.name for job in claim(backlog)] == ["fresh.jpg", "suspect.jpg"]


def test_a_new_run_tries_what_was_given_up_once_more_after_all_others(backlog: Backlog) -> None:
    put(backlog, photo("deadly.jpg"))
    for _ in range(MAX_CRASHES - 1):
        claim(backlog)
        assert backlog.recover(now=30, boot="a") == []
    put(backlog, photo("broken.jpg"))
    broken, deadly = claim(backlog)
    backlog.finish(broken, state=JobState.FAILED, fingerprint=broken.photo.fingerprint, now=35, error="bad")

    for size in (20, 30):  # every other run tries it, and dies of it; the run after that tells so
        backlog.once_more(now=40)
        assert [job.photo for job in backlog.recover(now=40, boot="a")] == [deadly.photo]
        (broken,) = claim(backlog)
        backlog.finish(
            broken, state=JobState.FAILED, fingerprint=broken.photo.fingerprint, now=45, error="bad"
        )

        backlog.once_more(now=50)
        assert backlog.recover(now=50, boot="a") == []
        put(backlog, photo("fresh.jpg", size=size), priority=Priority.CATCH_UP)
        fresh, *again = claim(backlog)
        assert fresh.photo == photo("fresh.jpg", size=size)
        assert {job.photo for job in again} == {broken.photo, deadly.photo}
        done(backlog, fresh)
        backlog.finish(
            broken := next(job for job in again if job.photo == broken.photo),
            state=JobState.FAILED,
            fingerprint=broken.photo.fingerprint,
            now=55,
            error="bad",
        )


def test_names_that_are_not_text_survive(backlog: Backlog) -> None:
    odd = photo("caf\udce9 \n{}.jpg", inode=2**64 - 3)
    put(backlog, odd)
    assert backlog.unknown([odd, photo("new.jpg")]) == [photo("new.jpg")]
    (job,) = claim(backlog)
    assert job.photo == odd


def test_many_claimants_never_share_a_photo(backlog: Backlog) -> None:
    put(backlog, *(photo(f"{n}.jpg") for n in range(200)))
    taken: list[Job] = []

    def work() -> None:
        while jobs := claim(backlog, 3):
            taken.extend(jobs)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len({job.id for job in taken}) == 200


def test_a_reason_that_quotes_a_name_which_is_no_text_is_kept(backlog: Backlog, database: Database) -> None:
    put(backlog, photo("caf\udce9.jpg"), photo("b.jpg"))
    odd, other = claim(backlog)
    backlog.pause_folder(FOLDER, until=0, why="caf\udce9.jpg: the disk is full")
    backlog.put_back(
        other, Decision(state=JobState.WAITING, delay=9, attempts=1), now=20, error="after caf\udce9.jpg"
    )
    backlog.finish(
        odd,
        state=JobState.FAILED,
        fingerprint=odd.photo.fingerprint,
        now=20,
        error="caf\udce9.jpg is write-protected",
    )
    with read_only(database.path) as db:
        reasons = {trouble.error for trouble in store.troubles(db, limit=10)}
    assert reasons == {"caf\\udce9.jpg is write-protected", "after caf\\udce9.jpg"}
