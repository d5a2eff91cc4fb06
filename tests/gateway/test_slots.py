"""No deployment gets more calls at a time than it may, and those that wait get their turn or are told to come back."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any, cast
from urllib.parse import urlsplit

import openai
import pytest
from django.conf import LazySettings

import catalog.running
from apikeys.models import ApiKey
from apikeys.services import revoke_key
from apikeys.verification import digests_of
from catalog import routing
from catalog.models import Deployment
from common import redis
from common.ids import new_id
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Asked, Host, Stage, admitted, ask, chat, wait_for
from usage.calls import MeteredCalls
from usage.ingest import drain
from usage.models import UsageEvent
from usage.policies import Caller, load
from usage.routes import Routes

Servers = list[FakeInferenceServer]
LONG = {"tokens": 10_000, "rate": 50}


@contextmanager
def running(client: openai.OpenAI, model: str, **told: Any) -> Iterator[None]:
    """A stream that is under way, until the end of the block unless it ends before."""
    stream = client.chat.completions.create(
        model=model, messages=chat(), stream=True, extra_body={"fake": told or LONG}
    )
    with closing(stream):
        yield


def body_of(model: str) -> dict[str, Any]:
    return {"model": model, "messages": chat(), "max_tokens": 1}


def test_it_works(
    client: openai.OpenAI, url: str, secret: str, host: Host, servers: Servers, settings: LazySettings
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 10
    model = host({"most_in_flight": 1})
    with running(client, model, tokens=10, rate=50):
        assert ask(url, "/chat/completions", secret=secret, body=body_of(model)).status == 200
    first, second = servers[0].ledger.entries[-2:]
    assert first.closed_at is not None
    assert first.sent_tokens == 10
    assert second.opened_at >= first.closed_at


@pytest.mark.parametrize("patience", [0, 0.2])
def test_nobody_waits_for_long(
    client: openai.OpenAI,
    url: str,
    secret: str,
    host: Host,
    asked: Asked,
    settings: LazySettings,
    event_of: Callable[[str], UsageEvent],
    patience: float,
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = patience
    model = host({"most_in_flight": 2})
    with running(client, model), running(client, model):
        reply = ask(url, "/chat/completions", secret=secret, body=body_of(model))
    assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "server_is_overloaded", "1")
    assert float(reply.headers["openai-processing-ms"]) >= patience * 1000
    assert asked() == [2, 0, 0]
    event = event_of(reply.headers["x-request-id"])
    assert (event.status, event.error_code, event.prompt_tokens) == (503, "server_is_overloaded", 0)


def test_another_deployment_with_a_free_slot_is_taken_at_once(
    client: openai.OpenAI, url: str, secret: str, host: Host, asked: Asked, settings: LazySettings
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 0
    model = host({"most_in_flight": 1}, {"priority": 1})
    with running(client, model):
        for _number in range(3):
            assert ask(url, "/chat/completions", secret=secret, body=body_of(model)).status == 200
    assert asked() == [1, 3, 0]


def test_a_call_that_failed_gives_its_slot_back(
    url: str, secret: str, host: Host, asked: Asked, settings: LazySettings
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 0
    model = host({"most_in_flight": 1})
    for told in ({"status": 500}, {"status": 503}, {"bad_json": True}, {"die_after": 0}, {"status": 400}):
        body = body_of(model) | {"fake": told, "stream": "die_after" in told}
        reply = ask(url, "/chat/completions", secret=secret, body=body)
        assert b"server_is_overloaded" not in reply.body, told
    assert ask(url, "/chat/completions", secret=secret, body=body_of(model)).status == 200


def told_of(deployment: Deployment) -> list[tuple[int, int]]:
    """The calls that are under way at a deployment and those that wait, as each process says that has any."""
    running = catalog.running.heard(cast("dict[str, str]", redis.durable().hgetall(catalog.running.KEY)))
    return [(place.in_flight, place.waiting) for place in running.busy if place.deployment == deployment.pk]


def test_it_is_told_who_waits_where(
    client: openai.OpenAI, url: str, secret: str, host: Host, settings: LazySettings
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 10
    model = host({"most_in_flight": 1})
    deployment = Deployment.objects.get(hosted_model__public_name=model)
    with ThreadPoolExecutor(1) as pool:
        with running(client, model):
            waiting = pool.submit(ask, url, "/chat/completions", secret=secret, body=body_of(model))
            wait_for(lambda: told_of(deployment) == [(1, 1)])
        assert waiting.result(timeout=20).status == 200
    wait_for(lambda: told_of(deployment) == [])


def test_a_key_revoked_while_it_waits_waits_no_longer(
    client: openai.OpenAI,
    url: str,
    mint: Callable[..., str],
    host: Host,
    stage: Stage,
    servers: Servers,
    settings: LazySettings,
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 10
    model, secret = host({"most_in_flight": 1}), mint()
    wait_for(lambda: admitted(stage) == 0)
    with running(client, model), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, url, "/chat/completions", secret=secret, body=body_of(model))
        wait_for(lambda: admitted(stage) == 2)
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        reply = waiting.result(timeout=20)
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    wait_for(lambda: admitted(stage) == 0)


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(
    client: openai.OpenAI,
    url: str,
    secret: str,
    host: Host,
    asked: Asked,
    stage: Stage,
    servers: Servers,
    settings: LazySettings,
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 10
    model = host({"most_in_flight": 1})
    wait_for(lambda: admitted(stage) == 0)
    with running(client, model):
        with sent(url, secret, body_of(model)):
            wait_for(lambda: admitted(stage) == 2)
        wait_for(lambda: admitted(stage) == 1)
    wait_for(lambda: admitted(stage) == 0)
    assert ask(url, "/chat/completions", secret=secret, body=body_of(model)).status == 200
    assert asked() == [2, 0, 0]
    drain()
    left = UsageEvent.objects.get(model=model, backend="")
    assert (left.status, left.prompt_tokens, left.cost_nano, left.is_estimated) == (499, 0, 0, False)


@contextmanager
def sent(url: str, secret: str, body: dict[str, Any]) -> Iterator[None]:
    """A request that is made, and hung up on at the end of the block."""
    raw, parts = json.dumps(body).encode(), urlsplit(url)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(head.encode() + raw)
        yield


def test_first_come_first_served(host: Host, servers: Servers, secret: str, settings: LazySettings) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 10
    model = host({"most_in_flight": 1})
    caller = load(digests_of(secret)[0])
    assert caller is not None

    async def work(caller: Caller) -> None:
        calls = MeteredCalls()
        await calls.start()

        async def make(who: int) -> None:
            body = body_of(model) | {"user": str(who), "fake": {"slow_headers": 0.05}}
            await calls.open(caller=caller, endpoint="chat/completions", body=body, request_id=new_id("req"))

        # Their admissions go to Redis in this order, and come back in it.
        await asyncio.gather(*(make(who) for who in range(8)))
        await calls.close()

    asyncio.run(asyncio.wait_for(work(caller), 20))
    entries = servers[0].ledger.entries[-8:]
    assert [entry.body["user"] for entry in entries] == [str(who) for who in range(8)]
    assert all(after.opened_at >= (before.closed_at or 0) for before, after in pairwise(entries))


def test_a_slot_handed_to_a_client_that_just_left_goes_to_the_next(host: Host) -> None:
    """Between the moment at which a slot is given to a call and the one at which the call goes on, it may be ended."""
    model = host({"most_in_flight": 1})
    routes_of = routing.load().models[model].routes

    async def work() -> None:
        routes = Routes()
        route = routes.take(routes_of, "a")
        assert route is not None
        waiting = [asyncio.create_task(routes.wait_for_slot(routes_of, who, model="m")) for who in "bc"]
        await asyncio.sleep(0)
        routes.leave(route, "a")
        waiting[0].cancel()
        assert await waiting[1] is route
        routes.leave(route, "c")
        assert routes.take(routes_of, "d") is route
        assert routes.take(routes_of, "e") is None

    asyncio.run(asyncio.wait_for(work(), 5))
