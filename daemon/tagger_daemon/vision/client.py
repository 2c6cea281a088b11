"""One endpoint of one registry entry: ask it, and tell plainly what went wrong.

An answer that is none becomes an exception here; whether an answer is any good is for the readers of replies
to say. Nothing that is sent or received is logged, and the key appears in no message.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI
from pydantic import ValidationError

from tagger_daemon.errors import (
    ConfigurationError,
    ReplyMalformed,
    ReplyTimeout,
    ServerFailed,
    ServerMisconfigured,
    ServerUnavailable,
    TaggerError,
)
from tagger_daemon.vision.body import chat_json, pictures_of, texts_of
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.dialects import COMMON_LISTING, DIALECTS, Dialect
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Place
from tagger_daemon.vision.failures import failure
from tagger_daemon.vision.keys import tells_key, without_keys
from tagger_daemon.vision.network import Resolver, Route, Transport, cleared_up, resolve
from tagger_daemon.vision.wire import Usage, called, listed, one_line, read_completion

#: Seconds that a look at a server's health may take.
PROBE_SECONDS: Final = 2.0

#: Seconds that an idle connection is kept. vLLM and llama-server close theirs after 5: kept as long here,
#: requests would run into connections that are just being closed.
KEEPALIVE_SECONDS: Final = 2.0

#: Longest answer that is read, bytes, unpacked: a thousand times what our token caps allow.
LONGEST_ANSWER: Final = 8 << 20

#: The header that keeps a photo's stages together, where the entry names no other.
AFFINITY_HEADER: Final = "X-Session-ID"

#: The headers that leave this machine, besides that one. The SDK would add the platform, and whatever
#: OPENAI_* variables hold.
_HEADERS: Final = frozenset(
    {"host", "connection", "accept", "accept-encoding", "content-type", "content-length"}
)

#: Ends of an answer that are none: the server stopped (vLLM says so with status 200 while it shuts down), or
#: only loaded or unloaded the model (Ollama).
_STOPPED: Final = frozenset({"abort", "load", "unload"})

#: No connection came about at all.
_NO_CONNECTION: Final = (httpx2.ConnectError, httpx2.ConnectTimeout)

#: What a connection does that the server closed just as it was used again.
_STALE: Final = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)


class _CutOff(httpx2.ConnectError):
    """The server closed a connection under a request, and no other came about."""


class _TooLong(httpx2.RequestError):
    """The answer is longer than anything that is read."""


class _Connections(httpx2.AsyncClient):
    """Connections whose answers are read whole, up to `LONGEST_ANSWER`, before anybody sees them."""

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,  # noqa: ARG002  # whoever asks for a stream gets one that has arrived
        auth: Any = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx2.USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        return await cleared_up(self._whole(request, auth=auth, follow_redirects=follow_redirects))

    async def aclose(self) -> None:
        await cleared_up(super().aclose())

    async def _whole(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        answer = await super().send(request, stream=True, **options)
        content = bytearray()
        try:
            async with aclosing(answer.aiter_bytes()) as parts:
                async for part in parts:
                    content += part
                    if len(content) > LONGEST_ANSWER:
                        raise _TooLong(f"longer than {LONGEST_ANSWER >> 20} MB", request=request)
        finally:
            await answer.aclose()
        # What is left to read is the plain content, whatever it came packed in.
        headers = [
            (name, value) for name, value in answer.headers.multi_items() if name != "content-encoding"
        ]
        return httpx2.Response(answer.status_code, headers=headers, content=bytes(content), request=request)


class ChatClient:
    """Asks one endpoint, in the dialect of its entry, over connections of its own."""

    def __init__(
        self,
        endpoint: str,
        entry: Entry,
        *,
        api_key: str | None,
        clock: Callable[[], float] = time.monotonic,
        consents: Consents | None = None,
        resolve: Resolver = resolve,
    ) -> None:
        """Prepare to ask `endpoint` (a base URL ending in /v1); nothing is sent yet.

        `consents` says which endpoints outside the private network may be asked: none, if it is not given.

        Raises:
            ConfigurationError: the key cannot be sent in an HTTP header, or the endpoint names no host.
        """
        self.endpoint = endpoint
        self.entry = entry
        self.dialect: Dialect = DIALECTS[entry.dialect]
        self._root = endpoint.removesuffix("/v1")
        self._names: tuple[str, ...] = (entry.served_model,)  # all that the server may call the model
        self._affinity = entry.affinity_header or AFFINITY_HEADER
        self._secret = _checked_key(api_key, entry)
        self._clock = clock
        self._route = Route(endpoint, entry, consents=consents or Consents(), resolve=resolve)
        self._reused = self._connections(keep=entry.limits.max)
        self._fresh = self._connections(keep=0)
        try:
            self._sdk = self._speak_through(self._reused)
            self._sdk_fresh = self._speak_through(self._fresh)
        except httpx2.InvalidURL as error:
            raise ConfigurationError(f"{endpoint} (of {entry.name!r}) cannot be asked: {error}") from error
        # With OPENAI_LOG=debug in the environment, the SDK would log requests, pictures included.
        logging.getLogger("openai").setLevel(logging.WARNING)

    @property
    def place(self) -> Place | None:
        """How what is sent is to be treated: by where the endpoint is; None before it was first found."""
        return self._route.place

    def regard_as_public(self, reason: str) -> None:
        """Treat the endpoint as public from now on, wherever it is: it passes on to somewhere else.

        Raises:
            NotConsented: and nobody has agreed that photos are sent to it; `chat` and `ready` say so too.
        """
        self._route.regard_as_public(reason)

    async def chat(self, request: ChatRequest, *, session: str) -> ChatReply:
        """Ask once, within `entry.timeouts.stage` seconds of wall clock.

        `session` names the photo to routers in front of the server, so that its stages meet the same cache;
        it leaves this machine only as a hash.

        Raises:
            ServerUnavailable: nothing answers, or the server is loading, overloaded, stopping or broken.
            ServerMisconfigured: the server answers, but not for us: key refused, model unknown or another,
                a redirect, a prompt that it cut. Or it is not where it should be.
            NotConsented: it is public, and no photos may be sent to it; which may, the pool knows.
            RequestRejected: the server refuses this very request.
            ReplyTimeout: no whole answer in time.
            ReplyMalformed: the answer is not a chat completion, or longer than `LONGEST_ANSWER`.
        """
        self._route.check_consent()
        started = self._clock()
        try:
            async with asyncio.timeout(self.entry.timeouts.stage):
                response = await self._send(chat_json(request, self.entry), session)
        except APIStatusError as error:
            # The SDK's error quotes the server, and a server may quote the key: it is not passed on.
            raise self._refusal(error.response) from None
        except APIConnectionError as error:
            broken = self._broken(error.__cause__)
            # What else it was may quote the server, and the server the key.
            raise broken from error.__cause__ if isinstance(error.__cause__, _NO_CONNECTION) else None
        except TimeoutError as error:
            raise self._too_late() from error
        reply = self._reply(response.content, self._clock() - started)
        self._check_end(reply)
        self._check_model(reply)
        self._check_prompt(reply, request)
        return reply

    async def ready(self) -> None:
        """Look whether the server is up and serves the model, within `PROBE_SECONDS`.

        Raises:
            ServerUnavailable: nothing answers, or the server says that it is not ready.
            ServerMisconfigured: it answers, but not for us: another model, key refused, no model server. Or
                it is not where it should be.
            NotConsented: it is public, and no photos may be sent to it.
        """
        async with self._probing():
            healthy = await self._look_at_health()
            await self._look_at_models(healthy)

    async def get(self, path: str) -> httpx2.Response:
        """Return a page below the server's root, whatever its status, within `PROBE_SECONDS`.

        Raises:
            ServerUnavailable: nothing answers in time.
            ServerMisconfigured: what it sends cannot be decompressed, is longer than `LONGEST_ANSWER`, or has
                our key in it: what servers say of themselves is told to people.
        """
        async with self._probing():
            return self._without_our_key(await self._page(path))

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        """Ask a page that wants to be told something in JSON, as `get` does."""
        async with self._probing():
            return self._without_our_key(await self._fresh.post(self._root + path, json=body))

    async def close(self) -> None:
        """Close all connections; the client is of no use afterwards."""
        await self._reused.aclose()
        await self._fresh.aclose()

    @property
    def _who(self) -> str:
        return f"the model server at {self.endpoint}"

    @property
    def _bearer(self) -> str:
        # Without a key of ours, the SDK would look for one in the environment.
        return self._secret or "none"

    def _connections(self, *, keep: int) -> httpx2.AsyncClient:
        timeouts = self.entry.timeouts
        limits = httpx2.Limits(
            max_connections=None,  # whoever asks keeps to `entry.limits`
            max_keepalive_connections=keep,
            keepalive_expiry=KEEPALIVE_SECONDS,
        )
        return _Connections(
            transport=Transport(self._route, url=self.endpoint, limits=limits),
            follow_redirects=False,
            trust_env=False,  # a proxy variable must not divert photos
            timeout=httpx2.Timeout(timeouts.stage, connect=timeouts.connect),
            event_hooks={"request": [self._dress]},
        )

    def _speak_through(self, connections: httpx2.AsyncClient) -> AsyncOpenAI:
        return AsyncOpenAI(
            base_url=self.endpoint,
            api_key=self._bearer,
            max_retries=0,  # retries have one place, and it is not here
            http_client=connections,
            timeout=connections.timeout,
        )

    async def _dress(self, request: httpx2.Request) -> None:
        for name in set(request.headers) - _HEADERS - {self._affinity.lower()}:
            del request.headers[name]
        request.headers["User-Agent"] = "tagger-daemon"
        request.headers["Authorization"] = f"Bearer {self._bearer}"

    async def _send(self, body: bytes, session: str) -> httpx2.Response:
        headers = {self._affinity: hashlib.sha256(session.encode(errors="surrogateescape")).hexdigest()[:32]}
        try:
            return await self._post(self._sdk, body, headers)
        except APIConnectionError as error:
            if not isinstance(error.__cause__, _STALE):
                raise
        try:
            return await self._post(self._sdk_fresh, body, headers)
        except APIConnectionError as error:
            if not isinstance(error.__cause__, httpx2.ConnectError):
                raise
            raise APIConnectionError(request=error.request) from _CutOff(str(error.__cause__))

    async def _post(self, sdk: AsyncOpenAI, body: bytes, headers: dict[str, str]) -> httpx2.Response:
        # The bare response, because the SDK builds its own types without checking what is in them.
        return await sdk.post(
            self._root + self.dialect.chat,
            cast_to=httpx2.Response,
            content=body,
            options={"headers": headers},
        )

    def _reply(self, content: bytes, seconds: float) -> ChatReply:
        try:
            completion = read_completion(content, native=self.dialect.native)
        except ValidationError as error:
            raise ReplyMalformed(f"{self._who} sent an answer that is not a chat completion") from error
        choice, usage = completion.choices[0], completion.usage or Usage()
        message = choice.message
        told = (message.content, message.reasoning, message.reasoning_content, message.refusal)
        # Answers and the model's name go into photos and the audit.
        if any(tells_key(text, self._secret) for text in (*told, completion.model, choice.finish_reason)):
            raise ReplyMalformed(f"{self._who} sent an answer with our key in it")
        if completion.remote_host:  # since it was last asked what it is; no other photo is to go there
            self.regard_as_public(f"it passes requests on to {self._harmless(completion.remote_host)}")
        return ChatReply(
            text=choice.message.content or "",
            finish_reason=choice.finish_reason,
            reasoning=choice.message.reasoning or choice.message.reasoning_content,
            refusal=choice.message.refusal,
            model=one_line(completion.model or "") or self.entry.served_model,  # goes into the photo
            endpoint=self.endpoint,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            seconds=seconds,
        )

    def _check_end(self, reply: ChatReply) -> None:
        """Refuse what a server sends when it ends by itself: it looks like an answer, and is none."""
        if reply.finish_reason in _STOPPED:
            raise ServerUnavailable(f"{self._who} stopped before the answer was whole")
        if reply.finish_reason == "error":
            raise ServerFailed(f"{self._who} failed in the middle of the answer")

    def _check_model(self, reply: ChatReply) -> None:
        """Compare who answered with who was asked, where the server takes any name."""
        if not self.dialect.checks_model and reply.model not in self._names:
            raise ServerMisconfigured(
                f"{self._who} answers as {self._harmless(reply.model)}, but {self.entry.name!r} asks for "
                f"{self.entry.served_model!r}"
            )

    def _check_prompt(self, reply: ChatReply, request: ChatRequest) -> None:
        """Refuse an answer to less than what was asked.

        The bound is one that no whole prompt falls below: tokenizers cut at blanks, so that a word is at
        least one token, and a picture is dozens. Half of the words and one for each picture leave room for
        a tokenizer that joins words. A count of 0 says nothing: old versions left out what they had cached.
        """
        if not self.dialect.cuts_prompts:
            return
        words = sum(len(text.split()) for message in request.messages for text in texts_of(message))
        pictures = sum(len(pictures_of(message)) for message in request.messages)
        told = reply.prompt_tokens
        if pictures and told and told < words // 2 + pictures:
            raise ServerMisconfigured(
                f"{self._who} dropped a part of the request: it counts {told} tokens in a picture and "
                f"{words} words; give the model a longer context (num_ctx)"
            )

    def _refusal(self, response: httpx2.Response) -> TaggerError:
        """Say what an HTTP status other than success means for the photo."""
        return failure(
            response.status_code,
            response.headers,
            response.content,
            who=self._who,
            entry=self.entry,
            key=self._secret,
        )

    def _broken(self, cause: BaseException | None) -> TaggerError:
        """Say what a broken conversation means for the photo."""
        if isinstance(cause, httpx2.ReadTimeout | httpx2.WriteTimeout):
            return self._too_late()
        if isinstance(cause, httpx2.DecodingError):
            return ReplyMalformed(f"{self._who} sent an answer that cannot be decompressed")
        if isinstance(cause, _TooLong):
            return ReplyMalformed(f"{self._who} sent an answer {cause}")
        if isinstance(cause, _STALE):
            return ServerFailed(f"{self._who} broke off the conversation: {self._cause(cause)}")
        if isinstance(cause, TaggerError):
            return cause  # no connection was wanted: see `Route`
        return ServerUnavailable(f"{self._who} cannot be reached: {self._cause(cause)}")

    def _cause(self, error: BaseException | None) -> str:
        """Return a connection's failure in a few words."""
        if isinstance(error, httpx2.ConnectTimeout):
            return "no connection in time"
        if isinstance(error, _STALE):
            return "it closed the connection without an answer"
        return self._harmless(str(error)) or "the connection failed"

    def _harmless(self, words: str) -> str:
        """Return foreign words as one line that may be told to anybody."""
        return one_line(without_keys(words, [self._secret] if self._secret else []))

    def _too_late(self) -> ReplyTimeout:
        return ReplyTimeout(f"{self._who} did not answer within {self.entry.timeouts.stage:g} s")

    @asynccontextmanager
    async def _probing(self) -> AsyncIterator[None]:
        """Give whatever is looked at inside `PROBE_SECONDS`, and word what keeps it from being seen."""
        self._route.check_consent()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                yield
        except (TimeoutError, httpx2.ReadTimeout) as error:
            raise ServerUnavailable(f"{self._who} does not answer") from error
        except httpx2.TransportError as error:
            unavailable = ServerUnavailable(f"{self._who} cannot be reached: {self._cause(error)}")
            raise unavailable from error if isinstance(error, _NO_CONNECTION) else None
        except httpx2.DecodingError:
            raise ServerMisconfigured(f"{self._who} sends answers that cannot be decompressed") from None
        except _TooLong as error:
            raise ServerMisconfigured(f"{self._who} sends answers {error}") from error

    async def _page(self, path: str) -> httpx2.Response:
        return await self._fresh.get(self._root + path)

    def _without_our_key(self, page: httpx2.Response) -> httpx2.Response:
        words = page.content.decode(errors="replace")
        try:
            spelt = json.dumps(json.loads(words), ensure_ascii=False)  # escaped in our way
        except (ValueError, RecursionError):
            spelt = words
        if tells_key(words, self._secret) or tells_key(spelt, self._secret):
            raise ServerMisconfigured(f"{self._who} sends a page with our key in it")
        return page

    async def _look_at_health(self) -> bool:
        """Tell whether a health page says that all is well; False if there is no such page."""
        path = self.entry.launch.health if self.entry.launch else self.dialect.health
        if path is None:
            return False
        response = await self._page(path)
        if response.status_code >= 500:
            raise self._refusal(response)
        return response.is_success

    async def _look_at_models(self, healthy: bool) -> None:
        """Check the server's list of models; where it gives none, `healthy` is all there is to go by."""
        listing = await self._listing() if self.dialect.names_models else ()
        if not listing and not healthy:
            raise ServerMisconfigured(f"{self._who} is no model server that we know: it lists no models")
        names = called(listing, self.entry.served_model)
        if listing and not names:
            others = self._harmless(", ".join(name for name, *_ in listing))
            raise ServerMisconfigured(
                f"{self._who} serves {others}, but {self.entry.name!r} asks for {self.entry.served_model!r}"
            )
        self._names = (self.entry.served_model, *map(one_line, names))

    async def _listing(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of what is served: from the dialect's own page, else from the common one."""
        response = await self._page(self.dialect.listing)
        if response.status_code == 404 and self.dialect.listing != COMMON_LISTING:
            response = await self._page(COMMON_LISTING)
        if response.status_code in {401, 402, 403, 408, 429} or response.status_code >= 500:
            raise self._refusal(response)
        return listed(response.content) if response.is_success else ()


def nothing_listens(error: ServerUnavailable) -> bool:
    """Tell whether no connection came about at all: refused, no such host, no route."""
    return isinstance(error.__cause__, _NO_CONNECTION)


def is_gone(error: ServerUnavailable) -> bool:
    """Tell whether a connection was refused, or no way leads to the host: what it had in hand is lost."""
    return isinstance(error.__cause__, httpx2.ConnectError)


def is_cut_off(error: ServerUnavailable) -> bool:
    """Tell whether the server went with this request in hand: it may be what it died of."""
    return isinstance(error.__cause__, _CutOff | ServerFailed)


def is_silent(error: ServerUnavailable) -> bool:
    """Tell whether nothing came back in time."""
    return isinstance(error.__cause__, TimeoutError | httpx2.TimeoutException)


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
