"""Keeps files as they were before our words were first written into them.

One original of a picture, folder and name, outside the photo folders: the newest state that was a person's
own alone.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable, StateUnavailable
from tagger_daemon.metadata.files import check_folder, flush, folder_trouble, temporary_copy
from tagger_daemon.metadata.naming import is_our_temp
from tagger_daemon.model import WritePlan

PRIVATE = 0o700  # the folders of the photos may be closed to others; that of the state need not be


def place_of(folder: Path, plan: WritePlan, content_hash: str) -> Path | None:
    """Return where the file that a plan replaces is to be kept; None: nothing of a person's is replaced.

    A sidecar that is made anew has no original, and a file with our words in it is none.

    Args:
        folder: of all originals.
        plan: what will be written.
        content_hash: of the photo's picture without its metadata.
    """
    existing = plan.existing
    if not plan.writes or existing.source_fingerprint is None or existing.source_marked:
        return None
    here = hashlib.sha256(os.fsencode(plan.target.parent)).hexdigest()[:8]
    return folder / content_hash[:2] / content_hash / here / plan.target.name


def keep(target: Path, place: Path) -> None:
    """Copy a file with its mode, date and extended attributes; the copy is whole, compared and on disk.

    It takes the place of an earlier one in one step.

    Args:
        target: the file.
        place: where its copy goes, as `place_of` gives it.

    Raises:
        StateUnavailable: disk full, read-only or failing; what was kept before is still there.
    """
    folder = place.parents[3]
    try:
        with folder_trouble(folder):
            _make(place.parent)
            check_folder(folder, target.stat().st_size)
            with temporary_copy(folder / place.name) as copy:
                shutil.copy2(target, copy)
                flush(copy)
                if not filecmp.cmp(target, copy, shallow=False):
                    raise StateUnavailable(
                        f"the original of {target.name} could not be kept: its copy differs"
                    )
                copy.replace(place)
            flush(place.parent)
    except FolderUnavailable as error:
        raise StateUnavailable(f"the original of {target.name} could not be kept: {error}") from error


def sweep_copies(folder: Path) -> None:
    """Remove the copies that a killed process left unfinished; before any is made."""
    if folder.is_dir():
        for path in folder.iterdir():
            if is_our_temp(path.name):
                path.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    """Make a folder and those above it that are missing, and see that they are on disk."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=PRIVATE, exist_ok=True)
        flush(folder.parent)
