"""The batches of a Celery worker process: one event loop in a thread, one metered client, a few lines in flight.

A line is a call under the limits, the budget and the allowance of the key that made its batch. It yields to whoever
waits for an answer: this process has a bounded number of lines in flight, and one that meets a limit waits and asks
again. What is answered is written down once a second. A worker that dies leaves what it had not yet written down, which
the next one asks again.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import connections
from django.utils import timezone

from batches import lines, progress
from batches.lines import Line, Result
from batches.models import Batch, BatchStatus
from batches.progress import ClaimLostError
from common import ids
from common.errors import (
    ApiError,
    BudgetError,
    ModelNotAllowedError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitError,
    UpstreamError,
)
from common.upkeep import stop
from usage.calls import MeteredCalls
from usage.policies import Caller, caller_for_batch
from usage.threads import DatabaseAwayError, in_thread

log = structlog.get_logger(__name__)

T = TypeVar("T")

# How many batches one process has in hand; others wait for it, or are taken by another one.
MOST_BATCHES = 16
HEARTBEAT_SECONDS = 2.0
WRITE_SECONDS = 1.0
# Answers that wait to be written down may take so much memory; then nothing more is asked.
MOST_WAITING_BYTES = 16 * 1024 * 1024
SQL_SECONDS = 30.0
AGAIN_SECONDS = 5.0
RESERVED_SECONDS = 1.0
# What is used up until tomorrow may be raised today.
MOST_PAUSE_SECONDS = 60.0
# Of a line whose server failed, the last one included.
MOST_TRIES = 4
# Of what a supervisor waits before it kills: for lines in flight, and then for all of it.
LAST_LINES_SECONDS = 2.0
STOP_SECONDS = 6.0


class Ending(Enum):
    """Why the lines that are left of a batch are not asked, and what each is told."""

    CANCELLED = ("batch_cancelled", "The batch was cancelled before this request was made.")
    EXPIRED = ("batch_expired", "The batch's 24 hours were over before this request was made.")
    KEY = (
        "invalid_api_key",
        "The API key that made the batch no longer opens this: it was revoked, disabled or narrowed, or has expired.",
    )
    STOPPED = ("", "")
    """The worker is told to stop: nothing is said about the lines, which another one asks."""


class BatchWorker:
    """Everything one process needs to work on batches; `current()` gives the process's own."""

    def __init__(self) -> None:
        self._runs: dict[str, _BatchRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="batches", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(timeout=10)

    async def _start(self) -> None:
        self._calls = MeteredCalls()
        await self._calls.start()
        self._slots = asyncio.Semaphore(settings.BATCH_LINES_AT_ONCE)

    def take(self, batch_id: str) -> None:
        """Begin to work on a batch, if nobody does and there is room. Does not wait for its end."""
        if self._is_stopping or len(self._runs) >= MOST_BATCHES:
            return
        batch = progress.claim(batch_id)
        if batch is not None:
            run = _BatchRun(batch, self._calls, self._slots)
            self._runs[batch.claim] = run
            self._loop.call_soon_threadsafe(self._begin, run)

    def _begin(self, run: "_BatchRun") -> None:
        task = self._loop.create_task(run.work(), name=run.batch.public_id)
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._runs.pop(run.batch.claim, None)

        task.add_done_callback(forget)
        if self._is_stopping:
            run.end(Ending.STOPPED)

    def stop_soon(self) -> None:
        """Begin no more lines. Safe to call from a signal handler."""
        self._is_stopping = True
        self._loop.call_soon_threadsafe(self._stop_runs)

    def _stop_runs(self) -> None:
        for run in list(self._runs.values()):
            run.end(Ending.STOPPED)

    def close(self) -> None:
        """Stop, and return once what was answered is written down and the batches are left to others."""
        if not self._loop.is_running():
            return
        self.stop_soon()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._calls.close()


class _BatchRun:
    """One batch in hand. Everything here happens on the loop, but for what is handed to threads."""

    def __init__(self, batch: Batch, calls: MeteredCalls, slots: asyncio.Semaphore) -> None:
        self.batch = batch
        self._calls = calls
        self._slots = slots
        self._caller: Caller | None = None
        self._ending: Ending | None = None
        self._is_ending = asyncio.Event()
        self._pullers: list[asyncio.Task[None]] = []
        self._reading = asyncio.Lock()
        self._unasked: Iterator[Line] = iter(())
        self._results: list[Result] = []
        self._waiting_bytes = 0
        self._writing = asyncio.Lock()

    def end(self, ending: Ending) -> None:
        """Ask no more lines. Those in flight are waited for, but not if the key is no longer good for them."""
        if self._ending is not None:
            return
        self._ending = ending
        self._is_ending.set()
        if ending is Ending.KEY:
            self._give_up_lines()
        elif ending is Ending.STOPPED:
            asyncio.get_running_loop().call_later(LAST_LINES_SECONDS, self._give_up_lines)

    def _give_up_lines(self) -> None:
        for puller in self._pullers:
            puller.cancel()

    async def work(self) -> None:
        """Work on the batch until it is over, somebody else has it, or this process stops."""
        is_fault = False
        beating = asyncio.create_task(self._beat())
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait({beating, working}, return_when=asyncio.FIRST_COMPLETED)
            for task in (beating, working):
                if task.done():
                    task.result()
        except ClaimLostError:
            log.info("batch_left", batch=self.batch.public_id)
        except Exception:
            # A fault of ours must not end the other batches of this loop: it is counted, and this one is tried again.
            is_fault = True
            log.exception("batch_fault", batch=self.batch.public_id)
        finally:
            await stop(beating, working)
            with suppress(DatabaseAwayError):
                await self._sql(lambda: progress.release(self.batch, is_fault=is_fault), tries=1)

    async def _work(self) -> None:
        batch = self.batch
        if not batch.total and not await self._validate():
            return
        done = await self._sql(lambda: progress.done_lines(batch))
        file = await self._disk(lambda: progress.open_input(batch))
        with file:
            self._unasked = lines.to_ask(file, done=done, endpoint=batch.endpoint)
            await self._ask_all()
            if self._ending is Ending.STOPPED:
                return
            if self._ending is not None:
                await self._write_down_the_rest(self._ending)
        await self._disk(lambda: progress.finish(batch))

    async def _validate(self) -> bool:
        """Whether the batch can be worked on."""
        checked = await self._disk(lambda: progress.check_input(self.batch))
        if not checked.errors:
            caller = await self._sql(lambda: caller_for_batch(self.batch.key.public_id if self.batch.key else ""))
            try:
                if caller is not None:
                    await self._calls.find_model(caller, checked.model_name)
                else:
                    await self._calls.routes.find(checked.model_name)
            except (ModelNotFoundError, ModelNotAllowedError) as error:
                checked.errors.extend(lines.failure("model_not_found", error.message.replace("\0", "")))
        await self._sql(lambda: progress.begin(self.batch, checked))
        return not checked.errors

    # Lines ------------------------------------------------------------------------------------------------------

    async def _ask_all(self) -> None:
        await self._look()
        writing = asyncio.create_task(self._keep_writing())
        number = 0 if self._ending is not None else settings.BATCH_LINES_AT_ONCE
        self._pullers = [asyncio.create_task(self._pull()) for _number in range(number)]
        try:
            pending: set[asyncio.Task[None]] = set(self._pullers)
            while pending:
                done, pending = await asyncio.wait({*pending, writing}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not task.cancelled():
                        task.result()
                pending.discard(writing)
            await self._write()
        finally:
            await stop(writing, *self._pullers)

    async def _pull(self) -> None:
        while (line := await self._next()) is not None:
            result = await self._ask(line)
            if result is None:
                return
            self._results.append(result)
            self._waiting_bytes += len(result.text)
            if self._waiting_bytes > MOST_WAITING_BYTES:
                await self._write()

    async def _next(self) -> Line | None:
        async with self._reading:
            if self._ending is not None:
                return None
            # Not tried again by itself: what has failed once gives no more lines, and would look like the end.
            return await asyncio.to_thread(next, self._unasked, None)

    async def _ask(self, line: Line) -> Result | None:
        """What becomes of a line; None when it is given up before it was answered."""
        tries = 0
        while self._ending is None:
            if self._caller is None or self._caller.owes_terms:
                # Terms of use were published meanwhile: the key works on once its maker has accepted them.
                await self._pause(HEARTBEAT_SECONDS)
                continue
            request_id = ids.request_id()
            try:
                return await self._call(line, request_id)
            except BudgetError as error:
                if not error.is_reserved:
                    return lines.refused(line, request_id=request_id, error=error)
                # Calls in flight, of this batch or not, hold back what each could cost at most, and seldom need it.
                await self._pause(RESERVED_SECONDS)
            except (RateLimitError, OverloadedError) as error:
                seconds = _seconds_to_wait(error)
                if seconds is None:
                    return lines.refused(line, request_id=request_id, error=error)
                await self._pause(min(seconds, MOST_PAUSE_SECONDS))
            except UpstreamError as error:
                tries += 1
                if tries == MOST_TRIES:
                    return lines.refused(line, request_id=request_id, error=error)
                await self._pause(2.0**tries)
            except ApiError as error:
                return lines.refused(line, request_id=request_id, error=error)
        return None

    async def _call(self, line: Line, request_id: str) -> Result | None:
        async with self._slots:
            if self._ending is not None or self._caller is None:
                return None
            answer = await self._calls.open(
                caller=self._caller,
                endpoint=self.batch.endpoint,
                body=line.body,
                request_id=request_id,
                comes_again=True,
            )
        return lines.answered(line, request_id=request_id, body=answer.body or b"null", usage=answer.usage)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than lines are asked."""
        # Not all at the same moment again.
        longest = seconds * random.uniform(1.0, 1.25)  # noqa: S311 - nobody gains by guessing
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_ending.wait(), longest)

    # What is written down ---------------------------------------------------------------------------------------

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        """Write down what is done so far."""
        async with self._writing:
            results, self._results, self._waiting_bytes = self._results, [], 0
            if results:
                await self._write_down(results)

    async def _write_down(self, results: list[Result]) -> None:
        names = {}
        for is_errors in (False, True):
            text = [result.text for result in results if result.is_error is is_errors]
            names[is_errors] = await self._disk(partial(progress.save_part, self.batch, text)) if text else ""
        try:
            await self._sql(partial(progress.record, self.batch, results, answers=names[False], errors=names[True]))
        except ClaimLostError:
            await self._disk(partial(progress.remove_parts, [name for name in names.values() if name]))
            raise

    async def _write_down_the_rest(self, ending: Ending) -> None:
        """Every line that is left, and those that were read and given up, with the reason."""
        rest = await self._disk(partial(self._rest, *ending.value))
        if not rest:
            return
        if ending is Ending.EXPIRED:
            await self._sql(lambda: progress.end_as(self.batch, BatchStatus.EXPIRED))
        await self._write_down(rest)

    def _rest(self, code: str, message: str) -> list[Result]:
        done = progress.done_lines(self.batch)
        with progress.open_input(self.batch) as file:
            left = lines.to_ask(file, done=done, endpoint=self.batch.endpoint)
            return [lines.unasked(line, code=code, message=message) for line in left]

    # What others say --------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._look()

    async def _look(self) -> None:
        """Say that the batch is worked on, and find out whether it is still to be."""
        found = await self._sql(lambda: progress.beat(self.batch))
        key_id = self.batch.key.public_id if self.batch.key else ""
        self._caller = await self._sql(lambda: caller_for_batch(key_id))
        if found.status == BatchStatus.CANCELLING:
            self.end(Ending.CANCELLED)
        elif found.expires_at <= timezone.now():
            self.end(Ending.EXPIRED)
        elif self._caller is None or self._caller.has_ended or not self._caller.may_use_endpoint(self.batch.endpoint):
            self.end(Ending.KEY)

    async def _sql(self, work: Callable[[], T], *, tries: int | None = None) -> T:
        """Ask the database, through a time in which it is away. Raises DatabaseAwayError after so many tries."""
        while True:
            try:
                return await in_thread(work, seconds=SQL_SECONDS)
            except DatabaseAwayError:
                tries = tries and tries - 1
                if tries == 0:
                    raise
                log.warning("batch_without_database", batch=self.batch.public_id)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _disk(self, work: Callable[[], T]) -> T:
        """Read or write files, through a time in which there is no room for them."""

        def run() -> T:
            try:
                return work()
            finally:
                connections.close_all()

        while True:
            try:
                return await asyncio.to_thread(run)
            except FileNotFoundError:
                raise
            except OSError as error:
                log.warning("batch_without_storage", batch=self.batch.public_id, error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)


def _seconds_to_wait(error: ApiError) -> float | None:
    """How long to wait before a refused call is made again; None when waiting is of no use."""
    given = error.headers.get("retry-after-ms") or ""
    if given.isdecimal():
        return int(given) / 1000
    return None if error.headers.get("x-should-retry") == "false" else 1.0


_making = threading.Lock()
_made: list[BatchWorker] = []


def current() -> BatchWorker:
    """The worker of this process, started by the first batch; never before a fork."""
    with _making:
        if not _made:
            _made.append(BatchWorker())
        return _made[0]


def stop_soon() -> None:
    """See BatchWorker.stop_soon; nothing to do in a process that has worked on no batch."""
    for worker in _made:
        worker.stop_soon()


def wait_until_stopped() -> None:
    """See BatchWorker.close."""
    for worker in _made:
        worker.close()
