"""Builds the models' side from settings: which entry serves each stage, with which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Identity, Origin, Policy, Stage, Value
from tagger_daemon.settings import FolderSettings, Settings, way_back
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
    profile: Profile

    @property
    def distinct(self) -> tuple[Entry, ...]:
        """Every entry that may be asked, once: those that have a role first."""
        standing_in = (entry for chain in self.chains.values() for entry in chain)
        return tuple({entry.name: entry for entry in (*self.entries.values(), *standing_in)}.values())

    @property
    def may_fall_back(self) -> bool:
        """Whether any entry may stand in for another."""
        return any(len(chain) > 1 for chain in self.chains.values())


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
    """Resolve every role, who stands in, and the profile.

    Raises:
        ConfigurationError: says what is missing and what to do.
    """
    registry = load_registry(registry_of(settings))
    entries = resolve_roles(roles_of(settings), registry)
    own = [settings.profiles_dir] if settings.profiles_dir else []
    return Cast(
        registry=registry,
        entries=entries,
        chains=resolve_chains(entries, fallbacks_of(settings), registry),
        profile=load_profile(settings.prompt_profile, directories=own),
    )


def policy(settings: Settings, who: Cast) -> Policy:
    """Say what may be written, and who would write it now."""
    current: dict[Stage, Identity] = {
        stage: Origin(
            entry=entry.name,
            model=entry.served_model,
            digest=confirmed_digest(entry),
            registry=who.registry.hash,
            profile=who.profile.id,
            profile_hash=who.profile.hash,
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
