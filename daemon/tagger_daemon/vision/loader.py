"""Model servers that the registry tells us to start: started, watched, started again, stopped.

A server that is found running is used and never stopped. One that we started is stopped with its whole
process group. Should the daemon be killed outright, systemd ends its servers with it (they are in its control
group). Elsewhere they may live on, and the next start finds and uses those that are healthy and are what the
registry describes. Whether a server's model sees pictures the pool finds out before it gives it photos.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from loguru import logger

from tagger_daemon.errors import ConfigurationError, ServerMisconfigured, ServerUnavailable
from tagger_daemon.model import Value
from tagger_daemon.vision.child import Child, LogTail, reachable_from_outside
from tagger_daemon.vision.client import ChatClient, nothing_listens
from tagger_daemon.vision.consents import Consents
from tagger_daemon.vision.entry import Entry, Launch
from tagger_daemon.vision.keys import without_keys
from tagger_daemon.vision.verifier import identify
from tagger_daemon.vision.wire import one_line

#: Seconds between two looks at a server that is starting: the first and the most.
LOOK: Final = 0.1
LOOK_MOST: Final = 1.0

#: Seconds between two looks at a server that was found running.
LOOK_FOUND: Final = 5.0

#: Seconds that a port which something holds may take to turn out to be the right server, still loading.
OCCUPIED: Final = 30.0

#: Seconds before a dead server is started again: the first time and at most; doubled each time in between.
BACK_OFF: Final = 1.0
BACK_OFF_MOST: Final = 60.0

#: Seconds after which a server counts as stable, so that its next death is a first one again.
STABLE: Final = 60.0

#: What a server gets of our environment; the rest, keys above all, is none of its business.
_PASSED_ON: Final = re.compile(r"PATH|HOME|LANG|LD_LIBRARY_PATH|(CUDA|HF)_.*")

#: Variables whose values are nobody's business, whoever they are meant for.
_SECRET: Final = re.compile(r".*(KEY|TOKEN|SECRET|PASSWORD)S?", re.IGNORECASE)

ServerState = Literal["starting", "running", "adopted", "backing-off", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus(Value):
    """How one server that the loader looks after is doing."""

    entry: str  # name of the registry entry
    url: str  # base URL of the endpoint that it serves
    pid: int | None  # of the process that we started; None while there is none, and for an adopted server
    state: ServerState  # adopted: found running, used, never stopped
    restarts: int  # times that it was started again
    log_tail: tuple[str, ...]  # its last lines of output


class Loader:
    """Looks after the servers of all entries that say how to launch one."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        keys: Mapping[str, str] | None = None,
        consents: Consents | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            environ: the daemon's own environment, of which a small part is handed on.
            keys: where keys are looked up; by default in `environ`.
            consents: which endpoints may be asked that send photos on to somewhere else.
            clock: seconds.
        """
        self._environ = environ
        self._keys = environ if keys is None else keys
        self._consents = consents
        self._clock = clock
        self._servers: list[_Server] = []

    async def start(self, entries: Sequence[Entry]) -> None:
        """Have the right server running and healthy for each endpoint of each entry with `launch`.

        They start one after another: inference servers measure the free GPU memory as they load, and two at
        once would both count on the same. If one cannot be had, all are stopped again.

        Raises:
            ConfigurationError: an endpoint is not on this machine, the command does not exist or exits, or
                its port is held by something else.
            ServerUnavailable: a server is not ready after its `ready_seconds`.
        """
        self._servers = [
            _Server(
                entry,
                entry.launch,
                url,
                environ=self._environ,
                key=self._keys.get(entry.api_key_env or ""),
                consents=self._consents,
                clock=self._clock,
            )
            for entry in {entry.name: entry for entry in entries}.values()
            if entry.launch is not None
            for url in entry.endpoints
        ]
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            for server in self._servers:
                await server.begin()
                server.keep()
            undo.pop_all()

    async def stop(self) -> None:
        """Stop what was started, group by group; what was found running goes on."""
        await asyncio.gather(*(server.close() for server in self._servers))

    def snapshot(self) -> tuple[ServerStatus, ...]:
        """Return how every server is doing."""
        return tuple(server.status() for server in self._servers)


class _Server:
    """One server: at most one process of ours at a time."""

    def __init__(
        self,
        entry: Entry,
        launch: Launch,
        url: str,
        *,
        environ: Mapping[str, str],
        key: str | None,
        consents: Consents | None,
        clock: Callable[[], float],
    ) -> None:
        self._entry = entry
        self._name = repr(entry.name)
        self._launch = launch
        self._url = url
        self._port = _loopback_port(entry, url)
        given = {name: value.replace("{key}", key or "") for name, value in launch.env.items()}
        self._environment = {name: environ[name] for name in environ if _is_passed_on(name)} | given
        secrets = {key or "", *(given[name] for name in given if _SECRET.fullmatch(name))}
        self._secrets = secrets - {""}
        self._client = ChatClient(url, entry, api_key=key, consents=consents)
        self._clock = clock
        # Without keys: some servers print what they were started with.
        self._tail = LogTail(clean=lambda line: without_keys(line, self._secrets))
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._state: ServerState = "starting"
        self._restarts = 0

    def status(self) -> ServerStatus:
        return ServerStatus(
            entry=self._entry.name,
            url=self._url,
            pid=self._child.pid if self._child else None,
            state=self._state,
            restarts=self._restarts,
            log_tail=self._tail.lines(),
        )

    async def begin(self) -> None:
        """Use the server that is there, or start one and wait until it is ready.

        Raises:
            ConfigurationError, ServerUnavailable: as `Loader.start`; nothing of ours is left running.
        """
        self._state = "starting"
        if await self._found():
            self._state = "adopted"
            logger.info("{}: using the server that runs at {}", self._name, self._url)
            return
        child = await self._spawn()
        try:
            await self._until_ready(child)
            self._state = "running"
            logger.info("{}: its server runs at {}, pid {}", self._name, self._url, child.pid)
            self._warn_if_others_reach_it()
        finally:
            if self._state != "running":
                await self._end()

    def keep(self) -> None:
        """From now on, start the server again whenever it dies."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self._url}")

    async def close(self) -> None:
        """Stop looking after the server; stop it, if it is ours."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await self._end()
        await self._client.close()
        self._state = "stopped"

    async def _keep(self) -> None:
        pause = BACK_OFF
        while True:
            began = self._clock()
            reason = await self._until_dead()
            if self._clock() - began >= STABLE:
                pause = BACK_OFF
            while reason:
                self._state = "backing-off"
                logger.warning("{}: {}; starting it again in {:g} s", self._name, reason, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, BACK_OFF_MOST)
                self._restarts += 1
                reason = await self._begin_again()

    async def _begin_again(self) -> str:
        """Start the server; return why that failed, empty if it did not."""
        try:
            await self.begin()
        except (ConfigurationError, ServerUnavailable) as error:
            return str(error)
        return ""

    async def _until_dead(self) -> str:
        """Wait for the server's death, and tell how it came."""
        if self._child is None:
            while not await self._deserted():  # noqa: ASYNC110  # nothing tells of a stranger's death
                await asyncio.sleep(LOOK_FOUND)
            return "the server that was found running is gone"
        ending = await self._child.wait()
        await self._end()
        return f"its server {ending}"

    async def _found(self) -> bool:
        """Tell whether the right server runs there already; False if nothing does.

        Raises:
            ConfigurationError: something else holds the port.
        """
        patience = self._clock() + min(OCCUPIED, self._launch.ready_seconds)
        while True:
            try:
                await self._look()
            except ServerUnavailable as error:
                if nothing_listens(error):
                    return False
                if isinstance(error, ServerMisconfigured) or self._clock() >= patience:
                    raise ConfigurationError(
                        f"port {self._port}, where {self._name} is to be served, is taken: {error};"
                        " stop what runs there, or give the entry another port"
                    ) from error
            else:
                return True
            await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        """Look whether the server is up, and is what the registry describes."""
        await self._client.ready()
        await identify(self._client)

    async def _deserted(self) -> bool:
        """Tell whether nothing listens at the endpoint any more."""
        try:
            await self._client.ready()
        except ServerUnavailable as error:
            return nothing_listens(error)
        return False

    async def _spawn(self) -> Child:
        if any(secret in word for secret in self._secrets for word in self._launch.argv):
            logger.warning(
                "{}: a key stands in launch.argv, where every user of this machine can read it; hand it over"
                " in launch.env, where {{key}} stands for it",
                self._name,
            )
        argv = [
            word.replace("{port}", str(self._port)).replace("{python}", sys.executable)
            for word in self._launch.argv
        ]
        try:
            self._child = await Child.start(argv, env=self._environment, tail=self._tail)
        except OSError as error:
            raise ConfigurationError(
                f"the server of {self._name} cannot be started: {argv[0]}: {error.strerror}"
            ) from error
        return self._child

    async def _until_ready(self, child: Child) -> None:
        """Wait until the server answers, is dead, or its time is up."""
        death = asyncio.create_task(child.wait())
        pause = LOOK
        try:
            async with asyncio.timeout(self._launch.ready_seconds):
                while not death.done():
                    # Should it be dead after the look, somebody else has answered.
                    if await self._ready() and not death.done():
                        return
                    await asyncio.wait({death}, timeout=pause)
                    pause = min(2 * pause, LOOK_MOST)
        except TimeoutError as error:
            raise ServerUnavailable(
                f"the server of {self._name} is not ready after {self._launch.ready_seconds:g} s"
                f"{self._last_words}"
            ) from error
        finally:
            death.cancel()
        await child.read_out()
        raise ConfigurationError(f"the server of {self._name} {death.result()}{self._last_words}")

    async def _ready(self) -> bool:
        try:
            await self._look()
        except ServerMisconfigured as error:
            raise ConfigurationError(f"the server of {self._name} is not right: {error}") from error
        except ServerUnavailable:
            return False
        return True

    def _warn_if_others_reach_it(self) -> None:
        if reachable_from_outside(self._port):
            logger.warning(
                "{}: its server listens to the whole network; have it listen to this machine alone, with"
                " `--host 127.0.0.1` in launch.argv or what it has instead",
                self._name,
            )

    @property
    def _last_words(self) -> str:
        lines = self._tail.lines()
        return f"; its last words: {one_line(lines[-1])}" if lines else ""

    async def _end(self) -> None:
        if self._child is not None:
            await self._child.end()
            self._child = None


def _is_passed_on(name: str) -> bool:
    return bool(_PASSED_ON.fullmatch(name)) and not _SECRET.fullmatch(name)


def _loopback_port(entry: Entry, url: str) -> int:
    parts = urlsplit(url)
    if not _is_loopback(parts.hostname or "") or parts.port is None:
        raise ConfigurationError(
            f"{entry.name!r} has a launch command, so its endpoints must name a port on this machine,"
            f" as http://127.0.0.1:8000/v1 does; {url} does not"
        )
    return parts.port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
