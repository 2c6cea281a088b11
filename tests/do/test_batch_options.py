"""Each option of a batch run reaches its setting by every way, and its setting what it is for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import SecretStr

from support.running import entry
from support.typing_it import settings_of
from tagger_daemon.cli import batch, run_options
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.model import Draft, Stage
from tagger_daemon.options import ALIASES, OPPOSITES
from tagger_daemon.service.parts import API_KEY, Cast, cast, keys_of, policies
from tagger_daemon.settings import Settings, load
from tagger_daemon.vision.body import chat_body
from tagger_daemon.vision.pool import key_of
from tagger_daemon.vision.prompts import build_request, picture_url

#: The options of ImageWorks' Personal Tagger, by its guide and its help; and what the guide says of stages.
OF_THE_GUIDE = frozenset(
    (
        *("--input-dir", "-i", "--recursive", "--no-recursive", "--image-exts"),
        *("--backend", "--base-url", "--model", "--api-key", "--timeout", "--max-new-tokens"),
        *("--temperature", "--top-p", "--caption-model", "--keyword-model", "--description-model"),
        *("--caption-role", "--keyword-role", "--description-role", "--use-loader", "--use-registry"),
        *("--caption-registry-model", "--keyword-registry-model", "--description-registry-model"),
        *("--prompt-profile", "--output-jsonl", "--summary", "--max-keywords", "--batch-size"),
        *("--max-workers", "--dry-run", "--no-dry-run", "--no-meta", "--backup-originals"),
        *("--no-backup-originals", "--overwrite-metadata", "--no-overwrite-metadata", "--skip-preflight"),
    )
)


@dataclass(frozen=True)
class Row:
    """Two values of a setting, and what else has to be typed with it."""

    one: Any
    other: Any
    besides: tuple[str, ...] = ()


SWITCH = Row(True, False)
WITH_MODEL = ("--model", "m")

ROWS: Mapping[str, Row] = {
    "input_dirs": Row(["/p/a", "/p/b"], ["/p/c", "/p/d e"]),
    "recursive": SWITCH,
    "image_exts": Row(["jpg", "cr3"], ["nef"]),
    "backend": Row("ollama", "lmdeploy", WITH_MODEL),
    "base_url": Row("http://a:1/v1", "http://b:2/v1", WITH_MODEL),
    "model": Row("a", "b"),
    "caption_model": Row("a", "b"),
    "caption_backend": Row("ollama", "lmdeploy", WITH_MODEL),
    "caption_base_url": Row("http://a:1/v1", "http://b:2/v1", WITH_MODEL),
    "keyword_model": Row("a", "b"),
    "keyword_backend": Row("ollama", "lmdeploy", WITH_MODEL),
    "keyword_base_url": Row("http://a:1/v1", "http://b:2/v1", WITH_MODEL),
    "description_model": Row("a", "b"),
    "description_backend": Row("ollama", "lmdeploy", WITH_MODEL),
    "description_base_url": Row("http://a:1/v1", "http://b:2/v1", WITH_MODEL),
    "api_key": Row("sk-one", "sk-other"),
    "registry": Row("/r/a.json", "/r/b"),
    "use_registry": SWITCH,
    "use_loader": SWITCH,
    "caption_role": Row("a", "b"),
    "keyword_role": Row("a", "b"),
    "description_role": Row("a", "b"),
    "caption_registry_model": Row("a", "b"),
    "keyword_registry_model": Row("a", "b"),
    "description_registry_model": Row("a", "b"),
    "prompt_profile": Row("travel", "Stock"),
    "max_keywords": Row(7, 8),
    "max_new_tokens": Row(100, 200),
    "temperature": Row(0.1, 0.3),
    "top_p": Row(0.5, 0.6),
    "timeout": Row(30.0, 60.5),
    "dry_run": SWITCH,
    "no_meta": SWITCH,
    "overwrite_metadata": SWITCH,
    "backup_originals": SWITCH,
    "output_jsonl": Row("/o/a.jsonl", "b.jsonl"),
    "summary": Row("/o/a.md", "b.md"),
    "max_workers": Row(3, 4),
    "batch_size": Row(5, 6),
    "skip_preflight": SWITCH,
    "state_dir": Row("/s/a", "/s/b"),
    "log_level": Row("DEBUG", "ERROR"),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options() -> dict[str, Any]:
    """Return the parameters of `run` by name, and each by the names that it is typed by."""
    root: Any = typer.main.get_command(batch.app)
    return {param.name: param for param in root.commands["run"].params}


def test_every_option_of_the_guide_is_there_and_every_setting_has_a_row() -> None:
    names = {name for param in options().values() for name in (*param.opts, *param.secondary_opts)}
    assert names >= OF_THE_GUIDE
    assert list(ROWS) == list(run_options.SETTINGS)
    assert ROWS.keys() <= options().keys()
    others = options().keys() - ROWS.keys()
    assert others == {"config", "show", "as_json", "debug"}


def test_every_switch_can_be_turned_off_too() -> None:
    for key, row in ROWS.items():
        assert bool(options()[key].secondary_opts) == (row is SWITCH), key


def typed(key: str, value: Any) -> list[str]:
    """Return how a value is typed."""
    param = options()[key]
    if isinstance(value, bool):
        return [(param.opts if value else param.secondary_opts)[0]]
    if key == "input_dirs":
        return [word for path in value for word in ("--input-dir", path)]
    return [param.opts[0], ",".join(value) if isinstance(value, list) else str(value)]


def in_environment(key: str, value: Any) -> str:
    """Return how a value stands in the environment."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return (os.pathsep if key == "input_dirs" else ",").join(value) if isinstance(value, list) else str(value)


def plain(settings: Settings, key: str) -> Any:
    value = getattr(settings, key)
    if isinstance(value, tuple):
        return [str(one) for one in value]
    return (
        value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        if isinstance(value, Path)
        else value
    )


@pytest.mark.parametrize(("key", "row"), ROWS.items(), ids=ROWS)
def test_command_line_over_environment_over_file_over_pyproject(
    key: str, row: Row, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "config.toml"
    file.touch()
    besides = ("--config", str(file), *row.besides)

    def check(origin: str, value: Any, *words: str) -> None:
        loaded = settings_of(*besides, *words)
        assert plain(loaded.settings, key) == value
        assert origin in loaded.origins[key]

    # The two values take turns, so that each layer is seen to win over the one below it.
    (home / "pyproject.toml").write_text(
        f"[tool.imageworks.personal_tagger]\n{key} = {json.dumps(row.one)}", encoding="utf-8"
    )
    check("pyproject.toml", row.one)
    file.write_text(f"{key} = {json.dumps(row.other)}", encoding="utf-8")
    check("config.toml", row.other)
    monkeypatch.setenv(run_options.environment_variable(key), in_environment(key, row.one))
    check("the environment", row.one)
    check("the command line", row.other, *typed(key, row.other))
    monkeypatch.delenv(run_options.environment_variable(key))
    check("the command line", row.one, *typed(key, row.one))


def test_lists_in_the_environment_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(run_options.environment_variable("input_dirs"), '["/a:b", "~/c"]')
    monkeypatch.setenv(run_options.environment_variable("image_exts"), '[".JPG", "cr3"]')
    settings = settings_of().settings
    assert settings.input_dirs == (Path("/a:b"), Path.home() / "c")
    assert settings.image_exts == ("jpg", "cr3")


# --- ImageWorks' own names ---

#: A table as ImageWorks' users have it; its values are other than the defaults of either program.
THEIRS = """
[tool.imageworks.personal_tagger]
default_input_dirs = ["/photos/a", "/photos/b"]
default_output_jsonl = "out/audit.jsonl"
default_summary_path = "out/page.md"
default_backend = "lmdeploy"
default_model = "general"
caption_model = "short"
keyword_model = "words"
description_model = "long"
default_base_url = "http://localhost:8100/v1"
default_api_key = "EMPTY"
default_timeout = 121
default_max_new_tokens = 511
default_temperature = 0.25
default_top_p = 0.85
default_prompt_profile = "travel"
default_batch_size = 3
default_max_workers = 4
default_recursive = true
default_dry_run = true
default_no_meta = true
default_preflight = false
default_backup_originals = true
default_overwrite_metadata = true
default_use_registry = false
max_keywords = 14
image_extensions = [".jpg", ".CR3"]
json_schema_version = "1.0"
"""
OURS = {
    "input_dirs": ["/photos/a", "/photos/b"],
    "output_jsonl": "out/audit.jsonl",
    "summary": "out/page.md",
    "backend": "lmdeploy",
    "model": "general",
    "caption_model": "short",
    "keyword_model": "words",
    "description_model": "long",
    "base_url": "http://localhost:8100/v1",
    "api_key": "EMPTY",
    "timeout": 121,
    "max_new_tokens": 511,
    "temperature": 0.25,
    "top_p": 0.85,
    "prompt_profile": "travel",
    "batch_size": 3,
    "max_workers": 4,
    "recursive": True,
    "dry_run": True,
    "no_meta": True,
    "skip_preflight": True,
    "backup_originals": True,
    "overwrite_metadata": True,
    "use_registry": False,
    "max_keywords": 14,
    "image_exts": ["jpg", "cr3"],
}


def test_their_table_is_understood_as_it_is(home: Path) -> None:
    (home / "pyproject.toml").write_text(THEIRS, encoding="utf-8")
    loaded = settings_of()
    assert {key: plain(loaded.settings, key) for key in OURS} == OURS
    assert {key for key, origin in loaded.origins.items() if "pyproject" in origin} == OURS.keys()
    who = cast(loaded.settings)
    assert {stage: who.entries[stage].served_model for stage in Stage} == {
        Stage.CAPTION: "short",
        Stage.KEYWORDS: "words",
        Stage.DESCRIPTION: "long",
    }
    assert {entry.api_key_env for entry in who.distinct} == {None}  # EMPTY stands for none


@pytest.mark.parametrize("theirs", sorted({*ALIASES, *OPPOSITES}))
def test_their_names_are_understood_in_the_environment_and_not_beside_ours(
    theirs: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ALIASES.get(theirs) or OPPOSITES[theirs]
    row = ROWS[ours]
    value = in_environment(ours, (not row.one) if theirs in OPPOSITES else row.one)
    monkeypatch.setenv(run_options.environment_variable(theirs), value)
    loaded = settings_of(*row.besides)
    assert plain(loaded.settings, ours) == row.one
    assert loaded.origins[ours] == "the environment"
    monkeypatch.setenv(run_options.environment_variable(ours), value)
    with pytest.raises(ConfigurationError, match=f"'{theirs}'.*are one setting|'{ours}'.*are one setting"):
        settings_of(*row.besides)


def test_two_names_in_one_file_are_an_error(home: Path) -> None:
    file = home / "config.toml"
    file.write_text('model = "a"\ndefault_model = "b"', encoding="utf-8")
    with pytest.raises(
        ConfigurationError, match=r"config\.toml: 'model' and 'default_model' are one setting"
    ):
        load(config=file, start=home)


# --- What a setting is for ---

REGISTRY = [
    entry(
        "http://127.0.0.1:1/v1", name="best", role_priority={"caption": 9, "keywords": 9, "description": 9}
    ),
    entry("http://127.0.0.1:2/v1", name="teller", served_model_id="t", roles=["narration"]),
]


def who_speaks(home: Path, *words: str) -> Cast:
    """Return who would be asked with these options, with a registry at hand."""
    (home / "registry.json").write_text(json.dumps(REGISTRY), encoding="utf-8")
    return cast(settings_of("--registry", str(home / "registry.json"), *words).settings)


STAGES = {"caption": Stage.CAPTION, "keyword": Stage.KEYWORDS, "description": Stage.DESCRIPTION}
BEST = dict.fromkeys(Stage, "best")


def names(who: Cast) -> dict[Stage, str]:
    return {stage: who.entries[stage].name for stage in Stage}


def test_one_model_is_asked_at_every_stage(home: Path) -> None:
    assert names(who_speaks(home)) == BEST
    (one,) = who_speaks(home, "--model", "m", "--backend", "ollama").distinct
    assert (one.served_model, one.dialect, one.endpoints) == ("m", "ollama", ("http://127.0.0.1:11434/v1",))
    (one,) = who_speaks(home, "--model", "m", "--base-url", "http://gpu:8000/v1").distinct
    assert (one.dialect, one.endpoints) == ("vllm", ("http://gpu:8000/v1",))


@pytest.mark.parametrize(("word", "stage"), STAGES.items())
def test_a_stage_may_have_its_own_model_server_entry_and_role(word: str, stage: Stage, home: Path) -> None:
    own = who_speaks(
        home,
        *(f"--{word}-model", "x", f"--{word}-backend", "llama-server"),
        *(f"--{word}-base-url", "http://gpu:8081/v1"),
    )
    assert names(own) == BEST | {stage: "x"}
    mine = own.entries[stage]
    assert (mine.dialect, mine.endpoints) == ("llama-server", ("http://gpu:8081/v1",))
    assert names(who_speaks(home, f"--{word}-registry-model", "teller")) == BEST | {stage: "teller"}
    assert names(who_speaks(home, f"--{word}-role", "narration")) == BEST | {stage: "teller"}
    mixed = who_speaks(home, f"--{word}-registry-model", "teller", "--model", "m")
    assert names(mixed) == dict.fromkeys(Stage, "m") | {stage: "teller"}


def test_what_is_typed_counts_whatever_the_file_says_of_models(home: Path) -> None:
    table = "[tool.imageworks.personal_tagger]\n"
    (home / "pyproject.toml").write_text(f"{table}use_registry = true\ncaption_model = 'c'", encoding="utf-8")
    assert names(who_speaks(home)) == BEST
    assert names(who_speaks(home, "--model", "m")) == dict.fromkeys(Stage, "m")
    (home / "pyproject.toml").write_text(f"{table}model = 'm'", encoding="utf-8")
    assert names(who_speaks(home)) == dict.fromkeys(Stage, "m")
    assert names(who_speaks(home, "--use-registry")) == BEST
    assert names(who_speaks(home, "--use-loader")) == BEST
    assert names(who_speaks(home, "--keyword-registry-model", "teller")) == BEST | {Stage.KEYWORDS: "teller"}


def test_without_the_registry_nobody_is_asked_by_role(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model is named for the caption and the keywords and"):
        who_speaks(home, "--no-use-registry")
    with pytest.raises(
        ConfigurationError, match=r"named for the keywords: set model \(--model\), or keyword_model"
    ):
        who_speaks(
            home, "--no-use-registry", "--caption-model", "m", "--description-registry-model", "teller"
        )
    own = who_speaks(home, "--no-use-registry", "--model", "m", "--caption-registry-model", "teller")
    assert names(own) == dict.fromkeys(Stage, "m") | {Stage.CAPTION: "teller"}


def body(who: Cast, stage: Stage = Stage.KEYWORDS, max_keywords: int = 15) -> dict[str, Any]:
    """Return what would be sent to a stage's server."""
    request = build_request(
        stage,
        picture_url=picture_url(b"jpeg"),
        facts=(),
        draft=Draft(),
        profile=who.profile,
        entry=who.entries[stage],
        max_keywords=max_keywords,
    )
    return chat_body(request, who.entries[stage])


def test_sampling_and_tokens_are_in_every_request(home: Path) -> None:
    who = who_speaks(home, "--temperature", "0.125", "--top-p", "0.375", "--max-new-tokens", "333")
    for stage in Stage:
        sent = body(who, stage)
        assert (sent["temperature"], sent["top_p"]) == (0.125, 0.375)
        assert 333 in sent.values()


def test_a_request_takes_as_long_as_is_said(home: Path) -> None:
    assert who_speaks(home, "--timeout", "77").entries[Stage.CAPTION].timeouts.stage == 77


def test_keywords_are_asked_for_in_the_number_that_is_said(home: Path) -> None:
    settings = settings_of("--model", "m", "--max-keywords", "7").settings
    text = json.dumps(body(cast(settings), max_keywords=settings.max_keywords))
    assert "7 keywords" in text
    assert "15 keywords" not in text


@pytest.mark.parametrize("name", ["family-archive", "Family archive"])
def test_a_profile_is_found_by_its_id_and_by_its_name(name: str, home: Path) -> None:
    assert who_speaks(home, "--prompt-profile", name).profile.id == "family-archive"


def test_only_the_named_kinds_of_photos_are_taken() -> None:
    settings = settings_of("--image-exts", "CR3,.jpg").settings
    taken = Eligibility(extensions=settings.image_exts)
    assert [name for name in ("a.cr3", "a.CR3", "a.jpg", "a.png") if taken.photo(name)] == [
        "a.cr3",
        "a.CR3",
        "a.jpg",
    ]


def test_a_persons_words_are_replaced_only_where_that_is_said(home: Path) -> None:
    for words, expected in ((), False), (("--overwrite-metadata",), True):
        settings = settings_of("--model", "m", *words).settings
        assert policies(settings, cast(settings)).general.overwrite is expected


def test_a_key_reaches_the_servers_of_models_that_are_named_without_a_registry() -> None:
    settings = settings_of("--model", "m", "--api-key", "sk-1").settings
    (one,) = cast(settings).distinct
    assert one.api_key_env == API_KEY
    assert key_of(one, keys_of(settings, {})) == "sk-1"


def test_the_state_directory_is_not_the_daemons(home: Path) -> None:
    assert settings_of().settings.state_dir == home / ".local/state/imageworks-personal-tagger"
    assert load(start=home).settings.state_dir == home / ".local/state/tagger-daemon"
