"""Whose words are these, and is there anything to do?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decide.test_plan import MARKER, ORIGIN, POLICY, existing
from tagger_daemon.metadata.fields import TEXT_FIELDS
from tagger_daemon.metadata.ownership import (
    Owner,
    is_stale,
    known,
    nothing_to_do,
    owner,
    still_good,
    wanted,
)
from tagger_daemon.model import Draft, Memory, Mode, Stage

NOW = POLICY.evolve(current=dict.fromkeys(Stage, ORIGIN.identity))
MODELS = {stage.value: ORIGIN.identity for stage in Stage}
OURS = MARKER.evolve(models=MODELS)
WHOLE = {"Title": "a", "Description": "b"}


@pytest.mark.parametrize(
    ("text", "marked", "whose"),
    [
        (None, False, Owner.NOBODY),
        ("Mine", False, Owner.HUMAN),
        ("Ours", True, Owner.OURS),
        ("Ours, edited", True, Owner.EDITED),
        (None, True, Owner.REMOVED),
    ],
)
def test_a_field_belongs_to_whoever_wrote_it_last(text: str | None, marked: bool, whose: Owner) -> None:
    assert owner(TEXT_FIELDS["Title"], text, MARKER if marked else None) is whose


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"marker": OURS}, "already tagged by tagger-daemon on 2024-04-30"),
        ({"texts": WHOLE, "keywords": ("c",)}, "already has a title, keywords and a description"),
        ({"texts": WHOLE, "hierarchical": ("c|d",)}, "already has a title, keywords and a description"),
        ({"texts": WHOLE, "other_keywords": ("c",)}, "already has a title, keywords and a description"),
        ({"texts": WHOLE}, None),
        ({"keywords": ("c",)}, None),
        ({}, None),
    ],
)
def test_photos_that_need_nothing_are_known_beforehand(changes: dict[str, Any], reason: str | None) -> None:
    assert nothing_to_do(existing(**changes), Memory(), NOW) == reason


def test_keywords_of_an_import_preset_do_not_make_a_photo_tagged() -> None:
    photo = existing(texts=WHOLE, keywords=("Studio Ann", "2024 import"))
    assert nothing_to_do(photo, Memory(), NOW.evolve(ignore_keywords=("studio*",)))
    assert nothing_to_do(photo, Memory(), NOW.evolve(ignore_keywords=("studio*", "*import"))) is None


def test_a_photo_whose_words_were_taken_back_is_left_alone() -> None:
    reason = nothing_to_do(existing(), Memory(undone_at="2024-05-02T10:00:00+00:00"), NOW)
    assert reason is not None
    assert "taken back on 2024-05-02" in reason


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({}, False),
        ({"registry": "another"}, False),
        ({"model": "eyes-8b"}, True),
        ({"digest": "d"}, True),
        ({"profile_hash": "9"}, True),
        ({"profile": "travel"}, True),
    ],
)
def test_words_are_stale_once_another_model_or_prompt_would_write_them(
    change: dict[str, str], stale: bool
) -> None:
    policy = NOW.evolve(
        mode=Mode.REFRESH, current={**NOW.current, Stage.CAPTION: {**ORIGIN.identity, **change}}
    )
    assert is_stale(OURS, policy) is stale
    assert (nothing_to_do(existing(marker=OURS), Memory(), policy) is None) is stale
    assert nothing_to_do(existing(marker=OURS), Memory(), policy.evolve(mode=Mode.FILL))


def test_what_asks_nobody_makes_nothing_stale() -> None:
    fewer = OURS.evolve(models={Stage.CAPTION.value: ORIGIN.identity})
    only_captions = NOW.evolve(fields={Stage.CAPTION: ("Title",)})
    assert is_stale(fewer, NOW)
    assert not is_stale(fewer, only_captions)
    assert is_stale(OURS.evolve(schema_version=0), NOW)


def test_a_marker_that_a_program_dropped_is_remembered_where_our_words_still_stand() -> None:
    memory = Memory(marker=OURS)
    assert known(existing(texts={"Title": "Ours"}), memory).marker == OURS
    here = frozenset({existing().photo.path})
    words = Memory(marker=OURS.evolve(keywords=("sand", "sea", "sky")), places=here)
    assert known(existing(keywords=("Sand", "SEA")), words).marker == words.marker
    assert known(existing(keywords=("Sand", "Rose")), words).marker is None


def test_a_copy_that_never_had_our_words_misses_none() -> None:
    memory = Memory(marker=OURS, rejected=("red",))
    copy = known(existing(texts={"Title": "Mine"}, keywords=("Rose",)), memory)
    assert copy.marker is None
    assert copy.rejected == ("red",)


def test_a_copy_that_a_person_gave_the_same_keywords_is_theirs() -> None:
    """Or another model would replace them, where another copy of the picture was tagged by us."""
    memory = Memory(marker=OURS.evolve(keywords=("sand", "sea")), places=frozenset({Path("/elsewhere.jpg")}))
    assert known(existing(keywords=("Sand", "Sea")), memory).marker is None


def test_the_marker_in_the_file_counts_more_than_memory() -> None:
    other = OURS.evolve(keywords=("other",))
    assert known(existing(marker=OURS), Memory(marker=other)).marker == OURS


def test_a_model_that_said_the_same_again_counts_as_the_one_that_wrote() -> None:
    """Nothing was written then, and the photo must not be asked about for ever."""
    newer = OURS.evolve(models={stage.value: {**ORIGIN.identity, "model": "new"} for stage in Stage})
    marker = known(existing(marker=OURS), Memory(marker=newer)).marker
    assert marker is not None
    assert marker.models == newer.models


def test_stages_that_nobody_has_room_for_are_not_asked() -> None:
    assert wanted(existing(), NOW) == tuple(Stage)
    texts = {"Title": "a", "AltTextAccessibility": "b", "Description": "c"}
    assert wanted(existing(texts=texts), NOW) == (Stage.KEYWORDS, Stage.DESCRIPTION)
    assert wanted(existing(texts=texts), NOW.evolve(overwrite=True)) == tuple(Stage)
    assert wanted(existing(), NOW.evolve(fields={Stage.KEYWORDS: ("Subject",)})) == (Stage.KEYWORDS,)


def test_answers_are_used_again_only_if_the_same_would_answer_now() -> None:
    answers = Draft(
        caption="a",
        keywords=("b",),
        origins={Stage.CAPTION: ORIGIN, Stage.KEYWORDS: ORIGIN.evolve(profile_hash="old")},
    )
    assert still_good(answers, NOW) == Draft(caption="a", origins={Stage.CAPTION: ORIGIN})
