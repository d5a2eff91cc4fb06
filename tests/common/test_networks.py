import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.networks import address_in, canonical, contains, outside


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
    ],
)
def test_it_works(written: str, stored: str) -> None:
    assert canonical(written) == stored


@pytest.mark.parametrize("junk", ["", "x", "10.0.0.1/8", "10.0.0.0/33", "fe80::1%eth0", "1", "::/129", "0x7f.1"])
def test_anything_else_is_refused(junk: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of its many texts
        canonical(junk)


@given(st.ip_addresses(), st.integers(0, 32))
def test_an_address_is_in_the_networks_around_it(address: object, length: int) -> None:
    network = str(ipaddress.ip_network((str(address), length), strict=False))
    assert contains((network,), str(address))
    assert outside([f"{address}/{ipaddress.ip_address(str(address)).max_prefixlen}"], [network]) == []


def test_what_is_elsewhere_is_not() -> None:
    networks = ("10.0.0.0/8", "2001:db8::/32")
    for address in ("11.0.0.1", "2001:db9::1", "", "junk", "::ffff:10.0.0.1"):
        assert not contains(networks, address)
    assert outside(["10.1.0.0/16", "0.0.0.0/0", "2001:db8:1::/48", "::/0"], networks) == ["0.0.0.0/0", "::/0"]


@pytest.mark.parametrize(
    ("written", "read"), [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1")]
)
def test_an_address_is_read_as_callers_have_it(written: str, read: str) -> None:
    assert str(address_in(written)) == read
