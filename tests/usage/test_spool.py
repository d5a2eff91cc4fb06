"""Settlements on the disk: whole, in order, private, and taken by one process only."""

import asyncio
from pathlib import Path

import pytest
from django.conf import LazySettings
from redis.exceptions import ConnectionError as RedisConnectionError

from usage.spool import Settlement, Spool, folder, replay


@pytest.fixture(autouse=True)
def own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path


def settlement(number: int) -> Settlement:
    return Settlement(keys=("ly:{o}:leases",), args=(str(number), "0", "0", '["é"]', ""))


async def write(number: int) -> Spool:
    spool = Spool()
    await asyncio.gather(*(spool.append(settlement(index)) for index in range(number)))
    return spool


async def write_and_release(number: int) -> None:
    await (await write(number)).release()


def test_it_works() -> None:
    asyncio.run(write_and_release(50))
    assert (folder().stat().st_mode & 0o777, next(folder().iterdir()).stat().st_mode & 0o777) == (0o700, 0o600)
    found: list[Settlement] = []
    assert replay(found.append) == 50
    assert found == [settlement(index) for index in range(50)]
    assert list(folder().iterdir()) == []
    assert replay(found.append) == 0


def test_a_file_still_written_is_left_alone() -> None:
    spool = asyncio.run(write(1))
    found: list[Settlement] = []
    assert replay(found.append) == 0
    asyncio.run(spool.release())
    assert replay(found.append) == 1


def test_a_replay_that_fails_keeps_the_file() -> None:
    asyncio.run(write_and_release(3))

    def fail(_what: Settlement) -> None:
        raise RedisConnectionError

    with pytest.raises(RedisConnectionError):
        replay(fail)
    found: list[Settlement] = []
    assert replay(found.append) == 3


def test_a_line_cut_short_spoils_no_other() -> None:
    asyncio.run(write_and_release(2))
    (path,) = folder().glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"keys": ["ly:')
    found: list[Settlement] = []
    assert replay(found.append) == 2
