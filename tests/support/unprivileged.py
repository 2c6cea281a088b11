"""Runs a Python program as somebody to whom file permissions apply, also where the tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


def run_unprivileged(program: str, *arguments: str) -> str:
    """Run a program text in a Python of its own, without root's powers, and return what it printed.

    The test is skipped where they cannot be given up.
    """
    command = [sys.executable, "-c", program, *arguments]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read everything, and setpriv is missing")
        command = [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]
    # The program may use what the test itself can import.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert result.returncode == 0, result.stderr
    return result.stdout
