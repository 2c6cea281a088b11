"""Hand-tagged photos of every kind, drawn here, and what a person later does to some of them.

The keywords, hierarchy and ratings of the files whose names begin with `peers` are those on which other
programs of this kind were tried.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from sample_files import write_dng, write_heic, write_jpeg, write_nef, write_png, write_psd, write_tiff
from sample_scenes import SCENES, draw
from survival_describer import THROWN_OUT
from survival_xmp import (
    darktable_sidecar,
    lightroom_sidecar,
    plain_sidecar,
    qualified_value,
    unknown_namespaces,
)

RAWS = frozenset({".nef"})  # never written into
MODERN = frozenset({".heic", ".avif", ".webp"})  # by newer exiftools only
SIZE = (240, 160)  # pixels; nothing here depends on it

LONG_TEXT = " ".join(
    f"Line {number}: the boats of 19{number:02} lay in the harbour, paint flaking, as they always had."
    for number in range(1, 90)
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One photo that a person has tagged, with what stands beside it."""

    name: str
    words: tuple[str, ...] = ()  # exiftool assignments
    xmp: str = ""  # put into the file as it is, before the words
    sidecars: Mapping[str, str] = field(default_factory=dict)  # name -> XMP; the one that counts comes first
    charset: str = "Latin"  # exiftool's name of the encoding of an IPTC block that declares none
    options: Mapping[str, Any] = field(default_factory=dict)  # for the format's writer
    signed: bool = False  # it carries content credentials, which any change of the file would break
    picture_of: str = ""  # the name of a photo with the very same picture
    edits: tuple[str, ...] = ()  # what a person later does to it: exiftool assignments
    untouched: bool = False  # a person has said all, or exiftool would lose some of it: no business here

    def home(self, *, modern_embeds: bool) -> str:
        """Return the name of the file that the program's words belong into.

        Args:
            modern_embeds: HEIC, AVIF and WebP can be written into safely.
        """
        kind = Path(self.name).suffix.lower()
        if kind in RAWS:
            return next(iter(self.sidecars), str(Path(self.name).with_suffix(".xmp")))
        is_closed = self.signed or (kind in MODERN and not modern_embeds)
        return f"{self.name}.xmp" if is_closed else self.name


def _keywords(*words: str) -> tuple[str, ...]:
    return tuple(f"XMP-dc:Subject={word}" for word in words)


def _paths(*paths: str) -> tuple[str, ...]:
    return tuple(f"XMP-lr:HierarchicalSubject={path}" for path in paths)


def _thrown_out(*lists: str) -> tuple[str, ...]:
    """Return the assignments that delete one of our keywords from every list that a photo program shows."""
    return tuple(f"{name}-={THROWN_OUT}" for name in ("XMP-dc:Subject", *lists))


def _iptc(*assignments: str) -> tuple[str, ...]:
    return tuple(f"IPTC:{assignment}" for assignment in assignments)


PEERS_WORDS = (
    *_keywords("Grandma Rose", "DUMBO", "iPhone shots"),
    *_paths("People|Family|Grandma Rose", "DUMBO"),
    "XMP-dc:Title=Under the bridge",
    "XMP-xmp:Rating=4",
    "XMP-xmp:CreatorTool=Adobe Photoshop Lightroom Classic 13.0",
)
LEGACY = (
    *_iptc("Keywords=café", "Keywords=José", "Keywords=Hafen früh", "By-line=Renée Größe"),
    *_iptc("CopyrightNotice=© Renée Größe", "City=Saint-Malo", "SpecialInstructions=ne pas publier"),
)
LEGACY_IN_XMP = (
    *_keywords("café", "José", "Hafen früh"),
    *("XMP-dc:Creator=Renée Größe", "XMP-dc:Rights=© Renée Größe", "XMP-photoshop:City=Saint-Malo"),
    "XMP-photoshop:Instructions=ne pas publier",
)
FACES = (
    "XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=240,H=160,Unit=pixel},RegionList=["
    "{Area={X=0.25,Y=0.35,W=0.1,H=0.15,Unit=normalized},Name=Grandma Rose,Type=Face},"
    "{Area={X=0.6,Y=0.4,W=0.12,H=0.16,Unit=normalized},Name=Opa |{Karl|},Type=Face}]}"
)
HISTORY = (
    "XMP-xmpMM:DocumentID=xmp.did:1234",
    "XMP-xmpMM:OriginalDocumentID=xmp.did:0001",
    "XMP-xmpMM:History+={Action=created,SoftwareAgent=Adobe Photoshop 24.1 (Windows)}",
    "XMP-xmpMM:History+={Action=saved,When=2023:02:03 10:11:12+01:00,SoftwareAgent=Photoshop 24.1,Changed=/}",
)
GPS = (
    "EXIF:GPSLatitude=38.6979",
    "EXIF:GPSLatitudeRef=N",
    "EXIF:GPSLongitude=9.4215",
    "EXIF:GPSLongitudeRef=W",
    "EXIF:DateTimeOriginal=2022:06:15 20:26:41",
)

SAMPLES: tuple[Sample, ...] = (
    # The files of the comparison with other programs
    Sample(name="peers H1.jpg", words=(*PEERS_WORDS, "XMP-dc:Description=Her first ride."), untouched=True),
    Sample(
        name="peers H1, no caption.jpg",
        words=PEERS_WORDS,
        edits=(
            "XMP-xmp:Rating=5",
            "XMP-dc:Subject+=Brooklyn, evening",
            "XMP-lr:HierarchicalSubject+=Places|USA|Brooklyn, evening",
            *_thrown_out("XMP-lr:HierarchicalSubject"),
        ),
    ),
    Sample(
        name="peers H2.jpg",
        words=_keywords("Dudu"),
        edits=(
            "XMP-dc:Title-x-default=Dudu, asleep",
            "XMP-xmp:Rating=5",
            "XMP-dc:Subject+=our dog",
            "XMP-dc:Subject+=third look",
            *_thrown_out(),
        ),
    ),
    # Keywords as people type them
    Sample(
        name="keywords/odd ones.jpg",
        words=(
            *_keywords(
                "2024", "1.50", "007", "true", "1e5", "-1", "=x", "a dater", "kids, 2019", "A|B", "a/b"
            ),
            *_keywords(
                "  two  blanks ", "🐶😀", "日本 旅行", "Zoë", "naïve", "<b>", "&amp;", "50% off", "$Make"
            ),
        ),
        edits=(*_thrown_out(), "XMP-dc:Subject+=2025", "XMP-dc:Subject+=🎂", "XMP-xmp:Label=Rot"),
    ),
    Sample(
        name="keywords/spellings.jpg",
        words=_keywords("Lisbon", "LISBON", "lisbon trip", "Cafe\u0301", "CAFÉ", "straße", "STRASSE"),
    ),
    Sample(name="keywords/the same twice.jpg", words=_keywords("boat", "boat", "Boat", "harbour")),
    Sample(name="keywords/two hundred.jpg", words=_keywords(*(f"Person {number}" for number in range(200)))),
    Sample(name="keywords/one of 300 letters.jpg", words=_keywords("é" * 300, "short")),
    Sample(
        name="keywords/hierarchy.jpg",
        words=(
            *_keywords("Rose", "Family", "Paris"),
            *_paths("People|Family|Rose", "Places|France|Paris", "Trips|2019|Paris in May"),
        ),
        edits=(
            "XMP-dc:Title-x-default=Rose in Paris",
            *_thrown_out("XMP-lr:HierarchicalSubject"),
            "XMP-dc:Subject+=Seine",
            "XMP-lr:HierarchicalSubject+=Places|France|Seine",
        ),
    ),
    Sample(
        name="keywords/hierarchy only.jpg",
        words=_paths("People|Family|Rose", "Places|Two words|Île-de-France"),
    ),
    Sample(
        name="keywords/digiKam.jpg",
        words=(
            *_keywords("Rose", "Paris"),
            *("XMP-digiKam:TagsList=People/Rose", "XMP-digiKam:TagsList=Places/Paris"),
            *_paths("People|Rose", "Places|Paris"),
        ),
        edits=(
            *_thrown_out("XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList"),
            "XMP-digiKam:TagsList+=Places/Louvre",
            "XMP-dc:Subject+=Louvre",
            "XMP-xmp:Rating=1",
        ),
    ),
    Sample(
        name="keywords/other programs'.jpg",
        words=(
            *("XMP-microsoft:LastKeywordXMP=Urlaub", "XMP-microsoft:LastKeywordXMP=Opa/Garten"),
            *("XMP-acdsee:Keywords=opa garden", "XMP-acdsee:Caption=The shed"),
            'XMP-acdsee:Categories=<Categories><Category Assigned="1">Opa</Category></Categories>',
            *("XMP-mediapro:CatalogSets=Family|Opa", "XMP-microsoft:RatingPercent=75"),
        ),
    ),
    # Texts
    Sample(
        name="texts/title only.jpg",
        words=("XMP-dc:Title=Ünïcödé — “quoted” & <tagged> 😀",),
        edits=("XMP-dc:Description-x-default=", *_thrown_out()),
    ),
    Sample(
        name="texts/caption of many lines.jpg",
        words=(
            "XMP-dc:Description=First line.\nSecond line.\n\n  indented, with a tab\there",
            *_keywords("a"),
        ),
    ),
    Sample(name="texts/caption of 8000 letters.jpg", words=(f"XMP-dc:Description={LONG_TEXT}",)),
    Sample(
        name="texts/so long that XMP is split.jpg",
        words=(f"XMP-iptcCore:ExtDescrAccessibility={LONG_TEXT * 9}", *_keywords("archive")),
        edits=("XMP-dc:Title-x-default=The harbour books", *_thrown_out(), "XMP-dc:Subject+=boats"),
    ),
    Sample(
        name="texts/two languages.jpg",
        words=(
            *(
                "XMP-dc:Title-x-default=The harbour",
                "XMP-dc:Title-de-DE=Der Hafen",
                "XMP-dc:Title-fr=Le port",
            ),
            *("XMP-dc:Rights-x-default=Mine", "XMP-dc:Rights-de-DE=Meins"),
            "XMP-dc:Description-de-DE=Nur auf Deutsch erzählt.",
        ),
        edits=("XMP-dc:Title-de-DE=Der alte Hafen", *_thrown_out(), "XMP-dc:Subject+=Hafen"),
    ),
    Sample(
        name="texts/headline and writer.jpg",
        words=(
            "XMP-photoshop:Headline=Storm over the pier",
            "XMP-photoshop:CaptionWriter=rg",
            "XMP-iptcCore:AltTextAccessibility=A pier under dark clouds.",
            "XMP-iptcExt:PersonInImage=Grandma Rose",
            "XMP-iptcExt:LocationShown={City=Niendorf,CountryName=Deutschland}",
        ),
        edits=("XMP-dc:Title-x-default=The storm", "XMP-xmp:Rating=3", *_thrown_out()),
    ),
    Sample(
        name="texts/EXIF and Windows.jpg",
        words=(
            *("EXIF:ImageDescription=Opa im Garten", "EXIF:Artist=R. G.", "EXIF:Copyright=(c) R. G."),
            *("EXIF:UserComment=scanned from slide 12", "EXIF:XPTitle=Garten", "EXIF:XPKeywords=Opa;Garten"),
            *(
                "EXIF:XPComment=für Mama",
                "EXIF:XPSubject=Familie",
                "EXIF:XPAuthor=RG",
                "File:Comment=a comment",
            ),
        ),
        edits=("EXIF:Artist=Renée G.", "XMP-dc:Subject+=Garten", *_thrown_out()),
    ),
    # Rating, rights, place, faces, history, develop settings, other programs' data
    Sample(
        name="other/rights and place.jpg",
        words=(
            *("XMP-dc:Creator=Åsa Öberg", "XMP-dc:Creator=R. G.", "XMP-dc:Rights=© Åsa Öberg"),
            *(
                "XMP-xmpRights:Marked=true",
                "XMP-xmpRights:UsageTerms=ask first",
                "XMP-xmpRights:WebStatement=x",
            ),
            *("XMP-photoshop:City=Cascais", "XMP-photoshop:Country=Portugal", "XMP-iptcCore:Location=Boca"),
            *("XMP-iptcCore:CreatorWorkEmail=a@example.org", "XMP-plus:DataMining=DMI-PROHIBITED", *GPS),
        ),
    ),
    Sample(
        name="other/faces.jpg",
        words=(FACES, *_keywords("Grandma Rose", "Opa Karl")),
        edits=("XMP-dc:Title-x-default=Rose and Karl", *_thrown_out(), "XMP-xmp:Rating=5"),
    ),
    Sample(name="other/rating and label.jpg", words=("XMP-xmp:Rating=-1", "XMP-xmp:Label=Второй")),
    Sample(
        name="other/history.jpg",
        words=(*HISTORY, "XMP-xmp:CreateDate=2023:02:03 10:00:00+01:00", "XMP-xmp:MetadataDate=2023:02:03"),
    ),
    Sample(name="other/unknown namespaces.jpg", xmp=unknown_namespaces(), edits=(*_thrown_out(),)),
    Sample(name="other/unknown namespaces.tif", xmp=unknown_namespaces()),
    Sample(name="other/qualified value.jpg", xmp=qualified_value(), untouched=True),
    Sample(
        name="other/developed.jpg",
        xmp=lightroom_sidecar("JPG"),
        edits=("XMP-crs:Exposure2012=+0.80", "XMP-dc:Subject+=printed", *_thrown_out()),
    ),
    Sample(name="other/twin one.jpg", words=(*_keywords("first twin"), "XMP-dc:Title=The first")),
    Sample(
        name="other/twin two.jpg",
        words=_keywords("second twin"),
        picture_of="other/twin one.jpg",
        edits=("XMP-dc:Title-x-default=The second", *_thrown_out()),
    ),
    Sample(
        name="other/content credentials.jpg",
        words=(*_keywords("press"), *HISTORY),
        signed=True,
        edits=("XMP-dc:Title-x-default=As it was", *_thrown_out(), "XMP-dc:Subject+=agency"),
    ),
    # The legacy block
    Sample(
        name="iptc/latin.jpg",
        words=(*LEGACY, *LEGACY_IN_XMP, "IPTCDigest=new"),
        edits=("XMP-dc:Title-x-default=Saint-Malo", *_thrown_out(), "XMP-dc:Subject+=Bretagne"),
    ),
    Sample(name="iptc/latin, no XMP.jpg", words=LEGACY, edits=(*_thrown_out(), "XMP-dc:Subject+=Bretagne")),
    Sample(
        name="iptc/latin, in a TIFF.tif",
        words=(*LEGACY, *LEGACY_IN_XMP, "IPTCDigest=new"),
        edits=("XMP-dc:Title-x-default=Le port", *_thrown_out(), "XMP-dc:Subject+=Bretagne"),
    ),
    Sample(name="iptc/undeclared UTF-8.jpg", words=(*LEGACY, *LEGACY_IN_XMP), charset="UTF8"),
    Sample(
        name="iptc/declared UTF-8.jpg",
        words=(
            "IPTC:CodedCharacterSet=UTF8",
            *LEGACY,
            *_iptc("Keywords=日本", "ObjectName=Le port"),
            *LEGACY_IN_XMP,
            "IPTCDigest=new",
        ),
        # By a program that knows nothing of XMP.
        edits=("IPTC:Keywords+=box 7", "IPTC:By-line=Renée G."),
    ),
    Sample(
        name="iptc/stale digest.jpg",
        words=(
            *(*LEGACY, *LEGACY_IN_XMP, "IPTC:Caption-Abstract=The newer caption, of the block"),
            *("XMP-dc:Description=The older caption, of XMP", f"Photoshop:IPTCDigest={'0' * 32}"),
        ),
    ),
    Sample(
        name="iptc/stale digest, more keywords.jpg",
        words=(*LEGACY, *_keywords("café"), f"Photoshop:IPTCDigest={'1' * 32}"),
        edits=("XMP-dc:Title-x-default=Le port", *_thrown_out()),
    ),
    Sample(name="iptc/missing digest.jpg", words=(*LEGACY, *LEGACY_IN_XMP, *_keywords("only in XMP"))),
    Sample(
        name="iptc/long keywords cut.jpg",
        words=(
            *_iptc(f"Keywords={'k' * 64}", "Keywords=boat"),
            *(*_keywords("k" * 90, "boat"), "IPTCDigest=new"),
        ),
    ),
    # The other formats that are written into
    Sample(
        name="formats/scan.tif",
        words=(
            *_keywords("Grandma Rose", "slide"),
            *_paths("People|Family|Grandma Rose", "slide"),
            *(*GPS, "EXIF:ImageDescription=Scan of 1968"),
        ),
        edits=(
            "XMP-dc:Title-x-default=Rose, 1968",
            "XMP-xmp:Rating=5",
            "XMP-dc:Subject+=album 3",
            *_thrown_out("XMP-lr:HierarchicalSubject"),
        ),
    ),
    Sample(name="formats/16 bits.tif", words=_keywords("linear", "DUMBO"), options={"bits": 16}),
    Sample(
        name="formats/layers.psd",
        words=(*LEGACY, *LEGACY_IN_XMP, *HISTORY, "XMP-photoshop:Headline=Poster"),
        edits=("XMP-dc:Title-x-default=The poster", *_thrown_out(), "XMP-xmp:Rating=2"),
    ),
    Sample(
        name="formats/large.psb",
        words=(*_keywords("Grandma Rose", "poster"), *HISTORY),
        edits=("XMP-dc:Title-x-default=The large one", *_thrown_out(), "XMP-dc:Subject+=print"),
    ),
    Sample(
        name="formats/drawing.png",
        words=(*_keywords("DUMBO", "sketch"), "XMP-xmp:Rating=3"),
        options={"texts": {"Author": "Åsa", "Copyright": "© Åsa", "Comment": "drawn by hand"}},
        edits=("XMP-dc:Title-x-default=Flying elephant", *_thrown_out(), "XMP-dc:Subject+=crayon"),
    ),
    Sample(
        name="formats/LUM_0201.DNG",
        words=(*PEERS_WORDS, *GPS),
        edits=("XMP-xmp:Rating=5", "XMP-dc:Subject+=keeper", *_thrown_out("XMP-lr:HierarchicalSubject")),
    ),
    Sample(
        name="formats/IMG_0202.HEIC",
        words=(*_keywords("Dudu", "beach"), *GPS),
        edits=("XMP-dc:Title-x-default=Dudu at the beach", *_thrown_out(), "XMP-dc:Subject+=summer of 2022"),
    ),
    Sample(name="formats/modern.avif", words=(*_keywords("DUMBO"), "XMP-dc:Title=Modern")),
    Sample(name="formats/modern.webp", words=(*_keywords("DUMBO", "Grandma Rose"), "XMP-xmp:Rating=2")),
    Sample(name="formats/lossless.webp", words=_keywords("line art"), options={"lossless": True}),
    # Raws
    Sample(
        name="raw/DSC_0301.NEF",
        sidecars={"raw/DSC_0301.xmp": lightroom_sidecar("NEF")},
        edits=(
            *("XMP-xmp:Rating=5", "XMP-dc:Subject+=keeper", "XMP-crs:Exposure2012=+0.10"),
            *_thrown_out("XMP-lr:HierarchicalSubject"),
        ),
    ),
    Sample(
        name="raw/DSC_0302.NEF",
        sidecars={"raw/DSC_0302.NEF.xmp": darktable_sidecar()},
        edits=("XMP-dc:Title-x-default=Best in show", *_thrown_out("XMP-lr:HierarchicalSubject")),
    ),
    Sample(name="raw/DSC_0303.NEF", sidecars={"raw/DSC_0303.XMP": plain_sidecar("upper case")}),
    Sample(name="raw/DSC_0304.NEF"),
    Sample(
        name="raw/DSC_0305.NEF",
        edits=(
            *("XMP-dc:Title-x-default=The dune", "XMP-xmp:Rating=5"),
            *("XMP-dc:Subject+=Namib", *_thrown_out()),
        ),
    ),
    Sample(name="raw/DSC_0306.NEF", sidecars={"raw/DSC_0306.xmp": lightroom_sidecar("NEF")}),
    Sample(
        name="raw/DSC_0306.JPG",
        words=(*_keywords("straight from the camera"), "XMP-xmp:Rating=2"),
        edits=("XMP-dc:Title-x-default=The JPEG of the two", *_thrown_out()),
    ),
    Sample(
        name="raw/DSC_0307.NEF",
        sidecars={
            "raw/DSC_0307.xmp": plain_sidecar("of the one"),
            "raw/DSC_0307.NEF.xmp": plain_sidecar("of the other"),
        },
    ),
)


def draw_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Draw the photos, with no words in them yet. Each has a picture of its own, unless it says otherwise."""
    known = {sample.name: number for number, sample in enumerate(SAMPLES)}
    scenes = list(SCENES)
    for sample in samples:
        number = known[sample.picture_of or sample.name]
        image = draw(scenes[number % len(scenes)], width=SIZE[0], height=SIZE[1], seed=number)
        path = folder / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, image, sample.options)


def tag_by_hand(folder: Path, samples: Sequence[Sample], *, exiftool: str) -> None:
    """Write a person's words into the photos and beside them.

    Raises:
        subprocess.CalledProcessError: exiftool could not write one of them; `stderr` says why.
    """
    commands = []
    for sample in samples:
        path = folder / sample.name
        for name, xmp in sample.sidecars.items():
            (folder / name).write_text(xmp, encoding="utf-8")
        if sample.xmp:
            packet = folder.parent / f"{Path(sample.name).name}.packet"
            packet.write_text(sample.xmp, encoding="utf-8")
            commands.append([f"-XMP<={packet}", str(path)])
        if sample.words:
            assignments = [f"-{word}" for word in sample.words]
            commands.append(["-charset", f"iptc={sample.charset}", *assignments, str(path)])
    run_exiftool(exiftool, commands)
    for sample in samples:
        if sample.signed:
            _sign(folder / sample.name)


def edit_by_hand(edits: Mapping[Path, Sequence[str]], *, exiftool: str) -> None:
    """Have a person edit files, by an exiftool of their own.

    Raises:
        subprocess.CalledProcessError: exiftool could not write one of them; `stderr` says why.
    """
    run_exiftool(exiftool, [[*(f"-{edit}" for edit in those), str(path)] for path, those in edits.items()])


def run_exiftool(exiftool: str, commands: Iterable[list[str]]) -> None:
    """Run exiftool once for all commands, each of which names its file at its end.

    Raises:
        subprocess.CalledProcessError: one of them failed.
    """
    arguments = [argument for command in commands for argument in (*command, "-execute")]
    if arguments:
        common = ["-q", "-overwrite_original", "-charset", "filename=utf8"]
        subprocess.run(
            [exiftool, "-config", "", *arguments[:-1], "-common_args", *common],
            capture_output=True,
            check=True,
            text=True,
        )


def _write(path: Path, image: Image.Image, options: Mapping[str, Any]) -> None:
    match path.suffix.lower():
        case ".jpg":
            write_jpeg(path, image)
        case ".tif":
            write_tiff(path, image, **options)
        case ".png" if "texts" in options:
            texts = PngImagePlugin.PngInfo()
            for name, text in options["texts"].items():
                texts.add_itxt(name, text)
            image.save(path, "PNG", pnginfo=texts)
        case ".png":
            write_png(path, image)
        case ".psd":
            write_psd(path, image)
        case ".psb":
            path.write_bytes(_psb(image))
        case ".dng":
            write_dng(path, image)
        case ".nef":
            write_nef(path, image)
        case ".heic":
            write_heic(path, image)
        case kind:
            image.save(path, kind[1:].upper(), **options)


def _sign(path: Path) -> None:
    """Put a C2PA manifest store of no worth into a JPEG (C2PA Technical Specification, JUMBF in APP11)."""
    manifest = bytes.fromhex("6332706100110010800000aa00389b71") + b"\x03c2pa\0"
    store = _box(b"jumb", _box(b"jumd", manifest) + _box(b"jumb", b"a manifest"))
    body = b"JP" + struct.pack(">HI", 1, 1) + store
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xeb" + struct.pack(">H", 2 + len(body)) + body + data[2:])


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _psb(image: Image.Image) -> bytes:
    """Return a flat PSB, uncompressed (Adobe Photoshop File Formats Specification); psd-tools makes none."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 2, 3, image.height, image.width, 8, 3)
    resolution = struct.pack(">4sHHIIHHIHH", b"8BIM", 1005, 0, 16, 72 << 16, 1, 1, 72 << 16, 1, 1)
    no_layers = struct.pack(">Q", 0)  # in a PSD, four bytes
    sections = struct.pack(">II", 0, len(resolution)) + resolution + no_layers
    planes = b"".join(band.tobytes() for band in image.split())
    return header + sections + struct.pack(">H", 0) + planes
