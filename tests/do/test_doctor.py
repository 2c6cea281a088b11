"""What `doctor` finds about hand-off folders, about the registry, and about servers that are far away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from support.disks import mounted, remount
from support.model_server import ModelServer
from support.running import entry
from tagger_daemon.cli.checks import Finding
from tagger_daemon.cli.doctor import examine
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


def about_models(root: Path, registry: list[dict[str, Any]], settings: str = "") -> dict[str, Finding]:
    (root / "inbox").mkdir(exist_ok=True)
    (root / "registry.json").write_text(json.dumps(registry))
    paths = f'folders = ["{root}/inbox"]\nstate_dir = "{root}/state"\nregistry = "{root}/registry.json"\n'
    (root / "config.toml").write_text(paths + settings)
    findings = asyncio.run(examine(load(config=root / "config.toml", environ={}, start=root)))
    return {finding.what: finding for finding in findings}


def test_a_server_nearby_is_said_to_be_near(tmp_path: Path) -> None:
    with ModelServer() as server:
        (found,) = [about_models(tmp_path, [entry(server.base_url)])[f"endpoint {server.base_url}"]]
    assert found.passed
    assert found.detail.startswith("serves test-vlm, digest unverifiable, context 8192")
    assert found.detail.endswith(" (loopback)")


def test_a_public_server_fails_until_it_is_agreed_to_and_what_to_add_is_said(tmp_path: Path) -> None:
    url = "https://203.0.113.7/v1"
    found = about_models(tmp_path, [entry(url)])[f"endpoint {url}"]
    assert not found.passed
    assert f'[[remote]], endpoint = "{url}", folders = [' in found.detail


@pytest.mark.parametrize(
    ("endpoint", "folder", "passed", "detail"),
    [
        ("{url}", "{root}/inbox/2026", True, "gets photos of {root}/inbox/2026, with names of people"),
        ("{url}", "{root}/outbox", False, "neither a watch folder nor below one"),
        ("https://api.example.com/v1", "{root}/inbox", False, "no entry that is in use has this endpoint"),
    ],
)
def test_a_consent_that_does_nothing_is_found(
    tmp_path: Path, endpoint: str, folder: str, passed: bool, detail: str
) -> None:
    with ModelServer() as server:
        endpoint = endpoint.format(url=server.base_url)
        folders = f'["{folder.format(root=tmp_path)}"]'
        remote = f'[[remote]]\nendpoint = "{endpoint}"\nfolders = {folders}\npeople = true\n'
        found = about_models(tmp_path, [entry(server.base_url)], remote)[f"remote {endpoint}"]
    assert found.passed is passed
    assert detail.format(root=tmp_path) in found.detail


def test_a_key_is_a_credential_for_doctor_too_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "VLM_KEY").write_text("of-the-credential")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("VLM_KEY", raising=False)
    with ModelServer() as server:
        serving = {"endpoints": [server.base_url], "api_key_env": "VLM_KEY"}
        found = about_models(tmp_path, [entry(server.base_url, serving=serving)])
        assert found[f"endpoint {server.base_url}"].passed
        assert {request.headers["authorization"] for request in server.requests} == {
            "Bearer of-the-credential"
        }
        launch = {"argv": ["sh", "--api-key", "written-out"]}
        found = about_models(tmp_path, [entry(server.base_url, serving={**serving, "launch": launch})])
    assert found[f"endpoint {server.base_url}"].detail == "started by the daemon: sh"
