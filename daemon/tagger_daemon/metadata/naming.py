"""Where a photo's metadata goes: into the file or beside it, and under which name.

Pure: the names in the photo's folder are an argument. The table follows Lightroom Classic's rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tagger_daemon.errors import PhotoUnsupported
from tagger_daemon.model import Value

EMBEDDED = frozenset({"jpg", "jpeg", "jpe", "tif", "tiff", "psd", "psb", "png", "dng"})
MODERN = frozenset({"heic", "heif", "hif", "avif", "webp", "jxl"})
MODERN_SINCE = (13, 25)  # older versions damage some of these files, see exiftool's own list of changes
RAW = frozenset(
    {
        *("3fr", "ari", "arw", "bay", "cap", "cr2", "cr3", "crw", "dcr", "dcs", "erf", "fff", "iiq", "k25"),
        *("kdc", "mdc", "mef", "mos", "mrw", "nef", "nrw", "orf", "pef", "ptx", "raf", "raw", "rw2", "rwl"),
        *("rwz", "sr2", "srf", "srw", "x3f"),
    }
)  # proprietary: never written into, although exiftool could for some

TEMP_PATTERN = re.compile(r"\..*\.tagger-[0-9a-f]{12}(\.[^.]+)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place(Value):
    """Where one photo's metadata goes, and where else it may stand."""

    embedded: bool  # True: `target` is the photo itself
    target: Path
    sidecars: tuple[Path, ...]  # all that stand beside the photo and are its own, the target's first
    note: str | None = None  # what a person should know about the choice


def is_supported(path: Path) -> bool:
    """Tell whether metadata can be kept for files of this name."""
    return extension(path) in EMBEDDED | MODERN | RAW


def extension(path: Path) -> str:
    """Return the extension in lower case, without its dot."""
    return path.suffix[1:].lower()


def temp_name(path: Path, token: str) -> str:
    """Return the name of the edited copy on its way to replace `path`.

    Args:
        token: twelve random hexadecimal digits.
    """
    name = path.name[:40].replace("%", "_")  # cut: 255 bytes is the most; exiftool expands % in output names
    return f".{name}.tagger-{token}{path.suffix}"


def is_our_temp(name: str) -> bool:
    """Tell whether a file name is one of ours, left by a write that never came to its end."""
    return TEMP_PATTERN.fullmatch(name) is not None


def sidecar_names(path: Path, siblings: Collection[str]) -> tuple[str, ...]:
    """Return the names in the folder that may be this photo's sidecar, Lightroom's naming first."""
    wanted = (f"{path.stem}.xmp", f"{path.name}.xmp")
    by_name = {name.casefold(): name for name in sorted(siblings, reverse=True)}
    exact = {name for name in siblings if name in wanted}
    found = []
    for name in wanted:
        match = name if name in exact else by_name.get(name.casefold())
        if match is not None:
            found.append(match)
    return tuple(found)


def place_for(
    path: Path,
    siblings: Collection[str],
    owners: Mapping[str, str],
    *,
    exiftool_version: tuple[int, int],
    refusal: str | None = None,
) -> Place:
    """Decide where a photo's metadata goes.

    Args:
        path: the photo.
        siblings: all file names in its folder.
        owners: sidecar name -> extension that it says it belongs to (`photoshop:SidecarForExtension`).
        exiftool_version: what can safely be written depends on it.
        refusal: why exiftool does not write into this very file; None: nothing of that kind is known.

    Raises:
        PhotoUnsupported: nothing is known about this kind of file.
    """
    kind = extension(path)
    if not is_supported(path):
        raise PhotoUnsupported(f"{path.name} is not a kind of picture that can be tagged")
    candidates = sidecar_names(path, siblings)
    own = tuple(name for name in candidates if not _owner_beside(path, name, siblings, owners))
    if kind in RAW:
        return _place_raw(path, candidates, own)
    own = tuple(name for name in own if not _is_raws(path, name, siblings))
    beside = _place_beside(path, own)
    if refusal is not None:
        note = (
            f"this file is not written into ({refusal}); the words stand in {beside.target.name} "
            "beside it, which Lightroom does not read for this type"
        )
        return beside.evolve(note=note)
    if kind in MODERN and exiftool_version < MODERN_SINCE:
        wanted = ".".join(map(str, MODERN_SINCE))
        note = f"its words go to {beside.target.name}: writing into {kind} files needs exiftool {wanted}"
        return beside.evolve(note=note)
    return Place(embedded=True, target=path, sidecars=tuple(map(path.with_name, own)))


def _place_raw(path: Path, candidates: tuple[str, ...], own: tuple[str, ...]) -> Place:
    if own:
        note = f"two sidecars stand beside it; {own[0]} is the one written to" if len(own) > 1 else None
        sidecars = tuple(path.with_name(name) for name in own)
        return Place(embedded=False, target=sidecars[0], sidecars=sidecars, note=note)
    if candidates:
        target = path.with_name(f"{path.name}.xmp")
        note = f"{candidates[0]} belongs to another photo, so its words go to {target.name}"
        return Place(embedded=False, target=target, sidecars=(), note=note)
    return Place(embedded=False, target=path.with_suffix(".xmp"), sidecars=())


def _place_beside(path: Path, own: tuple[str, ...]) -> Place:
    """Place the words of a picture that is not written into under its full name, which no other photo has."""
    full = tuple(name for name in own if _bears_full_name(path, name))
    others = tuple(name for name in own if name not in full)
    target = path.with_name(full[0] if full else f"{path.name}.xmp")
    return Place(embedded=False, target=target, sidecars=tuple(map(path.with_name, full + others)))


def _owner_beside(path: Path, sidecar: str, siblings: Collection[str], owners: Mapping[str, str]) -> bool:
    """Tell whether the sidecar says that it belongs to another photo, and that photo is there."""
    owner = owners.get(sidecar, "").casefold()
    if not owner or owner == extension(path) or _bears_full_name(path, sidecar):
        return False
    return f"{path.stem}.{owner}".casefold() in {name.casefold() for name in siblings}


def _is_raws(path: Path, sidecar: str, siblings: Collection[str]) -> bool:
    """Tell whether the sidecar is that of a raw with the same base name."""
    if _bears_full_name(path, sidecar):
        return False
    stem = path.stem.casefold()
    return any(extension(Path(name)) in RAW and Path(name).stem.casefold() == stem for name in siblings)


def _bears_full_name(path: Path, sidecar: str) -> bool:
    """Tell whether the sidecar is named for this very file, extension included."""
    return sidecar.casefold() == f"{path.name}.xmp".casefold()
