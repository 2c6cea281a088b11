"""One photo's journey with real files and a real exiftool; only the models are played."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.metadata_files import (
    NOON,
    annotation,
    draw,
    draw_torn,
    open_store,
    photo_at,
    policy,
    stamp,
    tell,
)
from support.unprivileged import run_unprivileged
from tagger_daemon.errors import FolderUnavailable, VerificationFailed, WriteRefused
from tagger_daemon.intake.probe import look
from tagger_daemon.metadata import apply
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import (
    Draft,
    Fingerprint,
    Job,
    JobState,
    Memory,
    Origin,
    Outcome,
    Photo,
    Picture,
    Pictures,
    Policy,
    Record,
    Stage,
)
from tagger_daemon.pipeline import Metadata, Steps, Tools, process
from tagger_daemon.service.pairs import Pairs


@pytest.fixture(scope="module")
def store() -> Iterator[MetadataStore]:
    with open_store() as opened:
        yield opened


@dataclass
class Journey:
    """What one journey touches, and what it did."""

    metadata: Metadata
    asked: list[Stage] = field(default_factory=list)
    intended: list[Record] = field(default_factory=list)
    policy: Policy = field(default_factory=policy)
    memory: Memory = field(default_factory=Memory)

    def walk(self, photo: Photo, draft: Draft | None = None) -> Record:
        job = Job(id=1, photo=photo, state=JobState.RUNNING, lease="x", generation=1, draft=draft or Draft())
        tools = Tools(
            metadata=self.metadata,
            fingerprint=fingerprint,
            read_through=lambda _: None,
            prepare=self.prepare,
            seat=nullcontext(),
            show=lambda *_: self,
            journal=self,
            now=lambda: NOON,
            policy=lambda _: self.policy,
            alone=Pairs().alone,
            run="1",
        )
        return asyncio.run(process(job, tools, Steps()))

    async def prepare(self, _: Path) -> Pictures:
        return {1: Picture(jpeg=b"", width=1, height=1)}

    async def ask(self, stage: Stage, _: Draft) -> tuple[str | tuple[str, ...], Origin]:
        self.asked.append(stage)
        answers = annotation()
        answer: str | tuple[str, ...] | None = getattr(answers, stage.value)
        assert answer is not None
        return answer, answers.origins[stage]

    async def save_draft(self, job: Job, draft: Draft) -> None:
        """Nothing dies here."""

    async def recall(self, content_hash: str) -> Memory:
        return self.memory

    async def answers_about(self, photo: Photo) -> Draft:
        return Draft()

    async def intend(self, record: Record) -> None:
        self.intended.append(record)


def fingerprint(path: Path) -> Fingerprint | None:
    seen = look(path)
    return None if seen is None else seen.fingerprint


def test_a_photo_is_read_asked_about_and_written(tmp_path: Path, store: MetadataStore) -> None:
    photo, journey = draw(tmp_path / "photo.jpg"), Journey(store)
    record = journey.walk(photo)
    assert (record.outcome, record.target, record.notes) == (Outcome.WRITTEN, photo.path, ())
    assert journey.asked == list(Stage)
    assert [intended.id for intended in journey.intended] == [record.id]
    assert record.final_fingerprint == photo_at(photo.path).fingerprint
    assert {"read", "prepare", "write", *Stage} == record.seconds.keys()
    again = Journey(store)
    assert again.walk(photo_at(photo.path)).outcome is Outcome.SKIPPED
    assert again.asked == []


def test_no_model_is_asked_about_a_photo_that_could_not_be_written(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo, journey = draw(tmp_path / "photo.jpg"), Journey(store)
    photo.path.chmod(0o444)
    with pytest.raises(WriteRefused, match="write-protected"):
        journey.walk(photo_at(photo.path))
    photo.path.chmod(0o644)
    os.link(photo.path, tmp_path / "twin.jpg")
    with pytest.raises(WriteRefused, match="2 names"):
        journey.walk(photo_at(photo.path))
    raw = draw(tmp_path / "IMG.nef")
    (tmp_path / "IMG.xmp").write_bytes(EMPTY)
    (tmp_path / "IMG.xmp").chmod(0o444)
    with pytest.raises(WriteRefused, match=r"IMG\.xmp is write-protected"):
        journey.walk(raw)
    assert journey.asked == []


UNWRITABLE = """
import sys
from pathlib import Path
from support.metadata_files import open_store, photo_at
from tagger_daemon.errors import TaggerError
with open_store() as store:
    for name in sys.argv[1:]:
        try:
            store.check_writable(store.read(photo_at(Path(name))))
        except TaggerError as error:
            print(type(error).__name__, error)
"""


def test_folders_and_owners_that_rule_out_a_write_are_known_before(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir()
    for name in ("IMG.jpg", "IMG.nef"):
        draw(tmp_path / "shut" / name)
    (tmp_path / "shut").chmod(0o555)
    foreign = draw(tmp_path / "foreign.jpg").path
    foreign.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    paths = (tmp_path / "shut" / "IMG.jpg", tmp_path / "shut" / "IMG.nef", foreign)
    jpeg, raw, *theirs = run_unprivileged(UNWRITABLE, *map(str, paths)).splitlines()
    for told in (jpeg, raw):
        assert told.startswith(FolderUnavailable.__name__)
        assert "may not be written to" in told
    if os.geteuid() == 0:
        assert len(theirs) == 1
        assert theirs[0].startswith("WriteRefused foreign.jpg belongs to another user")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign.jpg", "shut"]


def test_words_that_a_torn_file_does_not_take_stand_beside_it(tmp_path: Path, store: MetadataStore) -> None:
    photo, journey = draw_torn(tmp_path / "scan.tif"), Journey(store)
    content = photo.path.read_bytes()
    record = journey.walk(photo)
    sidecar = tmp_path / "scan.tif.xmp"
    assert (record.outcome, record.target) == (Outcome.WRITTEN, sidecar)
    (note,) = record.notes
    assert note == (
        "this file is not written into (Error reading ExifIFD); the words stand in scan.tif.xmp "
        "beside it, which Lightroom does not read for this type"
    )
    assert photo.path.read_bytes() == content
    assert record.final_fingerprint == photo.fingerprint
    assert tell(sidecar, "XMP-dc:Title") == annotation().caption
    assert tell(sidecar, "XMP-photoshop:SidecarForExtension") == "TIF"
    assert journey.intended[-1].id == record.id
    assert journey.intended[-1].target == sidecar
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.tif", "scan.tif.xmp"]
    again = Journey(store)
    assert again.walk(photo).outcome is Outcome.SKIPPED
    assert again.asked == []


def test_a_photo_whose_own_xmp_is_damaged_keeps_it_and_the_reason_is_plain(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo = draw(tmp_path / "photo.jpg", "XMP-dc:Source=mine")
    content = photo.path.read_bytes().replace(b"</dc:source>", b"</dc:sourcX>")
    photo.path.write_bytes(content)
    record = Journey(store).walk(photo_at(photo.path))
    assert record.target == tmp_path / "photo.jpg.xmp"
    assert "(its XMP is damaged: Opening and ending tag mismatch" in record.notes[0]
    assert photo.path.read_bytes() == content


def test_a_torn_files_sidecar_keeps_what_a_person_wrote_there(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw_torn(tmp_path / "scan.tif", "XMP-dc:Subject=mine")
    sidecar = tmp_path / "scan.tif.xmp"
    sidecar.write_bytes(EMPTY)
    stamp(sidecar, "XMP-dc:Title=Mine", "XMP-xmp:Rating=3")
    record = Journey(store).walk(photo)
    assert (record.title, record.keywords) == ("Mine", ("mine", "dog", "beach", "sea"))
    assert tell(sidecar, "XMP-dc:Title") == "Mine"
    assert tell(sidecar, "XMP-xmp:Rating") == "3"
    assert tell(sidecar, "XMP-dc:Subject") == "mine|dog|beach|sea"


def test_a_torn_file_whose_sidecar_is_protected_is_refused(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw_torn(tmp_path / "scan.tif")
    sidecar = tmp_path / "scan.tif.xmp"
    sidecar.write_bytes(EMPTY)
    sidecar.chmod(0o444)
    with pytest.raises(WriteRefused, match=r"scan\.tif\.xmp is write-protected"):
        Journey(store).walk(photo)
    assert sidecar.read_bytes() == EMPTY


def test_a_copy_that_fails_its_proof_is_not_written_elsewhere(
    tmp_path: Path, store: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = draw(tmp_path / "photo.jpg")
    monkeypatch.setattr(apply, "differences", lambda *_: ("something changed",))
    with pytest.raises(VerificationFailed):
        Journey(store).walk(photo)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
