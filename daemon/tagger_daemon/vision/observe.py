"""Asks one endpoint what it is, in the ways of its kind of server."""

from __future__ import annotations

from typing import Final

import httpx2

from tagger_daemon.errors import ServerUnavailable
from tagger_daemon.vision import pages
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.dialects import DIALECTS
from tagger_daemon.vision.identity import Observation

#: What a page answers, beside a server's failures, that will be there in a moment.
_LATER: Final = frozenset({408, 429})

#: What a server answers for a page that it has, and has switched off (llama-server).
_SWITCHED_OFF: Final = 501


async def observe(client: ChatClient) -> Observation:
    """Return what the endpoint shows of the model that the client's entry asks for.

    A page that it does not have tells nothing. No request of this runs the model.

    Raises:
        ServerUnavailable: nothing answers, or not now.
    """
    wanted = client.entry.served_model
    dialect = DIALECTS[client.entry.dialect]
    if dialect.identity == "ollama":
        seen = pages.from_ollama(
            _body(await client.get("/api/tags"), client),
            _body(await client.post("/api/show", {"model": wanted}), client),
            _body(await client.get("/api/ps"), client),
            wanted=wanted,
        )
        return seen.filled(pages.from_version(_body(await client.get("/api/version"), client)))
    if dialect.identity == "lmstudio":
        return pages.from_lmstudio(_body(await client.get("/api/v1/models"), client), wanted=wanted)
    is_vllm = dialect.name == "vllm"
    listed = pages.from_models(_body(await client.get("/v1/models"), client), wanted=wanted, rooted=is_vllm)
    if is_vllm:
        return listed.filled(pages.from_version(_body(await client.get("/version"), client)))
    if dialect.identity == "props":
        return pages.from_props(_body(await client.get("/props"), client)).filled(listed)
    if dialect.identity == "model_info":
        return pages.from_model_info(_body(await client.get("/model_info"), client)).filled(listed)
    return listed


def _body(response: httpx2.Response, client: ChatClient) -> bytes:
    """Return a page's body; empty where there is no such page for us."""
    failed = response.status_code >= 500 and response.status_code != _SWITCHED_OFF
    if failed or response.status_code in _LATER:
        raise ServerUnavailable(
            f"the model server at {client.endpoint} cannot tell now what it is ({response.status_code})"
        )
    return response.content if response.is_success else b""
