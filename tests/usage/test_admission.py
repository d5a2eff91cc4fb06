"""The Lua scripts through the code that calls them, on a real Redis: what is reserved, corrected, freed and refused."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone
from redis.exceptions import ResponseError

from common import redis as servers
from common.errors import BudgetError, RateLimitError
from common.ids import new_id, uuid7
from common.limits import Limits
from tests import services
from tests.fakes.tcp_proxy import TcpProxy
from tests.races import wait_until_somebody_waits
from usage.admission import Admission, Admissions, Demand, reap, seed, settle_now
from usage.counters import Counter, Reach, base_of
from usage.events import STREAM, Event
from usage.explaining import duration
from usage.ingest import drain, paused
from usage.link import RedisLink
from usage.policies import PARTICIPANT, Caller, with_ceiling
from usage.scripts import ADMIT
from usage.spool import Spool, replay

T = TypeVar("T")
EMPTY = {"spent": 0, "held": 0, "requests": 0, "tokens": 0, "gpu": 0}
DEMAND = Demand(model="m", needed_tokens=10, wanted_tokens=30, most_nano=0)


@pytest.fixture(autouse=True)
def opened() -> None:
    """Whatever a test before these did to Redis."""
    services.open_budgets()


def caller(**limits: int) -> Caller:
    key = new_id("key")
    scope = with_ceiling("key", key, Limits(**limits))
    return Caller("key", new_id("org"), new_id("proj"), key, "", (scope,))


def event(who: Caller, *, tokens: int = 10, cost: int = 0) -> Event:
    return Event(
        id=uuid7().hex,
        request_id=new_id("req"),
        source=who.source,
        organization_id=who.organization_id,
        project_id=who.project_id,
        key_id=who.key_id,
        user_id="",
        model="m",
        backend="b",
        endpoint="chat/completions",
        status=200,
        error_code="",
        is_streamed=False,
        is_estimated=False,
        prompt_tokens=tokens,
        cached_tokens=0,
        completion_tokens=0,
        cost_nano=cost,
        latency_ms=7,
        first_token_ms=None,
        waited_ms=4,
    )


class Desk:
    """Admits and settles for one caller."""

    def __init__(self, admissions: Admissions, who: Caller) -> None:
        self.admissions = admissions
        self.who = who

    async def admit(self, **demand: Any) -> Admission:
        lost = event(self.who, tokens=33, cost=5)
        return await self.admissions.admit(self.who, replace(DEMAND, **demand), id=lost.id, lost=lost)

    async def settle(self, admission: Admission, *, tokens: int = 10, cost: int = 0) -> Any:
        done = replace(event(self.who, tokens=tokens, cost=cost), id=admission.id)
        return await self.admissions.settle(admission, done)


def at_desk(who: Caller, work: Callable[[Desk], Awaitable[T]]) -> T:
    async def run() -> T:
        link = RedisLink()
        await link.start()
        try:
            return await work(Desk(Admissions(link, Spool()), who))
        finally:
            await link.close()

    return asyncio.run(run())


def scope_key(who: Caller, name: str) -> str:
    scope = who.scopes[0]
    return f"ly:{{{who.organization_id}}}:{scope.kind}:{scope.id}:{name}"


def counters_of(who: Caller, at: datetime | None = None) -> tuple[Counter, ...]:
    """What Redis counts for a caller at a moment."""
    return Reach.of(who, at or timezone.now()).counters


def seeded(who: Caller, at: datetime | None = None) -> bool:
    """Fill the counters of a caller from the records."""
    return all(seed(who, counter) for counter in counters_of(who, at))


def counter_key(who: Caller) -> str:
    """The key of the one counter of a caller."""
    (counter,) = counters_of(who)
    return base_of(who.organization_id) + counter.name


def counted(who: Caller) -> dict[str, int]:
    """What it holds."""
    (key,) = servers.durable().scan_iter(scope_key(who, "used:*"))
    return {name: int(value) for name, value in servers.durable().hgetall(key).items()}  # type: ignore[union-attr]


def budget(who: Caller) -> dict[str, int]:
    """Of that, the money."""
    return {name: value for name, value in counted(who).items() if name in {"spent", "held"}}


def holds(who: Caller) -> int:
    return int(servers.durable().hlen(f"ly:{{{who.organization_id}}}:holds"))  # type: ignore[arg-type]


def test_it_works() -> None:
    who = caller(requests_per_minute=2, tokens_per_minute=100)

    async def work(desk: Desk) -> None:
        first = await desk.admit()
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-tokens"] == "70"
        assert await desk.settle(first, tokens=50) == 1
        second = await desk.admit()
        assert second.headers["x-ratelimit-remaining-tokens"] == "20", "50 used and 30 reserved"
        with pytest.raises(RateLimitError) as refused:
            await desk.admit()
        assert refused.value.kind == "requests"
        await desk.settle(second)

    at_desk(who, work)
    assert holds(who) == 0


def test_settling_twice_changes_nothing_but_appends_what_is_inserted_once() -> None:
    who = caller(tokens_per_minute=100)

    async def work(desk: Desk) -> None:
        admission = await desk.admit()
        assert await desk.settle(admission, tokens=20) == 1
        assert await desk.settle(admission, tokens=20) == 0
        assert (await desk.admit()).headers["x-ratelimit-remaining-tokens"] == "50"

    at_desk(who, work)


def test_what_is_a_minute_old_has_left_the_window() -> None:
    who = caller(requests_per_minute=3, tokens_per_minute=100)
    now = int(time.time())
    old, young = now - 61, now - 30
    servers.durable().hset(
        scope_key(who, "window"),
        mapping={"at": young, "r": 3, "t": 90, f"r{old}": 2, f"t{old}": 60, f"r{young}": 1, f"t{young}": 30},
    )

    async def work(desk: Desk) -> None:
        assert (await desk.admit()).headers["x-ratelimit-remaining-requests"] == "1"
        await desk.admit()
        with pytest.raises(RateLimitError) as refused:
            await desk.admit()
        assert 25 <= int(refused.value.headers["Retry-After"]) <= 30, "until the young bucket leaves"

    at_desk(who, work)


def test_a_wait_for_tokens_is_as_long_as_it_must_be() -> None:
    who = caller(tokens_per_minute=100)
    now = int(time.time())
    servers.durable().hset(
        scope_key(who, "window"),
        mapping={"at": now, "r": 2, "t": 95, f"r{now - 50}": 1, f"t{now - 50}": 5, f"r{now}": 1, f"t{now}": 90},
    )

    async def work(desk: Desk) -> None:
        with pytest.raises(RateLimitError) as refused:
            await desk.admit(needed_tokens=10)
        assert refused.value.kind == "tokens"
        assert 8 <= int(refused.value.headers["Retry-After"]) <= 10

    at_desk(who, work)


@pytest.mark.django_db
def test_tokens_of_a_day_that_are_only_reserved_are_waited_for() -> None:
    who = caller(tokens_per_day=100)

    async def refusal(desk: Desk, tokens: int = 10) -> dict[str, str]:
        with pytest.raises(RateLimitError) as refused:
            await desk.admit(needed_tokens=tokens)
        return refused.value.headers

    async def work(desk: Desk) -> None:
        large, small = await desk.admit(needed_tokens=60), await desk.admit(needed_tokens=40)
        assert (await refusal(desk))["Retry-After"] == "1"
        await desk.settle(large, tokens=55)
        # What is left once the other has used nothing would do for the one, not for the other.
        assert (await refusal(desk, 45))["Retry-After"] == "1"
        assert int((await refusal(desk, 46))["Retry-After"]) > 1
        await desk.settle(small, tokens=40)
        assert int((await refusal(desk))["Retry-After"]) > 1
        assert "Retry-After" not in await refusal(desk, 101)

    at_desk(who, work)
    assert counted(who)["tokens"] == 95
    assert counted(who)["held_tokens"] == 0


@pytest.mark.django_db
@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day"])
def test_calls_that_are_let_in_while_tokens_are_left_overrun_by_one_at_most(limit: str) -> None:
    """However others come and go beside them: what they reserved is held in full, however little was left."""
    who = caller(**{limit: 1000})

    async def work(desk: Desk) -> None:
        running = []
        # Beside each stands one that leaves a little to it, and ends once it is let in.
        for left in (991, 390):
            other = await desk.admit(needed_tokens=left)
            running.append(await desk.admit(needed_tokens=1, wanted_tokens=600, may_overrun=True))
            await desk.settle(other, tokens=0)
        with pytest.raises(RateLimitError):
            await desk.admit(needed_tokens=1, wanted_tokens=600, may_overrun=True)
        for admission in running:
            await desk.settle(admission, tokens=50)
        await desk.admit(needed_tokens=900)

    at_desk(who, work)


def test_a_slot_is_a_lease_that_ends_by_itself() -> None:
    who = caller(concurrent_requests=1)

    async def work(desk: Desk) -> None:
        await desk.admit()
        with pytest.raises(RateLimitError):
            await desk.admit()
        (running,) = servers.durable().zrange(scope_key(who, "running"), 0, -1)  # type: ignore[misc]
        servers.durable().zadd(scope_key(who, "running"), {running: 1})
        await desk.admit()

    at_desk(who, work)


def test_a_heartbeat_extends_the_lease_and_keeps_the_progress() -> None:
    who = caller(concurrent_requests=1)
    leases = f"ly:{{{who.organization_id}}}:leases"

    async def work(desk: Desk) -> Admission:
        admission = await desk.admit()
        servers.durable().zadd(leases, {admission.id: 1})
        desk.admissions.extend(admission, replace(event(who, tokens=77), id=admission.id))
        await desk.admissions.admit(caller(), DEMAND, id=uuid7().hex, lost=event(who))
        return admission

    admission = at_desk(who, work)
    assert float(servers.durable().zscore(leases, admission.id) or 0) > time.time() * 1000 + 20_000  # type: ignore[arg-type]
    reap()
    assert holds(who) == 1
    servers.durable().zadd(leases, {admission.id: 1})
    reap()
    assert holds(who) == 0
    entries: Any = servers.durable().xrevrange(STREAM, count=1)
    assert Event.decode(entries[0][1]["e"]).prompt_tokens == 77


def test_a_call_refused_after_its_admission_was_lost_holds_nothing(settings: LazySettings, tmp_path: Path) -> None:
    who = caller(requests_per_minute=1)
    settings.VAR_DIR = tmp_path
    spool = Spool()

    async def work(proxy: TcpProxy) -> None:
        settings.REDIS_URL = proxy.before(settings.REDIS_URL)
        link = RedisLink()
        await link.start()
        desk = Desk(Admissions(link, spool), who)
        # From now on the server knows the script, and runs it at once when it is asked to.
        await Desk(desk.admissions, caller()).admit()
        proxy.cut()
        await link.wait_until_down()
        assert (await desk.admit()).is_local
        with pytest.raises(RateLimitError):
            await desk.admit()
        proxy.resume()
        await link.wait_until_up()
        proxy.lose_answers()
        refused = asyncio.ensure_future(desk.admit())
        while holds(who) == 0:  # noqa: ASYNC110 - another program's Redis sets no event here
            await asyncio.sleep(0.005)
        proxy.cut()
        with pytest.raises(RateLimitError):
            await refused
        await desk.admissions.close()
        await spool.release()
        await link.close()

    with services.durable_redis_of_its_own(settings) as url:
        assert holds(who) == 0  # by a client of this test's own, which does not go through the proxy
        with TcpProxy("127.0.0.1", urlsplit(url).port or 0) as proxy:
            asyncio.run(asyncio.wait_for(work(proxy), 20))
        assert replay(settle_now) == 1, "what was never sent needs no release"
        assert holds(who) == 0


def test_amounts_that_make_no_sense_are_refused() -> None:
    keys = ["ly:{x}:leases", "ly:{x}:holds", "ly:leases", "ly:{x}:w"]
    for worst, need, want, left, least in (
        ("-5", "1", "1", "-5", "1"),
        ("NaN?", "1", "1", "1", "1"),
        ("1", "-1", "1", "1", "1"),
        ("1", "5", "1", "1", "5"),
        ("1", "1", "1", "2", "1"),
        ("1", "1", "1", "-1", "1"),
        ("1", "1", "1", "1", "2"),
        ("1", "1", "1", "1", "0"),
    ):
        args = ["id", "1000", worst, need, want, "{}", "x", "1", "0", "0", "9", "9", left, least]
        with pytest.raises(ResponseError):
            ADMIT.run(servers.durable(), keys=keys, args=args)


@pytest.mark.django_db
def test_a_month_is_counted_from_the_ledger_and_from_what_waits_for_it() -> None:
    who = caller(monthly_budget_nano=1000)

    async def spend(desk: Desk, cost: int) -> None:
        # Without a budget, so that nothing of it is known to Redis yet.
        plain = Desk(desk.admissions, replace(who, scopes=(with_ceiling("key", who.key_id, Limits()),)))
        await plain.settle(await plain.admit(), cost=cost)

    at_desk(who, lambda desk: spend(desk, 300))
    drain()
    at_desk(who, lambda desk: spend(desk, 200))
    assert seeded(who)
    assert budget(who) == {"spent": 500, "held": 0}

    async def work(desk: Desk) -> None:
        admission = await desk.admit(most_nano=500)
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=1)
        await desk.settle(admission, cost=120)
        await desk.admit(most_nano=380)

    at_desk(who, work)
    assert budget(who) == {"spent": 620, "held": 380}


@pytest.mark.django_db
def test_calls_that_are_let_in_while_any_is_left_overrun_by_one_at_most() -> None:
    """However others come and go beside them: what they reserved is held in full, however little was left."""
    who = caller(monthly_budget_nano=1000)

    async def work(desk: Desk) -> None:
        other = await desk.admit(most_nano=1000)
        with pytest.raises(BudgetError, match="used up") as refused:
            await desk.admit(most_nano=600, may_overrun=True)
        assert refused.value.is_reserved
        await desk.settle(other)
        other = await desk.admit(most_nano=999)
        first = await desk.admit(most_nano=600, may_overrun=True)
        await desk.settle(other)
        other = await desk.admit(most_nano=399)
        second = await desk.admit(most_nano=600, may_overrun=True)
        await desk.settle(other)
        for most in (1, 600):
            with pytest.raises(BudgetError, match="used up"):
                await desk.admit(most_nano=most, may_overrun=True)
        await desk.settle(first, cost=600)
        await desk.settle(second, cost=600)
        with pytest.raises(BudgetError, match="used up") as refused:
            await desk.admit(most_nano=600, may_overrun=True)
        assert not refused.value.is_reserved

    at_desk(who, work)
    assert budget(who) == {"spent": 1200, "held": 0}


@pytest.mark.django_db(transaction=True)
def test_a_month_is_not_counted_while_a_batch_is_written() -> None:
    """What reached the ledger in between would be counted by its settlement, and once more with the sums."""
    who = caller(monthly_budget_nano=1000)
    # What calls of tests before this one may have left on their way.
    drain()
    counting = threading.Thread(target=seed_and_close, args=(who,))
    with paused():
        counting.start()
        wait_until_somebody_waits()
        settled = event(who, cost=300)
        servers.durable().xadd(STREAM, {"e": settled.encode()})
        assert drain() == 1
    counting.join()
    assert budget(who) == {"spent": 300, "held": 0}


def seed_and_close(who: Caller) -> None:
    seeded(who)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_the_first_call_is_let_in_where_several_budgets_have_to_be_counted() -> None:
    who = caller(monthly_budget_nano=1000)
    share = with_ceiling(PARTICIPANT, f"{who.project_id}.user", Limits(monthly_budget_nano=1000), name="Course")
    both = replace(who, scopes=(*who.scopes, share))

    async def work(desk: Desk) -> None:
        await desk.settle(await desk.admit(most_nano=500))

    at_desk(both, work)


def test_large_amounts_stay_exact() -> None:
    who = caller(monthly_budget_nano=9_000_000_000_000_000)
    servers.durable().hset(counter_key(who), mapping={**EMPTY, "spent": 1_000_000_000_000_001})

    async def work(desk: Desk) -> None:
        admission = await desk.admit(most_nano=1_000_000_000_000_000)
        await desk.settle(admission, cost=999_999_999_999_999)

    at_desk(who, work)
    assert budget(who) == {"spent": 2_000_000_000_000_000, "held": 0}


def test_no_order_of_events_breaks_a_budget() -> None:
    limit, chance = 5_000, random.Random(7)
    who = caller(monthly_budget_nano=limit, concurrent_requests=12)
    servers.durable().hset(counter_key(who), mapping=EMPTY)
    leases = f"ly:{{{who.organization_id}}}:leases"

    async def work(desk: Desk) -> None:
        running: list[tuple[Admission, int]] = []
        for _step in range(400):
            move = chance.random()
            if move < 0.5:
                most = chance.randrange(0, 400)
                try:
                    running.append((await desk.admit(most_nano=most), most))
                except (BudgetError, RateLimitError):
                    continue
            elif running:
                admission, most = running.pop(chance.randrange(len(running)))
                if move < 0.6:
                    servers.durable().zadd(leases, {admission.id: 1})
                    reap()
                else:
                    await desk.settle(admission, cost=chance.randrange(0, most + 1))
                    if move > 0.9:
                        await desk.settle(admission, cost=most)
            state = budget(who)
            assert state["spent"] + state["held"] <= limit
        for admission, _most in running:
            await desk.settle(admission)

    at_desk(who, work)
    assert budget(who)["held"] == 0
    assert holds(who) == 0
    entries: Any = servers.durable().xrange(STREAM)
    first_of_each = {found.id: found for _id, fields in reversed(entries) if (found := Event.decode(fields["e"]))}
    costs = [found.cost_nano for found in first_of_each.values() if found.key_id == who.key_id]
    assert sum(costs) == budget(who)["spent"]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (12, "12ms"),
        (1000, "1s"),
        (8640, "8.64s"),
        (60_000, "1m0s"),
        (361_500, "6m1.5s"),
        (3_661_000, "1h1m1s"),
    ],
)
def test_spans_of_time_are_written_as_go_does(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def test_each_process_keeps_to_its_share_while_redis_is_away(settings: LazySettings) -> None:
    settings.GATEWAY_PROCESSES = 4

    async def use(who: Caller) -> None:
        # A link that was never opened.
        desk = Desk(Admissions(RedisLink(), Spool()), who)
        for _share in range(2):
            assert (await desk.admit()).is_local
        with pytest.raises(RateLimitError):
            await desk.admit()

    for limits in ({"requests_per_minute": 8}, {"tokens_per_minute": 80}, {"concurrent_requests": 11}):
        asyncio.run(use(caller(**limits)))
