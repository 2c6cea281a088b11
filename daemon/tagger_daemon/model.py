"""The values that travel between the rooms: frozen, keyword-only, one comment a field.

Nothing here reads a file, a clock or a setting. A value changes by making another (`evolve`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self


class Value:
    """What all travelling values share."""

    __slots__ = ()

    def evolve(self, **changes: Any) -> Self:
        """Return a copy with the named fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def plain(self) -> dict[str, Any]:
        """Return the fields by name, and in them the values as they are."""
        names = (one.name for one in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names}


def to_json(values: Any) -> str:
    """Write values as text; in paths, names that are not UTF-8 survive as escaped surrogates.

    Raises:
        TypeError: something in them is neither a value, a path, nor known to JSON.
    """
    return json.dumps(values, default=_plain)


def _plain(value: object) -> object:
    # `dataclasses.asdict` copies all there is, down to the last text: three times the work.
    if isinstance(value, Value):
        return value.plain()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class Stage(StrEnum):
    """One of the three prompts that a photo goes through, in this order."""

    CAPTION = "caption"
    KEYWORDS = "keywords"
    DESCRIPTION = "description"


class Mode(StrEnum):
    """What may be done to a photo that has words already."""

    FILL = "fill"  #: fill what is empty, add keywords; our own words of before stay
    REFRESH = "refresh"  #: as fill, and replace our own words that another model or prompt wrote
    PROPOSE = "propose"  #: write nothing; keep in the ledger what would be written


class JobState(StrEnum):
    """Where a photo stands in the backlog."""

    READY = "ready"  #: may be claimed now
    RUNNING = "running"  #: claimed under a lease
    WAITING = "waiting"  #: tried and put back; claimable from `due_at` on
    DONE = "done"  #: carries our words, or already carried all it needed
    FAILED = "failed"  #: given up, with the reason; `retry` or a changed file brings it back
    GONE = "gone"  #: no longer on disk


#: States of a photo that still has a way to go.
OPEN_STATES = (JobState.READY, JobState.RUNNING, JobState.WAITING)


class Outcome(StrEnum):
    """What became of a photo, once one journey is over."""

    WRITTEN = "written"  #: metadata was written and read back
    UNCHANGED = "unchanged"  #: what we would have written stood there already
    PROPOSED = "proposed"  #: what would be written is kept in the ledger; the file was not touched
    RECORDED = "recorded"  #: the models answered, which the audit tells; nothing is to be written
    UNDONE = "undone"  #: a person had our words taken back
    REFUSED = "refused"  #: a person refused all that was proposed; the file was not touched
    SKIPPED = "skipped"  #: already tagged, by a person or by us: no model was asked
    FAILED = "failed"  #: given up, see the reason


#: Ends on which a file was not touched, and would have been: the record's marker says what it would carry.
UNWRITTEN = frozenset({Outcome.PROPOSED, Outcome.RECORDED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint(Value):
    """What tells one content of a file from another without reading it."""

    size: int  # bytes
    mtime_ns: int  # modification time, nanoseconds since the epoch
    inode: int  # a replaced file has another one


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo(Value):
    """One picture file in a watch folder."""

    path: Path  # absolute; bytes that are not UTF-8 are carried as surrogates, as Path does
    folder: Path  # the watch folder that it was found under
    fingerprint: Fingerprint  # the content that was seen to be complete


#: Stands for the digest of a model whose server cannot tell what it serves.
UNVERIFIABLE = "unverifiable"

Identity = Mapping[
    str, str | None
]  # who gives an answer: entry, model, digest, profile, profile_hash, registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin(Value):
    """Who gave one answer: enough to ask the same again, nothing private."""

    entry: str  # name of the registry entry
    model: str  # as the server named it in its answer
    digest: (
        str | None
    )  # digest of the model's files, or `UNVERIFIABLE`; None in records of before this was kept
    registry: str  # sha256/16 of the registry file that resolved the role
    profile: str  # id of the prompt profile
    profile_hash: str  # sha256/16 of the profile's content
    endpoint: str  # base URL that answered; goes to the ledger and the audit, never into the photo
    prompt_tokens: int | None = None  # as the server counted them
    completion_tokens: int | None = None
    seconds: float = 0.0  # from request to usable answer, retries included
    attempts: int = 1  # requests that this answer took
    cached_tokens: int | None = None  # of the prompt's, how many the server had from before, if it says so
    fallback_for: str = ""  # the entry that should have answered; "" where this one should
    served: str = ""  # the name under which the model was asked for; "" in records of before this was kept
    backend: str = ""  # who serves it, as the registry says; "" in records of before this was kept

    @property
    def identity(self) -> Identity:
        """What a photo may tell about who described it: enough to ask again, no host and no path."""
        model = (self.served or self.model).replace("\\", "/")
        is_path = model.startswith(("/", "~", ".")) or model[1:3] == ":/"
        return {
            "entry": self.entry,
            "model": model.rpartition("/")[2] if is_path else model,
            "digest": self.digest or UNVERIFIABLE,
            "profile": self.profile,
            "profile_hash": self.profile_hash,
            "registry": self.registry,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Value):
    """What one stage was answered."""

    value: str | tuple[str, ...]  # the caption or description, or the keywords: judged, cleaned
    origin: Origin
    raw: str = ""  # what the model said, before it was cleaned: 20,000 characters at most, or it is no answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft(Value):
    """The answers so far. Saved after every stage, so that a restart resumes at the next one."""

    caption: str | None = None  # one sentence
    keywords: tuple[str, ...] | None = None  # cleaned, best first
    description: str | None = None  # a paragraph
    origins: Mapping[Stage, Origin] = field(default_factory=dict)  # one for each stage that is done
    raw: Mapping[Stage, str] = field(default_factory=dict)  # as in `Answer`; older drafts lack it

    def has(self, stage: Stage) -> bool:
        """Tell whether this stage's answer is there."""
        return getattr(self, stage.value) is not None

    def missing(self, wanted: Iterable[Stage]) -> tuple[Stage, ...]:
        """Return the stages of those wanted that are still to be asked, in order."""
        wanted = frozenset(wanted)
        return tuple(stage for stage in Stage if stage in wanted and not self.has(stage))

    def only(self, stages: Iterable[Stage]) -> Draft:
        """Return this draft with the answers to these stages alone."""
        chosen = frozenset(stages)
        kept = [stage for stage in Stage if stage in chosen and self.has(stage)]
        return Draft(
            **{stage.value: getattr(self, stage.value) for stage in kept},
            origins={stage: self.origins[stage] for stage in kept if stage in self.origins},
            raw={stage: self.raw[stage] for stage in kept if stage in self.raw},
        )

    def with_answer(self, stage: Stage, answer: Answer) -> Draft:
        """Return this draft with one more stage done."""
        return self.evolve(
            **{stage.value: answer.value},
            origins={**self.origins, stage: answer.origin},
            raw={**self.raw, stage: answer.raw},
        )

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Draft:
        """Return the draft that `to_json` wrote, read as JSON."""
        keywords = values.get("keywords")
        return cls(
            caption=values.get("caption"),
            keywords=None if keywords is None else tuple(keywords),
            description=values.get("description"),
            origins={Stage(stage): Origin(**origin) for stage, origin in values.get("origins", {}).items()},
            raw={Stage(stage): text for stage, text in values.get("raw", {}).items()},
        )

    def complete(self, wanted: Iterable[Stage]) -> Annotation:
        """Return the finished annotation.

        Raises:
            ValueError: one of the wanted stages is missing.
        """
        if missing := self.missing(wanted):
            raise ValueError(f"the draft lacks {', '.join(missing)}")
        return Annotation(
            caption=self.caption,
            keywords=self.keywords,
            description=self.description,
            origins=self.origins,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation(Value):
    """All the answers that were wanted, and where each came from; None where a stage was not asked."""

    caption: str | None
    keywords: tuple[str, ...] | None
    description: str | None
    origins: Mapping[Stage, Origin]
    by_hand: Draft = Draft()  # a person's words: texts in place of the models', keywords beside theirs
    refused: Draft = Draft()  # what a person refused of the models' answers: not written, never again


class Verdict(StrEnum):
    """What a person says of a part of a proposal."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"  #: accepted, in other words
    ADD = "add"  #: a keyword that no model named


class Part(StrEnum):
    """What of a proposal a decision is about; the more particular one counts more."""

    PHOTO = "photo"  #: all of it
    CAPTION = "caption"
    KEYWORDS = "keywords"  #: all of them
    DESCRIPTION = "description"
    KEYWORD = "keyword"  #: a single one


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision(Value):
    """What a person decided about one part of a proposal."""

    part: Part
    verdict: Verdict
    word: str = ""  # the keyword, as it was spelt; "" where it is not about a single one
    text: str = ""  # the person's text, for EDIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(Value):
    """One photo's row in the backlog, as claimed."""

    id: int
    photo: Photo
    state: JobState
    lease: str  # token; only its holder may save or finish
    generation: int  # counts the contents seen under this path; a newer one voids the work on an older
    attempts: int = 0  # failures charged to the photo itself
    draft: Draft = Draft()  # what earlier attempts already answered
    last_error: str | None = None  # in plain words


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture(Value):
    """The one image that every stage is shown."""

    jpeg: bytes  # baseline sRGB JPEG, upright, without metadata
    width: int  # pixels
    height: int  # pixels


Pictures = Mapping[int, Picture]  # one photo by the longer side, in pixels, that it was asked for in


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts(Value):
    """What is known about a photo without looking at it; each only where it can be trusted."""

    taken: str | None = None  # date and time of the exposure as clocks there showed it, ISO 8601 without zone
    latitude: float | None = None  # degrees, north positive; tells the season's hemisphere, never sent
    place: tuple[str, ...] = ()  # names already in the metadata: sublocation, city, state, country
    focal_length_35mm: float | None = None  # millimetres, as on full-frame film
    exposure_seconds: float | None = None
    f_number: float | None = None
    iso: int | None = None
    flash_fired: bool | None = None
    macro: bool | None = None  # the camera was focused in its macro range
    people: tuple[str, ...] = ()  # named by a person: PersonInImage, regions of faces
    keywords: tuple[str, ...] = ()  # a person's own, none of ours
    caption: str | None = None  # a person's own title or description, none of ours
    folders: tuple[str, ...] = ()  # names of those below the watch folder, the outermost first


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker(Value):
    """Our provenance marker, as found in a file or remembered: what we wrote there and with what."""

    schema_version: int
    tool_version: str
    written_at: str  # ISO 8601 with zone
    content_hash: str  # of the picture data without metadata
    fields: Mapping[str, str]  # tag name -> sha256/16 of the exact text that we wrote
    keywords: tuple[str, ...]  # those of the flat keywords that are ours, as written
    hierarchy: tuple[str, ...] = ()  # our entries among the hierarchical keywords, `|` between the levels
    tags: tuple[str, ...] = ()  # our entries in digiKam's list, `/` between the levels
    rejected: tuple[str, ...] = ()  # keywords and entries of ours that a person removed: never again
    models: Mapping[str, Identity] = field(default_factory=dict)  # stage -> who answered it

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Marker:
        """Return the marker that `to_json` wrote, read as JSON."""
        lists = ("keywords", "hierarchy", "tags", "rejected")
        return cls(**{**values, **{name: tuple(values[name]) for name in lists}})


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy(Value):
    """What may be written into photos, and who would be asked for it now."""

    mode: Mode = Mode.FILL
    overwrite: bool = False  # texts of a person's are replaced too, and kept in the ledger
    fields: Mapping[Stage, tuple[str, ...]] = field(default_factory=dict)  # stage -> names of its fields
    keyword_root: str = ""  # our keywords stand below this one in hierarchies; "" for none
    ignore_keywords: tuple[str, ...] = ()  # shell patterns of keywords that do not make a photo a tagged one
    current: Mapping[Stage, Identity] = field(default_factory=dict)  # who would answer each stage now
    instead: Outcome | None = None  # what a photo ends as that would be written; None: it is written

    @property
    def unwritten(self) -> Outcome | None:
        """What a photo ends as instead of being written; None: it is written."""
        return self.instead or (Outcome.PROPOSED if self.mode is Mode.PROPOSE else None)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages whose answers go anywhere, in order."""
        return tuple(stage for stage in Stage if self.fields.get(stage))


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory(Value):
    """What the ledger remembers of one picture, by its content: metadata edits and renames do not matter."""

    marker: Marker | None = None  # the one that we last wrote, or would have written
    places: frozenset[Path] = frozenset()  # names under which the photo was written, as they are now
    rejected: tuple[str, ...] = ()  # keywords that a person removed or refused
    undone_at: str | None = None  # when a person had our words taken back, if nothing was written since
    answers: Draft = Draft()  # the newest answers about this very picture
    refused_at: str | None = None  # when a person refused all that was proposed, if that still counts
    review: str = ""  # id of the proposal that a person has begun to decide about; "" for none

    @property
    def left_alone(self) -> bool:
        """Whether a person has said something that no journey may pass over."""
        return bool(self.undone_at or self.refused_at or self.review)


TagValue = str | tuple[str, ...]  # what stands in a tag: a text, or a list
NewValue = str | int | tuple[str, ...] | None  # what shall stand in a tag; None: it is removed


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueSign(Value):
    """What in one file tells that a photo program's catalogue holds this photo, and maybe edits of it."""

    file: str  # name of the photo, or of its sidecar
    what: str  # in plain words, as they follow the file's name
    saved_at: datetime | None  # the date of its metadata, without zone where it has none
    changed_at: datetime  # when the file itself was last written


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing(Value):
    """What file and sidecar say now."""

    photo: Photo
    source: Path  # where the next write goes: the photo, or its sidecar
    embedded: bool  # True: `source` is the photo itself
    source_fingerprint: Fingerprint | None  # None: the sidecar does not exist yet
    ours_alone: bool = False  # `source` is a sidecar in which nothing stands but tags that we may write
    source_marked: bool = False  # `source` itself carries our marker; another file may carry `marker`
    signs: tuple[CatalogueSign, ...] = ()  # of the photo and its sidecars, one for each file that has any
    stands: Mapping[str, TagValue] = field(default_factory=dict)  # tag -> what stands in `source` itself
    texts: Mapping[str, str] = field(default_factory=dict)  # field name -> text, wherever it stands
    keywords: tuple[str, ...] = ()  # flat, in the file's order
    hierarchical: tuple[str, ...] = ()  # full paths, `|` between the levels
    tags_list: tuple[str, ...] = ()  # digiKam's, full paths, `/` between the levels
    other_keywords: tuple[str, ...] = ()  # in stores of other programs that are never written to
    has_iptc: bool = False  # a legacy IIM block stands in the file and has to be kept in step
    iim_beyond_latin: frozenset[str] = (
        frozenset()
    )  # its tags with letters that it could not hold without UTF-8
    iim_disagrees: frozenset[str] = frozenset()  # its tags that count more than XMP's, and say something else
    rejected: tuple[str, ...] = ()  # keywords that are never to be proposed again
    marker: Marker | None = None
    facts: Facts = Facts()
    partner: Path | None = None  # the raw's JPEG or the JPEG's raw: one photo in two files
    content_hash: str | None = (
        None  # of the picture data; None: not worked out, for it means reading the file
    )
    notes: tuple[str, ...] = ()  # what a person should know, such as why a sidecar is used

    @property
    def title(self) -> str | None:
        """The title, in whichever tag it stands."""
        return self.texts.get("Title")

    @property
    def description(self) -> str | None:
        """The description, in whichever tag it stands."""
        return self.texts.get("Description")

    @property
    def alt_text(self) -> str | None:
        """The alternative text."""
        return self.texts.get("AltTextAccessibility")


@dataclass(frozen=True, kw_only=True, slots=True)
class TagWrite(Value):
    """One tag and its whole new value."""

    tag: str  # exiftool's name with group, from our own constants only
    value: NewValue
    before: TagValue | None = None  # what stood there; None: nothing did


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept(Value):
    """One thing that was deliberately left alone."""

    field: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WritePlan(Value):
    """Exactly what will be written where. Printable, testable, droppable."""

    existing: Existing  # what the plan was made against; if that changed meanwhile, the plan is void
    result: Existing  # what will stand there then
    writes: tuple[TagWrite, ...]  # empty: nothing to do
    kept: tuple[Kept, ...] = ()
    content_hash: str | None = None  # of the picture data
    removes: bool = False  # the target is a sidecar that was ours alone, and goes
    original: Path | None = None  # where the file is kept as it was, before it is replaced; None: nowhere

    @property
    def target(self) -> Path:
        """The file that will be replaced by its edited copy."""
        return self.existing.source


@dataclass(frozen=True, kw_only=True, slots=True)
class Written(Value):
    """What a plan's execution left on disk."""

    target: Path
    photo_fingerprint: Fingerprint  # of the photo, which may not have been touched
    content_hash: str  # of the picture data without metadata


@dataclass(frozen=True, kw_only=True, slots=True)
class Move(Value):
    """Files that belong together, on their way from one folder to another."""

    source: Path  # the folder that they leave
    target: Path  # the folder that they go to
    names: tuple[str, ...]  # in the order in which they arrive: sidecars first, pictures last


@dataclass(frozen=True, kw_only=True, slots=True)
class Record(Value):
    """What became of one photo: a row of the ledger and a line of the audit."""

    id: str  # unique for ever; ties ledger and audit together
    photo: Photo
    outcome: Outcome
    finished_at: str  # ISO 8601 with zone
    started_at: str = ""  # when the journey began, likewise; "" in records of before this was kept
    reason: str | None = None  # for skipped and failed, in plain words
    target: Path | None = None  # where it was written
    original: Path | None = None  # where that file is kept as it was before; None: it is not
    title: str | None = None  # what stands in the file now
    keywords: tuple[str, ...] = ()
    description: str | None = None
    before: Mapping[str, TagValue | None] = field(default_factory=dict)  # tag -> value it had
    after: Mapping[str, NewValue] = field(default_factory=dict)  # tag -> value we wrote; None: removed
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()
    origins: Mapping[Stage, Origin] = field(default_factory=dict)
    content_hash: str | None = None
    attempts: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)  # step -> seconds; the three stages included
    final_fingerprint: Fingerprint | None = None  # of the photo, once we were done with it
    run: str = ""  # which run of the program this was
    judged: str = ""  # by which mode, models and prompts the photo was measured; "" before this was kept
    created: bool = False  # the target did not exist before
    marker: Marker | None = None  # as it stands now, or would
    rejected: tuple[str, ...] = ()  # keywords that are never to be proposed again for this picture
    answers: Draft = Draft()  # what the models said
    undoes: tuple[str, ...] = ()  # ids of the records that were taken back
    undone_words: tuple[str, ...] = ()  # the keywords that were taken back; empty: all that the records wrote
    by_hand: tuple[str, ...] = ()  # keywords of a person's that were written with ours
    known: str = (
        ""  # of a proposal, what its photo said then in whichever file, hashed; "" before this was kept
    )
    proposal: str = ""  # id of the proposal that a person's review of made this of, or that is under review


def text_hash(text: str) -> str:
    """Return the first 16 hexadecimal digits of a text's SHA-256, by which our own words are known again."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
