"""HEIC, AVIF, WebP and JPEG XL: written into or beside, and the picture proven untouched."""

from __future__ import annotations

import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.exiftools import EXIFTOOLS, NEWER, embeds_modern, exiftool_named
from support.metadata_files import annotation, open_store, photo_at, policy, stamp, tell
from support.modern_files import JXL_CODESTREAM, PACKED_XMP, box, draw_modern, full_box, jxl, pixels
from tagger_daemon.errors import PhotoUnreadable, WriteRefused
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Photo, Written

NAMES = (
    "photo.heic", "photo.avif", "alpha.avif", "photo.jxl",
    "photo.webp", "lossless.webp", "alpha.webp", "lossless alpha.webp", "moving.webp",
)  # fmt: skip


@pytest.fixture(scope="module", params=EXIFTOOLS)
def executable(request: pytest.FixtureRequest) -> str:
    return exiftool_named(request.param)


@pytest.fixture(scope="module")
def store(executable: str) -> Iterator[MetadataStore]:
    with open_store(exiftool=executable) as opened:
        yield opened


@pytest.fixture(scope="module")
def into(executable: str) -> bool:
    """Whether this exiftool is new enough to write into these files."""
    return embeds_modern(executable)


def tag(store: MetadataStore, photo: Photo) -> Written:
    """Read, plan and write, as the pipeline does."""
    return store.apply(store.plan(store.read(photo), annotation(), policy()))


# --- Writing ---


@pytest.mark.parametrize("name", NAMES)
def test_words_go_into_the_file_or_beside_it_as_exiftool_allows(
    tmp_path: Path, store: MetadataStore, into: bool, name: str
) -> None:
    photo = draw_modern(tmp_path / name)
    content, picture = photo.path.read_bytes(), pixels(photo.path)
    written = tag(store, photo)
    assert written.target == (photo.path if into else tmp_path / f"{name}.xmp")
    assert tell(written.target, "XMP-dc:Title") == annotation().caption
    assert (photo.path.read_bytes() == content) is not into
    assert pixels(photo.path) == picture
    found = store.read(photo_at(photo.path))
    assert (found.title, found.keywords) == (annotation().caption, annotation().keywords)
    assert found.marker is not None
    assert found.marker.content_hash == written.content_hash == content_hash(photo.path)


@pytest.mark.parametrize("name", ["photo.heic", "photo.avif", "photo.webp", "photo.jxl"])
def test_what_a_person_wrote_is_kept(tmp_path: Path, store: MetadataStore, into: bool, name: str) -> None:
    path = draw_modern(tmp_path / name).path
    stamp(path, "XMP-dc:Title=Mine", "XMP-dc:Title-de=Meins", "XMP-dc:Subject=Dog", "EXIF:Artist=Ann")
    picture = pixels(path)
    written = tag(store, photo_at(path))
    assert tell(path, "XMP-dc:Title") == "Mine"
    assert tell(path, "XMP-dc:Title-de") == "Meins"
    assert tell(path, "EXIF:Artist") == "Ann"
    assert tell(written.target, "XMP-dc:Subject") == "Dog|beach|sea"
    assert pixels(path) == picture
    assert (written.target == path) is into


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bare.jxl", JXL_CODESTREAM, "no room for words"),
        (
            "from a jpeg.jxl",
            jxl((b"jbrd", b"how the JPEG was coded"), (b"xml ", b"")),
            "a JPEG can be had back",
        ),
        ("moving.avif", None, "a sequence of pictures"),
    ],
)
def test_a_file_that_words_would_harm_is_not_written_into_whatever_exiftool_would_do(
    tmp_path: Path, store: MetadataStore, into: bool, name: str, content: bytes | None, reason: str
) -> None:
    path = draw_modern(tmp_path / name).path
    if content is not None:
        path.write_bytes(content)
    content = path.read_bytes()
    existing = store.read(photo_at(path))
    assert (reason if into else "needs exiftool 13.25") in existing.notes[0]
    assert tag(store, photo_at(path)).target == tmp_path / f"{name}.xmp"
    assert path.read_bytes() == content
    assert tell(tmp_path / f"{name}.xmp", "XMP-dc:Title") == annotation().caption


def refused_and_untouched(store: MetadataStore, path: Path, reason: str) -> None:
    content = path.read_bytes()
    with pytest.raises(WriteRefused, match=f"{path.name} was left alone: its metadata {reason}"):
        store.read(photo_at(path))
    assert [(entry, entry.read_bytes()) for entry in path.parent.iterdir()] == [(path, content)]


@pytest.mark.parametrize("kind", [b"xml ", b"Xml ", b"Exif"])
def test_words_packed_with_brotli_are_not_taken_for_none(
    tmp_path: Path, store: MetadataStore, kind: bytes
) -> None:
    """Without a Perl module that nobody has, exiftool sees none, and old ones write others beside them."""
    path = tmp_path / "photo.jxl"
    path.write_bytes(jxl((b"brob", kind + PACKED_XMP)))
    refused_and_untouched(store, path, "is packed with Brotli")


def test_words_packed_inside_a_heic_are_read_or_the_photo_is_left_alone(
    tmp_path: Path, store: MetadataStore, into: bool
) -> None:
    plain = draw_modern(tmp_path / "plain.heic").path
    path = tmp_path / "photo.heic"
    packing = [exiftool_named(NEWER), "-q", "-z", "-XMP-dc:Title=Mine", "-o", str(path), str(plain)]
    subprocess.run(packing, check=True)
    plain.unlink()
    if not into:
        refused_and_untouched(store, path, "is packed, and only exiftool 12.88 or newer can read it")
        return
    picture = pixels(path)
    assert store.read(photo_at(path)).title == "Mine"
    tag(store, photo_at(path))
    found = store.read(photo_at(path))
    assert (found.title, found.description) == ("Mine", annotation().description)
    assert pixels(path) == picture


# --- The hash of the picture ---


@pytest.mark.parametrize("name", NAMES)
def test_no_byte_of_a_picture_changes_unnoticed(tmp_path: Path, name: str) -> None:
    path = draw_modern(tmp_path / name).path
    content = path.read_bytes()
    before = content_hash(path)
    unnoticed = []
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            after = content_hash(path)
        except PhotoUnreadable:
            continue
        if after == before:
            unnoticed.append(position)
    assert len(unnoticed) <= 1, unnoticed  # a reserved half byte of HEIF's `iloc`, or a padding byte of WebP


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_tells_words_from_damage(tmp_path: Path, executable: str, into: bool, name: str) -> None:
    path = draw_modern(tmp_path / name).path
    before = content_hash(path)
    for words in (("-XMP-dc:Title=Mine", "-EXIF:Artist=Ann"), (f"-XMP-dc:Description={'long ' * 500}",)):
        subprocess.run([executable, "-q", "-overwrite_original", *words, str(path)], check=True)
        damaged = name == "lossless alpha.webp" and not into  # by exiftool until 13.15: alpha is switched off
        assert (content_hash(path) != before) is damaged


def test_words_about_a_part_of_the_picture_belong_to_the_picture(tmp_path: Path) -> None:
    """Such as those that say how bright a gain map is meant: exiftool leaves them alone, and so must we."""
    path = draw_modern(tmp_path / "alpha.avif").path
    stamp(path, "XMP-dc:Title=Mine")
    content = path.read_bytes()
    about = (
        content.index(b"cdsc") + 8
    )  # after kind, source and count: the target, 1, the picture that is shown
    for target, counts in ((1, False), (2, True)):
        described = bytearray(content)
        struct.pack_into(">H", described, about, target)
        path.write_bytes(described)
        before = content_hash(path)
        path.write_bytes(described.replace(b"Mine", b"Meme"))
        assert (content_hash(path) != before) is counts


def heif(places: bytes, *others: bytes) -> bytes:
    """Return a HEIC with one item, 1, which stands where the table `places` says."""
    items = full_box(b"iinf", struct.pack(">H", 1) + full_box(b"infe", b"\0\1\0\0hvc1\0", version=2))
    shown = full_box(b"pitm", b"\0\1")
    tables = shown + items + full_box(b"iloc", places) + b"".join(others)
    return box(b"ftyp", b"heic\0\0\0\0heic") + full_box(b"meta", tables) + box(b"mdat", bytes(1 << 16))


ONE = b"\x44\x00" + struct.pack(">HHHH", 1, 1, 0, 1)  # widths; one item: number, this file, pieces


@pytest.mark.parametrize(
    "content",
    [
        heif(ONE + struct.pack(">II", 1 << 20, 5)),
        heif(ONE + struct.pack(">II", 100, 1 << 20)),
        heif(b"\x00\x00" + struct.pack(">HHHH", 1, 1, 0, 0xFFFF)),
        heif(b"\x44\x00" + struct.pack(">H", 0xFFFF)),
        heif(b"\x44\x00" + struct.pack(">HHHH", 1, 1, 0, 40) + struct.pack(">II", 8, 0) * 40),
        heif(b"\x44\x00" + struct.pack(">HHHH", 1, 1, 7, 1) + struct.pack(">II", 100, 5)),
        heif(ONE + struct.pack(">II", 100, 5), full_box(b"pitm", b"\0\1")),
        box(b"ftyp", b"heic\0\0\0\0heic") + full_box(b"meta", full_box(b"iinf", b"\0\0")),
        box(b"ftyp", b"heic\0\0\0\0heic") + full_box(b"meta", b"\xff\xff\xff\xffiinf"),
    ],
    ids=[
        "beyond the file",
        "longer than the file",
        "one place many times",
        "a table that ends too early",
        "the same bytes again and again",
        "in another file",
        "two pictures shown",
        "none shown",
        "a box larger than its box",
    ],
)  # fmt: skip
def test_a_heic_that_lies_about_itself_takes_neither_memory_nor_time(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(PhotoUnreadable, match="damaged"):
        content_hash(path)
    assert time.process_time() - start < 1
