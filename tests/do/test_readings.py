"""What was read of a photo is carried to its writing, and exiftool is asked no more than it has to be."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from make_samples import make_inbox
from support.exiftools import EXIFTOOLS, exiftool_named
from support.metadata_files import NOON, annotation, draw, photo_at, policy, stamp, tell
from support.real_photos import REAL_PHOTOS
from tagger_daemon.errors import PhotoChanged, PhotoUnreadable, VerificationFailed
from tagger_daemon.metadata.boxes import BLOCK
from tagger_daemon.metadata.exiftool import Answer, ExifTool, path_argument
from tagger_daemon.metadata.properties import Node, Properties, parse_properties
from tagger_daemon.metadata.read import SHOW, embedded_packet, look, show
from tagger_daemon.metadata.readings import Reading, Readings, Seen, seen
from tagger_daemon.metadata.segments import HEADER, behind_picture, hash_before, packets
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Photo, Written
from tagger_daemon.settings import MetadataSettings

LONG = "a word " * 15_000  # beyond what fits into one segment


class CountingExifTool(ExifTool):
    """The real exiftool; remembers what it was asked."""

    def __init__(self, executable: str) -> None:
        super().__init__(executable)
        self.asked: list[tuple[str | bytes, ...]] = []

    def ask(self, *arguments: str | bytes) -> Answer:
        self.asked.append(arguments)
        return super().ask(*arguments)


@pytest.fixture(params=EXIFTOOLS)
def exiftool(request: pytest.FixtureRequest) -> Iterator[CountingExifTool]:
    with closing(CountingExifTool(exiftool_named(request.param))) as process:
        yield process


@pytest.fixture
def store(exiftool: CountingExifTool) -> Iterator[MetadataStore]:
    opened = MetadataStore(MetadataSettings(), exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
    with closing(opened):
        opened.start()
        exiftool.asked.clear()
        yield opened


def write(store: MetadataStore, photo: Photo) -> Written:
    return store.apply(store.plan(store.read(photo), annotation(), policy()))


def segment(code: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(content) + 2) + content


def with_segments(path: Path, *segments: bytes) -> Path:
    """Draw a JPEG whose first segments are these."""
    draw(path)
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"".join(segments) + content[2:])
    return path


def packet(title: str) -> bytes:
    """Return a packet with a title."""
    namespace = "http://ns.adobe.com/photoshop/1.0/"
    said = f"<rdf:Description rdf:about='' xmlns:photoshop='{namespace}' photoshop:Headline='{title}'/>"
    return EMPTY.replace(b"ns#'/>", f"ns#'>{said}</rdf:RDF>".encode())


def lasting(properties: Properties) -> dict[str, tuple[Node, ...]]:
    """Return all properties but the one that every reading changes."""
    return {tag: held for tag, held in properties.nodes.items() if tag != "System:FileAccessDate"}


def odd_jpegs(folder: Path) -> Iterator[Path]:
    """Draw JPEGs whose XMP is not where and as it should be."""
    xmp = segment(0xE1, HEADER + packet("one"))
    yield with_segments(folder / "usual.jpg", xmp)
    yield with_segments(folder / "two.jpg", xmp, segment(0xE1, HEADER + packet("another")))
    yield with_segments(folder / "two_of_a_size.jpg", xmp, segment(0xE1, HEADER + packet("two")))
    yield with_segments(folder / "empty.jpg", segment(0xE1, HEADER))
    yield with_segments(folder / "filled.jpg", b"\xff\xff\xff" + xmp)
    yield with_segments(folder / "garbage.jpg", b"garbage" + xmp)
    yield with_segments(folder / "bare.jpg", b"\xff\x01" + xmp)
    yield with_segments(folder / "no_header.jpg", segment(0xE1, packet("one")))
    yield with_segments(
        folder / "byte_order_mark.jpg", segment(0xE1, HEADER + b"\xef\xbb\xbf" + packet("one"))
    )
    yield with_segments(folder / "damaged.jpg", segment(0xE1, HEADER + packet("one")[:-40]))
    yield with_segments(folder / "no_xmp.jpg", segment(0xE1, HEADER + b"no XMP at all"))
    resource = b"8BIM\x04\x24\0\0" + struct.pack(">I", len(packet("x"))) + packet("x") + b"\0"
    in_photoshop = segment(0xED, b"Photoshop 3.0\0" + resource)
    yield with_segments(folder / "in_photoshops.jpg", in_photoshop)
    yield with_segments(folder / "in_both.jpg", segment(0xE1, HEADER + packet("y")), in_photoshop)
    held = packet("z")
    directory = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x02BC, 1, len(held), 26, 0) + held
    yield with_segments(folder / "in_exif.jpg", segment(0xE1, b"Exif\0\0" + directory))
    long = folder / "long.jpg"
    draw(long, f"XMP-dc:Description={LONG}", "XMP-dc:Title=short")
    yield long
    behind = with_segments(folder / "behind.jpg", xmp)
    behind.write_bytes(behind.read_bytes() + behind.read_bytes())
    yield behind
    cut = with_segments(folder / "cut.jpg", xmp)
    cut.write_bytes(cut.read_bytes()[:200])
    yield cut


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    make_inbox(folder, size=64)
    return folder


def test_the_packet_is_the_one_that_exiftool_gives(
    exiftool: CountingExifTool, tmp_path: Path, samples: Path
) -> None:
    real = [path for path in REAL_PHOTOS.rglob("*") if path.is_file()] if REAL_PHOTOS.is_dir() else []
    alone = 0
    for path in [*odd_jpegs(tmp_path), *(path for path in samples.rglob("*") if path.is_file()), *real]:
        exiftool.asked.clear()
        try:
            reading = look(exiftool, path)
        except PhotoUnreadable:
            continue
        alone += not any("-XMP" in arguments for arguments in exiftool.asked)
        assert reading.packet == embedded_packet(exiftool, path), path.name
        properties, charset = show(exiftool, path)
        assert lasting(reading.properties) == lasting(properties), path.name
        assert reading.charset == charset
    assert alone > len(real)


def test_only_what_is_worked_out_from_others_is_left_out(
    exiftool: CountingExifTool, tmp_path: Path, samples: Path
) -> None:
    gps = ("EXIF:GPSLatitude=47.35", "EXIF:GPSLatitudeRef=N", "EXIF:ISO=100", "EXIF:FNumber=8")
    drawn = draw(tmp_path / "photo.jpg", "XMP-dc:Title=Mine", "IPTC:Keywords=sea", *gps).path
    composed = 0
    for path in (drawn, *samples.glob("*.JPG")):
        answer = exiftool.ask(*(option for option in SHOW if option != "-e"), path_argument(path))
        whole = lasting(parse_properties(answer.stdout))
        rest = {tag: held for tag, held in whole.items() if not tag.startswith("Composite:")}
        assert lasting(look(exiftool, path).properties) == rest
        composed += len(whole) - len(rest)
    assert composed


def test_only_packets_of_a_well_formed_jpeg_are_found(tmp_path: Path) -> None:
    found = {path.stem: packets(path) for path in odd_jpegs(tmp_path)}
    assert found["usual"] == (packet("one"),)
    assert found["two"] == (packet("one"), packet("another"))
    assert found["empty"] == (b"",)
    assert found["no_header"] == found["in_photoshops"] == found["in_exif"] == ()
    assert [name for name, there in found.items() if there is None] == ["filled", "garbage", "bare", "cut"]
    assert packets(draw(tmp_path / "photo.png", "XMP-dc:Title=Mine").path) is None


def test_a_jpeg_costs_three_commands(
    store: MetadataStore, exiftool: CountingExifTool, tmp_path: Path
) -> None:
    for name, stamps in (("plain", ()), ("told", ("XMP-xmp:Rating=3", "EXIF:ISO=100", "IPTC:City=Bern"))):
        exiftool.asked.clear()
        write(store, draw(tmp_path / f"{name}.jpg", *stamps))
        assert [("-X" in asked, "-o" in asked) for asked in exiftool.asked] == [
            (True, False),
            (False, True),
            (True, False),
        ]


def test_a_photo_that_changed_without_its_date_is_read_anew(
    store: MetadataStore, exiftool: CountingExifTool, tmp_path: Path
) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-xmp:Rating=3", "XMP-xmp:Label=Red")
    existing = store.read(photo)
    before = photo.path.stat()
    content = photo.path.read_bytes()
    assert content.count(b"Red") == 1
    with photo.path.open("r+b") as stream:  # in place, so that size and inode stay
        stream.write(content.replace(b"Red", b"Sea"))
    os.utime(photo.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert photo_at(photo.path).fingerprint == photo.fingerprint
    exiftool.asked.clear()
    store.apply(store.plan(existing, annotation(), policy()))
    assert len(exiftool.asked) == 3
    assert tell(photo.path, "XMP-xmp:Label") == "Sea"
    assert tell(photo.path, "XMP-dc:Title")


def test_a_photo_that_changed_is_not_written(
    store: MetadataStore, exiftool: CountingExifTool, tmp_path: Path
) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-xmp:Rating=3")
    existing = store.read(photo)
    stamp(photo.path, "XMP-xmp:Rating=4")
    with pytest.raises(PhotoChanged):
        store.apply(store.plan(existing, annotation(), policy()))
    assert tell(photo.path, "XMP-xmp:Rating") == "4"
    assert tell(photo.path, "XMP-dc:Title") == ""


def test_readings_are_given_once_and_to_the_same_content_alone(tmp_path: Path) -> None:
    path = with_segments(tmp_path / "photo.jpg", segment(0xFE, b"one"))
    before = mark_of(path)
    readings = Readings()
    readings.keep(before, reading(size=10))
    path.chmod(0o600)
    path.chmod(0o644)
    assert readings.take(mark_of(path)) is None
    assert readings.take(before) == reading(size=10)
    assert readings.take(before) is None


def test_nothing_is_kept_of_files_whose_metadata_has_no_hash(tmp_path: Path) -> None:
    readings = Readings()
    for path in (tmp_path / "photo.png", tmp_path / "photo.tif"):
        draw(path)
        readings.keep(mark_of(path), reading(size=10))
        assert readings.take(mark_of(path)) is None


def test_the_oldest_readings_go_where_there_is_no_room(tmp_path: Path) -> None:
    marks = []
    readings = Readings(most_bytes=100)
    for number in range(4):
        marks.append(mark_of(with_segments(tmp_path / f"{number}.jpg")))
        readings.keep(marks[-1], reading(size=40))
    assert [readings.take(mark) is not None for mark in marks] == [False, False, True, True]
    readings.keep(marks[0], reading(size=101))
    assert readings.take(marks[0]) is None
    for _ in range(3):  # the same one anew
        readings.keep(marks[1], reading(size=60))
    readings.keep(marks[2], reading(size=40))
    assert readings.take(marks[1]) is not None


def test_hashes_are_of_all_but_the_picture(tmp_path: Path) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-dc:Title=Mine", "EXIF:ISO=100", "IPTC:City=Bern")
    path = tmp_path / "copy.jpg"
    whole = photo.path.read_bytes()
    content = whole + b"behind \xff\xd9 the picture"
    scan, end = content.index(b"\xff\xda") + 4, len(whole) - 2
    assert content[end : end + 2] == b"\xff\xd9"
    path.write_bytes(content)
    before, behind = hash_before(path), behind_picture(path)
    assert before is not None
    assert behind is not None
    assert behind.start == end + 2
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert (hash_before(path) == before) is (position >= scan), position
        if position >= scan:
            same = behind_picture(path, start=behind.start) == behind
            assert same is (position < end + 2), position
            if not end <= position < end + 2 and b"\xff\xd9" not in changed[scan:end]:
                assert (behind_picture(path) == behind) is same, position


@pytest.mark.parametrize("gap", [-2, -1, 0, 1])
def test_the_end_of_a_picture_is_found_wherever_it_is(tmp_path: Path, gap: int) -> None:
    path = tmp_path / "photo.jpg"
    start = 2 + 4  # of what is read piece by piece
    hashes = []
    for behind in (b"one", b"two"):
        for picture in (b"x" * (BLOCK - start + gap), b"y" * (BLOCK + gap)):
            path.write_bytes(b"\xff\xd8\xff\xda\0\2" + picture + b"\xff\xd9" + behind)
            found = behind_picture(path)
            assert found is not None
            assert found.start == 6 + len(picture) + 2
            assert behind_picture(path, start=found.start) == found
            hashes.append(found.sha256)
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_odd_jpegs_have_no_hash(tmp_path: Path) -> None:
    for hashed in (hash_before, behind_picture):
        without = [path.stem for path in odd_jpegs(tmp_path) if hashed(path) is None]
        assert without == ["filled", "garbage", "bare", "cut"]


def test_a_change_that_moves_no_date_is_not_written_over(store: MetadataStore, tmp_path: Path) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-dc:Subject=Hand keyword", "XMP-xmp:Label=Red")
    with mapped(photo.path) as content:
        change(content, b"Hand keyword", b"Hand keyword")  # from now on its page is dirty
        photo = photo_at(photo.path)
        plan = store.plan(store.read(photo), annotation(), policy())
        change(content, b"Hand keyword", b"Mine keyword")
        with pytest.raises(VerificationFailed, match="not as planned beside what stood there"):
            store.apply(plan)
    assert tell(photo.path, "XMP-dc:Subject") == "Mine keyword"
    assert list(tmp_path.iterdir()) == [photo.path]


@pytest.mark.parametrize("behind", [b"", b"Hand keyword behind the picture"])
def test_a_change_while_the_copy_is_made_is_not_written_over(tmp_path: Path, behind: bytes) -> None:
    photo = draw(tmp_path / "photo.jpg", *([] if behind else ["XMP-dc:Subject=Hand keyword"]))
    with photo.path.open("ab") as stream:
        stream.write(behind)
    with InterruptedExifTool("exiftool") as exiftool, mapped(photo.path) as content:
        store = MetadataStore(MetadataSettings(), exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
        store.start()
        change(content, b"Hand keyword", b"Hand keyword")
        photo = photo_at(photo.path)
        plan = store.plan(store.read(photo), annotation(), policy())
        exiftool.once_copied = lambda: change(content, b"Hand keyword", b"Mine keyword")
        with pytest.raises(PhotoChanged):
            store.apply(plan)
    assert b"Mine keyword" in photo.path.read_bytes()
    assert list(tmp_path.iterdir()) == [photo.path]


def test_a_photo_is_not_read_to_its_end_to_see_what_it_says(store: MetadataStore, tmp_path: Path) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-dc:Title=Mine")
    os.truncate(photo.path, 64 << 20)  # most of it a hole
    photo = photo_at(photo.path)
    before = bytes_read()
    assert store.read(photo).title == "Mine"
    assert bytes_read() - before < 8 << 20


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.xmp"])
def test_a_change_whose_date_was_set_back_is_not_written_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    photo = draw(path if path.suffix != ".xmp" else tmp_path / "photo.nef", "XMP-xmp:Label=Red")
    if path.suffix == ".xmp":
        path.write_bytes(packet("Red"))

    def edit() -> None:
        before = path.stat()
        with mapped(path) as content:
            change(content, b"Red", b"Sea")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with InterruptedExifTool("exiftool") as exiftool:
        store = MetadataStore(MetadataSettings(), exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
        store.start()
        plan = store.plan(store.read(photo), annotation(), policy())
        exiftool.once_copied = edit
        with pytest.raises(PhotoChanged):
            store.apply(plan)
    assert b"Sea" in path.read_bytes()


def bytes_read() -> int:
    """Return how many bytes this process has read so far, from wherever (proc(5), /proc/pid/io)."""
    return int(Path("/proc/self/io").read_text().split("rchar: ", 1)[1].split()[0])


class InterruptedExifTool(ExifTool):
    """The real exiftool; once it has made a copy, something else happens first."""

    once_copied: Callable[[], None] | None = None

    def ask(self, *arguments: str | bytes) -> Answer:
        answer = super().ask(*arguments)
        if "-o" in arguments and self.once_copied is not None:
            self.once_copied()
        return answer


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Give a file's bytes as a program has them that maps the file and writes into it in place."""
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        yield content


def change(content: mmap.mmap, old: bytes, new: bytes) -> None:
    position = content.find(old)
    assert position >= 0
    content[position : position + len(new)] = new


def mark_of(path: Path) -> Seen:
    return seen(path, path.stat())


def reading(size: int) -> Reading:
    return Reading(properties=Properties(), charset=(), packet=b"", size=size)
