"""The scenes of the sample photos, drawn with numpy and Pillow: `draw("sunset", width=1600, height=1067)`.

Every scene is a function of width, height and a random generator; the same seed draws the same picture.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[Any]
Colour = tuple[int, int, int]
Random = np.random.Generator


def draw(scene: str, *, width: int, height: int, seed: int = 1) -> Image.Image:
    """Return one scene as an RGB picture.

    Raises:
        KeyError: `scene` is not one of `SCENES`.
    """
    random = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    return _with_grain(SCENES[scene](width, height, random), random)


def sunset(width: int, height: int, random: Random) -> Image.Image:
    """The sun going down over the sea."""
    x, y = _grid(width, height)
    horizon, sun = 0.58, random.uniform(0.35, 0.65)
    sky = _ramp(y / horizon, (38, 42, 96), (214, 96, 88), (255, 196, 110))
    distance = np.hypot((x - sun) * width / height, y - horizon + 0.05)
    sky = _mix(sky, (255, 236, 190), np.exp(-distance * 9))
    sky = _mix(sky, (255, 250, 225), np.clip((0.055 - distance) * 120, 0, 1))
    depth = (y - horizon) / (1 - horizon)
    sea = _ramp(depth, (206, 122, 96), (40, 62, 98), (12, 24, 52))
    waves = np.sin(y * 340 / (0.25 + depth.clip(0)) ** 0.6 + 5 * np.sin(x * 23 + y * 61))
    glitter = np.exp(-(((x - sun) / (0.03 + 0.14 * depth.clip(0))) ** 2)) * (waves > 0.1)
    sea = _mix(sea * (1 + 0.06 * waves)[..., None], (255, 214, 140), glitter * 0.8)
    return _image(np.where((y < horizon)[..., None], sky, sea))


def mountains(width: int, height: int, random: Random) -> Image.Image:
    """Ridges fading into the haze."""
    _, y = _grid(width, height)
    pixels = _ramp(y, (88, 140, 198), (186, 210, 226), (236, 230, 214))
    for layer in range(6):
        ridge = 0.28 + 0.115 * layer + _ridge(width, random, roughness=0.11 - 0.011 * layer)
        near = layer / 5
        colour = _blend((158, 178, 202), (28, 52, 44), near)
        pixels = _mix(pixels, colour, np.clip((y - ridge) * height, 0, 1))
        if layer == 1:
            snow = np.clip((y - ridge) * height, 0, 1) * (y < ridge + 0.05 + 0.02 * np.sin(y * 300))
            pixels = _mix(pixels, (244, 247, 252), snow * 0.85)
    return _image(pixels)


def night(width: int, height: int, random: Random) -> Image.Image:
    """A town at night, with lit windows under the stars."""
    _, y = _grid(width, height)
    image = _image(_ramp(y, (6, 8, 26), (18, 22, 58), (64, 44, 74)))
    pen = ImageDraw.Draw(image)
    for _ in range(160):
        px, py = random.uniform(0, width), random.uniform(0, height * 0.6)
        _disc(pen, px, py, width * random.uniform(0.0004, 0.0013), (225, 228, 255))
    _disc(pen, width * 0.8, height * 0.16, height * 0.045, (248, 244, 222))
    left = 0.0
    while left < width:
        wide = width * random.uniform(0.04, 0.09)
        top = height * random.uniform(0.38, 0.72)
        pen.rectangle((left, top, left + wide, height), fill=(13, 13, 24))
        _windows(pen, left, top, wide, height, random)
        left += wide * random.uniform(0.95, 1.15)
    return image


def still_life(width: int, height: int, random: Random) -> Image.Image:
    """Fruit in front of a wall, lit from the left."""
    x, y = _grid(width, height)
    wall = _ramp(x + 0.3 * y, (176, 164, 142), (128, 116, 104), (70, 62, 60))
    table = _ramp((y - 0.62) / 0.38, (120, 78, 48), (152, 100, 60), (92, 56, 34))
    pixels = np.where((y < 0.62)[..., None], wall, table)
    fruit = [(0.3, 0.13, (196, 44, 38)), (0.46, 0.16, (238, 148, 36)), (0.63, 0.12, (140, 168, 52)),
             (0.74, 0.09, (110, 44, 96))]  # fmt: skip
    for centre, radius, colour in fruit:
        across, down = (x - centre - random.uniform(-0.015, 0.015)) * width / height, y - (0.76 - radius)
        shadow = np.exp(-(((across - 0.07) / (radius * 1.3)) ** 2 + ((y - 0.77) / 0.03) ** 2))
        pixels = _mix(pixels, (30, 18, 12), shadow * 0.7)
        inside = np.clip((radius - np.hypot(across, down)) * height / 2, 0, 1)
        light = np.clip(0.95 - (across + down) / radius * 0.42, 0.18, 1.3)
        pixels = _mix(pixels, np.asarray(colour) * light[..., None], inside)
        gloss = np.exp(-(((across + radius * 0.4) ** 2 + (down + radius * 0.45) ** 2) / (radius * 0.16) ** 2))
        pixels = _mix(pixels, (255, 250, 240), gloss * 0.7 * inside)
    return _image(pixels)


def forest(width: int, height: int, random: Random) -> Image.Image:
    """A path between trunks; best upright."""
    x, y = _grid(width, height)
    pixels = _ramp(y, (196, 214, 140), (120, 156, 84), (54, 72, 38))
    pixels = _mix(pixels, (246, 244, 200), np.exp(-(((x - 0.5) / 0.22) ** 2 + ((y - 0.38) / 0.3) ** 2)))
    path = np.clip((0.03 + 0.3 * (y - 0.55).clip(0) - np.abs(x - 0.5 - 0.06 * np.sin(y * 9))) * 40, 0, 1)
    pixels = _mix(pixels, (164, 138, 98), path * (y > 0.55))
    for near in np.linspace(0.1, 1, 26):
        side = random.choice([-1, 1]) * random.uniform(0.07, 0.5) * (0.35 + near * 0.8)
        thick = 0.006 + 0.035 * near
        foot = 0.56 + 0.42 * near
        trunk = np.clip((thick - np.abs(x - 0.5 - side)) * width / 2, 0, 1) * (y < foot)
        bark = np.asarray(_blend((128, 136, 96), (40, 28, 20), near))
        light = 1.1 - 0.6 * (x - 0.5 - side + thick)
        pixels = _mix(pixels, bark * light[..., None], trunk)
    image = _image(pixels)
    pen = ImageDraw.Draw(image)
    for _ in range(900):
        px, py = random.uniform(0, width), height * random.triangular(0, 0.02, 0.34)
        green = _blend((66, 104, 40), (176, 200, 84), random.uniform())
        _disc(pen, px, py, width * random.uniform(0.004, 0.014), green)
    return image


def street(width: int, height: int, random: Random) -> Image.Image:
    """House fronts in black and white, and their shadows."""
    image = Image.new("RGB", (width, height), (232, 232, 232))
    pen = ImageDraw.Draw(image)
    vx, vy = width * random.uniform(0.45, 0.55), height * 0.46

    def towards(px: float, py: float, depth: float) -> tuple[float, float]:
        return px + (vx - px) * depth, py + (vy - py) * depth

    pen.polygon([(0, height), (width, height), (vx, vy)], fill=(150, 150, 150))
    for edge, grey in ((0, 62), (width, 196)):
        pen.polygon([(edge, -height * 0.3), (vx, vy), (edge, height)], fill=(grey,) * 3)
        for depth in np.arange(0.08, 0.9, 0.115):
            for storey in (-0.08, 0.2, 0.48):
                top, low = height * storey, height * (storey + 0.17)
                corners = [towards(edge, top, depth), towards(edge, top, depth + 0.06),
                           towards(edge, low, depth + 0.06), towards(edge, low, depth)]  # fmt: skip
                pen.polygon(corners, fill=(grey // 3,) * 3 if random.uniform() < 0.75 else (245, 245, 245))
    pen.polygon([(0, height), (width * 0.62, height), towards(width * 0.62, height, 0.9)], fill=(58, 58, 58))
    for depth in np.arange(0, 0.85, 0.14):
        near, far, wide = depth, depth + 0.06, width / 110
        dash = [towards(width * 0.7 + across, height, at)
                for across, at in ((0, near), (wide, near), (wide, far), (0, far))]  # fmt: skip
        pen.polygon(dash, fill=(240, 240, 240))
    px, py = width * 0.42, height * 0.72
    _disc(pen, px, py - height * 0.115, height * 0.018, (12, 12, 12))
    pen.polygon([(px - height * 0.02, py - height * 0.1), (px + height * 0.02, py - height * 0.1),
                 (px + height * 0.028, py + height * 0.06), (px - height * 0.022, py + height * 0.06)],
                fill=(12, 12, 12))  # fmt: skip
    return image


def snow(width: int, height: int, random: Random) -> Image.Image:
    """Firs in falling snow."""
    _, y = _grid(width, height)
    ground = 0.6 + 0.4 * _ridge(width, random, roughness=0.1)
    pixels = _mix(_ramp(y, (150, 164, 184), (196, 204, 216), (222, 226, 234)), (242, 245, 250), y > ground)
    image = _image(pixels)
    pen = ImageDraw.Draw(image)
    for foot in np.sort(random.uniform(0.6, 0.9, 14)):
        tall = height * (foot - 0.42) * 1.3
        px, py = random.uniform(0, width), height * foot
        _fir(pen, px, py, tall)
    flakes = random.uniform(0, 1, (700, 3))
    for fx, fy, size in flakes:
        _disc(pen, fx * width, fy * height, width * (0.0006 + 0.0022 * size**3), (255, 255, 255))
    return image


def leaves(width: int, height: int, random: Random) -> Image.Image:
    """Autumn leaves on dark ground, seen from above."""
    image = Image.new("RGB", (width, height), (44, 34, 26))
    pen = ImageDraw.Draw(image)
    colours = [(206, 92, 24), (226, 156, 34), (164, 44, 28), (128, 78, 30), (196, 178, 60)]
    for near in np.linspace(0.3, 1, 330):
        px, py = random.uniform(-0.05, 1.05) * width, random.uniform(-0.05, 1.05) * height
        shade = 0.45 + 0.55 * near
        red, green, blue = (int(part * shade) for part in colours[random.integers(len(colours))])
        long = max(width, height) * random.uniform(0.035, 0.065)
        _leaf(pen, px, py, long, random.uniform(0, math.tau), (red, green, blue))
    return image


def bokeh(width: int, height: int, random: Random) -> Image.Image:
    """One flower in focus before blurred lights."""
    _, y = _grid(width, height)
    image = _image(_ramp(y, (22, 54, 46), (30, 76, 52), (14, 34, 30)))
    pen = ImageDraw.Draw(image, "RGBA")
    for _ in range(70):
        px, py, size = (
            random.uniform(0, width),
            random.uniform(0, height),
            height * random.uniform(0.02, 0.08),
        )
        warm = _blend((250, 206, 110), (150, 224, 190), random.uniform())
        pen.ellipse((px - size, py - size, px + size, py + size), fill=(*warm, int(random.uniform(30, 95))))
    image = image.filter(ImageFilter.GaussianBlur(width / 160))
    pen = ImageDraw.Draw(image)
    cx, cy, reach = width * 0.42, height * 0.46, height * 0.2
    pen.line((cx, cy, cx + reach * 0.3, height), fill=(66, 118, 52), width=max(2, width // 130))
    for petal in range(11):
        turn = petal * math.tau / 11
        _leaf(
            pen,
            cx + math.cos(turn) * reach * 0.6,
            cy + math.sin(turn) * reach * 0.6,
            reach,
            turn,
            (236, 96, 150),
        )
    _disc(pen, cx, cy, reach * 0.27, (250, 204, 62))
    return image


def fog(width: int, height: int, random: Random) -> Image.Image:
    """A shore in the fog, out of focus."""
    image = Image.new("RGB", (width, height), (198, 204, 208))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, height * 0.62, width, height), fill=(166, 176, 182))
    for post in range(7):
        px, tall = width * (0.16 + 0.1 * post), height * (0.3 - 0.03 * post) * random.uniform(0.9, 1.1)
        grey = 74 + 14 * post
        colour = (grey, grey + 6, grey + 10)
        pen.rectangle((px, height * 0.66 - tall * 0.5, px + width * 0.014, height * 0.7), fill=colour)
    pen.rectangle((width * 0.14, height * 0.55, width * 0.8, height * 0.57), fill=(104, 110, 116))
    return image.filter(ImageFilter.GaussianBlur(width / 110))


def dunes(width: int, height: int, random: Random) -> Image.Image:
    """Sand dunes with sharp crests."""
    x, y = _grid(width, height)
    pixels = _ramp(y * 2, (70, 132, 206), (150, 190, 224), (230, 222, 206))
    for layer in range(5):
        phase, rise = random.uniform(0, math.tau), 0.06 - 0.006 * layer
        crest = (
            0.36 + 0.13 * layer + rise * np.sin(x * (4 + layer) + phase) + 0.3 * rise * np.sin(x * 13 + phase)
        )
        slope = np.gradient(crest, axis=1) * width
        ripples = 0.03 * np.sin((y - crest) * 420 + 6 * np.sin(x * 15))
        light = np.clip(0.82 - 0.9 * slope + ripples - 0.25 * (y - crest), 0.3, 1.12)
        sand = np.asarray((234, 158, 92)) * light[..., None]
        pixels = _mix(pixels, sand, np.clip((y - crest) * height, 0, 1))
    return _image(pixels)


def harbour(width: int, height: int, random: Random) -> Image.Image:
    """Sailing boats mirrored in still water."""
    _, y = _grid(width, height)
    image = _image(_ramp(y, (120, 178, 224), (206, 226, 238), (206, 226, 238)))
    pen = ImageDraw.Draw(image)
    water = height * 0.6
    for house in range(12):
        left, tall = width * house / 12, height * random.uniform(0.1, 0.2)
        wall = _blend((226, 196, 150), (196, 92, 70), random.uniform())
        pen.rectangle((left, water - tall, left + width * 0.078, water), fill=wall)
        eaves = water - tall
        roof = [(left, eaves), (left + width * 0.039, eaves - tall * 0.4), (left + width * 0.078, eaves)]
        pen.polygon(roof, fill=(128, 62, 50))
    for boat in range(5):
        px, long = width * (0.12 + 0.19 * boat + random.uniform(-0.03, 0.03)), width * 0.06
        hull = [(px - long, water - long * 0.1), (px + long, water - long * 0.1),
                (px + long * 0.7, water + long * 0.3), (px - long * 0.8, water + long * 0.3)]  # fmt: skip
        sail = [(px, water - long * 4.2), (px, water - long * 0.4), (px + long, water - long * 0.4)]
        pen.polygon(sail, fill=(250, 250, 246))
        pen.polygon(hull, fill=((34, 70, 120), (178, 40, 44), (240, 240, 236))[boat % 3])
    shore = int(water + width * 0.02)
    above = image.crop((0, 2 * shore - height, width, shore))
    mirror = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).filter(ImageFilter.BoxBlur(width / 400))
    deep = Image.new("RGB", mirror.size, (32, 76, 104))
    image.paste(Image.blend(mirror, deep, 0.4), (0, shore))
    return image


def meadow(width: int, height: int, random: Random) -> Image.Image:
    """Poppies under summer clouds."""
    x, y = _grid(width, height)
    pixels = _ramp(y * 2, (64, 128, 214), (132, 180, 234), (206, 226, 242))
    for _ in range(9):
        cx, cy, size = random.uniform(0, 1), random.uniform(0.06, 0.32), random.uniform(0.05, 0.11)
        puff = np.exp(-(((x - cx) / (size * 1.7)) ** 2 + ((y - cy) / (size * 0.55)) ** 2))
        pixels = _mix(pixels, (255, 255, 255), np.clip(puff * 1.3, 0, 0.95))
    grass = _ramp((y - 0.48) * 2, (142, 170, 84), (96, 140, 52), (48, 92, 34))
    image = _image(np.where((y < 0.48)[..., None], pixels, grass))
    pen = ImageDraw.Draw(image)
    for near in np.linspace(0.01, 1, 420) ** 1.6:
        px, py = random.uniform(0, width), height * (0.5 + 0.5 * near * random.uniform(0.85, 1.05))
        size = width * (0.0015 + 0.013 * near)
        pen.line((px, py, px, py + size * 3), fill=(52, 92, 36), width=max(1, round(size / 5)))
        _disc(pen, px, py, size, _blend((212, 40, 32), (244, 86, 48), random.uniform()))
        _disc(pen, px, py, size * 0.3, (36, 16, 18))
    return image


SCENES: dict[str, Callable[[int, int, Random], Image.Image]] = {
    scene.__name__: scene
    for scene in (
        sunset,
        mountains,
        night,
        still_life,
        forest,
        street,
        snow,
        leaves,
        bokeh,
        fog,
        dunes,
        harbour,
        meadow,
    )
}


def _grid(width: int, height: int) -> tuple[Array, Array]:
    """Return x and y of every pixel, arrays of shape (height, width) that run from 0 to 1."""
    across, down = np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32)
    x, y = np.meshgrid(across, down)
    return x, y


def _ramp(position: Array, *colours: Colour) -> Array:
    """Return a gradient through evenly spaced colours; positions outside 0 to 1 take the end colours."""
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(position, stops, [colour[i] for colour in colours]) for i in range(3)]
    return np.stack(channels, axis=-1, dtype=np.float32, casting="same_kind")


def _mix(pixels: Array, colour: Array | Colour, amount: Array) -> Array:
    """Lay a colour over the pixels; `amount` is its opacity, from 0 to 1."""
    opacity = np.asarray(amount, dtype=np.float32)[..., None]
    mixed: Array = pixels + (np.asarray(colour, dtype=np.float32) - pixels) * opacity
    return mixed


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _image(pixels: Array) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _with_grain(image: Image.Image, random: Random) -> Image.Image:
    """Add the noise of a sensor: without it, JPEG files of drawings are unlike photos in size."""
    grain = 2.2 * random.standard_normal((image.height, image.width, 1), dtype=np.float32)
    return _image(np.asarray(image, dtype=np.float32) + grain)


def _ridge(width: int, random: Random, *, roughness: float) -> Array:
    """Return a skyline of shape (1, width) around 0, the same at every size."""
    x = np.linspace(0, 1, width)[None, :]
    waves = [np.sin(x * 2.1**octave * 3 + random.uniform(0, math.tau)) / 1.75**octave for octave in range(8)]
    skyline: Array = (roughness * np.sum(waves, axis=0)).astype(np.float32)
    return skyline


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _leaf(pen: ImageDraw.ImageDraw, x: float, y: float, long: float, turn: float, colour: Colour) -> None:
    """Draw a pointed oval with a mid-rib."""
    outline = []
    for step in np.linspace(0, math.tau, 24):
        along, across = math.cos(step) * long / 2, math.sin(step) ** 3 * long / 4
        outline.append((x + along * math.cos(turn) - across * math.sin(turn),
                        y + along * math.sin(turn) + across * math.cos(turn)))  # fmt: skip
    pen.polygon(outline, fill=colour)
    pen.line(
        [outline[0], outline[12]], fill=_blend(colour, (30, 16, 8), 0.45), width=max(1, round(long / 40))
    )


def _fir(pen: ImageDraw.ImageDraw, x: float, foot: float, tall: float) -> None:
    pen.rectangle((x - tall * 0.03, foot - tall * 0.15, x + tall * 0.03, foot), fill=(58, 44, 36))
    for tier in range(5):
        low, wide = foot - tall * (0.1 + 0.17 * tier), tall * (0.26 - 0.043 * tier)
        pen.polygon([(x - wide, low), (x, low - tall * 0.3), (x + wide, low)], fill=(36, 62, 56))
        cap = [
            (x - wide * 0.5, low - tall * 0.15),
            (x, low - tall * 0.3),
            (x + wide * 0.2, low - tall * 0.18),
        ]
        pen.polygon(cap, fill=(236, 240, 246))


def _windows(
    pen: ImageDraw.ImageDraw, left: float, top: float, wide: float, foot: float, random: Random
) -> None:
    """Light some of a house's windows."""
    size = wide / 9
    for column in range(4):
        px = left + size * (1 + 2 * column)
        for py in np.arange(top + size, foot, size * 2.2):
            if random.uniform() < 0.45:
                light = _blend((255, 196, 92), (255, 240, 190), random.uniform())
                pen.rectangle((px, py, px + size, py + size * 1.2), fill=light)
