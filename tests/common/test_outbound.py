"""No address that a user enters leads into a private network."""

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError

from common.networks import address_in
from common.outbound import Answer, ForbiddenAddressError, GuardedClient, may_be_asked, validate_public_url
from tests.fakes.receiver import receiver

LINES = (Path(__file__).parent / "outbound_forms.txt").read_text(encoding="utf-8").splitlines()
FORMS = [line.split(" ", 1) for line in LINES if line and not line.startswith("#")]
ENTERED = [url for where, url in FORMS if where == "entered"]
ALL = [url for _where, url in FORMS]


class Canary:
    """A listener on this machine, in both families where it has them, that counts who comes."""

    def __init__(self) -> None:
        self.heard = 0
        self._listeners = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._listeners[0].getsockname()[1]
        with suppress(OSError):
            self._listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self._threads = [threading.Thread(target=self._listen, args=(one,)) for one in self._listeners]

    def __enter__(self) -> "Canary":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        for listener in self._listeners:
            # Closing alone does not wake who waits in accept.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()

    def _listen(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _address = listener.accept()
                self.heard += 1
                connection.close()


async def try_each(urls: list[str]) -> list[object]:
    """What a POST to each came to: an answer or an error."""
    async with GuardedClient(deadline_seconds=5) as client:
        asked = [client.post(url, b"{}", headers={}) for url in urls]
        return await asyncio.gather(*asked, return_exceptions=True)


def test_there_are_many_forms() -> None:
    assert len(set(ALL)) == len(ALL) >= 120


def test_no_form_reaches_this_machine() -> None:
    with Canary() as canary:
        outcomes = asyncio.run(try_each([url.replace("{port}", str(canary.port)) for url in ALL]))
        # The control: it hears who does come.
        with socket.create_connection(("127.0.0.1", canary.port)) as control:
            assert control.recv(1) == b""
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert canary.heard == 1


@pytest.mark.parametrize("url", ALL)
def test_nothing_that_a_form_resolves_to_is_asked(url: str) -> None:
    """At a port that is open to the world, so that the address alone is judged."""
    try:
        host = urlsplit(url.replace("{port}", "443")).hostname or ""
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError, ValueError):
        return
    assert [info[4][0] for info in found if may_be_asked(address_in(str(info[4][0])), 443)] == []


@pytest.mark.parametrize("url", ENTERED)
def test_a_form_is_refused_where_it_is_entered(url: str) -> None:
    with pytest.raises(ValidationError):
        validate_public_url(url.replace(":{port}", ""))


def test_a_redirect_to_any_form_is_not_followed(settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8", "::1/128"]
    with Canary() as canary, receiver() as told:
        told.status = 307
        for url in ALL:
            told.location = url.replace("{port}", str(canary.port)).encode().decode("latin-1")
            [answer] = asyncio.run(try_each([told.url]))
            assert isinstance(answer, Answer)
            assert answer.status == 307
    assert canary.heard == 0
    assert len(told.received) == len(ALL)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_a_public_one_is(address: str) -> None:
    assert may_be_asked(ipaddress.ip_address(address), 443)
    assert not may_be_asked(ipaddress.ip_address(address), 22)


def test_an_opened_network_is_asked_at_any_port(settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = ["10.1.0.0/16"]
    assert may_be_asked(ipaddress.ip_address("10.1.2.3"), 9000)
    assert not may_be_asked(ipaddress.ip_address("10.2.2.3"), 9000)
    validate_public_url("http://0xa010203:9000/")
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    validate_public_url("http://localhost:9000/")


def test_it_works_where_it_may(settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told:

        async def ask() -> int:
            async with GuardedClient(deadline_seconds=5) as client:
                return (await client.post(told.url, b"{}", headers={})).status

        assert asyncio.run(ask()) == 204


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
