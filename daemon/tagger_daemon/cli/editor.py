"""Has a person change a text in the editor of their choice."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

#: Where none is chosen: POSIX has it everywhere.
USUAL = "vi"


class EditorFailed(Exception):
    """The editor could not be started, or ended with an error."""


def edited(text: str) -> str | None:
    """Return a text as `$VISUAL` or `$EDITOR` leaves it; None if it is left as it was.

    Raises:
        EditorFailed: says which editor, and why.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or USUAL
    with tempfile.TemporaryDirectory(prefix="tagger-") as folder:
        path = Path(folder, "text.txt")
        path.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(path)], check=True)
            left = path.read_text(encoding="utf-8")
        except subprocess.CalledProcessError as error:
            raise EditorFailed(f"{editor} ended with status {error.returncode}") from error
        except (OSError, ValueError) as error:
            raise EditorFailed(f"{editor}: {error}") from error
    return None if left == text else left
