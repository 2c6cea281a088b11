"""Reading what photos and their sidecars say: exactly, from every place where a person may have written."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.exiftools import EXIFTOOLS, exiftool_named
from support.metadata_files import draw, open_store, photo_at, policy, stamp
from tagger_daemon.errors import PhotoGone, PhotoUnreadable, PhotoUnsupported, WriteRefused
from tagger_daemon.metadata.ownership import nothing_to_do
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Facts, Memory


@pytest.fixture(scope="module", params=EXIFTOOLS)
def store(request: pytest.FixtureRequest) -> Iterator[MetadataStore]:
    with open_store(exiftool=exiftool_named(request.param)) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "psd", "psb", "dng"])
def test_an_untagged_photo_says_nothing(tmp_path: Path, store: MetadataStore, kind: str) -> None:
    photo = draw(tmp_path / f"photo.{kind}")
    found = store.read(photo)
    assert (found.source, found.embedded, found.source_fingerprint) == (photo.path, True, photo.fingerprint)
    assert (found.title, found.description, found.alt_text, found.keywords) == (None, None, None, ())
    assert (found.marker, found.has_iptc, found.facts) == (None, False, Facts())


@pytest.mark.parametrize(
    "word", ["2024", "1.50", "true", "True", "1e5", " x ", "a, b", "<b>&amp;", "日😀", "-x"]
)
def test_keywords_are_read_as_they_stand(tmp_path: Path, store: MetadataStore, word: str) -> None:
    photo = draw(tmp_path / "photo.jpg", f"XMP-dc:Subject={word}")
    assert store.read(photo).keywords == (word,)


@pytest.mark.parametrize(
    ("stamp_", "title"),
    [
        ("XMP-dc:Title=Mine", "Mine"),
        ("XMP-dc:Title-de=Meins", "Meins"),
        ("IPTC:ObjectName=Legacy", "Legacy"),
        ("XMP-dc:Title=DSC_0001", "DSC_0001"),
        ("XMP-photoshop:Headline=News", None),
    ],
)
def test_a_title_is_found_wherever_a_person_put_it(
    tmp_path: Path, store: MetadataStore, stamp_: str, title: str | None
) -> None:
    assert store.read(draw(tmp_path / "photo.jpg", stamp_)).title == title


def test_headline_description_and_keywords_of_a_person_are_all_that_a_photo_needs(
    tmp_path: Path, store: MetadataStore
) -> None:
    words = ("XMP-photoshop:Headline=News", "XMP-dc:Description=Mine", "XMP-dc:Subject=word")
    whole, half = draw(tmp_path / "whole.jpg", *words), draw(tmp_path / "half.jpg", *words[:2])
    assert nothing_to_do(store.read(whole), Memory(), policy())
    assert nothing_to_do(store.read(half), Memory(), policy()) is None


@pytest.mark.parametrize(
    ("stamp_", "description"),
    [
        ("XMP-dc:Description=Mine", "Mine"),
        ("XMP-dc:Description-fr=La mienne", "La mienne"),
        ("IPTC:Caption-Abstract=Legacy", "Legacy"),
        ("EXIF:ImageDescription=Old", "Old"),
        ("EXIF:ImageDescription=OLYMPUS DIGITAL CAMERA         ", None),
        ("EXIF:ImageDescription=SONY DSC", None),
        ("EXIF:ImageDescription=DC0003M", None),
        ("EXIF:ImageDescription=IMG_1234", None),
        ("EXIF:ImageDescription=NY2024 marathon", "NY2024 marathon"),
        ("XMP-dc:Description=IMG_1234", "IMG_1234"),
        ("IPTC:Caption-Abstract=dcim\\100MEDIA\\X.JPG", None),
        ("XMP-dc:Description=   ", None),
    ],
)
def test_a_description_is_found_and_camera_junk_is_none(
    tmp_path: Path, store: MetadataStore, stamp_: str, description: str | None
) -> None:
    assert store.read(draw(tmp_path / "photo.jpg", stamp_)).description == description


def test_keywords_of_both_blocks_are_joined_and_hierarchies_kept(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo = draw(
        tmp_path / "photo.jpg",
        *("XMP-dc:Subject=Dog", "XMP-dc:Subject=sea"),
        *("IPTC:Keywords=dog", "IPTC:Keywords=strand"),
        "XMP-lr:HierarchicalSubject=Animals|Dog",
    )
    found = store.read(photo)
    assert found.keywords == ("Dog", "sea", "strand")
    assert found.hierarchical == ("Animals|Dog",)
    assert found.has_iptc


@pytest.mark.parametrize("charset", [(), ("IPTC:CodedCharacterSet=UTF8",)])
def test_legacy_text_is_decoded_whether_latin_or_utf8(
    tmp_path: Path, store: MetadataStore, charset: tuple[str, ...]
) -> None:
    assert store.read(draw(tmp_path / "photo.jpg", *charset, "IPTC:Keywords=café")).keywords == ("café",)


def test_legacy_text_in_undeclared_utf8_is_known_for_what_it_is(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg", "IPTC:Keywords=café", iptc_charset="UTF8")
    assert b"caf\xc3\xa9" in photo.path.read_bytes()
    assert store.read(photo).keywords == ("café",)


def test_facts_are_read_where_they_can_be_trusted(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(
        tmp_path / "photo.jpg",
        *("EXIF:DateTimeOriginal=2024:05:01 12:34:56", "EXIF:ExposureTime=0.004", "EXIF:FNumber=8"),
        *("EXIF:ISO=200", "EXIF:FocalLengthIn35mmFormat=35", "EXIF:Flash#=1"),
        *(
            "EXIF:GPSLatitude=33.5",
            "EXIF:GPSLatitudeRef=S",
            "EXIF:GPSLongitude=151",
            "EXIF:GPSLongitudeRef=E",
        ),
        *("XMP-photoshop:City=Sydney", "IPTC:Country-PrimaryLocationName=Australia"),
    )
    assert store.read(photo).facts == Facts(
        taken="2024-05-01T12:34:56",
        latitude=-33.5,
        place=("Sydney", "Australia"),
        focal_length_35mm=35,
        exposure_seconds=0.004,
        f_number=8,
        iso=200,
        flash_fired=True,
    )


def test_implausible_facts_are_left_out(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(
        tmp_path / "photo.jpg",
        *("EXIF:DateTimeOriginal=0000:00:00 00:00:00", "EXIF:ISO=0", "EXIF:FNumber=0"),
        *("EXIF:GPSLatitude=0", "EXIF:GPSLatitudeRef=N", "EXIF:GPSLongitude=0", "EXIF:GPSLongitudeRef=E"),
    )
    assert store.read(photo).facts == Facts()


def face(name: str, kind: str = "Face") -> str:
    return f"{{Area={{X=0.5,Y=0.5,W=0.1,H=0.1,Unit=normalized}},Name={name},Type={kind}}}"


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "dng", "nef"])
def test_people_are_read_wherever_a_person_named_them(
    tmp_path: Path, store: MetadataStore, kind: str
) -> None:
    photo = draw(
        tmp_path / f"photo.{kind}",
        *("XMP-iptcExt:PersonInImage=Anna Smith", "XMP-iptcExt:PersonInImage=Ben"),
        "XMP-iptcExt:PersonInImageWDetails={PersonName=Clara}",
        "XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=48,H=32,Unit=pixel},"
        f"RegionList=[{face('Dora')},{face('ANNA SMITH')},{face('Rex', 'Pet')},{face('Shop', 'BarCode')}]}}",
        "XMP-MP:RegionInfoMP={Regions=[{PersonDisplayName=Émil,Rectangle=0.1|,0.1|,0.1|,0.1},"
        "{Rectangle=0.2|,0.1|,0.1|,0.1}]}",
    )
    assert store.read(photo).facts.people == ("Anna Smith", "Ben", "Clara", "Dora", "Émil")


def test_people_in_a_sidecar_and_in_its_raw_are_joined(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef", "XMP-iptcExt:PersonInImage=Anna")
    sidecar = tmp_path / "IMG.xmp"
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-iptcExt:PersonInImage=Ben")
    assert store.read(photo).facts.people == ("Ben", "Anna")


OSLO, BERGEN = "{City=Oslo,CountryName=Norway,Sublocation=Harbour}", "{City=Bergen,CountryName=Norway}"


@pytest.mark.parametrize(
    ("stamps", "place"),
    [
        ((f"XMP-iptcExt:LocationShown=[{OSLO}]",), ("Harbour", "Oslo", "Norway")),
        ((f"XMP-iptcExt:LocationCreated=[{OSLO}]",), ("Harbour", "Oslo", "Norway")),
        (
            (f"XMP-iptcExt:LocationCreated=[{OSLO}]", f"XMP-iptcExt:LocationShown=[{BERGEN}]"),
            ("Bergen", "Norway"),
        ),
        ((f"XMP-iptcExt:LocationShown=[{OSLO},{BERGEN}]",), ()),
        ((f"XMP-iptcExt:LocationShown=[{OSLO}]", "XMP-photoshop:Country=France"), ("France",)),
        (("XMP-iptcCore:Location=Alfama", "IPTC:City=Lisbon"), ("Alfama", "Lisbon")),
    ],
)
def test_places_are_those_of_one_place(
    tmp_path: Path, store: MetadataStore, stamps: tuple[str, ...], place: tuple[str, ...]
) -> None:
    assert store.read(draw(tmp_path / "photo.jpg", *stamps)).facts.place == place


def gps(latitude: float, longitude: float) -> tuple[str, ...]:
    return (
        *(f"EXIF:GPSLatitude={abs(latitude)}", f"EXIF:GPSLatitudeRef={'N' if latitude > 0 else 'S'}"),
        *(f"EXIF:GPSLongitude={abs(longitude)}", f"EXIF:GPSLongitudeRef={'E' if longitude > 0 else 'W'}"),
    )


BERLIN, FRISCO, KASHGAR, KIRITIMATI = gps(52.5, 13.4), gps(37.8, -122.4), gps(39.5, 76.0), gps(1.9, -157.4)
AT_NINE, DAY = "2024-07-01T21:00:00", "2024-07-01"


@pytest.mark.parametrize(
    ("stamps", "taken"),
    [
        ((), AT_NINE),
        (("EXIF:OffsetTimeOriginal=+02:00",), AT_NINE),
        (("EXIF:OffsetTimeOriginal=+02:00", *BERLIN), AT_NINE),
        (("EXIF:OffsetTimeOriginal=+08:00", *KASHGAR), AT_NINE),
        (("EXIF:OffsetTimeOriginal=+14:00", *KIRITIMATI), AT_NINE),
        (("EXIF:OffsetTimeOriginal=-07:00", *FRISCO), AT_NINE),
        (("EXIF:OffsetTimeOriginal=+02:00", *FRISCO), DAY),
        (("EXIF:GPSDateStamp=2024:07:01", "EXIF:GPSTimeStamp=19:00:00", *BERLIN), AT_NINE),
        (("EXIF:GPSDateStamp=2024:07:01", "EXIF:GPSTimeStamp=19:00:00", *FRISCO), DAY),
        (FRISCO, AT_NINE),
    ],
)
def test_a_photo_was_taken_when_clocks_there_said_so(
    tmp_path: Path, store: MetadataStore, stamps: tuple[str, ...], taken: str
) -> None:
    photo = draw(tmp_path / "photo.jpg", "EXIF:DateTimeOriginal=2024:07:01 21:00:00", *stamps)
    assert store.read(photo).facts.taken == taken


@pytest.mark.parametrize(
    ("date", "taken"),
    [
        ("2024:07:01 21:00:00", AT_NINE),
        ("2024:07:01 21:00:00.12+02:00", AT_NINE),
        ("2024:07:01 21:00:00Z", DAY),
    ],
)
def test_a_date_in_xmp_may_be_another_zones(
    tmp_path: Path, store: MetadataStore, date: str, taken: str
) -> None:
    photo = draw(tmp_path / "photo.jpg", f"XMP-exif:DateTimeOriginal={date}")
    assert store.read(photo).facts.taken == taken


def test_a_capture_time_that_a_person_corrected_beside_the_raw_counts(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo = draw(tmp_path / "IMG.nef", "EXIF:DateTimeOriginal=2010:01:01 00:00:03")
    sidecar = tmp_path / "IMG.xmp"
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-exif:DateTimeOriginal=2024:07:01 21:00:00")
    assert store.read(photo).facts.taken == AT_NINE


@pytest.mark.parametrize(("distance", "macro"), [(1, True), (3, False)])
def test_the_macro_range_is_read(tmp_path: Path, store: MetadataStore, distance: int, macro: bool) -> None:
    photo = draw(tmp_path / "photo.jpg", f"EXIF:SubjectDistanceRange#={distance}")
    assert store.read(photo).facts.macro is macro


def test_folders_are_those_below_the_watch_folder(tmp_path: Path, store: MetadataStore) -> None:
    (tmp_path / "2024-07 Lofoten" / "Reine").mkdir(parents=True)
    photo = draw(tmp_path / "2024-07 Lofoten" / "Reine" / "photo.jpg")
    assert store.read(photo.evolve(folder=tmp_path)).facts.folders == ("2024-07 Lofoten", "Reine")
    assert store.read(photo).facts.folders == ()


def test_a_raws_sidecar_wins_field_by_field(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef", "XMP-dc:Title=embedded", "XMP-dc:Description=embedded")
    sidecar = tmp_path / "IMG.XMP"
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-dc:Title=beside")
    found = store.read(photo)
    assert (found.title, found.description) == ("beside", "embedded")
    assert (found.source, found.embedded) == (sidecar, False)


def test_a_raw_without_sidecar_will_get_one(tmp_path: Path, store: MetadataStore) -> None:
    found = store.read(draw(tmp_path / "IMG.nef"))
    assert (found.source, found.embedded, found.source_fingerprint) == (tmp_path / "IMG.xmp", False, None)


def test_words_in_a_jpegs_sidecar_are_a_persons_too(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.jpg")
    (tmp_path / "IMG.jpg.xmp").write_bytes(EMPTY)
    stamp(tmp_path / "IMG.jpg.xmp", "XMP-dc:Title=beside")
    found = store.read(photo)
    assert (found.title, found.source) == ("beside", photo.path)


def test_a_sidecar_that_says_it_is_another_photos_is_not_used(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef")
    draw(tmp_path / "IMG.cr2")
    (tmp_path / "IMG.xmp").write_bytes(EMPTY)
    stamp(tmp_path / "IMG.xmp", "XMP-photoshop:SidecarForExtension=CR2", "XMP-dc:Title=theirs")
    found = store.read(photo)
    assert (found.source.name, found.title) == ("IMG.nef.xmp", None)
    assert "belongs to another photo" in found.notes[0]


def test_a_photo_that_is_gone(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    photo.path.unlink()
    with pytest.raises(PhotoGone, match=r"photo\.jpg is no longer there"):
        store.read(photo)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"just some text", "text file"), (b"\xff\x00\x01" * 99, "error|Unknown")],
)
def test_a_broken_photo_says_why(tmp_path: Path, store: MetadataStore, content: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoUnreadable, match=rf"photo\.jpg cannot be read: .*({reason})"):
        store.read(photo_at(path))


def test_other_files_are_not_supported(tmp_path: Path, store: MetadataStore) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(PhotoUnsupported):
        store.read(photo_at(tmp_path / "notes.txt"))


def test_a_name_with_a_line_break_is_refused(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    odd = tmp_path / "x\n-FileName=pwned.jpg"
    photo.path.rename(odd.with_suffix(".jpg"))
    with pytest.raises(WriteRefused, match="line break"):
        store.read(photo_at(odd.with_suffix(".jpg")))


def test_a_broken_sidecar_is_refused_before_any_model_is_asked(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef")
    (tmp_path / "IMG.xmp").write_bytes(EMPTY[:-60])
    with pytest.raises(WriteRefused, match=r"the sidecar IMG\.xmp is damaged"):
        store.read(photo)
    assert (tmp_path / "IMG.xmp").read_bytes() == EMPTY[:-60]


@pytest.mark.parametrize("kind", ["jpg", "heic"])
def test_a_picture_is_not_held_up_by_the_broken_sidecar_of_its_raw(
    tmp_path: Path, store: MetadataStore, kind: str
) -> None:
    photo = draw(tmp_path / "IMG_1.jpg", "XMP-dc:Title=Mine")
    path = photo.path.rename(tmp_path / f"IMG_1.{kind}")  # whatever its name says, exiftool reads a JPEG
    raw = draw(tmp_path / "IMG_1.NEF")
    (tmp_path / "IMG_1.xmp").write_bytes(EMPTY[:-60])
    assert store.read(photo_at(path)).title == "Mine"
    with pytest.raises(WriteRefused, match=r"IMG_1\.xmp is damaged"):
        store.read(raw)


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 30)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "leads nowhere"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (make_huge, "larger than"),
    ],
    ids=["folder", "pipe", "dangling", "circular", "huge"],
)
def test_an_odd_thing_in_a_sidecars_place_is_refused_with_its_reason(
    tmp_path: Path, store: MetadataStore, make: Callable[[Path], object], reason: str
) -> None:
    photo = draw(tmp_path / "IMG.nef")
    make(tmp_path / "IMG.xmp")
    with pytest.raises(WriteRefused, match=rf"the sidecar IMG\.xmp .*{reason}"):
        store.read(photo)


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "psd", "psb", "dng"])
def test_the_content_hash_is_that_of_the_picture_not_of_the_file(tmp_path: Path, kind: str) -> None:
    path = draw(tmp_path / f"photo.{kind}").path
    data = bytearray(path.read_bytes())
    before = content_hash(path)
    stamp(path, "XMP-dc:Title=Mine", "XMP-dc:Description=" + "long " * 500)
    assert content_hash(path) == before
    position = {"png": data.find(b"IDAT") + 8, "jpg": -10}.get(
        kind, -1
    )  # a byte of the picture as it was drawn
    data[position] ^= 1
    path.write_bytes(data)
    assert content_hash(path) != before


def test_a_damaged_picture_has_no_content_hash(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    path.write_bytes(b"II*\0\x08\0\0\0\x05\0")
    with pytest.raises(PhotoUnreadable, match="damaged"):
        content_hash(path)
    path.unlink()
    with pytest.raises(PhotoGone):
        content_hash(path)


def tiff(*entries: tuple[int, int, int, int], rest: bytes = b"") -> bytes:
    """Return a TIFF of one directory: tag, type, count, value or position."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0) + rest


MANY = 2000
OVERLAPPING = tiff(
    (273, 4, MANY, 38),
    (279, 4, MANY, 38 + 4 * MANY),
    rest=struct.pack(f"<{2 * MANY}I", *[0] * MANY, *[1 << 30] * MANY) + bytes(1 << 20),
)


@pytest.mark.parametrize(
    "content",
    [
        tiff((273, 4, 0xFFFFFFFF, 8), (279, 4, 1, 5)),
        b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1 << 60),
        b"II+\0" + struct.pack("<HHQ", 8, 0, (1 << 64) - 1),
        OVERLAPPING,
    ],
    ids=[
        "more strips than bytes",
        "more fields than bytes",
        "no such offset",
        "the same bytes again and again",
    ],
)
def test_a_tiff_that_lies_about_its_size_takes_neither_memory_nor_time(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "photo.tif"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(PhotoUnreadable, match="damaged"):
        content_hash(path)
    assert time.process_time() - start < 1
