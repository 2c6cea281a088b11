"""Puts the day's page in place: whole or not at all."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable


def write_page(folder: Path, day: date, text: str) -> Path:
    """Write the page about one day to `DATE.md`, replacing an earlier one, and return where it stands.

    Raises:
        FolderUnavailable: the disk is full or read-only, or the folder cannot be used.
    """
    path = folder / f"{day.isoformat()}.md"
    unfinished = folder / f".{path.name}.new"  # one that a killed process left behind is overwritten
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise FolderUnavailable(
            f"the page of {day} cannot be written to {folder}: {error.strerror}"
        ) from error
    return path
