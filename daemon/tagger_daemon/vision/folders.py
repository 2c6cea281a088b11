"""What the folders that a photo lies in say about it: names that a person gave, and when it was taken.

Pure. `2024-07 Lofoten/Reine` says: Lofoten, Reine, July 2024. What programs and cameras name by themselves
(`DCIM`, `100CANON`, `2024/2024-07-03`) or a workflow needs (`inbox`, `export`) names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tagger_daemon.model import Value

#: Words of which a folder's name is made that says nothing about what its photos show.
WORKADAY = frozenset(
    re.findall(
        r"\w+",
        """
        dcim camera cameras card cards sd cf roll uploads upload iphone ipad android phone mobile whatsapp
        photo photos picture pictures pics image images img imgs foto fotos bild bilder media my
        inbox incoming import imports imported auto watch watched watchfolder queue new neu neue untitled
        folder folders ordner dir directory subfolder misc various diverse other others unsorted sorted sort
        export exports exported output out outbox final finals finished done delivery web print prints social
        edit edits edited original originals master masters select selects selected pick picks keep keepers
        reject rejects rejected best favorites favourites todo to do temp tmp test tests trash backup backups
        archive archives old copy copies raw raws jpg jpgs jpeg jpegs tif tiff png heic dng nef cr2 cr3 arw
        psd xmp file files lightroom lr lrc capture one photoshop session catalog and the of for from
        january february march april may june july august september october november december jan feb mar apr
        jun jul aug sep sept oct nov dec undated unknown date day month year
        """,
    )
)
#: As cameras name folders: a number and five characters (CIPA DC-009, Design rule for Camera File system).
CAMERAS_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}")

_YEAR = r"(?P<year>18[3-9]\d|19\d\d|20\d\d)"
_MONTH = r"(?P<month>0[1-9]|1[0-2])"
_DAY = r"(?P<day>0[1-9]|[12]\d|3[01])"
_GAP = r"[-_. ]?"
_END = r"(?!\d)"
#: At the beginning of a name: 2024, 2024-07, 202407, 2024-07-03, 20240703; 03.07.2024; 07-2024.
_DATES = (
    re.compile(rf"{_YEAR}(?:{_GAP}{_MONTH}(?:{_GAP}{_DAY})?)?{_END}"),
    re.compile(rf"(?P<day>[0-2]?\d|3[01])\.(?P<month>0?[1-9]|1[0-2])\.{_YEAR}{_END}"),
    re.compile(rf"{_MONTH}[-_.]{_YEAR}{_END}"),
)
_MONTH_ALONE = re.compile(_MONTH + _END)  # in a year's folder
_DAY_ALONE = re.compile(_DAY + _END)  # in a month's
#: What may follow a date: until when, or a time.
_UNTIL = re.compile(r"\s?(?:[-_+&\u2013]|to|bis)\s?")
_REST_OF_RANGE = re.compile(rf"\s?[-_+&\u2013]\s?(?:\d{{1,2}}(?:[-.]\d{{1,2}})?\.?|\d{{4}}|\d{{6}}){_END}")
_DATE_AT_END = re.compile(rf"[-_., (]{{1,8}}{_YEAR}(?:[-_.]{_MONTH}(?:[-_.]{_DAY})?)?\)?$")
_EDGES = " -_.,\u2013\u2014+&"


@dataclass(frozen=True, kw_only=True, slots=True)
class Period(Value):
    """The months that a folder's name tells, each as 12 times the year plus the month, 0 to 11."""

    first: int
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldersTell(Value):
    """What folders say."""

    names: tuple[str, ...] = ()  # as a person gave them, without dates, the outermost first; not validated
    period: Period | None = None  # that of the innermost folder with a date


@dataclass(frozen=True, kw_only=True, slots=True)
class _Date(Value):
    year: int | None = None
    month: int | None = None
    day: int | None = None

    @property
    def period(self) -> Period | None:
        if self.year is None:
            return None
        first, last = (self.month - 1,) * 2 if self.month else (0, 11)
        return Period(first=12 * self.year + first, last=12 * self.year + last)


def read_folders(folders: Sequence[str]) -> FoldersTell:
    """Say what the folders of a photo tell about it.

    Args:
        folders: their names, from below the watch folder down to the one that the photo lies in.
    """
    names: list[str] = []
    period = None
    above = _Date()
    for folder in folders:
        date, found, name = _dated(folder.strip(), above)
        period = found or period
        above = date
        if name and not CAMERAS_FOLDER.fullmatch(folder.strip()) and not _is_workaday(name):
            names.append(name)
    return FoldersTell(names=tuple(names), period=period)


def _dated(folder: str, above: _Date) -> tuple[_Date, Period | None, str]:
    """Return the date that a folder's name begins with, the months that it tells, and the rest of it."""
    date, rest = _leading(folder, above)
    period = date.period
    if period is not None:
        until = _UNTIL.match(rest)
        last, after = _leading(rest[until.end() :], _Date()) if until else (_Date(), rest)
        if last.period is not None and last.period.last >= period.first:
            period, rest = period.evolve(last=last.period.last), after
        while more := _REST_OF_RANGE.match(rest):
            rest = rest[more.end() :]
    elif at_end := _DATE_AT_END.search(rest):
        # A number at the end may be another thing's (`Room 2046`): it tells a date only with its month.
        rest = rest[: at_end.start()]
        period = _date_of(at_end).period if at_end["month"] else None
    return date, period, rest.replace("_", " ").strip(_EDGES).strip()


def _leading(name: str, above: _Date) -> tuple[_Date, str]:
    for pattern in _DATES:
        if found := pattern.match(name):
            return _date_of(found), name[found.end() :]
    if above.year and not above.month and (found := _MONTH_ALONE.match(name)):
        return above.evolve(month=int(found["month"])), name[found.end() :]
    if above.month and not above.day and (found := _DAY_ALONE.match(name)):
        return above.evolve(day=int(found["day"])), name[found.end() :]
    return _Date(), name


def _date_of(found: re.Match[str]) -> _Date:
    return _Date(**{part: int(digits) for part, digits in found.groupdict().items() if digits})


def _is_workaday(name: str) -> bool:
    return all(word in WORKADAY for word in re.findall(r"[^\W\d_]+", name.casefold()))
