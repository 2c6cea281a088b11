"""A text in the editor of a person's choice."""

from __future__ import annotations

import pytest

from tagger_daemon.cli.editor import EditorFailed, edited


@pytest.fixture(autouse=True)
def none_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)


@pytest.mark.parametrize(
    ("editor", "left"),
    [("sed -i s/grau/grün/", "grün\n"), ("true", None), ("sh -c 'printf other > $0'", "other")],
)
def test_what_the_editor_leaves_is_the_text(
    editor: str, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", editor)
    assert edited("grau\n") == left


def test_the_visual_one_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.setenv("VISUAL", "sed -i s/a/b/")
    assert edited("a") == "b"


@pytest.mark.parametrize(
    ("editor", "why"),
    [
        ("false", "false ended with status 1"),
        ("/no/such/editor", "No such file"),
        ("unclosed '", "No closing quotation"),
        ("rm", "No such file"),
        ("sh -c 'printf \"\\377\" > $0'", "codec can't decode"),
    ],
)
def test_an_editor_that_fails_is_named(editor: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", editor)
    with pytest.raises(EditorFailed) as caught:
        edited("a")
    assert str(caught.value).startswith(editor)
    assert why in str(caught.value)
