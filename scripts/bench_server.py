"""A model server that knows nothing and costs nothing: so many requests at once, each so many seconds.

It stands for a graphics card in measurements of everything else, and tells the canary's pictures apart. A
process of its own, so that its work is not taken for ours; the first line on standard output is its base URL:

    python scripts/bench_server.py --slots 16 --seconds 0.2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import deque
from typing import Final

from tagger_daemon.vision.canary import CANARY, COLOURS, draw
from tagger_daemon.vision.prompts import picture_url

MODEL: Final = "bench-vlm"

#: The last bytes of a body hold the question; the picture before it is not looked at.
TAIL: Final = 6000

TOKENS: Final = 100

_KEYWORDS: Final = ("harbour", "pier", "boat", "evening", "calm water", "gull")
_CAPTION: Final = "A wooden pier in a calm harbour at dusk."
_DESCRIPTION: Final = (
    "A wooden pier leads out into a calm harbour at dusk. Two small boats are moored to it, and a gull sits "
    "on the last post while the lights of the far shore begin to show."
)


class Slots:
    """The card: `count` requests at once, in the order in which they came."""

    def __init__(self, count: int, seconds: float, *, most: int | None) -> None:
        """Take `seconds` for each request; refuse those beyond `most`, running and queued together."""
        self._free = count
        self._seconds = seconds
        self._most = most
        self._queue: deque[Connection] = deque()
        self._taken = 0
        self.answered = 0

    def take(self, connection: Connection) -> bool:
        """Begin with a request now or later; False: it is one too many."""
        if self._most is not None and self._taken >= self._most:
            return False
        self._taken += 1
        if self._free:
            self._free -= 1
            self._begin(connection)
        else:
            self._queue.append(connection)
        return True

    def _begin(self, connection: Connection) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._end, connection)

    def _end(self, connection: Connection) -> None:
        self._taken -= 1
        self.answered += 1
        connection.answer()
        if self._queue:
            self._begin(self._queue.popleft())
        else:
            self._free += 1


class Connection(asyncio.Protocol):
    """One connection with keep-alive; a client sends its next request once it has the answer."""

    def __init__(self, slots: Slots) -> None:
        """Serve requests from these slots."""
        self._slots = slots
        self._pieces: list[bytes] = []
        self._missing = 0  # bytes of the body that are still to come
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Put a request together."""
        if not self._missing:
            self._head += data
            head, blank, body = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            self._head, self._pieces = head, [body]
            self._missing = _length(head) - len(body)
        else:
            self._pieces.append(data)
            self._missing -= len(data)
        if self._missing <= 0:
            self._missing = 0
            head, self._head = self._head, b""
            self._serve(head.split(b" ", 2))

    def answer(self) -> None:
        """Send what a model would say."""
        question = b"".join(self._pieces[-2:])[-TAIL:]
        text = _seen(b"".join(self._pieces)) if CANARY.encode() in question else _answer(question)
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 1000, "completion_tokens": TOKENS, "total_tokens": 1000 + TOKENS}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._send(
            b"200 OK",
            {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL}
            | {"choices": [choice], "usage": usage},
        )

    def _serve(self, line: list[bytes]) -> None:
        method, path = line[0], line[1]
        if method == b"POST" and path == b"/v1/chat/completions":
            if not self._slots.take(self):
                self._send(b"429 Too Many Requests", {"error": {"message": "too many requests", "code": 429}})
        elif path == b"/v1/models":
            self._send(b"200 OK", {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif path == b"/health":
            self._send(b"200 OK", {"status": "ok"})
        else:
            self._send(b"404 Not Found", {"error": {"message": "not here", "code": 404}})

    def _send(self, status: bytes, content: object) -> None:
        if self._transport.is_closing():
            return
        body = json.dumps(content).encode()
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
            status,
            len(body),
        )
        self._transport.write(head + body)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _seen(body: bytes) -> str:
    """Answer the canary: of which of its pictures this is the question."""
    colour = next((name for name in COLOURS if picture_url(draw(name)).encode() in body), "grey")
    return f"The large disc is {colour}."


def _answer(question: bytes) -> str:
    """Answer in the form that the shipped prompts ask for."""
    if b'"json_schema"' in question:
        return json.dumps({"keywords": _KEYWORDS})
    task = question.rpartition(b"Task:")[2].lower()
    if b"keyword" in task:
        return "\n".join(_KEYWORDS)
    return _DESCRIPTION if b"description" in task else _CAPTION


async def serve(slots: Slots, port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Connection(slots), "127.0.0.1", port, backlog=1024)
    async with server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await stopped.wait()


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_server.py", description="A model server for measurements."
    )
    parser.add_argument(
        "--slots", type=int, default=4, help="requests that it works on at once (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="that each of them takes (%(default)s)")
    parser.add_argument("--most", type=int, help="refuse more than these, running and queued, with a 429")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    options = parser.parse_args()
    asyncio.run(serve(Slots(options.slots, options.seconds, most=options.most), options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
