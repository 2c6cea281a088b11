"""A file as it was before our first write can be had back, whole, and a full state disk costs no photo."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from support.metadata_files import NOON, annotation, draw, photo_at, policy, stamp
from support.small_disk import mounted
from tagger_daemon.errors import PhotoChanged, StateUnavailable
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.naming import temp_name
from tagger_daemon.metadata.originals import keep
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Draft, Job, JobState, Memory, Photo, Record
from tagger_daemon.pipeline import Steps, Tools, process
from tagger_daemon.settings import MetadataSettings


@contextmanager
def keeping(folder: Path) -> Iterator[MetadataStore]:
    """Give a store that keeps originals."""
    store = MetadataStore(
        MetadataSettings(), exiftool=ExifTool(), tool_version="0.1", now=lambda: NOON, originals=folder
    )
    try:
        store.start()
        yield store
    finally:
        store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "originals"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    return path


@pytest.fixture
def store(folder: Path) -> Iterator[MetadataStore]:
    with keeping(folder) as opened:
        yield opened


def tag(store: MetadataStore, photo: Photo, **answers: object) -> Path | None:
    """Read, plan and write; return where the plan says that the original is."""
    plan = store.plan(store.read(photo), annotation(**answers), policy())
    store.apply(plan)
    return plan.original


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_photo_is_kept_as_it_was_with_all_that_belongs_to_it(
    photos: Path, folder: Path, store: MetadataStore
) -> None:
    photo = draw(photos / "photo.jpg", "XMP-dc:Subject=mine")
    photo.path.chmod(0o640)
    os.setxattr(photo.path, "user.tag", b"red")
    os.utime(photo.path, ns=(1, 1_000_000_000_000_000_001))
    before = photo.path.read_bytes()
    original = tag(store, photo_at(photo.path))
    marker = store.read(photo_at(photo.path)).marker
    assert marker is not None
    content = marker.content_hash
    assert original is not None
    assert original.parents[1] == folder / content[:2] / content
    assert original.name == "photo.jpg"
    assert original.read_bytes() == before != photo.path.read_bytes()
    assert original.stat().st_mode & 0o777 == 0o640
    assert original.stat().st_mtime_ns == 1_000_000_000_000_000_001
    assert os.getxattr(original, "user.tag") == b"red"
    assert folder.stat().st_mode & 0o077 == 0
    assert files(folder) == [str(original.relative_to(folder))]


def test_a_raws_sidecar_is_kept_and_one_that_we_make_has_no_original(
    photos: Path, folder: Path, store: MetadataStore
) -> None:
    raw, sidecar = draw(photos / "IMG.nef"), photos / "IMG.xmp"
    assert tag(store, raw) is None
    assert not folder.exists()
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-dc:Title=Mine")
    before = sidecar.read_bytes()
    original = tag(store, raw)
    assert original is not None
    assert (original.name, original.read_bytes()) == ("IMG.xmp", before)


def test_what_carries_our_words_is_no_original_and_never_replaces_one(
    photos: Path, store: MetadataStore
) -> None:
    photo = draw(photos / "photo.jpg")
    before = photo.path.read_bytes()
    original = tag(store, photo)
    assert original is not None
    assert tag(store, photo_at(photo.path), keywords=("more",)) is None
    assert original.read_bytes() == before


def test_a_newer_state_that_is_a_persons_alone_replaces_the_older(
    photos: Path, folder: Path, store: MetadataStore
) -> None:
    photo = draw(photos / "photo.jpg")
    original = tag(store, photo)
    assert original is not None
    shutil.copy2(original, photo.path)
    stamp(photo.path, "XMP-dc:Title=Mine")
    newer = photo.path.read_bytes()
    assert tag(store, photo_at(photo.path)) == original
    assert original.read_bytes() == newer
    assert len(files(folder)) == 1


def test_a_marker_beside_the_file_does_not_make_the_file_ours(photos: Path, store: MetadataStore) -> None:
    photo, beside = draw(photos / "photo.jpg"), photos / "photo.jpg.xmp"
    store.apply(store.plan(store.read_beside(photo, "as if it were torn"), annotation(), policy()))
    assert beside.exists()
    before = photo.path.read_bytes()
    original = tag(store, photo, keywords=("more",))
    assert original is not None
    assert original.read_bytes() == before


def test_a_write_that_was_begun_is_noted_with_its_original(photos: Path, store: MetadataStore) -> None:
    photo = draw(photos / "photo.jpg")
    intended: list[Record] = []

    class Journal:
        async def recall(self, _: str, __: Path | None = None) -> Memory:
            return Memory()

        async def intend(self, record: Record) -> None:
            intended.append(record)

    tools: dict[str, Any] = dict.fromkeys(("read_through", "prepare", "seat", "show", "alone"))
    answers = annotation()
    draft = Draft(
        caption=answers.caption,
        keywords=answers.keywords,
        description=answers.description,
        origins=answers.origins,
    )
    job = Job(id=1, photo=photo, state=JobState.RUNNING, lease="x", generation=1, draft=draft)
    record = asyncio.run(
        process(
            job,
            Tools(
                metadata=store,
                fingerprint=lambda path: photo_at(path).fingerprint,
                journal=cast(Any, Journal()),
                now=lambda: NOON,
                policy=lambda _: policy(),
                run="1",
                **tools,
            ),
            Steps(),
        )
    )
    assert record.original is not None
    assert record.original.exists()
    assert [one.original for one in intended] == [record.original]


def test_a_plan_that_writes_nothing_keeps_nothing(photos: Path, folder: Path, store: MetadataStore) -> None:
    words = ("Title=a", "Description=b", "Subject=dog", "Subject=beach", "Subject=sea")
    photo = draw(
        photos / "photo.jpg",
        *(f"XMP-dc:{one}" for one in words),
        *("XMP-iptcCore:AltTextAccessibility=c", "XMP-iptcCore:ExtDescrAccessibility=d"),
    )
    assert tag(store, photo) is None
    assert not folder.exists()


def test_a_photo_that_changes_at_the_last_moment_is_not_written_over(
    photos: Path, store: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = draw(photos / "photo.jpg")
    plan = store.plan(store.read(photo), annotation(), policy())

    def interrupted(target: Path, place: Path) -> None:
        keep(target, place)
        stamp(target, "XMP-dc:Title=Mine")

    monkeypatch.setattr("tagger_daemon.metadata.apply.keep", interrupted)
    with pytest.raises(PhotoChanged):
        store.apply(plan)
    assert store.read(photo_at(photo.path)).title == "Mine"


def test_a_full_state_disk_leaves_the_photo_and_the_earlier_original_alone(
    photos: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "3m") as disk, keeping(disk / "originals") as store:
        photo = draw(photos / "photo.jpg")
        original = tag(store, photo)
        assert original is not None
        before = original.read_bytes()
        shutil.copy2(original, photo.path)
        stamp(photo.path, "XMP-dc:Title=Mine")
        mine = photo.path.read_bytes()
        filler = disk / "filler"
        filler.write_bytes(bytes(2_200_000))
        plan = store.plan(store.read(photo_at(photo.path)), annotation(), policy())
        with pytest.raises(StateUnavailable, match=r"photo\.jpg could not be kept: .*disk is full") as caught:
            store.apply(plan)
        assert caught.value.seconds > 1
        assert (photo.path.read_bytes(), original.read_bytes()) == (mine, before)
        assert [path.name for path in photos.iterdir()] == ["photo.jpg"]
        assert len(files(disk / "originals")) == 1
        filler.unlink()
        store.apply(plan)
        assert original.read_bytes() == mine


def test_a_copy_that_is_not_the_same_is_not_kept(
    photos: Path, folder: Path, store: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = draw(photos / "photo.jpg")
    before = photo.path.read_bytes()

    def torn(source: Path, copy: Path) -> None:
        copy.write_bytes(source.read_bytes()[:-1] + b"x")

    monkeypatch.setattr("shutil.copy2", torn)
    with pytest.raises(StateUnavailable, match="its copy differs"):
        tag(store, photo)
    assert photo.path.read_bytes() == before
    assert files(folder) == []


def test_a_start_removes_copies_that_were_never_finished_and_nothing_else(folder: Path) -> None:
    kept = folder / "ab" / "abc" / "photo.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    (folder / temp_name(kept, "0123456789ab")).write_text("x")
    with keeping(folder):
        assert files(folder) == ["ab/abc/photo.jpg"]


def test_copies_of_one_picture_in_two_folders_have_an_original_each(
    photos: Path, store: MetadataStore
) -> None:
    kept = {}
    for person in ("Anna", "Bert"):
        (photos / person).mkdir()
        photo = draw(photos / person / "a.jpg", f"XMP-dc:Subject={person}")
        content = photo.path.read_bytes()
        kept[tag(store, photo)] = content
    assert len(kept) == 2
    for place, content in kept.items():
        assert place is not None
        assert place.read_bytes() == content
