"""Untrusted text in Markdown: shown as it is, never obeyed. Strings in, strings out."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Control characters would end a line; direction marks would let a name read as another.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MARKUP = str.maketrans(
    {letter: "\\" + letter for letter in "\\`*_[]|~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
)


def plain(text: str) -> str:
    """Return text that every Markdown reader shows letter by letter: no markup, no HTML, no links, one line.

    It must not stand first in a line, where a number or a dash could begin a list. Unpaired surrogates (bytes
    of a file name that are not UTF-8) are spelled out, as in `\\udce9`.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    text = _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text).translate(_MARKUP)
    return text.replace("://", "&#58;//").replace("www.", "www&#46;")  # bare addresses become links too


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, none if it has no rows. The cells must be `plain` already."""
    if not rows:
        return []
    rule = ["---"] * len(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
