"""What is refused before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.service.parts import check_folders
from tagger_daemon.settings import FolderSettings, Settings


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


def test_finished_photos_must_not_come_back_by_links(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "done").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to(inbox / "done")
    folder = {"path": inbox, "after": tmp_path / "elsewhere"}
    known = Settings(state_dir=tmp_path, folders=(FolderSettings.model_validate(folder),))
    with pytest.raises(ConfigurationError, match="is watched itself"):
        check_folders(known)
