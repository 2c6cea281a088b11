"""The survival suite: it sees what is lost, and nothing is, on the way through the real program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import survival
from survival_check import DIGEST, Content, Edits, Values, compare, edited, edits_between, surviving, without
from survival_files import SAMPLES
from survival_journey import STEPS, UNDONE, Journey
from survival_reading import packet_values
from survival_selfcheck import NAMES, PEERS, PLANTS
from survival_xmp import lightroom_sidecar

SUBJECT, TITLE, FACES = "XMP-dc:Subject", "XMP-dc:Title", "XMP-mwg-rs:RegionInfo"
BEFORE: Values = {SUBJECT: ("Rose", "DUMBO"), FACES: ("/Name=Rose",), "XMP-xmp:Rating": ("4",)}
OURS: Values = {TITLE: ("A bridge.",), "XMP-tagger:Fields": ("{}",), "XMP-xmp:MetadataDate": ("2026",)}


def findings(now: Values, *, ours: bool = True, edits: Edits | None = None) -> list[tuple[str, str]]:
    """Return what is found where `BEFORE` has become `now`."""
    found = compare(Content(values=BEFORE), Content(values=now), ours=ours, edits=edits)
    return [(finding.what, finding.property) for finding in found]


def test_our_words_beside_a_persons_are_no_loss_until_they_are_to_be_gone() -> None:
    now = {**BEFORE, **OURS, SUBJECT: ("Rose", "DUMBO", "bridge")}
    assert findings(now) == []
    assert findings(now, ours=False) == [
        ("appeared", SUBJECT),
        ("appeared", TITLE),
        ("appeared", "XMP-tagger:Fields"),
        ("appeared", "XMP-xmp:MetadataDate"),
    ]
    assert findings(BEFORE, ours=False) == []


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({SUBJECT: ("Rose", "dumbo")}, "lost"),
        ({SUBJECT: ("Rose",)}, "lost"),
        ({SUBJECT: ("DUMBO", "Rose")}, "moved"),
        ({FACES: ("/Name=Rose ",)}, "lost"),
        ({FACES: ("/Name=Rose", "/Name=Karl")}, "appeared"),
        ({"XMP-xmp:Rating": ("5",)}, "lost"),
        ({"XMP-xmp:Label": ("Red",)}, "appeared"),
    ],
)
def test_a_planted_loss_is_found(changed: dict[str, tuple[str, ...]], what: str) -> None:
    (name,) = changed
    assert findings({**BEFORE, **OURS, **changed}) == [(what, name)]


def test_a_persons_title_does_not_become_ours() -> None:
    mine = Content(values={TITLE: ("Mine",)})
    assert compare(mine, Content(values={TITLE: ("Mine", "Ours")}), ours=True)
    assert compare(mine, Content(values={TITLE: ("Ours",)}), ours=True)


@pytest.mark.parametrize("other", [Content(picture="x", data="same"), Content(picture="same", data="x")])
def test_another_picture_is_found(other: Content) -> None:
    assert compare(Content(picture="same", data="same"), other, ours=True)


def test_what_a_person_edited_has_to_stay_and_what_they_removed_may_not_return() -> None:
    ours = {**BEFORE, **OURS, SUBJECT: ("Rose", "DUMBO", "bridge", "sea"), "XMP-dc:Description": ("A sea.",)}
    theirs = {**ours, SUBJECT: ("Rose", "DUMBO", "bridge", "Karl"), TITLE: ("Mine",)}
    del theirs["XMP-dc:Description"]
    edits = edits_between(ours, theirs)
    expected = edited(Content(values=BEFORE), edits)
    assert expected.values == {**BEFORE, TITLE: ("Mine",), SUBJECT: ("Rose", "DUMBO", "Karl")}
    assert compare(expected, Content(values=theirs), ours=True, edits=edits) == []
    again = {**theirs, SUBJECT: (*theirs[SUBJECT], "SEA"), "XMP-dc:Description": ("A sea.",)}
    returned = compare(expected, Content(values=again), ours=True, edits=edits)
    assert [(finding.what, finding.now) for finding in returned] == [
        ("returned", "SEA"),
        ("returned", "A sea."),
    ]


def test_a_persons_keywords_from_elsewhere_may_stay_in_a_list_that_they_edited() -> None:
    now = {**BEFORE, SUBJECT: ("Rose", "DUMBO", "beach", "bridge")}
    told = Content(values=BEFORE), Content(values=now)
    for edits, appeared in ((Edits(), ["beach", "bridge"]), (Edits(removed={SUBJECT: ("sea",)}), ["bridge"])):
        found = compare(*told, ours=False, edits=edits, theirs={"beach", "Rose"})
        assert [finding.now for finding in found] == appeared


def test_values_are_counted_once_and_as_often_as_they_stand_there() -> None:
    by_hand = without(
        {SUBJECT: ("a", "a", "b"), "EXIF:ISO": ("100",)}, {SUBJECT: ("a",), "EXIF:ISO": ("100",)}
    )
    assert by_hand == {SUBJECT: ("a", "b")}
    by_hand |= {"packet dc:subject Bag": ("a", "b"), DIGEST: ("fits",)}
    assert surviving(by_hand, {SUBJECT: ("a",)}) == 1


def test_a_packet_says_the_same_in_whichever_spelling_and_another_thing_in_another_kind_of_list() -> None:
    told = packet_values(lightroom_sidecar("NEF").encode())
    assert told["packet dc:subject Bag"] == ("Niendorf", "Ostsee", "Grandma Rose")
    assert told["packet crs:MaskGroupBasedCorrections Seq[0]/crs:CorrectionMasks Seq[1]/crs:FullY"] == (
        "0.400001",
    )
    spelt = lightroom_sidecar("NEF").replace('   xmp:Label="Gelb"\n', "")
    spelt = spelt.replace("   <dc:creator>", "   <xmp:Label>Gelb</xmp:Label>\n   <dc:creator>")
    assert packet_values(spelt.encode()) == told
    assert "packet dc:creator Bag" in packet_values(spelt.replace("rdf:Seq", "rdf:Bag").encode())


def test_losses_that_are_planted_in_real_files_are_found(tmp_path: Path) -> None:
    samples = [sample for sample in SAMPLES if sample.name in NAMES]
    journey = Journey(root=tmp_path, samples=samples, exiftool="exiftool", say=lambda _: None)
    journey.prepare()
    journey.check(UNDONE)
    assert journey.report.lost == 0
    planted = [
        plant for plant in PLANTS if plant.name in {"one bit of the picture", "another title", "a mask"}
    ]
    for plant in planted:
        plant.do(journey.photos, "exiftool")
    (journey.photos / "stray.xmp").write_text("<a/>", encoding="utf-8")
    journey.check(UNDONE)
    found = {
        (name, finding.what) for row in journey.report.rows.values() for name, finding in row[UNDONE].findings
    }
    assert found == {(plant.where, plant.what) for plant in planted}
    assert journey.report.strays == {UNDONE: ("stray.xmp",)}
    assert journey.report.rows[PEERS][UNDONE].survived == journey.report.rows[PEERS][UNDONE].values - 1


def test_nothing_is_lost_on_the_whole_journey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("peers H1, no caption.jpg", "iptc/latin, in a TIFF.tif", "raw/DSC_0305.NEF")
    only = [word for name in names for word in ("--only", name)]
    status = survival.main(["--json", "--keep", str(tmp_path / "kept"), *only])
    told = json.loads(capsys.readouterr().out)
    assert (status, told["lost"]) == (0, 0)
    assert told["photos"].keys() == set(names)
    for photo in told["photos"].values():
        assert list(photo["steps"]) == list(STEPS)
        assert photo["edits"]
    kept = {path.name for path in (tmp_path / "kept" / "photos").rglob("*") if path.is_file()}
    assert kept == {
        *(Path(name).name for name in names),
        "DSC_0305.xmp",
    }  # in which a person's words are left
