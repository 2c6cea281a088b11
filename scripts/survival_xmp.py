"""XMP as photo programs write it: in their spelling, with what exiftool alone would not write."""

from __future__ import annotations

_FRAME = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="{toolkit}">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
{descriptions}
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""

_HUMAN_WORDS = """\
   <dc:title>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">The pier at Niendorf, before the storm</rdf:li>
    </rdf:Alt>
   </dc:title>
   <dc:creator>
    <rdf:Seq>
     <rdf:li>Åsa Öberg</rdf:li>
    </rdf:Seq>
   </dc:creator>
   <dc:rights>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">© 2023 Åsa Öberg, all rights reserved</rdf:li>
    </rdf:Alt>
   </dc:rights>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Niendorf</rdf:li>
     <rdf:li>Ostsee</rdf:li>
     <rdf:li>Grandma Rose</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>Orte|Deutschland|Niendorf</rdf:li>
     <rdf:li>Orte|Ostsee</rdf:li>
     <rdf:li>Menschen|Familie|Grandma Rose</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
"""

_HISTORY = """\
   <xmpMM:History>
    <rdf:Seq>
     <rdf:li stEvt:action="derived" stEvt:parameters="converted from image/x-nikon-nef to image/dng"/>
     <rdf:li stEvt:action="saved" stEvt:instanceID="xmp.iid:6b0c5e7a" stEvt:when="2023-09-02T18:11:40+02:00"
      stEvt:softwareAgent="Adobe Photoshop Lightroom Classic 12.4 (Macintosh)" stEvt:changed="/metadata"/>
    </rdf:Seq>
   </xmpMM:History>
   <xmpMM:DerivedFrom stRef:documentID="0F6E2C1D" stRef:originalDocumentID="0F6E2C1D"/>
"""

_MASKS = """\
   <crs:ToneCurvePV2012>
    <rdf:Seq>
     <rdf:li>0, 0</rdf:li>
     <rdf:li>64, 58</rdf:li>
     <rdf:li>255, 255</rdf:li>
    </rdf:Seq>
   </crs:ToneCurvePV2012>
   <crs:MaskGroupBasedCorrections>
    <rdf:Seq>
     <rdf:li>
      <rdf:Description crs:What="Correction" crs:CorrectionAmount="1.000000" crs:CorrectionActive="true"
       crs:CorrectionName="Sky" crs:CorrectionSyncID="A1B2" crs:LocalExposure2012="-0.350000"
       crs:LocalDehaze="0.220000">
       <crs:CorrectionMasks>
        <rdf:Seq>
         <rdf:li>
          <rdf:Description crs:What="Mask/Image" crs:MaskActive="true" crs:MaskName="Sky 1"
           crs:MaskBlendMode="0" crs:MaskInverted="false" crs:MaskSubType="2" crs:ReferencePoint="0.5 0.25"
           crs:MaskDigest="F00D"/>
         </rdf:li>
         <rdf:li crs:What="Mask/Gradient" crs:MaskActive="true" crs:MaskValue="1.000000" crs:ZeroX="0.102345"
          crs:ZeroY="0.9" crs:FullX="0.1" crs:FullY="0.400001"/>
        </rdf:Seq>
       </crs:CorrectionMasks>
      </rdf:Description>
     </rdf:li>
    </rdf:Seq>
   </crs:MaskGroupBasedCorrections>
   <crs:Look>
    <rdf:Description crs:Name="Adobe Landscape" crs:Amount="1" crs:UUID="6F9C877E">
     <crs:Parameters>
      <rdf:Description crs:Version="15.4" crs:ProcessVersion="11.0" crs:ConvertToGrayscale="False">
      <crs:ToneCurvePV2012>
       <rdf:Seq>
        <rdf:li>0, 0</rdf:li>
        <rdf:li>22, 16</rdf:li>
       </rdf:Seq>
      </crs:ToneCurvePV2012>
      </rdf:Description>
     </crs:Parameters>
    </rdf:Description>
   </crs:Look>
"""


def lightroom_sidecar(extension: str) -> str:
    """Return a sidecar of Lightroom Classic: develop settings with masks, history, rating, words."""
    description = f"""\
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
    xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:Rating="4"
   xmp:Label="Gelb"
   xmp:CreatorTool="Adobe Photoshop Lightroom Classic 12.4 (Macintosh)"
   xmp:MetadataDate="2023-09-02T18:11:40+02:00"
   photoshop:SidecarForExtension="{extension}"
   photoshop:City="Timmendorfer Strand"
   xmpMM:DocumentID="xmp.did:6b0c5e7a"
   crs:Version="15.4"
   crs:ProcessVersion="11.0"
   crs:WhiteBalance="Custom"
   crs:Temperature="5450"
   crs:Exposure2012="+0.45"
   crs:Highlights2012="-38"
   crs:CropAngle="-0.7312"
   crs:HasCrop="True"
   crs:HasSettings="True"
   crs:AlreadyApplied="False">
{_HUMAN_WORDS}{_HISTORY}{_MASKS}  </rdf:Description>"""
    return _FRAME.format(
        toolkit="Adobe XMP Core 7.0-c000 1.000000, 0000/00/00-00:00:00", descriptions=description
    )


def darktable_sidecar() -> str:
    """Return a sidecar of darktable: its history stack, its tags, flat and hierarchical."""
    description = """\
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
   exif:DateTimeOriginal="2023:07:30 12:01:22.000"
   xmp:Rating="3"
   xmpMM:DerivedFrom="DSC_0302.NEF"
   darktable:xmp_version="5"
   darktable:raw_params="0"
   darktable:auto_presets_applied="1"
   darktable:history_end="2"
   darktable:iop_order_version="2">
   <darktable:masks_history>
    <rdf:Seq>
     <rdf:li darktable:mask_num="0" darktable:mask_id="1690711282" darktable:mask_type="2"
      darktable:mask="gz02eJwbfoABAB" darktable:mask_nb="1"/>
    </rdf:Seq>
   </darktable:masks_history>
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:num="0" darktable:operation="exposure" darktable:enabled="1"
      darktable:modversion="6" darktable:params="0000000000002f3d" darktable:multi_name=""/>
     <rdf:li darktable:num="1" darktable:operation="filmicrgb" darktable:enabled="1"
      darktable:modversion="5" darktable:params="gz11eJzz8PBYAAA=" darktable:multi_name="day"/>
    </rdf:Seq>
   </darktable:history>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Dudu</rdf:li>
     <rdf:li>dog show</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>pets|Dudu</rdf:li>
     <rdf:li>dog show</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
  </rdf:Description>"""
    return _FRAME.format(toolkit="XMP Core 4.4.0-Exiv2", descriptions=description)


def plain_sidecar(keyword: str) -> str:
    """Return a small sidecar of a program that writes elements and nothing else."""
    description = f"""\
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <xmp:Rating>2</xmp:Rating>
   <dc:subject><rdf:Bag><rdf:li>{keyword}</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>"""
    return _FRAME.format(toolkit="Image Shelf 3", descriptions=description)


def unknown_namespaces() -> str:
    """Return XMP of a program that nobody has heard of, in many shapes that RDF has for a value."""
    return _FRAME.format(toolkit="Shelf 2", descriptions=_SHELF)


def qualified_value() -> str:
    """Return XMP with a value that another one qualifies: exiftool 12.57 writes it as what is no RDF."""
    weight = """\
   <shelf:weight rdf:parseType="Resource"><rdf:value>12</rdf:value><shelf:unit>g</shelf:unit></shelf:weight>
  </rdf:Description>"""
    return _FRAME.format(toolkit="Shelf 2", descriptions=_SHELF.replace("  </rdf:Description>", weight, 1))


_SHELF = """\
  <rdf:Description rdf:about="" xmlns:shelf="http://example.org/shelf/2.0/" shelf:drawer="17b"
    shelf:note="kept with the &#169; slides &amp; the &quot;blue&quot; box">
   <shelf:boxes><rdf:Seq><rdf:li>B-2</rdf:li><rdf:li>A-1</rdf:li></rdf:Seq></shelf:boxes>
   <shelf:lender rdf:parseType="Resource"><shelf:name>Frau Müller</shelf:name>
    <shelf:places><rdf:Bag><rdf:li>Lübeck</rdf:li><rdf:li>北京</rdf:li></rdf:Bag></shelf:places></shelf:lender>
   <shelf:page rdf:resource="http://example.org/slides/17b"/>
   <shelf:spoken><rdf:Alt><rdf:li xml:lang="x-default">a slide</rdf:li>
    <rdf:li xml:lang="de-DE">ein Dia</rdf:li></rdf:Alt></shelf:spoken>
  </rdf:Description>
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:subject><rdf:Bag><rdf:li>slide of 1974</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>"""
