"""The program of one decoding process: paths come in, pictures or what is wrong with them go out.

    python -m tagger_daemon.vision.worker FD SETTINGS

FD is the number of an inherited socket; SETTINGS is an `ImageSettings` as JSON. Once ready, the process says
so; then each message from the daemon is the sizes that are wanted, as a line of JSON, and the path. Each
answer is a line of JSON and then the JPEGs, one after the other. No pickles: a process that a hostile picture
has taken over cannot make the daemon run code.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from tagger_daemon.errors import TaggerError
from tagger_daemon.settings import ImageSettings


def main() -> None:
    """Serve until the daemon closes its end."""
    # Ctrl-C and systemd's SIGTERM reach every process of the service; the daemon says when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, settings = int(sys.argv[1]), ImageSettings.model_validate_json(sys.argv[2])
    threading.Thread(target=_die_with_daemon, args=(descriptor,), daemon=True).start()
    # Imported under the deaf ear for signals, and before the limit on memory: they map much and use little.
    from tagger_daemon.vision.decode import equip

    equip()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, settings.memory_megabytes * 2**20)
    with contextlib.suppress(EOFError, ConnectionError):  # the daemon has closed its end
        _serve(Connection(descriptor), settings)


def _serve(pipe: Connection, settings: ImageSettings) -> None:
    from tagger_daemon.vision.decode import decode

    pipe.send_bytes(b"ready")
    while True:
        edges, _, path = pipe.recv_bytes().partition(b"\n")
        try:
            pictures = decode(
                Path(os.fsdecode(path)),
                long_edges=json.loads(edges),
                quality=settings.quality,
                max_pixels=int(settings.max_megapixels * 1_000_000),
            )
        except TaggerError as error:
            pipe.send_bytes(json.dumps({"error": type(error).__name__, "message": str(error)}).encode())
        else:
            sizes = [[picture.width, picture.height, len(picture.jpeg)] for picture in pictures]
            header = json.dumps({"pictures": sizes}).encode()
            pipe.send_bytes(b"".join((header, b"\n", *(picture.jpeg for picture in pictures))))


def _die_with_daemon(descriptor: int) -> None:
    """End this process once the other end is closed, be it by SIGKILL, and whatever is being decoded."""
    poll = select.poll()
    poll.register(descriptor, 0)  # hang-ups are reported unasked
    poll.poll()
    os._exit(0)


def _limit(what: int, value: int) -> None:
    """Lower a resource limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


if __name__ == "__main__":
    main()
