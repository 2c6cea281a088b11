"""Builds the models' side from settings: which entry serves each stage, with which words for which photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.scan import enters
from tagger_daemon.model import Identity, Mode, Origin, Outcome, Photo, Policy, Stage, Value
from tagger_daemon.options import STAGE_WORDS
from tagger_daemon.settings import ENV_PREFIX, FolderSettings, Settings, way_back
from tagger_daemon.vision.asker import Asker, Chat
from tagger_daemon.vision.dialects import confirmed_digest
from tagger_daemon.vision.entry import Entry, Profile, Registry
from tagger_daemon.vision.keys import Keys
from tagger_daemon.vision.profile import adjusted, load_profile
from tagger_daemon.vision.registry import load_registry
from tagger_daemon.vision.roles import resolve_chains, resolve_names, resolve_roles
from tagger_daemon.vision.unregistered import unregistered

#: The name under which the key of models is kept that are named without a registry.
API_KEY: Final = f"{ENV_PREFIX}API_KEY"
#: What stands for no key: ImageWorks writes the second one.
NO_KEYS: Final = frozenset({"", "EMPTY"})


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
            'no model registry is set. Put `registry = "/path/to/registry.json"` into the configuration, '
            "or name a model without one: `model`. A batch run has them as options too: --registry, --model. "
            "config/registry.example.json shows one for vLLM, LMDeploy, Ollama and llama-server."
        )
    return settings.registry


def cast(settings: Settings) -> Cast:
    """Resolve every role, who stands in, and the profiles.

    A stage is answered by the entry that is named for it; else by a model that is named without a registry;
    else by whoever has the role. With `use_registry` the second is left out; where it is false, the third.

    Raises:
        ConfigurationError: says what is missing and what to do.
    """
    named = {} if settings.use_registry else _explicit(settings)
    by_registry = [stage for stage in Stage if stage not in named]
    registry = _registry(settings, by_registry)
    explicit = _told_apart(named, {entry.name for entry in registry.entries})
    entries = explicit | _registered(settings, registry, by_registry)
    fallbacks = {stage: names for stage, names in fallbacks_of(settings).items() if stage in by_registry}
    chains = resolve_chains({stage: entries[stage] for stage in by_registry}, fallbacks, registry)
    general = profile_named(settings.prompt_profile, settings)
    return Cast(
        registry=registry,
        entries={stage: _patient(entries[stage], settings) for stage in Stage},
        chains={
            stage: tuple(_patient(entry, settings) for entry in chains.get(stage, (entries[stage],)))
            for stage in Stage
        },
        profile=general,
        profiles={folder.path: _profile_for(folder, settings) or general for folder in settings.folders},
    )


def _registry(settings: Settings, stages: Sequence[Stage]) -> Registry:
    """Return the registry; an empty one where no stage is answered by any of its entries."""
    if not stages:
        return Registry(source="the settings", hash="", entries=())
    by_role = [stage for stage in stages if not getattr(settings, f"{STAGE_WORDS[stage]}_registry_model")]
    if by_role and settings.use_registry is False:
        lacking = ", ".join(f"{STAGE_WORDS[stage]}_model" for stage in by_role)
        raise ConfigurationError(
            f"the registry is not to be used, and no model is named for the {' and the '.join(by_role)}: "
            f"set model (--model), or {lacking}"
        )
    return load_registry(registry_of(settings))


def _explicit(settings: Settings) -> dict[Stage, Entry]:
    """Return the entries of the stages whose models are named without a registry."""
    entries: dict[Stage, Entry] = {}
    for stage, word in STAGE_WORDS.items():
        model = getattr(settings, f"{word}_model") or settings.model
        if model and not getattr(settings, f"{word}_registry_model"):
            entries[stage] = unregistered(
                backend=getattr(settings, f"{word}_backend") or settings.backend,
                base_url=getattr(settings, f"{word}_base_url") or settings.base_url,
                model=model,
                key=API_KEY if _has_key(settings) else None,
            )
    return entries


def _told_apart(entries: dict[Stage, Entry], taken: Collection[str]) -> dict[Stage, Entry]:
    """Return entries of which each has a name of its own: one model may answer in two places."""
    places = {(entry.name, entry.backend, entry.endpoints) for entry in entries.values()}
    names = Counter([*taken, *(name for name, _, _ in places)])
    return {
        stage: entry.evolve(name=f"{entry.name} at {entry.backend} {entry.endpoints[0]}")
        if names[entry.name] > 1
        else entry
        for stage, entry in entries.items()
    }


def _registered(settings: Settings, registry: Registry, stages: Sequence[Stage]) -> dict[Stage, Entry]:
    """Return the entries of the stages that the registry answers: the one that is named, or by its role."""
    named = {
        stage: name for stage in stages if (name := getattr(settings, f"{STAGE_WORDS[stage]}_registry_model"))
    }
    roles = {
        stage: role for stage, role in roles_of(settings).items() if stage in stages and stage not in named
    }
    # A name is looked up as one that stands in is: it need not carry the role.
    return {**resolve_roles(roles, registry), **resolve_names(named, registry)}


def _patient(entry: Entry, settings: Settings) -> Entry:
    """Return an entry whose requests may take as long as the settings say, if they say anything."""
    if settings.timeout is None:
        return entry
    return entry.evolve(timeouts=entry.timeouts.evolve(stage=settings.timeout))


def keys_of(settings: Settings, environ: Mapping[str, str]) -> Keys:
    """Return where the keys of servers are looked up: in the environment, and in the settings."""
    key = {API_KEY: settings.api_key.get_secret_value()} if _has_key(settings) else {}
    return Keys({**environ, **key})


def _has_key(settings: Settings) -> bool:
    return settings.api_key.get_secret_value() not in NO_KEYS


def profile_named(name: str, settings: Settings) -> Profile:
    """Return the profile of this id or name, with the sampling that the settings say.

    Raises:
        ConfigurationError: there is no such profile, or it is broken.
    """
    return adjusted(
        load_profile(name, directories=own_profiles(settings)),
        max_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
    )


def own_profiles(settings: Settings) -> tuple[Path, ...]:
    """The folders with prompt profiles of the user's own."""
    return (settings.profiles_dir,) if settings.profiles_dir else ()


def _profile_for(folder: FolderSettings, settings: Settings) -> Profile | None:
    """Return the profile that a watch folder names."""
    if folder.prompt_profile is None:
        return None
    try:
        return profile_named(folder.prompt_profile, settings)
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
        instead=Outcome.RECORDED if settings.no_meta else Outcome.PROPOSED if settings.dry_run else None,
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
    eligibility = Eligibility(settings.intake.ignore)
    by_place: dict[Path, FolderSettings] = {}
    for folder in settings.folders:
        place = folder.path.resolve()
        if place in by_place:
            raise ConfigurationError(_twice(folder, place, by_place[place]))
        by_place[place] = folder
    for place, folder in by_place.items():
        for above in place.parents:
            outer = by_place.get(above)
            if outer is not None and outer.recursive and enters(above, place, eligibility):
                raise ConfigurationError(_twice(folder, place, outer))
    if clash := way_back([_without_links(folder, place) for place, folder in by_place.items()]):
        raise ConfigurationError(clash)


def _twice(folder: FolderSettings, place: Path, outer: FolderSettings) -> str:
    if outer.path in folder.path.parents:
        return f"folders: {folder.path} is already watched with {outer.path}"
    return f"folders: {folder.path} leads to {place}, which {outer.path} has already"


def _without_links(folder: FolderSettings, place: Path) -> FolderSettings:
    return folder.model_copy(update={"path": place, "after": folder.after and folder.after.resolve()})
