"""How the portal is at this moment: what runs where, what waits, which parts work. Every look is bounded in time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from catalog import running
from catalog.models import Deployment
from catalog.running import Running
from common.redis import async_durable, async_volatile
from portal.celery import QUEUES
from portal.health import LOOK_SECONDS, Looks
from usage import spool
from usage.waiting import Waiting, waiting

if TYPE_CHECKING:
    import redis.asyncio

T = TypeVar("T")

CONNECTIONS = """
SELECT count(*), current_setting('max_connections')::int, pg_database_size(current_database())
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What goes on at a deployment. `slots` are those of all processes together, None where there is no bound, or while
    it is not known how many processes there are."""

    deployment: Deployment
    in_flight: int
    waiting: int
    passed_over: int
    slots: int | None

    @property
    def share(self) -> float | None:
        """How full it is."""
        return self.in_flight / self.slots if self.slots else None


@dataclass(frozen=True, slots=True)
class Queue:
    """Messages that wait for a worker, None while Redis does not answer; and what is wrong with the workers."""

    name: str
    messages: int | None
    wrong: str


@dataclass(frozen=True, slots=True)
class Store:
    """How full a database is. What is None is not known, or has no bound."""

    name: str
    wrong: str
    connections: int | None = None
    most_connections: int | None = None
    size_bytes: int | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """What was found. None stands for what only Redis knows, and it did not answer."""

    at: datetime
    processes: int | None
    calls: int | None
    waiting: Waiting | None
    spool_bytes: int
    places: tuple[Place, ...]
    queues: tuple[Queue, ...]
    stores: tuple[Store, ...]
    no_model: str
    """Why no model answers; empty while one does."""

    @property
    def idle_queues(self) -> list[str]:
        """The queues whose workers do not work."""
        return [queue.name for queue in self.queues if queue.wrong]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the looks at everything but PostgreSQL's rows came to."""

    found: Mapping[str, str]
    running: Running | None
    waiting: Waiting | None
    messages: Mapping[str, int] | None
    durable: Mapping[str, Any]
    volatile: Mapping[str, Any]


def look() -> Now:
    """Look at everything. With Redis frozen it takes a little longer than LOOK_SECONDS."""
    looked = asyncio.run(_look())
    with connection.cursor() as cursor:
        cursor.execute(CONNECTIONS)
        connections, most_connections, size = cursor.fetchone()
    found, heard = looked.found, looked.running
    return Now(
        at=timezone.now(),
        processes=heard.processes if heard else None,
        calls=heard.by_backend().total() if heard else None,
        waiting=looked.waiting,
        spool_bytes=spool.size(),
        places=_places(heard),
        queues=tuple(
            Queue(name, looked.messages[name] if looked.messages is not None else None, found[f"worker_{name}"])
            for name in QUEUES
        ),
        stores=(
            Store("PostgreSQL", found["postgresql"], connections, most_connections, size),
            _redis(_("Redis (durable)"), found["redis"], looked.durable),
            _redis(_("Redis (volatile)"), found["redis_volatile"], looked.volatile),
        ),
        no_model=found["model"],
    )


def _redis(name: str, wrong: str, info: Mapping[str, Any]) -> Store:
    # The older ones do not say how many connections they take, and 0 stands for no bound of memory.
    return Store(
        name,
        wrong,
        connections=info.get("connected_clients"),
        most_connections=info.get("maxclients"),
        size_bytes=info.get("used_memory"),
        most_bytes=info.get("maxmemory") or None,
    )


def _places(heard: Running | None) -> tuple[Place, ...]:
    in_flight, waits, passed_over = (Counter[int]() for _count in range(3))
    for busy in heard.busy if heard else ():
        in_flight[busy.deployment] += busy.in_flight
        waits[busy.deployment] += busy.waiting
        passed_over[busy.deployment] += busy.passed_over
    by_backend = heard.by_backend() if heard else None
    places = []
    for deployment in Deployment.objects.with_both_ends():
        most, pk = deployment.most_in_flight, deployment.pk
        deployment.backend.running = by_backend[deployment.backend.name] if by_backend is not None else None
        slots = most * heard.processes if most and heard else None
        places.append(Place(deployment, in_flight[pk], waits[pk], passed_over[pk], slots))
    return tuple(sorted(places, key=_worst_first))


def _worst_first(place: Place) -> tuple[int, int, int, str, str]:
    deployment = place.deployment
    names = deployment.hosted_model.public_name, deployment.backend.name
    return (-place.passed_over, -place.waiting, -place.in_flight, *names)


async def _look() -> _Looked:
    async with async_durable(connections=16) as durable, async_volatile(connections=4) as volatile:
        found, heard, waits, messages, of_durable, of_volatile = await asyncio.gather(
            Looks(durable=durable, volatile=volatile).found(),
            _bounded(_heard(durable)),
            _bounded(waiting(durable)),
            _bounded(_messages(durable)),
            _bounded(cast("Awaitable[dict[str, Any]]", durable.info())),
            _bounded(cast("Awaitable[dict[str, Any]]", volatile.info())),
        )
    return _Looked(found, heard, waits, messages, of_durable or {}, of_volatile or {})


async def _heard(durable: "redis.asyncio.Redis") -> Running:
    return running.heard(await cast("Awaitable[dict[str, str]]", durable.hgetall(running.KEY)))


async def _messages(durable: "redis.asyncio.Redis") -> dict[str, int]:
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    async with durable.pipeline(transaction=False) as pipeline:
        for name in QUEUES:
            pipeline.llen(f"{prefix}{name}")
        return dict(zip(QUEUES, await pipeline.execute(), strict=True))


async def _bounded(look: Awaitable[T]) -> T | None:
    try:
        return await asyncio.wait_for(look, LOOK_SECONDS)
    except (RedisError, OSError, TimeoutError):
        return None
