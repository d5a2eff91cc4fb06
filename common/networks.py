"""Lists of IP networks: what people write, and whether an address is in one."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

# How much of an IPv6 address says that the rest is an IPv4 address.
MAPPED_BITS = 96
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=10_000)
def address_in(text: str) -> Address:
    """The address without its zone, which means something on one machine only; IPv4 written as IPv6 becomes IPv4.

    Raises ValueError for anything else.
    """
    return unmapped(ipaddress.ip_address(text.partition("%")[0]))


def unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def canonical(text: str) -> str:
    """An address or a network in CIDR notation as it is stored; IPv4 written as IPv6 becomes IPv4, as callers do.

    Raises ValueError for anything else, and for a network with bits set beyond its length (10.0.0.1/8).
    """
    if "%" in text:
        raise ValueError("The zone of an address means something on one machine only.")
    network = ipaddress.ip_network(text.strip())
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= MAPPED_BITS:
        first = unmapped(network.network_address)
        if first.version == 4:
            network = ipaddress.ip_network((first, network.prefixlen - MAPPED_BITS))
    return str(network)


def contains(networks: tuple[str, ...], address: str) -> bool:
    """Whether one of `networks` holds the address; False for what is no address."""
    try:
        place = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(place in network for network in parsed(networks))


def outside(inner: Iterable[str], outer: Iterable[str]) -> list[str]:
    """Those of `inner` that are not wholly within one of `outer`."""
    wide = parsed(tuple(outer))
    return [text for text in inner if not any(_is_within(ipaddress.ip_network(text), network) for network in wide)]


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


@lru_cache(maxsize=10_000)
def parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks written as CIDR. Raises ValueError for anything else."""
    return tuple(ipaddress.ip_network(text) for text in networks)
