"""What is refused before anything is touched, and which prompts are for which photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.running import entry
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Fingerprint, Mode, Photo, Stage
from tagger_daemon.service.parts import cast, check_folders, policies
from tagger_daemon.settings import FallbackSettings, FolderSettings, Settings

UNSEEN = Fingerprint(size=0, mtime_ns=0, inode=0)


def settings(tmp_path: Path, *folders: Path) -> Settings:
    return Settings(state_dir=tmp_path, folders=tuple(FolderSettings(path=folder) for folder in folders))


def test_no_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no watch folder"):
        check_folders(settings(tmp_path))


def test_one_place_under_two_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos" / "2026").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "photos" / "2026")
    check_folders(settings(tmp_path, tmp_path / "photos", tmp_path / "elsewhere"))
    with pytest.raises(ConfigurationError, match="has already"):
        check_folders(settings(tmp_path, tmp_path / "photos", tmp_path / "link"))


@pytest.mark.parametrize("inner", ["2026", "2026/05/01", "not/there"])
def test_what_is_read_with_another_folder_is_not_watched_twice(tmp_path: Path, inner: str) -> None:
    (tmp_path / "photos" / "2026" / "05" / "01").mkdir(parents=True)
    photos, below = tmp_path / "photos", tmp_path / "photos" / inner
    for folders in ((photos, below), (below, photos)):
        with pytest.raises(ConfigurationError, match=f"{below} is already watched with {photos}"):
            check_folders(settings(tmp_path, *folders))


@pytest.mark.parametrize("inner", [".hidden", "2026/@eaDir/more"])
def test_what_is_not_read_with_the_folder_around_it_may_be_watched_too(tmp_path: Path, inner: str) -> None:
    (tmp_path / "photos" / inner).mkdir(parents=True)
    check_folders(settings(tmp_path, tmp_path / "photos", tmp_path / "photos" / inner))


def test_another_disk_inside_a_folder_may_be_watched_too(tmp_path: Path) -> None:
    check_folders(settings(tmp_path, Path("/"), Path("/proc")))


def test_finished_photos_must_not_come_back_by_links(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "done").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to(inbox / "done")
    folder = {"path": inbox, "after": tmp_path / "elsewhere"}
    known = Settings(state_dir=tmp_path, folders=(FolderSettings.model_validate(folder),))
    with pytest.raises(ConfigurationError, match="is watched itself"):
        check_folders(known)


def with_models(tmp_path: Path, *names: str, broken: bool = False, **fallbacks: tuple[str, ...]) -> Settings:
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "backend": "vllm",
            "roles": ["caption", "keywords", "description"],
            "role_priority": {stage.value: -number for stage in Stage},
            "capabilities": {"vision": True},
        }
        for number, name in enumerate(names)
    ]
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps([*entries, *([{"name": "x", "roles": 7}] if broken else [])]))
    return Settings(state_dir=tmp_path, registry=registry, fallbacks=FallbackSettings(**fallbacks))


def test_each_stage_has_its_chain_and_its_words_are_those_of_the_first(tmp_path: Path) -> None:
    settings = with_models(tmp_path, "a", "b", "c", caption=("c", "b"), description=("b",))
    who = cast(settings)
    assert {stage: [entry.name for entry in chain] for stage, chain in who.chains.items()} == {
        Stage.CAPTION: ["a", "c", "b"],
        Stage.KEYWORDS: ["a"],
        Stage.DESCRIPTION: ["a", "b"],
    }
    assert {entry.name for entry in who.entries.values()} == {"a"}
    assert [entry.name for entry in who.distinct] == ["a", "c", "b"]
    assert {identity["entry"] for identity in policies(settings, who).general.current.values()} == {"a"}


def test_without_fall_backs_only_who_has_a_role_is_of_use(tmp_path: Path) -> None:
    who = cast(with_models(tmp_path, "a", "b"))
    assert who.chains == {stage: (entry,) for stage, entry in who.entries.items()}
    assert [entry.name for entry in who.distinct] == ["a"]
    assert not who.may_fall_back


def test_a_fall_back_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^fallbacks\.keywords: .*registry\.json has no entry 'd'"):
        cast(with_models(tmp_path, "a", keywords=("d",)))


def test_the_service_does_not_start_with_a_broken_entry(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cast(with_models(tmp_path, "a", broken=True))
    lines = [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]
    assert lines == [
        "registry.json: entry 2 'x': backend: field required",
        "registry.json: entry 2 'x': roles: input should be a valid list",
    ]


def with_folders(tmp_path: Path, **changes: Any) -> Settings:
    (tmp_path / "registry.json").write_text(json.dumps([entry("http://127.0.0.1:1/v1")]))
    return Settings(**{"state_dir": tmp_path, "registry": tmp_path / "registry.json", **changes})


def test_each_watch_folder_may_have_prompts_of_its_own(tmp_path: Path) -> None:
    folders = [
        {"path": "/photos", "recursive": False, "prompt_profile": "Travel"},
        {"path": "/photos/scans", "prompt_profile": "family archive"},
        {"path": "/photos/rest"},
    ]
    known = with_folders(tmp_path, folders=folders, prompt_profile="stock")
    who = cast(known)
    rules = policies(known, who)
    expected = {"/photos": "travel", "/photos/scans/1950": "family-archive", "/photos/rest": "stock"}
    for folder, profile in {**expected, "/elsewhere": "stock"}.items():
        photo = Photo(path=Path(folder, "a.jpg"), folder=Path(folder), fingerprint=UNSEEN)
        assert who.profile_of(photo).id == profile
        for policy in (rules.of(photo), rules.at(photo.path)):
            assert {identity["profile"] for identity in policy.current.values()} == {profile}
            assert {identity["profile_hash"] for identity in policy.current.values()} == {
                who.profile_of(photo).hash
            }


def test_a_folder_whose_prompts_do_not_exist_is_named(tmp_path: Path) -> None:
    known = with_folders(tmp_path, folders=[{"path": "/photos", "prompt_profile": "travl"}])
    with pytest.raises(ConfigurationError, match="/photos: there is no prompt profile 'travl'; did you mean"):
        cast(known)


def test_photos_of_a_folder_under_review_are_only_proposed(tmp_path: Path) -> None:
    reviewed, other = tmp_path / "family", tmp_path / "inbox"
    folders = (FolderSettings(path=reviewed, review=True), FolderSettings(path=other))
    known = with_models(tmp_path, "eyes").model_copy(update={"folders": folders})
    rules = policies(known, cast(known))
    modes = {path: rules.at(path / "below" / "a.jpg").mode for path in (reviewed, other, tmp_path)}
    assert modes == {reviewed: Mode.PROPOSE, other: Mode.FILL, tmp_path: Mode.FILL}
