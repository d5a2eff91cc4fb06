"""The link to Redis: what it promises to calls while the server forgets its scripts."""

import asyncio
import gc

import pytest

from common import redis as servers
from common.ids import new_id
from usage.link import RedisLink
from usage.scripts import REMEMBER_POLICY


def test_scripts_that_a_server_has_forgotten_are_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    servers.durable().script_flush()

    async def calls() -> list[int]:
        link = RedisLink()
        await link.start()
        try:
            asks = [link.run(REMEMBER_POLICY, keys=[new_id("probe")], args=["kept", "1"]) for _number in range(3)]
            return [int(kept) for kept in await asyncio.gather(*asks)]
        finally:
            await link.close()

    assert asyncio.run(calls()) == [1, 1, 1]
    gc.collect()
    assert "never retrieved" not in caplog.text
