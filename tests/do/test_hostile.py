"""Hostile words, names and metadata: nothing runs, is renamed, is read from elsewhere, or is lost.

The words come from a model that a picture can talk to, the names and the metadata from anybody.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.metadata_files import annotation, draw, open_store, photo_at, policy, stamp, tell
from tagger_daemon.errors import VerificationFailed, WriteRefused
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.canonical import parse_packet
from tagger_daemon.metadata.exiftool import ExifTool, path_argument
from tagger_daemon.metadata.fields import clean_line, clean_text
from tagger_daemon.metadata.merge import clean_keyword
from tagger_daemon.metadata.properties import parse_properties
from tagger_daemon.metadata.read import SHOW, embedded_packet
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Annotation, Photo, Written

#: `{here}` becomes the test's own folder, where nothing may appear and nothing may be read from.
WORDS = {
    "a command": 'x\n-if\nsystem("touch {here}/pwned");1',
    "a command after a carriage return": 'x\r-if\rsystem("touch {here}/pwned");1',
    "another name": "x\n-FileName={here}/pwned.jpg",
    "another folder": "x\n-Directory={here}/pwned",
    "a file's content": "x\n-XMP-dc:Title<={here}/secret",
    "an argument file": "x\n-@\n{here}/secret",
    "the end of the conversation": "x\n-stay_open\nFalse\n-execute",
    "escaped": "#[CSTR]a\\nb $Make @ARGV",
    "an option": "-XMP-dc:Title<={here}/secret",
    "a file": "@{here}/secret",
    "a redirection": "<={here}/secret",
    "a variable": "$Make ${{Model;s/.*/pwned/}} %d %f `id` $(id)",
    "JSON": 'a", "XMP-dc:Rights": "pwned',
    "escapes of JSON": "C:\\new\\table \\u0041 \\ud83d \\/ \\",
    "what exiftool decodes": "base64:c2VjcmV0",
    "markup": "</rdf:li><rdf:li>pwned</rdf:li> &amp; &#10; &lt;b> <!-- x --> <![CDATA[x]]>",
    "controls": "a\x00b\x01c\x08d\x0be\x0cf\x1bg\x1f h\x7fi\x80j\x9fk",
    "line ends": "one\r\ntwo\rthree\u0085four\u2028five\u2029six\n\n\nseven",
    "blanks": "\t one \u00a0 two \u3000 ",
    "overrides": "a\u202egpj.exe\u202c b\u2066c\u2069 d\u202ae",
    "invisible": "do\u200bg\u2060 \ufeffsea\u00ad \U000e0069\U000e0067",
    "surrogates": "a\ud800b\udfff c\udc80",
    "no characters": "a\ufffe\uffffb\U0001ffff c\ufdd0",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 1\ufe0f\u20e3",
    "many scripts": "می‌خواهم \u05d0\u200e1\u200f क्‍ष 日本語 e\u0301",
    "far too long": "word " * 40_000,
    "separators": "cats|dogs, birds;fish<a>b/c",
    "numbers": "007",
    "a truth": "true",
    "nothing": "null",
    "a dash": "-",
}  # fmt: skip
SECRET = "what nobody may read"
LARGE = "A person's own words, and very many of them. ".strip() * 4_600  # about 200 kB


@pytest.fixture(scope="module")
def store() -> Iterator[MetadataStore]:
    with open_store() as opened:
        yield opened


@pytest.fixture(scope="module")
def exiftool() -> Iterator[ExifTool]:
    with ExifTool() as process:
        yield process


def tag(store: MetadataStore, photo: Photo, answers: Annotation | None = None) -> Written:
    """Read, plan and write, as the pipeline does."""
    existing = store.read(photo)
    store.check_writable(existing)
    return store.apply(store.plan(existing, answers or annotation(), policy()))


def snapshot(folder: Path) -> dict[bytes, bytes]:
    """Return the content of every file below a folder, by its name in bytes."""
    found = {}
    for parent, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - bytes
            with open(path, "rb") as stream:  # noqa: PTH123 - bytes
                found[path] = stream.read()
    return found


def packet_of(exiftool: ExifTool, path: Path) -> bytes:
    """Return the XMP of a photo or a sidecar, byte for byte."""
    return path.read_bytes() if path.suffix == ".xmp" else embedded_packet(exiftool, path)


def texts_in(packet: bytes, tag: str) -> tuple[str, ...]:
    """Return what stands in a field, as another parser than exiftool's reads it."""
    node = parse_packet(packet).get(fields.XMP_NAMES[tag])
    return () if node is None else tuple(item.text for item in node.items)


# --- Words ---


@pytest.mark.parametrize("kind", ["jpg", "nef"])
@pytest.mark.parametrize("words", WORDS)
def test_hostile_words_are_words(
    tmp_path: Path, store: MetadataStore, exiftool: ExifTool, words: str, kind: str
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    folder = tmp_path / "photos"
    folder.mkdir()
    text = WORDS[words].format(here=tmp_path)
    photo = draw(folder / f"IMG.{kind}")
    written = tag(store, photo, annotation(caption=text, description=text, keywords=(text, "dog")))
    wanted = {
        fields.TITLE: (clean_line(text)[:8000],),
        fields.ALT_TEXT: () if len(clean_line(text)) > 250 else (clean_line(text),),
        fields.DESCRIPTION: (clean_text(text),),
        fields.KEYWORDS: tuple(word for word in (clean_keyword(text), "dog") if word),
    }
    packet = packet_of(exiftool, written.target)
    assert {name: texts_in(packet, name) for name in wanted} == wanted
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == sorted(
        {photo.path.name, written.target.name}
    )
    found = store.read(photo_at(photo.path))
    assert (found.title, found.description) == (clean_line(text), clean_text(text))


anything = st.text(st.characters(exclude_categories=()), max_size=60)
#: Letters that mean something to XML, JSON, exiftool or its arguments, close together.
awkward = st.text(
    "\\u0041dDbase64:=\"'&<>#;$@%|-+\r\n\t \x00\x1b\u0301\u200d\u202e\ud800\U0001f600", max_size=30
)


@given(st.lists(anything | awkward, min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_that_is_clean_is_read_back_as_it_was_given(exiftool: ExifTool, words: list[str]) -> None:
    cleaned = tuple(filter(None, map(clean_text, words))) or ("so as to have one",)
    values = {fields.KEYWORDS: cleaned, fields.DESCRIPTION: cleaned[0]}
    with exiftool.private_file(EMPTY, ".xmp") as path, exiftool.values_file(values) as file:
        exiftool.ask(file, "-overwrite_original_in_place", path_argument(path))
        shown = parse_properties(exiftool.ask(*SHOW, path_argument(path)).stdout)
        packet = path.read_bytes()
    assert shown.texts(fields.KEYWORDS) == texts_in(packet, fields.KEYWORDS) == cleaned
    assert shown.texts(fields.DESCRIPTION) == texts_in(packet, fields.DESCRIPTION) == cleaned[:1]


@given(anything | awkward, anything | awkward, st.lists(anything | awkward, max_size=3))
@settings(max_examples=25, deadline=None)
def test_whatever_a_model_says_a_photo_can_be_tagged_with_it(
    tmp_path_factory: pytest.TempPathFactory,
    store: MetadataStore,
    caption: str,
    description: str,
    keywords: list[str],
) -> None:
    photo = draw(tmp_path_factory.mktemp("any") / "photo.jpg")
    tag(store, photo, annotation(caption=caption, description=description, keywords=tuple(keywords)))
    found = store.read(photo_at(photo.path))
    assert (found.title or "", found.description or "") == (clean_line(caption), clean_text(description))


# --- A person's words beside ours ---

THEIRS = (
    "x\n-FileName=pwned.jpg",
    "two\nlines",
    "base64:c2VjcmV0",
    "C:\\u0041 \\n",
    "-dash",
    "@at",
    "a, b; c|d/e",
    " blanks ",
    "tab\there",
    "right \u202e left",
    "in\u200bvisible",
    "#[CSTR]x",
    "$Make",
    "2024",
    "true",
    "w" * 300,
    "next\x85line",
    "\U0001f469\u200d\U0001f4bb",
)


def xmp(properties: str) -> bytes:
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
xmlns:u="http://example.org/unknown/1.0/">{properties}</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def bag(*words: str) -> str:
    return (
        f"<dc:subject><rdf:Bag>{''.join(f'<rdf:li>{word}</rdf:li>' for word in words)}</rdf:Bag></dc:subject>"
    )


def with_xmp(path: Path, packet: bytes) -> tuple[Photo, Path]:
    """Draw a photo with this XMP byte for byte, beside it if it is a raw; return it and where the XMP is."""
    photo = draw(path)
    if path.suffix == ".nef":
        path.with_suffix(".xmp").write_bytes(packet)
        return photo, path.with_suffix(".xmp")
    drawn = path.read_bytes()
    if path.suffix == ".jpg":
        segment = b"http://ns.adobe.com/xap/1.0/\0" + packet
        path.write_bytes(drawn[:2] + struct.pack(">2sH", b"\xff\xe1", len(segment) + 2) + segment + drawn[2:])
    else:  # a PNG: after its signature and IHDR
        chunk = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + packet
        ends = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(drawn[:33] + ends[0] + chunk + ends[1] + drawn[33:])
    return photo_at(path), path


@pytest.mark.parametrize("kind", ["nef", "jpg"])
def test_a_persons_odd_keywords_stand_before_ours_letter_for_letter(
    tmp_path: Path, store: MetadataStore, exiftool: ExifTool, kind: str
) -> None:
    photo, target = with_xmp(tmp_path / f"IMG.{kind}", xmp(bag(*THEIRS)))
    tag(store, photo)
    ours = annotation().keywords
    assert ours is not None
    assert texts_in(packet_of(exiftool, target), fields.KEYWORDS) == (*THEIRS, *ours)
    assert store.read(photo_at(photo.path)).keywords == (*THEIRS, *ours)


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "psd", "dng", "nef"])
def test_a_persons_very_long_text_survives_beside_ours(
    tmp_path: Path, store: MetadataStore, kind: str
) -> None:
    (tmp_path / "large").write_text(LARGE)
    their = [
        f"{place}<={tmp_path / 'large'}" for place in ("XMP-dc:Description", "XMP-photoshop:Instructions")
    ]
    photo = draw(tmp_path / f"IMG.{kind}", *(() if kind == "nef" else their))
    if kind == "nef":
        (tmp_path / "IMG.xmp").write_bytes(EMPTY)
        stamp(tmp_path / "IMG.xmp", *their)
    target = tag(store, photo).target
    assert tell(target, "XMP-photoshop:Instructions") == LARGE
    assert tell(target, "XMP-dc:Description") == LARGE
    assert tell(target, "XMP-dc:Title") == annotation().caption


def with_legacy_block(path: Path, *datasets: tuple[int, bytes], utf8: bool = False) -> Photo:
    """Draw a JPEG with a legacy block of these datasets of its record 2, byte for byte (IPTC IIM 4.2)."""
    declared = b"\x1c\x01\x5a\x00\x03\x1b%G" if utf8 else b""
    content = declared + b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value for number, value in datasets
    )
    resource = struct.pack(">4sH2xI", b"8BIM", 0x0404, len(content)) + content + b"\0" * (len(content) % 2)
    segment = b"Photoshop 3.0\0" + resource
    drawn = draw(path).path.read_bytes()
    path.write_bytes(drawn[:2] + struct.pack(">2sH", b"\xff\xed", len(segment) + 2) + segment + drawn[2:])
    return photo_at(path)


KEYWORD, CATEGORY, TIME, BY_LINE, PROGRAM, CAPTION = 25, 15, 60, 80, 65, 120


def datasets(path: Path) -> list[tuple[int, bytes]]:
    """Return the datasets of a JPEG's legacy block, record 2, byte for byte."""
    block = subprocess.run(["exiftool", "-b", "-IPTC", str(path)], check=True, capture_output=True).stdout
    found, position = [], 0
    while block[position : position + 1] == b"\x1c":
        record, number, length = struct.unpack_from(">BBH", block, position + 1)
        if record == 2:
            found.append((number, block[position + 5 : position + 5 + length]))
        position += 5 + length
    return found


def test_line_ends_and_controls_of_a_legacy_block_stay(tmp_path: Path, store: MetadataStore) -> None:
    theirs = [
        (KEYWORD, b"two\rlines"),
        (KEYWORD, b"ended\0"),
        (KEYWORD, b"a\x01b"),
        (CAPTION, b"one\rtwo\r\nthree"),
    ]
    photo = with_legacy_block(tmp_path / "photo.jpg", *theirs)
    tag(store, photo)
    kept = datasets(photo.path)
    assert [kept.count(dataset) for dataset in theirs] == [1, 0, 1, 1]
    assert (KEYWORD, b"ended") in kept  # as C ends a text, and exiftool reads it
    found = store.read(photo_at(photo.path))
    assert found.description == "one\rtwo\r\nthree"
    assert found.keywords == ("two\rlines", "ended", "ab", *(annotation().keywords or ()))


def test_what_of_a_legacy_block_is_not_ours_is_not_brought_into_line(
    tmp_path: Path, store: MetadataStore
) -> None:
    theirs = [(CATEGORY, b"Things"), (TIME, b"095434"), (PROGRAM, b"a program with a long name")]
    photo = with_legacy_block(tmp_path / "photo.jpg", *theirs, (BY_LINE, b"Jos\xe9"))
    tag(store, photo)
    kept = datasets(photo.path)
    assert [dataset for dataset in theirs if dataset not in kept] == []
    assert (BY_LINE, "José".encode()) in kept
    assert tell(photo.path, "IPTC:Keywords") == "dog|beach|sea"


def test_a_legacy_block_that_lies_about_its_encoding_is_left_alone(
    tmp_path: Path, store: MetadataStore
) -> None:
    theirs = [(KEYWORD, b"caf\xe9"), (BY_LINE, b"Jos\xe9")]
    photo = with_legacy_block(tmp_path / "photo.jpg", *theirs, utf8=True)
    assert "not in the encoding that it declares" in store.read(photo).notes[0]
    tag(store, photo)
    assert datasets(photo.path) == theirs
    assert store.read(photo_at(photo.path)).keywords == ("café", "dog", "beach", "sea")


# --- Names ---

NAMES = [
    b"-x",
    b"--",
    b" x",
    b"x ",
    b"x.",
    b"...x",
    b"#x",
    b"#[CSTR]x",
    b"@x",
    b"~",
    b"[x]",
    b"{x}",
    b"(x)",
    b"100%",
    b"%d%f%e%%",
    b"`touch pwned`",
    b"$(touch pwned)",
    b"$Make",
    b"x;touch pwned",
    b"x|y&z",
    b"*?",
    b"a\\nb\\",
    b"\"x\" 'y'",
    b"<x>=",
    b"x=y",
    b"caf\xe9 \xff\xfe",
    "\u202egpj.x".encode(),
    "日本 \U0001f469\u200d\U0001f4bb".encode(),
    b"tab\there",
    b"\x01\x1b[31m\x7f",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [b".jpg", b".nef"])
def test_hostile_names_of_files_and_folders_are_names(
    tmp_path: Path, store: MetadataStore, name: bytes, kind: bytes
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    path = folder / os.fsdecode(name + kind)
    draw(tmp_path / f"photo{kind.decode()}").path.rename(path)
    content = path.read_bytes()
    written = tag(store, photo_at(path))
    expected = {path} if kind == b".jpg" else {path, folder / os.fsdecode(name + b".xmp")}
    assert {found for found in tmp_path.rglob("*") if not found.is_dir()} == expected
    assert written.target in expected
    assert store.read(photo_at(path)).title == annotation().caption
    assert (path.read_bytes() == content) is (kind == b".nef")


@pytest.mark.parametrize("name", [b"x\n-FileName=pwned", b"x\r-if\r1", b"x\r\n-delete_original!"])
@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("kind", [".jpg", ".nef"])
def test_a_name_with_a_line_break_is_refused_with_a_reason_and_nothing_is_touched(
    tmp_path: Path, store: MetadataStore, name: bytes, is_folder: bool, kind: str
) -> None:
    folder = tmp_path / (os.fsdecode(name) if is_folder else "photos")
    folder.mkdir()
    path = folder / f"{'photo' if is_folder else os.fsdecode(name)}{kind}"
    draw(tmp_path / f"photo{kind}").path.rename(path)
    path.with_suffix(".xmp").write_bytes(xmp(bag("mine")))
    before = snapshot(tmp_path)
    with pytest.raises(WriteRefused, match="contains a line break; rename it and it will be tagged"):
        tag(store, photo_at(path))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("letter", ["x", "é", "日", "😀", os.fsdecode(b"\xff")], ids=ascii)
@pytest.mark.parametrize("kind", [".jpg", ".nef"])
def test_the_longest_names_that_there_are(
    tmp_path: Path, store: MetadataStore, letter: str, kind: str
) -> None:
    length = len(os.fsencode(letter))
    name = letter * ((255 - len(kind)) // length)
    photo = draw(tmp_path / f"photo{kind}")
    path = photo.path.rename(tmp_path / f"{name}{kind}")
    written = tag(store, photo_at(path))
    assert written.target == (path if kind == ".jpg" else path.with_suffix(".xmp"))
    assert store.read(photo_at(path)).title == annotation().caption


def test_a_sidecar_whose_name_would_be_too_long_is_refused_before_any_model_is_asked(
    tmp_path: Path, store: MetadataStore
) -> None:
    path = draw(tmp_path / "photo.jpg").path.rename(tmp_path / f"{'x' * 251}.jpg")
    before = snapshot(tmp_path)
    existing = store.read_beside(photo_at(path), "a reason")
    with pytest.raises(WriteRefused, match="too long for a file; give the photo a shorter one"):
        store.check_writable(existing)
    with pytest.raises(WriteRefused, match="too long for a file"):
        store.apply(store.plan(existing, annotation(), policy()))
    assert snapshot(tmp_path) == before


# --- What is left byte for byte as it is ---

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
DECLARED = '<?xml version="1.0" encoding="{}"?>'
UNTOUCHABLE = {
    "cut off": (xmp(bag("mine"))[:-40], "is damaged"),
    "not XML": (b"mine", "is damaged"),
    "not XMP": (b"<mine/>", "holds no XMP"),
    "a control": (xmp(bag("a&#1;b")), "is damaged"),
    "a bare control": (xmp(bag("a\x01b")), "is damaged"),
    "an entity that nobody declared": (xmp(bag("caf&eacute;")), "is damaged"),
    "twice the same": (xmp("<u:a>1</u:a><u:a>2</u:a>"), "holds a twice"),
    "twice the same, once as an attribute": (
        xmp("<u:a>1</u:a>").replace(b'rdf:about=""', b'rdf:about="" u:a="2"'),
        "holds a twice",
    ),
    "an entity": (b'<!DOCTYPE x [<!ENTITY a "b">]>' + xmp(bag("&a;")), "declares entities"),
    "a file": (
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + xmp(bag("&a;")),
        "declares entities",
    ),
    "a server": (b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">' + xmp(bag("mine")), "declares entities"),
    "a billion laughs": (
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>'.encode() + xmp(bag("&l9;")),
        "declares entities",
    ),
    "deep nesting": (xmp("<u:a>" * 300 + "</u:a>" * 300), "is damaged"),
    "UTF-16": (xmp(bag("mine")).decode().encode("utf-16"), "is not UTF-8 text"),
    "UTF-16 without a mark": (
        (DECLARED.format("UTF-16BE") + xmp(bag("mine")).decode()).encode("utf-16-be"),
        "is not UTF-8 text",
    ),
    "UTF-32": (xmp(bag("mine")).decode().encode("utf-32"), "is not UTF-8 text"),
    "Latin-1": (
        (DECLARED.format("ISO-8859-1") + xmp(bag("café")).decode()).encode("latin-1"),
        "is written in ISO-8859-1",
    ),
    "Shift JIS": (
        (DECLARED.format("Shift_JIS") + xmp(bag("日本")).decode()).encode("shift_jis"),
        "is written in Shift_JIS",
    ),
    "UTF-7": ((DECLARED.format("UTF-7")).encode() + xmp(bag("caf+AOk-")), "is written in UTF-7"),
    "Latin-1 that says nothing": (xmp(bag("café")).decode().encode("latin-1"), "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("flaw", UNTOUCHABLE)
def test_a_sidecar_that_cannot_be_rewritten_stays_byte_for_byte_as_it_is(
    tmp_path: Path, store: MetadataStore, flaw: str
) -> None:
    content, reason = UNTOUCHABLE[flaw]
    photo, _ = with_xmp(tmp_path / "IMG.nef", content)
    before = snapshot(tmp_path)
    with pytest.raises(WriteRefused, match=rf"^the sidecar IMG\.xmp {reason}"):
        store.read(photo)
    assert snapshot(tmp_path) == before


EMBEDDED = ["cut off", "twice the same", "a file", "a billion laughs", "deep nesting", "Latin-1", "a control"]


@pytest.mark.parametrize("flaw", EMBEDDED)
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_xmp_inside_a_photo_that_cannot_be_rewritten_stays_and_the_words_go_beside(
    tmp_path: Path, store: MetadataStore, flaw: str, kind: str
) -> None:
    content, reason = UNTOUCHABLE[flaw]
    photo, _ = with_xmp(tmp_path / f"IMG.{kind}", content)
    before = photo.path.read_bytes()
    written = tag(store, photo)
    assert photo.path.read_bytes() == before
    assert written.target == tmp_path / f"IMG.{kind}.xmp"
    assert f"its XMP {reason}" in store.read(photo).notes[0]
    assert b"root:" not in written.target.read_bytes()


MISREAD = {
    "an instruction in a keyword": bag("m<?x y?>ine"),
    "a qualified keyword": bag(
        "<rdf:Description><rdf:value>mine</rdf:value><u:by>me</u:by></rdf:Description>"
    ),
    "a bare > in an attribute": "<u:s><rdf:Description u:v='a > b' u:w='c'/></u:s>",
}


@pytest.mark.parametrize("spelling", MISREAD)
def test_sound_xmp_that_exiftool_takes_for_something_else_is_left_as_it_is(
    tmp_path: Path, store: MetadataStore, spelling: str
) -> None:
    photo, _ = with_xmp(tmp_path / "IMG.nef", xmp(MISREAD[spelling]))
    before = snapshot(tmp_path)
    with pytest.raises(WriteRefused, match=r"^IMG\.xmp (was left alone|could not be written): \w"):
        tag(store, photo)
    assert snapshot(tmp_path) == before


def test_a_keyword_with_a_comment_in_it_is_never_taken_for_another(
    tmp_path: Path, store: MetadataStore
) -> None:
    """Old versions of exiftool take the comment for a part of the keyword, newer ones do not."""
    photo, sidecar = with_xmp(tmp_path / "IMG.nef", xmp(bag("m<!-- x -->ine")))
    with contextlib.suppress(VerificationFailed):
        tag(store, photo)
    assert texts_in(sidecar.read_bytes(), fields.KEYWORDS)[0] == "mine"
