"""What is planned for one photo, and whether a copy is what was planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tagger_daemon.errors import PhotoUnreadable, WriteRefused
from tagger_daemon.metadata.fields import text_hash
from tagger_daemon.metadata.gather import marker
from tagger_daemon.metadata.plan import already_tagged, make_plan
from tagger_daemon.metadata.properties import Node, Properties, parse_properties
from tagger_daemon.metadata.sidecar import EMPTY, check_sidecar
from tagger_daemon.metadata.verify import differences
from tagger_daemon.model import (
    Annotation,
    Existing,
    Fingerprint,
    Kept,
    Marker,
    Origin,
    Photo,
    Stage,
    TagWrite,
)

PHOTO = Photo(
    path=Path("/photos/IMG.JPG"), folder=Path("/photos"), fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3)
)
ORIGIN = Origin(
    entry="eyes",
    model="acme/eyes-7b",
    digest=None,
    registry="0123",
    profile="default",
    profile_hash="4567",
    endpoint="http://10.0.0.5:8000/v1",
)
ANSWERS = Annotation(
    caption="A dog on the\nbeach",
    keywords=("dog", "beach"),
    description="One.\nTwo.",
    origins=dict.fromkeys(Stage, ORIGIN),
)
MARKER = Marker(
    schema_version=1,
    tool_version="0.1",
    written_at="2024-04-30T08:00:00+00:00",
    content_hash="",
    fields={"XMP-dc:Title": text_hash("Ours")},
    keywords=("sand",),
)


def existing(**changes: Any) -> Existing:
    known: dict[str, Any] = {
        "photo": PHOTO,
        "source": PHOTO.path,
        "embedded": True,
        "source_fingerprint": PHOTO.fingerprint,
    }
    return Existing(**{**known, **changes})


def planned(answers: Annotation = ANSWERS, **changes: Any) -> dict[str, Any]:
    plan = make_plan(
        existing(**changes),
        answers,
        content_hash="c0ffee",
        tool_version="0.1",
        now="2024-05-01T12:00:00+02:00",
    )
    return {write.tag: write.value for write in plan.writes}


def kept(**changes: Any) -> tuple[Kept, ...]:
    plan = make_plan(existing(**changes), ANSWERS, content_hash=None, tool_version="0.1", now="2024-05-01")
    return plan.kept


def test_an_untagged_photo_gets_title_description_alternative_text_and_keywords() -> None:
    writes = planned()
    assert writes["XMP-dc:Title-x-default"] == "A dog on the beach"
    assert writes["XMP-dc:Description-x-default"] == "One.\nTwo."
    assert writes["XMP-iptcCore:AltTextAccessibility-x-default"] == "A dog on the beach"
    assert writes["XMP-dc:Subject"] == ("dog", "beach")
    assert writes["XMP-xmp:MetadataDate"] == "2024:05:01 12:00:00+02:00"
    assert not any(tag.startswith(("IPTC", "XMP-lr")) for tag in writes)


def test_the_marker_says_what_was_written_and_by_what_but_not_where_it_was_asked() -> None:
    writes = planned()
    assert writes["XMP-tagger:AIKeywords"] == ("dog", "beach")
    assert writes["XMP-tagger:ContentHash"] == "c0ffee"
    assert json.loads(writes["XMP-tagger:Fields"])["XMP-dc:Title"] == text_hash("A dog on the beach")
    models = json.loads(writes["XMP-tagger:Models"])
    assert models["caption"] == {
        "entry": "eyes",
        "model": "acme/eyes-7b",
        "digest": None,
        "profile": "default",
        "profile_hash": "4567",
        "registry": "0123",
    }
    assert "10.0.0.5" not in str(writes)


@pytest.mark.parametrize(
    "model", ["/home/ann/models/eyes-7b", "C:\\models\\eyes-7b", "~/eyes-7b", "./x/eyes-7b"]
)
def test_a_model_that_is_served_under_its_path_is_named_without_it(model: str) -> None:
    answers = ANSWERS.evolve(origins={Stage.CAPTION: ORIGIN.evolve(model=model)})
    assert json.loads(planned(answers)["XMP-tagger:Models"])["caption"]["model"] == "eyes-7b"


def test_a_persons_words_stay_and_the_plan_says_so() -> None:
    writes = planned(title="Mine", description="Mine too", alt_text="Mine as well", keywords=("Dog",))
    assert writes["XMP-dc:Subject"] == ("Dog", "beach")
    assert not {"XMP-dc:Title-x-default", "XMP-dc:Description-x-default"} & writes.keys()
    assert "XMP-iptcCore:AltTextAccessibility-x-default" not in writes
    assert kept(title="Mine", keywords=("Dog",)) == (
        Kept(field="Title", reason="a person's words"),
        Kept(field="Keywords", reason="those that were there stay"),
    )


def test_our_own_words_are_told_from_a_persons() -> None:
    assert kept(title="Ours", marker=MARKER)[0].reason == "our own words from before"
    assert kept(title="Ours, edited", marker=MARKER)[0].reason == "a person's words"


def test_nothing_to_write_is_an_empty_plan() -> None:
    assert planned(title="a", description="b", alt_text="c", keywords=("DOG", "Beach")) == {}
    blank = ANSWERS.evolve(caption=" ", description="\x00", keywords=("|",))
    assert planned(blank) == {}


def test_an_earlier_marker_is_carried_on() -> None:
    writes = planned(title="Ours", keywords=("sand",), marker=MARKER)
    assert writes["XMP-tagger:AIKeywords"] == ("sand", "dog", "beach")
    assert "XMP-dc:Title" in json.loads(writes["XMP-tagger:Fields"])


def test_a_hierarchy_that_is_there_gets_our_keywords_too() -> None:
    writes = planned(hierarchical=("Places|Coast",))
    assert writes["XMP-lr:HierarchicalSubject"] == ("Places|Coast", "dog", "beach")


def test_a_legacy_block_that_is_there_is_kept_in_step() -> None:
    writes = planned(ANSWERS.evolve(caption="日" * 30), has_iptc=True, keywords=("x" * 70,))
    assert writes["IPTC:ObjectName"] == "日" * 21
    assert writes["IPTC:Caption-Abstract"] == "One.\nTwo."
    assert writes["IPTC:Keywords"] == ("x" * 64, "dog", "beach")


def test_a_persons_legacy_caption_is_not_mirrored_over() -> None:
    writes = planned(has_iptc=True, description="theirs, in the legacy block")
    assert not {"IPTC:Caption-Abstract", "XMP-dc:Description-x-default"} & writes.keys()


def test_a_new_sidecar_says_whose_it_is() -> None:
    raw = PHOTO.evolve(path=Path("/photos/IMG.cr2"))
    sidecar: dict[str, Any] = {"photo": raw, "source": Path("/photos/IMG.xmp"), "embedded": False}
    assert planned(**sidecar, source_fingerprint=None)["XMP-photoshop:SidecarForExtension"] == "CR2"
    assert "XMP-photoshop:SidecarForExtension" not in planned(**sidecar)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"marker": MARKER}, "already tagged by tagger-daemon on 2024-04-30"),
        (
            {"title": "a", "description": "b", "keywords": ("c",)},
            "already has a title, keywords and a description",
        ),
        (
            {"title": "a", "description": "b", "hierarchical": ("c|d",)},
            "already has a title, keywords and a description",
        ),
        ({"title": "a", "description": "b"}, None),
        ({"keywords": ("c",)}, None),
        ({}, None),
    ],
)
def test_photos_that_need_nothing_are_known_beforehand(changes: dict[str, Any], reason: str | None) -> None:
    assert already_tagged(existing(**changes)) == reason


def test_a_copy_is_right_only_if_it_holds_the_plan_and_nothing_else_changed() -> None:
    writes = [
        TagWrite(tag="XMP-dc:Title-x-default", value="New"),
        TagWrite(tag="IPTC:Keywords", value=("a", "b")),
    ]
    before = Properties(nodes={"XMP-xmp:Rating": ("3",), "XMP-x:XMPToolkit": ("A",), "XMP-z:Empty": ((),)})
    after: dict[str, tuple[Node, ...]] = {
        "XMP-xmp:Rating": ("3",),
        "XMP-x:XMPToolkit": ("B",),
        "XMP-dc:Title": ("New",),
        "IPTC:Keywords": (("a", "b"),),
        "Photoshop:IPTCDigest": ("1",),
        "System:FileSize": ("9",),
        "IFD0:StripOffsets": ("8",),
    }
    assert differences(before, Properties(nodes=after), writes) == ()
    wrong = {**after, "XMP-xmp:Rating": ("4",), "XMP-dc:Title": ("Old",), "XMP-dc:Creator": ("x",)}
    assert differences(before, Properties(nodes=wrong), writes) == (
        "XMP-dc:Title was not written as planned",
        "XMP-dc:Creator changed",
        "XMP-xmp:Rating changed",
    )
    without_iim = differences(before, Properties(nodes=after), writes[:1])
    assert without_iim == ("IPTC:Keywords changed", "Photoshop:IPTCDigest changed")


def test_what_exiftool_shows_is_read_exactly() -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xml = f"""<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='{rdf}'><rdf:Description xmlns:XMP-dc='http://ns.exiftool.org/XMP/XMP-dc/1.0/'
 xmlns:IPTC='http://ns.exiftool.org/IPTC/IPTC/1.0/'>
 <XMP-dc:Subject><rdf:Bag><rdf:li>2024</rdf:li><rdf:li> True</rdf:li></rdf:Bag></XMP-dc:Subject>
 <XMP-dc:Title-de>Hund</XMP-dc:Title-de>
 <IPTC:City rdf:datatype='http://www.w3.org/2001/XMLSchema#base64Binary'>Y2Fm6Q==</IPTC:City>
</rdf:Description></rdf:RDF>"""
    properties = parse_properties(xml.encode())
    assert properties.texts("XMP-dc:Subject") == ("2024", " True")
    assert properties.text("XMP-dc:Title") == "Hund"
    assert properties.text("IPTC:City") == "caf\\xe9"
    assert properties.number("XMP-dc:Title") is None


def test_metadata_that_is_nested_without_end_is_told_as_such() -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    nested = "<x:a xmlns:x='x'>" * 2000 + "</x:a>" * 2000
    xml = f"<rdf:RDF xmlns:rdf='{rdf}'><rdf:Description>{nested}</rdf:Description></rdf:RDF>"
    with pytest.raises(PhotoUnreadable, match="nested too deeply"):
        parse_properties(xml.encode())


def test_a_marker_that_is_nested_without_end_counts_as_one_without_hashes() -> None:
    nodes: dict[str, tuple[Node, ...]] = {
        "XMP-tagger:SchemaVersion": ("1",),
        "XMP-tagger:Fields": ("[" * 100_000,),
    }
    found = marker([Properties(nodes=nodes)])
    assert found is not None
    assert found.fields == {}


XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>{}</r:RDF></x:xmpmeta>"


@pytest.mark.parametrize("content", [b"", b" \n", EMPTY, b"\xef\xbb\xbf" + XMP.format("").encode()])
def test_sound_sidecars_pass(content: bytes) -> None:
    check_sidecar(content, "IMG.xmp")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (XMP.format("").encode()[:-20], "is damaged"),
        (XMP.format("").encode("utf-16"), "is not UTF-8"),
        (
            b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/hostname'>]>" + XMP.format("").encode(),
            "declares entities",
        ),
        (b"<html/>", "holds no XMP"),
        (XMP.format("<r:li>" * 500 + "</r:li>" * 500).encode(), "is damaged: Excessive depth"),
        (
            XMP.format(
                "<r:Description xmlns:a='b' a:Rating='1'><a:Rating>2</a:Rating></r:Description>"
            ).encode(),
            "holds Rating twice",
        ),
    ],
)
def test_sidecars_that_cannot_be_rewritten_are_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(WriteRefused, match=rf"^the sidecar IMG\.xmp {reason}"):
        check_sidecar(content, "IMG.xmp")
