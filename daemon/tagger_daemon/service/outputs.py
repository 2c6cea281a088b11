"""The files that a batch run writes besides photos: they spoil nothing, whatever they are called.

These checks hold whether or not a run looks first whether all is there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.intake.eligible import PHOTO_EXTENSIONS
from tagger_daemon.reports.batch import TITLE

#: Extensions of files that are somebody's words about photos, or photos.
PRECIOUS: Final = PHOTO_EXTENSIONS | {"xmp"}


def check_outputs(output_jsonl: Path, summary: Path, *, others: Iterable[Path]) -> None:
    """Refuse outputs that would spoil something: a photo, a sidecar, each other, or a file that is no output.

    Args:
        output_jsonl: the audit, which is appended to.
        summary: the page, which is replaced.
        others: files and folders of ours: nothing is written there.

    Raises:
        ConfigurationError: says which, and why.
    """
    for name, path in (("--output-jsonl", output_jsonl), ("--summary", summary)):
        if path.suffix.lower().removeprefix(".") in PRECIOUS:
            raise ConfigurationError(f"{name}: {path} is a photo or a sidecar by its name")
        real = Path(os.path.realpath(path))
        for other in others:
            place = Path(os.path.realpath(other))
            if real == place or place in real.parents:
                raise ConfigurationError(
                    f"{name}: {path} is, or is in, {other}, which is used for something else"
                )
    if same_file(output_jsonl, summary):
        raise ConfigurationError(
            f"--output-jsonl and --summary are one file, {summary}, and one would spoil the other"
        )
    if (begins := _beginning(output_jsonl)) and not begins.lstrip().startswith("{"):
        raise ConfigurationError(f"--output-jsonl: {output_jsonl} is there already, and is no audit")
    if (begins := _beginning(summary)) and not begins.startswith(TITLE):
        raise ConfigurationError(f"--summary: {summary} is there already, and is no summary of a run")


def check_appendable(output_jsonl: Path) -> None:
    """Make sure that the audit can be written to, before anything is told there; it is made if it is missing.

    Raises:
        ConfigurationError: it cannot.
    """
    try:
        output_jsonl.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(output_jsonl, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
    except OSError as error:
        raise ConfigurationError(
            f"the audit {output_jsonl} cannot be written to: {error.strerror}. "
            "Name another file (--output-jsonl)"
        ) from error


def _beginning(path: Path) -> str:
    """Return how a file begins; "" where there is none, or an empty one."""
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigurationError(f"{path} is no regular file")
            return file.read(4096).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}") from error


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file, by whatever names, also where it is not there yet."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False  # one of them is not there yet, or cannot be looked at, which is told elsewhere
