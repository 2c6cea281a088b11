"""What leaves the private network is what somebody agreed to, for this server and folder, and no more."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tagger_daemon.model import Answer, Draft, Origin, Stage
from tagger_daemon.settings import RemoteSettings
from tagger_daemon.vision.consents import (
    Consents,
    Disclosure,
    how_to_agree,
    not_agreed,
    repeatable,
)
from tagger_daemon.vision.entry import Entry

URL = "https://api.example.com/v1"


def agreed(*folders: str, **changes: Any) -> RemoteSettings:
    return RemoteSettings(endpoint=URL, folders=tuple(map(Path, folders)), **changes)


@pytest.mark.parametrize(
    ("folder", "permitted"),
    [
        ("/photos/inbox", True),
        ("/photos/inbox/2026/05", True),
        ("/photos", False),
        ("/photos/inbox2", False),
        ("/photos/in", False),
        ("/other/photos/inbox", False),
        ("/", False),
        ("/photos/inbox/../private", False),
    ],
)
def test_a_consent_is_for_the_folder_and_what_lies_below(folder: str, permitted: bool) -> None:
    consents = Consents([agreed("/photos/inbox")])
    silent = Disclosure(folder=Path(folder), people=False, places=False)
    assert consents.permit(URL, silent) is permitted
    assert (consents.agreed(URL, Path(folder)) is not None) is permitted


def test_a_consent_is_for_one_server_however_its_address_is_spelt() -> None:
    consents = Consents([agreed("/photos")])
    silent = Disclosure(folder=Path("/photos"), people=False, places=False)
    assert consents.known("https://API.example.com:443/v1/")
    assert consents.permit("https://api.example.com", silent)
    for other in ("http://api.example.com/v1", "https://api.example.net/v1", "https://api.example.com:1/v1"):
        assert not consents.known(other)
        assert not consents.permit(other, silent)


def test_nothing_is_agreed_to_for_nobodys_photo_or_without_any_consent() -> None:
    silent = Disclosure(people=False, places=False)
    assert not Consents([agreed("/")]).permit(URL, silent)
    assert not Consents().permit(URL, silent.evolve(folder=Path("/photos")))


@pytest.mark.parametrize("people", [True, False])
@pytest.mark.parametrize("places", [True, False])
def test_names_are_told_only_where_that_was_agreed_to(people: bool, places: bool) -> None:
    consents = Consents([agreed("/photos", people=people, places=places)])
    disclosed = Disclosure(folder=Path("/photos"))
    assert consents.agreed(URL, Path("/photos/a")) == disclosed.evolve(people=people, places=places)
    assert consents.permit(URL, disclosed) is (people and places)
    assert consents.permit(URL, disclosed.evolve(places=False)) is people
    assert consents.permit(URL, disclosed.evolve(people=False)) is places


def test_the_innermost_folder_decides_and_of_two_for_one_folder_the_more_careful() -> None:
    open_minded = agreed("/photos", people=True, places=True)
    inner = Path("/photos/family/2026")
    assert Consents([open_minded, agreed("/photos/family")]).agreed(URL, inner) == Disclosure(
        folder=Path("/photos/family"), people=False, places=False
    )
    assert Consents([open_minded, agreed("/photos", people=True)]).agreed(URL, inner) == Disclosure(
        folder=Path("/photos"), people=True, places=False
    )


def test_what_is_sent_in_clear_has_to_be_agreed_to_by_all_that_is_said_of_the_server() -> None:
    clear = agreed("/a", allow_unencrypted=True)
    assert Consents([clear]).unencrypted(URL)
    assert not Consents([clear, agreed("/b")]).unencrypted(URL)
    assert not Consents().unencrypted(URL)


def test_what_a_person_has_to_add_is_valid_and_does_what_it_says() -> None:
    folder = Path('/photos/"2026" \\ new')
    advice = how_to_agree(URL, folder).partition("own: ")[2]
    assert not_agreed(URL, folder).endswith(advice)
    added = RemoteSettings(**tomllib.loads(advice.replace(", ", "\n"))["remote"][0])
    assert Consents([added]).permit(URL, Disclosure(folder=folder, people=False, places=False))


def test_an_answer_of_somebody_who_was_told_names_is_not_repeated_to_somebody_who_is_not() -> None:
    def by(entry: str, value: str | tuple[str, ...]) -> Answer:
        origin = Origin(
            entry=entry,
            model="m",
            digest=None,
            registry="r",
            profile="p",
            profile_hash="h",
            endpoint="http://127.0.0.1/v1",
        )
        return Answer(value=value, origin=origin, raw=f"It is: {value}")

    draft = Draft().with_answer(Stage.CAPTION, by("local", "Anna on Pier 39."))
    draft = draft.with_answer(Stage.KEYWORDS, by("remote", ("pier",)))
    entry = Entry(name="remote", backend="openai", served_model="m")
    assert repeatable(draft, entry, Disclosure()) == draft
    for disclosed in (Disclosure(people=False), Disclosure(places=False)):
        assert repeatable(draft, entry, disclosed) == draft.only([Stage.KEYWORDS])
