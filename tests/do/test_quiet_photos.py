"""Photos that Lightroom may hold edited: real files, written as photo programs do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.metadata_files import NOON, annotation, draw, open_store, policy, stamp, tell
from tagger_daemon.cli.doctor import examine
from tagger_daemon.errors import PhotoChanged, PhotoHeld
from tagger_daemon.metadata.quiet import OPEN_WAIT
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Photo
from tagger_daemon.settings import Loaded, MetadataSettings, Settings

AN_HOUR_AGO = f"XMP-xmp:MetadataDate={NOON - timedelta(hours=1):%Y:%m:%d %H:%M:%S}+00:00"
LIGHTROOM = "Adobe Photoshop Lightroom Classic 13.0.1 (Windows)"
RATED = ("XMP-xmp:Rating=4", "XMP-xmp:Label=Red")
SETTINGS = ("XMP-crs:HasSettings=True", "XMP-crs:AlreadyApplied=False", "XMP-crs:Exposure2012=+0.50")


def history(*changed: str) -> str:
    events = (f"{{Action=saved,Changed={part},SoftwareAgent={LIGHTROOM}}}" for part in changed)
    return f"XMP-xmpMM:History=[{{Action=derived,Parameters=converted to image/jpeg}},{','.join(events)}]"


@pytest.fixture(scope="module")
def store() -> Iterator[MetadataStore]:
    with open_store() as opened:
        yield opened


def draw_sidecar(path: Path, *stamps: str) -> Path:
    path.write_bytes(EMPTY)
    stamp(path, *stamps)
    return path


def tag(store: MetadataStore, photo: Photo) -> None:
    existing = store.read(photo)
    store.check_writable(existing)
    store.apply(store.plan(existing, annotation(), policy()))


@pytest.mark.parametrize(
    "stamps",
    [
        (*RATED, "XMP-crs:HasSettings=True", "XMP-crs:AlreadyApplied=True", history("/metadata", "/")),
        (*RATED, history("/metadata", "/")),
        (*RATED, AN_HOUR_AGO.replace("MetadataDate", "ModifyDate")),
        (),
    ],
    ids=["with develop settings", "without", "without history", "with little"],
)
def test_an_export_is_tagged_at_once(tmp_path: Path, store: MetadataStore, stamps: tuple[str, ...]) -> None:
    photo = draw(tmp_path / "export.jpg", f"XMP-xmp:CreatorTool={LIGHTROOM}", AN_HOUR_AGO, *stamps)
    tag(store, photo)
    assert tell(photo.path, "XMP-dc:Title") == annotation().caption


def test_what_a_camera_rated_is_tagged_at_once(tmp_path: Path, store: MetadataStore) -> None:
    tag(store, draw(tmp_path / "fresh.jpg", *RATED))


@pytest.mark.parametrize(
    ("name", "stamps", "reason"),
    [
        ("developed.jpg", SETTINGS, "developed.jpg holds develop settings"),
        ("developed.dng", SETTINGS, "developed.dng holds develop settings"),
        ("rated.tif", RATED, "rated.tif is rated or labelled"),
        ("catalogued.jpg", (history("/", "/metadata"),), "catalogued.jpg was saved by Lightroom"),
        ("catalogued.dng", (f"XMP-xmp:CreatorTool={LIGHTROOM}",), "catalogued.dng was saved by Lightroom"),
    ],
)
def test_a_picture_that_was_saved_an_hour_ago_waits_for_the_rest_of_the_day(
    tmp_path: Path, store: MetadataStore, name: str, stamps: tuple[str, ...], reason: str
) -> None:
    photo = draw(tmp_path / name, AN_HOUR_AGO, *stamps)
    content = photo.path.read_bytes()
    with pytest.raises(PhotoHeld, match=reason) as caught:
        store.check_writable(store.read(photo))
    assert caught.value.seconds == 23 * 3600
    with pytest.raises(PhotoHeld, match=reason):
        store.apply(store.plan(store.read(photo), annotation(), policy()))
    assert photo.path.read_bytes() == content


def test_a_raw_waits_for_its_sidecar(tmp_path: Path, store: MetadataStore) -> None:
    photo = draw(tmp_path / "IMG.nef")
    sidecar = draw_sidecar(tmp_path / "IMG.xmp", AN_HOUR_AGO, *SETTINGS, history("/metadata"))
    with pytest.raises(PhotoHeld, match=r"IMG\.xmp holds develop settings"):
        store.check_writable(store.read(photo))
    stamp(sidecar, AN_HOUR_AGO.replace("2024:05", "2024:04"))
    tag(store, photo)
    assert tell(sidecar, "XMP-crs:Exposure2012") == "+0.50"
    store.check_writable(store.read(photo))  # what we have just saved ourselves holds nothing up


def test_a_date_from_a_clock_that_is_wrong_counts_as_the_files_own(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo = draw(tmp_path / "IMG.nef")
    draw_sidecar(tmp_path / "IMG.xmp", "XMP-xmp:MetadataDate=2099:01:01 00:00:00Z", *SETTINGS)
    store.check_writable(store.read(photo))  # written in our own days, long after noon of 2024
    stamp(tmp_path / "IMG.xmp", "FileModifyDate=2024:05:01 10:00:00+00:00")
    with pytest.raises(PhotoHeld) as caught:
        store.check_writable(store.read(photo))
    assert caught.value.seconds == 22 * 3600


def test_what_lightroom_saves_while_the_models_are_asked_is_not_written_over(
    tmp_path: Path, store: MetadataStore
) -> None:
    photo = draw(tmp_path / "IMG.nef")
    sidecar = draw_sidecar(tmp_path / "IMG.xmp", *RATED)
    plan = store.plan(store.read(photo), annotation(), policy())
    stamp(sidecar, AN_HOUR_AGO, *SETTINGS)
    with pytest.raises(PhotoChanged):
        store.apply(plan)
    with pytest.raises(PhotoHeld):
        store.check_writable(store.read(photo))


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "Lightroom"
    folder.mkdir()
    (folder / "Main.lrcat").touch()
    return folder / "Main.lrcat"


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_catalogue_that_is_opened_while_the_models_are_asked_stops_the_write(
    tmp_path: Path, catalogue: Path, whole_folder: bool
) -> None:
    old = draw_sidecar(tmp_path / "IMG.xmp", *SETTINGS)
    photo, export = draw(tmp_path / "IMG.nef"), draw(tmp_path / "export.jpg", AN_HOUR_AGO)
    lock = catalogue.with_name("Main.lrcat.lock")
    with open_store(lightroom_catalogs=(catalogue.parent if whole_folder else catalogue,)) as store:
        existing = store.read(photo)
        store.check_writable(existing)
        plan = store.plan(existing, annotation(), policy())
        lock.touch()
        content = old.read_bytes()
        with pytest.raises(PhotoHeld, match=r"Main\.lrcat open: it waits until Main\.lrcat\.lock") as caught:
            store.apply(plan)
        assert caught.value.seconds == OPEN_WAIT
        assert old.read_bytes() == content
        tag(store, export)
        lock.unlink()
        store.apply(plan)


def test_another_catalogue_beside_the_one_that_is_named_may_be_open(tmp_path: Path, catalogue: Path) -> None:
    draw_sidecar(tmp_path / "IMG.xmp", *SETTINGS)
    catalogue.with_name("Other.lrcat.lock").touch()
    with open_store(lightroom_catalogs=(catalogue,)) as store:
        tag(store, draw(tmp_path / "IMG.nef"))


@pytest.mark.parametrize(
    ("named", "reason"), [("nowhere", "no such file"), ("Lightroom/Other.lrcat", "it is not there")]
)
def test_a_catalogue_that_cannot_be_seen_may_be_open(
    tmp_path: Path, catalogue: Path, named: str, reason: str
) -> None:
    draw_sidecar(tmp_path / "IMG.xmp", *SETTINGS)
    photo = draw(tmp_path / "IMG.nef")
    with open_store(lightroom_catalogs=(tmp_path / named,)) as store:
        with pytest.raises(PhotoHeld, match=f"cannot be seen .{reason}"):
            store.check_writable(store.read(photo))
        tag(store, draw(tmp_path / "export.jpg", AN_HOUR_AGO))


def test_nothing_waits_where_that_is_not_wished(tmp_path: Path) -> None:
    draw_sidecar(tmp_path / "IMG.xmp", AN_HOUR_AGO, *SETTINGS)
    with open_store(quiet_hours=0, lightroom_catalogs=(tmp_path / "nowhere",)) as store:
        tag(store, draw(tmp_path / "IMG.nef"))


def test_the_doctor_says_which_catalogues_can_be_seen(tmp_path: Path, catalogue: Path) -> None:
    settings = Settings(
        state_dir=tmp_path / "state",
        metadata=MetadataSettings(lightroom_catalogs=(catalogue, tmp_path / "nowhere")),
    )
    findings = asyncio.run(examine(Loaded(settings=settings, origins={}, file=None)))
    found = {finding.what: finding.passed for finding in findings}
    assert found[f"catalogue {catalogue}"] is True
    assert found[f"catalogue {tmp_path / 'nowhere'}"] is False
