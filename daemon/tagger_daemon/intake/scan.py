"""Reads a watch folder and names every photo in it. Events are hints; this is the truth."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.settle import Look
from tagger_daemon.settings import FolderSettings

Report = Callable[[str], None]


def scan(
    folder: FolderSettings, eligibility: Eligibility, *, report: Report, below: Path | None = None
) -> Iterator[tuple[Path, Look]]:
    """Yield every photo of a watch folder with what it looks like, as the directories are read, in no order.

    Ignored folders are not entered, and neither are links to folders nor other file systems mounted inside:
    those want to be watch folders of their own. A link to a file is taken as the file. Empty files are passed
    over.

    Args:
        folder: the watch folder.
        eligibility: which names are taken.
        report: is told, one sentence each, which parts could not be read and why.
        below: read only this folder and what is under it; it may be gone meanwhile.

    Raises:
        FolderUnavailable: the watch folder is missing, may not be read, or was swapped for another while it
        was
            read; what was yielded until then holds, but what was not yielded may exist all the same.
    """
    root = identity(folder)
    unread = [str(below or folder.path)]
    while unread:
        directory = unread.pop()
        for entry, is_folder in _entries(directory, root, report):
            if is_folder:
                if folder.recursive and eligibility.folder(entry.name):
                    unread.append(entry.path)
            elif eligibility.photo(entry.name) and (not folder.only or entry.name in folder.only):
                look = _look(entry, report)
                if look is not None and look.fingerprint.size > 0:
                    yield Path(entry.path), look
    # A disk that was unmounted meanwhile looks like folders that vanished one by one.
    if identity(folder) != root:
        raise FolderUnavailable(f"the watch folder {str(folder.path)!r} was replaced while it was being read")


def enters(outer: Path, inner: Path, eligibility: Eligibility) -> bool:
    """Tell whether a scan of a recursive watch folder reads a folder below it, by its name and its disk.

    Args:
        outer: the watch folder, without links.
        inner: below it, without links; one that is not there is judged by its name.
        eligibility: which names are taken.
    """
    parts = inner.relative_to(outer).parts
    if not all(map(eligibility.folder, parts)):
        return False
    chain = [outer, *(outer.joinpath(*parts[: count + 1]) for count in range(len(parts)))]
    return len({device for place in chain if (device := _device(place)) is not None}) <= 1


def _device(place: Path) -> int | None:
    """Return which disk a folder is on; None if that cannot be known now."""
    try:
        return place.stat().st_dev
    except OSError:
        return None


def identity(folder: FolderSettings) -> tuple[int, int]:
    """Return the watch folder's device and inode, which tell it from another one put in its place.

    Raises:
        FolderUnavailable: it is missing or may not be listed.
    """
    try:
        with os.scandir(folder.path):
            seen = folder.path.stat()
    except OSError as error:
        raise FolderUnavailable(
            f"the watch folder {str(folder.path)!r} cannot be read: {_reason(error)}"
        ) from error
    return seen.st_dev, seen.st_ino


def _entries(
    directory: str, root: tuple[int, int], report: Report
) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """Yield a directory's entries, and whether each is a folder, if it lies on the root's file system.

    A directory that vanished has none.
    """
    try:
        with os.scandir(directory) as entries:
            if Path(directory).stat().st_dev != root[0]:
                report(
                    f"{directory!r} is another file system: make it a watch folder of its own to have it read"
                )
                return
            for entry in entries:
                yield entry, entry.is_dir(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        report(f"{directory!r} could not be read, its photos wait until it can: {_reason(error)}")


def _look(entry: os.DirEntry[str], report: Report) -> Look | None:
    """Look at an entry, through a link if it is one; None if there is no regular file behind it."""
    try:
        seen = entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        report(f"{entry.path!r} could not be looked at, it waits until it can: {_reason(error)}")
        return None
    return Look.of(seen) if stat.S_ISREG(seen.st_mode) else None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
