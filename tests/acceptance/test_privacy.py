"""Nothing leaves that was not agreed to, and no key is told to anybody: kept by the real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.model_server import Fail, ModelServer, Say, error_body
from support.running import House, entry, wait_until
from tagger_daemon.cli.exits import Exit

pytestmark = pytest.mark.timeout(150)

KEY = "sk-9zq7x-the-photographers-own"
FAR = "https://203.0.113.7/v1"  # RFC 5737: nobody's


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def everything(folder: Path) -> bytes:
    """All that was written below a folder, its queue and its photos included."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_key_that_a_server_repeats_all_the_time_ends_up_nowhere(
    tmp_path: Path, server: ModelServer
) -> None:
    serving = {"endpoints": [server.base_url], "api_key_env": "VLM_KEY", "limits": {"start": 1, "max": 1}}
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "VLM_KEY").write_text(f"{KEY}\n")
    environ = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "VLM_KEY": "of-the-environment",
        "OPENAI_LOG": "debug",
        "LOGURU_DIAGNOSE": "YES",
    }
    house = House(
        root=tmp_path / "house",
        registry=[entry(server.base_url, serving=serving)],
        settings={"log_level": "DEBUG", "queue": {"max_attempts": 2}},
        environ=environ,
    )
    said = f"the key {KEY} was refused"
    server.script("caption", *[Fail(status, error_body("nested", said)) for status in (503, 400)])
    server.script("caption", Say(f"It says {KEY}."), Say(f"It says {KEY}."))
    house.draw(1)
    with house.start() as daemon:
        wait_until(lambda: bool(house.audit()), "the photo is given up")
        status = house.run("status", "--json")
        server.script("caption", Say("A pier."))
        house.draw(1, prefix="second")
        house.wait_done(1)
        server.script("caption", Fail(401, error_body("string", said)))
        house.draw(1, prefix="third")
        daemon.wait_log("refuses our key")
        refused = house.run("status")
        assert daemon.terminate() == 0
        log = daemon.text()
    (failed, *_) = house.audit()
    assert (failed["outcome"], failed["reason"].endswith("with our key in it")) == ("failed", True)
    assert refused.returncode == Exit.AMISS
    shown = "".join(ran.stdout + ran.stderr for ran in (status, refused, house.run("doctor")))
    assert "[key]" in log
    assert KEY not in log + shown
    assert KEY.encode() not in everything(house.root)
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_photos_wait_for_a_consent_and_every_page_says_what_to_add(tmp_path: Path) -> None:
    house = House(root=tmp_path, registry=[entry(FAR)])
    house.draw(1)
    with house.start() as daemon:
        daemon.wait_log("nobody has agreed to that")
        wait_until(lambda: sum(house.counts().values()) == 1, "the photo is queued")
        status = house.run("status", "--json")
        assert daemon.terminate() == 0
    doctor = house.run("doctor", "--json")
    for page in (status, doctor):
        assert page.returncode == Exit.AMISS
        assert f'[[remote]], endpoint = \\"{FAR}\\", folders = [' in page.stdout
    assert house.audit() == []


def test_a_photo_of_another_folder_waits_and_is_taken_up_once_it_is_agreed_to(
    tmp_path: Path, server: ModelServer
) -> None:
    serving = {"endpoints": [server.base_url], "privacy": "public"}
    (tmp_path / "inbox" / "agreed").mkdir(parents=True)
    remote = [{"endpoint": server.base_url, "folders": [f"{tmp_path}/inbox/agreed"]}]
    registry = [entry(server.base_url, serving=serving)]
    house = House(root=tmp_path, registry=registry, settings={"remote": remote})
    (kept,) = house.draw(1)
    (sent,) = house.draw(1, prefix="sent")
    sent.rename(house.inbox / "agreed" / sent.name)
    with house.start() as daemon:
        house.wait_done(1)
        wait_until(
            lambda: "nobody has agreed" in house.run("status", "--json").stdout, "the other photo waits"
        )
        daemon.wait_log(f"photos of {house.inbox}/agreed are sent to {server.base_url}")
        assert daemon.terminate() == 0
    assert [Path(line["image"]).name for line in house.audit()] == [sent.name]
    house.settings["remote"] = [{"endpoint": server.base_url, "folders": [str(house.inbox)]}]
    house.write()
    with house.start() as daemon:
        house.wait_done(2)
        assert daemon.terminate() == 0
    assert Path(house.audit()[-1]["image"]) == kept
