"""Lists of IP networks: what people write, and whether an address is in one."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def canonical(text: str) -> str:
    """An address or a network in CIDR notation as it is stored.

    Raises ValueError for anything else, and for a network with bits set beyond its length (10.0.0.1/8).
    """
    return str(ipaddress.ip_network(text.strip()))


def contains(networks: tuple[str, ...], address: str) -> bool:
    """Whether one of `networks` holds the address; False for what is no address."""
    try:
        place = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(place in network for network in _parsed(networks))


def outside(inner: Iterable[str], outer: Iterable[str]) -> list[str]:
    """Those of `inner` that are not wholly within one of `outer`."""
    wide = _parsed(tuple(outer))
    return [text for text in inner if not any(_is_within(ipaddress.ip_network(text), network) for network in wide)]


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


@lru_cache(maxsize=10_000)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in networks)
