"""Where a photo's metadata goes: into the file or beside it, and under which name.

Pure: the names in the photo's folder are an argument. The table follows Lightroom Classic's rules.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
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

JPEG = frozenset({"jpg", "jpeg", "jpe"})
HEIF = frozenset({"heic", "heif", "hif"})
DNG = frozenset({"dng"})
ONE_EXPOSURE = (RAW, DNG, HEIF, JPEG)  # what cameras write of it side by side, in the order of their weight

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


def is_rendered(path: Path) -> bool:
    """Tell whether a file of this name is a finished picture, as exports are: no raw, DNG or sidecar."""
    return extension(path) in EMBEDDED | MODERN and extension(path) != "dng"


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


def temp_token(path: Path, digits: str) -> str:
    """Return a token for `temp_name` by which `is_temp_of` knows whose copy it is, however long the name.

    Args:
        path: the file that is copied.
        digits: six random hexadecimal digits.
    """
    return f"{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:6]}{digits}"


def is_temp_of(path: Path, name: str) -> bool:
    """Tell whether a name is that of a copy of this very file, left by a write that never came to its end."""
    start = temp_name(path, "").removesuffix(path.suffix)
    whole = path.name in start  # else the name was cut, and others may begin like it
    return is_our_temp(name) and name.startswith(start if whole else start + temp_token(path, ""))


def near(path: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of a folder's names that can matter to a photo: all that begin with its stem, case aside.

    A folder may hold tens of thousands, which are too many to be looked at more closely for every photo.
    """
    stem = path.stem.casefold()
    return tuple(name for name in names if name.casefold().startswith(stem))


def sidecar_names(path: Path, siblings: Collection[str]) -> tuple[str, ...]:
    """Return the names in the folder that may be this photo's sidecar, Lightroom's naming first.

    That of a raw is only the raw's, whatever stands in it.
    """
    wanted = (f"{path.stem}.xmp", f"{path.name}.xmp")
    by_name = {name.casefold(): name for name in sorted(siblings, reverse=True)}
    exact = {name for name in siblings if name in wanted}
    found = []
    for name in wanted:
        match = name if name in exact else by_name.get(name.casefold())
        if match is not None:
            found.append(match)
    return tuple(name for name in found if extension(path) in RAW or not _is_raws(path, name, siblings))


def partner_of(path: Path, siblings: Collection[str]) -> Path | None:
    """Return the other half of a raw and a picture that the camera made of one exposure.

    Args:
        path: the photo.
        siblings: all file names in its folder, or those of them that are `near` it.

    Returns:
        A raw's JPEG of the same stem, case aside, else its HEIF; a JPEG's or a HEIF's raw, else its DNG; None
        where there is none, and for all other kinds.
    """
    kind = extension(path)
    wanted = (JPEG, HEIF) if kind in RAW | DNG else (RAW, DNG) if kind in JPEG | HEIF else ()
    beside = _same_stem(path, siblings)
    found = (name for kinds in wanted for name in beside if extension(Path(name)) in kinds)
    return next((path.with_name(name) for name in found), None)


def companions(path: Path, siblings: Collection[str]) -> tuple[str, ...]:
    """Return the names of all that is one photo with this one, itself among them: raws first, JPEGs last.

    Raws of one stem share a sidecar, so they are not told apart. Pictures without a raw stand alone.
    """
    beside = (path.name, *(name for name in _same_stem(path, siblings) if name != path.name))
    by_kind = [[name for name in beside if extension(Path(name)) in kinds] for kinds in ONE_EXPOSURE]
    together = tuple(name for names in by_kind for name in names)
    return together if path.name in together and (by_kind[0] or by_kind[1]) else (path.name,)


def belongings(
    path: Path, siblings: Collection[str], owners: Mapping[str, str], *, staying: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the names that go where a photo goes, in order: sidecars, then raws, then HEIF and JPEG.

    Args:
        path: the photo.
        siblings: all file names in its folder, or those of them that are `near` it.
        owners: as for `place_for`.
        staying: companions that do not come along. Neither do sidecars that are theirs or another photo's of
            the same stem, unless a raw that goes has its words there.
    """
    going = [name for name in companions(path, siblings) if name not in staying]
    left = [name for name in _same_stem(path, siblings) if name not in going and is_supported(Path(name))]
    theirs = {sidecar for name in left for sidecar in _own_sidecars(path.with_name(name), siblings, owners)}
    sidecars: dict[str, None] = {}
    for name in going:
        own = _own_sidecars(path.with_name(name), siblings, owners)
        is_raw = extension(Path(name)) in RAW
        sidecars |= dict.fromkeys(sidecar for sidecar in own if is_raw or sidecar not in theirs)
    return (*sidecars, *going)


def place_for(
    path: Path,
    siblings: Collection[str],
    owners: Mapping[str, str],
    *,
    exiftool_version: tuple[int, int],
    full_names: bool = False,
    refusal: str | None = None,
    signed: bool = False,
) -> Place:
    """Decide where a photo's metadata goes.

    Args:
        path: the photo.
        siblings: all file names in its folder, or those of them that are `near` it.
        owners: sidecar name -> extension that it says it belongs to (`photoshop:SidecarForExtension`).
        exiftool_version: what can safely be written depends on it.
        full_names: a raw's new sidecar keeps the extension in its name, as darktable and digiKam have it.
        refusal: why exiftool does not write into this very file; None: nothing of that kind is known.
        signed: content credentials stand in it, which any change would break.

    Raises:
        PhotoUnsupported: nothing is known about this kind of file.
    """
    kind = extension(path)
    if not is_supported(path):
        raise PhotoUnsupported(f"{path.name} is not a kind of picture that can be tagged")
    own = _own_sidecars(path, siblings, owners)
    if kind in RAW:
        return _place_raw(path, sidecar_names(path, siblings), own, full_names=full_names)
    beside = _place_beside(path, own, siblings, owners)
    if signed or refusal is not None:
        why = (
            "words inside would break this file's content credentials (C2PA)"
            if signed
            else f"this file is not written into ({refusal})"
        )
        note = (
            f"{why}; the words stand in {beside.target.name} beside it, "
            "which Lightroom does not read for this type"
        )
        return beside.evolve(note=note)
    if kind in MODERN and exiftool_version < MODERN_SINCE:
        wanted = ".".join(map(str, MODERN_SINCE))
        note = f"its words go to {beside.target.name}: writing into {kind} files needs exiftool {wanted}"
        return beside.evolve(note=note)
    return Place(embedded=True, target=path, sidecars=tuple(map(path.with_name, own)))


def _place_raw(path: Path, candidates: tuple[str, ...], own: tuple[str, ...], *, full_names: bool) -> Place:
    if own:
        note = f"two sidecars stand beside it; {own[0]} is the one written to" if len(own) > 1 else None
        sidecars = tuple(path.with_name(name) for name in own)
        return Place(embedded=False, target=sidecars[0], sidecars=sidecars, note=note)
    if candidates:
        target = path.with_name(f"{path.name}.xmp")
        note = f"{candidates[0]} belongs to another photo, so its words go to {target.name}"
        return Place(embedded=False, target=target, sidecars=(), note=note)
    target = path.with_name(f"{path.name}.xmp") if full_names else path.with_suffix(".xmp")
    return Place(embedded=False, target=target, sidecars=())


def _place_beside(
    path: Path, own: tuple[str, ...], siblings: Collection[str], owners: Mapping[str, str]
) -> Place:
    """Place the words of a picture that is not written into.

    Its sidecar is used again in either naming. A new one gets its full name, which no other photo has; so it
    does, too, beside one of the base name that may just as well be another photo's.
    """
    full = tuple(name for name in own if _bears_full_name(path, name))
    others = tuple(name for name in own if name not in full)
    alone = not any(_shares_stem(path, name) for name in siblings)
    usable = full + tuple(
        name for name in others if alone or owners.get(name, "").casefold() == extension(path)
    )
    target = path.with_name(usable[0] if usable else f"{path.name}.xmp")
    return Place(embedded=False, target=target, sidecars=tuple(map(path.with_name, full + others)))


def _own_sidecars(path: Path, siblings: Collection[str], owners: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of the possible sidecars that are no other photo's."""
    candidates = sidecar_names(path, siblings)
    own = tuple(name for name in candidates if not _owner_beside(path, name, siblings, owners))
    if extension(path) in RAW:
        return own
    return tuple(name for name in own if not _is_raws(path, name, siblings))


def _same_stem(path: Path, siblings: Collection[str]) -> list[str]:
    """Return the names with this stem, case aside; those that spell it alike first."""
    stem = path.stem.casefold()
    names = [name for name in near(path, siblings) if Path(name).stem.casefold() == stem]
    return sorted(names, key=lambda name: (Path(name).stem != path.stem, name))


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


def _shares_stem(path: Path, name: str) -> bool:
    """Tell whether a name is that of another photo with the same base name."""
    other = Path(name)
    return name != path.name and other.stem.casefold() == path.stem.casefold() and is_supported(other)


def _bears_full_name(path: Path, sidecar: str) -> bool:
    """Tell whether the sidecar is named for this very file, extension included."""
    return sidecar.casefold() == f"{path.name}.xmp".casefold()
