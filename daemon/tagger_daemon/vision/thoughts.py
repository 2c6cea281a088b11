"""Tells what a model thought from what it answers. A thought never becomes a photo's text."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
#: Qwen, DeepSeek, GLM, InternVL; Mistral; Kimi-VL; models taught by OpenThoughts' traces.
_OPEN: Final = rf"(?:<{_NAME}>|\[{_NAME}\]|\u25c1{_NAME}\u25b7|<\|begin_of_thought\|>)"
_CLOSE: Final = rf"(?:</{_NAME}>|\[/{_NAME}\]|\u25c1/{_NAME}\u25b7|<\|end_of_thought\|>)"

_MARK: Final = re.compile(rf"{_OPEN}|{_CLOSE}", re.IGNORECASE)
_TRACE: Final = re.compile(rf"\A\s*{_OPEN}.*?(?:{_CLOSE}|\Z)", re.DOTALL | re.IGNORECASE)
#: Some templates open the trace in the prompt, so that the answer holds only its end.
_TRACE_END: Final = re.compile(rf"\A.*{_CLOSE}", re.DOTALL | re.IGNORECASE)

#: gpt-oss and its like: <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…
_CHANNEL: Final = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>", re.IGNORECASE)
_CHANNEL_END: Final = re.compile(r"(?:\s*<\|(?:end|return|im_end)\|>)+\s*\Z", re.IGNORECASE)

#: What is put around the answer after a trace: GLM-V, LLaVA-CoT, and what "answer in tags" teaches.
_ANSWER: Final = re.compile(
    r"\A.*<(answer|conclusion|response|output)>(.*?)(?:</\1>|\Z)\s*\Z", re.DOTALL | re.IGNORECASE
)
_BOXED: Final = re.compile(
    r"\A\s*<\|begin_of_(box|solution)\|>(.*?)(?:<\|end_of_\1\|>|\Z)\s*\Z", re.DOTALL | re.IGNORECASE
)

#: Thinking aloud, without any tag. Where it ends cannot be told, so none of it is used.
_HESITATION: Final = (  # what stands in quotation marks is somebody else's
    r"[^\w\"'\u2018\u201c\u201e\u00ab]*"
    r"(?:(?:okay|ok|alright|all right|right|hmm+|so|well|got it|great|now|first|wait)\b[,.!:;\s-]*)*"
)
_CONSIDERATIONS: Final = (
    r"the user(?:['\u2019]s)?\s(?:\w+\s)?(?:want|ask|is|has|provided|gave|need|would|request|prompt|query)",
    r"(?:i|we)\s(?:need|have|want|ought) (?:to|one|the|an? (?:caption|description|list|sentence|keyword))\b",
    r"(?:i|we)\s(?:should|must|am going|(?:are|was|am) asked|am supposed)\b",
    r"(?:i|we)(?:['\u2019]ll| will)\s(?:need|start|begin|look|analy[sz]e|describe|write|go|try|first)\b",
    r"let(?:['\u2019]s| me| us)\s(?:see|look|think|analy[sz]e|start|break|describe|examine|identify|write)\b",
    r"let(?:['\u2019]s| me| us)\s(?:craft|consider|tackle|figure|draft|check|list|count|try|take)\b",
    r"let(?:['\u2019]s| me| us)\s(?:go|begin) (?:over|through|with|by)\b",
    r"the (?:task|instructions?|prompt|question|request)\s(?:is|are) (?:to|that|for|asking)\b",
    r"the (?:task|instructions?|prompt|question|request)\s(?:says?|asks?|wants?|requires?)\b",
    r"(?:(?:my|the) )?(?:thinking|thought|reasoning) process\b|analysis:|step 1\s?[:.,-]",
)
#: In Chinese: "all right, the user ...", "I need ...", "first, I ...".
_CHINESE: Final = (
    r"\s*(?:(?:\u597d\u7684?|\u55ef)[\uff0c,\u3002]?\s*)?"
    r"(?:\u7528\u6237|\u6211\u9700\u8981|\u9996\u5148[\uff0c,]\s*\u6211)"
)
_ALOUD: Final = re.compile(
    rf"{_HESITATION}(?:{'|'.join(_CONSIDERATIONS)})|{_CHINESE}",
    re.IGNORECASE,
)
#: And what nobody says but a model that thinks, wherever it stands.
_USER: Final = re.compile(r"\bthe user (?:wants|asks|asked|has asked|is asking|requested)\b", re.IGNORECASE)


def answer_of(text: str) -> str:
    """Return what comes after the thoughts; empty if there is nothing else."""
    text = _final_channel(text)
    text = _TRACE_END.sub("", _TRACE.sub("", text))
    for around in (_ANSWER, _BOXED):
        if wrapped := around.match(text):
            text = wrapped[2]
    return text


def has_trace(text: str) -> bool:
    """Tell whether thoughts are marked in an answer, wherever they stand; empty marks hold none."""
    if any(channel[1].casefold() != "final" for channel in _CHANNEL.finditer(text)):
        return True
    marks = list(_MARK.finditer(text))
    if not marks:
        return False
    closed = re.fullmatch(_CLOSE, marks[-1][0], re.IGNORECASE)
    thoughts = text[: marks[-1].start()] if closed else text
    return bool(_MARK.sub("", thoughts).strip())


def thinks_aloud(text: str) -> bool:
    """Tell whether an answer considers what it should be."""
    return bool(_ALOUD.match(text) or _USER.search(text))


def _final_channel(text: str) -> str:
    """Return the last message, if its channel is the final one, of an answer that consists of channels."""
    channels = list(_CHANNEL.finditer(text))
    if not channels:
        return text
    last = channels[-1]
    return _CHANNEL_END.sub("", text[last.end() :]) if last[1].casefold() == "final" else ""
