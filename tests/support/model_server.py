"""A scripted OpenAI-compatible model server for tests.

It speaks real HTTP/1.1 with keep-alive on a loopback port, remembers every request, and does what a test
tells it to: answer, fail, hang, drop the line, or send garbage. Unscripted, it gives each stage an answer
that carries a short hash of the picture, so that a test sees that an answer belongs to the right photo.

    with ModelServer() as server:
        server.script("caption", Fail(503), Say("A pier."))
        ...                                          # talk to server.base_url
        assert len(server.chat_requests) == 2

It looks like vLLM, or like another kind of server: `ModelServer(dialect="ollama")`. The canary's pictures it
looks at with its `eyes`, at once and whatever is scripted, held or delayed; they count among no others. Nor
does the question without a picture, to which it says its `word`.

As a process of its own, for tests that kill things:

    python -m support.model_server --port 8000 --log asked.jsonl
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import socketserver
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.chat_wire import (
    Drop,
    Fail,
    Garbage,
    Hang,
    Recorded,
    Reply,
    Say,
    Usage,
    answer,
    as_asked,
    completion,
    error_body,
    image_bytes,
    log_line,
    native_chat,
    prompt_of,
    said_by,
    stage_of,
    system_text,
    text,
)
from support.eyes import Eyes, seeing
from support.server_faces import CHAT_PATHS, FACES, NATIVE_CHAT, Serving, answers_as, refusal
from tagger_daemon.vision.canary import CANARY
from tagger_daemon.vision.smalltalk import QUESTION

__all__ = [
    "DEFAULT_MODEL",
    "Drop",
    "Fail",
    "Garbage",
    "Hang",
    "ModelServer",
    "Recorded",
    "Reply",
    "Say",
    "answer",
    "error_body",
    "image_bytes",
    "stage_of",
    "system_text",
    "text",
]

DEFAULT_MODEL = "test-vlm"

#: Stages of requests that are about nobody's photo.
ASIDE = frozenset({"canary", "smalltalk"})


class ModelServer:
    """Serve on 127.0.0.1 while the `with` block lasts. Every method may be called from any thread."""

    image_bytes = staticmethod(image_bytes)
    text = staticmethod(text)
    system_text = staticmethod(system_text)

    def __init__(
        self,
        *,
        port: int = 0,
        models: Sequence[str] = (DEFAULT_MODEL,),
        dialect: str = "vllm",
        slots: int | None = None,
        max_queued: int | None = None,
        stage_of: Callable[[str], str] = stage_of,
        log: Path | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            port: on 127.0.0.1; 0 takes a free one.
            models: served names; what becomes of a chat request for any other depends on the dialect.
            dialect: the kind of server that it looks like: a name in `server_faces.FACES`.
            slots: chat requests that are worked on at once, the others wait; None: all.
            max_queued: chat requests that may wait, the next is refused; None: any number.
            stage_of: tells the stage from the text of the user's messages.
            log: gets a JSON line (`chat_wire.log_line`) for each chat request's arrival and answer.
        """
        self.port = port
        self.models = tuple(models)
        self.delay = 0.0  # seconds before each chat answer
        self.health_status = 200
        self.models_status = 200
        self.statuses: dict[str, int] = {}  # path -> status of other pages, where it is not 200
        self.eyes: Eyes = seeing  # what it says of the canary's pictures
        self.word: Say | Fail | Drop | Garbage = Say("Yes.")  # what it says to a question without a picture
        self.card: dict[str, Any] = {}  # what its list of models tells of each, beside the name
        self.max_in_flight = 0  # the most chat requests that were ever under way at once
        self.dialect = dialect
        self.face = FACES[dialect]
        self.slots = slots
        self.max_queued = max_queued
        self.retry_after: int | None = None  # seconds, said to those who find the queue full
        self.max_working = 0  # the most chat requests that were ever worked on at once
        self.refused = 0  # chat requests that found the queue full
        self.tells_cached = self.face.tells_cached  # says in `usage` what it had cached
        self.context = 8192  # tokens of one request, as its pages tell
        self.vision = True  # as its pages tell
        self.pages: dict[str, Any] = {}  # bodies that stand in for the dialect's, by path
        self.requests_a_connection: int | None = None  # after which it hangs up, without saying so
        self.prompt_tokens = 0  # of all answered chat requests
        self.cached_tokens = 0  # of these, how many a prefix cache would have had
        self._stage_of = stage_of
        self._log = log
        self._changed = threading.Condition()  # guards everything below
        self._requests: list[Recorded] = []
        self._scripts: defaultdict[str | None, deque[Reply]] = defaultdict(deque)
        self._in_flight = 0
        self._working = 0
        self._queued = 0
        self._cache: set[int] = set()  # beginnings of prompts that were answered
        self._held = False
        self._releases = 0
        self._listener: _Listener | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def root_url(self) -> str:
        """The address under which `/health` stands."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The address to give to a client, ending in /v1."""
        return f"{self.root_url}/v1"

    @property
    def requests(self) -> list[Recorded]:
        """Every request so far, in the order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def chat_requests(self) -> list[Recorded]:
        """The chat requests about photos so far, in the order of arrival."""
        return [request for request in self.requests if self._is_photo(request)]

    @property
    def canary_requests(self) -> list[Recorded]:
        """The canary's requests so far, in the order of arrival."""
        return [request for request in self.requests if request.stage == "canary"]

    @property
    def smalltalk(self) -> list[Recorded]:
        """The questions without a picture so far, in the order of arrival."""
        return [request for request in self.requests if request.stage == "smalltalk"]

    def script(self, stage: str | None, *replies: Reply) -> None:
        """Queue one-shot replies for a stage, or, with None, for whatever comes next."""
        with self._changed:
            self._scripts[stage].extend(replies)

    def hold(self) -> None:
        """Keep every chat request waiting from now on."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Let all held and hanging requests go on."""
        with self._changed:
            self._held = False
            self._releases += 1
            self._changed.notify_all()

    def wait_for(self, count: int, timeout: float = 10) -> None:
        """Block until `count` chat requests in all have arrived.

        Raises:
            TimeoutError: they have not, after `timeout` seconds.
        """
        self._wait(lambda: sum(map(self._is_photo, self._requests)), count, timeout, "arrived")

    def wait_until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        """Block until a condition holds that only requests bring about.

        Raises:
            TimeoutError: it does not, after `timeout` seconds.
        """
        self._wait(lambda: int(condition()), 1, timeout, "brought it about")

    def wait_in_flight(self, count: int, timeout: float = 10) -> None:
        """Block until at least `count` chat requests are under way at once.

        Raises:
            TimeoutError: they are not, after `timeout` seconds.
        """
        self._wait(lambda: self._in_flight, count, timeout, "were in flight")

    @property
    def listening(self) -> bool:
        """Whether it is up."""
        with self._changed:
            return self._listener is not None

    def up(self) -> None:
        """Listen, on the same port as before where there was one."""
        self._listener = _Listener(("127.0.0.1", self.port), self)
        self.port = self._listener.server_address[1]
        self._listener.start()

    def down(self) -> None:
        """Stop listening and cut every connection, as a server that dies would."""
        with self._changed:
            listener, self._listener = self._listener, None
            self._changed.notify_all()
        if listener is not None:
            listener.stop()

    def refuse_connections(self) -> None:
        """Listen no more, and keep those who are connected waiting, as llama-server does on SIGTERM."""
        with self._changed:
            self._held = True
            listener = self._listener
        assert listener is not None
        listener.close_door()

    def record(self, path: str, method: str, headers: Mapping[str, str], body: bytes) -> int:
        """Note a request that has arrived, and return its number."""
        content = _json_object(body)
        is_chat = self._is_chat(method, path)
        asked = said_by("user", content)
        aside = "canary" if CANARY in asked else "smalltalk" if QUESTION in asked else None
        now = time.monotonic()
        request = Recorded(
            path=path,
            method=method,
            headers=headers,
            body=body,
            json=content,
            stage=self._stage_of(asked) if is_chat and content is not None else None,
            started=now,
            finished=None if is_chat and aside is None else now,
        )
        if is_chat and aside is not None:
            request = replace(request, stage=aside)
        with self._changed:
            self._requests.append(request)
            number = len(self._requests) - 1
            if self._is_photo(request):
                self._in_flight += 1
                self.max_in_flight = max(self.max_in_flight, self._in_flight)
                self._write_log("arrived", number)
            self._changed.notify_all()
            return number

    def reply_to(self, number: int, listener: object) -> Fail | Drop | Garbage:
        """Wait for as long as a chat request has to; then count it as done, and return what goes out."""

        def gone() -> bool:
            return self._listener is not listener

        with self._changed:
            request = self._requests[number]
        if request.stage in ASIDE:
            seen = self._seen(request) if request.stage == "canary" else self._heard(request)
            with self._changed:
                return self._worded(seen, request) if isinstance(seen, Say) else seen
        with self._changed:
            reply = self._worked_on(number, gone)
            request = replace(self._requests[number], finished=time.monotonic())
            self._requests[number] = request
            sent = self._worded(reply, request) if isinstance(reply, Say) else reply
            # Before the answer leaves: a client that asks again at once must not look like two at a time.
            self._in_flight -= 1
            self._write_log("answered", number)
            self._changed.notify_all()
            return sent

    def page(self, path: str) -> tuple[int, Any]:
        """Return the status and the body of a page that costs nothing."""
        serving = Serving(models=self.models, context=self.context, slots=self.slots or 1, vision=self.vision)
        pages = {**self.face.pages(serving), **self.pages}
        path = path.partition("?")[0]
        if path not in pages:
            return 404, self.error("Not Found", 404)
        if path == self.face.health:
            return self.health_status, pages[path]
        body = pages[path]
        if path == "/v1/models" and self.card:
            body = {**body, "data": [{**model, **self.card} for model in body["data"]]}
        usual = self.models_status if path == self.face.listing else 200
        return self.statuses.get(path, usual), body

    def error(self, message: str, status: int) -> Any:
        """Return an error body in the dialect's shape."""
        return error_body(self.face.errors, message, status)

    def _is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path in self.face.chats

    def _is_photo(self, request: Recorded) -> bool:
        return self._is_chat(request.method, request.path) and request.stage not in ASIDE

    def _worked_on(self, number: int, gone: Callable[[], bool]) -> Say | Fail | Drop | Garbage:
        """Wait for a slot, and then for as long as the reply takes."""
        full = self.slots is not None and self._working >= self.slots
        if full and self.max_queued is not None and self._queued >= self.max_queued:
            self.refused += 1
            headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            status = self.face.overloaded
            return Fail(status, self.error("The queue is full.", status), headers)
        self._queued += 1
        self._changed.wait_for(lambda: self.slots is None or self._working < self.slots or gone())
        self._queued -= 1
        self._working += 1
        self.max_working = max(self.max_working, self._working)
        reply = self._wait_out(self._next_reply(self._requests[number]), number, gone)
        self._working -= 1
        return reply

    def _worded(self, said: Say, request: Recorded) -> Garbage:
        """Return an answer in the dialect's words, its prompt counted as a prefix cache would."""
        asked = (request.json or {}).get("model")
        model = said.model or answers_as(self.face, asked, self.models)
        usage = self._count(said, request)
        if request.path == NATIVE_CHAT:
            body = native_chat(said, usage, model=model)
        else:
            body = completion(
                said, request, usage, created=time.time(), reasoning=self.face.reasoning, model=model
            )
        return Garbage(json.dumps(body).encode())

    def _count(self, said: Say, request: Recorded) -> Usage:
        beginning, prompt, cached = 0, 0, 0
        for piece, tokens in prompt_of(request):
            beginning = hash((beginning, piece))
            prompt += tokens
            if beginning in self._cache:
                cached = prompt
            self._cache.add(beginning)
        cached = min(cached, max(prompt - 1, 0))  # the last token is always worked out anew
        self.prompt_tokens += prompt
        self.cached_tokens += cached
        return Usage(
            prompt=prompt if said.prompt_tokens is None else said.prompt_tokens,
            cached=cached if self.tells_cached else None,
            told=len((said.text or "").split()),
        )

    def _wait_out(self, reply: Reply, number: int, gone: Callable[[], bool]) -> Say | Fail | Drop | Garbage:
        seen = self._releases
        self._changed.wait_for(gone, self.delay)
        self._changed.wait_for(lambda: not self._held or gone())
        if isinstance(reply, Hang):
            self._changed.wait_for(lambda: self._releases > seen or gone())
            reply = self._usual_reply(self._requests[number])
        return Drop() if gone() else reply

    def _next_reply(self, request: Recorded) -> Reply:
        for queue in (self._scripts[request.stage], self._scripts[None]):
            if queue:
                return queue.popleft()
        return self._usual_reply(request)

    def _usual_reply(self, request: Recorded) -> Say | Fail:
        refused = refusal(self.face, request, self.models)
        if refused is not None:
            return refused
        assert request.stage is not None  # as the body is a JSON object
        return Say(answer(request.stage, image_bytes(request)))

    def _seen(self, request: Recorded) -> Say | Fail | Drop | Garbage:
        if (request.json or {}).get("model") not in self.models:
            return self._usual_reply(request)
        said = self.eyes(image_bytes(request))
        return as_asked(said, request) if isinstance(said, Say) else said

    def _heard(self, request: Recorded) -> Say | Fail | Drop | Garbage:
        return refusal(self.face, request, self.models) or self.word

    def _wait(self, number: Callable[[], int], count: int, timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: number() >= count, timeout):
                raise TimeoutError(f"{number()} of {count} chat requests {what} within {timeout} s")

    def _write_log(self, event: str, number: int) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(log_line(event, number, self._requests[number], at=time.time()))


class _Listener(socketserver.ThreadingTCPServer):
    """The listening socket and the connections it took, so that all can be cut at once."""

    allow_reuse_address = True
    daemon_threads = False  # closing the listener waits for its threads: none outlives a test
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="model-server")
        super().__init__(address, _Handler)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        with self._guard:
            for connection in self._connections:
                _cut(connection)
        self.server_close()

    def close_door(self) -> None:
        self.shutdown()
        self._thread.join()
        self.socket.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(
            sys.exception(), ConnectionError
        ):  # a client that does not wait is no fault of ours
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    served = 0  # requests over this connection

    def do_GET(self) -> None:
        self._record()
        self._send(*self.server.owner.page(self.path))

    def do_POST(self) -> None:
        owner = self.server.owner
        number = self._record()
        if self.path not in owner.face.chats:
            # Ollama's /api/show; everything else is asked for by GET.
            shown = self.path not in CHAT_PATHS and self.path.startswith("/api/")
            self._send(*(owner.page(self.path) if shown else (404, owner.error("Not Found", 404))))
            return
        match owner.reply_to(number, self.server):
            case Fail(status, body, headers):
                shown = owner.error(HTTPStatus(status).phrase, status) if body is None else body
                self._send(status, shown, headers)
                if status == 500 and owner.face.hangs_up_after_500:
                    self.close_connection = True
            case Garbage(body):
                self._send(200, body)
            case Drop():
                self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Say nothing: the record is what tests look at."""

    def _record(self) -> int:
        self.served += 1
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        return self.server.owner.record(self.path, self.command, headers, body)

    def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        most = self.server.owner.requests_a_connection
        if most is not None and self.served >= most:
            self.close_connection = True


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the first line on standard output says where."""
    parser = argparse.ArgumentParser(
        prog="python -m support.model_server", description="A scripted model server."
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument(
        "--log", type=Path, help="append a JSON line when a chat request arrives or is answered"
    )
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each chat answer")
    parser.add_argument("--dialect", default="vllm", choices=FACES, help="the kind of server; default vllm")
    parser.add_argument("--model", action="append", help=f"served name, repeatable; default {DEFAULT_MODEL}")
    options = parser.parse_args(arguments)

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with ModelServer(
        port=options.port,
        models=options.model or (DEFAULT_MODEL,),
        dialect=options.dialect,
        log=options.log,
    ) as server:
        server.delay = options.delay
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
