"""The gateway's connection to Redis: commands are sent as they are asked, and an absent Redis is known at once.

redis-py spends more on checking a connection out of a pool, and on reading each answer, than on the command. Here it
makes the connection, with all that an address may ask for, and then one protocol serves an event loop: commands that
are asked while others are on their way do not wait for them, and answers come in the order of the commands.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
import redis.asyncio
import structlog
from django.conf import settings
from redis.exceptions import RedisError, ResponseError

from common.upkeep import keep_running, stop
from usage.scripts import Script

log = structlog.get_logger(__name__)

# A command that waits longer means a frozen server: all that wait fail, and later ones at once until it answers again.
# Counted in looks of the watcher, not by the clock: a loop that was itself held up has not yet read what has arrived.
LOOK_SECONDS = 0.25
LOOKS_OF_PATIENCE = 6
LOOKS_BETWEEN_PINGS = 4
CONNECT_SECONDS = 1.0
RETRY_SECONDS = 0.25

Command = tuple[Any, ...]


class LinkDownError(Exception):
    """Redis does not answer. What was sent may or may not have been done."""


class _Ask:
    """A command on its way. `again` is sent in its place to a server that does not know its script."""

    __slots__ = ("again", "future")

    def __init__(self, again: Command | None, future: "asyncio.Future[Any]") -> None:
        self.again = again
        self.future = future


class _Wire(asyncio.Protocol):
    """A connection that was made, until it is lost."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.waiting: deque[_Ask] = deque()
        self.lost = asyncio.Event()
        self._transport = transport
        self._unsent: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(encoding="utf-8", replyError=ResponseError)
        transport.set_protocol(self)
        if transport.is_closing():
            self.lost.set()

    def send(self, command: Command, ask: _Ask) -> None:
        # What is asked in one turn of the loop goes out together: to write to a socket costs more than all else here.
        if not self._unsent:
            self._loop.call_soon(self._write)
        self._unsent.append(hiredis.pack_command(command))
        self.waiting.append(ask)

    def _write(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            ask = self.waiting.popleft()
            if isinstance(answer, ResponseError):
                if ask.again is not None and str(answer).startswith("NOSCRIPT"):
                    self.send(ask.again, _Ask(None, ask.future))
                else:
                    _fail(ask.future, answer)
            elif not ask.future.done():
                ask.future.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        for ask in self.waiting:
            _fail(ask.future, LinkDownError())


class RedisLink:
    """One event loop's connection to the durable Redis. `start` it there, `close` it there."""

    def __init__(self) -> None:
        self._pool = redis.asyncio.ConnectionPool.from_url(
            settings.REDIS_URL, decode_responses=True, socket_connect_timeout=CONNECT_SECONDS
        )
        self._wire: _Wire | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._up = asyncio.Event()
        self._down = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether Redis answered last. While it is False nothing is sent and every call fails at once."""
        return self._wire is not None

    async def start(self) -> None:
        """Connect. Returns when Redis answers, or after a moment without it."""
        self._tasks = [
            keep_running(self._work, name="redis-link"),
            keep_running(self._watch, name="redis-watch"),
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), CONNECT_SECONDS)

    async def close(self) -> None:
        """Close the connection, once Redis has answered what it was asked, or fails to."""
        with contextlib.suppress(LinkDownError, RedisError):
            await self.execute("PING")
        await stop(*self._tasks)

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
        return self._ask(command, None)

    def _ask(self, command: Command, again: Command | None) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._wire is None or self._wire.lost.is_set():
            _fail(future, LinkDownError())
        else:
            self._wire.send(command, _Ask(again, future))
        return future

    async def _work(self) -> None:
        while True:
            connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await connection.connect()
                        await connection.send_command("PING", check_health=False)
                        await connection.read_response()
                    # redis-py shows nobody what it writes to.
                    await self._use(_Wire(connection._writer.transport))
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(RETRY_SECONDS)

    async def _use(self, wire: _Wire) -> None:
        """Let calls use a connection until it is lost."""
        log.info("redis_link_up")
        self._wire = wire
        self._up.set()
        self._down.clear()
        try:
            await wire.lost.wait()
            log.warning("redis_link_down")
        finally:
            self._wire = None
            self._up.clear()
            self._down.set()

    async def _watch(self) -> None:
        """End a connection whose server takes too long, and find out that it is gone before a call does."""
        watched: _Ask | None = None
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._wire is None:
                continue
            oldest = self._wire.waiting[0] if self._wire.waiting else None
            looks = looks + 1 if oldest is watched else 0
            watched = oldest
            if watched is None:
                if looks and looks % LOOKS_BETWEEN_PINGS == 0:
                    self.execute("PING")
            elif looks >= LOOKS_OF_PATIENCE:
                self._wire.abort()


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        # Seen: whom it concerns has a callback, and asyncio need not report what nobody awaits.
        future.exception()
