"""The metadata room's front door: what a photo says, what it should say, and writing it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.apply import apply_plan, check_writable
from tagger_daemon.metadata.catalogues import why_in_use
from tagger_daemon.metadata.exiftool import ExifTool, path_argument
from tagger_daemon.metadata.fields import IIM_DIGEST
from tagger_daemon.metadata.originals import place_of, sweep_copies
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.plan import make_plan, make_undo_plan
from tagger_daemon.metadata.quiet import check_quiet
from tagger_daemon.metadata.read import identity, read_existing, read_target
from tagger_daemon.metadata.readings import Readings
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.undo import TakenBack, take_back
from tagger_daemon.model import Annotation, Existing, Outcome, Photo, Policy, Record, WritePlan, Written
from tagger_daemon.settings import MetadataSettings


class MetadataStore:
    """Reads and writes photos' metadata. Its methods block; any thread may call them.

    Args:
        settings: how metadata is written.
        exiftool: the process that does it; started and closed by this store.
        tool_version: ours, for the provenance marker.
        now: the clock, with a time zone.
        originals: the folder in which files are kept as they were before our first write; None: they are not.
    """

    def __init__(
        self,
        settings: MetadataSettings,
        *,
        exiftool: ExifTool,
        tool_version: str,
        now: Callable[[], datetime],
        originals: Path | None = None,
    ) -> None:
        self._settings = settings
        self._exiftool = exiftool
        self._tool_version = tool_version
        self._now = now
        self._originals = originals
        self._version = (0, 0)
        self._readings = Readings()

    def start(self, *, alone: bool = True) -> None:
        """Start exiftool and prove that it knows our marker.

        `alone`: nobody else keeps originals now, so that unfinished ones were left by one that died.

        Raises:
            ConfigurationError: it is too old, or does not work.
        """
        if self._originals is not None and alone:
            sweep_copies(self._originals)
        self._exiftool.run()
        self._version = self._exiftool.version()
        with (
            self._exiftool.private_file(EMPTY, ".xmp") as probe,
            self._exiftool.values_file({fields.MARKER_SCHEMA: fields.SCHEMA_VERSION}) as values,
        ):
            answer = self._exiftool.ask(values, "-overwrite_original_in_place", path_argument(probe))
            if answer.status != 0 or b"tagger:SchemaVersion" not in probe.read_bytes():
                raise ConfigurationError("exiftool does not take its configuration; reinstall tagger-daemon")

    def close(self) -> None:
        """Stop exiftool."""
        self._exiftool.close()

    def read(self, photo: Photo) -> Existing:
        """Return what file and sidecar say now.

        Raises:
            PhotoGone: it is not there any more.
            PhotoUnreadable: the file is damaged, and how.
            PhotoUnsupported: nothing is known about this kind of file.
            WriteRefused: its name, its sidecar, or packed metadata rules out a safe write.
            ExiftoolDied: exiftool died or hung.
        """
        return self._read(photo)

    def read_beside(self, photo: Photo, refusal: str) -> Existing:
        """Do as `read`, for a photo that exiftool does not write into: the next write goes beside it.

        `refusal` is exiftool's reason, for the notes. Raises what `read` raises.
        """
        return self._read(photo, refusal)

    def check_writable(self, existing: Existing) -> None:
        """Make sure that words could be written now, before any are asked for.

        Raises:
            PhotoHeld: a photo program may hold edits of the photo that no file has.

        And what `apply.check_writable` raises.
        """
        self._check_quiet(existing)
        check_writable(existing, self._settings)

    def content_hash(self, photo: Photo) -> str:
        """Return the hash of a photo's picture data: what it is, whatever its name and its metadata.

        Raises:
            PhotoGone: it is not there any more.
            PhotoUnreadable: the file is damaged.
        """
        return content_hash(photo.path)

    def plan(self, existing: Existing, annotation: Annotation, policy: Policy) -> WritePlan:
        """Return what is to be written, as `make_plan` does, with the photo's content hash and the time.

        Raises what `content_hash` raises.
        """
        content = existing.content_hash or self.content_hash(existing.photo)
        plan = make_plan(
            existing,
            annotation,
            policy,
            content_hash=content,
            tool_version=self._tool_version,
            now=self._now().isoformat(timespec="seconds"),
        )
        if self._originals is None:
            return plan
        return plan.evolve(original=place_of(self._originals, plan, content))

    def read_written(self, photo: Photo, target: Path) -> Existing:
        """Return what stands in a file that we wrote for a photo; a sidecar that is not there holds nothing.

        Raises what `read_target` raises.
        """
        if target != photo.path and not os.path.lexists(target):
            return Existing(photo=photo, source=target, embedded=False, source_fingerprint=None)
        return read_target(self._exiftool, photo, target)

    def plan_undo(
        self, existing: Existing, history: Sequence[Record], chosen: Collection[str], words: Sequence[str]
    ) -> tuple[WritePlan, TakenBack]:
        """Return how writes into a file are taken back, and what that comes to.

        Args:
            existing: what stands there, by `read_written`.
            history: all that was written into it and taken back from it, oldest first.
            chosen: ids of the writes that are taken back.
            words: only these keywords; empty: everything.
        """
        now = self._now().isoformat(timespec="seconds")
        taken = take_back(history, chosen, words=words, stands=existing.stands, now=now)
        return make_undo_plan(existing, taken), taken

    def carries(self, record: Record) -> bool:
        """Tell whether a write that was intended has taken place: its values stand in its target.

        Raises what `read_target` raises.
        """
        target = record.target or record.photo.path
        photo = record.photo.evolve(fingerprint=identity(record.photo.path))
        if not target.exists():
            return record.outcome is Outcome.UNDONE  # which removes a sidecar that was ours alone
        existing = read_target(self._exiftool, photo, target)
        wanted = {tag: value for tag, value in record.after.items() if tag != IIM_DIGEST}
        return all(
            existing.stands.get(tag) == (str(value) if isinstance(value, int) else value)
            for tag, value in wanted.items()
        )

    def apply(self, plan: WritePlan) -> Written:
        """Carry out a plan; on any error the file is exactly as it was.

        Raises:
            PhotoHeld: a photo program may hold edits of the photo that no file has.

        And what `apply_plan` raises.
        """
        if plan.writes:
            self._check_quiet(plan.existing)  # again: the models took their time
        return apply_plan(self._exiftool, plan, self._settings, self._readings)

    def _check_quiet(self, existing: Existing) -> None:
        if existing.signs and self._settings.quiet_hours:
            check_quiet(
                existing,
                now=self._now(),
                quiet_hours=self._settings.quiet_hours,
                in_use=why_in_use(self._settings.lightroom_catalogs),
            )

    def _read(self, photo: Photo, refusal: str | None = None) -> Existing:
        return read_existing(
            self._exiftool,
            photo,
            version=self._version,
            readings=self._readings,
            ignore_captions=self._settings.ignore_captions,
            full_names=self._settings.sidecar_naming == "full",
            refusal=refusal,
        )
