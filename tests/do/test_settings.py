"""Settings from every source, and what is said when one is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.settings import ENV_PREFIX, Loaded, load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def loaded(tmp_path: Path, text: str = "", **overrides: Any) -> Loaded:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load(config=file, overrides=overrides, start=tmp_path)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text)
    return str(caught.value)


def test_command_line_wins_over_environment_wins_over_file_wins_over_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.imageworks.personal_tagger]\nmax_keywords = 1\nmax_workers = 1\nprompt_profile = 'one'\n"
        "hemisphere = 'south'\n"
    )
    monkeypatch.setenv(f"{ENV_PREFIX}MAX_WORKERS", "3")
    monkeypatch.setenv(f"{ENV_PREFIX}PROMPT_PROFILE", "three")
    text = "max_keywords = 2\nmax_workers = 2\nprompt_profile = 'two'"
    result = loaded(tmp_path, text, prompt_profile="four")
    settings = result.settings
    assert (settings.hemisphere, settings.max_keywords) == ("south", 2)
    assert (settings.max_workers, settings.prompt_profile) == (3, "four")
    assert result.origins["max_workers"] == "the environment"
    assert result.origins["prompt_profile"] == "the command line"
    assert result.origins["max_keywords"] == str(tmp_path / "config.toml")
    assert "pyproject.toml" in result.origins["hemisphere"]


def test_nested_keys_come_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}INTAKE__SETTLE_SECONDS", "2.5")
    monkeypatch.setenv(f"{ENV_PREFIX}FOLDERS", '["/photos/in"]')
    settings = loaded(tmp_path, "[intake]\nrescan_minutes = 5").settings
    assert (settings.intake.settle_seconds, settings.intake.rescan_minutes) == (2.5, 5)
    assert settings.folders[0].path == Path("/photos/in")


def test_folders_may_be_text_or_tables(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'folders = ["/a", {path = "/b", recursive = false}]').settings
    assert [(folder.path, folder.recursive) for folder in settings.folders] == [
        (Path("/a"), True),
        (Path("/b"), False),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("max_keyword = 3", ["'max_keyword'", "did you mean 'max_keywords'?", "config.toml"]),
        ("[intake]\nsettle_second = 3", ["'intake.settle_second'", "did you mean 'settle_seconds'?"]),
        ("max_keywords = 'many'", ["'max_keywords'", "config.toml", "integer"]),
        ("max_keywords = 0", ["'max_keywords'", "greater than or equal to 1"]),
        ("folders = ['relative']", ["'folders.0", "absolute"]),
        ("folders = [{path = '/a', recursiv = true}]", ["recursiv", "did you mean 'recursive'?"]),
        ("folders = ['/a', '/a']", ["/a is already watched with /a"]),
        ("[metadata]\nlightroom_catalogs = ['a.lrcat']", ["'metadata.lightroom_catalogs'", "absolute"]),
        ("folders = [{path = '/a', after = 'b'}]", ["'folders.0.after'", "absolute", "config.toml"]),
        ("folders = [{path = '/a', after_keep_folders = true}]", ["'folders.0'", "there is no `after`"]),
        ("folders = [{path = '/a', aftr = '/b'}]", ["did you mean 'after'?"]),
        ("[schedule]\nsummary_at = '25:00'", ["'schedule.summary_at'"]),
        ("[fallbacks]\nkeyword = ['b']", ["'fallbacks.keyword'", "did you mean 'keywords'?"]),
        ("[fallbacks]\ncaption = 'b'", ["'fallbacks.caption'", "config.toml"]),
        ("max_keywords = \n", ["config.toml is not valid TOML", "line 1"]),
        ("hemisphere = 'east'", ["'hemisphere'", "north"]),
    ],
)
def test_a_wrong_value_is_named_with_its_key_its_file_and_the_remedy(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = complaint(tmp_path, text)
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{path = '/a', after = '/a'}", ["'after' of /a", "/a is watched itself"]),
        ("{path = '/a', after = '/a/done/today'}", ["/a/done/today is watched itself, with /a"]),
        ("{path = '/a', after = '/a/done', recursive = false}", ["/a/done is watched itself"]),
        ("{path = '/a', after = '/b/done'}, '/b'", ["'after' of /a", "/b/done is watched itself, with /b"]),
        ("{path = '/a', after = '/b'}, {path = '/b', recursive = false}", ["/b is watched itself"]),
        ("{path = '/a/in', after = '/a'}", ["/a holds the watch folder /a/in"]),
        (
            "{path = '/a', after = '/b', after_keep_folders = true}, '/b/in'",
            ["/b holds the watch folder /b/in"],
        ),
    ],
)
def test_finished_photos_must_not_go_to_where_they_are_taken_up_again(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = complaint(tmp_path, f"folders = [{text}]")
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    "text",
    [
        "{path = '/a', after = '/b/done'}, {path = '/b', recursive = false}",
        "{path = '/a', after = '/b'}, '/b/in'",
        "{path = '/a', after = '/done'}, {path = '/b', after = '/done'}",
        "{path = '/a/in', after = '/a/in2'}",
    ],
)
def test_finished_photos_may_go_anywhere_else(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, f"folders = [{text}]").settings.folders[0].after


def test_what_may_leave_the_private_network_is_said_by_server_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[[remote]]\nendpoint = 'https://api.example.com/v1'\nfolders = ['/a', '~/b']\npeople = true\n"
    (one, other) = loaded(
        tmp_path, f"{text}[[remote]]\nendpoint = 'http://x'\nfolders = ['/c']"
    ).settings.remote
    assert (one.folders, one.people) == ((Path("/a"), tmp_path / "b"), True)
    assert (other.people, other.places, other.allow_unencrypted) == (False, False, False)
    monkeypatch.setenv(f"{ENV_PREFIX}REMOTE", '[{"endpoint": "https://y/v1", "folders": ["/d"]}]')
    assert [one.endpoint for one in loaded(tmp_path, text).settings.remote] == ["https://y/v1"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("endpoint = 'https://x/v1'", ["'remote.0.folders' is missing"]),
        ("folders = ['/a']", ["'remote.0.endpoint' is missing"]),
        ("endpoint = 'https://x/v1'\nfolders = []", ["'remote.0.folders'", "at least 1"]),
        ("endpoint = 'https://x/v1'\nfolders = ['a']", ["'remote.0.folders'", "absolute"]),
        ("endpoint = 'https://x/v1'\nfolders = ['/a/../b']", ["'remote.0.folders'", "without '..'"]),
        ("endpoint = 'https://x/v1'\nfoldrs = ['/a']", ["did you mean 'folders'?"]),
        ("endpoint = 'https://x/v1'\nfolders = ['/a']\npeopel = true", ["did you mean 'people'?"]),
        ("endpoint = 'ftp://x/v1'\nfolders = ['/a']", ["'remote.0.endpoint'", "http or https"]),
        ("endpoint = 'x'\nfolders = ['/a']", ["http or https"]),
        ("endpoint = 'https://'\nfolders = ['/a']", ["http or https"]),
        ("endpoint = 'https://x:0/v1'\nfolders = ['/a']", ["http or https"]),
        ("endpoint = 'https://x:port/v1'\nfolders = ['/a']", ["http or https"]),
        ("endpoint = 'https://[x/v1'\nfolders = ['/a']", ["http or https"]),
        ("endpoint = 'https://x/v1?key=secret'\nfolders = ['/a']", ["no query"]),
        ("endpoint = 'https://me:secret@x/v1'\nfolders = ['/a']", ["no user name or password"]),
        ("endpoint = 'https://x/ secret'\nfolders = ['/a']", ["no blanks"]),
        ("endpoint = 'https://\u0430pi.example.com/v1'\nfolders = ['/a']", ["no foreign letters"]),
    ],
)
def test_a_consent_that_says_nothing_clear_is_an_error(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = complaint(tmp_path, f"[[remote]]\n{text}")
    assert [part for part in parts if part not in message] == [], message
    assert "secret" not in message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, "max_keyword = 3\nmax_workers = 0").splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("MAX_KEYWORD", "3", "did you mean 'max_keywords'?"),
        ("INTAKE__SETTLE", "3", "did you mean 'settle_seconds'?"),
        ("MAX_KEYWORDS", "many", "the environment"),
        ("FOLDERS", "/not/json", "folders"),
    ],
)
def test_a_wrong_environment_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(ENV_PREFIX + name, value)
    assert hint in complaint(tmp_path, "")


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load(config=tmp_path / "none.toml", start=tmp_path)


def test_the_users_configuration_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg" / "tagger-daemon").mkdir(parents=True)
    (tmp_path / "xdg" / "tagger-daemon" / "config.toml").write_text("max_keywords = 9")
    assert load(start=tmp_path).settings.max_keywords == 9


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/tagger-daemon/ann"}, "/var/lib/tagger-daemon/ann"),
        ({"XDG_STATE_HOME": "/x"}, "/x/tagger-daemon"),
        ({}, "~/.local/state/tagger-daemon"),
    ],
)
def test_where_state_lives(tmp_path: Path, environ: Mapping[str, str], expected: str) -> None:
    state = load(environ=environ, start=tmp_path).settings.state_dir
    assert state == Path(expected).expanduser()
