"""Keywords and texts: nothing of a person's is lost, nothing of ours can do harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.metadata.fields import clean_line, clean_text, cut_at_word, cut_bytes, exiftool_date
from tagger_daemon.metadata.merge import added, clean_keyword, for_iim, union

words = st.lists(st.text(max_size=90), max_size=8)


@given(xmp=words, iim=words)
def test_a_union_keeps_xmps_keywords_untouched_and_first(xmp: list[str], iim: list[str]) -> None:
    whole = union(xmp, iim)
    assert list(whole[: len(xmp)]) == xmp
    assert set(whole[len(xmp) :]) <= set(iim)


@given(theirs=words, proposed=words)
def test_nothing_is_added_twice(theirs: list[str], proposed: list[str]) -> None:
    ours = added(proposed, theirs, ())
    assert len({word.casefold() for word in ours}) == len(ours)
    assert added(ours, (*theirs, *ours), ()) == ()


def test_the_legacy_blocks_cut_keywords_are_known_again() -> None:
    long = "a very long keyword that goes on and on until it is past the limit of it"
    assert union([long, "Dog"], [long[:64], "dog", "cat"]) == (long, "Dog", "cat")


def test_a_keyword_that_stands_deeper_in_a_hierarchy_is_not_added_flat() -> None:
    assert added(["dog", "Beach "], ["beach"], ["Animals|Dog"]) == ()
    assert added(["dog", "sea"], ["beach"], ["Places|Sea"]) == ("dog",)


@pytest.mark.parametrize(
    ("proposed", "written"),
    [
        ("  new   york ", "new york"),
        ("cats|dogs, birds;fish", "cats dogs birds fish"),
        ("a\nb\x00c", "a bc"),
        ("日" * 40, "日" * 21),
        ("|", ""),
    ],
)
def test_our_keywords_are_cleaned(proposed: str, written: str) -> None:
    assert clean_keyword(proposed) == written


def test_the_legacy_block_gets_each_keyword_once_and_cut() -> None:
    assert for_iim([], ["x" * 70, "x" * 64, "y"]) == ("x" * 64, "y")


def test_keywords_in_the_legacy_block_keep_their_spelling_whatever_the_other_block_says() -> None:
    assert for_iim(["Dog", "DOG", "Rose "], ["dog", "rose", "sea"]) == ("Dog", "DOG", "Rose ", "sea")


@given(st.text())
def test_cleaned_text_has_no_controls_and_no_surrogates(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert not any(character < " " and character != "\n" for character in cleaned)
    assert not any("\x7f" <= character <= "\x9f" for character in cleaned)
    assert clean_text(cleaned) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("  a\tb\x0b ", "a b"),
        ("e\u0301", "é"),
        ("a\ud800b\ufffe", "ab"),
        ("x" * 9000, "x" * 8000),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
    ],
)
def test_text_is_cleaned(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


def test_a_title_is_one_line() -> None:
    assert clean_line("one\ntwo \n three") == "one two three"


@given(st.text(), st.integers(min_value=1, max_value=300))
def test_cuts_never_exceed_their_length(text: str, length: int) -> None:
    assert len(cut_at_word(text, length)) <= length
    assert len(cut_bytes(clean_text(text), length).encode()) <= length


def test_alternative_text_is_cut_between_words() -> None:
    assert cut_at_word("one two three", 8) == "one two"
    assert cut_at_word("one two three", 7) == "one two"
    assert cut_at_word("onetwothree", 4) == "onet"


def test_dates_are_given_as_exiftool_shows_them() -> None:
    assert exiftool_date("2024-05-01T12:00:00+02:00") == "2024:05:01 12:00:00+02:00"
