"""Makes the photos of the checklist in docs/lightroom.md: what only a person with Lightroom Classic can see.

Run it by `scripts/lightroom-checklist FOLDER`, which sets up what it needs. The pictures are drawn; the words
are written by the daemon's own code, with answers that are given here instead of a model's. What to do with
the photos is that page's last part, which is written beside them as CHECKLIST.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pillow_heif

import sample_scenes
from make_samples import draw_photo, stamp
from tagger_daemon import __version__
from tagger_daemon.errors import TaggerError
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.files import fingerprint
from tagger_daemon.metadata.naming import RAW, extension
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Annotation, Existing, Origin, Photo, Policy, Stage
from tagger_daemon.settings import MetadataSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "lightroom.md"
HEADING = "## The checklist"
CHECKLIST = "CHECKLIST.md"
IMPORT, LATER, AUTO_IMPORT, SEPARATE = "1-import", "2-later", "3-auto-import", "4-separate"
SIZE = 640  # long edge, pixels
SAVED = datetime.fromisoformat("2024-05-01T12:00:00+02:00")  # when Lightroom last saved, as the sidecars say
SAVED_AS_EXIFTOOL_HAS_IT = "2024:05:01 12:00:00+02:00"

#: As Lightroom Classic writes a sidecar: properties as attributes, and a mask.
SIDECAR = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:note="http://example.org/checklist/1.0/"
   xmp:Rating="3"
   xmp:MetadataDate="2024-05-01T12:00:00+02:00"
   note:Kept="yes"
   crs:Version="15.4"
   crs:ProcessVersion="15.4"
   crs:WhiteBalance="As Shot"
   crs:Exposure2012="+0.50"
   crs:Contrast2012="+25"
   crs:Saturation="-100"
   crs:HasSettings="True"
   crs:HasCrop="False"
   crs:AlreadyApplied="False">
   <crs:MaskGroupBasedCorrections>
    <rdf:Seq>
     <rdf:li>
      <rdf:Description
       crs:What="Correction"
       crs:CorrectionAmount="1"
       crs:CorrectionActive="true"
       crs:CorrectionName="Mask 1"
       crs:CorrectionSyncID="0A1B2C3D4E5F60718293A4B5C6D7E8F9"
       crs:LocalExposure2012="-0.5">
      <crs:CorrectionMasks>
       <rdf:Seq>
        <rdf:li
         crs:What="Mask/Gradient"
         crs:MaskActive="true"
         crs:MaskName="Linear Gradient 1"
         crs:MaskBlendMode="0"
         crs:MaskInverted="false"
         crs:MaskSyncID="F9E8D7C6B5A493827160F5E4D3C2B1A0"
         crs:MaskValue="1"
         crs:ZeroX="0.5"
         crs:ZeroY="0.7"
         crs:FullX="0.5"
         crs:FullY="0.1"/>
       </rdf:Seq>
      </crs:CorrectionMasks>
      </rdf:Description>
     </rdf:li>
    </rdf:Seq>
   </crs:MaskGroupBasedCorrections>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
NOTE = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:note="http://example.org/checklist/1.0/" note:Kept="yes"/>
</rdf:RDF></x:xmpmeta>
"""
# Eight by eight grey pixels, by libjxl 0.11.
JXL_CODESTREAM = bytes.fromhex("ff0a41402408040100400c004b188b15801dd4ff0018d0af9ac001")

_ORIGIN = Origin(
    entry="checklist",
    model="nobody",
    digest=None,
    registry="0123456789abcdef",
    profile="default",
    profile_hash="0123456789abcdef",
    endpoint="http://127.0.0.1/v1",
)
_FIELDS = {stage: getattr(MetadataSettings().fields, stage.value) for stage in Stage}


class NotOurs(Exception):
    """The folder holds something else than a checklist of ours."""


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes photos below one folder, and writes words into them as the daemon does."""

    folder: Path
    store: MetadataStore
    raw_source: Path | None  # a person's raw; None: one is drawn

    def draw(self, place: str, name: str, *stamps: str) -> Path:
        """Draw a photo of the kind that its name tells, without words but those given, and return it."""
        path = self._fresh(place, name)
        match path.suffix:
            case ".AVIF" | ".WEBP" | ".JXL":
                _encode(path, b"")
                if stamps:
                    stamp([(path, stamps)])
            case _:
                draw_photo(path, scene=_scene(name), size=SIZE, extra=stamps)
        return path

    def raw(self, place: str, stem: str, sidecar: bytes | None = None) -> Path:
        """Put a raw file, and a sidecar if there is to be one, into a place, and return the raw."""
        if self.raw_source is None:
            path = self.draw(place, f"{stem}.NEF")
        else:
            path = self._fresh(place, stem + self.raw_source.suffix)
            shutil.copyfile(self.raw_source, path)
        for earlier in path.parent.glob(f"{stem}.*"):  # another raw, of an earlier run
            if earlier != path and extension(earlier) in RAW:
                earlier.unlink()
        if sidecar is not None:
            beside = path.with_suffix(".xmp")
            beside.write_bytes(sidecar)
            os.utime(beside, (SAVED.timestamp(), SAVED.timestamp()))
        return path

    def tag(self, path: Path, *, beside: bool = False, root: str = "", **words: object) -> Path:
        """Write words into a photo, or beside it, and return the file that they stand in.

        Args:
            path: the photo.
            beside: as if nothing could be written into the photo itself.
            root: keyword that ours stand below.
            words: answers other than the usual ones, by the names of `Annotation`.
        """
        photo = Photo(path=path, folder=path.parent, fingerprint=fingerprint(path.stat()))
        existing = self._read(photo, beside)
        plan = self.store.plan(
            existing, annotation(path.stem, **words), Policy(fields=_FIELDS, keyword_root=root)
        )
        return self.store.apply(plan).target

    def tag_inside(self, path: Path) -> None:
        """Write words into a photo of a newer format, also where exiftool is too old to do that."""
        target = self.tag(path)
        if target != path:
            stamp([(target, ["XMP-photoshop:SidecarForExtension="])])
            _encode(path, target.read_bytes())
            target.unlink()

    def _read(self, photo: Photo, beside: bool) -> Existing:
        return self.store.read_beside(photo, "made for a checklist") if beside else self.store.read(photo)

    def _fresh(self, place: str, name: str) -> Path:
        """Return where a photo goes, with nothing there of an earlier run or of a Lightroom's since."""
        path = self.folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for earlier in (path, path.with_suffix(".xmp"), path.with_name(f"{name}.xmp")):
            earlier.unlink(missing_ok=True)
        return path


def annotation(code: str, **words: object) -> Annotation:
    """Return the answers for the photo of this name: each says where it belongs."""
    answers: dict[str, object] = {
        "caption": f"{code}: the title",
        "keywords": (f"keyword of {code}",),
        "description": f"{code}: the caption.",
        "origins": dict.fromkeys(Stage, _ORIGIN),
    }
    return Annotation(**{**answers, **words})  # type: ignore[arg-type]  # names and types are those of Annotation


# --- What is made, item by item ---


def item_a(make: Maker) -> None:
    """A sidecar that is written after the import, with three kinds of dates."""
    for code in ("A1", "A2", "A3"):
        make.raw(f"{IMPORT}/a", code, SIDECAR)
        later = make.raw(f"{LATER}/a", code, SIDECAR)
        sidecar = make.tag(later)
        later.unlink()
        if code == "A2":
            stamp([(sidecar, [f"XMP-xmp:MetadataDate={SAVED_AS_EXIFTOOL_HAS_IT}"])])
        if code == "A3":
            os.utime(sidecar, (SAVED.timestamp(), SAVED.timestamp()))


def item_b(make: Maker) -> None:
    """A DNG that says one thing, and a newer sidecar that says another, in both namings."""
    place = f"{IMPORT}/b"
    for code, sidecar in (("B1", "B1.xmp"), ("B2", "B2.DNG.xmp")):
        other = make.draw(place, f"{code}.DNG")
        beside = make.tag(other, beside=True, caption=f"{code}: beside").read_bytes()
        inside = (f"XMP-dc:Title={code}: inside", f"XMP-xmp:MetadataDate={SAVED_AS_EXIFTOOL_HAS_IT}")
        photo = make.draw(place, f"{code}.DNG", *inside)
        os.utime(photo, (SAVED.timestamp(), SAVED.timestamp()))
        photo.with_name(sidecar).write_bytes(beside)


def item_c(make: Maker) -> None:
    """The newer formats, each with words inside, and a HEIC with words beside it."""
    place = f"{IMPORT}/c"
    for name in ("C1.HEIC", "C4.AVIF", "C5.JXL", "C8.WEBP"):
        make.tag_inside(make.draw(place, name))
    for name in ("C6.PNG", "C7.PSB"):
        make.tag(make.draw(place, name))
    make.tag(make.draw(place, "C3.HEIC"), beside=True)
    short = make.draw(place, "C2.HEIC")
    make.tag(short, beside=True).rename(short.with_suffix(".xmp"))


def item_d(make: Maker) -> None:
    """A flat set for the auto-import folder: a raw, a JPEG, a pair, a HEIC."""
    make.tag(make.raw(AUTO_IMPORT, "D1"))
    make.tag(make.draw(AUTO_IMPORT, "D2.JPG"))
    _pair(make, AUTO_IMPORT, "D3")
    make.tag_inside(make.draw(AUTO_IMPORT, "D4.HEIC"))


def item_e(make: Maker) -> None:
    """A raw and a JPEG of one name, for each setting of the preference."""
    _pair(make, f"{IMPORT}/e", "E1")
    _pair(make, f"{SEPARATE}/e", "E2")


def item_f(make: Maker) -> None:
    """Properties in namespaces that Lightroom does not know: our marker, and another."""
    make.tag(make.raw(f"{IMPORT}/f", "F1", SIDECAR))
    with _packet(NOTE) as packet:
        make.tag(make.draw(f"{IMPORT}/f", "F2.JPG", f"XMP<={packet}"))


def item_g(make: Maker) -> None:
    """Flat keywords, keywords below a root, and keywords beside a hierarchy of a person's."""
    place = f"{IMPORT}/g"
    make.tag(make.draw(place, "G1.JPG"), keywords=("checklist dog", "checklist beach"))
    make.tag(make.draw(place, "G2.JPG"), root="AI", keywords=("checklist dog", "checklist beach"))
    theirs = ("XMP-dc:Subject=checklist dog", "XMP-lr:HierarchicalSubject=checklist animals|checklist dog")
    make.tag(make.draw(place, "G3.JPG", *theirs), keywords=("checklist dog", "checklist beach"))


def item_h(make: Maker) -> None:
    """Keywords of a person's with separators in them."""
    theirs = ("checklist Smith, Anna", "checklist black/white", "checklist a;b")
    make.tag(make.draw(f"{IMPORT}/h", "H1.JPG", *(f"XMP-dc:Subject={word}" for word in theirs)))


def item_i(make: Maker) -> None:
    """Alternative text and extended description."""
    make.tag(make.draw(f"{IMPORT}/i", "I1.JPG"))


def item_j(make: Maker) -> None:
    """A caption of several lines."""
    make.tag(make.draw(f"{IMPORT}/j", "J1.JPG"), description="J1: line one.\nJ1: line two.\n\nJ1: line four.")


def item_k(make: Maker) -> None:
    """A sidecar with a mask as Lightroom writes it, and the same once the daemon has written into it."""
    own = make.raw_source.with_suffix(".xmp") if make.raw_source else None
    sidecar = own.read_bytes() if own is not None and own.is_file() else SIDECAR
    make.raw(f"{IMPORT}/k", "K1", sidecar)
    make.tag(make.raw(f"{IMPORT}/k", "K2", sidecar))


ITEMS: tuple[Callable[[Maker], None], ...] = (
    item_a, item_b, item_c, item_d, item_e, item_f, item_g, item_h, item_i, item_j, item_k,
)  # fmt: skip


def _pair(make: Maker, place: str, code: str) -> None:
    jpeg = make.draw(place, f"{code}.JPG")
    make.tag(make.raw(place, code))
    make.tag(jpeg)


def _scene(name: str) -> str:
    """Return the scene of a photo: those of one item look alike, and those of another do not."""
    scenes = list(sample_scenes.SCENES)
    return scenes[(ord(name[0]) - ord("A")) % len(scenes)]


def _encode(path: Path, packet: bytes) -> None:
    """Draw a photo of a newer format with this XMP inside; with none if it is empty."""
    image = sample_scenes.draw(_scene(path.name), width=SIZE, height=SIZE * 2 // 3)
    match path.suffix:
        case ".HEIC":
            heif = pillow_heif.from_pillow(image)
            heif.save(path, quality=80, enc_params={"preset": "ultrafast"}, xmp=packet or None)
        case ".JXL":
            path.write_bytes(_jxl(packet))
        case suffix:
            image.save(path, suffix[1:], **({"xmp": packet} if packet else {}))


def _jxl(packet: bytes) -> bytes:
    """Return a JPEG XL file of eight by eight pixels (ISO/IEC 18181-2)."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", len(content) + 8, kind) + content

    boxes = [
        (b"JXL ", b"\r\n\x87\n"),
        (b"ftyp", b"jxl \0\0\0\0jxl "),
        (b"xml ", packet),
        (b"jxlc", JXL_CODESTREAM),
    ]
    return b"".join(box(kind, content) for kind, content in boxes if content)


@contextmanager
def _packet(content: bytes) -> Iterator[Path]:
    """Give a file with this content while the context is open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "packet.xmp")
        path.write_bytes(content)
        yield path


# --- The folder ---


def checklist_text() -> str:
    """Return the checklist as it stands in docs/lightroom.md, as a page of its own."""
    _, heading, text = PAGE.read_text(encoding="utf-8").partition(f"{HEADING}\n")
    assert heading, f"{PAGE} has no heading {HEADING!r}"
    lines = (line[1:] if line.startswith("##") else line for line in (heading + text).splitlines())
    return "\n".join(lines) + "\n"


def make_checklist(
    folder: Path, *, raw: Path | None = None, now: Callable[[], datetime] | None = None
) -> None:
    """Make the whole set in a folder that is empty, not there yet, or has been made by this function before.

    Args:
        folder: where to. A checklist there in which something was written stays as it is.
        raw: a raw file of a person's to take instead of a drawn one; for item k with its sidecar.
        now: the clock, with a time zone.

    Raises:
        NotOurs: something else is in the folder.
        TaggerError: exiftool is missing or too old, or a photo could not be written.
    """
    page, text = folder / CHECKLIST, checklist_text()
    if folder.exists() and not folder.is_dir():
        raise NotOurs(f"{folder} is no folder")
    if folder.exists() and any(folder.iterdir()) and not _is_ours(page):
        raise NotOurs(f"{folder} holds other things; name an empty folder, or one that is not there yet")
    folder.mkdir(parents=True, exist_ok=True)
    if not page.exists():
        page.write_text(text, encoding="utf-8")
    store = MetadataStore(
        MetadataSettings(quiet_hours=0),  # no catalogue holds these photos yet
        exiftool=ExifTool(),
        tool_version=__version__,
        now=now or (lambda: datetime.now().astimezone()),
    )
    with closing(store):
        store.start()
        make = Maker(folder=folder, store=store, raw_source=raw)
        for item in ITEMS:
            item(make)


def _is_ours(page: Path) -> bool:
    return page.is_file() and page.read_text(encoding="utf-8").startswith(f"{HEADING[1:]}\n")


def main(arguments: list[str] | None = None) -> int:
    """Make the set and say what comes next."""
    parser = argparse.ArgumentParser(
        prog="scripts/lightroom-checklist",
        description="Make the photos of the checklist in docs/lightroom.md, to be tried in Lightroom.",
        epilog="example:\n  scripts/lightroom-checklist ~/Desktop/checklist --raw ~/Pictures/IMG_1234.CR3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where to: empty, not there yet, or made by this before")
    parser.add_argument(
        "--raw",
        type=Path,
        help="a raw file of your own to copy, for Lightroom may refuse the one that is drawn",
    )
    options = parser.parse_args(arguments)
    raw: Path | None = options.raw
    if raw is not None and not (raw.is_file() and extension(raw) in RAW):
        parser.error(f"{raw} is no raw file that is known here")
    try:
        make_checklist(options.folder, raw=raw)
    except NotOurs as error:
        parser.error(str(error))
    except TaggerError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.folder / CHECKLIST} says what to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
