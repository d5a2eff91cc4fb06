"""How many browsers follow many runs: one reader per process, and a bounded queue for each of them.

A reader of its own per browser would take a Redis connection each. Here one XREAD waits for all runs at once and hands
entries out; who falls behind its queue reads what it missed from the stream.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from common.redis import async_volatile
from common.upkeep import keep_running, stop
from playground.streams import key_of

log = structlog.get_logger(__name__)

BEGINNING = "0-0"
QUEUE_LENGTH = 64
REPLAY_ENTRIES = 200
# Below the socket timeout of the client, or waiting would look like a dead server.
BLOCK_MILLISECONDS = 1000
# With many runs at once, one read takes what came for all of them meanwhile.
GATHER_SECONDS = 0.02
UNREADABLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a run's stream; `id` is also the id of its server-sent event."""

    id: str
    event: str
    data: str


_ID = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)


def position(entry_id: str) -> tuple[int, int]:
    """An id in the order of the stream.

    Raises ValueError for anything that is no id of a Redis stream.
    """
    found = _ID.fullmatch(entry_id)
    if found is None:
        raise ValueError(f"{entry_id!r} is not an id of a stream.")
    return int(found[1]), int(found[2])


class _Watcher:
    """One browser's place in the hub."""

    def __init__(self) -> None:
        self.queue: deque[Entry] = deque()
        self.must_replay = True
        self.changed = asyncio.Event()

    def push(self, entry: Entry) -> None:
        if len(self.queue) >= QUEUE_LENGTH:
            self.replay()
        else:
            self.queue.append(entry)
            self.changed.set()

    def replay(self) -> None:
        """Forget the queue; the stream has it all."""
        self.queue.clear()
        self.must_replay = True
        self.changed.set()


class Hub:
    """Hands the entries of runs' streams to their watchers. It belongs to one event loop; `start` and `close` there."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[_Watcher]] = {}
        self._read_until: dict[str, str] = {}
        self._wake_key = f"ly:runs:wake:{os.getpid()}:{id(self)}"

    async def start(self) -> None:
        self._redis: redis.asyncio.Redis = async_volatile()
        self._reader = keep_running(self._read_for_all, name="run-streams")

    async def close(self) -> None:
        await stop(self._reader)
        await self._redis.aclose()

    async def follow(self, run_id: str, *, after: str, patience: float) -> AsyncGenerator[list[Entry], None]:
        """Entries of a run later than `after`, as they come and each once; an empty list after `patience` seconds of
        silence, and once at the start when there is nothing to replay. It ends only when its reader leaves it."""
        async with self._watching(run_id) as watcher:
            is_first = True
            while True:
                watcher.changed.clear()
                if watcher.must_replay:
                    watcher.must_replay = False
                    async for entries in self._replay(watcher, run_id, after):
                        after = entries[-1].id
                        is_first = False
                        yield entries
                fresh = [entry for entry in watcher.queue if position(entry.id) > position(after)]
                watcher.queue.clear()
                if fresh:
                    after = fresh[-1].id
                if fresh or is_first or watcher.must_replay:
                    is_first = False
                    yield fresh
                if watcher.queue or watcher.must_replay:
                    continue
                try:
                    async with asyncio.timeout(patience):
                        await watcher.changed.wait()
                except TimeoutError:
                    yield []

    async def _replay(self, watcher: _Watcher, run_id: str, after: str) -> AsyncIterator[list[Entry]]:
        while True:
            try:
                found = await self._redis.xrange(key_of(run_id), min=f"({after}", count=REPLAY_ENTRIES)
            except RedisError as error:
                log.warning("run_stream_unreadable", run=run_id, error=str(error))
                await asyncio.sleep(UNREADABLE_SECONDS)
                watcher.must_replay = True
                return
            if not found:
                return
            entries = [_entry(identifier, fields) for identifier, fields in found]
            after = entries[-1].id
            yield entries

    @asynccontextmanager
    async def _watching(self, run_id: str) -> AsyncIterator[_Watcher]:
        watcher = _Watcher()
        place = BEGINNING
        if run_id not in self._read_until:
            with suppress(RedisError):
                last = await self._redis.xrevrange(key_of(run_id), count=1)
                place = last[0][0] if last else BEGINNING
        # The reader goes on from here; what lies before, the watcher replays.
        self._watchers.setdefault(run_id, set()).add(watcher)
        self._read_until.setdefault(run_id, place)
        try:
            with suppress(RedisError):
                await self._redis.xadd(self._wake_key, {"run": run_id}, maxlen=1)
            yield watcher
        finally:
            others = self._watchers[run_id]
            others.discard(watcher)
            if not others:
                del self._watchers[run_id]
                self._read_until.pop(run_id, None)

    async def _read_for_all(self) -> None:
        woken_until = BEGINNING
        while True:
            run_ids = {key_of(run_id): run_id for run_id in self._watchers}
            places = {self._wake_key: woken_until} | {key: self._read_until[run_id] for key, run_id in run_ids.items()}
            try:
                found = await self._redis.xread(places, block=BLOCK_MILLISECONDS, count=REPLAY_ENTRIES)  # type: ignore[arg-type]
                if any(key == self._wake_key for key, _entries in found):
                    # It goes some time after its process: nobody else would remove it.
                    await self._redis.expire(self._wake_key, 60)
            except RedisError as error:
                log.warning("run_streams_unreadable", error=str(error))
                await asyncio.sleep(1)
                for watchers in self._watchers.values():
                    for watcher in watchers:
                        watcher.replay()
                continue
            for key, entries in found:
                if key == self._wake_key:
                    woken_until = entries[-1][0]
                else:
                    self._hand_out(run_ids[key], entries)
            await asyncio.sleep(GATHER_SECONDS)

    def _hand_out(self, run_id: str, entries: list[tuple[str, Mapping[str, str]]]) -> None:
        if run_id not in self._watchers:
            return
        self._read_until[run_id] = entries[-1][0]
        for identifier, fields in entries:
            entry = _entry(identifier, fields)
            for watcher in self._watchers[run_id]:
                watcher.push(entry)


def _entry(identifier: str, fields: Mapping[str, str]) -> Entry:
    return Entry(id=identifier, event=fields["event"], data=fields["data"])
