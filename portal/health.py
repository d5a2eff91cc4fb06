"""/livez says that this process answers; /readyz that the portal can do its work: stores, workers, a model.

Both, and the numbers at /metrics, stand before Django: no host check, no session, no template. Every look is bounded in
time, so that a part that is frozen rather than gone is a prompt 503 and never a hung request.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import redis
import redis.asyncio
from django.db import DatabaseError, InterfaceError, connections
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from catalog.models import Backend
from catalog.services import check_backends
from common.redis import async_durable, async_volatile, durable
from common.stopping import stopping
from portal import metrics
from portal.celery import QUEUES

LOOK_SECONDS = 1.5
CHECK_SECONDS = 1.0
# Heartbeats come every 2 s; a worker under a burst of work may be late with one, and is dead after missing three.
STALE_SECONDS = 8.0
# Many may ask at once; they share one look.
REUSE_SECONDS = 0.5

# What a check finds is written once a minute while it does not change.
_FRESH_SECONDS = 90
_BACKENDS = """
    SELECT count(*), count(*) FILTER (WHERE is_healthy AND checked_at > now() - make_interval(secs => %s))
    FROM catalog_backend WHERE is_enabled
"""
_REMEMBERED_MS = 60_000
# Of the database's options, those that speak to Django and not to PostgreSQL.
_DJANGO_OPTIONS = {"pool", "isolation_level", "server_side_binding", "assume_role"}


def _key(queue: str) -> str:
    return f"ly:health:consumed:{queue}"


def note_consumed(queue: str) -> None:
    """Remember that a worker has just finished a task of `queue`."""
    # The age of a note is read off its remaining life, so that no two machines' clocks are compared.
    durable().set(_key(queue), 1, px=_REMEMBERED_MS)


class Unwell(Exception):  # noqa: N818 - what a look found, not a fault of this program
    """What is wrong with a part, in words that may be shown to anybody."""


@dataclass
class Looks:
    """Looks at every part, at most every REUSE_SECONDS however many ask."""

    durable: "redis.asyncio.Redis"
    volatile: "redis.asyncio.Redis"
    _found: dict[str, str] = field(default_factory=dict)
    _until: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def found(self) -> dict[str, str]:
        """Each part with what is wrong with it, or with nothing."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._found = await self._look()
                self._until = time.monotonic() + REUSE_SECONDS
            return self._found

    async def _look(self) -> dict[str, str]:
        backends = asyncio.create_task(_backends())
        looks = {
            "postgresql": _bounded(_answered(backends)),
            "redis": _bounded(self._answers(self.durable)),
            "redis_volatile": _bounded(self._answers(self.volatile)),
            **{f"worker_{queue}": _bounded(self._consumed(queue)) for queue in QUEUES},
            "model": _bounded(self._model(backends)),
        }
        try:
            return dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))
        finally:
            backends.cancel()

    async def _answers(self, client: "redis.asyncio.Redis") -> None:
        await client.ping()

    async def _consumed(self, queue: str) -> None:
        left = await self.durable.pttl(_key(queue))
        if left < 0:
            raise Unwell("no worker has consumed this queue in the last minute")
        age = (_REMEMBERED_MS - left) / 1000
        if age > STALE_SECONDS:
            raise Unwell(f"no worker has consumed this queue for {age:.0f} s")

    async def _model(self, backends: "asyncio.Task[tuple[int, int]]") -> None:
        connected, healthy = await asyncio.shield(backends)
        if not connected:
            raise Unwell("no backend is connected")
        # Beat has them checked every few seconds. A portal that starts, or whose only server is just back, need not
        # wait for the next time.
        if not healthy and not await asyncio.to_thread(_one_is_healthy_now):
            raise Unwell("no backend answers")


async def _backends() -> tuple[int, int]:
    """How many backends are enabled, and how many of them are known to serve."""
    async with await _connect() as connection:
        row = await (await connection.execute(_BACKENDS, [_FRESH_SECONDS])).fetchone()
    assert row is not None  # noqa: S101 - an aggregate without groups has one row
    return row


def _one_is_healthy_now() -> bool:
    try:
        check_backends(deadline_seconds=CHECK_SECONDS)
        return Backend.objects.enabled().filter(is_healthy=True).exists()
    finally:
        connections.close_all()


async def _connect() -> "psycopg.AsyncConnection[tuple[int, int]]":
    # A connection of its own: the pools of the web process may be what is exhausted.
    database = connections.settings["default"]
    options = {name: value for name, value in database["OPTIONS"].items() if name not in _DJANGO_OPTIONS}
    return await psycopg.AsyncConnection.connect(
        host=database["HOST"],
        port=database["PORT"],
        dbname=database["NAME"],
        user=database["USER"],
        password=database["PASSWORD"],
        autocommit=True,
        **{**options, "connect_timeout": 2},
    )


async def _answered(query: "asyncio.Task[tuple[int, int]]") -> None:
    await asyncio.shield(query)


async def _bounded(look: Awaitable[None]) -> str:
    try:
        await asyncio.wait_for(look, LOOK_SECONDS)
    except TimeoutError:
        return f"no answer in {LOOK_SECONDS} s"
    except Unwell as unwell:
        return str(unwell)
    except (OSError, psycopg.Error, redis.RedisError, DatabaseError, InterfaceError):
        # Their own messages name addresses and accounts, and this page is open to everybody.
        return "does not answer"
    return ""


async def livez(request: Request) -> PlainTextResponse:
    """200 while this process serves requests, whatever has become of the rest."""
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


async def readyz(request: Request) -> JSONResponse:
    """200 when every part works, else 503; either way with each part by name."""
    looks: Looks = request.app.state.looks
    found = {"web": "this process was told to stop"} if stopping.is_on else await looks.found()
    ready = not any(found.values())
    parts = {name: {"ok": not wrong, "detail": wrong} for name, wrong in found.items()}
    return JSONResponse(
        {"status": "ready" if ready else "not ready", "parts": parts},
        status_code=200 if ready else 503,
        headers={"cache-control": "no-store"},
    )


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Hold the connections that looking needs for as long as the process serves."""
    durable_client, volatile_client = async_durable(connections=8), async_volatile(connections=2)
    async with durable_client, volatile_client:
        app.state.looks = Looks(durable=durable_client, volatile=volatile_client)
        yield


application = Starlette(
    routes=[
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics.page, methods=["GET"]),
    ],
    lifespan=lifespan,
)
