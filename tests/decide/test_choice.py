"""What options mean together that were typed for the models."""

from __future__ import annotations

from typing import Any

import pytest

from tagger_daemon.cli.choice import Contradiction, chosen, without_effect
from tagger_daemon.options import BatchOptions

NO_STAGE = {
    "model": {"caption_model": "", "keyword_model": "", "description_model": ""},
    "backend": {"caption_backend": "", "keyword_backend": "", "description_backend": ""},
    "base_url": {"caption_base_url": "", "keyword_base_url": "", "description_base_url": ""},
    "entries": {f"{word}_registry_model": "" for word in ("caption", "keyword", "description")},
}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"max_keywords": 3, "registry": "r.json"}, {}, id="where the registry is, is no wish"),
        pytest.param(
            {"model": "m"},
            {"use_registry": None, **NO_STAGE["model"], **NO_STAGE["entries"]},
            id="one model for all, whatever a file says of stages and registry",
        ),
        pytest.param(
            {"caption_model": "m"},
            {"use_registry": None, "caption_registry_model": ""},
            id="a model for one stage",
        ),
        pytest.param({"base_url": "u"}, {"use_registry": None, **NO_STAGE["base_url"]}, id="an address"),
        pytest.param({"backend": "b"}, {"use_registry": None, **NO_STAGE["backend"]}, id="a backend"),
        pytest.param({"keyword_base_url": "u"}, {"use_registry": None}, id="a stage's address"),
        pytest.param(
            {"model": "m", "use_registry": False},
            {**NO_STAGE["model"], **NO_STAGE["entries"]},
            id="a model and no registry",
        ),
        pytest.param({"model": ""}, {}, id="a model of a file is taken back"),
        pytest.param({"use_registry": True}, {"use_loader": False}, id="only what runs"),
        pytest.param({"use_registry": True, "use_loader": True}, {}, id="and start it"),
        pytest.param({"use_registry": False}, {}, id="no registry"),
        pytest.param({"use_loader": True}, {"use_registry": True}, id="start means the registry"),
        pytest.param({"use_loader": False}, {}, id="start none"),
        pytest.param({"use_loader": True, "use_registry": False}, {}, id="start, and no registry"),
        pytest.param({"caption_registry_model": "e"}, {"use_registry": True}, id="an entry"),
        pytest.param({"keyword_role": "r"}, {"use_registry": True}, id="a role"),
        pytest.param(
            {"caption_registry_model": "e", "use_registry": True},
            {"use_loader": False},
            id="an entry that runs",
        ),
        pytest.param({"caption_registry_model": "e", "use_registry": False}, {}, id="an entry, and denied"),
        pytest.param(
            {"caption_registry_model": "e", "use_loader": True, "model": "m"},
            {
                "use_registry": None,
                **NO_STAGE["model"],
                "keyword_registry_model": "",
                "description_registry_model": "",
            },
            id="an entry for one stage, a model for the others",
        ),
        pytest.param(
            {"caption_role": "r", "keyword_model": "m"},
            {"use_registry": None, "keyword_registry_model": ""},
            id="a role for one stage, a model for another",
        ),
        pytest.param(
            {"model": "m", "caption_model": "c", "caption_base_url": "u"},
            {
                "use_registry": None,
                "keyword_model": "",
                "description_model": "",
                **NO_STAGE["entries"],
            },
            id="what is typed for a stage stays",
        ),
    ],
)
def test_what_is_typed_is_not_lost_to_a_file(given: dict[str, Any], added: dict[str, Any]) -> None:
    assert chosen(given) == {**added, **given}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"use_registry": True, "model": "m"}, ("use_registry", "model")),
        ({"use_registry": True, "keyword_model": "m"}, ("use_registry", "keyword_model")),
        ({"use_registry": True, "base_url": "u"}, ("use_registry", "base_url")),
        ({"use_registry": True, "caption_backend": "b"}, ("use_registry", "caption_backend")),
        ({"use_loader": True, "model": "m"}, ("use_loader", "model")),
        ({"use_registry": False, "caption_role": "r"}, ("use_registry", "caption_role")),
        ({"caption_model": "m", "caption_registry_model": "e"}, ("caption_model", "caption_registry_model")),
        ({"caption_registry_model": "e", "caption_role": "r"}, ("caption_registry_model", "caption_role")),
        ({"keyword_model": "m", "keyword_role": "r"}, ("keyword_model", "keyword_role")),
        ({"model": "m", "description_role": "r"}, ("model", "description_role")),
    ],
)
def test_what_cannot_both_be_meant_is_refused(given: dict[str, Any], named: tuple[str, str]) -> None:
    with pytest.raises(Contradiction) as caught:
        chosen(given)
    assert caught.value.settings == named


@pytest.mark.parametrize(
    ("given", "others", "idle"),
    [
        ({"base_url": "u"}, {}, "base_url"),
        ({"backend": "b"}, {}, "backend"),
        ({"base_url": "u"}, {"keyword_model": "m"}, None),
        ({"base_url": "u"}, {"model": "m"}, None),
        ({"caption_base_url": "u"}, {"keyword_model": "m"}, "caption_base_url"),
        ({"caption_base_url": "u"}, {"model": "m"}, None),
        ({"caption_backend": "b"}, {"model": "m", "caption_registry_model": "e"}, "caption_backend"),
        ({}, {"base_url": "u"}, None),
    ],
)
def test_an_address_that_was_typed_for_nobody_is_noticed(
    given: dict[str, Any], others: dict[str, Any], idle: str | None
) -> None:
    assert without_effect(given, BatchOptions(**given, **others)) == idle
