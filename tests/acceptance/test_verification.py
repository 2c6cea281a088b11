"""The real daemon with a server that is not as it should be: photos wait, and what is wrong is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support import eyes
from support.model_server import ModelServer
from support.running import House, entry, wait_until
from tagger_daemon.model import JobState


def endpoints(house: House) -> list[dict[str, Any]]:
    told: dict[str, Any] = json.loads(house.run("status", "--json").stdout)
    found: list[dict[str, Any]] = told["process"].get("endpoints", [])
    return found


def test_a_model_that_does_not_see_is_given_no_photo(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.eyes = eyes.blind
        house = House(tmp_path, [entry(server.base_url)])
        house.draw(2)
        with house.start() as daemon:
            wait_until(lambda: house.counts().get(JobState.READY) == 2, "both photos are queued")
            wait_until(lambda: any(one["state"] == "refused" for one in endpoints(house)), "it is refused")
            (shown,) = endpoints(house)
            assert "does not see" in shown["last_error"]
            assert daemon.terminate() == 0
        assert daemon.text().count("ERROR") == 1
        assert server.chat_requests == []
        assert house.counts() == {JobState.READY: 2}
        server.eyes = eyes.seeing
        with house.start() as daemon:
            house.wait_done(2)
            assert daemon.terminate() == 0
    assert {line["outcome"] for line in house.audit()} == {"written"}


def test_what_a_server_shows_is_in_the_log_and_the_doctors_findings(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.card = {"root": "/m/vlm", "max_model_len": 8192}
        server.pages["/version"] = {"version": "0.33.0"}
        house = House(tmp_path, [entry(server.base_url)])
        found = house.run("doctor")
        assert found.returncode == 0, found.stdout
        assert "/m/vlm" in found.stdout
        with house.start() as daemon:
            daemon.wait_log("context 8192, eyes not told, from /m/vlm, build 0.33.0, and passed the canary")
            assert daemon.terminate() == 0
