"""HTTP to inference servers, over connections that are kept. Every phase of a call is bounded in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection

from common.errors import UpstreamError, UpstreamTimeoutError
from inference.failures import AttemptFailedError, from_status

# Twenty log probabilities for each of 40,000 tokens, or 2048 embeddings of 4096 numbers in base64.
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
LARGEST_ERROR_BYTES = 64 * 1024
# Several times as much waits on the way to a client that does not read.
READ_BUFFER_BYTES = 64 * 1024
# In which a machine that is there has taken a connection.
SOON_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each phase of a call may take: to connect, to the first byte, between bytes, and in all."""

    connect: float
    first_byte: float
    idle: float
    total: float


class Reply:
    """A server's answer that has begun well. Leave it with `close`, or read it to its end."""

    def __init__(self, response: aiohttp.ClientResponse, *, timeouts: Timeouts, started: float) -> None:
        self._response = response
        self._timeouts = timeouts
        self._first_byte_by = started + timeouts.first_byte
        self._deadline = started + timeouts.total

    @property
    def is_event_stream(self) -> bool:
        return self._response.content_type == "text/event-stream"

    @property
    def content_type(self) -> str:
        """As the server calls it, in lower case and without parameters."""
        return self._response.content_type

    async def read(self) -> bytearray:
        """The whole body.

        Raises AttemptFailedError when it breaks off, and when it is larger than any answer can be.
        """
        received = bytearray()
        try:
            async for piece in self.pieces():
                received += piece
                if len(received) > LARGEST_ANSWER_BYTES:
                    raise UpstreamError()
        except UpstreamError as error:
            raise AttemptFailedError(error, is_servers=True) from error
        return received

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises UpstreamTimeoutError when nothing comes for too long, UpstreamError when the connection breaks.
        """
        content, clock = self._response.content, asyncio.get_running_loop().time
        patience = _Patience(self._response, self._deadline)
        expected_by = self._first_byte_by
        try:
            while True:
                patience.begin(expected_by)
                piece = await content.readany()
                if not piece:
                    return
                patience.pause()
                yield piece
                expected_by = clock() + self._timeouts.idle
        except (aiohttp.ClientError, OSError) as error:
            if patience.has_ended:
                raise UpstreamTimeoutError() from error
            raise UpstreamError("The model's server closed the connection before the answer was complete.") from error
        finally:
            patience.stop()

    def close(self) -> None:
        """Close the connection if the answer is not yet complete: the server notices and stops working on it."""
        self._response.close()

    def release(self) -> None:
        """Give the connection back after the last byte."""
        self._response.release()


class _Patience:
    """Closes a response that is waited for too long.

    One timer looks on for the whole answer: one for each piece of it would cost as much as the rest of that piece.
    """

    def __init__(self, response: aiohttp.ClientResponse, deadline: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._response = response
        self._deadline = self._until = self._looks_at = deadline
        self._timer = self._loop.call_at(deadline, self._look)
        self.has_ended = False

    def begin(self, until: float) -> None:
        """Wait until then and no longer, nor longer than until the deadline."""
        self._until = min(until, self._deadline)
        if self._until < self._looks_at:
            self._look_again()

    def pause(self) -> None:
        """Nothing is waited for: only the deadline still holds."""
        self._until = self._deadline

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._loop.time() < self._until:
            self._look_again()
        else:
            self.has_ended = True
            self._response.close()

    def _look_again(self) -> None:
        self._timer.cancel()
        self._looks_at = self._until
        self._timer = self._loop.call_at(self._until, self._look)


@dataclass(slots=True)
class _Sending:
    """How one call is sent."""

    waits: Callable[[], None]
    begins: Callable[[], Awaitable[None]]
    on_kept_connection: bool = False


_sending: ContextVar[_Sending] = ContextVar("sending")


class _Connector(aiohttp.TCPConnector):
    """Tells when there is a connection, and which were kept: aiohttp's own tracing would, for a sixth of what a call
    costs here.

    And hangs up at once: to close a connection would first send all of the request, which nobody waits for any more.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as aiohttp has it
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        try:
            await _sending.get().begins()
        except BaseException:
            # Nothing was sent on it.
            connection.release()
            raise
        return connection

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as aiohttp has it
    ) -> ResponseHandler:
        timer = asyncio.get_running_loop().call_later(SOON_SECONDS, _sending.get().waits)
        try:
            return await super()._create_connection(req, traces, timeout)
        finally:
            timer.cancel()

    async def _get(self, key: ConnectionKey, traces: list[aiohttp.tracing.Trace]) -> Connection | None:
        connection = await super()._get(key, traces)
        if connection is not None:
            _sending.get().on_kept_connection = True
        return connection

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close:
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)


class InferenceClient:
    """Sends calls to inference servers. It belongs to one event loop: enter it there, leave it there."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Limits on callers are ours to keep; a second one here would only queue what was admitted.
            connector=_Connector(limit=0, keepalive_timeout=25, ttl_dns_cache=30, enable_cleanup_closed=False),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "Lyceum"},
            read_bufsize=READ_BUFFER_BYTES,
            raise_for_status=False,
            # Nobody asked for compression: what came so anyway could unpack to far more than it is.
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        url: str,
        *,
        credential: str,
        payload: bytes,
        content_type: str,
        timeouts: Timeouts,
        waits: Callable[[], None],
        begins: Callable[[], Awaitable[None]],
        ends: Callable[[], None],
        may_lack: str = "",
    ) -> Reply:
        """Send `payload` and return once the server has begun a good answer.

        `waits` is called when the server does not take a connection at once, and `begins` when it is reached: until it
        is through the server cannot have had anything of the call. `ends` is called when all of a good answer has
        arrived, which may be long before it is read; not when it breaks off.
        `may_lack` is the path below `/v1` when good servers may be without it; empty when they all have it.
        Raises AttemptFailedError for anything else. A redirect is not followed: it could lead anywhere.
        """
        session = self._open_session()
        started = asyncio.get_running_loop().time()
        sending = _Sending(waits, begins)
        _sending.set(sending)
        try:
            async with asyncio.timeout_at(started + min(timeouts.first_byte, timeouts.total)):
                response = await session.post(
                    url,
                    data=payload,
                    headers=_headers(credential, content_type),
                    timeout=_connecting(timeouts.connect),
                    allow_redirects=False,
                )
        except TimeoutError as error:
            # Only a server that never took the call may be replaced: one that is at work would do it twice.
            refused = isinstance(error, aiohttp.ConnectionTimeoutError)
            raise AttemptFailedError(UpstreamTimeoutError(), elsewhere=refused, is_servers=True) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise AttemptFailedError(UpstreamError(), elsewhere=True) from error
            # A kept connection that the server was just closing looks like this, and so does a server that the call
            # has ended: on a new connection it can only be that.
            raise AttemptFailedError(UpstreamError(), again=sending.on_kept_connection, is_servers=True) from error
        except ValueError as error:
            # The address is none, so that nothing was sent.
            raise AttemptFailedError(UpstreamError(), elsewhere=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptFailedError(UpstreamError(), is_servers=True) from error
        finally:
            # A connection that is kept keeps the context it was made in, which must not keep the call.
            del sending.waits, sending.begins
        if response.status != 200:
            raise await self._failure(response, may_lack, timeouts)
        response.content.on_eof(ends)
        return Reply(response, timeouts=timeouts, started=started)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("The client is not open: enter it with `async with` first.")
        return self._session

    async def _failure(self, response: aiohttp.ClientResponse, may_lack: str, timeouts: Timeouts) -> AttemptFailedError:
        try:
            async with asyncio.timeout(timeouts.idle):
                body = await response.content.read(LARGEST_ERROR_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError):
            body = b""
        finally:
            response.close()
        retry_after = response.headers.get("Retry-After")
        return from_status(response.status, body, retry_after=retry_after, may_lack=may_lack)


@lru_cache
def _connecting(seconds: float) -> aiohttp.ClientTimeout:
    """Of aiohttp's time-outs the one that tells a server which was never reached; the others are kept here."""
    return aiohttp.ClientTimeout(total=None, connect=seconds)


def _headers(credential: str, content_type: str) -> Mapping[str, str]:
    headers = {"Content-Type": content_type}
    if credential:
        headers["Authorization"] = f"Bearer {credential}"
    return headers
