"""What `doctor` and a batch's preflight both look at, and how what was found is shown."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tagger_daemon import __version__
from tagger_daemon.cli.terminal import shown
from tagger_daemon.errors import (
    ConfigurationError,
    NotConsented,
    ReplyMalformed,
    ReplyTimeout,
    ServerDrifted,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Value
from tagger_daemon.options import STAGE_WORDS
from tagger_daemon.service.clock import local_now
from tagger_daemon.service.parts import Cast
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings
from tagger_daemon.vision import smalltalk
from tagger_daemon.vision.canary import is_slow
from tagger_daemon.vision.client import ChatClient, nothing_listens
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.identity import drifts, told
from tagger_daemon.vision.observe import observe
from tagger_daemon.vision.verifier import show_canary

#: Free space below which work would soon stop, bytes.
SCARCE: Final = 500_000_000

INSTALL_EXIFTOOL: Final = (
    "install Debian's package libimage-exiftool-perl, or name another exiftool as metadata.exiftool"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding(Value):
    """One check's outcome."""

    what: str
    passed: bool
    detail: str  # what was found
    remedy: str = ""  # what to do about it; "" where there is nothing to do, or `detail` says it
    warns: bool = False  # it passed, and somebody should look at it all the same

    def to_json(self) -> dict[str, Any]:
        """Give the form for scripts."""
        return asdict(self)


#: What to do about a failure: always the same, or by what it was.
Remedy = str | Callable[[TaggerError], str]


def check(what: str, look: Callable[[], str], remedy: Remedy = "") -> Finding:
    """Look, and give what was found."""
    try:
        return Finding(what=what, passed=True, detail=look())
    except TaggerError as error:
        return failed(what, error, remedy)


async def check_async(what: str, look: Callable[[], Awaitable[str]], remedy: Remedy = "") -> Finding:
    """Do as `check` does."""
    try:
        return Finding(what=what, passed=True, detail=await look())
    except TaggerError as error:
        return failed(what, error, remedy)


def failed(what: str, error: TaggerError, remedy: Remedy = "") -> Finding:
    """Give a failure as a finding."""
    to_do = remedy if isinstance(remedy, str) else remedy(error)
    return Finding(what=what, passed=False, detail=str(error), remedy=to_do)


def render(findings: Iterable[Finding]) -> Table:
    """Draw findings, each with what to do on a line of its own."""
    table = Table("check", "", "found", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # a path that is cut short names nothing
    for finding in findings:
        detail = shown(finding.detail)
        if finding.remedy:
            detail += f"\n[bold]To do:[/] {shown(finding.remedy)}"
        table.add_row(shown(finding.what), _mark(finding), detail)
    return table


def _mark(finding: Finding) -> str:
    if not finding.passed:
        return "[bold red]fails[/]"
    return "[bold yellow]warns[/]" if finding.warns else "[green]ok[/]"


# --- This machine ---


def exiftool(settings: Settings) -> str:
    """Start exiftool, and say which it is and what that means.

    Raises:
        ConfigurationError: there is none, or none that can be used.
    """
    tool = ExifTool(settings.metadata.exiftool, timeout_seconds=settings.metadata.timeout_seconds)
    store = MetadataStore(settings.metadata, exiftool=tool, tool_version=__version__, now=local_now)
    try:
        store.start()
        major, minor = tool.version()
    finally:
        store.close()
    embeds = (major, minor) >= (13, 25)
    modern = (
        "embeds into HEIC, AVIF, WebP and JXL"
        if embeds
        else "HEIC, AVIF, WebP and JXL get sidecars (13.25 embeds)"
    )
    return f"{major}.{minor:02}; {modern}"


def state(settings: Settings) -> str:
    """Make the state directory, and say how much room there is.

    Raises:
        ConfigurationError: it cannot be used, or room is scarce.
    """
    directory = StateDirectory(root=settings.state_dir)
    directory.make()
    return f"{directory.root}, {free(directory.root)}"


def free(path: Path, *, needed: int = 0) -> str:
    """Say how much room there is on the disk of a path that exists.

    Args:
        path: of a folder or file.
        needed: bytes, where that is more than `SCARCE`.

    Raises:
        ConfigurationError: that is too little, or cannot be told.
    """
    try:
        room = shutil.disk_usage(path).free
    except OSError as error:
        raise ConfigurationError(f"the disk of {path} cannot be looked at: {error.strerror}") from error
    if room < max(SCARCE, needed):
        needs = f", and a copy of one photo needs {needed / 1e6:.0f} MB" if needed > SCARCE else ""
        raise ConfigurationError(f"only {room / 1e6:.0f} MB are free on the disk of {path}{needs}; make room")
    return f"{room / 1e9:.1f} GB free"


# --- Models ---


@dataclass(frozen=True, kw_only=True, slots=True)
class Place(Value):
    """Where it is said what an entry is: what to correct if it is wrong."""

    address: str
    model: str
    key: str


def place_of(entry: Entry, who: Cast, settings: Settings, option: Callable[[str], str] = str) -> Place:
    """Tell where an entry is described.

    Args:
        entry: one of `who`.
        who: all that may be asked.
        settings: that they come from.
        option: words the name of a setting.
    """
    if any(entry.name == one.name for one in who.registry.entries):
        of = f"of {entry.name!r} in the registry"
        return Place(
            address=f"serving.endpoints {of}", model=f"served_model_id {of}", key=f"serving.api_key_env {of}"
        )
    words = (word for stage, word in STAGE_WORDS.items() if who.entries[stage].name == entry.name)
    word = next(words, "")
    named = {
        what: f"{word}_{what}" if getattr(settings, f"{word}_{what}", "") else what
        for what in ("base_url", "model")
    }
    return Place(address=option(named["base_url"]), model=option(named["model"]), key=option("api_key"))


def advice(error: TaggerError, place: Place) -> str:
    """Say what to do about a model server that cannot be used."""
    match error:
        case NotConsented():
            return f"agree to it in the configuration, or correct {place.address}"
        case ServerDrifted():
            return f"serve what is asked for, or name another model: correct {place.model}"
        case ServerMisconfigured():
            return f"correct {place.model}, {place.address} or {place.key}, whichever is wrong"
        case ServerUnavailable() if nothing_listens(error):
            return f"start it, or correct {place.address}"
        case ServerUnavailable() if not isinstance(error.__cause__, ReplyTimeout):
            return "wait until it is ready; if that does not come, its log says why"
        case ServerUnavailable() | ReplyTimeout():
            return "look whether it is busy or hangs; a slow one needs a longer timeout"
        case ConfigurationError():
            return f"correct {place.address} or {place.key}"
        case _:
            return f"look into the server's log, or name another model: correct {place.model}"


async def shows(client: ChatClient) -> str:
    """Look whether a server is up and what it serves.

    Raises:
        ServerUnavailable: it is not, or serves something else; or no photos may be sent to it.
    """
    await client.ready()
    seen = await observe(client)
    if seen.remote:
        client.regard_as_public(f"it passes requests on to {seen.remote}")
    words = f"{told(client.entry, seen)} ({client.place})"
    if wrong := drifts(client.entry, client.endpoint, seen):
        raise ServerDrifted(f"{'; '.join(wrong)} (it {words})")
    return words


async def talks(client: ChatClient) -> str:
    """Ask a server something without a picture; any answer will do.

    Raises:
        TaggerError: as `ChatClient.chat`, or the answer is empty.
    """
    if not client.dialect.talks:
        return "not asked: it answers about pictures only"
    if not smalltalk.is_answer(await client.chat(smalltalk.request(), session="smalltalk")):
        raise ReplyMalformed(f"the model server at {client.endpoint} gives an empty answer to a question")
    return "answers"


async def sees(client: ChatClient) -> str:
    """Show a server the canary.

    Raises:
        ServerUnavailable: it does not see, or cannot be asked.
    """
    again = await show_canary(client)
    seen = "tells two pictures apart"
    if client.entry.canary == "colours":
        seen = "names the colours of two pictures"
    return f"{seen}, but does not keep them: stages will be slow" if is_slow(again) else seen


def command(entry: Entry, *, by: str = "the daemon") -> str:
    """Say by which command the loader starts an entry's server, as a part of what runs.

    Raises:
        ConfigurationError: there is no such command.
    """
    assert entry.launch is not None
    name = entry.launch.argv[0]
    if name != "{python}" and shutil.which(name) is None:
        raise ConfigurationError(f"{by} would start it, but there is no command {name!r}")
    return f"started by {by}: {name}"  # without its arguments: some people write keys into them


def install(entry: Entry) -> str:
    """Say what to do where the command is missing that starts an entry's server."""
    return (
        f"install it, or correct serving.launch of {entry.name!r} in the registry;"
        " with use_loader = false only servers that run are asked"
    )


def roles(who: Cast) -> list[Finding]:
    """Say who answers each stage, and who stands in."""
    return [
        Finding(
            what=f"role for the {stage}",
            passed=True,
            detail=", or else ".join(f"{entry.name} ({entry.served_model})" for entry in chain),
        )
        for stage, chain in who.chains.items()
    ]
