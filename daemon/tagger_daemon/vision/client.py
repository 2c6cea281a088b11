"""One endpoint of one registry entry: ask it, and tell plainly what went wrong.

An answer that is none becomes an exception here; whether an answer is any good is for the readers of replies
to say. Nothing that is sent or received is logged, and the key appears in no message.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI
from pydantic import ValidationError

from tagger_daemon.errors import (
    ConfigurationError,
    ReplyMalformed,
    ReplyTimeout,
    RequestRejected,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry
from tagger_daemon.vision.wire import Completion, Usage, listed, one_line, server_words, serves

#: Seconds that a look at a server's health may take.
PROBE_SECONDS: Final = 2.0

#: Seconds that an idle connection is kept. vLLM and llama-server close theirs after 5: kept as long here,
#: requests would run into connections that are just being closed.
KEEPALIVE_SECONDS: Final = 2.0

#: Backends with a health page that costs nothing. Gateways may run a completion for each look at theirs.
_HEALTH_PAGE: Final = frozenset({"vllm", "lmdeploy", "llama-server", "sglang", "builtin"})

#: The headers that leave this machine. The SDK would add the platform, and whatever OPENAI_* variables hold.
_HEADERS: Final = frozenset(
    {"host", "connection", "accept", "accept-encoding", "content-type", "content-length", "x-session-id"}
)

#: What a connection does that the server closed just as it was used again.
_STALE: Final = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)


class ChatClient:
    """Asks one endpoint, over connections of its own."""

    def __init__(
        self,
        endpoint: str,
        entry: Entry,
        *,
        api_key: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to ask `endpoint` (a base URL ending in /v1); nothing is sent yet.

        Raises:
            ConfigurationError: the key cannot be sent in an HTTP header, or the endpoint names no host.
        """
        self._endpoint = endpoint
        self._entry = entry
        self._secret = _checked_key(api_key, entry)
        self._clock = clock
        self._reused = self._connections(keep=entry.limits.max)
        self._fresh = self._connections(keep=0)
        try:
            self._sdk = self._speak_through(self._reused)
            self._sdk_fresh = self._speak_through(self._fresh)
        except httpx2.InvalidURL as error:
            raise ConfigurationError(f"{endpoint} (of {entry.name!r}) cannot be asked: {error}") from error

    async def chat(self, request: ChatRequest, *, session: str) -> ChatReply:
        """Ask once, within `entry.timeouts.stage` seconds of wall clock.

        `session` names the photo to routers in front of the server, so that its stages meet the same cache;
        it leaves this machine only as a hash.

        Raises:
            ServerUnavailable: nothing answers, or the server is loading, overloaded or broken.
            ServerMisconfigured: the server answers, but not for us: key refused, model unknown, a redirect.
            RequestRejected: the server refuses this very request.
            ReplyTimeout: no whole answer in time.
            ReplyMalformed: the answer is not a chat completion.
        """
        started = self._clock()
        try:
            async with asyncio.timeout(self._entry.timeouts.stage):
                response = await self._send(self._body(request), session)
        except APIStatusError as error:
            # The SDK's error quotes the server, and a server may quote the key: it is not passed on.
            raise self._refusal(error.status_code, error.response.content) from None
        except APIConnectionError as error:
            raise self._broken(error.__cause__) from error.__cause__
        except TimeoutError as error:
            raise self._too_late() from error
        return self._reply(response.content, self._clock() - started)

    async def ready(self) -> None:
        """Look whether the server is up and serves the model, within `PROBE_SECONDS`.

        Raises:
            ServerUnavailable: nothing answers, or the server says that it is not ready.
            ServerMisconfigured: it answers, but not for us: another model, key refused, no model server.
        """
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                healthy = await self._look_at_health()
                await self._look_at_models(healthy)
        except (TimeoutError, httpx2.ReadTimeout) as error:
            raise ServerUnavailable(f"{self._who} does not answer") from error
        except httpx2.TransportError as error:
            raise ServerUnavailable(f"{self._who} cannot be reached: {_cause(error)}") from error
        except httpx2.DecodingError as error:
            raise ServerMisconfigured(f"{self._who} sends answers that cannot be decompressed") from error

    async def close(self) -> None:
        """Close all connections; the client is of no use afterwards."""
        await self._reused.aclose()
        await self._fresh.aclose()

    @property
    def _who(self) -> str:
        return f"the model server at {self._endpoint}"

    @property
    def _bearer(self) -> str:
        # Without a key of ours, the SDK would look for one in the environment.
        return self._secret or "none"

    def _connections(self, *, keep: int) -> httpx2.AsyncClient:
        timeouts = self._entry.timeouts
        return httpx2.AsyncClient(
            follow_redirects=False,
            trust_env=False,  # a proxy variable must not divert photos
            timeout=httpx2.Timeout(timeouts.stage, connect=timeouts.connect),
            limits=httpx2.Limits(
                max_connections=None,  # whoever asks keeps to `entry.limits`
                max_keepalive_connections=keep,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            event_hooks={"request": [self._dress]},
        )

    def _speak_through(self, connections: httpx2.AsyncClient) -> AsyncOpenAI:
        return AsyncOpenAI(
            base_url=self._endpoint,
            api_key=self._bearer,
            max_retries=0,  # retries have one place, and it is not here
            http_client=connections,
            timeout=connections.timeout,
        )

    async def _dress(self, request: httpx2.Request) -> None:
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        request.headers["User-Agent"] = "tagger-daemon"
        request.headers["Authorization"] = f"Bearer {self._bearer}"

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        # Ollama drops `max_completion_tokens` without a word, and OpenAI's newer models refuse `max_tokens`.
        cap = "max_completion_tokens" if self._entry.backend == "openai" else "max_tokens"
        body: dict[str, Any] = {
            "model": self._entry.served_model,
            "messages": request.messages,
            cap: request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
        }
        if request.presence_penalty is not None:
            body["presence_penalty"] = request.presence_penalty
        if request.response_format is not None:
            body["response_format"] = request.response_format
        return body | dict(self._entry.extra_body)

    async def _send(self, body: dict[str, Any], session: str) -> httpx2.Response:
        headers = {"X-Session-ID": hashlib.sha256(session.encode(errors="surrogateescape")).hexdigest()[:32]}
        try:
            return await self._post(self._sdk, body, headers)
        except APIConnectionError as error:
            if not isinstance(error.__cause__, _STALE):
                raise
        return await self._post(self._sdk_fresh, body, headers)

    async def _post(self, sdk: AsyncOpenAI, body: dict[str, Any], headers: dict[str, str]) -> httpx2.Response:
        # The bare response, because the SDK builds its own types without checking what is in them.
        return await sdk.post(
            "/chat/completions", cast_to=httpx2.Response, body=body, options={"headers": headers}
        )

    def _reply(self, content: bytes, seconds: float) -> ChatReply:
        try:
            completion = Completion.model_validate_json(content)
        except ValidationError as error:
            raise ReplyMalformed(f"{self._who} sent an answer that is not a chat completion") from error
        choice, usage = completion.choices[0], completion.usage or Usage()
        return ChatReply(
            text=choice.message.content or "",
            finish_reason=choice.finish_reason,
            reasoning=choice.message.reasoning or choice.message.reasoning_content,
            refusal=choice.message.refusal,
            model=one_line(completion.model or "") or self._entry.served_model,  # goes into the photo
            endpoint=self._endpoint,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            seconds=seconds,
        )

    def _refusal(self, status: int, content: bytes) -> TaggerError:
        """Say what an HTTP status other than success means for the photo."""
        words = server_words(content)
        if self._secret:
            words = words.replace(self._secret, "[key]")
        words = one_line(words)
        said = f" ({status}{': ' if words else ''}{words})"
        if 300 <= status < 400:
            return ServerMisconfigured(
                f"{self._who} redirects elsewhere{said}; give the address it leads to in the registry"
            )
        if status in {401, 402, 403}:
            return ServerMisconfigured(f"{self._who} refuses our key{said}; {self._key_advice}")
        if status in {404, 405, 410}:
            return ServerMisconfigured(
                f"{self._who} does not know the model {self._entry.served_model!r}{said}"
            )
        if status == 500:
            return ServerFailed(f"{self._who} failed on the request{said}")
        if status in {408, 429} or status > 500:
            return ServerUnavailable(f"{self._who} cannot answer now{said}")
        return RequestRejected(f"{self._who} refuses the request{said}")

    def _broken(self, cause: BaseException | None) -> TaggerError:
        """Say what a broken conversation means for the photo."""
        if isinstance(cause, httpx2.ReadTimeout | httpx2.WriteTimeout):
            return self._too_late()
        if isinstance(cause, httpx2.DecodingError):
            return ReplyMalformed(f"{self._who} sent an answer that cannot be decompressed")
        if isinstance(cause, _STALE):
            return ServerFailed(f"{self._who} broke off the conversation: {_cause(cause)}")
        return ServerUnavailable(f"{self._who} cannot be reached: {_cause(cause)}")

    def _too_late(self) -> ReplyTimeout:
        return ReplyTimeout(f"{self._who} did not answer within {self._entry.timeouts.stage:g} s")

    @property
    def _key_advice(self) -> str:
        variable = self._entry.api_key_env
        return f"check {variable}" if variable else f"name its key in api_key_env of {self._entry.name!r}"

    async def _look_at_health(self) -> bool:
        """Tell whether a health page says that all is well; False if there is no such page."""
        launch = self._entry.launch
        if launch is None and self._entry.backend not in _HEALTH_PAGE:
            return False
        path = launch.health if launch else "/health"
        response = await self._fresh.get(self._endpoint.removesuffix("/v1") + path)
        if response.status_code >= 500:
            raise self._refusal(response.status_code, response.content)
        return response.is_success

    async def _look_at_models(self, healthy: bool) -> None:
        """Check the server's list of models; where it gives none, `healthy` is all there is to go by."""
        response = await self._fresh.get(self._endpoint + "/models")
        if response.status_code in {401, 402, 403, 408, 429} or response.status_code >= 500:
            raise self._refusal(response.status_code, response.content)
        served = listed(response.content) if response.is_success else ()
        if not served and not healthy:
            raise ServerMisconfigured(f"{self._who} is no model server that we know: it lists no models")
        if served and not serves(served, self._entry.served_model):
            names = one_line(", ".join(served))
            raise ServerMisconfigured(
                f"{self._who} serves {names}, but {self._entry.name!r} asks for {self._entry.served_model!r}"
            )


def nothing_listens(error: ServerUnavailable) -> bool:
    """Tell whether no connection came about at all: refused, no such host, no route."""
    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)


def _checked_key(api_key: str | None, entry: Entry) -> str | None:
    """Return the key if it can be sent."""
    if api_key is None:
        return None
    # HTTP libraries quote a header that they cannot send, so a bad key must not get that far.
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigurationError(
            f"the key of {entry.name!r} (in {entry.api_key_env}) is empty, or has blanks or line breaks in it"
        )
    return api_key


def _cause(error: BaseException | None) -> str:
    """Return a connection's failure in a few words."""
    if isinstance(error, httpx2.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, _STALE):
        return "it closed the connection without an answer"
    return one_line(str(error)) or "the connection failed"
