"""The HTTP client of inference servers, by itself; what it does with their faults is seen through the gateway."""

import asyncio
import gc
import json
import weakref
from typing import Any

from inference.client import InferenceClient, Reply, Timeouts
from tests.fakes.inference_server import FakeInferenceServer


class Call:
    """What a call is to the client."""

    has_waited = was_reached = was_left = False

    def waits(self) -> None:
        self.has_waited = True

    async def begins(self) -> None:
        self.was_reached = True

    def ends(self) -> None:
        self.was_left = True


async def opened(client: InferenceClient, call: Call, url: str, told: dict[str, float] | None = None) -> Reply:
    """An answer that has begun; as it is `told` a stream."""
    body: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "one"}]}
    if told:
        body |= {"stream": True, "fake": told}
    return await client.post(
        f"{url}/chat/completions",
        credential="",
        payload=json.dumps(body).encode(),
        content_type="application/json",
        timeouts=Timeouts(connect=5.0, first_byte=5.0, idle=5.0, total=5.0),
        waits=call.waits,
        begins=call.begins,
        ends=call.ends,
    )


async def answered(client: InferenceClient, url: str) -> "weakref.ref[Call]":
    call = Call()
    reply = await opened(client, call, url)
    await reply.read()
    reply.release()
    assert (call.has_waited, call.was_reached, call.was_left) == (False, True, True)
    return weakref.ref(call)


def test_a_connection_that_is_kept_does_not_keep_the_call() -> None:
    """It lives on with the context of the task that opened it."""

    async def ask(url: str) -> bool:
        async with InferenceClient() as client:
            call = await asyncio.create_task(answered(client, url))
            gc.collect()
            return call() is None

    with FakeInferenceServer() as server:
        assert asyncio.run(ask(server.base_url))
        assert server.ledger.requests == 1


def test_a_server_is_left_when_its_answer_has_arrived() -> None:
    """Whether or not anybody reads it; and not while more is to come."""

    async def ask(url: str, told: dict[str, float]) -> tuple[bool, bool]:
        async with InferenceClient() as client:
            call = Call()
            reply = await opened(client, call, url, told)
            at_first = call.was_left
            await asyncio.sleep(0.4)
            reply.close()
            return at_first, call.was_left

    with FakeInferenceServer() as server:
        assert asyncio.run(ask(server.base_url, {"tokens": 4, "rate": 40})) == (False, True)
        assert asyncio.run(ask(server.base_url, {"tokens": 400, "rate": 40})) == (False, False)
