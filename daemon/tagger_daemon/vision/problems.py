"""What is wrong with a file that a person wrote, in lines that the person can act on."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one `key.path: what is wrong` for each finding, without the values that were given.

    Values stay out because a key or a password may stand in the wrong place. An unknown key is named with the
    nearest one that exists.
    """
    return [words for _, words in located(error, model)]


def located(error: ValidationError, model: type[BaseModel]) -> list[tuple[tuple[int | str, ...], str]]:
    """Return the same lines, each behind the way to the value that it is about: keys and places in lists."""
    return [
        (found["loc"], _problem(found["loc"], found["type"], found["msg"], model))
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or what there is to choose from where nothing is near."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(choices) or 'none'}"


def short_hash(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256: enough to tell contents apart."""
    return hashlib.sha256(content).hexdigest()[:16]


def _problem(location: Sequence[int | str], kind: str, message: str, model: type[BaseModel]) -> str:
    path = ".".join(str(step) for step in location)
    if kind == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(location[-1]), _keys_at(model, location[:-1]))}"
    plain = message.removeprefix("Value error, ")
    return f"{path}: {plain[:1].lower()}{plain[1:]}" if path else plain


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> Iterable[str]:
    """Return the keys that the object at this place may have."""
    for step in location:
        annotation: Any = model.model_fields[str(step)].annotation
        model = next(
            part
            for part in (annotation, *get_args(annotation))
            if isclass(part) and issubclass(part, BaseModel)
        )
    return model.model_fields
