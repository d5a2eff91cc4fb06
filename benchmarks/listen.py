"""A reader of many streams at once that tells how long each chunk was on its way: each has the time it was sent at."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.load import median_and_p99, request
from benchmarks.processes import Used, used

STAMP = re.compile(rb"@(\d+\.\d+)@")
GOOD = b"HTTP/1.1 200"
OPENED_PER_SECOND = 250
START_SECONDS = 30.0


@dataclass(frozen=True)
class Heard:
    """What came of so many streams. Delays are milliseconds; `failed` counts those that were refused or cut.

    `before`, `at_start` and `at_end` are what the process took before the first stream, and around the chunks counted.
    """

    asked: int
    started: int
    failed: int
    chunks_per_second: float
    p50: float
    p99: float
    seconds: float
    before: Used | None
    at_start: Used | None
    at_end: Used | None

    @property
    def cpu_of_stream(self) -> float | None:
        """Milliseconds of processor for a second of one stream."""
        if self.at_start is None or self.at_end is None:
            return None
        return (self.at_end.cpu_seconds - self.at_start.cpu_seconds) / self.seconds / self.asked * 1000

    @property
    def memory_of_stream(self) -> float | None:
        """Kilobytes for each open stream."""
        if self.before is None or self.at_end is None:
            return None
        return (self.at_end.memory - self.before.memory) / self.asked / 1024


class _Listener(asyncio.Protocol):
    def __init__(self, sent: bytes, hall: "_Hall") -> None:
        self._sent = sent
        self._hall = hall
        self._rest = b""
        self._has_started = False
        self._is_good = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._hall.open.append(self._transport)
        self._transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        # A stamp may come in two pieces, a line is whole.
        self._rest = data[end:]
        self._is_good = self._is_good or data.startswith(GOOD)
        stamps = STAMP.findall(data, 0, end)
        if stamps and not self._has_started and self._is_good:
            self._has_started = True
            self._hall.began()
        if self._hall.is_counting:
            self._hall.delays += [now - float(stamp) for stamp in stamps]

    def connection_lost(self, error: Exception | None) -> None:
        if not self._hall.is_closed:
            self._hall.failed += 1
            if not self._has_started:
                self._hall.began_or_failed()


class _Hall:
    def __init__(self, streams: int) -> None:
        self._awaited = streams
        self.open: list[asyncio.Transport] = []
        self.delays: list[float] = []
        self.started = self.failed = 0
        self.is_counting = self.is_closed = False
        self.all_began = asyncio.Event()

    def began(self) -> None:
        self.started += 1
        self.began_or_failed()

    def began_or_failed(self) -> None:
        self._awaited -= 1
        if not self._awaited:
            self.all_began.set()


async def _listen(url: str, sent: bytes, *, streams: int, seconds: float, pid: int | None) -> Heard:
    parts, hall, loop = urlsplit(url), _Hall(streams), asyncio.get_running_loop()
    before = used(pid) if pid else None
    for number in range(streams):
        await loop.create_connection(lambda: _Listener(sent, hall), parts.hostname or "", parts.port or 80)
        # Not all in step, which no crowd of people is.
        if number % 5 == 4:
            await asyncio.sleep(5 / OPENED_PER_SECOND)
    with suppress(TimeoutError):
        await asyncio.wait_for(hall.all_began.wait(), START_SECONDS)
    # What waited meanwhile has come by then.
    await asyncio.sleep(1)
    at_start, hall.is_counting, began = used(pid) if pid else None, True, time.monotonic()
    await asyncio.sleep(seconds)
    hall.is_counting = False
    took = time.monotonic() - began
    at_end = used(pid) if pid else None
    hall.is_closed = True
    for transport in hall.open:
        transport.abort()
    p50, p99 = median_and_p99(hall.delays)
    return Heard(
        asked=streams,
        started=hall.started,
        failed=hall.failed,
        chunks_per_second=len(hall.delays) / took,
        p50=p50,
        p99=p99,
        seconds=took,
        before=before,
        at_start=at_start,
        at_end=at_end,
    )


def listen(
    url: str, body: bytes, *, headers: Mapping[str, str], streams: int, seconds: float, pid: int | None = None
) -> Heard:
    """Open so many streams, wait until all have begun, and read their chunks for so long. `pid` is whose use of the
    machine is told."""
    return uvloop.run(_listen(url, request(url, body, headers), streams=streams, seconds=seconds, pid=pid))
