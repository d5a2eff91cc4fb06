"""What of `/v1` needs SQL: in threads, a few at a time, so that threads and connections are left to look up keys."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from common.context import current_origin
from common.errors import OverloadedError, RateLimitError
from common.throttles import is_too_often
from usage.threads import DatabaseAwayError, in_thread

log = structlog.get_logger(__name__)

T = TypeVar("T")

QUEUE_SECONDS = 10.0
# PostgreSQL ends what takes too long. This is for one that no longer answers at all.
ANSWER_SECONDS = 30.0


class Turns:
    """The turns of one event loop, so many at once."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread when its turn comes.

        Raises OverloadedError when that takes too long, and when the database does not answer.
        """
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise OverloadedError("Others are being answered first. Try again in a moment.") from None
        try:
            return await in_thread(work, seconds=ANSWER_SECONDS)
        except DatabaseAwayError:
            log.warning("answer_without_database")
            raise OverloadedError("The portal's database does not answer. Try again in a moment.") from None
        finally:
            self._free.release()


def check_pace(about: str, *, per_minute: int) -> None:
    """Count a request of this IP address. Raises RateLimitError for one too many; to be called in a turn."""
    # Not every cache takes a key with spaces.
    if is_too_often(about.replace(" ", "_"), address=current_origin.get().address, most=per_minute, seconds=60):
        raise RateLimitError(
            f"More than {per_minute} requests about {about} a minute from your IP address.",
            kind="requests",
            wait_seconds=60,
        )
