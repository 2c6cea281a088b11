"""Moves finished photos to another folder, each with all that belongs to it and nothing over anything.

A move may be cut off anywhere, by `kill -9` or a power cut; `carry` goes on from whatever it finds. A name
that is at the source only has not gone, one that is at the target only has. One that is at both was linked or
copied, and its source goes once the two are proved to be equal, byte by byte.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

from tagger_daemon.errors import FolderUnavailable, HandOffBlocked
from tagger_daemon.metadata.files import (
    check_folder,
    check_open,
    fingerprint,
    flush,
    folder_trouble,
    rename_new,
)
from tagger_daemon.metadata.naming import extension, temp_name
from tagger_daemon.metadata.sidecar import owner
from tagger_daemon.model import Fingerprint, Move

BLOCK = 1 << 20  # bytes that are copied or compared at once
#: What file systems of other systems answer when they are to keep owner, mode or date and cannot.
CANNOT_KEEP = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def sidecar_owners(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Return which kind of photo each of the sidecars among these files says it belongs to, as `owner` does.

    Raises:
        HandOffBlocked: one cannot be read.
    """
    owners: dict[str, str] = {}
    for name in names:
        if extension(Path(name)) == "xmp":
            try:
                said = owner((folder / name).read_bytes())
            except OSError as error:
                raise HandOffBlocked(f"{name} cannot be read: {_words(error)}") from error
            owners |= {name: said} if said else {}
    return owners


def mount_of(folder: Path) -> Path:
    """Return where the disk is mounted that a folder lies on: an unmounted one shows by another answer.

    Raises:
        FolderUnavailable: the folder is not there.
    """
    _check_there(folder)
    real = folder.resolve()
    return next(path for path in (real, *real.parents) if path.is_mount())


def make_folder(root: Path, folder: Path) -> None:
    """Make a folder below another one, and those between; the root itself has to be there.

    Raises:
        FolderUnavailable: the root is not there, or cannot be written to.
        HandOffBlocked: a file is in the way.
    """
    _check_there(root)
    with _told(root):
        missing = [path for path in (folder, *folder.parents) if root in path.parents and not path.is_dir()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            flush(path.parent)


def check_move(move: Move) -> None:
    """Make sure that a move can be begun; nothing is touched.

    Raises:
        FolderUnavailable: the target is not there, or cannot be written to.
        HandOffBlocked: a name is taken there, or nothing can be taken out of the source.
    """
    _check_there(move.target)
    with _told(move.target):
        check_open(move.target)
        for name in move.names:
            if not stat.S_ISREG((move.source / name).lstat().st_mode):
                raise HandOffBlocked(f"{name} is a link to a file elsewhere; links are not moved")
            if os.path.lexists(move.target / name):
                raise _taken(move, name)
    try:
        check_open(move.source)
    except FolderUnavailable as error:
        raise HandOffBlocked(str(error)) from error


def carry(move: Move, *, stopping: Callable[[], bool]) -> None:
    """Move what has not gone yet, in order, and be sure of it on the disk.

    By renaming within one mount. Across mounts everything is copied, flushed and compared first, then the
    copies get their names, and the sources go last.

    Args:
        move: checked by `check_move`, or begun earlier and cut off.
        stopping: whether to leave off in the middle of a long copy.

    Raises:
        FolderUnavailable: the target is away, full or read-only; `carry` may be called again.
        HandOffBlocked: a name was taken meanwhile, a file changed, or it was to leave off.
    """
    left = [name for name in move.names if os.path.lexists(move.source / name)]
    if not left:
        return  # whoever waited there for the picture may have taken it, and cleared the folders away
    _check_there(move.target)
    with _told(move.target):
        _clear(move)
        gone = {}  # what is at the target too -> as it was when they were equal
        for name in left:
            if os.path.lexists(move.target / name):
                gone[name] = fingerprint((move.source / name).lstat())
                if not _same(move.source / name, move.target / name, stopping):
                    raise _taken(move, name)
        gone |= _rename(move, [name for name in left if name not in gone], stopping)
        flush(move.target)
        for name in reversed(move.names):  # pictures first: while one is there, so are its sidecars
            if name in gone:
                _remove(move.source / name, gone[name])
        flush(move.source)


def bring_back(move: Move) -> bool:
    """Undo what there is of a move, so that everything stands at the source alone.

    Returns:
        False if a picture has gone already: then there is only going on.

    Raises:
        FolderUnavailable: the target is away or read-only; it may be tried again.
        HandOffBlocked: something could not be brought back.
    """
    _check_there(move.target)
    with _told(move.target):
        _clear(move)
        pictures = (name for name in move.names if extension(Path(name)) != "xmp")
        if not all(os.path.lexists(move.source / name) for name in pictures):
            return False
        over = tuple(name for name in reversed(move.names) if not os.path.lexists(move.source / name))
        carry(Move(source=move.target, target=move.source, names=over), stopping=_never)
        for name in reversed(move.names):
            here, there = move.source / name, move.target / name
            if os.path.lexists(there) and _same(here, there, _never):
                there.unlink()
        flush(move.target)
    return True


def _rename(move: Move, names: Sequence[str], stopping: Callable[[], bool]) -> dict[str, Fingerprint]:
    """Move these, and return those of which only a copy has gone, as they were when they were copied."""
    for name in names:
        try:
            rename_new(move.source / name, move.target / name)
        except FileExistsError as error:
            raise _taken(move, name) from error
        except PermissionError as error:
            raise HandOffBlocked(f"{name} may not be moved: {_words(error)}") from error
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return _copy_all(move, names, stopping)
    return {}


def _copy_all(move: Move, names: Sequence[str], stopping: Callable[[], bool]) -> dict[str, Fingerprint]:
    """Put copies in place, none before all are proved to be right; return what they are copies of."""
    before = {name: fingerprint((move.source / name).lstat()) for name in names}
    check_folder(move.target, sum(seen.size for seen in before.values()))
    with contextlib.ExitStack() as undo:
        for name in names:
            temp = _temp(move, name)
            undo.callback(temp.unlink, missing_ok=True)
            _copy(move.source / name, temp, stopping)
        for name in names:
            if fingerprint((move.source / name).lstat()) != before[name]:
                raise HandOffBlocked(f"{name} changed while it was copied")
        for name in names:
            try:
                rename_new(_temp(move, name), move.target / name)
            except FileExistsError as error:
                raise _taken(move, name) from error
    return before


def _copy(source: Path, temp: Path, stopping: Callable[[], bool]) -> None:
    """Copy a file with owner, mode, dates and extended attributes as far as the disk keeps them; compare."""
    with source.open("rb") as original, os.fdopen(_created(temp), "wb") as copy:
        for block in _blocks(original, stopping):
            copy.write(block)
        status = os.fstat(original.fileno())
    with _where_it_can_be_kept():
        os.chown(temp, status.st_uid, status.st_gid)
    with _where_it_can_be_kept():
        shutil.copystat(source, temp)
    flush(temp)
    if not _same(source, temp, stopping):
        raise HandOffBlocked(f"the copy of {source.name} in {temp.parent} is not the same")


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _same(one: Path, other: Path, stopping: Callable[[], bool]) -> bool:
    """Tell whether two files are one, or hold the same bytes, by reading both to their end."""
    with one.open("rb") as left, other.open("rb") as right:
        seen, there = os.fstat(left.fileno()), os.fstat(right.fileno())
        if os.path.samestat(seen, there):
            return True
        if seen.st_size != there.st_size:
            return False
        # What was just written is read from the disk, not from memory: it is the disk that is to be trusted.
        os.posix_fadvise(right.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return all(block == right.read(len(block)) for block in _blocks(left, stopping))


def _blocks(file: IO[bytes], stopping: Callable[[], bool]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        if stopping():
            raise HandOffBlocked("the service ends; the next start takes it up")
        yield block


def _remove(source: Path, copied: Fingerprint) -> None:
    if fingerprint(source.lstat()) != copied:
        raise HandOffBlocked(f"{source.name} changed while it was moved; both are kept")
    try:
        source.unlink()
    except PermissionError as error:
        raise HandOffBlocked(f"{source.name} was copied, and may not be removed: {_words(error)}") from error


def _clear(move: Move) -> None:
    """Remove what is left of copies that were cut off."""
    for name in move.names:
        _temp(move, name).unlink(missing_ok=True)


def _temp(move: Move, name: str) -> Path:
    """Return the name of a copy that is not whole yet: always the same, so that one that was left is found.

    It has no extension of a photo, so that nobody who watches the target takes it for one.
    """
    target = move.target / name
    token = hashlib.sha256(os.fsencode(target)).hexdigest()[:12]
    return target.with_name(temp_name(target, token).removesuffix(target.suffix))


def _check_there(folder: Path) -> None:
    with _told(folder):
        if not folder.is_dir():
            raise FolderUnavailable(f"{folder} is not there (is its disk mounted?)")


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn the operating system's errors into the folder's, or those of the one photo."""
    try:
        with folder_trouble(folder):
            yield
    except OSError as error:
        name = os.path.basename(error.filename or "")  # noqa: PTH119 - whatever the system call was given
        raise HandOffBlocked(f"{name or folder} could not be moved: {_words(error)}") from error


@contextlib.contextmanager
def _where_it_can_be_kept() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_KEEP:
            raise


def _never() -> bool:
    return False


def _taken(move: Move, name: str) -> HandOffBlocked:
    return HandOffBlocked(f"{move.target} has a file named {name} already")


def _words(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO).lower()
