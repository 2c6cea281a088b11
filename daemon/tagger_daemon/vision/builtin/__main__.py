"""`python -m tagger_daemon.vision.builtin --port N`: serves until SIGTERM or SIGINT, then exits with 0."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from loguru import logger

from tagger_daemon.vision.builtin.answering import answer
from tagger_daemon.vision.builtin.protocol import MODEL
from tagger_daemon.vision.builtin.server import DescribingServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Return the exit code: 0, or 1 if the address cannot be listened on."""
    options = _options(arguments)
    logger.remove()
    logger.add(sys.stderr, level=options.log_level, backtrace=False, diagnose=False)
    try:
        server = DescribingServer((options.host, options.port), answer)
    except OSError as error:
        logger.error("Cannot listen on {} port {}: {}", options.host, options.port, error.strerror)
        return 1
    with server:
        _stop_on_signals(server)
        sys.stdout.write(f"{MODEL} is listening on {server.url}\n")
        sys.stdout.flush()
        server.serve_forever()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tagger_daemon.vision.builtin",
        description="An OpenAI-compatible server that describes pictures by what their pixels show.",
    )
    parser.add_argument("--port", type=_port, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError("a port is a number up to 65535")
    return port


def _stop_on_signals(server: DescribingServer) -> None:
    """Have SIGTERM and SIGINT end `serve_forever`, from a thread: `shutdown` waits for the loop's end."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


if __name__ == "__main__":
    sys.exit(main())
