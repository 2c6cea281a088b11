"""What a server shows of itself is held against its entry, and against what it showed first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.asking import an_entry
from tagger_daemon.model import UNVERIFIABLE
from tagger_daemon.vision.dialects import DIALECTS, confirmed_digest
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.identity import (
    SHORTEST_DIGEST,
    Observation,
    drifts,
    news,
    same_digest,
    same_path,
    told,
)

URL = "http://192.168.1.7:8000/v1"
DIGEST = "3f9c2a" + "0" * 58
OTHER = "cd11aa" + "1" * 58

words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
observations = st.builds(
    Observation,
    served=st.lists(words, max_size=3).map(tuple),
    digest=st.none() | words,
    remote=st.none() | words,
    context=st.none() | st.integers(1, 300_000),
    vision=st.none() | st.booleans(),
    model_path=st.none() | words,
    weights=st.none() | words,
    template=st.none() | words,
    build=st.none() | words,
    slots=st.none() | st.integers(1, 64),
)
entries = st.builds(
    an_entry,
    dialect=st.sampled_from(sorted(DIALECTS)),
    digest=st.none() | words,
    context=st.none() | st.integers(1, 300_000),
    model_path=st.none() | words,
    privacy=st.sampled_from([None, "loopback", "private", "public"]),
)


def an_eye(**changes: Any) -> Entry:
    return an_entry(URL, name="eyes", served_model="qwen3-vl").evolve(**changes)


@pytest.mark.parametrize(
    ("entry", "shown", "values"),
    [
        (an_eye(), Observation(served=("llava", "phi")), ["'qwen3-vl'", "llava, phi"]),
        (an_eye(digest=DIGEST), Observation(digest=OTHER), [DIGEST, OTHER]),
        (an_eye(digest=DIGEST, dialect="ollama"), Observation(), [DIGEST, "tells none of 'qwen3-vl'"]),
        (an_eye(context=8192), Observation(context=4096), ["8192", "4096"]),
        (an_eye(), Observation(vision=False), ["is to see pictures", "'qwen3-vl' does not"]),
        (an_eye(model_path="/m/a"), Observation(model_path="/m/b"), ["/m/a", "/m/b"]),
    ],
)
def test_each_deviation_is_told_with_both_values(entry: Entry, shown: Observation, values: list[str]) -> None:
    (sentence,) = drifts(entry, URL, shown)
    assert [value for value in ["'eyes'", URL, *values] if value not in sentence] == []


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (an_eye(), Observation(served=("llava", "qwen3-vl"))),
        (an_eye(), Observation(served=("qwen3-vl:latest",))),
        (an_eye(dialect="transformers"), Observation(served=("/models/qwen3-vl",))),
        (an_eye(digest=f"sha256:{DIGEST[:12]}"), Observation(digest=DIGEST)),
        (an_eye(digest=DIGEST), Observation()),  # vLLM has no way to tell: the served name carries it
        (an_eye(context=8192), Observation(context=8192)),
        (an_eye(context=8192), Observation()),
        (an_eye(), Observation(vision=True)),
        (an_eye(model_path="/m/a"), Observation()),
    ],
)
def test_what_is_right_and_what_cannot_be_told_is_no_deviation(entry: Entry, shown: Observation) -> None:
    assert drifts(entry, URL, shown) == ()


@pytest.mark.parametrize(
    ("part", "old", "new", "pinned"),
    [
        ("digest", DIGEST, OTHER, {"digest": OTHER}),
        ("model_path", "/m/a", "/m/b", {"model_path": "/m/b"}),
        ("template", "aaaa", "bbbb", None),
        ("weights", "Q4_K_M", "Q8_0", None),
    ],
)
def test_what_the_registry_leaves_open_is_held_to_what_was_shown_first(
    part: str, old: str, new: str, pinned: dict[str, str] | None
) -> None:
    first, now = Observation(**{part: old}), Observation(**{part: new})  # type: ignore[arg-type]
    (sentence,) = drifts(an_eye(), URL, now, first)
    assert old in sentence
    assert new in sentence
    assert drifts(an_eye(), URL, Observation(), first) == ()
    assert drifts(an_eye(), URL, now, Observation()) == ()
    if pinned:
        assert drifts(an_eye(**pinned), URL, now, first) == ()


@given(entries, observations)
def test_what_was_right_stays_right_for_as_long_as_it_stays_the_same(
    entry: Entry, shown: Observation
) -> None:
    assert drifts(entry, URL, shown, shown) == drifts(entry, URL, shown)
    assert news(shown, shown) == ()


@given(entries, observations, st.none() | observations)
def test_every_deviation_is_a_sentence_about_the_entry_and_the_endpoint(
    entry: Entry, shown: Observation, first: Observation | None
) -> None:
    for sentence in drifts(entry, URL, shown, first):
        assert repr(entry.name) in sentence
        assert URL in sentence


@given(entries)
def test_who_tells_nothing_is_refused_only_a_digest_that_servers_of_its_kind_tell(entry: Entry) -> None:
    expected = entry.digest is not None and DIALECTS[entry.dialect].digests
    assert bool(drifts(entry, URL, Observation())) == expected


@given(observations, observations)
def test_only_what_is_known_on_both_sides_is_news(before: Observation, now: Observation) -> None:
    told_of = news(before, now)
    assert len(told_of) <= sum(
        getattr(before, part) is not None and getattr(before, part) != getattr(now, part)
        for part in ("digest", "context", "vision", "model_path", "weights", "template", "build")
    )
    assert news(before, now.evolve(served=("one more",), slots=99)) == told_of


def test_another_build_is_news_and_no_deviation() -> None:
    before, now = Observation(build="b11434"), Observation(build="b11500")
    assert news(before, now) == ("build b11500, before b11434",)
    assert drifts(an_eye(), URL, now, before) == ()


@given(observations, observations)
def test_gaps_are_filled_and_nothing_else_is(newer: Observation, older: Observation) -> None:
    filled = newer.filled(older)
    for part in Observation.__slots__:
        known = getattr(newer, part)
        assert getattr(filled, part) == (getattr(older, part) if known in (None, ()) else known)


@given(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.integers(1, 64), st.booleans())
def test_a_digest_may_be_shortened_and_written_in_two_ways(full: str, length: int, prefixed: bool) -> None:
    short = ("sha256:" if prefixed else "") + full[:length].upper()
    assert same_digest(short, full) == same_digest(full, short) == (length >= SHORTEST_DIGEST)


def test_other_digests_are_others() -> None:
    assert not same_digest(DIGEST, OTHER)
    assert same_digest("v1", "v1")  # whatever it is, equal is equal
    assert not same_digest("", DIGEST)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/m/qwen.gguf", "/m/qwen.gguf", True),
        ("/m/qwen/", "/m//qwen", True),
        ("/m/qwen.gguf", "/n/qwen.gguf", False),
        ("qwen.gguf", "/m/qwen.gguf", True),
        ("./qwen.gguf", "/m/qwen.gguf", True),
        ("qwen.gguf", "/m/llava.gguf", False),
        ("Qwen/Qwen3-VL-8B-Instruct", "/m/Qwen3-VL-8B-Instruct", True),
        ("Qwen/Qwen3-VL-8B-Instruct", "Qwen/Qwen3-VL-8B-Instruct", True),
        ("Qwen/Qwen3-VL-8B-Instruct", "somebody/Qwen3-VL-8B-Instruct", False),
        ("Qwen3-VL-8B-Instruct", "Qwen/Qwen3-VL-8B-Instruct", True),
        ("Qwen/Qwen3-VL-8B", "/c/models--Qwen--Qwen3-VL-8B/snapshots/3f9c2a", True),
        ("Qwen/Qwen3-VL-4B", "/c/models--Qwen--Qwen3-VL-8B/snapshots/3f9c2a", False),
        ("C:\\models\\qwen.gguf", "C:/models/qwen.gguf", True),
        ("C:\\models\\qwen.gguf", "C:/other/qwen.gguf", False),
        ("", "/m/qwen.gguf", False),
    ],
)
def test_paths_are_compared_as_far_as_they_can_be(one: str, other: str, same: bool) -> None:
    assert same_path(one, other) == same_path(other, one) == same


@given(st.text(), st.text())
def test_any_two_texts_can_be_compared_as_paths(one: str, other: str) -> None:
    assert same_path(one, other) == same_path(other, one)
    assert same_path(one, one)


@pytest.mark.parametrize(
    ("changes", "confirmed"),
    [
        ({"dialect": "ollama", "digest": DIGEST}, True),
        ({"digest": DIGEST, "served_model": "qwen3-vl@3f9c2a"}, True),
        ({"digest": f"sha256:{DIGEST}", "served_model": "qwen3-vl@3f9c2a"}, True),
        ({"digest": DIGEST}, False),
        ({"digest": "l", "served_model": "qwen3-vl"}, False),
        # Its list does not hold the name that it may be asked for.
        ({"dialect": "transformers", "digest": DIGEST, "served_model": "qwen3-vl@3f9c2a"}, False),
    ],
)
def test_a_digest_is_known_to_be_served_where_a_server_of_another_would_show(
    changes: dict[str, str], confirmed: bool
) -> None:
    entry = an_eye(**changes)
    assert confirmed_digest(entry) == (entry.digest if confirmed else UNVERIFIABLE)


def test_what_a_server_shows_fits_on_one_line() -> None:
    shown = Observation(context=8192, vision=True, model_path="/m/qwen", build="b11434")
    assert (
        told(an_eye(), shown)
        == "serves qwen3-vl, digest unverifiable, context 8192, sees pictures, from /m/qwen, build b11434"
    )
    assert told(an_eye(), Observation(digest="ab", remote="ollama.com (x)")) == (
        "serves qwen3-vl, digest ab, context not told, eyes not told, passes requests on to ollama.com (x)"
    )
