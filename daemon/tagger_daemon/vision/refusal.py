"""Tells when a model declines instead of answering, or says that it was shown no picture."""

from __future__ import annotations

import re
from typing import Final

#: How refusals begin, by language. A model that says that it sees no picture was not shown one: no answer of
#: it is of use.
_MACHINE: Final = (
    r"an? (?:ai|artificial intelligence|(?:large )?language model|text-based|(?:virtual )?assistant)"
)
_THING: Final = r"(?:image|photo|picture|file|request|content)"
_REGRETS: Final = r"(?:sorry|apologies|unfortunately|regrettably)"
_SEEMS: Final = r"it (?:seems|looks like|appears) (?:that )?"
_ASKED: Final = r"(?:please|(?:can|could) you(?: please)?)"
_ENGLISH: Final = (
    r"(?:i['\u2019]m|i am) (?:so |very |really )?(?:sorry|afraid|unable|not able|not comfortable)\b",
    r"(?:i['\u2019]m|i am) (?:not allowed|just an?|only an?|designed|programmed)\b",
    rf"(?:i['\u2019]m|i am) {_MACHINE}\b",
    rf"{_REGRETS}[,.!]?\s(?:but )?(?:i|there is no|(?:this|the|your|no) {_THING})\b",
    r"(?:my|i offer my|please accept my) apologies\b",
    r"i (?:cannot|can not|could not|will not|must decline|apologi[sz]e|(?:can|won|couldn)['\u2019]t)\b",
    r"i (?:do not|don['\u2019]t) (?:actually |currently )?(?:see|have|feel|know)\b",
    r"i (?:did not|didn['\u2019]t|have not|haven['\u2019]t) (?:actually )?(?:receive|see|get)\b",
    r"i have no (?:access|ability|way|information)\b",
    rf"as {_MACHINE}(?:,| (?:ai|model|system|assistant|language model|i)\b)",
    r"(?:there is |i see )?no (?:image|photo|picture) (?:(?:is|was) )?(?:attached|provided|shown|given)\b",
    r"(?:there is |i see )?no (?:image|photo|picture) (?:(?:is|was) )?(?:visible|uploaded|available)\b",
    r"(?:since|as|because) (?:there is )?no (?:image|photo|picture) (?:is|was|has been)\b",
    r"without (?:(?:the|an?|any) )?(?:image|photo|picture),? i\b",
    rf"{_SEEMS}(?:there is no (?:image|photo|picture)|you haven['\u2019]t)\b",
    rf"{_SEEMS}you(?:['\u2019]ve| have| may| might| did| forgot| uploaded| are)\b",
    r"it is (?:not possible|impossible) to (?:describe|identify|caption|determine)\b",
    r"(?:the|this|your) (?:image|photo|picture) (?:can|could|did)(?: ?not|n?['\u2019]t) (?:be|load|come)\b",
    r"(?:the|this|your) (?:image|photo|picture) failed to\b",
    rf"{_ASKED} (?:provide|upload|attach|share|send)\b[^.!?]{{0,40}}\b(?:{_THING}|it|one|details|context)\b",
    r"no (?:description|caption|keywords?) (?:(?:is|are) )?(?:available|possible|provided)\b",
    r"(?:this|the|that|your) (?:request|content|prompt) (?:(?:may )?violates?|goes against|is not)\b",
)
_OTHERS: Final = (
    r"es tut mir leid|(?:tut mir )?leid, (?:aber|ich)|leider (?:kann|ist|sehe|darf) (?:ich|kein)",
    r"ich (?:kann|darf|sehe) (?:dieses|das|kein|leider|dabei|nicht|ihnen)|als (?:ki|sprachmodell)\b",
    r"(?:je suis )?désolée?\b|je ne (?:peux|vois|suis) (?:pas|aucune)",
    r"en tant qu['\u2019](?:ia|intelligence|assistant|un modèle)",
    r"lo siento\b|no puedo\b|como (?:uma? )?(?:modelo de|ia|inteligencia|asistente|assistente)\b",
    r"mi dispiace\b|non posso\b|come (?:ia|modello|intelligenza)\b",
    r"desculpe\b|sinto muito|não (?:posso|consigo)\b",
    r"het spijt me|helaas (?:kan|zie) ik|als (?:ai|taalmodel)\b",
    # Russian: unfortunately, excuse me, I cannot
    "\u043a \u0441\u043e\u0436\u0430\u043b\u0435\u043d\u0438\u044e",
    "\u0438\u0437\u0432\u0438\u043d\u0438\u0442\u0435",
    "\u043f\u0440\u043e\u0441\u0442\u0438\u0442\u0435|\u044f \u043d\u0435 \u043c\u043e\u0433\u0443",
    # Chinese: sorry, I cannot, as an AI
    "\u5f88?(?:\u62b1\u6b49|\u5bf9\u4e0d\u8d77|\u5c0d\u4e0d\u8d77)",
    "\u6211(?:\u65e0\u6cd5|\u7121\u6cd5|\u4e0d\u80fd)",
    "\u4f5c\u4e3a(?:\u4e00\u4e2a)?(?:AI|\u4eba\u5de5)",
    # Japanese and Korean: sorry
    "\u7533\u3057\u8a33|\u3059\u307f\u307e\u305b\u3093|\uc8c4\uc1a1",
)
_REFUSAL: Final = re.compile("|".join((*_ENGLISH, *_OTHERS)), re.IGNORECASE)

#: Where a sentence about what the model may not say can begin, behind one that describes.
_SENTENCE: Final = re.compile(r"(?<=[.!?;\u3002])\s+(?=\S)|\n+")
_MARKS: Final = " \t-*,;:.\u2026"
#: And what nobody says but a model, wherever it stands.
_ANYWHERE: Final = re.compile(
    r"(?<!['\u2018])\b(?:i['\u2019]m|i am) (?:unable|not able|not allowed|sorry)\b"
    r"|\bas an ai(?:,| (?:model|language|assistant|i)\b)"
    r"|(?<!['\u2018])\bi (?:cannot|can['\u2019]t) (?:identify|assist)\b"
    r"|\byou (?:haven['\u2019]t|have not|didn['\u2019]t|did not) (?:attach|provid|upload|shar|includ)\w*"
    r"[^.!?]{0,30}\b(?:image|photo|picture|file|one)\b",
    re.IGNORECASE,
)
_QUOTES: Final = '"\u201c\u201d\u201e'
_QUOTED: Final = re.compile(rf"[{_QUOTES}][^{_QUOTES}]*[{_QUOTES}]")

#: Left to be filled in: "[insert caption here]", "[Your description]".
_PLACEHOLDER: Final = re.compile(
    r"\[(?:insert|your|add|name of|describe|caption|description|image|photo|picture|placeholder)\b[^\]]*\]"
    r"|(?:insert|add) (?:your |the )?(?:caption|description) here",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Tell whether a text declines, at its beginning or in a later sentence or line of the model's own.

    What a sign or a person in the picture says, in quotation marks, is no refusal.
    """
    is_quoted = False
    for sentence in _SENTENCE.split(text):
        if not is_quoted and _REFUSAL.match(sentence.lstrip(_MARKS)):
            return True
        is_quoted ^= sum(letter in _QUOTES for letter in sentence) % 2 == 1
    return bool(_ANYWHERE.search(_QUOTED.sub("", text)))


def is_unfilled(text: str) -> bool:
    """Tell whether a text is a form that somebody else is to fill in."""
    return bool(_PLACEHOLDER.search(text))
