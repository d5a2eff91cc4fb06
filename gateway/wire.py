"""One request and its answer, as ASGI has them: Starlette's own classes would cost more than the gateway's work."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import orjson
from django.conf import settings
from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from apikeys.leaks import without_keys
from common.context import Origin
from common.errors import ApiError, BodyTooLargeError, OverloadedError, RateLimitError
from common.ids import request_id
from common.origins import MOST_AGENT_CHARACTERS, client_address
from common.stopping import CLOSE, stopping
from inference.bodies import read_object
from inference.checks import Body
from inference.shapes import ShapeOfErrors

RawHeaders = list[tuple[bytes, bytes]]
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
JSON: RawHeaders = [(b"content-type", b"application/json"), NO_SNIFFING]
EVENTS: RawHeaders = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    NO_SNIFFING,
    (b"cache-control", b"no-store"),
    # nginx would hold the words back until it has a buffer full.
    (b"x-accel-buffering", b"no"),
]
MOST_RETRY_DIGITS = 3
FORWARDED = "x-forwarded-for"
API_VERSION = (b"openai-version", b"2020-10-01")


# What has come of bodies that are yet to come to their end, in bytes by organization. They are in memory.
_coming: Counter[str] = Counter()
# How many of the largest it may be.
MOST_COMING = 32
# One organization has at most so many times what is left free: 24 where it is alone, less where others send as well, so
# that a few of them always leave room.
MOST_TO_FREE = 3


class ClientGoneError(Exception):
    """The client hung up: nobody is left to answer."""


class Exchange:
    """A request and the way to answer it. `organization_id` is the caller's, once it is known; else empty."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, shape_of_errors: ShapeOfErrors) -> None:
        self.started = time.perf_counter()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.path_params: dict[str, Any] = scope.get("path_params", {})
        # Names are in lower case here.
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.id = request_id()
        self.origin = Origin(
            address=client_address(_peer(scope), _forwarded_for(scope) if FORWARDED in self.headers else ""),
            user_agent=self.headers.get("user-agent", "")[:MOST_AGENT_CHARACTERS],
            retries=_retries(self.headers.get("x-stainless-retry-count", "")),
        )
        self.organization_id = ""
        self.receive = receive
        self.has_begun = False
        self._query: bytes = scope["query_string"]
        self._send = send
        self._shape_of_errors = shape_of_errors

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return time.perf_counter() - self.started

    def query(self) -> list[tuple[str, str]]:
        """The names and values of the query string, in order."""
        return QueryParams(self._query).multi_items()

    async def json(self) -> Body:
        """The JSON object in the body.

        Raises BadJsonError, InvalidValueError or BodyTooLargeError, and ClientGoneError when the client leaves before
        its end.
        """
        return read_object(await self.body())

    async def body(self) -> bytes:
        """The body as it came.

        Raises BodyTooLargeError, RateLimitError or OverloadedError while too much of others is coming, and
        ClientGoneError when the client leaves before its end.
        """
        limit: int = settings.GATEWAY_MAX_BODY_BYTES
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise BodyTooLargeError(limit_bytes=limit)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in self.pieces():
                size += len(part)
                _coming[self.organization_id] += len(part)
                if size > limit:
                    raise BodyTooLargeError(limit_bytes=limit)
                parts.append(part)
                if len(parts) > 1:
                    self._check_coming(limit)
            return b"".join(parts)
        finally:
            _coming[self.organization_id] -= size
            if not _coming[self.organization_id]:
                del _coming[self.organization_id]

    def _check_coming(self, largest: int) -> None:
        own, free = _coming[self.organization_id], MOST_COMING * largest - _coming.total()
        if own <= MOST_TO_FREE * free:
            return
        if own > largest:
            raise RateLimitError(
                "Your organization is sending many large requests at this moment. Try again when some have arrived.",
                kind="requests",
                wait_seconds=5,
            )
        raise OverloadedError("Many large requests are arriving. Try again in a moment.", wait_seconds=5)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises ClientGoneError when the client leaves before its end.
        """
        is_last = False
        while not is_last:
            message = await self.receive()
            is_last = not message.get("more_body")
            yield _part(message)

    async def send_json(
        self, status: int, body: bytes | bytearray, *, headers: Mapping[str, str], upstream: float = 0.0
    ) -> None:
        """Answer with a JSON body."""
        length = (b"content-length", str(len(body)).encode())
        await self._begin(status, [*JSON, length, *self._headers(headers, upstream)])
        await self._send({"type": "http.response.body", "body": body})

    async def send_error(self, error: ApiError) -> None:
        """Answer with an error, which says no key again: clients write errors into their logs."""
        body = without_keys(orjson.dumps(self._shape_of_errors(error)).decode()).encode()
        await self.send_json(error.status, body, headers=error.headers)

    async def begin(self, content_type: str, *, headers: Mapping[str, str], upstream: float = 0.0) -> None:
        """Begin an answer that is no JSON, sent as it is made: server-sent events unless it has a content type."""
        kind = [(b"content-type", content_type.encode("latin-1")), NO_SNIFFING] if content_type else EVENTS
        await self._begin(200, [*kind, *self._headers(headers, upstream)])

    async def send_frames(self, frames: bytes) -> None:
        """Send some of what has begun, once the client has taken most of what was sent before."""
        await self._send({"type": "http.response.body", "body": frames, "more_body": True})

    async def end(self) -> None:
        """End what has begun."""
        await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, headers: RawHeaders) -> None:
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _headers(self, headers: Mapping[str, str], upstream: float) -> RawHeaders:
        total = self.seconds
        timing = f"upstream;dur={upstream * 1000:.1f}, gateway;dur={(total - upstream) * 1000:.1f}"
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        raw.append((b"x-request-id", self.id.encode()))
        # The name by which Anthropic's SDK looks for it.
        raw.append((b"request-id", self.id.encode()))
        raw.append((b"openai-processing-ms", str(int(total * 1000)).encode()))
        raw.append((b"server-timing", timing.encode()))
        raw.append(API_VERSION)
        if self.organization_id:
            raw.append((b"openai-organization", self.organization_id.encode()))
        if stopping.is_on:
            raw.append(CLOSE)
        return raw


class WhileClientListens:
    """Cancels what is done inside as soon as the client hangs up, and raises ClientGoneError in its place.

    To be entered once the body is read: from then on the only thing a client can still say is that it leaves.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_gone = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Only a task can be cancelled.")
        self._task = task
        self._watcher = asyncio.ensure_future(_disconnect(self._receive))
        self._watcher.add_done_callback(self._leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.remove_done_callback(self._leave)
        self._watcher.cancel()
        if self._is_gone and self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise ClientGoneError from None

    def _leave(self, watcher: "asyncio.Future[None]") -> None:
        if not watcher.cancelled():
            self._is_gone = True
            self._task.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _peer(scope: Scope) -> str:
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""


def _forwarded_for(scope: Scope) -> str:
    """Some proxies add a header of their own behind the caller's instead of to it."""
    lines: list[bytes] = [value for name, value in scope["headers"] if name == FORWARDED.encode()]
    return b",".join(lines).decode("latin-1")


def _retries(told: str) -> int:
    """How often the client made the call before, as the SDKs of OpenAI and Anthropic tell."""
    return int(told) if told.isascii() and told.isdecimal() and len(told) <= MOST_RETRY_DIGITS else 0


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    part: bytes = message.get("body", b"")
    return part
