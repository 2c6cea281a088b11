"""A scripted OpenAI-compatible model server for tests.

It speaks real HTTP/1.1 with keep-alive on a loopback port, remembers every request, and does what a test
tells it to: answer, fail, hang, drop the line, or send garbage. Unscripted, it gives each stage an answer
that carries a short hash of the picture, so that a test sees that an answer belongs to the right photo.

    with ModelServer() as server:
        server.script("caption", Fail(503), Say("A pier."))
        ...                                          # talk to server.base_url
        assert len(server.chat_requests) == 2

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
    answer,
    completion,
    error_body,
    image_bytes,
    log_line,
    said_by,
    stage_of,
    system_text,
    text,
)

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

CHAT_PATH = "/v1/chat/completions"
DEFAULT_MODEL = "test-vlm"


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
        stage_of: Callable[[str], str] = stage_of,
        log: Path | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            port: on 127.0.0.1; 0 takes a free one.
            models: served names; a chat request for any other is answered 404.
            stage_of: tells the stage from the text of the user's messages.
            log: gets a JSON line (`chat_wire.log_line`) for each chat request's arrival and answer.
        """
        self.port = port
        self.models = tuple(models)
        self.delay = 0.0  # seconds before each chat answer
        self.health_status = 200
        self.models_status = 200
        self.max_in_flight = 0  # the most chat requests that were ever under way at once
        self._stage_of = stage_of
        self._log = log
        self._changed = threading.Condition()  # guards everything below
        self._requests: list[Recorded] = []
        self._scripts: defaultdict[str | None, deque[Reply]] = defaultdict(deque)
        self._in_flight = 0
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
        """The chat requests so far, in the order of arrival."""
        return [request for request in self.requests if _is_chat(request.method, request.path)]

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
        self._wait(lambda: sum(_is_chat(r.method, r.path) for r in self._requests), count, timeout, "arrived")

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

    def record(self, path: str, method: str, headers: Mapping[str, str], body: bytes) -> int:
        """Note a request that has arrived, and return its number."""
        content = _json_object(body)
        is_chat = _is_chat(method, path)
        now = time.monotonic()
        request = Recorded(
            path=path,
            method=method,
            headers=headers,
            body=body,
            json=content,
            stage=self._stage_of(said_by("user", content)) if is_chat and content is not None else None,
            started=now,
            finished=None if is_chat else now,
        )
        with self._changed:
            self._requests.append(request)
            number = len(self._requests) - 1
            if is_chat:
                self._in_flight += 1
                self.max_in_flight = max(self.max_in_flight, self._in_flight)
                self._write_log("arrived", number)
            self._changed.notify_all()
            return number

    def reply_to(self, number: int, listener: object) -> tuple[Recorded, Say | Fail | Drop | Garbage]:
        """Wait for as long as a chat request has to; then count it as done, and return it with its reply."""
        with self._changed:
            reply = self._next_reply(self._requests[number])
            reply = self._wait_out(reply, number, lambda: self._listener is not listener)
            request = replace(self._requests[number], finished=time.monotonic())
            self._requests[number] = request
            # Before the answer leaves: a client that asks again at once must not look like two at a time.
            self._in_flight -= 1
            self._write_log("answered", number)
            self._changed.notify_all()
            return request, reply

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
        if request.json is None or request.stage is None:
            return Fail(400, error_body("nested", "The body is not a JSON object.", 400))
        model = request.json.get("model")
        if model not in self.models:
            return Fail(404, error_body("nested", f"The model `{model}` does not exist.", 404))
        return Say(answer(request.stage, image_bytes(request)))

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

    def do_GET(self) -> None:
        owner = self.server.owner
        self._record()
        if self.path == "/health":
            self._send(owner.health_status, {"status": HTTPStatus(owner.health_status).phrase})
        elif self.path == "/v1/models":
            models = [
                {"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in owner.models
            ]
            self._send(owner.models_status, {"object": "list", "data": models})
        else:
            self._send(404, error_body("nested", "Not Found", 404))

    def do_POST(self) -> None:
        number = self._record()
        if self.path != CHAT_PATH:
            self._send(404, error_body("nested", "Not Found", 404))
            return
        request, reply = self.server.owner.reply_to(number, self.server)
        match reply:
            case Say():
                self._send(200, completion(reply, request, created=time.time()))
            case Fail(status, body, headers):
                shown = error_body("nested", HTTPStatus(status).phrase, status) if body is None else body
                self._send(status, shown, headers)
            case Garbage(body):
                self._send(200, body)
            case Drop():
                self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Say nothing: the record is what tests look at."""

    def _record(self) -> int:
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


def _is_chat(method: str, path: str) -> bool:
    return (method, path) == ("POST", CHAT_PATH)


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
    parser.add_argument("--model", action="append", help=f"served name, repeatable; default {DEFAULT_MODEL}")
    options = parser.parse_args(arguments)

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with ModelServer(port=options.port, models=options.model or (DEFAULT_MODEL,), log=options.log) as server:
        server.delay = options.delay
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
