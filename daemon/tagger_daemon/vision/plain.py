"""Text from outside, made safe to show, to send and to write."""

from __future__ import annotations

import unicodedata

#: Invisible, but Persian, the Indic scripts and emoji are misspelt without them.
JOINERS = frozenset("\u200c\u200d")


def plain(text: str) -> str:
    """Return the text on one line, in NFC, without anything invisible.

    Every run of white space, line ends included, becomes one space. Dropped are control and format characters
    (bidirectional overrides, zero-width spaces and hidden tags among them), lone surrogates, private-use
    characters, noncharacters and the replacement character: XML forbids some of them, and the others show a
    reader something else than what stands there.
    """
    spaced = "".join(" " if letter.isspace() else letter for letter in text)
    visible = "".join(letter for letter in spaced if _is_visible(letter))
    return " ".join(unicodedata.normalize("NFC", visible).split())


def _is_visible(letter: str) -> bool:
    if letter in JOINERS:
        return True
    code = ord(letter)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return (
        not noncharacter
        and letter != "\ufffd"
        and unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co"}
    )
