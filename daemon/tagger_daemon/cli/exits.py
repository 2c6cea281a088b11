"""The one map from what happened to message and exit status: a table for each program, which its help shows.

They differ where they have to: a service manager must not start a daemon again that is configured wrongly
(78), and a script that calls a batch run expects what its ancestor gave (2).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tagger_daemon.errors import AlreadyRunning, ConfigurationError, TaggerError
from tagger_daemon.model import Value


class Exit(IntEnum):
    """Exit statuses; 75 and 78 are sysexits(3)'s, and tell systemd not to restart."""

    OK = 0
    AMISS = 1
    USAGE = 2
    NOT_RUNNING = 3
    PREFLIGHT = 3  # of a batch run, which has no `status`
    ALREADY_RUNNING = 75
    CONFIGURATION = 78
    INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Program(Value):
    """One of the two programs, and what its exit statuses mean."""

    name: str
    configuration: Exit  # where the configuration, the registry or the machine is not as needed
    already_running: Exit  # where another process works on the same state directory
    statuses: str  # for its help, one a line

    @property
    def table(self) -> str:
        """What stands below the help of every command."""
        return "\n\n".join(("Exit status:", *self.statuses.strip().splitlines()))

    def status_of(self, error: TaggerError) -> Exit:
        """Give the exit status that an error ends the command with."""
        match error:
            case AlreadyRunning():
                return self.already_running
            case ConfigurationError():
                return self.configuration
            case _:
                return Exit.AMISS


DAEMON: Final = Program(
    name="tagger-daemon",
    configuration=Exit.CONFIGURATION,
    already_running=Exit.ALREADY_RUNNING,
    statuses="""
0    all well
1    something is amiss: photos failed, a check did not pass, an unexpected error
2    wrong usage of the command line
3    `status`: the daemon is not running
75   another daemon runs on the same state directory
78   the configuration, the registry or the machine is not as needed
130  interrupted
""",
)

BATCH: Final = Program(
    name="imageworks-personal-tagger",
    configuration=Exit.USAGE,
    already_running=Exit.PREFLIGHT,
    statuses="""
0    all well
1    photos failed, a check did not pass, an unexpected error
2    wrong usage of the command line; the configuration or the registry is not as needed
3    not begun: something is missing that the run needs, or another run works on the same state directory
130  interrupted
""",
)


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of a program; the commands find it as the `obj` of their contexts."""

    program: Program
    debug: bool = False  # show tracebacks


@contextmanager
def told(session: Session) -> Iterator[None]:
    """Turn an error into its message on stderr and its exit status; with `--debug` show a traceback too.

    Raises:
        SystemExit: with the status that stands for what happened.
    """
    try:
        yield
    except TaggerError as error:
        _show_traceback(error, session)
        for line in str(error).splitlines():
            _say(session, line)
        sys.exit(session.program.status_of(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - a defect of ours has to be called one, whatever it is
        _show_traceback(error, session)
        # Its text is not shown: it could be anything, a key or a whole answer among it.
        how = "" if session.debug else "; --debug shows where"
        _say(session, f"this is a defect of the program, not of what you typed: {type(error).__name__}{how}")
        sys.exit(Exit.AMISS)


def _show_traceback(error: Exception, session: Session) -> None:
    if session.debug:
        traceback.print_exception(error, file=sys.stderr)


def _say(session: Session, line: str) -> None:
    print(f"{session.program.name}: {line}", file=sys.stderr)
