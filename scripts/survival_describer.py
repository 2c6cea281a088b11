"""The built-in describer with other words, as another model would have them.

    python scripts/survival_describer.py --voice second --port 0

It speaks the same protocol over the same HTTP. What it adds is meant to tempt: the words of the hand-tagged
photos in another case, and one keyword that it proposes again after a person has thrown it out.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tagger_daemon.model import Stage
from tagger_daemon.vision.builtin import look, pixels, prompt, protocol, words
from tagger_daemon.vision.builtin.server import DescribingServer
from tagger_daemon.vision.canary import CANARY

#: The second voice proposes it, a person deletes it, and the third proposes it again.
THROWN_OUT = "passing idea"
#: Keywords of the hand-tagged photos, in other spellings.
TEMPTING = ("dumbo", "grandma rose", "DUDU", "IPHONE SHOTS", "café", "lisbon")


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How one of the models speaks."""

    lead: str  # begins its sentences
    keywords: tuple[str, ...]  # come before those of the built-in describer


VOICES: Mapping[str, Voice] = {
    "second": Voice(lead="Seen anew, ", keywords=("second look", THROWN_OUT, *TEMPTING)),
    "third": Voice(lead="Looked at once more, ", keywords=("third look", THROWN_OUT.upper(), *TEMPTING)),
}


def answer(body: bytes, created: int, voice: Voice) -> dict[str, Any]:
    """Answer one request as the built-in describer does, in another voice.

    Raises:
        Refusal: the request cannot be answered, and why.
    """
    question = protocol.read_question(body)
    brief = prompt.read_brief(question.text)
    said = words.answer(look.observe(pixels.decode(question.picture)), brief)
    # The canary wants a colour, which a shortened sentence may have lost.
    if CANARY not in question.text:
        said = _reworded(said, brief.stage, voice)
    return protocol.completion(question, brief.stage, said, created=created)


def _reworded(said: str | Sequence[str], stage: Stage, voice: Voice) -> str | tuple[str, ...]:
    if not isinstance(said, str):
        return (*voice.keywords, *said)
    # Titles so short that the legacy block holds all of them.
    text = " ".join(said.split()[:4]) if stage is Stage.CAPTION else said
    return f"{voice.lead}{text[0].lower()}{text[1:]}"


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="The built-in describer with other words.")
    parser.add_argument("--voice", choices=VOICES, required=True)
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    options = parser.parse_args(arguments)
    voice = VOICES[options.voice]
    server = DescribingServer(("127.0.0.1", options.port), lambda body, created: answer(body, created, voice))

    def stop(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    with server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        print(json.dumps({"listening": server.url}), flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
