"""The daemon's promises, kept by the real process against a real model server on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from make_samples import draw_photo, make_broken
from support.model_server import ModelServer, Recorded, Say, answer, image_bytes, system_text, text
from support.real_photos import REAL_PHOTOS
from support.running import ROOT, House, entry, read_tags, wait_until
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.model import JobState, Stage

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: ModelServer) -> House:
    return House(root=tmp_path, registry=[entry(server.base_url)])


def asked(requests: list[Recorded]) -> Counter[tuple[str, str]]:
    """How often each picture was asked about at each stage."""
    return Counter(
        (hashlib.sha256(image_bytes(request)).hexdigest(), str(request.stage)) for request in requests
    )


def test_thirty_photos_dropped_while_it_runs(house: House, server: ModelServer) -> None:
    server.hold()
    with house.start() as daemon:
        photos = house.draw(30)
        server.wait_in_flight(6, timeout=45)
        server.release()
        house.wait_done(30)
        assert daemon.terminate() == 0
    requests = server.chat_requests

    assert len(requests) == 90
    assert set(asked(requests).values()) == {1}
    assert server.max_in_flight == 6

    pictures = {answer("caption", image_bytes(request)): image_bytes(request) for request in requests}
    tags = read_tags(photos)
    for photo in photos:
        found = tags[photo.name]
        picture = pictures[found["XMP-dc:Title"]]
        assert found["XMP-dc:Description"] == answer("description", picture)
        assert found["XMP-dc:Subject"] == answer("keywords", picture).splitlines()
        assert found["XMP-iptcCore:AltTextAccessibility"] == found["XMP-dc:Title"]
    assert len({found["XMP-dc:Title"] for found in tags.values()}) == 30
    assert sorted(line["image"] for line in house.audit()) == sorted(map(str, photos))
    assert {line["outcome"] for line in house.audit()} == {"written"}


def test_every_stage_sends_the_same_bytes_first_and_its_instruction_last(
    house: House, server: ModelServer
) -> None:
    with house.start():
        house.draw(1, size=1600)
        house.wait_done(1)
    requests = server.chat_requests
    assert [request.stage for request in requests] == [stage.value for stage in Stage]
    assert len({image_bytes(request) for request in requests}) == 1
    assert len({system_text(request) for request in requests}) == 1
    for request in requests:
        assert request.json is not None
        kinds = [part["type"] for part in request.json["messages"][1]["content"]]
        assert kinds == ["image_url", "text"]
        assert text(request).split("\n\n")[-1].startswith("Task: ")
    description = text(requests[2])
    picture = image_bytes(requests[0])
    assert answer("caption", picture) in description
    assert all(word in description for word in answer("keywords", picture).splitlines())
    shown = Image.open(io.BytesIO(picture))
    assert (shown.format, max(shown.size), dict(shown.getexif()), shown.info.get("icc_profile")) == (
        "JPEG",
        1024,
        {},
        None,
    )


def test_a_second_start_asks_nothing_and_touches_nothing(house: House, server: ModelServer) -> None:
    photos = house.draw(5)
    assert house.run("run", "--once").returncode == 0
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in photos]
    count = len(server.chat_requests)
    assert count == 15
    assert house.run("run", "--once").returncode == 0
    assert len(server.chat_requests) == count
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in photos] == before


def test_a_lost_database_costs_a_scan_and_no_request(house: House, server: ModelServer) -> None:
    house.draw(3)
    house.run("run", "--once")
    for file in house.state.glob("tagger.sqlite3*"):
        file.unlink()
    assert house.run("run", "--once").returncode == 0
    assert len(server.chat_requests) == 9
    assert house.counts() == {JobState.DONE: 3}


def test_our_own_writes_are_no_new_work(house: House, server: ModelServer) -> None:
    with house.start() as daemon:
        house.draw(4)
        house.wait_done(4)
        # One more, after which everything that our writes could have stirred up has had its turn.
        house.draw(1, prefix="later")
        house.wait_done(5)
        assert daemon.terminate() == 0  # an audit's line comes after the photo is done
    assert len(server.chat_requests) == 15
    assert Counter(line["outcome"] for line in house.audit()) == {"written": 5}


def test_what_is_tagged_already_costs_no_request(house: House, server: ModelServer) -> None:
    words = ("XMP-dc:Title=Mine", "XMP-dc:Description=My words", "XMP-dc:Subject=my keyword")
    draw_photo(house.inbox / "mine.jpg", size=96, extra=words)
    before = (house.inbox / "mine.jpg").read_bytes()
    assert house.run("run", "--once").returncode == 0
    assert server.chat_requests == []
    assert (house.inbox / "mine.jpg").read_bytes() == before
    assert [line["outcome"] for line in house.audit()] == ["skipped"]


def test_a_persons_words_stay_and_ours_are_added(house: House) -> None:
    words = ("XMP-dc:Description=My own words", "XMP-dc:Subject=Oma")
    draw_photo(house.inbox / "half.jpg", size=96, extra=words)
    house.run("run", "--once")
    found = read_tags([house.inbox / "half.jpg"])["half.jpg"]
    assert found["XMP-dc:Description"] == "My own words"
    assert found["XMP-dc:Subject"][:2] == ["Oma", "alpha"]
    assert found["XMP-dc:Title"].startswith("A test caption")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_what_is_in_flight_finish(
    house: House, server: ModelServer, number: signal.Signals
) -> None:
    house.draw(12)
    server.hold()
    with house.start() as daemon:
        server.wait_in_flight(6, timeout=45)
        daemon.process.send_signal(number)
        daemon.wait_log("stopping:")
        server.release()
        assert daemon.process.wait(timeout=15) == 0
    counts = house.counts()
    assert counts[JobState.DONE] == 6
    assert counts == {JobState.DONE: 6, JobState.READY: 6}
    assert set(asked(server.chat_requests).values()) == {1}


def test_sigterm_hands_back_what_a_silent_server_holds(house: House, server: ModelServer) -> None:
    house.settings["queue"] = {"drain_seconds": 1}
    house.write()
    house.draw(4)
    server.hold()
    with house.start() as daemon:
        server.wait_in_flight(4, timeout=45)
        assert daemon.terminate() == 0
    assert house.counts() == {JobState.READY: 4}
    server.release()
    assert house.run("run", "--once").returncode == 0
    assert house.counts() == {JobState.DONE: 4}
    assert {line["attempts"] for line in house.audit()} == {0}


@pytest.mark.parametrize("stage", [Stage.KEYWORDS, Stage.DESCRIPTION])
def test_kill_nine_loses_nothing_and_repeats_no_saved_stage(
    house: House, server: ModelServer, stage: Stage
) -> None:
    photos = house.draw(10)
    server.delay = 0.05
    with house.start() as daemon:
        wait_until(
            lambda: sum(request.stage == stage for request in server.chat_requests) >= 3,
            "three photos have come to the stage",
        )
        daemon.kill()
    saved = {
        (draft.caption, stage.value)
        for draft in house.drafts().values()
        for stage in Stage
        if draft.has(stage)
    }
    assert saved
    before = len(server.chat_requests)
    server.delay = 0.0
    assert house.run("run", "--once").returncode == 0

    again = {
        (answer("caption", image_bytes(request)), str(request.stage))
        for request in server.chat_requests[before:]
    }
    assert again & saved == set()
    assert max(asked(server.chat_requests).values()) <= 2
    assert house.counts() == {JobState.DONE: 10}
    assert all("XMP-dc:Title" in found for found in read_tags(photos).values())
    assert sorted(line["image"] for line in house.audit()) == sorted(map(str, photos))


def test_killed_again_and_again_every_photo_is_written_once(house: House, server: ModelServer) -> None:
    photos = house.draw(12)
    house.settings["queue"] = {"lease_seconds": 5}
    house.write()
    for round_number in range(1, 6):
        with house.start() as daemon:
            wait_until(partial(_asked_or_done, house, server, round_number * 6), "some more was asked")
            daemon.kill()
    assert house.run("run", "--once").returncode == 0
    assert house.counts() == {JobState.DONE: 12}
    assert not [path for path in house.inbox.iterdir() if path not in photos]
    for found in read_tags(photos).values():
        assert len(found["XMP-dc:Subject"]) == len(set(found["XMP-dc:Subject"]))
    lines = Counter(line["id"] for line in house.audit())
    assert set(lines.values()) == {1}
    written = Counter(line["image"] for line in house.audit() if line["outcome"] in ("written", "unchanged"))
    assert written == dict.fromkeys(map(str, photos), 1)


def test_a_file_that_grows_for_five_seconds_is_taken_once_and_whole(
    house: House, server: ModelServer
) -> None:
    house.settings["intake"] = {"settle_seconds": 1.5}
    house.write()
    draw_photo(house.root / "whole.jpg", size=640)
    content = (house.root / "whole.jpg").read_bytes()
    growing = house.inbox / "growing.jpg"
    step = len(content) // 9 + 1

    with house.start():
        # Opened and closed for each piece: the hardest kind of writer, no lock or lease gives it away.
        for start in range(0, len(content), step):
            with growing.open("ab") as file:
                file.write(content[start : start + step])
            time.sleep(0.6)
        house.wait_done(1)
    assert [request.stage for request in server.chat_requests] == [stage.value for stage in Stage]
    assert [line["outcome"] for line in house.audit()] == ["written"]
    with Image.open(growing) as grown, Image.open(house.root / "whole.jpg") as whole:
        assert grown.tobytes() == whole.tobytes()


def test_a_photo_replaced_while_it_is_described_is_described_anew(house: House, server: ModelServer) -> None:
    (photo,) = house.draw(1)
    server.hold()
    with house.start():
        server.wait_in_flight(1, timeout=45)
        draw_photo(house.root / "other.jpg", scene="night", size=96, seed=77)
        (house.root / "other.jpg").rename(photo)
        server.release()
        house.wait_done(1)
    picture = image_bytes(server.chat_requests[-1])
    assert read_tags([photo])[photo.name]["XMP-dc:Title"] == answer("caption", picture)
    assert len({image_bytes(request) for request in server.chat_requests}) == 2


def test_a_photo_replaced_while_it_waits_its_turn_is_described_once_it_is_still(
    house: House, server: ModelServer
) -> None:
    # It is claimed, and found to have changed, more than once before it is still.
    house.settings |= {"max_workers": 1, "batch_size": 1, "intake": {"settle_seconds": 4}}
    house.write()
    server.hold()
    with house.start():
        *_, waiting = house.draw(3)
        server.wait_in_flight(1, timeout=45)
        wait_until(lambda: house.counts().get(JobState.READY) == 1, "the last photo is queued")
        draw_photo(house.root / "other.jpg", scene="night", size=96, seed=77)
        (house.root / "other.jpg").rename(waiting)
        server.release()
        house.wait_done(3)
    picture = image_bytes(server.chat_requests[-1])
    assert read_tags([waiting])[waiting.name]["XMP-dc:Title"] == answer("caption", picture)


def test_files_that_cannot_be_read_fail_with_their_reason_while_the_rest_goes_on(house: House) -> None:
    make_broken(house.inbox)
    house.draw(3)
    (house.inbox / "no-photo.jpg.part").write_bytes(b"x")
    result = house.run("run", "--once")
    assert result.returncode == 1
    failed = {
        Path(line["image"]).name: line["reason"] for line in house.audit() if line["outcome"] == "failed"
    }
    assert house.counts() == {JobState.DONE: 3, JobState.FAILED: len(failed)}
    assert len(failed) == 4
    assert all(failed.values())
    status = json.loads(house.run("status", "--json").stdout)
    assert {Path(error["path"]).name for error in status["errors"]} == set(failed)
    assert all(name in result.stdout for name in failed)


def test_a_run_tells_of_the_failures_that_stand_and_of_no_others(house: House) -> None:
    (removed, deadly) = house.draw(2)
    removed.write_bytes(b"no picture")
    assert house.run("run", "--once").returncode == 1
    removed.unlink()
    assert house.run("run", "--once").returncode == 0
    # As after the last of several deaths of the service over one photo, of which there is no record.
    with contextlib.closing(sqlite3.connect(house.state / "tagger.sqlite3")) as db, db:
        db.execute("UPDATE job SET state = 'failed', error = 'the service died' WHERE state = 'done'")
    result = house.run("run", "--once")
    assert result.returncode == 1
    assert deadly.name in result.stdout
    assert removed.name not in result.stdout


def test_a_folder_that_is_taken_out_of_the_configuration_is_left_alone(
    house: House, server: ModelServer
) -> None:
    house.settings["queue"] = {"drain_seconds": 0}
    house.write()
    photos = house.draw(3)
    server.hold()
    with house.start() as daemon:
        server.wait_in_flight(3, timeout=45)
        daemon.terminate()
    server.release()
    before = [path.read_bytes() for path in photos]
    other = house.root / "other"
    other.mkdir()
    house.settings["folders"] = [str(other)]
    house.write()
    assert house.run("run", "--once").returncode == 0
    assert [path.read_bytes() for path in photos] == before


def test_failed_photos_come_back_when_asked_to(house: House, server: ModelServer) -> None:
    (photo,) = house.draw(1)
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    assert house.run("run", "--once").returncode == 1
    assert house.run("run", "--once").returncode == 1
    assert server.chat_requests == []
    roundabout = f"{house.inbox}/../{house.inbox.name}/{photo.name}"
    assert "1 photo is queued again" in house.run("retry", roundabout).stdout
    assert house.counts() == {JobState.READY: 1}
    photo.write_bytes(whole)
    assert house.run("run", "--once").returncode == 0
    assert house.counts() == {JobState.DONE: 1}


def test_a_server_that_goes_away_costs_no_photo_an_attempt(house: House, server: ModelServer) -> None:
    house.draw(8)
    server.hold()
    with house.start() as daemon:
        server.wait_in_flight(6, timeout=45)
        server.down()
        daemon.wait_log("WARNING")
        server.up()
        server.release()
        house.wait_done(8)
    assert house.counts() == {JobState.DONE: 8}
    assert {line["attempts"] for line in house.audit()} == {0}


def test_an_answer_that_cannot_be_used_is_asked_for_again_and_never_written(
    house: House, server: ModelServer
) -> None:
    server.script(
        "caption", Say("I'm sorry, I cannot help with that."), Say("A wall and", finish_reason="length")
    )
    (photo,) = house.draw(1)
    assert house.run("run", "--once").returncode == 0
    assert [request.stage for request in server.chat_requests].count("caption") == 3
    assert read_tags([photo])[photo.name]["XMP-dc:Title"].startswith("A test caption")


def test_a_raw_gets_a_sidecar_and_is_not_touched(house: House) -> None:
    (raw,) = house.draw(1, suffix=".nef", size=320)
    before = raw.read_bytes()
    assert house.run("run", "--once").returncode == 0
    assert raw.read_bytes() == before
    assert read_tags([raw.with_suffix(".xmp")])["photo-000.xmp"]["XMP-dc:Title"].startswith("A test caption")


def test_a_photo_that_lightroom_may_hold_edited_waits_and_everything_else_goes_on(
    house: House, server: ModelServer
) -> None:
    (raw,) = house.draw(1, suffix=".nef", size=320)
    saved = datetime.now(UTC).strftime("%Y:%m:%d %H:%M:%S+00:00")
    settings = ("-XMP-crs:HasSettings=True", "-XMP-xmp:Rating=3", f"-XMP-xmp:MetadataDate={saved}")
    sidecar = raw.with_suffix(".xmp")
    subprocess.run(["exiftool", "-q", *settings, str(sidecar)], check=True)
    before = sidecar.read_bytes()
    house.draw(1)

    result = house.run("run", "--once")
    assert result.returncode == 0, result.stdout
    assert house.counts() == {JobState.DONE: 1, JobState.WAITING: 1}
    assert len(server.chat_requests) == 3
    assert "1 photo is held" in result.stdout
    assert "holds develop settings" in " ".join(result.stdout.split())
    assert "1 held" in result.stderr
    # Asking for it by hand does not force it.
    assert "1 photo is queued again" in house.run("retry", str(raw)).stdout
    assert house.run("run", "--once").returncode == 0
    assert (len(server.chat_requests), sidecar.read_bytes()) == (3, before)

    assert "1 photo is held" in house.run("status").stdout
    assert [line["outcome"] for line in house.audit()] == ["written"]

    house.settings |= {"metadata": {"quiet_hours": 0}, "backup_originals": True}
    house.write()
    assert house.run("run", "--once").returncode == 0
    assert read_tags([sidecar])[sidecar.name]["XMP-dc:Title"].startswith("A test caption")
    assert Path(house.audit()[-1]["original"]).read_bytes() == before


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason="needs real camera files: set TAGGER_REAL_PHOTOS")
def test_real_camera_files_get_three_fields_and_keep_their_pictures(house: House) -> None:
    originals = {path.name: path for path in REAL_PHOTOS.iterdir() if Eligibility().photo(path.name)}
    for path in originals.values():
        shutil.copyfile(path, house.inbox / path.name)
    assert house.run("run", "--once").returncode == 0
    assert house.counts() == {JobState.DONE: len(originals)}
    for line in house.audit():
        photo, target = Path(line["image"]), Path(line["target"])
        found = read_tags([target])[target.name]
        assert found.get("XMP-dc:Title") or found.get("IPTC:ObjectName"), photo.name
        assert found.get("XMP-dc:Description") or found.get("IPTC:Caption-Abstract"), photo.name
        assert found.get("XMP-dc:Subject"), photo.name
        assert content_hash(photo) == content_hash(originals[photo.name])


def test_only_one_daemon_has_a_state_directory(house: House) -> None:
    with house.start():
        second = house.run("run")
        assert second.returncode == 75
        assert "is at work on" in second.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"roles": ["caption"]}, ["keywords", "registry.json"]),
        ({"capabilities": {}}, ["caption", "vision"]),
        ({"deprecated": True}, ["deprecated"]),
    ],
)
def test_a_role_that_nobody_can_fill_is_an_error_at_start(
    tmp_path: Path, server: ModelServer, change: dict[str, object], words: list[str]
) -> None:
    house = House(root=tmp_path, registry=[entry(server.base_url, **change)])
    result = house.run("run")
    assert result.returncode == 78
    assert [word for word in words if word not in result.stderr] == [], result.stderr
    assert server.requests == []


def test_the_built_in_server_is_started_asked_and_stopped_by_the_loader(
    tmp_path: Path, free_port: int
) -> None:
    registry = json.loads((ROOT / "config" / "registry.example.json").read_text())
    builtin = next(one for one in registry if one["backend"] == "builtin")
    builtin["serving"]["endpoints"] = [f"http://127.0.0.1:{free_port}/v1"]
    house = House(root=tmp_path, registry=[builtin])
    photos = house.draw(2)
    assert house.run("run", "--once").returncode == 0
    for found in read_tags(photos).values():
        assert found["XMP-dc:Title"]
        assert found["XMP-dc:Description"]
        assert found["XMP-dc:Subject"]
    assert {model for line in house.audit() for model in line["models"].values()} == {"builtin-describer"}
    raw = [stage["raw"] for line in house.audit() for stage in line["stages"].values()]
    assert len(raw) == 6
    assert all(raw)
    assert not _listens(free_port)


def test_status_while_it_runs_and_after(house: House, server: ModelServer) -> None:
    assert house.run("status").returncode == 3
    house.draw(2)
    server.hold()
    with house.start() as daemon:
        server.wait_in_flight(2, timeout=45)

        def in_flight() -> bool:
            shown = json.loads(house.run("status", "--json").stdout)["process"].get("current", [])
            return {one["step"] for one in shown} == {"caption"}

        wait_until(in_flight, "status shows both photos at their stage")
        shown = json.loads(house.run("status", "--json").stdout)
        assert shown["running"] is True
        assert shown["counts"] == {"running": 2}
        assert [one["state"] for one in shown["process"]["endpoints"]] == ["up"]
        assert set(shown["process"]["upcoming"]) == {"summary", "catch-up"}
        server.release()
        house.wait_done(2)
        daemon.terminate()
    after = house.run("status")
    assert after.returncode == 3
    assert "stopped in good order" in after.stdout


def test_the_days_page_can_be_made_at_any_time(house: House) -> None:
    house.draw(2)
    house.run("run", "--once")
    result = house.run("summary", "--print")
    assert result.returncode == 0
    assert "A test caption" in result.stdout
    assert "Still waiting" not in result.stdout
    assert list((house.state / "summaries").glob("*.md"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_nothing_is_torn_when_the_photos_disk_is_full(house: House, server: ModelServer) -> None:
    if os.system(f"mount -t tmpfs -o size=4m tmpfs '{house.inbox}' 2>/dev/null") != 0:
        pytest.skip("mounting is not allowed here")
    try:
        (photo,) = house.draw(1, size=640)
        filler = house.inbox / "filler.bin"
        free = os.statvfs(house.inbox)
        filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize))
        before = photo.read_bytes()
        with house.start() as daemon:
            daemon.wait_log("paused for")
            assert photo.read_bytes() == before
            assert sorted(path.name for path in house.inbox.iterdir()) == ["filler.bin", photo.name]
            filler.unlink()
            house.wait_done(1)
        assert len(server.chat_requests) == 3
        assert read_tags([photo])[photo.name]["XMP-dc:Title"].startswith("A test caption")
    finally:
        os.system(f"umount '{house.inbox}'")


def _asked_or_done(house: House, server: ModelServer, requests: int) -> bool:
    return len(server.chat_requests) >= requests or house.counts().get(JobState.DONE) == 12


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
