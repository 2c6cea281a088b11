"""What servers say, in the shapes that they say it in; all of it foreign until it has passed here."""

from __future__ import annotations

import json
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: Longest part of a server's own words that is passed on, characters.
WORDS: Final = 200


class _Wire(BaseModel):
    """A part of a server's answer: fields that nobody asked about are ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Message(_Wire):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None  # vLLM, Ollama
    reasoning_content: str | None = None  # llama-server, LMDeploy, SGLang


class Choice(_Wire):
    message: Message
    finish_reason: str | None = None


class Cached(_Wire):
    cached_tokens: int | None = None


class Usage(_Wire):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Cached | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Of the prompt's tokens, how many were not worked out anew; None where the server does not say."""
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None


class Completion(_Wire):
    choices: Annotated[list[Choice], Field(min_length=1)]
    model: str | None = None
    usage: Usage | None = None


class Model(_Wire):
    id: str
    aliases: list[str] = []  # llama-server


class ModelList(_Wire):
    data: list[Model]


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


def listed(content: bytes) -> tuple[str, ...]:
    """Return the names in a list of models; empty where it is no such list."""
    try:
        models = ModelList.model_validate_json(content).data
    except ValidationError:
        return ()
    return tuple(name for model in models for name in (model.id, *model.aliases))


def serves(served: tuple[str, ...], wanted: str) -> bool:
    # Ollama lists `name:latest` for what may be asked for as `name`.
    return wanted in served or f"{wanted}:latest" in served
