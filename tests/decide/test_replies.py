"""A model's answer is text fit for a photo, or an error of the right kind."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.errors import (
    ReplyError,
    ReplyMalformed,
    ReplyRefused,
    ReplyRepetitive,
    ReplyTruncated,
)
from tagger_daemon.model import Draft, Stage
from tagger_daemon.vision.entry import ChatReply, Entry, Profile
from tagger_daemon.vision.loops import lists_in_circles, runs_in_circles
from tagger_daemon.vision.plain import plain
from tagger_daemon.vision.profile import list_profiles
from tagger_daemon.vision.prompts import build_request
from tagger_daemon.vision.replies import read_keywords, read_text

TEXTS = (Stage.CAPTION, Stage.DESCRIPTION)
DOG = "A brown dog runs along a beach."


def reply(text: str, **changes: Any) -> ChatReply:
    usual = ChatReply(
        text=text,
        finish_reason="stop",
        reasoning=None,
        refusal=None,
        model="m",
        endpoint="http://127.0.0.1:1/v1",
        prompt_tokens=900,
        completion_tokens=20,
        seconds=0.5,
    )
    return usual.evolve(**changes)


def caption(text: str, **changes: Any) -> str:
    return read_text(reply(text, **changes), Stage.CAPTION)


def description(text: str) -> str:
    return read_text(reply(text), Stage.DESCRIPTION)


def keywords(text: str, **changes: Any) -> tuple[str, ...]:
    return read_keywords(reply(text, **changes), limit=15)


def read(stage: Stage, answer: ChatReply) -> object:
    return read_keywords(answer, limit=15) if stage is Stage.KEYWORDS else read_text(answer, stage)


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"finish_reason": "length"}, ReplyTruncated),
        ({"finish_reason": "abort"}, ReplyTruncated),
        ({"finish_reason": "error"}, ReplyTruncated),
        ({"finish_reason": None}, ReplyTruncated),
        ({"finish_reason": "repetition"}, ReplyRepetitive),
        ({"finish_reason": "content_filter"}, ReplyRefused),
        ({"refusal": "No."}, ReplyRefused),
        ({"text": ""}, ReplyMalformed),
        ({"text": " \n\u200b\x00"}, ReplyMalformed),
        ({"text": "", "reasoning": "A dog, I think."}, ReplyMalformed),
        ({"text": "<think>A dog, I think.</think>\n"}, ReplyMalformed),
        ({"text": "<think>A dog, I think, or"}, ReplyMalformed),
        ({"text": "dog " * 6000}, ReplyMalformed),
    ],
)
def test_answers_that_never_were(stage: Stage, changes: dict[str, Any], error: type[ReplyError]) -> None:
    with pytest.raises(error):
        read(stage, reply(DOG).evolve(**changes))


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, I cannot describe people.",
        "I am unable to view images.",
        "I cannot identify the person.",
        "I'm an AI.",
        "I am an AI language model and do not see.",
        "I didn't receive an image.",
        "I have no access to the image.",
        "Could you please provide the image?",
        "Since no image was provided, here is a generic answer.",
        "It is not possible to describe the image.",
        "No description available.",
        "I can't see any image.",
        "I don't see an image in our conversation.",
        "Sorry, I can't do that.",
        "Unfortunately, I cannot see the photo.",
        "As an AI language model, I do not see.",
        "I'm just an assistant for text.",
        "There is no image attached.",
        "No image was provided.",
        "Please upload the photo.",
        "<think>Hm.</think>I cannot help.",
    ],
)
def test_refusals(stage: Stage, text: str) -> None:
    with pytest.raises(ReplyRefused):
        read(stage, reply(text))


@pytest.mark.parametrize(
    "text",
    [
        DOG,
        'A sign reads "Sorry, we\'re closed" in a shop window.',
        '"Open" and "Closed" stand on two doors.',
        "Two people hold a banner that says I can't breathe.",
        "Here is where the river meets the sea, below a white lighthouse.",
        "Sure-footed goats climb a rock face.",
        "Très grande fête à Saint-Étienne.",
        "A sign says \u4eac\u90fd\u99c5 above the door of a station.",
        "A very, very, very old oak stands in a field.",
        "Tables at a café on a square: red chairs, white cloths, no guests.",
        "A heart <3 is painted on a wall.",
        "A dog 🐕\u200d🦺 in a vest.",
        "A sign reads 'I'm sorry'.",
        "Unfortunately the top of the tower is hidden by fog.",
        "Please share the road, says a yellow sign beside a mountain highway.",
        "As an assistant holds the ladder, a man paints a wall.",
        "It looks like you could touch the moon above this ridge.",
        "\u201cI have a dream\u201d is engraved in the steps of a memorial.",
        "We want peace, says a banner that a crowd carries.",
        "The instructions are pinned to a wall beside a fire extinguisher.",
        "Step 1 of a staircase is painted red.",
        "Let's go is painted on a van beside a beach.",
        "Write your name, says a chalkboard beside a table with keywords.",
        "List of names and a caption carved in a stone memorial.",
        "Describe yourself is the caption on a poster.",
        "Certainly! is painted on a wall.",
        "OK! magazine lies on a table.",
        "From the photo wall: smiling faces.",
        "A chalkboard outside a café. I hope you like coffee is written on it.",
        "5. September 1945 stands on a gravestone.",
        "- 5 °C is shown on a thermometer.",
        "A page with a poem of 12 words.",
        "A book title: Faust.",
    ],
)
@pytest.mark.parametrize("stage", TEXTS)
def test_a_good_text_stays_as_it_is(stage: Stage, text: str) -> None:
    assert read_text(reply(text), stage) == text


@pytest.mark.parametrize(
    "text",
    [
        f"  {DOG}\n",
        f"<think>Is it a dog? It is.</think>\n\n{DOG}",
        f"<THINKING>\n{DOG}\n</THINKING>{DOG}",
        f"Is it a dog? It is.</think>{DOG}",
        f"Caption: {DOG}",
        f"**Caption:** {DOG}",
        f"**Caption**\n\n{DOG}",
        f"# Caption\n{DOG}",
        f"Sure! Here is a caption for the photo:\n\n{DOG}",
        f"Here's a one-sentence description: {DOG}",
        f"Certainly. {DOG}",
        f'"{DOG}"',
        f"\u201c{DOG}\u201d",
        f'Caption: "{DOG}"',
        f"*{DOG}*",
        f"- {DOG}",
        "A **brown** dog runs along a `beach`.",
        f"{DOG} Let me know if you would like another one!",
        f"{DOG}\n\nHope this helps!",
        f"{DOG}\n\n---",
        f"Here you go: {DOG}",
        f"Sure, here you go: {DOG}",
        f"Great! {DOG}",
        f"Assistant: {DOG}",
        f"A possible caption could be: {DOG}",
        f"Okay, {DOG[0].lower()}{DOG[1:]}",
        f"This is a photo of {DOG[0].lower()}{DOG[1:]}",
        f'"The image shows {DOG[0].lower()}{DOG[1:]}"',
        "A brown\u00a0dog\truns\r\nalong a\u2028beach.",
        "A brown\u202e dog\u200b runs\x00 along\x1b a beach\ud800.\ufffd\uffff\ufeff",
    ],
)
def test_wrapping_comes_off(text: str) -> None:
    assert caption(text) == DOG


def test_a_text_is_composed() -> None:
    assert caption("A cafe\u0301.") == "A caf\u00e9."


def test_paragraphs_become_one() -> None:
    assert description(f"{DOG}\n\nThe sea is calm.\n") == f"{DOG} The sea is calm."


@pytest.mark.parametrize("stage", TEXTS)
@pytest.mark.parametrize(
    "text",
    [
        '{"text": "A dog."}',
        '["A dog."]',
        '```json\n{"title": "A dog."}\n```',
        '{"caption": ["A dog."], "description": ["A dog."]}',
        "- a dog\n- a beach\n- the sea",
        "1. A dog runs.\n2. A dog walks.",
        "A dog. See https://example.com/dog",
        "A dog at www.example.com",
        "A <b>dog</b>.",
        "A dog.<|im_end|>",
        "A [dog](dog.html).",
        "A dog.[/INST]",
        "A **dog.",
        "Title: A dog\nCaption: A dog runs.",
        f"{DOG}\n\nKeywords: dog, beach",
        f"{DOG} (31 characters)",
        f"{DOG} (Note: this is within the limit.)",
        f"{DOG}\nSeason: summer",
        f"{DOG} This caption says what can be seen.",
        "Option 1: A dog runs.\n\nOption 2: A dog walks.",
        "A dog &amp; a cat.",
        "$\\boxed{A dog runs.}$",
        "A caf\\u00e9 on a square.",
        "Facts about this photo (use one only if it fits what is visible):\n- Season: summer",
        "Drafts by an earlier step (they may be wrong):\n- Caption: A dog.",
        "Task: something",
        "Write one factual sentence as a caption.",
        "...",
        "N/A",
        "unknown.",
    ],
)
def test_texts_that_are_something_else(stage: Stage, text: str) -> None:
    with pytest.raises(ReplyMalformed):
        read_text(reply(text), stage)


@pytest.mark.parametrize("profile", [one.profile for one in list_profiles()], ids=lambda profile: profile.id)
@pytest.mark.parametrize("stage", list(Stage))
def test_our_own_request_said_back_is_no_answer(stage: Stage, profile: Profile) -> None:
    request = build_request(
        stage,
        picture_url="data:",
        facts=("Season: summer",),
        draft=Draft(caption="A dog.", keywords=("dog",)),
        profile=profile,
        entry=Entry(name="m", backend="vllm", served_model="m"),
        max_keywords=15,
    )
    text = request.messages[1]["content"][1]["text"]
    for echo in (text, text.split("Task: ")[1]):
        with pytest.raises(ReplyMalformed):
            read_text(reply(echo), Stage.DESCRIPTION)


@pytest.mark.parametrize(("stage", "longest"), [(Stage.CAPTION, 200), (Stage.DESCRIPTION, 2000)])
def test_too_long(stage: Stage, longest: int) -> None:
    words = "-".join(f"word{number}" for number in range(400))
    assert len(read_text(reply(words[:longest]), stage)) == longest
    with pytest.raises(ReplyMalformed, match=f"longer than {longest} characters"):
        read_text(reply(words[: longest + 1]), stage)


def test_a_caption_of_too_many_sentences_loses_whole_ones() -> None:
    first = "A white hotel in St. Moritz stands above a lake."
    second = "Its red flag hangs still, and on the roof gulls sit beside a chimney that has no smoke today."
    caption = f"{first} {second}"
    more = "A man in a long coat walks his dog past the closed door, and nobody else is to be seen."
    assert read_text(reply(f"{caption} {more}"), Stage.CAPTION) == caption
    assert read_text(reply(f"{first} {second[:-1]}, while {more[2:]}"), Stage.CAPTION) == first


@pytest.mark.parametrize(
    "text",
    [
        "A dog dog dog dog dog on a beach.",
        "A beach and a beach and a beach and a beach and a beach.",
        "The sky is blue. " * 3,
        "The dog runs. " + "It looks at the camera and at the sea. " * 3,
        "红色" * 10,
        "Haaaaaaaaaaaaaaaaa.",
        " ".join(f"On the left there is a red {thing}." for thing in ("car", "bus", "van", "bike")),
    ],
)
def test_circles(text: str) -> None:
    with pytest.raises(ReplyRepetitive):
        description(text)


def test_what_is_no_circle() -> None:
    assert not runs_in_circles(
        "One by one by one by one, red, blue and red balloons rise, row by row by row."
    )
    assert not lists_in_circles(["dog"] * 11)
    assert not lists_in_circles(
        [f"{letter}{letter} thing" if letter > "d" else letter for letter in "abcdefghijklm"]
    )
    assert lists_in_circles([f"thing {letter}" for letter in "abcdefghijklm"])
    assert lists_in_circles([f"dog {number}" for number in range(12)])


@pytest.mark.parametrize(
    "text",
    [
        "dog\nbeach\nblue sky",
        "dog, beach, blue sky",
        "dog, beach, and blue sky.",
        "- dog\n- beach\n- blue sky",
        "1. dog\n2. beach\n3. blue sky\n",
        "Keywords: dog, beach, blue sky",
        "Here are the keywords:\n\n* dog\n* beach\n* blue sky\n\nLet me know if you need more!",
        '["dog", "beach", "blue sky"]',
        '{"keywords": ["dog", "beach", "blue sky"]}',
        '{"keywords": "dog, beach, blue sky"}',
        '{"subject": ["dog"], "setting": {"place": ["beach"], "sky": "blue sky"}}',
        '[{"keyword": "dog", "score": 0.9}, {"keyword": "beach"}, {"name": "blue sky"}]',
        'Sure!\n```json\n["dog", "beach", "blue sky"]\n```\nEnjoy your day at the beach!',
        "```\ndog\nbeach\nblue sky\n```",
        '["dog", "beach", "blue sky"',
        "<think>a cat? no</think>dog\nbeach\nblue sky",
        "[dog], [beach], [blue sky]",
        "1. dog 2. beach 3. blue sky",
        "Dog. Beach. Blue sky.",
        "#dog\n#beach\n#blue_sky",
    ],
)
def test_keywords_in_every_shape(text: str) -> None:
    assert keywords(text) == ("dog", "beach", "blue sky")


def test_keywords_are_capped_at_the_best() -> None:
    assert read_keywords(reply("dog\nbeach\nsea"), limit=2) == ("dog", "beach")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"keywords": []}',
        "photo, image, photography",
        "1, 2, 3",
        "x" * 4001,
        "This is a long sentence about a dog that runs on a beach.",
        *(hostile * (4000 // len(hostile)) for hostile in ("[", "@", "-", "(0.1)", "a@a.", "```", "<", '"#')),
    ],
)
def test_no_usable_keyword(text: str) -> None:
    with pytest.raises(ReplyMalformed):
        keywords(text)


@pytest.mark.parametrize("text", ["dog\ncat\n" * 6, ", ".join(f"wave {n}" for n in range(20))])
def test_keywords_in_circles(text: str) -> None:
    with pytest.raises(ReplyRepetitive):
        keywords(text)


@pytest.mark.parametrize(
    "hostile", ["*", "\n", "<a", "Caption:", "[", "{", "a_", ". ", "<think>", "</think>"]
)
@pytest.mark.parametrize("stage", TEXTS)
def test_hostile_texts_end_soon(stage: Stage, hostile: str) -> None:
    with pytest.raises(ReplyError):
        read_text(reply(hostile * (19_990 // len(hostile))), stage)


@pytest.mark.parametrize("stage", TEXTS)
def test_a_text_may_come_as_json_under_its_own_name(stage: Stage) -> None:
    told = json.dumps({stage: "A dog runs.", "confidence": 0.9})
    for answer in (told, f"```json\n{told}\n```"):
        assert read_text(reply(answer), stage) == "A dog runs."
    with pytest.raises(ReplyMalformed):
        read_text(reply(json.dumps({stage: " "})), stage)


def test_messages_do_not_repeat_what_the_model_said() -> None:
    for text in ('{"text": "secret"}', "Visit www.secret.example", "I cannot tell the secret."):
        with pytest.raises(ReplyError) as caught:
            caption(text)
        assert "secret" not in str(caught.value)
    with pytest.raises(ReplyTruncated) as truncated:
        caption(DOG, finish_reason="x\n" * 100)
    assert str(truncated.value).isprintable()
    assert len(str(truncated.value)) < 120


ANSWERS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "Caption:", "\n", '"', "**", "- ", "1. ", "{", "}", "[", "]", "```"]
    )
    | st.sampled_from(["dog ", "a ", "http://", "\u202e", "\ud800", "Sure! ", "e\u0301", ": ", ", "])
    | st.text(max_size=5),
    max_size=25,
).map("".join)


@given(ANSWERS, st.sampled_from(list(Stage)))
def test_any_answer_is_a_fit_text_or_a_reply_error(text: str, stage: Stage) -> None:
    try:
        answer = read(stage, reply(text))
    except ReplyError:
        return
    for fit in (answer,) if isinstance(answer, str) else answer:  # type: ignore[attr-defined]
        assert fit == plain(fit) != ""
        assert fit.encode()
        assert "\n" not in fit


@given(st.text())
def test_plain_text_is_visible_composed_and_stays(text: str) -> None:
    once = plain(text)
    assert plain(once) == once == unicodedata.normalize("NFC", once)
    assert not {unicodedata.category(letter) for letter in once} & {"Cc", "Cs", "Co", "Zl", "Zp"}
