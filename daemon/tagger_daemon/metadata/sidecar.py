"""Is existing XMP, of a sidecar or inside a photo, sound enough to be rewritten?

Pure. What exiftool would refuse, or could only write by leaving something out, is known before any model is
asked: damaged XMP inside a photo it replaces without a word.
"""

from __future__ import annotations

from collections import Counter

from lxml import etree

from tagger_daemon.errors import WriteRefused

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SIDECAR_FOR = "{http://ns.adobe.com/photoshop/1.0/}SidecarForExtension"
UNICODE = frozenset({"UTF-8", "UTF8", "US-ASCII", "ASCII", "UTF-16", "UTF-16LE", "UTF-16BE"})
EMPTY = b"""<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>
</x:xmpmeta>
<?xpacket end='w'?>
"""


def check_sidecar(content: bytes, name: str) -> None:
    """Refuse a sidecar that cannot be rewritten without loss. An empty file is fine.

    Raises:
        WriteRefused: and why.
    """
    if b"\0" in content[:4096]:
        raise WriteRefused(
            f"the sidecar {name} is not UTF-8 text; save its metadata anew in your photo program"
        )
    if wrong := flaw(content):
        raise WriteRefused(f"the sidecar {name} {wrong}")


def flaw(xmp: bytes) -> str | None:
    """Return why XMP cannot be rewritten without loss, as what would follow its name; None: it can."""
    if not xmp.strip():
        return None
    if b"<!DOCTYPE" in xmp or b"<!ENTITY" in xmp:
        return "declares entities of its own, which no photo program writes"
    # Without `huge_tree`: exiftool takes minutes over nesting deeper than the parser then allows.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(xmp, parser)
    except etree.XMLSyntaxError as error:
        return f"is damaged: {error.msg}"
    encoding = root.getroottree().docinfo.encoding or "UTF-8"
    if encoding.upper() not in UNICODE:
        return f"is written in {encoding}, which exiftool would take for UTF-8"
    rdf = root if root.tag == f"{RDF}RDF" else root.find(f".//{RDF}RDF")
    if rdf is None:
        return "holds no XMP"
    for twice in _duplicates(rdf):
        return f"holds {twice} twice; which one is meant is for a person to say"
    return None


def owner(xmp: bytes) -> str | None:
    """Return the extension of the photo that a sidecar says it is about; None: it does not, or is damaged."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(xmp, parser)
    except etree.XMLSyntaxError:
        return None
    for description in root.iter(f"{RDF}Description"):
        said = description.get(SIDECAR_FOR) or description.findtext(SIDECAR_FOR)
        if said and said.strip():
            return str(said.strip())
    return None


def _duplicates(rdf: etree._Element) -> list[str]:
    """Return the local names of the properties that the packet gives more than once."""
    seen: Counter[str] = Counter()
    for description in rdf.iterfind(f"{RDF}Description"):
        # An attribute without a namespace is RDF's own, in the spelling of old: `about`.
        named = (str(name) for name in description.attrib if str(name).startswith("{"))
        seen.update(name for name in named if not name.startswith(RDF))
        seen.update(child.tag for child in description)
    return [etree.QName(name).localname for name, times in seen.items() if times > 1]
