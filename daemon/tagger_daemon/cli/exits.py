"""The one map from what happened to message and exit status. Every command's help shows this table.

0    all well
1    something is amiss: photos failed, a check did not pass, an unexpected error
2    wrong usage of the command line
3    `status`: the daemon is not running
75   another daemon runs on the same state directory
78   the configuration, the registry or the machine is not as needed
130  interrupted
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from tagger_daemon.errors import AlreadyRunning, ConfigurationError, TaggerError


class Exit(IntEnum):
    """Exit statuses; 75 and 78 are sysexits(3)'s, and tell systemd not to restart."""

    OK = 0
    AMISS = 1
    USAGE = 2
    NOT_RUNNING = 3
    ALREADY_RUNNING = 75
    CONFIGURATION = 78
    INTERRUPTED = 130


#: Shown below the help of every command.
TABLE = "\n\n".join(
    ("Exit status:", *(line.strip() for line in (__doc__ or "").splitlines()[2:] if line.strip()))
)


def status_of(error: TaggerError) -> Exit:
    """Give the exit status that an error ends the command with."""
    match error:
        case AlreadyRunning():
            return Exit.ALREADY_RUNNING
        case ConfigurationError():
            return Exit.CONFIGURATION
        case _:
            return Exit.AMISS


@contextmanager
def told() -> Iterator[None]:
    """Turn an error into its message on stderr and its exit status, without a traceback."""
    try:
        yield
    except TaggerError as error:
        for line in str(error).splitlines():
            print(f"tagger-daemon: {line}", file=sys.stderr)
        raise typer.Exit(status_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
