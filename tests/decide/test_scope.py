"""A photo's path says whether a run is about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.model import Fingerprint, Photo
from tagger_daemon.service.scope import Scope
from tagger_daemon.settings import FolderSettings

SCOPE = Scope(
    [
        FolderSettings(path=Path("/all")),
        FolderSettings(path=Path("/flat"), recursive=False),
        FolderSettings(path=Path("/flat/one"), recursive=False, only=("a.jpg",)),
        FolderSettings(path=Path("/all/.hidden")),
    ],
    Eligibility(["private"], extensions=["jpg"]),
)


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/all/a.jpg", True),
        ("/all/deep/deeper/a.jpg", True),
        ("/all/a.png", False),
        ("/all/deep/.a.jpg", False),
        ("/all/private/a.jpg", False),
        ("/all/deep/@eaDir/a.jpg", False),
        ("/all/.hidden/a.jpg", True),
        ("/all/.other/a.jpg", False),
        ("/flat/a.jpg", True),
        ("/flat/deep/a.jpg", False),
        ("/flat/one/a.jpg", True),
        ("/flat/one/b.jpg", False),
        ("/flat/one/deep/a.jpg", False),
        ("/elsewhere/a.jpg", False),
    ],
)
def test_a_photo_is_taken_by_the_nearest_folder_or_not_at_all(path: str, taken: bool) -> None:
    assert SCOPE.takes(Path(path)) is taken


def test_a_row_of_another_folder_than_the_nearest_is_not_taken() -> None:
    photo = Photo(
        path=Path("/all/.hidden/a.jpg"),
        folder=Path("/all"),
        fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1),
    )
    assert not SCOPE.takes_as(photo)
    assert SCOPE.takes_as(photo.evolve(folder=Path("/all/.hidden")))
