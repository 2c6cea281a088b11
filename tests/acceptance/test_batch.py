"""The batch command's promises, kept by the real program against a real model server on loopback."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from make_samples import draw_photo
from support.batches import asked, final, lines
from support.model_server import ModelServer, Say, answer, image_bytes
from support.running import House, Running, entry, read_tags

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: ModelServer) -> House:
    return House(root=tmp_path, registry=[entry(server.base_url)])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_describes_a_folder_and_says_what_became_of_it(house: House, server: ModelServer) -> None:
    photos = house.draw(6)
    daemons = house.inbox / ".photo-000.jpg.tagger-0123456789ab.jpg"  # which is at work there too
    daemons.touch()
    done = house.batch("-i", "inbox")

    assert done.returncode == 0, done.stderr
    assert asked(server.chat_requests).total() == 18
    pictures = {
        answer("caption", image_bytes(request)): image_bytes(request) for request in server.chat_requests
    }
    tags = read_tags(photos)
    for photo in photos:
        found = tags[photo.name]
        assert found["XMP-dc:Description"] == answer("description", pictures[found["XMP-dc:Title"]])
    assert final(house) == {str(photo): "written" for photo in photos}
    assert len(lines(house)) == 6
    assert "6 photos in 1 folder" in done.stderr
    assert "6 written." in done.stdout
    assert "caption" in done.stdout
    assert "tokens in" in done.stdout
    summary = (house.root / "outputs/summaries/personal_tagger_summary.md").read_text()
    assert "6 photos finished: 6 got new metadata" in summary
    assert daemons.exists()


def test_the_bare_command_is_the_run_and_again_asks_nobody_about_photos_that_are_done(
    house: House, server: ModelServer
) -> None:
    house.draw(3)
    assert house.batch("run", "-i", "inbox", "--json").returncode == 0
    before = (contents(house.inbox), lines(house))
    again = house.batch("-i", "inbox")
    assert again.returncode == 0, again.stderr
    assert len(server.chat_requests) == 9
    assert (contents(house.inbox), lines(house)) == before
    assert "3 done by earlier runs" in again.stdout


def test_what_a_run_wrote_can_be_taken_back_by_its_name(house: House) -> None:
    (photo,) = house.draw(1)
    untouched = read_tags([photo])
    run = house.batch("-i", "inbox").stdout.split("The run:")[1].split()[0]
    assert read_tags([photo]) != untouched

    taken = house.batch("undo", "--run", run, "--yes")
    assert taken.returncode == 0, taken.stderr
    assert read_tags([photo]) == untouched
    assert [line["outcome"] for line in lines(house)] == ["written", "undone"]
    assert house.batch("retry", "--undone").stdout == (
        "1 photo is queued again; the next run over their folders takes them.\n"
    )


def test_photos_that_carry_words_already_cost_no_request(house: House, server: ModelServer) -> None:
    photos = house.draw(3)
    assert house.batch("-i", "inbox").returncode == 0
    elsewhere = house.root / "elsewhere"
    elsewhere.mkdir()
    for photo in photos:
        (elsewhere / photo.name).write_bytes(photo.read_bytes())
    done = house.batch("-i", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert len(server.chat_requests) == 9
    assert "3 left alone, no model asked" in done.stdout
    assert [line["outcome"] for line in lines(house)][3:] == ["skipped"] * 3


def test_a_dry_run_touches_nothing_and_the_run_after_it_asks_nobody(
    house: House, server: ModelServer
) -> None:
    photos = house.draw(4)
    before = contents(house.inbox)
    done = house.batch("-i", "inbox", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert contents(house.inbox) == before
    assert [line["outcome"] for line in lines(house)] == ["proposed"] * 4
    assert [line["metadata_written"] for line in lines(house)] == [False] * 4
    assert len(server.chat_requests) == 12

    done = house.batch("-i", "inbox")
    assert done.returncode == 0, done.stderr
    assert len(server.chat_requests) == 12
    assert final(house) == {str(photo): "written" for photo in photos}
    said = {line["image"]: line["caption"] for line in lines(house) if line["outcome"] == "proposed"}
    tags = read_tags(photos)
    assert {str(photo): tags[photo.name]["XMP-dc:Title"] for photo in photos} == said


def test_without_metadata_the_words_are_in_the_audit_alone(house: House, server: ModelServer) -> None:
    photos = house.draw(2)
    before = contents(house.inbox)
    for photo in photos:
        photo.chmod(0o444)
    done = house.batch("-i", "inbox", "--no-meta")
    assert done.returncode == 0, done.stderr
    assert contents(house.inbox) == before
    assert [line["outcome"] for line in lines(house)] == ["recorded"] * 2
    assert all(line["caption"] and line["keywords"] and line["description"] for line in lines(house))

    for photo in photos:
        photo.chmod(0o644)
    assert house.batch("-i", "inbox").returncode == 0
    assert len(server.chat_requests) == 6
    assert final(house) == {str(photo): "written" for photo in photos}


def test_folders_and_photos_may_be_given_together(house: House, server: ModelServer) -> None:
    deep, single = house.inbox / "deep", house.root / "single"
    deep.mkdir()
    single.mkdir()
    photos = house.draw(2)
    for name, folder in (("c.jpg", deep), ("d.jpg", single), ("e.jpg", single), ("f.png", house.inbox)):
        draw_photo(folder / name, scene="meadow", size=64, seed=ord(name[0]))
    given = ("-i", "inbox", "-i", "single/d.jpg", "-i", "inbox/photo-000.jpg", "--image-exts", ".JPG")
    done = house.batch(*given)
    assert done.returncode == 0, done.stderr
    assert {Path(image).name for image in final(house)} == {*(photo.name for photo in photos), "d.jpg"}

    done = house.batch("-i", "inbox", "--recursive")
    assert done.returncode == 0, done.stderr
    assert {Path(image).name for image in final(house)} == {
        *(photo.name for photo in photos),
        *("c.jpg", "d.jpg", "f.png"),
    }
    assert len(server.chat_requests) == 3 * 5


def test_photos_that_fail_are_told_and_the_next_run_tries_them_again(
    house: House, server: ModelServer
) -> None:
    photos = house.draw(3)
    broken = house.inbox / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:900])
    done = house.batch("-i", "inbox", "--json")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert [failure["image"] for failure in result["failures"]] == [str(broken)]
    assert result["outcomes"]["written"] == 3
    assert result["exit_status"] == 1
    assert "broken.jpg" in (house.root / "outputs/summaries/personal_tagger_summary.md").read_text()

    broken.write_bytes(photos[0].read_bytes())
    assert house.batch("-i", "inbox").returncode == 0


def test_an_answer_that_is_never_usable_ends_in_the_table_of_its_stage(
    house: House, server: ModelServer
) -> None:
    house.settings = {"queue": {"max_attempts": 1}}
    house.write()
    house.draw(1)
    server.script("keywords", *[Say("I cannot help with that.")] * 8)
    done = house.batch("-i", "inbox", "--json")
    assert done.returncode == 1, done.stderr
    stages = json.loads(done.stdout)["stages"]
    assert (stages["caption"]["ok"], stages["keywords"]["failed"]) == (1, 1)
    assert stages["description"]["asked"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--input-dir"),
        (("-i", "nowhere"), "nowhere is not there"),
        (("-i", "config.toml"), "is no photo"),
        (("-i", "inbox", "--prompt-profile", "club"), "there is no prompt profile 'club'"),
        (("-i", "inbox", "--caption-role", "captoin"), "did you mean 'caption'?"),
        (("-i", "inbox", "--backend", "triton", "--model", "x"), "there is no backend 'triton'"),
        (("-i", "inbox", "--image-exts", "gif"), "'gif' is no kind of photo"),
        (("-i", "inbox", "--max-keywords", "0"), "max_keywords"),
    ],
)
def test_wrong_usage_is_told_before_any_photo_is_touched(
    house: House, server: ModelServer, arguments: tuple[str, ...], said: str
) -> None:
    house.draw(1)
    before = contents(house.inbox)
    done = house.batch(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert server.requests == []
    assert contents(house.inbox) == before


def test_the_preflight_stops_what_could_not_work_and_can_be_left_out(
    house: House, server: ModelServer
) -> None:
    house.draw(1)
    house.settings = {"timeout": 5}
    house.registry = [entry(server.base_url, served_model_id="another-vlm")]
    house.write()
    done = house.batch("-i", "inbox")
    assert done.returncode == 3, done.stderr
    assert "another-vlm" in done.stderr
    assert server.chat_requests == []
    assert not (house.root / "outputs").exists()

    with house.spawn_batch("-i", "inbox", "--skip-preflight") as run:
        run.wait_log("ready:")
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(timeout=60) == 130


def test_models_may_be_named_without_a_registry(house: House, server: ModelServer) -> None:
    house.draw(2)
    with ModelServer(models=("words",)) as other:
        done = house.batch(
            *("-i", "inbox", "--base-url", server.base_url, "--model", "test-vlm"),
            *("--keyword-model", "words", "--keyword-base-url", other.base_url),
        )
        assert done.returncode == 0, done.stderr
        assert {str(request.stage) for request in other.chat_requests} == {"keywords"}
        assert {str(request.stage) for request in server.chat_requests} == {"caption", "description"}


def interrupted(house: House, server: ModelServer, *, times: int) -> Running:
    """Begin a run on ten photos and ask for its end while six of them are asked about."""
    house.draw(10)
    server.hold()
    run = house.spawn_batch("-i", "inbox")
    server.wait_in_flight(6, timeout=60)
    for _ in range(times):
        run.process.send_signal(signal.SIGINT)
        run.wait_log("stopping")
    return run


def test_asked_to_end_it_finishes_what_is_in_flight_and_the_same_command_goes_on(
    house: House, server: ModelServer
) -> None:
    with interrupted(house, server, times=1) as run:
        server.release()
        assert run.process.wait(timeout=60) == 130
        assert "4 are left; the same command goes on with them." in run.text()
    assert sorted(final(house).values()) == ["written"] * 6
    assert house.batch("-i", "inbox").returncode == 0
    assert sorted(final(house).values()) == ["written"] * 10
    assert set(asked(server.chat_requests).values()) == {1}


def test_asked_twice_it_ends_at_once_with_nothing_half_written(house: House, server: ModelServer) -> None:
    with interrupted(house, server, times=1) as run:
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(timeout=30) == 130
    assert list(house.inbox.glob(".*")) == []
    server.release()
    assert house.batch("-i", "inbox").returncode == 0
    assert sorted(final(house).values()) == ["written"] * 10
