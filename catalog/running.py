"""What runs at each deployment, as far as the processes that make calls have said in the last second."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import orjson
from redis.exceptions import RedisError

from catalog.models import Backend
from common import redis

# A hash: what each process that makes calls has under way.
KEY = "ly:calls:places"
SAID_EVERY_SECONDS = 1.0
# What a process said that died since is believed for so long: the clocks of two machines may differ a little.
BELIEVED_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Busy:
    """A deployment, by its primary key, where one process has something to tell: calls that are under way there, calls
    that wait for a slot there, or (1 for yes) that it passes the deployment over because it fails."""

    deployment: int
    backend: str
    in_flight: int
    waiting: int
    passed_over: int


@dataclass(frozen=True, slots=True)
class Running:
    """What all processes have said, and how many they are. `gone` are the fields of those that died."""

    processes: int
    busy: tuple[Busy, ...]
    gone: tuple[str, ...]

    def by_backend(self) -> Counter[str]:
        """The number of calls that are under way, by the name of the backend."""
        counts: Counter[str] = Counter()
        for place in self.busy:
            counts[place.backend] += place.in_flight
        return counts


def said(busy: Iterable[Busy]) -> str:
    """The value of a process's field in the hash."""
    return orjson.dumps([time.time(), list(busy)]).decode()


def heard(fields: Mapping[str, str]) -> Running:
    """What the hash holds."""
    busy: list[Busy] = []
    gone = []
    for process, value in fields.items():
        at, places = orjson.loads(value)
        if abs(time.time() - at) > BELIEVED_SECONDS:
            gone.append(process)
        else:
            busy += [Busy(**place) for place in places]
    return Running(len(fields) - len(gone), tuple(busy), tuple(gone))


def note_running(backends: Iterable[Backend]) -> None:
    """Put into `running` of each backend how many calls run there: None while Redis does not answer."""
    counts = _counts()
    for backend in backends:
        backend.running = None if counts is None else counts[backend.name]


def _counts() -> Counter[str] | None:
    try:
        return _heard().by_backend()
    except RedisError:
        return None


def forget_gone() -> None:
    """Drop what processes said that died."""
    if gone := _heard().gone:
        redis.durable().hdel(KEY, *gone)


def _heard() -> Running:
    return heard(cast("dict[str, str]", redis.durable().hgetall(KEY)))
