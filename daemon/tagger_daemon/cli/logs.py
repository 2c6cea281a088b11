"""Where log lines go: one line an event, whatever is in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from loguru import logger

from tagger_daemon.cli.terminal import one_line

if TYPE_CHECKING:
    from loguru import Message

#: journald's levels, sd-daemon(3).
JOURNAL = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


def configure(level: str, *, write: Callable[[str], None] | None = None) -> None:
    """Send everything from this level on to stderr, or to `write`, one physical line each.

    Tracebacks carry no values of variables: a key or a picture could be among them.
    """
    out = write or _to_stderr
    form = _for_journal if "JOURNAL_STREAM" in os.environ else _for_terminal
    logger.remove()
    logger.add(lambda message: out(form(message)), level=level, diagnose=False, backtrace=False, catch=True)


def _for_terminal(message: Message) -> str:
    record = message.record
    return f"{record['time']:HH:mm:ss} {record['level'].name:<7} {one_line(_text(message))}"


def _for_journal(message: Message) -> str:
    return f"<{JOURNAL[message.record['level'].name]}>{one_line(_text(message))}"


def _text(message: Message) -> str:
    # With an exception, loguru's formatted message carries the traceback behind the text.
    return str(message).rstrip("\n") if message.record["exception"] else message.record["message"]


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
