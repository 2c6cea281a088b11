"""Who holds the state directory."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from support.unprivileged import run_unprivileged
from tagger_daemon.errors import AlreadyRunning
from tagger_daemon.service.state import StateDirectory


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(root=tmp_path)
    state.make()
    return state


def test_one_holds_it_and_the_next_is_turned_away(state: StateDirectory) -> None:
    assert not state.is_held()
    held = state.acquire()
    assert state.is_held()
    with pytest.raises(AlreadyRunning):
        state.acquire()
    os.close(held)
    assert not state.is_held()


def test_a_start_is_not_turned_away_by_somebody_who_only_looks(state: StateDirectory) -> None:
    os.close(state.acquire())
    looking = os.open(state.lock, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    timer = threading.Timer(0.15, os.close, (looking,))
    timer.start()
    os.close(state.acquire())
    timer.join()


def test_a_lock_of_another_user_is_told_in_plain_words(state: StateDirectory) -> None:
    os.close(state.acquire())
    state.lock.chmod(0)
    program = """
import sys
from pathlib import Path
from tagger_daemon.errors import TaggerError
from tagger_daemon.service.state import StateDirectory
state = StateDirectory(root=Path(sys.argv[1]))
for attempt in (state.acquire, state.is_held):
    try:
        attempt()
    except TaggerError as error:
        print(type(error).__name__, error)
"""
    told = run_unprivileged(program, str(state.root)).splitlines()
    assert [line.split()[0] for line in told] == ["ConfigurationError", "StateUnavailable"]
    assert all("tagger.lock" in line for line in told)


def test_one_at_a_time_undoes(state: StateDirectory) -> None:
    with state.by_hand() as first, state.by_hand() as second:
        assert (first, second) == (True, False)
    with state.by_hand() as third:
        assert third
