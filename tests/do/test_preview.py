"""A preview walks the daemon's journey with real parts, shows all of it, and leaves everything as it was."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from support.metadata_files import draw, stamp
from support.model_server import ModelServer, Say, image_bytes
from support.running import House, entry
from support.studio import by_model, open_studio
from tagger_daemon.cli import preview as page
from tagger_daemon.cli.exits import Exit
from tagger_daemon.errors import ConfigurationError, PhotoGone, PhotoUnsupported
from tagger_daemon.metadata.fields import read_name
from tagger_daemon.model import Mode, Stage
from tagger_daemon.service import previewing
from tagger_daemon.service.previewing import PLACEHOLDERS, Preview, preview
from tagger_daemon.settings import Settings
from tagger_daemon.vision.asker import real_folder


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def settings(root: Path, base_url: str, **changes: Any) -> Settings:
    (root / "registry.json").write_text(json.dumps([entry(base_url)]))
    known: dict[str, Any] = {
        "state_dir": root / "state",
        "registry": root / "registry.json",
        "folders": [str(root / "photos")],
    }
    return Settings(**{**known, **changes})


def look(known: Settings, path: Path, **options: Any) -> Preview:
    return asyncio.run(preview(known, path, environ={}, **options))


def everything(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """All files below a folder with content, date and inode, the date of the folder included."""
    files = {path.name: path for path in folder.iterdir()}
    told = {
        name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for name, path in files.items()
    }
    return {**told, ".": (b"", folder.stat().st_mtime_ns, folder.stat().st_ino)}


def shown(seen: Preview) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(page.render(seen, dict.fromkeys(seen.pictures, Path("kept.jpg"))))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_is_shown_and_nothing_is_touched(tmp_path: Path, photos: Path, server: ModelServer) -> None:
    path = draw(photos / "a.jpg", "XMP-dc:Description=Mine", "XMP-dc:Subject=rose").path
    before, asked_before = everything(photos), len(server.chat_requests)
    seen = look(settings(tmp_path, server.base_url), path)
    assert everything(photos) == before
    assert not (tmp_path / "state").exists()

    asked = server.chat_requests[asked_before:]
    assert [exchange.request.stage for exchange in seen.exchanges] == list(Stage)
    for exchange, sent in zip(seen.exchanges, asked, strict=True):
        assert sent.json is not None
        assert [dict(message) for message in exchange.request.messages] == sent.json["messages"]
        assert exchange.request.max_tokens == sent.json["max_tokens"]
        assert not {"presence_penalty", "response_format"} & sent.json.keys()
        assert image_bytes(sent) == exchange.picture.jpeg
    (picture,) = seen.pictures
    assert (picture.width, picture.height) == (48, 32)
    assert (seen.tagged, seen.problem, seen.obstacle) == (None, None, None)
    assert seen.answers.keywords is not None
    assert seen.answers.keywords[:2] == ("alpha", "beta")
    assert seen.plan is not None
    writes = {read_name(write.tag): (write.before, write.value) for write in seen.plan.writes}
    assert writes["XMP-dc:Title"] == (None, seen.answers.caption)
    assert writes["XMP-dc:Subject"] == (("rose",), ("rose", *seen.answers.keywords))
    assert ("Description", "a person's words") in [(kept.field, kept.reason) for kept in seen.plan.kept]
    text = shown(seen)
    for words in (
        "[JPEG, 48 x 32",
        "answer (",
        "XMP-dc:Subject (Keywords)",
        "rose, alpha",
        "a person's words",
    ):
        assert words in text


def test_no_server_is_spoken_to_where_that_is_not_wished(tmp_path: Path, photos: Path) -> None:
    path = draw(photos / "a.jpg").path
    seen = look(settings(tmp_path, "http://127.0.0.1:1/v1"), path, ask=False)
    assert [(exchange.request.stage, exchange.reply) for exchange in seen.exchanges] == [
        (stage, None) for stage in Stage
    ]
    drafts = str(seen.exchanges[-1].request.messages[1]["content"])
    assert PLACEHOLDERS[Stage.CAPTION] in drafts
    assert seen.answers.keywords == (PLACEHOLDERS[Stage.KEYWORDS],)
    assert seen.plan is not None
    assert seen.problem is None


def test_a_tagged_photo_is_told_and_still_asked_about(
    tmp_path: Path, photos: Path, server: ModelServer
) -> None:
    words = ("XMP-dc:Title=Mine", "XMP-dc:Description=Mine", "XMP-dc:Subject=rose")
    path = draw(photos / "a.jpg", *words).path
    seen = look(settings(tmp_path, server.base_url), path)
    assert seen.tagged == "already has a title, keywords and a description"
    assert [exchange.request.stage for exchange in seen.exchanges] == list(Stage)
    assert seen.answers.caption is not None
    assert seen.plan is None
    assert "It would be left alone: already has a title" in shown(seen)


def test_what_the_ledger_knows_of_the_picture_counts(
    tmp_path: Path, photos: Path, server: ModelServer
) -> None:
    photos.rmdir()
    said, rules = by_model("eyes-1")
    with open_studio(tmp_path) as studio:
        path = draw(studio.folder / "a.jpg").path
        studio.tag(path, said, rules)
        stamp(path, "XMP-dc:Subject-=beach")
        other = draw(studio.folder / "b.png").path
        studio.tag(other, said, rules)
        studio.undo(other)
        known = settings(tmp_path, server.base_url, state_dir=tmp_path, metadata={"mode": Mode.REFRESH})
        server.script("keywords", Say("beach\ndog\nboat"))
        renewed = look(known, path)
        taken_back = look(known, other)
    assert renewed.plan is not None
    assert renewed.plan.result.keywords == ("dog", "boat")  # what a person removed stays away
    assert taken_back.tagged is not None
    assert "were taken back" in taken_back.tagged


def test_our_own_words_are_not_told_to_the_models_where_the_marker_is_gone(
    tmp_path: Path, photos: Path, server: ModelServer
) -> None:
    photos.rmdir()
    description = "Two sailing boats lie at anchor in a bay. The sea is calm, and the sky without a cloud."
    said, rules = by_model("eyes-1", description=description)
    cut = description[:60]  # as other programs do
    with open_studio(tmp_path) as studio:
        path = draw(studio.folder / "a.jpg").path
        studio.tag(path, said, rules)
        stamp(path, "XMP-tagger:all=", "XMP-iptcCore:all=", "XMP-dc:all=", f"XMP-dc:Description={cut}")
        seen = look(settings(tmp_path, server.base_url, state_dir=tmp_path), path)
    assert [exchange.request.stage for exchange in seen.exchanges] == list(Stage)
    for exchange in seen.exchanges:
        assert cut not in str(exchange.request.messages[1]["content"][1])


def test_nobody_is_told_more_than_was_agreed_to_also_where_nobody_is_asked(
    tmp_path: Path, photos: Path
) -> None:
    path = draw(photos / "a.jpg", "XMP-iptcExt:PersonInImage=Anna Smith", "XMP-photoshop:City=Reine").path
    url = "https://models.example/v1"
    remote = [{"endpoint": url, "folders": [str(photos)], "places": True}]
    for known, told in ((settings(tmp_path, url), True), (settings(tmp_path, url, remote=remote), False)):
        text = str(look(known, path, ask=False).exchanges[0].request.messages[1]["content"][1])
        assert ("Anna Smith" in text, "Reine" in text) == (told, True)


def test_the_fields_are_those_that_are_sent(tmp_path: Path, photos: Path, server: ModelServer) -> None:
    path = draw(photos / "a.jpg").path
    known = settings(tmp_path, server.base_url)
    described = entry(server.base_url)
    described["serving"] |= {"json_schema": True, "extra_body": {"min_p": 0.05}}
    (tmp_path / "registry.json").write_text(json.dumps([described]))
    asked_before = len(server.chat_requests)
    seen = look(known.model_copy(update={"prompt_profile": "stock"}), path)
    asked = [request.json for request in server.chat_requests[asked_before:]]
    requests = page.to_json(seen, {})["requests"]
    for told, sent in zip(requests, asked, strict=True):
        assert sent is not None
        assert told["body"] == {name: sent[name] for name in sent.keys() - {"model", "messages"}}
        assert told["body"]["min_p"] == 0.05
        assert "enable_thinking" in str(told["body"])
    assert "response_format" in requests[1]["body"]
    text = " ".join(shown(seen).split())
    assert '"enable_thinking": false' in text
    assert "JSON by a schema" in text


def test_an_answer_that_is_of_no_use_is_shown_with_the_reason(
    tmp_path: Path, photos: Path, server: ModelServer
) -> None:
    path = draw(photos / "a.jpg").path
    server.script("caption", Say("A dog ru", finish_reason="length"), Say("I'm sorry, I cannot do that."))
    seen = look(settings(tmp_path, server.base_url), path)
    assert [exchange.reply.text for exchange in seen.exchanges if exchange.reply] == [
        "A dog ru",
        "I'm sorry, I cannot do that.",
    ]
    assert seen.problem is not None
    assert "declined" in seen.problem
    assert (seen.plan, page.exit_status(seen)) == (None, Exit.AMISS)
    assert "A dog ru" in shown(seen)


def test_where_nobody_answers_the_request_is_shown_and_what_to_do(tmp_path: Path, photos: Path) -> None:
    path = draw(photos / "a.jpg").path
    seen = look(settings(tmp_path, "http://127.0.0.1:1/v1"), path)
    assert [exchange.request.stage for exchange in seen.exchanges] == [Stage.CAPTION]
    assert seen.problem is not None
    assert "cannot be reached" in seen.problem
    assert "--no-ask" in shown(seen)


def test_a_photo_that_could_not_be_written_is_asked_about_all_the_same(tmp_path: Path, photos: Path) -> None:
    path = draw(photos / "a.jpg").path
    path.chmod(0o444)
    seen = look(settings(tmp_path, "http://127.0.0.1:1/v1"), path, ask=False)
    assert seen.obstacle is not None
    assert "write-protected" in seen.obstacle
    assert "but not now" in shown(seen)


def test_what_is_no_photo_is_refused(tmp_path: Path, photos: Path) -> None:
    known = settings(tmp_path, "http://127.0.0.1:1/v1")
    (photos / "a.txt").write_text("no picture")
    with pytest.raises(PhotoUnsupported):
        look(known, photos / "a.txt", ask=False)
    for missing in (photos / "b.jpg", photos):
        with pytest.raises(PhotoGone, match="there is no file"):
            look(known, missing, ask=False)


def test_the_prompts_are_those_of_the_folder_or_those_that_are_named(tmp_path: Path, photos: Path) -> None:
    inside, outside = draw(photos / "a.jpg").path, draw(tmp_path / "b.jpg").path
    folders = [{"path": str(photos), "prompt_profile": "Travel"}]
    known = settings(tmp_path, "http://127.0.0.1:1/v1", folders=folders)
    told = [look(known, inside, ask=False), look(known, outside, profile="FAMILY archive", ask=False)]
    assert [seen.profile.id for seen in told] == ["travel", "family-archive"]
    for seen in told:
        system = seen.exchanges[0].request.messages[0]["content"]
        assert system == seen.profile.system
        assert {origin.profile for origin in seen.answers.origins.values()} == {seen.profile.id}
    with pytest.raises(ConfigurationError, match="no prompt profile 'nix'"):
        look(known, inside, profile="nix", ask=False)


def test_a_server_of_ours_is_started_where_that_is_wished_and_stopped(tmp_path: Path, photos: Path) -> None:
    path = draw(photos / "a.jpg").path
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    known = settings(tmp_path, f"http://127.0.0.1:{port}/v1")
    ours = entry(f"http://127.0.0.1:{port}/v1", backend="builtin", served_model_id="builtin-describer")
    argv = [sys.executable, "-m", "tagger_daemon.vision.builtin", "--port", "{port}"]
    ours["serving"]["launch"] = {"argv": argv}
    (tmp_path / "registry.json").write_text(json.dumps([ours]))
    seen = look(known, path, use_loader=True)
    assert (seen.problem, len(seen.exchanges)) == (None, 3)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_the_picture_is_kept_over_nothing_and_in_no_watch_folder(tmp_path: Path, photos: Path) -> None:
    path = draw(photos / "a.jpg").path
    known = settings(tmp_path, "http://127.0.0.1:1/v1")
    seen = look(known, path, ask=False)
    ((picture, kept),) = page.save(seen.pictures, path, tmp_path / "new").items()
    assert (kept, kept.read_bytes()) == (tmp_path / "new" / "a.jpg.48x32.jpg", picture.jpeg)
    with pytest.raises(ConfigurationError, match="File exists"):
        page.save(seen.pictures, path, tmp_path / "new")
    page.check_place(tmp_path / "new", known)
    (tmp_path / "link").symlink_to(photos)
    for folder in (photos, photos / "below", tmp_path / "link"):
        with pytest.raises(ConfigurationError, match="is watched"):
            page.check_place(folder, known)


def test_the_command(tmp_path: Path, server: ModelServer) -> None:
    environ = {"TMPDIR": str(tmp_path / "kept")}
    house = House(root=tmp_path, registry=[entry(server.base_url)], environ=environ)
    (tmp_path / "kept").mkdir()
    path = draw(house.inbox / "a.jpg").path
    before = everything(house.inbox)
    done = house.run("preview", str(path), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert everything(house.inbox) == before
    assert [request["stage"] for request in told["requests"]] == list(Stage)
    assert told["requests"][0]["reply"]["text"] == told["fields"]["caption"]
    (picture,) = told["pictures"]
    assert Path(picture["saved"]).parent.parent == tmp_path / "kept"
    assert len(Path(picture["saved"]).read_bytes()) == picture["bytes"]
    assert "base64" not in done.stdout
    gone = house.run("preview", str(house.inbox / "b.jpg"))
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "there is no file" in gone.stderr


def test_a_photo_outside_the_watch_folders_lies_where_links_to_it_lead(tmp_path: Path) -> None:
    """What was agreed to for the folder with the link is not agreed to for it."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "a.jpg").touch()
    (tmp_path / "link").symlink_to("private")
    photo = previewing._photo(Settings(state_dir=tmp_path / "state"), tmp_path / "link" / "a.jpg")
    assert photo.folder == tmp_path / "private"
    assert real_folder(photo) == tmp_path / "private"
