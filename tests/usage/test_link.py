"""The link to Redis: what it promises to calls while the server forgets its scripts, and at its end."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from common import redis as servers
from common.ids import new_id
from tests import services
from usage.link import LinkDownError, RedisLink
from usage.scripts import REMEMBER_POLICY

if TYPE_CHECKING:
    from django.conf import LazySettings


@asynccontextmanager
async def open_link() -> AsyncIterator[RedisLink]:
    link = RedisLink()
    await link.start()
    try:
        yield link
    finally:
        await link.close()


def test_it_works() -> None:
    async def calls() -> list[str]:
        async with open_link() as link:
            asks = (link.execute("ECHO", str(number)) for number in range(100))
            return [str(answer) for answer in await asyncio.gather(*asks)]

    assert asyncio.run(calls()) == [str(number) for number in range(100)]


def test_it_works_by_a_unix_socket(settings: "LazySettings") -> None:
    async def ping() -> str:
        async with open_link() as link:
            return str(await link.execute("PING"))

    with services.running_redis(durable=True, is_by_socket=True) as (settings.REDIS_URL, _server):
        assert settings.REDIS_URL.startswith("unix:")
        assert uvloop.run(ping()) == asyncio.run(ping()) == "PONG"


def test_scripts_that_a_server_has_forgotten_are_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    servers.durable().script_flush()

    async def calls() -> list[int]:
        async with open_link() as link:
            asks = [link.run(REMEMBER_POLICY, keys=[new_id("probe")], args=["kept", "1"]) for _number in range(3)]
            return [int(kept) for kept in await asyncio.gather(*asks)]

    assert asyncio.run(calls()) == [1, 1, 1]
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_what_was_asked_is_answered_before_it_closes() -> None:
    key = new_id("probe")

    async def ask() -> None:
        async with open_link() as link:
            asked = link.execute("SET", key, "kept", "EX", 10)
        assert await asked == "OK"
        with pytest.raises(LinkDownError):
            await link.execute("PING")

    asyncio.run(ask())
    assert servers.durable().get(key) == "kept"
