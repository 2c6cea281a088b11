"""What a run consists of, by what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from make_samples import draw_photo
from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Mode
from tagger_daemon.service.batch import Batch, discover, make_batch
from tagger_daemon.service.parts import check_folders
from tagger_daemon.service.scope import Scope
from tagger_daemon.settings import load


def batch(tmp_path: Path, *inputs: str, **values: Any) -> Batch:
    overrides = {"input_dirs": list(inputs), "state_dir": str(tmp_path / "state"), **values}
    loaded = load(overrides=overrides, environ={"XDG_CONFIG_HOME": str(tmp_path)}, start=tmp_path)
    return make_batch(loaded, cwd=tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        *("a/1.jpg", "a/2.jpg", "a/b/3.jpg", "c/4.png"),
        *("a/.h/5.jpg", "a/.h/6.jpg", "a/.h/@eaDir/7.jpg"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_photo(path, scene="meadow", size=32, seed=1)
    (tmp_path / "c" / "notes.txt").write_text("no photo")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "values", "folders"),
    [
        (("a",), {}, {"a": 2}),
        (("a",), {"recursive": True}, {"a": 3}),
        (("a/", "./a", "c"), {}, {"a": 2, "c": 1}),
        (("a", "a/b"), {}, {"a": 2, "a/b": 1}),
        (("a", "a/b"), {"recursive": True}, {"a": 3}),
        (("a/b", "a"), {"recursive": True}, {"a": 3}),
        (("a", "link"), {}, {"a": 2}),
        (("a/1.jpg",), {}, {"a": 1}),
        (("a/1.jpg", "a/2.jpg", "a/1.jpg"), {}, {"a": 2}),
        (("a/1.jpg", "a"), {}, {"a": 2}),
        (("a", "a/1.jpg"), {}, {"a": 2}),
        (("a/b/3.jpg", "a"), {"recursive": True}, {"a": 3}),
        (("a", "c"), {"image_exts": ["png"]}, {"a": 0, "c": 1}),
        (("a", "a/.h"), {"recursive": True}, {"a": 3, "a/.h": 2}),
        (("a/.h/@eaDir", "a/.h", "a/.h/6.jpg"), {"recursive": True}, {"a/.h": 2, "a/.h/@eaDir": 1}),
        (("a/.h/6.jpg", "a"), {"recursive": True}, {"a": 3, "a/.h": 1}),
        (("a", "a/b/3.jpg"), {"recursive": True, "intake": {"ignore": ["b"]}}, {"a": 2, "a/b": 1}),
    ],
)
def test_each_photo_is_counted_once(
    tree: Path, inputs: tuple[str, ...], values: dict[str, Any], folders: dict[str, int]
) -> None:
    found = discover(batch(tree, *inputs, **values).settings, report=pytest.fail)
    assert dict(found) == {tree / name: count for name, count in folders.items()}


@pytest.mark.parametrize(
    ("inputs", "values", "said"),
    [
        ((), {}, "nothing to describe is given"),
        (("a", "nowhere"), {}, "nowhere is not there"),
        (("c/notes.txt",), {}, "no photo that is to be taken"),
        (("a/1.jpg",), {"image_exts": ["png"]}, "no photo that is to be taken"),
        (("a",), {"image_exts": ["gif"]}, "'gif' is no kind of photo"),
    ],
)
def test_what_cannot_be_described_is_told(
    tree: Path, inputs: tuple[str, ...], values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        batch(tree, *inputs, **values)


def test_folders_that_a_run_keeps_apart_are_those_that_a_start_takes(tree: Path) -> None:
    settings = batch(tree, "a", "a/.h", "c", recursive=True).settings
    check_folders(settings)
    scope = Scope.of(settings)
    for folder, names in {"a": ["1.jpg", "b/3.jpg"], "a/.h": ["5.jpg"]}.items():
        for name in names:
            found = scope.folder_of(tree / folder / name)
            assert found is not None
            assert found.path == tree / folder
            assert scope.takes(tree / folder / name)


def test_a_run_has_a_queue_of_its_own_and_patience_of_its_own(tree: Path) -> None:
    settings = batch(tree, "a", queue={"lease_seconds": 77}).settings
    assert settings.state_dir == tree / "state" / "batch"
    assert (settings.queue.lease_seconds, settings.queue.backoff_seconds) == (77, 5)
    assert batch(tree, "a", queue={"backoff_seconds": 9}).settings.queue.backoff_seconds == 9


def test_overwriting_means_words_of_ours_too(tree: Path) -> None:
    assert batch(tree, "a").settings.metadata.mode is Mode.FILL
    assert batch(tree, "a", overwrite_metadata=True).settings.metadata.mode is Mode.REFRESH
    proposing = {"overwrite_metadata": True, "metadata": {"mode": "propose"}}
    assert batch(tree, "a", **proposing).settings.metadata.mode is Mode.PROPOSE


def test_outputs_are_where_the_command_was_given(tree: Path) -> None:
    made = batch(tree, "a", output_jsonl="audit.jsonl")
    assert made.outputs == (tree / "audit.jsonl", tree / "outputs/summaries/personal_tagger_summary.md")
