"""Photos with content credentials keep them: the words go beside."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from make_samples import write_heic
from support.metadata_files import annotation, draw, open_store, photo_at, policy, stamp, tell
from support.signed_files import CREDENTIALS_UUID, box, jpeg_segment, sign, store, with_tiff_field
from tagger_daemon.errors import PhotoGone, PhotoUnreadable
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.signed import is_signed
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Photo

KINDS = ["jpg", "png", "tif", "dng", "webp", "avif", "heic"]
WRITTEN_INTO = ["jpg", "png", "tif", "dng"]  # by every exiftool


@pytest.fixture(scope="module")
def metadata() -> Iterator[MetadataStore]:
    with open_store() as opened:
        yield opened


def picture(path: Path, *stamps: str) -> Photo:
    if path.suffix == ".heic":
        write_heic(path, Image.linear_gradient("L").resize((96, 64)).convert("RGB"))
        return photo_at(path)
    return draw(path, *stamps)


def signed(path: Path, *stamps: str) -> Photo:
    picture(path, *stamps)
    sign(path)
    return photo_at(path)


def tag(metadata: MetadataStore, photo: Photo) -> Path:
    """Read, plan and write, as the pipeline does, and return what was written."""
    return metadata.apply(metadata.plan(metadata.read(photo), annotation(), policy())).target


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_go_beside_a_signed_photo_which_stays_as_it_is(
    tmp_path: Path, metadata: MetadataStore, kind: str
) -> None:
    photo = signed(tmp_path / f"photo.{kind}")
    assert is_signed(photo.path)
    content = photo.path.read_bytes()
    assert tag(metadata, photo) == tmp_path / f"photo.{kind}.xmp"
    assert photo.path.read_bytes() == content
    assert photo_at(photo.path) == photo
    assert tell(tmp_path / f"photo.{kind}.xmp", "XMP-dc:Title") == annotation().caption
    found = metadata.read(photo)
    assert found.marker is not None
    assert found.title == annotation().caption
    if kind in WRITTEN_INTO:
        (note,) = found.notes
        assert note.startswith(
            "words inside would break this file's content credentials (C2PA); the words stand in"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_without_credentials_is_not_taken_for_signed(tmp_path: Path, kind: str) -> None:
    assert not is_signed(picture(tmp_path / f"photo.{kind}").path)


@pytest.mark.parametrize("kind", WRITTEN_INTO)
def test_what_a_person_wrote_into_a_signed_photo_counts(
    tmp_path: Path, metadata: MetadataStore, kind: str
) -> None:
    photo = signed(tmp_path / f"photo.{kind}", "XMP-dc:Title=Mine", "XMP-dc:Subject=mine")
    beside = tag(metadata, photo)
    assert tell(beside, "XMP-dc:Title") == ""
    assert tell(beside, "XMP-dc:Subject") == "mine|dog|beach|sea"
    found = metadata.read(photo)
    assert (found.title, found.description) == ("Mine", annotation().description)


def test_a_sidecar_that_is_there_already_is_the_one_that_is_used(
    tmp_path: Path, metadata: MetadataStore
) -> None:
    photo = signed(tmp_path / "photo.jpg")
    (tmp_path / "photo.xmp").write_bytes(EMPTY)
    stamp(tmp_path / "photo.xmp", "XMP-xmp:Rating=4")
    assert tag(metadata, photo) == tmp_path / "photo.xmp"
    assert tell(tmp_path / "photo.xmp", "XMP-xmp:Rating") == "4"
    assert not (tmp_path / "photo.jpg.xmp").exists()


@pytest.mark.parametrize(
    "data",
    [
        box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ") + store(),
        box(b"ftyp", b"heic") + struct.pack(">I4sQ", 1, b"free", 16) + box(b"uuid", CREDENTIALS_UUID),
        b"\xff\xd8\xff\xff\xe0\0\x04ab" + jpeg_segment(struct.pack(">I4sQ", 1, b"jumb", 99) + store()[8:]),
        b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0xCD41, 7, 1, 0, 0),
        b"II+\0" + struct.pack("<HHQQHHQQQ", 8, 0, 16, 1, 0xCD41, 7, 1, 0, 0),
        b"II*\0" + struct.pack("<IHIHHHIII", 8, 0, 14, 1, 0xCD41, 7, 1, 0, 0),
    ],
    ids=["JPEG XL", "long box", "long box and fill bytes", "big endian", "BigTIFF", "second directory"],
)  # fmt: skip
def test_rarer_forms_are_known_too(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo").write_bytes(data)
    assert is_signed(tmp_path / "photo")


OTHER_BOX = store(bytes(16))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + jpeg_segment(OTHER_BOX) + b"\xff\xd9",
        b"\xff\xd8" + jpeg_segment(store())[:4] + b"HDR_RI ver=11" + store() + b"\xff\xd9",
        b"\xff\xd8\xff\xe1\0\x44" + store()[:66] + b"\xff\xd9",
        b"\xff\xd8\xff\xda\0\x02" + jpeg_segment(store()),
        box(b"JXL ", b"\r\n\x87\n") + OTHER_BOX,
        box(b"ftyp", b"heic") + box(b"uuid", bytes(16)) + box(b"mdat", box(b"uuid", CREDENTIALS_UUID)),
        b"caBX" + store(),
    ],
    ids=["other JUMBF", "JPEG-HDR", "APP1", "in the picture", "JPEG XL", "inside a box", "of no kind"],
)  # fmt: skip
def test_what_only_looks_like_credentials_is_not_taken_for_them(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo").write_bytes(data)
    assert not is_signed(tmp_path / "photo")


MAGICS = [
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0",
    b"RIFF\0\0\0\0WEBP", b"\0\0\0\x0cftypheic", b"\0\0\0\x0cJXL \r\n\x87\n",
]  # fmt: skip


@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=200))
def test_nonsense_is_not_known_to_be_signed_and_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "nonsense"
    path.write_bytes(magic + rest)
    assert is_signed(path) in {True, False}


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_a_signed_photo_that_is_cut_anywhere_does_no_harm(tmp_path: Path, kind: str) -> None:
    photo = signed(tmp_path / f"photo.{kind}")
    whole = photo.path.read_bytes()
    seen = set()
    for length in range(0, len(whole), 7):
        photo.path.write_bytes(whole[:length])
        seen.add(is_signed(photo.path))
    assert False in seen


@pytest.mark.parametrize(
    "data",
    [
        with_tiff_field(b"II*\0" + struct.pack("<IHI", 8, 0, 8), 256, b"loop"),
        b"II*\0" + struct.pack("<IHI", 8, 0, 8),
        b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, (1 << 64) - 1) + bytes(100),
        b"\xff\xd8" + b"\xff" * 3_000_000,
        b"\xff\xd8" + b"\xff\x01" * 1_000_000,
        b"\x89PNG\r\n\x1a\n" + bytes(12) * 200_000,
        b"RIFF\0\0\0\0WEBP" + bytes(8) * 200_000,
        box(b"ftyp", b"heic") + box(b"free", b"") * 200_000,
        box(b"ftyp", b"heic") + bytes(100),
    ],
    ids=["TIFF", "TIFF loop", "BigTIFF", "fill bytes", "markers", "chunks", "RIFF", "boxes", "no length"],
)  # fmt: skip
def test_a_hostile_file_is_not_followed_for_ever(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo").write_bytes(data)
    assert not is_signed(tmp_path / "photo")


@pytest.mark.parametrize(("make", "error"), [(lambda path: None, PhotoGone), (Path.mkdir, PhotoUnreadable)])
def test_a_photo_that_cannot_be_opened_says_why(
    tmp_path: Path, make: Callable[[Path], None], error: type[Exception]
) -> None:
    make(tmp_path / "photo.jpg")
    with pytest.raises(error, match=r"photo\.jpg"):
        is_signed(tmp_path / "photo.jpg")
