"""Texts lose whole sentences, and never half of one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.sentences import first, within

#: In none of these does a sentence end before the end.
WHOLE = [
    "A hotel in St. Moritz at dusk",
    "Mt. Fuji rises behind a lake",
    "A wall 3.5 m high",
    "A flag of the U.S. Navy on a pole",
    "Fruits, e.g. Apples, on a table",
    "Dr. Smith and Prof. Jones talk",
    "J. R. R. Tolkien reads",
    "Gate No. 5 is open",
    "A train leaves at 5 p.m. Tokyo time",
    "A house on Fifth Ave. North",
    "Shoppers on Sunset Blvd. Saturday night",
    "Martin Luther King Jr. Boulevard at night",
    "Ein Haus am See, z. B. Im Winter",
    "Der Hund schläft am 3. Mai",
    "Schloss Ludwigs XIV. In Versailles",
    "Eine Kirche aus dem 19. Jahrhundert",
    "Die Hl. Maria in Gold",
    "Die Bahnhofstr. Zürich im Schnee",
    "Kirche Sta. Maria in Rom",
    "Av. Paulista in São Paulo",
    "La Sra. García en la playa",
    "Plaza de Mayo, aprox. Buenos Aires",
    "Das ist ca. Mitte Juli",
    "Un homme devant M. Dupont",
    "Mme. Curie im Labor",
    "Дом на ул. Ленина зимой",
    "Площадь им. Гагарина",
    "डॉ. शर्मा और उनका कुत्ता",
    "Wow… A cat waits",
    "Well... A cat waits",
    "“Stop!” Anna calls",
    '"Why?" Anna asks',
    "A sign (Beware! Dog!) On a gate",
    "A sign “Please wait. Thank you. Bye” On a gate",
    "Two men (one old. One young) Walk",
    "The Yahoo! building",
    "Jell-O Inc. Products on a shelf",
    "Smith & Co. Boats in a harbour",
    "Photos by Magnum et al. Hang on a wall",
    "A dog named Rex vs. A cat",
    "「行こう\uff01」と彼は言った",
    "彼は「はい。」と言った",
]
#: Sentences, where they end told by `|`.
SEVERAL = [
    "A hotel in St. Moritz at dusk.| Snow lies on the roofs.",
    "A wall 3.5 m high.| A dog sits.",
    "Is this a dog?| It is a cat!| Look.",
    'A sign says "Open."| A man reads it.',
    "A sign says “Open.”| A man reads it.",
    "A house from 1920.| A car waits.",
    "A dog (a brown one.)| A cat.",
    "¿Qué es esto?| ¡Un perro!| “Sí.”",
    "山の上に雪があります。|湖は静かです。",
    "看\uff01|一只狗。",
    "जंगल में एक बाघ है।| वह सो रहा है।",
    "هل هذا بحر؟| نعم.| هذا قارب.",
    "یہ ایک کتا ہے\u06d4| وہ سو رہا ہے\u06d4",
    "Das ist ein Haus.| Äpfel liegen davor.",
    "A dog in the sun.| Nobody says no.| It is what it is.| Then it rains.",
    "Это дом.| Рядом стоит машина.",
    "One.| Two",
]


@pytest.mark.parametrize("text", WHOLE)
def test_no_sentence_is_cut(text: str) -> None:
    assert within(text, len(text)) == text
    assert within(text, len(text) - 1) is None


@pytest.mark.parametrize("marked", SEVERAL)
def test_whole_sentences_go_from_the_end(marked: str) -> None:
    text = marked.replace("|", "")
    ends = [mark.start() - number for number, mark in enumerate(re.finditer(r"\|", marked))]
    for limit in range(len(text)):
        end = max((end for end in ends if end <= limit), default=0)
        assert within(text, limit) == (text[:end] or None)


@pytest.mark.parametrize("text", ["", "A dog", "A dog. A cat", " "])
def test_what_fits_stays_as_it_is(text: str) -> None:
    assert within(text, 12) == text


words = st.lists(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
    | st.sampled_from(
        [*'"\u201c\u201d()\u300c\u300d', "St.", "e.g.", "3.", "Sea.", "Why?", "\u2026", "\u3002", "\u0964"]
    ),
    max_size=40,
)


@given(words, st.integers(min_value=0, max_value=200))
def test_a_shortened_text_begins_the_whole_one_and_ends_a_sentence(words: list[str], limit: int) -> None:
    text = " ".join(words)
    short = within(text, limit)
    if short is None or short == text:
        assert short is not None or len(text) > limit
        return
    assert text.startswith(short)
    assert 0 < len(short) <= limit < len(text)
    assert not short[-1].isalnum()
    assert short.count("(") == short.count(")")
    assert within(short, limit) == within(text, len(short)) == short
    goes_on = text[len(short) :].lstrip(' "\u201c\u201d(')[:1].islower()
    assert not (goes_on and short[-1] in ".!?")


def test_long_texts_take_no_longer_than_they_should() -> None:
    assert within("a" * 100_000 + "." * 100_000, 250) is None
    assert within("(" * 50_000 + "Sea. " * 20_000, 100_000) is None


@pytest.mark.parametrize("text", WHOLE)
def test_the_first_sentence_of_a_text_without_an_end_is_all_of_it(text: str) -> None:
    assert first(text) == text


def test_the_first_sentence_ends_where_one_does() -> None:
    assert first("A dog runs in St. James Park. It is wet. So is he.") == "A dog runs in St. James Park."
    assert first("A dog.") == "A dog."
    assert first("") == ""
