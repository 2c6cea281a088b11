"""When a file has stopped changing: the crank is turned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.intake.settle import Look, SettleTracker
from tagger_daemon.model import Fingerprint

PHOTO = Path("/photos/a.jpg")
WALL = 1_800_000_000.0  # seconds since the epoch at monotonic second 0
NEVER = -1e9  # a date long ago, in seconds relative to WALL


def seen(size: int = 100, *, mtime: float = 0, ctime: float = 0, inode: int = 7) -> Look:
    """Make a look at a file whose dates are given in seconds relative to WALL."""
    return Look(
        fingerprint=Fingerprint(size=size, mtime_ns=int((WALL + mtime) * 1e9), inode=inode),
        ctime_ns=int((WALL + ctime) * 1e9),
    )


def observe(tracker: SettleTracker, look: Look | None, now: float, path: Path = PHOTO) -> bool:
    """Look at a monotonic second, the wall clock going along."""
    return tracker.observe(path, look, now, WALL + now)


def test_two_equal_looks_a_settle_period_apart_make_a_photo_ready_once() -> None:
    tracker = SettleTracker(10)
    assert not observe(tracker, seen(), 1)
    assert tracker.due(10.9) == []
    assert tracker.due(11) == [PHOTO]
    assert observe(tracker, seen(), 11)
    assert tracker.pending_count == 0
    assert tracker.due(1000) == []


def test_looking_early_neither_helps_nor_harms() -> None:
    tracker = SettleTracker(10)
    observe(tracker, seen(), 0)
    for now in (1, 5, 9.9):
        assert not observe(tracker, seen(), now)
    assert tracker.due(10) == [PHOTO]
    assert observe(tracker, seen(), 10)


@pytest.mark.parametrize(
    "changed",
    [seen(101), seen(mtime=1), seen(ctime=1), seen(inode=8)],
    ids=["size", "mtime", "ctime", "inode"],
)
def test_any_change_starts_the_wait_again(changed: Look) -> None:
    tracker = SettleTracker(10)
    observe(tracker, seen(), 0)
    assert not observe(tracker, changed, 10)
    assert tracker.due(19.9) == []
    assert tracker.due(20) == [PHOTO]
    assert observe(tracker, changed, 20)


def test_a_growing_file_is_not_ready_until_it_has_stopped() -> None:
    tracker = SettleTracker(10)
    for second in range(0, 100, 10):
        assert not observe(tracker, seen(100 + second, mtime=second, ctime=second), second)
    assert observe(tracker, seen(190, mtime=90, ctime=90), 100)


@pytest.mark.parametrize(
    ("mtime", "ctime", "ready"),
    [
        (NEVER, NEVER, True),
        (-10, -10, True),
        (-9.9, NEVER, False),
        (NEVER, -9.9, False),  # copied with its old date, or moved here just now
        (3600, NEVER, False),  # dates in the future prove nothing
    ],
)
def test_a_file_still_for_long_enough_is_ready_at_first_sight(
    mtime: float, ctime: float, ready: bool
) -> None:
    tracker = SettleTracker(10)
    assert observe(tracker, seen(mtime=mtime, ctime=ctime), 0) is ready
    assert tracker.pending_count == (0 if ready else 1)


def test_a_date_in_the_future_does_not_keep_a_photo_waiting_for_ever() -> None:
    tracker = SettleTracker(10)
    assert not observe(tracker, seen(mtime=1e8, ctime=1e8), 0)
    assert observe(tracker, seen(mtime=1e8, ctime=1e8), 10)


def test_after_an_event_old_dates_are_not_believed() -> None:
    tracker = SettleTracker(10)
    tracker.touch(PHOTO, 0)
    assert not observe(tracker, seen(mtime=NEVER, ctime=NEVER), 0)
    assert observe(tracker, seen(mtime=NEVER, ctime=NEVER), 10)


def test_an_event_asks_for_a_look_at_once() -> None:
    tracker = SettleTracker(10)
    tracker.touch(PHOTO, 5)
    tracker.touch(PHOTO, 5)
    assert tracker.due(5) == [PHOTO]
    assert tracker.pending_count == 1


def test_an_event_while_waiting_starts_the_wait_again_though_the_file_looks_the_same() -> None:
    tracker = SettleTracker(10)
    observe(tracker, seen(), 0)
    tracker.touch(PHOTO, 8)
    assert tracker.due(10) == []
    assert not observe(tracker, seen(), 10)
    assert tracker.due(18) == [PHOTO]
    assert observe(tracker, seen(), 18)


def test_what_vanished_is_no_longer_waited_for() -> None:
    tracker = SettleTracker(10)
    observe(tracker, seen(), 0)
    tracker.touch(Path("/photos/b.jpg"), 0)
    assert not observe(tracker, None, 10)
    assert not observe(tracker, None, 10, Path("/photos/b.jpg"))
    assert tracker.pending_count == 0


def test_an_empty_file_is_never_ready_and_not_waited_for_for_ever() -> None:
    tracker = SettleTracker(10)
    assert not observe(tracker, seen(0, mtime=NEVER, ctime=NEVER), 0)
    assert tracker.pending_count == 0
    tracker.touch(PHOTO, 1)
    assert not observe(tracker, seen(0), 1)
    assert tracker.pending_count == 1
    assert not observe(tracker, seen(0), 11)
    assert tracker.pending_count == 0


def test_a_due_path_stays_due_until_somebody_looks() -> None:
    tracker = SettleTracker(10)
    observe(tracker, seen(), 0)
    assert tracker.due(10) == tracker.due(11) == [PHOTO]


def test_without_a_settle_period_two_looks_are_enough() -> None:
    tracker = SettleTracker(0)
    tracker.touch(PHOTO, 0)
    assert not observe(tracker, seen(), 0)
    assert tracker.due(0) == [PHOTO]
    assert observe(tracker, seen(), 0)


def test_more_than_there_is_room_for_is_dropped_and_told_once() -> None:
    tracker = SettleTracker(10, max_pending=2)
    observe(tracker, seen(), 0, Path("/photos/1.jpg"))
    tracker.touch(Path("/photos/2.jpg"), 0)
    assert not tracker.take_overflow()
    tracker.touch(Path("/photos/3.jpg"), 0)
    observe(tracker, seen(), 0, Path("/photos/4.jpg"))
    assert tracker.pending_count == 2
    assert tracker.take_overflow()
    assert not tracker.take_overflow()


def test_without_room_what_is_waited_for_already_keeps_its_place() -> None:
    tracker = SettleTracker(10, max_pending=1)
    observe(tracker, seen(), 0)
    tracker.touch(PHOTO, 1)
    observe(tracker, seen(101), 2)
    assert observe(tracker, seen(101), 12)
    assert not tracker.take_overflow()


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["look", "grow", "touch", "vanish"]),
            st.integers(0, 7),
        ),
        max_size=60,
    )
)
def test_ready_means_still_and_due_forgets_nobody(steps: list[tuple[str, str, int]]) -> None:
    settle = 10
    tracker = SettleTracker(settle)
    now = 0.0
    sizes = dict.fromkeys("abc", 1)
    changed = dict.fromkeys("abc", 0.0)
    disturbed: dict[str, float] = {}  # last change or event
    pending: dict[str, float] = {}  # last step of any kind
    for name, step, seconds in steps:
        now += seconds
        path = Path("/photos", name)
        if step in ("touch", "grow"):
            disturbed[name] = now
        if step == "grow":
            sizes[name] += 1
            changed[name] = now
        if step == "touch":
            tracker.touch(path, now)
            pending[name] = now
        elif observe(
            tracker, None if step == "vanish" else seen(sizes[name], mtime=changed[name]), now, path
        ):
            assert step == "look"
            assert now - disturbed.get(name, changed[name]) >= settle
            pending.pop(name, None)
        elif step == "vanish":
            pending.pop(name, None)
            disturbed.pop(name, None)
        else:
            pending[name] = now
        late = {Path("/photos", name) for name, since in pending.items() if now - since >= settle}
        assert late <= set(tracker.due(now))
        assert tracker.pending_count == len(pending)
