"""`tagger-daemon preview`: what is asked about one photo, what is answered, and what would be written."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tagger_daemon.cli.exits import Exit
from tagger_daemon.cli.terminal import one_line
from tagger_daemon.cli.undo import LABELS
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.metadata.fields import read_name
from tagger_daemon.metadata.undo import BOOKKEEPING
from tagger_daemon.model import Mode, NewValue, Picture, Stage, TagWrite
from tagger_daemon.service.previewing import Exchange, Preview
from tagger_daemon.settings import Settings
from tagger_daemon.vision.body import chat_body
from tagger_daemon.vision.entry import ChatReply

NO_SERVER = "--use-loader starts the servers that are ours to start, --no-ask shows the requests without one"


#: Where a dialect's request holds the schema, of which it is enough to say that there is one.
SCHEMA_FIELDS = frozenset({"response_format", "format"})


def check_place(folder: Path, settings: Settings) -> None:
    """Refuse to keep a picture where it would be taken for a photo.

    Raises:
        ConfigurationError: the folder is watched.
    """
    real = folder.resolve()
    for watched in (one.path for one in settings.folders):
        if real.is_relative_to(watched.resolve()):
            raise ConfigurationError(f"{folder} is watched: the picture would be taken for a photo there")


def save(pictures: Sequence[Picture], photo: Path, folder: Path | None) -> dict[Picture, Path]:
    """Keep the pictures that the models are shown; in a new temporary folder if none is given.

    Raises:
        ConfigurationError: they cannot be kept there, or something is there already.
    """
    saved: dict[Picture, Path] = {}
    if not pictures:
        return saved
    try:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="tagger-preview-"))
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            saved[picture] = folder / f"{photo.name}.{picture.width}x{picture.height}.jpg"
            with saved[picture].open("xb") as file:
                file.write(picture.jpeg)
    except OSError as error:
        raise ConfigurationError(f"the picture cannot be kept in {folder}: {error.strerror}") from error
    return saved


def exit_status(preview: Preview) -> Exit:
    """AMISS when no usable answer came."""
    return Exit.AMISS if preview.problem else Exit.OK


def to_json(preview: Preview, saved: Mapping[Picture, Path]) -> dict[str, Any]:
    """Give the form for scripts; of the pictures, only what they are."""
    return {
        "photo": str(preview.photo.path),
        "profile": {name: getattr(preview.profile, name) for name in ("id", "name", "hash")},
        "mode": preview.mode,
        "asked": preview.asked,
        "left_alone": preview.tagged,
        "pictures": [_picture_to_json(picture, path) for picture, path in saved.items()],
        "requests": [_exchange_to_json(exchange) for exchange in preview.exchanges],
        "fields": {stage.value: getattr(preview.answers, stage.value) for stage in Stage},
        "plan": _plan_to_json(preview),
        "problem": preview.problem,
    }


def render(preview: Preview, saved: Mapping[Picture, Path]) -> Group:
    """Draw the page."""
    parts: list[RenderableType] = [_head(preview, saved)]
    system = ""
    for exchange in preview.exchanges:
        parts += _exchange(exchange, system)
        system = str(exchange.request.messages[0]["content"])
    if preview.answers.origins:
        parts += _answers(preview)
    parts += _plan(preview)
    if preview.problem:
        parts.append(Text(f"\n{one_line(preview.problem)}", style="bold red"))
        parts += [] if any(one.reply for one in preview.exchanges) else [Text(NO_SERVER, style="red")]
    return Group(*parts)


# --- JSON ---


def _picture_to_json(picture: Picture, saved: Path) -> dict[str, Any]:
    return {
        "width": picture.width,
        "height": picture.height,
        "bytes": len(picture.jpeg),
        "sha256": _sha256(picture),
        "saved": str(saved),
    }


def _exchange_to_json(exchange: Exchange) -> dict[str, Any]:
    request, entry = exchange.request, exchange.entry
    return {
        "stage": request.stage,
        "entry": entry.name,
        "model": entry.served_model,
        "messages": [_without_picture(message, exchange.picture) for message in request.messages],
        "body": _sent(exchange),
        "reply": None if exchange.reply is None else _reply_to_json(exchange.reply),
    }


def _reply_to_json(reply: ChatReply) -> dict[str, Any]:
    names = ("text", "finish_reason", "reasoning", "refusal", "model", "endpoint", "prompt_tokens")
    more = ("completion_tokens", "cached_tokens", "seconds")
    return {name: getattr(reply, name) for name in (*names, *more)}


def _plan_to_json(preview: Preview) -> dict[str, Any] | None:
    plan = preview.plan
    if plan is None:
        return None
    return {
        "target": str(plan.target),
        "writes": [
            {"tag": read_name(write.tag), "before": write.before, "after": write.value}
            for write in plan.writes
        ],
        "kept": [{"field": kept.field, "reason": kept.reason} for kept in plan.kept],
        "notes": list(plan.existing.notes),
        "obstacle": preview.obstacle,
    }


def _without_picture(message: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    """Return a message whose picture is told instead of shown."""
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    shown = {"type": "image_url", "image_url": {"url": _told(picture)}}
    return {**message, "content": [shown if part["type"] == "image_url" else part for part in content]}


# --- The page ---


def _head(preview: Preview, saved: Mapping[Picture, Path]) -> Text:
    profile = preview.profile
    lines = [
        one_line(str(preview.photo.path)),
        f"prompts  {one_line(profile.id)} ({one_line(profile.name)}), {profile.hash}",
    ]
    lines += [f"picture  {_told(picture)}, kept as {one_line(str(path))}" for picture, path in saved.items()]
    if preview.tagged:
        lines += ["", f"It would be left alone: {preview.tagged}. What would be asked otherwise:"]
    return Text("\n".join(lines))


def _exchange(exchange: Exchange, system_before: str) -> Iterator[RenderableType]:
    request, entry = exchange.request, exchange.entry
    settings = ", ".join(
        f"{name} {json.dumps(value, ensure_ascii=False)}"
        for name, value in _sent(exchange).items()
        if name not in SCHEMA_FIELDS
    )
    yield Text(f"\n{request.stage}: {entry.name} ({entry.served_model})", style="bold")
    yield Text(one_line(settings) + (", JSON by a schema" if request.response_format else ""), style="dim")
    for message in request.messages:
        content = _without_picture(message, exchange.picture)["content"]
        said = [content] if isinstance(content, str) else [_part(part) for part in content]
        if said == [system_before]:
            said = ["(as above)"]
        yield Text(f"{message['role']}:")
        yield _indented("\n".join(said))
    if exchange.reply:
        yield _reply(exchange.reply)
        yield _indented(exchange.reply.text)


def _part(part: Mapping[str, Any]) -> str:
    return f"[{part['image_url']['url']}]" if part["type"] == "image_url" else str(part["text"])


def _reply(reply: ChatReply) -> Text:
    counts = (("tokens in", reply.prompt_tokens), ("from cache", reply.cached_tokens))
    told = [f"{count} {what}" for what, count in counts if count is not None]
    told += [f"{reply.completion_tokens} out"] if reply.completion_tokens is not None else []
    told += [f"{reply.seconds:.1f} s", f"finish: {one_line(reply.finish_reason or 'none')}"]
    return Text(f"answer ({', '.join(told)}, by {one_line(reply.model)} at {reply.endpoint}):")


def _answers(preview: Preview) -> Iterator[RenderableType]:
    yield Text("\nWhat is used of the answers" if preview.asked else "\nIn place of answers", style="bold")
    table = Table(box=None, pad_edge=False, show_header=False)
    for stage in preview.answers.origins:
        table.add_row(f"  {stage}", Text(_value(getattr(preview.answers, stage.value)), overflow="fold"))
    yield table


def _plan(preview: Preview) -> Iterator[RenderableType]:
    plan = preview.plan
    if plan is None:
        return
    if not plan.writes:
        yield Text("\nNothing would be written", style="bold")
    elif preview.mode is Mode.PROPOSE:
        yield Text(f"\nWould be proposed for {one_line(str(plan.target))}, and not written", style="bold")
    else:
        yield Text(f"\nWould be written into {one_line(str(plan.target))}", style="bold")
    if plan.writes:
        yield _writes(plan.writes)
    for kept in plan.kept:
        yield Text(f"  {kept.field} stays: {one_line(kept.reason)}")
    for note in plan.existing.notes:
        yield Text(f"  {one_line(note)}", style="dim")
    if preview.obstacle:
        yield Text(f"  but not now: {one_line(preview.obstacle)}", style="yellow")


def _writes(writes: Sequence[TagWrite]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("  Tag", "Before", "After"):
        table.add_column(name, overflow="fold")
    for write in writes:
        tag = read_name(write.tag)
        if tag not in BOOKKEEPING:
            label = f"  {tag}" + (f" ({LABELS[tag]})" if tag in LABELS else "")
            table.add_row(label, Text(_value(write.before)), Text(_value(write.value)))
    table.add_row("  and our marker, with date and models", "", "")
    return table


def _sent(exchange: Exchange) -> dict[str, Any]:
    """Return all that is sent beside model and messages, in the words of the entry's dialect."""
    body = chat_body(exchange.request, exchange.entry)
    return {name: value for name, value in body.items() if name not in {"model", "messages"}}


def _told(picture: Picture) -> str:
    size = f"{picture.width} x {picture.height} pixels, {len(picture.jpeg)} bytes"
    return f"JPEG, {size}, sha256 {_sha256(picture)}"


def _sha256(picture: Picture) -> str:
    return hashlib.sha256(picture.jpeg).hexdigest()


def _value(value: NewValue) -> str:
    return one_line(", ".join(value) if isinstance(value, tuple) else str("" if value is None else value))


def _indented(text: str) -> Padding:
    return Padding(Text("\n".join(map(one_line, text.splitlines()))), (0, 0, 0, 2))
