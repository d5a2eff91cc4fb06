"""Asking other HTTP servers: short deadlines, bounded answers, no redirect followed, no proxy, no cookie.

For addresses that staff entered, which may be on private networks; addresses that users enter are not for this client.
"""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

T = TypeVar("T")

MAX_REPLY_BYTES = 4 * 1024 * 1024


def validate_base_url(url: str) -> None:
    """Raise ValidationError, saying what is wrong, when `url` cannot be the address of an HTTP API.

    Names without a dot are welcome (`http://vllm:8000`), a user name and password are not: an address is shown on
    pages and written to logs.
    """
    if re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise ValidationError(_("The address contains a space or a control character."), code="space")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValidationError(_("This is not an address."), code="malformed") from None
    if parts.scheme not in {"http", "https"}:
        raise ValidationError(_("The address must begin with http:// or https://."), code="scheme")
    if not parts.hostname or port == 0:
        raise ValidationError(_("The address names no server."), code="host")
    if "@" in parts.netloc:
        raise ValidationError(_("Leave the user name and password out of the address."), code="userinfo")
    if parts.query or parts.fragment:
        raise ValidationError(_("Leave what follows “?” or “#” out of the address."), code="query")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what decides whether a credential given for one address may go to another."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class Failure(StrEnum):
    """Why there is no answer at all."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNKNOWN_HOST = "unknown_host"
    TLS = "tls"
    BROKEN = "broken"


class NoAnswerError(Exception):
    """The server gave no complete answer. The message names the failure, never an address or a header."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


@contextmanager
def named_failures() -> Iterator[None]:
    """Raises NoAnswerError, with the failure's kind, in place of what aiohttp raises when a server gives no answer."""
    try:
        yield
    except TimeoutError:
        raise NoAnswerError(Failure.TIMEOUT) from None
    # From None throughout: what aiohttp says names the address and can quote the request's headers.
    except aiohttp.ClientConnectorDNSError:
        raise NoAnswerError(Failure.UNKNOWN_HOST) from None
    except (aiohttp.ClientSSLError, ssl.SSLError):
        raise NoAnswerError(Failure.TLS) from None
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        raise NoAnswerError(Failure.REFUSED if refused else Failure.BROKEN) from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise NoAnswerError(Failure.BROKEN) from None


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer of any status."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Client:
    """Asks within one event loop; `credential` travels as a bearer token and only to the address asked."""

    def __init__(self, *, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._deadline_seconds), cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, url: str, *, credential: str = "") -> Reply:
        """The answer to GET. Raises NoAnswerError within the deadline, however slowly bytes trickle in."""
        return await self._ask("GET", url, credential, None)

    async def post(self, url: str, body: dict[str, Any], *, credential: str = "") -> Reply:
        """The answer to POST of a JSON body, under the same rule as `get`."""
        return await self._ask("POST", url, credential, body)

    async def _ask(self, method: str, url: str, credential: str, body: dict[str, Any] | None) -> Reply:
        if self._session is None:
            raise RuntimeError("Use the client as a context manager.")
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        started = time.monotonic()
        with named_failures():
            async with self._session.request(
                method, url, headers=headers, json=body, allow_redirects=False
            ) as response:
                content = await _read(response)
        return Reply(status=response.status, body=content, seconds=time.monotonic() - started)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_REPLY_BYTES:
            raise NoAnswerError(Failure.BROKEN)
    return bytes(content)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of asynchronous `work`, waited for in this thread.

    Unlike asyncio.run it does not wait for the threads that resolve names: a hanging name server costs the deadline of
    one question and not the resolver's own half minute.
    """
    with closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(work)
