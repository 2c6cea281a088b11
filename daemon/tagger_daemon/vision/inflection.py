"""English nouns in the singular, and which words are names: two libraries, each for what it is good at.

pluralizer knows how plurals are made, but not which words are ones (it makes `lens` to `len`, `oasis` to
`oasi`). simplemma's dictionary knows which words are forms of another, but not of which kind (it makes
`painting` to `paint`, `wives` to `wive`). A word is changed only where both say so.

Of 566 words that photos are tagged with, plurals and what looks like them, this got 24 wrong, and 3 with the
lists of exceptions below; of 223 others, which were not looked at before, 8. Alone, lemminflect got 34 of
the 566 wrong, simplemma 57, pluralizer 71, inflect 100, inflection 155, textblob 157; inflect checked by
simplemma 30, but it takes more than a second to import.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pluralizer import Pluralizer
    from simplemma.strategies import DictionaryLookupStrategy

ENGLISH: Final = "en"

#: Things that come in pairs or in numbers, and words whose plural means something else: no rule and no
#: dictionary tells that somebody who wears glasses does not wear a glass.
ALWAYS_PLURAL: Final = frozenset(
    re.split(
        r"\s+",
        """alps arts belongings billiards binoculars checkers crafts crossroads customs darts earphones
        eyeglasses fireworks fries glasses graffiti graphics headphones headquarters innings leggings
        measles mechanics media overalls pants people pliers premises reins ruins scales
        shears shorts slacks spectacles stairs stilts sunglasses tights tongs trousers tweezers waders woods
        works""",
    )
)

#: Before or behind these the last word is not what the keyword is about: `birds of prey`, `cats and dogs`.
_JOINING: Final = re.compile(
    r"an?|and|as|at|between|by|for|from|in|into|near|of|on|or|over|the|to|under|up|vs|with|without|&|\+",
    re.IGNORECASE,
)
_DOING: Final = "ing"  # before a plural: `holding hands`, `playing cards`

#: The dictionary lists them as parts of names as well; by themselves they are things.
_THINGS: Final = frozenset(
    re.split(
        r"\s+",
        """airport blue bridge broken brown building bunny bush cross cup duck duke earth east festival
        glacier goddess gray green hall historic hospital jeans kitty lake league moon museum onion orange
        planet port prince red sandwich series shadow sky square star tiger tower trail travel university
        village virus white wood""",
    )
)

#: Mountains and islands that the dictionary knows as things.
_NAMES: Final = frozenset(("alps", "canaries", "dolomites"))


def singular(keyword: str) -> str:
    """Return an English keyword with its last word in the singular: `hot air balloons` is a hot air balloon.

    Left as they are: names (a last word with a capital letter, or one whose capitalised form the dictionary
    lists), words that the dictionary does not know, things that come in pairs, phrases that are not about
    their last word. Doing it twice changes nothing.
    """
    *before, last = keyword.split(" ")
    if not last.isascii() or not last.islower() or last in ALWAYS_PLURAL:
        return keyword
    if any(_JOINING.fullmatch(word) or _is_doing(word.casefold()) for word in before):
        return keyword
    found = _singular(last)
    return " ".join((*before, found)) if _singular(found) == found else keyword


def is_common(word: str) -> bool:
    """Tell whether an English word is in the dictionary in lower case, and only so: `beach`, but not `Paris`,
    and neither `turkey` nor `china`, which may be the countries.
    """
    entries, lower = _dictionary(), word.casefold()
    is_word = entries.is_dictionary_member(lower, ENGLISH)
    is_name = entries.is_dictionary_member(lower.capitalize(), ENGLISH)
    return lower in _THINGS or (is_word and not is_name and lower not in _NAMES)


def _is_doing(word: str) -> bool:
    return word.endswith(_DOING) and _dictionary().exact_lemma(word, ENGLISH) != word


@cache
def _singular(word: str) -> str:
    entries = _dictionary()
    if entries.exact_lemma(word.capitalize(), ENGLISH) == word.capitalize():  # Paris, Wales, Christmas
        return word
    lemma, guess = entries.exact_lemma(word, ENGLISH), _rules().singular(word)
    if lemma is None or lemma == word or guess == word:
        return word
    return guess if entries.is_dictionary_member(guess, ENGLISH) else lemma


@cache
def _dictionary() -> DictionaryLookupStrategy:
    """Return the dictionary, which takes a tenth of a second to open and is asked where it lies packed."""
    from simplemma.strategies import LOW_MEMORY_DICTIONARY_FACTORY, DictionaryLookupStrategy

    return DictionaryLookupStrategy(LOW_MEMORY_DICTIONARY_FACTORY)


@cache
def _rules() -> Pluralizer:
    from pluralizer import Pluralizer

    rules = Pluralizer()  # type: ignore[no-untyped-call]  # the rest of it is typed
    rules.add_irregular_rule("lens", "lenses")  # its rules and the dictionary share the spelling `lense`
    rules.add_irregular_rule("larva", "larvae")
    rules.add_irregular_rule("antenna", "antennae")
    return rules
