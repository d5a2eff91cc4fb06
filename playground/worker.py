"""The inference side of a Celery worker process: one event loop in a thread, one metered client, many runs.

A Celery thread submits its run's call to the loop and waits. It holds no database connection while it waits, and its
queue takes no second try: a generation that broke off is told as it is, never repeated at the user's cost.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import orjson
import redis.asyncio
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections
from django.utils import timezone
from redis.exceptions import RedisError

from common import ids
from common.errors import ApiError
from common.redis import async_volatile
from common.upkeep import keep_running, stop
from inference.streams import EventSplitter
from playground import outcomes, services, streams
from playground.models import Run, RunStatus
from playground.outcomes import Outcome
from usage.answers import Answer
from usage.calls import MeteredCalls
from usage.policies import Caller, caller_for_run

log = structlog.get_logger(__name__)

RUN_SECONDS = 600.0
# What the loop may take beyond that to close the call and settle it.
SETTLE_SECONDS = 30.0
MOST_CHARACTERS = 1_000_000
HEARTBEAT_SECONDS = 5.0
# Below what a supervisor waits before it kills.
INTERRUPT_AFTER_SECONDS = 3.0
SAVE_AGAIN_AFTER_SECONDS = (0.5, 2.0, 5.0, 10.0, 20.0)
# With few runs a piece is shown nearly as it comes; with many, a few times a second each.
FEW_RUNS = 8
INTERVAL_FEW_SECONDS = 0.04
INTERVAL_MANY_SECONDS = 0.25


class _ActiveRun:
    """A run this process has in hand. Its fields are touched on the loop only."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.is_stop_requested = False
        self.is_interrupted = False

    def stop(self) -> None:
        self.is_stop_requested = True
        if self.task is not None:
            self.task.cancel()

    def interrupt(self) -> None:
        self.is_interrupted = True
        if self.task is not None:
            self.task.cancel()


class InferenceWorker:
    """Everything one process needs to make runs; `current()` gives the process's own."""

    def __init__(
        self,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        interrupt_after_seconds: float = INTERRUPT_AFTER_SECONDS,
    ) -> None:
        self.name = ids.new_id("worker")
        self._heartbeat_seconds = heartbeat_seconds
        self._interrupt_after_seconds = interrupt_after_seconds
        self._active: dict[str, _ActiveRun] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="runs", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(timeout=10)

    async def _start(self) -> None:
        self._calls = MeteredCalls()
        await self._calls.start()
        self._redis: redis.asyncio.Redis = async_volatile()
        self._upkeep = [
            keep_running(self._listen_for_stops, name="stops"),
            keep_running(self._beat, name="run-heartbeat"),
        ]

    def close(self) -> None:
        """Stop the loop and close its connections. Runs still in hand are interrupted."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _close(self) -> None:
        await stop(*self._upkeep)
        await self._calls.close()
        await self._redis.aclose()

    def interrupt_soon(self) -> None:
        """End the runs in hand after a few seconds, as this process is asked to: told at once is better than found
        out by the sweeper. Safe to call from a signal handler."""
        self._loop.call_soon_threadsafe(self._loop.call_later, self._interrupt_after_seconds, self._interrupt_all)

    def execute(self, run_id: str) -> None:
        """Make the run, if nobody else has taken it. Returns once its row and its stream say how it ended."""
        active = _ActiveRun()
        # In hand before it is claimed: a stop that finds the row running must find the run here as well.
        if self._active.setdefault(run_id, active) is not active:
            return
        try:
            run = services.claim_run(run_id=run_id, worker=self.name, request_id=ids.request_id())
            if run is None:
                return
            streams.open_stream(run_id)
            outcome = Outcome()
            if not run.project.is_live:
                # It may have waited long for a worker.
                outcome.fail(code=outcomes.PROJECT_ENDED)
                _save(run, outcome)
                return
            try:
                caller = caller_for_run(run.user, run.project)
                close_old_connections()
                future = asyncio.run_coroutine_threadsafe(
                    self._perform(active, outcome, run=run, caller=caller), self._loop
                )
                future.result(timeout=RUN_SECONDS + SETTLE_SECONDS)
            except ApiError as error:
                outcome.fail_with(error)
            except Exception:
                log.exception("run_failed", run=run_id, request=run.request_id)
                outcome.fail(code=outcomes.INTERNAL)
            _save(run, outcome)
        finally:
            self._active.pop(run_id, None)

    async def _perform(self, active: _ActiveRun, outcome: Outcome, *, run: Run, caller: Caller) -> None:
        active.task = asyncio.current_task()
        writer = streams.StreamWriter(self._redis, run.public_id, interval=self._interval)
        answer: Answer | None = None
        try:
            if active.is_stop_requested or active.is_interrupted:
                raise asyncio.CancelledError
            async with asyncio.timeout(RUN_SECONDS) as deadline:
                answer = await self._calls.open(
                    caller=caller, endpoint="chat/completions", body=run.request_body, request_id=run.request_id
                )
                async with aclosing(answer.frames()) as frames:
                    await self._follow(frames, outcome, writer)
        except asyncio.CancelledError:
            if active.is_stop_requested:
                outcome.status = RunStatus.STOPPED
            elif active.is_interrupted:
                outcome.fail(code=outcomes.WORKER_LOST)
            else:
                raise
        except TimeoutError:
            if not deadline.expired():
                raise
            outcome.fail(code=outcomes.TOO_LONG)
        except ApiError as error:
            outcome.fail_with(error)
        finally:
            active.task = None  # from here on a stop has nothing left to stop
            await writer.close()
            if answer is not None and answer.usage is not None:
                outcome.prompt_tokens = answer.usage.prompt_tokens
                outcome.completion_tokens = answer.usage.completion_tokens
                outcome.cost_nano = answer.usage.cost_nano
                outcome.is_estimated = answer.usage.is_estimated

    async def _follow(self, frames: AsyncIterator[bytes], outcome: Outcome, writer: streams.StreamWriter) -> None:
        text: list[str] = []
        reasoning: list[str] = []
        characters = 0
        try:
            async for data in _events(frames):
                if error := data.get("error"):
                    outcome.fail_with_frame(error if isinstance(error, dict) else {})
                    return
                for choice in data.get("choices") or []:
                    # What a server sends need not make sense: a run has to end whatever it is.
                    if not isinstance(choice, dict):
                        continue
                    delta = choice.get("delta")
                    if not isinstance(delta, dict):
                        delta = {}
                    pieces: tuple[tuple[streams.Channel, list[str], Any], ...] = (
                        ("reasoning", reasoning, delta.get("reasoning_content") or delta.get("reasoning")),
                        ("text", text, delta.get("content")),
                    )
                    for channel, kept, piece in pieces:
                        if isinstance(piece, str) and piece:
                            outcome.first_token_at = outcome.first_token_at or timezone.now()
                            # PostgreSQL stores no NUL, and no reader misses it.
                            clean = piece.replace("\x00", "")
                            kept.append(clean)
                            writer.write(channel, clean)
                            characters += len(clean)
                    reason = choice.get("finish_reason")
                    if isinstance(reason, str) and reason:
                        outcome.finish_reason = reason.replace("\x00", "")
                if characters > MOST_CHARACTERS:
                    outcome.finish_reason = "length"
                    return
        finally:
            outcome.text = "".join(text)
            outcome.reasoning = "".join(reasoning)

    def _interval(self) -> float:
        return INTERVAL_FEW_SECONDS if len(self._active) <= FEW_RUNS else INTERVAL_MANY_SECONDS

    def _interrupt_all(self) -> None:
        for active in list(self._active.values()):
            active.interrupt()

    def _stop(self, run_id: str) -> None:
        if active := self._active.get(run_id):
            active.stop()

    async def _listen_for_stops(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(streams.STOP_CHANNEL)
                    while True:
                        message = await pubsub.get_message(timeout=1.0)
                        if message is not None:
                            self._stop(message["data"])
            except (RedisError, OSError) as error:
                log.warning("stops_not_heard", error=str(error))
                await asyncio.sleep(1)

    async def _beat(self) -> None:
        """Say in the rows that this worker lives, and learn there of stops whose message was lost."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            if self._active:
                with suppress(DatabaseError, InterfaceError):
                    for run_id in await asyncio.to_thread(self._beat_once, list(self._active)):
                        self._stop(run_id)

    def _beat_once(self, run_ids: list[str]) -> list[str]:
        try:
            return services.beat(run_ids=run_ids, worker=self.name)
        finally:
            close_old_connections()


def _save(run: Run, outcome: Outcome) -> None:
    """Save the end of a run, through a restart of the database too: the text exists nowhere else for long."""
    for wait in SAVE_AGAIN_AFTER_SECONDS:
        try:
            services.finish_run(run=run, outcome=outcome)
        except (OperationalError, InterfaceError) as error:
            log.warning("run_not_saved_yet", run=run.public_id, error=str(error))
            close_old_connections()
            time.sleep(wait)
        else:
            return
    services.finish_run(run=run, outcome=outcome)


async def _events(frames: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects in the frames of a metered call, which ends them with `[DONE]` or an error."""
    splitter = EventSplitter()
    async for piece in frames:
        for data in splitter.feed(piece):
            if data == b"[DONE]":
                return
            yield orjson.loads(data)


_making = threading.Lock()
_made: list[InferenceWorker] = []


def current() -> InferenceWorker:
    """The worker of this process, started by the first run; never before a fork."""
    with _making:
        if not _made:
            _made.append(InferenceWorker())
        return _made[0]


def interrupt_soon() -> None:
    """See InferenceWorker.interrupt_soon; nothing to do in a process that has made no run."""
    for worker in _made:
        worker.interrupt_soon()
