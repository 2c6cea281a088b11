"""The model registry: JSON lists of entries, as ImageWorks keeps them, and our object `serving` in each.

    [{"name": "…", "backend": "vllm",                       required
      "display_name": "…", "deprecated": false,
      "backend_config": {"host", "port", "base_url",         where it answers, without `serving.endpoints`
                         "model_path"},
      "served_model_id": "…",                                absent: the name; null: nobody can ask for it
      "roles": ["caption"], "role_priority": {"caption": 90},
      "capabilities": {"vision": true},
      "generation_defaults": {"context_window": 8192},
      "serving": {"endpoints": ["http://127.0.0.1:24001/v1"],
                  "launch": {"argv": [], "env": {}, "health", "ready_seconds"},
                  "dialect": "vllm",                         absent: by the backend
                  "limits": {"start", "max"}, "timeouts": {"connect", "stage"},
                  "image": {"long_edge"}, "affinity_header", "privacy", "canary",
                  "api_key_env", "json_schema", "extra_body": {}, "digest"}}]

A key that is not known is ignored, as other tools keep theirs in the same file; inside `serving` it is an
error. `null` means absent, but for `served_model_id`.

The registry is one such file, or a folder as ImageWorks has it: what a person keeps lies over what tools
found, entry by entry and key by key. Nothing is ever written there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Value
from tagger_daemon.vision.dialects import DIALECTS, dialect_of
from tagger_daemon.vision.entry import Canary, Entry, Launch, Limits, Place, Registry, Timeouts
from tagger_daemon.vision.problems import located, short_hash

#: The files of a folder, by ImageWorks' names: what a person keeps, what tools found, and both in one, which
#: counts only where neither of the others is there.
CURATED: Final = "model_registry.curated.json"
DISCOVERED: Final = "model_registry.discovered.json"
MERGED: Final = "model_registry.json"

#: Where a backend listens if the entry does not say: ImageWorks' own defaults.
DEFAULT_PORTS: Mapping[str, int] = {"vllm": 24001, "lmdeploy": 24001, "ollama": 11434}

#: Capability names that all mean "sees pictures": ImageWorks' synonyms.
VISION_WORDS = frozenset({"vision", "visual", "multimodal", "mm", "image", "vl"})

#: Parts of a request that are ours to set: an entry's `extra_body` must not replace them.
OUR_FIELDS = frozenset({"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens"})

#: A header's name, as RFC 9110 (5.6.2) has it; and those that say something else already.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TAKEN_HEADERS: Final = re.compile(
    r"(content|accept|proxy|sec|if)-.*|accept|authorization|connection|cookie|date|expect|host|keep-alive"
    r"|origin|range|referer|set-cookie|te|trailer|transfer-encoding|upgrade|user-agent|via"
)


def load_registry(path: Path) -> Registry:
    """Read the registry, every entry of which has to be sound.

    Raises:
        ConfigurationError: as `read_registry`, and one line for each problem.
    """
    registry = read_registry(path)
    if registry.problems:
        raise ConfigurationError("\n".join(registry.problems))
    return registry


def read_registry(path: Path) -> Registry:
    """Read the registry, a file or a folder; what is wrong with one entry does not hide the others.

    Raises:
        ConfigurationError: a file is missing, unreadable, or no list of entries at all.
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        return _read_folder(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return parse_registry(content, source=str(path))


def parse_registry(text: str | bytes, *, source: str) -> Registry:
    """Return the sound entries of a registry, those that nothing can reach included, and what is wrong.

    Args:
        text: JSON, UTF-8 if bytes.
        source: the file's name, for messages.

    Raises:
        ConfigurationError: it is no JSON list.
    """
    content = text.encode() if isinstance(text, str) else text
    return _assemble({source: content}, source=source, digest=short_hash(content))


def _read_folder(folder: Path) -> Registry:
    layers = [
        (name, content) for name in (CURATED, DISCOVERED) if (content := _content(folder / name)) is not None
    ]
    if not layers and (content := _content(folder / MERGED)) is not None:
        layers = [(MERGED, content)]
    if not layers:
        raise ConfigurationError(
            f"the model registry {folder} is a folder without {CURATED}, {DISCOVERED} or {MERGED}"
        )
    # Each file by its own hash, so that no byte can seem to have moved from one into another.
    digest = short_hash(
        "".join(f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in layers).encode()
    )
    files = {str(folder / name): content for name, content in layers}
    return _assemble(files, source=str(folder), digest=digest)


def _content(file: Path) -> bytes | None:
    """Return what a file holds, None if there is none.

    Raises:
        ConfigurationError: it cannot be read, or is a link that leads nowhere.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not file.is_symlink():
            return None
        raise _unreadable(file, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the model registry {path} cannot be read: {error.strerror}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written(Value):
    """What one file says of one entry."""

    source: str  # the file
    layer: int  # 0 for the file that lies over the others
    number: int  # its place in the file, from 1
    raw: Any  # as it stands there

    @property
    def name(self) -> str | None:
        name = self.raw.get("name") if isinstance(self.raw, dict) else None
        return name.strip() if isinstance(name, str) and not _is_blank(name) else None

    def problem(self, words: str) -> tuple[int, int, str]:
        """Return a line about this entry, behind what it is sorted by."""
        name = "" if self.name is None else f" {self.name!r}"
        return self.layer, self.number, f"{self.source}: entry {self.number}{name}: {words}"


def _assemble(files: Mapping[str, bytes], *, source: str, digest: str) -> Registry:
    """Return the registry that these files are together; the first lies over the others."""
    entries: list[Entry] = []
    found: list[tuple[int, int, str]] = []
    written = [
        one for layer, (file, content) in enumerate(files.items()) for one in _listed(content, file, layer)
    ]
    for layers, repeated in _by_name(written):
        found += [
            other.problem(f"name: entry {first.number} has this name already") for first, other in repeated
        ]
        try:
            entry = _RawEntry.model_validate(_merged(layers)).entry()
        except ValidationError as error:
            found += [_blamed(layers, key).problem(words) for key, words in located(error, _RawEntry)]
        except RecursionError:
            found.append(layers[0].problem("brackets are nested too deeply"))
        else:
            # Of two entries of one name, nobody knows which is meant.
            entries += [] if repeated else [entry]
    problems = tuple(line for _, _, line in sorted(found, key=lambda problem: problem[:2]))
    return Registry(source=source, hash=digest, entries=tuple(entries), problems=problems)


def _listed(content: bytes, source: str, layer: int) -> Iterator[_Written]:
    """Give what a file says of each entry.

    Raises:
        ConfigurationError: it is no JSON list.
    """
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise ConfigurationError(f"{source}: brackets are nested too deeply") from error
    except ValueError as error:
        raise ConfigurationError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(parsed, list):
        raise ConfigurationError(f"{source}: a model registry is a JSON list of entries")
    for number, raw in enumerate(parsed, start=1):
        yield _Written(source=source, layer=layer, number=number, raw=raw)


def _by_name(
    written: Sequence[_Written],
) -> Iterator[tuple[list[_Written], list[tuple[_Written, _Written]]]]:
    """Bring together what the files say of the same entry.

    Yields:
        What each file says of it, the file on top first; and where a file has the name more than once, its
        first entry of that name with each of the others. What has no name stands alone.
    """
    groups: dict[str | int, tuple[list[_Written], list[tuple[_Written, _Written]]]] = {}
    for place, one in enumerate(written):
        layers, repeated = groups.setdefault(place if one.name is None else one.name, ([], []))
        first = next((other for other in layers if other.layer == one.layer), None)
        if first is None:
            layers.append(one)
        else:
            repeated.append((first, one))
    yield from groups.values()


def _merged(layers: Sequence[_Written]) -> Any:
    """Lay what one file says over what another says."""
    top, *below = layers
    return _laid(top.raw, _merged(below)) if below else top.raw


def _laid(above: Any, below: Any) -> Any:
    """Lay one JSON value over another: objects key by key, lists whole, and null covers nothing."""
    if isinstance(above, dict) and isinstance(below, dict):
        covering = {key: value for key, value in above.items() if not _says_nothing(key, value)}
        return below | {
            key: _laid(value, below[key]) if key in below else value for key, value in covering.items()
        }
    return above


def _says_nothing(key: str, value: Any) -> bool:
    return value is None or (key == "served_model_id" and _blank_is_none(value) is None)


def _blamed(layers: Sequence[_Written], key: Sequence[int | str]) -> _Written:
    """Return who gave the value at this place: of those that lead furthest towards it, the one on top."""
    return max(layers, key=lambda one: _steps(one.raw, key))


def _steps(raw: Any, key: Sequence[int | str]) -> int:
    """Return how many steps of the way to a value lead through this one."""
    for count, step in enumerate(key):
        if isinstance(raw, dict) and raw.get(str(step)) is not None:
            raw = raw[str(step)]
        else:
            # A list comes whole from one file, and so does whatever is of the wrong kind.
            return count
    return len(key)


def _is_blank(text: str) -> bool:
    """Tell whether a text stands for nothing; tools in between write Python's None as a word."""
    return text.strip().casefold() in {"", "none", "null"}


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and _is_blank(value) else value


def _printable(text: str) -> str:
    if _is_blank(text):
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def _passable(value: str) -> str:
    """Check the value of an environment variable; it may be a key, and is not repeated."""
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("must not contain NUL or half a character")
    return value


def endpoint_url(url: str) -> str:
    """Return a base URL in its one form: http or https, no secrets, ending in /v1."""
    if not url.isprintable() or " " in url:
        raise ValueError("must not contain spaces or control characters")
    if "@" in url:
        raise ValueError("must not carry a user name or password; name a variable in serving.api_key_env")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    if parts.port == 0:
        raise ValueError("must not use port 0")
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith("/v1"):
        raise ValueError("must end in /v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _host(host: str) -> str:
    """Check a host; ImageWorks takes a whole URL here too."""
    if "://" in host:
        return endpoint_url(host)
    if not host.isprintable() or set(host) & set("/@?# "):
        raise ValueError("must be a host name or an address")
    return host


def _variable(name: str) -> str:
    """Check the name of an environment variable; a key in its place seldom passes, and is not repeated."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("must be the name of an environment variable")
    return name


def _is_true(value: Any) -> bool:
    """Tell whether a capability is claimed; some files write the answer as a word."""
    if isinstance(value, str):
        return not _is_blank(value) and value.strip().casefold() not in {"false", "no", "off", "0"}
    return bool(value)


def _without_nulls(value: Any) -> Any:
    return (
        {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
    )


def _dialect(name: str) -> str:
    if name not in DIALECTS:
        raise ValueError(f"must be one of {', '.join(sorted(DIALECTS))}")
    return name


def _header(name: str) -> str:
    """Check a header's name: what it carries must not be taken for something else."""
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of an HTTP header")
    if _TAKEN_HEADERS.fullmatch(name.lower()):
        raise ValueError("must not be a header that has a meaning of its own")
    return name


def _command(argv: list[str]) -> list[str]:
    """Check a command: where the service is started from must not decide what it runs."""
    if "/" in argv[0] and not argv[0].startswith("/"):
        raise ValueError("must begin with an absolute path, a command on PATH, or {python}")
    return argv


Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_printable)]
Endpoint = Annotated[str, AfterValidator(endpoint_url)]
VariableName = Annotated[str, AfterValidator(_variable)]


class _Raw(BaseModel):
    """A JSON object of the file: no guessing of types, `null` means absent."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    telling_nulls: ClassVar[frozenset[str]] = frozenset()  # keys of which null says something

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a JSON object")
        return {key: item for key, item in value.items() if item is not None or key in cls.telling_nulls}


class _Ours(_Raw):
    """An object of our own: a key that is not known is a slip of the pen."""

    model_config = ConfigDict(extra="forbid")


class _RawBackend(_Raw):
    host: Annotated[str | None, AfterValidator(lambda host: host and _host(host))] = None
    port: int = Field(0, ge=0, le=65535)  # 0: the backend's default
    base_url: Annotated[Endpoint | None, BeforeValidator(_blank_is_none)] = None
    model_path: Annotated[Text | None, BeforeValidator(_blank_is_none)] = None

    def endpoints(self, backend: str) -> tuple[str, ...]:
        """Return the base URL that these keys name, or nothing if they name none."""
        if self.base_url:
            return (self.base_url,)
        if self.host and "://" in self.host:
            return (self.host,)
        port = self.port or DEFAULT_PORTS.get(backend)
        if backend == "unassigned" or port is None:
            return ()
        # By address, as `localhost` may first be tried over IPv6, where model servers seldom listen.
        host = "127.0.0.1" if self.host in {None, "", "localhost"} else str(self.host)
        return (f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1",)


class _RawLaunch(_Ours):
    argv: Annotated[list[Annotated[str, AfterValidator(_printable)]], AfterValidator(_command)] = Field(
        min_length=1
    )
    env: dict[VariableName, Annotated[str, AfterValidator(_passable)]] = Field(default_factory=dict)
    health: str = Field(Launch(argv=()).health, pattern="^/")
    ready_seconds: float = Field(Launch(argv=()).ready_seconds, gt=0)

    def launch(self) -> Launch:
        return Launch(
            argv=tuple(self.argv), env=self.env, health=self.health, ready_seconds=self.ready_seconds
        )


class _RawLimits(_Ours):
    start: int | None = Field(None, ge=1)
    max: int = Field(Limits().max, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.start > self.max:
            raise ValueError(f"start ({self.start}) must not be above max ({self.max})")
        return self

    def limits(self) -> Limits:
        return Limits(start=self.start or min(Limits().start, self.max), max=self.max)


class _RawTimeouts(_Ours):
    connect: float = Field(Timeouts().connect, gt=0)
    stage: float = Field(Timeouts().stage, gt=0)


class _RawImage(_Ours):
    long_edge: int | None = Field(None, ge=64, le=4096)  # as `image.long_edge` of the settings


class _RawServing(_Ours):
    endpoints: list[Endpoint] = Field(default_factory=list)
    launch: _RawLaunch | None = None
    dialect: Annotated[str, AfterValidator(_dialect)] | None = None
    limits: _RawLimits = Field(default_factory=_RawLimits)
    timeouts: _RawTimeouts = Field(default_factory=_RawTimeouts)
    image: _RawImage = Field(default_factory=_RawImage)
    affinity_header: Annotated[str, AfterValidator(_header)] | None = None
    privacy: Place | None = None
    canary: Canary = "colours"
    api_key_env: VariableName | None = None
    json_schema: bool = False
    extra_body: dict[str, Any] = Field(default_factory=dict)
    digest: Text | None = None

    @field_validator("extra_body")
    @classmethod
    def _leaves_our_fields_alone(cls, extra_body: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OUR_FIELDS & extra_body.keys()):
            raise ValueError(f"must not set {', '.join(taken)}")
        return extra_body


class _RawDefaults(_Raw):
    context_window: int | None = Field(None, ge=1)  # tokens


class _RawLock(_Raw):
    locked: bool = False
    expected_aggregate_sha256: str | None = None


class _RawEntry(_Raw):
    """An entry. Aliases and lock are ImageWorks' own: a slip there is told, as it would be there too."""

    telling_nulls = frozenset({"served_model_id"})

    name: Text
    backend: Text
    display_name: Annotated[Text | None, BeforeValidator(_blank_is_none)] = None
    backend_config: _RawBackend = Field(default_factory=_RawBackend)
    served_model_id: Annotated[Text | None, BeforeValidator(_blank_is_none)] = None
    model_aliases: list[str] = Field(default_factory=list)
    roles: list[Text] = Field(default_factory=list)
    role_priority: Annotated[dict[Text, int], BeforeValidator(_without_nulls)] = Field(default_factory=dict)
    capabilities: dict[str, Any] = Field(default_factory=dict)
    generation_defaults: _RawDefaults = Field(default_factory=_RawDefaults)
    version_lock: _RawLock = Field(default_factory=_RawLock)
    deprecated: bool = False
    serving: _RawServing = Field(default_factory=_RawServing)

    def entry(self) -> Entry:
        backend = self.backend.lower()
        serving = self.serving
        endpoints = serving.endpoints or self.backend_config.endpoints(backend)
        return Entry(
            name=self.name,
            display_name=self.display_name or "",
            backend=backend,
            dialect=serving.dialect or dialect_of(backend),
            served_model=self._served_model,
            roles=tuple(self.roles),
            role_priority=self.role_priority,
            vision=self._sees,
            json_schema=serving.json_schema,
            deprecated=self.deprecated,
            digest=serving.digest,
            context=self.generation_defaults.context_window,
            model_path=self.backend_config.model_path,
            endpoints=tuple(dict.fromkeys(endpoints)),
            privacy=serving.privacy,
            api_key_env=serving.api_key_env,
            affinity_header=serving.affinity_header,
            long_edge=serving.image.long_edge,
            canary=serving.canary,
            launch=serving.launch.launch() if serving.launch else None,
            limits=serving.limits.limits(),
            timeouts=Timeouts(connect=serving.timeouts.connect, stage=serving.timeouts.stage),
            extra_body=serving.extra_body,
        )

    @property
    def _served_model(self) -> str:
        if "served_model_id" in self.model_fields_set:
            return self.served_model_id or ""
        return self.name

    @property
    def _sees(self) -> bool:
        return any(
            key.strip().lower() in VISION_WORDS and _is_true(on) for key, on in self.capabilities.items()
        )
