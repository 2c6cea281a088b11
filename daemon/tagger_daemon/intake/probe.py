"""Looks at one file: what it is like, whether it can be read to its end, whether somebody is writing it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagger_daemon.errors import FolderUnavailable, PhotoGone, PhotoUnreadable, TaggerError
from tagger_daemon.intake.settle import Look
from tagger_daemon.model import Fingerprint

BLOCK = 1 << 20  # bytes; read-ahead of a spinning disk or a network share is put to use, memory is not

_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
#: The disk or the share behind the folder went away: nothing is known about the file.
_UNAVAILABLE = frozenset(
    (
        *(errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
    )
)


def look(path: Path) -> Look | None:
    """Return what the file looks like now; None if no regular file is there. Links are followed.

    Raises:
        PhotoUnreadable: the file may not be looked at, or the disk reports an error.
        FolderUnavailable: the disk or share behind it does not answer.
    """
    try:
        seen = path.stat()
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise _told(path, error) from error
    return Look.of(seen) if stat.S_ISREG(seen.st_mode) else None


def fingerprint_of(path: Path) -> Fingerprint | None:
    """Return what tells this content of the file from another; None if no regular file is there.

    Raises what `look` raises.
    """
    seen = look(path)
    return None if seen is None else seen.fingerprint


def readable_to_end(path: Path) -> None:
    """Read the whole file once, so that a bad sector or a lost share shows before a decoder meets it.

    Raises:
        PhotoGone: no file is there.
        PhotoUnreadable: the file may not be read, is not a regular file, or the disk reports an error.
        FolderUnavailable: the disk or share behind it does not answer.
    """
    block = bytearray(BLOCK)
    try:
        with _opened(path) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PhotoUnreadable("this is not a regular file")
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while os.readv(descriptor, [block]):
                pass
    except OSError as error:
        raise _told(path, error) from error


def being_written(path: Path) -> bool:
    """Tell whether some process has the file open for writing; False also where that cannot be told.

    Asks the kernel for a read lease, which it refuses while there is a writer, of any user and mapped memory
    included (fcntl(2), F_SETLEASE). Only a file's owner may ask, and writers on the far side of a network
    share are not seen.
    """
    try:
        with _opened(path) as descriptor:
            # Whoever opens the file for writing in the microseconds of our lease makes the kernel signal us,
            # by default with SIGIO, which would end the process; SIGURG is ignored unless somebody asks for
            # it.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # Also open's answer, where a file server's own lease (Samba's oplock) is in the way.
        return error.errno == errno.EAGAIN
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open for reading without ever waiting, as a pipe or somebody's lease would have us do."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _told(path: Path, error: OSError) -> TaggerError:
    """Say in our words what the system said."""
    reason = os.strerror(error.errno or 0).lower()
    if error.errno in _GONE:
        return PhotoGone("the photo is no longer there")
    if error.errno in _UNAVAILABLE:
        return FolderUnavailable(f"the folder {str(path.parent)!r} does not answer: {reason}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PhotoUnreadable("the photo may not be read; allow this user to, then `retry`")
    return PhotoUnreadable(f"the photo cannot be read: {reason}")
