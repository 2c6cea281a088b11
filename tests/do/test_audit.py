"""The audit and the day's page on a real disk: nothing is lost, twice there, or half there."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.audit_lines import faults, faults_below
from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.model import Draft, Fingerprint, Kept, Origin, Outcome, Photo, Record, Stage
from tagger_daemon.reports.audit import AuditLog, audit_line, daily, single
from tagger_daemon.reports.page import write_page

ORIGIN = Origin(
    entry="small",
    model="small-vl",
    served="small",
    backend="vllm",
    digest="sha256:1",
    registry="r1",
    profile="default",
    profile_hash="p1",
    endpoint="http://127.0.0.1:8000/v1",
    prompt_tokens=700,
    completion_tokens=30,
    cached_tokens=650,
    seconds=1.5,
    attempts=2,
)


def a_record(**changes: object) -> Record:
    path = Path("/photos/2025/a.jpg")
    record = Record(
        id="one",
        photo=Photo(path=path, folder=Path("/photos"), fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3)),
        outcome=Outcome.WRITTEN,
        started_at="2025-03-14T23:59:57.000+01:00",
        finished_at="2025-03-14T23:59:59.000+01:00",
        target=path,
        original=Path("/state/originals/c1/c1/a.jpg"),
        title="A café",
        keywords=("café", "street"),
        description="A café in a street.",
        before={"XMP-dc:Subject": ("street",)},
        after={"XMP-dc:Subject": ("street", "café")},
        kept=(Kept(field="description", reason="a person wrote it"),),
        notes=("written beside the photo", "a note"),
        origins={Stage.CAPTION: ORIGIN},
        content_hash="c1",
        attempts=1,
        seconds={"read": 0.25, "caption": 1.5},
        run="r7",
        final_fingerprint=Fingerprint(size=4, mtime_ns=5, inode=6),
        answers=Draft(
            caption="A café in a street",
            keywords=("café", "chair", "table"),
            origins={Stage.CAPTION: ORIGIN},
            raw={Stage.CAPTION: "**A café in a street**"},
        ),
    )
    return record.evolve(**changes)


def day_file(folder: Path, day: str = "2025-03-14") -> Path:
    return folder / f"{day}.jsonl"


@contextmanager
def a_disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: a write is cut short there, and refused after."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, before[1])
    )  # Python ignores the signal that goes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_says_all_that_is_known(tmp_path: Path) -> None:
    AuditLog(daily(tmp_path / "audit")).append(a_record())

    (line,) = day_file(tmp_path / "audit").read_text(encoding="utf-8").splitlines()

    assert json.loads(line) == {
        "schema_version": "2.0",
        "image": "/photos/2025/a.jpg",
        "caption": "A café in a street",
        "keywords": [
            {"keyword": "café", "score": 1.0},
            {"keyword": "chair", "score": 0.6667},
            {"keyword": "table", "score": 0.3333},
        ],
        "description": "",
        "metadata_written": True,
        "backend": "vllm",
        "models": {"caption": "small-vl", "keywords": "", "description": ""},
        "notes": "written beside the photo; a note",
        "duration_seconds": 1.75,
        "id": "one",
        "run": "r7",
        "outcome": "written",
        "reason": None,
        "folder": "/photos",
        "content_hash": "c1",
        "fingerprint": {"size": 4, "mtime_ns": 5, "inode": 6},
        "stands": {
            "title": "A café",
            "keywords": ["café", "street"],
            "description": "A café in a street.",
        },
        "target": "/photos/2025/a.jpg",
        "original": "/state/originals/c1/c1/a.jpg",
        "before": {"XMP-dc:Subject": ["street"]},
        "after": {"XMP-dc:Subject": ["street", "café"]},
        "kept": [{"field": "description", "reason": "a person wrote it"}],
        "stages": {
            "caption": {
                "entry": "small",
                "model": "small-vl",
                "served": "small",
                "backend": "vllm",
                "digest": "sha256:1",
                "profile": "default",
                "profile_hash": "p1",
                "registry": "r1",
                "endpoint": "http://127.0.0.1:8000/v1",
                "tokens": {"prompt": 700, "completion": 30, "cached": 650},
                "seconds": 1.5,
                "attempts": 2,
                "fallback_for": None,
                "raw": "**A café in a street**",
            }
        },
        "attempts": 1,
        "seconds": {"read": 0.25, "caption": 1.5},
        "started_at": "2025-03-14T23:59:57.000+01:00",
        "finished_at": "2025-03-14T23:59:59.000+01:00",
    }
    assert "café" in line  # readable, not escaped


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_line_of_any_outcome_fits_the_schema_and_only_what_was_written_is_called_so(
    outcome: Outcome,
) -> None:
    written = outcome is Outcome.WRITTEN
    record = a_record(outcome=outcome, target=Path("/photos/2025/a.jpg") if written else None, reason="why")
    bare = Record(
        id="two",
        photo=record.photo,
        outcome=outcome,
        finished_at=record.finished_at,
        target=record.target,
    )
    lines = [audit_line(record), audit_line(bare)]

    assert list(faults(lines)) == []
    assert {json.loads(line)["metadata_written"] for line in lines} == {written}
    assert json.loads(lines[0])["notes"] == "why; written beside the photo; a note"


def test_what_nobody_looked_at_is_not_told_as_what_stands() -> None:
    told = {outcome: json.loads(audit_line(a_record(outcome=outcome)))["stands"] for outcome in Outcome}

    assert [outcome for outcome in Outcome if told[outcome] is None] == [Outcome.UNDONE, Outcome.FAILED]


def test_a_photo_that_failed_shows_the_answers_that_it_got() -> None:
    line = json.loads(audit_line(a_record(outcome=Outcome.FAILED, target=None, reason="declined")))

    assert line["caption"] == "A café in a street"
    assert line["stages"].keys() == {"caption"}
    assert line["stages"]["caption"]["raw"] == "**A café in a street**"


def test_stages_of_several_servers_are_all_named() -> None:
    origins = dict.fromkeys(Stage, ORIGIN) | {Stage.KEYWORDS: ORIGIN.evolve(backend="ollama", model="o")}

    line = json.loads(audit_line(a_record(origins=origins)))

    assert line["backend"] == "vllm, ollama"
    assert line["models"] == {"caption": "small-vl", "keywords": "o", "description": "small-vl"}


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "2.1"},
        {"caption": None},
        {"keywords": ["dog"]},
        {"keywords": [{"keyword": "dog", "score": None}]},
        {"metadata_written": False},
        {"target": None},
        {"outcome": "done"},
        {"finished_at": "2025-03-14 23:59"},
        {"notes": ["a note"]},
        {"more": 1},
        {"after": {"XMP-dc:Title": {"x": "y"}}},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_a_line_that_does_not_fit_the_schema_is_found(tmp_path: Path, change: dict[str, Any]) -> None:
    line = json.dumps(json.loads(audit_line(a_record())) | change).encode() + b"\n"
    file = tmp_path / "audit.jsonl"
    file.write_bytes(audit_line(a_record()) + b'{"schema_version": 1}\n{"schema\n' + line)

    found = faults_below(tmp_path)
    file.unlink()  # it is wrong on purpose

    assert found
    assert all(f"{file}: line 4, $" in fault for fault in found)


def test_a_missing_key_is_found() -> None:
    values = json.loads(audit_line(a_record()))
    for key in values:
        line = json.dumps({name: value for name, value in values.items() if name != key}).encode()
        assert list(faults([line])), key


OTHERS = b'{"image": "/a.jpg", "keywords": [], "schema_version": "1.1"}\n{"schema_version": 1, "id": "old"}'


@pytest.mark.parametrize("end", [b"\n", b"", b'\n{"image": "/torn'])
def test_a_given_file_is_added_to_whoever_began_it(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "out" / "personal_tagger.jsonl"
    file.parent.mkdir()
    file.write_bytes(OTHERS + end)
    log = AuditLog(single(file))

    for number, day in enumerate(("14", "15")):
        record = a_record(id=str(number), finished_at=f"2025-03-{day}T12:00:00+01:00")
        assert not log.contains(record)
        log.append(record)
        assert log.contains(record)

    content = file.read_bytes()
    assert content.startswith(OTHERS + end)
    assert [json.loads(line)["id"] for line in content.splitlines()[-2:]] == ["0", "1"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_given_file_is_made_with_its_folders(tmp_path: Path) -> None:
    file = tmp_path / "out" / "results" / "audit.jsonl"
    AuditLog(single(file)).append(a_record())

    assert file.read_bytes() == audit_line(a_record())


def test_a_given_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    log = AuditLog(single(tmp_path / "folder.jsonl"))

    for use in (log.append, log.contains):
        with pytest.raises(FolderUnavailable, match=r"folder\.jsonl cannot be used: Is a directory"):
            use(a_record())


def test_each_local_day_has_its_own_file(tmp_path: Path) -> None:
    log = AuditLog(daily(tmp_path))
    log.append(a_record())
    log.append(a_record(id="two", finished_at="2025-03-15T00:00:01.000+01:00"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["2025-03-14.jsonl", "2025-03-15.jsonl"]


def test_names_and_words_that_are_hard_to_write_come_back_as_they_were(tmp_path: Path) -> None:
    path = Path(os.fsdecode(b'/photos/\xe9\n"one".jpg'))
    record = a_record(title='two\nlines, "quotes" and half a \ud83d pair')
    AuditLog(daily(tmp_path)).append(record.evolve(photo=record.photo.evolve(path=path)))

    content = day_file(tmp_path).read_bytes()

    assert content.count(b"\n") == 1
    line = json.loads(content.decode("utf-8"))
    assert line["image"] == str(path)
    assert line["stands"]["title"] == record.title


def test_a_record_is_found_by_its_own_line_only(tmp_path: Path) -> None:
    log = AuditLog(daily(tmp_path))
    log.append(a_record(id="one", title='"id": "three"'))
    log.append(a_record(id="two"))

    found = {name: log.contains(a_record(id=name)) for name in ("one", "two", "three", "o")}

    assert found == {"one": True, "two": True, "three": False, "o": False}
    assert not log.contains(a_record(finished_at="2025-03-15T12:00:00+01:00"))


@pytest.mark.parametrize("lost", [1, 20, 300])
def test_a_torn_last_line_counts_only_if_it_is_whole_and_spoils_no_other(tmp_path: Path, lost: int) -> None:
    log = AuditLog(daily(tmp_path))
    log.append(a_record(id="one"))
    log.append(a_record(id="two"))
    whole = day_file(tmp_path).read_bytes()
    day_file(tmp_path).write_bytes(whole[:-lost])

    only_the_line_end_is_lost = lost == 1
    assert log.contains(a_record(id="one"))
    assert log.contains(a_record(id="two")) is only_the_line_end_is_lost

    log.append(a_record(id="three"))

    assert log.contains(a_record(id="three"))
    lines = day_file(tmp_path).read_bytes().splitlines()
    assert len(lines) == 3
    assert [json.loads(lines[index])["id"] for index in (0, 2)] == ["one", "three"]


def test_a_full_disk_is_said_and_the_next_line_is_whole(tmp_path: Path) -> None:
    log = AuditLog(daily(tmp_path))
    log.append(a_record(id="one"))

    with a_disk_of(day_file(tmp_path).stat().st_size + 50), pytest.raises(FolderUnavailable):
        log.append(a_record(id="two"))

    assert not log.contains(a_record(id="two"))
    log.append(a_record(id="two"))
    assert log.contains(a_record(id="two"))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FolderUnavailable, match="file"):
        AuditLog(daily(tmp_path / "file")).append(a_record())
    with pytest.raises(FolderUnavailable, match="file"):
        write_page(tmp_path / "file" / "2025-03-14.md", "text")


def test_a_page_replaces_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "pages" / "2025-03-14.md"
    write_page(path, "early\n")

    write_page(path, "late: café\n")

    assert path.read_bytes() == "late: café\n".encode()
    assert list((tmp_path / "pages").iterdir()) == [path]


def test_a_page_that_cannot_be_finished_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    write_page(path, "early\n")

    with a_disk_of(100), pytest.raises(FolderUnavailable):
        write_page(path, "late\n" * 100)

    assert path.read_text() == "early\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_does_not_take_a_folders_place(tmp_path: Path) -> None:
    (tmp_path / "page.md").mkdir()

    with pytest.raises(FolderUnavailable, match=r"page\.md cannot be written: Is a directory"):
        write_page(tmp_path / "page.md", "text")

    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


APPENDING = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from test_audit import a_record
from tagger_daemon.reports.audit import AuditLog, single
log = AuditLog(single(Path(sys.argv[1])))
words = "word " * 4000
with ThreadPoolExecutor(8) as threads:
    ids = [f"{sys.argv[2]}-{number}" for number in range(60)]
    list(threads.map(lambda id: log.append(a_record(id=id, description=words)), ids))
"""


def test_threads_and_processes_that_append_at_once_tear_no_line(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDING, str(file), name], env=environ) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = file.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(
        f"{name}-{number}" for name in "ab" for number in range(60)
    )
