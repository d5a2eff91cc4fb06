"""What waits in Redis until it is in PostgreSQL."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from usage.events import DEAD_LETTERS, STREAM

if TYPE_CHECKING:
    import redis.asyncio


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events in the stream, how long the oldest has waited, and those put aside, which can never be written."""

    events: int
    age_seconds: float
    dead_letters: int

    @property
    def age_ms(self) -> float:
        return self.age_seconds * 1000


async def waiting(durable: "redis.asyncio.Redis") -> Waiting:
    """What waits now. Raises RedisError when Redis does not answer."""
    events = await durable.xlen(STREAM)
    oldest = cast("list[tuple[str, object]]", await durable.xrange(STREAM, count=1))
    seconds, _microseconds = await durable.time()
    dead = await cast("Awaitable[int]", durable.llen(DEAD_LETTERS))
    age = seconds - int(oldest[0][0].partition("-")[0]) / 1000 if oldest else 0.0
    return Waiting(events, max(0.0, age), dead)
