"""The built-in describing server, as a real process on loopback."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from tagger_daemon.vision.builtin.protocol import MODEL
from tagger_daemon.vision.builtin.server import MAX_BODY, DescribingServer

COMMAND = [sys.executable, "-m", "tagger_daemon.vision.builtin"]
COMPLETIONS = "/v1/chat/completions"


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the server on a free port, and wait for the line that says so."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on http://127.0.0.1:" in line
        try:
            yield process, int(line.rpartition(":")[2])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with started() as (_, port):
        yield port


@pytest.fixture
def client(port: int) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
        yield client


def picture_url(colour: str = "red") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60), colour).save(buffer, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def messages(text: str, url: str | None = None) -> Any:
    image = {"type": "image_url", "image_url": {"url": url or picture_url()}}
    return [
        {"role": "system", "content": "You describe photos."},
        {"role": "user", "content": [image, {"type": "text", "text": text}]},
    ]


def exchange(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Send one request on a connection of its own; return the status and the JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def raw(port: int, request: bytes) -> bytes:
    """Send bytes as they are; return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_picture_is_described_through_the_openai_client(client: openai.OpenAI) -> None:
    prompt = "Facts about this photo:\n- Place: Lisbon\n\nTask: Write one factual sentence as a caption."
    reply = client.chat.completions.create(model=MODEL, messages=messages(prompt), max_tokens=96)
    assert reply.choices[0].message.content == (
        "A landscape-format picture in vivid red, most of the frame empty, taken in Lisbon."
    )
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == MODEL
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_keywords_come_as_json_through_the_openai_client(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"keywords": {"type": "array", "items": {"type": "string"}}},
        "required": ["keywords"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model=MODEL,
        messages=messages("Task: List up to 10 keywords."),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "keywords", "strict": True, "schema": schema},
        },
    )
    assert json.loads(reply.choices[0].message.content or "")["keywords"][0] == "red"


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == (MODEL, "tagger-daemon")


def test_errors_reach_the_openai_client_as_its_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client.chat.completions.create(model="other", messages=messages("x"))
    with pytest.raises(openai.BadRequestError, match="decoded") as refused:
        client.chat.completions.create(model=MODEL, messages=messages("x", "data:image/jpeg;base64,AAAA"))
    assert (refused.value.param, refused.value.type) == ("messages", "BadRequestError")
    with pytest.raises(openai.BadRequestError, match="Streaming"):
        client.chat.completions.create(model=MODEL, messages=messages("x"), stream=True)


def test_questions_at_the_same_time_get_their_own_answers(client: openai.OpenAI) -> None:
    def colour_of(colour: str) -> str:
        reply = client.chat.completions.create(
            model=MODEL, messages=messages("Task: List 1 keywords.", picture_url(colour))
        )
        return reply.choices[0].message.content or ""

    colours = ["red", "blue", "green", "yellow", "orange"] * 3
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(colour_of, colours)) == colours


def test_health(port: int) -> None:
    assert exchange(port, "GET", "/health") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/completions", 404),
        ("GET", COMPLETIONS, 405),
        ("POST", "/health", 405),
        ("DELETE", "/v1/models", 405),
        ("BREW", "/health", 501),
        ("POST", COMPLETIONS, 400),
    ],
)
def test_other_requests_are_refused_in_json(port: int, method: str, path: str, status: int) -> None:
    answered, body = exchange(port, method, path)
    assert answered == status
    assert body["error"]["code"] == status
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_a_connection_is_kept_for_the_next_request_even_after_a_refusal(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    sock = connection.sock
    for path, status in (("/nowhere", 404), ("/health", 200)):
        connection.request("POST" if status == 404 else "GET", path, b"{}" if status == 404 else None)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is sock
    connection.close()


def test_head_is_refused_without_a_body(port: int) -> None:
    response = raw(port, b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 405 ")
    assert response.endswith(b"\r\n\r\n")


def test_a_body_over_the_limit_is_refused(port: int) -> None:
    status, body = exchange(port, "POST", COMPLETIONS, b" " * (MAX_BODY + 1))
    assert status == 413
    assert "32 MB" in body["error"]["message"]


@pytest.mark.parametrize("length", ["Content-Length: x", "Content-Length: -1", "Transfer-Encoding: chunked"])
def test_a_body_of_unknown_length_is_refused(port: int, length: str) -> None:
    response = raw(port, f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
    assert response.startswith(b"HTTP/1.1 411 ")
    assert b"Connection: close" in response


def test_what_is_not_http_is_refused_in_json(port: int) -> None:
    response = raw(port, b"HELLO\r\n\r\n")
    assert b'"error"' in response
    assert b"<html" not in response.lower()


def test_a_client_that_goes_away_leaves_no_trace() -> None:
    with started() as (process, port):
        for head in (b"POST", f"POST {COMPLETIONS} HTTP/1.1\r\nContent-Length: 99\r\n\r\n{{".encode()):
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connection.sendall(head)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()  # with a reset
        assert raw(port, f"POST {COMPLETIONS} HTTP/1.1\r\nContent-Length: 99\r\n\r\n{{".encode()) == b""
        assert exchange(port, "GET", "/health")[0] == 200
        process.terminate()
        _, errors = process.communicate()
    assert errors == ""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_even_with_a_connection_open(stop: signal.Signals) -> None:
    with started() as (process, port), socket.create_connection(("127.0.0.1", port), timeout=30) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        process.send_signal(stop)
        assert process.wait(timeout=30) == 0


def test_a_port_in_use_is_one_clear_line_and_1(port: int) -> None:
    result = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert f"port {port}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_an_impossible_port_is_a_usage_error(port: str) -> None:
    result = subprocess.run([*COMMAND, f"--port={port}"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert "--port" in result.stderr


def test_it_listens_on_loopback_only(port: int) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {row[1] for row in listening if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert addresses == {"0100007F:" + f"{port:04X}"}


def test_a_fault_of_ours_is_500_without_its_trace_and_the_server_lives_on() -> None:
    def broken(body: bytes, created: int) -> Mapping[str, Any]:
        raise RuntimeError(f"a secret of {os.getpid()}, {body!r}, {created}")

    with DescribingServer(("127.0.0.1", 0), broken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.server_address[1]
            for _ in range(2):
                status, body = exchange(port, "POST", COMPLETIONS, b"{}")
                assert (status, body["error"]["code"]) == (500, 500)
                assert "secret" not in json.dumps(body)
            assert exchange(port, "GET", "/health")[0] == 200
        finally:
            server.shutdown()
            thread.join()
