"""The options of a batch run: each is a setting, and its name, type and help are made from that.

There is one list of them. The bare command, `run` and `config show` take what stands in it.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from pydantic import SecretStr

from tagger_daemon.options import STAGE_WORDS
from tagger_daemon.settings import ENV_PREFIX, Settings

_WORDS: Final = tuple(STAGE_WORDS.values())

#: Heading of the help -> the settings below it.
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Photos": ("input_dirs", "recursive", "image_exts"),
    "Models named here": (
        *("backend", "base_url", "model"),
        *(f"{word}_{what}" for word in _WORDS for what in ("model", "backend", "base_url")),
        "api_key",
    ),
    "Models of the registry": (
        *("registry", "use_registry", "use_loader"),
        *(f"{word}_role" for word in _WORDS),
        *(f"{word}_registry_model" for word in _WORDS),
    ),
    "Questions and answers": (
        *("prompt_profile", "max_keywords", "max_new_tokens", "temperature", "top_p", "timeout"),
    ),
    "What is written": (
        *("dry_run", "no_meta", "overwrite_metadata", "backup_originals", "output_jsonl", "summary"),
    ),
    "The run": ("max_workers", "batch_size", "skip_preflight", "state_dir", "log_level"),
}
SETTINGS: Final = tuple(key for keys in SECTIONS.values() for key in keys)

#: Where an option is called otherwise than its setting.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_dirs": ("--input-dir", "-i"),
    "no_meta": ("--no-meta/--meta",),
}

#: What the help of an option says besides its setting's description.
NOTES: Final[Mapping[str, str]] = {
    "input_dirs": "May be given several times.",
    "image_exts": "With commas between them: jpg,cr3. They take the place of those that a file sets.",
    "model": "The registry is not asked then.",
    "api_key": "Better given by the environment: others on this machine can see command lines.",
    "use_registry": "With it alone, no server is started.",
    "use_loader": "Where it is typed, the registry is meant too.",
    "prompt_profile": "By its name or its id.",
    "state_dir": "By default ~/.local/state/imageworks-personal-tagger.",
    "log_level": "DEBUG, INFO, WARNING or ERROR.",
}


def environment_variable(key: str) -> str:
    """Return the name by which the environment sets a setting of the top level."""
    return f"{ENV_PREFIX}{key.upper()}"


def name_of(key: str) -> str:
    """Return the option that sets this, as it is typed."""
    return _names(key)[0].partition("/")[0]


def parameters() -> Iterator[inspect.Parameter]:
    """Make the parameters of a command that takes all of them; what is not typed is None, or empty."""
    for heading, keys in SECTIONS.items():
        for key in keys:
            kind = _kind(Settings.model_fields[key].annotation)
            option = typer.Option(
                *_names(key),
                metavar=_metavar(kind),
                help=_help(key),
                show_default=False,
                rich_help_panel=heading,
            )
            yield inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
            )


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were typed, of all that a command was called with."""
    return {key: values[key] for key in SETTINGS if values[key] not in (None, [], ())}


def _names(key: str) -> tuple[str, ...]:
    plain = key.replace("_", "-")
    switch = _kind(Settings.model_fields[key].annotation) is bool
    return NAMES.get(key, (f"--{plain}/--no-{plain}" if switch else f"--{plain}",))


def _kind(annotation: Any) -> Any:
    """Return the type that what is typed is read as; whether it will do, the settings judge."""
    if get_origin(annotation) in {Union, types.UnionType}:
        (annotation,) = (one for one in get_args(annotation) if one is not type(None))
    if annotation in {bool, int, float, Path}:
        return annotation
    if get_origin(annotation) is tuple and get_args(annotation)[0] is Path:
        return list[Path]
    # Words with commas between them are one text here, as in the environment.
    assert annotation in {str, SecretStr} or get_origin(annotation) in {tuple, Literal}, annotation
    return str


def _metavar(kind: Any) -> str | None:
    return None if kind is bool else {int: "NUMBER", float: "NUMBER", str: "TEXT"}.get(kind, "PATH")


def _help(key: str) -> str:
    field = Settings.model_fields[key]
    sentence = (field.description or "").strip()
    told = [f"{sentence[:1].upper()}{sentence[1:]}.", *([NOTES[key]] if key in NOTES else [])]
    facts = [f"env var: {environment_variable(key)}"]
    if isinstance(field.default, str | int | float | Path) and field.default not in {"", False}:
        facts.append(f"default: {'yes' if field.default is True else field.default}")
    return f"{' '.join(told)}  [{'; '.join(facts)}]"
