"""ImageWorks' folder: what a person keeps lies over what tools found, and nothing in it is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.vision.entry import Entry, Limits, Registry
from tagger_daemon.vision.registry import load_registry, read_registry

CURATED = "model_registry.curated.json"
DISCOVERED = "model_registry.discovered.json"
MERGED = "model_registry.json"


def found(name: str, **keys: Any) -> dict[str, Any]:
    """An entry as ImageWorks' tools write it: every key that they know, most of them empty."""
    return {
        "name": name,
        "display_name": None,
        "backend": "vllm",
        "backend_config": {
            "port": 24001,
            "model_path": f"/models/weights/{name}",
            "extra_args": ["--trust-remote-code"],
            "host": None,
            "base_url": None,
        },
        "capabilities": {"text": True, "vision": True, "audio": False, "thinking": False},
        "artifacts": {"aggregate_sha256": "0c1d", "files": [{"path": "config.json", "sha256": "9f"}]},
        "chat_template": {"source": "embedded", "path": None, "sha256": None},
        "version_lock": {"locked": False, "expected_aggregate_sha256": None, "last_verified": None},
        "performance": {"rolling_samples": 0, "ttft_ms_avg": None, "last_sample": None},
        "probes": {"vision": {"vision_ok": True, "timestamp": "2025-10-01T12:00:00Z", "notes": None}},
        "generation_defaults": {"max_tokens": None, "temperature": None, "context_window": None},
        "served_model_id": None,
        "model_aliases": [],
        "roles": [],
        "role_priority": {},
        "license": None,
        "source": {"huggingface_id": "Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "format": "awq"},
        "deprecated": False,
        "family": "qwen2.5-vl",
        "source_provider": "hf",
        "quantization": "AWQ",
        "backend_alternatives": [],
        "download_size_bytes": 6_900_000_000,
        "metadata": {"registry_layer": "discovered"},
        "profiles_placeholder": None,
        **keys,
    }


QWEN = found(
    "qwen2.5-vl-7b_(AWQ)",
    served_model_id="qwen2.5-vl-7b-awq",
    capabilities={"Multimodal": True},
    role_priority={"caption": 10, "object_detection": 5},
    roles=["object_detection"],
)
LLAVA = found("llava_7b_(Q4)", backend="ollama", served_model_id="llava:7b", backend_config={"port": 11434})
KEPT = {
    "name": "qwen2.5-vl-7b_(AWQ)",
    "display_name": "Qwen2.5 VL 7B (AWQ, vLLM)",
    "backend": None,
    "backend_config": {"port": 24005, "model_path": None},
    "served_model_id": None,
    "roles": ["caption", "keywords", "description"],
    "role_priority": {"caption": 95, "keywords": 85},
    "generation_defaults": {"context_window": 16384},
    "serving": {"limits": {"max": 8}},
}
BY_HAND = {"name": "by hand", "backend": "openai", "served_model_id": "gpt", "capabilities": {"vl": 1}}


def write(folder: Path, name: str, *entries: Any) -> Path:
    (folder / name).write_text(json.dumps(entries), encoding="utf-8")
    return folder


def named(registry: Registry, name: str) -> Entry:
    (entry,) = (entry for entry in registry.entries if entry.name == name)
    return entry


def problems(folder: Path) -> list[str]:
    """Return the lines without the folder."""
    return [line.removeprefix(f"{folder}{os.sep}") for line in read_registry(folder).problems]


def test_what_a_person_keeps_lies_over_what_was_found_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, DISCOVERED, LLAVA, QWEN)
    write(tmp_path, CURATED, KEPT, BY_HAND)
    write(tmp_path, MERGED, found("only in the snapshot"))
    registry = load_registry(tmp_path)
    assert registry.source == str(tmp_path)
    assert {entry.name for entry in registry.entries} == {"qwen2.5-vl-7b_(AWQ)", "llava_7b_(Q4)", "by hand"}
    assert named(registry, "qwen2.5-vl-7b_(AWQ)") == Entry(
        name="qwen2.5-vl-7b_(AWQ)",
        display_name="Qwen2.5 VL 7B (AWQ, vLLM)",
        backend="vllm",
        dialect="vllm",
        served_model="qwen2.5-vl-7b-awq",  # null covers nothing
        model_path="/models/weights/qwen2.5-vl-7b_(AWQ)",
        endpoints=("http://127.0.0.1:24005/v1",),
        roles=("caption", "keywords", "description"),  # a list comes whole
        role_priority={"caption": 95, "object_detection": 5, "keywords": 85},  # an object does not
        vision=True,
        context=16384,
        limits=Limits(start=4, max=8),
    )


@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_a_served_name_that_says_nothing_covers_none(tmp_path: Path, nothing: str | None) -> None:
    write(tmp_path, DISCOVERED, QWEN)
    write(tmp_path, CURATED, {**KEPT, "served_model_id": nothing})
    assert load_registry(tmp_path).entries[0].served_model == "qwen2.5-vl-7b-awq"
    write(tmp_path, DISCOVERED, {**QWEN, "served_model_id": nothing})
    assert load_registry(tmp_path).entries[0].served_model == ""


@pytest.mark.parametrize("name", [CURATED, DISCOVERED, MERGED])
def test_one_file_is_enough(tmp_path: Path, name: str) -> None:
    assert [entry.name for entry in load_registry(write(tmp_path, name, LLAVA)).entries] == ["llava_7b_(Q4)"]


def test_a_folder_without_any_is_told(tmp_path: Path) -> None:
    write(tmp_path, "registry.json", LLAVA)
    with pytest.raises(
        ConfigurationError, match=rf"{tmp_path} is a folder without {CURATED}, {DISCOVERED} or"
    ):
        read_registry(tmp_path)


def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path: Path) -> None:
    write(tmp_path, DISCOVERED, LLAVA)
    (tmp_path / CURATED).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigurationError, match=rf"{CURATED} cannot be read"):
        read_registry(tmp_path)


def test_a_file_that_is_no_registry_at_all_is_told_and_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, DISCOVERED, LLAVA)
    (tmp_path / CURATED).write_text("[{]")
    with pytest.raises(ConfigurationError, match=rf"{CURATED}: not valid JSON"):
        read_registry(tmp_path)


def test_the_hash_covers_every_byte_and_the_name_of_the_file_that_holds_it(tmp_path: Path) -> None:
    hashes = [load_registry(write(tmp_path, DISCOVERED, QWEN)).hash]
    hashes.append(load_registry(write(tmp_path, CURATED, KEPT)).hash)
    assert load_registry(tmp_path).hash == hashes[-1]
    (tmp_path / CURATED).write_text(json.dumps([KEPT]) + "\n")
    hashes.append(load_registry(tmp_path).hash)
    (tmp_path / DISCOVERED).write_text(json.dumps([QWEN]) + " ")
    hashes.append(load_registry(tmp_path).hash)
    (tmp_path / CURATED).unlink()
    (tmp_path / DISCOVERED).rename(tmp_path / CURATED)
    hashes.append(load_registry(tmp_path).hash)
    assert len(set(hashes)) == 5
    write(tmp_path, MERGED, QWEN)  # is not read where there is another
    assert load_registry(tmp_path).hash == hashes[-1]


def test_the_file_that_a_bad_key_came_from_is_named(tmp_path: Path) -> None:
    # LLAVA stands first where it was found and second where it is kept.
    write(tmp_path, DISCOVERED, {**LLAVA, "backend_config": {"port": "high"}}, QWEN)
    write(
        tmp_path,
        CURATED,
        {**KEPT, "serving": {"endpoint": []}},
        {"name": "llava_7b_(Q4)", "roles": "caption"},
        {"name": "stranger"},
        KEPT,
        {"backend": "vllm"},
    )
    assert problems(tmp_path) == [
        f"{CURATED}: entry 1 'qwen2.5-vl-7b_(AWQ)': serving.endpoint: unknown key; did you mean 'endpoints'?",
        f"{CURATED}: entry 2 'llava_7b_(Q4)': roles: input should be a valid list",
        f"{CURATED}: entry 3 'stranger': backend: field required",
        f"{CURATED}: entry 4 'qwen2.5-vl-7b_(AWQ)': name: entry 1 has this name already",
        f"{CURATED}: entry 5: name: field required",
        f"{DISCOVERED}: entry 1 'llava_7b_(Q4)': backend_config.port: input should be a valid integer",
    ]
    assert read_registry(tmp_path).entries == ()


def test_a_bad_key_of_one_entry_leaves_the_others(tmp_path: Path) -> None:
    write(tmp_path, DISCOVERED, LLAVA, QWEN)
    write(tmp_path, CURATED, {**KEPT, "deprecated": "no"})
    assert [entry.name for entry in read_registry(tmp_path).entries] == ["llava_7b_(Q4)"]
    with pytest.raises(ConfigurationError, match=rf"{CURATED}: entry 1 .*: deprecated: "):
        load_registry(tmp_path)


def test_brackets_without_end_in_both_files_hide_nothing(tmp_path: Path) -> None:
    deep: Any = {}
    for _ in range(600):
        deep = {"a": deep}
    write(tmp_path, DISCOVERED, {**LLAVA, "metadata": deep}, QWEN)
    write(tmp_path, CURATED, {"name": "llava_7b_(Q4)", "metadata": deep})
    registry = read_registry(tmp_path)
    told = {"llava_7b_(Q4)" for line in problems(tmp_path) if "nested too deeply" in line}
    assert {entry.name for entry in registry.entries} ^ told == {"llava_7b_(Q4)", "qwen2.5-vl-7b_(AWQ)"}


def test_reading_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path, DISCOVERED, LLAVA, QWEN)
    write(tmp_path, CURATED, KEPT)
    for file in tmp_path.iterdir():
        os.utime(file, ns=(1, 1))
    tmp_path.chmod(0o500)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    load_registry(tmp_path)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before
