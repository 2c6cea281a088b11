"""Puts an observation, and the facts that came with the photo, into words. Says nothing beyond the two.

Pure and deterministic: the same picture and facts give the same words.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tagger_daemon.model import Stage
from tagger_daemon.vision.builtin.keywording import keywords
from tagger_daemon.vision.builtin.observation import (
    Contrast,
    Density,
    Division,
    Focus,
    Light,
    Observation,
    Shape,
    Spot,
    Toning,
    Vividness,
    Warmth,
)
from tagger_daemon.vision.builtin.prompt import Brief, Told

CAPTION_LENGTH = 140  # characters

_NEUTRALS = {"black", "grey", "white"}
_TAKING_IN = ("morning", "afternoon", "evening", "daytime")  # "in the evening", but "at night"
_HALF_DAYS = {"morning", "afternoon", "evening", "night"}  # "on a summer evening"

_SHAPE = {
    Shape.LANDSCAPE: "landscape-format",
    Shape.PORTRAIT: "portrait-format",
    Shape.SQUARE: "square",
    Shape.PANORAMA: "panoramic",
    Shape.TALL: "tall, narrow",
}
_LIGHT_SENTENCE = {
    Light.HIGH_KEY: "The tones are very light throughout",
    Light.BRIGHT: "The picture is bright",
    Light.MEDIUM: "Light and dark tones are in balance",
    Light.DARK: "The picture is dark",
    Light.LOW_KEY: "The tones are very dark throughout",
}
_CONTRAST_CLAUSE = {
    Contrast.HARD: "the contrast is high",
    Contrast.MEDIUM: "the contrast is moderate",
    Contrast.SOFT: "the contrast is low",
}
_FOCUS_CLAUSE = {
    Focus.SHARP: "fine detail is crisp",
    Focus.SOFT: "fine detail is a little soft",
    Focus.BLURRED: "even the finest detail is blurred",
}
_SPOT_CLAUSE = {
    Spot.NOWHERE: "there is hardly any detail in the frame",
    Spot.SPREAD: "what detail there is lies scattered",
    Spot.CENTRE: "most of the detail sits in the centre",
    Spot.LEFT: "most of the detail sits in the left third",
    Spot.RIGHT: "most of the detail sits in the right third",
    Spot.UPPER: "most of the detail sits in the upper third",
    Spot.LOWER: "most of the detail sits in the lower third",
}
_AMOUNT = {Density.PLAIN: "a little ", Density.MEDIUM: "", Density.BUSY: "plenty of "}
_DENSITY_CLAUSE = {
    Density.EMPTY: "most of the frame is left empty",
    Density.PLAIN: "the frame is plain",
    Density.BUSY: "the frame is busy",
}


def answer(seen: Observation, brief: Brief) -> str | tuple[str, ...]:
    """Return what the brief asks for: a caption or description as text, keywords as a tuple."""
    told = _fitting(brief.told, seen)
    if brief.stage is Stage.KEYWORDS:
        return keywords(seen, told, brief.most_keywords)
    return caption(seen, told) if brief.stage is Stage.CAPTION else description(seen, told)


def caption(seen: Observation, told: Told) -> str:
    """Return one sentence of at most `CAPTION_LENGTH` characters.

    Where there is no room for all, the place is shortened to its narrowest name, then the layout goes.
    """
    start = f"A {_opening(seen)}"
    layout = next((f", {clause}" for clause in _caption_layouts(seen)), "")
    places = (told.place[:2], told.place[:1])
    rooms = [*itertools.product((layout, ""), places), (layout, ()), ("", ())]
    for middle, place in rooms:
        circumstances = _circumstances(place, told)
        sentence = f"{start}{middle}{', taken' if circumstances else ''}{circumstances}."
        if len(sentence) <= CAPTION_LENGTH:
            return sentence
    return f"{start}."


def description(seen: Observation, told: Told) -> str:
    """Return a paragraph of three sentences, or four where there are facts: colour, light, layout, facts."""
    sentences = [_colour_sentence(seen), _light_sentence(seen), _layout_sentence(seen)]
    circumstances, kinds = _circumstances(told.place, told), ", ".join(told.kinds)
    if circumstances:
        sentences.append(f"The photo was taken{circumstances}{f' ({kinds})' if kinds else ''}.")
    elif kinds:
        sentences.append(f"Kind of shot: {kinds}.")
    return " ".join(sentences)


def _fitting(told: Told, seen: Observation) -> Told:
    """Drop the one fact that a picture can contradict by its tones alone: a night in bright light."""
    if told.part_of_day == "night" and seen.light in (Light.BRIGHT, Light.HIGH_KEY):
        return told.evolve(part_of_day=None)
    return told


def _opening(seen: Observation) -> str:
    """Return "dark, blurred landscape-format picture in muted grey and green"."""
    adjectives = [
        word
        for word in (
            seen.light.value if seen.light is not Light.MEDIUM else "",
            {Focus.SOFT: "soft-focus", Focus.BLURRED: "blurred"}.get(seen.focus, ""),
            {Toning.BLACK_AND_WHITE: "black-and-white", Toning.SEPIA: "sepia-toned"}.get(seen.toning, ""),
        )
        if word
    ]
    noun = f"{_SHAPE[seen.shape]} picture"
    opening = f"{', '.join(adjectives)} {noun}" if adjectives else noun
    return f"{opening} {_palette(seen)}"


def _palette(seen: Observation) -> str:
    """Return "in muted grey and green", as it suits the toning."""
    if seen.toning is Toning.BLACK_AND_WHITE:
        return "in tones of grey" if len(seen.colours) > 1 else f"in {seen.colours[0]}"
    if seen.toning is Toning.SEPIA:
        return "in tones of brown"
    if seen.toning is Toning.ONE_HUE:
        return f"in shades of {_hue(seen)}"
    names = list(seen.colours)
    if seen.vividness is not Vividness.NATURAL and not _NEUTRALS.issuperset(names):
        hued = names.index(_hue(seen))
        names[hued] = f"{seen.vividness.value} {names[hued]}"
    return f"in {_join(names)}"


def _hue(seen: Observation) -> str:
    """Return the largest colour that is not a neutral, or the largest if all are."""
    return next((name for name in seen.colours if name not in _NEUTRALS), seen.colours[0])


def _caption_layouts(seen: Observation) -> Iterator[str]:
    """Yield what is worth saying about the layout in a caption, most telling first."""
    if seen.division is not Division.NONE:
        yield _divided(seen)
    if seen.symmetric:
        yield "the left half mirroring the right"
    if seen.spot not in (Spot.NOWHERE, Spot.SPREAD):
        yield _SPOT_CLAUSE[seen.spot].replace(" sits ", " ")
    if seen.density is Density.EMPTY:
        yield "most of the frame empty"
    if seen.density is Density.BUSY:
        yield "busy with detail"
    if seen.contrast is not Contrast.MEDIUM:
        yield f"{'high' if seen.contrast is Contrast.HARD else 'low'} in contrast"
    if seen.warmth in (Warmth.WARM, Warmth.COOL):
        yield f"{seen.warmth.value} in tone"


def _divided(seen: Observation) -> str:
    """Return "a bright upper half over a darker lower half", with thirds where the cut lies there."""
    first, second = _parts(seen.divided_at)
    match seen.division:
        case Division.BRIGHT_ABOVE:
            return f"a bright upper {first} over a darker lower {second}"
        case Division.BRIGHT_BELOW:
            return f"a dark upper {first} over a brighter lower {second}"
        case Division.BRIGHT_LEFT:
            return f"a bright left {first} beside a darker right {second}"
        case Division.BRIGHT_RIGHT:
            return f"a dark left {first} beside a brighter right {second}"
        case Division.BRIGHT_EDGES:
            return "a dark centre against bright edges"
        case _:
            return "a bright centre against dark edges"


def _parts(cut: float) -> tuple[str, str]:
    """Name the two parts that a cut at this share of the frame makes."""
    if cut < 0.42:
        return "third", "part"
    return ("part", "third") if cut > 0.58 else ("half", "half")


def _circumstances(place: Sequence[str], told: Told) -> str:
    """Return " in Lisbon, Portugal, on a summer evening" as far as it is known, or nothing."""
    where = f" in {', '.join(place)}" if place else ""
    when = _when(told)
    return f"{where}{',' if len(place) > 1 and when else ''}{when}"


def _when(told: Told) -> str:
    """Return " on a summer evening", " early on a summer morning", " in summer at midday", or nothing."""
    season, part = told.season, told.part_of_day or ""
    early_or_late, _, half = part.rpartition(" ")
    if season and half in _HALF_DAYS and early_or_late in ("", "early", "late"):
        start = f" {early_or_late}" if early_or_late else ""
        return f"{start} on {_with_article(season)} {half}"
    words = f" in {season}" if season else ""
    if part:
        words += f" in the {part}" if part.endswith(_TAKING_IN) else f" at {part}"
    return words


def _colour_sentence(seen: Observation) -> str:
    shape = _SHAPE[seen.shape]
    if seen.toning is Toning.BLACK_AND_WHITE:
        return f"This is a {shape} black-and-white picture, mostly {_join(seen.colours)}."
    if seen.toning is Toning.SEPIA:
        return f"This {shape} picture is toned in sepia browns."
    if seen.toning is Toning.ONE_HUE:
        return f"This {shape} picture is made of lighter and darker shades of {_hue(seen)}."
    verb = "prevails" if len(seen.colours) == 1 else "prevail"
    sentence = f"{_join(seen.colours).capitalize()} {verb} in this {shape} picture"
    mood = _mood(seen)
    return f"{sentence}; the colours are {mood}." if mood else f"{sentence}."


def _mood(seen: Observation) -> str:
    """Return "vivid and warm", as far as either is worth saying."""
    vividness = "" if seen.vividness is Vividness.NATURAL else seen.vividness.value
    warmth = {Warmth.WARM: "warm", Warmth.COOL: "cool", Warmth.BOTH: "both warm and cool"}.get(
        seen.warmth, ""
    )
    return _join([word for word in (vividness, warmth) if word])


def _light_sentence(seen: Observation) -> str:
    clauses = [_LIGHT_SENTENCE[seen.light], _CONTRAST_CLAUSE[seen.contrast]]
    if seen.focus in _FOCUS_CLAUSE:
        clauses.append(_FOCUS_CLAUSE[seen.focus])
    return f"{_join(clauses)}."


def _layout_sentence(seen: Observation) -> str:
    clauses = [] if seen.division is Division.NONE else [f"there is {_divided(seen)}"]
    if seen.spot is Spot.SPREAD and seen.density is not Density.EMPTY:
        clauses.append(f"{_AMOUNT[seen.density]}detail is spread across the frame")
    else:
        clauses.append(_SPOT_CLAUSE[seen.spot])
        if seen.density in _DENSITY_CLAUSE and seen.spot is not Spot.NOWHERE:
            clauses.append(_DENSITY_CLAUSE[seen.density])
    if seen.symmetric:
        clauses.append("the left half mirrors the right")
    sentence = _join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _with_article(words: str) -> str:
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def _join(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
