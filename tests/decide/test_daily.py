"""The day's page: right numbers, plain words, and nothing that a file or a model can make it do."""

from __future__ import annotations

import os
import random
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.model import Fingerprint, Origin, Outcome, Photo, Record, Stage
from tagger_daemon.reports.daily import HIGHLIGHTS, render_day
from tagger_daemon.reports.markdown import plain, table
from tagger_daemon.reports.wording import NAMES_SHOWN

DAY = date(2025, 3, 14)
NOW = "2025-03-14 23:55+01:00"
ORIGIN = Origin(
    entry="small",
    model="small-vl",
    digest=None,
    registry="r1",
    profile="default",
    profile_hash="p1",
    endpoint="http://127.0.0.1:8000/v1",
    prompt_tokens=700,
    completion_tokens=30,
)


def a_record(
    name: str = "a.jpg", outcome: Outcome = Outcome.WRITTEN, *, minute: int = 0, **changes: object
) -> Record:
    path = Path("/photos") / name
    record = Record(
        id=f"{name} {minute}",
        photo=Photo(path=path, folder=Path("/photos"), fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3)),
        outcome=outcome,
        finished_at=f"2025-03-14T{10 + minute // 60}:{minute % 60:02}:00.000+01:00",
        origins={Stage.CAPTION: ORIGIN} if outcome is Outcome.WRITTEN else {},
        seconds={"read": 1.0, "caption": 5.0} if outcome is Outcome.WRITTEN else {"read": 1.0},
    )
    return record.evolve(**changes)


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {title}\n\n(.*?)(?=\n\n)", page, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def test_a_day_without_photos_says_so_and_nothing_else() -> None:
    assert render_day(DAY, [], now=NOW).split("\n\n") == [
        "# Photos tagged on 2025-03-14",
        "No photo was finished on this day.",
        "Made 2025-03-14 23:55+01:00.\n",
    ]


def test_the_day_in_one_sentence_and_in_numbers() -> None:
    records = [
        a_record("2025/a.jpg"),
        a_record("2025/b.jpg"),
        a_record("2024/c.jpg", Outcome.UNCHANGED),
        a_record("2024/d.jpg", Outcome.SKIPPED, reason="a person has tagged it"),
        a_record("2024/e.jpg", Outcome.FAILED, reason="the file is empty"),
    ]

    page = render_day(DAY, records, now=NOW)

    assert "5 photos finished: 2 got new metadata, 2 needed none, and 1 failed." in page
    assert "| written | 2 |" in section(page, "Totals")
    assert "| failed | 1 |" in section(page, "Totals")
    assert section(page, "Folders").splitlines()[2:] == [
        "| /photos/2024 | 0 | 1 | 1 | 1 |",
        "| /photos/2025 | 2 | 0 | 0 | 0 |",
    ]
    assert section(page, "Skipped") == "- 1 photo: a person has tagged it"
    assert section(page, "Models").splitlines()[2:] == ["| caption | small | small-vl | default | 2 |"]


def test_the_last_record_of_a_photo_tells_what_became_of_it() -> None:
    records = [
        a_record("a.jpg", Outcome.WRITTEN, minute=2),
        a_record("a.jpg", Outcome.FAILED, minute=1, reason="the model declined"),
    ]

    page = render_day(DAY, records, now=NOW)

    assert "1 photo finished: 1 got new metadata, 0 needed none, and none failed." in page
    assert "## Failures" not in page


def test_what_still_waits_is_said() -> None:
    page = render_day(DAY, [], backlog={"waiting": 3, "ready": 12, "running": 0}, now=NOW)

    assert section(page, "Still waiting").splitlines()[2:] == ["| ready | 12 |", "| waiting | 3 |"]


def test_speed_is_measured_over_the_time_that_there_was_work() -> None:
    records = [a_record(f"{minute}.jpg", minute=minute, seconds={"caption": 60.0}) for minute in range(30)]
    records.append(a_record("z.jpg", Outcome.SKIPPED, minute=59))

    speed = section(render_day(DAY, records, now=NOW), "Speed")

    assert speed.splitlines() == [
        "- 60 photos an hour while there was work",
        "- 60.0 seconds a photo (median)",
        "  - caption: 60.0",
        "- 21000 tokens read by the models, 900 written",
    ]


def test_the_steps_stand_in_their_order() -> None:
    seconds = {"write": 0.3, "caption": 5.0, "read": 1.0, "prepare": 2.0, "description": 7.0, "keywords": 6.0}

    speed = section(render_day(DAY, [a_record(seconds=seconds)], now=NOW), "Speed")

    steps = re.findall(r"  - (\w+):", speed)
    assert steps == ["read", "prepare", "caption", "keywords", "description", "write"]


def test_a_few_photos_are_shown_from_all_over_the_day() -> None:
    records = [a_record(f"{minute:02}.jpg", minute=minute, title=f"Title {minute}.") for minute in range(40)]

    names = re.findall(r"\*\*(\d\d)", section(render_day(DAY, records, now=NOW), "Highlights"))

    assert len(names) == HIGHLIGHTS
    assert names[0] == "00"
    assert names[-1] == "35"


def test_long_texts_are_cut_short() -> None:
    page = render_day(DAY, [a_record(title="word " * 200, keywords=("a",) * 500)], now=NOW)

    assert all(len(line) < 200 for line in section(page, "Highlights").splitlines())
    assert "word…" in page


def test_failures_are_grouped_the_most_frequent_first_and_long_lists_are_counted() -> None:
    many = [
        a_record(f"m{n:02}.jpg", Outcome.FAILED, reason="the file is empty") for n in range(NAMES_SHOWN + 2)
    ]
    one = a_record("one.jpg", Outcome.FAILED, reason="a rare reason")

    failures = section(render_day(DAY, [one, *many], now=NOW), "Failures").splitlines()

    assert failures[:2] == [f"- {NAMES_SHOWN + 2} photos: the file is empty", "  - /photos/m00.jpg"]
    assert failures[NAMES_SHOWN + 1 :] == [
        "  - and 2 more",
        "- 1 photo: a rare reason",
        "  - /photos/one.jpg",
    ]


def test_the_same_records_in_any_order_give_the_same_page() -> None:
    records = [
        a_record(f"{n}.jpg", list(Outcome)[n % 4], minute=n, reason=f"reason {n % 3}") for n in range(20)
    ]
    shuffled = random.Random(4).sample(records, len(records))

    assert render_day(DAY, records, now=NOW) == render_day(DAY, shuffled, now=NOW)


def test_hostile_names_and_words_are_shown_not_obeyed() -> None:
    name = os.fsdecode(b"\xe9|`x`\n# <b>.jpg")
    title = (
        "![x](https://evil.example/a) <script>alert(1)</script>\n\n## Totals | www.evil.example me@evil.com"
    )
    page = render_day(DAY, [a_record(name, title=title, keywords=("*bold*",))], now=NOW)

    assert page.count("\n## Totals") == 1
    for raw in ("<script", "<b>", "[x]", "https://", "www.evil", "me@", " *bold*", "`x`", "\udce9"):
        assert raw not in page
    assert "\\\\udce9" in page
    assert "&lt;script&gt;" in page


@given(st.text(alphabet=st.characters(), max_size=40))
def test_no_text_breaks_a_table(text: str) -> None:
    cells = [plain(text), "1"]

    lines = table(("Folder", "Photos"), [cells])

    assert len("\n".join(lines).splitlines()) == 3
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2])) == 3
    assert plain(text).encode("utf-8").decode() == plain(text)


@pytest.mark.parametrize("letter", "\u202e\u2066\u200f\x00\x1b\x85\u2028")
def test_letters_that_would_deceive_a_reader_are_replaced(letter: str) -> None:
    assert plain(f"a{letter}b") == "a\ufffdb"
