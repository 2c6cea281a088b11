"""Photos go to public servers only from folders for which that was agreed, with no more names than agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from support.asking import a_request, an_entry
from support.model_server import Fail, ModelServer
from tagger_daemon.errors import NotConsented, ServerUnavailable
from tagger_daemon.model import Draft, Facts, Fingerprint, Photo, Picture, Stage
from tagger_daemon.settings import RemoteSettings
from tagger_daemon.vision.asker import Asker
from tagger_daemon.vision.consents import Consents, Disclosure
from tagger_daemon.vision.entry import Entry
from tagger_daemon.vision.pool import PAUSE_BARRED, PAUSE_BARRED_ELSEWHERE, Pool
from tagger_daemon.vision.profile import load_profile

pytestmark = pytest.mark.anyio

AGREED, PRIVATE = Path("/photos/agreed"), Path("/photos/private")
FACTS = Facts(taken="2026-05-01T15:00:00", latitude=48.0, place=("Quimper",), people=("Anna",))
PICTURE = Picture(jpeg=b"a picture", width=1, height=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def near() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged, a level and a message each."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(line.strip()), format="{level} {message}", level="INFO")
    yield lines
    logger.remove(sink)


def gateway(server: ModelServer, **changes: Any) -> Entry:
    """Return an entry whose server, on this machine, passes photos on to anywhere."""
    return an_entry(server.base_url, privacy="public", **changes)


def agreed(server: ModelServer, **changes: Any) -> RemoteSettings:
    return RemoteSettings(endpoint=server.base_url, folders=(AGREED,), **changes)


def silent(folder: Path) -> Disclosure:
    return Disclosure(folder=folder, people=False, places=False)


@asynccontextmanager
async def pooling(*entries: Entry, consents: tuple[RemoteSettings, ...] = ()) -> AsyncIterator[Pool]:
    pool = Pool(entries, keys={}, consents=Consents(consents))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def passes_on(pool: Pool, server: ModelServer) -> None:
    """Let it come out that a server, of which something was agreed to, sends photos on."""
    for endpoint in pool._all():
        if endpoint.url == server.base_url:
            endpoint.client.regard_as_public("it passes photos on")


async def ask(asker: Asker, folder: Path, draft: Draft | None = None) -> Draft:
    photo = Photo(path=folder / "a.jpg", folder=folder, fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1))
    conversation = asker.show(photo, {8: PICTURE}, FACTS)
    draft = draft or Draft()
    for stage in draft.missing(Stage):
        draft = draft.with_answer(stage, await conversation.ask(stage, draft))
    return draft


def asking(pool: Pool, *entries: Entry) -> Asker:
    """Return an asker whose stages are served by these entries in turn."""
    return Asker(
        chains={stage: (entries[number % len(entries)],) for number, stage in enumerate(Stage)},
        registry_hash="r",
        profile_of=lambda _: load_profile("default"),
        long_edge=8,
        max_keywords=15,
        hemisphere="north",
        chat=pool,
    )


# --- Whether a photo goes ---


async def test_without_any_consent_a_public_server_is_refused_and_hears_nothing(
    server: ModelServer, said: list[str]
) -> None:
    entry = gateway(server)
    async with pooling(entry) as pool:
        (status,) = pool.snapshot()
        assert (status.state, status.place) == ("refused", "public")
        assert "[[remote]]" in (status.last_error or "")
        assert not pool.available(entry)
        with pytest.raises(NotConsented, match=r"photos of /photos/agreed are not sent to 127\.0\.0\.1"):
            await pool.chat(entry, a_request(), session="photo", disclosed=silent(AGREED))
    assert server.requests == []
    assert [line.split()[0] for line in said] == ["ERROR"]


async def test_photos_of_a_folder_that_was_agreed_to_go_and_others_wait(server: ModelServer) -> None:
    entry = gateway(server)
    async with pooling(entry, consents=(agreed(server),)) as pool:
        for folder in (AGREED, AGREED / "2026"):
            pool.admit(entry, folder)
            assert (await pool.chat(entry, a_request(), session="photo", disclosed=silent(folder))).text
        for folder in (PRIVATE, AGREED.parent):
            with pytest.raises(NotConsented, match=f'folders = ."{folder}"') as caught:
                pool.admit(entry, folder)
            assert caught.value.seconds == PAUSE_BARRED
            with pytest.raises(NotConsented):
                await pool.chat(entry, a_request(), session="photo", disclosed=silent(folder))
        with pytest.raises(NotConsented):
            await pool.chat(entry, a_request(), session="photo")  # nobody's photo, and told of everything
        assert pool.available(entry)
    assert len(server.chat_requests) == 2


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_link_out_of_a_folder_that_was_agreed_to_takes_no_consent_along(
    server: ModelServer, tmp_path: Path, what: str
) -> None:
    agreed_to, private = tmp_path / "agreed", tmp_path / "private"
    for folder in (agreed_to / "below", private):
        folder.mkdir(parents=True)
    (private / "a.jpg").touch()
    (agreed_to / "below" / "a.jpg").touch()
    (agreed_to / "link").symlink_to(private)
    (agreed_to / "a.jpg").symlink_to(private / "a.jpg")
    (tmp_path / "alias").symlink_to(agreed_to)
    entry = gateway(server)
    given = RemoteSettings(endpoint=server.base_url, folders=(agreed_to, tmp_path / "alias"))
    leads_out = agreed_to / ("a.jpg" if what == "file" else "link/a.jpg")
    mark = Fingerprint(size=1, mtime_ns=1, inode=1)
    async with pooling(entry, consents=(given,)) as pool:
        asker = asking(pool, entry)
        outside = Photo(path=leads_out, folder=agreed_to, fingerprint=mark)
        with pytest.raises(NotConsented, match=f"photos of {private} are not sent"):
            asker.admit(outside, tuple(Stage))
        with pytest.raises(NotConsented):
            await asker.show(outside, {8: PICTURE}, FACTS).ask(Stage.CAPTION, Draft())
        # A watch folder may be a link itself.
        for folder in (agreed_to, tmp_path / "alias"):
            inside = Photo(path=folder / "below" / "a.jpg", folder=folder, fingerprint=mark)
            asker.admit(inside, tuple(Stage))
    assert server.chat_requests == []


async def test_a_photo_never_falls_back_to_a_public_server_that_was_not_agreed_to(
    server: ModelServer, near: ModelServer
) -> None:
    entry = an_entry(near.base_url, server.base_url)
    async with pooling(entry, consents=(agreed(server),)) as pool:
        passes_on(pool, server)
        near.down()
        for number in range(6):
            with pytest.raises(ServerUnavailable):
                await pool.chat(entry, a_request(), session=f"photo {number}", disclosed=silent(PRIVATE))
        with pytest.raises(NotConsented, match=near.base_url) as caught:
            pool.admit(entry, PRIVATE)
        assert caught.value.seconds == PAUSE_BARRED_ELSEWHERE
        assert not server.chat_requests
        reply = await pool.chat(entry, a_request(), session="photo", disclosed=silent(AGREED))
        assert reply.endpoint == server.base_url


async def test_while_the_near_server_is_up_photos_that_were_not_agreed_to_all_go_there(
    server: ModelServer, near: ModelServer
) -> None:
    entry = an_entry(near.base_url, server.base_url)
    async with pooling(entry, consents=(agreed(server),)) as pool:
        passes_on(pool, server)
        pool.admit(entry, PRIVATE)
        for number in range(12):
            await pool.chat(entry, a_request(), session=f"photo {number}", disclosed=silent(PRIVATE))
        near.script("caption", Fail(503))  # it has too much to do: asked again, and nobody else
        await pool.chat(entry, a_request(), session="photo", disclosed=silent(PRIVATE))
    assert not server.chat_requests


async def test_a_server_found_out_to_pass_photos_on_is_refused_at_the_next_photo(server: ModelServer) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry) as pool:
        assert pool.available(entry)
        with pytest.raises(NotConsented):
            passes_on(pool, server)
        with pytest.raises(NotConsented):
            await pool.chat(entry, a_request(), session="photo", disclosed=silent(AGREED))
    assert not server.chat_requests


async def test_it_is_logged_once_for_a_folder_that_its_photos_leave(
    server: ModelServer, said: list[str]
) -> None:
    entry = gateway(server)
    async with pooling(entry, consents=(agreed(server),)) as pool:
        for number in range(3):
            await pool.chat(entry, a_request(), session=f"{number}", disclosed=silent(AGREED / str(number)))
    sent = [line for line in said if "are sent to" in line]
    assert sent == [f"WARNING photos of {AGREED} are sent to {server.base_url}, outside your network"]


async def test_it_is_logged_once_for_a_folder_that_its_photos_wait(
    server: ModelServer, said: list[str]
) -> None:
    entry = gateway(server)
    async with pooling(entry, consents=(agreed(server),)) as pool:
        for folder in (PRIVATE, PRIVATE, PRIVATE / "2026"):
            with pytest.raises(NotConsented):
                pool.admit(entry, folder)
    waits = [line for line in said if "nobody has agreed" in line]
    assert [line.partition(" are not")[0] for line in waits] == [
        f"WARNING vlm: photos of {folder}" for folder in (PRIVATE, PRIVATE / "2026")
    ]


# --- What is told ---


@pytest.mark.parametrize("people", [True, False])
@pytest.mark.parametrize("places", [True, False])
async def test_a_public_server_is_told_the_names_that_were_agreed_to_in_every_stage_alike(
    server: ModelServer, people: bool, places: bool
) -> None:
    entry = gateway(server)
    async with pooling(entry, consents=(agreed(server, people=people, places=places),)) as pool:
        await ask(asking(pool, entry), AGREED)
    told = [server.text(request) for request in server.chat_requests]
    assert len(told) == 3
    assert [("Quimper" in text) for text in told] == [places] * 3
    assert all("Season: spring" in text for text in told)
    beginnings = {text.partition("\n\n")[0] for text in told}
    assert len(beginnings) == 1


async def test_a_server_nearby_is_told_everything(near: ModelServer) -> None:
    entry = an_entry(near.base_url)
    async with pooling(entry) as pool:
        await ask(asking(pool, entry), PRIVATE)
    assert all("Quimper" in near.text(request) for request in near.chat_requests)


async def test_a_public_server_is_not_told_what_a_better_informed_one_answered(
    server: ModelServer, near: ModelServer
) -> None:
    informed, remote = an_entry(near.base_url, name="near"), gateway(server, name="remote")
    for people in (False, True):
        server_saw = len(server.chat_requests)
        consents = (agreed(server, people=people, places=people),)
        async with pooling(informed, remote, consents=consents) as pool:
            asker = asking(pool, informed, informed, remote)
            await ask(asker, AGREED)
        (request,) = server.chat_requests[server_saw:]
        assert ("A test caption" in server.text(request)) is people


async def test_what_was_told_before_it_came_out_that_a_server_is_public_is_not_sent_there(
    server: ModelServer,
) -> None:
    entry = an_entry(server.base_url)
    async with pooling(entry, consents=(agreed(server),)) as pool:
        disclosed = pool.tellable(entry, AGREED)
        passes_on(pool, server)
        with pytest.raises(NotConsented):
            await pool.chat(entry, a_request(), session="photo", disclosed=disclosed)
        assert pool.tellable(entry, AGREED) == silent(AGREED)
    assert not server.chat_requests


async def test_only_the_entries_that_would_be_asked_have_to_be_agreed_to(
    server: ModelServer, near: ModelServer
) -> None:
    informed, remote = an_entry(near.base_url, name="near"), gateway(server, name="remote")
    async with pooling(informed, remote, consents=(agreed(server),)) as pool:
        asker = asking(pool, informed, informed, remote)
        photo = Photo(
            path=PRIVATE / "a.jpg", folder=PRIVATE, fingerprint=Fingerprint(size=1, mtime_ns=1, inode=1)
        )
        asker.admit(photo, [Stage.CAPTION, Stage.KEYWORDS])
        with pytest.raises(NotConsented):
            asker.admit(photo, list(Stage))
