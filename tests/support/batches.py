"""What a batch run left behind: its audit, and what it asked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from support.model_server import Recorded, image_bytes
from support.running import House


def lines(house: House, name: str = "outputs/results/personal_tagger.jsonl") -> list[dict[str, Any]]:
    """The audit's lines."""
    return [json.loads(line) for line in (house.root / name).read_text(encoding="utf-8").splitlines()]


def asked(requests: list[Recorded]) -> Counter[tuple[str, str]]:
    """How often each picture was asked about at each stage."""
    return Counter(
        (hashlib.sha256(image_bytes(request)).hexdigest(), str(request.stage)) for request in requests
    )


def final(house: House) -> dict[str, str]:
    """What the audit says at last of each photo."""
    return {line["image"]: line["outcome"] for line in lines(house)}
