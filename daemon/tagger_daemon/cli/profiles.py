"""`tagger-daemon profiles`: which prompt profiles there are, which photos they are for, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.terminal import one_line
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Value
from tagger_daemon.service.parts import own_profiles
from tagger_daemon.settings import Settings
from tagger_daemon.vision.entry import Profile, StagePrompt
from tagger_daemon.vision.profile import Listed, choose, list_profiles
from tagger_daemon.vision.prompts import system_text, task_text

SHIPPED = "comes with the program"
DEFAULT = "prompt_profile"  # the setting that holds where a folder has none


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Value):
    """All profiles, who uses them, and what is wrong with that."""

    profiles: tuple[Listed, ...]
    users: Mapping[str, tuple[str, ...]]  # id -> `prompt_profile`, and the watch folders that name it
    problems: tuple[str, ...]  # settings that name no usable profile


def gather(settings: Settings) -> Page:
    """Read all profiles, and find out which of them are in use."""
    listed = list_profiles(directories=own_profiles(settings))
    problems = [
        f"profiles_dir: there is no folder {folder}"
        for folder in own_profiles(settings)
        if not folder.is_dir()
    ]
    users: dict[str, tuple[str, ...]] = {}
    for user, name in _wishes(settings):
        try:
            found = choose(name, listed)
        except ConfigurationError as error:
            problems.append(f"{user}: {error}")
        else:
            users[found.id] = (*users.get(found.id, ()), user)
    return Page(profiles=listed, users=users, problems=tuple(problems))


def _wishes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield who uses which profile: the general setting, then each watch folder that has its own."""
    yield DEFAULT, settings.prompt_profile
    for folder in settings.folders:
        if folder.prompt_profile:
            yield str(folder.path), folder.prompt_profile


def render(page: Page) -> Group:
    """Draw the list."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "name", "language", "hash", "used by", "from", "what for"):
        table.add_column(heading, overflow="fold")
    for one in page.profiles:
        source = Text(one_line(one.source) if one.own else SHIPPED)
        users = Text(", ".join(one_line(user) for user in page.users.get(one.id, ())))
        if one.profile is None:
            table.add_row(one_line(one.id), Text("broken", style="bold red"), "", "", users, source, "")
            continue
        profile = one.profile
        name, what_for = Text(one_line(profile.name)), Text(one_line(profile.description))
        table.add_row(one.id, name, _languages(profile), profile.hash, users, source, what_for)
    problems = [*page.problems, *(one.problem for one in page.profiles if one.problem)]
    lines = [Text(one_line(line), style="red") for problem in problems for line in problem.splitlines()]
    return Group(table, *lines)


def exit_status(page: Page) -> Exit:
    """AMISS when a profile is broken, or a setting names none."""
    return Exit.AMISS if page.problems or any(one.problem for one in page.profiles) else Exit.OK


def to_json(page: Page) -> dict[str, Any]:
    """Give the form for scripts."""
    return {
        "profiles": [
            {**_listed_to_json(one), "used_by": list(page.users.get(one.id, ()))} for one in page.profiles
        ],
        "problems": list(page.problems),
    }


def _listed_to_json(one: Listed) -> dict[str, Any]:
    names = ("name", "description", "language", "keyword_language", "hash")
    return {
        "id": one.id,
        **{name: getattr(one.profile, name) if one.profile else None for name in names},
        "source": one.source,
        "own": one.own,
        "problem": one.problem or None,
    }


def named(name: str, settings: Settings) -> tuple[Listed, Profile]:
    """Return the profile of this id or name, and where it is from.

    Raises:
        ConfigurationError: there is none, or it is broken.
    """
    listed = choose(name, list_profiles(directories=own_profiles(settings)))
    if listed.profile is None:
        raise ConfigurationError(listed.problem)
    return listed, listed.profile


def render_texts(listed: Listed, profile: Profile, *, max_keywords: int) -> Group:
    """Show all that a profile says, as models are told it."""
    source = one_line(listed.source) if listed.own else SHIPPED
    parts: list[RenderableType] = [
        Text(f"{profile.id} ({one_line(profile.name)}), {_languages(profile)}, {profile.hash}, {source}"),
        Text(one_line(profile.description)),
        *_section("system", "", system_text(profile, max_keywords=max_keywords)),
    ]
    for stage, prompt in profile.stages.items():
        parts += _section(stage, _sampling(prompt), task_text(stage, profile, max_keywords=max_keywords))
    return Group(*parts)


def texts_to_json(listed: Listed, profile: Profile, *, max_keywords: int) -> dict[str, Any]:
    """Give the form for scripts: the texts as they stand in the file, and as models are told them."""
    return {
        **_listed_to_json(listed),
        "system": system_text(profile, max_keywords=max_keywords),
        "stages": {
            stage.value: {
                **{name: getattr(prompt, name) for name in ("instruction", *_NUMBERS, "output")},
                "task": task_text(stage, profile, max_keywords=max_keywords),
            }
            for stage, prompt in profile.stages.items()
        },
    }


_NUMBERS = ("max_tokens", "temperature", "top_p", "presence_penalty")


def _sampling(prompt: StagePrompt) -> str:
    values = [(name, getattr(prompt, name)) for name in _NUMBERS]
    return ", ".join(f"{name} {value}" for name, value in values if value is not None)


def _section(title: str, detail: str, text: str) -> tuple[RenderableType, ...]:
    heading = Text(f"\n{title}", style="bold")
    heading.append(f"  {detail}" if detail else "", style="not bold dim")
    return heading, Padding(Text("\n".join(map(one_line, text.splitlines()))), (0, 0, 0, 2))


def _languages(profile: Profile) -> str:
    if profile.keyword_language == profile.language:
        return profile.language
    return f"{profile.language}, keywords {profile.keyword_language}"
