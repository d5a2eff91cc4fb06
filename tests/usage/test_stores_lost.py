"""Redis killed under those who write to it, and set back to what it was: events, sums and counters are the same."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db.models import Sum
from redis.exceptions import RedisError

from common import redis as servers
from common.errors import OverloadedError, RateLimitError
from tests.services import Running, durable_redis_to_kill, keep_redis, set_back
from tests.usage.test_admission import DEMAND, Desk, at_desk, budget, caller, event, holds, scope_key
from tests.usage.test_admission import seeded as fill
from tests.usage.test_ingest import emit, waiting
from tests.usage.test_ingest import event as any_event
from usage.admission import Admissions, reap, settle_now
from usage.events import STREAM
from usage.ingest import drain
from usage.link import LinkDownError, RedisLink
from usage.models import UsageEvent, UsageRollup5Min, UsageRollup15Min
from usage.policies import Caller
from usage.reconciliation import reconcile, this_month_and_the_last
from usage.spool import Spool, replay

pytestmark = pytest.mark.django_db

KILLS, WRITERS, COST = 3, 8, 7


@pytest.fixture(autouse=True)
def server(settings: LazySettings, tmp_path: Path) -> Iterator[Running]:
    settings.VAR_DIR = tmp_path
    with durable_redis_to_kill(settings) as running:
        yield running


def seeded(**limits: int) -> Caller:
    who = caller(monthly_budget_nano=10**12, **limits)
    assert fill(who)
    return who


def sums() -> list[dict[str, Any]]:
    return [
        table._default_manager.aggregate(requests=Sum("requests"), cost=Sum("cost_nano"))
        for table in (UsageRollup5Min, UsageRollup15Min)
    ]


async def write_under_kills(server: Running, who: Caller) -> Counter[str]:
    """How many calls were settled, by what became of it: Redis said so, or the disk has it."""
    link, spool, told, is_over = RedisLink(), Spool(), Counter[str](), asyncio.Event()
    await link.start()
    admissions = Admissions(link, spool)

    async def write() -> None:
        while not is_over.is_set():
            lost = event(who, tokens=33, cost=5)
            try:
                admission = await admissions.admit(who, replace(DEMAND, most_nano=50), id=lost.id, lost=lost)
            except (OverloadedError, RateLimitError):
                await asyncio.sleep(0.005)
                continue
            done = replace(event(who, cost=COST), id=admission.id)
            try:
                await admissions.settle(admission, done)
                told["acknowledged"] += 1
            except (LinkDownError, RedisError):
                told["spooled"] += 1

    writers = [asyncio.create_task(write()) for _number in range(WRITERS)]
    for _kill in range(KILLS):
        before = told["acknowledged"]
        while told["acknowledged"] < before + 100:  # noqa: ASYNC110 - a counter sets no event
            await asyncio.sleep(0.001)
        await asyncio.to_thread(server.kill)
        await link.wait_until_down()
        await asyncio.to_thread(server.start)
        await link.wait_until_up()
        # As a gateway does: calls that were let in without hearing of it hold slots until then.
        await admissions.close()
        await spool.release()
        await asyncio.to_thread(replay, settle_now)
    is_over.set()
    await asyncio.gather(*writers)
    await admissions.close()
    await spool.release()
    await link.close()
    return told


def test_killing_redis_loses_nothing_that_it_had_taken(server: Running) -> None:
    # Otherwise Redis answers before it writes while the disk is busy with what it wrote before, and a kill then takes
    # along what it has answered.
    servers.durable().config_set("appendfsync", "always")
    who = seeded(concurrent_requests=WRITERS)
    told = asyncio.run(asyncio.wait_for(write_under_kills(server, who), 30))
    replay(settle_now)
    drain()
    number = told["acknowledged"] + told["spooled"]
    assert number > KILLS * 100
    assert UsageEvent.objects.count() == number
    assert sums() == [{"requests": number, "cost": number * COST}] * 2
    assert budget(who) == {"spent": number * COST, "held": 0}
    assert (holds(who), servers.durable().zcard(scope_key(who, "running"))) == (0, 0)
    assert reconcile(this_month_and_the_last()).differences == []


def test_budgets_and_slots_are_what_they_were_before_a_kill(server: Running) -> None:
    who = seeded(concurrent_requests=2)

    async def use(desk: Desk) -> None:
        await desk.settle(await desk.admit(most_nano=500), cost=120)
        await desk.admit(most_nano=500)
        await desk.admit(most_nano=300)

    at_desk(who, use)
    server.kill()
    server.start()
    assert budget(who) == {"spent": 120, "held": 800}

    async def ask(desk: Desk) -> None:
        with pytest.raises(RateLimitError):
            await desk.admit(most_nano=1)

    at_desk(who, ask)
    assert reap() == 0


def test_the_whole_stream_again_changes_nothing() -> None:
    events = [any_event(key_id=f"key_{number % 3}") for number in range(300)]
    emit(*events)
    assert drain() == 300
    before = sums()
    emit(*events)
    emit(*reversed(events))
    assert drain() == 0
    assert (UsageEvent.objects.count(), sums(), waiting()) == (300, before, 0)
    # A group that is made anew reads from the beginning.
    emit(*events)
    servers.durable().xgroup_destroy(STREAM, "ingest")
    assert drain() == 0
    assert (sums(), waiting()) == (before, 0)


def test_redis_as_it_was_yesterday_changes_no_sum(server: Running, tmp_path: Path) -> None:
    who = seeded()

    async def spend(desk: Desk, *costs: int) -> None:
        for cost in costs:
            await desk.settle(await desk.admit(most_nano=500), cost=cost)

    at_desk(who, lambda desk: spend(desk, 100, 200))
    yesterday = tmp_path / "yesterday"
    keep_redis(yesterday)
    drain()
    at_desk(who, lambda desk: spend(desk, 300))
    drain()
    before = sums()
    assert before == [{"requests": 3, "cost": 600}] * 2
    set_back(server, yesterday)
    assert waiting() == 2, "which are in the ledger already"
    assert drain() == 0
    assert (UsageEvent.objects.count(), sums()) == (3, before)
    assert budget(who) == {"spent": 300, "held": 0}, "it does not know of the last call"
    reconcile(this_month_and_the_last(), repair=True)
    assert budget(who) == {"spent": 600, "held": 0}
    at_desk(who, lambda desk: spend(desk, 50))
    assert drain() == 1
    assert reconcile(this_month_and_the_last()).differences == []
