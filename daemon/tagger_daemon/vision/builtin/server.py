"""The HTTP of the built-in describing server: routes, limits, errors. What is said is decided elsewhere."""

from __future__ import annotations

import json
import os
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loguru import logger

from tagger_daemon.vision.builtin import protocol
from tagger_daemon.vision.builtin.refusals import Refusal

MAX_BODY = 32 * 1024 * 1024  # bytes; room for a 4096-pixel JPEG of high quality in base64

Answer = Callable[[bytes, int], Mapping[str, Any]]  # request body, seconds since the epoch -> response body

_CHUNK = 64 * 1024  # bytes
_LENGTH = re.compile(r"[0-9]{1,18}")


class DescribingServer(ThreadingHTTPServer):
    """Listens from construction on; `serve_forever` answers until `shutdown`.

    Args:
        address: host and port; port 0 takes a free one, see `url`.
        answer: what answers a chat completion; may raise `Refusal`.

    Raises:
        OSError: the address cannot be listened on.
    """

    daemon_threads = True  # an idle connection must not hold up the exit
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        self.answer = answer
        self.cores = threading.BoundedSemaphore(os.cpu_count() or 1)
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """The server's root, without a slash at the end."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def server_bind(self) -> None:
        """Bind without the look-up of our own name in the DNS that `HTTPServer` does, which can hang."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Answer 500 when a request broke us; take no notice of a client that has gone.

        Nothing has been sent by then: a response goes out in one piece, once it is complete.
        """
        error = sys.exception()
        if isinstance(error, ConnectionError | TimeoutError):
            logger.debug("A client went away: {}", type(error).__name__)
            return
        logger.opt(exception=True).error("A request could not be answered; this is a fault of the server")
        refusal = Refusal("The server failed on this request; its log says why.", status=500)
        content = json.dumps(refusal.body()).encode()
        head = (
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        assert isinstance(request, socket.socket)
        try:
            request.sendall(head.encode() + content)
        except OSError as gone:
            logger.debug("The client did not wait for the error: {}", type(gone).__name__)


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept alive."""

    server: DescribingServer
    server_version = "tagger-daemon-builtin"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte after which a connection is closed
    wbufsize = -1  # head and body leave in one piece
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        status: int = HTTPStatus.OK
        try:
            body = self._read_body()
            content = self._routed(body)
        except Refusal as refusal:
            status, content = refusal.status, refusal.body()
        self._send(status, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _handle  # noqa: N815

    def _routed(self, body: bytes) -> Mapping[str, Any]:
        path = self.path.partition("?")[0]
        routes: dict[str, tuple[str, Callable[[], Mapping[str, Any]]]] = {
            "/health": ("GET", lambda: {"status": "ok"}),
            "/v1/models": ("GET", protocol.models),
            "/v1/chat/completions": ("POST", lambda: self._completion(body)),
        }
        if path not in routes:
            raise Refusal(f"There is nothing here; the paths are {', '.join(routes)}.", status=404)
        method, respond = routes[path]
        if self.command != method:
            raise Refusal(f"{path} takes {method} only.", status=405)
        return respond()

    def _completion(self, body: bytes) -> Mapping[str, Any]:
        """Answer one question; no more of them are worked on at once than there are cores."""
        with self.server.cores:
            return self.server.answer(body, int(time.time()))

    def _read_body(self) -> bytes:
        """Read the request's body.

        Raises:
            Refusal: its length is unknown or over the limit. The connection is then closed after the answer.
            ConnectionError: the client went away in the middle of it.
        """
        declared = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not _LENGTH.fullmatch(declared):
            self.close_connection = True
            raise Refusal("State the body's length in Content-Length.", status=411)
        length = int(declared)
        if length > MAX_BODY:
            self.close_connection = True
            self._discard(min(length, 4 * MAX_BODY))  # a client reads the answer only after sending it all
            raise Refusal(f"The body is over {MAX_BODY // 1024**2} MB; send a smaller picture.", status=413)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the body ended early")
        return body

    def _discard(self, length: int) -> None:
        while length > 0 and (chunk := self.rfile.read(min(length, _CHUNK))):
            length -= len(chunk)

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say in JSON what the base class would say in HTML about a request that it cannot parse."""
        self.close_connection = True
        self._send(code, Refusal(message or explain or HTTPStatus(code).phrase, status=code).body())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Send the base class's lines, one a request, to our log instead of stderr."""
        logger.debug("{!r}", format % args)
