"""One schema for command line, environment and TOML, read once; each room gets its section.

The command line wins over the environment, the environment over the configuration file, and that over
`[tool.imageworks.personal_tagger]` of the nearest pyproject.toml.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Mode, Value
from tagger_daemon.options import ALIASES, OPPOSITES, WITHOUT_MEANING, BatchOptions, in_our_words

ENV_PREFIX = "IMAGEWORKS_PERSONAL_TAGGER__"
PYPROJECT_TABLE = ("tool", "imageworks", "personal_tagger")

CLOCK = r"^([01]\d|2[0-3]):[0-5]\d$"


class Section(BaseModel):
    """A part of the settings: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderSettings(Section):
    """One watch folder."""

    path: Path = Field(description="the folder to watch; absolute")
    recursive: bool = Field(True, description="watch the folders below it too")
    only: tuple[str, ...] = Field((), description="names of the only files to take there; [] for all photos")
    after: Path | None = Field(None, description="where finished photos are moved to; absolute")
    after_keep_folders: bool = Field(False, description="keep the folders below the watch folder there")
    prompt_profile: str | None = Field(
        None, min_length=1, description="the set of prompts for its photos; the general one if not given"
    )
    review: bool = Field(
        False, description="store proposals for its photos; `review` writes what a person accepts"
    )

    @field_validator("path", "after")
    @classmethod
    def _absolute(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        path = path.expanduser() if path else None
        if path and not path.is_absolute():
            what = "a watch folder" if info.field_name == "path" else "the folder for finished photos"
            raise ValueError(f"{what} must be given by its absolute path")
        return path

    @model_validator(mode="after")
    def _nothing_kept_without_after(self) -> FolderSettings:
        if self.after_keep_folders and self.after is None:
            raise ValueError("after_keep_folders says how `after` is filled, and there is no `after`")
        return self


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


TextTag = Literal[
    "Title", "Headline", "Description", "AltTextAccessibility", "ExtDescrAccessibility", "CaptionWriter"
]


class FieldsSettings(Section):
    """Which fields of a photo each stage's answer goes to."""

    caption: tuple[TextTag, ...] = Field(
        ("Title", "AltTextAccessibility"), description="where the caption goes; [] for no caption"
    )
    keywords: tuple[Literal["Subject"], ...] = Field(
        ("Subject",), description="where the keywords go; [] for none"
    )
    description: tuple[TextTag, ...] = Field(
        ("Description", "ExtDescrAccessibility"), description="where the description goes; [] for none"
    )

    @model_validator(mode="after")
    def _each_field_once(self) -> FieldsSettings:
        tags = [*self.caption, *self.keywords, *self.description]
        if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
            raise ValueError(f"{twice[0]} can take one answer only, and is given twice")
        if not tags:
            raise ValueError("nothing would be written: give at least one stage a field")
        if any(stage == ("CaptionWriter",) for stage in (self.caption, self.description)):
            raise ValueError("CaptionWriter names who wrote another field: give that one too")
        return self


class MetadataSettings(Section):
    """How metadata is written."""

    mode: Mode = Field(
        Mode.FILL,
        description="fill what is empty; or refresh our own words once models change; or propose only",
    )
    fields: FieldsSettings = FieldsSettings()
    keyword_root: str = Field(
        "", max_length=64, description="stand all our keywords below this one in hierarchies too"
    )
    ignore_keywords: tuple[str, ...] = Field(
        (), description="keywords of import presets, as shell patterns; a photo with only these is untagged"
    )
    sidecar_naming: Literal["adobe", "full"] = Field(
        "adobe", description="a raw's new sidecar: IMG_1.xmp as Lightroom's, or IMG_1.CR3.xmp"
    )

    exiftool: str = Field("exiftool", description="the exiftool to use, a name on PATH or a path")
    timeout_seconds: float = Field(60, gt=0, description="an exiftool call that takes longer is killed")
    preserve_mtime: bool = Field(False, description="keep the file's date; Lightroom may not notice")
    allow_hard_links: bool = Field(False, description="write to files that have more than one name")
    quiet_hours: float = Field(
        24, ge=0, le=8760, description="a photo that a photo program saved waits this long; 0: none waits"
    )
    lightroom_catalogs: tuple[Path, ...] = Field(
        (), description="catalogues or their folders; while one is open, its photos wait; absolute"
    )
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

    @field_validator("keyword_root")
    @classmethod
    def _one_level(cls, root: str) -> str:
        if any(mark in root for mark in "|/,;<>") or any(not letter.isprintable() for letter in root):
            raise ValueError("a keyword root is one keyword, without | / , ; < > and controls")
        return " ".join(root.split())

    @field_validator("lightroom_catalogs")
    @classmethod
    def _absolute(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        expanded = tuple(path.expanduser() for path in paths)
        if not all(path.is_absolute() for path in expanded):
            raise ValueError("a catalogue must be given by its absolute path")
        return expanded


class FallbackSettings(Section):
    """Which entries of the registry stand in, in order, while the one that has the role has no server."""

    caption: tuple[str, ...] = Field((), description="entries that write captions then; [] for none")
    keywords: tuple[str, ...] = Field((), description="entries that write keywords then; [] for none")
    description: tuple[str, ...] = Field((), description="entries that write descriptions then; [] for none")


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


class RemoteSettings(Section):
    """What the photos' owner agrees to: that photos of these folders are sent to this public server."""

    endpoint: str = Field(description="base URL of the server, as the registry has it")
    folders: tuple[Path, ...] = Field(
        min_length=1, description="watch folders, or folders below them, whose photos may be sent; absolute"
    )
    people: bool = Field(False, description="names of people may be told")
    places: bool = Field(False, description="names of places may be told")
    allow_unencrypted: bool = Field(False, description="key and photos may be sent over http, in clear")

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str) -> str:
        # What was given is not repeated: a key or a password could be part of it.
        if not endpoint.isascii() or not endpoint.isprintable() or "@" in endpoint or " " in endpoint:
            raise ValueError("an endpoint has no blanks, no foreign letters, and no user name or password")
        try:
            parts = urlsplit(endpoint)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("an endpoint is an http or https URL, as https://api.example.com/v1")
        if parts.query or parts.fragment:
            raise ValueError("an endpoint has no query and no fragment")
        return endpoint

    @field_validator("folders")
    @classmethod
    def _absolute(cls, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        expanded = tuple(folder.expanduser() for folder in folders)
        if not all(folder.is_absolute() for folder in expanded):
            raise ValueError("a folder must be given by its absolute path")
        if any(".." in folder.parts for folder in expanded):
            raise ValueError("a folder must be given without '..'")
        return expanded


class Settings(BatchOptions, BaseSettings):
    """Everything that can be set. Keys at the top level are the option names of the commands."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    folders: tuple[Folder, ...] = Field((), description="the watch folders")
    state_dir: Path = Field(description="queue, audit and summaries; a local disk")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least to be logged")

    registry: Path | None = Field(None, description="the model registry: a JSON file, or ImageWorks' folder")
    use_loader: bool = Field(True, description="start the servers that the registry says how to start")
    caption_role: str = Field("caption", min_length=1, description="registry role that writes captions")
    keyword_role: str = Field("keywords", min_length=1, description="registry role that writes keywords")
    description_role: str = Field("description", min_length=1, description="registry role for descriptions")
    prompt_profile: str = Field("default", min_length=1, description="the set of prompts")
    profiles_dir: Path | None = Field(None, description="a folder with prompt profiles of your own")
    max_keywords: int = Field(15, ge=1, le=64, description="keywords kept a photo")
    max_workers: int = Field(16, ge=1, le=512, description="photos that are asked about at once")
    batch_size: int = Field(16, ge=1, le=512, description="photos read and prepared ahead of them")
    overwrite_metadata: bool = Field(
        False, description="replace titles and descriptions of a person's too; the ledger keeps them"
    )
    backup_originals: bool = Field(
        False, description="keep each file in the state directory as it was before our first write"
    )
    hemisphere: Literal["north", "south", "unknown"] = Field(
        "north", description="tells the season of photos without a position"
    )

    remote: tuple[RemoteSettings, ...] = Field(
        (), description="servers outside the private network, and the folders whose photos they may be sent"
    )

    intake: IntakeSettings = IntakeSettings()
    image: ImageSettings = ImageSettings()
    metadata: MetadataSettings = MetadataSettings()
    fallbacks: FallbackSettings = FallbackSettings()
    queue: QueueSettings = QueueSettings()
    schedule: ScheduleSettings = ScheduleSettings()

    @field_validator("state_dir", "registry", "profiles_dir")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _no_folder_twice(self) -> Settings:
        # Whether one is read with another depends on names and disks: that is looked at before a start.
        seen: set[Path] = set()
        for folder in self.folders:
            if folder.path in seen:
                raise ValueError(f"folders: {folder.path} is already watched with {folder.path}")
            seen.add(folder.path)
        return self

    @model_validator(mode="after")
    def _no_way_back(self) -> Settings:
        if clash := way_back(self.folders):
            raise ValueError(clash)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take merged layers only: `load` keeps them apart, to say where each value came from."""
        return (init_settings,)


#: What the lists of tables at the top level are made of.
_TABLES: Mapping[int | str, type[Section]] = {"folders": FolderSettings, "remote": RemoteSettings}


def way_back(folders: Sequence[FolderSettings]) -> str | None:
    """Say which photos would be taken up again where they are moved to once they are finished; None: none.

    By the paths as they are given: whoever knows the links between them hands in what they lead to.
    """
    for folder in (folder for folder in folders if folder.after):
        after = folder.after
        assert after is not None
        above = (after, *after.parents)
        for watched in folders:
            # Its own folder also where it is not recursive: one day it may be.
            if watched.path == after or (watched.path in above and (watched.recursive or watched is folder)):
                return f"folders: 'after' of {folder.path}: {after} is watched itself, with {watched.path}"
            if after in watched.path.parents and (watched is folder or folder.after_keep_folders):
                return f"folders: 'after' of {folder.path}: {after} holds the watch folder {watched.path}"
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer(Value):
    """The values of one source."""

    name: str  # as a person knows it: a file, "the environment", "the command line"
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded(Value):
    """The effective settings and where each value came from."""

    settings: Settings
    origins: Mapping[str, str]  # dotted key -> name of the layer; keys left at their default are absent
    file: Path | None  # the configuration file that was read


def load(
    *,
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
    program: str = "tagger-daemon",
) -> Loaded:
    """Read every source and validate the outcome.

    Args:
        config: the file named on the command line; it must exist.
        overrides: values from the command line, nested like the schema.
        environ: the process environment; `os.environ` unless a test says otherwise. Values with our prefix
            are always taken from `os.environ`.
        start: where the search for a pyproject.toml begins; the current folder by default.
        program: whose state directory it is where none is set.

    Raises:
        ConfigurationError: names each bad key, where it stands, and the nearest right spelling.
    """
    environ = os.environ if environ is None else environ
    file = _configuration_file(config, environ)
    layers = [
        Layer(name="default", values={"state_dir": _default_state_dir(environ, program)}),
        *_pyproject_layer(start or Path.cwd()),
        *([_layer(str(file), _read_toml(file))] if file else []),
        _environment_layer(),
        Layer(name="the command line", values=overrides or {}),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        merged = _merge(merged, layer.values)
        origins |= dict.fromkeys(_dotted(layer.values), layer.name)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(problem, layers) for problem in error.errors())) from None
    return Loaded(settings=settings, origins=origins, file=file)


def _configuration_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is not None:
        if not config.is_file():
            raise ConfigurationError(f"the configuration file {config} does not exist")
        return config.absolute()
    home = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    candidates = (Path(home, "tagger-daemon", "config.toml"), Path("/etc/tagger-daemon/config.toml"))
    return next((path for path in candidates if path.is_file()), None)


def _default_state_dir(environ: Mapping[str, str], program: str) -> Path:
    # systemd hands over a colon-separated list; ours has one element.
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", program)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None


def _pyproject_layer(start: Path) -> list[Layer]:
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            table: Any = _read_toml(path)
            for key in PYPROJECT_TABLE:
                table = table.get(key, {}) if isinstance(table, dict) else {}
            return [_layer(f"[{'.'.join(PYPROJECT_TABLE)}] of {path}", table)] if table else []
    return []


def _environment_layer() -> Layer:
    try:
        values = EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise ConfigurationError(f"the environment: {error}") from None
    for name, value in os.environ.items():
        key = name.removeprefix(ENV_PREFIX).lower()
        if not name.startswith(ENV_PREFIX) or key.split("__")[0] in Settings.model_fields:
            continue
        if key not in {*ALIASES, *OPPOSITES, *WITHOUT_MEANING}:
            hint = _nearest(key, Settings.model_fields)
            raise ConfigurationError(f"{name} in the environment sets nothing that is known{hint}")
        values[key] = value
    return _layer("the environment", values)


def _layer(name: str, values: Mapping[str, Any]) -> Layer:
    return Layer(name=name, values=in_our_words(values, source=name))


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another; lists are replaced whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _explain(problem: ErrorDetails, layers: Sequence[Layer]) -> str:
    """Say in one line which key is wrong, where it stands, and what would be right."""
    location = problem["loc"]
    if not location:
        return problem["msg"].removeprefix("Value error, ")
    key = ".".join(str(part) for part in location)
    source = next((layer.name for layer in reversed(layers) if _has(layer.values, location)), "the settings")
    if problem["type"] == "extra_forbidden":
        hint = _nearest(str(location[-1]), _known_keys(location[:-1]))
        return f"{source}: there is no setting '{key}'{hint}"
    if problem["type"] == "missing":
        return f"{source}: '{key}' is missing"
    return f"{source}: '{key}': {problem['msg'].removeprefix('Value error, ')}"


def _has(values: Any, location: tuple[int | str, ...]) -> bool:
    """Tell whether a layer holds a value there, or the list or table that the bad value stands in."""
    for part in location:
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        else:
            return not isinstance(values, Mapping)
    return True


def _known_keys(location: tuple[int | str, ...]) -> Sequence[str]:
    section: type[BaseModel] = Settings
    for part in location:
        annotation = None if isinstance(part, int) else section.model_fields[part].annotation
        if section is Settings and part in _TABLES:
            section = _TABLES[part]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)


def _nearest(key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"
