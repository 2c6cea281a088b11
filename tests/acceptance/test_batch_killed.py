"""A batch run that is killed again and again: each photo is described once, and nothing is asked for twice.

A file of its own: it takes longest of all, and is begun first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.batches import asked, final, lines
from support.model_server import ModelServer
from support.running import House, Running, entry, read_tags, wait_until


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: ModelServer) -> House:
    return House(root=tmp_path, registry=[entry(server.base_url)])


def die_after(run: Running, server: ModelServer, *, requests: int) -> None:
    """Kill a run once it has asked so many times."""
    enough = len(server.chat_requests) + requests
    wait_until(
        lambda: len(server.chat_requests) >= enough or run.process.poll() is not None, "models are asked"
    )
    assert run.process.poll() is None, run.text()
    run.kill()


@pytest.mark.timeout(400)
def test_five_hundred_photos_killed_ten_times_are_each_described_once(
    house: House, server: ModelServer
) -> None:
    photos = house.draw(500, size=48)
    database = house.state / "batch" / "tagger.sqlite3"
    for kill in range(10):
        with house.spawn_batch("-i", "inbox", "--skip-preflight") as run:
            die_after(run, server, requests=110 + 7 * kill)
    assert database.exists()
    done = house.batch("-i", "inbox", patience=200)
    assert done.returncode == 0, done.stderr

    assert final(house) == {str(photo): "written" for photo in photos}
    by_photo = Counter(line["image"] for line in lines(house))
    assert set(by_photo.values()) == {1}
    tags = read_tags(photos)
    titles = Counter(found["XMP-dc:Title"] for found in tags.values())
    assert len(titles) == 500
    # An answer that was saved is never asked for again: what was asked twice was in flight at a kill.
    repeated = sum(count - 1 for count in asked(server.chat_requests).values())
    assert repeated <= 10 * 6, repeated
