"""Every library that the program imports is one that it is installed with, tools of developers left out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imported(source: str) -> Iterator[str]:
    """Give the top-level names of all modules that a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_library_that_is_imported_is_installed_for_users_too() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    installed = {plain(name) for name in re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)}
    assert "typer" in installed
    distributions = packages_distributions()
    missing = {
        (name, path.name)
        for path in (ROOT / "daemon").rglob("*.py")
        for name in imported(path.read_text(encoding="utf-8"))
        if name not in sys.stdlib_module_names
        and name != "tagger_daemon"
        and not {plain(one) for one in distributions.get(name, [])} & installed
    }
    assert missing == set()
