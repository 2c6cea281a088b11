"""What a batch run writes besides photos spoils nothing, whatever it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.service.batch import make_batch
from tagger_daemon.service.outputs import check_appendable, check_outputs
from tagger_daemon.settings import load

PAGE = "# Personal Tagger Summary\n\nGenerated: today\n"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "audit.jsonl").write_text(json.dumps({"image": "a.jpg"}) + "\n")
    (tmp_path / "page.md").write_text(PAGE)
    (tmp_path / "empty").touch()
    (tmp_path / "notes.md").write_text("# Notes of mine\n")
    (tmp_path / "models.json").write_text("[]")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "page.md")
    (tmp_path / "second.md").hardlink_to(tmp_path / "page.md")
    return tmp_path


@pytest.mark.parametrize(
    ("output", "page"),
    [("audit.jsonl", "page.md"), ("new.jsonl", "new.md"), ("empty", "new.md"), ("deep/new.jsonl", "empty")],
)
def test_what_is_new_empty_or_ours_may_be_written(there: Path, output: str, page: str) -> None:
    check_outputs(there / output, there / page, others=[there / "models.json"])


@pytest.mark.parametrize(
    ("output", "page", "said"),
    [
        ("new.jsonl", "photo.JPG", "photo or a sidecar"),
        ("photo.xmp", "new.md", "photo or a sidecar"),
        ("new.jsonl", "notes.md", "no summary of a run"),
        ("notes.md", "new.md", "no audit"),
        ("new", "new", "one file"),
        ("link.jsonl", "page.md", "one file"),
        ("second.md", "page.md", "one file"),
        ("folder", "new.md", "folder"),
        ("new.jsonl", "models.json", "used for something else"),
        ("folder/new.jsonl", "new.md", "used for something else"),
    ],
)
def test_what_would_be_spoiled_is_told_and_left_alone(there: Path, output: str, page: str, said: str) -> None:
    before = {path: path.read_bytes() for path in there.iterdir() if path.is_file()}
    with pytest.raises(ConfigurationError, match=said):
        check_outputs(there / output, there / page, others=[there / "models.json", there / "folder"])
    assert {path: path.read_bytes() for path in there.iterdir() if path.is_file()} == before


def test_an_audit_that_cannot_be_written_to_is_told_before_anything_is_begun(there: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        check_appendable(there / "notes.md" / "audit.jsonl")
    check_appendable(there / "deep" / "audit.jsonl")
    assert (there / "deep" / "audit.jsonl").read_bytes() == b""


def test_two_dots_lead_to_where_a_shell_would_go(tmp_path: Path) -> None:
    for name in ("elsewhere/in", "elsewhere/photos", "here/photos"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere" / "in")
    overrides = {
        "input_dirs": ["link/../photos"],
        "state_dir": str(tmp_path / "state"),
        "output_jsonl": "link/../audit.jsonl",
    }
    loaded = load(overrides=overrides, environ={"XDG_CONFIG_HOME": str(tmp_path)}, start=tmp_path)
    batch = make_batch(loaded, cwd=tmp_path / "here")
    assert batch.inputs == (tmp_path / "elsewhere" / "photos",)
    assert batch.output_jsonl == tmp_path / "elsewhere" / "audit.jsonl"
