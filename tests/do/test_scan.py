"""Reading real folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.unprivileged import run_unprivileged
from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.scan import identity, scan
from tagger_daemon.intake.settle import Look
from tagger_daemon.settings import FolderSettings

#: Prints what is reported and the names that are found, for scans that need a process of their own.
SCANNER = """
import pathlib, sys
from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.scan import scan
from tagger_daemon.settings import FolderSettings

folder = FolderSettings(path=pathlib.Path(sys.argv[1]))
try:
    print([path.name for path, _ in scan(folder, Eligibility(), report=print)])
except FolderUnavailable as error:
    print(error)
"""


def write(path: Path, content: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def scanned(
    folder: Path, *, recursive: bool = True, below: Path | None = None, problems: list[str] | None = None
) -> dict[Path, Look]:
    """Scan with the default rules; problems are not expected unless they are asked for."""
    heard: list[str] = []
    settings = FolderSettings(path=folder, recursive=recursive)
    found = list(scan(settings, Eligibility(), report=heard.append, below=below))
    if problems is None:
        assert heard == []
    else:
        problems.extend(heard)
    assert len(dict(found)) == len(found), "a photo was named twice"
    return dict(found)


def test_every_photo_is_found_with_what_it_looks_like(tmp_path: Path) -> None:
    top = write(tmp_path / "a.jpg")
    deep = write(tmp_path / "2026" / "07" / "B.NEF", b"raw")
    write(tmp_path / "2026" / "notes.txt")
    found = scanned(tmp_path)
    assert found.keys() == {top, deep}
    assert found[deep] == Look.of(deep.stat())
    assert found[deep].fingerprint.size == 3


def test_hidden_ignored_and_empty_things_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / ".hidden.jpg")
    write(tmp_path / "copying.jpg.part")
    write(tmp_path / "empty.jpg", b"")
    for folder in ("@eaDir", ".stversions", "Catalog Previews.lrdata"):
        write(tmp_path / folder / "deep" / "thumb.jpg")
    assert scanned(tmp_path) == {}


def test_a_folder_named_like_a_photo_is_a_folder(tmp_path: Path) -> None:
    inside = write(tmp_path / "album.jpg" / "a.jpg")
    assert scanned(tmp_path).keys() == {inside}


def test_without_recursion_only_the_folder_itself_is_read(tmp_path: Path) -> None:
    top = write(tmp_path / "a.jpg")
    write(tmp_path / "sub" / "b.jpg")
    assert scanned(tmp_path, recursive=False).keys() == {top}


def test_one_folder_below_can_be_read_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    wanted = write(tmp_path / "sub" / "deeper" / "b.jpg")
    assert scanned(tmp_path, below=tmp_path / "sub").keys() == {wanted}


def test_a_folder_below_that_is_gone_has_no_photos(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    assert scanned(tmp_path, below=tmp_path / "moved away") == {}


def test_names_that_are_not_utf8_and_names_with_line_breaks_lead_back_to_their_files(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", b"line\nbreak.jpg", b"-rf {} %s.jpg", "日本.heic".encode()]
    for name in names:
        write(tmp_path / os.fsdecode(name))
    found = scanned(tmp_path)
    assert sorted(os.fsencode(path.name) for path in found) == sorted(names)
    assert all(path.read_bytes() == b"picture" for path in found)


def test_links_to_files_are_taken_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "real.jpg")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "link.jpg").symlink_to(outside)
    (inbox / "loop").symlink_to(inbox)
    (inbox / "folder.jpg").symlink_to(outside.parent)
    (inbox / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    found = scanned(inbox)
    assert found.keys() == {inbox / "link.jpg"}
    assert found[inbox / "link.jpg"] == Look.of(outside.stat())


def test_pipes_and_sockets_are_no_photos_and_do_not_hold_the_scan_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert scanned(tmp_path) == {}


def test_a_watch_folder_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "disk" / "a.jpg")
    (tmp_path / "inbox").symlink_to(tmp_path / "disk")
    assert scanned(tmp_path / "inbox").keys() == {tmp_path / "inbox" / "a.jpg"}


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_watch_folder_that_is_not_there_is_unavailable_and_not_empty(tmp_path: Path, name: str) -> None:
    write(tmp_path / "file")
    with pytest.raises(FolderUnavailable, match="cannot be read"):
        scanned(tmp_path / name)


def test_a_watch_folder_swapped_during_the_scan_is_unavailable(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    write(inbox / "a.jpg")
    write(inbox / "sub" / "b.jpg")
    running = scan(FolderSettings(path=inbox), Eligibility(), report=pytest.fail)
    next(running)
    inbox.rename(tmp_path / "elsewhere")
    inbox.mkdir()
    with pytest.raises(FolderUnavailable, match="replaced"):
        list(running)


def test_the_scan_streams_and_can_be_left_early(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number}.jpg")
    running: Iterator[tuple[Path, Look]] = scan(
        FolderSettings(path=tmp_path), Eligibility(), report=pytest.fail
    )
    first, _ = next(running)
    first.unlink()
    assert len(list(running)) == 19


def test_a_folder_that_may_not_be_read_is_told_of_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "open" / "a.jpg")
    write(tmp_path / "locked" / "b.jpg").parent.chmod(0)
    told = run_unprivileged(SCANNER, str(tmp_path))
    assert "locked' could not be read, its photos wait until it can: permission denied" in told
    assert "['a.jpg']" in told


def test_a_watch_folder_that_may_not_be_read_is_unavailable(tmp_path: Path) -> None:
    write(tmp_path / "inbox" / "a.jpg").parent.chmod(0)
    told = run_unprivileged(SCANNER, str(tmp_path / "inbox"))
    assert "cannot be read: permission denied" in told


def test_another_file_system_inside_is_told_of_and_not_entered(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is missing")
    setup = "mount -t tmpfs none $1/mounted && echo x > $1/mounted/b.jpg"
    write(tmp_path / "a.jpg")
    (tmp_path / "mounted").mkdir()
    command = [unshare, "-rm", "sh", "-c", f'{setup} || exit 77; exec "$2" -c "$3" "$1"', "sh"]
    command += [str(tmp_path), sys.executable, SCANNER]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 77 or result.stderr.startswith("unshare:"):
        pytest.skip(f"no private mounts here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    assert "mounted' is another file system: make it a watch folder of its own" in result.stdout
    assert "['a.jpg']" in result.stdout


def test_identity_tells_a_folder_from_its_replacement(tmp_path: Path) -> None:
    folder = FolderSettings(path=tmp_path / "inbox")
    folder.path.mkdir()
    before = identity(folder)
    assert identity(folder) == before
    folder.path.rename(tmp_path / "old")
    folder.path.mkdir()
    assert identity(folder) != before
