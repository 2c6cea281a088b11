"""Puts a page in place: whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable


def write_page(path: Path, text: str) -> None:
    """Write a page, replacing an earlier one; its folder is made where it is missing.

    Raises:
        FolderUnavailable: the disk is full or read-only, or the folder cannot be used; an earlier page is as
            it was.
    """
    unfinished = path.with_name(f".{path.name}.new")  # one that a killed process left behind is overwritten
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            with contextlib.suppress(OSError):  # what went wrong first is told
                unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FolderUnavailable(f"the page {path} cannot be written: {error.strerror}") from error
