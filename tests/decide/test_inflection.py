"""English keywords come in the singular, and nothing that is no plural is touched."""

from __future__ import annotations

import pytest

from tagger_daemon.vision.inflection import is_common, singular

#: What a photo library holds in numbers: regular plurals by the way in which they are made, then others.
PLURALS = """
bridges bridge|trees tree|waves wave|horses horse|houses house|roses rose|vases vase|sunrises sunrise
shoes shoe|cities city|berries berry|butterflies butterfly|daisies daisy|lilies lily|puppies puppy
families family|pies pie|ties tie|cookies cookie|movies movie|hoodies hoodie|selfies selfie|magpies magpie
skies sky
keys key|monkeys monkey|valleys valley|toys toy|days day|chimneys chimney
churches church|beaches beach|branches branch|boxes box|foxes fox|dishes dish|brushes brush|dresses dress
buses bus|lenses lens|irises iris|octopuses octopus|walruses walrus|classes class|canvases canvas|gases gas
quizzes quiz|waltzes waltz|faces face|palaces palace|fences fence|edges edge|villages village|images image
tomatoes tomato|potatoes potato|heroes hero|volcanoes volcano|mangoes mango|photos photo|pianos piano
flamingos flamingo|kangaroos kangaroo|tattoos tattoo|canoes canoe|toes toe
leaves leaf|wolves wolf|knives knife|wives wife|shelves shelf|loaves loaf|scarves scarf|calves calf
hooves hoof|roofs roof|cliffs cliff|chefs chef|gloves glove|olives olive|caves cave|doves dove|stoves stove
curves curve
women woman|men man|children child|mice mouse|geese goose|teeth tooth|feet foot|oxen ox|fishermen fisherman
cacti cactus|fungi fungus|larvae larva|antennae antenna|criteria criterion|oases oasis|vertebrae vertebra
buildings building|paintings painting|weddings wedding|evenings evening|reflections reflection|games game
skateboarders skateboarder|wildflowers wildflower|streetlights streetlight|kimonos kimono
dragonflies dragonfly
"""

#: Words that look like plurals and are none, plurals of which there is no one, and forms of verbs.
OTHERS = """
glasses sunglasses scissors trousers jeans shorts pants binoculars pliers tweezers headphones stairs clothes
outdoors indoors upstairs fireworks graphics graffiti headquarters crossroads people
news series species sheep deer fish aircraft chassis debris tennis chess physics gymnastics politics ceramics
bus gas grass glass canvas octopus cactus lens iris moss dress compass mattress waitress fortress cypress
hibiscus lotus citrus walrus hippopotamus rhinoceros albatross circus campus virus atlas pelvis clematis oasis
crisis mantis acropolis metropolis trellis happiness wilderness darkness cross boss kiss goddess asparagus
molasses christmas paris texas athens wales venus swimming running sailing painting lighting standing parked
broken found worn better best older saw rose left lit abandoned bokeh hdr
"""


@pytest.mark.parametrize(
    ("plural", "one"), [pair.split() for pair in PLURALS.replace("\n", "|").split("|") if pair]
)
def test_a_plural_becomes_singular(plural: str, one: str) -> None:
    assert singular(plural) == one
    assert singular(one) == one


@pytest.mark.parametrize("word", OTHERS.split())
def test_what_is_no_plural_stays(word: str) -> None:
    assert singular(word) == word


@pytest.mark.parametrize(
    ("keyword", "one"),
    [
        ("hot air balloons", "hot air balloon"),
        ("red cars", "red car"),
        ("string lights", "string light"),
        ("Les Paul guitars", "Les Paul guitar"),
        ("birds of prey", "birds of prey"),
        ("cats and dogs", "cats and dogs"),
        ("woman in jeans", "woman in jeans"),
        ("holding hands", "holding hands"),
        ("Rocky Mountains", "Rocky Mountains"),
        ("Beatles", "Beatles"),
        ("niagara falls", "niagara falls"),
        ("caf\u00e9s", "caf\u00e9s"),
        ("", ""),
    ],
)
def test_of_a_phrase_the_last_word_counts(keyword: str, one: str) -> None:
    assert singular(keyword) == one
    assert singular(one) == one


def test_common_words_are_told_from_names() -> None:
    assert all(map(is_common, ("beach", "Beach", "bridge", "retriever", "sky", "women")))
    assert not any(map(is_common, ("Paris", "paris", "Eiffel", "Beatles", "turkey", "china", "qwzx")))
