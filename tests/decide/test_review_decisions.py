"""What decisions make of a proposal: its state, and what would be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tagger_daemon.metadata.review import State, annotation_of, policy_of, review_of
from tagger_daemon.model import (
    Decision,
    Draft,
    Fingerprint,
    Outcome,
    Part,
    Photo,
    Record,
    Stage,
    Verdict,
)

TITLE, TEXT, WORDS = "XMP-dc:Title", "XMP-dc:Description", "XMP-dc:Subject"
PROPOSAL = Record(
    id="p",
    photo=Photo(
        path=Path("/p/a.jpg"), folder=Path("/p"), fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3)
    ),
    outcome=Outcome.PROPOSED,
    finished_at="2026-05-01T12:00:00+00:00",
    keywords=("Rose", "IIM"),  # one of them stands in the legacy block alone
    before={TITLE: "Mine", TEXT: None, WORDS: ("Rose",)},
    after={TITLE: "A dog.", TEXT: "One dog runs.", WORDS: ("Rose", "IIM", "dog", "blue")},
    answers=Draft(caption="A dog.", keywords=("rose", "dog", "blue"), description="One dog runs."),
)
ACCEPT, REJECT, EDIT, ADD = Verdict.ACCEPT, Verdict.REJECT, Verdict.EDIT, Verdict.ADD


def said(part: Part, verdict: Verdict, word: str = "", text: str = "") -> Decision:
    return Decision(part=part, verdict=verdict, word=word, text=text)


EVERYTHING = said(Part.PHOTO, ACCEPT)


@pytest.mark.parametrize(
    ("decisions", "state"),
    [
        ((), State.PENDING),
        ((EVERYTHING,), State.ACCEPTED),
        ((said(Part.PHOTO, REJECT),), State.REFUSED),
        ((said(Part.PHOTO, REJECT), said(Part.CAPTION, ACCEPT)), State.EDITED),
        ((said(Part.PHOTO, REJECT), said(Part.CAPTION, EDIT, text="Rex")), State.EDITED),
        ((said(Part.PHOTO, REJECT), said(Part.KEYWORD, ADD, "cat")), State.EDITED),
        ((said(Part.PHOTO, REJECT), said(Part.CAPTION, REJECT)), State.REFUSED),
        ((said(Part.CAPTION, ACCEPT), said(Part.PHOTO, REJECT)), State.REFUSED),
        ((said(Part.KEYWORD, ADD, "cat"), said(Part.PHOTO, REJECT)), State.REFUSED),
        ((said(Part.KEYWORD, REJECT, "Blue"),), State.PENDING),
        ((EVERYTHING, said(Part.KEYWORD, REJECT, "Blue")), State.EDITED),
        ((EVERYTHING, said(Part.KEYWORD, REJECT, "elsewhere")), State.ACCEPTED),
        ((EVERYTHING, said(Part.KEYWORD, ADD, "cat")), State.EDITED),
        ((said(Part.CAPTION, EDIT, text="Rex"),), State.PENDING),
        (
            (said(Part.CAPTION, ACCEPT), said(Part.DESCRIPTION, ACCEPT), said(Part.KEYWORDS, ACCEPT)),
            State.ACCEPTED,
        ),
        (
            (
                EVERYTHING,
                said(Part.CAPTION, REJECT),
                said(Part.DESCRIPTION, REJECT),
                said(Part.KEYWORDS, REJECT),
            ),
            State.REFUSED,
        ),
        ((said(Part.KEYWORDS, REJECT), said(Part.KEYWORD, ADD, "cat"), EVERYTHING), State.EDITED),
    ],
)
def test_how_far_a_proposal_is_decided(decisions: tuple[Decision, ...], state: State) -> None:
    review = review_of(PROPOSAL, decisions)
    assert review.state is state
    assert review.begun is bool(decisions)


def test_the_difference_says_what_is_replaced_added_and_stays() -> None:
    review = review_of(PROPOSAL)
    assert [(text.stage, text.before, text.proposed) for text in review.texts] == [
        (Stage.CAPTION, "Mine", "A dog."),
        (Stage.DESCRIPTION, None, "One dog runs."),
    ]
    assert [word.word for word in review.words] == ["dog", "blue"]
    assert review.standing == ("Rose", "IIM")


def test_what_is_written_is_told_apart_from_what_is_a_persons_and_what_is_refused() -> None:
    decisions = (
        EVERYTHING,
        said(Part.CAPTION, EDIT, text="Rex"),
        said(Part.DESCRIPTION, REJECT),
        said(Part.KEYWORD, REJECT, "BLUE"),
        said(Part.KEYWORD, ADD, "cat"),
    )
    words = annotation_of(PROPOSAL, review_of(PROPOSAL, decisions))
    assert words.by_hand == Draft(caption="Rex", keywords=("cat",))
    assert words.refused == Draft(keywords=("blue",), description="One dog runs.")
    assert words.keywords == ("dog",)


def test_what_is_not_decided_is_not_written() -> None:
    words = annotation_of(PROPOSAL, review_of(PROPOSAL, (said(Part.KEYWORD, REJECT, "blue"),)))
    assert (words.caption, words.keywords, words.description) == (None, (), None)
    assert (words.by_hand, words.refused) == (Draft(), Draft(keywords=("blue",)))


def test_of_a_refused_photo_only_what_was_said_afterwards_is_written() -> None:
    decisions = (
        said(Part.KEYWORD, ACCEPT, "blue"),
        said(Part.PHOTO, REJECT),
        said(Part.KEYWORD, ACCEPT, "dog"),
        said(Part.CAPTION, EDIT, text="Rex"),
    )
    words = annotation_of(PROPOSAL, review_of(PROPOSAL, decisions))
    assert (words.keywords, words.by_hand) == (("dog",), Draft(caption="Rex"))
    assert words.refused == Draft(keywords=("blue",), description="One dog runs.")


def test_nothing_is_written_but_the_fields_that_were_proposed() -> None:
    only_title = PROPOSAL.evolve(before={TITLE: None}, after={TITLE: "A dog."})
    rules = policy_of(only_title, review_of(only_title))
    assert rules.fields == {Stage.CAPTION: ("Title",), Stage.KEYWORDS: ()}
    added = review_of(only_title, (said(Part.KEYWORD, ADD, "cat"),))
    assert policy_of(only_title, added).fields[Stage.KEYWORDS] == ("Subject",)


def test_a_proposal_whose_answers_are_not_known_is_told_by_what_would_stand() -> None:
    bare = PROPOSAL.evolve(answers=Draft())
    assert [(text.stage, text.proposed) for text in review_of(bare).texts] == [
        (Stage.CAPTION, "A dog."),
        (Stage.DESCRIPTION, "One dog runs."),
    ]
