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
from tagger_daemon.vision.roles import resolve_chains, resolve_role, resolve_roles

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
    "lack",
    [{"vision": False}, {"deprecated": True}, {"endpoints": ()}, {"roles": ("x",)}, {"served_model": ""}],
)
def test_who_lacks_something_never_wins(lack: dict[str, Any]) -> None:
    best = entry("best", role_priority={"caption": 99}, **lack)
    assert resolve_role("caption", registry(best, entry("other"))).name == "other"


def test_the_near_misses_are_told() -> None:
    entries = registry(
        entry("old", deprecated=True),
        entry("blind", vision=False),
        entry("nowhere", endpoints=(), deprecated=True),
        entry("nameless", served_model=""),
        entry("stranger", roles=("keywords",)),
    )
    with pytest.raises(ConfigurationError) as caught:
        resolve_role("caption", entries)
    message = str(caught.value)
    assert message.startswith("models.json: no entry can take the role 'caption'")
    assert "'old' is deprecated;" in message
    assert "'blind' does not see pictures (capabilities.vision);" in message
    assert "'nowhere' is deprecated and has no endpoint (serving.endpoints);" in message
    assert "'nameless' has a null served_model_id;" in message
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


FLAG = st.sampled_from([True, True, False])
ENTRIES = st.lists(
    st.builds(
        entry,
        st.sampled_from("abcdefgh"),
        vision=FLAG,
        deprecated=FLAG.map(lambda flag: not flag),
        served_model=st.sampled_from(["m", "m", ""]),
        roles=st.sets(st.sampled_from([stage.value for stage in Stage])).map(
            lambda roles: tuple(sorted(roles))
        ),
        role_priority=st.dictionaries(st.sampled_from([stage.value for stage in Stage]), st.integers(-1, 1)),
    ),
    unique_by=lambda one: one.name,
    max_size=8,
)


@given(ENTRIES, st.data())
def test_every_registry_resolves_the_same_however_it_is_shuffled(
    entries: list[Entry], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(entries))
    for stage in Stage:
        outcomes = []
        for order in (entries, shuffled):
            try:
                outcomes.append(resolve_role(stage.value, registry(*order)).name)
            except ConfigurationError:
                outcomes.append("")
        best = sorted(
            (-one.role_priority.get(stage.value, 0), one.name)
            for one in entries
            if stage.value in one.roles and one.vision and one.served_model and not one.deprecated
        )
        assert outcomes == [best[0][1] if best else ""] * 2


def test_without_fall_backs_nobody_stands_in() -> None:
    first = entry("a")
    entries = dict.fromkeys(Stage, first)
    expected = dict.fromkeys(Stage, (first,))
    assert resolve_chains(entries, {}, registry(first, entry("b"))) == expected
    assert resolve_chains(entries, dict.fromkeys(Stage, ()), registry(first, entry("b"))) == expected


def test_those_who_stand_in_come_in_the_order_given_and_once_each() -> None:
    first, second, third = entry("a"), entry("b", roles=()), entry("c")
    chains = resolve_chains(
        {Stage.CAPTION: first, Stage.KEYWORDS: second},
        {Stage.CAPTION: ("c", "a", "b", "c"), Stage.DESCRIPTION: ("a",)},
        registry(first, second, third),
    )
    assert chains == {Stage.CAPTION: (first, third, second), Stage.KEYWORDS: (second,)}


def test_who_cannot_stand_in_is_told_with_the_reason() -> None:
    entries = registry(
        entry("first"), entry("old", deprecated=True, endpoints=()), entry("null", served_model="")
    )
    with pytest.raises(ConfigurationError) as caught:
        resolve_chains(
            {Stage.CAPTION: entries.entries[0]},
            {Stage.CAPTION: ("frist", "old"), Stage.KEYWORDS: ("null",)},
            entries,
        )
    assert str(caught.value).splitlines() == [
        "fallbacks.caption: models.json has no entry 'frist'; did you mean 'first'?",
        (
            "fallbacks.caption: 'old' is deprecated and has no endpoint (serving.endpoints); mend it, or name"
            " another entry"
        ),
        "fallbacks.keywords: 'null' has a null served_model_id; mend it, or name another entry",
    ]


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
