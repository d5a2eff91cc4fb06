"""A load generator that is not the limit: HTTP/1.1 written by hand on uvloop, one request at a time a connection.

It presses as hard as it can, or keeps to a pace: only the latter tells how long somebody waits who is not one of a
crowd that fills the machine.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop

CHUNK_END = b"0\r\n\r\n"
# How long an answer may be on its way when the time is up.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """How one run went. Times are milliseconds; `failed` counts answers other than 200, and those that never came."""

    requests_per_second: float
    p50: float
    p99: float
    requests: int
    failed: int


class _Caller(asyncio.Protocol):
    """One connection that asks again as soon as it was answered, or when it is its turn."""

    def __init__(self, request: bytes, run: "_Run", turn: float) -> None:
        self._request = request
        self._turn = turn
        self._run = run
        self._buffer = b""
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._is_waiting = False
        self._ask_in_turn()

    def _ask_in_turn(self) -> None:
        late = time.perf_counter() - self._turn
        if not self._run.interval:
            self._ask()
        elif late >= 0:
            self._ask(late)
        else:
            asyncio.get_running_loop().call_later(-late, self._ask)
        self._turn += self._run.interval

    def _ask(self, late: float = 0.0) -> None:
        if self._run.is_over:
            self._transport.close()
            return
        self._is_waiting = True
        self._buffer = b""
        self._needed = 0
        self._was_timed = False
        self._asked_at = time.perf_counter() - late
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
        if self._run.first_event and not self._was_timed and self._buffer.find(b"data:", self._body_at) >= 0:
            self._was_timed = True
            self._run.note(self._asked_at, self._is_good)
        if self._is_chunked:
            if not self._buffer.endswith(CHUNK_END):
                return
        elif len(self._buffer) < self._needed:
            return
        if not self._was_timed:
            # An answer without an event is no stream.
            self._run.note(self._asked_at, self._is_good and not self._run.first_event)
        self._is_waiting = False
        self._ask_in_turn()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.left(is_answered=not self._is_waiting)


class _Run:
    def __init__(self, *, connections: int, seconds: float, first_event: bool, interval: float) -> None:
        self.first_event = first_event
        self.interval = interval
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

    def left(self, *, is_answered: bool) -> None:
        self._failed += not is_answered
        self._open -= 1
        if not self._open and not self.done.done():
            self.done.set_result(None)

    def result(self) -> Result:
        elapsed = time.perf_counter() - self._started
        p50, p99 = median_and_p99(self._times)
        return Result(
            requests_per_second=len(self._times) / elapsed,
            p50=p50,
            p99=p99,
            requests=len(self._times),
            failed=self._failed + self._open,
        )


def median_and_p99(seconds: list[float]) -> tuple[float, float]:
    """Of all these, in milliseconds. Where nothing came it took for ever."""
    times = sorted(seconds) or [float("inf")]
    return times[len(times) // 2] * 1000, times[min(len(times) - 1, len(times) * 99 // 100)] * 1000


def request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST as it is sent."""
    parts = urlsplit(url)
    own = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**own, **headers}.items())
    return f"POST {parts.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def _load(
    url: str, sent: bytes, *, connections: int, seconds: float, first_event: bool, rate: float | None
) -> Result:
    parts = urlsplit(url)
    interval = connections / rate if rate else 0.0
    run = _Run(connections=connections, seconds=seconds, first_event=first_event, interval=interval)
    loop, now = asyncio.get_running_loop(), time.perf_counter()
    for number in range(connections):
        turn = now + number / connections * interval
        caller = partial(_Caller, sent, run, turn)
        await loop.create_connection(caller, parts.hostname or "", parts.port or 80)
    with suppress(TimeoutError):
        await asyncio.wait_for(run.done, seconds + PATIENCE_SECONDS)
    return run.result()


def load(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
    first_event: bool = False,
    rate: float | None = None,
) -> Result:
    """Ask `url` over so many connections for so long. `first_event` times the first event of a stream, not its end.

    `rate` is how many a second all connections ask together; None is as many as they can. Each has its turns at fixed
    times, and one that it comes late to, since an answer was late, counts from when it was.
    """
    sent = request(url, body, headers)
    return uvloop.run(_load(url, sent, connections=connections, seconds=seconds, first_event=first_event, rate=rate))
