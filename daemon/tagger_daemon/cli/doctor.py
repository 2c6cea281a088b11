"""`tagger-daemon doctor`: is everything there that the daemon needs?"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from tagger_daemon import __version__
from tagger_daemon.cli.terminal import shown
from tagger_daemon.errors import ConfigurationError, FolderUnavailable, ServerDrifted, TaggerError
from tagger_daemon.intake.scan import identity
from tagger_daemon.metadata.catalogues import find_lock
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.files import check_open
from tagger_daemon.metadata.moving import mount_of
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Value
from tagger_daemon.service.clock import local_now
from tagger_daemon.service.parts import cast, check_folders, keys_of
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import FolderSettings, Loaded, RemoteSettings, Settings
from tagger_daemon.vision.canary import is_slow
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.identity import drifts, told
from tagger_daemon.vision.keys import Keys
from tagger_daemon.vision.observe import observe
from tagger_daemon.vision.places import same_endpoint
from tagger_daemon.vision.pool import key_of
from tagger_daemon.vision.verifier import show_canary

#: Free space below which work would soon stop, bytes.
SCARCE = 500_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding(Value):
    """One check's outcome."""

    what: str
    passed: bool
    detail: str  # what was found, or what to do

    def to_json(self) -> dict[str, Any]:
        """Give the form for scripts."""
        return asdict(self)


async def examine(loaded: Loaded) -> list[Finding]:
    """Run every check; none stops the next."""
    settings = loaded.settings
    findings = [
        Finding(
            what="configuration", passed=True, detail=str(loaded.file or "no file; defaults and environment")
        ),
        _check("exiftool", lambda: _exiftool(settings)),
        _check("watch folders", lambda: _some_folder(settings)),
        *(_check(f"folder {folder.path}", partial(_folder, folder)) for folder in settings.folders),
        *(
            _check(f"catalogue {path}", partial(_catalogue, path))
            for path in settings.metadata.lightroom_catalogs
        ),
        *(
            _check(f"folder {folder.after}", partial(_after, folder))
            for folder in settings.folders
            if folder.after
        ),
        _check("state directory", lambda: _state(settings)),
    ]
    findings += await _models(settings)
    return findings


def render(findings: list[Finding]) -> Table:
    """Draw the findings."""
    table = Table("check", "", "found", box=None, pad_edge=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.passed else "[bold red]fails[/]"
        table.add_row(shown(finding.what), mark, shown(finding.detail))
    return table


def _check(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, passed=True, detail=check())
    except TaggerError as error:
        return Finding(what=what, passed=False, detail=str(error))


async def _check_async(what: str, check: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what=what, passed=True, detail=await check())
    except TaggerError as error:
        return Finding(what=what, passed=False, detail=str(error))


def _exiftool(settings: Settings) -> str:
    exiftool = ExifTool(settings.metadata.exiftool, timeout_seconds=settings.metadata.timeout_seconds)
    store = MetadataStore(settings.metadata, exiftool=exiftool, tool_version=__version__, now=local_now)
    try:
        store.start()
        major, minor = exiftool.version()
    finally:
        store.close()
    embeds = (major, minor) >= (13, 25)
    modern = (
        "embeds into HEIC, AVIF, WebP and JXL"
        if embeds
        else "HEIC, AVIF, WebP and JXL get sidecars (13.25 embeds)"
    )
    return f"{major}.{minor:02}; {modern}"


def _some_folder(settings: Settings) -> str:
    check_folders(settings)
    return f"{len(settings.folders)}"


def _folder(folder: FolderSettings) -> str:
    identity(folder)
    if not os.access(folder.path, os.W_OK | os.X_OK):
        raise FolderUnavailable(
            "readable, but not writable: nothing can be written beside or into its photos"
        )
    return f"readable and writable, {_free(folder.path)}"


def _catalogue(path: Path) -> str:
    return "open now: photos that it may hold edits of wait" if find_lock(path) else "not open now"


def _after(folder: FolderSettings) -> str:
    after = folder.after
    assert after is not None
    elsewhere = mount_of(after) != mount_of(folder.path)
    check_open(after)
    how = "are copied to it and removed, for it is on another disk" if elsewhere else "are moved to it"
    return f"writable, finished photos of {folder.path} {how}, {_free(after)}"


def _state(settings: Settings) -> str:
    state = StateDirectory(root=settings.state_dir)
    state.make()
    return f"{state.root}, {_free(state.root)}"


def _free(path: Path) -> str:
    free = shutil.disk_usage(path).free
    if free < SCARCE:
        raise ConfigurationError(f"only {free / 1e6:.0f} MB are free on the disk of {path}; make room")
    return f"{free / 1e9:.1f} GB free"


async def _models(settings: Settings) -> list[Finding]:
    try:
        who = cast(settings)
    except ConfigurationError as error:
        return [Finding(what="models", passed=False, detail=line) for line in str(error).splitlines()]
    roles = [
        Finding(
            what=f"role for the {stage}",
            passed=True,
            detail=", or else ".join(f"{entry.name} ({entry.served_model})" for entry in chain),
        )
        for stage, chain in who.chains.items()
    ]
    urls = [url for entry in who.distinct for url in entry.endpoints]
    agreements = [
        _check(f"remote {remote.endpoint}", partial(_agreement, remote, settings, urls))
        for remote in settings.remote
    ]
    found = await asyncio.gather(*_endpoints(who.distinct, settings))
    return roles + agreements + [finding for findings in found for finding in findings]


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


def _endpoints(entries: tuple[Entry, ...], settings: Settings) -> Iterator[Awaitable[list[Finding]]]:
    for entry in entries:
        for url in entry.endpoints:
            if entry.launch is not None and settings.use_loader:
                yield _launchable(entry, url)
            else:
                yield _serves(entry, url, keys_of(settings, os.environ), Consents(settings.remote))


async def _serves(entry: Entry, url: str, keys: Keys, consents: Consents) -> list[Finding]:
    """Look at what an endpoint is, and, if it is the right one, at whether it sees."""
    try:
        client = ChatClient(url, entry, api_key=key_of(entry, keys), consents=consents)
    except ConfigurationError as error:
        return [Finding(what=f"endpoint {url}", passed=False, detail=str(error))]
    try:
        findings = [await _check_async(f"endpoint {url}", partial(_shows, client))]
        if findings[0].passed:
            findings.append(await _check_async(f"canary at {url}", partial(_sees, client)))
    finally:
        await client.close()
    return findings


async def _shows(client: ChatClient) -> str:
    await client.ready()
    shown = await observe(client)
    if shown.remote:
        client.regard_as_public(f"it passes requests on to {shown.remote}")
    words = f"{told(client.entry, shown)} ({client.place})"
    if wrong := drifts(client.entry, client.endpoint, shown):
        raise ServerDrifted(f"{'; '.join(wrong)} (it {words})")
    return words


async def _sees(client: ChatClient) -> str:
    again = await show_canary(client)
    seen = "tells two pictures apart"
    if client.entry.canary == "colours":
        seen = "names the colours of two pictures"
    return f"{seen}, but does not keep them: stages will be slow" if is_slow(again) else seen


async def _launchable(entry: Entry, url: str) -> list[Finding]:
    return [_check(f"endpoint {url}", partial(_command, entry))]


def _command(entry: Entry) -> str:
    assert entry.launch is not None
    command = entry.launch.argv[0]
    if command != "{python}" and shutil.which(command) is None:
        raise ConfigurationError(f"the daemon would start it, but there is no command {command!r}")
    return f"started by the daemon: {command}"  # without its arguments: some people write keys into them
