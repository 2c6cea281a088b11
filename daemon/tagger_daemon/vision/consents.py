"""Which photos may leave the private network, for whom, and what may be told about them there.

A person agrees by `[[remote]]` in the configuration, for each server and folder. Without that, nothing goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tagger_daemon.model import Draft, Value
from tagger_daemon.settings import RemoteSettings
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.places import host_of, same_endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Disclosure(Value):
    """What a request tells of a photo besides its picture; unless it is said, everything."""

    folder: Path | None = None  # that the photo is in; None: nobody's photo, for which nobody has agreed
    people: bool = True  # names of people
    places: bool = True  # names of places


class Consents:
    """What the person whose photos these are has agreed to."""

    def __init__(self, given: Sequence[RemoteSettings] = ()) -> None:
        self._given = tuple(given)

    def known(self, url: str) -> bool:
        """Tell whether some folder's photos may be sent to this endpoint."""
        return any(same_endpoint(one.endpoint, url) for one in self._given)

    def unencrypted(self, url: str) -> bool:
        """Tell whether key and photos may go to this endpoint in clear: all that is said of it says so."""
        said = [one.allow_unencrypted for one in self._given if same_endpoint(one.endpoint, url)]
        return bool(said) and all(said)

    def agreed(self, url: str, folder: Path | None) -> Disclosure | None:
        """Return what may be told to this endpoint about photos in this folder; None: they may not be sent.

        The innermost folder that is agreed to decides, and where it is named twice, the more careful. A
        folder with `..` in it is in none: what is written above it need not be above it.

        Returns:
            With the folder that was agreed to, which may be one above.
        """
        if folder is None or ".." in folder.parts:
            return None
        above = (folder, *folder.parents)
        said = [
            (agreed, one)
            for one in self._given
            if same_endpoint(one.endpoint, url)
            for agreed in one.folders
            if agreed in above
        ]
        if not said:
            return None
        innermost = max((agreed for agreed, _ in said), key=lambda agreed: len(agreed.parts))
        deciding = [one for agreed, one in said if agreed == innermost]
        return Disclosure(
            folder=innermost,
            people=all(one.people for one in deciding),
            places=all(one.places for one in deciding),
        )

    def permit(self, url: str, disclosed: Disclosure) -> bool:
        """Tell whether a request that tells this much may be sent to this endpoint."""
        agreed = self.agreed(url, disclosed.folder)
        return agreed is not None and agreed.people >= disclosed.people and agreed.places >= disclosed.places


def how_to_agree(url: str, folder: Path | None) -> str:
    """Say what a person has to add to the configuration, so that photos may be sent to an endpoint."""
    named = json.dumps(str(folder), ensure_ascii=False) if folder else "…"
    return (
        "if they may, add to the configuration, each on a line of its own:"
        f' [[remote]], endpoint = "{url}", folders = [{named}]'
    )


def not_agreed(url: str, folder: Path | None) -> str:
    """Say that photos of a folder may not be sent to an endpoint, and what to do if they may."""
    return (
        f"photos of {folder} are not sent to {host_of(url)}, which is outside your network:"
        f" nobody has agreed to that; {how_to_agree(url, folder)}"
    )


def repeatable(draft: Draft, entry: Entry, disclosed: Disclosure) -> Draft:
    """Leave out the answers of other entries, where names may not be told: those may have been told some."""
    if disclosed.people and disclosed.places:
        return draft
    return draft.only(stage for stage, origin in draft.origins.items() if origin.entry == entry.name)
