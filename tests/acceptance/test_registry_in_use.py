"""The real process and its registry: who stands in for whom, and whose servers are started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.model_server import ModelServer
from support.running import House, entry, wait_until
from tagger_daemon.model import JobState

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def spare() -> Iterator[ModelServer]:
    with ModelServer(models=["spare-vlm"]) as server:
        yield server


def models(house: House) -> list[dict[str, Any]]:
    """Who answered each stage of each photo."""
    return [stage for line in house.audit() for stage in line["stages"].values()]


def status(house: House) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(house.run("status", "--json").stdout)
    return shown


def test_photos_are_described_by_who_stands_in_and_the_record_says_so(
    tmp_path: Path, server: ModelServer, spare: ModelServer
) -> None:
    first = entry(server.base_url, role_priority={"caption": 9, "keywords": 9, "description": 9})
    second = entry(spare.base_url, name="spare", served_model_id="spare-vlm")
    names = {stage: ["spare"] for stage in ("caption", "keywords", "description")}
    house = House(root=tmp_path, registry=[second, first], settings={"fallbacks": names})
    server.down()
    house.draw(4)
    done = house.run("run", "--once", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert house.counts() == {JobState.DONE: 4}
    told = {(model["entry"], model["model"], model["fallback_for"]) for model in models(house)}
    assert told == {("spare", "spare-vlm", "test-entry")}
    assert done.stderr.count("spare stands in for test-entry") == 1

    server.up()
    house.draw(1, prefix="later")
    assert house.run("run", "--once").returncode == 0
    assert {model["entry"] for model in models(house)[-3:]} == {"test-entry"}
    assert {model["fallback_for"] for model in models(house)[-3:]} == {None}


def test_who_stands_in_is_asked_when_a_server_of_ours_does_not_come_up(
    tmp_path: Path, server: ModelServer, spare: ModelServer
) -> None:
    priority = {"caption": 9, "keywords": 9, "description": 9}
    launched = entry(server.base_url, role_priority=priority)
    launched["serving"]["launch"] = {"argv": ["/bin/sleep", "600"], "ready_seconds": 0.2}
    second = entry(spare.base_url, name="spare", served_model_id="spare-vlm")
    names = {stage: ["spare"] for stage in ("caption", "keywords", "description")}
    house = House(root=tmp_path, registry=[launched, second], settings={"fallbacks": names})
    server.down()
    house.draw(1)
    done = house.run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert "is not ready after 0.2 s" in done.stderr
    assert {model["fallback_for"] for model in models(house)} == {"test-entry"}


def test_servers_are_started_or_only_used_as_the_option_says(tmp_path: Path, server: ModelServer) -> None:
    launched = entry(server.base_url)
    launched["serving"]["launch"] = {"argv": ["/bin/false"]}
    house = House(root=tmp_path, registry=[launched], settings={"use_loader": False})
    server.down()
    house.draw(1)
    started = house.run("run", "--once", "--use-loader")
    assert started.returncode == 78
    assert "the server of 'test-entry'" in started.stderr

    house.settings["use_loader"] = True
    house.write()
    with house.start("--use-registry") as daemon:
        daemon.wait_log("photos wait or go elsewhere")
        server.up()
        house.wait_done(1)
        assert daemon.terminate() == 0


def test_a_server_that_was_drained_before_a_start_gets_photos_once_it_is_resumed(
    tmp_path: Path, server: ModelServer
) -> None:
    house = House(root=tmp_path, registry=[entry(server.base_url)])
    unknown = house.run("drain", "http://127.0.0.1:1/v1")
    assert (unknown.returncode, unknown.stdout) == (78, "")
    assert f"did you mean '{server.base_url}'" in unknown.stderr
    assert house.run("drain", server.root_url).stdout.startswith(f"{server.base_url} gets no new photos")
    house.draw(2)
    with house.start() as daemon:

        def photos_wait_as_it_drains() -> bool:
            shown = status(house)
            states = [one["state"] for one in shown["process"].get("endpoints", ())]
            return states == ["draining"] and shown["counts"] == {"ready": 2}

        wait_until(photos_wait_as_it_drains, "photos wait")
        assert server.chat_requests == []
        assert house.run("resume").stdout == "every endpoint gets photos\n"
        house.wait_done(2)
        house.run("drain", server.base_url)
        wait_until(lambda: daemon.text().count("gets no new photos") == 2, "it is drained again")
        assert daemon.terminate() == 0


def test_the_registry_is_listed_by_the_command(tmp_path: Path, server: ModelServer) -> None:
    house = House(root=tmp_path, registry=[entry(server.base_url), {"name": "broken"}])
    listed = house.run("list-registry", "--json", "--check")
    assert listed.returncode == 1
    data = json.loads(listed.stdout)
    assert data["roles"] == {key: ["test-entry"] for key in ("caption", "keywords", "description")}
    assert data["entries"][0]["endpoints"] == [{"url": server.base_url, "state": "up", "reason": None}]
    assert [line.split(": ")[1] for line in data["problems"]] == ["entry 2 'broken'"]
    (tmp_path / "registry.json").unlink()
    missing = house.run("list-registry")
    assert (missing.returncode, missing.stdout) == (78, "")
    assert "cannot be read" in missing.stderr
