"""Keywords come out as a person would have typed them, in the model's order."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.vision.keywords import clean_keywords


def clean(*words: str, limit: int = 15) -> tuple[str, ...]:
    return clean_keywords(words, limit=limit)


@pytest.mark.parametrize(
    "keyword",
    [
        "dog",
        "Golden Gate Bridge",
        "Paris",
        "glasses",
        "news",
        "red car",
        "black-and-white",
        "Saint-Jean-d'Angély",
        "rock 'n' roll",
        "Washington D.C.",
        "U.S. flag",
        "3D print",
        "1950s car",
        "golden hour",
        "京都",
        "海",
        "Überfahrt",
        "picture frame",
        "photo album",
        "video camera",
        "Paris (France)",
        "LGBTQ+",
        "f\u00eate",
        "sure-footed goat",
        "landscape format",
        "high contrast",
        "\u0645\u06cc\u200c\u0631\u0648\u0645",
    ],
)
def test_a_good_keyword_stays_as_it_is(keyword: str) -> None:
    assert clean(keyword) == (keyword,)


@pytest.mark.parametrize(
    ("written", "keyword"),
    [
        ("- dog", "dog"),
        ("• dog", "dog"),
        ("*   dog", "dog"),
        ("1. dog", "dog"),
        ("1.dog", "dog"),
        ("(12) dog", "dog"),
        ("3 - dog", "dog"),
        ("2) 3D print", "3D print"),
        ("[x] dog", "dog"),
        ("#dog", "dog"),
        ("#golden_gate", "golden gate"),
        ("“dog”", "dog"),
        ("**dog**", "dog"),
        ("`dog`", "dog"),
        ('["dog"', "dog"),
        ("(dog)", "dog"),
        ("dog.", "dog"),
        ("dog (0.97)", "dog"),
        ("dog (97 %)", "dog"),
        ("and dog", "dog"),
        ("Setting: beach", "beach"),
        ("Keywords: dog", "dog"),
        ("<b>dog</b>", "dog"),
        ("dog<|im_end|>", "dog"),
        ("blue\t \u00a0sky", "blue sky"),
        ("blue\u200b sky\u202e\x00", "blue sky"),
        ("fe\u0302te", "f\u00eate"),
        ("do\ud800g\ufffd\uffff", "dog"),
    ],
)
def test_what_is_not_the_keyword_comes_off(written: str, keyword: str) -> None:
    assert clean(written) == (keyword,)


@pytest.mark.parametrize("separator", [",", ";", "|", "/", "\n", "、", ", and ", "\u037e", "\u2028", "\\n"])
def test_several_in_one_are_split(separator: str) -> None:
    assert clean(f"dog{separator} beach") == ("dog", "beach")


def test_hashtags_on_one_line_are_split() -> None:
    assert clean("#dog #golden hour #3D") == ("dog", "golden hour", "3D")


@pytest.mark.parametrize(
    "word",
    [
        "",
        " - ",
        "2024",
        "f",
        "f/2.8",
        "1/250",
        "50mm",
        "85 mm lens",
        "ISO 400",
        "Canon EOS 5D Mark IV",
        "Nikon",
        "4K",
        "24 megapixels",
        "1920x1080",
        "6000 \u00d7 4000",
        "high resolution",
        "IMG_1234.JPG",
        "DSC01234",
        "holiday.jpeg",
        "photography",
        "Landscape Photography",
        "stock photo",
        "photo of a dog",
        "Image",
        "camera",
        "keywords",
        "one per line",
        "N/A",
        "unknown",
        "Here are 15 keywords:",
        "**Main subjects:**",
        "Sure!",
        "This photo shows dogs",
        "I can see dogs",
        "The sky is blue.",
        "a dog that runs fast",
        "incomprehensibilities incomprehensibilities",
        "犬" * 22,
        "https://example.com/dog",
        "www.example.com",
        "someone@example.com",
        '{"keywords":["dog"',
        'a":{"b":"dog',
    ],
)
def test_what_is_no_keyword_is_dropped(word: str) -> None:
    assert clean(word) == ()


def test_talk_before_a_list_in_prose_goes_and_the_list_stays() -> None:
    assert clean("Sure! Here are 3 keywords: dog, beach, and blue sky.") == ("dog", "beach", "blue sky")


def test_the_same_again_is_dropped_and_the_first_spelling_stays() -> None:
    assert clean("Paris", "paris", "PARIS", "red car", "blue car", "STRASSE", "straße") == (
        "Paris",
        "red car",
        "blue car",
        "STRASSE",
    )


def test_the_order_is_the_ranking_and_the_cap_keeps_its_best() -> None:
    assert clean("zebra", "photo", "ant", "mouse", limit=2) == ("zebra", "ant")


WRITTEN = st.text(
    st.sampled_from("abcdog DS1.2:)(,;|/-\u2013*#\"'<>[]_\n\t~!\u202e\u037e\u00a0°é海\ud800")
    | st.characters(),
    max_size=30,
)


@given(st.lists(WRITTEN, max_size=8), st.integers(1, 20))
def test_whatever_a_model_says_only_keywords_come_out(words: list[str], limit: int) -> None:
    keywords = clean_keywords(words, limit=limit)
    assert len(keywords) <= limit
    assert len({keyword.casefold() for keyword in keywords}) == len(keywords)
    for keyword in keywords:
        assert keyword == unicodedata.normalize("NFC", " ".join(keyword.split()))
        assert not set(keyword) & set("|,;<>/\n\t\x00\ufffd")
        assert len(keyword) <= 40
        assert len(keyword.encode()) <= 64
        assert len(keyword.split()) <= 4


@given(st.lists(WRITTEN, max_size=8))
def test_cleaning_twice_changes_nothing(words: list[str]) -> None:
    once = clean_keywords(words, limit=99)
    assert clean_keywords(once, limit=99) == once
