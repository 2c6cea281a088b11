"""Which photos wait because a photo program may hold edits of them, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger_daemon.errors import PhotoHeld
from tagger_daemon.metadata.properties import Node, Properties
from tagger_daemon.metadata.quiet import OPEN_WAIT, check_quiet, find_sign
from tagger_daemon.model import CatalogueSign, Existing, Fingerprint, Marker, Photo

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
PHOTO = Photo(
    path=Path("/photos/IMG.NEF"), folder=Path("/photos"), fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3)
)
DATED = {"MetadataDate": "2024:05:01 11:00:00+00:00"}
LIGHTROOM = "Adobe Photoshop Lightroom Classic 13.0.1 (Windows)"
DERIVED = {"Action": "derived", "Parameters": "converted from image/x-sony-arw to image/jpeg"}


def saved(changed: str, agent: str = LIGHTROOM) -> dict[str, str]:
    return {"Action": "saved", "Changed": changed, "SoftwareAgent": agent}


def properties(values: dict[str, Any]) -> Properties:
    """Properties as exiftool shows them; `HasSettings` and `AlreadyApplied` are the develop settings'."""
    nodes: dict[str, tuple[Node, ...]] = {}
    for name, value in values.items():
        if name == "History":
            events = tuple(
                tuple(sorted((f"XMP-xmpMM:{key}", text) for key, text in event.items())) for event in value
            )
            nodes["XMP-xmpMM:History"] = (events,)
        else:
            group = "crs" if name in ("HasSettings", "AlreadyApplied") else "xmp"
            nodes[f"XMP-{group}:{name}"] = (value,)
    return Properties(nodes=nodes)


def sign_of(values: dict[str, Any], *, rendered: bool) -> str | None:
    sign = find_sign("IMG", properties(values), rendered=rendered, changed_at=NOW)
    return None if sign is None else sign.what


SETTINGS = {"HasSettings": "True", "AlreadyApplied": "False"}
EXPORT = {
    "CreatorTool": LIGHTROOM,
    "Rating": "4",
    "Label": "Red",
    "ModifyDate": DATED["MetadataDate"],
    "HasSettings": "True",
    "AlreadyApplied": "True",
    "History": [saved("/metadata"), DERIVED, saved("/")],
    **DATED,
}


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


@pytest.mark.parametrize(
    "values",
    [
        EXPORT,
        # Each of what tells an export is enough by itself.
        without(EXPORT, "History", "ModifyDate"),
        without(EXPORT, "HasSettings", "AlreadyApplied", "ModifyDate"),
        without(EXPORT, "HasSettings", "AlreadyApplied", "History"),
        without(EXPORT, "Rating", "Label", "HasSettings", "AlreadyApplied", "History", "ModifyDate"),
        {"ModifyDate": "2024:05:01 11:00:00", "Rating": "5", **DATED},
        {"Rating": "4"},  # a camera, into what it has just taken
        {"Rating": "0", **DATED},  # Bridge, into what it has only looked at
        {"Label": " ", **DATED},
        {"HasSettings": "False", **DATED},  # drones
        {"HasSettings": "True", "AlreadyApplied": "True"},
        {"Rating": "4", "MetadataDate": "yesterday"},
        {"History": [saved("/metadata", "Adobe Photoshop 25.0")], **DATED},
        DATED,
        {},
    ],
)
def test_exports_and_what_comes_from_cameras_show_no_sign(values: dict[str, Any]) -> None:
    assert sign_of(values, rendered=True) is None


@pytest.mark.parametrize("history", ["text", ("text",), (("a", "b"), "text"), ((("x", ("y",)),),)])
def test_a_history_of_another_shape_tells_nothing(history: Node) -> None:
    odd = properties(DATED)
    odd = odd.evolve(nodes={**odd.nodes, "XMP-xmpMM:History": (history,)})
    assert find_sign("IMG", odd, rendered=False, changed_at=NOW) is None


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({**SETTINGS, **DATED}, "holds develop settings"),
        (SETTINGS, "holds develop settings"),
        ({"HasSettings": "true"}, "holds develop settings"),
        ({"Rating": "4", **DATED}, "is rated or labelled"),
        ({"Rating": "-1", **DATED}, "is rated or labelled"),
        ({"Label": "Red", **DATED}, "is rated or labelled"),
        ({"Label": "Red", "ModifyDate": "2024:04:30 11:00:00+00:00", **DATED}, "is rated or labelled"),
        ({"History": [DERIVED, saved("/"), saved("/metadata")], **DATED}, "was saved by Lightroom"),
        # An export that was imported again.
        ({**EXPORT, "History": [DERIVED, saved("/"), saved("/metadata")]}, "was saved by Lightroom"),
    ],
)
def test_pictures_that_a_catalogue_holds_show_it(values: dict[str, Any], what: str) -> None:
    assert sign_of(values, rendered=True) == what


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"CreatorTool": LIGHTROOM, **DATED}, "was saved by Lightroom"),
        ({"CreatorTool": "Adobe Lightroom 7.0", **DATED}, "was saved by Lightroom"),
        ({"History": [saved("/metadata"), saved("/", "digiKam")], **DATED}, "was saved by Lightroom"),
        ({"Rating": "1", **DATED}, "is rated or labelled"),
        ({"Rating": "1", "ModifyDate": DATED["MetadataDate"], **DATED}, "is rated or labelled"),
        (SETTINGS, "holds develop settings"),
        ({"CreatorTool": LIGHTROOM}, None),
        ({"CreatorTool": "NIKON Z 8", "Rating": "3"}, None),
        ({"CreatorTool": "darktable", **DATED}, None),
    ],
)
def test_raw_files_and_sidecars_show_more(values: dict[str, Any], what: str | None) -> None:
    assert sign_of(values, rendered=False) == what


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024:05:01 11:00:00+02:00", datetime(2024, 5, 1, 11, tzinfo=timezone(timedelta(hours=2)))),
        ("2024:05:01 11:00:00.25Z", datetime(2024, 5, 1, 11, tzinfo=UTC)),
        ("2024:05:01 11:00", datetime(2024, 5, 1, 11)),
        ("2024:05:01", None),
        ("2024:13:01 11:00:00", None),
        ("0000:00:00 00:00:00", None),
    ],
)
def test_a_date_is_read_as_exiftool_shows_it(text: str, expected: datetime | None) -> None:
    sign = find_sign("IMG", properties({**SETTINGS, "MetadataDate": text}), rendered=True, changed_at=NOW)
    assert sign is not None
    assert sign.saved_at == expected


def existing(
    saved_at: datetime | None, *, changed_at: datetime = NOW, written_at: str | None = None
) -> Existing:
    marker = None
    if written_at is not None:
        marker = Marker(
            schema_version=1,
            tool_version="0.1",
            written_at=written_at,
            content_hash="",
            fields={},
            keywords=(),
        )
    sign = CatalogueSign(
        file="IMG.xmp", what="holds develop settings", saved_at=saved_at, changed_at=changed_at
    )
    return Existing(
        photo=PHOTO,
        source=Path("/photos/IMG.xmp"),
        embedded=False,
        source_fingerprint=PHOTO.fingerprint,
        signs=(sign,),
        marker=marker,
    )


def wait(what: Existing, *, now: datetime = NOW, quiet_hours: float = 24, in_use: str | None = None) -> float:
    """Return for how many hours the photo is held; 0 if it is not."""
    try:
        check_quiet(what, now=now, quiet_hours=quiet_hours, in_use=in_use)
    except PhotoHeld as held:
        return held.seconds / 3600
    return 0


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("saved_at", "hours"),
    [
        (NOW, 24),
        (NOW - HOUR, 23),
        (NOW - 24 * HOUR, 0),
        (NOW - 1000 * HOUR, 0),
        (None, 0),
        ((NOW - HOUR).replace(tzinfo=None), 23),
        ((NOW - HOUR).astimezone(timezone(timedelta(hours=-7))), 23),
    ],
)
def test_a_photo_waits_until_a_day_after_it_was_saved(saved_at: datetime | None, hours: float) -> None:
    assert wait(existing(saved_at)) == hours


def test_the_newest_of_several_files_counts() -> None:
    old, new = existing(NOW - 1000 * HOUR), existing(NOW - 2 * HOUR)
    assert wait(old.evolve(signs=(*old.signs, *new.signs))) == 22
    assert wait(old.evolve(signs=())) == 0


def test_what_we_wrote_ourselves_is_not_held_and_what_was_saved_since_is() -> None:
    ours = (NOW - HOUR).isoformat(timespec="seconds")
    assert wait(existing(NOW - HOUR, written_at=ours)) == 0
    assert wait(existing(NOW - HOUR, written_at="")) == 23
    assert wait(existing(NOW - HOUR + timedelta(seconds=1), written_at=ours)) > 23


@pytest.mark.parametrize(
    ("saved_at", "changed_at", "hours"),
    [
        (NOW + HOUR, NOW - HOUR, 23),
        (NOW + 1000 * HOUR, NOW - 2 * HOUR, 22),
        (NOW + 1000 * HOUR, NOW - 50 * HOUR, 0),
        (NOW + HOUR, NOW + 2 * HOUR, 24),
        (NOW + 1000 * HOUR, NOW + 2 * HOUR, 24),
        (NOW + 1000 * HOUR, NOW + 1000 * HOUR, 0),
    ],
)
def test_a_date_in_the_future_does_not_hold_a_photo_for_ever(
    saved_at: datetime, changed_at: datetime, hours: float
) -> None:
    assert wait(existing(saved_at, changed_at=changed_at)) == hours


@given(saved_at=st.integers(-100, 100), changed_at=st.integers(-100, 100), quiet_hours=st.integers(1, 48))
def test_every_wait_is_short_enough_and_comes_to_its_end(
    saved_at: int, changed_at: int, quiet_hours: int
) -> None:
    photo = existing(NOW + saved_at * HOUR, changed_at=NOW + changed_at * HOUR)
    assert wait(photo, quiet_hours=quiet_hours) <= quiet_hours
    assert wait(photo, now=NOW + 101 * HOUR + quiet_hours * HOUR, quiet_hours=quiet_hours) == 0


def test_while_a_catalogue_is_open_photos_of_a_catalogue_wait_whatever_their_date() -> None:
    old = existing(NOW - 1000 * HOUR)
    assert wait(old, in_use="Lightroom is open") == OPEN_WAIT / 3600
    assert wait(old.evolve(signs=()), in_use="Lightroom is open") == 0
    with pytest.raises(PhotoHeld, match=r"^IMG\.xmp holds develop settings, and Lightroom is open$"):
        check_quiet(old, now=NOW, quiet_hours=24, in_use="Lightroom is open")


def test_the_reason_says_until_when_and_is_the_same_at_every_look() -> None:
    photo, zone = existing(NOW - HOUR), timezone(timedelta(hours=2))
    reasons = set()
    for later in (timedelta(), 7 * HOUR):
        with pytest.raises(PhotoHeld) as caught:
            check_quiet(photo, now=(NOW + later).astimezone(zone), quiet_hours=24, in_use=None)
        reasons.add(str(caught.value))
    (reason,) = reasons
    assert "saved on 2024-05-01 at 13:00" in reason
    assert "until 2024-05-02 at 13:00" in reason
    assert "metadata.quiet_hours" in reason
