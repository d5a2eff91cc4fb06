"""How many calls run at each backend, as far as the processes that make them have said in the last second."""

import time
from collections.abc import Iterable, Mapping
from typing import cast

import orjson
from redis.exceptions import RedisError

from catalog.models import Backend
from common import redis

# A hash: what each process that makes calls has in flight.
KEY = "ly:calls:running"
SAID_EVERY_SECONDS = 1.0
# What a process said that died since is believed for so long: the clocks of two machines may differ a little.
BELIEVED_SECONDS = 15.0


def said(counts: Mapping[str, int]) -> str:
    """The value of a process's field in the hash: its calls by the name of the backend."""
    return orjson.dumps([time.time(), counts]).decode()


def note_running(backends: Iterable[Backend]) -> None:
    """Put into `running` of each backend how many calls run there: None while Redis does not answer."""
    counts = _counts()
    for backend in backends:
        backend.running = None if counts is None else counts.get(backend.name, 0)


def _counts() -> dict[str, int] | None:
    client, counts = redis.durable(), dict[str, int]()
    try:
        for process, value in cast("dict[str, str]", client.hgetall(KEY)).items():
            at, running = orjson.loads(value)
            if abs(time.time() - at) > BELIEVED_SECONDS:
                client.hdel(KEY, process)
                continue
            for backend, number in running.items():
                counts[backend] = counts.get(backend, 0) + number
    except RedisError:
        return None
    return counts
