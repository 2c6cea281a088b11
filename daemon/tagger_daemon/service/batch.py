"""One run over folders: what is given becomes the watch folders of a daemon that does them once.

A batch run keeps queue and ledger of its own, below the daemon's state directory: both programs may run at
the same time, and neither claims the other's photos. What each wrote the other knows by the photos' markers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tagger_daemon.errors import ConfigurationError, FolderUnavailable
from tagger_daemon.intake.eligible import Eligibility
from tagger_daemon.intake.scan import enters, scan
from tagger_daemon.model import Mode, Value
from tagger_daemon.service.outputs import check_outputs
from tagger_daemon.settings import FolderSettings, Loaded, Settings

#: Where queue and ledger of batch runs are, in the state directory.
STATE: Final = "batch"
#: Seconds that photos in flight get once the run is asked to end; asked a second time, it ends at once.
PATIENCE: Final = 600.0
#: Seconds until the first other try about a photo: nobody waits for a minute for the last one of a run.
BACKOFF: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Value):
    """A run that can begin."""

    settings: Settings  # the daemon's: the inputs as its folders
    output_jsonl: Path  # absolute
    summary: Path  # absolute

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The folders and photos that it is about."""
        return tuple(
            path
            for folder in self.settings.folders
            for path in ([folder.path / name for name in folder.only] or [folder.path])
        )

    @property
    def outputs(self) -> tuple[Path, Path]:
        """The files that a run writes, besides photos."""
        return self.output_jsonl, self.summary


def state_of(settings: Settings) -> Path:
    """Return where queue and ledger of batch runs are."""
    return settings.state_dir / STATE


def make_batch(loaded: Loaded, *, cwd: Path) -> Batch:
    """Say what a run consists of.

    Args:
        loaded: the settings, with the inputs among them.
        cwd: what relative paths are relative to.

    Raises:
        ConfigurationError: there is no input, one is not there or no photo, or settings do not go together.
    """
    given = loaded.settings
    eligibility = Eligibility(given.intake.ignore, extensions=given.image_exts)
    inputs = [_placed(cwd / path) for path in given.input_dirs]
    if not inputs:
        raise ConfigurationError(
            "nothing to describe is given: name folders or photos with --input-dir, or as input_dirs"
        )
    folders = distinct_folders(
        [_folder(path, eligibility, recursive=given.recursive) for path in inputs], eligibility
    )
    changes = {
        "folders": folders,
        "state_dir": state_of(given),
        "queue": given.queue.model_copy(
            update={"drain_seconds": PATIENCE}
            | ({} if "queue.backoff_seconds" in loaded.origins else {"backoff_seconds": BACKOFF})
        ),
    }
    if given.overwrite_metadata and given.metadata.mode is Mode.FILL:
        # Ours of before are not spared where a person's are not.
        changes["metadata"] = given.metadata.model_copy(update={"mode": Mode.REFRESH})
    try:
        settings = Settings(**{**{name: getattr(given, name) for name in Settings.model_fields}, **changes})
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        ) from None
    batch = Batch(
        settings=settings,
        output_jsonl=_placed(cwd / given.output_jsonl),
        summary=_placed(cwd / given.summary),
    )
    ours = (given.registry, given.profiles_dir, loaded.file, settings.state_dir)
    check_outputs(*batch.outputs, others=[path for path in ours if path])
    return batch


def _placed(path: Path) -> Path:
    """Return where an absolute path leads: `..` goes up from where a link leads to, as in a shell."""
    return Path(os.path.realpath(path)) if ".." in path.parts else path


def distinct_folders(
    folders: Iterable[FolderSettings], eligibility: Eligibility
) -> tuple[FolderSettings, ...]:
    """Return folders of which no two share a photo; single photos of one folder are joined.

    One that lies in another stays where that is not read down to it: below a hidden folder, on another disk.
    """
    by_place: dict[Path, FolderSettings] = {}
    for folder in folders:
        place = folder.path.resolve()
        by_place[place] = _joined(by_place[place], folder) if place in by_place else folder
    deep = {place for place, folder in by_place.items() if folder.recursive}
    return tuple(
        folder
        for place, folder in by_place.items()
        if not any(above in deep and enters(above, place, eligibility) for above in place.parents)
    )


def _joined(one: FolderSettings, other: FolderSettings) -> FolderSettings:
    """Return what both of one folder come to: all of it, unless both name photos."""
    if one.only and other.only:
        return one.model_copy(update={"only": tuple(dict.fromkeys((*one.only, *other.only)))})
    return other if one.only else one


def _folder(path: Path, eligibility: Eligibility, *, recursive: bool) -> FolderSettings:
    try:
        if path.is_dir():
            return FolderSettings(path=path, recursive=recursive)
        found = path.is_file()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be looked at: {error.strerror}") from error
    if not found:
        raise ConfigurationError(f"{path} is not there")
    if not eligibility.photo(path.name):
        raise ConfigurationError(f"{path} is no photo that is to be taken, by its name")
    return FolderSettings(path=path.parent, recursive=False, only=(path.name,))


def discover(settings: Settings, *, report: Callable[[str], None]) -> Mapping[Path, int]:
    """Count the photos of each folder; nothing is opened.

    Args:
        settings: of a batch.
        report: is told, one sentence each, which parts could not be read and why.

    Raises:
        ConfigurationError: a folder cannot be read.
    """
    eligibility = Eligibility(settings.intake.ignore, extensions=settings.image_exts)
    counts = {}
    for folder in settings.folders:
        try:
            counts[folder.path] = sum(1 for _ in scan(folder, eligibility, report=report))
        except FolderUnavailable as error:
            raise ConfigurationError(str(error).replace("the watch folder ", "")) from error
    return counts
