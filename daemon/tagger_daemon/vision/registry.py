"""The model registry: a JSON list of entries, as ImageWorks keeps it, and our object `serving` in each.

    [{"name": "…", "backend": "vllm",                       required
      "backend_config": {"host", "port", "base_url"},        where it answers, without `serving.endpoints`
      "served_model_id": "…",                                absent: the name
      "roles": ["caption"], "role_priority": {"caption": 90},
      "capabilities": {"vision": true}, "deprecated": false,
      "serving": {"endpoints": ["http://127.0.0.1:24001/v1"],
                  "launch": {"argv": [], "env": {}, "health", "ready_seconds"},
                  "limits": {"start", "max"}, "timeouts": {"connect", "stage"},
                  "api_key_env", "json_schema", "extra_body": {}, "digest", "privacy"}}]

A key that is not known is ignored, as other tools keep theirs in the same file; inside `serving` it is an
error. `null` means absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
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
from tagger_daemon.vision.dialects import dialect_of
from tagger_daemon.vision.entry import Entry, Launch, Limits, Place, Registry, Timeouts
from tagger_daemon.vision.problems import problems, short_hash

#: Where a backend listens if the entry does not say: ImageWorks' own defaults.
DEFAULT_PORTS: Mapping[str, int] = {"vllm": 24001, "lmdeploy": 24001, "ollama": 11434}

#: Capability names that all mean "sees pictures": ImageWorks' synonyms.
VISION_WORDS = frozenset({"vision", "visual", "multimodal", "mm", "image", "vl"})

#: Parts of a request that are ours to set: an entry's `extra_body` must not replace them.
OUR_FIELDS = frozenset({"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens"})


def load_registry(path: Path) -> Registry:
    """Read the registry file.

    Raises:
        ConfigurationError: the file is missing, unreadable or broken; every broken entry is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the model registry {path} cannot be read: {error.strerror}") from error
    return parse_registry(content, source=str(path))


def parse_registry(text: str | bytes, *, source: str) -> Registry:
    """Return the entries of a registry, those that nothing can reach included.

    Args:
        text: JSON, UTF-8 if bytes.
        source: the file's name, for messages.

    Raises:
        ConfigurationError: one line for each problem, with file, entry and key.
    """
    content = text.encode() if isinstance(text, str) else text
    entries: list[Entry] = []
    found: list[str] = []
    for number, raw in enumerate(_objects(content, source), start=1):
        label = f"entry {number}{_name_of(raw)}"
        try:
            entry = _RawEntry.model_validate(raw).entry()
        except ValidationError as error:
            found += [f"{source}: {label}: {problem}" for problem in problems(error, _RawEntry)]
            continue
        if any(entry.name == other.name for other in entries):
            found.append(f"{source}: {label}: name: another entry has this name already")
        entries.append(entry)
    if found:
        raise ConfigurationError("\n".join(found))
    return Registry(source=source, hash=short_hash(content), entries=tuple(entries))


def _objects(content: bytes, source: str) -> list[Any]:
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise ConfigurationError(f"{source}: brackets are nested too deeply") from error
    except ValueError as error:
        raise ConfigurationError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(parsed, list):
        raise ConfigurationError(f"{source}: a model registry is a JSON list of entries")
    return parsed


def _name_of(raw: Any) -> str:
    name = raw.get("name") if isinstance(raw, dict) else None
    return f" {name!r}" if isinstance(name, str) and name else ""


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


def _endpoint(url: str) -> str:
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
        return _endpoint(host)
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


Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_printable)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
VariableName = Annotated[str, AfterValidator(_variable)]


class _Raw(BaseModel):
    """A JSON object of the file: no guessing of types, `null` means absent."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None}


class _Ours(_Raw):
    """An object of our own: a key that is not known is a slip of the pen."""

    model_config = ConfigDict(extra="forbid")


class _RawBackend(_Raw):
    host: Annotated[str | None, AfterValidator(lambda host: host and _host(host))] = None
    port: int = Field(0, ge=0, le=65535)  # 0: the backend's default
    base_url: Annotated[Endpoint | None, BeforeValidator(_blank_is_none)] = None

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
    argv: list[Annotated[str, AfterValidator(_printable)]] = Field(min_length=1)
    env: dict[VariableName, str] = Field(default_factory=dict)
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


class _RawServing(_Ours):
    endpoints: list[Endpoint] = Field(default_factory=list)
    launch: _RawLaunch | None = None
    limits: _RawLimits = Field(default_factory=_RawLimits)
    timeouts: _RawTimeouts = Field(default_factory=_RawTimeouts)
    api_key_env: VariableName | None = None
    json_schema: bool = False
    extra_body: dict[str, Any] = Field(default_factory=dict)
    digest: Text | None = None
    privacy: Place | None = None

    @field_validator("extra_body")
    @classmethod
    def _leaves_our_fields_alone(cls, extra_body: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OUR_FIELDS & extra_body.keys()):
            raise ValueError(f"must not set {', '.join(taken)}")
        return extra_body


class _RawEntry(_Raw):
    name: Text
    backend: Text
    backend_config: _RawBackend = Field(default_factory=_RawBackend)
    served_model_id: Annotated[Text | None, BeforeValidator(_blank_is_none)] = None
    roles: list[Text] = Field(default_factory=list)
    role_priority: dict[Text, int] = Field(default_factory=dict)
    capabilities: dict[str, Any] = Field(default_factory=dict)
    deprecated: bool = False
    serving: _RawServing = Field(default_factory=_RawServing)

    def entry(self) -> Entry:
        backend = self.backend.lower()
        serving = self.serving
        endpoints = serving.endpoints or self.backend_config.endpoints(backend)
        return Entry(
            name=self.name,
            backend=backend,
            dialect=dialect_of(backend),
            served_model=self.served_model_id or self.name,
            roles=tuple(self.roles),
            role_priority=self.role_priority,
            vision=any(key.lower() in VISION_WORDS and _is_true(on) for key, on in self.capabilities.items()),
            json_schema=serving.json_schema,
            deprecated=self.deprecated,
            digest=serving.digest,
            endpoints=tuple(dict.fromkeys(endpoints)),
            privacy=serving.privacy,
            api_key_env=serving.api_key_env,
            launch=serving.launch.launch() if serving.launch else None,
            limits=serving.limits.limits(),
            timeouts=Timeouts(connect=serving.timeouts.connect, stage=serving.timeouts.stage),
            extra_body=serving.extra_body,
        )
