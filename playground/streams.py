"""The stream of a run in the volatile Redis: what the model writes, as it is written, for whoever watches.

An entry is one server-sent event: `start`, then `reasoning` and `text`, then `end`. A piece of text carries the place
where it belongs (`at`, in UTF-16 units, which is how browsers count), so that a reader notices what it has already or
has missed. The row keeps the whole; the stream is gone some minutes after the end.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import orjson
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from common.redis import volatile

log = structlog.get_logger(__name__)

Channel = Literal["text", "reasoning"]

STOP_CHANNEL = "ly:run:stop"
KEEP_AFTER_END_SECONDS = 600
# A stream whose worker died before the end goes by itself, too.
KEEP_UNFINISHED_SECONDS = 3600


def key_of(run_id: str) -> str:
    return f"ly:run:{run_id}"


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def entry(event: str, data: dict[str, Any]) -> dict[str, str]:
    return {"event": event, "data": orjson.dumps(data).decode()}


def open_stream(run_id: str) -> None:
    """Say that a worker has taken the run."""
    _append(run_id, entry("start", {}), keep_seconds=KEEP_UNFINISHED_SECONDS)


def end_stream(run_id: str, *, status: str, text: str, reasoning: str = "") -> None:
    """Say that nothing more comes. Called after the row is saved: whoever reads this may fetch the row."""
    data = {"status": status, "length": utf16_length(text), "reasoning_length": utf16_length(reasoning)}
    _append(run_id, entry("end", data), keep_seconds=KEEP_AFTER_END_SECONDS)


def remove_stream(run_id: str) -> None:
    try:
        volatile().delete(key_of(run_id))
    except RedisError as error:
        log.warning("run_stream_not_removed", run=run_id, error=str(error))


def text_so_far(run_id: str) -> tuple[str, str]:
    """The text and the reasoning that reached the stream; empty when it is gone."""
    pieces: dict[str, list[str]] = {"text": [], "reasoning": []}
    try:
        for _identifier, fields in volatile().xrange(key_of(run_id)):  # type: ignore[union-attr]
            if fields["event"] in pieces:
                pieces[fields["event"]].append(orjson.loads(fields["data"])["delta"])
    except RedisError as error:
        log.warning("run_stream_unreadable", run=run_id, error=str(error))
    return "".join(pieces["text"]), "".join(pieces["reasoning"])


def request_stop(run_id: str) -> None:
    """Tell every inference worker to stop this run; the one that has it acts."""
    try:
        volatile().publish(STOP_CHANNEL, run_id)
    except RedisError as error:
        # The worker reads the row with every heartbeat and will stop then.
        log.warning("stop_not_published", run=run_id, error=str(error))


def _append(run_id: str, fields: dict[str, str], *, keep_seconds: int) -> None:
    # A run does not depend on being watched: without this Redis it goes on, and the page shows the row at the end.
    try:
        pipeline = volatile().pipeline(transaction=False)
        pipeline.xadd(key_of(run_id), fields)  # type: ignore[arg-type]
        pipeline.expire(key_of(run_id), keep_seconds)
        pipeline.execute()
    except RedisError as error:
        log.warning("run_stream_not_written", run=run_id, error=str(error))


class StreamWriter:
    """Appends what a model writes: the first piece at once, later ones gathered for `interval()` seconds."""

    def __init__(self, client: "redis.asyncio.Redis", run_id: str, *, interval: Callable[[], float]) -> None:
        self._client = client
        self._run_id = run_id
        self._interval = interval
        self._waiting: dict[Channel, list[str]] = {"reasoning": [], "text": []}
        self._written: dict[Channel, int] = {"reasoning": 0, "text": 0}
        self._dirty = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._task = asyncio.create_task(self._drain())

    def write(self, channel: Channel, text: str) -> None:
        self._waiting[channel].append(text)
        self._dirty.set()

    async def close(self) -> None:
        """Append what still waits and end."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._flush()

    async def _drain(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            # A cancellation must not cut an append in two: it would be unknown whether it reached Redis.
            await asyncio.shield(self._flush())
            await asyncio.sleep(self._interval())

    async def _flush(self) -> None:
        async with self._flushing:
            pipeline = self._client.pipeline(transaction=False)
            for channel, pieces in self._waiting.items():
                if pieces:
                    delta = "".join(pieces)
                    pieces.clear()
                    data = {"at": self._written[channel], "delta": delta}
                    self._written[channel] += utf16_length(delta)
                    pipeline.xadd(key_of(self._run_id), entry(channel, data))  # type: ignore[arg-type]
            if not pipeline.command_stack:
                return
            try:
                await pipeline.execute()
            except RedisError as error:
                # Readers see from `at` that something is missing and show the row's text at the end.
                log.warning("run_stream_not_written", run=self._run_id, error=str(error))
