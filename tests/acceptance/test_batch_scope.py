"""A batch run works on what it was given and on nothing else, whatever queue and ledger know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from make_samples import draw_photo
from support.model_server import ModelServer
from support.running import House, entry

pytestmark = pytest.mark.timeout(200)

NAMES = ("a.jpg", "b.jpg", "c.png", "sub/d.jpg")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ModelServer() as server:
        house = House(root=tmp_path, registry=[entry(server.base_url)])
        for seed, name in enumerate(NAMES):
            (house.inbox / name).parent.mkdir(exist_ok=True)
            draw_photo(house.inbox / name, scene="meadow", size=64, seed=seed)
        yield house


def worked_on(house: House, *arguments: str) -> set[str]:
    """Do a run and return the photos that its audit tells of; no other file has changed."""
    before = {name: (house.inbox / name).read_bytes() for name in NAMES}
    audit = house.root / "audit.jsonl"
    audit.unlink(missing_ok=True)
    done = house.batch(*arguments, "--skip-preflight", "--output-jsonl", "audit.jsonl")
    assert done.returncode == 0, done.stderr
    told = audit.read_text(encoding="utf-8").splitlines() if audit.exists() else []
    images = {str(Path(json.loads(line)["image"]).relative_to(house.inbox)) for line in told}
    assert {name for name in NAMES if (house.inbox / name).read_bytes() != before[name]} <= images
    return images


@pytest.mark.parametrize(
    ("before", "options"),
    [
        (("--dry-run",), ()),
        ((), ("--overwrite-metadata", "--prompt-profile", "event")),
    ],
    ids=["proposed", "written"],
)
def test_what_was_not_named_is_left_as_earlier_runs_left_it(
    house: House, before: tuple[str, ...], options: tuple[str, ...]
) -> None:
    assert worked_on(house, "-i", "inbox", "--recursive", *before) == set(NAMES)
    assert worked_on(house, "-i", "inbox/a.jpg", *options) == {"a.jpg"}
    assert worked_on(house, "-i", "inbox", "--image-exts", "jpg", *options) == {"b.jpg"}
    assert worked_on(house, "-i", "inbox", *options) == {"c.png"}
