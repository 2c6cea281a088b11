"""One schema for command line, environment and TOML, read once; each room gets its section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

CLOCK = r"^([01]\d|2[0-3]):[0-5]\d$"


class Section(BaseModel):
    """A part of the settings: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderSettings(Section):
    """One watch folder."""

    path: Path = Field(description="the folder to watch; absolute")
    recursive: bool = Field(True, description="watch the folders below it too")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        path = path.expanduser()
        if not path.is_absolute():
            raise ValueError("a watch folder must be given by its absolute path")
        return path


def _folder_from_text(value: Any) -> Any:
    """Let a folder be written as plain text where nothing but its path matters."""
    return {"path": value} if isinstance(value, str | Path) else value


Folder = Annotated[FolderSettings, BeforeValidator(_folder_from_text)]


class IntakeSettings(Section):
    """When is a file a photo of ours, and when has it stopped changing?"""

    settle_seconds: float = Field(10, ge=0, le=3600, description="how long a file must be still to be taken")
    ignore: tuple[str, ...] = Field((), description="more names never to take, as shell patterns")
    rescan_minutes: float = Field(60, gt=0, description="how often folders are re-read for missed events")


class ImageSettings(Section):
    """The one picture that the models are shown."""

    long_edge: int = Field(1024, ge=64, le=4096, description="longer side of the picture sent, pixels")
    quality: int = Field(85, ge=40, le=95, description="JPEG quality of the picture sent")
    workers: int = Field(2, ge=1, le=64, description="processes that decode photos")
    max_megapixels: float = Field(400, gt=0, description="a photo with more is refused before decoding")
    timeout_seconds: float = Field(120, gt=0, description="a decode that takes longer is killed")
    memory_megabytes: int = Field(4096, ge=256, description="address space of one decoding process")


class VisionSettings(Section):
    """Which models are asked, and how patiently."""

    registry: Path | None = Field(None, description="the model registry, a JSON file")
    caption_role: str = Field("caption", description="registry role that writes the caption")
    keyword_role: str = Field("keywords", description="registry role that writes the keywords")
    description_role: str = Field("description", description="registry role that writes the description")
    prompt_profile: str = Field("default", description="the set of prompts")
    max_keywords: int = Field(15, ge=1, le=64, description="keywords kept a photo")
    max_workers: int = Field(16, ge=1, le=512, description="photos in flight at once")
    image: ImageSettings = Field(default_factory=ImageSettings)


class MetadataSettings(Section):
    """How metadata is written."""

    exiftool: str = Field("exiftool", description="the exiftool to use, a name on PATH or a path")
    timeout_seconds: float = Field(60, gt=0, description="an exiftool call that takes longer is killed")
    preserve_mtime: bool = Field(False, description="keep the file's date; Lightroom may not notice")
    allow_hard_links: bool = Field(False, description="write to files that have more than one name")
    ignore_captions: tuple[str, ...] = Field(
        (
            "OLYMPUS DIGITAL CAMERA",
            "SONY DSC",
            "KONICA MINOLTA DIGITAL CAMERA",
            "MINOLTA DIGITAL CAMERA",
            "SAMSUNG",
            "SAMSUNG CAMERA PICTURES",
            "DIGITAL CAMERA",
            "Exif_JPEG_PICTURE",
            "<KENOX S",
            "DCIM\\*",
            "default",
        ),
        description="captions that cameras write by themselves, as shell patterns; not a person's words",
    )


class QueueSettings(Section):
    """The backlog's promises."""

    lease_seconds: float = Field(300, ge=5, description="a claim not renewed this long may be taken over")
    max_attempts: int = Field(4, ge=1, le=100, description="failures before a photo is given up")
    backoff_seconds: float = Field(
        60, ge=0, description="wait after a first failure; each next is four times longer"
    )
    drain_seconds: float = Field(10, ge=0, le=600, description="time that work in flight gets at shutdown")


class ScheduleSettings(Section):
    """What happens by the clock, in local time."""

    summary_at: str = Field("23:55", pattern=CLOCK, description="making of the day's page")
    catch_up_at: str = Field("03:30", pattern=CLOCK, description="re-reading of every folder")


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
