"""The scripted model server keeps its promises to the tests that lean on it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from support.model_server import (
    DEFAULT_MODEL,
    Drop,
    Fail,
    Garbage,
    Hang,
    ModelServer,
    Say,
    answer,
    error_body,
    stage_of,
)

TESTS = Path(__file__).parents[1]
PICTURE = b"\xff\xd8 not really a JPEG, and no server has to know"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def client(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0, timeout=20) as opened:
        yield opened


def ask(
    client: openai.OpenAI, task: str, *, image: bytes = PICTURE, model: str = DEFAULT_MODEL
) -> ChatCompletion:
    url = "data:image/jpeg;base64," + base64.b64encode(image).decode()
    return client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "You describe photos."},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": url}},
                    {"type": "text", "text": f"Taken: 2024-05-01\nTask: {task}"},
                ],
            },
        ],
    )


def said(completion: ChatCompletion) -> str | None:
    return completion.choices[0].message.content


@pytest.mark.parametrize(
    ("task", "stage"),
    [
        ("Write one sentence.", "caption"),
        ("Write a caption; no keywords, no description.", "caption"),
        ("List up to 15 keywords, one per line.", "keywords"),
        ("Write a description. Do not repeat the keywords.", "description"),
    ],
)
def test_each_stage_gets_an_answer_of_its_own_that_names_the_picture(
    server: ModelServer, client: openai.OpenAI, task: str, stage: str
) -> None:
    completion = ask(client, task)

    assert said(completion) == answer(stage, PICTURE)
    assert hashlib.sha256(PICTURE).hexdigest()[:6] in answer(stage, PICTURE)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == DEFAULT_MODEL
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 1024
    assert completion.usage.completion_tokens == len(answer(stage, PICTURE).split())
    assert [request.stage for request in server.chat_requests] == [stage]


def test_the_stage_is_read_from_the_task_and_not_from_earlier_drafts() -> None:
    assert stage_of("Draft keywords: a, b\nDraft description: c\nTask: Write a caption.") == "caption"
    assert stage_of("Draft caption: a\nTask: Write a description.") == "description"


def test_a_test_may_bring_its_own_way_to_tell_the_stage() -> None:
    with (
        ModelServer(stage_of=lambda _: "description") as server,
        openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client,
    ):
        assert said(ask(client, "Write a caption.")) == answer("description", PICTURE)


def test_the_record_shows_what_was_sent(server: ModelServer, client: openai.OpenAI) -> None:
    ask(client, "Write a caption.")
    client.models.list()

    chat, models = server.requests
    assert (chat.method, chat.path) == ("POST", "/v1/chat/completions")
    assert chat.headers["authorization"] == "Bearer k"
    assert chat.json == json.loads(chat.body)
    assert server.image_bytes(chat) == PICTURE
    assert server.text(chat) == "Taken: 2024-05-01\nTask: Write a caption."
    assert server.system_text(chat) == "You describe photos."
    assert chat.finished is not None
    assert chat.finished >= chat.started
    assert (models.method, models.path, models.json, models.stage) == ("GET", "/v1/models", None, None)


def test_health_and_models_answer_and_can_be_told_not_to(server: ModelServer) -> None:
    assert get(server, "/health") == 200
    assert get(server, "/v1/models") == 200
    server.health_status, server.models_status = 503, 401
    assert get(server, "/health") == 503
    assert get(server, "/v1/models") == 401
    assert get(server, "/elsewhere") == 404


def get(server: ModelServer, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_served_models_are_known() -> None:
    with (
        ModelServer(models=("one", "two")) as server,
        openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client,
    ):
        assert [model.id for model in client.models.list()] == ["one", "two"]
        assert ask(client, "Write a caption.", model="two").model == "two"
        with pytest.raises(openai.NotFoundError, match="three"):
            ask(client, "Write a caption.", model="three")


def test_scripted_replies_are_given_once_and_a_stage_goes_before_any(
    server: ModelServer, client: openai.OpenAI
) -> None:
    server.script(None, Say("whoever"))
    server.script("keywords", Say("sea"), Say("sky"))

    answers = [
        said(ask(client, f"Write {stage}.")) for stage in ("keywords", "caption", "keywords", "keywords")
    ]

    assert answers == ["sea", "whoever", "sky", answer("keywords", PICTURE)]


def test_a_saying_carries_reason_refusal_and_reasoning(server: ModelServer, client: openai.OpenAI) -> None:
    server.script(None, Say(None, finish_reason="length", reasoning="Let me see", refusal="I will not"))

    choice = ask(client, "Write a caption.").choices[0]

    assert choice.finish_reason == "length"
    assert choice.message.content is None
    assert choice.message.refusal == "I will not"
    assert (choice.message.model_extra or {})["reasoning"] == "Let me see"


@pytest.mark.parametrize("shape", ["nested", "flat", "string", "list"])
def test_errors_come_in_all_four_shapes(server: ModelServer, client: openai.OpenAI, shape: Any) -> None:
    body = error_body(shape, "engine is on fire", 500)
    server.script(None, Fail(500, body, headers={"Retry-After": "7"}))

    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "Write a caption.")

    assert caught.value.response.json() == body
    assert caught.value.response.headers["retry-after"] == "7"
    assert "engine is on fire" in json.dumps(body)


def test_an_error_without_a_body_names_its_status(server: ModelServer, client: openai.OpenAI) -> None:
    server.script(None, Fail(429))
    with pytest.raises(openai.RateLimitError, match="Too Many Requests"):
        ask(client, "Write a caption.")


def test_garbage_goes_out_as_it_is(server: ModelServer, client: openai.OpenAI) -> None:
    server.script(None, Garbage(b"<html>\xff"))
    assert (
        client.chat.completions.with_raw_response.create(model=DEFAULT_MODEL, messages=[]).content
        == b"<html>\xff"
    )


def test_a_request_that_is_no_json_object_is_refused(server: ModelServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/v1/chat/completions", body=b"[1]")
    assert connection.getresponse().status == 400
    connection.close()
    assert server.chat_requests[0].json is None


def test_a_dropped_line_costs_one_request_only(server: ModelServer, client: openai.OpenAI) -> None:
    server.script(None, Drop())
    with pytest.raises(openai.APIConnectionError):
        ask(client, "Write a caption.")
    assert said(ask(client, "Write a caption.")) == answer("caption", PICTURE)


def test_connections_are_kept_alive(server: ModelServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/health")
    connection.getresponse().read()
    kept = connection.sock
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    assert kept is not None
    assert connection.sock is kept
    connection.close()


def test_held_requests_are_seen_in_flight_and_go_on_when_released(
    server: ModelServer, client: openai.OpenAI
) -> None:
    server.hold()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, client, "Write a caption.", image=bytes([n])) for n in range(3)]
        server.wait_in_flight(3)
        assert [request.finished for request in server.chat_requests] == [None] * 3
        server.release()
        assert [said(one.result()) for one in asked] == [answer("caption", bytes([n])) for n in range(3)]
    assert server.max_in_flight == 3
    with pytest.raises(TimeoutError, match="0 of 1 chat requests were in flight"):
        server.wait_in_flight(1, timeout=0)


def test_one_at_a_time_never_looks_like_two(server: ModelServer, client: openai.OpenAI) -> None:
    for _ in range(20):
        ask(client, "Write a caption.")
    assert server.max_in_flight == 1


def test_waiting_for_arrivals_counts_all_so_far(server: ModelServer, client: openai.OpenAI) -> None:
    ask(client, "Write a caption.")
    server.wait_for(1, timeout=0)
    with pytest.raises(TimeoutError, match="1 of 2 chat requests arrived"):
        server.wait_for(2, timeout=0)


def test_a_hanging_request_is_answered_after_the_next_release(
    server: ModelServer, client: openai.OpenAI
) -> None:
    server.release()
    server.script(None, Hang())
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ask, client, "Write a caption.")
        server.wait_in_flight(1)
        assert said(ask(client, "Write keywords.")) == answer("keywords", PICTURE)
        assert not hanging.done()
        server.release()
        assert said(hanging.result()) == answer("caption", PICTURE)


def test_going_down_cuts_what_is_in_flight_and_up_is_the_same_port(
    server: ModelServer, client: openai.OpenAI
) -> None:
    port = server.port
    server.script(None, Hang())
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ask, client, "Write a caption.")
        server.wait_in_flight(1)
        server.down()
        with pytest.raises(openai.APIConnectionError):
            hanging.result()
    with pytest.raises(openai.APIConnectionError):
        ask(client, "Write a caption.")

    server.up()

    assert server.port == port
    assert said(ask(client, "Write a caption.")) == answer("caption", PICTURE)


def test_a_client_that_does_not_wait_harms_nobody(
    server: ModelServer, client: openai.OpenAI, capfd: pytest.CaptureFixture[str]
) -> None:
    server.hold()
    impatient = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    impatient.request("POST", "/v1/chat/completions", body=b"{}")
    server.wait_for(1)
    assert impatient.sock is not None
    impatient.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
    impatient.close()
    server.release()
    assert said(ask(client, "Write a caption.")) == answer("caption", PICTURE)
    server.down()
    assert capfd.readouterr().err == ""


def post(server: ModelServer, path: str, body: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("POST", path, body=json.dumps(body))
        answered = connection.getresponse()
        return answered.status, json.loads(answered.read())
    finally:
        connection.close()


def native(text: str, *, image: bytes = PICTURE, model: str = DEFAULT_MODEL) -> dict[str, Any]:
    picture = base64.b64encode(image).decode()
    system = {"role": "system", "content": "You describe photos."}
    return {"model": model, "messages": [system, {"role": "user", "content": text, "images": [picture]}]}


def test_ollamas_own_interface_is_spoken_and_recorded_as_the_common_one() -> None:
    with ModelServer(dialect="ollama") as server:
        status, body = post(server, "/api/chat", native("Task: Write keywords."))
        (chat,) = server.chat_requests
        assert (status, body["message"]["content"]) == (200, answer("keywords", PICTURE))
        assert (body["done"], body["done_reason"], body["model"]) == (True, "stop", DEFAULT_MODEL)
        assert (server.image_bytes(chat), server.text(chat)) == (PICTURE, "Task: Write keywords.")
        assert (server.system_text(chat), chat.stage) == ("You describe photos.", "keywords")
        assert post(server, "/api/show", {"model": DEFAULT_MODEL})[1]["capabilities"] == [
            "completion",
            "vision",
        ]
        assert post(server, "/api/chat", native("Task: x", model="other"))[0] == 404


def test_only_ollama_speaks_ollamas_interface(server: ModelServer) -> None:
    assert post(server, "/api/chat", native("Task: x"))[0] == 404
    assert server.chat_requests == []


@pytest.mark.parametrize(
    ("dialect", "pages"),
    [
        ("vllm", {"/health", "/v1/models"}),
        ("llama-server", {"/health", "/props", "/v1/models"}),
        ("sglang", {"/health", "/model_info", "/v1/models"}),
        ("ollama", {"/api/tags", "/v1/models"}),
        ("openai", {"/v1/models"}),
    ],
)
def test_each_kind_of_server_has_its_pages_and_no_others(dialect: str, pages: set[str]) -> None:
    with ModelServer(dialect=dialect) as server:
        for path in ("/health", "/props", "/model_info", "/api/tags", "/v1/models"):
            assert get(server, path) == (200 if path in pages else 404)
        server.models_status = 401
        assert get(server, server.face.listing) == 401


def test_a_page_can_be_replaced() -> None:
    with ModelServer(dialect="llama-server") as server:
        server.pages["/props"] = {"total_slots": 7}
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/props?model=x")
        assert json.loads(connection.getresponse().read()) == {"total_slots": 7}
        connection.close()


def cached(completion: ChatCompletion) -> int | None:
    assert completion.usage is not None
    details = completion.usage.prompt_tokens_details
    return details.cached_tokens if details else None


def test_a_prompt_is_cached_as_far_as_it_is_the_same_from_the_beginning(
    server: ModelServer, client: openai.OpenAI
) -> None:
    server.tells_cached = True
    shared = 3 + 1024  # the system's words and the picture
    asked = [
        ask(client, "Write a caption."),
        ask(client, "Write a caption."),  # all but the last token, which is always worked out anew
        ask(client, "Write keywords."),  # up to the word that differs
        ask(client, "Write a caption.", image=b"another"),  # the system's words alone
        ask(client, "List keywords."),
    ]
    assert [cached(one) for one in asked] == [0, shared + 5, shared + 4, 3, shared + 3]
    assert server.cached_tokens == sum(cached(one) or 0 for one in asked)
    assert server.prompt_tokens == sum(one.usage.prompt_tokens for one in asked if one.usage)


def test_a_text_before_the_picture_spoils_the_cache(server: ModelServer) -> None:
    url = {"url": "data:image/jpeg;base64," + base64.b64encode(PICTURE).decode()}
    for task in ("Write a caption.", "List keywords."):
        content = [{"type": "text", "text": task}, {"type": "image_url", "image_url": url}]
        body = {"model": DEFAULT_MODEL, "messages": [{"role": "user", "content": content}]}
        assert post(server, "/v1/chat/completions", body)[0] == 200
    assert server.cached_tokens == 0


def test_no_more_requests_than_slots_are_worked_on_and_the_queue_has_an_end(client: openai.OpenAI) -> None:
    with (
        ModelServer(slots=2, max_queued=1) as server,
        openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0, timeout=20) as busy,
        ThreadPoolExecutor(3) as pool,
    ):
        server.retry_after = 3
        server.hold()
        asked = []
        for number in range(3):
            asked.append(pool.submit(ask, busy, "Write a caption."))
            server.wait_in_flight(number + 1)
        with pytest.raises(openai.InternalServerError) as caught:
            ask(busy, "Write a caption.")
        assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (503, "3")
        server.release()
        assert [said(one.result()) for one in asked] == [answer("caption", PICTURE)] * 3
        assert (server.max_working, server.max_in_flight, server.refused) == (2, 4, 1)


def test_a_connection_may_have_an_end_that_is_not_announced(server: ModelServer) -> None:
    server.requests_a_connection = 2
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(2):
        connection.request("GET", "/health")
        answered = connection.getresponse()
        assert answered.getheader("Connection") is None
        answered.read()
    connection.request("GET", "/health")
    with pytest.raises(ConnectionError):
        connection.getresponse()
    connection.close()


def test_as_a_process_it_logs_arrival_and_answer_and_stops_on_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "asked.jsonl"
    command = [
        sys.executable,
        "-m",
        "support.model_server",
        "--log",
        str(log),
        "--model",
        "m",
        "--delay",
        "0.01",
    ]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with openai.OpenAI(
                base_url=process.stdout.readline().strip(), api_key="k", max_retries=0
            ) as client:
                assert said(ask(client, "Write keywords.", model="m")) == answer("keywords", PICTURE)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()

    arrived, answered = (json.loads(line) for line in log.read_text().splitlines())
    assert (arrived["event"], answered["event"]) == ("arrived", "answered")
    assert arrived["number"] == answered["number"] == 0
    assert arrived["stage"] == "keywords"
    assert arrived["image_sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert arrived["system_sha256"] == hashlib.sha256(b"You describe photos.").hexdigest()
    assert len(arrived["body_sha256"]) == 64
    assert arrived["time"] <= answered["time"]
