"""Addresses are told apart by how far away they are, and whatever is not known to be near is public."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagger_daemon.vision.entry import Place
from tagger_daemon.vision.places import farthest, host_of, is_beyond, place_of, same_endpoint


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.3.4", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.178.20", "private"),
        ("169.254.1.1", "private"),
        ("100.64.0.1", "private"),
        ("100.127.255.255", "private"),
        ("fd12:3456::1", "private"),
        ("fe80::1", "private"),
        ("fe80::1%eth0", "private"),
        ("::ffff:192.168.1.5", "private"),
        ("172.32.0.1", "public"),
        ("100.128.0.1", "public"),
        ("11.0.0.1", "public"),
        ("8.8.8.8", "public"),
        ("203.0.113.7", "public"),  # documentation: `is_private` counts it
        ("198.18.0.1", "public"),
        ("240.0.0.1", "public"),
        ("255.255.255.255", "public"),
        ("224.0.0.251", "public"),
        ("2001:db8::1", "public"),
        ("2606:4700::1111", "public"),
        ("::ffff:8.8.8.8", "public"),
        ("64:ff9b::7f00:1", "public"),  # a translator's: where it leads is not ours to know
        ("2002:7f00:1::", "public"),
        ("::127.0.0.1", "public"),
    ],
)
def test_every_kind_of_address_has_its_place(address: str, place: Place) -> None:
    assert place_of(address) == place


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_address_that_is_wrapped_in_ipv6_is_where_it_was(address: ipaddress.IPv4Address) -> None:
    assert place_of(f"::ffff:{address}") == place_of(str(address))


@settings(deadline=None)
@given(st.ip_addresses())
def test_what_is_near_is_never_an_address_of_the_internet(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_global:
        assert place_of(str(address)) == "public"


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "1.2.3", "256.1.1.1", "http://127.0.0.1"])
def test_what_is_no_address_has_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        place_of(text)


def test_the_farthest_counts() -> None:
    assert farthest(["private", "public", "loopback"]) == "public"
    assert farthest(["loopback", "private"]) == "private"
    assert is_beyond("public", "private")
    assert is_beyond("private", "loopback")
    assert not is_beyond("private", "private")
    assert not is_beyond("loopback", "public")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.example.com/v1", "https://API.example.com:443/v1/", True),
        ("http://gpu", "http://gpu:80/v1", True),
        ("https://api.example.com/v1", "http://api.example.com/v1", False),
        ("https://api.example.com/v1", "https://api.example.com:8443/v1", False),
        ("https://api.example.com/a/v1", "https://api.example.com/b/v1", False),
        ("https://api.example.com/v1", "https://api.example.com.evil.example/v1", False),
    ],
)
def test_two_spellings_of_one_endpoint_are_known_for_one(one: str, other: str, same: bool) -> None:
    assert same_endpoint(one, other) is same
    assert same_endpoint(other, one) is same


def test_a_host_is_said_as_people_say_it() -> None:
    assert host_of("https://API.example.com:8443/v1") == "api.example.com"
    assert host_of("http://[2001:db8::1]:8000/v1") == "2001:db8::1"
