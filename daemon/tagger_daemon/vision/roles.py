"""Which entries answer: one that takes the role, always the same, and those that may stand in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import Entry, Registry
from tagger_daemon.vision.problems import nearest


def resolve_role(role: str, registry: Registry) -> Entry:
    """Return the one entry that takes this role.

    Candidates carry the role, see pictures, have an endpoint and a name to be asked for by, and are not
    deprecated. The highest `role_priority` wins (absent means 0, as in ImageWorks), ties go to the first by
    name; the order in the file does not matter. Nor does it whether a server is up: a role never falls to
    another model by chance.

    Raises:
        ConfigurationError: no entry can take the role; says what each near miss lacks.
    """
    carriers = [entry for entry in registry.entries if role in entry.roles]
    candidates = [entry for entry in carriers if not lacks(entry)]
    if not candidates:
        raise ConfigurationError(_nobody(role, registry, carriers))
    return min(candidates, key=lambda entry: (-entry.role_priority.get(role, 0), entry.name))


def resolve_roles(roles: Mapping[Stage, str], registry: Registry) -> Mapping[Stage, Entry]:
    """Return the entry that answers each stage.

    Raises:
        ConfigurationError: one line for each role that nobody can take.
    """
    resolved: dict[Stage, Entry] = {}
    failures: dict[str, None] = {}
    for stage, role in roles.items():
        try:
            resolved[stage] = resolve_role(role, registry)
        except ConfigurationError as error:
            failures[str(error)] = None
    if failures:
        raise ConfigurationError("\n".join(failures))
    return resolved


def resolve_names(names: Mapping[Stage, str], registry: Registry) -> Mapping[Stage, Entry]:
    """Return the entries that are named for stages, whatever their roles.

    Raises:
        ConfigurationError: one line for each name that is not in the registry, or that cannot be asked.
    """
    known = {entry.name: entry for entry in registry.entries}
    failures = [
        problem for name in dict.fromkeys(names.values()) if (problem := _unusable(name, known, registry))
    ]
    if failures:
        raise ConfigurationError("\n".join(failures))
    return {stage: known[name] for stage, name in names.items()}


def resolve_chains(
    entries: Mapping[Stage, Entry], fallbacks: Mapping[Stage, Sequence[str]], registry: Registry
) -> Mapping[Stage, tuple[Entry, ...]]:
    """Return whom to ask for each stage, in order: who takes the role, then who stands in while it is down.

    Args:
        entries: who takes the role.
        fallbacks: the names of those that stand in. They need not carry the role; each counts once.

    Raises:
        ConfigurationError: one line for each name that is not in the registry, or that cannot be asked.
    """
    known = {entry.name: entry for entry in registry.entries}
    failures = [
        f"fallbacks.{stage}: {problem}"
        for stage, names in fallbacks.items()
        for name in names
        if (problem := _unusable(name, known, registry))
    ]
    if failures:
        raise ConfigurationError("\n".join(failures))
    chains = {
        stage: dict.fromkeys((entry.name, *fallbacks.get(stage, ()))) for stage, entry in entries.items()
    }
    return {stage: tuple(known[name] for name in names) for stage, names in chains.items()}


def lacks(entry: Entry) -> tuple[str, ...]:
    """Return every reason why an entry cannot be asked about photos; none where it can."""
    reasons = (
        ("is deprecated", entry.deprecated),
        ("does not see pictures (capabilities.vision)", not entry.vision),
        ("has a null served_model_id", not entry.served_model),
        ("has no endpoint (serving.endpoints)", not entry.endpoints),
    )
    return tuple(reason for reason, applies in reasons if applies)


def _unusable(name: str, known: Mapping[str, Entry], registry: Registry) -> str | None:
    """Say why nobody of this name can be asked; None: somebody can."""
    if name not in known:
        return f"{registry.source} has no entry {name!r}{nearest(name, known)}"
    if reasons := lacks(known[name]):
        return f"{name!r} {' and '.join(reasons)}; mend it, or name another entry"
    return None


def _nobody(role: str, registry: Registry, carriers: list[Entry]) -> str:
    opening = f"{registry.source}: no entry can take the role {role!r}"
    if not carriers:
        known = {role for entry in registry.entries for role in entry.roles}
        return f"{opening}{nearest(role, known)}; add the role to an entry that sees pictures"
    misses = "; ".join(f"{entry.name!r} {' and '.join(lacks(entry))}" for entry in carriers)
    return f"{opening}: {misses}; mend one of them, or give the role to another entry"
