"""How each kind of model server is spoken to: one table, a test for each cell.

Sources: the servers' own code and documentation, and what real ones answered; docs/servers.md says which
versions were tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tagger_daemon.model import UNVERIFIABLE, Value
from tagger_daemon.vision.entry import Entry

#: Where the server tells what it is, beside the list of its models.
Identity = Literal["models", "props", "model_info", "ollama", "lmstudio"]

#: What is listed here is known to all that speak the OpenAI protocol.
COMMON_LISTING: Final = "/v1/models"

#: How long Ollama keeps a model loaded after a request. Its own 5 minutes end between two parts of an import,
#: and the next photo would wait for the weights.
KEEP_ALIVE: Final = "30m"

#: Digits of a digest that a served name has to have in it, so that they stand there by no chance.
NAMED_DIGITS: Final = 6

_NO_THINKING: Final = {"chat_template_kwargs": {"enable_thinking": False}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect(Value):
    """What one kind of server understands. Paths are below the server's root, not below /v1."""

    name: str
    cap: Literal["max_tokens", "max_completion_tokens", "options.num_predict"] = "max_tokens"
    thinking_off: Mapping[str, Any] = field(default_factory=dict)  # what a request says to have no trace
    json_schema: bool = True  # understands `response_format` with a schema
    presence_penalty: bool = True  # knows it; False: refuses a request that has it
    health: str | None = None  # page that costs nothing; None: there is none, or it runs a completion
    listing: str = COMMON_LISTING  # where it lists what it serves; if missing, the common page counts
    identity: Identity = "models"  # how it tells more than names
    names_models: bool = True  # its list holds the names that it may be asked for
    checks_model: bool = True  # refuses a model that it does not serve; False: compare what it answers with
    native: bool = False  # spoken to over an interface of its own, /api/chat
    cuts_prompts: bool = False  # may drop of a prompt what does not fit, and answer all the same
    digests: bool = False  # tells the digest of what it serves
    talks: bool = True  # answers questions without a picture too

    @property
    def chat(self) -> str:
        """The page that is asked."""
        return "/api/chat" if self.native else "/v1/chat/completions"


DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect(name="vllm", thinking_off=_NO_THINKING, health="/health"),
        Dialect(name="lmdeploy", thinking_off=_NO_THINKING, health="/health"),
        Dialect(
            name="llama-server",
            thinking_off=_NO_THINKING,
            health="/health",
            identity="props",
            checks_model=False,
        ),
        Dialect(
            name="sglang",
            thinking_off=_NO_THINKING,
            health="/health",
            identity="model_info",
            checks_model=False,
        ),
        Dialect(
            name="ollama",
            cap="options.num_predict",
            thinking_off={"think": False},
            listing="/api/tags",
            identity="ollama",
            native=True,
            cuts_prompts=True,
            digests=True,
        ),
        Dialect(
            name="ollama-v1",
            thinking_off={"reasoning_effort": "none"},
            listing="/api/tags",
            identity="ollama",
            cuts_prompts=True,
            digests=True,
        ),
        Dialect(name="lmstudio", listing="/api/v1/models", identity="lmstudio"),
        Dialect(name="openai", cap="max_completion_tokens"),
        Dialect(name="compatible"),
        Dialect(name="litellm", health="/health/readiness"),
        Dialect(
            name="transformers",
            json_schema=False,
            presence_penalty=False,
            health="/health",
            names_models=False,
        ),
        Dialect(name="builtin", health="/health", talks=False),
    )
}

#: Backends whose name is not their dialect's; what is in neither is a compatible server.
BACKENDS: Final = {"gguf": "llama-server", "llamacpp": "llama-server", "llama.cpp": "llama-server"}


def dialect_of(backend: str) -> str:
    """Return the dialect of a backend for which the registry names none."""
    backend = backend.lower()
    return backend if backend in DIALECTS else BACKENDS.get(backend, "compatible")


def confirmed_digest(entry: Entry) -> str:
    """Return the digest that is known to be served, or `UNVERIFIABLE`.

    A digest of the registry counts where the server tells its own, or where it is part of the served name:
    a server of other files would list another name.
    """
    if entry.digest is None:
        return UNVERIFIABLE
    dialect = DIALECTS[entry.dialect]
    beginning = entry.digest.removeprefix("sha256:")[:NAMED_DIGITS]
    named = dialect.names_models and len(beginning) == NAMED_DIGITS and beginning in entry.served_model
    return entry.digest if dialect.digests or named else UNVERIFIABLE
