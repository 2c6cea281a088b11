"""Keywords as a person would have typed them: what a model lists, cleaned, in its order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tagger_daemon.vision.plain import plain

MAX_WORDS = 4
MAX_CHARACTERS = 40
MAX_BYTES = 64  # UTF-8; IPTC IIM 2:25 Keywords holds no more

#: Characters of an item with everything that may come off it; what is longer is not looked into.
MAX_WRAPPED = 200

#: Markup, control tokens and addresses, which go as a whole.
MARKUP = re.compile(
    r"</?[A-Za-z][^<>]*>|<\|[^<>|]*\|>|https?://\S+|www\.\S+|[^\s@]{1,64}@[^\s@]+\.\w+", re.IGNORECASE
)

#: Characters that stand between keywords, Chinese and Japanese commas and hash signs included, or that mean
#: "between" to a program that reads them later.
SEPARATORS = re.compile(r"[,;|/\u3001\uff0c\uff1b]|\s#(?=\w)")
NEVER_IN_A_KEYWORD = re.compile(r"[<>\\`_]")

#: A line end that a model spelt out instead of making it.
SPELT_LINE_END = re.compile(r"(?:\\r)?\\n")

#: Before an item: numbering, check boxes, bullets, hashtags, and the last "and" of a list in prose.
LEADING = re.compile(
    r"^(?:\(?\d{1,3}[.):](?!\d)|\d{1,3}\s+(?=-\s)|\[[ xX]?\]|(?:and|or)\s"
    r"|[-+*#~=\u00b7\u2010-\u2015\u2022\u2023\u2043\u25a0-\u25ff])\s*"
)
#: Quotes of all kinds, emphasis, brackets, exclamation.
AROUND = " \"'*[]{}!?\u00ab\u00b4\u00bb\u2026\u2039\u203a" + "".join(map(chr, range(0x2018, 0x2020)))
JSON_REMAINS = re.compile(r'[{}\[\]]|"\s*:')
SCORE = re.compile(r"\s*\(\s*(?:\d*\.\d+|\d+\s*%)\s*\)$")
ENCLOSED = re.compile(r"^\(([^()]*)\)$")

#: Talk about the list instead of an item of it.
TALK = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|ok|here(?:['\u2019]s| is| are)|these are"
    r"|the following|(?:the|this|an?) (?:image|photo|photograph|picture)|i|i['\u2019](?:m|ve)|let me|as an ai"
    r"|please|based on)(?![\w-]).*",
    re.IGNORECASE,
)

#: What holds for every photo, what no picture shows, and words of the instruction itself.
BANNED = frozenset(
    re.split(
        r",\s+",
        """photo, photos, photograph, photographs, photography, photographic, image, images, picture,
        pictures, snapshot, metadata, exif, raw, camera, lens, dslr, slr, mirrorless, smartphone,
        aperture, shutter, iso, bokeh, canon, nikon, sony, fujifilm, leica, olympus, pentax, panasonic,
        lumix, hasselblad, sigma, tamron, gopro, resolution, high resolution, low resolution,
        high quality, full hd, hd, uhd, keyword, keywords, tag, tags, caption, description, title,
        subject, main subject, surroundings, setting, composition, concept, kind of view, one per line,
        most important first, lower case, lowercase, singular, unknown, unsure, uncertain, none, null,
        untitled, various, other, misc, miscellaneous, etc, and, or, the""",
    )
)

#: File names, sizes in pixels, exposure data, models of cameras, and names for the photo as a thing.
UNWANTED = re.compile(
    r".*\.(?:jpe?g|png|tiff?|hei[cf]|webp|gif|raw|dng|cr[23]|nef|arw|raf|orf|rw2|xmp)"
    r"|(?:img|dsc[fn]?|dcim|mvimg|pxl|pano)[ -]?\d.*"
    r"|\d+\s*[x\u00d7]\s*\d+.*"
    r"|\d+(?:\.\d+)?\s*(?:mm|k|mp|megapixels?|px|pixels?|dpi|ppi)(?: lens)?"
    r"|(?:f|iso)\s*\d+(?:\.\d+)?"
    r"|(?:canon|nikon|sony|fujifilm|leica|olympus|pentax|panasonic|hasselblad)\s.*\d.*"
    r"|(?:.*\s)?(?:photo|photograph|photography|image|picture)s?"
    r"|(?:photo|photograph|image|picture|close-?up|shot)s? of\s.*",
    re.IGNORECASE,
)


def clean_keywords(words: Sequence[str], *, limit: int) -> tuple[str, ...]:
    """Return at most `limit` keywords from what a model listed; the order, which is its ranking, stays.

    Each item is normalised (NFC, one space between words), freed of bullets, numbering, quotes, hashtags,
    labels and markup, and split where it holds several. Dropped are items of more than four words, 40
    characters or 64 UTF-8 bytes, sentences, talk about the list, and words that say nothing about this photo.
    Of keywords that differ only in case, the first spelling stays. Cleaning twice changes nothing.
    """
    kept: dict[str, str] = {}
    for wrapped in _items(words):
        item = _simplest(wrapped) if len(wrapped) <= MAX_WRAPPED else ""
        if _is_keyword(item):
            kept.setdefault(item.casefold(), item)
    return tuple(kept.values())[:limit]


def _items(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        for line in SPELT_LINE_END.sub("\n", word).splitlines():
            harmless = NEVER_IN_A_KEYWORD.sub(" ", MARKUP.sub(" ", plain(line)))
            yield from SEPARATORS.split(harmless)


def _simplest(item: str) -> str:
    """Peel an item until nothing more comes off; each step makes it shorter, so this ends."""
    while (simpler := _simpler(item)) != item:
        item = simpler
    return item


def _simpler(item: str) -> str:
    item = ENCLOSED.sub(r"\1", SCORE.sub("", LEADING.sub("", plain(item)).strip(AROUND)))
    if item.endswith(":") or _is_sentence(item):
        return ""
    if item.endswith(".") and "." not in item[:-1]:  # but "Washington D.C." keeps its own
        item = item[:-1]
    return item.rpartition(": ")[2]  # "Setting: beach"


def _is_sentence(item: str) -> bool:
    return item.endswith(".") and "." not in item[:-1] and len(item.split()) > 2


def _is_keyword(item: str) -> bool:
    fits = len(item.split()) <= MAX_WORDS and len(item) <= MAX_CHARACTERS and len(item.encode()) <= MAX_BYTES
    says_something = any(letter.isalpha() for letter in item) and not (len(item) == 1 and item.isascii())
    wanted = item.casefold() not in BANNED and not UNWANTED.fullmatch(item) and not TALK.fullmatch(item)
    return fits and says_something and wanted and not JSON_REMAINS.search(item)
