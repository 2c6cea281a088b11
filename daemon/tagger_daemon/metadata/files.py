"""The file system's part of a safe write: fingerprints, copies, and putting one in a file's place."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable, PhotoChanged, PhotoGone, WriteRefused
from tagger_daemon.metadata.naming import is_our_temp, is_temp_of, temp_name, temp_token
from tagger_daemon.model import Fingerprint, Photo

FOLDER_TROUBLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "the folder may not be written to",
    errno.EPERM: "the folder may not be written to",
    errno.EIO: "the disk reports an error",
    errno.ENOTCONN: "the disk is not connected",
    errno.ESTALE: "the disk is not connected",
}
NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
NO_SUCH_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
SPARE = 1 << 20  # bytes that must be free beyond the size of the copy


def fingerprint(status: os.stat_result) -> Fingerprint:
    """Return what tells this content of a file from another."""
    return Fingerprint(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def check_unchanged(photo: Photo) -> None:
    """Make sure that a photo still has the content that was queued, and that its words are about.

    Raises:
        PhotoGone: it is not there.
        PhotoChanged: it has another content.
    """
    try:
        status = photo.path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PhotoGone(f"{photo.path.name} is no longer there") from error
    if fingerprint(status) != photo.fingerprint:
        raise PhotoChanged(f"{photo.path.name} changed meanwhile")


@contextlib.contextmanager
def folder_trouble(folder: Path) -> Iterator[None]:
    """Turn the operating system's errors that are the folder's fault into `FolderUnavailable`."""
    try:
        yield
    except OSError as error:
        reason = FOLDER_TROUBLE.get(error.errno or 0)
        if reason is None:
            raise
        raise FolderUnavailable(f"{folder} cannot be written to now: {reason}") from error


def check_folder(folder: Path, size: int) -> None:
    """Make sure that a copy of `size` bytes can be made in a folder.

    Raises:
        FolderUnavailable: disk full or read-only, no right to write.
    """
    check_open(folder)
    with folder_trouble(folder):
        space = os.statvfs(folder)
        if space.f_bavail * space.f_frsize < size + SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_open(folder: Path) -> None:
    """Make sure that names in a folder may be made and removed.

    Raises:
        FolderUnavailable: disk read-only, no right to write.
    """
    with folder_trouble(folder):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def check_creatable(target: Path, size: int) -> None:
    """Make sure that a file of `size` bytes can be made under this name.

    Raises:
        WriteRefused: the name is longer than the file system takes.
        FolderUnavailable: as `check_folder`.
    """
    check_folder(target.parent, size)
    if len(os.fsencode(target.name)) > os.pathconf(target.parent, "PC_NAME_MAX"):
        raise WriteRefused(
            f"the name {target.name} is too long for a file; give the photo a shorter one, "
            "and it will be tagged"
        )


def check_replaceable(target: Path, status: os.stat_result, *, allow_hard_links: bool) -> None:
    """Make sure that a file may be replaced by its edited copy.

    Raises:
        WriteRefused: it is write-protected, has a second name, is no regular file, or belongs to another user
            to whom a copy cannot be given.
        FolderUnavailable: as `check_folder`.
    """
    check_folder(target.parent, status.st_size)
    check_file(target, status, allow_hard_links=allow_hard_links)
    if not is_own(status):  # only trying tells, on network shares
        with temporary_copy(target) as trial:
            trial.touch(mode=0o600, exist_ok=False)
            _keep_owner(trial, target, status)


def check_file(target: Path, status: os.stat_result, *, allow_hard_links: bool) -> None:
    """Make sure that nothing about a file itself forbids to replace it; neither folder nor owner count.

    Raises:
        WriteRefused: it is write-protected, has a second name, or is no regular file.
    """
    if not stat.S_ISREG(status.st_mode):
        raise WriteRefused(f"{target.name} is not a regular file")
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise WriteRefused(f"{target.name} is write-protected; allow writing to it, then `retry`")
    if status.st_nlink > 1 and not allow_hard_links:
        raise WriteRefused(
            f"{target.name} has {status.st_nlink} names (hard links), and only one would get the words; "
            "allow_hard_links = true writes all the same"
        )


def is_own(status: os.stat_result) -> bool:
    """Tell whether a copy of a file belongs to the file's owner by itself."""
    return (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


@contextlib.contextmanager
def temporary_copy(target: Path) -> Iterator[Path]:
    """Give the name of a copy to be made beside `target`; what is left of it afterwards is removed."""
    temp = target.with_name(temp_name(target, temp_token(target, secrets.token_hex(3))))
    try:
        yield temp
    finally:
        temp.unlink(missing_ok=True)


def dress_like(temp: Path, target: Path, status: os.stat_result, *, preserve_mtime: bool) -> None:
    """Give the copy the original's owner, mode and extended attributes, and its date if that is wished.

    Raises:
        WriteRefused: the owner cannot be kept.
    """
    _keep_owner(temp, target, status)
    shutil.copystat(target, temp)
    if not preserve_mtime:
        os.utime(temp)  # photo programs notice a change by its date


def publish(temp: Path, target: Path) -> None:
    """Put a finished copy in the place of an existing file, on disk before its name is."""
    flush(temp)
    temp.replace(target)
    flush(target.parent)


def publish_new(temp: Path, target: Path) -> None:
    """Give a finished file its name, if nobody else took it meanwhile.

    Raises:
        PhotoChanged: somebody did.
    """
    flush(temp)
    try:
        _link_or_claim(temp, target)
    except FileExistsError as error:
        raise PhotoChanged(f"{target.name} appeared meanwhile") from error
    flush(target.parent)


def flush(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_new(source: Path, target: Path) -> None:
    """Move a file to another name of its mount, if nobody has that name: never over an existing file.

    By renameat2(2) with RENAME_NOREPLACE: one step, in which whoever watches the target's folder sees one
    whole file arrive. NFS and some others know only hard links, which show the file under both names for a
    moment; what knows neither gets an empty file first, which the real one then replaces.

    Raises:
        FileExistsError: somebody has the name.
        OSError: the two are not on the same mount (EXDEV), or the system refuses for another reason.
    """
    try:
        _rename_no_replace(source, target)
    except OSError as error:
        if error.errno not in NO_SUCH_RENAME:
            raise
        _link_or_claim(source, target)


def withdraw(target: Path) -> None:
    """Remove a file for good: also its name is gone from the disk when this returns."""
    target.unlink()
    flush(target.parent)


def sweep(folder: Path, *, recursive: bool, before: float) -> tuple[Path, ...]:
    """Remove the copies that interrupted writes left in a folder, and return their names.

    Copies that another process is making look the same, but for their age: young ones are left.

    Args:
        folder: where they may be.
        recursive: in the folders below it too.
        before: seconds since the epoch; what was changed since then is left.
    """
    removed = []
    for parent, folders, names in os.walk(folder):
        if not recursive:
            folders.clear()
        for name in filter(is_our_temp, names):
            path = Path(parent, name)
            if _is_older(path, before):
                path.unlink(missing_ok=True)
                removed.append(path)
    return tuple(removed)


def sweep_beside(target: Path) -> tuple[Path, ...]:
    """Remove the copies of one file that an interrupted write left, of whatever age, and return their names.

    To be called while this state directory has nobody at work on the file.
    """
    names = os.listdir(target.parent)  # noqa: PTH208 - names are wanted, of folders of any size
    removed = [target.with_name(name) for name in names if is_temp_of(target, name)]
    for path in removed:
        path.unlink(missing_ok=True)
    return tuple(removed)


def _is_older(path: Path, moment: float) -> bool:
    """Tell whether a file was last changed before a moment; its own date may be that of the photo."""
    try:
        return path.lstat().st_ctime < moment
    except FileNotFoundError:
        return False  # its write has come to its end


def _keep_owner(temp: Path, target: Path, status: os.stat_result) -> None:
    try:
        os.chown(temp, status.st_uid, status.st_gid)
    except PermissionError as error:
        raise WriteRefused(
            f"{target.name} belongs to another user and could not be kept so; run the service as its owner"
        ) from error


def _link_or_claim(source: Path, target: Path) -> None:
    """Give a file another name by a hard link, or where the file system knows none by an empty file first."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        target.open("xb").close()
        with contextlib.ExitStack() as undo:
            undo.callback(target.unlink)
            source.replace(target)
            undo.pop_all()
    else:
        source.unlink()


def _rename_no_replace(source: Path, target: Path) -> None:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # a C library older than the system call
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    at_fdcwd, rename_noreplace = -100, 1
    if rename(at_fdcwd, os.fsencode(source), at_fdcwd, os.fsencode(target), rename_noreplace) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))
