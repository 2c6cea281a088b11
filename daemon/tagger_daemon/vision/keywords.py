"""Keywords as a person would have typed them: what a model lists, cleaned, in its order."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence

from tagger_daemon.vision.inflection import is_common, singular
from tagger_daemon.vision.plain import plain
from tagger_daemon.vision.script import is_english

MAX_WORDS = 4
MAX_CHARACTERS = 40
MAX_BYTES = 64  # UTF-8; IPTC IIM 2:25 Keywords holds no more

#: Characters of an item with everything that may come off it; what is longer is not looked into.
MAX_WRAPPED = 200

#: Markup and control tokens, which go as a whole; and addresses, which take their item with them.
MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<\|[^<>|]*\|>|\[/?INST\]", re.IGNORECASE)
ADDRESS = re.compile(r"[a-z]://|www\.|mailto:|[^\s@]{1,64}@[^\s@]+\.\w+", re.IGNORECASE)

#: Characters that stand between keywords, those of Chinese, Japanese and Arabic, bullets and hash signs
#: included, or that mean "between" to a program that reads them later.
COMMAS = re.compile(r"[,;|\u060c\u061b\u1363\u3001\ufe50-\ufe51\uff0c\uff1b\uff64]")
SEPARATORS = re.compile(rf"{COMMAS.pattern}|/|\s#(?=\w)|\s[\u00b7\u2022\u2027\u2219]\s")
NEVER_IN_A_KEYWORD = re.compile(r"[<>\\`_*]")

#: Between digits a slash makes one thing of two, `9/11 memorial`, which cannot be written.
UNWRITABLE = re.compile(r"\d/\d")

#: Characters that are spelt out as in HTML: `rock &amp; roll`.
ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)

#: Numbers inside a line that begins as a list does: `1. dog 2. beach`.
NUMBERED = re.compile(r"\s*\(?1[.)]\s.*\s\(?2[.)]\s")
NUMBER = re.compile(r"\s\(?\d{1,3}[.)]\s")
#: A line of keywords, each with a full stop, `Dog. Sandy beach.`: shorter than sentences, longer than "St."
STOPPED = re.compile(r"\s*(?:[^\W\d_]{3,}(?: [^\W\d_]{3,})?\.\s+)+[^\W\d_]{3,}(?: [^\W\d_]{3,})?\.\s*")

#: A line end that a model spelt out instead of making it.
SPELT_LINE_END = re.compile(r"(?:\\r)?\\n")

#: `**Dog**: a brown one that runs along the beach`, a keyword and why it was chosen.
EXPLAINED = re.compile(r"[^*]{0,8}\*\*([^*:]+)\*\*\s*(?:[:\u2013\u2014-]|\s)\s*(.+)")

#: Before an item: numbering, check boxes, bullets, hashtags, and the last "and" of a list in prose.
LEADING = re.compile(
    r"^(?:\(?\d{1,3}[.):\uff0e](?!\d)|\d{1,3}\s+(?=-\s)|\[[ xX]?\]|(?:and|or)\s"
    r"|[-+*#~=\u00b7\u2010-\u2015\u2022\u2023\u2043\u25a0-\u25ff\u30fb])\s*"
)
#: Quotes of all kinds, emphasis, brackets, exclamation.
AROUND = " \"'*[]{}!?\u00ab\u00b4\u00bb\u2026\u2039\u203a\u300c-\u300f" + "".join(
    map(chr, range(0x2018, 0x2020))
)
LABEL = re.compile(r": |\uff1a")  # "Setting: beach"
JSON_REMAINS = re.compile(r'[{}\[\]]|"\s*:')
SCORE = re.compile(r"\s*(?:\(\s*(?:\d*\.\d+|\d+\s*%)\s*\)|[:=-]\s*(?:0?\.\d+|1\.0+|\d{1,3}\s*%))$")
ENCLOSED = re.compile(r"^\(([^()]*)\)$")
ARTICLE = re.compile(r"^(?:(?:an?|the)\s)+(?=\S)|^(?:An?|The)\s(?=[a-z])")

#: Two things that are one, in a list in prose where the last "and" stands for a comma.
PAIRS = frozenset(
    (
        "black and white",
        "bride and groom",
        "salt and pepper",
        "fish and chips",
        "rock and roll",
        "bed and breakfast",
        "arts and crafts",
        "mother and child",
        "light and shadow",
        "hide and seek",
    )
)

#: Talk about the list instead of an item of it.
TALK = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|ok|here(?:['\u2019]s| is| are)|these are"
    r"|the following|(?:the|this|an?) (?:image|photo|photograph|picture)|i|i['\u2019](?:m|ve)|let me|as an ai"
    r"|please|based on|note(?=:| that)|hope (?:this|that|it|you)|feel free)(?![\w-]).*",
    re.IGNORECASE,
)
#: Half a sentence, of which commas made an item.
CLAUSE = re.compile(
    r"(?:(?:and|with|under|in|on|at|along|near|behind|over|from|to|by) (?:a|an|the|some|its|his|her|their)\s"
    r"|(?:which|that|who|where|while|there|it|they|he|she) (?:is|are|was|has|have|can)\b).*"
    r"|.*\s(?:is|are|was|were|that|which|who)\s.*",
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
        untitled, various, other, misc, miscellaneous, etc, and, or, the, n/a, inst, user, assistant, system,
        answer, end""",
    )
)

#: File names, sizes in pixels, exposure data, models of cameras, dates, and names for the photo as a thing.
UNWANTED = re.compile(
    r".*\.(?:jpe?g|png|tiff?|hei[cf]|webp|gif|raw|dng|cr[23]|nef|arw|raf|orf|rw2|xmp)"
    r"|(?:img|dsc[fn]?|dcim|mvimg|pxl|pano)[ -]?\d.*"
    r"|\d+\s*[x\u00d7]\s*\d+.*"
    r"|\d+(?:\.\d+)?\s*(?:mm|k|mp|megapixels?|px|pixels?|dpi|ppi)(?: lens)?"
    r"|(?:f|iso)\s*\d+(?:\.\d+)?"
    r"|(?:canon|nikon|sony|fujifilm|leica|olympus|pentax|panasonic|hasselblad)\s.*\d.*"
    r"|(?:\d{1,2}\.? )?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? (?:\d{1,2} )?[12]\d{3}"
    r"|(?:.*\s)?(?:photo|photograph|photography|image|picture)s?"
    r"|(?:photo|photograph|image|picture|close-?up|shot)s? of\s.*",
    re.IGNORECASE,
)

#: Where a name's words are all common ones, the last tells it: Golden Gate Bridge, Red Square, Grand Canyon.
LANDMARKS = re.compile(
    r"(?:airport|bridge|canyon|hall|lake|mountains|museum|palace|park|port|square|tower)", re.IGNORECASE
)
SMALL_WORDS = re.compile(r"an?|and|at|by|for|in|of|on|or|the|to|with", re.IGNORECASE)
LONGEST_ABBREVIATION = 3  # letters: USA, ATM


def clean_keywords(words: Sequence[str], *, limit: int, language: str = "en") -> tuple[str, ...]:
    """Return at most `limit` keywords from what a model listed; the order, which is its ranking, stays.

    Each item is normalised (NFC, one space between words), freed of bullets, numbering, quotes, hashtags,
    labels, markup and symbols, and split where it holds several. Dropped are items of more than four words,
    40 characters or 64 UTF-8 bytes, sentences, talk about the list, and words that say nothing about this
    photo. English ones lose their article and become singular; capitals that are no more than the style of
    the list go, those of names stay. Of keywords that differ only in case or number, the first one stays.
    Cleaning twice changes nothing.

    Args:
        language: BCP 47, that the keywords are in.
    """
    english = is_english(language)
    kept: dict[str, str] = {}
    for wrapped in _items(words):
        item = _simplest(wrapped, english) if len(wrapped) <= MAX_WRAPPED else ""
        key = singular(ARTICLE.sub("", item.casefold())) if english else item.casefold()
        if _is_keyword(item) and _is_keyword(key):
            kept.setdefault(key, item)
    best = list(kept.values())[:limit]
    return tuple(_as_typed(best) if english else best)


def is_prose(words: Sequence[str]) -> bool:
    """Tell whether most of what should be keywords is longer than any of them may be."""
    items = [words for item in _items(words) if (words := re.findall(r"\w+", LABEL.split(item)[-1]))]
    return 2 * sum(len(item) > MAX_WORDS for item in items) > len(items)


def _items(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        for line in SPELT_LINE_END.sub("\n", word).splitlines():
            spelt = ENTITY.sub(lambda entity: html.unescape(entity[0]), _unexplained(line))
            harmless = MARKUP.sub(" ", plain(spelt))
            for part in COMMAS.split(_separated(_unjoined(harmless))):
                if not ADDRESS.search(part) and not UNWRITABLE.search(part):
                    yield from SEPARATORS.split(NEVER_IN_A_KEYWORD.sub(" ", part))


def _unexplained(line: str) -> str:
    """Return the keyword alone where the model says why it chose it; labels are short, reasons are not."""
    explained = EXPLAINED.fullmatch(line.strip()[: 2 * MAX_WRAPPED])
    return explained[1] if explained and len(explained[2].split()) > MAX_WORDS else line


def _separated(line: str) -> str:
    """Return a list on one line with commas for its numbers or full stops."""
    if NUMBERED.match(line):
        line = NUMBER.sub(", ", line)
    return line.replace(".", ",") if STOPPED.fullmatch(line) else line


def _unjoined(line: str) -> str:
    """Return a list in prose, `dog, beach and sea.`, with a comma for its last "and"."""
    if not line.rstrip().endswith(".") or not COMMAS.search(line):
        return line
    last = COMMAS.split(line)[-1]
    item = plain(last).rstrip(".").removeprefix("and ")
    parts = item.split(" and ")
    if len(parts) != 2 or item.casefold() in PAIRS or any(len(part.split()) > MAX_WORDS for part in parts):
        return line
    return line.removesuffix(last) + ", ".join(parts)


def _simplest(item: str, english: bool) -> str:
    """Peel an item until nothing more comes off; each step makes it shorter, so this ends."""
    while (simpler := _simpler(item, english)) != item:
        item = simpler
    return item


def _simpler(item: str, english: bool) -> str:
    item = LEADING.sub("", _without_symbols(plain(item))).strip(AROUND)
    item = ENCLOSED.sub(r"\1", SCORE.sub("", item))
    if item.endswith((":", "\uff1a")) or _is_sentence(item):
        return ""
    if item.endswith((".", "\u3002")) and "." not in item[:-1]:  # but "Washington D.C." keeps its own
        item = item[:-1]
    item = LABEL.split(item)[-1]
    return ARTICLE.sub("", item) if english else item


def _without_symbols(item: str) -> str:
    """Take emoji and other signs from both ends; "LGBTQ+" and "U.S." keep what belongs to them."""
    start, end = 0, len(item)
    while start < end and _is_symbol(item[start]):
        start += 1
    while end > start and _is_symbol(item[end - 1]):
        end -= 1
    return item[start:end]


def _is_symbol(letter: str) -> bool:
    # A variation selector and a joiner belong to the emoji around them, and are nothing at an end.
    return unicodedata.category(letter) in {"So", "Sk"} or letter in "\ufe0e\ufe0f\u200d"


def _is_sentence(item: str) -> bool:
    return item.endswith((".", "\u3002")) and "." not in item[:-1] and len(item.split()) > 2


def _is_keyword(item: str) -> bool:
    fits = len(item.split()) <= MAX_WORDS and len(item) <= MAX_CHARACTERS and len(item.encode()) <= MAX_BYTES
    says_something = any(letter.isalpha() for letter in item) and not (len(item) == 1 and item.isascii())
    wanted = item.casefold() not in BANNED and not any(
        unwanted.fullmatch(item) for unwanted in (UNWANTED, TALK, CLAUSE)
    )
    return fits and says_something and wanted and not JSON_REMAINS.search(item)


def _as_typed(items: Sequence[str]) -> Iterator[str]:
    """Yield English keywords in the singular, with the capitals that they have by themselves.

    A list in which most items begin with a capital letter is in a style that says nothing, and so is the
    capital of a list's first item. Words that the dictionary knows only in lower case lose it.
    """
    cased = [item for item in items if item[:1].isalpha()]
    in_style = 2 * sum(item[0].isupper() for item in cased) > len(cased)
    for place, item in enumerate(items):
        plainer = _lowered(item) if in_style or place == 0 or _begins_a_sentence(item) else item
        yield singular(ARTICLE.sub("", plainer))


def _begins_a_sentence(item: str) -> bool:
    first, _, rest = item.partition(" ")
    return bool(rest) and first.istitle() and rest.islower()


def _lowered(item: str) -> str:
    """Return an item in lower case, as far as none of its words can be a name."""
    words = item.split(" ")
    capitals = [word for word in words if word != word.lower()]
    if len(words) > 1 and words[-1].istitle() and LANDMARKS.fullmatch(words[-1]):
        return item
    if all(SMALL_WORDS.fullmatch(word) or _is_decorated(word) for word in capitals):
        return item.lower()
    return item


def _is_decorated(word: str) -> bool:
    """Tell whether a word has its capitals for show; short ones all in capitals are abbreviations."""
    return word.isalpha() and (word.istitle() or len(word) > LONGEST_ABBREVIATION) and is_common(word)
