"""One photo's journey with real files and a real exiftool; only the models are played."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.metadata_files import (
    NOON,
    annotation,
    answer_of,
    draw,
    draw_torn,
    open_store,
    photo_at,
    policy,
    stamp,
    tell,
)
from support.unprivileged import run_unprivileged
from tagger_daemon.errors import (
    FolderUnavailable,
    PhotoPassedOver,
    ReplyRefused,
    VerificationFailed,
    WriteRefused,
)
from tagger_daemon.intake.probe import look
from tagger_daemon.metadata import apply
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import (
    Answer,
    Draft,
    Fingerprint,
    Job,
    JobState,
    Memory,
    Outcome,
    Photo,
    Picture,
    Pictures,
    Policy,
    Record,
    Stage,
)
from tagger_daemon.pipeline import Metadata, Steps, Tools, failed_record, process
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
    takes: Callable[[Photo], bool] = lambda _: True

    def walk(self, photo: Photo, draft: Draft | None = None) -> Record:
        return self.go(a_job(photo, draft or Draft()), Steps())

    def go(self, job: Job, steps: Steps) -> Record:
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
            takes=self.takes,
        )
        return asyncio.run(process(job, tools, steps))

    async def prepare(self, _: Path) -> Pictures:
        return {1: Picture(jpeg=b"", width=1, height=1)}

    async def ask(self, stage: Stage, _: Draft) -> Answer:
        self.asked.append(stage)
        return answer_of(annotation(), stage)

    async def save_draft(self, job: Job, draft: Draft) -> None:
        """Nothing dies here."""

    async def recall(self, content_hash: str, path: Path | None = None) -> Memory:
        return self.memory

    async def answers_about(self, photo: Photo) -> Draft:
        return Draft()

    async def intend(self, record: Record) -> None:
        self.intended.append(record)


def a_job(photo: Photo, draft: Draft) -> Job:
    return Job(id=1, photo=photo, state=JobState.RUNNING, lease="x", generation=1, draft=draft)


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
    assert record.answers.raw == {stage: answer_of(annotation(), stage).raw for stage in Stage}
    assert record.started_at == NOON.isoformat(timespec="milliseconds")
    again = Journey(store)
    assert again.walk(photo_at(photo.path)).outcome is Outcome.SKIPPED
    assert again.asked == []


def test_a_queued_photo_that_the_run_is_not_about_is_not_touched(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo, journey = draw(tmp_path / "photo.jpg"), Journey(store, takes=lambda _: False)
    before = photo.path.read_bytes()
    for draft in (Draft(), Draft(caption="A dog.", keywords=("dog",), description="A dog.")):
        with pytest.raises(PhotoPassedOver):
            journey.walk(photo, draft)
    assert (journey.asked, journey.intended, photo.path.read_bytes()) == ([], [], before)


def test_the_record_of_a_photo_that_is_given_up_has_the_answers_that_it_got(
    tmp_path: Path, store: MetadataStore
) -> None:
    class Reluctant(Journey):
        async def ask(self, stage: Stage, draft: Draft) -> Answer:
            if stage is Stage.DESCRIPTION:
                raise ReplyRefused("the model declined")
            return await super().ask(stage, draft)

    first = answer_of(annotation(), Stage.CAPTION)
    steps = Steps()
    job = a_job(draw(tmp_path / "photo.jpg"), Draft().with_answer(Stage.CAPTION, first))
    with pytest.raises(ReplyRefused) as told:
        Reluctant(store).go(job, steps)
    record = failed_record(job, now=NOON, reason=str(told.value), attempts=4, steps=steps)
    keywords = answer_of(annotation(), Stage.KEYWORDS)
    answers = job.draft.with_answer(Stage.KEYWORDS, keywords)
    assert (record.answers, record.origins) == (answers, answers.origins)
    assert record.started_at == NOON.isoformat(timespec="milliseconds")
    never_begun = failed_record(job, now=NOON, reason="died", attempts=1, steps=Steps())
    assert (never_begun.answers, never_begun.started_at) == (job.draft, "")


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
