"""The registry reads what ImageWorks wrote, refuses what is broken, and says where."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.vision.entry import Entry, Launch, Limits, Registry, Timeouts
from tagger_daemon.vision.registry import load_registry, parse_registry, read_registry

PLAIN = {"name": "m", "backend": "vllm"}


def parse(*entries: Any) -> Registry:
    return parse_registry(json.dumps(entries), source="models.json")


def one(**keys: Any) -> Entry:
    registry = parse({**PLAIN, **keys})
    assert registry.problems == ()
    return registry.entries[0]


def complaint(*entries: Any) -> str:
    problems = parse(*entries).problems
    assert problems
    return "\n".join(problems)


def wrong(**keys: Any) -> str:
    return complaint({**PLAIN, **keys})


def test_an_entry_as_imageworks_writes_it() -> None:
    entry = one(
        display_name="A model",
        backend_config={"port": 24005, "model_path": "/m", "extra_args": ["--x"], "host": "localhost"},
        capabilities={"Vision": True, "audio": False},
        artifacts={"aggregate_sha256": "", "files": []},
        version_lock={"locked": False},
        generation_defaults={"temperature": 0.1},
        served_model_id="served",
        model_aliases=["other"],
        roles=["caption"],
        role_priority={"caption": 95},
        license=None,
        metadata={"registry_layer": "curated"},
    )
    assert entry == Entry(
        name="m",
        display_name="A model",
        backend="vllm",
        dialect="vllm",
        served_model="served",
        model_path="/m",
        roles=("caption",),
        role_priority={"caption": 95},
        vision=True,
        endpoints=("http://127.0.0.1:24005/v1",),
    )


def test_our_own_object() -> None:
    entry = one(
        generation_defaults={"context_window": 8192},
        serving={
            "endpoints": ["https://models.example/v1/", "http://[::1]:8000"],
            "launch": {
                "argv": ["serve", "{port}"],
                "env": {"A": "b"},
                "health": "/ready",
                "ready_seconds": 5,
            },
            "dialect": "sglang",
            "limits": {"start": 1, "max": 2},
            "timeouts": {"connect": 1, "stage": 2.5},
            "image": {"long_edge": 1536},
            "affinity_header": "X-Session-ID",
            "privacy": "public",
            "canary": "differences",
            "api_key_env": "MY_KEY",
            "json_schema": True,
            "extra_body": {"think": False},
            "digest": "sha256:ab",
        },
    )
    assert entry == Entry(
        name="m",
        backend="vllm",
        served_model="m",
        dialect="sglang",
        endpoints=("https://models.example/v1", "http://[::1]:8000/v1"),
        launch=Launch(argv=("serve", "{port}"), env={"A": "b"}, health="/ready", ready_seconds=5),
        limits=Limits(start=1, max=2),
        timeouts=Timeouts(connect=1, stage=2.5),
        context=8192,
        long_edge=1536,
        affinity_header="X-Session-ID",
        privacy="public",
        canary="differences",
        api_key_env="MY_KEY",
        json_schema=True,
        extra_body={"think": False},
        digest="sha256:ab",
    )


def test_a_backend_of_another_name_is_spoken_to_in_its_dialect() -> None:
    assert one(backend="gguf").dialect == "llama-server"
    assert one(backend="triton").dialect == "compatible"
    assert one(backend="ollama", serving={"dialect": "ollama-v1"}).dialect == "ollama-v1"


def test_what_is_left_out_takes_the_defaults() -> None:
    entry = one(serving={"launch": {"argv": ["x"]}, "limits": {"max": 8}, "timeouts": None})
    assert entry.launch == Launch(argv=("x",))
    assert entry.limits == Limits(max=8)
    assert one(serving={"limits": {"max": 1}}).limits == Limits(start=1, max=1)
    assert entry.timeouts == Timeouts()


@pytest.mark.parametrize(
    ("backend", "config", "endpoints"),
    [
        ("vllm", {}, ("http://127.0.0.1:24001/v1",)),
        ("LMDeploy", {}, ("http://127.0.0.1:24001/v1",)),
        ("ollama", {}, ("http://127.0.0.1:11434/v1",)),
        ("ollama", {"port": 0, "host": "nas.local"}, ("http://nas.local:11434/v1",)),
        ("vllm", {"host": "::1", "port": 9}, ("http://[::1]:9/v1",)),
        ("vllm", {"host": "http://gpu:9000"}, ("http://gpu:9000/v1",)),
        ("vllm", {"base_url": "http://gpu:9000/v1", "host": "other", "port": 1}, ("http://gpu:9000/v1",)),
        ("vllm", {"base_url": "http://gpu/api/v1/"}, ("http://gpu/api/v1",)),
        ("vllm", {"base_url": ""}, ("http://127.0.0.1:24001/v1",)),
        ("gguf", {}, ()),
        ("gguf", {"port": 8080}, ("http://127.0.0.1:8080/v1",)),
        ("unassigned", {"port": 8080}, ()),
    ],
)
def test_where_an_entry_answers(backend: str, config: dict[str, Any], endpoints: tuple[str, ...]) -> None:
    assert one(backend=backend, backend_config=config).endpoints == endpoints


def test_endpoints_of_our_own_go_before_the_derived_one() -> None:
    entry = one(backend_config={"port": 1}, serving={"endpoints": ["http://a/v1", "http://a/v1/"]})
    assert entry.endpoints == ("http://a/v1",)


def test_without_a_served_name_it_is_the_name() -> None:
    assert one().served_model == "m"


@pytest.mark.parametrize("served", [None, "", " ", "None", "null"])
def test_a_served_name_that_says_nothing_is_none_at_all(served: str | None) -> None:
    assert one(served_model_id=served).served_model == ""


@pytest.mark.parametrize("name", [None, "", "  ", "None", "a\nb", 7])
def test_a_name_is_needed(name: Any) -> None:
    assert "entry 1" in wrong(name=name)
    assert "name: " in wrong(name=name)


@pytest.mark.parametrize("command", ["/opt/vllm/bin/vllm", "{python}", "llama-server"])
def test_a_command_is_a_path_or_found_on_path(command: str) -> None:
    launch = one(serving={"launch": {"argv": [command, "--flag", "some/path"]}}).launch
    assert launch == Launch(argv=(command, "--flag", "some/path"))


@pytest.mark.parametrize("word", ["vision", "VISUAL", "multimodal", "mm", "Image", "vl"])
def test_every_word_for_seeing(word: str) -> None:
    assert one(capabilities={word: True}).vision
    assert not one(capabilities={word: False}).vision
    assert not one(capabilities={word: "false"}).vision


def test_other_capabilities_do_not_see() -> None:
    assert not one(capabilities={"text": True, "tools": 1, "vision": 0}).vision


@pytest.mark.parametrize(
    ("serving", "key", "words"),
    [
        ({"endpoint": []}, "serving.endpoint", "did you mean 'endpoints'?"),
        ({"launch": {"argv": ["x"], "ready_secs": 1}}, "serving.launch.ready_secs", "'ready_seconds'"),
        ({"limits": {"stat": 1}}, "serving.limits.stat", "'start'"),
        ({"zzz": 1}, "serving.zzz", "known are affinity_header, api_key_env"),
        ({"launch": {"argv": "vllm serve"}}, "serving.launch.argv", "list"),
        ({"launch": {"argv": []}}, "serving.launch.argv", "at least 1"),
        ({"launch": {"argv": ["vllm", ""]}}, "serving.launch.argv.1", "empty"),
        ({"launch": {"env": {}}}, "serving.launch.argv", "required"),
        ({"launch": {"argv": ["x"], "env": {"A": "\0"}}}, "serving.launch.env.A", "must not contain NUL"),
        ({"launch": {"argv": ["x"], "env": {"A": "\udc80"}}}, "serving.launch.env.A", "half a character"),
        ({"launch": {"argv": ["x"], "ready_seconds": 0}}, "serving.launch.ready_seconds", "greater than 0"),
        ({"launch": {"argv": ["x"], "health": "health"}}, "serving.launch.health", "match"),
        ({"limits": {"start": 0}}, "serving.limits.start", "greater"),
        ({"limits": {"start": 8, "max": 4}}, "serving.limits", "must not be above max"),
        ({"timeouts": {"stage": True}}, "serving.timeouts.stage", "number"),
        ({"json_schema": "yes"}, "serving.json_schema", "boolean"),
        ({"api_key_env": "sk-12-34"}, "serving.api_key_env", "environment variable"),
        ({"extra_body": {"stream": True}}, "serving.extra_body", "must not set stream"),
        ({"dialect": "vlm"}, "serving.dialect", "must be one of builtin, compatible, litellm, llama-server"),
        ({"dialect": ""}, "serving.dialect", "must be one of"),
        ({"image": {"long_edge": 63}}, "serving.image.long_edge", "greater"),
        ({"image": {"long_edge": 4097}}, "serving.image.long_edge", "less"),
        ({"image": {"long": 1024}}, "serving.image.long", "'long_edge'"),
        ({"affinity_header": "X Session"}, "serving.affinity_header", "name of an HTTP header"),
        ({"affinity_header": ""}, "serving.affinity_header", "name of an HTTP header"),
        ({"affinity_header": "X-Session\n"}, "serving.affinity_header", "name of an HTTP header"),
        ({"affinity_header": "Authorization"}, "serving.affinity_header", "meaning of its own"),
        ({"affinity_header": "HOST"}, "serving.affinity_header", "meaning of its own"),
        ({"affinity_header": "content-length"}, "serving.affinity_header", "meaning of its own"),
        ({"affinity_header": "Cookie"}, "serving.affinity_header", "meaning of its own"),
        ({"affinity_header": "Transfer-Encoding"}, "serving.affinity_header", "meaning of its own"),
        ({"privacy": "lan"}, "serving.privacy", "'loopback', 'private' or 'public'"),
        ({"canary": "none"}, "serving.canary", "'colours' or 'differences'"),
        ({"launch": {"argv": ["bin/vllm", "serve"]}}, "serving.launch.argv", "absolute path"),
        ({"endpoints": "http://a/v1"}, "serving.endpoints", "list"),
        ({"endpoints": ["ftp://a/v1"]}, "serving.endpoints.0", "http"),
        ({"endpoints": ["http:///v1"]}, "serving.endpoints.0", "http"),
        ({"endpoints": ["http://a/v1", "http://a/v2"]}, "serving.endpoints.1", "must end in /v1"),
        ({"endpoints": ["http://a/v1?key=b"]}, "serving.endpoints.0", "query"),
        ({"endpoints": ["http://a:x/v1"]}, "serving.endpoints.0", "ort"),
        ({"endpoints": ["http://a/\nv1"]}, "serving.endpoints.0", "control"),
    ],
)
def test_a_slip_in_our_object_is_named(serving: Any, key: str, words: str) -> None:
    message = wrong(serving=serving)
    assert message.startswith("models.json: entry 1 'm': ")
    assert f" {key}: " in message
    assert words in message


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"backend": None}, "backend: "),
        ({"backend_config": {"port": "24001"}}, "backend_config.port: "),
        ({"backend_config": {"port": 99999}}, "backend_config.port: "),
        ({"backend_config": {"base_url": "gpu:80"}}, "backend_config.base_url: "),
        ({"backend_config": {"host": "a/b"}}, "backend_config.host: "),
        ({"roles": "caption"}, "roles: "),
        ({"role_priority": {"caption": "high"}}, "role_priority.caption: "),
        ({"deprecated": "no"}, "deprecated: "),
        ({"display_name": 7}, "display_name: "),
        ({"served_model_id": 7}, "served_model_id: "),
        ({"model_aliases": "a"}, "model_aliases: "),
        ({"capabilities": ["vision"]}, "capabilities: "),
        ({"generation_defaults": {"context_window": 0}}, "generation_defaults.context_window: "),
        ({"generation_defaults": {"context_window": "8k"}}, "generation_defaults.context_window: "),
        ({"version_lock": True}, "version_lock: "),
        ({"backend_config": {"model_path": 1}}, "backend_config.model_path: "),
    ],
)
def test_a_slip_in_imageworks_part_is_named(keys: Any, where: str) -> None:
    assert f"models.json: entry 1 'm': {where}" in wrong(**keys)


def test_a_password_is_refused_and_not_repeated() -> None:
    for url in ("http://user:hunter2@host/v1", "http://user:hunter2/x@host/v1"):
        message = wrong(serving={"endpoints": [url]})
        assert "user name or password" in message
        assert "hunter2" not in message
    assert "sk-secret" not in wrong(serving={"api_key_env": "sk-secret"})


def test_all_problems_come_at_once() -> None:
    registry = parse({"name": "a"}, PLAIN, PLAIN, {**PLAIN, "name": "b", "serving": {"limit": {}}}, 7)
    lines = registry.problems
    assert [line.split(": ")[1] for line in lines] == [
        "entry 1 'a'",
        "entry 3 'm'",
        "entry 4 'b'",
        "entry 5",
    ]
    assert lines[1] == "models.json: entry 3 'm': name: entry 2 has this name already"
    assert lines[3] == "models.json: entry 5: must be a JSON object"
    assert registry.entries == ()


@pytest.mark.parametrize("text", ["", "{", "{}", "null", "[" * 100_000, b"\xff[]", '"x"'])
def test_what_is_no_registry_at_all(text: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^models\.json: "):
        parse_registry(text, source="models.json")


def test_the_hash_names_the_bytes() -> None:
    content = b"\xef\xbb\xbf[]\n"
    registry = parse_registry(content, source="r")
    assert registry == Registry(source="r", hash=hashlib.sha256(content).hexdigest()[:16], entries=())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*PLAIN, "serving", "x"]), inner),
        max_leaves=20,
    )
)
def test_any_json_is_an_entry_or_has_clear_problems(value: Any) -> None:
    registry = parse_registry(json.dumps([value]), source="models.json")
    assert len(registry.entries) == (0 if registry.problems else 1)
    assert all(line.startswith("models.json: entry 1") for line in registry.problems)


def test_a_file_is_read_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    with pytest.raises(ConfigurationError, match="No such file") as caught:
        load_registry(path)
    assert str(path) in str(caught.value)
    path.write_text(json.dumps([PLAIN]))
    registry = load_registry(path)
    assert registry.source == str(path)
    assert [entry.name for entry in registry.entries] == ["m"]


def test_a_broken_entry_does_not_hide_the_others_but_stops_whoever_would_use_them(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps([{**PLAIN, "name": "a"}, {"name": "b"}, {**PLAIN, "name": "c", "roles": 1}]))
    registry = read_registry(path)
    assert [entry.name for entry in registry.entries] == ["a"]
    assert [line.split(": ")[1] for line in registry.problems] == ["entry 2 'b'", "entry 3 'c'"]
    with pytest.raises(ConfigurationError) as caught:
        load_registry(path)
    assert str(caught.value).splitlines() == list(registry.problems)
