"""Asking servers whose addresses users or the operator entered: the public internet only, whatever a name resolves to.

The address is judged where the socket is opened, so that a name that resolves differently a second time, an odd way of
writing an address and a list of addresses with one forbidden among them are all refused at the same place. Redirects
are not followed, proxies of the environment are not used, and no more of an answer is read than is kept.
"""

import asyncio
import ipaddress
import socket
import time
import unicodedata
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

# What is on the public internet, by the registries of IANA; Python's own lists differ from release to release. Of IPv6
# only what is handed out to anybody, so that every way of writing IPv4 in it stays out: IPv4-compatible ::/96, SIIT
# ::ffff:0:0:0/96, NAT64 64:ff9b::/96 and 64:ff9b:1::/48, as the site-local fec0::/10 does; without Teredo and its kin
# 2001::/23, documentation, and 6to4.
_PUBLIC = parsed(("0.0.0.0/0", "2000::/3"))
_RESERVED = parsed(
    (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip


class ForbiddenAddressError(Exception):
    """The server is not on the public internet, nor in a network that the operator opened."""


def may_be_asked(address: Address, port: int) -> bool:
    """Whether a user may make the portal connect there: port 80 or 443 of a public address, or an opened network."""
    real = unmapped(address)
    if any(real in network for network in parsed(tuple(settings.OUTBOUND_NETWORKS))):
        return True
    if port not in PORTS or not any(real in network for network in _PUBLIC):
        return False
    return not any(real in network for network in _RESERVED)


def validate_public_url(url: str) -> None:
    """Raise ValidationError when `url` cannot be asked, as far as it can be seen without resolving a name."""
    validate_base_url(url)
    parts = urlsplit(url)
    if settings.PRODUCTION and parts.scheme != "https":
        raise ValidationError(_("The address must begin with https://."), code="scheme")
    # As a resolver reads it: full-width digits are digits, 。 is a dot, and one at the end is none.
    host = unicodedata.normalize("NFKC", parts.hostname or "").replace("。", ".").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _written_address(host)
    # A zone means something on one machine only, and no name has a percent sign.
    if "%" in host or (address and not may_be_asked(address, port)):
        raise ValidationError(_("This address is not on the public internet."), code="forbidden")


def _written_address(host: str) -> Address | None:
    """The address that `host` is, in any of the spellings that resolvers understand (127.1, 0x7f000001); else None."""
    if f".{host}".endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return address_in(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: the beginning of its body, as text."""

    status: int
    text: str
    milliseconds: int


class GuardedClient:
    """Asks servers on the public internet, within one event loop."""

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
                return await _answer(response, started, most_bytes=KEPT_BYTES)

    async def get(self, url: str, *, most_bytes: int) -> Answer:
        """The same for a GET: the beginning of a body that may be longer."""
        started = time.monotonic()
        with named_failures():
            async with self._session.get(url, allow_redirects=False) as response:
                return await _answer(response, started, most_bytes=most_bytes)


def _open(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _name, target = info
    if not may_be_asked(address_in(target[0]), target[1]):
        raise ForbiddenAddressError
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    return opened


async def _answer(response: aiohttp.ClientResponse, started: float, *, most_bytes: int) -> Answer:
    kept = b""
    async for chunk in response.content.iter_chunked(most_bytes):
        kept += chunk
        if len(kept) >= most_bytes:
            break
    text = kept[:most_bytes].decode(errors="replace").replace("\0", "")
    return Answer(response.status, text, int((time.monotonic() - started) * 1000))


async def gather_in_turn(work: list[Any], *, at_once: int) -> list[Any]:
    """The results of `work` (coroutines), in order, no more than `at_once` of them under way at a time."""
    turns = asyncio.Semaphore(at_once)

    async def one(coroutine: Any) -> Any:
        async with turns:
            return await coroutine

    return await asyncio.gather(*(one(coroutine) for coroutine in work))
