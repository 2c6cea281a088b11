"""The server of measurements does what a measurement takes for granted: so many at once, usable answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bench_server
from support.asking import a_request, an_entry
from tagger_daemon.errors import ServerUnavailable
from tagger_daemon.model import Draft, Facts, Fingerprint, Photo, Picture, Stage
from tagger_daemon.vision.asker import Asker
from tagger_daemon.vision.client import ChatClient
from tagger_daemon.vision.entry import Limits
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.profile import load_profile

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    argv = [sys.executable, bench_server.__file__, *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.mark.parametrize("json_schema", [False, True])
async def test_its_answers_can_be_used(json_schema: bool) -> None:
    with serving("--slots", "2", "--seconds", "0") as url:
        entry = an_entry(url, served_model=bench_server.MODEL, json_schema=json_schema)
        pool = Pool([entry], keys={})
        await pool.start()
        asker = Asker(
            chains=dict.fromkeys(Stage, (entry,)),
            registry_hash="",
            profile_of=lambda _: load_profile("default"),
            long_edge=8,
            max_keywords=15,
            hemisphere=None,
            chat=pool,
        )
        path = Path("/photos/a.jpg")
        photo = Photo(path=path, folder=path.parent, fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1))
        talk = asker.show(photo, {8: Picture(jpeg=bytes(200_000), width=1, height=1)}, Facts())
        answers = [(await talk.ask(stage, Draft())).value for stage in Stage]
        await pool.close()
    assert len({*answers}) == len(Stage)
    assert isinstance(answers[1], tuple)


async def test_it_takes_so_many_and_no_more() -> None:
    with serving("--slots", "1", "--seconds", "0.2", "--most", "3") as url:
        entry = an_entry(url, served_model=bench_server.MODEL, limits=Limits(start=8, max=8))
        client = ChatClient(url, entry, api_key=None)
        asked = [client.chat(a_request(), session=str(number)) for number in range(5)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        await client.close()
    assert sum(isinstance(outcome, ServerUnavailable) for outcome in outcomes) == 2
