"""The two Redis servers: one durable (broker, usage, limits), one that forgets (run streams, caches).

Each process keeps one pool per server and purpose. A pool waits briefly for a free connection instead of raising, and
every call is bounded in time, so that a frozen Redis is an error within seconds and never a hung request.
"""

from functools import cache
from typing import Any

import redis
import redis.asyncio
from django.conf import settings

SOCKET_TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 1.0


def _options(*, connections: int) -> dict[str, Any]:
    return {
        "max_connections": connections,
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": 30,
        "decode_responses": True,
    }


@cache
def durable() -> "redis.Redis":
    """The synchronous client of the durable Redis."""
    pool = redis.BlockingConnectionPool.from_url(settings.REDIS_URL, **_options(connections=32))
    return redis.Redis(connection_pool=pool)


@cache
def volatile() -> "redis.Redis":
    """The synchronous client of the volatile Redis; nothing put there reaches a disk."""
    pool = redis.BlockingConnectionPool.from_url(settings.REDIS_VOLATILE_URL, **_options(connections=32))
    return redis.Redis(connection_pool=pool)


def async_durable(*, connections: int = 64) -> "redis.asyncio.Redis":
    """A new asynchronous client of the durable Redis; it belongs to one event loop: close it there."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(settings.REDIS_URL, **_options(connections=connections))
    return redis.asyncio.Redis(connection_pool=pool)


def async_volatile(*, connections: int = 64) -> "redis.asyncio.Redis":
    """A new asynchronous client of the volatile Redis, under the same rule as `async_durable`."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.REDIS_VOLATILE_URL, **_options(connections=connections)
    )
    return redis.asyncio.Redis(connection_pool=pool)
