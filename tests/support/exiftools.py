"""The exiftools that the write path is tried with: the one that is installed, and a newer one beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tagger_daemon.metadata.naming import MODERN_SINCE

PACKAGED, NEWER = "packaged", "newer"
EXIFTOOLS = (PACKAGED, NEWER)  # to be the parameters of a fixture, and so the ids of its tests
NEWER_PATH = Path(__file__).parents[2] / ".venv/newer_exiftool/node_modules/exiftool-vendored.pl/bin/exiftool"


def exiftool_named(name: str) -> str:
    """Return the executable of one of `EXIFTOOLS`; the test is skipped where it is missing."""
    if name == PACKAGED:
        return "exiftool"
    if not NEWER_PATH.exists():
        pytest.skip("needs a newer exiftool, which scripts/test fetches where npm is installed")
    return str(NEWER_PATH)


def embeds_modern(executable: str) -> bool:
    """Tell whether an exiftool, asked by itself, is new enough to write into HEIC and its like."""
    answer = subprocess.run([executable, "-ver"], check=True, capture_output=True, text=True).stdout
    major, _, minor = answer.strip().partition(".")
    return (int(major), int(minor)) >= MODERN_SINCE
