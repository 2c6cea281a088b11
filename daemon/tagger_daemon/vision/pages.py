"""The pages on which servers tell what they are: foreign bytes in, an observation out.

The shapes are those of vLLM 0.33, SGLang 0.5.23, llama-server b11434 and Ollama 0.33, and of LM Studio's
documentation. A page, a field or one of a list that is not as expected tells nothing, and hides nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from tagger_daemon.vision.identity import Observation, template_hash
from tagger_daemon.vision.wire import one_line, serves

#: Characters; Linux takes no longer path.
LONGEST_PATH: Final = 4096

#: Gateways list some hundreds of models; more than this is no list.
LONGEST_LIST: Final = 5000

_T = TypeVar("_T")


def _usable(value: Any, check: ValidatorFunctionWrapHandler) -> list[Any]:
    """Return what is as expected in a list; one that is odd hides no other."""
    value = [] if value is None else value
    if not isinstance(value, list) or len(value) > LONGEST_LIST:
        return list(check(value))  # which says what is wrong
    usable: list[Any] = []
    for one in value:
        with contextlib.suppress(ValidationError):
            usable += check([one])
    return usable


def _path(text: str) -> str:
    # Not shortened as words are: a path is compared to its end.
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST_PATH])


Words = Annotated[str, AfterValidator(one_line)]
Place = Annotated[str, AfterValidator(_path)]
Count = Annotated[int, Field(ge=1)]
Many = Annotated[list[_T], Field(max_length=LONGEST_LIST), WrapValidator(_usable)]


class _Page(BaseModel):
    """A page, or a part of one: fields that nobody asked about are ignored, and odd ones tell nothing."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _odd_is_untold(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        try:
            return check(value)
        except ValidationError:
            if field.is_required():
                raise
            return field.get_default(call_default_factory=True)


class _Meta(_Page):
    n_ctx: Count | None = None  # llama-server: of one slot


class _Card(_Page):
    id: Words
    aliases: Many[Words] = []  # llama-server
    root: Place | None = None  # vLLM: path or repository; elsewhere the name once more
    max_model_len: Count | None = None  # vLLM, SGLang
    meta: _Meta = _Meta()


class _Models(_Page):
    data: Many[_Card] = []


class _Version(_Page):
    version: Words | None = None


class _Modalities(_Page):
    vision: bool | None = None


class _Props(_Page):
    model_path: Place | None = None
    model_ftype: Words | None = None
    chat_template: str | None = None
    build_info: Words | None = None
    total_slots: Count | None = None
    modalities: _Modalities = _Modalities()
    default_generation_settings: _Meta = _Meta()


class _ModelInfo(_Page):
    model_path: Place | None = None
    weight_version: Words | None = None
    has_image_understanding: bool | None = None


class _Tag(_Page):
    name: Words
    digest: Words | None = None
    remote_host: Words | None = None
    remote_model: Words | None = None
    context_length: Count | None = None  # in /api/ps: what is allocated


class _Tags(_Page):
    models: Many[_Tag] = []


class _Shown(_Page):
    template: str | None = None
    capabilities: list[Words] | None = None
    remote_host: Words | None = None
    remote_model: Words | None = None


class _Config(_Page):
    context_length: Count | None = None


class _Instance(_Page):
    id: Words
    config: _Config = _Config()


class _Quantization(_Page):
    name: Words | None = None


class _Capabilities(_Page):
    vision: bool | None = None


class _Known(_Page):
    key: Words
    variants: Many[Words] = []
    quantization: _Quantization | None = None
    capabilities: _Capabilities | None = None
    loaded_instances: Many[_Instance] = []

    def names(self) -> tuple[str, ...]:
        return (self.key, *self.variants, *(instance.id for instance in self.loaded_instances))


class _Library(_Page):
    models: Many[_Known] = []


def from_models(page: bytes, *, wanted: str, rooted: bool) -> Observation:
    """Read /v1/models.

    Args:
        page: the body; empty where there is no such page.
        wanted: the name that is asked for.
        rooted: `root` is where the model was loaded from, as vLLM has it.
    """
    cards = _read(_Models, page).data
    names = tuple(dict.fromkeys(name for card in cards for name in (card.id, *card.aliases)))
    card = next((card for card in cards if wanted in (card.id, *card.aliases)), None)
    if card is None:
        return Observation(served=names)
    return Observation(
        served=names,
        context=card.max_model_len or card.meta.n_ctx,
        model_path=card.root if rooted else None,
    )


def from_version(page: bytes) -> Observation:
    """Read vLLM's /version, or Ollama's /api/version."""
    return Observation(build=_read(_Version, page).version)


def from_props(page: bytes) -> Observation:
    """Read llama-server's /props."""
    props = _read(_Props, page)
    return Observation(
        model_path=props.model_path,
        weights=props.model_ftype,
        template=template_hash(props.chat_template) if props.chat_template else None,
        build=props.build_info,
        slots=props.total_slots,
        vision=props.modalities.vision,
        context=props.default_generation_settings.n_ctx,
    )


def from_model_info(page: bytes) -> Observation:
    """Read SGLang's /model_info."""
    info = _read(_ModelInfo, page)
    return Observation(
        model_path=info.model_path, weights=info.weight_version, vision=info.has_image_understanding
    )


def from_ollama(tags: bytes, shown: bytes, running: bytes, *, wanted: str) -> Observation:
    """Read Ollama's /api/tags, /api/show and /api/ps; the last tells a context only of a loaded model."""
    known = _read(_Tags, tags).models
    tag, loaded = _tag(known, wanted), _tag(_read(_Tags, running).models, wanted)
    show = _read(_Shown, shown)
    return Observation(
        served=tuple(one.name for one in known),
        digest=tag.digest if tag else None,
        remote=_remote(tag) or _remote(show),
        context=loaded.context_length if loaded else None,
        vision=None if show.capabilities is None else "vision" in show.capabilities,
        template=template_hash(show.template) if show.template else None,
    )


def from_lmstudio(page: bytes, *, wanted: str) -> Observation:
    """Read LM Studio's /api/v1/models; a context is told only of a loaded model."""
    models = _read(_Library, page).models
    names = tuple(dict.fromkeys(name for model in models for name in model.names()))
    model = next((model for model in models if wanted in model.names()), None)
    if model is None:
        return Observation(served=names)
    loaded = model.loaded_instances
    asked = [instance for instance in loaded if instance.id == wanted] or loaded
    return Observation(
        served=names,
        context=min((one.config.context_length for one in asked if one.config.context_length), default=None),
        vision=model.capabilities.vision if model.capabilities else None,
        weights=model.quantization.name if model.quantization else None,
    )


_P = TypeVar("_P", bound=_Page)


def _read(kind: type[_P], page: bytes) -> _P:
    try:
        return kind.model_validate_json(page)
    except ValidationError:
        return kind()


def _tag(tags: Iterable[_Tag], wanted: str) -> _Tag | None:
    return next((tag for tag in tags if serves((tag.name,), wanted)), None)


def _remote(told: _Tag | _Shown | None) -> str | None:
    if told is None or not (told.remote_host or told.remote_model):
        return None
    return f"{told.remote_host or 'another host'} ({told.remote_model or 'model not told'})"
