"""Draw an inbox of sample photos, in every handled format, with true metadata.

Example:
    python scripts/make_samples.py ~/Pictures/inbox --count 20

Nothing in these files is anybody's: the scenes are drawn, the cameras are invented (but for the NEF, whose
decoders go by the maker's name). The same seed gives the same bytes. Tests use the parts: `make_inbox`,
`draw_photo`, `write_jpeg` and its sisters, `stamp`, `make_broken`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sample_files import (
    WRITERS,
    make_broken,
    write_dng,
    write_heic,
    write_jpeg,
    write_nef,
    write_png,
    write_psd,
    write_tiff,
)
from sample_scenes import SCENES, draw

__all__ = [
    "INBOX",
    "Sample",
    "Shot",
    "draw_photo",
    "make_broken",
    "make_inbox",
    "stamp",
    "write_dng",
    "write_heic",
    "write_jpeg",
    "write_nef",
    "write_png",
    "write_psd",
    "write_tiff",
]

DEFAULT_SIZE = 1600  # long edge, pixels


@dataclass(frozen=True, kw_only=True)
class Shot:
    """The circumstances under which a sample says it was taken."""

    taken: str = "2024:06:15 12:00:00"  # local time, as EXIF writes it
    zone: str = "+02:00"
    focal: float = 50  # millimetres
    crop: float = 1.0  # factor from `focal` to its equivalent on full-frame film
    exposure: str = "1/250"  # seconds
    f_number: float = 8
    iso: int = 100
    where: tuple[float, float] | None = None  # latitude and longitude in degrees, north and east positive


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file of the inbox."""

    name: str  # path below the inbox; the suffix tells the format
    scene: str
    shot: Shot
    upright: bool = False  # portrait format
    orientation: int = 1  # EXIF; the pixels are stored so that a viewer has to turn them
    extra: tuple[str, ...] = ()  # exiftool assignments beyond the shot
    options: Mapping[str, Any] | None = None  # for the format's writer


def camera(focal: float, exposure: str, f_number: float, iso: int) -> dict[str, Any]:
    """Return the camera's part of a `Shot`, in the order in which photographers say it."""
    return {"focal": focal, "exposure": exposure, "f_number": f_number, "iso": iso}


# What to do to an upright picture so that a viewer who obeys the EXIF orientation shows it upright again.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

INBOX: tuple[Sample, ...] = (
    Sample(
        name="LUM_0101.JPG",
        scene="sunset",
        shot=Shot(
            taken="2024:08:14 20:26:41",
            zone="+01:00",
            where=(38.6979, -9.4215),
            **camera(35, "1/320", 8, 100),
        ),
    ),
    Sample(
        name="LUM_0102.JPG",
        scene="forest",
        shot=Shot(taken="2024:05:04 09:12:05", **camera(28, "1/60", 4, 400)),
        upright=True,
        orientation=6,
    ),
    Sample(
        name="LUM_0103.JPG",
        scene="leaves",
        shot=Shot(taken="2023:10:21 15:40:18", **camera(60, "1/125", 5.6, 200)),
        upright=True,
        orientation=8,
    ),
    Sample(
        name="Zürich im Winter/weißer Morgen.jpg",
        scene="snow",
        shot=Shot(
            taken="2024:01:20 08:31:50", zone="+01:00", where=(47.3495, 8.4920), **camera(70, "1/500", 8, 200)
        ),
        extra=(
            "XMP-iptcCore:Location=Üetliberg",
            "XMP-photoshop:City=Zürich",
            "XMP-photoshop:Country=Schweiz",
        ),
    ),
    Sample(
        name="night over the bay.jpg",
        scene="night",
        shot=Shot(
            taken="2024:02:09 23:05:33",
            zone="-03:00",
            where=(-34.6083, -58.3512),
            **camera(24, "8", 5.6, 800),
        ),
    ),
    Sample(
        name="street, told by a person.jpg",
        scene="street",
        shot=Shot(taken="2022:03:12 17:02:10", zone="+01:00", **camera(35, "1/1000", 11, 400)),
        extra=(
            "XMP-dc:Title=Alone in Linden Street",
            "XMP-dc:Description=A lone walker crosses the long shadow of the houses on a March afternoon.",
            "XMP-dc:Subject=street",
            "XMP-dc:Subject=black and white",
            "XMP-dc:Subject=Linden Street",
        ),
    ),
    Sample(
        name="meadow, keywords by a person.jpg",
        scene="meadow",
        shot=Shot(taken="2024:06:08 11:20:44", **camera(40, "1/640", 8, 100)),
        extra=(
            "XMP-dc:Subject=Opa's meadow",
            "XMP-dc:Subject=poppy",
            "XMP-lr:HierarchicalSubject=places|home|Opa's meadow",
        ),
    ),
    Sample(
        name="harbour 1998, legacy caption.jpg",
        scene="harbour",
        shot=Shot(taken="1998:07:19 10:15:00", **camera(50, "1/250", 8, 100)),
        extra=(
            "IPTC:CodedCharacterSet=UTF8",
            "IPTC:Caption-Abstract=Regatta morning, before the wind came up. © the family album",
            "IPTC:Keywords=regatta",
            "IPTC:Keywords=Hafen früh",
            "IPTC:By-line=A. Person",
        ),
    ),
    Sample(
        name="wide gamut.jpg",
        scene="bokeh",
        shot=Shot(taken="2024:07:02 07:48:12", **camera(100, "1/200", 2.8, 200)),
        options={"wide_gamut": True},
    ),
    Sample(name="bokeh.png", scene="bokeh", shot=Shot(**camera(90, "1/160", 2.8, 160))),
    Sample(
        name="still life.tif",
        scene="still_life",
        shot=Shot(taken="2024:11:30 16:20:00", zone="+01:00", **camera(85, "1/8", 11, 100)),
    ),
    Sample(
        name="fog, 16 bit.tif",
        scene="fog",
        shot=Shot(taken="2023:11:05 07:10:00", zone="+01:00", **camera(50, "1/30", 4, 400)),
        options={"bits": 16},
    ),
    Sample(
        name="LUM_0113.DNG",
        scene="mountains",
        shot=Shot(taken="2024:09:01 07:05:27", where=(46.5475, 7.9853), **camera(35, "1/400", 8, 100)),
    ),
    Sample(
        name="DSC_0114.NEF",
        scene="dunes",
        shot=Shot(taken="2024:04:18 06:52:03", where=(-24.7285, 15.3426), **camera(70, "1/800", 8, 100)),
    ),
    Sample(
        name="IMG_0115.HEIC",
        scene="meadow",
        shot=Shot(
            taken="2024:06:08 11:24:19",
            where=(51.4779, -0.0015),
            zone="+01:00",
            crop=5.1,
            **camera(5.1, "1/1200", 1.8, 50),
        ),
    ),
    Sample(
        name="harbour, edited.psd",
        scene="harbour",
        shot=Shot(
            taken="2024:07:20 10:02:00",
            where=(-33.8523, 151.2108),
            zone="+10:00",
            **camera(35, "1/320", 8, 100),
        ),
    ),
)


def make_inbox(
    folder: Path, *, seed: int = 1, size: int = DEFAULT_SIZE, count: int = len(INBOX)
) -> list[Path]:
    """Draw the inbox into a folder, which is made if need be, and return its files.

    Args:
        folder: where to; files of the same names are replaced.
        seed: another one moves what is drawn, not what is said about it.
        size: long edge in pixels.
        count: the first so many of `INBOX`; beyond its end come further JPEGs, one scene after another.
    """
    samples = [*INBOX[:count], *(_further(number) for number in range(len(INBOX), count))]
    stamps: list[tuple[Path, list[str]]] = []
    for number, sample in enumerate(samples):
        path = folder / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw_sample(path, sample, seed=seed + number, size=size)
        stamps.append((path, _assignments(sample)))
    stamp(stamps)
    return [path for path, _ in stamps]


def draw_photo(
    path: Path,
    *,
    scene: str = "sunset",
    size: int = 320,
    seed: int = 1,
    shot: Shot | None = None,
    orientation: int = 1,
    extra: Iterable[str] = (),
) -> Path:
    """Draw one photo in the format that the suffix tells, and return its path.

    Args:
        path: .jpg, .png, .tif, .dng, .nef, .heic, .psd or a spelling of these.
        scene: one of `sample_scenes.SCENES`.
        size: long edge in pixels.
        seed: another one draws another picture.
        shot: what the metadata says; None says nothing beyond `orientation` and `extra`.
        orientation: EXIF orientation, 1 to 8, with the pixels turned to suit.
        extra: exiftool assignments such as "XMP-dc:Title=Mine".
    """
    sample = Sample(
        name=path.name, scene=scene, shot=shot or Shot(), orientation=orientation, extra=tuple(extra)
    )
    _draw_sample(path, sample, seed=seed, size=size)
    turned = [f"EXIF:Orientation#={orientation}"] if orientation != 1 else []
    assignments = _assignments(sample) if shot else [*turned, *sample.extra]
    if assignments:
        stamp([(path, assignments)])
    return path


def stamp(files: Iterable[tuple[Path, Iterable[str]]]) -> None:
    """Write metadata into our own fresh files: for each, assignments such as "XMP-dc:Title=Mine".

    A tag that is assigned twice becomes a list.

    Raises:
        subprocess.CalledProcessError: exiftool could not write one of them; `stderr` says why.
    """
    arguments: list[str] = []
    for path, assignments in files:
        arguments += ["-overwrite_original"]
        arguments += [f"-{assignment}" for assignment in assignments]
        arguments += [str(path), "-execute"]
    subprocess.run(
        ["exiftool", "-@", "-", "-common_args", "-q", "-charset", "filename=utf8", "-charset", "iptc=utf8"],
        input="\n".join(arguments),
        capture_output=True,
        check=True,
        encoding="utf-8",
    )


def _further(number: int) -> Sample:
    """Return a JPEG beyond the fixed list."""
    scene = list(SCENES)[number % len(SCENES)]
    shot = Shot(taken=f"2024:{1 + number % 12:02}:{1 + number % 28:02} 12:00:00", zone="+00:00")
    return Sample(name=f"more/LUM_{number + 1:04}.JPG", scene=scene, shot=shot)


def _draw_sample(path: Path, sample: Sample, *, seed: int, size: int) -> None:
    short = round(size * 2 / 3)
    width, height = (short, size) if sample.upright else (size, short)
    image = draw(sample.scene, width=width, height=height, seed=seed)
    if sample.scene == "street" and path.suffix.lower() in (".jpg", ".jpeg"):
        image = image.convert("L")
    if sample.orientation != 1:
        image = image.transpose(STORED[sample.orientation])
    WRITERS[path.suffix.lower()](path, image, **(sample.options or {}))


def _assignments(sample: Sample) -> list[str]:
    """Return what exiftool is to write into a sample."""
    shot = sample.shot
    said = {
        "DateTimeOriginal": shot.taken,
        "CreateDate": shot.taken,
        "OffsetTimeOriginal": shot.zone,
        "OffsetTimeDigitized": shot.zone,
        "ExposureTime": shot.exposure,
        "FNumber": shot.f_number,
        "ISO": shot.iso,
        "FocalLength": shot.focal,
        "FocalLengthIn35mmFormat": round(shot.focal * shot.crop),
        "Orientation#": sample.orientation,
    }
    if not sample.name.lower().endswith(".nef"):
        said |= {"Make": "Lumora", "Model": "Lumora Field 3", "LensModel": f"Lumora {shot.focal:g}mm"}
    if shot.where is not None:
        latitude, longitude = shot.where
        said |= {
            "GPSLatitude": abs(latitude),
            "GPSLatitudeRef": "N" if latitude >= 0 else "S",
            "GPSLongitude": abs(longitude),
            "GPSLongitudeRef": "E" if longitude >= 0 else "W",
        }
    return [*(f"EXIF:{tag}={value}" for tag, value in said.items()), *sample.extra]


def main(arguments: list[str] | None = None) -> int:
    """Draw the inbox and name its files."""
    parser = argparse.ArgumentParser(
        description="Draw an inbox of sample photos, in every handled format, with true metadata.",
        epilog="example: make_samples.py ~/Pictures/inbox --count 20",
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("inbox"), help="where to (default: ./inbox)"
    )
    parser.add_argument(
        "--count", type=int, default=len(INBOX), help="how many photos (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another one draws other pictures (default: 1)")
    parser.add_argument(
        "--size", type=int, default=DEFAULT_SIZE, help="long edge in pixels (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    for path in make_inbox(options.folder, seed=options.seed, size=options.size, count=options.count):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
