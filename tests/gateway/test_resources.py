"""What a web process holds while it is busy, and that it holds no more afterwards: connections, files, memory."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from apikeys.models import ApiKey
from common import redis
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import START_SECONDS, Stage, ask, chat, is_there, wait_for, web_process
from usage.ingest import drain
from usage.models import UsageEvent

MEBIBYTE = 1024 * 1024
STREAMS = 300
PAGE_LOADS = 50
CALLS_AT_ONCE = 16
SLOW_READERS = 50
# A reader's patience is a second here.
IMPATIENT = ["--http", "tests.gateway.impatient:Connection"]
# 100 MB: more than all buffers on the way hold together, of which the kernel lets one alone grow to 32 MiB.
FLOOD = {"tokens": 20_000, "word": "word " * 1000}


@dataclass
class Web:
    """A whole web process of its own."""

    url: str
    pid: int

    @property
    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @property
    def memory_bytes(self) -> int:
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def peak_bytes(self) -> int:
        """The most memory it had at any time since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def web(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    var: Path = tmp_path_factory.mktemp("var")
    with web_process(var, application="portal.asgi:application", arguments=IMPATIENT) as (url, process):
        wait_for(lambda: is_there(url), seconds=START_SECONDS)
        yield Web(url, process.pid)


def request(secret: str, told: dict[str, Any], **fields: Any) -> bytes:
    body = json.dumps({"model": "fake-chat", "messages": chat(), "fake": told, **fields}).encode()
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def connected(url: str) -> socket.socket:
    """A client with little room for what it does not read."""
    parts = urlsplit(url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect((parts.hostname, parts.port))
    return client


def to_postgres() -> int:
    """How many connections there are, those of the test among them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def to_redis() -> int:
    """The same of Redis, to the database that is this process's own: others run tests beside it."""
    client: Any = redis.durable()
    mine = str(client.connection_pool.connection_kwargs["db"])
    return sum(one["db"] == mine for one in client.client_list())


def test_connections_are_bounded(web: Web, secret: str, fake: FakeInferenceServer) -> None:
    before = fake.ledger.requests
    seen: list[tuple[int, int]] = []
    with ExitStack() as streams, ThreadPoolExecutor(10) as pool:
        for _number in range(STREAMS):
            stream = streams.enter_context(connected(web.url))
            stream.sendall(request(secret, {"tokens": 10_000, "rate": 2}, stream=True))
        wait_for(lambda: fake.ledger.requests == before + STREAMS, seconds=60)
        site = web.url.removesuffix("/v1")
        loads = [pool.submit(ask, site, "/accounts/login/", method="GET") for _number in range(PAGE_LOADS)]
        for load in loads:
            seen.append((to_postgres(), to_redis()))
            assert load.result().status == 200
    assert max(number for number, _redis in seen) <= 20
    assert max(number for _postgres, number in seen) <= 80


ENDINGS: list[dict[str, Any]] = [
    {"tokens": 3},
    {"tokens": 3, "status": 500},
    {"tokens": 9, "die_after": 4},
    {"tokens": 9, "error_after": 4},
]
LEFT: list[dict[str, Any]] = [{"slow_headers": 30}, {"tokens": 9, "stall_after": 2}]


async def call_and_read(url: str, sent: list[bytes]) -> None:
    """Make calls one after the other on a connection, and read each answer to its end."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    for raw in sent:
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if length:
            await reader.readexactly(int(length[0].partition(b":")[2]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()


async def call_and_leave(url: str, raw: bytes) -> None:
    parts = urlsplit(url)
    _reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(raw)
    await writer.drain()
    # Long enough to reach the server for most: the rest leaves earlier.
    await asyncio.sleep(0.02)
    writer.transport.abort()


async def rounds(url: str, secret: str, number: int) -> None:
    """Streams that end in every way, so many of each."""
    for _round in range(number):
        whole = [request(secret, told, stream=True) for told in ENDINGS]
        leaving = [request(secret, told, stream=streams) for told in LEFT for streams in (True, False)]
        await asyncio.gather(call_and_read(url, whole), *(call_and_leave(url, raw) for raw in leaving))


def test_nothing_of_a_stream_is_left(web: Web, secret: str, fake: FakeInferenceServer) -> None:
    asyncio.run(rounds(web.url, secret, 5))
    wait_for(lambda: all(entry.closed_at is not None for entry in fake.ledger.entries))
    before = web.open_files
    asyncio.run(rounds(web.url, secret, 50))
    wait_for(lambda: web.open_files <= before + 2)


def test_memory_does_not_grow_with_the_calls(web: Web, secret: str) -> None:
    async def calls(number: int) -> None:
        sent = [request(secret, {"tokens": 3}, stream=bool(number % 2)) for number in range(number // CALLS_AT_ONCE)]
        await asyncio.gather(*(call_and_read(web.url, sent) for _ in range(CALLS_AT_ONCE)))

    asyncio.run(calls(800))
    before = web.memory_bytes
    asyncio.run(calls(2400))
    assert web.memory_bytes - before < 10 * MEBIBYTE


def test_who_reads_nothing_is_hung_up_on(
    web: Web, secret: str, mint: Callable[..., str], fake: FakeInferenceServer
) -> None:
    slow, before = mint(), len(fake.ledger.entries)
    web.forget_peak()
    started_with = web.memory_bytes
    with ExitStack() as stack:
        readers = [stack.enter_context(connected(web.url)) for _number in range(SLOW_READERS)]
        for reader in readers:
            reader.sendall(request(slow, FLOOD, stream=True))
        wait_for(lambda: len(fake.ledger.entries) == before + SLOW_READERS, seconds=60)
        mine = fake.ledger.entries[before:]

        def are_left() -> bool:
            for reader in readers[::2]:
                with suppress(OSError):
                    reader.recv(1)
            body = {"model": "fake-chat", "messages": chat()}
            assert ask(web.url, "/chat/completions", secret=secret, body=body).status == 200, "others are answered"
            return all(entry.closed_at is not None for entry in mine)

        wait_for(are_left, seconds=60)
    assert {entry.closed_by for entry in mine} == {"client"}
    assert web.peak_bytes - started_with < 60 * MEBIBYTE

    def charged() -> list[UsageEvent]:
        drain()
        return list(UsageEvent.objects.filter(key_id=ApiKey.objects.behind(slow).get().public_id))

    wait_for(lambda: len(charged()) == SLOW_READERS)
    assert {(event.status, event.error_code) for event in charged()} == {(499, "client_closed")}
    assert all(event.completion_tokens > 0 for event in charged())


def test_who_reads_slowly_reads_to_the_end(web: Web, secret: str) -> None:
    parts = urlsplit(web.url)
    received, length = 0, 24 * MEBIBYTE
    started = time.monotonic()
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as reader:
        reader.sendall(request(secret, {"padding": length}))
        while received < length:
            piece = reader.recv(64 * 1024)
            assert piece, "it was hung up on"
            received += len(piece)
            time.sleep(0.01)
    assert time.monotonic() - started > 2, "twice the patience"


def test_a_whole_answer_that_nobody_reads_is_let_go_of(web: Web, secret: str, fake: FakeInferenceServer) -> None:
    before = len(fake.ledger.entries)
    with ExitStack() as stack:
        for _number in range(5):
            reader = stack.enter_context(connected(web.url))
            reader.sendall(request(secret, {"padding": 16 * MEBIBYTE}))
        wait_for(lambda: len(fake.ledger.entries) == before + 5)
        wait_for(lambda: all(entry.closed_at is not None for entry in fake.ledger.entries[before:]))
        with_readers = web.open_files
        wait_for(lambda: web.open_files <= with_readers - 5, seconds=10)
