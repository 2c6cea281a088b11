"""What is planned for one photo, and whether a copy is what was planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tagger_daemon.errors import PhotoUnreadable, WriteRefused
from tagger_daemon.metadata.gather import marker
from tagger_daemon.metadata.plan import make_plan
from tagger_daemon.metadata.properties import Node, Properties, parse_properties
from tagger_daemon.metadata.sidecar import EMPTY, check_sidecar
from tagger_daemon.metadata.verify import differences
from tagger_daemon.model import (
    Annotation,
    Existing,
    Fingerprint,
    Kept,
    Marker,
    Mode,
    Origin,
    Photo,
    Policy,
    Stage,
    TagWrite,
    WritePlan,
    text_hash,
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
    content_hash="c0ffee",
    fields={"XMP-dc:Title": text_hash("Ours")},
    keywords=("sand",),
)
POLICY = Policy(
    fields={
        Stage.CAPTION: ("Title", "AltTextAccessibility"),
        Stage.KEYWORDS: ("Subject",),
        Stage.DESCRIPTION: ("Description", "ExtDescrAccessibility"),
    }
)
REFRESH = POLICY.evolve(mode=Mode.REFRESH)
TITLE, DESCRIPTION = "XMP-dc:Title-x-default", "XMP-dc:Description-x-default"
ALT, EXTENDED = (
    "XMP-iptcCore:AltTextAccessibility-x-default",
    "XMP-iptcCore:ExtDescrAccessibility-x-default",
)
SUBJECT, HIERARCHY, TAGS = "XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList"
#: Where the parts of `Existing` stand in a file.
PLACES = {
    "keywords": SUBJECT,
    "hierarchical": HIERARCHY,
    "tags_list": TAGS,
}


def existing(**changes: Any) -> Existing:
    """What a photo says that holds this and nothing else; what it says stands in its own XMP."""
    stands = {PLACES[name]: value for name, value in changes.items() if name in PLACES}
    known: dict[str, Any] = {
        "photo": PHOTO,
        "source": PHOTO.path,
        "embedded": True,
        "source_fingerprint": PHOTO.fingerprint,
        "stands": stands,
    }
    return Existing(**{**known, **changes})


def plan(answers: Annotation = ANSWERS, policy: Policy = POLICY, **changes: Any) -> WritePlan:
    return make_plan(
        existing(**changes),
        answers,
        policy,
        content_hash="c0ffee",
        tool_version="0.1",
        now="2024-05-01T12:00:00+02:00",
    )


def planned(answers: Annotation = ANSWERS, policy: Policy = POLICY, **changes: Any) -> dict[str, Any]:
    return {write.tag: write.value for write in plan(answers, policy, **changes).writes}


def ours(plan: WritePlan) -> Marker:
    assert plan.result.marker is not None
    return plan.result.marker


def test_an_untagged_photo_gets_title_description_alternative_texts_and_keywords() -> None:
    writes = planned()
    assert writes[TITLE] == writes[ALT] == "A dog on the beach"
    assert writes[DESCRIPTION] == writes[EXTENDED] == "One.\nTwo."
    assert writes[SUBJECT] == ("dog", "beach")
    assert writes["XMP-xmp:MetadataDate"] == "2024:05:01 12:00:00+02:00"
    assert not any(tag.startswith(("IPTC", "XMP-lr", "XMP-digiKam")) for tag in writes)


def test_nothing_is_ever_written_that_other_programs_or_laws_reserve() -> None:
    everything = policy_with(caption=("Title", "Headline", "CaptionWriter"), description=("Description",))
    for policy in (everything, everything.evolve(overwrite=True, keyword_root="AI")):
        tags = planned(ANSWERS, policy, hierarchical=("a|b",), tags_list=("a/b",), has_iptc=True).keys()
        forbidden = ("Rating", "Label", "crs:", "History", "DigitalSourceType", "AISystem", "AIPrompt")
        assert not [tag for tag in tags if any(word in tag for word in forbidden)]
        assert not {"XMP-xmp:ModifyDate", "XMP-xmp:CreatorTool", "IFD0:ImageDescription"} & tags


def policy_with(**fields: tuple[str, ...]) -> Policy:
    return POLICY.evolve(fields={**POLICY.fields, **{Stage(stage): tags for stage, tags in fields.items()}})


def test_answers_go_to_the_fields_that_the_settings_name() -> None:
    policy = policy_with(caption=("Headline",), description=("ExtDescrAccessibility", "CaptionWriter"))
    writes = planned(ANSWERS, policy)
    assert writes["XMP-photoshop:Headline"] == "A dog on the beach"
    assert writes["XMP-photoshop:CaptionWriter"] == "AI: acme/eyes-7b"
    assert writes[EXTENDED] == "One.\nTwo."
    assert not {TITLE, ALT, DESCRIPTION} & writes.keys()


def test_a_stage_that_was_not_asked_leaves_its_fields_alone() -> None:
    answers = ANSWERS.evolve(keywords=None, origins={Stage.CAPTION: ORIGIN})
    writes = planned(answers, policy_with(keywords=()), keywords=("Dog",))
    assert SUBJECT not in writes
    assert writes[TITLE] == "A dog on the beach"


def test_the_writer_is_named_beside_our_own_words_only() -> None:
    policy = policy_with(description=("CaptionWriter", "Description"))
    writer = "XMP-photoshop:CaptionWriter"
    assert planned(ANSWERS, policy)[writer] == "AI: acme/eyes-7b"
    assert writer not in planned(ANSWERS, policy, texts={"Description": "Mine"})
    named = planned(ANSWERS, policy.evolve(overwrite=True), texts={"CaptionWriter": "Ann"})
    assert writer not in named


def test_the_marker_says_what_was_written_and_by_what_but_not_where_it_was_asked() -> None:
    writes = planned()
    assert writes["XMP-tagger:AIKeywords"] == ("dog", "beach")
    assert writes["XMP-tagger:ContentHash"] == "c0ffee"
    assert json.loads(writes["XMP-tagger:Fields"])["XMP-dc:Title"] == text_hash("A dog on the beach")
    models = json.loads(writes["XMP-tagger:Models"])
    assert models["caption"] == {
        "entry": "eyes",
        "model": "acme/eyes-7b",
        "digest": "unverifiable",
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


THEIRS = {"Title": "Mine", "Description": "Mine too", "AltTextAccessibility": "Mine as well"}


def test_a_persons_words_stay_and_the_plan_says_so() -> None:
    made = plan(texts=THEIRS, keywords=("Dog",))
    writes = {write.tag: write.value for write in made.writes}
    assert writes[SUBJECT] == ("Dog", "beach")
    assert not {TITLE, DESCRIPTION, ALT} & writes.keys()
    assert made.kept == (
        Kept(field="Title", reason="a person's words"),
        Kept(field="Alt text", reason="a person's words"),
        Kept(field="Description", reason="a person's words"),
        Kept(field="Keywords", reason="a person's words stay"),
    )


def test_a_persons_texts_give_way_only_to_a_wish_and_keywords_never() -> None:
    stands = {"XMP-dc:Title": "Mine", SUBJECT: ("Dog",)}
    made = plan(ANSWERS, POLICY.evolve(overwrite=True), texts=THEIRS, keywords=("Dog",), stands=stands)
    writes = {write.tag: write for write in made.writes}
    assert (writes[TITLE].value, writes[TITLE].before) == ("A dog on the beach", "Mine")
    assert writes[SUBJECT].value == ("Dog", "beach")


@pytest.mark.parametrize(
    ("text", "policy", "title"),
    [
        ("Ours", POLICY, None),
        ("Ours", REFRESH, "A dog on the beach"),
        ("Ours, edited", REFRESH, None),
        ("Ours, edited", REFRESH.evolve(overwrite=True), "A dog on the beach"),
        (None, REFRESH, None),
        (None, REFRESH.evolve(overwrite=True), None),
    ],
)
def test_of_our_own_words_only_those_nobody_touched_are_renewed(
    text: str | None, policy: Policy, title: str | None
) -> None:
    texts = {} if text is None else {"Title": text}
    stands = {} if text is None else {"XMP-dc:Title": text}
    made = plan(ANSWERS, policy, texts=texts, stands=stands, marker=MARKER)
    assert {write.tag: write.value for write in made.writes}.get(TITLE) == title
    reasons = {
        "Ours": "our own words from before",
        "Ours, edited": "a person changed our words",
        None: "a person removed our words",
    }
    kept = [Kept(field="Title", reason=reasons[text])] if title is None else []
    assert [kept_ for kept_ in made.kept if kept_.field == "Title"] == kept


def test_nothing_to_write_is_an_empty_plan() -> None:
    texts = {**THEIRS, "ExtDescrAccessibility": "d"}
    assert planned(texts=texts, keywords=("DOG", "Beach")) == {}
    blank = ANSWERS.evolve(caption=" ", description="\x00", keywords=("|",))
    assert planned(blank) == {}


def test_the_same_answers_again_write_nothing() -> None:
    first = plan(hierarchical=("Places|Coast",), tags_list=("Places/Coast",), keywords=("Coast",))
    stands = {
        **first.existing.stands,
        **{write.tag.removesuffix("-x-default"): write.value for write in first.writes},
    }
    again = make_plan(
        first.result.evolve(stands=stands),
        ANSWERS,
        REFRESH,
        content_hash="c0ffee",
        tool_version="0.2",
        now="x",
    )
    assert again.writes == ()


def test_keywords_of_ours_that_are_stale_go_when_refreshed_and_stay_when_filled() -> None:
    assert planned(keywords=("Rose", "sand"), marker=MARKER)[SUBJECT] == ("Rose", "sand", "dog", "beach")
    made = plan(ANSWERS, REFRESH, keywords=("Rose", "sand"), marker=MARKER)
    assert {write.tag: write.value for write in made.writes}[SUBJECT] == ("Rose", "dog", "beach")
    assert ours(made).keywords == ("dog", "beach")


def test_a_keyword_that_a_person_removed_stays_away_and_is_remembered() -> None:
    marker = MARKER.evolve(keywords=("sand", "dog"))
    made = plan(ANSWERS, REFRESH, keywords=("sand",), marker=marker)
    assert {write.tag: write.value for write in made.writes}[SUBJECT] == ("beach",)
    assert ours(made).rejected == ("dog",)
    later = plan(rejected=("Beach",))
    assert {write.tag: write.value for write in later.writes}[SUBJECT] == ("dog",)


def test_a_keyword_that_stands_deeper_in_a_hierarchy_is_not_added_flat() -> None:
    assert planned(hierarchical=("Animals|Dog",))[SUBJECT] == ("beach",)
    assert planned(other_keywords=("Dog",))[SUBJECT] == ("beach",)


def test_where_there_is_a_hierarchy_every_keyword_stands_in_it() -> None:
    made = plan(hierarchical=("Places|Coast",), keywords=("Coast", "Places", "Rose"))
    writes = {write.tag: write.value for write in made.writes}
    assert writes[HIERARCHY] == ("Places|Coast", "Rose", "dog", "beach")
    assert writes[SUBJECT] == ("Coast", "Places", "Rose", "dog", "beach")
    assert ours(made).hierarchy == ("Rose", "dog", "beach")


def test_below_a_root_our_keywords_are_told_from_a_persons() -> None:
    made = plan(ANSWERS, POLICY.evolve(keyword_root="AI"), keywords=("Rose",))
    writes = {write.tag: write.value for write in made.writes}
    assert writes[HIERARCHY] == ("Rose", "AI|dog", "AI|beach")
    assert writes[SUBJECT] == ("Rose", "dog", "beach")


def test_a_hierarchys_stale_entries_go_and_a_persons_stay() -> None:
    marker = MARKER.evolve(hierarchy=("AI|sand",))
    made = plan(
        ANSWERS,
        REFRESH.evolve(keyword_root="AI"),
        keywords=("Rose", "sand"),
        hierarchical=("Plants|Rose", "AI|sand"),
        marker=marker,
    )
    writes = {write.tag: write.value for write in made.writes}
    assert writes[HIERARCHY] == ("Plants|Rose", "AI|dog", "AI|beach")


def test_digikams_list_is_followed_where_it_is_and_gets_our_keywords_only() -> None:
    made = plan(tags_list=("People/Rose",), keywords=("Rose", "a/b"))
    assert {write.tag: write.value for write in made.writes}[TAGS] == ("People/Rose", "dog", "beach")
    assert ours(made).tags == ("dog", "beach")
    rooted = planned(ANSWERS, POLICY.evolve(keyword_root="AI"), tags_list=("People/Rose",))
    assert rooted[TAGS] == ("People/Rose", "AI/dog", "AI/beach")


def test_a_legacy_block_that_is_there_is_kept_in_step_in_utf8_with_a_fresh_digest() -> None:
    writes = planned(
        ANSWERS.evolve(caption="日" * 30),
        has_iptc=True,
        keywords=("x" * 70,),
        stands={SUBJECT: ("x" * 70,), "IPTC:Keywords": ("x" * 64,), "Photoshop:IPTCDigest": "0"},
    )
    assert writes["IPTC:ObjectName"] == "日" * 21
    assert writes["IPTC:Caption-Abstract"] == "One.\nTwo."
    assert writes["IPTC:Keywords"] == ("x" * 64, "dog", "beach")
    assert writes["IPTC:CodedCharacterSet"] == "\x1b%G"
    assert writes["Photoshop:IPTCDigest"] == "new"


@pytest.mark.parametrize(("tag", "fresh"), [("IPTC:City", False), ("IPTC:Keywords", True)])
def test_a_legacy_block_that_says_something_else_stays_the_one_that_counts(tag: str, fresh: bool) -> None:
    writes = planned(has_iptc=True, iim_disagrees=frozenset({tag}))
    assert ("Photoshop:IPTCDigest" in writes) is fresh


def test_our_stale_keywords_leave_the_legacy_block_too_and_a_persons_do_not() -> None:
    stands = {SUBJECT: ("sand", "Rose"), "IPTC:Keywords": ("Rose", "sand", "Ann")}
    made = plan(
        ANSWERS, REFRESH, has_iptc=True, stands=stands, keywords=("sand", "Rose", "Ann"), marker=MARKER
    )
    writes = {write.tag: write.value for write in made.writes}
    assert writes["IPTC:Keywords"] == ("Rose", "Ann", "dog", "beach")
    assert writes[SUBJECT] == ("Rose", "Ann", "dog", "beach")


def test_a_keyword_that_only_the_legacy_block_still_has_was_removed() -> None:
    stands = {SUBJECT: ("Rose",), "IPTC:Keywords": ("Rose", "dog")}
    marker = MARKER.evolve(keywords=("dog",))
    made = plan(ANSWERS, REFRESH, has_iptc=True, stands=stands, keywords=("Rose", "dog"), marker=marker)
    writes = {write.tag: write.value for write in made.writes}
    assert writes[SUBJECT] == writes["IPTC:Keywords"] == ("Rose", "beach")


def test_a_persons_legacy_caption_is_not_mirrored_over() -> None:
    writes = planned(has_iptc=True, texts={"Description": "theirs, in the legacy block"})
    assert not {"IPTC:Caption-Abstract", DESCRIPTION} & writes.keys()


def test_a_new_sidecar_says_whose_it_is() -> None:
    raw = PHOTO.evolve(path=Path("/photos/IMG.cr2"))
    sidecar: dict[str, Any] = {"photo": raw, "source": Path("/photos/IMG.xmp"), "embedded": False}
    assert planned(**sidecar, source_fingerprint=None)["XMP-photoshop:SidecarForExtension"] == "CR2"
    assert "XMP-photoshop:SidecarForExtension" not in planned(**sidecar)


def test_a_copy_is_right_only_if_it_holds_the_plan_and_nothing_else_changed() -> None:
    writes = [
        TagWrite(tag="XMP-dc:Title-x-default", value="New"),
        TagWrite(tag="IPTC:Keywords", value=("a", "b")),
        TagWrite(tag="XMP-dc:Source", value=None, before="x"),
    ]
    stood: dict[str, tuple[Node, ...]] = {"XMP-dc:Source": ("x",), "XMP-z:Empty": ((),)}
    before = Properties(nodes={"XMP-xmp:Rating": ("3",), "XMP-x:XMPToolkit": ("A",), **stood})
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
    wrong = {
        **after,
        "XMP-xmp:Rating": ("4",),
        "XMP-dc:Title": ("Old",),
        "XMP-dc:Source": ("x",),
        "XMP-dc:Creator": ("x",),
    }
    assert differences(before, Properties(nodes=wrong), writes) == (
        "XMP-dc:Title was not written as planned",
        "XMP-dc:Source was not removed as planned",
        "XMP-dc:Creator changed",
        "XMP-xmp:Rating changed",
    )
    without_iim = differences(before, Properties(nodes=after), writes[:1])
    assert without_iim == (
        "IPTC:Keywords changed",
        "Photoshop:IPTCDigest changed",
        "XMP-dc:Source changed",
    )


def test_what_exiftool_shows_is_read_exactly() -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xml = f"""<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='{rdf}'><rdf:Description xmlns:XMP-dc='http://ns.exiftool.org/XMP/XMP-dc/1.0/'
 xmlns:IPTC='http://ns.exiftool.org/IPTC/IPTC/1.0/'>
 <XMP-dc:Subject><rdf:Bag><rdf:li>2024</rdf:li><rdf:li> True</rdf:li></rdf:Bag></XMP-dc:Subject>
 <XMP-dc:Title-de>Hund</XMP-dc:Title-de>
 <IPTC:City rdf:datatype='http://www.w3.org/2001/XMLSchema#base64Binary'>Y2Fm6Q==</IPTC:City>
 <IPTC:Headline rdf:datatype='http://www.w3.org/2001/XMLSchema#base64Binary'>Y2Fmw6kB</IPTC:Headline>
 <IPTC:Caption-Abstract>one\rtwo\r\nthree</IPTC:Caption-Abstract>
</rdf:Description></rdf:RDF>"""
    properties = parse_properties(xml.encode())
    assert properties.texts("XMP-dc:Subject") == ("2024", " True")
    assert properties.text("XMP-dc:Title") == "Hund"
    assert properties.text("IPTC:City") == "café"
    assert properties.text("IPTC:Headline") == "café\x01"
    assert properties.guessed == {"IPTC:City"}
    assert properties.text("IPTC:Caption-Abstract") == "one\rtwo\r\nthree"
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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        EMPTY,
        b"\xef\xbb\xbf" + XMP.format("").encode(),
        XMP.format("<r:Description about=''/><r:Description about='' xmlns:a='b' a:c='d'/>").encode(),
    ],
)
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


LONG = "A white hotel stands in St. Moritz. " * 9


def test_alternative_text_that_is_too_long_loses_whole_sentences() -> None:
    writes = planned(ANSWERS.evolve(caption=LONG))
    assert writes[TITLE] == LONG.strip()
    assert writes[ALT] == ("A white hotel stands in St. Moritz. " * 6).strip()
    assert (
        text_hash(writes[ALT]) == json.loads(writes["XMP-tagger:Fields"])["XMP-iptcCore:AltTextAccessibility"]
    )


def test_alternative_text_is_left_alone_where_not_one_sentence_fits() -> None:
    endless = "A white hotel, " * 17 + "and nothing else."
    made = plan(ANSWERS.evolve(caption=endless))
    assert not any(write.tag == ALT for write in made.writes)
    assert made.kept == (
        Kept(field="Alt text", reason="no whole sentence of the answer fits into 250 characters"),
    )
    assert ours(made).fields.keys() >= {"XMP-dc:Title"}
    assert "XMP-iptcCore:AltTextAccessibility" not in ours(made).fields


def test_a_description_may_be_the_alternative_text_and_has_to_fit_as_well() -> None:
    policy = Policy(fields={Stage.DESCRIPTION: ("AltTextAccessibility",)})
    assert planned(ANSWERS.evolve(description=f"One.\n\n{LONG}"), policy)[ALT].startswith(
        "One. A white hotel"
    )


def test_a_persons_alternative_text_is_theirs_whether_ours_would_fit_or_not() -> None:
    made = plan(ANSWERS.evolve(caption="A dog, " * 60), texts={"AltTextAccessibility": "Mine"})
    assert Kept(field="Alt text", reason="a person's words") in made.kept
