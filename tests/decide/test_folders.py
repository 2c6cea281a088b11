"""What folders say: names that a person gave, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.vision.folders import Period, read_folders


def months(first: str, last: str = "") -> Period:
    """Return the months from one to another, each as `2024-07`."""
    one, other = ((12 * int(text[:4]) + int(text[5:]) - 1) for text in (first, last or first))
    return Period(first=one, last=other)


JULY, YEAR = months("2024-07"), months("2024-01", "2024-12")


@pytest.mark.parametrize(
    ("folders", "names", "period"),
    [
        ("2024-07 Lofoten/Reine", ("Lofoten", "Reine"), JULY),
        ("2024/2024-07-03", (), JULY),
        ("2024/07/03", (), JULY),
        ("2024/07 Lofoten/03 Reine", ("Lofoten", "Reine"), JULY),
        ("2024/07-July", (), JULY),
        ("2024/Norway", ("Norway",), YEAR),
        ("202407_Lofoten_trip", ("Lofoten trip",), JULY),
        ("20240703 Oslo", ("Oslo",), JULY),
        ("20240703_142530", (), JULY),
        ("03.07.2024 Oslo", ("Oslo",), JULY),
        ("3.7.2024", (), JULY),
        ("07-2024", (), JULY),
        ("2024-07-03 - 2024-07-09 Oslo", ("Oslo",), JULY),
        ("2024-07-03_09 Oslo", ("Oslo",), JULY),
        ("2023-12 - 2024-02 Antarctica", ("Antarctica",), months("2023-12", "2024-02")),
        ("2024-07 - 2023-01 Oslo", ("Oslo",), JULY),
        ("Lofoten 2024-07", ("Lofoten",), JULY),
        ("Lofoten (2024-07)", ("Lofoten",), JULY),
        ("Lofoten 2024", ("Lofoten",), None),
        ("2019/2024-07 Oslo", ("Oslo",), JULY),
        ("2024-13 Oslo", ("Oslo",), YEAR),
        ("12345 Oslo", ("12345 Oslo",), None),
        ("Apollo 11", ("Apollo 11",), None),
        ("100 Jahre", ("100 Jahre",), None),
        ("京都/São Paulo", ("京都", "São Paulo"), None),
        ("DCIM/100CANON", (), None),
        ("DCIM/101MSDCF/102_PANA", (), None),
        ("inbox/RAW files/JPG", (), None),
        ("Import 3/Export_final/temp", (), None),
        ("Camera Uploads/New Folder (2)", (), None),
        ("  /-/_", (), None),
        ("", (), None),
    ],
)
def test_names_and_dates(folders: str, names: tuple[str, ...], period: Period | None) -> None:
    found = read_folders(folders.split("/"))
    assert (found.names, found.period) == (names, period)


@given(st.lists(st.text(max_size=40) | st.from_regex(r"\A[-_. 0-9a-z()]{0,20}\Z")))
def test_whatever_folders_are_called_the_months_are_in_order(folders: list[str]) -> None:
    found = read_folders(folders)
    assert len(found.names) <= len(folders)
    assert all(name == name.strip() and name for name in found.names)
    assert found.period is None or 12 * 1830 <= found.period.first <= found.period.last < 12 * 2100
