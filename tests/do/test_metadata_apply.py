"""Writing: what was planned and nothing else, or the file exactly as it was."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from psd_tools import PSDImage

from support.exiftools import EXIFTOOLS, exiftool_named
from support.metadata_files import NOON, annotation, draw, open_store, photo_at, policy, stamp, tell
from support.small_disk import mounted
from tagger_daemon.errors import (
    ExiftoolDied,
    FolderUnavailable,
    PhotoChanged,
    PhotoGone,
    VerificationFailed,
    WriteRefused,
)
from tagger_daemon.metadata.exiftool import Answer, ExifTool
from tagger_daemon.metadata.files import publish_new, sweep, sweep_beside, temporary_copy
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Annotation, Existing, Photo, TagWrite, WritePlan, Written
from tagger_daemon.settings import MetadataSettings

INJECTIONS = [
    'x\n-if\nsystem("touch pwned");1',
    "x\n-FileName=pwned.jpg",
    "x\n-XMP-dc:Title<=/etc/hostname",
    "-XMP-dc:Title<=/etc/hostname",
    "#[CSTR]a\\nb",
    "$Make @file %d <= `id`",
]


@pytest.fixture(scope="module", params=EXIFTOOLS)
def executable(request: pytest.FixtureRequest) -> str:
    return exiftool_named(request.param)


@pytest.fixture(scope="module")
def store(executable: str) -> Iterator[MetadataStore]:
    with open_store(exiftool=executable) as opened:
        yield opened


def tag(store: MetadataStore, photo: Photo, answers: Annotation | None = None) -> Written:
    """Read, plan and write, as the pipeline does."""
    return store.apply(store.plan(store.read(photo), answers or annotation(), policy()))


def pixels(path: Path) -> bytes:
    if path.suffix == ".psb":  # which Pillow does not read
        picture = PSDImage.open(path).topil()
        assert picture is not None
        return picture.tobytes()
    with Image.open(path) as image:
        return image.tobytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if "tagger-" in path.name or "exiftool" in path.name]


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "psd", "psb", "dng"])
def test_an_untagged_photo_gets_the_words_and_keeps_its_pixels(
    tmp_path: Path, store: MetadataStore, kind: str
) -> None:
    photo = draw(tmp_path / f"photo.{kind}")
    before = pixels(photo.path)
    written = tag(store, photo)
    found = store.read(photo_at(photo.path))
    said = annotation()
    assert (found.title, found.alt_text) == (said.caption, said.caption)
    assert (found.description, found.keywords) == (said.description, said.keywords)
    assert found.marker is not None
    assert found.marker.written_at == NOON.isoformat()
    assert found.marker.content_hash == written.content_hash == content_hash(photo.path)
    assert found.marker.keywords == said.keywords
    assert tell(photo.path, "XMP-xmp:MetadataDate") == "2024:05:01 12:00:00+00:00"
    assert pixels(photo.path) == before
    assert written.photo_fingerprint == photo_at(photo.path).fingerprint
    assert leftovers(tmp_path) == []


def test_a_raw_is_untouched_and_its_sidecar_read_back(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.NEF")
    before = (photo.path.read_bytes(), photo.path.stat())
    written = tag(store, photo)
    assert (photo.path.read_bytes(), photo.path.stat()) == before
    assert written.target == tmp_path / "IMG.xmp"
    assert store.read(photo).title == annotation().caption
    assert tell(written.target, "XMP-photoshop:SidecarForExtension") == "NEF"
    assert written.photo_fingerprint == photo.fingerprint


def test_what_a_person_wrote_is_kept_word_for_word(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(
        tmp_path / "photo.jpg",
        *("XMP-dc:Title=Mine", "XMP-dc:Title-de=Meins", "XMP-dc:Description-de=Nur deutsch"),
        *("XMP-dc:Subject=Dog", "XMP-dc:Subject=2024", "XMP-lr:HierarchicalSubject=Animals|Dog"),
        *("XMP-xmp:Rating=4", "EXIF:Artist=Ann", "XMP-crs:Exposure2012=+0.50"),
    )
    tag(store, photo)
    assert tell(photo.path, "XMP-dc:Title") == "Mine"
    assert tell(photo.path, "XMP-dc:Title-de") == "Meins"
    assert tell(photo.path, "XMP-dc:Description-de") == "Nur deutsch"
    assert tell(photo.path, "XMP-dc:Description") == ""
    assert tell(photo.path, "XMP-dc:Subject") == "Dog|2024|beach|sea"
    assert tell(photo.path, "XMP-lr:HierarchicalSubject") == "Animals|Dog|2024|beach|sea"
    assert tell(photo.path, "XMP-xmp:Rating") == "4"
    assert tell(photo.path, "EXIF:Artist") == "Ann"
    assert tell(photo.path, "XMP-crs:Exposure2012") == "+0.50"


def test_other_languages_survive_beside_our_default(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-iptcCore:AltTextAccessibility-de=Ein Hund")
    existing = store.read(photo).evolve(texts={})  # as if only the default language counted
    store.apply(store.plan(existing, annotation(), policy()))
    assert tell(photo.path, "XMP-iptcCore:AltTextAccessibility-de") == "Ein Hund"
    assert tell(photo.path, "XMP-iptcCore:AltTextAccessibility") == annotation().caption


@pytest.mark.parametrize(
    ("charset", "declared"), [("Latin", []), ("UTF8", []), ("UTF8", ["IPTC:CodedCharacterSet=UTF8"])]
)
def test_a_legacy_block_is_kept_in_step_whatever_its_encoding(
    tmp_path: Path, store: MetadataStore, charset: str, declared: list[str]
) -> None:
    legacy = (*declared, "IPTC:Keywords=José", "IPTC:City=Café")
    photo = draw(tmp_path / "photo.jpg", *legacy, "XMP-dc:Subject=José", iptc_charset=charset)
    tag(store, photo)
    assert tell(photo.path, "IPTC:Keywords") == "José|dog|beach|sea"
    assert tell(photo.path, "IPTC:City") == "Café"
    assert tell(photo.path, "IPTC:Caption-Abstract") == str(annotation().description).replace("\n", ".")
    assert tell(photo.path, "Photoshop:IPTCDigest") == tell(photo.path, "File:CurrentIPTCDigest") != ""


@pytest.mark.parametrize("newer", ["", "IPTC:Caption-Abstract=newer words in the legacy block"])
def test_a_legacy_block_that_counts_more_than_xmp_goes_on_doing_so(
    tmp_path: Path, store: MetadataStore, newer: str
) -> None:
    same = ("XMP-dc:Description=same", "IPTC:Caption-Abstract=same", "IPTCDigest=new")
    photo = draw(tmp_path / "photo.jpg", *same)
    if newer:
        stamp(photo.path, newer)  # as a program does that knows nothing of XMP and of the digest
    tag(store, photo_at(photo.path))
    in_step = tell(photo.path, "Photoshop:IPTCDigest") == tell(photo.path, "File:CurrentIPTCDigest")
    assert in_step is not bool(newer)
    assert tell(photo.path, "IPTC:Caption-Abstract") == (newer.partition("=")[2] or "same")
    assert tell(photo.path, "IPTC:Keywords") == "dog|beach|sea"


@pytest.mark.parametrize("letters", range(4))
def test_the_digest_of_a_tiffs_legacy_block_fits_however_long_the_block_is(
    tmp_path: Path, store: MetadataStore, letters: int
) -> None:
    photo = draw(tmp_path / "photo.tif", "IPTC:City=Café")
    tag(store, photo, annotation(caption="A dog." + "!" * letters))
    assert tell(photo.path, "Photoshop:IPTCDigest") == tell(photo.path, "File:CurrentIPTCDigest") != ""
    stamp(photo.path, "XMP-dc:Title=A person's")
    assert store.read(photo_at(photo.path)).title == "A person's"


def test_a_persons_keywords_in_the_legacy_block_are_not_respelt(tmp_path: Path, store: MetadataStore) -> None:
    theirs = ("IPTC:Keywords=Dog", "IPTC:Keywords=Rose", "IPTC:Keywords=ROSE")
    photo = draw(tmp_path / "photo.jpg", *theirs, "XMP-dc:Subject=rose")
    plan = store.plan(store.read(photo), annotation(), policy())
    store.apply(plan)
    assert tell(photo.path, "IPTC:Keywords") == "Dog|Rose|ROSE|beach|sea"
    assert tell(photo.path, "XMP-dc:Subject") == "rose|Dog|beach|sea"
    before = {write.tag: write.before for write in plan.writes}
    assert before["IPTC:Keywords"] == ("Dog", "Rose", "ROSE")


def test_a_persons_latin_caption_stays_in_the_legacy_block(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg", "IPTC:Caption-Abstract=Straßencafé", "IPTC:By-line=José")
    tag(store, photo)
    assert tell(photo.path, "IPTC:Caption-Abstract") == "Straßencafé"
    assert tell(photo.path, "IPTC:By-line") == "José"
    assert tell(photo.path, "XMP-dc:Description") == ""
    assert tell(photo.path, "IPTC:Keywords") == "dog|beach|sea"


def test_no_legacy_block_is_made_where_none_was(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    tag(store, photo)
    assert tell(photo.path, "IPTC:all") == ""
    assert tell(photo.path, "EXIF:ImageDescription") == ""


@pytest.mark.parametrize("text", INJECTIONS)
def test_hostile_words_are_stored_as_words(tmp_path: Path, store: MetadataStore, text: str) -> None:
    photo = draw(tmp_path / "photo.jpg")
    tag(store, photo, annotation(caption=text, description=text, keywords=(text,)))
    assert names(tmp_path) == ["photo.jpg"]
    assert store.read(photo_at(photo.path)).description == text
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    "name",
    [
        "-x.jpg",
        " x.jpg",
        "#[CSTR]x.jpg",
        "100%d.jpg",
        "日😀.jpg",
        "a|b`id`$(id).jpg",
        "*.jpg",
        "x" * 240 + ".jpg",
    ],
)
def test_hostile_file_names_are_only_names(tmp_path: Path, store: MetadataStore, name: str) -> None:
    photo = draw(tmp_path / "photo.jpg")
    folder = tmp_path / "50%off %d"
    folder.mkdir()
    photo.path.rename(folder / name)
    tag(store, photo_at(folder / name))
    assert names(folder) == [name]
    assert names(tmp_path) == ["50%off %d"]
    assert store.read(photo_at(folder / name)).title == annotation().caption


def test_a_file_name_that_is_not_utf8(tmp_path: Path, store: MetadataStore) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    draw(tmp_path / "photo.jpg").path.rename(path)
    tag(store, photo_at(path))
    assert store.read(photo_at(path)).title == annotation().caption


def test_a_plan_without_writes_touches_nothing(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    written = store.apply(planned(store.read(photo), ()))
    assert written.photo_fingerprint == photo.fingerprint == photo_at(photo.path).fingerprint
    raw = draw(tmp_path / "IMG.nef")
    assert store.apply(planned(store.read(raw), ())).photo_fingerprint == raw.fingerprint
    assert not (tmp_path / "IMG.xmp").exists()


def test_a_photo_that_changed_after_it_was_read_is_left_alone(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    plan = store.plan(store.read(photo), annotation(), policy())
    stamp(photo.path, "XMP-dc:Title=Meanwhile")
    content = photo.path.read_bytes()
    with pytest.raises(PhotoChanged):
        store.apply(plan)
    assert photo.path.read_bytes() == content
    photo.path.unlink()
    with pytest.raises(PhotoGone):
        store.apply(plan)
    assert names(tmp_path) == []


@pytest.mark.parametrize("beside", [False, True])
def test_a_raw_that_changed_after_it_was_read_gets_no_words_about_the_other_picture(
    tmp_path: Path, store: MetadataStore, beside: bool
) -> None:
    photo = draw(tmp_path / "IMG.nef")
    if beside:
        (tmp_path / "IMG.xmp").write_bytes(EMPTY)
    plan = store.plan(store.read(photo), annotation(), policy())
    stamp(photo.path, "EXIF:Artist=Meanwhile")
    with pytest.raises(PhotoChanged, match=r"IMG\.nef changed meanwhile"):
        store.apply(plan)
    assert names(tmp_path) == (["IMG.nef", "IMG.xmp"] if beside else ["IMG.nef"])
    assert not beside or (tmp_path / "IMG.xmp").read_bytes() == EMPTY


def test_a_sidecar_that_changes_while_it_is_read_is_not_written_over(tmp_path: Path, executable: str) -> None:
    photo = draw(tmp_path / "IMG.nef")
    sidecar = tmp_path / "IMG.xmp"
    sidecar.write_bytes(EMPTY)

    class InterruptedExifTool(ExifTool):
        """The real exiftool; a person writes into the sidecar right after it was shown."""

        def ask(self, *arguments: str | bytes) -> Answer:
            answer = super().ask(*arguments)
            if "-X" in arguments and os.fsencode(sidecar) in arguments and sidecar.read_bytes() == EMPTY:
                stamp(sidecar, "XMP-dc:Title=Mine")
            return answer

    exiftool = InterruptedExifTool(executable)
    store = MetadataStore(MetadataSettings(), exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
    with contextlib.closing(store):
        existing = store.read(photo)
        with pytest.raises(PhotoChanged):
            store.apply(store.plan(existing, annotation(), policy()))
    assert tell(sidecar, "XMP-dc:Title") == "Mine"


def test_a_sidecar_that_appeared_meanwhile_is_not_written_over(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef")
    plan = store.plan(store.read(photo), annotation(), policy())
    (tmp_path / "IMG.xmp").write_text("a person's")
    with pytest.raises(PhotoChanged, match="appeared meanwhile"):
        store.apply(plan)
    assert (tmp_path / "IMG.xmp").read_text() == "a person's"
    assert leftovers(tmp_path) == []


def test_a_new_sidecar_is_exclusive_where_hard_links_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "new").write_text("ours")
    publish_new(tmp_path / "new", tmp_path / "IMG.xmp")
    assert (tmp_path / "IMG.xmp").read_text() == "ours"
    (tmp_path / "new").write_text("ours again")
    with pytest.raises(PhotoChanged):
        publish_new(tmp_path / "new", tmp_path / "IMG.xmp")
    assert (tmp_path / "IMG.xmp").read_text() == "ours"


def test_an_existing_sidecar_keeps_what_it_holds(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef")
    sidecar = tmp_path / "IMG.xmp"
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-xmp:Rating=3", "XMP-crs:Exposure2012=+1.00", "XMP-dc:Subject=mine")
    tag(store, photo)
    assert tell(sidecar, "XMP-xmp:Rating") == "3"
    assert tell(sidecar, "XMP-crs:Exposure2012") == "+1.00"
    assert tell(sidecar, "XMP-dc:Subject") == "mine|dog|beach|sea"


def test_an_empty_sidecar_is_filled(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef")
    (tmp_path / "IMG.xmp").touch()
    tag(store, photo)
    assert store.read(photo).title == annotation().caption


def test_a_file_with_two_names_is_refused_unless_allowed(
    tmp_path: Path, store: MetadataStore, executable: str
) -> None:
    photo = draw(tmp_path / "photo.jpg")
    os.link(photo.path, tmp_path / "twin.jpg")
    content = photo.path.read_bytes()
    with pytest.raises(WriteRefused, match="2 names"):
        tag(store, photo)
    assert photo.path.read_bytes() == content
    with open_store(exiftool=executable, allow_hard_links=True) as allowing:
        tag(allowing, photo)
    assert (tmp_path / "twin.jpg").read_bytes() == content


def test_a_symbolic_link_is_followed_and_stays_one(tmp_path: Path, store: MetadataStore) -> None:
    (tmp_path / "real").mkdir()
    real = draw(tmp_path / "real" / "photo.jpg")
    link = tmp_path / "link.jpg"
    link.symlink_to(real.path)
    tag(store, photo_at(link))
    assert link.is_symlink()
    assert store.read(photo_at(real.path)).title == annotation().caption


def test_mode_and_attributes_are_kept_and_the_date_moves(
    tmp_path: Path, store: MetadataStore, executable: str
) -> None:
    photo = draw(tmp_path / "photo.jpg")
    photo.path.chmod(0o640)
    os.utime(photo.path, ns=(1, 1_000_000_000_000_000_000))
    os.setxattr(photo.path, "user.tag", b"red")
    tag(store, photo_at(photo.path))
    status = photo.path.stat()
    assert status.st_mode & 0o777 == 0o640
    assert os.getxattr(photo.path, "user.tag") == b"red"
    assert status.st_mtime_ns > 1_000_000_000_000_000_000
    with open_store(exiftool=executable, preserve_mtime=True) as preserving:
        other = draw(tmp_path / "other.jpg")
        os.utime(other.path, ns=(1, 1_000_000_000_000_000_000))
        tag(preserving, photo_at(other.path))
        assert other.path.stat().st_mtime_ns == 1_000_000_000_000_000_000


def test_a_write_protected_file_is_refused(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    photo.path.chmod(0o444)
    with pytest.raises(WriteRefused, match="write-protected"):
        tag(store, photo_at(photo.path))


def test_a_file_that_exiftool_cannot_write_is_refused_with_its_reason(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo = draw(tmp_path / "really a png.png")
    path = photo.path.rename(tmp_path / "says.jpg")
    content = path.read_bytes()
    with pytest.raises(WriteRefused, match=r"says\.jpg could not be written: Not a valid JPG"):
        tag(store, photo_at(path))
    assert path.read_bytes() == content
    assert names(tmp_path) == ["says.jpg"]


def test_a_copy_that_is_not_as_planned_is_dropped(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-dc:Title=Mine", "XMP-dc:Title-de=Meins")
    content = photo.path.read_bytes()
    whole_field = TagWrite(tag="XMP-dc:Title", value="Ours")  # would delete the other languages
    with pytest.raises(VerificationFailed, match="XMP-dc:Title-de changed"):
        store.apply(planned(store.read(photo), (whole_field,)))
    assert photo.path.read_bytes() == content
    assert names(tmp_path) == ["photo.jpg"]


def test_a_tag_unknown_to_exiftool_is_not_taken_for_written(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "photo.jpg")
    writes = (TagWrite(tag="XMP-dc:Titel", value="Ours"), TagWrite(tag="XMP-dc:Source", value="x"))
    with pytest.raises(VerificationFailed, match="XMP-dc:Titel was not written"):
        store.apply(planned(store.read(photo), writes))


def planned(existing: Existing, writes: tuple[TagWrite, ...]) -> WritePlan:
    """A plan as no planner of ours would make it."""
    return WritePlan(existing=existing, result=existing, writes=writes)


class FailingExifTool(ExifTool):
    """The real exiftool, told to send itself a signal at its first write."""

    signal = "KILL"

    def ask(self, *arguments: str | bytes) -> Answer:
        suicide = (
            ("-if", f"require POSIX; kill '{self.signal}', POSIX::getpid()") if "-o" in arguments else ()
        )
        return super().ask(*suicide, *arguments)


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_when_exiftool_dies_or_hangs_the_file_is_as_it_was(
    tmp_path: Path, executable: str, signal: str
) -> None:
    photo = draw(tmp_path / "photo.jpg")
    content = photo.path.read_bytes()
    exiftool = FailingExifTool(executable, timeout_seconds=3)
    exiftool.signal = signal
    store = MetadataStore(MetadataSettings(), exiftool=exiftool, tool_version="0.1", now=lambda: NOON)
    with contextlib.closing(store):
        with pytest.raises(ExiftoolDied):
            tag(store, photo)
        assert store.read(photo).title is None
    assert photo.path.read_bytes() == content
    assert names(tmp_path) == ["photo.jpg"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of its own, two megabytes large."""
    with mounted(tmp_path / "disk", "2m") as folder:
        yield folder


def test_a_full_disk_pauses_the_folder(small_disk: Path, store: MetadataStore) -> None:
    photo = draw(small_disk / "photo.jpg")
    (small_disk / "filler").write_bytes(bytes(1_500_000))
    content = photo.path.read_bytes()
    with pytest.raises(FolderUnavailable, match="disk is full"):
        tag(store, photo)
    assert photo.path.read_bytes() == content
    assert leftovers(small_disk) == []


def test_a_read_only_disk_pauses_the_folder(small_disk: Path, store: MetadataStore) -> None:
    photo = draw(small_disk / "photo.jpg")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(FolderUnavailable, match="read-only"):
        tag(store, photo)


def test_copies_of_interrupted_writes_are_swept_and_nothing_else(tmp_path: Path) -> None:
    ours = tmp_path / "below" / ".IMG.jpg.tagger-0123456789ab.jpg"
    ours.parent.mkdir()
    for path in (ours, tmp_path / "IMG.jpg", tmp_path / ".IMG.tagger-notes.jpg"):
        path.write_text("x")
    in_hand = ours.stat().st_ctime  # as one that another process is making
    assert sweep(tmp_path, recursive=True, before=in_hand) == ()
    assert sweep(tmp_path, recursive=False, before=in_hand + 1) == ()
    assert sweep(tmp_path, recursive=True, before=in_hand + 1) == (ours,)
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == [".IMG.tagger-notes.jpg", "IMG.jpg"]


@pytest.mark.parametrize("name", ["IMG.jpg", f"{'x' * 60}1.jpg", "100%1.jpg"])
def test_the_copies_of_one_file_are_told_from_those_of_all_others(tmp_path: Path, name: str) -> None:
    target, other = tmp_path / name, tmp_path / name.replace(".", "2.")
    with temporary_copy(target) as copy, temporary_copy(other) as others:
        copy.touch()
        others.touch()
        assert sweep_beside(target) == (copy,)
        assert list(tmp_path.iterdir()) == [others]
