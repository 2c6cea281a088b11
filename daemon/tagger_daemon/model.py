"""The values that travel between the rooms: frozen, keyword-only, one comment a field.

Nothing here reads a file, a clock or a setting. A value changes by making another (`evolve`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self


class Value:
    """What all travelling values share."""

    __slots__ = ()

    def evolve(self, **changes: Any) -> Self:
        """Return a copy with the named fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


class Stage(StrEnum):
    """One of the three prompts that a photo goes through, in this order."""

    CAPTION = "caption"
    KEYWORDS = "keywords"
    DESCRIPTION = "description"


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
    SKIPPED = "skipped"  #: already tagged, by a person or by us: no model was asked
    FAILED = "failed"  #: given up, see the reason


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin(Value):
    """Who gave one answer: enough to ask the same again, nothing private."""

    entry: str  # name of the registry entry
    model: str  # served model, as the server names it
    digest: str | None  # digest of the model's files where the registry knows one
    registry: str  # sha256/16 of the registry file that resolved the role
    profile: str  # id of the prompt profile
    profile_hash: str  # sha256/16 of the profile's content
    endpoint: str  # base URL that answered; goes to the ledger and the audit, never into the photo
    prompt_tokens: int | None = None  # as the server counted them
    completion_tokens: int | None = None
    seconds: float = 0.0  # from request to usable answer, retries included
    attempts: int = 1  # requests that this answer took


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft(Value):
    """The answers so far. Saved after every stage, so that a restart resumes at the next one."""

    caption: str | None = None  # one sentence
    keywords: tuple[str, ...] | None = None  # cleaned, best first
    description: str | None = None  # a paragraph
    origins: Mapping[Stage, Origin] = field(default_factory=dict)  # one for each stage that is done

    def has(self, stage: Stage) -> bool:
        """Tell whether this stage's answer is there."""
        return getattr(self, stage.value) is not None

    @property
    def missing(self) -> tuple[Stage, ...]:
        """The stages still to be asked, in order."""
        return tuple(stage for stage in Stage if not self.has(stage))

    def with_answer(self, stage: Stage, value: str | tuple[str, ...], origin: Origin) -> Draft:
        """Return this draft with one more stage done."""
        return self.evolve(**{stage.value: value}, origins={**self.origins, stage: origin})

    def complete(self) -> Annotation:
        """Return the finished annotation.

        Raises:
            ValueError: a stage is missing.
        """
        if self.caption is None or self.keywords is None or self.description is None:
            raise ValueError(f"the draft lacks {', '.join(self.missing)}")
        return Annotation(
            caption=self.caption,
            keywords=self.keywords,
            description=self.description,
            origins=self.origins,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation(Value):
    """The three answers, complete, and where each came from."""

    caption: str
    keywords: tuple[str, ...]
    description: str
    origins: Mapping[Stage, Origin]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts(Value):
    """What is known about a photo without looking at it; each only where it can be trusted."""

    taken: str | None = None  # local date and time of the exposure, ISO 8601 without zone
    latitude: float | None = None  # degrees, north positive; tells the season's hemisphere, never sent
    place: tuple[str, ...] = ()  # names already in the metadata: sublocation, city, state, country
    focal_length_35mm: float | None = None  # millimetres, as on full-frame film
    exposure_seconds: float | None = None
    f_number: float | None = None
    iso: int | None = None
    flash_fired: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker(Value):
    """Our provenance marker, as found in a file: what we wrote there and with what."""

    schema_version: int
    tool_version: str
    written_at: str  # ISO 8601 with zone
    content_hash: str  # of the picture data without metadata
    fields: Mapping[str, str]  # tag name -> sha256/16 of the exact text that we wrote
    keywords: tuple[str, ...]  # the keywords that we added, as written


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing(Value):
    """What file and sidecar say now."""

    photo: Photo
    source: Path  # where the properties below stand and the next write goes: the photo, or its sidecar
    embedded: bool  # True: `source` is the photo itself
    source_fingerprint: Fingerprint | None  # None: the sidecar does not exist yet
    title: str | None = None
    headline: str | None = None  # never written; agencies use it for the title
    description: str | None = None
    alt_text: str | None = None
    keywords: tuple[str, ...] = ()  # flat, in the file's order
    hierarchical: tuple[str, ...] = ()  # full paths, `|` between the levels
    has_iptc: bool = False  # a legacy IIM block stands in the file and has to be kept in step
    iptc_keywords: tuple[str, ...] = ()  # those of that block, as they are spelt there
    marker: Marker | None = None
    facts: Facts = Facts()
    notes: tuple[str, ...] = ()  # what a person should know, such as why a sidecar is used


@dataclass(frozen=True, kw_only=True, slots=True)
class TagWrite(Value):
    """One tag and its whole new value."""

    tag: str  # exiftool's name with group, from our own constants only
    value: str | int | tuple[str, ...]
    before: str | tuple[str, ...] | None = None  # what stood there; None: nothing did


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

    @property
    def target(self) -> Path:
        """The file that will be replaced by its edited copy."""
        return self.existing.source


@dataclass(frozen=True, kw_only=True, slots=True)
class Written(Value):
    """What a plan's execution left on disk."""

    target: Path
    target_fingerprint: Fingerprint
    photo_fingerprint: Fingerprint  # of the photo; equals the target's for embedded writes
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
    reason: str | None = None  # for skipped and failed, in plain words
    target: Path | None = None  # where it was written
    title: str | None = None  # what stands in the file now
    keywords: tuple[str, ...] = ()
    description: str | None = None
    before: Mapping[str, str | tuple[str, ...] | None] = field(default_factory=dict)  # tag -> value it had
    after: Mapping[str, str | int | tuple[str, ...]] = field(default_factory=dict)  # tag -> value we wrote
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()
    origins: Mapping[Stage, Origin] = field(default_factory=dict)
    content_hash: str | None = None
    attempts: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)  # step -> seconds; the three stages included
    final_fingerprint: Fingerprint | None = None  # of the photo, once we were done with it
