"""Which of a model's deployments a call goes to, with inference servers that count what they are asked."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from apikeys.verification import digests_of
from common.ids import new_id
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Asked, Host, chat
from usage.calls import MeteredCalls
from usage.ingest import drain
from usage.models import UsageEvent
from usage.policies import Caller, load


def call(client: openai.OpenAI, model: str, **told: Any) -> str:
    """Make a call; gives its request id."""
    body = {"fake": told} if told else None
    reply = client.chat.completions.with_raw_response.create(
        model=model, messages=chat(), max_tokens=1, extra_body=body
    )
    return reply.headers["x-request-id"]


def test_it_works(client: openai.OpenAI, host: Host, asked: Asked) -> None:
    model = host({"weight": 1}, {"weight": 3}, {"weight": 4})
    for _number in range(160):
        call(client, model)
    first, second, third = asked()
    assert first + second + third == 160
    # Five standard deviations of what chance would give.
    assert 0 <= first <= 41
    assert 32 <= second <= 88
    assert 48 <= third <= 112


def test_running_calls_are_shared_by_weight(client: openai.OpenAI, host: Host, asked: Asked) -> None:
    model = host({"weight": 1}, {"weight": 3})
    with ExitStack() as running:
        for _number in range(8):
            stream = client.chat.completions.create(
                model=model, messages=chat(), stream=True, extra_body={"fake": {"tokens": 1000, "rate": 20}}
            )
            running.enter_context(stream)
        assert asked() == [2, 6, 0]


def test_the_first_priority_takes_all_it_can(
    client: openai.OpenAI, host: Host, asked: Asked, servers: list[FakeInferenceServer]
) -> None:
    model = host({"priority": 1, "weight": 100}, {"priority": 0}, {"priority": 2})
    for _number in range(20):
        call(client, model)
    assert asked() == [0, 20, 0]
    servers[1].stop()
    try:
        for _number in range(20):
            call(client, model)
    finally:
        servers[1].start()
    assert asked() == [20, 20, 0]


def test_one_that_failed_its_check_is_asked_after_one_of_a_later_priority(
    client: openai.OpenAI, host: Host, asked: Asked
) -> None:
    model = host({"is_healthy": False}, {"priority": 1})
    for _number in range(5):
        call(client, model)
    assert asked() == [0, 5, 0]


@pytest.mark.parametrize("fault", ["gone", "busy"])
def test_one_of_two_that_takes_no_calls_costs_none(
    client: openai.OpenAI, host: Host, asked: Asked, servers: list[FakeInferenceServer], fault: str
) -> None:
    model = host({"weight": 3}, {})
    servers[0].scripts[model] = {"status": 503}
    if fault == "gone":
        servers[0].stop()
    try:
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda _number: call(client, model), range(200)))
    finally:
        if fault == "gone":
            servers[0].start()
    drain()
    events = UsageEvent.objects.filter(request_id__in=ids)
    assert sorted(events.values_list("request_id", "status", "completion_tokens")) == [
        (request_id, 200, 1) for request_id in sorted(ids)
    ]
    at_the_first, at_the_second, _none = asked()
    assert at_the_second == 200
    assert at_the_first <= 8, "only those that were under way before the first failure"


def test_a_server_that_is_back_is_probed_by_one_call_at_a_time(
    host: Host, asked: Asked, servers: list[FakeInferenceServer], secret: str
) -> None:
    model = host({}, {"priority": 1})
    caller = load(digests_of(secret)[0])
    assert caller is not None

    async def work(caller: Caller) -> None:
        calls = MeteredCalls(rest_seconds=0.2)
        await calls.start()

        async def make() -> None:
            body = {"model": model, "messages": chat(), "max_tokens": 1}
            await calls.open(caller=caller, endpoint="chat/completions", body=body, request_id=new_id("req"))

        servers[0].scripts[model] = {"status": 503}
        await make()
        assert asked() == [1, 1, 0]
        servers[0].scripts[model] = {"held": True}
        running = []
        while asked()[0] == 1:
            running.append(asyncio.create_task(make()))
            await asyncio.sleep(0.005)
        await asyncio.gather(*(make() for _number in range(5)))
        assert asked()[0] == 2, "one is enough to find out"
        servers[0].scripts[model] = {}
        servers[0].release()
        await asyncio.gather(*running)
        await asyncio.gather(*(make() for _number in range(5)))
        assert asked()[0] == 7, "it has answered: all go there again"
        await calls.close()

    asyncio.run(asyncio.wait_for(work(caller), 20))


def test_each_server_is_asked_for_its_own_name_of_the_model(
    client: openai.OpenAI, host: Host, asked: Asked, servers: list[FakeInferenceServer]
) -> None:
    """Also the first, when it is the last to be tried because it failed before."""
    model = host({"backend_name": "of-the-first"}, {"backend_name": "of-the-second", "priority": 1})
    servers[0].scripts["of-the-first"] = {"status": 503}
    call(client, model)
    del servers[0].scripts["of-the-first"]
    servers[1].scripts["of-the-second"] = {"status": 503}
    call(client, model)
    assert asked() == [2, 2, 0]
    for server, name in zip(servers, ("of-the-first", "of-the-second"), strict=False):
        assert {entry.body["model"] for entry in server.ledger.entries[-2:]} == {name}


def test_the_only_server_is_always_asked(
    client: openai.OpenAI, host: Host, asked: Asked, servers: list[FakeInferenceServer]
) -> None:
    model = host({})
    servers[0].scripts[model] = {"status": 503}
    for _number in range(7):
        with pytest.raises(openai.InternalServerError):
            call(client, model)
    del servers[0].scripts[model]
    call(client, model)
    assert asked() == [8, 0, 0]
