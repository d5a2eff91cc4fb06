"""No address that a user enters leads into a private network."""

import asyncio
import ipaddress
import socket
import threading

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError

from common.outbound import ForbiddenAddressError, GuardedClient, may_be_asked, validate_public_url
from tests.fakes.receiver import receiver

FORBIDDEN = [
    str(ipaddress.IPv4Address(0)), "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "192.88.99.1", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2001:0:1::1", "2001:db8::1",
]  # fmt: skip

ODD = [
    "127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "localhost", "localhost.",
    "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[::]", "0", "127.0.0.1.",
    "\uff11\uff12\uff17.0.0.1", "①②⑦.⓪.⓪.①",
]  # fmt: skip
"""Ways of writing this machine that a resolver or a lenient parser understands."""


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_private_address_is_not_asked(address: str) -> None:
    assert not may_be_asked(ipaddress.ip_address(address), 443)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_a_public_one_is(address: str) -> None:
    assert may_be_asked(ipaddress.ip_address(address), 443)
    assert not may_be_asked(ipaddress.ip_address(address), 22)


def test_an_opened_network_is_asked_at_any_port(settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = ["10.1.0.0/16"]
    assert may_be_asked(ipaddress.ip_address("10.1.2.3"), 9000)
    assert not may_be_asked(ipaddress.ip_address("10.2.2.3"), 9000)


@pytest.mark.parametrize("host", ODD)
def test_no_spelling_reaches_this_machine(host: str) -> None:
    """A real listener hears nothing, however its address is written."""
    with receiver() as told:
        port = int(told.url.rsplit(":", 1)[1].split("/")[0])

        async def ask() -> None:
            async with GuardedClient(deadline_seconds=5) as client:
                await client.post(f"http://{host}:{port}/", b"", headers={})

        # Some are refused as addresses, some at the socket, some name no server at all: none is an answer.
        with pytest.raises(Exception):  # noqa: B017, PT011
            asyncio.run(ask())
        assert told.received == []


def test_it_works_where_it_may(settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told:

        async def ask() -> int:
            async with GuardedClient(deadline_seconds=5) as client:
                return (await client.post(told.url, b"{}", headers={})).status

        assert asyncio.run(ask()) == 204


def test_a_redirect_is_an_answer_and_not_followed(settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told, receiver() as inner:
        told.status, told.location = 302, inner.url

        async def ask() -> int:
            async with GuardedClient(deadline_seconds=5) as client:
                return (await client.post(told.url, b"{}", headers={})).status

        assert asyncio.run(ask()) == 302
        assert inner.received == []


def test_it_is_judged_at_the_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard = threading.Event()

        def listen() -> None:
            listener.settimeout(0.5)
            try:
                listener.accept()
            except TimeoutError:
                return
            heard.set()

        thread = threading.Thread(target=listen)
        thread.start()

        async def ask() -> None:
            async with GuardedClient(deadline_seconds=5) as client:
                await client.post(f"http://localhost:{listener.getsockname()[1]}/", b"", headers={})

        with pytest.raises(ForbiddenAddressError):
            asyncio.run(ask())
        thread.join()
        assert not heard.is_set()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", "scheme"),
        ("http://127.0.0.1/", "forbidden"),
        ("http://[::1]/", "forbidden"),
        ("https://example.com:8443/", None),
        ("https://1.1.1.1:8443/", "forbidden"),
        ("https://user:secret@example.com/", "userinfo"),
        ("not an address", "space"),
    ],
)
def test_a_form_says_what_is_wrong(url: str, code: str | None) -> None:
    if code is None:
        validate_public_url(url)
        return
    with pytest.raises(ValidationError) as caught:
        validate_public_url(url)
    assert caught.value.code == code


def test_production_wants_https(settings: LazySettings) -> None:
    settings.PRODUCTION = True
    with pytest.raises(ValidationError):
        validate_public_url("http://example.com/")
