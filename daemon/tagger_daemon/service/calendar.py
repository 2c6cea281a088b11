"""What happens once a local day: the page about it, and the nightly catch-up scan.

The clock only asks "is it due?"; that it has happened is a row in the ledger. So nothing is skipped or done
twice when the clock is set, when summer time begins or ends, or when the service was down at the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from tagger_daemon.model import Value
from tagger_daemon.settings import ScheduleSettings

#: Pages of days on which the service was down are made up for this far back.
DAYS_MADE_UP = 7


class Occasion(StrEnum):
    """What happens once a day."""

    SUMMARY = "summary"  #: the day's page, at its hour
    CLOSING = "closing"  #: the same page once more when the day is over, for what came after the hour
    CATCH_UP = "catch-up"  #: every folder is re-read


@dataclass(frozen=True, kw_only=True, slots=True)
class Due(Value):
    """One occasion of one day."""

    occasion: Occasion
    day: date


def due(schedule: ScheduleSettings, *, now: datetime, happened: Callable[[str, date], bool]) -> Iterator[Due]:
    """Give what is due now and has not happened, oldest first.

    Args:
        schedule: the hours.
        now: local time.
        happened: whether an occasion of a day has been dealt with.
    """
    today = now.date()
    for back in range(DAYS_MADE_UP, 0, -1):
        day = today - timedelta(days=back)
        if not happened(Occasion.CLOSING, day):
            yield Due(occasion=Occasion.CLOSING, day=day)
    if now.time() >= _hour(schedule.catch_up_at) and not happened(Occasion.CATCH_UP, today):
        yield Due(occasion=Occasion.CATCH_UP, day=today)
    if now.time() >= _hour(schedule.summary_at) and not happened(Occasion.SUMMARY, today):
        yield Due(occasion=Occasion.SUMMARY, day=today)


def upcoming(
    schedule: ScheduleSettings, *, now: datetime, happened: Callable[[str, date], bool]
) -> dict[Occasion, datetime]:
    """Say when the next page and the next catch-up scan are due, local time without zone."""
    hours = {
        Occasion.SUMMARY: _hour(schedule.summary_at),
        Occasion.CATCH_UP: _hour(schedule.catch_up_at),
    }
    today = now.date()
    return {
        occasion: datetime.combine(today + timedelta(days=happened(occasion, today)), hour)
        for occasion, hour in hours.items()
    }


def _hour(text: str) -> time:
    return time.fromisoformat(text)
