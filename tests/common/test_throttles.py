"""How often one address may ask."""

import pytest
from django.conf import LazySettings
from django.core.cache import caches

from common.throttles import is_too_often


def ask(address: str) -> bool:
    return is_too_often("test", address=address, most=2, seconds=60)


def test_it_works() -> None:
    assert [ask("192.0.2.1") for _time in range(3)] == [False, False, True]
    assert not ask("192.0.2.2")


def test_a_network_of_ipv6_is_one() -> None:
    assert [ask(f"2001:db8::{number}") for number in range(1, 4)] == [False, False, True]
    assert not ask("2001:db8:0:1::1")


@pytest.mark.parametrize("address", ["", "nowhere"])
def test_who_has_no_address_shares_one(address: str) -> None:
    assert [ask(address) for _time in range(3)] == [False, False, True]


def test_without_the_counter_nobody_is_refused(settings: LazySettings) -> None:
    backend = settings.CACHES["default"]
    settings.CACHES = {"default": {**backend, "LOCATION": "redis://127.0.0.1:9/0"}}
    assert not any(ask("192.0.2.3") for _time in range(4))
    caches["default"].close()
