"""How each kind of model server looks from outside, as the scripted one plays it.

What stands here was read off real servers (llama-server b11434, vLLM 0.32, transformers 5.23, LiteLLM 1.106)
or in the code and documentation of those that were not run. All of it is pure; `support.model_server` serves
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from support.chat_wire import Fail, Recorded, error_body

COMMON_CHAT = "/v1/chat/completions"
NATIVE_CHAT = "/api/chat"
CHAT_PATHS = frozenset({COMMON_CHAT, NATIVE_CHAT})

Shape = Literal["nested", "flat", "string", "list", "detail"]

#: Request fields that transformers takes; any other is an error.
KNOWN_TO_TRANSFORMERS = frozenset(
    {"model", "messages", "max_tokens", "temperature", "top_p", "seed", "stop", "stream", "generation_config"}
)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What a server has to tell about itself."""

    models: tuple[str, ...]
    context: int  # tokens of one request
    slots: int  # requests that are worked on at once
    vision: bool


@dataclass(frozen=True, kw_only=True)
class Face:
    """One kind of server."""

    pages: Callable[[Serving], Mapping[str, Any]]  # what GET answers, by path; bytes go out as they are
    health: str | None = None  # of these, the one that `health_status` is about
    listing: str = "/v1/models"  # of these, the one that `models_status` is about
    chats: tuple[str, ...] = (COMMON_CHAT,)
    errors: Shape = "nested"
    reasoning: str = "reasoning_content"  # the field with the thinking trace; native: always `thinking`
    tells_cached: bool = False  # says how many tokens it had cached, without being told to
    unknown_model: tuple[int, str] | Literal["own name", "echo"] = (404, "The model `{}` does not exist.")
    overloaded: int = 503  # status when its queue is full
    hangs_up_after_500: bool = False  # and does not say so


def refusal(face: Face, request: Recorded, models: tuple[str, ...]) -> Fail | None:
    """Return why this kind of server does not take a chat request; None if it does."""
    asked = request.json
    if asked is None:
        return Fail(400, error_body(_shape(face, request), "The body is not a JSON object.", 400))
    unknown = sorted(asked.keys() - KNOWN_TO_TRANSFORMERS)
    if face is FACES["transformers"] and unknown:
        return Fail(422, error_body("detail", f"Unexpected fields in the request: {unknown}"))
    if face is FACES["lmdeploy"] and asked.get("reasoning_effort") == "none":
        return Fail(422, {"detail": [{"loc": ["body", "reasoning_effort"], "msg": "Input should be 'low'"}]})
    if face is FACES["lmstudio"] and (asked.get("response_format") or {}).get("type") == "json_object":
        return Fail(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"})
    model = asked.get("model")
    if _goes_by(model, models) or not isinstance(face.unknown_model, tuple):
        return None
    status, words = face.unknown_model
    return Fail(status, error_body(_shape(face, request), words.format(model), status))


def answers_as(face: Face, asked: Any, models: tuple[str, ...]) -> Any:
    """Return the name under which this kind of server answers a request for a model."""
    return models[0] if face.unknown_model == "own name" else asked


def digest_of(model: str) -> str:
    """Return the digest that Ollama tells of a model."""
    return hashlib.sha256(model.encode()).hexdigest()


def _goes_by(name: Any, models: tuple[str, ...]) -> bool:
    return name in models or f"{name}:latest" in models or str(name).removesuffix(":latest") in models


def _shape(face: Face, request: Recorded) -> Shape:
    # Ollama speaks the OpenAI protocol's errors under /v1.
    return "nested" if face.errors == "string" and request.path == COMMON_CHAT else face.errors


def _listed(serving: Serving, **more: Any) -> dict[str, Any]:
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "tests", **more} for name in serving.models
    ]
    return {"object": "list", "data": models}


def _vllm(serving: Serving) -> Mapping[str, Any]:
    return {
        "/health": b"",
        "/version": {"version": "0.32.0"},
        "/v1/models": _listed(serving, max_model_len=serving.context, root="/models/test-vlm"),
    }


def _lmdeploy(serving: Serving) -> Mapping[str, Any]:
    return {"/health": {"status": "ok"}, "/v1/models": _listed(serving)}


def _llama_server(serving: Serving) -> Mapping[str, Any]:
    modalities = {"vision": serving.vision, "audio": False}
    listing = _listed(serving, meta={"n_ctx": serving.context, "n_params": 1_590_000})
    listing["models"] = [
        {"name": name, "model": name, "capabilities": ["completion", *(["multimodal"] * serving.vision)]}
        for name in serving.models
    ]
    props = {
        "default_generation_settings": {"n_ctx": serving.context},
        "total_slots": serving.slots,
        "model_alias": serving.models[0] if serving.models else "",
        "model_path": "/models/test-vlm.gguf",
        "chat_template": "{{ messages }}",
        "modalities": modalities,
        "build_info": "b11434",
    }
    slots = [{"id": number, "n_ctx": serving.context} for number in range(serving.slots)]
    return {"/health": {"status": "ok"}, "/v1/models": listing, "/props": props, "/slots": slots}


def _sglang(serving: Serving) -> Mapping[str, Any]:
    info = {
        "model_path": "/models/test-vlm",
        "weight_version": "default",
        "has_image_understanding": serving.vision,
    }
    return {
        "/health": b"",
        "/ready": b"",
        "/model_info": info,
        "/v1/models": _listed(serving, max_model_len=serving.context),
    }


def _ollama(serving: Serving) -> Mapping[str, Any]:
    tags = [
        {
            "name": name if ":" in name else f"{name}:latest",
            "model": name if ":" in name else f"{name}:latest",
            "digest": digest_of(name),
            "details": {"format": "gguf", "family": "qwen3vl"},
        }
        for name in serving.models
    ]
    show = {
        "template": "{{ .Prompt }}",
        "parameters": f"num_ctx {serving.context}",
        "capabilities": ["completion", *(["vision"] * serving.vision)],
        "details": {"family": "qwen3vl"},
    }
    return {
        "/api/version": {"version": "0.33.2"},
        "/api/tags": {"models": tags},
        "/api/ps": {"models": [{**tag, "context_length": serving.context} for tag in tags]},
        "/api/show": show,  # asked by POST
        "/v1/models": _listed(serving),
    }


def _lmstudio(serving: Serving) -> Mapping[str, Any]:
    models = [
        {
            "type": "llm",
            "key": name,
            "quantization": {"name": "Q4_K_M"},
            "capabilities": {"vision": serving.vision},
            "loaded_instances": [{"id": name, "config": {"context_length": serving.context}}],
        }
        for name in serving.models
    ]
    return {"/api/v1/models": {"models": models}, "/v1/models": _listed(serving)}


def _litellm(serving: Serving) -> Mapping[str, Any]:
    return {
        "/health/liveliness": "I'm alive!",
        "/health/readiness": {"status": "connected", "db": "Not connected"},
        "/v1/models": _listed(serving),
    }


def _transformers(serving: Serving) -> Mapping[str, Any]:
    # It lists what its cache of a hub holds, which a model of a local path is not in.
    return {"/health": {"status": "ok"}, "/v1/models": {"object": "list", "data": []}}


def _plain(serving: Serving) -> Mapping[str, Any]:
    return {"/v1/models": _listed(serving)}


def _builtin(serving: Serving) -> Mapping[str, Any]:
    return {"/health": {"status": "ok"}, **_plain(serving)}


_OLLAMA_UNKNOWN = (404, "model '{}' not found, try pulling it first")

#: By the name of the dialect that is spoken to it.
FACES: Mapping[str, Face] = {
    "vllm": Face(
        pages=_vllm,
        health="/health",
        reasoning="reasoning",
        hangs_up_after_500=True,
    ),
    "lmdeploy": Face(pages=_lmdeploy, health="/health", errors="flat", tells_cached=True),
    "llama-server": Face(pages=_llama_server, health="/health", tells_cached=True, unknown_model="own name"),
    "sglang": Face(pages=_sglang, health="/health", errors="flat", unknown_model="echo"),
    "ollama": Face(
        pages=_ollama,
        listing="/api/tags",
        chats=(NATIVE_CHAT, COMMON_CHAT),
        errors="string",
        tells_cached=True,
        reasoning="reasoning",
        unknown_model=_OLLAMA_UNKNOWN,
    ),
    "ollama-v1": Face(
        pages=_ollama,
        listing="/api/tags",
        chats=(COMMON_CHAT, NATIVE_CHAT),
        errors="string",
        reasoning="reasoning",
        unknown_model=_OLLAMA_UNKNOWN,
    ),
    "lmstudio": Face(
        pages=_lmstudio,
        listing="/api/v1/models",
        errors="string",
        unknown_model=(404, "Invalid model identifier '{}'."),
    ),
    "openai": Face(pages=_plain, tells_cached=True, overloaded=429),
    "compatible": Face(pages=_plain),
    "litellm": Face(
        pages=_litellm,
        health="/health/readiness",
        tells_cached=True,
        unknown_model=(400, "chat_completion: Invalid model name passed in model={}."),
        overloaded=429,
    ),
    "transformers": Face(
        pages=_transformers,
        health="/health",
        errors="detail",
        unknown_model=(400, "Server is pinned to 'M/hf'; requested '{}'."),
        hangs_up_after_500=True,
    ),
    "builtin": Face(pages=_builtin, health="/health"),
}
