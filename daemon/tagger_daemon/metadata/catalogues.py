"""Looks whether Lightroom has a catalogue open.

For as long as it has, `NAME.lrcat.lock` stands beside `NAME.lrcat`. It stays behind after a crash, but
Lightroom then refuses to open the catalogue until a person removes it. The write-ahead log `NAME.lrcat-wal`
comes and goes with the lock; it is not looked at, because one that was left behind stays for good and hinders
nobody.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable

CATALOGUE = ".lrcat"
LOCK = ".lock"


def find_lock(catalogue: Path) -> Path | None:
    """Return the lock of a catalogue that is open, or None if none is.

    Args:
        catalogue: a catalogue file, or a folder that catalogues lie in.

    Raises:
        FolderUnavailable: it cannot be looked at.
    """
    single = catalogue.suffix.casefold() == CATALOGUE
    folder = catalogue.parent if single else catalogue
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise _unseen(catalogue, os.strerror(error.errno or errno.EIO).lower()) from error
    if single and catalogue.name not in names:
        raise _unseen(catalogue, "it is not there")
    locks = [name for name in names if name.casefold().endswith(CATALOGUE + LOCK)]
    wanted = [name for name in locks if not single or name == catalogue.name + LOCK]
    return folder / min(wanted) if wanted else None


def why_in_use(catalogues: Sequence[Path]) -> str | None:
    """Return in plain words why one of the catalogues may be in use now; None: none is.

    One that cannot be looked at may be.
    """
    for catalogue in catalogues:
        try:
            lock = find_lock(catalogue)
        except FolderUnavailable as error:
            return f"{error}: it waits until that is mended, or metadata.lightroom_catalogs corrected"
        if lock is not None:
            return f"Lightroom has {lock.with_suffix('')} open: it waits until {lock.name} is gone"
    return None


def _unseen(catalogue: Path, reason: str) -> FolderUnavailable:
    return FolderUnavailable(f"whether Lightroom has {catalogue} open cannot be seen ({reason})")
