"""The form that an answer is wanted in: text, or JSON that fits one of a few simple schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tagger_daemon.model import Stage, Value
from tagger_daemon.vision.builtin.refusals import Refusal

_NOTES = {"$schema", "$id", "title", "description", "examples", "default"}  # they constrain nothing
_OBJECT = {"type", "properties", "required", "additionalProperties"}
_ARRAY = {"type", "items", "maxItems", "uniqueItems"}
_STRING = {"type", "maxLength"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form(Value):
    """What the answer must look like."""

    json: bool = False  # False: plain text, one keyword a line
    key: str | None = None  # the one property of the object; None: the stage's name, or no object at all
    wrapped: bool = True  # an object around the value
    listed: bool | None = None  # the value is a list; None: as the answer comes
    max_items: int | None = None
    max_length: int | None = None  # characters of each string


TEXT = Form()


def read_form(response_format: object) -> Form:
    """Read a request's `response_format`.

    Raises:
        Refusal: an unknown type, or a schema other than an object with one property that is a string or a
            list of strings, or such a value by itself.
    """
    match response_format:
        case None | {"type": "text"}:
            return TEXT
        case {"type": "json_object"}:
            return Form(json=True)
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return _read_schema(schema)
        case _:
            raise Refusal(
                "`response_format` must be text, json_object, or json_schema with a schema.",
                param="response_format",
            )


def render(answer: str | tuple[str, ...], stage: Stage, form: Form) -> str:
    """Return the answer in the wanted form."""
    if not form.json:
        return answer if isinstance(answer, str) else "\n".join(answer)
    value: str | list[str]
    if form.listed is None:
        value = answer if isinstance(answer, str) else list(answer)
    elif form.listed:
        items = [answer] if isinstance(answer, str) else answer
        value = [_shortened(item, form.max_length) for item in items][: form.max_items]
    else:
        value = _shortened(answer if isinstance(answer, str) else ", ".join(answer), form.max_length)
    return json.dumps({form.key or stage.value: value} if form.wrapped else value, ensure_ascii=False)


def _read_schema(schema: Mapping[str, Any]) -> Form:
    if schema.get("type") != "object":
        return _read_value(schema, Form(json=True, wrapped=False))
    _only(schema, _OBJECT)
    match schema.get("properties"):
        case dict(properties) if len(properties) == 1:
            ((key, value),) = properties.items()
        case _:
            raise _unsupported("an object must have exactly one property")
    if schema.get("required", []) not in ([], [key]):
        raise _unsupported("it requires a property that it does not have")
    if not isinstance(value, dict):
        raise _unsupported("a property must have a schema")
    return _read_value(value, Form(json=True, key=key))


def _read_value(schema: Mapping[str, Any], form: Form) -> Form:
    match schema:
        case {"type": "string"}:
            _only(schema, _STRING)
            return form.evolve(listed=False, max_length=_count(schema, "maxLength"))
        case {"type": "array", "items": {"type": "string"} as items}:
            _only(schema, _ARRAY)
            _only(items, _STRING)
            return form.evolve(
                listed=True, max_items=_count(schema, "maxItems"), max_length=_count(items, "maxLength")
            )
        case _:
            raise _unsupported("its value must be a string or an array of strings")


def _only(schema: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a schema with a keyword that would not be kept to."""
    if unknown := schema.keys() - known - _NOTES:
        raise _unsupported(f"`{min(unknown)[:40]}` is not known here")


def _count(schema: Mapping[str, Any], name: str) -> int | None:
    value = schema.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise _unsupported(f"`{name}` must be a whole number from 1 on")
    return value


def _unsupported(reason: str) -> Refusal:
    return Refusal(f"This JSON schema is not supported: {reason}.", param="response_format")


def _shortened(text: str, limit: int | None) -> str:
    """Return the text, cut at the last space within the limit where it has one."""
    if limit is None or len(text) <= limit:
        return text
    whole_words = text[: limit + 1].rpartition(" ")[0]
    return (whole_words or text[:limit]).rstrip(" ,;")
