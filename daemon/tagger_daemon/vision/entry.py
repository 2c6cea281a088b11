"""What the registry says about one model, and what one request to it consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tagger_daemon.model import Stage, Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch(Value):
    """How the loader starts a server of this entry."""

    argv: tuple[str, ...]  # no shell; `{port}` stands for the endpoint's port, `{python}` for our interpreter
    env: Mapping[str, str] = field(default_factory=dict)  # added to a minimal environment
    health: str = "/health"  # path under the server's root that answers 200 once it is ready
    ready_seconds: float = 600  # from start to health, weights included


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(Value):
    """How many requests one endpoint is given at once."""

    start: int = 4
    max: int = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts(Value):
    """Seconds."""

    connect: float = 5
    stage: float = 180  # wall clock for one request, from sending to the whole answer


#: Where an endpoint is: on this machine, in a private network, or anywhere else.
Place = Literal["loopback", "private", "public"]

#: What a model has to show: that it names the colours of two pictures, or only that it tells them apart.
Canary = Literal["colours", "differences"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry(Value):
    """One model of the registry: who it is, what it may be asked, where it answers."""

    name: str  # unique in the registry
    backend: str  # who serves it, as the registry says: vllm, ollama, gguf, …
    served_model: str  # the name that the server knows it by; "" where the registry says null: takes no role
    display_name: str = ""  # for people; "" where the registry has none
    dialect: str = "compatible"  # how its server is spoken to: a name in `dialects.DIALECTS`
    roles: tuple[str, ...] = ()
    role_priority: Mapping[str, int] = field(default_factory=dict)  # highest wins; absent means 0
    vision: bool = False  # sees pictures
    json_schema: bool = False  # proven to keep to a `response_format` schema
    deprecated: bool = False
    digest: str | None = None  # of the model's files, where the registry knows it
    context: int | None = None  # tokens that a request may need; a server with fewer has drifted
    model_path: str | None = None  # where the model's files are, as the server may tell it
    endpoints: tuple[str, ...] = ()  # base URLs ending in /v1
    privacy: Place | None = None  # where its endpoints are said to be; None: wherever they are found to be
    api_key_env: str | None = None  # name of the environment variable, or of the credential, with the key
    affinity_header: str | None = None  # header by which a router keeps a photo's stages together
    long_edge: int | None = None  # pixels of the picture that it is shown; None: as the settings say
    canary: Canary = "colours"  # what it has to show before it is used
    launch: Launch | None = None  # absent: the server is somebody else's to start
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    extra_body: Mapping[str, Any] = field(default_factory=dict)  # vendor fields, sent with every request


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry(Value):
    """All sound entries of a registry, and the hash that names this snapshot."""

    source: str  # the file or directory, for messages
    hash: str  # sha256/16 of the bytes that were read
    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = ()  # one line for each thing that is wrong, with file, entry and key


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePrompt(Value):
    """One stage of a prompt profile."""

    instruction: str  # `{max_keywords}` is replaced
    max_tokens: int
    temperature: float
    top_p: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile(Value):
    """A set of prompts: one system text for all stages, one instruction a stage."""

    id: str
    name: str
    description: str
    language: str  # BCP 47, of the texts asked for
    system: str
    stages: Mapping[Stage, StagePrompt]
    hash: str  # sha256/16 of the file's bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest(Value):
    """One chat completion, ready to be sent to any endpoint of an entry."""

    stage: Stage
    messages: tuple[Mapping[str, Any], ...]  # system text, then image first and text last
    max_tokens: int
    temperature: float
    top_p: float
    presence_penalty: float | None = None  # None: not sent
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatReply(Value):
    """What an endpoint answered, before anyone has judged it."""

    text: str  # content; empty if there was none
    finish_reason: str | None
    reasoning: str | None  # a thinking trace outside the content
    refusal: str | None
    model: str  # as the server names itself
    endpoint: str  # base URL that answered
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    cached_tokens: int | None = None  # of the prompt's, how many the server had from before, if it says so
