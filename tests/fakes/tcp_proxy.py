"""A TCP proxy that can go away or freeze: a server's failure as its clients feel it, without stopping the server."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class TcpProxy:
    """Passes connections on to `host:port` until told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thawed = asyncio.Event()
        self._answering = asyncio.Event()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def resume(self) -> None:
        """Pass everything on, again."""
        asyncio.run_coroutine_threadsafe(self._resume(), self._loop).result(5)

    def cut(self) -> None:
        """Refuse new connections and break those that are open."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    def freeze(self) -> None:
        """Keep connections open and take new ones, but pass nothing on."""
        self._loop.call_soon_threadsafe(self._thawed.clear)

    def lose_answers(self) -> None:
        """Pass on what clients say, and nothing of what they are answered."""
        self._loop.call_soon_threadsafe(self._answering.clear)

    def before(self, url: str) -> str:
        """The address of a store, by way of this proxy."""
        parts = urlsplit(url)
        user, at, _host = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    async def _resume(self) -> None:
        self._thawed.set()
        self._answering.set()
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._server.close()
        self._thawed.set()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            away_reader, away_writer = await asyncio.open_connection(*self._target)
            self._writers.add(away_writer)
            await asyncio.gather(
                self._pump(reader, away_writer, self._thawed), self._pump(away_reader, writer, self._answering)
            )
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._thawed.wait()
                await passes.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
