"""What a model is asked: the same beginning for all stages, byte for byte, and the stage's own words last."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tagger_daemon.model import Draft, Stage
from tagger_daemon.vision.again import Change
from tagger_daemon.vision.entry import ChatRequest, Entry, Profile, StagePrompt
from tagger_daemon.vision.prompts import TOKENS_A_KEYWORD, build_request, picture_url, told

ENTRY = Entry(name="m", backend="vllm", served_model="m", vision=True)
FACTS = ("Season: summer", "Place: Alfama, Lisbon, Portugal")
DRAFT = Draft(caption="A tram climbs a street.", keywords=("tram", "Lisbon"))
PROFILE = Profile(
    id="p",
    name="P",
    description="For tests.",
    language="en",
    system="Be plain.",
    stages={
        stage: StagePrompt(
            instruction=f"Give {stage} {{max_keywords}} {{times}}.",
            max_tokens=200 + n,
            temperature=0.2,
            top_p=0.9,
        )
        for n, stage in enumerate(Stage)
    },
    hash="0" * 16,
)


def ask(stage: Stage, **changes: Any) -> ChatRequest:
    usual: dict[str, Any] = {
        "picture_url": picture_url(b"\xff\xd8jpeg"),
        "facts": FACTS,
        "draft": DRAFT,
        "profile": PROFILE,
        "entry": ENTRY,
        "max_keywords": 15,
    }
    return build_request(stage, **{**usual, **changes})


def text(request: ChatRequest) -> str:
    content = request.messages[1]["content"]
    assert content[1]["type"] == "text"
    return str(content[1]["text"])


def test_a_picture_travels_as_the_bytes_it_is() -> None:
    head, _, body = picture_url(b"\xff\xd8\x00").partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(body, validate=True) == b"\xff\xd8\x00"


def test_a_long_list_that_is_asked_for_has_room() -> None:
    assert ask(Stage.KEYWORDS, max_keywords=64).max_tokens == 64 * TOKENS_A_KEYWORD
    assert ask(Stage.CAPTION, max_keywords=64).max_tokens == 200


def test_a_request_is_what_the_profile_says() -> None:
    request = ask(Stage.KEYWORDS)
    assert request == ChatRequest(
        stage=Stage.KEYWORDS,
        messages=(
            {"role": "system", "content": "Be plain."},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": picture_url(b"\xff\xd8jpeg")}},
                    {"type": "text", "text": text(request)},
                ],
            },
        ),
        max_tokens=201,
        temperature=0.2,
        top_p=0.9,
    )


def test_the_whole_text() -> None:
    assert text(ask(Stage.DESCRIPTION)) == (
        "Facts about this photo (use one only if it fits what is visible):\n"
        "- Season: summer\n"
        "- Place: Alfama, Lisbon, Portugal\n"
        "\n"
        "Drafts by an earlier step (they may be wrong):\n"
        "- Caption: A tram climbs a street.\n"
        "- Keywords: tram, Lisbon\n"
        "\n"
        "Task: Give description 15 {times}."
    )


@pytest.mark.parametrize("stage", list(Stage))
def test_what_is_not_known_is_not_mentioned(stage: Stage) -> None:
    assert text(ask(stage, facts=(), draft=Draft())) == f"Task: Give {stage} 15 {{times}}."


def test_only_the_description_is_told_of_drafts() -> None:
    assert "tram" not in text(ask(Stage.CAPTION))
    assert "tram" not in text(ask(Stage.KEYWORDS))
    alone = text(ask(Stage.DESCRIPTION, draft=Draft(caption="A tram.")))
    assert "- Caption: A tram.\n\nTask:" in alone


def test_all_stages_begin_alike_up_to_the_facts() -> None:
    requests = [ask(stage) for stage in Stage]
    shared = {
        json.dumps([request.messages[0], request.messages[1]["content"][0], text(request).split("\n\n")[0]])
        for request in requests
    }
    assert len(shared) == 1


def test_a_schema_only_for_keywords_and_only_where_it_is_proven() -> None:
    proven = ENTRY.evolve(json_schema=True)
    assert ask(Stage.CAPTION, entry=proven).response_format is None
    assert ask(Stage.DESCRIPTION, entry=proven).response_format is None
    answer = ask(Stage.KEYWORDS, entry=proven).response_format
    assert answer is not None
    assert answer["type"] == "json_schema"
    schema = answer["json_schema"]["schema"]
    assert schema["properties"] == {"keywords": {"type": "array", "items": {"type": "string"}}}
    assert schema["required"] == ["keywords"]


def test_a_second_attempt_is_changed_as_it_is_told() -> None:
    first = ask(Stage.CAPTION)
    freer = ask(Stage.CAPTION, change=Change(temperature=0.7, presence_penalty=1.0))
    assert freer == first.evolve(temperature=0.7, presence_penalty=1.0)
    assert ask(Stage.CAPTION, change=Change(temperature=0.1)) == first
    assert ask(Stage.CAPTION, change=Change(more_tokens=2)) == first.evolve(max_tokens=400)
    strict = ENTRY.evolve(dialect="transformers")
    assert ask(Stage.CAPTION, entry=strict, change=Change(presence_penalty=1.0)).presence_penalty is None


@pytest.mark.parametrize("stage", list(Stage))
def test_a_neutral_request_differs_in_its_task_only(stage: Stage) -> None:
    first, neutral = text(ask(stage)), text(ask(stage, change=Change(neutral=True)))
    assert neutral.partition("Task: ")[0] == first.partition("Task: ")[0]
    assert "Give" not in neutral
    assert "{" not in neutral


@pytest.mark.parametrize("change", [Change(), Change(neutral=True)])
@pytest.mark.parametrize("stage", list(Stage))
def test_what_was_told_is_all_words_of_a_request_but_facts_and_drafts(stage: Stage, change: Change) -> None:
    words = told(stage, PROFILE, max_keywords=15, change=change)
    assert "Be plain." in words
    assert text(ask(stage, facts=(), draft=Draft(), change=change)).removeprefix("Task: ") in words
    assert "Alfama" not in words
    assert "tram" not in words
