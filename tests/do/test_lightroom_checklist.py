"""The checklist's photos are what its page says that they are, and nothing of a person's is in their way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image
from psd_tools import PSDImage

import lightroom_checklist
from lightroom_checklist import CHECKLIST, PAGE, SAVED, SIDECAR, checklist_text, main
from support.metadata_files import packet_of
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.canonical import parse_packet

ITEMS = "abcdefghijk"
OLD_DATE = "2024:05:01 12:00:00+02:00"
ELSEWHERE = {"A1.CR3", "C1.xmp"}  # a raw of the reader's own; what Lightroom may make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("desk") / "checklist"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightroom_checklist, "SIZE", 240)
        assert main([str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, dict[str, Any]]:
    """What exiftool says about each file of the set, by its name below the folder."""
    command = ["exiftool", "-r", "-j", "-G1", "-struct", "-n", str(folder)]
    files = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {str(Path(tags["SourceFile"]).relative_to(folder)): tags for tags in files}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def titles(told: dict[str, dict[str, Any]], *files: str) -> list[str | None]:
    return [told[file].get("XMP-dc:Title") for file in files]


def meaning(packet: bytes) -> dict[Any, Any]:
    """Return what a packet says, but for the fields that the daemon writes."""
    ours = fields.XMP_NAMES.values()
    return {name: node for name, node in parse_packet(packet).items() if name not in ours}


def test_the_page_beside_the_photos_is_that_of_the_documents(folder: Path) -> None:
    text = (folder / CHECKLIST).read_text(encoding="utf-8")
    assert text == checklist_text()
    assert text.startswith("# The checklist\n")
    assert PAGE.read_text(encoding="utf-8").endswith("\n#" + text.replace("\n#", "\n##"))
    assert re.findall(r"^## (\w)\. ", text, flags=re.MULTILINE) == list(ITEMS)
    steps = re.split(r"^## \w\. .*$", text, flags=re.MULTILINE)[1:]
    assert all("[ ]" in step or "____" in step for step in steps)


def test_every_photo_is_on_the_page_and_every_one_on_the_page_is_there(folder: Path) -> None:
    quoted = set(re.findall(r"`([^`\s]+\.\w+)`", checklist_text()))
    made = names(folder) - {CHECKLIST}
    by_name = {Path(name).name for name in made}
    assert {name for name in quoted if name[:2] in {"1-", "2-", "3-", "4-"}} <= made
    assert {name for name in quoted if re.fullmatch(r"[A-Z]\d\..*", name)} <= by_name | ELSEWHERE
    assert {name for name in made if name not in quoted and Path(name).name not in quoted} == set()


def test_the_files_are_of_the_kinds_that_their_names_tell(told: dict[str, dict[str, Any]]) -> None:
    kinds = {".JPG": "JPEG", ".TIF": "TIFF", ".xmp": "XMP", ".WEBP": "Extended WEBP"}
    for name, tags in told.items():
        if name != CHECKLIST:
            suffix = Path(name).suffix
            assert tags["File:FileType"] == kinds.get(suffix, suffix[1:]), name
            assert "ExifTool:Warning" not in tags, name


def test_the_newer_formats_open_and_hold_their_words(folder: Path, told: dict[str, dict[str, Any]]) -> None:
    place = folder / "1-import" / "c"
    pillow_heif.register_heif_opener()
    for name in ("C1.HEIC", "C2.HEIC", "C3.HEIC", "C4.AVIF", "C6.PNG", "C8.WEBP"):
        with Image.open(place / name) as image:
            image.load()
            assert image.size == (240, 160)
    assert PSDImage.open(place / "C7.PSB").size == (240, 160)
    inside = ("C1.HEIC", "C4.AVIF", "C5.JXL", "C6.PNG", "C7.PSB", "C8.WEBP")
    for name in (*inside, "C2.xmp", "C3.HEIC.xmp"):
        tags = told[f"1-import/c/{name}"]
        assert tags["XMP-dc:Title"] == f"{name[:2]}: the title"
        assert tags["XMP-dc:Subject"] == [f"keyword of {name[:2]}"]
        assert "XMP-tagger:SchemaVersion" in tags
        assert ("XMP-photoshop:SidecarForExtension" in tags) is name.endswith(".xmp")
    assert titles(told, "1-import/c/C2.HEIC", "1-import/c/C3.HEIC") == [None, None]


def test_item_a_differs_in_the_dates_alone(folder: Path, told: dict[str, dict[str, Any]]) -> None:
    first, later = folder / "1-import" / "a", folder / "2-later" / "a"
    assert names(later) == {"A1.xmp", "A2.xmp", "A3.xmp"}
    old = SAVED.timestamp()
    assert [path.stat().st_mtime for path in sorted(first.glob("*.xmp"))] == [old, old, old]
    assert [path.stat().st_mtime == old for path in sorted(later.glob("*.xmp"))] == [False, False, True]
    dates = [told[f"2-later/a/{code}.xmp"]["XMP-xmp:MetadataDate"] for code in ("A1", "A2", "A3")]
    assert [date == OLD_DATE for date in dates] == [False, True, False]
    for code in ("A1", "A2", "A3"):
        assert (first / f"{code}.xmp").read_bytes() == SIDECAR
        assert meaning((later / f"{code}.xmp").read_bytes()) == meaning(SIDECAR)
        assert told[f"2-later/a/{code}.xmp"]["XMP-dc:Title"] == f"{code}: the title"


def test_item_b_says_two_things(folder: Path, told: dict[str, dict[str, Any]]) -> None:
    files = ("B1.DNG", "B1.xmp", "B2.DNG", "B2.DNG.xmp")
    found = titles(told, *(f"1-import/b/{name}" for name in files))
    assert found == ["B1: inside", "B1: beside", "B2: inside", "B2: beside"]
    place = folder / "1-import" / "b"
    assert (place / "B1.xmp").stat().st_mtime > (place / "B1.DNG").stat().st_mtime
    assert told["1-import/b/B1.xmp"]["XMP-xmp:MetadataDate"] > OLD_DATE


def test_items_d_and_e_are_flat_sets_and_pairs(folder: Path, told: dict[str, dict[str, Any]]) -> None:
    auto = ("D1.NEF", "D1.xmp", "D2.JPG", "D3.JPG", "D3.NEF", "D3.xmp", "D4.HEIC")
    assert sorted(names(folder / "3-auto-import")) == list(auto)
    spoken = ("D1.xmp", "D2.JPG", "D3.JPG", "D3.xmp", "D4.HEIC")
    found = titles(told, *(f"3-auto-import/{name}" for name in spoken))
    assert found == [f"{name[:2]}: the title" for name in spoken]
    for place, code in (("1-import/e", "E1"), ("4-separate/e", "E2")):
        assert names(folder / place) == {f"{code}.JPG", f"{code}.NEF", f"{code}.xmp"}
        assert titles(told, f"{place}/{code}.JPG", f"{place}/{code}.xmp") == [f"{code}: the title"] * 2
        assert told[f"{place}/{code}.xmp"]["XMP-photoshop:SidecarForExtension"] == "NEF"


def test_item_f_holds_what_lightroom_does_not_know(folder: Path) -> None:
    place = folder / "1-import" / "f"
    for packet in ((place / "F1.xmp").read_bytes(), packet_of(place / "F2.JPG")):
        assert b"http://ns.tagger-daemon/1.0/" in packet
        assert b"http://example.org/checklist/1.0/" in packet


def test_items_g_and_h_hold_the_keywords_that_the_page_says(told: dict[str, dict[str, Any]]) -> None:
    paths = [told[f"1-import/g/G{n}.JPG"].get("XMP-lr:HierarchicalSubject") for n in (1, 2, 3)]
    assert paths == [
        None,
        ["AI|checklist dog", "AI|checklist beach"],
        ["checklist animals|checklist dog", "checklist beach"],
    ]
    for number in (1, 2, 3):
        assert told[f"1-import/g/G{number}.JPG"]["XMP-dc:Subject"] == ["checklist dog", "checklist beach"]
    theirs = ["checklist Smith, Anna", "checklist black/white", "checklist a;b"]
    assert told["1-import/h/H1.JPG"]["XMP-dc:Subject"] == [*theirs, "keyword of H1"]


def test_items_i_and_j_hold_the_texts_that_the_page_says(told: dict[str, dict[str, Any]]) -> None:
    tags = told["1-import/i/I1.JPG"]
    assert tags["XMP-iptcCore:AltTextAccessibility"] == "I1: the title"
    assert tags["XMP-iptcCore:ExtDescrAccessibility"] == "I1: the caption."
    lines = told["1-import/j/J1.JPG"]["XMP-dc:Description"].splitlines()
    assert lines == ["J1: line one.", "J1: line two.", "", "J1: line four."]


def test_item_k_says_the_same_in_other_words(folder: Path) -> None:
    before, after = ((folder / "1-import" / "k" / f"K{n}.xmp").read_bytes() for n in (1, 2))
    assert b'crs:Exposure2012="+0.50"' in before
    assert b"<crs:Exposure2012>+0.50</crs:Exposure2012>" in after
    assert b"Mask/Gradient" in after
    assert meaning(before) == meaning(after)


def test_it_is_made_again_around_what_a_person_put_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightroom_checklist, "SIZE", 240)
    again = tmp_path / "checklist"
    shutil.copytree(folder, again)
    ticked = checklist_text().replace("[ ]", "[x]", 1)
    (again / CHECKLIST).write_text(ticked, encoding="utf-8")
    (again / "1-import" / "notes.txt").write_text("mine")
    (again / "1-import" / "a" / "A1.xmp").write_text("what Lightroom made of it")
    raw = tmp_path / "IMG_1.cr2"
    shutil.copyfile(folder / "1-import" / "a" / "A1.NEF", raw)
    raw.with_suffix(".xmp").write_bytes(SIDECAR.replace(b"+0.50", b"+0.75"))
    before = {path: path.read_bytes() for path in (raw, raw.with_suffix(".xmp"))}

    assert main([str(again), "--raw", str(raw)]) == 0

    assert (again / CHECKLIST).read_text(encoding="utf-8") == ticked
    assert (again / "1-import" / "notes.txt").read_text() == "mine"
    assert (again / "1-import" / "a" / "A1.xmp").read_bytes() == SIDECAR
    assert names(again) == {name.replace(".NEF", ".cr2") for name in names(folder)} | {"1-import/notes.txt"}
    assert (again / "1-import" / "k" / "K1.cr2").read_bytes() == before[raw]
    assert b"<crs:Exposure2012>+0.75<" in (again / "1-import" / "k" / "K2.xmp").read_bytes()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["holiday.jpg", CHECKLIST])
def test_a_folder_with_other_things_in_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "holds other things; name an empty folder" in capsys.readouterr().err
    assert names(tmp_path) == {name}
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / name)])
    assert "is no folder" in capsys.readouterr().err


def test_what_is_no_raw_is_refused_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "IMG.jpg").touch()
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "checklist"), "--raw", str(tmp_path / "IMG.jpg")])
    assert "is no raw file" in capsys.readouterr().err
    assert not (tmp_path / "checklist").exists()


def test_a_missing_exiftool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert main([str(tmp_path / "checklist")]) == 1
    assert "exiftool was not found" in capsys.readouterr().err
