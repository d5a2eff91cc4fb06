"""Database work for code that runs on an event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connections

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
# After a failure nobody waits for the database again for this long: calls would queue up behind each other's wait.
REST_SECONDS = 1.0

_resting_until = 0.0


class DatabaseAwayError(Exception):
    """PostgreSQL does not answer, or does not answer in time."""


async def in_thread(work: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """Run `work` in a thread. Its connection goes back to the pool at once, which idle threads would soon drain.

    Raises DatabaseAwayError when the database fails it, and when it takes longer than `seconds`.
    """
    global _resting_until
    if time.monotonic() < _resting_until:
        raise DatabaseAwayError

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(run)
    except (DatabaseError, InterfaceError, TimeoutError) as error:
        _resting_until = time.monotonic() + REST_SECONDS
        raise DatabaseAwayError from error
