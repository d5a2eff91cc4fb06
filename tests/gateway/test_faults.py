"""Redis or PostgreSQL gone or frozen, as a gateway in a process of its own feels it, and the gateway killed itself."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings, settings
from django.db import connection, connections
from django.utils import timezone
from redis import Redis

from apikeys.models import ApiKey
from apikeys.services import revoke_key
from apikeys.verification import digests_of
from common import redis as servers
from tests import services
from tests.fakes.inference_server import FakeInferenceServer
from tests.fakes.tcp_proxy import TcpProxy
from tests.gateway.conftest import (
    MILLION,
    START_SECONDS,
    Asked,
    Host,
    Reply,
    Stage,
    admitted,
    ask,
    chat,
    is_there,
    wait_for,
    wait_until_known,
    web_process,
)
from usage.admission import reap, settle_now, tail_of
from usage.calls import MeteredCalls
from usage.events import STREAM, Event
from usage.ingest import drain
from usage.link import CONNECT_SECONDS, LOOK_SECONDS, LOOKS_OF_PATIENCE, RedisLink
from usage.models import UsageEvent
from usage.policies import CHANNEL, Policies, load, redis_key
from usage.spool import folder, replay

Mint = Callable[..., str]

# Half of what `ask` waits for, and a server here keeps silent for: how busy the machine is does not matter.
SOON_SECONDS = 10


@dataclass
class OwnProcess:
    """A gateway in a process of its own, whose way to Redis and to PostgreSQL can be cut."""

    url: str
    redis: TcpProxy
    postgres: TcpProxy
    process: "subprocess.Popen[bytes]"


@pytest.fixture
def own(stage: Stage, tmp_path: Path) -> Iterator[OwnProcess]:
    database = connection.settings_dict
    redis_parts = urlsplit(settings.REDIS_URL)
    assert redis_parts.hostname is not None
    with (
        TcpProxy(redis_parts.hostname, redis_parts.port or 6379) as redis,
        TcpProxy(database["HOST"], int(database["PORT"] or 5432)) as postgres,
    ):
        place = f"127.0.0.1:{postgres.port}/{database['NAME']}"
        changed = web_process(
            tmp_path,
            DATABASE_URL=f"postgres://{database['USER']}:{database['PASSWORD']}@{place}",
            REDIS_URL=redis.before(settings.REDIS_URL),
            GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS="1",
            GATEWAY_IDLE_TIMEOUT_SECONDS="1",
            GATEWAY_SLOT_WAIT_SECONDS="10",
        )
        with changed as (url, process):
            wait_for(lambda: is_there(url), seconds=START_SECONDS)
            yield OwnProcess(url, redis, postgres, process)


def complete(url: str, secret: str, **body: Any) -> Reply:
    return ask(url, "/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat(), **body})


def test_without_redis_calls_go_on_and_none_is_lost(own: OwnProcess, mint: Mint, tmp_path: Path) -> None:
    plain, budgeted, limited = mint(), mint(monthly_budget_nano=10**9), mint(requests_per_minute=3)
    for secret in (plain, budgeted, limited):
        assert complete(own.url, secret).status == 200
    own.redis.cut()
    before = time.monotonic()
    replies = [complete(own.url, plain, max_tokens=3) for _ in range(10)]
    assert [reply.status for reply in replies] == [200] * 10
    assert time.monotonic() - before < 10 * CONNECT_SECONDS, "nobody waits for a connection"

    refused = complete(own.url, budgeted, model="paid-chat")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "2"
    assert complete(own.url, budgeted, model="fake-chat").status == 200, "a free model costs no budget"
    assert [complete(own.url, limited).status for _ in range(4)] == [200, 200, 200, 429], "limits hold in the process"

    ids = [reply.headers["x-request-id"] for reply in replies]
    own.redis.resume()
    wait_for(lambda: metered(ids) == 30)
    # A budget is counted anew when what was settled on the disk reaches it.
    wait_for(lambda: complete(own.url, budgeted, model="paid-chat").status == 200)
    assert list((tmp_path / "spool").glob("*.jsonl")) == []


def metered(ids: list[str]) -> int:
    """Output tokens in the ledger for these requests."""
    drain()
    return sum(UsageEvent.objects.filter(request_id__in=ids).values_list("completion_tokens", flat=True))


def test_a_server_that_keeps_silent_is_given_up(
    own: OwnProcess, mint: Mint, fake: FakeInferenceServer, event_of: Callable[[str], UsageEvent]
) -> None:
    secret = mint()
    for streams in (False, True):
        started = time.monotonic()
        reply = complete(own.url, secret, stream=streams, fake={"slow_headers": 20})
        seconds = time.monotonic() - started
        assert seconds < SOON_SECONDS
        assert reply.status == 504
        assert reply.error["code"] == "upstream_timeout"
        wait_for(lambda: fake.last().closed_by == "client")
        event = event_of(reply.headers["x-request-id"])
        assert event.is_estimated
        most = max(20, 10 * seconds)
        assert 9 <= event.completion_tokens <= most, "it was at work for a second, but for the time to reach it"
        assert event.prompt_tokens > 0
    stalled = complete(own.url, secret, stream=True, fake={"tokens": 9, "stall_after": 4})
    assert stalled.status == 200
    assert b'"code":"upstream_timeout"' in stalled.body
    assert stalled.body.count(b"word ") == 4
    wait_for(lambda: fake.last().closed_by == "client")


def test_a_frozen_redis_holds_nobody_up(own: OwnProcess, mint: Mint) -> None:
    secret = mint()
    assert complete(own.url, secret).status == 200
    own.redis.freeze()
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _number: complete(own.url, secret, max_tokens=1), range(8)))
    assert [reply.status for reply in replies] == [200] * 8
    assert time.monotonic() - started < SOON_SECONDS
    quickest = min(seconds_of_a_call(own, secret) for _number in range(5))
    assert quickest < LOOK_SECONDS * LOOKS_OF_PATIENCE, "once it is known to be frozen, nobody waits for it"


def seconds_of_a_call(own: OwnProcess, secret: str) -> float:
    started = time.monotonic()
    assert complete(own.url, secret).status == 200
    return time.monotonic() - started


def test_without_postgres_known_keys_go_on(own: OwnProcess, mint: Mint, stage: Stage) -> None:
    secret, stranger, revoked = mint(), mint(), mint()
    assert complete(own.url, revoked).status == 200
    revoke_key(key=ApiKey.objects.behind(revoked).get(), by=stage.ada)
    # Later news than those of the new key: until these have come it is not known, but changed.
    wait_for(lambda: complete(own.url, revoked).status == 401)
    assert complete(own.url, secret).status == 200
    own.postgres.cut()
    reply = complete(own.url, secret)
    assert reply.status == 200
    started = time.monotonic()
    unknown = complete(own.url, stranger)
    assert unknown.status == 503
    assert time.monotonic() - started < SOON_SECONDS
    assert int(unknown.headers["retry-after"]) >= 1
    own.postgres.resume()
    wait_for(lambda: complete(own.url, stranger).status == 200)


def test_a_key_revoked_while_a_gateway_is_deaf_is_refused_all_the_same(
    own: OwnProcess, mint: Mint, stage: Stage
) -> None:
    secret = mint()
    assert complete(own.url, secret).status == 200
    own.redis.cut()
    wait_for(lambda: complete(own.url, secret).status == 200)
    revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
    wait_for(lambda: complete(own.url, secret).status == 401)


def test_a_killed_gateway_leaves_calls_that_are_settled_for_it(
    own: OwnProcess, mint: Mint, fake: FakeInferenceServer
) -> None:
    secret = mint(concurrent_requests=3)
    told = {"tokens": 10_000, "rate": 50}
    before = fake.ledger.requests
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(cut_off, own.url, secret, stream=True, fake=told) for _ in range(3)]
        wait_for(lambda: fake.ledger.requests == before + 3)
        own.process.send_signal(signal.SIGKILL)
        for call in calls:
            call.result()
    end_leases()
    reap()
    drain()
    lost = UsageEvent.objects.filter(error_code="gateway_lost").order_by("-id")[:3]
    assert len(lost) == 3
    assert all(event.is_estimated and event.prompt_tokens > 0 for event in lost)


def test_a_call_that_waits_when_its_gateway_is_killed_costs_nothing(own: OwnProcess, mint: Mint, host: Host) -> None:
    secret = mint(monthly_budget_nano=10**12)
    model = slotted(own, secret, host)
    told = {"tokens": 500, "rate": 50}
    with ThreadPoolExecutor(2) as pool:
        ran = pool.submit(cut_off, own.url, secret, model=model, stream=True, fake=told)
        wait_for(lambda: holds_of(secret) == [True])
        waited = pool.submit(cut_off, own.url, secret, model=model)
        wait_for(lambda: holds_of(secret) == [False, True])
        own.process.send_signal(signal.SIGKILL)
        ran.result()
        waited.result()
    lost = lost_of(secret)
    assert [(event.status, event.backend, event.cost_nano, event.is_estimated) for event in lost[1:]] == [
        (500, "", 0, False)
    ]
    assert (lost[1].prompt_tokens, lost[1].completion_tokens, lost[1].server_ms) == (0, 0, 0)
    assert lost[0].cost_nano > 0
    assert spent(secret) == {"spent": lost[0].cost_nano, "held": 0}


def test_a_call_that_has_waited_and_is_served_when_its_gateway_is_killed_is_charged(
    own: OwnProcess, mint: Mint, host: Host, asked: Asked
) -> None:
    secret = mint()
    model = slotted(own, secret, host)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(complete, own.url, secret, model=model, stream=True, fake={"tokens": 40, "rate": 50})
        wait_for(lambda: asked() == [1, 0, 0])
        second = pool.submit(cut_off, own.url, secret, model=model, stream=True, fake={"slow_headers": 30})
        wait_for(lambda: holds_of(secret) == [False, True])
        assert first.result().status == 200
        wait_for(lambda: asked() == [2, 0, 0])
        own.process.send_signal(signal.SIGKILL)
        second.result()
    (event,) = lost_of(secret)
    assert (event.status, event.backend, event.is_estimated) == (500, f"{model}-0", True)
    assert event.prompt_tokens > 0
    assert event.cost_nano == event.prompt_tokens


def test_a_call_that_waits_for_a_server_to_answer_the_door_costs_nothing_either(
    own: OwnProcess, mint: Mint, host: Host, deaf: str
) -> None:
    model, secret = host({"base_url": deaf}, input_price_nano=MILLION), mint()
    wait_until_known(own.url, secret, model)
    with ThreadPoolExecutor(1) as pool:
        waited = pool.submit(cut_off, own.url, secret, model=model)
        wait_for(lambda: holds_of(secret) == [False])
        own.process.send_signal(signal.SIGKILL)
        waited.result()
    (event,) = lost_of(secret)
    assert (event.status, event.cost_nano, event.is_estimated) == (500, 0, False)


def test_without_redis_a_call_that_waited_goes_on(own: OwnProcess, mint: Mint, host: Host) -> None:
    secret = mint()
    model = slotted(own, secret, host)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(complete, own.url, secret, model=model, stream=True, fake={"tokens": 40, "rate": 50})
        wait_for(lambda: holds_of(secret) == [True])
        second = pool.submit(complete, own.url, secret, model=model)
        wait_for(lambda: holds_of(secret) == [False, True])
        own.redis.cut()
        assert [first.result().status, second.result().status] == [200, 200]
        own.redis.resume()
    wait_for(lambda: metered([second.result().headers["x-request-id"]]) > 0)


def test_a_machine_that_opens_to_nobody_in_time_is_not_charged(
    own: OwnProcess, mint: Mint, host: Host, deaf: str, event_of: Callable[[str], UsageEvent]
) -> None:
    """Where an answer has to begin before a connection has to be there."""
    model, secret = host({"base_url": deaf}, input_price_nano=MILLION), mint()
    wait_until_known(own.url, secret, model)
    reply = complete(own.url, secret, model=model)
    event = event_of(reply.headers["x-request-id"])
    assert (event.status, event.prompt_tokens, event.cost_nano, event.is_estimated) == (504, 0, 0, False)
    assert event.server_ms == 0


def test_a_call_that_was_taken_for_dead_while_it_waited_is_not_made(
    own: OwnProcess, mint: Mint, host: Host, asked: Asked
) -> None:
    secret = mint()
    model = slotted(own, secret, host)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(complete, own.url, secret, model=model, stream=True, fake={"tokens": 60, "rate": 50})
        wait_for(lambda: holds_of(secret) == [True])
        second = pool.submit(complete, own.url, secret, model=model)
        wait_for(lambda: holds_of(secret) == [False, True])
        end_leases()
        reap()
        assert (first.result().status, second.result().status) == (200, 503)
    assert second.result().error["code"] == "service_unavailable"
    assert asked() == [1, 0, 0]


def slotted(own: OwnProcess, secret: str, host: Host) -> str:
    """A model that costs a nano-dollar a token, with one slot."""
    model = host({"most_in_flight": 1}, input_price_nano=MILLION, output_price_nano=MILLION)
    wait_until_known(own.url, secret, model)
    return model


def holds_of(secret: str) -> list[bool]:
    """Whether each call of a key that runs would be charged if its process died, those that would not first."""
    key_id = ApiKey.objects.behind(secret).get().public_id
    client: Any = servers.durable()
    holds = (hold for key in client.scan_iter("ly:{*}:holds") for hold in client.hvals(key) if key_id in hold)
    return sorted(Event.decode(tail_of(hold)["event"]).prompt_tokens > 0 for hold in holds)


def lost_of(secret: str) -> list[UsageEvent]:
    """What a key's calls are settled with once their process is dead, in the order in which they came."""
    end_leases()
    reap()
    drain()
    key_id = ApiKey.objects.behind(secret).get().public_id
    return list(UsageEvent.objects.filter(key_id=key_id, error_code="gateway_lost").order_by("pk"))


def spent(secret: str) -> dict[str, int]:
    """What the budget of a key has counted, and what it still holds."""
    client: Any = servers.durable()
    (counter,) = client.scan_iter(f"*key:{ApiKey.objects.behind(secret).get().public_id}:used:*")
    return dict(zip(("spent", "held"), map(int, client.hmget(counter, "spent", "held")), strict=True))


def cut_off(url: str, secret: str, **body: Any) -> None:
    try:
        complete(url, secret, **body)
    except (OSError, ValueError):
        return
    except Exception as error:
        assert "IncompleteRead" in type(error).__name__, error  # noqa: PT017 - what http.client makes of a cut stream


def end_leases() -> None:
    """Let the leases of dead processes end now instead of in half a minute."""
    client: Any = servers.durable()
    for key in client.scan_iter("ly:{*}:leases"):
        for member in client.zrange(key, 0, -1):
            client.zadd(key, {member: 1})


def test_a_lost_stream_is_charged_what_the_last_heartbeat_knew(mint: Mint, fake: FakeInferenceServer) -> None:
    caller = load(digests_of(mint())[0])
    assert caller is not None
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"tokens": 10_000, "rate": 100}}

    async def work() -> int:
        calls = MeteredCalls(heartbeat_seconds=0.05)
        await calls.start()
        answer = await calls.open(caller=caller, endpoint="chat/completions", body=body, request_id="req_of_a_lost_one")
        frames = answer.frames()
        while noted(caller.organization_id, "req_of_a_lost_one") < 5:
            await anext(frames)
        # From here on nobody hears of this loop, as if it had died.
        end_leases()
        assert reap() == 1
        sent = fake.last().sent_tokens
        await answer.aclose()
        await calls.close()
        return sent

    sent = asyncio.run(asyncio.wait_for(work(), 20))
    drain()
    event = UsageEvent.objects.get(request_id="req_of_a_lost_one")
    assert (event.status, event.error_code, event.is_estimated) == (500, "gateway_lost", True)
    assert event.prompt_tokens == 3
    assert 5 <= event.completion_tokens <= sent


def noted(organization_id: str, request_id: str) -> int:
    """Output tokens that the hold of a running call would be settled with."""
    holds: Any = servers.durable().hvals(f"ly:{{{organization_id}}}:holds")
    events = (Event.decode(tail_of(hold)["event"]) for hold in holds)
    return next(event.completion_tokens for event in events if event.request_id == request_id)


def test_what_ran_on_while_redis_was_away_is_not_taken_for_lost(
    own: OwnProcess, mint: Mint, fake: FakeInferenceServer, stage: Stage
) -> None:
    """For longer than a lease lasts."""
    # What other tests left when they killed their gateways.
    end_leases()
    reap()
    secret, before = mint(), fake.ledger.requests
    with ThreadPoolExecutor(1) as pool:
        told = {"tokens": 60, "rate": 20}
        stream = pool.submit(complete, own.url, secret, stream=True, fake=told)
        wait_for(lambda: fake.ledger.requests > before)
        own.redis.cut()
        end_leases()
        own.redis.resume()
        # Well before the next heartbeat would have come.
        wait_for(lambda: admitted(stage) > 0 and not ended_leases(), seconds=2)
        reap()
        reply = stream.result()
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert metered([reply.headers["x-request-id"]]) == 60
    assert not UsageEvent.objects.get(request_id=reply.headers["x-request-id"]).is_estimated


def ended_leases() -> int:
    client: Any = servers.durable()
    return sum(client.zcount(key, "-inf", time.time() * 1000) for key in client.scan_iter("ly:{*}:leases"))


def test_a_spool_left_by_a_dead_gateway_is_replayed(own: OwnProcess, mint: Mint, tmp_path: Path) -> None:
    secret = mint()
    assert complete(own.url, secret).status == 200
    own.redis.cut()
    reply = complete(own.url, secret, max_tokens=4)
    assert reply.status == 200
    id_ = reply.headers["x-request-id"]
    wait_for(lambda: any(id_ in file.read_text() for file in (tmp_path / "spool").glob("*.jsonl")))
    own.process.send_signal(signal.SIGKILL)
    own.process.wait()
    settings.VAR_DIR, kept = tmp_path, settings.VAR_DIR
    try:
        assert replay(settle_now) >= 1
    finally:
        settings.VAR_DIR = kept
    assert metered([id_]) == 4


def test_what_a_full_redis_refused_is_settled_once_it_has_room(
    mint: Mint, settings: LazySettings, tmp_path: Path
) -> None:
    digest = digests_of(mint())[0]
    caller = load(digest)
    assert caller is not None
    settings.VAR_DIR = tmp_path

    async def work(client: Any) -> None:
        calls = MeteredCalls(replay_seconds=0.05)
        await calls.start()
        client.config_set("maxmemory", 1)
        body = {"model": "fake-chat", "messages": chat()}
        await calls.open(caller=caller, endpoint="chat/completions", body=body, request_id="req_of_full_redis")
        while not list(folder().glob("*.jsonl")):  # noqa: ASYNC110 - a disk sets no event
            await asyncio.sleep(0.005)
        assert client.xlen(STREAM) == 0
        client.config_set("maxmemory", 0)
        while list(folder().glob("*.jsonl")):  # noqa: ASYNC110 - a disk sets no event
            await asyncio.sleep(0.005)
        assert client.xlen(STREAM) == 1
        await calls.close()

    with services.durable_redis_of_its_own(settings):
        asyncio.run(asyncio.wait_for(work(servers.durable()), 20))


def test_what_redis_settled_and_did_not_write_is_settled_again(
    mint: Mint, settings: LazySettings, tmp_path: Path
) -> None:
    """While its disk is busy Redis answers before it writes, and a kill takes along what it has answered."""
    caller = load(digests_of(mint())[0])
    assert caller is not None
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"tokens": 5, "rate": 50}}
    kept, settings.VAR_DIR = tmp_path / "written", tmp_path

    async def work(server: services.Running) -> None:
        client: Any = servers.durable()
        calls = MeteredCalls()
        await calls.start()
        answer = await calls.open(caller=caller, endpoint="chat/completions", body=body, request_id="req_not_written")
        frames = answer.frames()
        await anext(frames)
        services.keep_redis(kept)
        async for _frame in frames:
            pass
        while client.xlen(STREAM) == 0:  # noqa: ASYNC110 - another program's Redis sets no event here
            await asyncio.sleep(0.005)
        await asyncio.to_thread(services.set_back, server, kept)
        while client.xlen(STREAM) == 0:  # noqa: ASYNC110 - another program's Redis sets no event here
            await asyncio.sleep(0.005)
        await calls.close()

    with services.durable_redis_to_kill(settings) as server:
        asyncio.run(asyncio.wait_for(work(server), 20))
        assert metered(["req_not_written"]) == 5
        assert servers.durable().hlen(f"ly:{{{caller.organization_id}}}:holds") == 0
    assert not UsageEvent.objects.get(request_id="req_not_written").is_estimated


def test_a_key_revoked_while_redis_was_away_stays_revoked_when_it_is_back(mint: Mint, settings: LazySettings) -> None:
    """The copy of its policy that Redis kept is younger than a minute, and nobody could mark it as changed."""
    digest = digests_of(mint())[0]

    async def work(proxy: TcpProxy, client: Any) -> None:
        link = RedisLink()
        await link.start()
        policies = Policies(link)
        policies.start()
        while not client.exists(redis_key(digest)):
            assert await policies.find([digest]) is not None
            await asyncio.sleep(0.005)
        proxy.cut()
        await link.wait_until_down()
        await asyncio.to_thread(revoke_silently, digest)
        while await policies.find([digest]) is not None:  # noqa: ASYNC110 - what is held ends by the clock
            await asyncio.sleep(0.02)
        proxy.resume()
        await link.wait_until_up()
        while client.pubsub_numsub(CHANNEL)[0][1] == 0:
            assert await policies.find([digest]) is None
            await asyncio.sleep(0.005)
        assert await policies.find([digest]) is None
        await policies.close()
        await link.close()

    with services.running_redis(durable=True) as (url, _process):
        server = urlsplit(url)
        assert server.hostname is not None
        with TcpProxy(server.hostname, server.port or 6379) as proxy:
            settings.REDIS_URL = proxy.before(url)
            with closing(Redis.from_url(url)) as client:
                asyncio.run(asyncio.wait_for(work(proxy, client), 20))


def revoke_silently(digest: str) -> None:
    ApiKey.objects.filter(secrets__digest=digest).update(revoked_at=timezone.now())
    connections.close_all()
