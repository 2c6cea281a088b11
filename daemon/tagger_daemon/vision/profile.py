"""Prompt profiles: sets of prompts in TOML files, ours and the user's own. docs/profiles.md is the manual.

id = "default"                  the file's name; goes into the photo's provenance
name = "Default"                for people; a profile is chosen by either
description = "…"
language = "en"                 BCP 47, of the texts that are asked for
keyword_language = "de"         of the keywords, where it is another one
system = "…"                    the same for all stages, so that servers can reuse their work on the photo
[stages.caption]                and stages.keywords, stages.description
instruction = "…"               `{max_keywords}` and `{language}` are replaced
max_tokens = 96
temperature = 0.2
top_p = 0.9
presence_penalty = 0.5          sent only where it is given
output = "text"                 or "json"; of keywords "lines" or "json"
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage, Value
from tagger_daemon.vision.entry import Output, Profile, StagePrompt
from tagger_daemon.vision.languages import language_name
from tagger_daemon.vision.plain import plain
from tagger_daemon.vision.problems import problems, short_hash

#: What the texts may leave to be filled in.
PLACEHOLDERS = ("max_keywords", "language")

#: Tokens that one answer may be given. Fewer hold no sentence, and nobody reads more.
FEWEST_TOKENS = 16
MOST_TOKENS = 4096

#: Characters of one text: together with picture and facts it has to fit into a context of 8192 tokens.
LONGEST_TEXT = 8000


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed(Value):
    """One profile's file: what is in it, or what is wrong with it."""

    id: str  # the file's name without its ending
    source: str  # the file
    own: bool  # the user's; False: it comes with the program
    profile: Profile | None
    problem: str = ""  # why there is no profile, a line for each thing that is wrong

    @property
    def name(self) -> str:
        """What people call it; what is broken has no name."""
        return self.profile.name if self.profile else "broken"


def load_profile(name: str, *, directories: Sequence[Path] = ()) -> Profile:
    """Read the profile of this id or name; upper or lower case makes no difference.

    Args:
        directories: the user's own profiles, first directory first; the shipped ones come last.

    Raises:
        ConfigurationError: there is no such profile, several could be meant, or its file is unreadable or
            broken.
    """
    found = choose(name, list_profiles(directories=directories))
    if found.profile is None:
        raise ConfigurationError(found.problem)
    return found.profile


def adjusted(
    profile: Profile, *, max_tokens: int | None, temperature: float | None, top_p: float | None
) -> Profile:
    """Return a profile with other sampling than its file says, in all stages; None leaves one as it is.

    It has another hash then: what it gives is not what the file's gives.
    """
    changes = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        return profile
    return profile.evolve(
        stages={stage: prompt.evolve(**changes) for stage, prompt in profile.stages.items()},
        hash=short_hash(json.dumps([profile.hash, changes], sort_keys=True).encode()),
    )


def list_profiles(*, directories: Sequence[Path] = ()) -> tuple[Listed, ...]:
    """Read all profiles that there are, by id. One that is broken says why, and hides no other.

    Args:
        directories: as for `load_profile`.
    """
    return tuple(_listed(name, *file) for name, file in sorted(_files(directories).items()))


def choose(name: str, listed: Sequence[Listed]) -> Listed:
    """Return the profile that is meant. An id counts more than a name, because copies often keep theirs.

    Raises:
        ConfigurationError: there is no such profile, or several could be meant; all that there are are told.
    """
    folded = name.casefold()
    readings: tuple[Callable[[Listed], bool], ...] = (
        lambda one: one.id == name,
        lambda one: one.id.casefold() == folded,
        lambda one: one.profile is not None and one.profile.name.casefold() == folded,
    )
    found = next((fitting for fits in readings if (fitting := [one for one in listed if fits(one)])), [])
    if len(found) == 1:
        return found[0]
    choices = ", ".join(f"{plain(one.id)} ({one.name})" for one in listed)
    if found:
        raise ConfigurationError(
            f"several prompt profiles are called {name!r}: give one's id. There are {choices}"
        )
    ids = {key.casefold(): one.id for one in listed for key in (one.name, one.id)}
    close = difflib.get_close_matches(folded, ids, n=1)
    hint = f"; did you mean {ids[close[0]]!r}?" if close else "."
    raise ConfigurationError(f"there is no prompt profile {name!r}{hint} There are {choices}")


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
        keyword_language=raw.keyword_language or raw.language,
        system=raw.system,
        stages=raw.prompts(),
        hash=short_hash(content),
    )


def _files(directories: Sequence[Path]) -> Mapping[str, tuple[Path | Traversable, bool]]:
    """Return every profile's file by its id, and whether it is the user's; only these are ever opened."""
    shipped = resources.files("tagger_daemon.vision").joinpath("profiles").iterdir()
    own = (file for directory in reversed(directories) for file in directory.glob("*.toml"))
    files: dict[str, tuple[Path | Traversable, bool]] = {}
    for file, is_own in (*((file, False) for file in shipped), *((file, True) for file in own)):
        if file.name.endswith(".toml"):
            files[file.name.removesuffix(".toml")] = (file, is_own)
    return files


def _listed(name: str, file: Path | Traversable, own: bool) -> Listed:
    listed = Listed(id=name, source=str(file), own=own, profile=None)
    try:
        return listed.evolve(profile=_read(name, file))
    except ConfigurationError as error:
        return listed.evolve(problem=str(error))


def _read(name: str, file: Path | Traversable) -> Profile:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the prompt profile {file} cannot be read: {error.strerror}") from error
    profile = parse_profile(content, source=str(file))
    if profile.id != name:
        raise ConfigurationError(f"{file}: id: must be {name!r}, the file's name, to be found again by it")
    return profile


def _only_our_placeholders(text: str) -> str:
    if unknown := set(re.findall(r"\{(\w+)\}", text)) - set(PLACEHOLDERS):
        ours = " and ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"has no placeholder {{{min(unknown)}}}; there are {ours}")
    return text


def _on_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line, without control characters")
    return text


def _language(tag: str) -> str:
    language_name(tag)
    return tag


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_TEXT)]
Prompt = Annotated[Words, AfterValidator(_only_our_placeholders)]
Label = Annotated[Words, AfterValidator(_on_one_line)]
Language = Annotated[str, AfterValidator(_language)]


class _Raw(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _RawStage(_Raw):
    instruction: Prompt
    max_tokens: int = Field(ge=FEWEST_TOKENS, le=MOST_TOKENS)
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    output: Output

    def prompt(self, language: str) -> StagePrompt:
        return StagePrompt(
            instruction=self.instruction,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            presence_penalty=self.presence_penalty,
            output=self.output,
            language=language_name(language),
        )


class _RawText(_RawStage):
    output: Literal["text", "json"] = "text"


class _RawKeywords(_RawStage):
    output: Literal["lines", "json"] = "lines"


class _RawStages(_Raw):
    caption: _RawText
    keywords: _RawKeywords
    description: _RawText


class _RawProfile(_Raw):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: Label
    description: Label
    language: Language
    keyword_language: Language | None = None
    system: Prompt
    stages: _RawStages

    def prompts(self) -> Mapping[Stage, StagePrompt]:
        return {
            Stage.CAPTION: self.stages.caption.prompt(self.language),
            Stage.KEYWORDS: self.stages.keywords.prompt(self.keyword_language or self.language),
            Stage.DESCRIPTION: self.stages.description.prompt(self.language),
        }
