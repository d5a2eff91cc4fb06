"""No order of what can happen to calls, their processes and Redis breaks the ledger.

Hypothesis chooses what happens next. `LEDGER_STEPS=10000` makes as many steps as that instead of a few hundred.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, Phase
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django.plugin import DjangoDbBlocker

from accounts.models import Organization, Project
from common import redis as servers
from common.errors import BudgetError, RateLimitError
from common.ids import new_id
from common.limits import Limits
from tests import services
from tests.usage.test_admission import DEMAND, caller, event
from usage.admission import SINCE, Admission, Admissions, reap, seed, settle_now, settlement, tail_of
from usage.counters import Counter, Reach, Used
from usage.events import STREAM, Event
from usage.explaining import BudgetUnknownError
from usage.ingest import drain
from usage.link import RedisLink
from usage.models import CreditDraw, UsageEvent
from usage.policies import NEVER, Caller, Grant, with_ceiling
from usage.reconciliation import month_of, reconcile
from usage.spool import Spool

STEPS_OF_ONE = 50
STEPS = int(os.environ.get("LEDGER_STEPS", "300"))
# How long budgets are closed after a loss, and more.
A_WHILE = 20

WHICH = st.integers(0, 11)
MONEY = st.sampled_from([0, 1, 150, 300, 600])


@pytest.fixture(autouse=True)
def db(stores: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@dataclass
class Call:
    """A call of a process that lives. `is_given_up`: it was taken for dead, and settled for it."""

    who: Caller
    admission: Admission
    most: int
    is_given_up: bool = False


class Ledger(RuleBasedStateMachine):
    """Two keys of a project, each with a budget of its own, under the budgets of the project and of its organization,
    before which two grants of credits pay."""

    def __init__(self) -> None:
        super().__init__()
        self.redis: Any = servers.durable()
        self.redis.flushdb()
        services.open_budgets()
        self.month = month_of(datetime.now(UTC))
        first = caller(monthly_budget_nano=1000, concurrent_requests=4)
        shared = with_ceiling("project", first.project_id, Limits(monthly_budget_nano=1500, concurrent_requests=6))
        key = new_id("key")
        second = with_ceiling("key", key, Limits(monthly_budget_nano=700))
        home = with_ceiling("organization", first.organization_id, Limits(monthly_budget_nano=600))
        now = int(time.time())
        grants = (Grant(new_id("cred"), 400, now, now + 86_400), Grant(new_id("cred"), 500, now, NEVER))
        self.callers = [
            replace(first, scopes=(*first.scopes, shared, home), grants=grants),
            replace(first, key_id=key, scopes=(second, shared, home), grants=grants),
        ]
        both = replace(first, scopes=(*first.scopes, second, shared, home), grants=grants)
        self.counters = Reach.of(both, datetime.now(UTC)).counters
        # Its sums are found by its projects.
        self.home = Organization.objects.create(name="Home", public_id=first.organization_id)
        Project.objects.create(organization=self.home, name="Project", public_id=first.project_id)
        self.base = f"ly:{{{first.organization_id}}}:"
        self.running: list[Call] = []
        self.settled: list[tuple[Admission, Event]] = []
        # What PostgreSQL has, by id.
        self.written: dict[str, Event] = {}
        # After what nobody can know in time, a budget may be exceeded; it must be counted right all the same.
        self.is_promised = True
        # The most of the calls that are let in while any money is left, by which a budget may be exceeded then.
        self.most_over = 0
        # Redis lost its data, and nobody had the time yet to say what runs.
        self.is_closed = False
        self.loop = asyncio.Runner()
        self.loop.run(self.connect())

    async def connect(self) -> None:
        self.link = RedisLink()
        await self.link.start()
        self.desk = Admissions(self.link, Spool())

    # What happens -----------------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, 1), most=MONEY)
    def admit(self, number: int, most: int, may_overrun: bool = False) -> None:
        who = self.callers[number]
        lost = event(who, cost=most // 3)
        demand = replace(DEMAND, most_nano=most, may_overrun=may_overrun)
        try:
            admission = self.loop.run(self.desk.admit(who, demand, id=lost.id, lost=lost))
        except (BudgetError, RateLimitError, BudgetUnknownError):
            return
        self.running.append(Call(who, admission, most))

    @rule(number=st.integers(0, 1), most=MONEY)
    def admit_while_any_is_left(self, number: int, most: int) -> None:
        self.most_over = max(self.most_over, most)
        self.admit(number, most, may_overrun=True)

    @precondition(lambda self: self.running)
    @rule(which=WHICH)
    def say_it_runs(self, which: int) -> None:
        self.loop.run(self.extend(self.one(which)))

    async def extend(self, call: Call) -> None:
        self.desk.extend(call.admission, replace(event(call.who, cost=call.most // 2), id=call.admission.id))
        await self.link.execute("PING")

    @precondition(lambda self: self.running)
    @rule(which=WHICH, part=st.integers(0, 3))
    def settle(self, which: int, part: int) -> None:
        call = self.one(which)
        self.running.remove(call)
        done = replace(event(call.who, cost=call.most * part // 3), id=call.admission.id)
        self.settled.append((call.admission, done))

        async def end() -> None:
            await self.desk.settle(call.admission, done)

        self.loop.run(end())

    @precondition(lambda self: self.running)
    @rule(which=WHICH)
    def undo(self, which: int) -> None:
        call = self.one(which)
        self.running.remove(call)

        async def give_back() -> None:
            self.desk.undo(call.admission)
            await self.link.execute("PING")

        self.loop.run(give_back())

    @precondition(lambda self: self.running)
    @rule(which=WHICH)
    def die(self, which: int) -> None:
        self.running.remove(self.one(which))

    @rule(which=WHICH)
    def end_a_lease(self, which: int) -> None:
        leases = self.redis.zrange(f"{self.base}leases", 0, -1)
        if leases:
            self.redis.zadd(f"{self.base}leases", {leases[which % len(leases)]: 1})

    @rule()
    def reap(self) -> None:
        held = self.held_ids()
        reap()
        over = held - self.held_ids()
        for call in self.running:
            call.is_given_up |= call.admission.id in over

    @rule(is_watched=st.booleans())
    def lose_redis(self, is_watched: bool) -> None:
        # What was given up gave its budget to others, and holds it once more if it then says that it runs.
        self.is_promised &= not any(call.is_given_up for call in self.running)
        self.redis.flushdb()
        self.is_closed = True
        if not is_watched:
            self.let_a_while_pass(is_deaf=False)

    @rule(is_deaf=st.sampled_from([False, False, False, True]))
    def let_a_while_pass(self, is_deaf: bool) -> None:
        if is_deaf:
            held = self.held_ids()
            self.is_promised &= all(call.is_given_up or call.admission.id in held for call in self.running)
        else:
            for call in self.running:
                self.loop.run(self.extend(call))
            held = self.held_ids()
            assert all(call.is_given_up or call.admission.id in held for call in self.running)
        self.is_closed = False
        self.reap()
        self.age()

    @precondition(lambda self: self.settled)
    @rule(which=WHICH)
    def replay(self, which: int) -> None:
        admission, done = self.settled[which % len(self.settled)]
        # What only the lost stream had, others could spend meanwhile.
        self.is_promised &= done.id in self.events()
        settle_now(settlement(admission, done))

    @precondition(lambda self: self.settled)
    @rule(which=WHICH)
    def say_too_late_that_it_ran(self, which: int) -> None:
        admission, done = self.settled[which % len(self.settled)]
        who = next(who for who in self.callers if who.key_id == done.key_id)
        self.loop.run(self.extend(Call(who, admission, done.cost_nano)))
        self.is_promised &= done.id not in self.held_ids()

    @rule()
    def drain(self) -> None:
        self.written = self.events()
        drain()

    @rule(which=st.integers(0, 5))
    def seed(self, which: int) -> None:
        who = self.callers[which % 2]
        try:
            seed(who, self.counters[which])
        except BudgetUnknownError:
            assert self.redis.get(SINCE) != "0"

    # What holds, whatever happens -------------------------------------------------------------------------------------

    @invariant()
    def it_is_right(self) -> None:
        events, holds = self.events(), self.redis.hgetall(f"{self.base}holds")
        assert set(self.redis.zrange(f"{self.base}leases", 0, -1)) == set(holds)
        assert all((done.credit_nano or 0) <= done.cost_nano for done in events.values())
        for counter in self.counters:
            scope = counter.scope
            known = {name: int(value) for name, value in self.redis.hgetall(self.base + counter.name).items()}
            if "spent" in known:
                assert not self.is_closed
                reserved = [amounts for hold in holds.values() if (amounts := self.held_of(counter, hold))]
                held = sum(worst for _tokens, worst in reserved)
                used = Used()
                for done in events.values():
                    used = used.plus(self.used_of(counter, done))
                spent = used.cost_nano
                assert (known["spent"], known["held"]) == (spent, held)
                if not counter.is_grant:
                    assert known["requests"] == used.requests + len(reserved)
                    assert known["held_tokens"] == sum(tokens for tokens, _worst in reserved)
                    assert known["tokens"] == used.tokens + known["held_tokens"]
                assert known["gpu"] == used.gpu_ms
                assert counter.money is not None
                most_over = 0 if counter.is_grant else self.most_over
                assert not self.is_promised or spent + held <= counter.money + most_over
            window = self.redis.hgetall(f"{self.base}{scope.kind}:{scope.id}:window")
            assert all(int(value) >= 0 for value in window.values())
            slots = set(self.redis.zrange(f"{self.base}{scope.kind}:{scope.id}:running", 0, -1))
            assert slots <= set(holds)
            if scope.limits.concurrent_requests is not None and self.is_promised:
                assert len(slots) <= scope.limits.concurrent_requests

    def teardown(self) -> None:
        try:
            while self.running:
                self.settle(0, 1)
            while leases := self.redis.zrange(f"{self.base}leases", 0, -1):
                self.redis.zadd(f"{self.base}leases", dict.fromkeys(leases, 1))
                reap()
            self.it_is_right()
            assert self.redis.keys(f"{self.base}*:running") == self.redis.keys(f"{self.base}holds") == []
            drain()
            self.age()
            services.open_budgets()
            for number, counter in enumerate(self.counters):
                assert seed(self.callers[number % 2], counter)
                assert self.redis.hmget(self.base + counter.name, ["spent", "held"]) == [str(written(counter)), "0"]
            assert reconcile([self.month]).differences == []
        finally:
            self.home.delete()
            self.loop.run(self.link.close())
            self.loop.close()

    # What is looked at ------------------------------------------------------------------------------------------------

    def one(self, which: int) -> Call:
        return self.running[which % len(self.running)]

    def held_ids(self) -> set[str]:
        return set(self.redis.hkeys(f"{self.base}holds"))

    def events(self) -> dict[str, Event]:
        """By id, what is written and what will be."""
        found = dict(self.written)
        for _entry, fields in self.redis.xrange(STREAM):
            done = Event.of_entry(fields)
            found.setdefault(done.id, done)
        return found

    def held_of(self, counter: Counter, hold: str) -> tuple[int, int] | None:
        """The tokens and the money that a hold has of a counter; None when it is not counted there."""
        _second, tokens, worst, flags, draws, _text = hold.split("|", 5)
        names, of_grants = tail_of(hold)["counters"], [int(draw) for draw in draws.split(",")]
        assert sum(of_grants) <= int(worst)
        if counter.name not in names or flags[names.index(counter.name)] != "1":
            return None
        if counter.is_grant:
            return 0, of_grants[names.index(counter.name) - len(names)]
        return int(tokens), int(worst) - (sum(of_grants) if counter.scope.kind == "organization" else 0)

    def used_of(self, counter: Counter, done: Event) -> Used:
        """What of an event counts in a counter."""
        scope, used = counter.scope, Used.by(done)
        if counter.is_grant:
            return Used((done.draws or {}).get(scope.id, 0))
        if getattr(done, f"{scope.kind}_id") != scope.id:
            return Used()
        return used.plus(Used(-(done.credit_nano or 0))) if scope.kind == "organization" else used

    def age(self) -> None:
        """Make everything that has a time older, in place of waiting."""
        if self.redis.exists(SINCE):
            self.redis.decrby(SINCE, A_WHILE)
        for id_, hold in self.redis.hgetall(f"{self.base}holds").items():
            self.redis.hset(f"{self.base}holds", id_, older(hold))
        for counter in self.counters:
            if self.redis.hexists(self.base + counter.name, "born"):
                self.redis.hincrby(self.base + counter.name, "born", -A_WHILE)
        for call in self.running:
            call.admission = replace(call.admission, hold=older(call.admission.hold))
        self.settled = [(replace(one, hold=older(one.hold)), done) for one, done in self.settled]


def written(counter: Counter) -> int:
    """The money that PostgreSQL has for a counter."""
    scope = counter.scope
    if counter.is_grant:
        return sum(draw.nano for draw in CreditDraw.objects.filter(grant_id=scope.id))
    rows = UsageEvent.objects.filter(**{f"{scope.kind}_id": scope.id})
    sums = rows.aggregate(cost=Sum("cost_nano", default=0), credit=Sum("credit_nano", default=0))
    return int(sums["cost"] - (sums["credit"] if scope.kind == "organization" else 0))


def older(hold: str) -> str:
    second, _bar, rest = hold.partition("|")
    return f"{int(second) - A_WHILE}|{rest}"


def test_no_order_of_events_breaks_the_ledger() -> None:
    checks = (HealthCheck.too_slow, HealthCheck.filter_too_much)
    many = how(
        max_examples=STEPS // STEPS_OF_ONE,
        stateful_step_count=STEPS_OF_ONE,
        deadline=None,
        suppress_health_check=checks,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(Ledger, settings=many)
