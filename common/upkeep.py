"""Work that goes on for as long as an event loop does."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0


def keep_running(
    work: Callable[[], Awaitable[None]], *, name: str, again_seconds: float = AGAIN_SECONDS
) -> asyncio.Task[None]:
    """A task that does `work` until it is cancelled. When that ends or raises, it is logged and begun again: a task
    that died unseen would be missed only by what it was for."""
    return asyncio.create_task(_again_and_again(work, name, again_seconds), name=name)


async def stop(*tasks: asyncio.Task[None]) -> None:
    """End tasks of `keep_running`, and return once they have.

    They are asked until they do: redis-py takes a cancellation that meets a timeout of its own for that timeout.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)


async def _again_and_again(work: Callable[[], Awaitable[None]], name: str, again_seconds: float) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("upkeep_failed", task=name)
        else:
            log.error("upkeep_ended", task=name)
        await asyncio.sleep(again_seconds)
