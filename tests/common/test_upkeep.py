"""Work for as long as a loop runs outlives what it raises, and ends when it is told to."""

import asyncio
from contextlib import suppress

import pytest

from common.upkeep import keep_running, stop


def test_it_works(caplog: pytest.LogCaptureFixture) -> None:
    begun = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ZeroDivisionError
        if begun == 3:
            enough.set()
            await asyncio.Event().wait()

    async def run() -> None:
        task = keep_running(work, name="counting", again_seconds=0)
        await asyncio.wait_for(enough.wait(), 5)
        await stop(task)
        assert task.cancelled()

    asyncio.run(run())
    assert begun == 3
    assert "upkeep_failed" in caplog.text
    assert "upkeep_ended" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_one_that_takes_its_end_for_something_else_is_asked_again() -> None:
    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def run() -> bool:
        task = keep_running(deaf, name="deaf")
        await asyncio.sleep(0)
        await stop(task)
        return task.cancelled()

    assert asyncio.run(run())
