"""The HTTP client of inference servers, by itself; what it does with their faults is seen through the gateway."""

import asyncio
import gc
import weakref

from inference.client import InferenceClient, Timeouts
from tests.fakes.inference_server import FakeInferenceServer


class Call:
    """What a call is to the client."""

    was_reached = False

    def begins(self) -> None:
        self.was_reached = True


async def answered(client: InferenceClient, url: str) -> "weakref.ref[Call]":
    call = Call()
    timeouts = Timeouts(connect=5.0, first_byte=5.0, idle=5.0, total=5.0)
    payload = b'{"model": "fake", "messages": [{"role": "user", "content": "one"}]}'
    reply = await client.post(
        f"{url}/chat/completions",
        credential="",
        payload=payload,
        content_type="application/json",
        timeouts=timeouts,
        begins=call.begins,
    )
    await reply.read()
    reply.release()
    assert call.was_reached
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
