"""What stands in XMP besides our words means the same after a write, or the write does not happen.

The samples are what photo programs write, and what the XMP Specification allows and exiftool loses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.metadata_files import annotation, draw, open_store, packet_of, photo_at, policy, tell
from tagger_daemon.errors import VerificationFailed
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.canonical import Packet, parse_packet
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Photo

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000">
 <!-- what a program says to itself -->
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:q="http://example.org/q/"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
    xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#"
    xmlns:u="http://example.org/unknown/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    %s
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

SAMPLES = {
    "development and masks": """
   crs:Version="15.4" crs:Exposure2012="+0.50" crs:FutureSlider="7" crs:HasSettings="True" aux:Lens="50 mm"
   xmp:Rating="3" xmp:Label="Red">
   <crs:ToneCurvePV2012><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>9, 9</rdf:li></rdf:Seq></crs:ToneCurvePV2012>
   <crs:MaskGroupBasedCorrections><rdf:Seq>
    <rdf:li><rdf:Description crs:What="Correction" crs:CorrectionAmount="1" crs:LocalExposure2012="0.25">
     <crs:CorrectionMasks><rdf:Seq>
      <rdf:li crs:What="Mask/Image" crs:MaskActive="true" crs:ReferencePoint="0.5 0.5"/>
      <rdf:li><rdf:Description crs:What="Mask/Paint">
       <crs:Dabs><rdf:Seq><rdf:li>d 0.3 0.4</rdf:li><rdf:li>d 0.1 0.2</rdf:li></rdf:Seq></crs:Dabs>
      </rdf:Description></rdf:li>
     </rdf:Seq></crs:CorrectionMasks>
     <crs:CorrectionRangeMask><rdf:Bag/></crs:CorrectionRangeMask>
    </rdf:Description></rdf:li>
   </rdf:Seq></crs:MaskGroupBasedCorrections>
   <crs:Look><rdf:Description crs:Name="Adobe Color" crs:Amount="1">
    <crs:Group><rdf:Alt><rdf:li xml:lang="x-default">Profiles</rdf:li></rdf:Alt></crs:Group>
    <crs:Parameters><rdf:Description crs:Version="15.4"/></crs:Parameters>
   </rdf:Description></crs:Look>""",
    "faces": """>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="400" stDim:h="300" stDim:unit="pixel"/>
    <mwg-rs:RegionList><rdf:Bag>
     <rdf:li><rdf:Description mwg-rs:Name="Ann" mwg-rs:Type="Face">
      <mwg-rs:Area stArea:x="0.5" stArea:y="0.5" stArea:w="0.1" stArea:h="0.1" stArea:unit="normalized"/>
     </rdf:Description></rdf:li>
     <rdf:li rdf:parseType="Resource"><mwg-rs:Name>Bob</mwg-rs:Name></rdf:li>
    </rdf:Bag></mwg-rs:RegionList>
   </mwg-rs:Regions>""",
    "history": """xmpMM:DocumentID="xmp.did:1">
   <xmpMM:History><rdf:Seq>
    <rdf:li stEvt:action="saved" stEvt:changed="/metadata" stEvt:when="2024-01-02T00:00:00Z"/>
    <rdf:li stEvt:action="created" stEvt:when="2024-01-01T00:00:00Z"/>
   </rdf:Seq></xmpMM:History>
   <xmpMM:DerivedFrom stRef:documentID="xmp.did:0" stRef:instanceID="xmp.iid:0"/>
   <photoshop:DocumentAncestors><rdf:Bag><rdf:li>b</rdf:li><rdf:li>a</rdf:li></rdf:Bag></photoshop:DocumentAncestors>
""",
    "darktable": """darktable:xmp_version="5" darktable:history_end="1" darktable:auto_presets_applied="1">
   <darktable:masks_history>
    <rdf:Seq/>
   </darktable:masks_history>
   <darktable:history><rdf:Seq>
    <rdf:li darktable:num="0" darktable:operation="exposure" darktable:params="gz02" darktable:multi_name=""/>
   </rdf:Seq></darktable:history>
   <dc:creator><rdf:Seq/></dc:creator>""",
    "languages": """>
   <dc:rights><rdf:Alt><rdf:li>no language</rdf:li></rdf:Alt></dc:rights>
   <dc:description><rdf:Alt>
    <rdf:li xml:lang="de"> </rdf:li><rdf:li xml:lang="ar"/><rdf:li xml:lang="fr-CA"> </rdf:li>
   </rdf:Alt></dc:description>
   <dc:subject><rdf:Seq><rdf:li>Zoo</rdf:li><rdf:li>dog</rdf:li><rdf:li>Zoo</rdf:li></rdf:Seq></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag><rdf:li>Animals|dog</rdf:li></rdf:Bag></lr:hierarchicalSubject>
   <u:note xml:lang="de">eins</u:note>""",
    "unknown things": """
   u:scalar="1 &#xA; 2" xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/" MicrosoftPhoto:Rating="50">
   <u:cdata>  <![CDATA[<b>&amp;]]> x </u:cdata>
   <u:commented>a<!-- c -->b</u:commented>
   <u:empty/>
   <u:emptystruct rdf:parseType="Resource"/>
   <u:nested><rdf:Seq>
    <rdf:li><rdf:Bag><rdf:li>y</rdf:li><rdf:li>x</rdf:li></rdf:Bag></rdf:li><rdf:li><rdf:Seq/></rdf:li>
   </rdf:Seq></u:nested>
   <u:qualified rdf:parseType="Resource"><rdf:value>v</rdf:value><q:by>someone</q:by></u:qualified>
   <u:link rdf:resource="http://example.org/x?a=1&amp;b='2'"/>
   <u:typed rdf:parseType="Resource"><rdf:type rdf:resource="urn:type"/><u:a>1</u:a></u:typed>
   <other:scalar xmlns:other="http://example.org/unknown/1.0/other">another namespace</other:scalar>""",
}  # fmt: skip

LOST = {
    "a value in an attribute": ('<u:p rdf:value="v" q:by="me"/>', "XMP-u:TagP"),
    "a link with a qualifier": ('<u:p rdf:resource="urn:x" q:by="me"/>', "XMP-u:TagP"),
    "a qualifier of a text": ('<u:p q:by="me">v</u:p>', "holds p twice"),
    "a qualifier that would stand where Adobe's programs cannot read it": (
        '<u:p rdf:parseType="Resource"><rdf:value>v</rdf:value><u:by>me</u:by></u:p>',
        "p of http://example.org/unknown/1.0",
    ),
    "a structure's type": ("<u:p><u:Type><u:a>1</u:a></u:Type></u:p>", "p of http://example.org/unknown/1.0"),
    "a keyword's language": (
        '<dc:subject><rdf:Bag><rdf:li xml:lang="de">Hund</rdf:li><rdf:li>sea</rdf:li></rdf:Bag></dc:subject>',
        "XMP-dc:Subject",
    ),
}


@pytest.fixture(scope="module")
def store() -> Iterator[MetadataStore]:
    with open_store() as opened:
        yield opened


def tag(store: MetadataStore, photo: Photo) -> None:
    """Read, plan and write, as the pipeline does."""
    store.apply(store.plan(store.read(photo), annotation(), policy()))


def beside(path: Path, content: str) -> Photo:
    """Draw a raw and put XMP beside it."""
    path.with_suffix(".xmp").write_text(XMP % content)
    return draw(path)


def theirs(packet: bytes) -> Packet:
    """Return what a packet says, but for the fields that we write."""
    return {
        name: node for name, node in parse_packet(packet).items() if name not in fields.XMP_NAMES.values()
    }


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_programs_write_means_the_same_afterwards(
    tmp_path: Path, store: MetadataStore, sample: str
) -> None:
    photo = beside(tmp_path / "IMG.nef", SAMPLES[sample])
    before = theirs((tmp_path / "IMG.xmp").read_bytes())
    tag(store, photo)
    assert tell(tmp_path / "IMG.xmp", "XMP-dc:Title") == annotation().caption
    assert theirs((tmp_path / "IMG.xmp").read_bytes()) == before


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "psd", "dng"])
def test_inside_a_photo_it_does_too(tmp_path: Path, store: MetadataStore, kind: str) -> None:
    (tmp_path / "packet").write_text(XMP % SAMPLES["unknown things"])
    photo = draw(tmp_path / f"photo.{kind}", f"XMP<={tmp_path / 'packet'}")
    tag(store, photo)
    assert tell(photo.path, "XMP-dc:Title") == annotation().caption
    assert theirs(packet_of(photo.path)) == theirs((tmp_path / "packet").read_bytes())


@pytest.mark.parametrize("loss", LOST)
def test_what_exiftool_would_lose_is_named_and_left_alone(
    tmp_path: Path, store: MetadataStore, loss: str
) -> None:
    content, named = LOST[loss]
    photo = beside(tmp_path / "IMG.nef", f">{content}")
    before = (tmp_path / "IMG.xmp").read_bytes()
    with pytest.raises(VerificationFailed, match=named):
        tag(store, photo)
    assert (tmp_path / "IMG.xmp").read_bytes() == before
    (tmp_path / "packet").write_bytes(before)
    photo = draw(tmp_path / "photo.jpg", f"XMP<={tmp_path / 'packet'}")
    with pytest.raises(VerificationFailed, match=named):
        tag(store, photo)
    assert photo_at(photo.path) == photo


@pytest.mark.parametrize(
    ("length", "goes_on"), [(30_000, (True, True)), (10_480, (False, True))], ids=["long", "growing long"]
)
def test_a_jpegs_xmp_that_is_longer_than_a_segment_is_written_and_verified(
    tmp_path: Path, store: MetadataStore, length: int, goes_on: tuple[bool, bool]
) -> None:
    story = ("a long story " * length)[:length].strip()
    (tmp_path / "story").write_text(story)
    places = [
        f"XMP-photoshop:{name}" for name in ("City", "State", "Country", "Credit", "Source", "Headline")
    ]
    photo = draw(tmp_path / "photo.jpg", *(f"{place}<={tmp_path / 'story'}" for place in places))
    before = tell(photo.path, "XMP-xmpNote:HasExtendedXMP")
    tag(store, photo)
    after = tell(photo.path, "XMP-xmpNote:HasExtendedXMP")
    assert (bool(before), bool(after)) == goes_on
    assert tell(photo.path, "XMP-dc:Title") == annotation().caption
    assert {tell(photo.path, place) for place in places} == {story}
