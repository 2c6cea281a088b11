"""What benchmarks share: a description of the machine, and how numbers are read from the command line."""

from __future__ import annotations

import argparse
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

About = dict[str, str | int | float]


def machine(**more: str | int | float) -> About:
    """Return what figures depend on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **more,
    }


def told(about: About) -> str:
    """Return a machine in a sentence."""
    known = "{date}: {cpu}, {cores} cores, load {load} before; Linux {kernel}, Python {python}"
    rest = [f"{name} {value}" for name, value in about.items() if f"{{{name}}}" not in known]
    return "; ".join((known.format(**about), *rest)) + "."


def positive(text: str) -> int:
    """Read a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _cpu() -> str:
    """Return the processor's name, as Linux shows it for the first core."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
