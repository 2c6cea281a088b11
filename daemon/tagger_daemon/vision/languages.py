"""What a language is called when a model is told to write in it. The names are those of Unicode's CLDR."""

from __future__ import annotations

from babel import Locale
from babel.core import parse_locale

#: Codes that stand for no language that anybody could write in.
NOT_ONE = frozenset({"mul", "und", "zxx", "mis"})


def language_name(tag: str) -> str:
    """Return the English name of a language: `pt-BR` is Brazilian Portuguese, `sr-Latn` Serbian (Latin).

    Args:
        tag: BCP 47, with script and region at most.

    Raises:
        ValueError: there is no such language, script or region.
    """
    english = Locale("en")
    code, region, script, *others = parse_locale(tag, sep="-")
    details = {script: english.scripts, region: english.territories}
    names = [english.languages.get(code), *(known.get(part) for part, known in details.items() if part)]
    if code in NOT_ONE or any(others) or not all(names):
        raise ValueError("no such language; give a BCP 47 tag such as en, de, pt-BR or zh-Hant")
    whole = "_".join(part for part in (code, script, region) if part)
    if whole in english.languages:
        return str(english.languages[whole])
    first, *rest = map(str, names)
    return f"{first} ({', '.join(rest)})"
