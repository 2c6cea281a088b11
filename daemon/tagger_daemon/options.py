"""Settings of a batch run, and of models that are named without a registry.

They are keys of the one schema in `settings`, at its top level: a key is called as the option is. ImageWorks'
Personal Tagger called most of them `default_…`; its names are understood too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage

#: What the options of a stage begin with. ImageWorks says "keyword", and the stage is called "keywords".
STAGE_WORDS: Final[Mapping[Stage, str]] = {
    Stage.CAPTION: "caption",
    Stage.KEYWORDS: "keyword",
    Stage.DESCRIPTION: "description",
}

#: ImageWorks' name of a key -> ours.
ALIASES: Final[Mapping[str, str]] = {
    "input_dir": "input_dirs",
    "default_input_dirs": "input_dirs",
    "default_output_jsonl": "output_jsonl",
    "summary_path": "summary",
    "default_summary": "summary",
    "default_summary_path": "summary",
    "image_extensions": "image_exts",
    **{
        f"default_{name}": name
        for name in (
            *("backend", "base_url", "model", "api_key", "timeout", "max_new_tokens", "temperature", "top_p"),
            *(
                "prompt_profile",
                "batch_size",
                "max_workers",
                "max_keywords",
                "recursive",
                "dry_run",
                "no_meta",
            ),
            *("backup_originals", "overwrite_metadata", "use_registry", "use_loader"),
            *(f"{word}_{what}" for word in STAGE_WORDS.values() for what in ("model", "role")),
        )
    },
}

#: ImageWorks' name of a switch that says the opposite of ours -> ours.
OPPOSITES: Final[Mapping[str, str]] = {"preflight": "skip_preflight", "default_preflight": "skip_preflight"}

#: Keys of ImageWorks' that say nothing to us: passed over, so that its file can be used as it is.
WITHOUT_MEANING: Final = frozenset({"json_schema_version"})

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


def _paths(value: Any) -> Any:
    """Let paths be written as one text, as in PATH, or as a list in JSON: an environment knows texts only."""
    if isinstance(value, Path):
        return [value]
    return _split(value, os.pathsep) if isinstance(value, str) else value


def _commas(value: Any) -> Any:
    """Let words be written as one text with commas between them, or as a list in JSON."""
    return _split(value, ",") if isinstance(value, str) else value


def _split(text: str, separator: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"is neither a list in JSON nor plain text: {error}") from error
    return [part.strip() for part in text.split(separator) if part.strip()]


class BatchOptions(BaseModel):
    """What can be said of a single run over folders, and of the models that it asks."""

    input_dirs: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = Field(
        (), description="folders and photos of a batch run"
    )
    recursive: bool = Field(False, description="read the folders below those of a batch run too")
    image_exts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)] = Field(
        (), description="file name extensions to take; [] for all that can be handled"
    )

    backend: str = Field("", description='kind of the server at base_url; "" for vllm')
    base_url: str = Field(
        "", description='OpenAI-compatible address that ends in /v1; "" for the backend\'s own'
    )
    model: str = Field(
        "", description="the model to ask at base_url, as its server knows it, without a registry"
    )
    caption_backend: str = Field("", description='kind of the server that writes captions; "" for backend')
    caption_base_url: str = Field("", description='its address; "" for base_url')
    caption_model: str = Field("", description='model that writes captions; "" for model')
    keyword_backend: str = Field("", description='kind of the server that writes keywords; "" for backend')
    keyword_base_url: str = Field("", description='its address; "" for base_url')
    keyword_model: str = Field("", description='model that writes keywords; "" for model')
    description_backend: str = Field("", description='kind of the server for descriptions; "" for backend')
    description_base_url: str = Field("", description='its address; "" for base_url')
    description_model: str = Field("", description='model that writes descriptions; "" for model')
    api_key: SecretStr = Field(
        SecretStr(""), description="key for the servers of models named without a registry"
    )

    use_registry: bool | None = Field(
        None, description="ask the models of the registry; not given: where none is named by model"
    )
    caption_registry_model: str = Field("", description="entry that writes captions, whatever its roles")
    keyword_registry_model: str = Field("", description="entry that writes keywords, whatever its roles")
    description_registry_model: str = Field(
        "", description="entry that writes descriptions, whatever its roles"
    )

    timeout: float | None = Field(None, gt=0, le=86400, description="seconds that one request may take")
    max_new_tokens: int | None = Field(
        None, ge=16, le=4096, description="tokens of each answer, instead of what the profile says"
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="sampling, instead of what the profile says"
    )
    top_p: float | None = Field(None, gt=0, le=1, description="sampling, instead of what the profile says")

    output_jsonl: Path = Field(
        Path("outputs/results/personal_tagger.jsonl"), description="audit of batch runs, which is appended to"
    )
    summary: Path = Field(
        Path("outputs/summaries/personal_tagger_summary.md"), description="Markdown page about a batch run"
    )
    dry_run: bool = Field(
        False, description="ask the models, keep what they say as proposals, write no photo"
    )
    no_meta: bool = Field(
        False, description="ask the models, write the audit and the summary, and nothing else"
    )
    skip_preflight: bool = Field(False, description="begin a batch run without looking whether all is there")

    @field_validator("input_dirs", "output_jsonl", "summary", mode="after")
    @classmethod
    def _expanded(cls, value: Any) -> Any:
        return tuple(path.expanduser() for path in value) if isinstance(value, tuple) else value.expanduser()

    @field_validator("image_exts", mode="after")
    @classmethod
    def _extensions(cls, extensions: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = tuple(dict.fromkeys(extension.lower().removeprefix(".") for extension in extensions))
        for extension in cleaned:
            if not extension.isalnum():
                raise ValueError(f"{extension!r} is no extension of a file name: write jpg or .jpg")
        return cleaned


def in_our_words(values: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return one source's top-level keys by our names for them.

    Raises:
        ConfigurationError: one setting is given twice, by two of its names.
    """
    ours: dict[str, Any] = {}
    said: dict[str, str] = {}  # our name -> the name that it was given by
    for name, value in values.items():
        if name in WITHOUT_MEANING:
            continue
        key = ALIASES.get(name) or OPPOSITES.get(name) or name
        if key in said:
            raise ConfigurationError(f"{source}: {said[key]!r} and {name!r} are one setting; give it once")
        said[key] = name
        ours[key] = _opposite(value) if name in OPPOSITES else value
    return ours


def _opposite(value: Any) -> Any:
    """Turn a switch around; what is no switch is left to be refused as what it is."""
    if isinstance(value, bool):
        return not value
    word = str(value).strip().lower()
    return False if word in _YES else True if word in _NO else value
