"""The real process moves finished photos on: in order, over nothing, and on again after `kill -9`."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.disks import Doorman, mounted
from support.model_server import ModelServer
from support.running import PATIENCE, House, entry, read_tags, wait_until
from tagger_daemon.model import JobState

pytestmark = pytest.mark.timeout(150)

#: Kills its own process right before a given step of a move: a rename, or the removal of what was copied.
DIES = """
import os, signal, sys

left, inbox = int(os.environ.get("DIE_AT", "0")), os.environ.get("INBOX", "")

def step(event, args):
    global left
    renames = event == "ctypes.dlsym" and args[1] == "renameat2"
    removes = event == "os.remove" and str(args[0]).startswith(inbox + "/IMG")
    left -= renames or removes
    if left == 0 and (renames or removes):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "after").mkdir()
    with ModelServer() as server:
        house = House(root=tmp_path, registry=[entry(server.base_url)])
        house.settings["folders"] = [{"path": str(house.inbox), "after": str(after(house))}]
        house.write()
        yield house


def after(house: House) -> Path:
    return house.root / "after"


def draw_pair(house: House) -> None:
    """Put a raw and its JPEG into the watch folder."""
    for suffix in (".nef", ".jpg"):
        (photo,) = house.draw(1, suffix=suffix, size=320 if suffix == ".nef" else 96, prefix="pair")
        photo.rename(house.inbox / f"IMG{suffix}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_single_run_ends_when_every_photo_is_where_it_goes_to(house: House) -> None:
    house.draw(2)
    draw_pair(house)
    doorman = Doorman(after(house))
    result = house.run("run", "--once")
    assert result.returncode == 0, result.stderr
    arrived = doorman.seen()
    doorman.close()
    assert [name for name in arrived if name.startswith("IMG")] == ["IMG.xmp", "IMG.nef", "IMG.jpg"]
    assert names(house.inbox) == []
    assert sorted(arrived) == names(after(house))
    assert "4 photos described" in result.stdout
    assert house.counts() == {JobState.DONE: 4}
    tags = read_tags(after(house) / name for name in ("IMG.xmp", "IMG.jpg", "photo-000.jpg"))
    assert all(found["XMP-dc:Title"].startswith("A test caption") for found in tags.values())
    # They are known to be done, and nothing is made of their being gone.
    assert house.run("run", "--once").returncode == 0
    assert house.counts() == {JobState.DONE: 4}


def test_what_cannot_go_is_told_of_and_goes_once_it_can(house: House) -> None:
    (photo,) = house.draw(1)
    (after(house) / photo.name).write_bytes(b"another photo")
    house.draw(1, prefix="other")
    result = house.run("run", "--once")
    assert result.returncode == 1
    assert f"has a file named {photo.name} already" in " ".join(result.stdout.split())
    assert (after(house) / photo.name).read_bytes() == b"another photo"
    assert names(house.inbox) == [photo.name]
    with house.start() as daemon:
        daemon.wait_log("not moved on")
        status = house.run("status")
        assert status.returncode == 1
        assert "1 finished photo is to be moved on" in status.stdout
        assert "has a file named" in status.stdout
        (waiting,) = json.loads(house.run("status", "--json").stdout)["handoffs"]["waiting"]
        assert (waiting["path"], waiting["to"]) == (str(photo), str(after(house)))
        assert daemon.terminate() == 0
    (after(house) / photo.name).unlink()
    assert house.run("run", "--once").returncode == 0
    assert names(after(house)) == ["other-000.jpg", photo.name]


def test_a_raw_goes_alone_if_its_jpeg_is_given_up(house: House) -> None:
    draw_pair(house)
    (house.inbox / "IMG.jpg").write_bytes(b"no picture")
    result = house.run("run", "--once")
    assert result.returncode == 1
    assert names(after(house)) == ["IMG.nef", "IMG.xmp"]
    assert names(house.inbox) == ["IMG.jpg"]
    assert "goes on without IMG.jpg, which failed" in result.stderr


@pytest.mark.parametrize(
    ("disks", "step", "here", "there"),
    [
        (1, 2, ["IMG.jpg", "IMG.nef"], ["IMG.xmp"]),
        (2, 5, ["IMG.jpg", "IMG.nef", "IMG.xmp"], ["IMG.jpg", "IMG.nef", "IMG.xmp"]),
    ],
)
def test_kill_nine_in_the_middle_of_a_move_loses_and_doubles_nothing(
    house: House, disks: int, step: int, here: list[str], there: list[str]
) -> None:
    with mounted(after(house)) if disks == 2 else contextlib.nullcontext():
        draw_pair(house)
        (house.root / "sitecustomize.py").write_text(DIES)
        house.environ = {"PYTHONPATH": str(house.root), "DIE_AT": str(step), "INBOX": str(house.inbox)}
        with house.spawn() as daemon:
            assert daemon.process.wait(timeout=PATIENCE) == -signal.SIGKILL
        assert names(house.inbox) == here
        assert names(after(house)) == there
        title = read_tags([after(house) / "IMG.xmp"])["IMG.xmp"]["XMP-dc:Title"]

        house.environ = {}
        assert house.run("run", "--once").returncode == 0
        assert names(house.inbox) == []
        assert names(after(house)) == ["IMG.jpg", "IMG.nef", "IMG.xmp"]
        assert read_tags([after(house) / "IMG.xmp"])["IMG.xmp"]["XMP-dc:Title"] == title
        assert [line["outcome"] for line in house.audit()] == ["written", "written"]


def test_photos_that_come_and_go_while_it_runs_are_no_trouble(house: House) -> None:
    with house.start() as daemon:
        house.draw(5)
        wait_until(lambda: len(names(after(house))) == 5, "all have gone on")
        house.wait_done(5)
        house.draw(1, prefix="late")
        wait_until(lambda: len(names(after(house))) == 6, "the late one has gone on")
        assert daemon.terminate() == 0
    assert house.counts() == {JobState.DONE: 6}
    assert "WARNING" not in daemon.text()
