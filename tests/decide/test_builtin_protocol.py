"""The built-in describer's side of the OpenAI protocol, without a server."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagger_daemon.model import Stage
from tagger_daemon.vision.builtin.answering import answer
from tagger_daemon.vision.builtin.forms import TEXT, Form, read_form, render
from tagger_daemon.vision.builtin.protocol import MODEL, completion, read_question
from tagger_daemon.vision.builtin.refusals import Refusal


def picture_url(colour: str = "red", kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def request(text: str = "Task: Write a caption.", url: str | None = None, **more: Any) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url or picture_url()}}
    return {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Be plain."},
            {"role": "user", "content": [image, {"type": "text", "text": text}]},
        ],
        **more,
    }


def ask(text: str = "Task: Write a caption.", **more: Any) -> dict[str, Any]:
    return answer(json.dumps(request(text, **more)).encode(), 1_700_000_000)


def content(reply: dict[str, Any]) -> str:
    text = reply["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def test_a_request_is_answered_in_full() -> None:
    reply = ask()
    assert content(reply) == "A square picture in vivid red, most of the frame empty."
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert (reply["model"], reply["object"], reply["created"]) == (MODEL, "chat.completion", 1_700_000_000)
    usage = reply["usage"]
    assert usage == {"prompt_tokens": 9, "completion_tokens": 13, "total_tokens": 22}


def test_the_same_request_gets_the_same_answer_and_another_picture_another() -> None:
    assert ask() == ask()
    assert content(ask()) != content(ask(url=picture_url("blue")))
    assert ask()["id"] != ask(url=picture_url("blue"))["id"]


def test_keywords_come_one_a_line() -> None:
    lines = content(ask("Task: List up to 9 keywords, one per line.")).split("\n")
    assert lines[0] == "red"
    assert 8 <= len(lines) <= 9


def test_plain_string_content_and_a_separate_picture_are_understood() -> None:
    body = request()
    body["messages"] = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture_url()}}]},
        {"role": "assistant", "content": "Task: Write a caption."},
        {"role": "user", "content": "Task: List 8 keywords."},
    ]
    assert content(answer(json.dumps(body).encode(), 0)).startswith("red\n")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_over_the_limit_is_cut_and_says_so(name: str) -> None:
    limit: dict[str, Any] = {name: 3}
    reply = ask(**limit)
    assert content(reply) == "A square picture"
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 3


def test_an_answer_of_exactly_the_limit_is_whole() -> None:
    assert ask(max_tokens=13)["choices"][0]["finish_reason"] == "stop"


KEYWORDS = {"type": "array", "items": {"type": "string"}}


def schema_format(schema: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


def one_property(value: object, **more: object) -> dict[str, object]:
    return {"type": "object", "properties": {"words": value}, "required": ["words"], **more}


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        (None, "a\nb c"),
        ({"type": "text"}, "a\nb c"),
        ({"type": "json_object"}, '{"keywords": ["a", "b c"]}'),
        (schema_format(KEYWORDS), '["a", "b c"]'),
        (schema_format(KEYWORDS | {"maxItems": 1}), '["a"]'),
        (schema_format(one_property(KEYWORDS, additionalProperties=False)), '{"words": ["a", "b c"]}'),
        (schema_format(one_property({"type": "string"})), '{"words": "a, b c"}'),
        (schema_format(one_property({"type": "string", "maxLength": 5})), '{"words": "a, b"}'),
        (schema_format({"type": "string", "title": "T"}), '"a, b c"'),
    ],
)
def test_keywords_take_the_form_that_is_asked_for(response_format: object, expected: str) -> None:
    assert render(("a", "b c"), Stage.KEYWORDS, read_form(response_format)) == expected


def test_a_caption_takes_the_form_that_is_asked_for() -> None:
    caption = "A café."
    assert render(caption, Stage.CAPTION, TEXT) == caption
    assert json.loads(render(caption, Stage.CAPTION, Form(json=True))) == {"caption": caption}
    assert json.loads(render(caption, Stage.CAPTION, read_form(schema_format(KEYWORDS)))) == [caption]


@pytest.mark.parametrize(
    "response_format",
    [
        "json",
        {"type": "yaml"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        schema_format({"type": "number"}),
        schema_format({"type": "array", "items": {"type": "number"}}),
        schema_format({"type": "array"}),
        schema_format(KEYWORDS | {"minItems": 40}),
        schema_format({"type": "string", "pattern": "^a"}),
        schema_format({"type": "string", "maxLength": 0}),
        schema_format(one_property({"type": "string", "enum": ["x"]})),
        schema_format(one_property("string")),
        schema_format({"type": "object"}),
        schema_format({"type": "object", "properties": {"a": KEYWORDS, "b": KEYWORDS}}),
        schema_format({"type": "object", "properties": {"a": KEYWORDS}, "required": ["b"]}),
        schema_format({"type": "object", "properties": {"a": KEYWORDS}, "minProperties": 2}),
    ],
)
def test_a_form_that_would_not_be_kept_to_is_refused(response_format: object) -> None:
    with pytest.raises(Refusal) as refused:
        read_form(response_format)
    assert (refused.value.status, refused.value.param) == (400, "response_format")


def refusal_of(body: bytes) -> Refusal:
    with pytest.raises(Refusal) as refused:
        answer(body, 0)
    return refused.value


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    assert refusal_of(body).status == 400


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"model": None}, "model", 400),
        ({"model": "gpt-4o"}, "model", 404),
        ({"stream": True}, "stream", 400),
        ({"n": 2}, "n", 400),
        ({"max_tokens": 0}, "max_tokens", 400),
        ({"max_tokens": "many"}, "max_tokens", 400),
        ({"max_completion_tokens": True}, "max_completion_tokens", 400),
        ({"messages": []}, "messages", 400),
        ({"messages": "describe"}, "messages", 400),
        ({"messages": ["describe"]}, "messages", 400),
        ({"messages": [{"content": "x"}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": 1}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": "no picture"}]}, "messages", 400),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(change: dict[str, Any], param: str, status: int) -> None:
    refused = refusal_of(json.dumps(request(**change)).encode())
    assert (refused.status, refused.param) == (status, param)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://example.org/a.jpg", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("data:text/html;base64,AAAA", "nothing is fetched"),
        ("data:image/jpeg;base64,****", "base64"),
        ("data:image/jpeg;base64,\u00e9", "base64"),
        ("data:image/jpeg;base64,AAAA", "decoded"),
        ("data:image/jpeg;base64,", "decoded"),
    ],
)
def test_a_picture_that_is_none_is_refused(url: str, words: str) -> None:
    refused = refusal_of(json.dumps(request(url=url)).encode())
    assert refused.status == 400
    assert words in str(refused)


def test_two_pictures_are_one_too_many() -> None:
    body = request()
    body["messages"][1]["content"] *= 2
    assert "exactly one" in str(refusal_of(json.dumps(body).encode()))


def test_a_refusal_has_the_shape_that_clients_know() -> None:
    body = refusal_of(json.dumps(request(model="x" * 500)).encode()).body()["error"]
    assert (body["type"], body["param"], body["code"]) == ("NotFoundError", "model", 404)
    assert MODEL in body["message"]
    assert len(body["message"]) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "image_url", "url", "schema", "properties"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["messages", "response_format", "max_tokens", "n", "model"]), json_values)
def test_whatever_is_sent_is_read_or_refused(field: str, value: object) -> None:
    body = json.dumps(request() | {field: value}).encode()
    with contextlib.suppress(Refusal):
        assert completion(read_question(body), Stage.CAPTION, "A word.", created=0)["choices"]
