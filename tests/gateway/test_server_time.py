"""What a call is counted of its servers' time: that for which it held them, and no waiting."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.db.models import F, Sum

from apikeys.models import ApiKey
from apikeys.verification import digests_of
from common import redis
from common.ids import new_id
from tests.gateway.conftest import Host, Reply, Stage, ask, begun, chat, wait_for
from usage.calls import MeteredCalls
from usage.ingest import drain
from usage.models import UsageEvent, UsageRollup15Min
from usage.policies import load

PLENTY = 10**6


@pytest.fixture
def limited(mint: Callable[..., str], settings: LazySettings) -> Iterator[str]:
    """A key whose time of servers is counted; its calls wait for a slot as long as it takes."""
    settings.GATEWAY_SLOT_WAIT_SECONDS = 10
    secret = mint(gpu_seconds_per_day=PLENTY)
    yield secret
    # Whatever happened to them, all three count the same.
    assert counted(secret) == in_events(secret) == in_sums(secret)


def complete(url: str, secret: str, model: str, told: dict[str, Any], **fields: Any) -> Reply:
    body = {"model": model, "messages": chat(), "fake": told, **fields}
    return ask(url, "/chat/completions", secret=secret, body=body)


def events(secret: str, number: int = 1) -> list[UsageEvent]:
    """The calls of a key, once they are in the ledger, in the order in which they came."""
    of_key = UsageEvent.objects.filter(**of(secret)).order_by("pk")
    wait_for(lambda: drain() is not None and of_key.count() == number)
    return list(of_key)


def counted(secret: str, what: str = "gpu") -> int:
    """What Redis has counted for a key today: milliseconds of servers, or something else."""
    client: Any = redis.durable()
    (counter,) = client.scan_iter(f"*key:{of(secret)['key_id']}:used:*")
    return int(client.hget(counter, what))


def in_events(secret: str) -> int:
    return sum(event.server_ms for event in UsageEvent.objects.filter(**of(secret)))


def in_sums(secret: str) -> int:
    sums = UsageRollup15Min.objects.filter(**of(secret)).aggregate(time=Sum(F("latency_ms_sum") - F("waited_ms_sum")))
    return int(sums["time"])


def of(secret: str) -> dict[str, str]:
    return {"key_id": ApiKey.objects.behind(secret).get().public_id}


def test_it_works(url: str, limited: str, host: Host) -> None:
    model = host({"most_in_flight": 1})
    with ThreadPoolExecutor(3) as pool:
        told = {"slow_headers": 0.4}
        replies = list(pool.map(lambda _number: complete(url, limited, model, told), range(3)))
    assert [reply.status for reply in replies] == [200, 200, 200]
    shares = [(event.latency_ms, event.server_ms) for event in events(limited, 3)]
    assert all(400 <= server <= latency for latency, server in shares)
    # The last waited for two, and may have come half a second after the first.
    assert max(latency - server for latency, server in shares) >= 300


def test_without_a_wait_it_is_nearly_all(url: str, limited: str, host: Host) -> None:
    complete(url, limited, host({}), {"slow_headers": 0.5})
    (event,) = events(limited)
    assert 500 <= event.server_ms <= event.latency_ms < event.server_ms + 250


def test_a_server_that_failed_was_held_too(url: str, limited: str, host: Host) -> None:
    told = {"slow_headers": 0.3, "status": 503}
    assert complete(url, limited, host({}, {}), told).status == 503
    (event,) = events(limited)
    assert (event.failovers, event.cost_nano) == (1, 0)
    assert 600 <= event.server_ms <= event.latency_ms


def test_a_server_that_nobody_reaches_is_not_held(url: str, limited: str, host: Host, deaf: str) -> None:
    model = host({"base_url": deaf})
    with begun(url, limited, {}, model=model):
        # It is noted of a call that is let in.
        wait_for(lambda: any(redis.durable().scan_iter(f"*key:{of(limited)['key_id']}:used:*")))
        time.sleep(0.4)  # by which waiting is told from holding a server, as below
    (event,) = events(limited)
    assert (event.status, event.backend, event.server_ms) == (499, f"{model}-0", 0)
    assert event.latency_ms >= 400


def test_who_leaves_while_waiting_held_none(url: str, limited: str, host: Host) -> None:
    model = host({"most_in_flight": 1})
    with begun(url, limited, {"tokens": 10_000, "rate": 50}, model=model, stream=True) as first:
        first.getresponse().readline()
        with begun(url, limited, {}, model=model):
            wait_for(lambda: counted(limited, "requests") == 2)
            time.sleep(0.3)
    ran, waited = events(limited, 2)
    assert (waited.backend, waited.server_ms) == ("", 0)
    assert waited.latency_ms >= 300
    assert ran.server_ms >= 300


def test_who_reads_slowly_does_not_hold_a_server_that_is_done(limited: str, stage: Stage) -> None:
    caller = load(digests_of(limited)[0])
    assert caller is not None
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"tokens": 4, "rate": 20}}

    async def work() -> None:
        calls = MeteredCalls()
        await calls.start()
        answer = await calls.open(caller=caller, endpoint="chat/completions", body=body, request_id=new_id("req"))
        # For as long as it does not read, nothing asks the server's connection for more.
        await asyncio.sleep(0.8)
        assert b"".join([frame async for frame in answer.frames()]).endswith(b"data: [DONE]\n\n")
        await calls.close()

    asyncio.run(asyncio.wait_for(work(), 20))
    (event,) = events(limited)
    assert (event.status, event.latency_ms >= 800) == (200, True)
    # Were it held until all is read, it would be all of the time slept.
    assert 150 <= event.server_ms < 800


def test_who_leaves_a_stream_held_it_until_then(url: str, limited: str) -> None:
    with begun(url, limited, {"tokens": 10_000, "rate": 50}, model="fake-chat", stream=True) as connection:
        connection.getresponse().readline()
        time.sleep(0.5)
    (event,) = events(limited)
    assert event.status == 499
    assert 500 <= event.server_ms <= event.latency_ms
