"""The pages on which servers tell what they are, in the shapes in which real ones were seen to tell it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.vision import pages
from tagger_daemon.vision.identity import Observation, template_hash

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def page(body: Any) -> bytes:
    return json.dumps(body).encode()


def ollama(tags: Any, shown: Any = None, running: Any = None, *, wanted: str = "gemma3") -> Observation:
    return pages.from_ollama(page(tags), page(shown or {}), page(running or {}), wanted=wanted)


def test_vllm_tells_where_the_model_came_from_and_how_long_a_request_may_be() -> None:
    card = {"id": "vlm", "object": "model", "root": "/m/hf", "max_model_len": 8192, "permission": []}
    listed = pages.from_models(page({"object": "list", "data": [card]}), wanted="vlm", rooted=True)
    assert listed == Observation(served=("vlm",), model_path="/m/hf", context=8192)
    assert pages.from_version(page({"version": "0.33.0"})) == Observation(build="0.33.0")


def test_elsewhere_the_root_is_the_name_once_more() -> None:
    card = {"id": "vlm", "root": "vlm", "max_model_len": 4096}
    listed = pages.from_models(page({"data": [card]}), wanted="vlm", rooted=False)
    assert listed == Observation(served=("vlm",), context=4096)


def test_of_several_models_the_one_that_is_asked_for_counts() -> None:
    cards = [{"id": "other", "max_model_len": 1024}, {"id": "vlm", "max_model_len": 8192}]
    assert pages.from_models(page({"data": cards}), wanted="vlm", rooted=True).context == 8192
    absent = pages.from_models(page({"data": cards}), wanted="none", rooted=True)
    assert absent == Observation(served=("other", "vlm"))


def test_llama_server_tells_the_most() -> None:
    props = {
        "default_generation_settings": {"n_ctx": 8192, "params": {}},
        "total_slots": 2,
        "model_alias": "tiny-vlm",
        "model_ftype": "Q4_K - Medium",
        "model_path": "/m/tiny.gguf",
        "modalities": {"vision": True, "video": True, "audio": False},
        "chat_template": TEMPLATE,
        "build_info": "b11434-abc",
    }
    assert pages.from_props(page(props)) == Observation(
        context=8192,
        slots=2,
        weights="Q4_K - Medium",
        model_path="/m/tiny.gguf",
        vision=True,
        template=template_hash(TEMPLATE),
        build="b11434-abc",
    )
    card = {"id": "tiny-vlm", "aliases": ["tiny-vlm", "tiny"], "meta": {"n_ctx": 8192, "n_params": 1}}
    listed = pages.from_models(page({"data": [card]}), wanted="tiny", rooted=False)
    assert listed == Observation(served=("tiny-vlm", "tiny"), context=8192)


def test_sglang_tells_whether_it_sees() -> None:
    info = {"model_path": "/m/x", "weight_version": "default", "has_image_understanding": False}
    assert pages.from_model_info(page(info)) == Observation(
        model_path="/m/x", weights="default", vision=False
    )


def test_ollama_tells_its_digest_and_of_a_loaded_model_its_context() -> None:
    tag = {"name": "gemma3:latest", "model": "gemma3:latest", "digest": "ab" * 32, "details": {}}
    shown = {"template": TEMPLATE, "capabilities": ["completion", "vision"], "model_info": {}}
    running = {"models": [{"name": "gemma3:latest", "digest": "ab" * 32, "context_length": 4096}]}
    told = ollama({"models": [{"name": "other"}, tag]}, shown, running)
    assert told == Observation(
        served=("other", "gemma3:latest"),
        digest="ab" * 32,
        vision=True,
        template=template_hash(TEMPLATE),
        context=4096,
    )
    assert ollama({"models": [tag]}, shown).context is None
    assert ollama({"models": [tag]}, {"capabilities": ["completion"]}).vision is False
    assert ollama({"models": [tag]}).vision is None
    assert ollama({"models": [tag]}, shown, running, wanted="gemma3:12b").digest is None


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ({"remote_host": "https://ollama.com:443", "remote_model": "qwen3-vl:235b"}, {}),
        ({}, {"remote_host": "https://ollama.com:443", "remote_model": "qwen3-vl:235b"}),
    ],
)
def test_ollama_tells_if_another_host_answers(tag: dict[str, Any], shown: dict[str, Any]) -> None:
    told = ollama({"models": [{"name": "gemma3", **tag}]}, shown)
    assert told.remote == "https://ollama.com:443 (qwen3-vl:235b)"
    assert ollama({"models": [{"name": "gemma3", "remote_host": "", "remote_model": ""}]}).remote is None
    half = ollama({"models": [{"name": "gemma3", "remote_model": "x"}]}).remote
    assert half == "another host (x)"


def test_lm_studio_tells_its_quantisation_and_of_a_loaded_model_its_context() -> None:
    known = {
        "type": "llm",
        "key": "qwen/qwen3-vl-8b",
        "variants": ["qwen/qwen3-vl-8b@q4_k_m"],
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
        "capabilities": {"vision": True, "trained_for_tool_use": True},
        "loaded_instances": [
            {"id": "qwen/qwen3-vl-8b", "config": {"context_length": 16384}},
            {"id": "qwen/qwen3-vl-8b:2", "config": {"context_length": 4096}},
        ],
    }
    told = pages.from_lmstudio(page({"models": [known]}), wanted="qwen/qwen3-vl-8b")
    assert (told.context, told.vision, told.weights) == (16384, True, "Q4_K_M")
    assert "qwen/qwen3-vl-8b@q4_k_m" in told.served
    second = pages.from_lmstudio(page({"models": [known]}), wanted="qwen/qwen3-vl-8b:2")
    assert second.context == 4096
    variant = pages.from_lmstudio(page({"models": [known]}), wanted="qwen/qwen3-vl-8b@q4_k_m")
    assert variant.context == 4096  # whichever instance answers, it has as much
    unloaded = pages.from_lmstudio(
        page({"models": [known | {"loaded_instances": []}]}), wanted="qwen/qwen3-vl-8b"
    )
    assert unloaded.context is None
    absent = pages.from_lmstudio(page({"models": [known]}), wanted="none")
    assert absent == Observation(served=told.served)


def test_what_is_odd_hides_nothing_else() -> None:
    card = {"id": "x", "max_model_len": 4096, "meta": None, "aliases": 7}
    seen = pages.from_models(page({"data": [{"id": None}, "odd", card]}), wanted="x", rooted=True)
    assert seen == Observation(served=("x",), context=4096)
    props = {"model_path": "/m/x", "total_slots": 0, "modalities": None, "chat_template": ["a", "b"]}
    assert pages.from_props(page(props)) == Observation(model_path="/m/x")
    tags = [{"name": 7}, {"name": "x", "digest": "d", "remote_host": "https://far", "context_length": 0}]
    told = pages.from_ollama(page({"models": tags}), page({"capabilities": [None]}), b"", wanted="x")
    assert (told.digest, told.remote, told.vision) == ("d", "https://far (model not told)", None)
    odd = {"key": "y", "loaded_instances": [{"id": "y", "config": {"context_length": 0}}]}
    known = {"key": "x", "capabilities": {"vision": False}, "quantization": "Q4"}
    assert pages.from_lmstudio(page({"models": [odd, known]}), wanted="x").vision is False


READERS: list[Callable[[bytes], Observation]] = [
    lambda body: pages.from_models(body, wanted="x", rooted=True),
    pages.from_version,
    pages.from_props,
    pages.from_model_info,
    lambda body: pages.from_ollama(body, body, body, wanted="x"),
    lambda body: pages.from_lmstudio(body, wanted="x"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "models", "id", "name", "key", "digest"]), inner)
    ),
)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("body", [b"", b"Not Found", b"[]", b"null", b"\xff", b"[" * 100_000, b"{}"])
def test_a_page_that_is_none_tells_nothing(reader: Callable[[bytes], Observation], body: bytes) -> None:
    assert reader(body) == Observation()


@given(st.sampled_from(READERS), st.binary() | json_values.map(page))
def test_no_page_is_more_than_can_be_borne(reader: Callable[[bytes], Observation], body: bytes) -> None:
    reader(body)


def test_a_servers_words_come_short_and_on_one_line() -> None:
    told = pages.from_props(page({"model_path": "/m/\n\x1b[31m" + "x" * 10_000, "build_info": "b\u202e1"}))
    assert told.model_path is not None
    assert told.model_path.isprintable()
    assert len(told.model_path) == pages.LONGEST_PATH
    assert told.build == "b 1"
