"""Models that run in circles are told from those that like a phrase."""

from __future__ import annotations

import pytest

from tagger_daemon.vision.loops import is_blank_without_end, lists_in_circles, runs_in_circles


@pytest.mark.parametrize(
    "text",
    [
        "A dog dog dog dog dog on a beach.",
        "A beach and a beach and a beach and a beach and a beach.",
        "The sky is blue. " * 3,
        "\u7ea2\u8272" * 10,
        "Haaaaaaaaaaaaaaaaa.",
        "0.9999999999999999",
        "The image is a photo of a photo of a photo of a photo of a dog.",
        " ".join(f"On the left there is a red {thing}." for thing in ("car", "bus", "van", "bike")),
    ],
)
def test_a_text_in_circles(text: str) -> None:
    assert runs_in_circles(text)


@pytest.mark.parametrize(
    "text",
    [
        "One by one by one by one, red, blue and red balloons rise, row by row by row.",
        "A dog, a cat, a bird and a fish are painted on a wall, a door and a gate.",
        "Bora Bora lies in a blue, blue sea.",
        "In the foreground a red boat, in the middle a white boat, in the background a blue boat.",
    ],
)
def test_a_text_that_is_in_none(text: str) -> None:
    assert not runs_in_circles(text)


@pytest.mark.parametrize(
    "items",
    [
        [f"dog {number}" for number in range(12)],
        ["dog", "beach", "sea"] * 4,
        ["Dog", "dog", "DOG", "dog."] * 3,
        [f"coastal {word}" for word in ("town", "view", "life", "path", "road", "rock", "air", "sun", "sea")]
        + [*"abc"],
        [f"{word} scenery" for word in "abcdefghijklm"],
    ],
)
def test_a_list_in_circles(items: list[str]) -> None:
    assert lists_in_circles(items)
    assert not lists_in_circles(items[:11])


def test_a_list_that_is_in_none() -> None:
    assert not lists_in_circles([*(f"{letter} car" for letter in "abcdefghi"), "j", "k", "l", "m"])
    assert not lists_in_circles([f"word{letter}" for letter in "abcdefghijklm"])


def test_blanks_without_end() -> None:
    assert is_blank_without_end('{"keywords": [' + " \n\t" * 20)
    assert not is_blank_without_end("a\n\n\n    b" + " " * 59)
