"""Proves that nothing is lost of hand-tagged photos; run it by `scripts/survival`.

Draws photos of every kind and tags them as people and their programs do. Then the real program tags them,
tags them anew by another model, a person edits some, a third model tags them anew, and all is undone. After
each step every value that a person wrote is compared to the byte, and so are the pictures. In the end the
files have to say what they said before, and what the person edited.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from survival_files import SAMPLES, Sample
from survival_journey import STEPS, Failed, Report, travel
from survival_selfcheck import unnoticed
from tagger_daemon import __version__

WIDTH = 110  # characters of the table
LONGEST_TEXT = 70  # characters of a value that is shown


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing was lost, 1 if anything was, 2 if it could not be found out."""
    options = _options(arguments)
    samples = [sample for sample in SAMPLES if _is_meant(sample, options.only)]
    if not samples:
        print(f"no photo is named like {options.only}", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        root = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="survival-")))
        root.mkdir(parents=True, exist_ok=True)
        try:
            if options.self_check:
                return _self_check(root, options.exiftool)
            report = travel(root.resolve(), samples, exiftool=options.exiftool, say=_say)
        except Failed as error:
            print(error, file=sys.stderr)
            return 2
        except subprocess.CalledProcessError as error:
            print(error, error.stderr, sep="\n", file=sys.stderr)
            return 2
    if options.json:
        print(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    return 1 if report.lost else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/survival",
        description="Proves that the program loses nothing of hand-tagged photos.",
        epilog="exit status: 0 nothing was lost, 1 something was, 2 it could not be found out",
    )
    parser.add_argument(
        "--exiftool", default="exiftool", help="the exiftool to use, a name on PATH or a path"
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="keep the files in this folder, which is empty"
    )
    parser.add_argument("--only", metavar="PATTERN", action="append", help="photos named like this: 'raw/*'")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    parser.add_argument(
        "--self-check", action="store_true", help="plant losses by hand, and see whether each is found"
    )
    options = parser.parse_args(arguments)
    found = shutil.which(options.exiftool)
    if found is None:
        parser.error(f"there is no {options.exiftool}")
    options.exiftool = str(Path(found).absolute())
    if options.keep and options.keep.is_dir() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} is not empty")
    return options


def _is_meant(sample: Sample, patterns: list[str] | None) -> bool:
    return not patterns or any(fnmatchcase(sample.name, pattern) for pattern in patterns)


def _self_check(root: Path, exiftool: str) -> int:
    missed = unnoticed(root.resolve(), exiftool=exiftool, say=_say)
    for name in missed:
        print(f"not noticed: {name}")
    if not missed:
        print("every planted loss was found")
    return 1 if missed else 0


def _show(report: Report) -> None:
    out = Console(width=WIDTH, soft_wrap=False)
    out.print(_table(report))
    for step, names in report.strays.items():
        for name in names:
            out.print(f"[red]{escape(step)}: {escape(name)} is there, and nobody asked for it[/red]")
    for name, steps in report.rows.items():
        for step, row in steps.items():
            for file, finding in row.findings:
                now = "" if finding.now is None else f", now {_short(finding.now)}"
                was = "" if finding.was is None else f" {_short(finding.was)}"
                text = f"{step}: {file}: {finding.what} {finding.property}{was}{now}"
                out.print(escape(text), style="red", highlight=False, soft_wrap=True)
        if not steps:
            out.print(escape(f"{name} was not looked at"), style="red")
    photos = len(report.rows)
    out.print(
        f"tagger-daemon {__version__}, exiftool {report.exiftool}: {photos} photos, {report.lost} losses. "
        f"{report.others} values of cameras and formats and {report.pictures} pictures were compared too.",
        highlight=False,
        soft_wrap=True,
    )


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("photo", overflow="fold")
    table.add_column("human values", justify="right")
    for step in STEPS:
        table.add_column(step, justify="right")
    totals = [[0, 0] for _ in STEPS]
    for name, steps in report.rows.items():
        cells = []
        for total, step in zip(totals, STEPS, strict=True):
            row = steps[step]
            total[0] += row.survived
            total[1] += row.lost
            cells.append(_cell(row.survived, row.lost))
        table.add_row(escape(name), str(steps[STEPS[0]].values), *cells)
    values = sum(steps[STEPS[0]].values for steps in report.rows.values())
    table.add_section()
    table.add_row("all", str(values), *(_cell(survived, lost) for survived, lost in totals))
    return table


def _cell(survived: int, lost: int) -> str:
    """Say how many values survived, and how many did not if any."""
    return f"[red]{survived}, {lost} lost[/red]" if lost else f"{survived}, 0 lost"


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 1]}…"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
