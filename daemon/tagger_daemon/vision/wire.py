"""What servers say, in the shapes that they say it in; all of it foreign until it has passed here."""

from __future__ import annotations

import json
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

#: Longest part of a server's own words that is passed on, characters.
WORDS: Final = 200

#: More tokens than any answer has: a count beyond is none.
MOST_TOKENS: Final = 1 << 31


def _believable(tokens: int | None) -> int | None:
    """Return a count that can be one; an answer is not refused for what is said beside it."""
    return tokens if tokens is not None and 0 <= tokens < MOST_TOKENS else None


Count = Annotated[int | None, AfterValidator(_believable)]


class _Wire(BaseModel):
    """A part of a server's answer: fields that nobody asked about are ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Message(_Wire):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None  # vLLM, Ollama over /v1
    reasoning_content: str | None = None  # llama-server, LMDeploy, SGLang


class Choice(_Wire):
    message: Message
    finish_reason: str | None = None


class Cached(_Wire):
    cached_tokens: Count = None


class Usage(_Wire):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: Cached | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Of the prompt's tokens, how many were not worked out anew; None where the server does not say."""
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None


class Completion(_Wire):
    choices: Annotated[list[Choice], Field(min_length=1)]
    model: str | None = None
    usage: Usage | None = None
    remote_host: str | None = None  # Ollama: who answered in its stead


class NativeMessage(_Wire):
    content: str | None = None
    thinking: str | None = None


class NativeChat(_Wire):
    """What Ollama answers over its own interface."""

    message: NativeMessage
    done_reason: str | None = None
    model: str | None = None
    prompt_eval_count: Count = None  # tokens from its cache among them
    prompt_eval_cached_count: Count = None  # since 0.33
    eval_count: Count = None
    remote_host: str | None = None

    def completion(self) -> Completion:
        """Return the same in the words of the OpenAI protocol."""
        message = Message(content=self.message.content, reasoning=self.message.thinking)
        usage = Usage(
            prompt_tokens=self.prompt_eval_count,
            completion_tokens=self.eval_count,
            prompt_tokens_details=Cached(cached_tokens=self.prompt_eval_cached_count),
        )
        choice = Choice(message=message, finish_reason=self.done_reason)
        return Completion(choices=[choice], model=self.model, usage=usage, remote_host=self.remote_host)


class Model(_Wire):
    id: str
    aliases: list[str] = []  # llama-server

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.aliases)


class ModelList(_Wire):
    data: list[Model]


class NativeModel(_Wire):
    name: str

    @property
    def names(self) -> tuple[str, ...]:
        # What is listed as `name:latest` may be asked for as `name`.
        return (self.name, self.name.removesuffix(":latest"))


class NativeModelList(_Wire):
    """Ollama's /api/tags."""

    models: list[NativeModel]


class Loaded(_Wire):
    id: str


class KeptModel(_Wire):
    key: str
    loaded_instances: list[Loaded] = []

    @property
    def names(self) -> tuple[str, ...]:
        return (self.key, *(loaded.id for loaded in self.loaded_instances))


class KeptModelList(_Wire):
    """LM Studio's /api/v1/models."""

    models: list[KeptModel]


def one_line(text: str) -> str:
    """Return foreign text as one printable line of at most `WORDS` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * WORDS]).split())
    return line if len(line) <= WORDS else line[: WORDS - 1] + "…"


def server_words(content: bytes) -> str:
    """Return what an error body says; empty if it says nothing.

    Four shapes are in use: `{"error": {"message": …}}` (vLLM, llama-server, OpenAI, Ollama),
    `{"message": …}` (LMDeploy, SGLang), `{"error": "…"}` (LM Studio, vLLM's key check), and a list of the
    first (Gemini). transformers says `{"detail": "…"}`; anything else is taken as text.
    """
    text = content.decode(errors="replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(body, list) and body:
        body = body[0]
    for name in ("error", "message", "detail"):
        if isinstance(body, dict) and name in body:
            body = body[name]
    return body if isinstance(body, str) else json.dumps(body)


def read_completion(content: bytes, *, native: bool) -> Completion:
    """Return what a server answered; `native` is Ollama's own interface.

    Raises:
        ValidationError: it is not a chat completion.
    """
    if native:
        return NativeChat.model_validate_json(content).completion()
    return Completion.model_validate_json(content)


def listed(content: bytes) -> tuple[tuple[str, ...], ...]:
    """Return the names of each model in a list of models; empty where it is no such list.

    Read are the list of the OpenAI protocol, Ollama's and LM Studio's. llama-server sends the first two in
    one.
    """
    for shape in (ModelList, NativeModelList, KeptModelList):
        try:
            found = shape.model_validate_json(content)
        except ValidationError:
            continue
        models = found.data if isinstance(found, ModelList) else found.models
        return tuple(model.names for model in models)
    return ()


def called(listing: tuple[tuple[str, ...], ...], wanted: str) -> tuple[str, ...]:
    """Return all names of the listed model that goes by this one; empty if none does."""
    return next((names for names in listing if serves(names, wanted)), ())


def serves(names: tuple[str, ...], wanted: str) -> bool:
    """Tell whether one of these names is the one that is asked for."""
    # Ollama lists `name:latest` for what may be asked for as `name`; some do so over the common protocol too.
    return wanted in names or f"{wanted}:latest" in names
