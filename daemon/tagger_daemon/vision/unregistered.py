"""Models that are named without a registry: what is said of them in a few words becomes an entry.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.vision.dialects import BACKENDS, DIALECTS, dialect_of
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.problems import nearest
from tagger_daemon.vision.registry import endpoint_url

#: The kind of server where none is said, as in ImageWorks.
DEFAULT_BACKEND: Final = "vllm"

#: Where servers listen by their own defaults.
PORTS: Final[Mapping[str, int]] = {
    "vllm": 8000,
    "lmdeploy": 23333,
    "sglang": 30000,
    "ollama": 11434,
    "ollama-v1": 11434,
    "llama-server": 8080,
    "lmstudio": 1234,
    "litellm": 4000,
    "transformers": 8000,
}


def unregistered(*, backend: str, base_url: str, model: str, key: str | None) -> Entry:
    """Return the entry of a model that is named without a registry.

    Args:
        backend: kind of the server; "" for vLLM.
        base_url: where it answers; "" for where it does by its own default.
        model: the name that it knows the model by.
        key: name under which its key is kept; None: it needs none.

    Raises:
        ConfigurationError: there is no such backend, its address has to be said, or is none.
    """
    backend = backend.lower() or DEFAULT_BACKEND
    if backend not in DIALECTS and backend not in BACKENDS:
        raise ConfigurationError(
            f"there is no backend {backend!r}{nearest(backend, {*DIALECTS, *BACKENDS} - {'builtin'})}"
        )
    dialect = dialect_of(backend)
    if not base_url:
        if dialect not in PORTS:
            raise ConfigurationError(
                f"{backend} has no address of its own: say where it answers, as base_url (--base-url)"
            )
        base_url = f"http://127.0.0.1:{PORTS[dialect]}/v1"
    try:
        url = endpoint_url(base_url)
    except ValueError as error:
        # It is not repeated: a key or a password could be part of it.
        raise ConfigurationError(f"base_url: {error}") from None
    if not model.isprintable():
        raise ConfigurationError("model: must not contain control characters")
    return Entry(
        name=model,
        backend=backend,
        served_model=model,
        dialect=dialect,
        vision=True,
        endpoints=(url,),
        api_key_env=key,
    )
