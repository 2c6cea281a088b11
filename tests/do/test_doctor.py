"""What `doctor` finds about the folders that photos are moved on to, and about the registry."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.disks import mounted, remount
from tagger_daemon.cli.doctor import Finding, examine
from tagger_daemon.settings import load


def found(root: Path, after: Path) -> Finding:
    (root / "inbox").mkdir(exist_ok=True)
    config = root / "config.toml"
    config.write_text(
        f'folders = [{{ path = "{root}/inbox", after = "{after}" }}]\nstate_dir = "{root}/state"\n'
    )
    findings = asyncio.run(examine(load(config=config, environ={}, start=root)))
    return next(finding for finding in findings if finding.what == f"folder {after}")


def test_a_destination_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    missing = found(tmp_path, tmp_path / "after")
    assert (missing.passed, "is its disk mounted" in missing.detail) == (False, True)
    with mounted(tmp_path / "after", megabytes=1) as after:
        assert "make room" in found(tmp_path, after).detail
        remount(after, "ro")
        assert "read-only" in found(tmp_path, after).detail


def test_a_destination_that_can_be_used_passes(tmp_path: Path) -> None:
    (tmp_path / "after").mkdir()
    near = found(tmp_path, tmp_path / "after")
    assert (near.passed, "are moved to it" in near.detail) == (True, True)
    with mounted(tmp_path / "after", megabytes=600) as after:
        far = found(tmp_path, after)
        assert (far.passed, "another disk" in far.detail) == (True, True)


def test_each_thing_that_is_wrong_with_the_registry_is_a_finding(tmp_path: Path) -> None:
    registry, config = tmp_path / "registry.json", tmp_path / "config.toml"
    registry.write_text('[{"name": "a"}, {"name": "b", "backend": "vllm", "roles": "caption"}]')
    config.write_text(f'registry = "{registry}"\nstate_dir = "{tmp_path}/state"\n')
    findings = asyncio.run(examine(load(config=config, environ={}, start=tmp_path)))
    assert [finding.detail for finding in findings if finding.what == "models"] == [
        f"{registry}: entry 1 'a': backend: field required",
        f"{registry}: entry 2 'b': roles: input should be a valid list",
    ]
