"""The gateway's connection to Redis: commands of one moment travel together, and an absent Redis is known at once.

redis-py spends more on checking a connection out of a pool than on the command. Here one connection serves an event
loop: everything asked while a batch is on its way makes the next batch, so a busier loop makes fewer round trips for
each command.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, cast

import hiredis
import redis.asyncio
import structlog
from django.conf import settings
from redis.exceptions import NoScriptError, RedisError, ResponseError

from common.upkeep import keep_running, stop
from usage.scripts import Script

log = structlog.get_logger(__name__)

# A batch that takes longer means a frozen server: its calls fail, and later ones fail at once until it answers again.
# Counted in looks of the watcher, not by the clock: a loop that was itself held up has not yet read what has arrived.
LOOK_SECONDS = 0.25
LOOKS_OF_PATIENCE = 6
LOOKS_BETWEEN_PINGS = 4
CONNECT_SECONDS = 1.0
RETRY_SECONDS = 0.25


class LinkDownError(Exception):
    """Redis does not answer. What was sent may or may not have been done."""


class _Ask:
    __slots__ = ("again", "future", "is_sent", "packed")

    def __init__(self, packed: bytes, again: tuple[Any, ...], future: "asyncio.Future[Any]") -> None:
        self.packed = packed
        self.again = again
        self.future = future
        self.is_sent = False


class RedisLink:
    """One event loop's connection to the durable Redis. `start` it there, `close` it there."""

    def __init__(self) -> None:
        self._pool = redis.asyncio.ConnectionPool.from_url(
            settings.REDIS_URL, decode_responses=True, socket_connect_timeout=CONNECT_SECONDS, socket_keepalive=True
        )
        self._waiting: list[_Ask] = []
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._patience: asyncio.Timeout | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether Redis answered last. While it is False nothing is sent and every call fails at once."""
        return self._up.is_set()

    async def start(self) -> None:
        """Connect. Returns when Redis answers, or after a moment without it."""
        self._tasks = [
            keep_running(self._work, name="redis-link"),
            keep_running(self._watch, name="redis-watch"),
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), CONNECT_SECONDS)

    async def close(self) -> None:
        """Close the connection; calls still waiting fail."""
        await stop(*self._tasks)
        self._fail(self._waiting)

    def _connection(self) -> redis.asyncio.Connection:
        return cast("redis.asyncio.Connection", self._pool.make_connection())  # type: ignore[no-untyped-call]

    async def wait_until_up(self) -> None:
        """Return once Redis answers."""
        await self._up.wait()

    async def wait_until_down(self) -> None:
        """Return once Redis has stopped answering."""
        await self._down.wait()

    def run(self, script: Script, *, keys: Sequence[str], args: Sequence[str | bytes]) -> "asyncio.Future[Any]":
        """Run a script. It is on its way when this returns: the future need not be awaited for it to happen.

        The future raises LinkDownError when Redis is away, ResponseError when the script objects.
        """
        rest = (len(keys), *keys, *args)
        return self._ask(("EVALSHA", script.sha, *rest), ("EVAL", script.text, *rest))

    def execute(self, *command: str | int) -> "asyncio.Future[Any]":
        """Run one command, under the same promise as `run`."""
        return self._ask(command, command)

    def _ask(self, command: tuple[Any, ...], again: tuple[Any, ...]) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # An exception nobody awaits is dealt with by a callback; asyncio need not report it.
        future.add_done_callback(_seen)
        if not self.is_up:
            future.set_exception(LinkDownError())
            return future
        self._waiting.append(_Ask(hiredis.pack_command(command), again, future))
        self._wake.set()
        return future

    async def _work(self) -> None:
        while True:
            connection = self._connection()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    await connection.send_command("PING", check_health=False)
                    await connection.read_response()
                if not self.is_up:
                    log.info("redis_link_up")
                    self._up.set()
                    self._down.clear()
                await self._serve(connection)
            except (RedisError, OSError, TimeoutError) as error:
                if self.is_up:
                    log.warning("redis_link_down", error=type(error).__name__)
                self._up.clear()
                self._down.set()
                waiting, self._waiting = self._waiting, []
                self._fail(waiting)
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                await connection.disconnect(nowait=True)

    async def _watch(self) -> None:
        """End a batch that takes too long, and find out that Redis is gone or frozen before a call does."""
        watched: asyncio.Timeout | None = None
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks = looks + 1 if self._patience is watched else 0
            watched = self._patience
            if watched is not None and looks >= LOOKS_OF_PATIENCE:
                watched.reschedule(asyncio.get_running_loop().time())
            elif watched is None and looks and looks % LOOKS_BETWEEN_PINGS == 0 and self.is_up:
                self.execute("PING")

    async def _serve(self, connection: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            if not batch:
                continue
            for ask in batch:
                ask.is_sent = True
            try:
                async with asyncio.timeout(None) as self._patience:
                    await connection.send_packed_command(b"".join([ask.packed for ask in batch]), check_health=False)
                    for ask in batch:
                        await self._answer(connection, ask)
            finally:
                self._patience = None
                # Of these only what waits to be sent anew may still be answered.
                self._fail([ask for ask in batch if ask.is_sent])

    async def _answer(self, connection: Any, ask: _Ask) -> None:
        try:
            result = await connection.read_response()
        except NoScriptError:
            ask.packed = hiredis.pack_command(ask.again)
            ask.is_sent = False
            self._waiting.append(ask)
            self._wake.set()
        except ResponseError as error:
            if not ask.future.done():
                ask.future.set_exception(error)
        else:
            if not ask.future.done():
                ask.future.set_result(result)

    @staticmethod
    def _fail(asks: list[_Ask]) -> None:
        for ask in asks:
            if not ask.future.done():
                ask.future.set_exception(LinkDownError())


def _seen(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
