"""The built-in describer sees what was drawn, and nothing else."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from tagger_daemon.vision.builtin.colours import NAMES, Pixels, shares, to_lab
from tagger_daemon.vision.builtin.look import observe
from tagger_daemon.vision.builtin.observation import (
    Contrast,
    Density,
    Division,
    Focus,
    Light,
    Shape,
    Spot,
    Toning,
    Vividness,
    Warmth,
)
from tagger_daemon.vision.builtin.pixels import EDGE, decode
from tagger_daemon.vision.builtin.refusals import Refusal


def plain(colour: tuple[int, int, int], width: int = 96, height: int = 64) -> Pixels:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def noise(width: int = 256, height: int = 192, low: int = 0, high: int = 256) -> Pixels:
    """Grey noise: detail everywhere, always the same."""
    values = np.random.default_rng(7).integers(low, high, (height, width, 1), dtype=np.uint8)
    return np.repeat(values, 3, axis=2)


def blurred(pixels: Pixels, radius: float) -> Pixels:
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((255, 0, 0), "red"),
        ((255, 140, 0), "orange"),
        ((255, 230, 0), "yellow"),
        ((0, 160, 0), "green"),
        ((0, 0, 255), "blue"),
        ((120, 180, 240), "blue"),
        ((0, 200, 180), "turquoise"),
        ((120, 30, 150), "purple"),
        ((255, 130, 190), "pink"),
        ((100, 55, 10), "brown"),
        ((230, 218, 170), "beige"),
        ((0, 0, 0), "black"),
        ((128, 128, 128), "grey"),
        ((255, 255, 255), "white"),
    ],
)
def test_a_plain_colour_goes_by_its_everyday_name(colour: tuple[int, int, int], name: str) -> None:
    assert observe(plain(colour)).colours == (name,)


def test_lab_agrees_with_published_values() -> None:
    corners = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]], dtype=np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    assert to_lab(corners) == pytest.approx(np.array(expected), abs=0.1)


def test_colours_are_listed_by_area_and_small_areas_are_left_out() -> None:
    picture = plain((0, 0, 255), 100, 100)
    picture[:30] = (255, 140, 0)
    picture[:5, :5] = (0, 160, 0)
    assert observe(picture).colours == ("blue", "orange")


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        (150, 100, Shape.LANDSCAPE),
        (100, 150, Shape.PORTRAIT),
        (100, 100, Shape.SQUARE),
        (104, 100, Shape.SQUARE),
        (200, 100, Shape.PANORAMA),
        (100, 200, Shape.TALL),
        (1, 1, Shape.SQUARE),
    ],
)
def test_the_frame_is_named(width: int, height: int, shape: Shape) -> None:
    assert observe(plain((90, 90, 90), width, height)).shape is shape


def test_a_grey_gradient_is_black_and_white() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    seen = observe(np.repeat(ramp, 128, axis=0))
    assert seen.toning is Toning.BLACK_AND_WHITE
    assert set(seen.colours) <= {"black", "grey", "white"}
    assert seen.warmth is Warmth.NEITHER
    assert seen.contrast is Contrast.HARD
    assert seen.division is Division.BRIGHT_RIGHT


def test_a_brown_print_is_sepia_and_a_blue_one_is_one_hue() -> None:
    grey = noise(low=40, high=230).astype(np.float64) / 255
    sepia = (grey * (255, 225, 180)).astype(np.uint8)
    blue = (grey * (120, 150, 255)).astype(np.uint8)
    assert observe(sepia).toning is Toning.SEPIA
    assert observe(blue).toning is Toning.ONE_HUE
    assert observe(blue).colours[0] == "blue"


def test_two_colours_are_a_colour_picture() -> None:
    picture = plain((200, 60, 40))
    picture[:32] = (40, 90, 200)
    seen = observe(picture)
    assert seen.toning is Toning.COLOUR
    assert seen.warmth is Warmth.BOTH
    assert seen.vividness is Vividness.VIVID


@pytest.mark.parametrize(
    ("colour", "warmth"),
    [((220, 120, 40), Warmth.WARM), ((50, 110, 200), Warmth.COOL), ((128, 128, 128), Warmth.NEITHER)],
)
def test_warm_and_cool(colour: tuple[int, int, int], warmth: Warmth) -> None:
    assert observe(plain(colour)).warmth is warmth


def test_colours_close_to_grey_are_muted() -> None:
    picture = plain((120, 128, 134))
    picture[:32] = (140, 134, 126)
    assert observe(picture).vividness is Vividness.MUTED


@pytest.mark.parametrize(
    ("level", "light"),
    [
        (245, Light.HIGH_KEY),
        (180, Light.BRIGHT),
        (120, Light.MEDIUM),
        (70, Light.DARK),
        (20, Light.LOW_KEY),
    ],
)
def test_the_light_is_judged_by_lightness(level: int, light: Light) -> None:
    assert observe(plain((level, level, level))).light is light


def test_a_narrow_range_of_tones_is_soft_contrast() -> None:
    assert observe(noise(low=110, high=140)).contrast is Contrast.SOFT
    assert observe(noise(low=0, high=256)).contrast is Contrast.HARD


def test_sharp_soft_and_blurred_are_told_apart() -> None:
    stripes = np.zeros((256, 384, 3), dtype=np.uint8)
    stripes[:, np.arange(384) // 16 % 2 == 0] = 220
    assert observe(stripes).focus is Focus.SHARP
    assert observe(blurred(stripes, 1)).focus is Focus.SOFT
    assert observe(blurred(stripes, 4)).focus is Focus.BLURRED


def test_a_blurred_background_does_not_make_a_sharp_subject_blurred() -> None:
    picture = blurred(noise(384, 256), 6)
    picture[64:192, 128:256] = noise(128, 128)
    assert observe(picture).focus is Focus.SHARP


def test_a_plain_surface_says_nothing_about_focus() -> None:
    seen = observe(plain((100, 140, 180), 300, 200))
    assert seen.focus is Focus.UNCLEAR
    assert seen.density is Density.EMPTY
    assert seen.spot is Spot.NOWHERE
    assert seen.division is Division.NONE
    assert not seen.symmetric


@pytest.mark.parametrize(
    ("rows", "columns", "division", "cut"),
    [
        (slice(0, 80), slice(None), Division.BRIGHT_ABOVE, 0.5),
        (slice(0, 48), slice(None), Division.BRIGHT_ABOVE, 0.3),
        (slice(80, None), slice(None), Division.BRIGHT_BELOW, 0.5),
        (slice(None), slice(0, 144), Division.BRIGHT_LEFT, 0.6),
        (slice(None), slice(120, None), Division.BRIGHT_RIGHT, 0.5),
        (slice(40, 120), slice(60, 180), Division.BRIGHT_CENTRE, 0.5),
    ],
)
def test_light_and_dark_areas_are_found(rows: slice, columns: slice, division: Division, cut: float) -> None:
    picture = plain((30, 30, 30), 240, 160)
    picture[rows, columns] = (220, 220, 220)
    seen = observe(picture)
    assert seen.division is division
    assert seen.divided_at == pytest.approx(cut, abs=0.01)


def test_a_dark_centre_against_bright_edges_is_found() -> None:
    picture = plain((230, 230, 230), 240, 160)
    picture[40:120, 60:180] = (20, 20, 20)
    assert observe(picture).division is Division.BRIGHT_EDGES


@pytest.mark.parametrize(
    ("rows", "columns", "spot"),
    [
        (slice(64, 128), slice(96, 160), Spot.CENTRE),
        (slice(None), slice(0, 70), Spot.LEFT),
        (slice(None), slice(186, None), Spot.RIGHT),
        (slice(0, 50), slice(None), Spot.UPPER),
        (slice(142, None), slice(None), Spot.LOWER),
        (slice(None), slice(None), Spot.SPREAD),
    ],
)
def test_detail_is_located(rows: slice, columns: slice, spot: Spot) -> None:
    picture = plain((128, 128, 128), 256, 192)
    picture[rows, columns] = noise()[rows, columns]
    assert observe(picture).spot is spot


def test_busy_and_empty_are_told_apart() -> None:
    assert observe(noise()).density is Density.BUSY
    dot = plain((200, 200, 200), 256, 192)
    dot[90:102, 120:136] = noise()[90:102, 120:136]
    assert observe(dot).density is Density.EMPTY


def test_a_mirrored_picture_is_symmetric_and_level_bands_are_not() -> None:
    half = noise(120, 160)
    assert observe(np.concatenate([half, half[:, ::-1]], axis=1)).symmetric
    assert not observe(np.concatenate([half, half], axis=1)).symmetric
    bands = plain((30, 30, 30), 240, 160)
    bands[:80] = 220
    assert not observe(bands).symmetric


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))),
)
def test_any_picture_can_be_looked_at_and_looks_the_same_twice(pixels: Pixels) -> None:
    seen = observe(pixels)
    assert seen == observe(pixels.copy())
    assert 1 <= len(seen.colours) <= 3
    assert set(seen.colours) <= set(NAMES)
    assert 0 <= seen.divided_at <= 1
    assert sum(shares(to_lab(pixels)).values()) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        observe(np.zeros(shape, dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_is_decoded_small(kind: str) -> None:
    pixels = decode(encoded(Image.new("RGB", (1600, 800), "red"), kind))
    assert pixels.shape == (EDGE // 2, EDGE, 3)
    assert observe(pixels).colours == ("red",)


def test_a_small_picture_is_not_enlarged() -> None:
    assert decode(encoded(Image.new("L", (20, 10), 128))).shape == (10, 20, 3)


def test_the_orientation_tag_is_followed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert decode(encoded(Image.new("RGB", (60, 40)), "JPEG", exif=exif)).shape == (60, 40, 3)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header() -> None:
    for side in (7000, 12_000, 20_000):  # ours, Pillow's warning, Pillow's error
        with pytest.raises(Refusal, match="megapixels"):
            decode(encoded(Image.new("1", (side, side))))


def test_damaged_foreign_and_deep_pictures_are_refused() -> None:
    whole = encoded(Image.fromarray(noise()), "JPEG")
    with pytest.raises(Refusal, match="decoded"):
        decode(whole[: len(whole) // 2])
    with pytest.raises(Refusal, match="decoded"):
        decode(encoded(Image.new("RGB", (8, 8)), "GIF"))
    with pytest.raises(Refusal, match="8 bits"):
        decode(encoded(Image.fromarray(np.zeros((8, 8), dtype=np.uint16))))
