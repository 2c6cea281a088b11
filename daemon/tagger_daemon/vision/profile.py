"""Prompt profiles: sets of prompts in TOML files, ours and the user's own.

id = "default"                  the file's name; goes into the photo's provenance
name = "Default"
description = "…"
language = "en"                 BCP 47, of the texts that the prompts ask for
system = "…"                    the same for all stages, so that servers can reuse their work on the photo
[stages.caption]                and stages.keywords, stages.description
instruction = "…"               `{max_keywords}` is replaced
max_tokens = 96
temperature = 0.2
top_p = 0.9
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import Profile, StagePrompt
from tagger_daemon.vision.problems import nearest, problems, short_hash


def load_profile(name: str, *, directories: Sequence[Path] = ()) -> Profile:
    """Read the profile of this name.

    Args:
        directories: the user's own profiles, first directory first; the shipped ones come last.

    Raises:
        ConfigurationError: there is no such profile, or its file is unreadable or broken.
    """
    files = _files(directories)
    if name not in files:
        raise ConfigurationError(f"there is no prompt profile {name!r}{nearest(name, files)}")
    file = files[name]
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the prompt profile {file} cannot be read: {error.strerror}") from error
    profile = parse_profile(content, source=str(file))
    if profile.id != name:
        raise ConfigurationError(f"{file}: id: must be {name!r}, the file's name, to be found again by it")
    return profile


def parse_profile(text: str | bytes, *, source: str) -> Profile:
    """Return the profile that a TOML file holds.

    Args:
        text: TOML, UTF-8 if bytes.
        source: the file's name, for messages.

    Raises:
        ConfigurationError: one line for each problem, with file and key.
    """
    content = text.encode() if isinstance(text, str) else text
    try:
        raw = _RawProfile.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        found = (f"{source}: {problem}" for problem in problems(error, _RawProfile))
        raise ConfigurationError("\n".join(found)) from error
    except ValueError as error:
        raise ConfigurationError(f"{source}: not valid TOML: {error}") from error
    return Profile(
        id=raw.id,
        name=raw.name,
        description=raw.description,
        language=raw.language,
        system=raw.system,
        stages=raw.stages.prompts(),
        hash=short_hash(content),
    )


def _files(directories: Sequence[Path]) -> Mapping[str, Path | Traversable]:
    """Return every profile's file by its name; only names found here are ever opened."""
    shipped = resources.files("tagger_daemon.vision").joinpath("profiles").iterdir()
    own = (file for directory in reversed(directories) for file in directory.glob("*.toml"))
    files: dict[str, Path | Traversable] = {}
    for file in (*shipped, *own):
        if file.name.endswith(".toml"):
            files[file.name.removesuffix(".toml")] = file
    return files


def _only_our_placeholder(instruction: str) -> str:
    if unknown := set(re.findall(r"\{(\w+)\}", instruction)) - {"max_keywords"}:
        raise ValueError(f"has no placeholder {{{min(unknown)}}}; the only one is {{max_keywords}}")
    return instruction


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Raw(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _RawStage(_Raw):
    instruction: Annotated[Words, AfterValidator(_only_our_placeholder)]
    max_tokens: int = Field(ge=1)
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)

    def prompt(self) -> StagePrompt:
        return StagePrompt(
            instruction=self.instruction,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )


class _RawStages(_Raw):
    caption: _RawStage
    keywords: _RawStage
    description: _RawStage

    def prompts(self) -> Mapping[Stage, StagePrompt]:
        return {
            Stage.CAPTION: self.caption.prompt(),
            Stage.KEYWORDS: self.keywords.prompt(),
            Stage.DESCRIPTION: self.description.prompt(),
        }


class _RawProfile(_Raw):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: Words
    description: Words
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
    system: Words
    stages: _RawStages
