"""A person's review: what is decided is written, exactly that, and it is remembered for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.metadata_files import draw, open_store, stamp, tell
from support.studio import Studio, by_model, meaning, open_studio
from tagger_daemon.cli.applying import Decided, Outcomes, carry_out
from tagger_daemon.cli.exits import Exit
from tagger_daemon.database import read_only
from tagger_daemon.errors import DecidedOtherwise, LeaseLost, PhotoChanged, PhotoGone, ReviewRefused
from tagger_daemon.ledger import proposals
from tagger_daemon.metadata.fields import LONGEST_TEXT
from tagger_daemon.metadata.review import State, annotation_of, is_as_decided, policy_of
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import JobState, Mode, Outcome, Part, Record, Stage, Verdict
from tagger_daemon.service import by_hand
from tagger_daemon.service.applying import Applier
from tagger_daemon.service.by_hand import Bench
from tagger_daemon.service.handed_in import proposals_in
from tagger_daemon.service.recovery import is_by_hand, settle_intentions
from tagger_daemon.service.reviewing import Desk, Order, Seen, Selection, find, one
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.service.undoing import release
from tagger_daemon.settings import Settings

SAID, RULES = by_model(
    "eyes-1", caption="A dog.", keywords=("dog", "beach", "blue"), description="One dog runs."
)
PROPOSE = RULES.evolve(mode=Mode.PROPOSE)
OTHER = by_model("eyes-2", caption="Two dogs.", keywords=("sea", "Blue", "dog"), description="Dogs at sea.")
TITLE, ALT, WORDS, TEXT = (
    "XMP-dc:Title",
    "XMP-iptcCore:AltTextAccessibility",
    "XMP-dc:Subject",
    "XMP-dc:Description",
)
#: A keyword that the decisions are about, in one spelling or the other.
BLUE = Order(verdict=Verdict.REJECT, part=Part.KEYWORD, word="BLUE")
ACCEPT, REJECT = Order(verdict=Verdict.ACCEPT), Order(verdict=Verdict.REJECT)


@pytest.fixture(scope="module")
def metadata() -> Iterator[MetadataStore]:
    with open_store() as store:
        yield store


@pytest.fixture
def studio(tmp_path: Path, metadata: MetadataStore) -> Iterator[Studio]:
    with open_studio(tmp_path, metadata=metadata) as opened:
        yield opened


def paint(studio: Studio, *names: str) -> list[Path]:
    """Draw photos that are all different pictures."""
    paths = [studio.folder / name for name in names]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 30), (40 * number, 80, 160)).save(path)
    return paths


def propose(studio: Studio, *paths: Path) -> None:
    for path in paths:
        assert studio.tag(path, SAID, PROPOSE).outcome is Outcome.PROPOSED


def meant(*paths: Path, **narrowed: Any) -> Selection:
    return Selection(paths=frozenset(paths), **narrowed)


def bench(studio: Studio, finished: list[Record] | None = None) -> Bench:
    return Bench(
        database=studio.database,
        audit=studio.audit,
        metadata=studio.metadata,
        run="review",
        now=lambda: studio.now,
        daemon_runs=lambda: studio.daemon_runs,
        finished=(finished if finished is not None else []).append,
    )


def seen(studio: Studio, path: Path) -> Seen:
    return one(studio.database.path, path)


def states(studio: Studio) -> dict[str, State]:
    return {found.offer.path.name: found.review.state for found in find(studio.database.path, Selection())}


def apply(studio: Studio) -> dict[str, Outcome]:
    """Carry out all that was decided."""
    applier, desk = Applier(bench(studio)), Desk(studio.database)
    waiting = [found.offer for found in desk.find(Selection()) if found.waits]
    # As the commands do, each is read again when its turn comes.
    effects = ((offer, applier.effect(desk.by_id(offer.record.id))) for offer in waiting)
    return {offer.path.name: applier.carry_out(effect).outcome for offer, effect in effects}


def marker_fields(path: Path) -> dict[str, str]:
    fields: dict[str, str] = json.loads(tell(path, "XMP-tagger:Fields"))
    return fields


# --- What is decided is what is written ---


def test_a_review_by_hand_is_written_exactly_as_it_was_decided(studio: Studio) -> None:
    edited, plain, refused, undecided = paint(studio, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    propose(studio, edited, plain, refused, undecided)
    before = {path: path.read_bytes() for path in (edited, plain, refused, undecided)}
    desk = Desk(studio.database)
    desk.edit(seen(studio, edited), [(Part.CAPTION, "Oma's  dog\n Rex")], ["Rex"])
    assert desk.decide(Selection(), BLUE) == 4
    assert desk.decide(meant(refused), REJECT) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert set(states(studio).values()) == {State.PENDING, State.REFUSED}
    # What was refused is not accepted along with the others.
    assert desk.decide(meant(studio.folder, keyword="dog"), ACCEPT) == 3
    desk.reset(meant(undecided))
    assert states(studio) == {
        "a.jpg": State.EDITED,
        "b.jpg": State.EDITED,
        "c.jpg": State.REFUSED,
        "d.jpg": State.PENDING,
    }
    studio.asked.clear()
    assert apply(studio) == {
        "a.jpg": Outcome.WRITTEN,
        "b.jpg": Outcome.WRITTEN,
        "c.jpg": Outcome.REFUSED,
    }
    assert studio.asked == []
    for path in (refused, undecided):
        assert path.read_bytes() == before[path]
    assert [tell(edited, tag) for tag in (TITLE, ALT, TEXT)] == ["Oma's dog Rex"] * 2 + ["One dog runs."]
    assert tell(edited, WORDS) == "Rex|dog|beach"
    assert tell(edited, "XMP-tagger:AIKeywords") == "dog|beach"
    assert tell(edited, "XMP-tagger:Rejected") == "blue"
    assert marker_fields(edited).keys() == {TEXT, "XMP-iptcCore:ExtDescrAccessibility"}
    assert [tell(plain, tag) for tag in (TITLE, ALT, TEXT)] == ["A dog."] * 2 + ["One dog runs."]
    assert tell(plain, WORDS) == "dog|beach"
    # It is over, and a second time nothing is left to do.
    assert states(studio) == {"c.jpg": State.REFUSED, "d.jpg": State.PENDING}
    assert apply(studio) == {}


STOOD = {"rose", "dog", "beach", "blue"}
NO_KEYWORDS = Order(verdict=Verdict.REJECT, part=Part.KEYWORDS)
ALL_KEYWORDS = Order(verdict=Verdict.ACCEPT, part=Part.KEYWORDS)
NO_CAPTION = Order(verdict=Verdict.REJECT, part=Part.CAPTION)
NO_SEA = Order(verdict=Verdict.REJECT, part=Part.KEYWORD, word="sea")


@pytest.mark.parametrize(
    ("orders", "title", "words"),
    [
        ([ACCEPT], "Two dogs.", STOOD - {"beach"} | {"sea"}),
        ([ACCEPT, NO_KEYWORDS], "Two dogs.", STOOD),
        ([ACCEPT, NO_SEA], "Two dogs.", STOOD),
        ([ACCEPT, ALL_KEYWORDS, NO_SEA], "Two dogs.", STOOD - {"beach"}),
        ([ACCEPT, NO_CAPTION], "A dog.", STOOD - {"beach"} | {"sea"}),
        ([ACCEPT, NO_CAPTION, NO_KEYWORDS], "A dog.", STOOD),
    ],
)
def test_of_words_of_ours_that_another_model_would_renew_goes_what_was_accepted_to_go(
    studio: Studio, orders: list[Order], title: str, words: set[str]
) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    assert studio.tag(path, SAID, RULES).outcome is Outcome.WRITTEN
    said, rules = OTHER
    assert studio.tag(path, said, rules.evolve(instead=Outcome.PROPOSED)).outcome is Outcome.PROPOSED
    proposed = seen(studio, path).review
    assert (proposed.leaving, proposed.leaving_verdict, proposed.state) == (("beach",), None, State.PENDING)
    assert {word.casefold() for word in proposed.standing} == STOOD - {"beach"}
    desk = Desk(studio.database)
    for order in orders:
        assert desk.decide(meant(path), order) == 1
    for word in ("Beach", "Dog", "rose"):
        with pytest.raises(ReviewRefused, match="has the keyword"):
            desk.edit(seen(studio, path), [], [word])
    assert apply(studio) == {"photo.jpg": Outcome.WRITTEN}
    assert (tell(path, TITLE), tell(path, TEXT)) == (title, "Dogs at sea.")
    assert {word.casefold() for word in tell(path, WORDS).split("|")} == words
    ours = {word.casefold() for word in tell(path, "XMP-tagger:AIKeywords").split("|")}
    assert ours == words - {"rose"}
    assert studio.tag(path, said, rules).outcome is Outcome.SKIPPED  # whatever was decided, it is done


def test_a_word_of_ours_that_a_person_removed_from_one_block_hinders_no_other_words(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose", "IPTC:Keywords=Rose").path
    studio.tag(path, SAID, RULES)
    stamp(path, "XMP-dc:Subject-=beach")
    studio.tag(path, OTHER[0], OTHER[1].evolve(instead=Outcome.PROPOSED))
    desk = Desk(studio.database)
    for order in (ACCEPT, NO_KEYWORDS):
        desk.decide(meant(path), order)
    assert apply(studio) == {"photo.jpg": Outcome.WRITTEN}
    assert (tell(path, TITLE), tell(path, TEXT)) == ("Two dogs.", "Dogs at sea.")
    for tag in (WORDS, "IPTC:Keywords"):
        assert {word.casefold() for word in tell(path, tag).split("|")} == STOOD - {"beach"}


def test_words_of_ours_stay_where_the_renewal_is_refused(studio: Studio) -> None:
    path = draw(studio.folder / "photo.jpg", "XMP-dc:Subject=Rose").path
    studio.tag(path, SAID, RULES)
    before = path.read_bytes()
    studio.tag(path, OTHER[0], OTHER[1].evolve(instead=Outcome.PROPOSED))
    Desk(studio.database).decide(meant(path), REJECT)
    assert apply(studio) == {"photo.jpg": Outcome.REFUSED}
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["jpg", "nef", "png", "tif"])
def test_what_is_accepted_as_it_is_is_what_the_daemon_would_have_written(
    studio: Studio, kind: str, tmp_path: Path
) -> None:
    words = ("XMP-dc:Subject=Rose", "XMP-lr:HierarchicalSubject=People|Rose", "XMP-digiKam:TagsList=Rose")
    stamps = words if kind != "nef" else ()
    path, twin = (draw(studio.folder / name, *stamps).path for name in (f"photo.{kind}", f"twin.{kind}"))
    propose(studio, path)
    Desk(studio.database).decide(meant(path), ACCEPT)
    assert apply(studio) == {path.name: Outcome.WRITTEN}
    studio.ledger.forget_undone([])
    with open_studio(other(tmp_path), metadata=studio.metadata) as second:
        moved = twin.rename(second.folder / path.name)
        second.tag(moved, SAID, RULES)
        target = (path.with_suffix(".xmp"), moved.with_suffix(".xmp")) if kind == "nef" else (path, moved)
        assert meaning(target[0]) == meaning(target[1])


def other(root: Path) -> Path:
    place = root / "other"
    place.mkdir()
    return place


def test_a_keyword_by_hand_stands_in_every_list_and_is_nobodys_but_the_persons(studio: Studio) -> None:
    path = draw(
        studio.folder / "a.jpg",
        *("XMP-dc:Subject=Rose", "XMP-lr:HierarchicalSubject=People|Rose"),
        *("XMP-digiKam:TagsList=People/Rose", "IPTC:Keywords=Rose"),
    ).path
    propose(studio, path)
    desk = Desk(studio.database)
    desk.edit(seen(studio, path), [], ["garden"])
    desk.decide(meant(path), Order(verdict=Verdict.REJECT, part=Part.KEYWORDS))
    desk.decide(meant(path), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert tell(path, WORDS) == tell(path, "IPTC:Keywords") == "Rose|garden"
    assert tell(path, "XMP-lr:HierarchicalSubject") == "People|Rose|garden"
    assert tell(path, "XMP-digiKam:TagsList") == "People/Rose|garden"
    assert tell(path, "XMP-tagger:AIKeywords") == ""
    # Neither a newer model takes it out, nor does taking back what was ours.
    studio.tag(path, *OTHER)
    assert tell(path, WORDS) == "Rose|garden|sea"
    studio.undo()
    assert tell(path, WORDS) == tell(path, "IPTC:Keywords") == "Rose|garden"


def test_accepting_a_keyword_that_a_person_added_leaves_it_theirs(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.edit(seen(studio, path), [], ["garden"])
    assert desk.decide(Selection(), Order(verdict=Verdict.ACCEPT, part=Part.KEYWORD, word="Garden")) == 0
    word = seen(studio, path).review.word("garden")
    assert word is not None
    assert word.verdict is Verdict.ADD


def test_a_single_word_counts_more_than_its_field_and_that_more_than_the_photo(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(meant(path), Order(verdict=Verdict.ACCEPT, part=Part.KEYWORD, word="dog"))
    desk.decide(meant(path), Order(verdict=Verdict.REJECT, part=Part.KEYWORDS))
    desk.decide(meant(path), Order(verdict=Verdict.REJECT, part=Part.DESCRIPTION))
    assert seen(studio, path).review.state is State.PENDING
    desk.decide(meant(path), ACCEPT)
    apply(studio)
    assert (tell(path, WORDS), tell(path, TITLE), tell(path, TEXT)) == ("dog", "A dog.", "")


def carried_out(studio: Studio, decided: Sequence[Decided]) -> tuple[Exit, Outcomes]:
    """Carry out what was listed before, as the commands do, without a question."""
    outcomes = Outcomes()
    applier, desk = Applier(bench(studio)), Desk(studio.database)
    status = carry_out(applier, desk, decided, outcomes, dry_run=False, yes=True, as_json=True)
    return status, outcomes


def test_what_is_taken_back_between_the_question_and_its_turn_is_not_written(studio: Studio) -> None:
    taken_back, accepted = paint(studio, "a.jpg", "b.jpg")
    propose(studio, taken_back, accepted)
    desk = Desk(studio.database)
    desk.decide(Selection(), ACCEPT)
    listed = [
        Decided(proposal=found.offer.record.id, path=found.offer.path, state=found.review.state)
        for found in desk.find(Selection())
    ]
    desk.reset(meant(taken_back))
    desk.decide(meant(taken_back), BLUE)
    content = taken_back.read_bytes()
    status, outcomes = carried_out(studio, listed)
    assert (status, outcomes.counts) == (Exit.AMISS, {"written": 1})
    assert [path for path, _ in outcomes.waiting] == [taken_back]
    assert taken_back.read_bytes() == content
    assert states(studio) == {"a.jpg": State.PENDING}


@pytest.mark.parametrize("order", [ACCEPT, REJECT])
def test_what_is_decided_while_it_is_being_written_wins(studio: Studio, order: Order) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk, applier = Desk(studio.database), Applier(bench(studio))
    desk.decide(meant(path), order)
    effect = applier.effect(seen(studio, path))
    desk.decide(meant(path), BLUE)
    desk.decide(meant(path), ACCEPT)
    content = path.read_bytes()
    with pytest.raises(DecidedOtherwise):
        applier.carry_out(effect)
    assert (path.read_bytes(), studio.ledger.intended()) == (content, [])
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert tell(path, WORDS) == "dog|beach"


# --- It is remembered ---


def test_a_refused_keyword_is_never_proposed_again_by_another_model_under_another_name(
    studio: Studio,
) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(Selection(), BLUE)
    desk.decide(Selection(), ACCEPT)
    apply(studio)
    renamed = path.rename(studio.folder / "renamed.jpg")
    said, rules = OTHER
    assert studio.tag(renamed, said, rules).outcome is Outcome.WRITTEN
    assert tell(renamed, WORDS) == "dog|sea"
    stamp(renamed, "XMP-tagger:all=")  # a program that drops what it does not know
    third, newest = by_model("eyes-3", keywords=("blue", "sky"))
    assert studio.tag(renamed, third, newest).outcome is Outcome.WRITTEN
    assert tell(renamed, WORDS) == "sky"


def test_a_persons_text_survives_a_newer_model_and_an_undo(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.edit(seen(studio, path), [(Part.CAPTION, "Rex")], [])
    desk.decide(Selection(), ACCEPT)
    apply(studio)
    assert studio.tag(path, *OTHER).outcome is Outcome.WRITTEN
    assert (tell(path, TITLE), tell(path, ALT), tell(path, TEXT)) == ("Rex", "Rex", "Dogs at sea.")
    (effect,) = studio.undo(model="eyes-2")
    assert (tell(path, TITLE), tell(path, TEXT)) == ("Rex", "One dog runs.")
    assert TITLE not in marker_fields(path)
    studio.undo()
    assert (tell(path, TITLE), tell(path, ALT), tell(path, TEXT)) == ("Rex", "Rex", "")
    assert tell(path, WORDS) == tell(path, "XMP-tagger:all") == ""
    assert effect.taken.edited == ()


def test_a_refused_text_counts_as_removed_by_a_person(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(meant(path), Order(verdict=Verdict.REJECT, part=Part.CAPTION))
    desk.decide(meant(path), ACCEPT)
    apply(studio)
    assert (tell(path, TITLE), tell(path, ALT)) == ("", "")
    studio.tag(path, *OTHER)
    assert (tell(path, TITLE), tell(path, ALT), tell(path, TEXT)) == ("", "", "Dogs at sea.")
    studio.undo(model="eyes-2")
    third = by_model("eyes-3", caption="Three.", description="Three dogs.")
    release(studio.database, None, now=9)
    studio.tag(path, *third)
    assert (tell(path, TITLE), tell(path, TEXT)) == ("", "Three dogs.")


@pytest.mark.parametrize("mode", list(Mode))
def test_a_refused_photo_is_left_alone_in_every_mode_until_that_is_lifted(studio: Studio, mode: Mode) -> None:
    (path,) = paint(studio, "a.jpg")
    content = path.read_bytes()
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(meant(path), REJECT)
    assert apply(studio) == {"a.jpg": Outcome.REFUSED}
    said, rules = OTHER
    path = path.rename(studio.folder / "renamed.jpg")
    studio.asked.clear()
    record = studio.tag(path, said, rules.evolve(mode=mode))
    assert (record.outcome, studio.asked) == (Outcome.SKIPPED, [])
    assert record.reason is not None
    assert record.reason.startswith("a person refused what was proposed on 2026-05-01")
    assert path.read_bytes() == content
    assert desk.decide(Selection(), ACCEPT) == 0  # it has been noted: only that is lifted
    assert desk.reset(Selection()) == 1
    jobs = {job.photo.path: job for job in studio.backlog.claim(limit=9, now=9, lease_ms=9)}
    job = jobs[path]  # it is worked on again under the name that it has now
    studio.backlog.finish(job, state=JobState.DONE, fingerprint=job.photo.fingerprint, now=9)
    again = studio.tag(path, SAID, PROPOSE)
    assert (again.outcome, studio.asked) == (Outcome.PROPOSED, [])
    assert again.after[WORDS] == ("dog", "beach", "blue")


def test_a_refusal_that_is_lifted_leaves_the_proposal_to_be_decided_anew(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(meant(path), REJECT)
    apply(studio)
    desk.reset(meant(path))
    assert states(studio) == {"a.jpg": State.PENDING}
    desk.decide(meant(path), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert tell(path, WORDS) == "dog|beach|blue"


def test_words_of_ones_own_on_a_refused_photo_are_written_or_kept(studio: Studio) -> None:
    after, before = paint(studio, "a.jpg", "b.jpg")
    propose(studio, after, before)
    desk = Desk(studio.database)
    desk.edit(seen(studio, before), [(Part.CAPTION, "Rex")], ["garden"])
    desk.decide(meant(after, before), REJECT)
    desk.edit(seen(studio, after), [(Part.CAPTION, "Rex")], [])
    # Of a photo that was refused as a whole nothing is accepted along with the others.
    for part in (Part.PHOTO, Part.DESCRIPTION, Part.KEYWORDS):
        assert desk.count(Selection(), Order(verdict=Verdict.ACCEPT, part=part)) == 0
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN, "b.jpg": Outcome.REFUSED}
    assert (tell(after, TITLE), tell(after, TEXT), tell(after, WORDS)) == ("Rex", "", "")
    refused = seen(studio, before).review
    assert refused.state is State.REFUSED
    assert {text.verdict for text in refused.texts} == {Verdict.REJECT}
    assert {word.verdict for word in refused.words} == {Verdict.REJECT}
    desk.reset(meant(before))
    desk.decide(meant(before), ACCEPT)
    assert apply(studio) == {"b.jpg": Outcome.WRITTEN}
    assert (tell(before, TITLE), tell(before, WORDS)) == ("Rex", "garden|dog|beach|blue")


@pytest.mark.parametrize("mode", list(Mode))
def test_no_journey_passes_over_a_review_that_is_under_way(studio: Studio, mode: Mode) -> None:
    (path,) = paint(studio, "a.jpg")
    content = path.read_bytes()
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(meant(path), BLUE)
    said, rules = OTHER
    record = studio.tag(path, said, rules.evolve(mode=mode))
    assert (record.outcome, record.reason) == (Outcome.SKIPPED, "a review of it is under way")
    assert path.read_bytes() == content
    desk.decide(meant(path), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert tell(path, WORDS) == "dog|beach"


def test_a_copy_takes_its_turn_once_the_review_of_the_other_is_over(studio: Studio) -> None:
    first, second = paint(studio, "a.jpg", "b.jpg")
    propose(studio, first)
    second.write_bytes(first.read_bytes())
    desk = Desk(studio.database)

    def put_off() -> None:
        desk.decide(meant(first), BLUE)
        assert studio.tag(second, SAID, PROPOSE).outcome is Outcome.SKIPPED

    def due() -> list[Path]:
        jobs = studio.backlog.claim(limit=9, now=9, lease_ms=9)
        for job in jobs:
            studio.backlog.finish(job, state=JobState.DONE, fingerprint=job.photo.fingerprint, now=9)
        return [job.photo.path for job in jobs]

    put_off()
    assert due() == []
    desk.reset(meant(first))
    assert due() == [second]
    put_off()
    desk.decide(meant(first), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert due() == [second]


def test_of_two_copies_one_review_counts_for_the_other_where_a_keyword_is_refused(studio: Studio) -> None:
    first, second = paint(studio, "a.jpg", "b.jpg")
    second.write_bytes(first.read_bytes())
    propose(studio, first, second)
    desk = Desk(studio.database)
    desk.decide(meant(first), BLUE)
    desk.decide(meant(first), ACCEPT)
    desk.decide(meant(second), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN, "b.jpg": Outcome.WRITTEN}
    assert tell(first, WORDS) == tell(second, WORDS) == "dog|beach"


def test_each_of_two_refused_copies_is_listed_and_can_be_lifted(studio: Studio) -> None:
    first, second = paint(studio, "a.jpg", "b.jpg")
    second.write_bytes(first.read_bytes())
    propose(studio, first, second)
    desk = Desk(studio.database)
    desk.decide(Selection(), REJECT)
    apply(studio)
    assert states(studio) == {"a.jpg": State.REFUSED, "b.jpg": State.REFUSED}
    desk.reset(meant(second))
    assert states(studio) == {"a.jpg": State.REFUSED, "b.jpg": State.PENDING}
    desk.reset(meant(first))
    assert studio.tag(first, *OTHER).outcome is Outcome.WRITTEN


def test_a_journey_that_began_before_the_review_writes_nothing(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    record = seen(studio, path).offer.record
    Desk(studio.database).decide(meant(path), BLUE)
    with pytest.raises(PhotoChanged, match="a review of it has begun"):
        studio.ledger.intend(record.evolve(id="w", outcome=Outcome.WRITTEN))
    with pytest.raises(LeaseLost, match="a review of it has begun"):
        studio.ledger.add(record.evolve(id="p"))
    assert studio.ledger.intended() == []
    assert states(studio) == {"a.jpg": State.PENDING}
    assert seen(studio, path).offer.record == record


# --- Photos that are not as they were ---


def test_a_photo_that_changed_waits_and_is_proposed_anew_without_a_request(studio: Studio) -> None:
    path, sound = paint(studio, "a.jpg", "b.jpg")
    propose(studio, path, sound)
    desk = Desk(studio.database)
    desk.decide(Selection(), ACCEPT)
    stamp(path, "XMP-xmp:Rating=3")
    content = path.read_bytes()
    applier = Applier(bench(studio))
    with pytest.raises(PhotoChanged, match="has changed since it was proposed"):
        applier.effect(seen(studio, path))
    assert path.read_bytes() == content
    assert states(studio)["a.jpg"] is State.ACCEPTED  # it still waits
    desk.reset(meant(path))
    studio.asked.clear()
    propose(studio, path)
    assert studio.asked == []
    desk.decide(meant(path), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN, "b.jpg": Outcome.WRITTEN}
    assert (tell(path, TITLE), tell(path, "XMP-xmp:Rating")) == ("A dog.", "3")


def test_what_a_person_said_of_a_photo_that_changed_is_not_lost(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.edit(seen(studio, path), [(Part.CAPTION, "Rex")], ["garden"])
    desk.decide(meant(path), BLUE)
    desk.decide(meant(path), ACCEPT)
    stamp(path, "XMP-xmp:Rating=3")
    desk.reset(meant(path))
    assert studio.ledger.recall(seen(studio, path).offer.record.content_hash or "").rejected == ("blue",)
    propose(studio, path)
    assert states(studio) == {"a.jpg": State.PENDING}
    desk.decide(meant(path), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert (tell(path, TITLE), tell(path, WORDS)) == ("Rex", "garden|dog|beach")
    # Another model does not bring it back either.
    studio.tag(path, *OTHER)
    assert tell(path, WORDS) == "garden|dog|sea"


@pytest.mark.parametrize("mode", [Mode.PROPOSE, Mode.REFRESH])
def test_a_picture_that_was_cropped_under_review_waits_with_its_decisions(studio: Studio, mode: Mode) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.edit(seen(studio, path), [(Part.CAPTION, "Rex")], [])
    Image.new("RGB", (20, 20), (9, 80, 160)).save(path)
    record = studio.tag(path, SAID, RULES.evolve(mode=mode))
    assert (record.outcome, record.reason) == (Outcome.SKIPPED, "a review of it is under way")
    assert seen(studio, path).offer.record.id == record.proposal
    desk.reset(meant(path))
    propose(studio, path)
    desk.decide(meant(path), ACCEPT)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}
    assert tell(path, TITLE) == "Rex"


def test_a_sidecar_that_changed_counts_as_a_changed_photo(studio: Studio) -> None:
    raw = draw(studio.folder / "IMG.nef").path
    sidecar = studio.folder / "IMG.xmp"
    stamp(sidecar, "XMP-dc:Subject=Rose")
    propose(studio, raw)
    Desk(studio.database).decide(Selection(), ACCEPT)
    stamp(sidecar, "XMP-dc:Title=Mine")
    with pytest.raises(PhotoChanged):
        Applier(bench(studio)).effect(seen(studio, raw))
    assert tell(sidecar, TITLE) == "Mine"


@pytest.mark.parametrize(
    ("kind", "words"),
    [("jpg", f"{TITLE}=Mine"), ("jpg", f"{ALT}=Mine"), ("tif", f"{WORDS}=Rose"), ("psd", f"{TITLE}=Mine")],
)
def test_a_sidecar_that_appeared_since_counts_too(studio: Studio, kind: str, words: str) -> None:
    path = draw(studio.folder / f"a.{kind}").path
    propose(studio, path)
    Desk(studio.database).decide(Selection(), ACCEPT)
    stamp(path.with_suffix(".xmp"), words)
    content = path.read_bytes()
    with pytest.raises(PhotoChanged, match="left alone and waits"):
        Applier(bench(studio)).effect(seen(studio, path))
    assert path.read_bytes() == content
    path.with_suffix(".xmp").unlink()
    assert apply(studio) == {path.name: Outcome.WRITTEN}


def test_a_renamed_photo_is_written_and_one_that_is_gone_is_told(studio: Studio) -> None:
    path, gone = paint(studio, "a.jpg", "b.jpg")
    propose(studio, path, gone)
    Desk(studio.database).decide(Selection(), ACCEPT)
    renamed = path.rename(studio.folder / "new.jpg")
    assert studio.tag(renamed, SAID, PROPOSE).outcome is Outcome.SKIPPED
    gone.unlink()
    applier = Applier(bench(studio))
    with pytest.raises(PhotoGone):
        applier.effect(seen(studio, gone))
    record = applier.carry_out(applier.effect(seen(studio, path)))
    assert (record.photo.path, tell(renamed, TITLE)) == (renamed, "A dog.")
    assert list(states(studio)) == ["b.jpg"]
    assert [effect.found.path for effect in studio.undo(renamed)] == [renamed]


def test_a_photo_that_the_daemon_works_on_is_left_to_it(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    Desk(studio.database).decide(Selection(), ACCEPT)
    studio.backlog.reopen([path], now=5)
    studio.backlog.claim(limit=1, now=6, lease_ms=10**9)
    content = path.read_bytes()
    with pytest.raises(LeaseLost, match="being worked on"):
        apply(studio)
    assert path.read_bytes() == content
    assert states(studio) == {"a.jpg": State.ACCEPTED}


def test_a_file_that_cannot_be_written_into_gets_its_words_beside_it(studio: Studio) -> None:
    from support.metadata_files import draw_torn

    path = draw_torn(studio.folder / "a.tif").path
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(Selection(), BLUE)
    desk.decide(Selection(), ACCEPT)
    assert apply(studio) == {"a.tif": Outcome.WRITTEN}
    (beside,) = studio.folder.glob("*.xmp")
    assert tell(beside, WORDS) == "dog|beach"


def test_a_write_that_fails_leaves_the_decisions(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    Desk(studio.database).decide(Selection(), ACCEPT)
    path.chmod(0o444)
    with pytest.raises(Exception, match="write-protected"):
        apply(studio)
    assert studio.ledger.intended() == []
    assert states(studio) == {"a.jpg": State.ACCEPTED}
    path.chmod(0o644)
    assert apply(studio) == {"a.jpg": Outcome.WRITTEN}


def test_what_would_not_be_what_was_decided_is_not_written(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    found = seen(studio, path)
    decided = found.with_decisions(ACCEPT.decisions(found, named=True))
    record, review = decided.offer.record, decided.review
    words, rules = annotation_of(record, review), policy_of(record, review)
    effect = Applier(bench(studio)).effect(decided)
    assert effect.plan is not None
    assert is_as_decided(effect.plan, words, rules, review)
    for changed in (words.evolve(caption="Another."), words.evolve(keywords=("cat",))):
        assert not is_as_decided(effect.plan, changed, rules, review)


# --- Deaths ---


@pytest.mark.parametrize("swapped", [True, False])
def test_a_death_in_the_middle_of_a_write_is_found_out(studio: Studio, swapped: bool) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    desk = Desk(studio.database)
    desk.decide(meant(path), BLUE)
    desk.decide(meant(path), ACCEPT)
    found = seen(studio, path)
    applier = Applier(bench(studio))
    effect = applier.effect(found)
    assert effect.plan is not None
    studio.backlog.hold(path, now=5, lease_ms=10**9, left_over=False)
    studio.ledger.intend(applier._record(effect, Outcome.WRITTEN))
    if swapped:
        studio.metadata.apply(effect.plan)
    # Meanwhile no journey may write: the decisions stand, whatever became of the file.
    assert studio.ledger.recall(found.offer.record.content_hash or "").review == found.offer.record.id
    done: list[Record] = []
    parts = (studio.database, studio.backlog, studio.ledger, studio.metadata)
    settle_intentions(*parts, now=9, mine=is_by_hand, finished=done.append)
    studio.backlog.recover_by_hand(now=9)
    assert studio.ledger.intended() == []
    assert len(done) == swapped
    assert states(studio) == ({} if swapped else {"a.jpg": State.EDITED})
    assert apply(studio) == ({} if swapped else {"a.jpg": Outcome.WRITTEN})
    assert tell(path, WORDS) == "dog|beach"


def test_a_death_after_a_renamed_photo_was_written_settles_its_proposal(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    Desk(studio.database).decide(Selection(), ACCEPT)
    renamed = path.rename(studio.folder / "new.jpg")
    assert studio.tag(renamed, SAID, PROPOSE).outcome is Outcome.SKIPPED
    applier = Applier(bench(studio))
    effect = applier.effect(seen(studio, path))
    assert effect.plan is not None
    studio.ledger.intend(applier._record(effect, Outcome.WRITTEN))
    studio.metadata.apply(effect.plan)
    settle_intentions(studio.database, studio.backlog, studio.ledger, studio.metadata, now=9, mine=is_by_hand)
    assert (states(studio), tell(renamed, TITLE)) == ({}, "A dog.")
    assert [found.found.path for found in studio.undo(renamed)] == [renamed]


def test_what_died_is_noted_and_told_by_the_next_and_a_daemon_keeps_its_own(studio: Studio) -> None:
    path, other = paint(studio, "a.jpg", "b.jpg")
    propose(studio, path, other)
    record = seen(studio, other).offer.record
    Desk(studio.database).decide(meant(path), ACCEPT)
    applier = Applier(bench(studio))
    effect = applier.effect(seen(studio, path))
    assert effect.plan is not None
    written = applier._record(effect, Outcome.WRITTEN)
    studio.ledger.intend(written)
    studio.metadata.apply(effect.plan)
    daemons = record.evolve(id="d", outcome=Outcome.WRITTEN)
    studio.ledger.intend(daemons)
    state = StateDirectory(root=studio.database.path.parent)
    settings = Settings(state_dir=state.root, folders=[{"path": studio.folder}])
    running = state.acquire()
    try:
        with by_hand.opened(settings, state, command="review", audit=studio.audit):
            assert studio.ledger.intended() == [daemons]
    finally:
        os.close(running)
    (file,) = (studio.folder.parent / "audit").iterdir()
    assert written.id in [json.loads(line)["id"] for line in file.read_text().splitlines()]
    with by_hand.opened(settings, state, command="review", audit=studio.audit):
        assert studio.ledger.intended() == []


# --- Very many, and what is narrowed down ---


def test_what_is_given_narrows_down_what_is_meant(studio: Studio) -> None:
    below = studio.folder / "below"
    below.mkdir()
    first, second, third = paint(studio, "a.jpg", "below/b.jpg", "belowish.jpg")
    propose(studio, first, second, third)
    desk = Desk(studio.database)
    desk.decide(meant(first), REJECT)

    def names(*paths: Path, **narrowed: Any) -> list[str]:
        return [found.offer.path.name for found in desk.find(meant(*paths, **narrowed))]

    assert names() == ["a.jpg", "b.jpg", "belowish.jpg"]
    assert names(below) == names(below, second) == ["b.jpg"]
    assert names(first, third) == ["a.jpg", "belowish.jpg"]
    assert names(studio.folder, below) == names()
    assert names(state=State.REFUSED) == ["a.jpg"]
    assert names(keyword="Dog", state=State.PENDING) == ["b.jpg", "belowish.jpg"]
    assert names(keyword="cat") == []
    assert names(part=Part.DESCRIPTION) == names(part=Part.KEYWORDS) == names()
    with pytest.raises(ReviewRefused, match="nothing is proposed"):
        desk.one(below)


def test_thousands_are_listed_and_decided_about_in_one_transaction(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    record = seen(studio, path).offer.record
    count = 2 * proposals.PAGE + 3
    with studio.database.transaction():
        for number in range(count):
            photo = record.photo.evolve(path=studio.folder / f"many/{number:05}.jpg")
            fresh = record.evolve(id=f"p{number}", photo=photo, content_hash=f"c{number}")
            studio.ledger.add(fresh)
    desk = Desk(studio.database)
    assert sum(1 for _ in desk.find(Selection())) == count + 1
    assert desk.count(meant(studio.folder / "many"), BLUE) == count
    assert desk.decide(meant(studio.folder / "many"), BLUE) == count
    assert desk.decide(Selection(), ACCEPT) == count + 1
    told = [found.review.state for found in desk.find(Selection())]
    assert (told.count(State.EDITED), told.count(State.ACCEPTED)) == (count, 1)
    assert desk.reset(Selection()) == count + 1


# --- Words of a person's that cannot be written ---


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "is empty"), (" \u200b\n", "is empty"), ("x" * (LONGEST_TEXT + 1), "cannot be written")],
)
def test_a_text_that_cannot_be_written_is_refused(studio: Studio, text: str, why: str) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    with pytest.raises(ReviewRefused, match=why):
        Desk(studio.database).edit(seen(studio, path), [(Part.DESCRIPTION, text)], [])
    assert not seen(studio, path).review.begun


@pytest.mark.parametrize("word", ["", "a|b", "a, b", "x" * 65, "\u200b"])
def test_a_keyword_that_cannot_be_written_is_refused(studio: Studio, word: str) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    with pytest.raises(ReviewRefused):
        Desk(studio.database).edit(seen(studio, path), [], [word])


def test_the_models_own_words_are_no_edit(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    decided = Desk(studio.database).edit(seen(studio, path), [(Part.CAPTION, " A dog. ")], ["DOG"])
    text = decided.review.text(Stage.CAPTION)
    assert text is not None
    assert text.verdict is Verdict.ACCEPT
    word = decided.review.word("dog")
    assert word is not None
    assert (word.word, word.verdict) == ("dog", Verdict.ACCEPT)


# --- A file that a person hands in ---


def line_of(record: Record, **changes: Any) -> str:
    """Write a proposal as the audit does, with what the models said, or something else where it is given."""
    said = record.answers
    line = {
        "id": record.id,
        "image": os.fspath(record.photo.path),
        "outcome": record.outcome.value,
        "caption": said.caption,
        "keywords": [{"keyword": word, "score": None} for word in said.keywords or ()],
        "description": said.description,
    }
    return json.dumps({**line, **changes})


def words(*keywords: str) -> list[dict[str, Any]]:
    return [{"keyword": word, "score": None} for word in keywords]


def hand_in(studio: Studio, lines: Sequence[str | bytes]) -> tuple[dict[str, Outcome], list[str]]:
    """Carry a file out, and return what became of its photos, and which lines could not be used."""
    file = studio.folder.parent / "handed-in.txt"
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    file.write_bytes(b"\n".join((*raw, b"")))
    problems: list[str] = []
    found = list(proposals_in(studio.database.path, file, problem=problems.append))
    desk, applier = Desk(studio.database), Applier(bench(studio))
    became = {}
    for line in found:
        if line.seen.waits:
            desk.keep(line.seen, line.fresh)
            record = applier.carry_out(applier.effect(line.seen))
            became[record.photo.path.name] = record.outcome
    return became, problems


def test_an_edited_audit_file_is_written_exactly_as_it_says(studio: Studio) -> None:
    paths = paint(studio, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    propose(studio, *paths)
    edited, plain, emptied, refused = (seen(studio, path).offer.record for path in paths)
    Desk(studio.database).decide(meant(paths[3]), REJECT)
    lines = [
        line_of(edited, caption="Rex", keywords=words("Rex", "dog")),
        "",
        json.dumps({"outcome": "written", "id": 5}),
        line_of(plain),
        line_of(emptied, description="", keywords=[]),
        line_of(refused, caption="All the same"),
    ]
    became, problems = hand_in(studio, lines)
    assert problems == []
    assert list(became.values()) == [Outcome.WRITTEN] * 4
    assert (tell(paths[0], TITLE), tell(paths[0], WORDS)) == ("Rex", "Rex|dog")
    assert (tell(paths[1], TITLE), tell(paths[1], WORDS)) == ("A dog.", "dog|beach|blue")
    assert (tell(paths[2], TITLE), tell(paths[2], WORDS), tell(paths[2], TEXT)) == ("A dog.", "", "")
    # A person's words count, also where all that was proposed is refused.
    assert (tell(paths[3], TITLE), tell(paths[3], WORDS), tell(paths[3], TEXT)) == ("All the same", "", "")
    said, rules = OTHER
    studio.tag(paths[0], said, rules)
    assert (tell(paths[0], TITLE), tell(paths[0], WORDS)) == ("Rex", "Rex|dog|sea")
    # Handed in once more, it has been dealt with.
    assert hand_in(studio, lines) == ({}, [])


def test_hostile_lines_are_told_by_their_numbers_and_the_others_count(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    record = seen(studio, path).offer.record
    proposed = {"outcome": "proposed"}
    hostile: list[str | bytes] = [
        b"\xff\xfe",
        '{"id": "x", "outcome": "propo',
        "[" * 100_000,
        "5",
        json.dumps(proposed),
        json.dumps({**proposed, "id": "nobody's"}),
        json.dumps({**proposed, "id": "'; DROP TABLE record; --"}),
        json.dumps({**proposed, "id": ["x"]}),
        line_of(record, caption=7),
        line_of(record, keywords="dog"),
        line_of(record, keywords=[{"keyword": None}]),
        line_of(record, keywords=words("a|b")),
        line_of(record, caption="x" * (LONGEST_TEXT + 1)),
        line_of(record, description="y" * (5 << 20)),
        '{"outcome": "proposed", "id": "\\ud800"}',
        line_of(record, caption="\ud83dRex"),
        line_of(record, keywords=words("dog\udc00")),
        line_of(record, caption="Rex\u202e"),
        line_of(record, caption="Another"),
    ]
    became, problems = hand_in(studio, hostile)
    assert [problem.partition(":")[0] for problem in problems] == [
        f"line {number}" for number in (*range(1, 18), 19)
    ]
    assert "this state directory knows no such proposal" in problems[5]
    assert problems[-1] == "line 19: line 18 is about the same proposal, and counts"
    assert became == {"a.jpg": Outcome.WRITTEN}
    assert tell(path, TITLE) == "Rex"


def test_a_mark_at_the_beginning_costs_no_line_and_null_says_nothing(studio: Studio) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    line = line_of(seen(studio, path).offer.record, caption=None, keywords=None)
    assert hand_in(studio, [b"\xef\xbb\xbf" + line.encode()]) == ({"a.jpg": Outcome.WRITTEN}, [])
    assert (tell(path, TITLE), tell(path, WORDS)) == ("A dog.", "dog|beach|blue")


def test_a_field_for_which_nothing_is_proposed_cannot_be_edited(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg", f"{TITLE}=Mine", f"{ALT}=Mine").path
    propose(studio, path)
    record = seen(studio, path).offer.record
    became, problems = hand_in(studio, [line_of(record, caption="Other")])
    assert (became, problems) == ({}, ["line 1: a.jpg: nothing is proposed for its caption"])
    assert hand_in(studio, [line_of(record)]) == ({"a.jpg": Outcome.WRITTEN}, [])
    assert tell(path, TITLE) == "Mine"


def test_a_line_of_the_audit_tells_which_review_it_was(studio: Studio, tmp_path: Path) -> None:
    (path,) = paint(studio, "a.jpg")
    propose(studio, path)
    finished: list[Record] = []
    Desk(studio.database).decide(Selection(), REJECT)
    applier = Applier(bench(studio, finished))
    record = applier.carry_out(applier.effect(seen(studio, path)))
    assert finished == [record]
    (file,) = (tmp_path / "audit").iterdir()
    line = json.loads(file.read_text().splitlines()[-1])
    assert (line["outcome"], line["reason"]) == ("refused", "a person refused it")
    assert record.rejected == ("dog", "beach", "blue")
    with read_only(studio.database.path) as db:
        assert proposals.offer(db, record.proposal) is not None
