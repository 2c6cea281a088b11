"""What `doctor` finds about model servers: what each shows of itself, and whether its model sees."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from support import eyes
from support.model_server import ModelServer
from support.running import entry
from tagger_daemon.cli.checks import Finding, render
from tagger_daemon.cli.doctor import examine
from tagger_daemon.settings import load


def found(root: Path, *registry: dict[str, Any]) -> dict[str, Finding]:
    (root / "registry.json").write_text(json.dumps(registry))
    config = root / "config.toml"
    config.write_text(
        f'folders = ["{root}"]\nstate_dir = "{root}/state"\nregistry = "{root}/registry.json"\n'
    )
    findings = asyncio.run(examine(load(config=config, environ={}, start=root)))
    return {finding.what: finding for finding in findings}


@pytest.mark.parametrize("schema", [False, True])
def test_a_server_is_told_with_what_it_shows_and_that_it_sees(tmp_path: Path, schema: bool) -> None:
    with ModelServer() as server:
        server.card = {"root": "/m/vlm", "max_model_len": 8192}
        server.pages["/version"] = {"version": "0.33.0"}
        serving = {"endpoints": [server.base_url], "json_schema": schema}
        findings = found(tmp_path, entry(server.base_url, serving=serving))
    shown, sees = findings[f"endpoint {server.base_url}"], findings[f"canary at {server.base_url}"]
    assert (shown.passed, sees.passed) == (True, True)
    assert shown.detail == (
        "serves test-vlm, digest unverifiable, context 8192, eyes not told, from /m/vlm, build 0.33.0"
        " (loopback)"
    )
    assert sees.detail == "names the colours of two pictures"


def test_a_server_that_forgets_pictures_is_told(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.eyes = eyes.counting(0, 0, 0)
        findings = found(tmp_path, entry(server.base_url))
    assert "stages will be slow" in findings[f"canary at {server.base_url}"].detail


def test_a_model_that_does_not_see_fails(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.eyes = eyes.blind
        findings = found(tmp_path, entry(server.base_url))
    assert findings[f"endpoint {server.base_url}"].passed
    sees = findings[f"canary at {server.base_url}"]
    assert (sees.passed, "does not see" in sees.detail) == (False, True)


def test_another_model_is_told_with_both_values_and_not_tried(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.pages |= {
            "/api/tags": {"models": [{"name": "test-vlm", "digest": "cd" * 32}]},
            "/api/show": {"capabilities": ["completion", "vision"]},
        }
        serving = {"endpoints": [server.base_url], "digest": "ab" * 32}
        findings = found(tmp_path, entry(server.base_url, backend="ollama-v1", serving=serving))
        assert server.canary_requests == []
    shown = findings[f"endpoint {server.base_url}"]
    assert not shown.passed
    assert [value for value in ("ab" * 32, "cd" * 32, "sees pictures") if value not in shown.detail] == []
    assert f"canary at {server.base_url}" not in findings


def test_a_failure_comes_with_what_to_do(tmp_path: Path) -> None:
    with ModelServer() as server:
        url = server.base_url
        server.down()
        findings = found(tmp_path, entry(url))
    to_do = "start it, or correct serving.endpoints of 'test-entry' in the registry"
    shown = findings[f"endpoint {url}"]
    assert (shown.passed, shown.remedy, shown.to_json()["remedy"]) == (False, to_do, to_do)
    page = io.StringIO()
    Console(file=page, width=400).print(render(findings.values()))
    assert f"To do: {to_do}" in page.getvalue()


def test_a_key_that_is_missing_is_one_finding_among_others(tmp_path: Path) -> None:
    with ModelServer() as server:
        serving = {"endpoints": [server.base_url], "api_key_env": "NO_SUCH_KEY"}
        findings = found(tmp_path, entry(server.base_url, serving=serving))
        assert server.requests == []
    shown = findings[f"endpoint {server.base_url}"]
    assert (shown.passed, "NO_SUCH_KEY" in shown.detail) == (False, True)
