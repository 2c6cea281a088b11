"""What the metadata of one photo costs: read, plan, write a copy, prove it, put it in the photo's place.

One thread and one exiftool process, as in the service; no model, no queue. Beside each photo the same
process is asked for the least that could be done, plainly: one read of the photo and one write of a copy. The
ratio of the two means the same on every machine; milliseconds do not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench_machine import About, machine, positive, told
from make_samples import stamp
from sample_raw import nef
from tagger_daemon import __version__
from tagger_daemon.metadata.exiftool import Answer, ExifTool, path_argument
from tagger_daemon.metadata.files import fingerprint
from tagger_daemon.metadata.ownership import nothing_to_do
from tagger_daemon.metadata.read import SHOW
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Annotation, Memory, Origin, Photo, Policy, Stage, WritePlan
from tagger_daemon.settings import MetadataSettings

WITHIN_MS = 60  # what a photo's metadata may cost, beside the seconds that the models take
WARM_UP = 3  # photos that are not counted: exiftool loads most of its modules when it first needs them
SEED = 1
SIZE = (2560, 2000)  # pixels; noise, so that a JPEG of them has about 6 MB and the raw 16

CAMERA = (
    "EXIF:Make=Lumen", "EXIF:Model=Lumen One", "EXIF:DateTimeOriginal=2024:06:15 12:00:00",
    "EXIF:ExposureTime=1/250", "EXIF:FNumber=8", "EXIF:ISO=100", "EXIF:FocalLength=50",
    "EXIF:GPSLatitude=47.35", "EXIF:GPSLatitudeRef=N", "EXIF:GPSLongitude=8.49", "EXIF:GPSLongitudeRef=E",
)  # fmt: skip
DEVELOPED = (
    "XMP-xmp:Rating=3", "XMP-crs:HasSettings=True", "XMP-crs:Version=16.0", "XMP-crs:ProcessVersion=15.4",
    *(f"XMP-crs:{name}=+0.25" for name in ("Exposure2012", "Clarity2012", "Vibrance", "Dehaze", "Texture")),
    *(f"XMP-crs:{kind}Adjustment{hue}=-12" for kind in ("Hue", "Saturation", "Luminance")
      for hue in ("Red", "Orange", "Yellow", "Green", "Aqua", "Blue", "Purple", "Magenta")),
    *(f"XMP-crs:ToneCurvePV2012={level}, {level}" for level in range(0, 256, 15)),
)  # fmt: skip

_ORIGIN = Origin(
    entry="eyes",
    model="acme/eyes-7b",
    digest="sha256:0123456789abcdef",
    registry="0123456789abcdef",
    profile="default",
    profile_hash="0123456789abcdef",
    endpoint="http://127.0.0.1:8000/v1",
)
WORDS = Annotation(
    caption="A yellow dog runs along the beach towards the setting sun.",
    keywords=(
        *("dog", "beach", "sea", "sunset", "sand", "waves", "yellow", "running"),
        *("evening", "sky", "summer", "outdoors"),
    ),
    description="A yellow dog runs along the water's edge. " * 8,
    origins=dict.fromkeys(Stage, _ORIGIN),
)
#: What is written by default.
RULES = Policy(fields={stage: getattr(MetadataSettings().fields, stage.value) for stage in Stage})

EXAMPLES = """\
examples:
  scripts/bench metadata
  scripts/bench metadata --photos 300
  scripts/bench metadata --folder /srv/photos/.bench      where your photos are: disks differ
  scripts/bench metadata --exiftool /opt/exiftool/exiftool --json
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of photo to measure."""

    name: str
    files: tuple[Path, ...]  # the photo, and its sidecar if it has one
    writes: bool = True  # False: it is tagged already, so that it is read and left alone


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How long something took, milliseconds."""

    minimum: float
    median: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one kind of photo costs."""

    case: str
    megabytes: float  # of the photo
    ours: Spread
    commands: float  # to exiftool, a photo
    plain: Spread  # exiftool alone: one read of the photo, and one write where we write
    ratio: float  # of the medians
    within: bool  # our median is no more than WITHIN_MS


class CountingExifTool(ExifTool):
    """The real exiftool; counts its commands."""

    commands = 0

    def ask(self, *arguments: str | bytes) -> Answer:
        self.commands += 1
        return super().ask(*arguments)


def add_parser(subjects: Any) -> None:
    """Add this subject to the command line."""
    parser = subjects.add_parser(
        "metadata",
        help="what the metadata of one photo costs",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=positive, default=100, metavar="N", help="photos a case (100)")
    parser.add_argument("--exiftool", default="exiftool", metavar="PATH", help="the exiftool to use")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the photos are drawn and written")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure every case and print what was found."""
    exiftool = CountingExifTool(arguments.exiftool)
    settings = MetadataSettings(exiftool=arguments.exiftool)
    store = MetadataStore(
        settings, exiftool=exiftool, tool_version=__version__, now=lambda: datetime.now(UTC)
    )
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with closing(store), tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.folder) as name:
        store.start()
        about = machine(exiftool=".".join(map(str, exiftool.version())), photos=arguments.photos)
        cases = _draw(Path(name), store)
        results = [_measure(case, store, exiftool, arguments.photos) for case in cases]
    if arguments.json:
        print(json.dumps({"machine": about, "within_ms": WITHIN_MS, "cases": list(map(asdict, results))}))
    else:
        _print(about, results)


def _draw(folder: Path, store: MetadataStore) -> list[Case]:
    """Draw the photos of all cases."""
    models = folder / "models"
    models.mkdir()
    noise = np.random.default_rng(SEED).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    jpeg, raw, sidecar, tagged = (models / name for name in ("photo.jpg", "raw.nef", "raw.xmp", "tagged.jpg"))
    image.save(jpeg, "JPEG", quality=95)
    raw.write_bytes(nef(image))
    sidecar.write_bytes(EMPTY)
    stamp([(jpeg, CAMERA), (raw, CAMERA), (sidecar, DEVELOPED)])
    shutil.copyfile(jpeg, tagged)
    _tag(store, _photo(tagged))
    return [
        Case(name="JPEG, written into", files=(jpeg,)),
        Case(name="raw, new sidecar", files=(raw,)),
        Case(name="raw, its sidecar rewritten", files=(raw, sidecar)),
        Case(name="JPEG that is tagged, only read", files=(tagged,), writes=False),
    ]


def _measure(case: Case, store: MetadataStore, exiftool: CountingExifTool, photos: int) -> Result:
    """Measure our way and the plain one on fresh copies of the case's photo, in turns."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    commands = 0
    with tempfile.TemporaryDirectory(dir=case.files[0].parent) as name:
        folder = Path(name)
        plan = _plan(store, _copied(case, folder)) if case.writes else None
        for number in range(WARM_UP + photos):
            for way in ("ours", "plain") if number % 2 else ("plain", "ours"):
                photo = _copied(case, folder)
                before = exiftool.commands
                start = time.perf_counter()
                if way == "plain":
                    _plainly(exiftool, photo, plan)
                elif case.writes:
                    _tag(store, photo)
                else:
                    _skip(store, photo)
                if number >= WARM_UP:
                    seconds[way].append(time.perf_counter() - start)
                    commands += exiftool.commands - before if way == "ours" else 0
    ours, plain = _spread(seconds["ours"]), _spread(seconds["plain"])
    return Result(
        case=case.name,
        megabytes=round(case.files[0].stat().st_size / 1e6, 1),
        ours=ours,
        commands=round(commands / photos, 1),
        plain=plain,
        ratio=round(ours.median / plain.median, 2),
        within=ours.median <= WITHIN_MS,
    )


def _copied(case: Case, folder: Path) -> Photo:
    """Put a fresh copy of the case's files into an emptied folder, on disk as if it had long been there."""
    for left in folder.iterdir():
        left.unlink()
    for path in case.files:
        copy = Path(shutil.copyfile(path, folder / path.name))
        with copy.open("rb") as stream:
            os.fsync(stream.fileno())
    return _photo(folder / case.files[0].name)


def _photo(path: Path) -> Photo:
    return Photo(path=path, folder=path.parent, fingerprint=fingerprint(path.stat()))


def _plan(store: MetadataStore, photo: Photo) -> WritePlan:
    return store.plan(store.read(photo), WORDS, RULES)


def _tag(store: MetadataStore, photo: Photo) -> None:
    """Do all that is done about a photo's metadata when it gets words."""
    assert store.apply(_plan(store, photo)).target.exists()


def _skip(store: MetadataStore, photo: Photo) -> None:
    """Do all that is done about a photo that is tagged."""
    assert nothing_to_do(store.read(photo), Memory(), RULES)


def _plainly(exiftool: ExifTool, photo: Photo, plan: WritePlan | None) -> None:
    """Read a photo once, and write a copy of what `plan` would write to, and no more."""
    assert exiftool.ask(*SHOW, path_argument(photo.path)).status == 0
    if plan is None:
        return
    copy = path_argument(plan.target.with_name(f"plain{plan.target.suffix}"))
    values = {write.tag: write.value for write in plan.writes if write.value is not None}
    with exiftool.private_file(EMPTY, ".xmp") as empty, exiftool.values_file(values) as given:
        source = plan.target if plan.target.exists() else empty
        assert exiftool.ask(given, "-o", copy, path_argument(source)).status == 0


def _spread(seconds: list[float]) -> Spread:
    """Return the spread in milliseconds; the 95th percentile is the nearest rank's."""
    ordered = sorted(1000 * one for one in seconds)
    return Spread(
        minimum=round(ordered[0], 1),
        median=round(statistics.median(ordered), 1),
        p95=round(ordered[-(-95 * len(ordered) // 100) - 1], 1),
    )


def _print(about: About, results: list[Result]) -> None:
    print(f"{told(about)}\n")
    print("| ms a photo | MB | min | median | p95 | commands | plain min | median | p95 | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for result in results:
        ours, plain = result.ours, result.plain
        cells = (
            *(result.case, result.megabytes, ours.minimum, ours.median, ours.p95, result.commands),
            *(plain.minimum, plain.median, plain.p95, result.ratio),
        )
        print(f"| {' | '.join(map(str, cells))} |")
    over = [result.case for result in results if not result.within]
    verdict = f"no: {'; '.join(over)}" if over else "yes"
    print(f"\nMedian within {WITHIN_MS} ms a photo: {verdict}.")
