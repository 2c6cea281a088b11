"""Builds the models' side from settings: which entry serves each stage, with which words for which photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TypeVar

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Identity, Mode, Origin, Photo, Policy, Stage, Value
from tagger_daemon.settings import FolderSettings, Settings, way_back
from tagger_daemon.vision.asker import Asker, Chat
from tagger_daemon.vision.dialects import confirmed_digest
from tagger_daemon.vision.entry import Entry, Profile, Registry
from tagger_daemon.vision.profile import load_profile
from tagger_daemon.vision.registry import load_registry
from tagger_daemon.vision.roles import resolve_chains, resolve_roles


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast(Value):
    """Who speaks in this run."""

    registry: Registry
    entries: Mapping[Stage, Entry]  # who has the role: whose words a photo is to have
    chains: Mapping[Stage, tuple[Entry, ...]]  # whom to ask, in order; the first is the one that has the role
    profile: Profile  # of photos that are in no watch folder
    profiles: Mapping[Path, Profile]  # watch folder -> the prompts for its photos

    def profile_of(self, photo: Photo) -> Profile:
        """The prompts for a photo."""
        return _by_folder(photo.path, self.profiles, self.profile)

    @property
    def distinct(self) -> tuple[Entry, ...]:
        """Every entry that may be asked, once: those that have a role first."""
        standing_in = (entry for chain in self.chains.values() for entry in chain)
        return tuple({entry.name: entry for entry in (*self.entries.values(), *standing_in)}.values())

    @property
    def may_fall_back(self) -> bool:
        """Whether any entry may stand in for another."""
        return any(len(chain) > 1 for chain in self.chains.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Policies(Value):
    """What may be written into which photo: watch folders may have prompts of their own."""

    general: Policy  # of photos that are in no watch folder
    folders: Mapping[Path, Policy]  # watch folder -> of its photos

    def of(self, photo: Photo) -> Policy:
        """What may be written into this photo."""
        return self.at(photo.path)

    def at(self, path: Path) -> Policy:
        """What may be written into the photo of this path."""
        return _by_folder(path, self.folders, self.general)


_T = TypeVar("_T")


def _by_folder(path: Path, folders: Mapping[Path, _T], general: _T) -> _T:
    """Give what belongs to the watch folder that a path is in: the nearest, where one is not recursive."""
    return next((folders[parent] for parent in path.parents if parent in folders), general)


def roles_of(settings: Settings) -> dict[Stage, str]:
    """The registry role of each stage."""
    return {
        Stage.CAPTION: settings.caption_role,
        Stage.KEYWORDS: settings.keyword_role,
        Stage.DESCRIPTION: settings.description_role,
    }


def fallbacks_of(settings: Settings) -> dict[Stage, tuple[str, ...]]:
    """The names of the entries that may stand in at each stage."""
    return {stage: getattr(settings.fallbacks, stage.value) for stage in Stage}


def registry_of(settings: Settings) -> Path:
    """Return where the registry is.

    Raises:
        ConfigurationError: none is set.
    """
    if settings.registry is None:
        raise ConfigurationError(
            'no model registry is set. Put `registry = "/path/to/registry.json"` into the configuration; '
            "config/registry.example.json shows one for vLLM, LMDeploy, Ollama and llama-server."
        )
    return settings.registry


def cast(settings: Settings) -> Cast:
    """Resolve every role, who stands in, and the profiles.

    Raises:
        ConfigurationError: says what is missing and what to do.
    """
    registry = load_registry(registry_of(settings))
    entries = resolve_roles(roles_of(settings), registry)
    general = load_profile(settings.prompt_profile, directories=own_profiles(settings))
    return Cast(
        registry=registry,
        entries=entries,
        chains=resolve_chains(entries, fallbacks_of(settings), registry),
        profile=general,
        profiles={folder.path: _profile_for(folder, settings) or general for folder in settings.folders},
    )


def own_profiles(settings: Settings) -> tuple[Path, ...]:
    """The folders with prompt profiles of the user's own."""
    return (settings.profiles_dir,) if settings.profiles_dir else ()


def _profile_for(folder: FolderSettings, settings: Settings) -> Profile | None:
    """Return the profile that a watch folder names."""
    if folder.prompt_profile is None:
        return None
    try:
        return load_profile(folder.prompt_profile, directories=own_profiles(settings))
    except ConfigurationError as error:
        raise ConfigurationError(f"folders: {folder.path}: {error}") from error


def policies(settings: Settings, who: Cast) -> Policies:
    """Say what may be written into which photo, and who would write it now."""
    reviewed = {folder.path for folder in settings.folders if folder.review}
    folders = {folder: _policy(settings, who, profile) for folder, profile in who.profiles.items()}
    return Policies(
        general=_policy(settings, who, who.profile),
        folders={
            folder: policy.evolve(mode=Mode.PROPOSE) if folder in reviewed else policy
            for folder, policy in folders.items()
        },
    )


def make_asker(settings: Settings, who: Cast, chat: Chat) -> Asker:
    """Build what asks the stages, by way of `chat`."""
    return Asker(
        chains=who.chains,
        registry_hash=who.registry.hash,
        profile_of=who.profile_of,
        max_keywords=settings.max_keywords,
        long_edge=settings.image.long_edge,
        hemisphere=None if settings.hemisphere == "unknown" else settings.hemisphere,
        chat=chat,
    )


def _policy(settings: Settings, who: Cast, profile: Profile) -> Policy:
    current: dict[Stage, Identity] = {
        stage: Origin(
            entry=entry.name,
            model=entry.served_model,
            digest=confirmed_digest(entry),
            registry=who.registry.hash,
            profile=profile.id,
            profile_hash=profile.hash,
            endpoint="",
        ).identity
        for stage, entry in who.entries.items()
    }
    metadata = settings.metadata
    return Policy(
        mode=metadata.mode,
        overwrite=settings.overwrite_metadata,
        fields={stage: getattr(metadata.fields, stage.value) for stage in Stage},
        keyword_root=metadata.keyword_root,
        ignore_keywords=metadata.ignore_keywords,
        current=current,
    )


def check_folders(settings: Settings) -> None:
    """Refuse a configuration that watches nothing, or one place twice, by links.

    Raises:
        ConfigurationError: there is no watch folder, two of them share photos, or finished photos would be
            moved to where they are taken up again.
    """
    if not settings.folders:
        raise ConfigurationError(
            'no watch folder is set. Put `folders = ["/photos/inbox"]` into the configuration.'
        )
    for outer, inner in permutations(settings.folders, 2):
        real, other = outer.path.resolve(), inner.path.resolve()
        if real == other or (outer.recursive and real in other.parents):
            raise ConfigurationError(
                f"folders: {inner.path} leads to {other}, which {outer.path} has already"
            )
    if clash := way_back([_without_links(folder) for folder in settings.folders]):
        raise ConfigurationError(clash)


def _without_links(folder: FolderSettings) -> FolderSettings:
    after = folder.after and folder.after.resolve()
    return folder.model_copy(update={"path": folder.path.resolve(), "after": after})
