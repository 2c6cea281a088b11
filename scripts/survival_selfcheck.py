"""Whether the suite can fail: losses are planted by hand, and each has to be found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from survival_files import SAMPLES, run_exiftool
from survival_journey import TAGGED, UNDONE, Failed, Journey

PEERS, LEGACY, LANGUAGES = "peers H1, no caption.jpg", "iptc/latin.jpg", "texts/two languages.jpg"
RAW, SIDECAR = "raw/DSC_0301.NEF", "raw/DSC_0301.xmp"
TURNED = ("+=DUMBO", "+=Grandma Rose")
NAMES = (PEERS, LEGACY, LANGUAGES, RAW)


@dataclass(frozen=True, kw_only=True)
class Plant:
    """One loss, planted after the first tagging."""

    name: str
    do: Callable[[Path, str], None]  # in the folder of the photos, with this exiftool
    what: str  # what the suite has to call it
    where: str  # the file in which it has to find it


def _write(name: str, *assignments: str) -> Callable[[Path, str], None]:
    def do(photos: Path, exiftool: str) -> None:
        run_exiftool(exiftool, [[*(f"-{value}" for value in assignments), str(photos / name)]])

    return do


def _replace(name: str, old: str, new: str) -> Callable[[Path, str], None]:
    def do(photos: Path, _: str) -> None:
        text = (photos / name).read_text(encoding="utf-8")
        assert old in text
        (photos / name).write_text(text.replace(old, new), encoding="utf-8")

    return do


def _spoil_pixel(photos: Path, _: str) -> None:
    """Change one bit of a JPEG's picture data, which ends with the file."""
    data = bytearray((photos / PEERS).read_bytes())
    data[-1000] ^= 4
    (photos / PEERS).write_bytes(data)


def _append(photos: Path, _: str) -> None:
    with (photos / RAW).open("ab") as file:
        file.write(b"\0")


def _remove(photos: Path, _: str) -> None:
    (photos / SIDECAR).unlink()


PLANTS = (
    Plant(
        name="a keyword in lower case",
        do=_write(PEERS, "XMP-dc:Subject-=DUMBO", "XMP-dc:Subject+=dumbo"),
        what="lost",
        where=PEERS,
    ),
    Plant(
        name="a keyword in another place",
        do=_write(PEERS, *(f"XMP-dc:Subject{edit}" for edit in ("-=Grandma Rose", "-=DUMBO", *TURNED))),
        what="moved",
        where=PEERS,
    ),
    Plant(
        name="a level of the hierarchy less",
        do=_write(
            PEERS,
            "XMP-lr:HierarchicalSubject-=People|Family|Grandma Rose",
            "XMP-lr:HierarchicalSubject+=People|Grandma Rose",
        ),
        what="lost",
        where=PEERS,
    ),
    Plant(
        name="another title", do=_write(PEERS, "XMP-dc:Title-x-default=A bridge"), what="lost", where=PEERS
    ),
    Plant(name="no rating", do=_write(PEERS, "XMP-xmp:Rating="), what="lost", where=PEERS),
    Plant(name="a label", do=_write(PEERS, "XMP-xmp:Label=Red"), what="appeared", where=PEERS),
    Plant(name="one bit of the picture", do=_spoil_pixel, what="changed", where=PEERS),
    Plant(name="no German title", do=_write(LANGUAGES, "XMP-dc:Title-de-DE="), what="lost", where=LANGUAGES),
    Plant(
        name="an accent of the legacy block",
        do=_write(LEGACY, "IPTC:Keywords-=café", "IPTC:Keywords+=caf?"),
        what="lost",
        where=LEGACY,
    ),
    Plant(name="a mask", do=_replace(SIDECAR, "0.400001", "0.4"), what="lost", where=SIDECAR),
    Plant(
        name="another namespace",
        do=_replace(SIDECAR, "camera-raw-settings/1.0/", "camera-raw-settings/2.0/"),
        what="lost",
        where=SIDECAR,
    ),
    Plant(name="one byte more of a raw", do=_append, what="changed", where=RAW),
    Plant(name="no sidecar", do=_remove, what="vanished", where=SIDECAR),
)


def unnoticed(root: Path, *, exiftool: str, say: Callable[[str], None]) -> list[str]:
    """Plant losses, one after another, and return those that the suite does not find.

    Args:
        root: an empty folder.
        exiftool: as for `travel`.
        say: told at the beginning of every step.

    Raises:
        Failed: the program did not do what was to be judged, or photos without a planted loss show one.
    """
    samples = [sample for sample in SAMPLES if sample.name in NAMES]
    journey = Journey(root=root, samples=samples, exiftool=exiftool, say=say)
    journey.prepare()
    journey.tag(TAGGED, mode="fill")
    journey.check(TAGGED)
    if journey.report.lost:
        raise Failed("photos show losses although none was planted yet")
    tagged = root / "tagged"
    shutil.copytree(journey.photos, tagged)
    missed = []
    for plant in PLANTS:
        say(f"planted: {plant.name}")
        plant.do(journey.photos, exiftool)
        journey.check(TAGGED)
        if (plant.where, plant.what) not in _found(journey, TAGGED):
            missed.append(plant.name)
        shutil.rmtree(journey.photos)
        shutil.copytree(tagged, journey.photos)
    say("planted: a file of its own, and nothing undone")
    stray = journey.photos / "raw" / "left behind.jpg"
    stray.write_bytes(b"")
    journey.check(UNDONE)
    if str(stray.relative_to(journey.photos)) not in journey.report.strays[UNDONE]:
        missed.append("a file of its own")
    left = {file for file, what in _found(journey, UNDONE) if what == "appeared"}
    missed += [f"nothing undone in {name}" for name in (*NAMES[:-1], SIDECAR) if name not in left]
    return missed


def _found(journey: Journey, step: str) -> set[tuple[str, str]]:
    """Return the findings of a step: in which file, and what."""
    return {
        (file, finding.what)
        for steps in journey.report.rows.values()
        if step in steps
        for file, finding in steps[step].findings
    }
