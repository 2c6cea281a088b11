"""Every cell of the table of dialects, over real HTTP, against a server that looks like that kind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

from support.asking import a_request, an_entry
from support.model_server import DEFAULT_MODEL, Fail, ModelServer, Say
from support.server_faces import FACES
from tagger_daemon.cli.checks import talks
from tagger_daemon.errors import RequestRejected, ServerMisconfigured
from tagger_daemon.model import Stage
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.dialects import DIALECTS, Dialect
from tagger_daemon.vision.entry import ChatReply, ChatRequest
from tagger_daemon.vision.prompts import SCHEMAS, picture_url

pytestmark = pytest.mark.anyio

PICTURE = b"\xff\xd8 a picture"
FORMAT = SCHEMAS[Stage.KEYWORDS]
SCHEMA = FORMAT["json_schema"]["schema"]
OFF = {"chat_template_kwargs": {"enable_thinking": False}}


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What one row of the table claims."""

    cap: str = "max_tokens"
    thinking_off: dict[str, Any] = field(default_factory=dict)
    json_schema: bool = True
    presence_penalty: bool = True
    health: str | None = None
    listing: str = "/v1/models"
    identity: str = "/v1/models"  # a page that tells more than names
    names_models: bool = True
    checks_model: bool = True
    native: bool = False
    cuts_prompts: bool = False
    digests: bool = False
    talks: bool = True


TABLE = {
    "vllm": Cells(thinking_off=OFF, health="/health"),
    "lmdeploy": Cells(thinking_off=OFF, health="/health"),
    "llama-server": Cells(thinking_off=OFF, health="/health", identity="/props", checks_model=False),
    "sglang": Cells(thinking_off=OFF, health="/health", identity="/model_info", checks_model=False),
    "ollama": Cells(
        cap="num_predict",
        thinking_off={"think": False},
        listing="/api/tags",
        identity="/api/ps",
        native=True,
        cuts_prompts=True,
        digests=True,
    ),
    "ollama-v1": Cells(
        thinking_off={"reasoning_effort": "none"},
        listing="/api/tags",
        identity="/api/ps",
        cuts_prompts=True,
        digests=True,
    ),
    "lmstudio": Cells(listing="/api/v1/models", identity="/api/v1/models"),
    "openai": Cells(cap="max_completion_tokens"),
    "compatible": Cells(),
    "litellm": Cells(health="/health/readiness"),
    "transformers": Cells(json_schema=False, presence_penalty=False, health="/health", names_models=False),
    "builtin": Cells(health="/health", talks=False),
}
EVERY = pytest.mark.parametrize("name", list(DIALECTS))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def asking(server: ModelServer, name: str, **changes: Any) -> AsyncIterator[ChatClient]:
    url = server.base_url
    client = ChatClient(url, an_entry(url, dialect=name, backend=name, **changes), api_key=None)
    try:
        yield client
    finally:
        await client.close()


def showing_a_picture(**changes: Any) -> ChatRequest:
    content = [
        {"type": "image_url", "image_url": {"url": picture_url(PICTURE)}},
        {"type": "text", "text": "Task: Write a caption of what can be seen in the picture above."},
    ]
    system = {"role": "system", "content": "You describe photos."}
    return a_request(messages=(system, {"role": "user", "content": content}), **changes)


async def asked(name: str, request: ChatRequest, *replies: Say | Fail, **changes: Any) -> ChatReply:
    with ModelServer(dialect=name) as server:
        server.script("caption", *replies)
        async with asking(server, name, **changes) as client:
            return await client.chat(request, session="photo 1")


async def body_sent(name: str, request: ChatRequest, **changes: Any) -> dict[str, Any]:
    with ModelServer(dialect=name) as server:
        async with asking(server, name, **changes) as client:
            await client.chat(request, session="photo 1")
        (sent,) = server.chat_requests
    assert sent.path == ("/api/chat" if TABLE[name].native else "/v1/chat/completions")
    assert sent.json is not None
    return sent.json


def test_every_dialect_and_every_cell_is_tried_here() -> None:
    assert TABLE.keys() == DIALECTS.keys() == FACES.keys()
    assert {cell.name for cell in fields(Cells)} == {cell.name for cell in fields(Dialect)} - {"name"}
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {name: name for name in DIALECTS}


@EVERY
async def test_a_request_holds_what_the_dialect_knows_and_no_more(name: str) -> None:
    cells, request = TABLE[name], showing_a_picture()
    sampling = {"temperature": 0.2, "top_p": 0.9}
    common = {"model": DEFAULT_MODEL, **cells.thinking_off}
    if cells.native:
        expected = common | {
            "messages": [
                {"role": "system", "content": "You describe photos."},
                {
                    "role": "user",
                    "content": "Task: Write a caption of what can be seen in the picture above.",
                    "images": [picture_url(PICTURE).partition("base64,")[2]],
                },
            ],
            "options": {**sampling, cells.cap: 120},
            "keep_alive": "30m",
            "truncate": False,
            "stream": False,
        }
    else:
        expected = common | {"messages": list(request.messages), **sampling, cells.cap: 120}
    assert await body_sent(name, request) == expected


@EVERY
async def test_a_schema_goes_where_it_is_understood_and_nowhere_else(name: str) -> None:
    sent = await body_sent(name, a_request(response_format=FORMAT), json_schema=True)
    told = {key: value for key, value in sent.items() if "format" in key}
    if not TABLE[name].json_schema:
        assert told == {}
    else:
        assert told == ({"format": SCHEMA} if TABLE[name].native else {"response_format": FORMAT})


@EVERY
async def test_a_penalty_for_saying_things_again_is_sent_where_it_is_known(name: str) -> None:
    cells = TABLE[name]
    sent = await body_sent(name, a_request(presence_penalty=1.5))
    told = sent["options"] if cells.native else sent
    assert told.get("presence_penalty") == (1.5 if cells.presence_penalty else None)


async def test_the_context_that_an_entry_needs_is_asked_of_ollama() -> None:
    sent = await body_sent("ollama", a_request(), context=8192)
    assert sent["options"]["num_ctx"] == 8192


@EVERY
async def test_an_entrys_own_fields_count_more_except_for_what_is_ours(name: str) -> None:
    fields_of_its_own = {
        "temperature": 1.5,
        "chat_template_kwargs": {"fancy": True},
        "options": {"num_predict": -1, "num_ctx": 4096, "top_p": 0.5},
        "messages": [],
        "stream": True,
    }
    if name == "transformers":  # refuses the others, which is then the entry's fault
        fields_of_its_own = {"temperature": 1.5, "messages": []}
    cells = TABLE[name]
    sent = await body_sent(name, a_request(), extra_body=fields_of_its_own, context=8192)
    assert sent["temperature"] == 1.5
    assert len(sent["messages"]) == 2
    if cells.native:
        assert sent["options"] == {"temperature": 0.2, "top_p": 0.5, "num_ctx": 4096, "num_predict": 120}
        assert sent["stream"] is False
    else:
        assert sent[cells.cap] == 120
    if "chat_template_kwargs" in cells.thinking_off:
        assert sent["chat_template_kwargs"] == {"enable_thinking": False, "fancy": True}


@EVERY
async def test_the_same_answer_is_read_out_of_every_dialect(name: str) -> None:
    reply = await asked(name, showing_a_picture(), Say("A pier at dusk.", reasoning="Water, so a pier."))
    assert (reply.text, reply.reasoning) == ("A pier at dusk.", "Water, so a pier.")
    assert (reply.finish_reason, reply.model) == ("stop", DEFAULT_MODEL)
    assert (reply.prompt_tokens, reply.completion_tokens) == (3 + 1024 + 13, 4)
    assert reply.cached_tokens == (0 if FACES[name].tells_cached else None)


@EVERY
async def test_an_answer_that_was_cut_off_says_so(name: str) -> None:
    assert (
        await asked(name, a_request(), Say("A pier at", finish_reason="length"))
    ).finish_reason == "length"


@EVERY
async def test_what_is_cached_of_a_picture_is_told(name: str) -> None:
    with ModelServer(dialect=name) as server:
        server.tells_cached = True
        async with asking(server, name) as client:
            first, second = [await client.chat(showing_a_picture(), session="photo 1") for _ in range(2)]
    assert (first.cached_tokens, second.cached_tokens) == (0, 3 + 1024 + 12)


@EVERY
async def test_a_look_costs_two_pages_at_most_and_no_completion(name: str) -> None:
    cells = TABLE[name]
    with ModelServer(dialect=name) as server:
        async with asking(server, name) as client:
            await client.ready()
        looked_at = [request.path for request in server.requests]
    assert looked_at == [
        path for path in (cells.health, cells.listing if cells.names_models else None) if path
    ]


@EVERY
async def test_another_model_is_noticed_before_any_photo_is_sent(name: str) -> None:
    with ModelServer(dialect=name, models=("another",)) as server:
        async with asking(server, name) as client:
            if not TABLE[name].names_models:
                await client.ready()
                return
            with pytest.raises(ServerMisconfigured, match=f"serves another.*asks for '{DEFAULT_MODEL}'"):
                await client.ready()


@EVERY
async def test_another_model_gives_no_words(name: str) -> None:
    with ModelServer(dialect=name, models=("another",)) as server:
        async with asking(server, name) as client:
            if name == "sglang":  # answers to any name by that name: only its list tells
                assert (await client.chat(a_request(), session="photo 1")).model == DEFAULT_MODEL
                return
            with pytest.raises(ServerMisconfigured, match=DEFAULT_MODEL) as caught:
                await client.chat(a_request(), session="photo 1")
    assert ("answers as another" in str(caught.value)) is not TABLE[name].checks_model


@EVERY
async def test_who_answers_is_compared_where_the_server_does_not_check(name: str) -> None:
    said = Say("A pier.", model="another")
    if TABLE[name].checks_model:
        assert (await asked(name, a_request(), said)).model == "another"
    else:
        with pytest.raises(ServerMisconfigured, match=f"answers as another, .* asks for '{DEFAULT_MODEL}'"):
            await asked(name, a_request(), said)


@EVERY
async def test_a_prompt_that_lost_a_part_is_noticed_where_that_happens(name: str) -> None:
    kept = Say("A cat.", prompt_tokens=9)  # 16 words and a picture
    whole = Say("A pier.", prompt_tokens=10)
    assert (await asked(name, showing_a_picture(), Say("A pier.", prompt_tokens=0))).text
    assert (await asked(name, a_request(), Say("A pier.", prompt_tokens=1))).text  # without a picture
    if TABLE[name].cuts_prompts:
        with pytest.raises(ServerMisconfigured, match=r"counts 8 tokens in a picture and 16 words.*num_ctx"):
            await asked(name, showing_a_picture(), Say("A cat.", prompt_tokens=8))
        assert (await asked(name, showing_a_picture(), kept)).text == "A cat."
    assert (await asked(name, showing_a_picture(), whole)).text == "A pier."


@EVERY
async def test_what_a_server_is_can_be_read_off_its_pages(name: str) -> None:
    cells = TABLE[name]
    with ModelServer(dialect=name) as server:
        async with asking(server, name) as client:
            assert (client.dialect, client.endpoint) == (DIALECTS[name], server.base_url)
            assert client.entry.dialect == name
            page = await client.get(cells.identity)
            assert (page.status_code, bool(page.json())) == (200, True)
            assert ('"digest"' in (await client.get(cells.listing)).text) is cells.digests
            assert (await client.get("/nowhere")).status_code == 404


@EVERY
async def test_a_question_without_a_picture_is_asked_where_it_is_answered(name: str) -> None:
    with ModelServer(dialect=name) as server:
        async with asking(server, name) as client:
            assert (await talks(client) == "answers") is TABLE[name].talks
        assert (len(server.smalltalk), server.chat_requests) == (int(TABLE[name].talks), [])


@EVERY
async def test_the_servers_own_words_are_found_in_its_errors(name: str) -> None:
    with ModelServer(dialect=name) as server:
        server.script("caption", Fail(422, server.error("The image is too small.", 422)))
        async with asking(server, name) as client:
            with pytest.raises(RequestRejected, match=r"\(422: The image is too small\.\)$"):
                await client.chat(a_request(), session="photo 1")


@pytest.mark.parametrize("name", ["ollama", "ollama-v1", "lmstudio"])
async def test_where_its_own_list_is_missing_the_common_one_counts(name: str) -> None:
    with ModelServer(dialect="compatible") as server:
        async with asking(server, name) as client:
            await client.ready()
        assert [request.path for request in server.requests] == [TABLE[name].listing, "/v1/models"]


@pytest.mark.parametrize(
    ("listing", "wanted"),
    [
        ({"models": [{"name": "qwen3-vl:latest", "digest": "d"}]}, "qwen3-vl"),
        ({"models": [{"name": "qwen3-vl:latest", "digest": "d"}]}, "qwen3-vl:latest"),
        ({"models": [{"name": "qwen3-vl:8b", "digest": "d"}]}, "qwen3-vl:8b"),
        ({"models": [{"key": "qwen/qwen3-vl-8b", "loaded_instances": []}]}, "qwen/qwen3-vl-8b"),
        ({"models": [{"key": "qwen/qwen3-vl-8b", "loaded_instances": [{"id": "eyes"}]}]}, "eyes"),
        ({"data": [{"id": "Q4.gguf", "aliases": ["eyes"]}], "models": [{"name": "Q4.gguf"}]}, "eyes"),
        ({"data": [{"id": "a"}, {"id": "eyes", "status": {"value": "unloaded"}}]}, "eyes"),  # a router
    ],
)
async def test_the_names_in_a_list_are_all_found(listing: dict[str, Any], wanted: str) -> None:
    name = "ollama"
    with ModelServer(dialect=name) as server:
        server.pages["/api/tags"] = listing
        async with asking(server, name, served_model=wanted) as client:
            await client.ready()
        async with asking(server, name, served_model="ears") as client:
            with pytest.raises(ServerMisconfigured, match="asks for 'ears'"):
                await client.ready()


async def test_a_model_may_answer_by_any_of_the_names_that_it_is_listed_under() -> None:
    listing = {"data": [{"id": "Q4.gguf", "aliases": ["eyes"]}, {"id": "other.gguf"}]}
    with ModelServer(dialect="llama-server", models=("eyes",)) as server:
        server.pages["/v1/models"] = listing
        server.script("caption", Say("A pier.", model="Q4.gguf"), Say("A pier.", model="other.gguf"))
        async with asking(server, "llama-server", served_model="eyes") as client:
            await client.ready()
            assert (await client.chat(a_request(), session="photo 1")).text == "A pier."
            with pytest.raises(ServerMisconfigured, match=r"answers as other\.gguf"):
                await client.chat(a_request(), session="photo 1")


async def test_a_page_may_have_to_be_told_something() -> None:
    with ModelServer(dialect="ollama") as server:
        async with asking(server, "ollama") as client:
            page = await client.post("/api/show", {"model": DEFAULT_MODEL})
        assert page.json()["capabilities"] == ["completion", "vision"]
        assert server.requests[0].json == {"model": DEFAULT_MODEL}


async def test_ollama_is_told_to_answer_in_any_json_too() -> None:
    sent = await body_sent("ollama", a_request(response_format={"type": "json_object"}))
    assert json.dumps(sent["format"]) == '"json"'
