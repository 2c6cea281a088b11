"""`tagger-daemon doctor`: is everything there that the daemon needs?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterator
from functools import partial
from pathlib import Path

from tagger_daemon.cli import checks
from tagger_daemon.cli.checks import Finding, Place, check, check_async, failed
from tagger_daemon.errors import ConfigurationError, FolderUnavailable, TaggerError
from tagger_daemon.intake.scan import identity
from tagger_daemon.metadata.catalogues import find_lock
from tagger_daemon.metadata.files import check_open
from tagger_daemon.metadata.moving import mount_of
from tagger_daemon.service.parts import Cast, cast, check_folders, keys_of
from tagger_daemon.settings import FolderSettings, Loaded, RemoteSettings, Settings
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.keys import Keys
from tagger_daemon.vision.places import same_endpoint
from tagger_daemon.vision.pool import key_of

_FOLDER = "mount its disk, correct its path, give its user the right to read and write there, or make room"


async def examine(loaded: Loaded) -> list[Finding]:
    """Run every check; none stops the next."""
    settings = loaded.settings
    findings = [
        Finding(
            what="configuration", passed=True, detail=str(loaded.file or "no file; defaults and environment")
        ),
        check("exiftool", lambda: checks.exiftool(settings), checks.INSTALL_EXIFTOOL),
        check("watch folders", lambda: _some_folder(settings)),
        *(check(f"folder {folder.path}", partial(_folder, folder), _FOLDER) for folder in settings.folders),
        *(
            check(f"catalogue {path}", partial(_catalogue, path), "correct metadata.lightroom_catalogs")
            for path in settings.metadata.lightroom_catalogs
        ),
        *(
            check(f"folder {folder.after}", partial(_after, folder), _FOLDER)
            for folder in settings.folders
            if folder.after
        ),
        check("state directory", lambda: checks.state(settings)),
    ]
    findings += await _models(settings)
    return findings


def _some_folder(settings: Settings) -> str:
    check_folders(settings)
    return f"{len(settings.folders)}"


def _folder(folder: FolderSettings) -> str:
    identity(folder)
    if not os.access(folder.path, os.W_OK | os.X_OK):
        raise FolderUnavailable(
            "readable, but not writable: nothing can be written beside or into its photos"
        )
    return f"readable and writable, {checks.free(folder.path)}"


def _catalogue(path: Path) -> str:
    return "open now: photos that it may hold edits of wait" if find_lock(path) else "not open now"


def _after(folder: FolderSettings) -> str:
    after = folder.after
    assert after is not None
    elsewhere = mount_of(after) != mount_of(folder.path)
    check_open(after)
    how = "are copied to it and removed, for it is on another disk" if elsewhere else "are moved to it"
    return f"writable, finished photos of {folder.path} {how}, {checks.free(after)}"


async def _models(settings: Settings) -> list[Finding]:
    try:
        who = cast(settings)
    except ConfigurationError as error:
        return [Finding(what="models", passed=False, detail=line) for line in str(error).splitlines()]
    urls = [url for entry in who.distinct for url in entry.endpoints]
    agreements = [
        check(f"remote {remote.endpoint}", partial(_agreement, remote, settings, urls))
        for remote in settings.remote
    ]
    found = await asyncio.gather(*_endpoints(who, settings))
    return checks.roles(who) + agreements + [finding for findings in found for finding in findings]


def _agreement(remote: RemoteSettings, settings: Settings, urls: list[str]) -> str:
    """Say what goes where, by what was agreed to."""
    if not any(same_endpoint(remote.endpoint, url) for url in urls):
        raise ConfigurationError("no entry that is in use has this endpoint; correct or remove it")
    for folder in remote.folders:
        if not any(watched.path in (folder, *folder.parents) for watched in settings.folders):
            raise ConfigurationError(
                f"{folder} is neither a watch folder nor below one; correct or remove it"
            )
    may = [word for word, allowed in (("people", remote.people), ("places", remote.places)) if allowed]
    names = f"with names of {' and '.join(may)}" if may else "without names"
    return f"gets photos of {', '.join(map(str, remote.folders))}, {names}"


def _endpoints(who: Cast, settings: Settings) -> Iterator[Awaitable[list[Finding]]]:
    for entry in who.distinct:
        place = checks.place_of(entry, who, settings)
        for url in entry.endpoints:
            if entry.launch is not None and settings.use_loader:
                yield _launchable(entry, url)
            else:
                yield _serves(entry, url, place, keys_of(settings, os.environ), Consents(settings.remote))


async def _serves(entry: Entry, url: str, place: Place, keys: Keys, consents: Consents) -> list[Finding]:
    """Look at what an endpoint is, and, if it is the right one, at whether it sees."""

    def advice(error: TaggerError) -> str:
        return checks.advice(error, place)

    try:
        client = ChatClient(url, entry, api_key=key_of(entry, keys), consents=consents)
    except ConfigurationError as error:
        return [failed(f"endpoint {url}", error, advice)]
    try:
        findings = [await check_async(f"endpoint {url}", partial(checks.shows, client), advice)]
        if findings[0].passed:
            findings.append(await check_async(f"canary at {url}", partial(checks.sees, client), advice))
    finally:
        await client.close()
    return findings


async def _launchable(entry: Entry, url: str) -> list[Finding]:
    return [check(f"endpoint {url}", partial(checks.command, entry), checks.install(entry))]
