"""The audit and the day's page on a real disk: nothing is lost, twice there, or half there."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.model import Fingerprint, Kept, Origin, Outcome, Photo, Record, Stage
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.reports.page import write_page

ORIGIN = Origin(
    entry="small",
    model="small-vl",
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
        finished_at="2025-03-14T23:59:59.000+01:00",
        target=path,
        original=Path("/state/originals/c1/c1/a.jpg"),
        title="A café",
        keywords=("café", "street"),
        description="A café in a street.",
        before={"XMP-dc:Subject": ("street",)},
        after={"XMP-dc:Subject": ("street", "café")},
        kept=(Kept(field="description", reason="a person wrote it"),),
        notes=("written beside the photo",),
        origins={Stage.CAPTION: ORIGIN},
        content_hash="c1",
        attempts=1,
        seconds={"read": 0.25, "caption": 1.5},
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
    AuditLog(tmp_path / "audit").append(a_record())

    (line,) = day_file(tmp_path / "audit").read_text(encoding="utf-8").splitlines()

    assert json.loads(line) == {
        "schema_version": 1,
        "id": "one",
        "image": "/photos/2025/a.jpg",
        "outcome": "written",
        "reason": None,
        "caption": "A café",
        "keywords": [{"keyword": "café", "score": None}, {"keyword": "street", "score": None}],
        "description": "A café in a street.",
        "metadata_written": True,
        "target": "/photos/2025/a.jpg",
        "original": "/state/originals/c1/c1/a.jpg",
        "before": {"XMP-dc:Subject": ["street"]},
        "after": {"XMP-dc:Subject": ["street", "café"]},
        "kept": [{"field": "description", "reason": "a person wrote it"}],
        "notes": ["written beside the photo"],
        "models": {
            "caption": {
                "entry": "small",
                "model": "small-vl",
                "digest": "sha256:1",
                "profile": "default",
                "profile_hash": "p1",
                "registry": "r1",
                "endpoint": "http://127.0.0.1:8000/v1",
                "tokens": {"prompt": 700, "completion": 30, "cached": 650},
                "fallback_for": None,
                "seconds": 1.5,
                "attempts": 2,
            }
        },
        "content_hash": "c1",
        "attempts": 1,
        "seconds": {"read": 0.25, "caption": 1.5},
        "duration_seconds": 1.75,
        "finished_at": "2025-03-14T23:59:59.000+01:00",
    }
    assert "café" in line  # readable, not escaped


def test_only_what_was_written_is_called_written(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for outcome in Outcome:
        log.append(a_record(id=outcome.value, outcome=outcome))

    lines = [json.loads(line) for line in day_file(tmp_path).read_text().splitlines()]

    assert {line["id"] for line in lines} == set(Outcome)
    assert [line["id"] for line in lines if line["metadata_written"]] == ["written"]


def test_each_local_day_has_its_own_file(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append(a_record())
    log.append(a_record(id="two", finished_at="2025-03-15T00:00:01.000+01:00"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["2025-03-14.jsonl", "2025-03-15.jsonl"]


def test_names_and_words_that_are_hard_to_write_come_back_as_they_were(tmp_path: Path) -> None:
    path = Path(os.fsdecode(b'/photos/\xe9\n"one".jpg'))
    record = a_record(title='two\nlines, "quotes" and half a \ud83d pair')
    AuditLog(tmp_path).append(record.evolve(photo=record.photo.evolve(path=path)))

    content = day_file(tmp_path).read_bytes()

    assert content.count(b"\n") == 1
    line = json.loads(content.decode("utf-8"))
    assert line["image"] == str(path)
    assert line["caption"] == record.title


def test_a_record_is_found_by_its_own_line_only(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append(a_record(id="one", title='"id": "three"'))
    log.append(a_record(id="two"))

    found = {name: log.contains(a_record(id=name)) for name in ("one", "two", "three", "o")}

    assert found == {"one": True, "two": True, "three": False, "o": False}
    assert not log.contains(a_record(finished_at="2025-03-15T12:00:00+01:00"))


@pytest.mark.parametrize("lost", [1, 20, 300])
def test_a_torn_last_line_counts_only_if_it_is_whole_and_spoils_no_other(tmp_path: Path, lost: int) -> None:
    log = AuditLog(tmp_path)
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
    log = AuditLog(tmp_path)
    log.append(a_record(id="one"))

    with a_disk_of(day_file(tmp_path).stat().st_size + 50), pytest.raises(FolderUnavailable):
        log.append(a_record(id="two"))

    assert not log.contains(a_record(id="two"))
    log.append(a_record(id="two"))
    assert log.contains(a_record(id="two"))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FolderUnavailable, match="file"):
        AuditLog(tmp_path / "file").append(a_record())
    with pytest.raises(FolderUnavailable, match="file"):
        write_page(tmp_path / "file", date(2025, 3, 14), "text")


def test_a_page_replaces_the_earlier_one_of_its_day(tmp_path: Path) -> None:
    write_page(tmp_path / "pages", date(2025, 3, 14), "early\n")

    path = write_page(tmp_path / "pages", date(2025, 3, 14), "late: café\n")

    assert path == tmp_path / "pages" / "2025-03-14.md"
    assert path.read_bytes() == "late: café\n".encode()
    assert list((tmp_path / "pages").iterdir()) == [path]


def test_a_page_that_cannot_be_finished_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = write_page(tmp_path, date(2025, 3, 14), "early\n")

    with a_disk_of(100), pytest.raises(FolderUnavailable):
        write_page(tmp_path, date(2025, 3, 14), "late\n" * 100)

    assert path.read_text() == "early\n"
