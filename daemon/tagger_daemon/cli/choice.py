"""Decides what options that were typed together mean for the models.

Pure. What is typed must not be lost to what stands in a file: a model on the command line counts although the
configuration says `use_registry`, and one for all stages although the configuration has one for captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tagger_daemon.options import STAGE_WORDS, BatchOptions

WORDS: Final = tuple(STAGE_WORDS.values())
#: What is said of a model that is named without a registry.
OF_MODELS: Final = ("model", "backend", "base_url")


class Contradiction(Exception):
    """Two options cannot both be meant."""

    def __init__(self, first: str, second: str, why: str) -> None:
        super().__init__(f"{first} and {second}: {why}")
        self.settings = (first, second)  # by which they are known
        self.why = why


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the options set.

    Args:
        given: setting -> value, as it was typed; what was not typed is absent.

    Raises:
        Contradiction: two of them cannot both be meant.
    """
    _check(given)
    models = [*_all(given, OF_MODELS)]
    entries = [*_all(given, ("registry_model",))]
    asks_registry = [*entries, *_all(given, ("role",)), *_typed(given, ("use_loader",))]
    effects: dict[str, Any] = {}
    if models:
        # Each stage as it was said: an entry if one is named, else the model, else whoever has the role.
        effects["use_registry"] = None
    elif asks_registry:
        effects["use_registry"] = True
    if given.get("use_registry"):
        effects["use_loader"] = False  # only what runs, as with `tagger-daemon run`
    for what in OF_MODELS:
        if given.get(what):
            effects |= {f"{word}_{what}": "" for word in WORDS}
    for word in WORDS:
        if given.get("model") or given.get(f"{word}_model"):
            effects[f"{word}_registry_model"] = ""
    return {**effects, **given}


def without_effect(given: Mapping[str, Any], settings: BatchOptions) -> str | None:
    """Return the first typed setting that says where a model is, while none is named; None: there is none."""
    for what in ("backend", "base_url"):
        if given.get(what) and not any(_model(settings, word) for word in WORDS):
            return what
        for word in WORDS:
            if given.get(f"{word}_{what}") and not _model(settings, word):
                return f"{word}_{what}"
    return None


def _model(settings: BatchOptions, word: str) -> str:
    """Return the model that is named for a stage without a registry; "" where the registry has its say."""
    if settings.use_registry or getattr(settings, f"{word}_registry_model"):
        return ""
    model: str = getattr(settings, f"{word}_model") or settings.model
    return model


def _check(given: Mapping[str, Any]) -> None:
    models = [*_all(given, OF_MODELS)]
    entries = [*_all(given, ("registry_model",))]
    roles = [*_all(given, ("role",))]
    if given.get("use_registry") and models:
        raise Contradiction("use_registry", models[0], "the registry says who answers, or you do")
    if given.get("use_loader") and models and not entries and not roles:
        raise Contradiction("use_loader", models[0], "servers are started for models of the registry only")
    if given.get("use_registry") is False and roles:
        raise Contradiction(
            "use_registry", roles[0], "a role is given by the registry, which is not to be used"
        )
    for word in WORDS:
        ways = [*_typed(given, (f"{word}_model", f"{word}_registry_model", f"{word}_role"))]
        if given.get("model") and given.get(f"{word}_role"):
            ways = ["model", f"{word}_role"]
        if len(ways) > 1:
            raise Contradiction(ways[0], ways[1], "only one of them can answer")


def _all(given: Mapping[str, Any], whats: Iterable[str]) -> Iterable[str]:
    """Give the typed settings of these kinds, the general one and each stage's."""
    for what in whats:
        yield from _typed(given, (what, *(f"{word}_{what}" for word in WORDS)))


def _typed(given: Mapping[str, Any], keys: Iterable[str]) -> Iterable[str]:
    # An empty text takes back what a file says, and names nothing.
    return (key for key in keys if given.get(key))
