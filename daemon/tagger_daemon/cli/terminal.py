"""Text from files and models, made fit for a terminal and a log."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

#: Columns where there is no terminal to ask for its width.
PIPED_WIDTH = 140


def one_line(text: str) -> str:
    """Escape line breaks, control characters and undecodable bytes: a file name must not forge a log line."""
    printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return printable.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: str) -> str:
    """Make text fit for Rich: on one line, no control codes, no markup."""
    return escape(one_line(text))


def console() -> Console:
    """Give the console that a command prints its result to."""
    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
