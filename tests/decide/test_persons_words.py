"""A person's own words are told to models, and never ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.metadata.words import persons_words
from tagger_daemon.model import (
    Draft,
    Existing,
    Facts,
    Fingerprint,
    Marker,
    Memory,
    Photo,
    Policy,
    text_hash,
)

PHOTO = Photo(
    path=Path("/photos/Pier_7.jpg"),
    folder=Path("/photos"),
    fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3),
)
CAPTION, DESCRIPTION = (
    "A yellow dog runs along the beach.",
    "A dog runs.\nThe sea is calm, and gulls sit on a rock.",
)
OURS = Marker(
    schema_version=1,
    tool_version="0.1",
    written_at="2024-04-30T08:00:00+00:00",
    content_hash="c0ffee",
    fields={"XMP-dc:Title": text_hash(CAPTION), "XMP-dc:Description": text_hash(DESCRIPTION)},
    keywords=("dog", "beach"),
    hierarchy=("AI|dog", "AI|beach"),
    tags=("AI/dog", "AI/beach"),
    rejected=("rock",),
)
REMEMBERED = Memory(marker=OURS, answers=Draft(caption=CAPTION, keywords=("dog",), description=DESCRIPTION))


def words(memory: Memory = Memory(), policy: Policy = Policy(), **existing: Any) -> Facts:  # noqa: B008 - frozen
    known: dict[str, Any] = {
        "photo": PHOTO,
        "source": PHOTO.path,
        "embedded": True,
        "source_fingerprint": PHOTO.fingerprint,
    }
    return persons_words(Existing(**{**known, **existing}), memory, policy)


def test_all_that_a_person_wrote_is_told() -> None:
    found = words(
        texts={"Title": "Anna\u2019s birthday", "Headline": "anna\u2019s  birthday", "Description": "Cake!"},
        keywords=("cake", "Garden"),
        hierarchical=("Events|birthday", "Places|garden"),
        tags_list=("Events/party",),
        other_keywords=("candles", "cake"),
        facts=Facts(place=("Rome",)),
    )
    assert found == Facts(
        place=("Rome",),
        caption="Anna\u2019s birthday. Cake!",
        keywords=("cake", "Garden", "candles", "birthday", "party"),
    )


def test_nothing_is_told_of_nothing() -> None:
    assert words() == Facts()


@pytest.mark.parametrize("title", ["DSC_0001", "Pier_7", "pier_7.JPG"])
def test_a_files_name_is_nobodys_caption(title: str) -> None:
    assert words(texts={"Title": title}) == Facts()


def test_what_presets_give_to_all_photos_says_nothing_about_one() -> None:
    found = words(
        policy=Policy(ignore_keywords=("(c)*", "IMPORTED")), keywords=("(c) Anna", "imported", "cake")
    )
    assert found.keywords == ("cake",)


HERE = {"marker": OURS}
KNOWN: list[tuple[Memory, dict[str, Any]]] = [(Memory(), HERE), (REMEMBERED, {}), (REMEMBERED, HERE)]


@pytest.mark.parametrize(("memory", "marker"), KNOWN)
def test_what_we_wrote_is_not_told_again(memory: Memory, marker: dict[str, Any]) -> None:
    found = words(
        memory,
        texts={
            "Title": CAPTION,
            "Headline": CAPTION,
            "Description": DESCRIPTION,
            "AltTextAccessibility": "x",
        },
        keywords=("Dog", "beach", "Rock"),
        hierarchical=("AI|dog", "Things|beach", "ai|BEACH"),
        tags_list=("AI/dog", "beach"),
        other_keywords=("dog", "rock"),
        **marker,
    )
    assert found == Facts()


@pytest.mark.parametrize(("memory", "marker"), KNOWN)
def test_a_persons_words_beside_ours_are_told(memory: Memory, marker: dict[str, Any]) -> None:
    found = words(
        memory,
        texts={"Title": "Rex at the sea", "Description": DESCRIPTION},
        keywords=("dog", "Rex", "beach", "holiday"),
        hierarchical=("Pets|Rex", "AI|dog", "holiday"),
        **{**marker, **({"marker": OURS.evolve(hierarchy=("AI|dog", "holiday"))} if marker else {})},
    )
    assert found == Facts(caption="Rex at the sea", keywords=("Rex", "holiday"))


@pytest.mark.parametrize(("memory", "marker"), KNOWN)
def test_a_text_of_ours_that_a_person_edited_is_theirs(memory: Memory, marker: dict[str, Any]) -> None:
    edited = CAPTION.replace("A yellow dog", "Rex")
    assert words(memory, texts={"Title": edited}, **marker).caption == edited


@pytest.mark.parametrize("cut", [DESCRIPTION[:40], " ".join(DESCRIPTION.split()), CAPTION.upper()])
def test_a_text_of_ours_is_known_when_programs_cut_it_or_change_its_lines(cut: str) -> None:
    assert words(REMEMBERED, texts={"Description": cut}) == Facts()


def test_below_the_keyword_for_ours_nothing_is_a_persons_even_if_nobody_remembers() -> None:
    policy = Policy(keyword_root="AI")
    assert words(policy=policy, hierarchical=("AI|dog", "Animals|cat"), tags_list=("ai/dog",)).keywords == (
        "cat",
    )


some_words = st.lists(st.sampled_from(["dog", "Beach", "sea", "Rex", "AI|dog", "Pets|Rex", "rock"]))


@given(some_words, some_words, some_words, st.booleans())
def test_no_keyword_of_ours_is_ever_told(
    flat: list[str], paths: list[str], other: list[str], marked: bool
) -> None:
    found = words(
        REMEMBERED,
        keywords=tuple(flat),
        hierarchical=tuple(paths),
        tags_list=tuple(path.replace("|", "/") for path in paths),
        other_keywords=tuple(other),
        marker=OURS if marked else None,
    )
    assert not {"dog", "beach", "rock", "ai|dog"} & {word.casefold() for word in found.keywords}
    assert {"sea"} & {*flat, *paths, *other} <= {*found.keywords}
