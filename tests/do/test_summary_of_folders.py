"""The page of a run over folders, from a real ledger to the disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.metadata_files import annotation, draw, policy
from support.studio import open_studio
from tagger_daemon.database import read_only
from tagger_daemon.errors import FolderUnavailable
from tagger_daemon.service.reporting import make_batch_page

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def test_the_page_tells_of_the_photos_below_the_inputs_alone(tmp_path: Path) -> None:
    page = tmp_path / "out" / "summary.md"
    with open_studio(tmp_path) as studio:
        for name in ("a", "b"):
            (studio.folder / name).mkdir()
            path = draw(studio.folder / name / f"{name}.jpg").path
            studio.tag(path, annotation(caption=f"A [{name}](x)"), policy())
        inputs = [studio.folder / "a"]
        with read_only(studio.database.path) as db:
            make_batch_page(db, page, inputs=inputs, now=NOW)
            text = page.read_text(encoding="utf-8")
            with pytest.raises(FolderUnavailable):
                make_batch_page(db, page / "inside", inputs=inputs, now=NOW)

    assert text.startswith("# Personal Tagger Summary\n\nGenerated: 2026-05-01 12:00:00+00:00\n")
    assert "1 photo finished: 1 got new metadata" in text
    assert r"**a.jpg**: A \[a\](x)" in text
    assert "    - Description: A dog runs." in text
    assert "b.jpg" not in text
    assert [path.name for path in page.parent.iterdir()] == ["summary.md"]
