"""How the scripted model server looks at the canary's pictures: as a model that sees, and as others do."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator

from PIL import Image

from support.chat_wire import Drop, Fail, Garbage, Say
from tagger_daemon.vision.canary import COLOURS

#: Looks at a JPEG, and answers.
Eyes = Callable[[bytes], Say | Fail | Drop | Garbage]


def colour_of(jpeg: bytes) -> str:
    """Return the name of the colour that prevails in the middle of a picture."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        width, height = picture.size
        middle = picture.convert("RGB").crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4))
        seen = middle.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(seen, tuple)
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], seen, strict=True)))


def other(colour: str) -> str:
    """Return the other disc's colour."""
    return next(name for name in COLOURS if name != colour)


def seeing(jpeg: bytes) -> Say:
    """Name the colour."""
    return Say(f"The large disc is {colour_of(jpeg)}.")


def blind(_: bytes) -> Say:
    """Say the same of every picture."""
    return Say("The large disc is red.")


def mixed_up(jpeg: bytes) -> Say:
    """Answer about the other picture."""
    return Say(f"The large disc is {other(colour_of(jpeg))}.")


def forgetful() -> Eyes:
    """Answer as asked twice, and then about the other picture."""
    asked: list[bytes] = []

    def look(jpeg: bytes) -> Say:
        asked.append(jpeg)
        return mixed_up(jpeg) if len(asked) == 3 else seeing(jpeg)

    return look


def colour_blind(jpeg: bytes) -> Say:
    """Tell the pictures apart, and name no colour right."""
    return Say(
        {"red": "A brown ball on a sheet.", "blue": "Some green plate, seen from above."}[colour_of(jpeg)]
    )


def thinking(jpeg: bytes) -> Say:
    """Name the colour after a trace of thoughts."""
    return Say(f"<think>A disc. Which colour?</think>It is {colour_of(jpeg)}.")


def thinking_aside(jpeg: bytes) -> Say:
    """Name the colour, and give thoughts in a field of their own."""
    return Say(f"It is {colour_of(jpeg)}.", reasoning="A disc. Which colour?")


def talkative(jpeg: bytes) -> Say:
    """Come to no end."""
    return Say(f"The disc, which is {colour_of(jpeg)}, and which", finish_reason="length")


def counting(*cached: int) -> Eyes:
    """Name the colour, and say how many tokens were kept from before, one number a request."""
    counts: Iterator[int] = iter(cached)

    def look(jpeg: bytes) -> Garbage:
        message = {"role": "assistant", "content": f"It is {colour_of(jpeg)}."}
        usage = {"prompt_tokens": 300, "prompt_tokens_details": {"cached_tokens": next(counts)}}
        body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        return Garbage(json.dumps(body).encode())

    return look
