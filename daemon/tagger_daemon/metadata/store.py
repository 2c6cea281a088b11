"""The metadata room's front door: what a photo says, what it should say, and writing it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.apply import apply_plan, check_writable
from tagger_daemon.metadata.exiftool import ExifTool, path_argument
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.plan import make_plan
from tagger_daemon.metadata.read import read_existing
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.model import Annotation, Existing, Photo, WritePlan, Written
from tagger_daemon.settings import MetadataSettings


class MetadataStore:
    """Reads and writes photos' metadata. Its methods block; any thread may call them.

    Args:
        settings: how metadata is written.
        exiftool: the process that does it; started and closed by this store.
        tool_version: ours, for the provenance marker.
        now: the clock, with a time zone.
    """

    def __init__(
        self,
        settings: MetadataSettings,
        *,
        exiftool: ExifTool,
        tool_version: str,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._exiftool = exiftool
        self._tool_version = tool_version
        self._now = now
        self._version = (0, 0)

    def start(self) -> None:
        """Start exiftool and prove that it knows our marker.

        Raises:
            ConfigurationError: it is too old, or does not work.
        """
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
        """Make sure that words could be written, before any are asked for.

        Raises what `apply.check_writable` raises.
        """
        check_writable(existing, self._settings)

    def plan(self, existing: Existing, annotation: Annotation) -> WritePlan:
        """Return what is to be written, as `make_plan` does, with the photo's content hash and the time.

        Raises:
            PhotoGone: it is not there any more.
            PhotoUnreadable: the file is damaged.
        """
        return make_plan(
            existing,
            annotation,
            content_hash=content_hash(existing.photo.path),
            tool_version=self._tool_version,
            now=self._now().isoformat(timespec="seconds"),
        )

    def apply(self, plan: WritePlan) -> Written:
        """Carry out a plan; on any error the file is exactly as it was. Raises what `apply_plan` raises."""
        return apply_plan(self._exiftool, plan, self._settings)

    def _read(self, photo: Photo, refusal: str | None = None) -> Existing:
        return read_existing(
            self._exiftool,
            photo,
            version=self._version,
            ignore_captions=self._settings.ignore_captions,
            refusal=refusal,
        )
