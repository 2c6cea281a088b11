"""Before a batch run: is everything there that it needs? Looked at once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final

from tagger_daemon.cli import checks
from tagger_daemon.cli.checks import Finding, check, check_async, failed, render
from tagger_daemon.errors import (
    ConfigurationError,
    FolderUnavailable,
    NotConsented,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
    WriteRefused,
)
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.scan import scan
from tagger_daemon.metadata.files import SPARE, check_file, check_open, is_own
from tagger_daemon.metadata.naming import RAW, extension
from tagger_daemon.model import Mode
from tagger_daemon.service.outputs import same_file
from tagger_daemon.service.parts import Cast, cast, keys_of
from tagger_daemon.settings import FolderSettings, Settings
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.consents import Consents, not_agreed
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.pool import key_of

__all__ = ["examine", "render"]

_READ: Final = "mount its disk, correct --input-dir, or give this user the right to read there"
_WRITE: Final = (
    "give this user the right to write there, mount the disk writable, or write nothing (--dry-run)"
)
_ALLOW: Final = "allow writing to them, or write nothing (--dry-run)"
_OUTPUT: Final = "name another file (--output-jsonl, --summary), or give this user the right to write there"
_STATE: Final = "set state_dir (--state-dir) to a folder on a local disk that this user can write to"
_ROOM: Final = "delete or move something there, or take another disk"
_WHO: Final = "correct the registry, or name a model without one (--model, --base-url)"
_ANYWAY: Final = "--skip-preflight begins all the same, and photos wait for it"


async def examine(settings: Settings, *, outputs: Sequence[Path]) -> list[Finding]:
    """Run every check; none stops the next.

    Servers are looked at while disks are; one by one at the same address, and at different ones at once. Each
    request may take as long as a photo's may.

    Args:
        settings: of a batch run, its inputs as their folders.
        outputs: the files that it writes besides photos; absolute.
    """
    local, models = await asyncio.gather(asyncio.to_thread(_local, settings, outputs), _models(settings))
    return [*local, *models]


# --- This machine ---


@dataclass(frozen=True, kw_only=True)
class _Survey:
    """What a folder holds."""

    photos: int = 0
    largest: int = 0  # bytes
    parents: tuple[Path, ...] = ()  # folders that photos are in
    unreadable: tuple[Path, ...] = ()  # photos that this user may not read
    refused: tuple[str, ...] = ()  # why photos cannot be written to, one each
    unread: tuple[str, ...] = ()  # why parts of it could not be read
    missing: tuple[str, ...] = ()  # names that were given, and are not there


@dataclass(kw_only=True)
class _Disk:
    """What is to be written to one file system."""

    path: Path  # the first of its places, which exists
    needed: int = 0  # bytes at once
    places: list[str] = field(default_factory=list)


def _local(settings: Settings, outputs: Sequence[Path]) -> list[Finding]:
    """Look at everything that needs no server."""
    eligibility = Eligibility(settings.intake.ignore, extensions=settings.image_exts)
    findings = [check("exiftool", lambda: checks.exiftool(settings), checks.INSTALL_EXIFTOOL)]
    largest: dict[Path, int] = {}
    for folder in settings.folders:
        try:
            survey = _survey(folder, eligibility, settings)
        except FolderUnavailable as error:
            findings.append(failed(f"folder {folder.path}", error, _READ))
        else:
            largest[folder.path] = survey.largest
            findings.append(_target(folder, survey, writes=_writes(settings)))
    any_photo = Eligibility(settings.intake.ignore)
    findings += [check(f"output {path}", partial(_output, path, any_photo), _OUTPUT) for path in outputs]
    findings += _one_file(outputs)
    findings.append(check("state directory", lambda: checks.state(settings), _STATE))
    disks = _disks(settings, outputs, largest if _writes(settings) else {})
    return findings + [check(f"disk of {disk.path}", partial(_room, disk), _ROOM) for disk in disks]


def _writes(settings: Settings) -> bool:
    """Tell whether photos are written to."""
    return not (settings.dry_run or settings.no_meta or settings.metadata.mode is Mode.PROPOSE)


def _survey(folder: FolderSettings, eligibility: Eligibility, settings: Settings) -> _Survey:
    """Find what a folder holds; no photo is opened.

    Raises:
        FolderUnavailable: it is not there, or may not be read.
    """
    count = largest = 0
    parents: dict[Path, None] = {}
    names: set[str] = set()
    unreadable: list[Path] = []
    unread: list[str] = []
    refused: list[str] = []
    writes, links, owners = _writes(settings), settings.metadata.allow_hard_links, _Owners()
    try:
        for path, look in scan(folder, eligibility, report=unread.append):
            count += 1
            largest = max(largest, look.fingerprint.size)
            parents[path.parent] = None
            if folder.only:
                names.add(path.name)
            if not os.access(path, os.R_OK):
                unreadable.append(path)
            elif writes and (why := _why_refused(path, owners, allow_hard_links=links)):
                refused.append(why)
    except FolderUnavailable as error:
        raise FolderUnavailable(str(error).replace("the watch folder", "the folder")) from error
    return _Survey(
        photos=count,
        largest=largest,
        parents=tuple(parents),
        unreadable=tuple(unreadable),
        refused=tuple(refused),
        unread=tuple(unread),
        missing=tuple(name for name in folder.only if name not in names),
    )


def _target(folder: FolderSettings, survey: _Survey, *, writes: bool) -> Finding:
    """Judge whether a folder's photos can be read, and written beside and into."""
    what = f"folder {folder.path}"
    if survey.missing:
        gone = FolderUnavailable(f"{folder.path / survey.missing[0]} is not there, or is empty")
        return failed(what, gone, _READ)
    if survey.unreadable and len(survey.unreadable) == survey.photos:
        return failed(what, FolderUnavailable(f"{survey.unreadable[0]} may not be read"), _READ)
    if writes:
        shut = [(parent, why) for parent in sorted(survey.parents) if (why := _why_shut(parent))]
        if shut:
            more = f" (and {len(shut) - 1} more of its folders)" if len(shut) > 1 else ""
            return failed(what, FolderUnavailable(f"{shut[0][1]}{more}"), _WRITE)
    holds = "1 photo" if survey.photos == 1 else f"{survey.photos} photos"
    state = "; nothing is written" if not writes else "" if survey.refused else " and writable"
    detail = f"{holds}, readable{state}"
    flaws = [*(f"{path} may not be read" for path in survey.unreadable), *survey.unread]
    remedies = [_READ] if flaws else []
    if flaws:
        detail += f", but {flaws[0]}{f' (and {len(flaws) - 1} more)' if len(flaws) > 1 else ''}"
    if survey.refused:
        detail += f", but {len(survey.refused)} cannot be written to: {survey.refused[0]}"
        remedies.append(_ALLOW)
    return Finding(what=what, passed=True, warns=bool(remedies), detail=detail, remedy="; ".join(remedies))


class _Owners:
    """Knows whether files of a folder may be given to the owners of others; looks once for each."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], bool] = {}

    def keeps(self, folder: Path, status: os.stat_result) -> bool:
        """Tell whether the copy of a file can be given to the file's owner, by a file without a name.

        Raises:
            OSError: nothing can be made in the folder.
        """
        key = (folder, status.st_uid, status.st_gid)
        if key not in self._known:
            with tempfile.TemporaryFile(dir=folder) as trial:
                try:
                    os.fchown(trial.fileno(), status.st_uid, status.st_gid)
                except PermissionError:
                    self._known[key] = False
                else:
                    self._known[key] = True
        return self._known[key]


def _why_refused(photo: Path, owners: _Owners, *, allow_hard_links: bool) -> str:
    """Return why a photo's words cannot be written into it, or a raw's into its sidecar; "" if they can."""
    beside = (photo.with_suffix(".xmp"), photo.with_name(f"{photo.name}.xmp"))
    for path in beside if extension(photo) in RAW else (photo,):
        try:
            status = _status(path)
            if status is None:
                continue
            check_file(path, status, allow_hard_links=allow_hard_links)
            if not is_own(status) and not owners.keeps(path.parent, status):
                return f"{path} belongs to another user, and its copy could not be given to that one"
        except WriteRefused as error:
            return f"{path.parent}/{error}"
        except OSError:
            return ""  # the folder's trouble, which is told of the folder
    return ""


def _why_shut(folder: Path) -> str:
    """Return why nothing can be written in a folder; "" if it can."""
    try:
        check_open(folder)
    except FolderUnavailable as error:
        return str(error)
    return ""


def _output(path: Path, photos: Eligibility) -> str:
    """Say what becomes of an output; a file is made in its folder, or above it, that never has a name.

    Raises:
        ConfigurationError: it must not be written there.
        FolderUnavailable: it cannot be written there.
    """
    if photos.photo(path.name):
        raise ConfigurationError(f"{path} is a photo by its name")
    real = Path(os.path.realpath(path))
    with _trouble(path, "cannot be looked at"):
        found = _status(real)
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise ConfigurationError(f"{path} is {kind}")
    if found is not None and not os.access(real, os.W_OK):
        raise FolderUnavailable(f"{path} may not be written to")
    place = _nearest(real.parent)
    with _trouble(place, "cannot be written to"), tempfile.TemporaryFile(dir=place):
        pass
    if found is not None:
        return "is there, and writable"
    return "can be made" if place == real.parent else f"can be made, with its folder, in {place}"


def _one_file(outputs: Iterable[Path]) -> Iterator[Finding]:
    """Find outputs that are one file, by whatever names."""
    for one, other in combinations(outputs, 2):
        if same_file(one, other):
            clash = ConfigurationError(f"{one} and {other} are one file, and one would spoil the other")
            yield failed("outputs", clash, "name two files (--output-jsonl, --summary)")


def _disks(settings: Settings, outputs: Iterable[Path], largest: Mapping[Path, int]) -> list[_Disk]:
    """Return each file system that is written to, once."""
    places = [
        ("state", settings.state_dir, 0),
        *(("outputs", path.parent, 0) for path in outputs),
        *(("photos", path, size + SPARE) for path, size in largest.items()),
    ]
    disks: dict[int, _Disk] = {}
    for name, path, needed in places:
        try:
            there = _nearest(Path(os.path.realpath(path)))
            disk = disks.setdefault(there.stat().st_dev, _Disk(path=there))
        except OSError:
            continue  # the place itself has a finding that says so
        disk.needed = max(disk.needed, needed)
        if name not in disk.places:
            disk.places.append(name)
    return list(disks.values())


def _room(disk: _Disk) -> str:
    return f"{checks.free(disk.path, needed=disk.needed)}, for {', '.join(disk.places)}"


def _nearest(folder: Path) -> Path:
    """Return the folder, or of those above it the first that is there."""
    return next(path for path in (folder, *folder.parents) if _status(path) is not None)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@contextmanager
def _trouble(path: Path, what: str) -> Iterator[None]:
    """Word what the operating system has against a path."""
    try:
        yield
    except OSError as error:
        raise FolderUnavailable(f"{path} {what}: {os.strerror(error.errno or 0).lower()}") from error


# --- Models ---


async def _models(settings: Settings) -> list[Finding]:
    try:
        who = cast(settings)
    except ConfigurationError as error:
        return [
            Finding(what="models", passed=False, detail=line, remedy=_WHO) for line in str(error).splitlines()
        ]
    looks: defaultdict[str, list[Entry]] = defaultdict(list)
    entries = list(_distinct(who))
    for entry in entries:
        for url in entry.endpoints:
            looks[url].append(entry)

    async def at(url: str) -> dict[tuple[str, str], list[Finding]]:
        # One after another: a server that loads a model for each would load them in turns.
        return {(entry.name, url): await _look(entry, url, who, settings) for entry in looks[url]}

    found: dict[tuple[str, str], list[Finding]] = {}
    for part in await asyncio.gather(*map(at, looks)):
        found |= part
    bearers = {entry.name for entry in who.entries.values()}
    judged = (
        finding
        for entry in entries
        for finding in _judged(
            [found[entry.name, url] for url in entry.endpoints], stands_in=entry.name not in bearers
        )
    )
    return [*checks.roles(who), *judged]


def _distinct(who: Cast) -> Iterator[Entry]:
    """Yield the entries that may be asked; of those that differ in name and roles only, the first."""
    seen: list[Entry] = []
    for entry in who.distinct:
        served = entry.evolve(name="", display_name="", roles=(), role_priority={})
        if served not in seen:
            seen.append(served)
            yield entry


async def _look(entry: Entry, url: str, who: Cast, settings: Settings) -> list[Finding]:
    """Look at one model at one address; what fails ends it."""
    served = f"{entry.served_model} at {url}"
    if entry.launch is not None and settings.use_loader:
        return [check(f"listing of {served}", partial(_started, entry), checks.install(entry))]
    place = checks.place_of(entry, who, settings, _option)

    def remedy(error: TaggerError) -> str:
        advice = checks.advice(error, place)
        waits = isinstance(error, ServerUnavailable) and not isinstance(error, ServerMisconfigured)
        return f"{advice}; {_ANYWAY}" if waits else advice

    consents = Consents(settings.remote)
    try:
        client = ChatClient(
            url, entry, api_key=key_of(entry, keys_of(settings, os.environ)), consents=consents
        )
    except ConfigurationError as error:
        return [failed(f"listing of {served}", error, remedy)]
    listing = partial(_listing, client, settings.folders, consents)
    findings: list[Finding] = []
    try:
        for what, look in (
            ("listing", listing),
            ("text", partial(checks.talks, client)),
            ("vision", partial(checks.sees, client)),
        ):
            findings.append(await check_async(f"{what} of {served}", look, remedy))
            if not findings[-1].passed:
                break
    finally:
        await client.close()
    return findings


async def _listing(client: ChatClient, folders: Iterable[FolderSettings], consents: Consents) -> str:
    """Look at what is served, and whether every folder's photos may be sent there.

    Raises:
        ServerUnavailable: it is down, serves something else, or may not be sent all of the photos.
    """
    words = await checks.shows(client)
    if client.place == "public":
        for folder in folders:
            if consents.agreed(client.endpoint, folder.path) is None:
                raise NotConsented(not_agreed(client.endpoint, folder.path))
    return words


def _started(entry: Entry) -> str:
    return f"{checks.command(entry, by='the run')}; what it serves, and whether it sees, is looked at then"


def _judged(endpoints: Sequence[list[Finding]], *, stands_in: bool) -> Iterator[Finding]:
    """Yield one entry's findings; what its work does not depend on warns instead of failing.

    Args:
        endpoints: the findings about each.
        stands_in: the entry has no role itself.
    """
    works = any(all(finding.passed for finding in findings) for findings in endpoints)
    spared = "another endpoint of the same entry works" if works else "it only stands in" if stands_in else ""
    for finding in (finding for findings in endpoints for finding in findings):
        if finding.passed or not spared:
            yield finding
        else:
            yield finding.evolve(passed=True, warns=True, detail=f"{finding.detail} ({spared})")


def _option(setting: str) -> str:
    return f"{setting} (--{setting.replace('_', '-')})"
