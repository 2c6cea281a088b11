"""A role goes to one entry, always the same, or to nobody, with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import Entry, Launch, Limits, Registry
from tagger_daemon.vision.registry import load_registry, parse_registry
from tagger_daemon.vision.roles import resolve_role, resolve_roles

EXAMPLE = Path(__file__).parents[2] / "config" / "registry.example.json"
ROLES = {stage: stage.value for stage in Stage}


def entry(name: str, **fields: Any) -> Entry:
    usual = Entry(
        name=name,
        backend="vllm",
        served_model=name,
        roles=("caption",),
        vision=True,
        endpoints=("http://127.0.0.1:1/v1",),
    )
    return usual.evolve(**fields)


def registry(*entries: Entry) -> Registry:
    return Registry(source="models.json", hash="0" * 16, entries=entries)


def test_the_highest_priority_wins() -> None:
    low, high = entry("a"), entry("b", role_priority={"caption": 1, "keywords": 99})
    assert resolve_role("caption", registry(low, high)) is high


def test_no_priority_is_zero_and_ties_go_by_name() -> None:
    below, late, early = entry("a", role_priority={"caption": -1}), entry("c"), entry("b")
    assert resolve_role("caption", registry(below, late, early)) is early


@pytest.mark.parametrize(
    "lack", [{"vision": False}, {"deprecated": True}, {"endpoints": ()}, {"roles": ("x",)}]
)
def test_who_lacks_something_never_wins(lack: dict[str, Any]) -> None:
    best = entry("best", role_priority={"caption": 99}, **lack)
    assert resolve_role("caption", registry(best, entry("other"))).name == "other"


def test_the_near_misses_are_told() -> None:
    entries = registry(
        entry("old", deprecated=True),
        entry("blind", vision=False),
        entry("nowhere", endpoints=(), deprecated=True),
        entry("stranger", roles=("keywords",)),
    )
    with pytest.raises(ConfigurationError) as caught:
        resolve_role("caption", entries)
    message = str(caught.value)
    assert message.startswith("models.json: no entry can take the role 'caption'")
    assert "'old' is deprecated;" in message
    assert "'blind' does not see pictures (capabilities.vision);" in message
    assert "'nowhere' is deprecated and has no endpoint (serving.endpoints);" in message
    assert "stranger" not in message


def test_a_role_that_nobody_carries_is_told_with_its_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"'captions'; did you mean 'caption'\?"):
        resolve_role("captions", registry(entry("a")))
    with pytest.raises(ConfigurationError, match="known are none"):
        resolve_role("caption", registry())


def test_all_roles_at_once() -> None:
    all_round = entry("a", roles=("caption", "keywords", "description"))
    assert resolve_roles(ROLES, registry(all_round)) == dict.fromkeys(Stage, all_round)


def test_all_failures_at_once_and_each_role_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_roles({**ROLES, Stage.DESCRIPTION: "keywords"}, registry(entry("a", deprecated=True)))
    first, second = str(caught.value).splitlines()
    assert "'caption'" in first
    assert "'keywords'" in second


@given(st.permutations(["a", "b", "c", "d"]), st.lists(st.integers(-2, 2), min_size=4, max_size=4))
def test_the_order_in_the_file_does_not_matter(names: list[str], priorities: list[int]) -> None:
    ranked = dict(zip("abcd", priorities, strict=True))
    entries = [entry(name, role_priority={"caption": ranked[name]}) for name in names]
    best = max(priorities)
    assert resolve_role("caption", registry(*entries)).name == min(
        name for name in "abcd" if ranked[name] == best
    )


def test_the_example_resolves_to_its_first_choice() -> None:
    example = load_registry(EXAMPLE)
    assert {entry.name for entry in resolve_roles(ROLES, example).values()} == {"qwen3-vl-8b-vllm"}
    assert {entry.backend for entry in example.entries} == {
        "vllm",
        "lmdeploy",
        "ollama",
        "llama-server",
        "builtin",
    }


def test_the_example_runs_without_a_graphics_card_once_the_others_are_deleted() -> None:
    builtin = [raw for raw in json.loads(EXAMPLE.read_text()) if raw["name"] == "builtin-describer"]
    alone = parse_registry(json.dumps(builtin), source="models.json")
    (describer,) = set(map(id, resolve_roles(ROLES, alone).values()))
    assert describer == id(alone.entries[0])
    assert alone.entries[0].served_model == "builtin-describer"
    assert alone.entries[0].endpoints == ("http://127.0.0.1:8077/v1",)
    assert alone.entries[0].limits == Limits(start=2, max=2)
    assert alone.entries[0].launch == Launch(
        argv=("{python}", "-m", "tagger_daemon.vision.builtin", "--port", "{port}"),
        health="/health",
        ready_seconds=30,
    )
