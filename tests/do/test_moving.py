"""A set of files goes to another folder in order, whole, over nothing, and from wherever it was cut off."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.disks import IN_DELETE, Doorman, bound, mounted, remount
from support.metadata_files import draw, stamp
from tagger_daemon.errors import FolderUnavailable, HandOffBlocked
from tagger_daemon.metadata import moving
from tagger_daemon.metadata.moving import bring_back, carry, check_move
from tagger_daemon.metadata.sidecar import owner
from tagger_daemon.model import Move

NAMES = ("IMG.xmp", "IMG.NEF", "IMG.JPG")
CONTENT = {name: os.urandom(2 * moving.BLOCK + 17) for name in NAMES}


@pytest.fixture
def near(tmp_path: Path) -> Move:
    """Give a raw with sidecar and JPEG, and a folder on the same disk to move them to."""
    move = Move(source=tmp_path / "inbox", target=tmp_path / "after", names=NAMES)
    move.source.mkdir()
    move.target.mkdir()
    for name, content in CONTENT.items():
        (move.source / name).write_bytes(content)
    return move


@pytest.fixture
def far(near: Move) -> Iterator[Move]:
    """Give the same, and a folder on another disk."""
    with mounted(near.target, megabytes=16):
        yield near


@pytest.fixture
def sandboxed(near: Move) -> Iterator[Move]:
    """Give the same, and a folder on the same disk that is another mount."""
    with bound(near.target):
        yield near


@pytest.fixture(params=["near", "far", "sandboxed"])
def move(request: pytest.FixtureRequest) -> Move:
    """Give each of them."""
    move: Move = request.getfixturevalue(request.param)
    return move


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", megabytes=16) as disk:
        yield disk


def never() -> bool:
    return False


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_sidecars_arrive_first_and_the_jpeg_last_each_of_them_whole(move: Move) -> None:
    doorman = Doorman(move.target)
    check_move(move)
    carry(move, stopping=never)
    assert doorman.seen() == list(NAMES)
    doorman.close()
    assert contents(move.target) == CONTENT
    assert contents(move.source) == {}


def test_mode_date_and_extended_attributes_come_along(move: Move) -> None:
    raw = move.source / "IMG.NEF"
    raw.chmod(0o640)
    os.utime(raw, ns=(1_700_000_000_000_000_000, 1_600_000_000_123_456_789))
    os.setxattr(raw, "user.note", b"mine")
    try:
        os.setxattr(move.target, "user.probe", b"x")
    except OSError:
        pytest.skip("the other disk keeps no extended attributes")
    before = raw.stat()
    carry(move, stopping=never)
    after = (move.target / "IMG.NEF").stat()
    for kept in ("st_mode", "st_mtime_ns", "st_uid", "st_gid"):
        assert getattr(after, kept) == getattr(before, kept), kept
    assert os.getxattr(move.target / "IMG.NEF", "user.note") == b"mine"


@pytest.mark.parametrize("taken", NAMES)
def test_nothing_goes_where_one_of_the_names_is_taken(move: Move, taken: str) -> None:
    (move.target / taken).write_bytes(b"another photo")
    with pytest.raises(HandOffBlocked, match=rf"has a file named {taken} already"):
        check_move(move)
    assert contents(move.source) == CONTENT
    assert contents(move.target) == {taken: b"another photo"}


@pytest.mark.parametrize("taken", NAMES)
def test_a_name_that_is_taken_after_the_look_is_not_written_over(move: Move, taken: str) -> None:
    check_move(move)
    (move.target / taken).write_bytes(b"another photo")
    with pytest.raises(HandOffBlocked, match=rf"has a file named {taken} already"):
        carry(move, stopping=never)
    # A picture that has arrived is not taken back: Lightroom may have it already.
    arrived = taken == "IMG.JPG" and not (move.source / "IMG.NEF").exists()
    assert bring_back(move) is not arrived
    if not arrived:
        assert contents(move.source) == CONTENT
        assert contents(move.target) == {taken: b"another photo"}
    (move.target / taken).unlink()
    carry(move, stopping=never)
    assert contents(move.target) == CONTENT
    assert contents(move.source) == {}


def go(move: Move, name: str) -> None:
    """Do as a move that has been through with this name."""
    copy(move, name)
    (move.source / name).unlink()


def copy(move: Move, name: str) -> None:
    (move.target / name).write_bytes(CONTENT[name])


def link(move: Move, name: str) -> None:
    os.link(move.source / name, move.target / name)


def tear(move: Move, name: str) -> None:
    moving._temp(move, name).write_bytes(CONTENT[name][:1000])


Step = tuple[Callable[[Move, str], None], str]
CUT_OFF: list[list[Step]] = [
    [],
    [(go, "IMG.xmp")],
    [(go, "IMG.xmp"), (go, "IMG.NEF")],
    [(go, "IMG.xmp"), (go, "IMG.NEF"), (go, "IMG.JPG")],
    [(tear, "IMG.xmp")],
    [(copy, "IMG.xmp"), (tear, "IMG.NEF"), (tear, "IMG.JPG")],
    [(copy, "IMG.xmp"), (copy, "IMG.NEF"), (copy, "IMG.JPG")],
    [(copy, "IMG.xmp"), (copy, "IMG.NEF"), (go, "IMG.JPG")],
    [(copy, "IMG.xmp"), (go, "IMG.NEF"), (go, "IMG.JPG")],
]
LINKED: list[list[Step]] = [
    [(link, "IMG.xmp")],
    [(go, "IMG.xmp"), (link, "IMG.NEF")],
    [(go, "IMG.xmp"), (go, "IMG.NEF"), (link, "IMG.JPG")],
]


def words(steps: list[Step]) -> str:
    return ", ".join(f"{act.__name__} {name[4:]}" for act, name in steps) or "nothing"


CASES = [("near", steps) for steps in (*CUT_OFF, *LINKED)] + [("far", steps) for steps in CUT_OFF]
each_case = pytest.mark.parametrize(
    ("move", "steps"), CASES, ids=[f"{where}: {words(steps)}" for where, steps in CASES], indirect=["move"]
)


@each_case
def test_a_move_goes_on_from_wherever_it_was_cut_off(move: Move, steps: list[Step]) -> None:
    for act, name in steps:
        act(move, name)
    carry(move, stopping=never)
    assert contents(move.target) == CONTENT
    assert contents(move.source) == {}


@each_case
def test_a_move_that_was_cut_off_is_undone_unless_a_picture_has_gone(move: Move, steps: list[Step]) -> None:
    for act, name in steps:
        act(move, name)
    gone = {name for act, name in steps if act is go}
    if gone - {"IMG.xmp"}:
        assert bring_back(move) is False
        assert contents(move.source) | contents(move.target) == CONTENT
    else:
        assert bring_back(move) is True
        assert contents(move.source) == CONTENT
        assert contents(move.target) == {}


def test_a_source_goes_only_if_it_is_equal_to_the_last_byte(move: Move) -> None:
    last = CONTENT["IMG.NEF"][:-1] + bytes([CONTENT["IMG.NEF"][-1] ^ 1])
    (move.target / "IMG.NEF").write_bytes(last)
    with pytest.raises(HandOffBlocked, match="already"):
        carry(move, stopping=never)
    assert bring_back(move) is True
    assert contents(move.source) == CONTENT
    assert contents(move.target) == {"IMG.NEF": last}


class OldLibrary:
    """A C library that does not know renameat2."""


@pytest.mark.parametrize("links", [True, False])
def test_file_systems_that_know_less_lose_nothing_either(
    move: Move, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(source: Path, target: Path) -> None:
        if source.parent.stat().st_dev != target.parent.stat().st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # as FAT answers

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: OldLibrary())
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    (move.target / "IMG.JPG").write_bytes(b"another photo")
    with pytest.raises(HandOffBlocked, match="already"):
        carry(move, stopping=never)
    assert (move.target / "IMG.JPG").read_bytes() == b"another photo"
    (move.target / "IMG.JPG").unlink()
    carry(move, stopping=never)
    assert contents(move.target) == CONTENT
    assert contents(move.source) == {}


def test_a_full_destination_gets_nothing_and_the_source_keeps_everything(far: Move) -> None:
    free = os.statvfs(far.target)
    filler = far.target / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 5 * moving.BLOCK))
    with pytest.raises(FolderUnavailable, match="disk is full"):
        carry(far, stopping=never)
    assert contents(far.source) == CONTENT
    assert [path.name for path in far.target.iterdir()] == ["filler"]


def test_what_has_gone_altogether_is_not_looked_for(near: Move) -> None:
    for folder in (near.source, near.target):
        shutil.rmtree(folder)
    carry(near, stopping=never)


def test_a_destination_that_is_missing_or_read_only_is_told_as_such(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "IMG.JPG").write_bytes(b"x")
    move = Move(source=tmp_path, target=disk / "none", names=("IMG.JPG",))
    for act in (check_move, bring_back):
        with pytest.raises(FolderUnavailable, match="is its disk mounted"):
            act(move)
    remount(disk, "ro")
    for act in (check_move, bring_back):
        with pytest.raises(FolderUnavailable, match="read-only"):
            act(move.evolve(target=disk))
    with pytest.raises(FolderUnavailable, match="read-only"):
        carry(move.evolve(target=disk), stopping=never)


def test_what_cannot_be_taken_out_of_its_folder_is_not_the_destinations_fault(
    disk: Path, tmp_path: Path
) -> None:
    (disk / "IMG.JPG").write_bytes(b"x")
    remount(disk, "ro")
    with pytest.raises(HandOffBlocked, match="read-only"):
        check_move(Move(source=disk, target=tmp_path, names=("IMG.JPG",)))


def test_a_link_is_not_moved_away_from_what_it_leads_to(move: Move) -> None:
    (move.source / "IMG.JPG").rename(move.source / "real")
    (move.source / "IMG.JPG").symlink_to("real")
    with pytest.raises(HandOffBlocked, match="is a link"):
        check_move(move)


def test_a_file_that_changes_while_it_is_copied_is_not_moved(disk: Path, tmp_path: Path) -> None:
    photo = tmp_path / "IMG.JPG"
    photo.write_bytes(CONTENT["IMG.JPG"])
    move = Move(source=tmp_path, target=disk, names=("IMG.JPG",))

    def meddle() -> bool:
        with photo.open("r+b") as file:
            file.write(b"changed")
        return False

    with pytest.raises(HandOffBlocked):
        carry(move, stopping=meddle)
    assert photo.read_bytes().startswith(b"changed")
    assert contents(disk) == {}


def test_a_file_that_changes_after_it_was_copied_is_not_moved_either(far: Move) -> None:
    def meddle() -> bool:
        if moving._temp(far, "IMG.JPG").exists():
            (far.source / "IMG.xmp").write_bytes(b"a person's new words")
        return False

    with pytest.raises(HandOffBlocked, match="changed while it was copied"):
        carry(far, stopping=meddle)
    assert contents(far.target) == {}
    assert contents(far.source) == {**CONTENT, "IMG.xmp": b"a person's new words"}


def test_a_source_that_changes_after_it_was_compared_stays(move: Move) -> None:
    for name in NAMES:
        copy(move, name)
    blocks = 0

    def meddle() -> bool:
        nonlocal blocks
        blocks += 1
        if blocks == 4:  # the sidecar has three
            (move.source / "IMG.xmp").write_bytes(b"a person's new words")
        return False

    with pytest.raises(HandOffBlocked, match="both are kept"):
        carry(move, stopping=meddle)
    assert (move.source / "IMG.xmp").read_bytes() == b"a person's new words"


def test_a_copy_that_the_disk_did_not_keep_right_is_found_out(far: Move) -> None:
    def spoil() -> bool:
        temp = moving._temp(far, "IMG.NEF")
        if temp.exists() and temp.stat().st_size == len(CONTENT["IMG.NEF"]):
            temp.write_bytes(CONTENT["IMG.NEF"][:-1] + b"?")
        return False

    with pytest.raises(HandOffBlocked, match="is not the same"):
        carry(far, stopping=spoil)
    assert contents(far.target) == {}
    assert contents(far.source) == CONTENT


def test_of_what_was_copied_the_picture_is_removed_first_and_its_sidecar_last(far: Move) -> None:
    doorman = Doorman(far.source, IN_DELETE)
    carry(far, stopping=never)
    assert doorman.seen() == list(reversed(NAMES))
    doorman.close()


def test_a_long_copy_is_left_off_when_the_service_ends(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "IMG.JPG").write_bytes(CONTENT["IMG.JPG"])
    with pytest.raises(HandOffBlocked, match="the service ends"):
        carry(Move(source=tmp_path, target=disk, names=("IMG.JPG",)), stopping=lambda: True)
    assert contents(disk) == {}
    assert (tmp_path / "IMG.JPG").exists()


def test_folders_are_made_below_a_destination_that_is_there_and_the_destination_is_not(
    disk: Path, tmp_path: Path
) -> None:
    moving.make_folder(disk, disk / "2026" / "05")
    moving.make_folder(disk, disk / "2026" / "05")
    assert (disk / "2026" / "05").is_dir()
    (disk / "file").write_bytes(b"x")
    with pytest.raises(HandOffBlocked):
        moving.make_folder(disk, disk / "file" / "05")
    with pytest.raises(FolderUnavailable, match="not there"):
        moving.make_folder(tmp_path / "none", tmp_path / "none" / "2026")
    assert not (tmp_path / "none").exists()


def test_a_mounted_disk_is_told_from_its_bare_mount_point(disk: Path, tmp_path: Path) -> None:
    (disk / "in").mkdir()
    (tmp_path / "link").symlink_to(disk / "in")
    assert moving.mount_of(tmp_path / "link") == moving.mount_of(disk) == disk
    assert moving.mount_of(tmp_path) in tmp_path.parents


def test_a_sidecar_says_whose_it_is_as_lightroom_and_as_exiftool_write_it(tmp_path: Path) -> None:
    draw(tmp_path / "IMG.jpg")
    stamp(tmp_path / "IMG.xmp", "XMP-photoshop:SidecarForExtension=CR3", "XMP-dc:Title=x")
    stamp(tmp_path / "plain.xmp", "XMP-dc:Title=x")
    names = [path.name for path in tmp_path.iterdir()]
    assert moving.sidecar_owners(tmp_path, names) == {"IMG.xmp": "CR3"}
    lightroom = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
      xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
      xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:SidecarForExtension="NEF"/>
      </rdf:RDF></x:xmpmeta>"""
    assert owner(lightroom.encode()) == "NEF"
    assert owner(b"<torn") is None
