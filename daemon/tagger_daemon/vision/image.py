"""Prepares the one picture that every model is shown, in processes of their own: photo files are untrusted.

A decoder that crashes, hangs or takes too much memory costs one photo's attempt and nothing else. Each
process has its own pipe, so that none can block or garble another's answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from tagger_daemon.errors import (
    DecoderDied,
    FolderUnavailable,
    PhotoGone,
    PhotoTooLarge,
    PhotoUnreadable,
    PhotoUnsupported,
)
from tagger_daemon.model import Picture, Pictures
from tagger_daemon.settings import ImageSettings

READY_SECONDS = 60  # from start to ready; about half a second on a machine with nothing else to do
PHOTOS_PER_PROCESS = 500  # then a fresh one: what the decoding libraries leak stays bounded
MAX_REPLY_BYTES = 64 * 2**20
KILL_SECONDS = 5  # a killed process that takes longer hangs in the kernel

_REFUSALS = {
    error.__name__: error
    for error in (FolderUnavailable, PhotoGone, PhotoTooLarge, PhotoUnreadable, PhotoUnsupported)
}

# The daemon's environment holds API keys, which decoders of untrusted files have no business with.
_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
# One core a process, and no address space set aside for threads that never run. Two blocks of at most 16 MB
# are kept for the next photo: to give memory back and ask for it anew takes 5 ms a photo (measured; the
# setting is Pillow's block allocator's).
_OWN = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "PILLOW_BLOCKS_MAX": "2",
}


class Preparer:
    """Decodes photos, as many at once as there are decoding processes."""

    def __init__(self, settings: ImageSettings, *, long_edges: Sequence[int] = ()) -> None:
        """Prepare; `long_edges` are the sizes that every photo is wanted in, pixels, if not the setting's."""
        self._long_edges = tuple(dict.fromkeys(long_edges)) or (settings.long_edge,)
        self._decoders = [_Decoder(settings) for _ in range(settings.workers)]
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="decoder")

    def start(self) -> None:
        """Start the processes, so that they are warm when the first photo comes. Does not wait for them."""
        for decoder in self._decoders:
            decoder.ensure_running()
            self._idle.put_nowait(decoder)

    async def prepare(self, path: Path) -> Pictures:
        """Return the photo as the models are shown it, by size. Cancelling kills the decode.

        Raises:
            PhotoGone: there is no such file.
            PhotoUnreadable: it is damaged, truncated or protected.
            PhotoUnsupported: it is not a picture of a kind that is handled.
            PhotoTooLarge: it has too many pixels, or takes too much memory.
            FolderUnavailable: its file system is not there now.
            DecoderDied: the process crashed or overran on this photo.
        """
        decoder = await self._idle.get()
        try:
            decoder.ensure_running()
            decode = asyncio.get_running_loop().run_in_executor(
                self._threads, decoder.decode, path, self._long_edges
            )
            try:
                return dict(zip(self._long_edges, await asyncio.shield(decode), strict=True))
            except asyncio.CancelledError:
                decoder.kill()
                await asyncio.wait([decode])  # at once: its process is dead
                decode.exception()  # asyncio complains of exceptions that nobody has looked at
                raise
        finally:
            self._idle.put_nowait(decoder)

    async def close(self) -> None:
        """End all processes. A decode still in progress fails with `DecoderDied`."""
        for decoder in self._decoders:
            decoder.kill()
        await asyncio.to_thread(self._threads.shutdown)
        for decoder in self._decoders:
            decoder.discard()


class _Decoder:
    """One decoding process and the pipe to it; replaced by a fresh one whenever it has failed."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._warm = False
        self._served = 0

    def ensure_running(self) -> None:
        """Start a process unless a sound one is there.

        Raises:
            DecoderDied: the system refuses to start one.
        """
        sound = self._process is not None and self._process.poll() is None
        if sound and self._served < PHOTOS_PER_PROCESS:
            return
        self.discard()
        self._pipe, theirs = Pipe()
        with theirs:
            argv = [sys.executable, "-P", "-m", "tagger_daemon.vision.worker"]
            try:
                self._process = subprocess.Popen(
                    [*argv, str(theirs.fileno()), self._settings.model_dump_json()],
                    env={name: os.environ[name] for name in _INHERITED if name in os.environ} | _OWN,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                raise DecoderDied(f"the system starts no decoding process: {error.strerror}") from error
        self._warm, self._served = False, 0

    def decode(self, path: Path, long_edges: Sequence[int]) -> list[Picture]:
        """Have one photo decoded, blocking; for a thread. A process that fails at it is ended."""
        sound = False
        try:
            pictures = self._pictures(self._answer(path, long_edges))
            sound = True
            return pictures
        except tuple(_REFUSALS.values()):
            sound = True
            raise
        except TimeoutError as error:
            limit = self._settings.timeout_seconds
            raise DecoderDied(f"decoding the photo took longer than {limit:g} seconds") from error
        except (EOFError, OSError) as error:
            raise DecoderDied("the process that decoded the photo crashed") from error
        finally:
            self._served += 1
            if not sound:
                self.kill()

    def _answer(self, path: Path, long_edges: Sequence[int]) -> bytes:
        assert self._pipe is not None
        if not self._warm:
            self._receive(READY_SECONDS)
            self._warm = True
        self._pipe.send_bytes(json.dumps(list(long_edges)).encode() + b"\n" + os.fsencode(path))
        return self._receive(self._settings.timeout_seconds)

    def _receive(self, seconds: float) -> bytes:
        assert self._pipe is not None
        if not self._pipe.poll(seconds):
            raise TimeoutError
        return self._pipe.recv_bytes(MAX_REPLY_BYTES)

    @staticmethod
    def _pictures(reply: bytes) -> list[Picture]:
        header, _, jpegs = reply.partition(b"\n")
        fields = json.loads(header)
        if "error" in fields:
            raise _REFUSALS[fields["error"]](fields["message"])
        pictures, start = [], 0
        for width, height, length in fields["pictures"]:
            pictures.append(Picture(jpeg=jpegs[start : start + length], width=width, height=height))
            start += length
        return pictures

    def kill(self) -> None:
        """End the process now; whoever waits for its answer sees the pipe close."""
        if self._process is not None:
            self._process.kill()
            # Held in the kernel by a dead network share, it dies only once that answers: nobody waits for it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=KILL_SECONDS)

    def discard(self) -> None:
        """End the process and let go of its pipe; nobody may be waiting for it."""
        self.kill()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self._process = None
