"""What `profiles` shows: all that there are, whom they are for, and what each says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from support.running import House, entry
from tagger_daemon.cli import profiles as page
from tagger_daemon.cli.exits import Exit
from tagger_daemon.settings import Settings
from tagger_daemon.vision import profile as profiles

TRAVEL = Path(profiles.__file__).with_name("profiles") / "travel.toml"


def printed(what: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a profile of one's own, and a broken one."""
    folder = tmp_path / "own"
    folder.mkdir()
    text = TRAVEL.read_text("utf-8").replace('id = "travel"', 'id = "reise"').replace('"Travel"', '"Reise"')
    german = text.replace('language = "en"', 'language = "de"\nkeyword_language = "en"')
    (folder / "reise.toml").write_text(german, encoding="utf-8")
    (folder / "odd.toml").write_text('id = "odd"\nnmae = "Odd"\n', encoding="utf-8")
    return folder


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(**{"state_dir": tmp_path, **changes})


def test_a_broken_one_is_shown_among_the_others(tmp_path: Path, own: Path) -> None:
    folders = [{"path": f"/photos/{name}", "prompt_profile": "Reise"} for name in "ab"]
    seen = page.gather(settings(tmp_path, profiles_dir=own, folders=folders, prompt_profile="Family archive"))
    text = printed(page.render(seen))
    lines = {line.split()[0]: line for line in text.splitlines() if line[:1].isalpha()}
    assert lines.keys() >= {"default", "family-archive", "odd", "reise", "stock"}
    assert "/photos/a, /photos/b" in lines["reise"]
    assert "de, keywords en" in lines["reise"]
    assert "prompt_profile" in lines["family-archive"]
    assert "broken" in lines["odd"]
    assert f"{own / 'odd.toml'}: nmae: unknown key; did you mean 'name'?" in text
    assert page.exit_status(seen) is Exit.AMISS


def test_all_is_well_with_those_that_are_shipped(tmp_path: Path) -> None:
    seen = page.gather(settings(tmp_path))
    assert page.exit_status(seen) is Exit.OK
    told = page.to_json(seen)
    assert {one["id"]: one["used_by"] for one in told["profiles"] if one["used_by"]} == {
        "default": ["prompt_profile"]
    }
    assert not any(one["own"] or one["problem"] for one in told["profiles"])


def test_settings_that_name_no_profile_are_told(tmp_path: Path) -> None:
    folders = [{"path": "/photos/a", "prompt_profile": "travl"}]
    seen = page.gather(settings(tmp_path, folders=folders, profiles_dir=tmp_path / "missing"))
    assert f"profiles_dir: there is no folder {tmp_path / 'missing'}" in seen.problems[0]
    assert "/photos/a: there is no prompt profile 'travl'; did you mean 'travel'?" in seen.problems[1]
    assert page.exit_status(seen) is Exit.AMISS


def test_the_texts_are_those_that_models_are_told(tmp_path: Path, own: Path) -> None:
    found = page.named("REISE", settings(tmp_path, profiles_dir=own))
    text = " ".join(printed(page.render_texts(*found, max_keywords=7)).split())
    assert "You describe a traveller's photos" in text
    assert "List up to 7 keywords" in text
    assert "Write the keywords in English. One keyword per line and nothing else." in text
    assert text.count("Write in German.") == 2
    told = page.texts_to_json(*found, max_keywords=7)
    assert told["stages"]["keywords"]["instruction"].startswith("List up to {max_keywords} keywords")
    assert told["stages"]["keywords"]["task"].startswith("List up to 7 keywords")
    assert (told["own"], told["source"]) == (True, str(own / "reise.toml"))


def test_the_command(tmp_path: Path, own: Path) -> None:
    house = House(
        root=tmp_path, registry=[entry("http://127.0.0.1:1/v1")], settings={"profiles_dir": str(own)}
    )
    listed = house.run("profiles", "--json")
    assert listed.returncode == 1
    assert len(json.loads(listed.stdout)["profiles"]) == 10
    for words in (("show", "family-archive"), ("Family", "archive")):
        shown = house.run("profiles", *words)
        assert (shown.returncode, "an old-fashioned dress proves none" in " ".join(shown.stdout.split())) == (
            0,
            True,
        )
    broken = house.run("profiles", "odd")
    assert (broken.returncode, broken.stdout) == (78, "")
    assert "did you mean 'name'?" in broken.stderr
