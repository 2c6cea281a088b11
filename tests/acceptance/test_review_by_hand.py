"""A review by the real commands: beside the daemon, killed in the middle, read back by another exiftool."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.model_server import ModelServer
from support.running import PATIENCE, House, entry, read_tags, wait_until
from tagger_daemon.cli.applying import conduct_apply
from tagger_daemon.cli.exits import Exit
from tagger_daemon.model import JobState
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import load

pytestmark = pytest.mark.timeout(150)

TITLE, KEYWORDS, DESCRIPTION = "XMP-dc:Title", "XMP-dc:Subject", "XMP-dc:Description"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(models=("test-vlm",)) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: ModelServer) -> House:
    home = House(root=tmp_path, registry=[entry(server.base_url)])
    home.settings["folders"] = [{"path": str(home.inbox), "review": True}]
    home.write()
    return home


def outcomes(house: House) -> Counter[str]:
    return Counter(line["outcome"] for line in house.audit())


def review(house: House, *arguments: str, said: str = "", status: int = 0) -> Any:
    """Run a command of the group, and return what it printed as JSON."""
    result = house.run("review", *arguments, "--json", said=said)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    return json.loads(result.stdout)


def states(house: House) -> dict[str, str]:
    return {Path(one["photo"]).name: one["state"] for one in review(house, "list")}


def test_a_review_beside_the_daemon_is_written_as_it_was_decided(house: House, server: ModelServer) -> None:
    after = house.root / "after"
    after.mkdir()
    house.settings["folders"] = [{"path": str(house.inbox), "review": True, "after": str(after)}]
    house.write()
    with house.start():
        photos = house.draw(4)
        wait_until(lambda: outcomes(house)["proposed"] == 4, "all are proposed")
        before = {path: path.read_bytes() for path in photos}
        asked = len(server.chat_requests)
        edited, plain, refused, undecided = photos

        told = house.run("review", "show", str(edited))
        assert (told.returncode, "\x1b[" in told.stdout) == (0, False)
        assert "to be decided" in told.stdout
        said = {Path(one["photo"]).name: line_of(one) for one in review(house, "list")}

        review(house, "edit", str(edited), "--field", "title", "--text", "Rex", "--add-keyword", "Oma")
        counted = review(house, "reject", "--keyword", "Beta", "--dry-run")
        assert counted == {"done": False, "photos": 4}
        assert review(house, "reject", "--keyword", "Beta") == {"done": True, "photos": 4}
        assert review(house, "reject", str(refused))["photos"] == 1
        assert review(house, "accept", str(edited), str(plain))["photos"] == 2
        assert states(house) == {
            edited.name: "edited",
            plain.name: "edited",
            refused.name: "refused",
            undecided.name: "pending",
        }

        dry = house.run("review", "apply", "--dry-run")
        assert "1 would be refused; 2 would be written" in dry.stdout
        declined = review(house, "apply", said="n\n")
        assert (declined["done"], declined["photos"], declined["left"]) == (False, [], 3)
        assert {path: path.read_bytes() for path in photos} == before
        assert review(house, "apply", "--yes")["done"] is True

        # What is finished is moved on, what is not decided stays.
        wait_until(lambda: len(list(after.iterdir())) == 3, "what was decided has been moved on")
        assert [path.name for path in house.inbox.iterdir()] == [undecided.name]
        found = read_tags(after.iterdir())
        for path, changes, more in ((edited, {"caption": "Rex"}, ["Oma"]), (plain, {}, [])):
            line = {**said[path.name], **changes}
            rest = [one["keyword"] for one in line["keywords"] if one["keyword"] != "beta"]
            tags = found[path.name]
            assert (tags[TITLE], tags[DESCRIPTION]) == (line["caption"], line["description"])
            assert (len(rest), tags[KEYWORDS]) == (len(line["keywords"]) - 1, [*more, *rest])
        assert (after / refused.name).read_bytes() == before[refused]
        assert undecided.read_bytes() == before[undecided]

        assert len(server.chat_requests) == asked
        assert house.run("status").returncode == 0
    assert outcomes(house) == {"proposed": 4, "written": 2, "refused": 1}


def test_a_photo_that_changes_under_review_waits_until_it_is_proposed_anew(
    house: House, server: ModelServer
) -> None:
    with house.start():
        (photo,) = house.draw(1)
        wait_until(lambda: outcomes(house)["proposed"] == 1, "it is proposed")
        asked = len(server.chat_requests)
        review(house, "reject", "--keyword", "beta")
        photo.write_bytes(photo.read_bytes())
        wait_until(lambda: outcomes(house)["skipped"] == 1, "the daemon has looked at it again")
        assert house.audit()[-1]["reason"] == "a review of it is under way"
        review(house, "accept", str(photo))
        content = photo.read_bytes()
        waiting = review(house, "apply", "--yes", status=1)["waiting"]
        assert [one["photo"] for one in waiting] == [str(photo)]
        assert "has changed since it was proposed" in waiting[0]["reason"]
        assert photo.read_bytes() == content
        assert review(house, "reset", str(photo))["photos"] == 1
        wait_until(lambda: outcomes(house)["proposed"] == 2, "it is proposed anew")
        assert states(house) == {photo.name: "pending"}
        review(house, "accept", "--all")
        review(house, "apply", "--yes")
        assert "beta" not in read_tags([photo])[photo.name][KEYWORDS]
        assert len(server.chat_requests) == asked
        assert house.counts() == {JobState.DONE: 1}


def test_an_apply_that_is_interrupted_or_killed_is_brought_to_its_end_by_the_next(house: House) -> None:
    photos = house.draw(16)
    assert house.run("run", "--once").returncode == 0
    assert outcomes(house) == {"proposed": 16}
    review(house, "reject", "--keyword", "beta")
    review(house, "accept", "--all")

    interrupted = house.begin("review", "apply", "--yes")
    wait_until(lambda: outcomes(house)["written"] >= 3, "some are written")
    interrupted.send_signal(signal.SIGINT)
    said, _ = interrupted.communicate(timeout=PATIENCE)
    assert interrupted.returncode == 130
    done = outcomes(house)["written"]
    assert f"interrupted, {16 - done} left" in said
    assert sum(TITLE in found for found in read_tags(photos).values()) == done

    killed = house.begin("review", "apply", "--yes")
    wait_until(lambda: outcomes(house)["written"] >= done + 3, "some more are written")
    killed.kill()
    killed.communicate(timeout=PATIENCE)
    with StateDirectory(root=house.state).by_hand():
        second = house.run("review", "apply", "--yes")
        assert (second.returncode, "is being carried out" in second.stderr) == (1, True)
    review(house, "apply", "--yes")
    assert states(house) == {}
    for name, found in read_tags(photos).items():
        assert (TITLE in found, "beta" in found[KEYWORDS]) == (True, False), name
    # The start of the service adds the lines that are missing, and sweeps.
    assert house.run("run", "--once").returncode == 0
    written = Counter(line["image"] for line in house.audit() if line["outcome"] == "written")
    assert written == dict.fromkeys(map(str, photos), 1)
    assert sorted(house.inbox.iterdir()) == photos


def test_what_cannot_be_done_is_said(house: House) -> None:
    nothing = house.run("review", "list")
    assert (nothing.returncode, "nothing was ever proposed" in nothing.stderr) == (1, True)
    assert "nothing was ever written" in house.run("review", "accept", "--all").stderr
    (photo,) = house.draw(1)
    assert house.run("run", "--once").returncode == 0
    for usage in (
        ("accept",),
        ("reject", "--field", "caption"),
        ("reject", "--all", "--field", "keywords", "--keyword", "x"),
        ("reset",),
        ("edit", str(photo)),
        ("edit", str(photo), "--field", "keywords"),
        ("edit", str(photo), "--text", "Which field?"),
    ):
        assert house.run("review", *usage).returncode == 2, usage
    other = str(photo.with_name("other.jpg"))
    for amiss, why in (
        (("show", other), "nothing is proposed for"),
        (("edit", other, "--add-keyword", "x"), "nothing is proposed for"),
        (("edit", str(photo), "--field", "caption", "--text", " "), "is empty"),
        (("edit", str(photo), "--add-keyword", "a|b"), "a keyword has no"),
    ):
        result = house.run("review", *amiss)
        assert (result.returncode, why in result.stderr) == (1, True), result.stderr
        assert "Traceback" not in result.stderr
    assert states(house) == {photo.name: "pending"}
    assert house.run("review", "apply").stdout == "0 photos: nothing was written.\n"


@pytest.mark.parametrize(("editor", "title"), [("sed -i s/test/TEST/", "A TEST"), ("true", None)])
def test_a_text_is_edited_by_the_editor(house: House, editor: str, title: str | None) -> None:
    (photo,) = house.draw(1)
    house.environ["EDITOR"] = editor
    assert house.run("run", "--once").returncode == 0
    result = house.run("review", "edit", str(photo), "--field", "caption")
    if title is None:
        assert (result.returncode, "nothing was saved" in result.stderr) == (1, True)
        assert states(house) == {photo.name: "pending"}
    else:
        review(house, "accept", "--all")
        review(house, "apply", "--yes")
        assert read_tags([photo])[photo.name][TITLE].startswith(title)


def test_a_file_that_is_handed_in_is_carried_out(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    photos = house.draw(2)
    assert house.run("run", "--once").returncode == 0
    settings = load(config=house.config, environ={}).settings
    state = StateDirectory(root=house.state)
    file = house.root / "edited.jsonl"
    said = {Path(one["photo"]).name: one for one in review(house, "list")}
    lines = [line_of(said[path.name]) for path in photos]
    lines[0]["caption"] = "Rex"
    unknown = {**lines[0], "id": "0" * 32}
    file.write_text("\n".join(map(json.dumps, (*lines, unknown))))
    before = [path.read_bytes() for path in photos]

    status = conduct_apply(state, settings, file, dry_run=True, yes=False, as_json=True, command="apply")
    told = json.loads(capsys.readouterr().out)
    assert (status, told["done"], len(told["photos"])) == (Exit.AMISS, False, 2)
    assert [path.read_bytes() for path in photos] == before
    assert states(house) == dict.fromkeys((path.name for path in photos), "pending")

    status = conduct_apply(state, settings, file, dry_run=False, yes=True, as_json=False, command="apply")
    assert status is Exit.AMISS
    out = capsys.readouterr().out
    assert "line 3: this state directory knows no such proposal" in out
    assert out.endswith("2 photos: 2 written; 1 lines could not be used.\n")
    found = read_tags(photos)
    assert found[photos[0].name][TITLE] == "Rex"
    assert found[photos[1].name][TITLE] == lines[1]["caption"]

    file.write_text("\n".join(map(json.dumps, lines)))
    status = conduct_apply(state, settings, file, dry_run=False, yes=True, as_json=False, command="apply")
    assert status is Exit.OK
    assert "2 had been dealt with before" in capsys.readouterr().out


def line_of(shown: dict[str, Any]) -> dict[str, Any]:
    """Make a line as the audit has it of what `review list` says."""
    texts = {text["field"]: text["proposed"] for text in shown["texts"]}
    words = [{"keyword": word["keyword"], "score": None} for word in shown["keywords"]]
    return {"id": shown["id"], "image": shown["photo"], "outcome": "proposed", "keywords": words, **texts}
