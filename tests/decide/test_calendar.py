"""Each occasion happens once a local day, whatever the clock does."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tagger_daemon.service.calendar import DAYS_MADE_UP, Due, Occasion, due, upcoming
from tagger_daemon.settings import ScheduleSettings

SCHEDULE = ScheduleSettings(summary_at="23:55", catch_up_at="02:30")


class Book:
    """What has happened so far."""

    def __init__(self) -> None:
        self.entries: Counter[tuple[str, date]] = Counter()

    def happened(self, name: str, day: date) -> bool:
        return (name, day) in self.entries

    def tick(self, now: datetime) -> list[Due]:
        found = list(due(SCHEDULE, now=now, happened=self.happened))
        self.entries.update((item.occasion, item.day) for item in found)
        return found


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_every_day_of_a_year_has_one_page_and_one_scan(zone: str) -> None:
    book, local = Book(), ZoneInfo(zone)
    moment = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))
    while moment < datetime(2027, 1, 1, tzinfo=ZoneInfo("UTC")):
        book.tick(moment.astimezone(local))
        moment += timedelta(minutes=5)
    assert set(book.entries.values()) == {1}
    whole_days = {date(2026, 1, 2) + timedelta(days=n) for n in range(362)}
    for occasion in (Occasion.CATCH_UP, Occasion.SUMMARY):
        assert whole_days <= {day for name, day in book.entries if name == occasion}


def test_a_clock_set_back_repeats_nothing() -> None:
    book = Book()
    assert Due(occasion=Occasion.CATCH_UP, day=date(2026, 5, 5)) in book.tick(datetime(2026, 5, 5, 3, 0))
    assert book.tick(datetime(2026, 5, 5, 2, 0)) == []
    assert book.tick(datetime(2026, 5, 5, 3, 0)) == []


def test_pages_of_days_when_the_service_was_down_are_made_up_for() -> None:
    made = [
        item.day for item in Book().tick(datetime(2026, 5, 20, 1, 0)) if item.occasion is Occasion.CLOSING
    ]
    assert made == [date(2026, 5, 20) - timedelta(days=back) for back in range(DAYS_MADE_UP, 0, -1)]


def test_what_comes_next() -> None:
    book = Book()
    before = upcoming(SCHEDULE, now=datetime(2026, 5, 5, 1, 0), happened=book.happened)
    assert before == {
        Occasion.SUMMARY: datetime(2026, 5, 5, 23, 55),
        Occasion.CATCH_UP: datetime(2026, 5, 5, 2, 30),
    }
    book.tick(datetime(2026, 5, 5, 3, 0))
    after = upcoming(SCHEDULE, now=datetime(2026, 5, 5, 3, 0), happened=book.happened)
    assert after[Occasion.CATCH_UP] == datetime(2026, 5, 6, 2, 30)
