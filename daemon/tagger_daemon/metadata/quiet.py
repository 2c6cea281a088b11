"""Which photos are left alone for a while, because a photo program may hold edits of them that no file has.

Pure. Lightroom keeps what it knows about a photo in its catalogue, and the file learns of it only when its
metadata is saved. It has one date for all metadata: if we write into a file while the catalogue holds edits
that were not saved, it speaks of a conflict, and whichever side the photographer then chooses, the other is
lost. A photo that such a program saved lately is being worked on, so it waits; one that nobody saved for a
day does not.

What counts, file by file:

- Develop settings that are still to be applied: `crs:HasSettings`, and not `crs:AlreadyApplied`. Only
  programs that develop photos leave them, in whatever kind of file.
- In raw files, DNG and sidecars, if there is a `xmp:MetadataDate`, also Lightroom's name (`xmp:CreatorTool`,
  or an agent of `xmpMM:History`), and a rating or label. Programs write that date; cameras that rate what
  they have just taken do not. A rating of 0 says that there is none: Bridge leaves it in files that it only
  looked at.

A finished picture (JPEG, TIFF and the like) may be an export, and exports that are dropped into a folder, to
be tagged minutes later, are what this product is mostly for. They name Lightroom, and carry rating and label
of the photo that they were made from, with a `MetadataDate` of a moment ago. So Lightroom's name tells
nothing there, and rating and label tell nothing if whoever wrote the metadata made the whole file: the
develop settings were applied, or the history ends with a save of everything (`stEvt:changed` is `/`), or the
metadata is no younger than the picture (`xmp:ModifyDate`). Exports of Lightroom Classic 13.0 show all three,
one of Lightroom 3.5 the first and the last; one without develop settings is known by the other two. When
Lightroom saves into a picture that its catalogue holds, that is another matter: the history then ends with a
save of `/metadata`.

Sources: Adobe's XMP specification for dates and history; files of these programs that were published.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from tagger_daemon.errors import PhotoHeld
from tagger_daemon.metadata import fields
from tagger_daemon.metadata.properties import Node, Properties
from tagger_daemon.model import CatalogueSign, Existing

HISTORY = "XMP-xmpMM:History"
#: Seconds until a photo is looked at again whose catalogue is open.
OPEN_WAIT = 300.0
DATE = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.\d*)?(Z|[+-]\d\d:\d\d)?")


def find_sign(
    file: str, properties: Properties, *, rendered: bool, changed_at: datetime
) -> CatalogueSign | None:
    """Return what tells that a photo program's catalogue holds the photo, or None if nothing does.

    Args:
        file: name of the photo, or of its sidecar.
        properties: of that file.
        rendered: it is a picture that may be an export: no raw file, no DNG, no sidecar.
        changed_at: when the file was last written, with zone.
    """
    what = _develop_settings(properties)
    saved_at = _date(properties.text(fields.METADATA_DATE))
    if what is None and saved_at is not None:
        what = _in_rendered(properties, saved_at) if rendered else _in_sidecar(properties)
    if what is None:
        return None
    return CatalogueSign(file=file, what=what, saved_at=saved_at, changed_at=changed_at)


def check_quiet(existing: Existing, *, now: datetime, quiet_hours: float, in_use: str | None) -> None:
    """Refuse a photo that shows signs of a catalogue, if that is open, or the photo was saved a moment ago.

    What we wrote ourselves is not held. A date in the future comes from a clock that is wrong: the file's own
    date then counts, and if that is further off than the quiet time too, nothing can be told from either.

    Args:
        existing: what file and sidecars say.
        now: with zone; dates without one are taken to be of the same.
        quiet_hours: how long a photo is left alone after it was saved.
        in_use: why a catalogue may be in use now, in plain words; None: none is.

    Raises:
        PhotoHeld: and why, and when it is worth looking again.
    """
    if existing.signs and in_use:
        first = existing.signs[0]
        raise PhotoHeld(f"{first.file} {first.what}, and {in_use}", seconds=OPEN_WAIT)
    ours = None if existing.marker is None else _date(existing.marker.written_at)
    quiet = timedelta(hours=quiet_hours)
    for sign in existing.signs:
        saved = _in_zone(sign.saved_at, now)
        if saved is None or saved == _in_zone(ours, now):
            continue
        if saved > now:
            saved = min(saved, sign.changed_at)
        until = min(saved, now) + quiet
        if now < until and saved <= now + quiet:
            raise PhotoHeld(
                f"{sign.file} {sign.what}, and was last saved on {_told(saved, now)}: it is left alone "
                f"until {_told(saved + quiet, now)}, in case that a catalogue holds newer edits "
                "(metadata.quiet_hours)",
                seconds=(until - now).total_seconds(),
            )


def _develop_settings(properties: Properties) -> str | None:
    if _is_true(properties, "XMP-crs:HasSettings") and not _is_true(properties, "XMP-crs:AlreadyApplied"):
        return "holds develop settings"
    return None


def _in_sidecar(properties: Properties) -> str | None:
    """Return the sign in a raw file, a DNG or a sidecar that has a metadata date."""
    names = [properties.text("XMP-xmp:CreatorTool") or "", *(agent for agent, _ in _saves(properties))]
    if any(_is_lightroom(name) for name in names):
        return "was saved by Lightroom"
    return _judgement(properties)


def _in_rendered(properties: Properties, saved_at: datetime) -> str | None:
    """Return the sign in a picture that may be an export, and has a metadata date."""
    saves = _saves(properties)
    agent, changed = saves[-1] if saves else ("", "")
    if _is_lightroom(agent) and changed.startswith("/metadata"):
        return "was saved by Lightroom"
    made_anew = (
        _is_true(properties, "XMP-crs:AlreadyApplied")
        or changed == "/"
        or _same(_date(properties.text("XMP-xmp:ModifyDate")), saved_at)
    )
    return None if made_anew else _judgement(properties)


def _judgement(properties: Properties) -> str | None:
    if properties.number("XMP-xmp:Rating") or (properties.text("XMP-xmp:Label") or "").strip():
        return "is rated or labelled"
    return None


def _saves(properties: Properties) -> list[tuple[str, str]]:
    """Return the events of the history, the oldest first: who wrote, and which part of the file.

    An event that names no part, such as `derived`, is no save.
    """
    events: list[tuple[str, str]] = []
    for history in properties.nodes.get(HISTORY, ()):
        for event in history:
            values = {pair[0]: pair[1] for pair in event if len(pair) == 2}  # a structure is a list of pairs
            changed = values.get("XMP-xmpMM:Changed")
            if isinstance(changed, str):
                agent: Node = values.get("XMP-xmpMM:SoftwareAgent", "")
                events.append((agent if isinstance(agent, str) else "", changed))
    return events


def _is_true(properties: Properties, tag: str) -> bool:
    return (properties.text(tag) or "").strip().casefold() == "true"


def _is_lightroom(name: str) -> bool:
    return "lightroom" in name.casefold()


def _date(text: str | None) -> datetime | None:
    """Return a date to the second, without zone where the text has none; a date without time is none."""
    match = DATE.fullmatch((text or "").strip())
    if match is None:
        return None
    year, month, day, clock, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{zone or ''}")
    except ValueError:
        return None


def _in_zone(moment: datetime | None, now: datetime) -> datetime | None:
    return moment.replace(tzinfo=now.tzinfo) if moment is not None and moment.tzinfo is None else moment


def _same(one: datetime | None, other: datetime) -> bool:
    """Tell whether two dates of one file are the same, also where only one of them has a zone."""
    if one is None:
        return False
    if (one.tzinfo is None) != (other.tzinfo is None):
        return one.replace(tzinfo=None) == other.replace(tzinfo=None)
    return one == other


def _told(moment: datetime, now: datetime) -> str:
    return f"{moment.astimezone(now.tzinfo):%Y-%m-%d at %H:%M}"
