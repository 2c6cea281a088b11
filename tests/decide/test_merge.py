"""Keywords and texts: nothing of a person's is lost, nothing of ours can do harm."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tagger_daemon.metadata.fields import clean_line, clean_text, cut_bytes, exiftool_date
from tagger_daemon.metadata.merge import clean_keyword, distinct, for_iim, key, merge, union

words = st.lists(st.text(max_size=90), max_size=8)
#: Few letters, so that lists have words in common, in several spellings.
few = st.lists(st.sampled_from(["dog", "Dog", " dog ", "DOG", "sea", "Sea", "sun", "SUN", "ice"]), max_size=6)


def keys(words: Iterable[str]) -> set[str]:
    return {key(word) for word in words}


@given(current=few, last=few, proposed=few, rejected=few)
def test_a_persons_keywords_stay_where_and_as_they_are(
    current: list[str], last: list[str], proposed: list[str], rejected: list[str]
) -> None:
    merged = merge(current, last, proposed, rejected)
    spelt = {" ".join(word.split()) for word in last}
    theirs = [word for word in current if " ".join(word.split()) not in spelt]
    kept = [word for word in merged.words if word in theirs]
    assert kept == theirs
    assert all(word in current or key(word) not in keys(current) for word in merged.words)


@given(current=few, last=few, proposed=few, rejected=few)
def test_what_a_person_removed_never_comes_back(
    current: list[str], last: list[str], proposed: list[str], rejected: list[str]
) -> None:
    removed = keys([*last, *rejected]) - keys(current)
    merged = merge(current, last, proposed, rejected)
    assert not removed & keys(merged.words)
    assert removed == keys(merged.rejected)


@given(current=few, first=few, second=few, third=few)
def test_however_often_it_is_proposed_a_removed_keyword_stays_away(
    current: list[str], first: list[str], second: list[str], third: list[str]
) -> None:
    once = merge(current, (), first, ())
    by_a_person = [word for word in current if key(word) not in keys(once.ours)]  # all of ours thrown out
    again = merge(by_a_person, once.ours, second, once.rejected)
    later = merge(again.words, again.ours, third, again.rejected)
    assert not keys(once.ours) & keys(later.words)


@given(current=few, last=few, proposed=few, rejected=few)
def test_a_merge_that_was_carried_out_changes_nothing_the_second_time(
    current: list[str], last: list[str], proposed: list[str], rejected: list[str]
) -> None:
    once = merge(current, last, proposed, rejected)
    assert merge(once.words, once.ours, proposed, once.rejected) == once


@given(current=few, last=few, first=few, second=few, rejected=few)
def test_what_stands_in_the_end_does_not_depend_on_the_runs_before(
    current: list[str], last: list[str], first: list[str], second: list[str], rejected: list[str]
) -> None:
    assume(len(keys(current)) == len(current))  # of two spellings, one may be ours and the other not
    straight = merge(current, last, second, rejected)
    there = merge(current, last, first, rejected)
    around = merge(there.words, there.ours, second, there.rejected)
    assert keys(around.words) == keys(straight.words)
    assert keys(around.ours) == keys(straight.ours)
    assert keys(around.rejected) == keys(straight.rejected)


@given(current=few, proposed=few)
def test_nothing_is_added_twice(current: list[str], proposed: list[str]) -> None:
    merged = merge(current, (), proposed, ())
    assert len(keys(merged.ours)) == len(merged.ours)
    assert list(merged.words[: len(current)]) == current


def test_the_merge_of_the_books() -> None:
    """Human words stay, ours that are stale go, ours that were removed stay away, the new ones come last."""
    merged = merge(
        ["Rose", "dog", "old"],
        last=["dog", "old", "blue"],
        proposed=["dog", "rose", "blue", "sea"],
        rejected=["Red"],
    )
    assert merged.words == ("Rose", "dog", "sea")
    assert merged.ours == ("dog", "sea")
    assert merged.rejected == ("Red", "blue")


def test_a_word_of_ours_that_a_person_respelt_is_theirs() -> None:
    merged = merge(["Blue", "dog"], last=["blue", "dog"], proposed=["sea"], rejected=[])
    assert (merged.words, merged.ours, merged.rejected) == (("Blue", "sea"), ("sea",), ())


def test_a_word_that_a_person_brings_back_is_theirs() -> None:
    merged = merge(["Red"], last=[], proposed=["red"], rejected=["red"])
    assert (merged.words, merged.ours, merged.rejected) == (("Red",), (), ())


@given(xmp=words, iim=words)
def test_a_union_keeps_xmps_keywords_untouched_and_first(xmp: list[str], iim: list[str]) -> None:
    whole = union(xmp, iim)
    assert list(whole[: len(xmp)]) == xmp
    assert set(whole[len(xmp) :]) <= set(iim)


def test_the_legacy_blocks_cut_keywords_are_known_again() -> None:
    long = "a very long keyword that goes on and on until it is past the limit of it"
    assert union([long, "Dog"], [long[:64], "dog", "cat"]) == (long, "Dog", "cat")


def test_a_keyword_that_c_ended_is_the_keyword() -> None:
    assert key("Dog\0") == key("dog")
    assert for_iim(["Dog\0"], ["dog", "sea"], ()) == ("Dog\0", "sea")


def test_two_spellings_of_one_accent_are_one_keyword() -> None:
    assert distinct(["cafe\u0301", "caf\u00e9", "Café", " "]) == ("cafe\u0301",)


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
    assert for_iim([], ["x" * 70, "x" * 64, "y"], ()) == ("x" * 64, "y")


def test_keywords_in_the_legacy_block_keep_their_spelling_whatever_the_other_block_says() -> None:
    assert for_iim(["Dog", "DOG", "Rose "], ["dog", "rose", "sea"], ()) == ("Dog", "DOG", "Rose ", "sea")


def test_what_the_photo_has_no_more_leaves_the_legacy_block_too() -> None:
    assert for_iim(["Dog", "x" * 64], ["Dog"], ["x" * 70]) == ("Dog",)


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
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("\u05d0\u200e1\u200f\u061c", "\u05d0\u200e1\u200f\u061c"),
        ("a\u202egpj.exe\u202c b\u2066c\u2069", "agpj.exe bc"),
        ("do\u200bg \u2060\ufeffsea\u00ad", "dog sea"),
        ("a\U000e0073\U000e007f\ufff9b", "ab"),
        (" \u200d \u200e\n", ""),
    ],
)
def test_text_is_cleaned(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


def test_a_title_is_one_line() -> None:
    assert clean_line("one\ntwo \n three") == "one two three"


@given(st.text(), st.integers(min_value=1, max_value=300))
def test_cuts_never_exceed_their_length(text: str, length: int) -> None:
    assert len(cut_bytes(clean_text(text), length).encode()) <= length


def test_dates_are_given_as_exiftool_shows_them() -> None:
    assert exiftool_date("2024-05-01T12:00:00+02:00") == "2024:05:01 12:00:00+02:00"
