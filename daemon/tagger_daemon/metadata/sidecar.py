"""Is an existing sidecar sound enough to be rewritten?

Pure. Those that exiftool would refuse, or could only write by leaving something out, are known before any
model is asked.
"""

from __future__ import annotations

from collections import Counter

from lxml import etree

from tagger_daemon.errors import WriteRefused

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
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
    if not content.strip():
        return
    if b"\0" in content[:4096]:
        raise WriteRefused(
            f"the sidecar {name} is not UTF-8 text; save its metadata anew in your photo program"
        )
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise WriteRefused(f"the sidecar {name} declares entities of its own, which no photo program writes")
    # Without `huge_tree`: exiftool takes minutes over nesting deeper than the parser then allows.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise WriteRefused(f"the sidecar {name} is damaged: {error.msg}") from error
    rdf = root if root.tag == f"{RDF}RDF" else root.find(f".//{RDF}RDF")
    if rdf is None:
        raise WriteRefused(f"the sidecar {name} holds no XMP")
    for twice in _duplicates(rdf):
        raise WriteRefused(
            f"the sidecar {name} holds {twice} twice; which one is meant is for a person to say"
        )


def _duplicates(rdf: etree._Element) -> list[str]:
    """Return the local names of the properties that the packet gives more than once."""
    seen: Counter[str] = Counter()
    for description in rdf.iterfind(f"{RDF}Description"):
        seen.update(str(name) for name in description.attrib if not str(name).startswith(RDF))
        seen.update(child.tag for child in description)
    return [etree.QName(name).localname for name, times in seen.items() if times > 1]
