"""The measuring script does all that it measures. What it measures is for people to look at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_every_kind_of_photo_is_measured_beside_exiftool_alone(tmp_path: Path) -> None:
    done = bench("metadata", "--photos", "1", "--folder", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"date", "cpu", "cores", "kernel", "exiftool", "python", "photos"} < found["machine"].keys()
    assert len(found["cases"]) == 4
    for case in found["cases"]:
        assert 0 < case["ours"]["minimum"] <= case["ours"]["median"] <= case["ours"]["p95"]
        assert case["ratio"] > 0
        assert case["within"] is (case["ours"]["median"] <= found["within_ms"])
    assert list(tmp_path.iterdir()) == []


def test_an_exiftool_that_is_not_there_is_named() -> None:
    done = bench("metadata", "--exiftool", "no-such-exiftool")
    assert done.returncode == 1
    assert done.stderr.startswith("exiftool was not found as 'no-such-exiftool'")
