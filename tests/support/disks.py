"""File systems of their own, and what the kernel tells about a folder, for tests about moving files."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

IN_CREATE, IN_DELETE, IN_MOVED_TO = 0x100, 0x200, 0x80  # inotify(7)
ARRIVALS = IN_CREATE | IN_MOVED_TO
HEADER = struct.Struct("iIII")


@contextmanager
def mounted(folder: Path, *, megabytes: int = 8) -> Iterator[Path]:
    """Give a folder that is a small disk of its own; the test is skipped where none may be mounted."""
    folder.mkdir(exist_ok=True)
    mount(folder, megabytes=megabytes)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False, capture_output=True)


def mount(folder: Path, *, megabytes: int = 8) -> None:
    """Mount a small disk there."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system may be mounted here")


@contextmanager
def bound(folder: Path) -> Iterator[Path]:
    """Mount a folder over itself, as a service's sandbox does: the same disk, and no renaming into it."""
    if subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    """Make a mounted disk read-only (`ro`) or writable (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """Take a disk away."""
    subprocess.run(["umount", str(folder)], check=True)


class Doorman:
    """Notes the names that appear in a folder, in the kernel's order; hidden copies are left out.

    Or those for which another kind of event is told, as inotify(7) calls it.
    """

    def __init__(self, folder: Path, events: int = ARRIVALS) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(folder), events) != -1

    def seen(self) -> list[str]:
        """Give the names since the last call."""
        names: list[str] = []
        while True:
            try:
                events = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return [name for name in names if not name.startswith(".")]
            at = 0
            while at < len(events):
                *_, length = HEADER.unpack_from(events, at)
                at += HEADER.size + length
                names.append(os.fsdecode(events[at - length : at].rstrip(b"\0")))

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)
