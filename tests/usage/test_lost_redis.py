"""Redis that lost its data: calls that were running keep what they had reserved, and are counted once."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from common import redis as servers
from common.errors import BudgetError, RateLimitError
from common.ids import uuid7
from tests import services
from tests.usage.test_admission import (
    DEMAND,
    Desk,
    at_desk,
    budget,
    caller,
    counter_key,
    counters_of,
    event,
    holds,
    scope_key,
    seeded,
)
from usage.admission import SINCE, Admission, reap, settle_now, settlement
from usage.events import STREAM
from usage.explaining import BudgetUnknownError
from usage.ingest import drain
from usage.models import UsageEvent
from usage.policies import Caller
from usage.reconciliation import reconcile
from usage.scripts import SEED_BEGIN, SEED_END


@pytest.fixture(autouse=True)
def db(stores: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    services.open_budgets()
    with django_db_blocker.unblock():
        yield


def this_month() -> str:
    return time.strftime("%Y%m", time.gmtime())


def lose_data() -> None:
    servers.durable().flushdb()


def of_a_minute_ago(admission: Admission) -> Admission:
    """The admission, had it been that long before the loss."""
    second, _bar, rest = admission.hold.partition("|")
    return replace(admission, hold=f"{int(second) - 60}|{rest}")


async def say_it_runs(desk: Desk, admission: Admission) -> None:
    desk.admissions.extend(admission, replace(event(desk.who, tokens=7, cost=40), id=admission.id))
    # By the same connection, so that it has arrived.
    await desk.admissions.admit(caller(), DEMAND, id=uuid7().hex, lost=event(desk.who))


def end_leases(who: Caller) -> None:
    leases = f"ly:{{{who.organization_id}}}:leases"
    client: Any = servers.durable()
    client.zadd(leases, dict.fromkeys(client.zrange(leases, 0, -1), 1))


def agrees() -> bool:
    return not reconcile([this_month()]).differences


def test_it_works() -> None:
    who = caller(monthly_budget_nano=1000, concurrent_requests=2)

    async def work(desk: Desk) -> None:
        running = of_a_minute_ago(await desk.admit(most_nano=300))
        lose_data()
        await say_it_runs(desk, running)
        with pytest.raises(BudgetUnknownError) as refused:
            await desk.admit(most_nano=1)
        assert refused.value.status == 503
        assert 10 < int(refused.value.headers["Retry-After"]) <= 13
        await desk.settle(await desk.admit(most_nano=0))
        services.open_budgets()
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=701)
        other = await desk.admit(most_nano=700)
        assert budget(who) == {"spent": 0, "held": 1000}
        with pytest.raises(RateLimitError):
            await desk.admit()
        await desk.settle(running, cost=250)
        await desk.settle(other, cost=600)
        await desk.settle(await desk.admit(most_nano=150), cost=150)
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=1)

    at_desk(who, work)
    assert budget(who) == {"spent": 1000, "held": 0}
    assert agrees()


@pytest.mark.parametrize("is_known", [False, True])
def test_a_call_that_never_said_it_runs_is_counted_once(is_known: bool) -> None:
    who = caller(monthly_budget_nano=1000)

    async def work(desk: Desk) -> None:
        running = of_a_minute_ago(await desk.admit(most_nano=300))
        lose_data()
        services.open_budgets()
        if is_known:
            assert await asyncio.to_thread(seeded, who)
        for _time in range(2):
            assert await desk.settle(running, cost=250) == 0
            with pytest.raises(BudgetError):
                await desk.admit(most_nano=751)
            await asyncio.to_thread(drain)
        await desk.admit(most_nano=750)

    at_desk(who, work)
    assert budget(who) == {"spent": 250, "held": 750}
    assert agrees()


def test_what_was_in_the_ledger_before_is_not_counted_again_by_a_replay() -> None:
    """Its process never read that it was settled, and kept it on the disk."""
    who = caller(monthly_budget_nano=1000)

    async def work(desk: Desk) -> Any:
        running = of_a_minute_ago(await desk.admit(most_nano=300))
        settled = settlement(running, replace(event(who, cost=250), id=running.id))
        await asyncio.to_thread(settle_now, settled)
        await asyncio.to_thread(drain)
        lose_data()
        services.open_budgets()
        await desk.admit(most_nano=100)
        await asyncio.to_thread(settle_now, settled)
        await desk.admit(most_nano=650)

    at_desk(who, work)
    assert budget(who) == {"spent": 250, "held": 750}
    assert agrees()


def test_a_call_taken_for_dead_before_counts_as_it_was_recorded() -> None:
    who = caller(monthly_budget_nano=1000)

    async def work(desk: Desk) -> None:
        running = of_a_minute_ago(await desk.admit(most_nano=300))
        end_leases(who)
        assert await asyncio.to_thread(reap) == 1
        await asyncio.to_thread(drain)
        lose_data()
        await say_it_runs(desk, running)
        services.open_budgets()
        await desk.admit(most_nano=1)
        await desk.settle(running, cost=250)
        await desk.admit(most_nano=994)

    at_desk(who, work)
    assert budget(who) == {"spent": 5, "held": 995}
    assert agrees()


def test_a_call_that_said_it_runs_and_died_is_settled_for_its_process() -> None:
    who = caller(monthly_budget_nano=1000, concurrent_requests=1)

    async def work(desk: Desk) -> None:
        running = of_a_minute_ago(await desk.admit(most_nano=300))
        lose_data()
        await say_it_runs(desk, running)

    at_desk(who, work)
    end_leases(who)
    assert reap() == 1
    assert drain() == 1
    assert UsageEvent.objects.get(key_id=who.key_id).cost_nano == 40, "as of its last word"
    services.open_budgets()
    at_desk(who, lambda desk: desk.admit(most_nano=960))
    assert budget(who) == {"spent": 40, "held": 960}


def test_a_call_is_put_back_when_redis_lost_it_and_never_else() -> None:
    who = caller(monthly_budget_nano=1000, concurrent_requests=1)

    async def work(desk: Desk) -> None:
        over = await desk.admit(most_nano=300)
        await desk.settle(over, cost=10)
        await say_it_runs(desk, over)
        undone = desk.admissions.undo(await desk.admit(most_nano=300))
        await say_it_runs(desk, undone)
        lose_data()
        await say_it_runs(desk, undone)

    at_desk(who, work)
    assert holds(who) == 0
    assert servers.durable().zcard(scope_key(who, "running")) == 0


def test_tokens_of_a_lost_window_are_not_given_back_to_the_next() -> None:
    who = caller(tokens_per_minute=100)

    async def work(desk: Desk) -> None:
        running = await desk.admit(wanted_tokens=90)
        lose_data()
        await say_it_runs(desk, running)
        await desk.settle(await desk.admit(wanted_tokens=20), tokens=20)
        await desk.settle(running, tokens=0)
        assert int((await desk.admit()).headers["x-ratelimit-remaining-tokens"]) <= 70

    at_desk(who, work)


def test_a_budget_is_counted_anew_when_such_a_call_ends_while_it_is_counted() -> None:
    who = caller(monthly_budget_nano=1000)
    key, (counter,) = counter_key(who), counters_of(who)

    async def work(desk: Desk) -> None:
        running = of_a_minute_ago(await desk.admit(most_nano=300))
        lose_data()
        services.open_budgets()
        client = servers.durable()
        _begun, token, _last = SEED_BEGIN.run(
            client,
            keys=[SINCE, key, STREAM, f"ly:{{{who.organization_id}}}:holds"],
            args=["60000", "0", str(counter.period.end), counter.name, ""],
        )
        await desk.settle(running, cost=250)
        assert SEED_END.run(client, keys=[key], args=[token, "0", "0", "0", "0"]) == 0
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=751)

    at_desk(who, work)
    assert budget(who) == {"spent": 250, "held": 0}
