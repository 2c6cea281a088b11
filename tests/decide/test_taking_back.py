"""Whatever a person does between our writes: nothing of theirs is lost, nothing of ours is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from decide.test_plan import ORIGIN, PHOTO
from tagger_daemon.metadata import fields, gather
from tagger_daemon.metadata.merge import key
from tagger_daemon.metadata.ownership import known
from tagger_daemon.metadata.plan import make_plan, make_undo_plan
from tagger_daemon.metadata.properties import Node, Properties
from tagger_daemon.metadata.undo import standing_records, take_back
from tagger_daemon.model import (
    Annotation,
    Existing,
    Memory,
    Mode,
    Outcome,
    Policy,
    Record,
    Stage,
    TagValue,
    WritePlan,
)

RULES = Policy(
    mode=Mode.REFRESH,
    fields={
        Stage.CAPTION: ("Title", "AltTextAccessibility"),
        Stage.KEYWORDS: ("Subject",),
        Stage.DESCRIPTION: ("Description",),
    },
)
#: Ours and a person's have no word in common but those that a person respelt.
OUR_WORDS = st.lists(st.sampled_from(["dog", "sea", "sun", "ice"]), max_size=4, unique=True)
THEIR_WORD = st.sampled_from(["Rose", "Oma", "Ulm"])
A_TIME = "2026-05-01T12:00:{:02}+00:00"


@dataclass
class Story:
    """A file, what was written into it, and what a person did in between."""

    legacy: bool
    root: str
    stands: dict[str, TagValue]
    history: list[Record] = field(default_factory=list)
    theirs: set[str] = field(default_factory=set)  # keys of keywords of a person's
    removed: set[str] = field(default_factory=set)  # keys of ours that a person removed
    title: str | None = None  # a person's
    tick: int = 0

    def existing(self) -> Existing:
        nodes: dict[str, tuple[Node, ...]] = {tag: (value,) for tag, value in self.stands.items()}
        if fields.IIM_DIGEST in nodes:  # nobody edits the legacy block alone
            nodes["File:CurrentIPTCDigest"] = nodes[fields.IIM_DIGEST]
        layers = (Properties(nodes=nodes),)
        existing = Existing(
            photo=PHOTO,
            source=PHOTO.path,
            embedded=True,
            source_fingerprint=PHOTO.fingerprint,
            stands=gather.stands(layers[0], with_iim=self.legacy),
            texts=gather.texts(layers, ()),
            keywords=gather.keywords(layers),
            hierarchical=gather.hierarchical(layers),
            tags_list=gather.tags_list(layers),
            has_iptc=self.legacy,
            marker=gather.marker(layers),
        )
        rejected = self.history[-1].rejected if self.history else ()
        return known(existing, Memory(rejected=rejected))

    def keep(self, plan: WritePlan, outcome: Outcome, **changes: Any) -> None:
        self.tick += 1
        before = {fields.read_name(write.tag): write.before for write in plan.writes}
        after = {fields.read_name(write.tag): write.value for write in plan.writes}
        for tag, value in after.items():
            if value is None:
                self.stands.pop(tag, None)
            else:
                self.stands[tag] = value if isinstance(value, tuple) else str(value)
        self.history.append(
            Record(
                id=str(self.tick),
                photo=PHOTO,
                outcome=outcome,
                finished_at=self.now,
                before=before,
                after=after,
                **changes,
            )
        )

    @property
    def now(self) -> str:
        return A_TIME.format(self.tick % 60)

    def write(self, words: list[str], title: str) -> None:
        said = Annotation(
            caption=title,
            keywords=tuple(words),
            description=f"{title} indeed",
            origins=dict.fromkeys(Stage, ORIGIN),
        )
        rules = RULES.evolve(keyword_root=self.root)
        plan = make_plan(self.existing(), said, rules, content_hash="c", tool_version="1", now=self.now)
        if plan.writes:
            assert plan.result.marker is not None
            marker = plan.result.marker
            self.keep(plan, Outcome.WRITTEN, marker=marker, rejected=marker.rejected)

    def undo(self, chosen: set[str], words: tuple[str, ...] = ()) -> None:
        if not any(record.id in chosen for record in standing_records(self.history)):
            return
        existing = self.existing()
        taken = take_back(self.history, chosen, words=words, stands=existing.stands, now=self.now)
        plan = make_undo_plan(existing, taken)
        self.removed |= {key(word) for word in words} - self.theirs
        self.keep(
            plan,
            Outcome.UNDONE,
            marker=taken.marker,
            undoes=taken.undoes,
            undone_words=words,
            rejected=(*existing.rejected, *taken.rejected, *words),
        )

    def by_hand(self, deed: str, word: str) -> None:
        """A person adds a keyword, removes or respells one, or writes or empties a title."""
        standing = self.stands.get(fields.KEYWORDS, ())
        for tag in (fields.KEYWORDS, *([fields.IIM_KEYWORDS] if self.legacy else [])):
            there = self.stands.get(tag, ())
            assert isinstance(there, tuple)
            if deed == "add" and key(word) not in {key(one) for one in there}:
                self.stands[tag] = (*there, word)
            if deed == "respell":
                self.stands[tag] = tuple(one.upper() if one == word else one for one in there)
            if deed == "remove":
                self.stands[tag] = tuple(one for one in there if key(one) != key(word))
            if not self.stands.get(tag, ()):
                self.stands.pop(tag, None)
        match deed:
            case "add":
                self.theirs.add(key(word))
            case "respell" if word in standing:
                self.theirs.add(key(word))
            case "remove" if key(word) in self.theirs:
                self.theirs.remove(key(word))
            case "title":
                self.stands[fields.TITLE] = self.title = f"{word} by hand"
            case "untitle":
                self.stands.pop(fields.TITLE, None)
                self.title = None

    @property
    def keywords(self) -> list[str]:
        words = self.stands.get(fields.KEYWORDS, ())
        assert isinstance(words, tuple)
        return [key(word) for word in words]


WRITES = st.tuples(st.just("write"), OUR_WORDS, st.sampled_from(["A", "B", "C"]))
DEEDS = st.one_of(
    st.tuples(st.just("add"), THEIR_WORD),
    st.tuples(st.just("remove"), st.sampled_from(["dog", "sea", "Rose", "Oma"])),
    st.tuples(st.just("respell"), st.sampled_from(["dog", "sea"])),
    st.tuples(st.sampled_from(["title", "untitle"]), THEIR_WORD),
)
UNDOINGS = st.one_of(
    st.tuples(st.just("undo"), st.sets(st.integers(1, 9).map(str), min_size=1, max_size=3)),
    st.tuples(st.just("forget"), st.sampled_from(["dog", "sea"])),
)
BEGINNINGS = st.fixed_dictionaries(
    {},
    optional={
        fields.KEYWORDS: st.just(("Rose", "Ulm")),
        fields.HIERARCHICAL: st.just(("Places|Ulm",)),
        fields.TAGS_LIST: st.just(("Places/Ulm",)),
        fields.TITLE: st.just("Mine"),
        fields.METADATA_DATE: st.just("2020:01:01 00:00:00"),
    },
)


def told(beginning: dict[str, TagValue], legacy: bool, root: str, steps: list[tuple[Any, ...]]) -> Story:
    story = Story(legacy=legacy, root=root, stands=dict(beginning))
    if legacy:
        story.stands[fields.IIM_KEYWORDS] = ("Rose",)
        story.theirs.add("rose")
    story.theirs |= set(story.keywords)
    title = beginning.get(fields.TITLE)
    story.title = title if isinstance(title, str) else None
    for step in steps:
        match step:
            case ("write", words, title):
                standing = set(story.keywords)
                story.write(words, title)
                assert not story.removed & set(story.keywords) - standing, "a removed keyword came back"
            case ("undo", ids):
                story.undo(ids)
            case ("forget", word):
                story.undo({record.id for record in story.history}, (word,))
            case (deed, word):
                if deed == "remove" and key(word) in story.keywords and key(word) not in story.theirs:
                    story.removed.add(key(word))
                story.by_hand(deed, word)
        assert story.theirs <= set(story.keywords) | ({"rose"} if legacy else set()), "a person's is lost"
        if story.title is not None:
            assert story.stands.get(fields.TITLE) == story.title, "a person's title is lost"
        assert not story.removed & set(story.keywords), "a removed keyword came back"
    return story


@settings(max_examples=300, deadline=None)
@given(
    beginning=BEGINNINGS,
    legacy=st.booleans(),
    root=st.sampled_from(["", "AI"]),
    steps=st.lists(st.one_of(WRITES, WRITES, DEEDS, UNDOINGS), min_size=2, max_size=9),
)
def test_nothing_of_a_persons_is_lost_and_in_the_end_nothing_of_ours_is_left(
    beginning: dict[str, TagValue], legacy: bool, root: str, steps: list[tuple[Any, ...]]
) -> None:
    story = told(beginning, legacy, root, steps)
    story.undo({record.id for record in story.history})
    assert set(story.keywords) <= story.theirs
    assert story.theirs <= set(story.keywords) | ({"rose"} if legacy else set())
    assert story.stands.get(fields.TITLE) == story.title
    assert not [tag for tag in story.stands if tag in fields.MARKER]
    assert fields.DESCRIPTION not in story.stands
    assert fields.ALT_TEXT not in story.stands


@settings(max_examples=150, deadline=None)
@given(
    beginning=BEGINNINGS,
    legacy=st.booleans(),
    root=st.sampled_from(["", "AI"]),
    steps=st.lists(st.one_of(WRITES, UNDOINGS), min_size=1, max_size=6),
)
def test_where_no_person_did_anything_all_is_as_it_was(
    beginning: dict[str, TagValue], legacy: bool, root: str, steps: list[tuple[Any, ...]]
) -> None:
    story = told(beginning, legacy, root, steps)
    before = dict(beginning, **({fields.IIM_KEYWORDS: ("Rose",)} if legacy else {}))
    story.undo({record.id for record in story.history})
    if not any(step[0] == "forget" for step in steps):
        assert story.stands == before
    else:
        assert {tag: value for tag, value in story.stands.items() if tag in before} == before
