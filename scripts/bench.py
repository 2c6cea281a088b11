"""Measures what tagger-daemon costs on this machine.

Run it by `scripts/bench SUBJECT`, which sets up what it needs. Figures are for people to look at: nothing
passes or fails by them. docs/benchmarks.md has some, and what they mean.
"""

from __future__ import annotations

import argparse
import sys

import bench_decode
import bench_memory
import bench_metadata
import bench_vision
from tagger_daemon.errors import TaggerError

SUBJECTS = (bench_metadata, bench_decode, bench_vision, bench_memory)


def main() -> int:
    """Read the command line and run one subject."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure what tagger-daemon costs on this machine. The figures of "
        "docs/benchmarks.md come from here.",
        epilog="example:\n  scripts/bench metadata --photos 300",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subjects = parser.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    for subject in SUBJECTS:
        subject.add_parser(subjects)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except TaggerError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
