"""Which photos a run is about: the watch folders, and what their settings leave out. By names alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.model import Photo
from tagger_daemon.settings import FolderSettings, Settings


class Scope:
    """Tells by its path whether a photo is to be worked on; no file is looked at."""

    def __init__(self, folders: Sequence[FolderSettings], eligibility: Eligibility) -> None:
        """Prepare to tell.

        Args:
            folders: the watch folders.
            eligibility: the names that are taken.
        """
        self._folders = {folder.path: folder for folder in folders}
        self._eligibility = eligibility

    @classmethod
    def of(cls, settings: Settings) -> Scope:
        """Return what these settings are about."""
        return cls(settings.folders, Eligibility(settings.intake.ignore, extensions=settings.image_exts))

    def folder_of(self, path: Path) -> FolderSettings | None:
        """Return the watch folder that a path is, or is under: the nearest; None: it is in none."""
        return next(
            (self._folders[parent] for parent in (path, *path.parents) if parent in self._folders), None
        )

    def takes(self, path: Path) -> bool:
        """Tell whether the photo of this path is to be worked on."""
        folder = self.folder_of(path)
        return folder is not None and not self._passes_over(folder, path)

    def takes_as(self, photo: Photo) -> bool:
        """Tell whether a queued photo is to be worked on as one of the very folder that it is queued for."""
        folder = self.folder_of(photo.path)
        return (
            folder is not None and folder.path == photo.folder and not self._passes_over(folder, photo.path)
        )

    def _passes_over(self, folder: FolderSettings, path: Path) -> bool:
        between = path.relative_to(folder.path).parts[:-1]
        return (
            bool(between and not folder.recursive)
            or bool(folder.only and path.name not in folder.only)
            or not all(map(self._eligibility.folder, between))
            or not self._eligibility.photo(path.name)
        )
