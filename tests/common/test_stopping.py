"""What the signals that stop a process come to."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from django.test import override_settings

from common.stopping import Stopping

NOTICE_SECONDS = 0.4
TURNS = 5
"""Of the loop, within which it has heard a signal and done what is to be done at once."""


@pytest.fixture
def handed_on() -> Iterator[list[int]]:
    """The signals that the server gets."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: numbers.append(number))
    with override_settings(DRAIN_NOTICE_SECONDS=NOTICE_SECONDS):
        yield numbers
    signal.signal(signal.SIGINT, before)


async def interrupt(times: int) -> None:
    """So many signals, and what follows each at once: told by no clock, which on a busy machine goes on meanwhile."""
    for _time in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        for _turn in range(TURNS):
            await asyncio.sleep(0)


async def after(times: int, numbers: list[int]) -> tuple[bool, int, int]:
    """Whether it has begun, and how many signals were handed on: soon after `times` of them, and after the notice."""
    stopping = Stopping()
    with stopping.on_signals():
        await interrupt(times)
        soon = len(numbers)
        await asyncio.sleep(NOTICE_SECONDS * 1.5)
    return stopping.is_on, soon, len(numbers)


def test_it_works(handed_on: list[int]) -> None:
    assert asyncio.run(after(1, handed_on)) == (True, 0, 1)


def test_a_second_signal_takes_the_place_of_the_first(handed_on: list[int]) -> None:
    assert asyncio.run(after(2, handed_on)) == (True, 1, 1)


@pytest.mark.parametrize(("times", "is_told_soon"), [(1, False), (2, True)])
def test_whoever_ends_what_runs_is_told_when_the_server_is(
    handed_on: list[int], times: int, is_told_soon: bool
) -> None:
    told: list[int] = []

    async def soon() -> list[int]:
        stopping = Stopping()
        with stopping.on_signals(), stopping.telling(lambda: told.append(len(handed_on))):
            await interrupt(times)
            found = list(told)
            await asyncio.sleep(NOTICE_SECONDS * 1.5)
        return found

    assert asyncio.run(soon()) == ([1] if is_told_soon else [])
    assert told == [1]
