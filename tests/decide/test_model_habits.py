"""What models are in the habit of answering, and what becomes of it."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from tagger_daemon.errors import ReplyError, ReplyMalformed, ReplyRefused, ReplyRepetitive, ReplyTruncated
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import ChatReply
from tagger_daemon.vision.keywords import clean_keywords
from tagger_daemon.vision.profile import load_profile
from tagger_daemon.vision.prompts import told
from tagger_daemon.vision.replies import read_keywords, read_text

PROFILE = load_profile("default")
TOLD = {stage: told(stage, PROFILE, max_keywords=15) for stage in Stage}


def read(stage: Stage, text: str, *, language: str = "en", **changes: Any) -> str | tuple[str, ...]:
    reply = ChatReply(
        text=text,
        finish_reason="stop",
        reasoning=None,
        refusal=None,
        model="m",
        endpoint="http://127.0.0.1:1/v1",
        prompt_tokens=900,
        completion_tokens=20,
        seconds=0.5,
    ).evolve(**changes)
    if stage is Stage.KEYWORDS:
        return read_keywords(reply, limit=15, language=language, instruction=TOLD[stage])
    return read_text(reply, stage, language=language, instruction=TOLD[stage])


def keywords(text: str, **changes: Any) -> tuple[str, ...]:
    found = read(Stage.KEYWORDS, text, **changes)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # Qwen-VL: JSON in a fence, objects with scores, control characters that a grammar let through
        (
            '```json\n{\n  "keywords": [\n    "Golden Retriever",\n    "beach"\n  ]\n}\n```',
            "golden retriever|beach",
        ),
        (
            '{"keywords": [{"keyword": "dogs", "score": 0.98}, {"keyword": "beach", "score": 0.9}]}',
            "dog|beach",
        ),
        ('{"caption": "A dog runs.", "keywords": ["dog", "beach"], "mood": "happy"}', "dog|beach"),
        ('{"Keywords": "dog, beach"}', "dog|beach"),
        ('{"keywords": ["dog\tcollar", "s\x08ea", "beach"]}', "dog collar|sea|beach"),
        ('{"dog": 0.9, "sea": 0.8}', "dog|sea"),
        ('{"dog": true, "person": false}', "dog"),
        ('{"keyword": "dog"}\n{"keyword": "sea"}', "dog|sea"),
        ('Here is the list:\n["dog", "sea"]\n\nAnd some more: ["sand"]', "dog|sea|sand"),
        ("['dog', 'beach', 'sea']", "dog|beach|sea"),
        # LLaVA: a numbered list in Title Case; one line with commas and a full stop
        (
            "1. Dog\n2. Beach\n3. Ocean Waves\n4. Blue Sky\n5. Golden Gate Bridge",
            "dog|beach|ocean wave|blue sky|Golden Gate Bridge",
        ),
        ("Dog, beach, waves, sand and sky.", "dog|beach|wave|sand|sky"),
        ("Keywords: black and white, dog, a man and a woman.", "black and white|dog|man|woman"),
        # InternVL: bold words with a reason, labels in bold
        (
            (
                "1. **Dog**: The main subject of the image, running along the shore.\n"
                "2. **Ocean Waves** - Visible in the background behind the dog."
            ),
            "dog|ocean wave",
        ),
        (
            "- **Subject**: Golden Retriever\n- **Setting:** Sandy Beach\n- **Mood**: playful",
            "golden retriever|sandy beach|playful",
        ),
        # Gemma: headings, groups, an offer at the end
        (
            (
                "Okay, here are some keywords for the photo:\n\n**Main:**\n\n* dog\n* beach\n\n"
                "**Other:**\n* sea\n\n"
                "Would you like me to suggest more?"
            ),
            "dog|beach|sea",
        ),
        ("\U0001f415 dog\n\U0001f3d6\ufe0f beach\n\U0001f30a waves", "dog|beach|wave"),
        # Moondream: hashtags, articles
        ("#dog #beach #sunset", "dog|beach|sunset"),
        ("a dog, the beach, an umbrella", "dog|beach|umbrella"),
        # MiniCPM: sentence case a line, inline bullets, scores behind a colon
        ("Golden retriever\nSandy beach\nBlue sky", "golden retriever|sandy beach|blue sky"),
        ("dog \u2022 beach \u2022 sea", "dog|beach|sea"),
        ("dog: 0.97\nbeach: 0.91", "dog|beach"),
        # thinking models
        ("<think>\n\n</think>\n\ndog\nbeach", "dog|beach"),
        (
            (
                "<|channel|>analysis<|message|>A cat.<|end|>"
                "<|start|>assistant<|channel|>final<|message|>dog\nsea<|return|>"
            ),
            "dog|sea",
        ),
        ("<think>A cat?</think><answer>dog, sea</answer>", "dog|sea"),
        # one word in several forms, names, what only looks like a plural
        ("bridge\nBridges\nBRIDGE\nblue car\nred cars", "bridge|blue car|red car"),
        (
            "Paris\nEiffel Tower\nLes Paul\nBeatles\nAthens\nChristmas\nglasses",
            "Paris|Eiffel Tower|Les Paul|Beatles|Athens|Christmas|glasses",
        ),
        # what is spelt out as in HTML, what a slash would tear apart, plurals and ideas that are ones
        ("rock &amp; roll\n9/11 memorial\nday/night", "rock & roll|day|night"),
        ("French fries\nbelongings\ncustoms\nhope\nnote", "French fries|belongings|customs|hope|note"),
        ("Alps\nDolomites\nSea\nDog", "Alps|Dolomites|sea|dog"),
        ("Keywords for this photo: dog, beach, sea", "dog|beach|sea"),
        # dates, cameras, instructions and addresses among keywords
        ("dog\nMay 2024\n50mm\nmost important first\nwww.example.com\nmail me@example.com", "dog"),
    ],
)
def test_keywords(text: str, found: str) -> None:
    assert keywords(text) == tuple(found.split("|"))


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("de", "Hund, Str\u00e4nde, Berge", "Hund|Str\u00e4nde|Berge"),
        ("fr", "les chats\nBateaux", "les chats|Bateaux"),
        ("zh", "\u72d7\uff0c\u6d77\u6ee9\u3001\u84dd\u5929", "\u72d7|\u6d77\u6ee9|\u84dd\u5929"),
        ("ja", "1\uff0e\u72ac\n2\uff0e\u30d3\u30fc\u30c1", "\u72ac|\u30d3\u30fc\u30c1"),
        ("ja", "\u72ac\u3001\u30d3\u30fc\u30c1", "\u72ac|\u30d3\u30fc\u30c1"),
        (
            "ar",
            "\u0643\u0644\u0628\u060c \u0634\u0627\u0637\u0626\u061b \u0633\u0645\u0627\u0621",
            "\u0643\u0644\u0628|\u0634\u0627\u0637\u0626|\u0633\u0645\u0627\u0621",
        ),
        (
            "ru",
            "\u0441\u043e\u0431\u0430\u043a\u0430, \u043f\u043b\u044f\u0436, BMW",
            "\u0441\u043e\u0431\u0430\u043a\u0430|\u043f\u043b\u044f\u0436|BMW",
        ),
    ],
)
def test_keywords_in_other_languages_keep_their_forms(language: str, text: str, found: str) -> None:
    assert keywords(text, language=language) == tuple(found.split("|"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The image shows a dog running along a beach.", "A dog running along a beach."),
        ("In this image, we can see two dogs on a beach.", "Two dogs on a beach."),
        ("This photo depicts the old bridge of a town.", "The old bridge of a town."),
        ("<think>\n\n</think>\n\nA dog runs.", "A dog runs."),
        ("[THINK]A cat?[/THINK]A dog runs.", "A dog runs."),
        ("\u25c1think\u25b7A cat?\u25c1/think\u25b7A dog runs.", "A dog runs."),
        ("<|begin_of_thought|>A cat?<|end_of_thought|>\nA dog runs.", "A dog runs."),
        ("<|begin_of_box|>A dog runs.<|end_of_box|>", "A dog runs."),
        (
            "<SUMMARY>I look.</SUMMARY><REASONING>A cat?</REASONING><CONCLUSION>A dog runs.</CONCLUSION>",
            "A dog runs.",
        ),
        ("Alt text: A dog runs.", "A dog runs."),
        ("Bildunterschrift: Ein Hund rennt.", "Ein Hund rennt."),
        ("Based on the image, here is a caption: A dog runs.", "A dog runs."),
    ],
)
def test_captions(text: str, found: str) -> None:
    assert read(Stage.CAPTION, text) == found


THOUGHTS = [
    "Okay, so the user wants a caption for this photo. Let me look at it. There is a dog.",
    "Got it, let's see. The image shows a dog.",
    "Hmm, I need to describe this photo. First, the dog.",
    "The user has asked for keywords. dog, beach",
    "We need to produce one sentence. The photo has a dog.",
    "Let me analyze the photo step by step.",
    "<|channel|>analysis<|message|>The user wants a caption. A dog.",
    "[THINK]A dog, or a cat.",
    "\u597d\u7684\uff0c\u7528\u6237\u5e0c\u671b\u6211\u63cf\u8ff0\u3002",
]
REFUSALS = [
    "I'm not able to identify people in photos.",
    "A man stands on a stage. I'm unable to identify the person in the photo.",
    "Unfortunately, I cannot assist with that request.",
    "It looks like you haven't attached an image.",
    "The image could not be loaded.",
    "I don't have the ability to view images.",
    "This request violates our policy.",
    "Es tut mir leid, aber ich kann das nicht.",
    "D\u00e9sol\u00e9, je ne peux pas voir l'image.",
    "Lo siento, no puedo ayudar con eso.",
    "\u5f88\u62b1\u6b49\uff0c\u6211\u65e0\u6cd5\u63cf\u8ff0\u3002",
    "\u7533\u3057\u8a33\u3042\u308a\u307e\u305b\u3093\u3002",
]
GARBLED = [
    "A caf\u00c3\u00a9 on a square.",
    "A dog\u00e2\u20ac\u2122s bowl.",
    "A caf\ufffd on a square.",
    "A d\ue001g runs.",
    "A dog ~~~~~~~~~~~~ runs.",
    "A dog " + "x7Kq" * 15,
]


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    ("text", "error"),
    [
        *((text, ReplyMalformed) for text in THOUGHTS),
        *((text, ReplyRefused) for text in REFUSALS),
        *((text, ReplyMalformed) for text in GARBLED),
        ("\u4e00\u53ea\u72d7\u5728\u6d77\u6ee9\u4e0a\u5954\u8dd1\u3002", ReplyMalformed),
        ("\u0421\u043e\u0431\u0430\u043a\u0430.", ReplyMalformed),
        ("[Insert caption here]", ReplyMalformed),
    ],
)
def test_what_is_never_written(stage: Stage, text: str, error: type[ReplyError]) -> None:
    with pytest.raises(error):
        read(stage, text)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_part_of_any_instruction_said_back_is_no_answer(stage: Stage) -> None:
    for sentence in re.split(r"(?<=[.:;]) ", TOLD[stage].replace("\n", " ")):
        if len(sentence.split()) >= 5:
            with pytest.raises(ReplyError):
                read(stage, sentence)


@pytest.mark.parametrize("text", ["From left to right: Anna, Ben.", "A tall man in the photo."])
def test_a_few_words_that_anybody_says_are_no_part_of_the_instruction(text: str) -> None:
    profile = load_profile("family-archive")
    instruction = told(Stage.DESCRIPTION, profile, max_keywords=15)
    assert "left to right" in instruction
    reply = ChatReply(
        text=text,
        finish_reason="stop",
        reasoning=None,
        refusal=None,
        model="m",
        endpoint="",
        prompt_tokens=None,
        completion_tokens=None,
        seconds=0.5,
    )
    assert read_text(reply, Stage.DESCRIPTION, instruction=instruction) == text


def test_a_sign_in_another_script_may_be_quoted() -> None:
    text = "A sign says \u5317\u4eac\u7ad9 above the entrance of a railway station."
    assert read(Stage.CAPTION, text) == text
    model = "Como modelo posa una mujer ante una pared."
    assert read(Stage.CAPTION, model, language="es") == model
    russian = "\u041f\u0435\u0441 \u0438 BMW \u0443 \u0434\u043e\u043c\u0430."
    assert read(Stage.CAPTION, russian, language="ru") == russian
    with pytest.raises(ReplyMalformed, match="script of ru"):
        read(Stage.CAPTION, "A red car.", language="ru")


@pytest.mark.parametrize("language", ["sr-Latn", "sr-Cyrl", "zh-TW", "x-own", "tlh"])
def test_the_script_is_that_of_the_tag_or_the_likeliest(language: str) -> None:
    texts = {
        "sr-Latn": "Pas tr\u010di.",
        "sr-Cyrl": "\u041f\u0430\u0441 \u0442\u0440\u0447\u0438.",
        "zh-TW": "\u72d7\u3002",
    }
    text = texts.get(language, "A dog.")
    assert read(Stage.CAPTION, text, language=language) == text


@pytest.mark.parametrize(
    ("text", "reasoning", "error"),
    [
        ("dog\nbeach\nblu", None, ReplyTruncated),
        (
            '["dog", "beach", "sea", "dog", "beach", "sea", "dog", "beach", "sea", "dog", "be',
            None,
            ReplyRepetitive,
        ),
        ('{"keywords": [' + " " * 200, None, ReplyRepetitive),
        ("<think>A dog, or perhaps", None, ReplyMalformed),
        ("", "A dog, or perhaps", ReplyMalformed),
    ],
)
def test_what_was_cut_off(text: str, reasoning: str | None, error: type[ReplyError]) -> None:
    with pytest.raises(error):
        read(Stage.KEYWORDS, text, reasoning=reasoning, finish_reason="length")


#: Pieces of which bad answers are made: words, what goes between them, and what must never come through.
GOOD = [
    "dog",
    "beaches",
    "Golden Gate Bridge",
    "red car",
    "women",
    "Paris",
    "a man",
    "caf\u00e9s",
    "3D print",
]
GOOD += ["Eiffel", "\u6d77", "\u0643\u0644\u0628"]
BETWEEN = ["\n", ", ", "; ", " | ", " and ", ". ", "\u3001", "\u060c", "\\n", "\r\n", " / ", " \u2022 ", "\t"]
BAD = [
    *THOUGHTS,
    *REFUSALS,
    *GARBLED,
    "\u202e",
    "\u200b",
    "\x00\x1b[31m",
    "\ud800",
    "<b>",
    "<|im_end|>",
    "[/INST]",
    "https://a.example/x",
    "me@a.example",
    "`rm -rf`",
    "**",
    "](x)",
    "- ",
    "1. ",
    "#",
    "{",
    '{"keywords": [',
    "]}",
    "```json\n",
    "IMG_1234.JPG",
    "=cmd()",
]


def echo_of(stage: Stage) -> str:
    return " ".join(TOLD[stage].split()[-30:-18])


def bad_answers(stage: Stage, seed: int, count: int) -> Iterator[str]:
    chance = random.Random(seed)
    bad = [*BAD, echo_of(stage)]
    for _ in range(count):
        pieces = chance.choices(GOOD, k=chance.randint(0, 9)) + chance.choices(bad, k=chance.randint(0, 4))
        chance.shuffle(pieces)
        text = "".join(piece + chance.choice(BETWEEN) for piece in pieces)
        yield chance.choice((text, text, json.dumps(pieces), json.dumps({"keywords": pieces})))


@pytest.mark.parametrize("stage", list(Stage))
def test_nothing_bad_comes_through(stage: Stage) -> None:
    passed = 0
    for text in bad_answers(stage, seed=20, count=2000):
        try:
            found = read(stage, text)
        except ReplyError:
            continue
        passed += 1
        for fit in [found] if isinstance(found, str) else found:
            assert fit == unicodedata.normalize("NFC", " ".join(fit.split())) != ""
            assert not {unicodedata.category(letter) for letter in fit} & {"Cc", "Cf", "Cs", "Co", "Cn"}
            assert not re.search(r"<|>|```|\*\*|\]\(|https?:|@|im_end|INST|\ufffd", fit), fit
            assert not re.search(r"the user|I'm (?:not|un)|haven't", fit), fit
            assert echo_of(stage) not in fit
        if isinstance(found, tuple):
            assert len({keyword.casefold() for keyword in found}) == len(found) <= 15
            assert all(len(keyword) <= 40 and len(keyword.encode()) <= 64 for keyword in found)
            assert not any(re.search(r"[|,;/\\{}_]", keyword) for keyword in found)
            assert clean_keywords(found, limit=15) == found
    assert passed > 20
