"""Whose words are whose, renewing ours, and taking them back: kept by the real process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from make_samples import draw_photo
from support.model_server import ModelServer, Say
from support.running import PATIENCE, House, entry, read_tags, wait_until
from tagger_daemon.model import JobState
from tagger_daemon.service.state import StateDirectory

pytestmark = pytest.mark.timeout(150)

TITLE, KEYWORDS, DESCRIPTION = "XMP-dc:Title", "XMP-dc:Subject", "XMP-dc:Description"
#: A photo program that drops what it does not know.
STRIPPED = ("-XMP-tagger:all=",)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(models=("test-vlm", "other-vlm")) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: ModelServer) -> House:
    return House(root=tmp_path, registry=[entry(server.base_url)])


def photo_with(house: House, *words: str) -> Path:
    """Put a photo with a person's words into the watch folder."""
    path = house.inbox / "photo.jpg"
    draw_photo(path, size=96, extra=words)
    return path


def edit(path: Path, *assignments: str) -> None:
    """Change a photo's metadata as a person does with another program."""
    subprocess.run(["exiftool", "-q", "-overwrite_original", *assignments, str(path)], check=True)


def tags(path: Path) -> dict[str, Any]:
    return read_tags([path])[path.name]


def tag_once(house: House, *options: str, **settings: Any) -> None:
    house.settings |= settings
    house.write()
    result = house.run("run", "--once", *options)
    assert result.returncode == 0, result.stderr


def with_another_model(house: House, server: ModelServer, *, says: tuple[str, str, str]) -> None:
    """Put another model into the registry, which will say this of the next photo; ours are renewed."""
    house.registry = [entry(server.base_url, name="other-entry", served_model_id="other-vlm")]
    for stage, text in zip(("caption", "keywords", "description"), says, strict=True):
        server.script(stage, Say(text))
    house.settings["metadata"] = {"mode": "refresh"}


def outcomes(house: House) -> Counter[str]:
    return Counter(line["outcome"] for line in house.audit())


# --- Taking back, while the daemon runs ---


def test_what_was_written_is_taken_back_beside_the_daemon_and_tagged_again_on_demand(
    house: House, server: ModelServer
) -> None:
    with house.start():
        (raw,) = house.draw(1, suffix=".nef", size=320, prefix="raw")
        photos = house.draw(2)
        house.wait_done(3)
        edit(photos[0], "-XMP-dc:Subject=Rose", "-XMP-dc:Subject=alpha")  # she threw the others out
        wait_until(lambda: outcomes(house)["skipped"] == 1, "the daemon has seen the edit")
        written = {path: path.read_bytes() for path in house.inbox.iterdir()}
        run = json.loads(house.run("status", "--json").stdout)["process"]["run"]

        shown = house.run("undo", str(house.inbox), "--dry-run")
        assert shown.returncode == 0, shown.stderr
        assert "photo-000.jpg" in shown.stdout
        assert "A test caption" in shown.stdout
        assert "raw-000.nef (raw-000.xmp)" in shown.stdout
        assert "3 files: 15 fields to be restored" in shown.stdout
        assert "\x1b[" not in shown.stdout
        told = json.loads(house.run("undo", "--run", run, "--dry-run", "--json").stdout)
        assert (told["done"], told["missing"], told["failed"], told["stopped"]) == (False, [], [], None)
        assert {one["photo"] for one in told["photos"]} == {str(path) for path in (raw, *photos)}
        (of_raw,) = (one for one in told["photos"] if one["photo"] == str(raw))
        assert (of_raw["target"], of_raw["removes_file"]) == (str(raw.with_suffix(".xmp")), True)
        assert {TITLE, KEYWORDS, DESCRIPTION} <= {change["tag"] for change in of_raw["changes"]}
        assert all(change["then"] is None for change in of_raw["changes"])

        declined = house.run("undo", str(house.inbox), said="n\n")
        assert declined.stdout.endswith("Nothing was taken back.\n")
        assert {path: path.read_bytes() for path in house.inbox.iterdir()} == written

        done = house.run("undo", str(house.inbox), "--yes")
        assert (done.returncode, "15 fields restored" in done.stdout) == (0, True), done.stdout
        assert not raw.with_suffix(".xmp").exists()
        assert tags(photos[0])[KEYWORDS] == ["Rose"]
        assert not {TITLE, DESCRIPTION} & tags(photos[0]).keys()
        assert not [tag for path in photos for tag in tags(path) if "tagger" in tag]

        # One that changes is looked at again, and the next one that comes has its turn after all others.
        photos[1].write_bytes(photos[1].read_bytes())
        wait_until(lambda: outcomes(house)["skipped"] >= 2, "the daemon has looked at the photo again")
        assert "taken back" in house.audit()[-1]["reason"]
        (later,) = house.draw(1, prefix="later")
        house.wait_done(4)
        assert TITLE in tags(later)
        assert len(server.chat_requests) == 12
        assert house.run("status").returncode == 0
        assert house.counts() == {JobState.DONE: 4}

        again = house.run("retry", "--undone", str(house.inbox))
        assert "3 photos are queued again" in again.stdout
        wait_until(lambda: outcomes(house)["written"] == 7, "they are tagged again")
    assert len(server.chat_requests) == 21
    # What she threw out stays away.
    assert set(tags(photos[0])[KEYWORDS]) == {"Rose", "alpha"}
    assert raw.with_suffix(".xmp").exists()


def test_photos_that_were_moved_on_are_taken_back_where_they_are_now(house: House) -> None:
    after = house.root / "after"
    after.mkdir()
    house.draw(1)
    house.draw(1, suffix=".nef", size=320)
    tag_once(house, folders=[{"path": str(house.inbox), "after": str(after)}])
    archive = after.rename(house.root / "archive")  # and once more, by hand
    assert len(list(archive.iterdir())) == 3
    assert house.run("undo", str(house.inbox), "--yes").stdout.startswith("0 files")
    done = house.run("undo", str(archive), "--yes")
    assert (done.returncode, "2 files: 10 fields restored" in done.stdout) == (0, True), done.stdout
    assert sorted(path.name for path in archive.iterdir()) == ["photo-000.jpg", "photo-000.nef"]
    assert TITLE not in tags(archive / "photo-000.jpg")


def test_what_cannot_be_done_is_said(house: House) -> None:
    usage = house.run("undo")
    assert usage.returncode == 2
    for selector in ("PATH", "--run", "--day", "--model", "--profile", "--keyword", "--all"):
        assert selector in usage.stderr
    assert house.run("undo", "--all").returncode == 1  # nothing was ever written

    photos = house.draw(2)
    in_hand = house.inbox / ".photo-000.jpg.tagger-0123456789ab.jpg"
    in_hand.touch()
    house.state.mkdir()
    with StateDirectory(root=house.state).by_hand():
        tag_once(house)  # a start leaves alone what an undo has in hand
        second = house.run("undo", "--all", "--yes")
        assert (second.returncode, "another `undo` is at work" in second.stderr) == (1, True)
    assert in_hand.exists()
    assert TITLE in tags(photos[0])
    unknown = house.run("undo", "--run", "yesterday")
    assert unknown.returncode == 2
    assert len(re.findall(r"\d{8}T\d{6}-[0-9a-f]{4}  \d{4}-\d\d-\d\d  2 files", unknown.stderr)) == 1

    photos[0].chmod(0o444)
    photos[1].unlink()
    failed = house.run("undo", "--all", "--yes", "--json")
    assert failed.returncode == 1
    told = json.loads(failed.stdout)
    assert (told["done"], told["photos"], told["missing"]) == (True, [], [str(photos[1])])
    assert told["failed"][0]["photo"] == str(photos[0])
    assert "write-protected" in told["failed"][0]["reason"]
    assert TITLE in tags(photos[0])
    photos[0].chmod(0o644)
    assert house.run("undo", "--all", "--yes").returncode == 0
    assert TITLE not in tags(photos[0])


def test_an_undo_that_is_interrupted_or_killed_is_brought_to_its_end_by_the_next(house: House) -> None:
    photos = house.draw(16)
    tag_once(house)

    interrupted = house.begin("undo", "--all", "--yes")
    wait_until(lambda: outcomes(house)["undone"] >= 3, "some are taken back")
    interrupted.send_signal(signal.SIGINT)
    said, _ = interrupted.communicate(timeout=PATIENCE)
    assert interrupted.returncode == 130
    done = outcomes(house)["undone"]
    assert f"{done} files: {done * 5} fields restored" in said
    assert f"interrupted, {16 - done} files left" in said
    assert sum(TITLE in found for found in read_tags(photos).values()) == 16 - done

    killed = house.begin("undo", "--all", "--yes")
    wait_until(lambda: outcomes(house)["undone"] >= done + 3, "some more are taken back")
    killed.kill()
    killed.communicate(timeout=PATIENCE)
    assert house.run("undo", "--all", "--yes").returncode == 0
    for name, found in read_tags(photos).items():
        assert not [tag for tag in found if tag in (TITLE, KEYWORDS, DESCRIPTION) or "tagger" in tag], name
    assert house.run("undo", "--all", "--dry-run").stdout.startswith("0 files")
    # The start of the service looks again at what was held, adds the lines that are missing, and sweeps.
    tag_once(house)
    assert Counter(line["image"] for line in house.audit() if line["outcome"] == "undone") == dict.fromkeys(
        map(str, photos), 1
    )
    assert house.counts() == {JobState.DONE: 16}
    assert sorted(house.inbox.iterdir()) == photos


# --- Other models, other programs ---


def test_another_model_renews_our_words_and_nothing_of_a_persons(house: House, server: ModelServer) -> None:
    photo = photo_with(house, "XMP-dc:Subject=Oma")
    tag_once(house)
    edit(photo, "-XMP-dc:Title=Her title", "-XMP-dc:Subject-=beta")

    with_another_model(house, server, says=("A hut.", "beta\nhut", "A hut by the sea."))
    tag_once(house)
    found = tags(photo)
    assert found[TITLE] == "Her title"
    assert found[KEYWORDS] == ["Oma", "hut"]
    assert found[DESCRIPTION] == "A hut by the sea."
    assert found["XMP-iptcCore:AltTextAccessibility"] == "A hut."
    assert len(server.chat_requests) == 6

    lines = len(house.audit())
    tag_once(house)
    assert (len(server.chat_requests), len(house.audit())) == (6, lines)

    # Only the newer words are taken back, and the next start does not bring them again.
    assert house.run("undo", "--model", "other-vlm", "--yes").returncode == 0
    assert set(tags(photo)[KEYWORDS]) >= {"Oma", "alpha"}
    assert tags(photo)[DESCRIPTION].startswith("A test description")
    tag_once(house)
    assert len(server.chat_requests) == 6
    assert tags(photo)[TITLE] == "Her title"


def test_a_marker_that_another_program_dropped_is_not_missed(house: House, server: ModelServer) -> None:
    photo = photo_with(house)
    tag_once(house)
    edit(photo, *STRIPPED)
    assert not [tag for tag in tags(photo) if "tagger" in tag]
    tag_once(house)
    assert len(server.chat_requests) == 3
    with_another_model(house, server, says=("A hut.", "hut\nsea", "A hut by the sea."))
    tag_once(house)
    found = tags(photo)
    assert (found[TITLE], found[KEYWORDS]) == ("A hut.", ["hut", "sea"])
    assert house.run("undo", "--all", "--yes").returncode == 0
    assert not {TITLE, KEYWORDS, DESCRIPTION} & tags(photo).keys()


@pytest.mark.parametrize("workers", [1, 8])
def test_raw_and_jpeg_of_one_photo_are_asked_about_once(
    house: House, server: ModelServer, workers: int
) -> None:
    for suffix in (".nef", ".jpg"):
        (photo,) = house.draw(1, suffix=suffix, size=320, prefix="pair")
        photo.rename(house.inbox / f"IMG_1{suffix}")
    tag_once(house, max_workers=workers)
    assert len(server.chat_requests) == 3
    raw, jpeg = house.inbox / "IMG_1.nef", house.inbox / "IMG_1.jpg"
    assert sorted(house.inbox.iterdir()) == [jpeg, raw, raw.with_suffix(".xmp")]
    assert tags(jpeg)[TITLE] == tags(raw.with_suffix(".xmp"))[TITLE]
    assert {Path(line["target"]) for line in house.audit()} == {jpeg, raw.with_suffix(".xmp")}
    assert tags(raw.with_suffix(".xmp"))["XMP-photoshop:SidecarForExtension"] == "NEF"


# --- Modes and fields ---


def test_proposals_touch_no_file_and_are_written_later_without_a_request(
    house: House, server: ModelServer
) -> None:
    (photo,) = house.draw(1)
    before = photo.read_bytes()
    house.settings["metadata"] = {"mode": "propose"}
    house.write()
    result = house.run("run", "--once")
    assert (result.returncode, photo.read_bytes()) == (0, before)
    assert "0 photos described, 1 proposed and kept in the ledger, 0 were tagged already" in result.stdout
    (line,) = house.audit()
    assert (line["outcome"], line["metadata_written"]) == ("proposed", False)
    assert line["after"][TITLE].startswith("A test caption")
    assert line["caption"] == line["after"][TITLE]
    assert line["stands"]["title"] is None
    tag_once(house, metadata={"mode": "fill"})
    assert tags(photo)[TITLE] == line["after"][TITLE]
    assert len(server.chat_requests) == 3


def test_only_the_fields_that_are_wished_are_asked_for_and_written(house: House, server: ModelServer) -> None:
    photo = photo_with(house, "XMP-dc:Subject=Oma")
    tag_once(house, metadata={"fields": {"caption": [], "description": []}, "keyword_root": "AI"})
    found = tags(photo)
    assert [request.stage for request in server.chat_requests] == ["keywords"]
    assert found[KEYWORDS][:2] == ["Oma", "alpha"]
    assert found["XMP-lr:HierarchicalSubject"][:2] == ["Oma", "AI|alpha"]
    assert not {TITLE, DESCRIPTION, "XMP-iptcCore:AltTextAccessibility"} & found.keys()


@pytest.mark.parametrize(
    ("options", "settings"),
    [(("--overwrite-metadata",), {"overwrite_metadata": False}), ((), {"overwrite_metadata": True})],
)
def test_a_title_that_is_replaced_by_wish_is_kept_and_comes_back(
    house: House, options: tuple[str, ...], settings: dict[str, bool]
) -> None:
    photo = photo_with(house, "XMP-dc:Title=Mine", "XMP-dc:Subject=Oma")
    tag_once(house, *options, **settings)
    assert tags(photo)[TITLE].startswith("A test caption")
    assert house.audit()[0]["before"][TITLE] == "Mine"
    assert house.run("undo", str(photo), "--yes").returncode == 0
    assert (tags(photo)[TITLE], tags(photo)[KEYWORDS]) == ("Mine", ["Oma"])


def test_a_caption_that_has_nowhere_to_go_is_not_asked_for(house: House, server: ModelServer) -> None:
    photo = photo_with(house, "XMP-dc:Title=Mine", "XMP-iptcCore:AltTextAccessibility=Mine too")
    tag_once(house)
    assert [request.stage for request in server.chat_requests] == ["keywords", "description"]
    found = tags(photo)
    assert (found[TITLE], found["XMP-iptcCore:AltTextAccessibility"]) == ("Mine", "Mine too")
    assert DESCRIPTION in found
