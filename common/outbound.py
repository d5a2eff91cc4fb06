"""Asking servers whose addresses users entered: the public internet only, whatever a name resolves to.

The address is judged where the socket is opened, so that a name that resolves differently a second time, an odd way of
writing an address and a list of addresses with one forbidden among them are all refused at the same place. Redirects
are not followed, proxies of the environment are not used, and no more of an answer is read than is kept.
"""

import asyncio
import ipaddress
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from common.http import named_failures, validate_base_url
from common.networks import Address, address_in, parsed, unmapped

KEPT_BYTES = 1024
PORTS = (80, 443)

# Ways into IPv4 that Python takes for global addresses: NAT64, 6to4, Teredo, and the 6to4 relays.
_TUNNELS = parsed(("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.88.99.0/24"))


class ForbiddenAddressError(Exception):
    """The server is not on the public internet, nor in a network that the operator opened."""


def may_be_asked(address: Address, port: int) -> bool:
    """Whether a user may make the portal connect there: port 80 or 443 of a public address, or an opened network."""
    real = unmapped(address)
    if any(real in network for network in parsed(tuple(settings.OUTBOUND_NETWORKS))):
        return True
    if port not in PORTS or not real.is_global or real.is_multicast:
        return False
    return not any(real in network for network in _TUNNELS)


def validate_public_url(url: str) -> None:
    """Raise ValidationError when `url` cannot be asked, as far as it can be seen without resolving a name."""
    validate_base_url(url)
    parts = urlsplit(url)
    if settings.PRODUCTION and parts.scheme != "https":
        raise ValidationError(_("The address must begin with https://."), code="scheme")
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not may_be_asked(address, port):
        raise ValidationError(_("This address is not on the public internet."), code="forbidden")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: the beginning of its body, as text."""

    status: int
    text: str
    milliseconds: int


class GuardedClient:
    """Posts to addresses that users entered, within one event loop."""

    def __init__(self, *, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=_open, use_dns_cache=False, force_close=True),
            timeout=aiohttp.ClientTimeout(total=self._deadline_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, body: bytes, *, headers: dict[str, str]) -> Answer:
        """The answer to a POST, of whatever status.

        Raises ForbiddenAddressError before a byte is sent, and NoAnswerError within the deadline.
        """
        started = time.monotonic()
        with named_failures():
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                text = (await _beginning(response)).decode(errors="replace")
        return Answer(response.status, text.replace("\0", ""), int((time.monotonic() - started) * 1000))


def _open(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _name, target = info
    if not may_be_asked(address_in(target[0]), target[1]):
        raise ForbiddenAddressError
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    return opened


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    kept = b""
    async for chunk in response.content.iter_chunked(KEPT_BYTES):
        kept += chunk
        if len(kept) >= KEPT_BYTES:
            break
    return kept[:KEPT_BYTES]


async def gather_in_turn(work: list[Any], *, at_once: int) -> list[Any]:
    """The results of `work` (coroutines), in order, no more than `at_once` of them under way at a time."""
    turns = asyncio.Semaphore(at_once)

    async def one(coroutine: Any) -> Any:
        async with turns:
            return await coroutine

    return await asyncio.gather(*(one(coroutine) for coroutine in work))
