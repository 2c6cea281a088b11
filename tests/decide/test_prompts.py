"""What a model is asked: the same beginning for all stages, byte for byte, and the stage's own words last."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagger_daemon.model import Draft, Stage
from tagger_daemon.vision.again import Change
from tagger_daemon.vision.entry import ChatRequest, Entry, Profile, StagePrompt
from tagger_daemon.vision.prompts import TOKENS_A_KEYWORD, build_request, picture_url, task_text, told

ENTRY = Entry(name="m", backend="vllm", served_model="m", vision=True)
FACTS = ("Season: summer", "Place: Alfama, Lisbon, Portugal")
DRAFT = Draft(caption="A tram climbs a street.", keywords=("tram", "Lisbon"))
PROFILE = Profile(
    id="p",
    name="P",
    description="For tests.",
    language="en",
    keyword_language="de",
    system="Be plain.",
    stages={
        stage: StagePrompt(
            instruction=f"Give {stage} {{max_keywords}} {{times}}.",
            max_tokens=200 + n,
            temperature=0.2,
            top_p=0.9,
            output="lines" if stage is Stage.KEYWORDS else "text",
            language="German" if stage is Stage.KEYWORDS else "English",
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


def pictures(value: Any) -> list[str]:
    """Return whatever a server could take for the address of a picture."""
    if isinstance(value, dict):
        addresses = [str(value["url"])] if "url" in value else []
        return addresses + [found for part in value.values() for found in pictures(part)]
    return [found for part in value for found in pictures(part)] if isinstance(value, list | tuple) else []


@settings(deadline=None)
@given(foreign=st.text() | st.just("http://127.0.0.1/ file:///etc/passwd"), stage=st.sampled_from(Stage))
def test_the_only_address_in_a_request_is_the_picture_itself(foreign: str, stage: Stage) -> None:
    """Servers fetch what they are given an address of, from wherever they stand."""
    request = ask(stage, facts=(f"Place: {foreign}",), draft=Draft(caption=foreign, keywords=(foreign,)))
    assert pictures(request.messages) == [picture_url(b"\xff\xd8jpeg")]
    assert pictures(request.messages)[0].startswith("data:image/jpeg;base64,")


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
        "Task: Give description 15 {times}. Write in English."
    )


@pytest.mark.parametrize("stage", list(Stage))
def test_what_is_not_known_is_not_mentioned(stage: Stage) -> None:
    ending = {
        Stage.KEYWORDS: "Write the keywords in German. One keyword per line and nothing else.",
    }.get(stage, "Write in English.")
    assert text(ask(stage, facts=(), draft=Draft())) == f"Task: Give {stage} 15 {{times}}. {ending}"


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


def changed(stage: Stage, **changes: Any) -> Profile:
    return PROFILE.evolve(stages={**PROFILE.stages, stage: PROFILE.stages[stage].evolve(**changes)})


def test_a_language_that_the_instruction_names_itself_is_not_told_twice() -> None:
    profile = changed(Stage.KEYWORDS, instruction="List {max_keywords} {language} words.")
    said = task_text(Stage.KEYWORDS, profile, max_keywords=7)
    assert said == "List 7 German words. One keyword per line and nothing else."


def test_what_comes_before_the_facts_is_the_same_whatever_the_stages_languages_are() -> None:
    profile = PROFILE.evolve(system="Speak {language}, at most {max_keywords} words.")
    systems = {ask(stage, profile=profile).messages[0]["content"] for stage in Stage}
    assert systems == {"Speak English, at most 15 words."}


PROVEN = ENTRY.evolve(json_schema=True)
JSON = changed(Stage.KEYWORDS, output="json")


def test_json_is_asked_for_in_words_and_by_a_schema_where_that_is_proven() -> None:
    for entry in (ENTRY, PROVEN):
        said = text(ask(Stage.KEYWORDS, profile=JSON, entry=entry))
        assert said.endswith('and nothing else: {"keywords": ["...", "..."]}')
    answer = ask(Stage.KEYWORDS, profile=JSON, entry=PROVEN).response_format
    assert answer is not None
    assert answer["type"] == "json_schema"
    schema = answer["json_schema"]["schema"]
    assert schema["properties"] == {"keywords": {"type": "array", "items": {"type": "string"}}}
    assert schema["required"] == ["keywords"]


@pytest.mark.parametrize(
    ("stage", "profile", "entry"),
    [
        (Stage.CAPTION, JSON, PROVEN),
        (Stage.DESCRIPTION, JSON, PROVEN),
        (Stage.KEYWORDS, PROFILE, PROVEN),
        (Stage.KEYWORDS, JSON, ENTRY),
        (Stage.KEYWORDS, JSON, PROVEN.evolve(dialect="transformers")),
    ],
)
def test_no_schema_where_it_does_not_fit_or_is_not_proven(
    stage: Stage, profile: Profile, entry: Entry
) -> None:
    assert ask(stage, profile=profile, entry=entry).response_format is None


def test_a_penalty_is_sent_only_where_the_profile_has_one() -> None:
    assert ask(Stage.CAPTION).presence_penalty is None
    assert ask(Stage.CAPTION, profile=changed(Stage.CAPTION, presence_penalty=1.5)).presence_penalty == 1.5


@pytest.mark.parametrize("stage", [Stage.CAPTION, Stage.DESCRIPTION])
def test_a_text_may_be_wanted_as_json_too(stage: Stage) -> None:
    request = ask(stage, profile=changed(stage, output="json"), entry=PROVEN)
    assert text(request).endswith(f'and nothing else: {{"{stage}": "..."}}')
    assert request.response_format is not None
    assert request.response_format["json_schema"]["schema"]["properties"] == {stage: {"type": "string"}}


def test_the_larger_penalty_counts() -> None:
    profile = changed(Stage.CAPTION, presence_penalty=1.5)
    sent = [ask(Stage.CAPTION, profile=profile, change=Change(presence_penalty=one)) for one in (1.0, 1.8)]
    assert [request.presence_penalty for request in sent] == [1.5, 1.8]


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
