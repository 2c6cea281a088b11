"""Holds lines of the audit against their schema: `tests/conftest.py` does it for all that any test leaves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads(
    resources.files("tagger_daemon.reports").joinpath("audit.schema.json").read_text(encoding="utf-8")
)
#: Of lines that others wrote, or we of before: version 1 of ours, and those of the reference product.
FOREIGN = (1, "1.0", "1.1")

_VALIDATOR = Draft202012Validator(SCHEMA)


def faults(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield what is wrong with lines; those that are torn, of earlier versions or no audit's are left out."""
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):  # the latter if it is nested too deeply
            continue
        if not isinstance(values, dict) or values.get("schema_version") in FOREIGN:
            continue
        if values.keys() & {"schema_version", "metadata_written"}:
            for error in _VALIDATOR.iter_errors(values):
                yield f"line {number}, {error.json_path}: {error.message[:300]}"


def faults_below(root: Path) -> list[str]:
    """Return what is wrong with lines in any JSONL file below a folder."""
    found = []
    for path in sorted(root.rglob("*.jsonl")):
        if path.is_file():
            with path.open("rb") as file:
                found += [f"{path}: {fault}" for fault in faults(file)]
    return found
