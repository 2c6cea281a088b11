"""A program that we started: its process group, and the last lines of what it says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

#: Lines of output that are kept, and the most characters of each.
LOG_LINES: Final = 200
LOG_WIDTH: Final = 500

#: Bytes of a line that are kept until it ends: more than is shown, so that a key is found whole.
LONGEST_LINE: Final = 1 << 16

#: Seconds between SIGTERM and SIGKILL.
GRACE: Final = 5.0

#: Seconds between two looks whether a process group is gone, and for reading out the output of a dead one.
LOOK: Final = 0.05
READ_OUT: Final = 1.0

#: How the kernel writes a listening socket's state, and addresses of this machine, each word turned around.
_LISTEN: Final = "0A"
_LOOPBACK: Final = re.compile(
    r"(?:0{16}FFFF0000)?[0-9A-F]{6}7F|0{24}01000000"
    if sys.byteorder == "little"
    else r"(?:0{20}FFFF)?7F[0-9A-F]{6}|0{31}1"
)


class LogTail:
    """The last lines of an output that comes in pieces."""

    def __init__(self, *, clean: Callable[[str], str] = str) -> None:
        """Begin empty; `clean` takes out of a whole line, before it is cut, what must not be shown."""
        self._clean = clean
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Take the next piece; progress bars end their lines with a carriage return."""
        *lines, rest = re.split(rb"[\r\n]+", self._rest + piece)
        self._rest = rest[:LONGEST_LINE]
        self._lines.extend(filter(None, map(self._shown, lines)))

    def lines(self) -> tuple[str, ...]:
        """Return what was kept, oldest first, an unfinished line included."""
        unfinished = self._shown(self._rest)
        return (*self._lines, unfinished) if unfinished else tuple(self._lines)

    def _shown(self, line: bytes) -> str:
        text = self._clean(line[:LONGEST_LINE].decode(errors="replace"))[:LOG_WIDTH]
        return "".join(c if c.isprintable() else " " for c in text).rstrip()


class Child:
    """A running program in a process group of its own."""

    def __init__(self, process: Process, tail: LogTail) -> None:
        """Take charge of a process that leads its group and writes to a pipe; use `start` to have one."""
        self._process = process
        self._drain = asyncio.create_task(self._read(tail), name=f"output of {process.pid}")

    @classmethod
    async def start(cls, argv: Sequence[str], *, env: Mapping[str, str], tail: LogTail) -> Self:
        """Start a program, without a shell; what it writes goes to `tail`.

        Raises:
            OSError: there is no such program, or it may not be run.
        """
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=env, start_new_session=True
        )
        return cls(process, tail)

    @property
    def pid(self) -> int:
        """The program's process id, which is its group's too."""
        return self._process.pid

    async def wait(self) -> str:
        """Wait for the program's end, and tell how it came."""
        status = await self._process.wait()
        return f"was ended by signal {-status}" if status < 0 else f"stopped with exit status {status}"

    async def end(self) -> None:
        """End the program and its group: SIGTERM, and after `GRACE` SIGKILL to what is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._process.wait()
                while self._signal(0):  # noqa: ASYNC110  # nothing tells of a group's end
                    await asyncio.sleep(LOOK)
        self._signal(signal.SIGKILL)
        await self._process.wait()
        await self.read_out()
        self._drain.cancel()

    async def read_out(self) -> None:
        """Read a dead program's output to its end, unless a child that left its group holds the pipe."""
        await asyncio.wait({self._drain}, timeout=READ_OUT)

    async def _read(self, tail: LogTail) -> None:
        assert self._process.stdout is not None
        while piece := await self._process.stdout.read(1 << 16):
            tail.feed(piece)

    def _signal(self, number: int) -> bool:
        """Signal the group; tell whether there is one. Signal 0 only asks."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def reachable_from_outside(port: int) -> bool:
    """Tell whether something listens on this port at another address than this machine's own, proc_net(5)."""
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()]
    listening = (line[1].rpartition(":") for line in lines if len(line) > 3 and line[3] == _LISTEN)
    return any(int(number, 16) == port and not _LOOPBACK.fullmatch(host) for host, _, number in listening)
