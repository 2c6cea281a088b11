"""One long-lived exiftool, driven so that it can neither hang us nor be talked into anything.

pyexiftool 0.5.6 joins its arguments with line breaks and checks none of them, waits for ever on a process
that died or stopped, and deadlocks once stderr fills its pipe. This subclass keeps its interface and
replaces how the process is started and spoken to.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import selectors
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import exiftool

from tagger_daemon.errors import ConfigurationError, ExiftoolDied, WriteRefused
from tagger_daemon.model import Value

OLDEST_VERSION = (12, 57)  # Debian 12's; older ones were never tried
# Commands, after which another process takes over, whatever the old one may have gathered. A new one takes
# half a second to load its modules; in 6,000 commands about real photos none was seen to grow (12.57, 13.59).
TASKS_PER_PROCESS = 5000
CONFIG_FILE = Path(__file__).with_name("exiftool.config")
STARTER = "TAGGER_STARTER"  # tells the configuration whose end ends the process
PIPE_BLOCK = 65536  # bytes
MOST_OUTPUT = 256 << 20  # bytes; about a photo full of metadata it says some hundred thousand
LINE_END = 2  # bytes at most
KILL_SECONDS = 5  # a killed process that takes longer hangs in the kernel


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Value):
    """What exiftool said to one command."""

    status: int  # exit status; 0 alone does not mean that anything was written
    stdout: bytes
    stderr: str  # warnings and errors, one a line


class ExifTool(exiftool.ExifTool):  # type: ignore[misc]  # pyexiftool has no types
    """A restartable exiftool process, safe to share between threads.

    Values never travel through the argument stream, see `values_file`; file names only as `path_argument`
    gives them.

    Args:
        executable: a name on PATH or a path.
        timeout_seconds: a command that takes longer is killed with its process.

    Raises:
        ConfigurationError: there is no such executable.
    """

    def __init__(self, executable: str = "exiftool", *, timeout_seconds: float = 60) -> None:
        found = shutil.which(executable)
        if found is None:
            raise ConfigurationError(
                f"exiftool was not found as {executable!r}; "
                "install it with: sudo apt install libimage-exiftool-perl"
            )
        super().__init__(
            executable=str(Path(found).absolute()),
            common_args=None,
            config_file=CONFIG_FILE,
            encoding="utf-8",
        )
        self._timeout_seconds = timeout_seconds
        self._lock = threading.RLock()
        self._tasks = 0
        self._home: tempfile.TemporaryDirectory[str] | None = None

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.running:
            self._kill()

    @property
    def running(self) -> bool:
        """Whether the process is alive now."""
        process = self.__dict__.get("_process")  # absent if the constructor refused
        return process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self.running else None

    def run(self) -> None:
        """Start the process, unless it runs.

        Raises:
            ConfigurationError: it cannot be started.
        """
        with self._lock:
            if not self.running:
                self._kill()  # closes the pipes of one that died by itself
                self._launch()

    def terminate(self, timeout: int = 5, _del: bool = False) -> None:
        """Let the process finish and stop it, unless it is stopped. The next command starts another.

        Args:
            timeout: seconds that it gets before it is killed.
        """
        with self._lock:
            if self.running:
                with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
                    self._process.communicate(input=b"-stay_open\nFalse\n", timeout=timeout)
            self._kill()

    def close(self) -> None:
        """Stop the process and remove the private directory."""
        with self._lock:
            self.terminate()
            if self._home is not None:
                self._home.cleanup()
                self._home = None

    def version(self) -> tuple[int, int]:
        """Return the version, such as (12, 57).

        Raises:
            ConfigurationError: it is too old, or the program is not exiftool.
            ExiftoolDied: it did not answer.
        """
        text = self.ask("-ver").stdout.decode("ascii", "replace").strip()
        major, _, minor = text.partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            raise ConfigurationError(f"{self._executable} does not answer as exiftool does")
        if (int(major), int(minor)) < OLDEST_VERSION:
            wanted = ".".join(map(str, OLDEST_VERSION))
            raise ConfigurationError(f"exiftool {text} is too old; install version {wanted} or newer")
        return int(major), int(minor)

    def execute(self, *params: str | bytes, raw_bytes: bool = False) -> str | bytes:
        """Do as pyexiftool's `execute` does, by way of `ask`."""
        with self._lock:
            answer = self.ask(*params)
            self._last_status, self._last_stderr = answer.status, answer.stderr
            self._last_stdout = answer.stdout if raw_bytes else answer.stdout.decode(self._encoding)
            return self._last_stdout

    def ask(self, *arguments: str | bytes) -> Answer:
        """Run one command and return its answer.

        Raises:
            WriteRefused: an argument could be taken for more than one.
            ExiftoolDied: the process died or hung; the next command starts another.
            ConfigurationError: the process cannot be started.
        """
        command = [_checked(argument) for argument in arguments]
        with self._lock, contextlib.ExitStack() as on_failure:
            if self._tasks >= TASKS_PER_PROCESS:
                self.terminate()
            self.run()
            self._tasks += 1
            on_failure.callback(self._kill)  # what it still has to say would answer the next command
            answer = self._converse(command)
            on_failure.pop_all()
            return answer

    @contextlib.contextmanager
    def values_file(self, values: Mapping[str, Any]) -> Iterator[str]:
        """Give the argument that hands over tags and values, exact to the byte, while the context is open."""
        exact = {tag: _exact(value) for tag, value in values.items()}
        content = json.dumps([{"SourceFile": "*", **exact}]).encode("ascii")
        with self.private_file(content, ".json") as path:
            yield f"-json={path}"

    @contextlib.contextmanager
    def private_file(self, content: bytes, suffix: str) -> Iterator[Path]:
        """Give a file that nobody else can read, while the context is open."""
        handle, name = tempfile.mkstemp(suffix=suffix, dir=self._private_directory())
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            yield Path(name)
        finally:
            Path(name).unlink()

    @contextlib.contextmanager
    def private_link(self, folder: Path) -> Iterator[Path]:
        """Give another path to a folder, one without odd characters, while the context is open."""
        link = Path(self._private_directory(), secrets.token_hex(8))
        link.symlink_to(folder, target_is_directory=True)
        try:
            yield link
        finally:
            link.unlink()

    def _private_directory(self) -> str:
        """Return a directory that nobody else can read: home of the process, and of the values files."""
        with self._lock:
            if self._home is None:
                self._home = tempfile.TemporaryDirectory(prefix="tagger-exiftool-")
            return self._home.name

    def _launch(self) -> None:
        # Without PR_SET_PDEATHSIG, which pyexiftool sets: it is bound to the thread that forked, so that the
        # process would end with any worker thread. With a bare environment: no secrets, no foreign Perl.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self._private_directory(),
            "LC_ALL": "C.UTF-8",
            STARTER: str(os.getpid()),
        }
        try:
            self._process = subprocess.Popen(
                [self._executable, "-config", self._config_file, "-stay_open", "True", "-@", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment,
                start_new_session=True,  # a Ctrl-C meant for us must not tear a write apart
            )
        except OSError as error:
            raise ConfigurationError(f"{self._executable} cannot be started: {error.strerror}") from error
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)
        self._running = True
        self._tasks = 0

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            # Held in the kernel by a dead network share, it dies only once that answers: nobody waits for it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=KILL_SECONDS)
            for pipe in self._pipes():
                pipe.close()
        self._flag_running_false()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        return self._process.stdin, self._process.stdout, self._process.stderr  # type: ignore[return-value]  # all are PIPE

    def _converse(self, command: list[bytes]) -> Answer:
        """Feed the command and drain both outputs until each shows its end mark."""
        number = secrets.randbelow(10**12)  # not to be guessed by what is written inside a file
        ready, posted = b"{ready%d}" % number, b"=post%d" % number
        commands = [*command, b"-echo4", b"=${status}" + posted, b"-execute%d" % number, b""]
        pending = memoryview(b"\n".join(commands))
        stdin, stdout, stderr = (pipe.fileno() for pipe in self._pipes())
        heard = {stdout: bytearray(), stderr: bytearray()}
        deadline = time.monotonic() + self._timeout_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while not (_ends_with(heard[stdout], ready) and _ends_with(heard[stderr], posted)):
                left = deadline - time.monotonic()
                events = selector.select(max(0, left))
                if left < 0 or not events:
                    raise ExiftoolDied(
                        f"exiftool did not answer within {self._timeout_seconds:g} seconds and was restarted"
                    )
                for key, _ in events:
                    if key.fd == stdin:
                        pending = pending[_send(stdin, pending) :]
                        if not pending:
                            selector.unregister(stdin)
                    else:
                        heard[key.fd] += _receive(key.fd)
                if sum(map(len, heard.values())) > MOST_OUTPUT:
                    raise ExiftoolDied("exiftool had far too much to say about one file and was restarted")
        said, _, status = heard[stderr].rstrip()[: -len(posted)].rpartition(b"=")
        return Answer(
            status=int(status),
            stdout=bytes(heard[stdout].rstrip()[: -len(ready)]),
            stderr=said.decode("utf-8", "replace").strip(),
        )


def path_argument(path: Path) -> bytes:
    """Return a file name as exiftool is given it: absolute, and the very bytes of the file system.

    Raises:
        WriteRefused: the name contains a line break, which exiftool would take for two names.
    """
    name = os.fsencode(path.absolute())
    if b"\n" in name or b"\r" in name:
        raise WriteRefused(
            f"the name of {str(path)!r} contains a line break; rename it and it will be tagged"
        )
    return name


def _exact(value: Any) -> Any:
    """Return a value of a JSON file as exiftool reads it without changing anything.

    Up to 13.59 at least, it undoes the escapes of JSON in the wrong order, so that a text with a backslash
    before `u0041` comes out as another, and takes a text that begins with `base64:` for an encoded one. What
    it decodes itself, it leaves alone.
    """
    if isinstance(value, str):
        return "base64:" + base64.b64encode(value.encode("utf-8")).decode("ascii")
    if isinstance(value, tuple | list):
        return [_exact(item) for item in value]
    return value


def _checked(argument: str | bytes) -> bytes:
    encoded = argument if isinstance(argument, bytes) else argument.encode("utf-8", "surrogateescape")
    if not encoded or encoded[:1] in b"# \t" or any(mark in encoded for mark in (b"\r", b"\n", b"\0")):
        raise WriteRefused("an argument that exiftool could misread was held back")
    return encoded


def _ends_with(heard: bytearray, mark: bytes) -> bool:
    """Tell whether an output has come to its end mark and a line end; looks at no more than these."""
    return heard[-len(mark) - LINE_END :].rstrip().endswith(mark)


def _send(fd: int, pending: memoryview) -> int:
    try:
        return os.write(fd, pending[:PIPE_BLOCK])
    except BrokenPipeError as error:
        raise ExiftoolDied("exiftool ended unexpectedly and was restarted") from error


def _receive(fd: int) -> bytes:
    block = os.read(fd, PIPE_BLOCK)
    if not block:
        raise ExiftoolDied("exiftool ended unexpectedly and was restarted")
    return block
