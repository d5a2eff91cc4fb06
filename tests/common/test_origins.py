from django.conf import LazySettings

from common.networks import address_in
from common.origins import _canonical, client_address

PEER = "10.0.0.1"


def test_it_works(settings: LazySettings) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    assert client_address(PEER, "203.0.113.9, ::ffff:192.0.2.1") == "192.0.2.1"
    assert client_address(PEER, "") == PEER
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 0
    assert client_address(PEER, "203.0.113.9") == PEER


def test_what_is_too_long_for_an_address_is_not_remembered(settings: LazySettings) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    for remembers in (_canonical, address_in):
        remembers.cache_clear()
    for claim in ("9" * 60_000, "fe80::1%" + "9" * 60_000):
        assert client_address(PEER, claim) == ""
    assert [remembers.cache_info().currsize for remembers in (_canonical, address_in)] == [0, 0]
