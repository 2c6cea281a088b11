"""Where an endpoint is: on this machine, in a private network, or anywhere else in the world."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from tagger_daemon.vision.entry import Place

#: From the nearest to the farthest.
_DISTANCE: Final[dict[Place, int]] = {"loopback": 0, "private": 1, "public": 2}

#: Addresses that lead to this very machine. Linux connects to itself for the unspecified ones too.
_LOOPBACK: Final = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128")))

#: Addresses that no router on the way to the internet passes on: RFC 1918, RFC 3927 (link-local), RFC 6598
#: (carriers and VPNs such as Tailscale), RFC 4193 (unique local), RFC 4291 (link-local). Written out, because
#: `ipaddress.is_private` counts more, and not the same in every version of Python.
_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "100.64.0.0/10",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)

_PORTS: Final = {"http": 80, "https": 443}


def place_of(address: str) -> Place:
    """Return where an IP address is; whatever is not known to be near is public.

    Raises:
        ValueError: it is no IP address.
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if any(parsed in network for network in _LOOPBACK):
        return "loopback"
    return "private" if any(parsed in network for network in _PRIVATE) else "public"


def farthest(places: Iterable[Place]) -> Place:
    """Return the place that is furthest away."""
    return max(places, key=_DISTANCE.__getitem__)


def is_beyond(place: Place, limit: Place) -> bool:
    """Tell whether a place is further away than another."""
    return _DISTANCE[place] > _DISTANCE[limit]


def host_of(url: str) -> str:
    """Return the host of a URL, as a person would say it."""
    return urlsplit(url).hostname or url


def same_endpoint(one: str, other: str) -> bool:
    """Tell whether two base URLs mean one server: letters' case, default ports and a bare host aside."""
    return _parts(one) == _parts(other)


def _parts(url: str) -> tuple[str, str | None, int | None, str]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname,
        parts.port or _PORTS.get(parts.scheme),
        parts.path.rstrip("/") or "/v1",
    )
