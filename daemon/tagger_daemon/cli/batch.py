"""`imageworks-personal-tagger`: the batch face of the same engine."""

from __future__ import annotations

import sys

from tagger_daemon.cli.exits import Exit


def main() -> None:
    """Say how a batch is run in this version."""
    print(
        "imageworks-personal-tagger has no commands of its own in this version.\n"
        "One run over the watch folders that ends when they are done:  tagger-daemon run --once",
        file=sys.stderr,
    )
    sys.exit(Exit.USAGE)
