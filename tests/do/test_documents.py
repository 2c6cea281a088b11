"""What the documents say is so: tables, links, examples and code blocks, compared with the code."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from pydantic import BaseModel, SecretStr

from tagger_daemon.cli import batch, daemon, run_options
from tagger_daemon.cli.exits import BATCH, DAEMON, Exit, Program
from tagger_daemon.errors import TaggerError
from tagger_daemon.model import JobState, Origin, Outcome, Photo, Record, Stage
from tagger_daemon.reports.audit import audit_line
from tagger_daemon.settings import Settings, load
from tagger_daemon.vision.profile import list_profiles, load_profile
from tagger_daemon.vision.registry import load_registry, parse_registry
from tagger_daemon.vision.roles import resolve_roles

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daemon" / "tagger_daemon"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
AUDIT = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BATCHES = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").glob("*.md"),
]
ROLES = {stage: stage.value for stage in Stage}
EXAMPLE = ROOT / "config" / "tagger-daemon.example.toml"
REGISTRY = ROOT / "config" / "registry.example.json"


def table(text: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the table whose heading begins like this: first cell -> the others."""
    lines = text.partition(f"\n| {heading} |")[2].splitlines()[2:]
    assert lines, f"there is no table {heading!r}"
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first] = others
    return rows


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


# --- Dependencies, commands, exit statuses, modules, fates, audit keys ---


def test_every_dependency_has_its_row_and_every_row_its_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    names = {re.split(r"[<>=!~\[; ]", requirement)[0] for group in groups for requirement in group}
    assert set(table(README, "Package")) == names


def commands(group: typer.Typer, name: str) -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{name} {command.name or command.callback.__name__}"
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{name} {inner.name}")


COMMANDS = [*commands(daemon.app, DAEMON.name), *commands(batch.app, BATCH.name)]


def test_every_command_has_its_row_and_every_row_its_command() -> None:
    told = {quoted(row)[0] for row in table(README, "Command")}
    assert told == {*COMMANDS}
    batches = {quoted(row)[0] for row in table(BATCHES, "Command")}
    assert batches == {command for command in COMMANDS if command.startswith(BATCH.name)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_mentioned_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    said = "\n".join((*blocks(text, "sh"), *quoted(prose)))
    for program in (DAEMON, BATCH):
        top = {name.split()[1] for name in COMMANDS if name.startswith(program.name)}
        assert set(re.findall(rf"\b{program.name} ([a-z][a-z-]*)", said)) <= top


@pytest.mark.parametrize(("program", "text"), [(DAEMON, README), (BATCH, BATCHES)], ids=["daemon", "batch"])
def test_every_exit_status_has_its_row_and_every_row_its_status(program: Program, text: str) -> None:
    statuses = dict(line.split(maxsplit=1) for line in program.statuses.strip().splitlines())
    assert {status: cells[0] for status, cells in table(text, "Exit status").items()} == statuses


def test_every_exit_status_is_one_of_a_program() -> None:
    named = {line.split()[0] for one in (DAEMON, BATCH) for line in one.statuses.strip().splitlines()}
    assert named == {str(int(status)) for status in Exit}


def test_every_option_of_a_batch_run_has_its_row_and_every_row_its_option() -> None:
    root: Any = typer.main.get_command(batch.app)
    options = {param.name: [*param.opts, *param.secondary_opts] for param in root.commands["run"].params}
    assert [[quoted(row), *cells] for row, cells in table(BATCHES, "Option").items()] == [
        [
            options[key],
            f"`{key}`",
            f"`{run_options.environment_variable(key)}`",
            Settings.model_fields[key].description,
        ]
        for key in run_options.SETTINGS
    ]


def test_every_module_has_its_row_and_every_row_its_module() -> None:
    told = {quoted(row)[0] for row in table(ARCHITECTURE, "Module") if row.startswith("`")}
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    builtin = "vision/builtin/"
    there = {name for name in modules if not name.endswith("__init__.py") and not name.startswith(builtin)}
    assert told == there | {builtin}


def errors(root: type[TaggerError]) -> Iterator[type[TaggerError]]:
    for child in root.__subclasses__():
        yield child
        yield from errors(child)


def test_every_error_stands_beside_its_fate() -> None:
    told = {name: fate for fate, cells in table(ARCHITECTURE, "Fate").items() for name in quoted(cells[0])}
    assert told == {error.__name__: error.fate.name for error in errors(TaggerError)}


def audited() -> dict[str, Any]:
    origin = Origin(
        entry="e", model="m", digest=None, registry="r", profile="p", profile_hash="h", endpoint="http://x/v1"
    )
    photo = Photo(path=Path("/p/a.jpg"), folder=Path("/p"), fingerprint=None)  # type: ignore[arg-type]  # not told
    record = Record(
        id="1",
        photo=photo,
        outcome=Outcome.WRITTEN,
        finished_at="2026-01-01T00:00:00+00:00",
        origins={Stage.CAPTION: origin},
    )
    line: dict[str, Any] = json.loads(audit_line(record))
    return line


def test_every_key_of_the_audit_is_explained() -> None:
    line = audited()
    keys = re.findall(r"^\| `(\w+)` \|", AUDIT, flags=re.MULTILINE)
    assert keys == [*line, *line["stages"]["caption"]]


def test_the_schema_of_the_audit_is_shown_as_it_is_and_names_every_outcome() -> None:
    (shown,) = blocks(AUDIT, "json")
    assert shown == (PACKAGE / "reports" / "audit.schema.json").read_text(encoding="utf-8")
    Draft202012Validator.check_schema(schema := json.loads(shown))
    assert schema["properties"]["outcome"]["enum"] == [outcome.value for outcome in Outcome]
    line = audited()
    assert schema["required"] == [*schema["properties"]] == [*line]
    stage = schema["$defs"]["stage"]
    assert stage["required"] == [*stage["properties"]] == [*line["stages"]["caption"]]


def test_every_state_and_every_outcome_is_explained() -> None:
    assert list(table(OPERATIONS, "State")) == [state.value for state in JobState]
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in AUDIT] == []


# --- Links and code blocks ---


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_script_that_is_mentioned_exists(path: Path) -> None:
    mentioned = re.findall(
        r"(?<![\w./~])(?:scripts|tests|config|systemd)/[\w./@-]*\w", path.read_text(encoding="utf-8")
    )
    assert [name for name in mentioned if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("snippet", blocks(README, "json"))
def test_every_registry_in_the_readme_works_on_its_own(snippet: str) -> None:
    registry = parse_registry(snippet, source="README.md")
    (entry,) = registry.entries
    assert resolve_roles(ROLES, registry) == dict.fromkeys(Stage, entry)
    (command,) = (block for block in blocks(README, "sh") if entry.served_model in block)
    for port in re.findall(r"port (\d+)", command):
        assert entry.endpoints == (f"http://127.0.0.1:{port}/v1",)


@pytest.mark.parametrize("snippet", blocks(README, "toml"))
def test_every_configuration_in_the_readme_is_valid(snippet: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(snippet, encoding="utf-8")
    assert load(config=file, environ={}, start=tmp_path).settings.folders


PROFILES = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")


def test_the_profile_in_the_manual_can_be_used_as_it_stands(tmp_path: Path) -> None:
    configurations = [block for block in blocks(PROFILES, "toml") if "folders" in block]
    (example,) = (block for block in blocks(PROFILES, "toml") if block not in configurations)
    (tmp_path / "garten.toml").write_text(example, encoding="utf-8")
    profile = load_profile("Garten", directories=(tmp_path,))
    assert [prompt.language for prompt in profile.stages.values()] == ["German", "English", "German"]
    for number, configuration in enumerate(configurations):
        file = tmp_path / f"config-{number}.toml"
        file.write_text(configuration, encoding="utf-8")
        for folder in (settings := load(config=file, environ={}, start=tmp_path).settings).folders:
            name = folder.prompt_profile or settings.prompt_profile
            load_profile(name, directories=(tmp_path,))


def test_every_shipped_profile_has_its_row_and_every_row_its_profile() -> None:
    rows = {quoted(row)[0]: cells[0] for row, cells in table(PROFILES, "Id").items()}
    assert rows == {one.id: one.name for one in list_profiles()}


def test_every_key_of_a_profile_is_explained() -> None:
    (example,) = (block for block in blocks(PROFILES, "toml") if "[stages.caption]" in block)
    profile = tomllib.loads(example)
    keys = {*(profile.keys() - {"stages"}), *(key for stage in profile["stages"].values() for key in stage)}
    assert {key for row in table(PROFILES, "Key") for key in quoted(row)} == keys


# --- The examples ---


def uncommented(text: str) -> str:
    """Put every setting in force that stands behind a comment sign: `# key = value` and lines that go on."""
    return re.sub(r'^# (?=\w+ = |  "|\])', "", text, flags=re.MULTILINE)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def defaults(section: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Return every setting with its default; those that have none are None."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if isinstance(field.default, BaseModel):
            found |= defaults(type(field.default), f"{prefix}{name}.")
        else:
            found[prefix + name] = None if field.is_required() else field.default
    return found


def test_the_example_configuration_is_valid_as_it_is_and_with_every_line_in_force(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text in (EXAMPLE.read_text("utf-8"), uncommented(EXAMPLE.read_text("utf-8"))):
        file.write_text(text, encoding="utf-8")
        assert load(config=file, environ={}, start=tmp_path).settings.folders


def test_the_example_configuration_shows_every_setting_with_its_default() -> None:
    shown = flat(tomllib.loads(uncommented(EXAMPLE.read_text("utf-8"))))
    expected = defaults(Settings)
    assert shown.keys() == expected.keys()
    # What has no default, or none that would do, is shown by an example.
    differing = {key for key, value in shown.items() if value != as_written(expected[key])}
    ways = {"folders", "registry", "state_dir", "profiles_dir"}
    assert differing == ways | {"use_registry", "timeout", "max_new_tokens", "temperature", "top_p"}


def as_written(default: Any) -> Any:
    """Return a default as TOML writes it."""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return (
        list(default)
        if isinstance(default, tuple)
        else str(default)
        if isinstance(default, Path)
        else default
    )


def test_the_example_registry_has_an_answer_for_every_role() -> None:
    registry = load_registry(REGISTRY)
    assert resolve_roles(ROLES, registry).keys() == set(Stage)
    assert {json.loads(text)[0]["name"] for text in blocks(README, "json")} <= {
        entry.name for entry in registry.entries
    }
