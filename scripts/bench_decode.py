"""What it costs to make the picture that models are shown from a JPEG of 24 megapixels, way by way.

CPU seconds of one process, in turns, beside the likeness to the picture that a full decode gives. *Ours* is
the product's own `decode`; the floor is libjpeg-turbo's scaled decode (by Pillow), a resize and an encode.
simplejpeg and pyvips are measured where somebody has installed them into .venv: the product does without.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench_machine import machine, positive, told
from sample_scenes import draw as draw_scene
from tagger_daemon.vision import decode as product

SIZE = (6000, 4000)  # pixels
LONG_EDGE, SHORT_EDGE = 1024, 683  # pixels
QUALITY = 85
GRAIN = 6.0  # standard deviation of the noise, of 255: what a sensor adds, and what files are large by
WARM_UP = 1

EXAMPLES = """\
examples:
  scripts/bench decode
  scripts/bench decode --rounds 50 --json
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one way costs, and what it gives."""

    way: str
    milliseconds: float  # of CPU, the median
    ratio: float  # of the medians, to the floor's
    kilobytes: float
    likeness: float  # peak signal-to-noise ratio against the full decode, decibels


def add_parser(subjects: Any) -> None:
    """Add this subject to the command line."""
    parser = subjects.add_parser(
        "decode",
        help="ways to make the small picture of a large JPEG",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="times each way (15)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure every way and print what was found."""
    jpeg = draw()
    truth = np.asarray(Image.open(io.BytesIO(jpeg)).resize((LONG_EDGE, SHORT_EDGE), Image.Resampling.LANCZOS))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder, "photo.jpg")
        file.write_bytes(jpeg)
        product.equip()
        ways: dict[str, Callable[[], bytes]] = {
            "ours": partial(ours, file),
            "floor: Pillow, draft of at least the size": partial(pillow, jpeg, 1),
            "Pillow, draft of at least twice the size": partial(pillow, jpeg, 2),
            "Pillow, the whole picture": partial(pillow, jpeg, 8),
            **simplejpeg_ways(jpeg),
            **pyvips_ways(jpeg),
        }
        results = measure(ways, truth, arguments.rounds)
    about = machine(photo=f"{len(jpeg) / 1e6:.1f} MB", rounds=arguments.rounds)
    if arguments.json:
        print(json.dumps({"machine": about, "ways": list(map(asdict, results))}))
        return
    print(f"{told(about)}\n")
    print("| way | CPU ms | to the floor | kB | PSNR dB |")
    print("|---|---:|---:|---:|---:|")
    for one in results:
        print(f"| {one.way} | {one.milliseconds} | {one.ratio} | {one.kilobytes} | {one.likeness} |")


def draw() -> bytes:
    """Return a JPEG of 24 megapixels, drawn with grain at a fixed seed."""
    scene = draw_scene("mountains", width=1500, height=1000).resize(SIZE, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(2).normal(0, GRAIN, (SIZE[1], SIZE[0], 3))
    pixels = (np.asarray(scene.convert("RGB")) + grain).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    return buffer.getvalue()


def measure(ways: dict[str, Callable[[], bytes]], truth: np.ndarray, rounds: int) -> list[Result]:
    """Go through the ways in turns; the floor's median is the measure of all."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP + rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if number >= WARM_UP:
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    lowest = next(median for name, median in medians.items() if name.startswith("floor"))
    results = []
    for name, way in ways.items():
        picture = way()
        results.append(
            Result(
                way=name,
                milliseconds=round(1000 * medians[name], 1),
                ratio=round(medians[name] / lowest, 2),
                kilobytes=round(len(picture) / 1000, 1),
                likeness=likeness(picture, truth),
            )
        )
    return results


def ours(file: Path) -> bytes:
    """Make the picture as the product does."""
    (picture,) = product.decode(file, long_edges=(LONG_EDGE,), quality=QUALITY, max_pixels=10**9)
    return picture.jpeg


def pillow(jpeg: bytes, times: int) -> bytes:
    """Decode with Pillow in the smallest of its scales, resize, encode."""
    image: Image.Image = Image.open(io.BytesIO(jpeg))
    image.draft(None, (times * LONG_EDGE, times * SHORT_EDGE))
    return encoded(image)


def encoded(image: Image.Image) -> bytes:
    """Resize and encode with Pillow."""
    small = image.resize((LONG_EDGE, SHORT_EDGE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return buffer.getvalue()


def simplejpeg_ways(jpeg: bytes) -> dict[str, Callable[[], bytes]]:
    """Return simplejpeg's way, if it is installed."""
    try:
        import simplejpeg
    except ImportError:
        return {}

    def scaled() -> bytes:
        pixels = simplejpeg.decode_jpeg(jpeg, min_width=LONG_EDGE, min_height=SHORT_EDGE)
        return encoded(Image.fromarray(pixels))

    return {"simplejpeg, at least the size": scaled}


def pyvips_ways(jpeg: bytes) -> dict[str, Callable[[], bytes]]:
    """Return libvips' way, if pyvips-binary is installed."""
    try:
        import pyvips
    except ImportError:
        return {}
    pyvips.cache_set_max(0)
    pyvips.vips_lib.vips_concurrency_set(1)

    def thumbnail() -> bytes:
        image = pyvips.Image.thumbnail_buffer(jpeg, LONG_EDGE, height=LONG_EDGE, size="down")
        return bytes(image.jpegsave_buffer(Q=QUALITY))

    return {"pyvips, thumbnail": thumbnail}


def likeness(picture: bytes, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of a picture, decibels."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(float)
    error = ((pixels - truth) ** 2).mean()
    return round(float(10 * np.log10(255**2 / error)), 1)
