"""What `list-registry` shows: who takes which role, where everybody answers, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.model_server import ModelServer
from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.registry import conduct
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.settings import FallbackSettings, Settings

BEST = {
    "name": "qwen2.5-vl-7b_(AWQ)",
    "display_name": "Qwen2.5 VL 7B (AWQ, vLLM)",
    "backend": "vllm",
    "backend_config": {"port": 24001, "model_path": "/models/qwen", "extra_args": []},
    "served_model_id": "test-vlm",
    "roles": ["caption", "keywords", "object_detection"],
    "role_priority": {"caption": 95, "keywords": 85},
    "capabilities": {"multimodal": True},
}
GGUF = {
    "name": "gemma",
    "backend": "gguf",
    "backend_config": {"port": 8080},
    "roles": ["caption", "description"],
    "role_priority": {"description": 70},
    "capabilities": {"vision": True},
    "serving": {
        "digest": "sha256:0123456789abcdef",
        "launch": {"argv": ["llama-server", "--api-key", "sk-1"]},
    },
}
NULL = {**BEST, "name": "nameless", "served_model_id": None, "role_priority": {"caption": 99}}
OLD = {**BEST, "name": "old", "deprecated": True}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def at(url: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "serving": {"endpoints": [url]}}


def settings(tmp_path: Path, *entries: dict[str, Any], **others: Any) -> Settings:
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps(entries))
    return Settings(state_dir=tmp_path, registry=registry, **others)


class Pages:
    """Runs the command in this process, and gives what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self, chosen: Settings, *, check: bool = False) -> tuple[list[str], Exit]:
        status = conduct(chosen, as_json=False, check=check)
        return [line.rstrip() for line in self._capsys.readouterr().out.splitlines()], status

    def data(self, chosen: Settings, *, check: bool = False) -> tuple[Any, Exit]:
        status = conduct(chosen, as_json=True, check=check)
        return json.loads(self._capsys.readouterr().out), status


@pytest.fixture
def pages(capsys: pytest.CaptureFixture[str]) -> Pages:
    return Pages(capsys)


def row(lines: list[str], name: str) -> list[str]:
    (line,) = (line for line in lines if line.startswith(name))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_sound_registry_is_listed_with_who_wins(tmp_path: Path, pages: Pages) -> None:
    lines, status = pages.text(settings(tmp_path, GGUF, BEST))
    assert status is Exit.OK
    assert row(lines, "qwen2.5") == [
        "qwen2.5-vl-7b_(AWQ)",
        "vllm",
        "caption 95, wins",
        "test-vlm",
        "http://127.0.0.1:24001/v1",
    ]
    assert row(lines, "gemma")[:3] == ["gemma", "gguf (llama-server)", "caption 0"]
    text = "\n".join(lines)
    assert "keywords 85, wins" in text
    assert "object_detection 0" in text
    assert "description 70, wins" in text
    assert text.count("unverifiable") == 2


def test_the_json_says_all_of_it_but_the_command(tmp_path: Path, pages: Pages) -> None:
    chosen = settings(tmp_path, GGUF, BEST, fallbacks=FallbackSettings(caption=("gemma",)))
    data, status = pages.data(chosen)
    assert status is Exit.OK
    assert data["source"] == str(tmp_path / "registry.json")
    assert data["roles"] == {
        "caption": ["qwen2.5-vl-7b_(AWQ)", "gemma"],
        "keywords": ["qwen2.5-vl-7b_(AWQ)"],
        "description": ["gemma"],
    }
    gemma, best = data["entries"]
    assert gemma == {
        "name": "gemma",
        "display_name": None,
        "backend": "gguf",
        "dialect": "llama-server",
        "served_model": "gemma",
        "roles": [
            {"role": "caption", "priority": 0, "wins": False},
            {"role": "description", "priority": 70, "wins": True},
        ],
        "stands_in": ["caption"],
        "lacks": [],
        "endpoints": [{"url": "http://127.0.0.1:8080/v1", "state": None, "reason": None}],
        "launched": True,
        "digest": "unverifiable",
        "deprecated": False,
    }
    assert best["display_name"] == "Qwen2.5 VL 7B (AWQ, vLLM)"
    assert "sk-1" not in json.dumps(data)


def test_who_cannot_be_asked_takes_no_role_and_the_reason_is_shown(tmp_path: Path, pages: Pages) -> None:
    chosen = settings(tmp_path, NULL, OLD, BEST, GGUF)
    data, status = pages.data(chosen)
    assert status is Exit.OK
    assert data["roles"]["caption"] == ["qwen2.5-vl-7b_(AWQ)"]
    assert [(one["served_model"], one["lacks"]) for one in data["entries"][:2]] == [
        (None, ["has a null served_model_id"]),
        ("test-vlm", ["is deprecated"]),
    ]
    lines, _ = pages.text(chosen)
    assert row(lines, "nameless")[3] == "null"
    assert any(line.startswith("has a null served_model_id") for line in lines)
    assert any(line.startswith("is deprecated") for line in lines)


def test_what_is_wrong_comes_last_and_hides_nobody(tmp_path: Path, pages: Pages) -> None:
    broken = {"name": "broken", "backend": "vllm", "serving": {"endpoint": []}}
    chosen = settings(
        tmp_path, broken, BEST, description_role="critique", fallbacks=FallbackSettings(keywords=("x",))
    )
    lines, status = pages.text(chosen)
    registry = tmp_path / "registry.json"
    assert status is Exit.AMISS
    assert row(lines, "qwen2.5")[2] == "caption 95, wins"
    assert lines[-3:] == [
        f"{registry}: entry 1 'broken': serving.endpoint: unknown key; did you mean 'endpoints'?",
        (
            f"{registry}: no entry can take the role 'critique'; known are caption, keywords,"
            " object_detection; add the role to an entry that sees pictures"
        ),
        f"fallbacks.keywords: {registry} has no entry 'x'; known are qwen2.5-vl-7b_(AWQ)",
    ]
    data, _ = pages.data(chosen)
    assert data["problems"] == lines[-3:]
    assert data["roles"]["description"] == []


def test_a_registry_that_cannot_be_read_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model registry is set"):
        conduct(Settings(state_dir=tmp_path), as_json=False, check=False)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        conduct(Settings(state_dir=tmp_path, registry=tmp_path / "none.json"), as_json=False, check=False)


def test_a_look_shows_each_endpoint_s_state_and_reason(
    tmp_path: Path, pages: Pages, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY_OF_NOBODY", raising=False)
    away = ModelServer()
    away.up()
    away.down()
    used = {**at(server.base_url, BEST), "roles": ["caption", "keywords", "description"]}
    others = [
        {**at(server.base_url, BEST), "name": "other", "served_model_id": "another", "roles": []},
        {**at(away.base_url, BEST), "name": "away", "roles": []},
        {**at(server.base_url, BEST), "name": "nameless", "served_model_id": None},
        {**BEST, "name": "keyed", "roles": [], "serving": {"api_key_env": "KEY_OF_NOBODY"}},
    ]
    data, status = pages.data(settings(tmp_path, used, *others), check=True)
    assert status is Exit.OK  # nobody else is in use
    looks = {
        one["name"]: (one["endpoints"][0]["state"], one["endpoints"][0]["reason"]) for one in data["entries"]
    }
    assert looks.pop("qwen2.5-vl-7b_(AWQ)") == ("up", None)
    assert {name: state for name, (state, _) in looks.items()} == {
        "other": "refused",
        "away": "down",
        "nameless": "not asked",
        "keyed": "not asked",
    }
    assert "serves test-vlm, but 'other' asks for 'another'" in looks["other"][1]
    assert "cannot be reached" in looks["away"][1]
    assert looks["nameless"][1] == "has a null served_model_id"
    assert "KEY_OF_NOBODY, which is not set" in looks["keyed"][1]
    assert server.chat_requests == []


def test_a_server_in_use_that_is_down_is_amiss(tmp_path: Path, pages: Pages, server: ModelServer) -> None:
    spare = ModelServer()
    spare.up()
    spare.down()
    used = {**at(server.base_url, BEST), "roles": ["caption", "keywords", "description"]}
    standing_in = {**at(spare.base_url, BEST), "name": "spare", "roles": []}
    chosen = settings(tmp_path, used, standing_in, fallbacks=FallbackSettings(caption=("spare",)))
    lines, status = pages.text(chosen, check=True)
    assert status is Exit.AMISS
    assert row(lines, server.base_url) == [server.base_url, "qwen2.5-vl-7b_(AWQ)", "up"]
    assert row(lines, spare.base_url)[:3] == [spare.base_url, "spare", "down"]
