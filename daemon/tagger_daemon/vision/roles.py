"""Which entry takes a role: one answer for one registry, or an error that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import Entry, Registry
from tagger_daemon.vision.problems import nearest


def resolve_role(role: str, registry: Registry) -> Entry:
    """Return the one entry that takes this role.

    Candidates carry the role, see pictures, have an endpoint and are not deprecated. The highest
    `role_priority` wins (absent means 0, as in ImageWorks), ties go to the first by name. Whether a server
    is up does not matter here: a role never falls to another model by chance.

    Raises:
        ConfigurationError: no entry can take the role; says what each near miss lacks.
    """
    carriers = [entry for entry in registry.entries if role in entry.roles]
    candidates = [entry for entry in carriers if not _lacks(entry)]
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


def _lacks(entry: Entry) -> str:
    """Return why an entry cannot take any role, or nothing."""
    reasons = (
        ("is deprecated", entry.deprecated),
        ("does not see pictures (capabilities.vision)", not entry.vision),
        ("has no endpoint (serving.endpoints)", not entry.endpoints),
    )
    return " and ".join(reason for reason, applies in reasons if applies)


def _nobody(role: str, registry: Registry, carriers: list[Entry]) -> str:
    opening = f"{registry.source}: no entry can take the role {role!r}"
    if not carriers:
        known = {role for entry in registry.entries for role in entry.roles}
        return f"{opening}{nearest(role, known)}; add the role to an entry that sees pictures"
    misses = "; ".join(f"{entry.name!r} {_lacks(entry)}" for entry in carriers)
    return f"{opening}: {misses}; mend one of them, or give the role to another entry"
