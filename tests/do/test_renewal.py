"""After a change of models every photo of the old ones is queued once, by the ledger alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from support.metadata_files import draw, open_store, stamp
from support.studio import Studio, by_model, open_studio
from tagger_daemon.backlog.store import Backlog
from tagger_daemon.errors import StateUnavailable
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import JobState, Mode, Outcome, Policy, Verdict
from tagger_daemon.service import renewal
from tagger_daemon.service.renewal import Renewal
from tagger_daemon.service.reviewing import Desk, Order, Selection

OLD = by_model("eyes-1", caption="A dog.")
SAID, NEW = by_model("eyes-2", caption="Two dogs.")


@pytest.fixture(scope="module")
def metadata() -> Iterator[MetadataStore]:
    with open_store() as store:
        yield store


@pytest.fixture
def studio(tmp_path: Path, metadata: MetadataStore) -> Iterator[Studio]:
    with open_studio(tmp_path, metadata=metadata) as opened:
        yield opened


def renew(
    studio: Studio,
    policy: Policy,
    backlog: Backlog | None = None,
    takes: Callable[[Path], bool] = lambda _: True,
    **folders: Policy,
) -> list[str]:
    """Look through everything as at a start, and return which photos are ready then.

    Args:
        studio: where they are.
        policy: what may be written.
        backlog: where they are made ready, if not the studio's.
        takes: which of them are to be worked on.
        folders: names of folders whose photos have another policy.
    """
    others = {studio.folder / name: other for name, other in folders.items()}

    async def look() -> None:
        part = Renewal(
            policy.mode,
            lambda path: others.get(path.parent, policy),
            takes=takes,
            database=studio.database.path,
            backlog=backlog or studio.backlog,
            reopened=lambda: woken.append(True),
        )
        task = asyncio.create_task(part.run())
        await part.done.wait()
        task.cancel()

    woken: list[bool] = []
    asyncio.run(look())
    jobs = studio.backlog.claim(limit=99, now=5, lease_ms=9)
    assert bool(woken) is bool(jobs)
    for job in jobs:
        studio.backlog.finish(job, state=JobState.DONE, fingerprint=job.photo.fingerprint, now=6)
    return sorted(job.photo.path.name for job in jobs)


def test_photos_of_other_models_are_queued_and_in_mode_fill_none_is(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "BATCH", 2)  # so that they come in several goes
    for number in range(5):
        studio.tag(draw(studio.folder / f"{number}.jpg", f"XMP-xmp:Rating={number}").path, *OLD)
    studio.tag(draw(studio.folder / "new.png").path, SAID, NEW)
    assert renew(studio, NEW.evolve(mode=Mode.FILL)) == []
    assert renew(studio, NEW) == [f"{number}.jpg" for number in range(5)]


def test_a_photo_in_which_the_new_model_has_nothing_to_say_is_looked_at_once(studio: Studio) -> None:
    words = ("XMP-dc:Title=Mine", "XMP-iptcCore:AltTextAccessibility=Mine")
    path = draw(studio.folder / "a.jpg", *words).path
    said, rules = OLD
    only_captions = {stage: names for stage, names in NEW.fields.items() if stage == "caption"}
    studio.tag(draw(studio.folder / "b.png").path, said, rules.evolve(fields=only_captions))
    stamp(studio.folder / "b.png", *words)
    studio.tag(path, *OLD)
    for policy, name in ((NEW, "a.jpg"), (NEW.evolve(fields=only_captions), "b.png")):
        assert name in renew(studio, policy)
        studio.tag(studio.folder / name, SAID, policy)
        assert name not in renew(studio, policy)


def test_each_photo_is_measured_by_the_prompts_of_its_own_folder(studio: Studio) -> None:
    said, rules = by_model("eyes-2", caption="Two dogs.")
    current = {stage: {**identity, "profile": "travel"} for stage, identity in rules.current.items()}
    travel = rules.evolve(current=current)
    for folder in ("journeys", "home"):
        (studio.folder / folder).mkdir()
        draw(studio.folder / folder / f"{folder}.jpg", f"XMP-dc:Source={folder}")
        studio.tag(studio.folder / folder / f"{folder}.jpg", said, rules)
    assert renew(studio, rules, journeys=travel) == ["journeys.jpg"]
    assert renew(studio, travel, journeys=rules) == ["home.jpg"]


@pytest.mark.parametrize("mode", [Mode.FILL, Mode.REFRESH])
def test_what_was_proposed_is_queued_once_it_may_be_written(studio: Studio, mode: Mode) -> None:
    paths = [draw(studio.folder / f"{number}.jpg", f"XMP-xmp:Rating={number}").path for number in range(2)]
    for path in paths:
        assert studio.tag(path, SAID, NEW.evolve(mode=Mode.PROPOSE)).outcome is Outcome.PROPOSED
    assert renew(studio, NEW.evolve(mode=Mode.PROPOSE)) == []
    assert renew(studio, NEW.evolve(mode=mode)) == ["0.jpg", "1.jpg"]
    assert studio.tag(paths[0], SAID, NEW.evolve(mode=mode)).outcome is Outcome.WRITTEN
    assert renew(studio, NEW.evolve(mode=mode)) == ["1.jpg"]


def test_proposals_stay_proposals_where_a_person_reviews_them(studio: Studio) -> None:
    propose = NEW.evolve(mode=Mode.PROPOSE)
    (studio.folder / "family").mkdir()
    names = ("family/a.jpg", "begun.jpg", "refused.jpg", "free.jpg")
    paths = [draw(studio.folder / name, "XMP-xmp:Rating=1").path for name in names]
    for number, path in enumerate(paths):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
        assert studio.tag(path, SAID, propose).outcome is Outcome.PROPOSED
    desk = Desk(studio.database)
    for path in paths[1:3]:
        desk.decide(Selection(paths=frozenset({path})), Order(verdict=Verdict.REJECT))
    refused = next(desk.find(Selection(paths=frozenset({paths[2]})))).offer.record
    studio.ledger.add(refused.evolve(id="r", outcome=Outcome.REFUSED, proposal=refused.id))
    assert renew(studio, NEW, family=propose) == ["free.jpg"]
    desk.reset(Selection())
    reopened = ["begun.jpg", "free.jpg", "refused.jpg"]
    assert renew(studio, NEW.evolve(mode=Mode.FILL), family=propose) == reopened


def test_in_a_folder_under_review_nothing_of_ours_is_renewed(studio: Studio) -> None:
    (studio.folder / "family").mkdir()
    studio.tag(draw(studio.folder / "family" / "a.jpg").path, *OLD)
    assert renew(studio, NEW, family=NEW.evolve(mode=Mode.PROPOSE)) == []
    assert renew(studio, NEW) == ["a.jpg"]


def test_what_was_taken_back_is_not_queued_at_every_start(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *OLD)
    studio.tag(path, SAID, NEW)
    studio.undo(model="eyes-2")
    assert renew(studio, NEW) == []


def test_only_photos_that_are_done_are_queued(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *OLD)
    studio.backlog.reopen([path], now=4)
    (job,) = studio.backlog.claim(limit=1, now=4, lease_ms=10**9)
    assert renew(studio, NEW) == []
    studio.backlog.finish(job, state=JobState.DONE, fingerprint=job.photo.fingerprint, now=5)
    assert studio.tag(path, SAID, NEW).outcome is Outcome.WRITTEN


def test_a_state_that_cannot_be_written_now_is_waited_for(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "STATE_PAUSE", 0.0)
    studio.tag(draw(studio.folder / "a.jpg").path, *OLD)

    class Full(Backlog):
        tries = 0

        def reopen(self, *args: object, **options: object) -> int:
            self.tries += 1
            if self.tries == 1:
                raise StateUnavailable("the disk is full")
            return super().reopen(*args, **options)  # type: ignore[arg-type]

    assert renew(studio, NEW, Full(studio.database)) == ["a.jpg"]


def test_only_what_the_run_is_about_is_queued(studio: Studio) -> None:
    for name in ("named.jpg", "other.jpg"):
        studio.tag(draw(studio.folder / name, f"XMP-dc:Source={name}").path, *OLD)
        studio.tag(draw(studio.folder / f"told-{name}", "XMP-xmp:Rating=1").path, SAID, NEW)
    propose = NEW.evolve(mode=Mode.PROPOSE)
    for number, name in enumerate(("p-named.jpg", "p-other.jpg")):
        path = draw(studio.folder / name).path
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
        assert studio.tag(path, SAID, propose).outcome is Outcome.PROPOSED
    named = renew(studio, NEW, takes=lambda path: path.stem.endswith("named"))
    assert named == ["named.jpg", "p-named.jpg"]


def test_rows_of_folders_that_are_not_watched_stay_as_they_are(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg").path
    studio.tag(path, *OLD)
    studio.backlog.watch_only([studio.folder / "elsewhere"])
    assert studio.backlog.reopen([path], now=4) == 0
    studio.backlog.watch_only([studio.folder])
    assert studio.backlog.reopen([path], now=4) == 1


def test_a_text_that_was_kept_beside_ours_is_replaced_once_texts_of_persons_may_be(studio: Studio) -> None:
    kept = draw(studio.folder / "kept.jpg", "XMP-dc:Title=Mine", "XMP-xmp:Rating=1").path
    filled = draw(studio.folder / "filled.jpg", "XMP-xmp:Rating=2").path
    copy = studio.folder / "copy.jpg"
    for path in (kept, filled):
        assert studio.tag(path, SAID, NEW).outcome is Outcome.WRITTEN
    copy.write_bytes(kept.read_bytes())
    assert studio.tag(copy, SAID, NEW).outcome is Outcome.SKIPPED
    overwriting = NEW.evolve(overwrite=True)
    assert renew(studio, NEW) == []
    assert renew(studio, overwriting) == ["copy.jpg", "kept.jpg"]
    for path in (kept, copy):
        record = studio.tag(path, SAID, overwriting)
        assert (record.outcome, record.before["XMP-dc:Title"]) == (Outcome.WRITTEN, "Mine")
    assert renew(studio, overwriting) == []
    assert studio.tag(kept, SAID, overwriting).outcome is Outcome.SKIPPED
    assert studio.tag(filled, SAID, overwriting).outcome is Outcome.SKIPPED


def test_what_a_person_made_of_our_text_is_the_last_word(studio: Studio) -> None:
    path = draw(studio.folder / "a.jpg", "XMP-xmp:Rating=1").path
    studio.tag(path, SAID, NEW)
    stamp(path, "XMP-dc:Title=Better")
    assert studio.tag(path, SAID, NEW.evolve(overwrite=True)).outcome is Outcome.SKIPPED
