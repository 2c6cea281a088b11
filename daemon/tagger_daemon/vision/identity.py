"""What a server shows of itself, held against its entry and against what it showed first.

"Deterministic" means: the model that the registry describes answers, or its work stops, loudly. What a
backend does not tell cannot be held. It is None here, and neither right nor wrong, unless the registry pins
it and servers of this kind do tell.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from tagger_daemon.model import UNVERIFIABLE, Value
from tagger_daemon.vision.dialects import DIALECTS
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.wire import one_line, serves

#: Hexadecimal digits that a shortened digest needs; Ollama's own listings show as many.
SHORTEST_DIGEST: Final = 12

#: Where the hub's cache keeps a repository: `models--Qwen--Qwen3-VL-8B-Instruct/snapshots/3f9c…`.
_CACHED: Final = re.compile(r"(?:^|/)models--([^/]+?)--([^/]+)/snapshots/[^/]+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation(Value):
    """What one endpoint shows of the model that an entry asks for; None where it does not tell."""

    served: tuple[str, ...] = ()  # names that it may be asked for; empty where its list tells none
    digest: str | None = None  # of the model, as the server tells it
    remote: str | None = None  # host and model that it passes requests on to, instead of answering itself
    context: int | None = None  # tokens that one request may have
    vision: bool | None = None  # takes pictures
    model_path: str | None = None  # folder, file or repository that the model was loaded from
    weights: str | None = None  # how the weights are stored, or their version
    template: str | None = None  # sha256/16 of the template that turns messages into a prompt
    build: str | None = None  # of the server's program
    slots: int | None = None  # requests that it works on at once

    def filled(self, older: Observation) -> Observation:
        """Return this one, with what only the older one knows."""
        gaps = [name for name in self.__slots__ if getattr(self, name) in (None, ())]
        return self.evolve(**{name: getattr(older, name) for name in gaps})


def drifts(
    entry: Entry, endpoint: str, shown: Observation, first: Observation | None = None, *, asked: bool = False
) -> tuple[str, ...]:
    """Return one sentence, with both values, for each thing that is not as it has to be.

    Args:
        entry: says what has to be.
        endpoint: base URL, for the sentences.
        shown: what the endpoint shows now.
        first: what it showed when it was first found right; holds what the registry leaves open.
        asked: it has just answered us. Over its own interface, Ollama loads a model with the context that a
            request asks for; what it shows before may be what another program has asked for.
    """
    return (*_against_entry(entry, endpoint, shown, asked), *_against_first(entry, endpoint, shown, first))


def news(before: Observation, now: Observation) -> tuple[str, ...]:
    """Return what is not as it was: the parts whose change means that pictures have to be tried anew.

    A name more in the list, and a value that is told only now and then, are none.
    """
    parts = {
        "digest": (before.digest, now.digest),
        "context": (before.context, now.context),
        "eyes": (before.vision, now.vision),
        "path of the model": (before.model_path, now.model_path),
        "weights": (before.weights, now.weights),
        "template": (before.template, now.template),
        "build": (before.build, now.build),
    }
    return tuple(
        f"{part} {new}, before {old}"
        for part, (old, new) in parts.items()
        if old is not None and new is not None and old != new
    )


def told(entry: Entry, shown: Observation) -> str:
    """Return in one line what an endpoint shows, for people."""
    parts = (
        f"serves {entry.served_model}",
        f"digest {shown.digest or UNVERIFIABLE}",
        f"context {shown.context}" if shown.context else "context not told",
        {True: "sees pictures", False: "does not see pictures", None: "eyes not told"}[shown.vision],
        f"from {shown.model_path}" if shown.model_path else "",
        f"build {shown.build}" if shown.build else "",
        f"passes requests on to {shown.remote}" if shown.remote else "",
    )
    return ", ".join(part for part in parts if part)


def template_hash(template: str) -> str:
    """Return the short hash of a chat template."""
    return hashlib.sha256(template.encode(errors="replace")).hexdigest()[:16]


def same_digest(one: str, other: str) -> bool:
    """Tell whether two digests name the same content; either may be shortened, or lack its `sha256:`."""
    short, long = sorted((_bare(one), _bare(other)), key=len)
    return short == long or (len(short) >= SHORTEST_DIGEST and long.startswith(short))


def same_path(one: str, other: str) -> bool:
    """Tell whether two paths can name the same model.

    Two absolute paths have to be equal. A relative one, or the name of a repository, is compared with an
    absolute one by the last part, as nobody knows where it is kept; with one of its kind as far as both go.
    """
    ours, theirs = _parts(one), _parts(other)
    rooted = (ours[0] == "/", theirs[0] == "/")
    if rooted == (True, True):
        return ours == theirs
    if any(rooted):
        return ours[-1] == theirs[-1]
    length = min(len(ours), len(theirs))
    return ours[-length:] == theirs[-length:]


def _against_entry(entry: Entry, endpoint: str, shown: Observation, asked: bool) -> Iterator[str]:
    name, dialect = repr(entry.name), DIALECTS[entry.dialect]
    if shown.served and dialect.names_models and not serves(shown.served, entry.served_model):
        names = one_line(", ".join(shown.served))
        yield f"{name} asks for {entry.served_model!r}, but {endpoint} serves {names}"
    if entry.digest and shown.digest and not same_digest(entry.digest, shown.digest):
        yield f"{name} pins digest {entry.digest}, but {endpoint} serves {shown.digest}"
    if entry.digest and not shown.digest and dialect.digests:
        yield f"{name} pins digest {entry.digest}, but {endpoint} tells none of {entry.served_model!r}"
    has_ours = asked or not dialect.native
    if has_ours and entry.context and shown.context and shown.context < entry.context:
        yield f"{name} needs a context of {entry.context} tokens, but {endpoint} gives {shown.context}"
    if shown.vision is False:
        yield f"{name} is to see pictures, but {endpoint} says that its {entry.served_model!r} does not"
    if entry.model_path and shown.model_path and not same_path(entry.model_path, shown.model_path):
        yield f"{name} is to be served from {entry.model_path}, but {endpoint} serves {shown.model_path}"


def _against_first(
    entry: Entry, endpoint: str, shown: Observation, first: Observation | None
) -> Iterator[str]:
    if first is None:
        return
    held = {
        "digest": (first.digest, shown.digest, entry.digest is None),
        "a model from": (first.model_path, shown.model_path, entry.model_path is None),
        "weights": (first.weights, shown.weights, True),
        "a template of hash": (first.template, shown.template, True),
    }
    for what, (old, new, is_open) in held.items():
        if is_open and old is not None and new is not None and old != new:
            yield (
                f"{entry.name!r} was served by {endpoint} with {what} {old} at first, and now with {new}; if"
                " that is meant, restart the service"
            )


def _bare(digest: str) -> str:
    return digest.strip().lower().removeprefix("sha256:")


def _parts(path: str) -> tuple[str, ...]:
    """Return a path's parts, the first being "/" for an absolute one; never empty."""
    path = path.strip().replace("\\", "/")
    if cached := _CACHED.search(path.rstrip("/")):
        return (cached[1], cached[2])
    drive = re.match(r"[A-Za-z]:/", path)
    return PurePosixPath(path[2:] if drive else path).parts or (".",)
