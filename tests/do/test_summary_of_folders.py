"""The page of a run over folders, from a real ledger to the disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.metadata_files import annotation, draw, policy
from support.studio import open_studio
from tagger_daemon.backlog.retry import Decision
from tagger_daemon.backlog.store import HELD
from tagger_daemon.database import read_only
from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.model import JobState
from tagger_daemon.service.reporting import make_batch_page

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def everything(_: Path) -> bool:
    return True


def test_the_page_tells_of_the_photos_below_the_inputs_alone(tmp_path: Path) -> None:
    page = tmp_path / "out" / "summary.md"
    with open_studio(tmp_path) as studio:
        for name in ("a", "b"):
            (studio.folder / name).mkdir()
            path = draw(studio.folder / name / f"{name}.jpg").path
            studio.tag(path, annotation(caption=f"A [{name}](x)"), policy())
        inputs = [studio.folder / "a"]
        with read_only(studio.database.path) as db:
            make_batch_page(db, page, inputs=inputs, takes=everything, now=NOW)
            text = page.read_text(encoding="utf-8")
            with pytest.raises(FolderUnavailable):
                make_batch_page(db, page / "inside", inputs=inputs, takes=everything, now=NOW)

    assert text.startswith("# Personal Tagger Summary\n\nGenerated: 2026-05-01 12:00:00+00:00\n")
    assert "1 photo finished: 1 got new metadata" in text
    assert r"**a.jpg**: A \[a\](x)" in text
    assert "    - Description: A dog runs." in text
    assert "b.jpg" not in text
    assert [path.name for path in page.parent.iterdir()] == ["summary.md"]


def test_the_page_tells_of_the_photos_of_the_run_that_are_there_and_of_those_that_are_left(
    tmp_path: Path,
) -> None:
    page = tmp_path / "summary.md"
    with open_studio(tmp_path) as studio:
        for name in ("done.jpg", "deleted.jpg", "sub/other.jpg"):
            path = studio.folder / name
            path.parent.mkdir(exist_ok=True)
            studio.tag(draw(path, f"XMP-dc:Source={name}").path, annotation(), policy())
        (studio.folder / "deleted.jpg").unlink()
        waiting = [draw(studio.folder / name) for name in ("1.jpg", "2.jpg", "held.jpg")]
        photos = [photo.evolve(folder=studio.folder) for photo in waiting]
        studio.backlog.enqueue(photos, priority=0, now=1)
        held = next(
            job for job in studio.backlog.claim(limit=9, now=2, lease_ms=9) if "held" in job.photo.path.name
        )
        decision = Decision(state=JobState.WAITING, delay=9, attempts=0)
        studio.backlog.put_back(held, decision, now=3, error="Lightroom", error_class=HELD)
        with read_only(studio.database.path) as db:
            make_batch_page(
                db,
                page,
                inputs=[studio.folder],
                takes=lambda path: path.parent == studio.folder,
                now=NOW,
            )
    text = page.read_text(encoding="utf-8")
    assert "1 photo finished" in text
    assert "done.jpg" in text
    assert "deleted.jpg" not in text
    assert "other.jpg" not in text
    assert "## Left\n\n- 2 photos not finished" in text
    assert "- 1 photo not touched" in text
