"""What a batch run's preflight finds: on this machine, and about every server that would be asked."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from support import eyes
from support.disks import mounted, remount
from support.model_server import Fail, Garbage, ModelServer, Say
from support.running import PATIENCE, entry
from support.unprivileged import run_unprivileged
from tagger_daemon.cli.checks import Finding
from tagger_daemon.cli.preflight import examine, render
from tagger_daemon.settings import FolderSettings, Settings
from tagger_daemon.vision.builtin.protocol import MODEL

KEY = "a-key-of-twenty-letters"
SHOWN = (
    "serves test-vlm, digest unverifiable, context 8192, eyes not told, from /models/test-vlm, build 0.32.0"
    " (loopback)"
)
ANYWAY = "--skip-preflight begins all the same, and photos wait for it"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with two photos in it."""
    (tmp_path / "inbox").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "inbox" / name).write_bytes(b"\xff\xd8 a picture")
    return tmp_path


def settings_in(home: Path, *registry: dict[str, Any], **settings: Any) -> Settings:
    if registry:
        (home / "registry.json").write_text(json.dumps(registry))
        settings = {"registry": home / "registry.json", **settings}
    usual = {"folders": (FolderSettings(path=home / "inbox"),), "state_dir": home / "state"}
    return Settings(**{**usual, **settings})


def findings_in(
    home: Path, *registry: dict[str, Any], outputs: Sequence[Path] | None = None, **settings: Any
) -> list[Finding]:
    paths = (home / "out" / "audit.jsonl", home / "out" / "page.md") if outputs is None else outputs
    return asyncio.run(examine(settings_in(home, *registry, **settings), outputs=paths))


def found_in(home: Path, *registry: dict[str, Any], **more: Any) -> dict[str, Finding]:
    findings = findings_in(home, *registry, **more)
    found = {finding.what: finding for finding in findings}
    assert len(found) == len(findings)
    # Whatever fails or warns says what to do.
    assert [one for one in findings if (not one.passed or one.warns) and not one.remedy] == []
    return found


def failing(found: dict[str, Finding]) -> list[str]:
    return [what for what, finding in found.items() if not finding.passed]


def warning(found: dict[str, Finding]) -> list[str]:
    return [what for what, finding in found.items() if finding.warns]


def drawn(findings: Sequence[Finding], *names: tuple[str, str]) -> list[str]:
    """Draw the table, and return its lines with single blanks, and what differs between machines renamed."""
    page = io.StringIO()
    Console(file=page, width=400).print(render(findings))
    text = page.getvalue()
    for what, name in names:
        text = text.replace(what, name)
    text = re.sub(r"\d+\.\d GB", "N GB", re.sub(r"\d+\.\d\d; [^\n]*", "VERSION", text))
    return [" ".join(line.split()) for line in text.splitlines()]


def nobody() -> str:
    """Return an address where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


# --- The table ---


def test_where_all_is_well_one_table_says_so(home: Path, server: ModelServer) -> None:
    findings = findings_in(home, entry(server.base_url))
    assert drawn(findings, (str(home), "HOME"), (server.base_url, "URL")) == [
        "check found",
        "exiftool ok VERSION",
        "folder HOME/inbox ok 2 photos, readable and writable",
        "output HOME/out/audit.jsonl ok can be made, with its folder, in HOME",
        "output HOME/out/page.md ok can be made, with its folder, in HOME",
        "state directory ok HOME/state, N GB free",
        "disk of HOME/state ok N GB free, for state, outputs, photos",
        "role for the caption ok test-entry (test-vlm)",
        "role for the keywords ok test-entry (test-vlm)",
        "role for the description ok test-entry (test-vlm)",
        f"listing of test-vlm at URL ok {SHOWN}",
        "text of test-vlm at URL ok answers",
        "vision of test-vlm at URL ok names the colours of two pictures",
    ]
    assert server.chat_requests == []


def test_each_failure_has_a_reason_and_below_it_what_to_do(home: Path) -> None:
    url = nobody()
    lines = drawn(
        findings_in(home, model="m", base_url=url, outputs=[home]), (str(home), "HOME"), (url, "URL")
    )
    at = lines.index("output HOME fails HOME is a folder")
    assert lines[at + 1] == (
        "To do: name another file (--output-jsonl, --summary), or give this user the right to write there"
    )
    assert lines[-2:] == [
        "listing of m at URL fails the model server at URL cannot be reached: All connection attempts failed",
        f"To do: start it, or correct base_url (--base-url); {ANYWAY}",
    ]


def test_a_warning_is_told_from_a_failure_and_scripts_are_told_all() -> None:
    found = Finding(what="a [bold]", passed=True, warns=True, detail="one\nline", remedy="look")
    assert drawn([found]) == ["check found", "a [bold] warns one\\nline", "To do: look"]
    assert found.to_json() == {
        "what": "a [bold]",
        "passed": True,
        "warns": True,
        "detail": "one\nline",
        "remedy": "look",
    }


# --- Servers ---


def down(server: ModelServer) -> None:
    server.down()


def loading(server: ModelServer) -> None:
    server.health_status = 503


def another_model(server: ModelServer) -> None:
    server.models = ("another",)


def key_refused(server: ModelServer) -> None:
    server.models_status = 401


def text_refused(server: ModelServer) -> None:
    server.word = Fail(400)


def text_empty(server: ModelServer) -> None:
    server.word = Say("  ")


def text_garbled(server: ModelServer) -> None:
    server.word = Garbage(b"<html>")


def text_later(server: ModelServer) -> None:
    server.word = Fail(503)


def blind(server: ModelServer) -> None:
    server.eyes = eyes.blind


def pictures_refused(server: ModelServer) -> None:
    server.eyes = lambda _: Fail(400, {"error": {"message": "image input is not supported"}})


@pytest.mark.parametrize(
    ("how", "look", "reason", "remedy"),
    [
        (
            down,
            "listing",
            "cannot be reached",
            "start it, or correct base_url (--base-url); --skip-preflight",
        ),
        (loading, "listing", "cannot answer now (503", "wait until it is ready"),
        (
            another_model,
            "listing",
            "serves another, but 'test-vlm' asks for",
            "correct model (--model), base",
        ),
        (key_refused, "listing", "refuses our key (401", "api_key (--api-key)"),
        (text_refused, "text", "refuses the request (400", "name another model: correct model (--model)"),
        (text_empty, "text", "gives an empty answer to a question", "look into the server's log"),
        (text_garbled, "text", "not a chat completion", "look into the server's log"),
        (text_later, "text", "cannot answer now (503", "begins all the same, and photos wait for it"),
        (blind, "vision", "does not see", "name another model: correct model (--model)"),
        (pictures_refused, "vision", "shows 'test-vlm' no pictures", "correct model (--model)"),
    ],
)
def test_what_is_wrong_with_a_server_fails_where_it_shows(
    home: Path, server: ModelServer, how: Any, look: str, reason: str, remedy: str
) -> None:
    how(server)
    found = found_in(home, model="test-vlm", base_url=server.base_url)
    looks = ("listing", "text", "vision")
    looked_at = [what.partition(" ")[0] for what in found if what.endswith(server.base_url)]
    assert looked_at == list(looks[: looks.index(look) + 1])
    what = f"{look} of test-vlm at {server.base_url}"
    assert failing(found) == [what]
    assert reason in found[what].detail
    assert remedy in found[what].remedy


def test_a_server_that_hangs_ends_the_look_at_it(home: Path, server: ModelServer) -> None:
    done = threading.Event()

    def waiting(_: bytes) -> Say:
        done.wait(PATIENCE)
        return Say("Red.")

    server.eyes = waiting
    try:
        found = found_in(home, model="test-vlm", base_url=server.base_url, timeout=0.2)
    finally:
        done.set()
    what = f"vision of test-vlm at {server.base_url}"
    assert (failing(found), "did not answer within 0.2 s" in found[what].detail) == ([what], True)
    assert "longer timeout" in found[what].remedy


def test_what_the_registry_says_is_corrected_there(home: Path, server: ModelServer) -> None:
    server.card = {"max_model_len": 512}
    given = entry(server.base_url, generation_defaults={"context_window": 8192})
    (shown,) = [one for one in found_in(home, given).values() if not one.passed]
    assert "needs a context of 8192 tokens" in shown.detail
    assert "served_model_id of 'test-entry' in the registry" in shown.remedy


def test_a_stages_own_address_is_named_by_its_option(home: Path, server: ModelServer) -> None:
    url = nobody()
    found = found_in(home, model="test-vlm", base_url=server.base_url, keyword_base_url=url)
    assert failing(found) == [f"listing of test-vlm at {url}"]
    assert "keyword_base_url (--keyword-base-url)" in found[f"listing of test-vlm at {url}"].remedy


def test_one_endpoint_of_several_may_be_down(home: Path, server: ModelServer) -> None:
    url = nobody()
    both = entry(server.base_url, serving={"endpoints": [url, server.base_url]})
    found = found_in(home, both)
    what = f"listing of test-vlm at {url}"
    assert (failing(found), warning(found)) == ([], [what])
    assert found[what].detail.endswith("(another endpoint of the same entry works)")
    server.eyes = eyes.blind
    found = found_in(home, both)
    assert failing(found) == [what, f"vision of test-vlm at {server.base_url}"]


def test_who_only_stands_in_may_be_down(home: Path, server: ModelServer) -> None:
    url = nobody()
    registry = [entry(server.base_url), entry(url, name="spare", roles=[])]
    found = found_in(home, *registry, fallbacks={"caption": ("spare",)})
    what = f"listing of test-vlm at {url}"
    assert (failing(found), warning(found)) == ([], [what])
    assert found["role for the caption"].detail == "test-entry (test-vlm), or else spare (test-vlm)"
    found = found_in(home, *registry, fallbacks={"caption": ("spare",)}, keyword_registry_model="spare")
    assert failing(found) == [what]


def test_the_same_model_is_looked_at_once_whatever_it_is_called(home: Path, server: ModelServer) -> None:
    url = server.base_url
    found = found_in(
        home, entry(url, roles=["caption", "description"]), entry(url, name="k", roles=["keywords"])
    )
    assert (failing(found), found["role for the keywords"].detail) == ([], "k (test-vlm)")
    assert (len(server.smalltalk), len(server.canary_requests)) == (1, 3)


def test_models_of_one_server_are_looked_at_one_after_another(home: Path) -> None:
    with ModelServer(models=("one", "two")) as server:
        found = found_in(home, model="one", keyword_model="two", base_url=server.base_url)
        asked = [request.json["model"] for request in server.requests if request.stage and request.json]
    assert (failing(found), asked) == ([], ["one"] * 4 + ["two"] * 4)


def test_servers_are_looked_at_at_once(home: Path) -> None:
    met = threading.Barrier(2)
    first = {0: True, 1: True}

    def meeting(number: int) -> eyes.Eyes:
        def look(jpeg: bytes) -> Say:
            if eyes.colour_of(jpeg) == "blue" and first[number]:
                first[number] = False
                met.wait(PATIENCE)
            return eyes.seeing(jpeg)

        return look

    with ModelServer() as one, ModelServer() as other:
        one.eyes, other.eyes = meeting(0), meeting(1)
        found = found_in(home, entry(one.base_url, serving={"endpoints": [one.base_url, other.base_url]}))
    assert (failing(found), warning(found)) == ([], [])


def test_a_server_that_the_run_starts_is_looked_at_when_it_runs(home: Path) -> None:
    url = nobody()
    launch = {"argv": ["sh", "--api-key", KEY]}
    found = found_in(home, entry(url, serving={"endpoints": [url], "launch": launch}))
    what = f"listing of test-vlm at {url}"
    assert [one for one in found if one.endswith(url)] == [what]
    assert (found[what].passed, found[what].detail) == (
        True,
        "started by the run: sh; what it serves, and whether it sees, is looked at then",
    )
    launch = {"argv": ["no-such-server", KEY]}
    registry = entry(url, serving={"endpoints": [url], "launch": launch})
    found = found_in(home, registry)
    assert (failing(found), "no command 'no-such-server'" in found[what].detail) == ([what], True)
    assert "cannot be reached" in found_in(home, registry, use_loader=False)[what].detail


def test_the_describer_that_comes_along_is_not_asked_without_a_picture(home: Path) -> None:
    command = [sys.executable, "-m", "tagger_daemon.vision.builtin", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline().rpartition(':')[2])}/v1"
        found = found_in(home, model=MODEL, backend="builtin", base_url=url)
        process.kill()
    assert failing(found) == []
    assert found[f"text of {MODEL} at {url}"].detail == "not asked: it answers about pictures only"


def test_each_role_that_nobody_takes_is_a_finding(home: Path, server: ModelServer) -> None:
    findings = findings_in(home, entry(server.base_url, roles=["caption"]))
    shown = [finding for finding in findings if not finding.passed]
    assert [finding.what for finding in shown] == ["models", "models"]
    assert ["'keywords'" in shown[0].detail, "'description'" in shown[1].detail] == [True, True]
    assert ["--model" in finding.remedy for finding in shown] == [True, True]


# --- Privacy ---


def test_a_key_is_in_no_finding(home: Path, server: ModelServer) -> None:
    server.word = Fail(400, {"error": {"message": f"who is {KEY}?"}})
    findings = findings_in(home, model="test-vlm", base_url=server.base_url, api_key=KEY)
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    told = json.dumps([finding.to_json() for finding in findings])
    assert ("[key]" in told, KEY in told) == (True, False)


def test_photos_of_every_folder_have_to_be_agreed_to(home: Path, server: ModelServer) -> None:
    far = entry(server.base_url, serving={"endpoints": [server.base_url], "privacy": "public"})
    (home / "other").mkdir()
    what = f"listing of test-vlm at {server.base_url}"

    def agreed(*folders: str) -> dict[str, Finding]:
        remote = {"endpoint": server.base_url, "folders": tuple(home / name for name in folders)}
        given = (FolderSettings(path=home / "inbox"), FolderSettings(path=home / "other"))
        return found_in(home, far, remote=(remote,), folders=given)

    found = agreed("inbox")
    assert (failing(found), f"photos of {home}/other are not sent" in found[what].detail) == ([what], True)
    assert server.smalltalk == []
    assert failing(agreed("inbox", "other")) == []


# --- Folders and disks ---


def test_no_photo_is_touched_and_nothing_is_left_behind(home: Path, server: ModelServer) -> None:
    (home / "out").mkdir()
    (home / "out" / "audit.jsonl").write_text("{}\n")

    def seen() -> dict[str, tuple[int, ...]]:
        kept = [path for folder in ("inbox", "out") for path in ((home / folder), *(home / folder).iterdir())]
        stats = {str(path): path.stat() for path in kept}
        return {path: (s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino) for path, s in stats.items()}

    before = seen()
    assert failing(found_in(home, entry(server.base_url))) == []
    assert seen() == before


UNPRIVILEGED = """
import asyncio, json, sys
from pathlib import Path
from tagger_daemon.cli.preflight import examine
from tagger_daemon.settings import Settings
home, usual = Path(sys.argv[1]), json.loads(sys.argv[2])
for case in json.loads(sys.argv[3]):
    for name, mode in case["modes"].items():
        (home / name).chmod(mode)
    settings = Settings(state_dir=home / "state", **{**usual, **case["settings"]})
    outputs = [home / name for name in case["outputs"]]
    print(json.dumps([found.to_json() for found in asyncio.run(examine(settings, outputs=outputs))]))
"""


def case(modes: dict[str, int] | None = None, *outputs: str, **settings: Any) -> dict[str, Any]:
    """Describe one look: after which changes of permissions, at which outputs, with which settings."""
    return {"modes": modes or {}, "outputs": outputs, "settings": settings}


def found_unprivileged(home: Path, *cases: dict[str, Any]) -> list[dict[str, Finding]]:
    """Look several times as somebody to whom permissions apply."""
    usual = {"folders": [{"path": str(home / "inbox")}], "model": "m", "base_url": nobody()}
    told = run_unprivileged(UNPRIVILEGED, str(home), json.dumps(usual), json.dumps(cases))
    return [
        {finding["what"]: Finding(**finding) for finding in json.loads(line)} for line in told.splitlines()
    ]


def test_a_folder_that_may_not_be_written_to_fails_unless_nothing_is_written(home: Path) -> None:
    (home / "inbox" / "deep").mkdir()
    (home / "inbox" / "deep" / "c.jpg").write_bytes(b"c")
    found = found_unprivileged(
        home,
        case({"inbox/deep": 0o555}),
        case({"inbox": 0o555}),
        case(dry_run=True),
        case(no_meta=True),
        case(metadata={"mode": "propose"}),
    )
    one, both, *unwritten = [findings[f"folder {home}/inbox"] for findings in found]
    assert (one.passed, "deep cannot be written to now: the folder may not" in one.detail) == (False, True)
    assert "--dry-run" in one.remedy
    assert (both.passed, both.detail.endswith("(and 1 more of its folders)")) == (False, True)
    assert [(finding.passed, finding.detail) for finding in unwritten] == [
        (True, "3 photos, readable; nothing is written")
    ] * 3


def test_photos_that_may_not_be_read_are_told(home: Path) -> None:
    modes = ({"inbox/a.jpg": 0}, {"inbox/b.jpg": 0}, {"inbox": 0})
    found = found_unprivileged(home, *map(case, modes))
    some, every, folder = [findings[f"folder {home}/inbox"] for findings in found]
    (home / "inbox").chmod(0o755)
    assert (some.passed, some.warns) == (True, True)
    assert f"but {home}/inbox/a.jpg may not be read" in some.detail
    assert (every.passed, f"{home}/inbox/" in every.detail) == (False, True)
    assert (folder.passed, "cannot be read: permission denied" in folder.detail) == (False, True)


def test_photos_that_would_be_refused_are_counted(home: Path) -> None:
    inbox = home / "inbox"
    (inbox / "c.nef").write_bytes(b"c")
    (inbox / "c.xmp").write_text("<x/>")
    (inbox / "c.nef").chmod(0o444)  # its words go beside it
    (inbox / "d.jpg").hardlink_to(inbox / "b.jpg")
    none, some, names = found_unprivileged(
        home,
        case(metadata={"allow_hard_links": True}),
        case({"inbox/a.jpg": 0o444, "inbox/c.xmp": 0o444}, metadata={"allow_hard_links": True}),
        case({"inbox/a.jpg": 0o644, "inbox/c.xmp": 0o644}),
    )
    what = f"folder {inbox}"
    assert (none[what].warns, none[what].detail) == (False, "4 photos, readable and writable")
    assert (some[what].passed, some[what].warns) == (True, True)
    assert some[what].detail.startswith(f"4 photos, readable, but 2 cannot be written to: {inbox}/")
    assert "is write-protected" in some[what].detail
    assert "allow writing to them" in some[what].remedy
    assert "but 2 cannot be written to" in names[what].detail
    assert "2 names (hard links)" in names[what].detail


def test_photos_that_are_given_singly_are_looked_for(home: Path) -> None:
    def given(*names: str) -> Finding:
        folders = (FolderSettings(path=home / "inbox", recursive=False, only=names),)
        return found_in(home, folders=folders, model="m", base_url=nobody())[f"folder {home}/inbox"]

    assert (given("a.jpg").passed, given("a.jpg").detail) == (True, "1 photo, readable and writable")
    found = given("a.jpg", "c.jpg")
    assert (found.passed, f"{home}/inbox/c.jpg is not there" in found.detail) == (False, True)


def test_a_folder_that_is_not_there_fails_and_the_others_are_looked_at(home: Path) -> None:
    folders = (FolderSettings(path=home / "away"), FolderSettings(path=home / "inbox"))
    found = found_in(home, folders=folders, model="m", base_url=nobody())
    assert (found[f"folder {home}/away"].passed, found[f"folder {home}/inbox"].passed) == (False, True)


def test_disks_are_told_apart_and_have_to_have_room(home: Path) -> None:
    with mounted(home / "disk", megabytes=600) as disk:
        photo = disk / "large.tif"
        photo.touch()
        os.truncate(photo, 100_000_000)
        folders = (FolderSettings(path=disk), FolderSettings(path=home / "inbox"))

        def found(**settings: Any) -> dict[str, Finding]:
            return found_in(home, folders=folders, model="m", base_url=nobody(), **settings)

        room = found()[f"disk of {disk}"]
        assert (room.passed, room.detail) == (True, "0.6 GB free, for photos")
        os.truncate(photo, 700_000_000)
        room = found()[f"disk of {disk}"]
        assert (room.passed, "a copy of one photo needs 701 MB" in room.detail) == (False, True)
        assert f"disk of {disk}" not in found(dry_run=True)
        remount(disk, "ro")
        shut = found()[f"folder {disk}"]
        assert (shut.passed, "read-only" in shut.detail) == (False, True)
        remount(disk, "rw")
    with mounted(home / "small", megabytes=8) as disk:
        room = found_in(home, state_dir=disk / "state", model="m", base_url=nobody())[f"disk of {disk}/state"]
        assert (room.passed, "only 8 MB are free" in room.detail) == (False, True)


# --- Outputs ---


def output(home: Path, *outputs: Path) -> list[Finding]:
    found = found_in(home, model="m", base_url=nobody(), outputs=outputs)
    return [finding for what, finding in found.items() if what.startswith("output")]


@pytest.mark.parametrize(
    ("name", "passed", "detail"),
    [
        ("new.jsonl", True, "can be made"),
        ("a/b/c/new.jsonl", True, "can be made, with its folder, in {home}"),
        ("there.jsonl", True, "is there, and writable"),
        ("link.jsonl", True, "is there, and writable"),
        ("dangling.jsonl", True, "can be made"),
        ("inbox", False, "{home}/inbox is a folder"),
        ("pipe", False, "{home}/pipe is no regular file"),
        ("there.jsonl/below.jsonl", False, "cannot be looked at: not a directory"),
        ("round.jsonl", False, "cannot be looked at: too many levels of symbolic links"),
        ("inbox/a.jpg", False, "{home}/inbox/a.jpg is a photo by its name"),
        ("n" * 300, False, "cannot be looked at: file name too long"),
        ("/proc/new.jsonl", False, "/proc cannot be written to"),
    ],
)
def test_an_output_is_a_file_that_can_be_written(home: Path, name: str, passed: bool, detail: str) -> None:
    (home / "there.jsonl").write_text("{}\n")
    (home / "link.jsonl").symlink_to("there.jsonl")
    (home / "dangling.jsonl").symlink_to("nowhere.jsonl")
    (home / "round.jsonl").symlink_to("round.jsonl")
    os.mkfifo(home / "pipe")
    (found,) = output(home, home / name)
    assert (found.passed, detail.format(home=home) in found.detail) == (passed, True), found.detail
    assert not (home / "nowhere.jsonl").exists()
    assert not (home / "a").exists()


def test_an_output_that_may_not_be_written_fails(home: Path) -> None:
    (home / "theirs.jsonl").write_text("{}\n")
    (home / "shut").mkdir()
    modes = {"theirs.jsonl": 0o444, "shut": 0o555}
    (found,) = found_unprivileged(home, case(modes, "theirs.jsonl", "shut/new.jsonl"))
    assert "may not be written to" in found[f"output {home}/theirs.jsonl"].detail
    assert (
        f"{home}/shut cannot be written to: permission denied"
        in found[f"output {home}/shut/new.jsonl"].detail
    )


def test_two_outputs_on_one_file_fail(home: Path) -> None:
    assert [one.what for one in output(home, home / "x", home / "y") if not one.passed] == []
    assert [one.what for one in output(home, home / "x", home / "x" / ".." / "x")][-1] == "outputs"
    (home / "x").touch()
    (home / "y").hardlink_to(home / "x")
    (clash,) = [one for one in output(home, home / "x", home / "y") if not one.passed]
    assert (clash.what, "are one file" in clash.detail) == ("outputs", True)


# --- Interrupted ---

INTERRUPTED = """
import asyncio, sys
from pathlib import Path
from tagger_daemon.cli.preflight import examine
from tagger_daemon.settings import Settings
home = Path(sys.argv[1])
model = {"model": "test-vlm", "base_url": sys.argv[2]}
settings = Settings(state_dir=home / "state", folders=[home / "inbox"], **model)
try:
    asyncio.run(examine(settings, outputs=[home / "x"]))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_ends_it_cleanly(home: Path, server: ModelServer) -> None:
    done = threading.Event()

    def waiting(_: bytes) -> Say:
        done.wait(PATIENCE)
        return Say("Red.")

    server.eyes = waiting
    command = [sys.executable, "-c", INTERRUPTED, str(home), server.base_url]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ) as process:
        try:
            server.wait_until(lambda: len(server.canary_requests) == 2, PATIENCE)
            process.send_signal(signal.SIGINT)
            said, complaint = process.communicate(timeout=PATIENCE)
        finally:
            done.set()
            process.kill()
    assert (said, complaint, process.returncode) == ("interrupted\n", "", 0)
