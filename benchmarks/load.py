"""A load generator that is not the limit: HTTP/1.1 written by hand on uvloop, one request at a time a connection."""

import asyncio
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

CHUNK_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Result:
    """How one run went. Times are milliseconds; `failed` counts every answer but 200."""

    requests_per_second: float
    p50: float
    p99: float
    requests: int
    failed: int


class _Caller(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, request: bytes, run: "_Run") -> None:
        self._request = request
        self._run = run
        self._buffer = b""
        self._needed = 0
        self._is_first_byte_timed = run.first_event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._ask()

    def _ask(self) -> None:
        self._buffer = b""
        self._needed = 0
        self._was_timed = False
        self._asked_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._needed:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            self._is_good = head.startswith(b"http/1.1 200")
            at = head.find(b"content-length:")
            self._is_chunked = at < 0
            self._body_at = end + 4
            self._needed = 1 if at < 0 else end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if self._is_first_byte_timed and not self._was_timed and self._buffer.find(b"data:", self._body_at) >= 0:
            self._was_timed = True
            self._run.note(self._asked_at, self._is_good)
        if self._is_chunked:
            if not self._buffer.endswith(CHUNK_END):
                return
        elif len(self._buffer) < self._needed:
            return
        if not self._is_first_byte_timed:
            self._run.note(self._asked_at, self._is_good)
        if self._run.is_over:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.left(error)


class _Run:
    def __init__(self, *, connections: int, seconds: float, first_event: bool) -> None:
        self.first_event = first_event
        self._open = connections
        self._ends_at = time.perf_counter() + seconds
        self._times: list[float] = []
        self._failed = 0
        self.done = asyncio.get_running_loop().create_future()
        self._started = time.perf_counter()

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self._ends_at

    def note(self, asked_at: float, is_good: bool) -> None:
        self._times.append(time.perf_counter() - asked_at)
        self._failed += not is_good

    def left(self, error: Exception | None) -> None:
        self._failed += error is not None
        self._open -= 1
        if not self._open and not self.done.done():
            self.done.set_result(None)

    def result(self) -> Result:
        elapsed = time.perf_counter() - self._started
        times = sorted(self._times)
        return Result(
            requests_per_second=len(times) / elapsed,
            p50=times[len(times) // 2] * 1000,
            p99=times[min(len(times) - 1, len(times) * 99 // 100)] * 1000,
            requests=len(times),
            failed=self._failed,
        )


async def _load(url: str, body: bytes, *, secret: str, connections: int, seconds: float, first_event: bool) -> Result:
    parts = urlsplit(url)
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    run = _Run(connections=connections, seconds=seconds, first_event=first_event)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Caller(request, run), parts.hostname or "", parts.port or 80)
    await run.done
    return run.result()


def load(
    url: str, body: bytes, *, secret: str = "", connections: int, seconds: float, first_event: bool = False
) -> Result:
    """Ask `url` over so many connections for so long. `first_event` times the first event of a stream, not its end."""
    return uvloop.run(
        _load(url, body, secret=secret, connections=connections, seconds=seconds, first_event=first_event)
    )
