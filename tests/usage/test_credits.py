"""Credits through the scripts on a real Redis and the ledger in PostgreSQL: they pay first, exactly, and no more."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts.models import AuditEvent, Organization, Project, User
from common import redis as servers
from common.errors import BudgetError
from common.ids import new_id, uuid7
from common.limits import LARGEST_MONEY, Limits
from notifications.models import Notification
from tests import services
from tests.usage.test_admission import DEMAND, Desk, at_desk, event
from usage.admission import SINCE, Admission, reap, seed
from usage.counters import Counter, Reach
from usage.credits.services import balance_of, grant_credits, revoke_grant
from usage.events import STREAM, Event
from usage.explaining import BudgetUnknownError
from usage.ingest import drain
from usage.models import CreditDraw, CreditGrant, UsageEvent, UsageRollup15Min
from usage.policies import NEVER, ORGANIZATION, Caller, Grant, Scope, caller_for_run, with_ceiling
from usage.reconciliation import month_of, reconcile

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_redis() -> Iterator[None]:
    redis().flushdb()
    services.open_budgets()
    yield
    # As other tests expect it.
    services.open_budgets()


def redis() -> Any:
    return servers.durable()


def granted(amount: int, *, seconds: int | None = None) -> Grant:
    now = int(time.time())
    return Grant(new_id("cred"), amount, now, NEVER if seconds is None else now + seconds)


def prepaid(project: Project, *grants: Grant, budget: int | None = 0) -> Caller:
    """Somebody of an organization that has these credits, and a monthly budget besides."""
    home, key = project.organization, new_id("key")
    scopes = [with_ceiling("key", key, Limits())]
    if budget is not None:
        scopes.append(Scope(ORGANIZATION, home.public_id, Limits(monthly_budget_nano=budget), home.name))
    return Caller(
        "key", home.public_id, project.public_id, key, "", tuple(scopes), grants=grants, knows_credits=bool(grants)
    )


def counters(who: Caller) -> list[Counter]:
    return list(Reach.of(who, timezone.now()).counters)


def known(who: Caller) -> list[tuple[int, int]]:
    """What is spent and held of the organization's budget, then of each grant."""
    keys = [f"ly:{{{who.organization_id}}}:{counter.name}" for counter in counters(who)]
    found = [redis().hmget(key, ["spent", "held"]) for key in keys]
    return [(int(spent), int(held)) for spent, held in found]


def fill(who: Caller) -> None:
    assert all(seed(who, counter) for counter in counters(who))


def drawn() -> list[tuple[int, dict[str, int]]]:
    """The cost of each event that waits, and what it drew."""
    events = [Event.of_entry(fields) for _id, fields in redis().xrange(STREAM)]
    return [(found.cost_nano, dict(found.draws or {})) for found in events]


def agrees() -> bool:
    return not reconcile([month_of(datetime.now(UTC))]).differences


def test_it_works(project: Project) -> None:
    """The grant that ends first pays first, then the other, then the budget."""
    first, second = granted(100, seconds=3600), granted(200)
    who = prepaid(project, first, second, budget=50)
    fill(who)

    async def work(desk: Desk) -> None:
        admission = await desk.admit(most_nano=150)
        assert known(who) == [(0, 0), (0, 100), (0, 50)]
        await desk.settle(admission, cost=120)
        assert known(who) == [(0, 0), (100, 0), (20, 0)]
        admission = await desk.admit(most_nano=220)
        assert known(who) == [(0, 40), (100, 0), (20, 180)]
        with pytest.raises(BudgetError) as refused:
            await desk.admit(most_nano=11)
        assert "has no credits left, and its monthly budget for what they do not cover" in refused.value.message
        # The call that runs may need less than it holds back of the credits.
        assert refused.value.is_reserved
        await desk.settle(admission, cost=220)
        assert known(who) == [(40, 0), (100, 0), (200, 0)]
        with pytest.raises(BudgetError) as refused:
            await desk.admit(most_nano=11)
        assert not refused.value.is_reserved

    at_desk(who, work)
    assert drawn() == [(120, {first.id: 100, second.id: 20}), (220, {second.id: 180})]
    assert agrees()
    drain()
    assert dict(CreditDraw.objects.values_list("grant_id", "nano")) == {first.id: 100, second.id: 200}
    assert list(UsageEvent.objects.order_by("cost_nano").values_list("credit_nano", flat=True)) == [120, 180]
    assert sum(UsageRollup15Min.objects.values_list("credit_nano", flat=True)) == 300
    assert agrees()


def test_exactly_what_credits_cover_passes_of_a_crowd(project: Project) -> None:
    who = prepaid(project, granted(2000, seconds=60), granted(3000))
    fill(who)

    async def work(desk: Desk) -> int:
        async def call() -> bool:
            try:
                admission = await desk.admit(most_nano=100)
            except BudgetError:
                return False
            await desk.settle(admission, cost=100)
            return True

        return sum(await asyncio.gather(*(call() for _caller in range(200))))

    assert at_desk(who, work) == 50
    assert known(who) == [(0, 0), (2000, 0), (3000, 0)]
    assert agrees()


def test_calls_that_begin_while_credits_are_left_overrun_by_one_at_most(project: Project) -> None:
    who = prepaid(project, granted(100))
    fill(who)

    async def work(desk: Desk) -> None:
        running = [await desk.admit(most_nano=60, may_overrun=True) for _time in range(2)]
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=60, may_overrun=True)
        assert known(who) == [(0, 20), (0, 100)]
        for admission in running:
            await desk.settle(admission, cost=60)
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=60, may_overrun=True)

    at_desk(who, work)
    assert known(who) == [(20, 0), (100, 0)]
    assert agrees()


def test_a_prepaid_organization_is_told_what_is_left_and_who_can_grant_more(project: Project) -> None:
    who = prepaid(project, granted(100))
    fill(who)

    async def work(desk: Desk) -> BudgetError:
        with pytest.raises(BudgetError) as refused:
            await desk.admit(most_nano=150)
        return refused.value

    refused = at_desk(who, work)
    assert refused.code == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert "An owner or an admin can raise the budget. The operator of this portal can grant more" in refused.message
    told = refused.details["limit"]
    assert (told["credits"], told["requested"], told["limit"]) == (100, 50, 0)


def test_without_a_budget_credits_pay_first_all_the_same(project: Project) -> None:
    who = prepaid(project, granted(100), budget=None)
    fill(who)

    async def work(desk: Desk) -> None:
        for _call in range(2):
            await desk.settle(await desk.admit(most_nano=80), cost=80)

    at_desk(who, work)
    assert [(cost, sum(draws.values())) for cost, draws in drawn()] == [(80, 80), (80, 20)]


def test_what_cost_more_than_could_be_told_takes_what_else_is_left(project: Project) -> None:
    """What nobody can set a limit to, such as pictures, costs what it comes to."""
    who = prepaid(project, granted(100), granted(100))
    fill(who)

    async def work(desk: Desk) -> None:
        other = await desk.admit(most_nano=40)
        admission = await desk.admit(most_nano=10)
        await desk.settle(admission, cost=250)
        assert known(who) == [(90, 0), (60, 40), (100, 0)]
        await desk.settle(other, cost=0)

    at_desk(who, work)
    assert known(who) == [(90, 0), (60, 0), (100, 0)]
    assert agrees()


def test_what_ended_meanwhile_pays_what_was_reserved_and_nothing_else(project: Project) -> None:
    past = replace(granted(100), end=int(time.time()))
    who = prepaid(project, past, budget=None)
    began = replace(event(who), id=uuid7(milliseconds=(past.end - 60) * 1000).hex)
    assert seed(who, Counter.of_grant(past))

    async def work(desk: Desk) -> None:
        demand = replace(DEMAND, most_nano=10)
        admission = await desk.admissions.admit(who, demand, id=began.id, lost=began)
        await desk.settle(admission, cost=50)

    at_desk(who, work)
    assert drawn() == [(50, {past.id: 10})]
    assert agrees()


def test_so_does_what_was_revoked_meanwhile(
    project: Project, ada: User, sam: User, django_capture_on_commit_callbacks: Any
) -> None:
    given = grant(project.organization, sam, 100)
    who = prepaid(project, *caller_for_run(ada, project).grants, budget=None)
    fill(who)
    admission = at_desk(who, lambda desk: desk.admit(most_nano=10))
    with django_capture_on_commit_callbacks(execute=True):
        revoke_grant(grant=given, reason="Mistaken", by=sam)
    at_desk(who, lambda desk: desk.settle(admission, cost=50))
    assert drawn() == [(50, {given.public_id: 10})]
    assert agrees()


def test_what_has_ended_pays_no_more(project: Project) -> None:
    past = replace(granted(100), end=int(time.time()))
    who = prepaid(project, past)

    async def work(desk: Desk) -> None:
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=1)

    fill(who)
    at_desk(who, work)


def test_a_free_model_draws_on_nothing(project: Project) -> None:
    who = prepaid(project, granted(100))

    async def work(desk: Desk) -> None:
        await desk.settle(await desk.admit(most_nano=0))

    at_desk(who, work)
    assert drawn() == [(0, {})]


def test_what_a_dead_process_held_is_settled_from_the_credits(project: Project) -> None:
    who = prepaid(project, granted(100))
    fill(who)
    at_desk(who, lambda desk: desk.admit(most_nano=60))
    leases = f"ly:{{{who.organization_id}}}:leases"
    for call in redis().zrange(leases, 0, -1):
        redis().zadd(leases, {call: 1})
    assert reap() == 1
    assert known(who) == [(0, 0), (5, 0)], "as far as it is known to have come"
    assert agrees()


def of_a_minute_ago(admission: Admission) -> Admission:
    second, _bar, rest = admission.hold.partition("|")
    return replace(admission, hold=f"{int(second) - 60}|{rest}")


def test_redis_that_lost_its_data_counts_credits_anew(project: Project) -> None:
    who = prepaid(project, granted(100), granted(100))
    fill(who)
    at_desk(who, lambda desk: spend(desk, 70))
    drain()

    async def begin(desk: Desk) -> list[Admission]:
        return [of_a_minute_ago(await desk.admit(most_nano=most)) for most in (80, 10)]

    async def say_it_runs(desk: Desk) -> None:
        desk.admissions.extend(running, replace(event(who, cost=40), id=running.id))
        # By the same connection, so that it has arrived.
        other = replace(who, grants=())
        await desk.admissions.admit(other, DEMAND, id=event(other).id, lost=event(other))

    async def end(desk: Desk) -> None:
        await desk.settle(running, cost=60)
        # It never said that it runs; what it had reserved pays for it all the same.
        await desk.settle(silent, cost=10)

    running, silent = at_desk(who, begin)
    redis().flushdb()
    at_desk(who, say_it_runs)
    services.open_budgets()
    fill(who)
    assert known(who) == [(0, 0), (70, 30), (0, 50)]
    at_desk(who, end)
    fill(who)
    assert known(who) == [(0, 0), (100, 0), (40, 0)]
    assert agrees()
    drain()
    assert dict(CreditDraw.objects.values_list("grant_id", "nano")) == {who.grants[0].id: 100, who.grants[1].id: 40}


def test_credits_are_closed_until_everybody_had_time_to_say_what_runs(project: Project) -> None:
    who = prepaid(project, granted(100))
    redis().set(SINCE, int(time.time()))
    with pytest.raises(BudgetUnknownError):
        fill(who)


def test_an_organizations_budget_is_counted_without_what_credits_paid(project: Project) -> None:
    who = prepaid(project, granted(100), budget=1000)
    fill(who)
    at_desk(who, lambda desk: spend(desk, 130))
    drain()
    redis().flushdb()
    services.open_budgets()
    fill(who)
    at_desk(who, lambda desk: spend(desk, 7))
    assert known(who) == [(37, 0), (100, 0)]
    assert agrees()


async def spend(desk: Desk, cost: int) -> None:
    await desk.settle(await desk.admit(most_nano=cost), cost=cost)


@pytest.mark.parametrize("name", ["spent", "held"])
def test_wrong_counters_of_credits_are_named_and_corrected(project: Project, name: str) -> None:
    who = prepaid(project, granted(100))
    fill(who)
    at_desk(who, lambda desk: spend(desk, 30))
    grant = counters(who)[-1]
    redis().hincrby(f"ly:{{{who.organization_id}}}:{grant.name}", name, 5)
    with pytest.raises(CommandError):
        call_command("reconcile", "--strict")
    call_command("reconcile", "--repair", "--strict")
    assert known(who)[-1] == (30, 0)


def test_wrong_sums_of_draws_are_named_and_made_anew(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    who = prepaid(project, granted(100))
    fill(who)
    at_desk(who, lambda desk: spend(desk, 30))
    drain()
    for wrong in (lambda: CreditDraw.objects.update(nano=7), lambda: CreditDraw.objects.all().delete()):
        wrong()
        with pytest.raises(CommandError):
            call_command("reconcile", "--strict")
        assert f"draws on {who.grants[0].id}" in capsys.readouterr().out
        call_command("reconcile", "--repair", "--strict")
        assert CreditDraw.objects.get().nano == 30


# What staff grant -------------------------------------------------------------------------------------------------


def grant(organization: Organization, by: User, amount: int = 1000, **fields: Any) -> CreditGrant:
    options = {"reason": "Welcome", "expires_at": None, **fields}
    return grant_credits(organization=organization, amount_nano=amount, by=by, **options)


def test_what_staff_grant_is_known_to_callers_and_told_to_owners(project: Project, ada: User, sam: User) -> None:
    home = project.organization
    assert caller_for_run(ada, project).grants == ()
    later = grant(home, sam)
    sooner = grant(home, sam, expires_at=timezone.now() + timedelta(days=1))
    who = caller_for_run(ada, project)
    assert [one.id for one in who.grants] == [sooner.public_id, later.public_id]
    assert who.knows_credits
    recorded = AuditEvent.objects.filter(action="credits.granted", organization_id=home.public_id)
    assert {row.after["amount_nano"] for row in recorded} == {1000}
    assert Notification.objects.filter(recipient=ada, kind="usage.credits_granted").count() == 2


def test_what_is_used_up_revoked_or_over_is_no_longer_asked_for(project: Project, ada: User, sam: User) -> None:
    home = project.organization
    used_up, revoked = grant(home, sam, 100), grant(home, sam, 200)
    CreditDraw.objects.create(
        grant_id=used_up.public_id, day=timezone.now().date(), organization_id=home.public_id, nano=100
    )
    revoke_grant(grant=revoked, reason="Mistaken", by=sam)
    with pytest.raises(ValidationError):
        revoke_grant(grant=revoked, reason="Again", by=sam)
    who = caller_for_run(ada, project)
    assert (who.grants, who.knows_credits) == ((), True)
    assert balance_of(home).left_nano == 0
    assert AuditEvent.objects.filter(action="credits.revoked", target_id=revoked.public_id).count() == 1


@pytest.mark.parametrize(
    "fields", [{"amount": 0}, {"amount": -5}, {"amount": LARGEST_MONEY + 1}, {"reason": ""}, {"days": -1}]
)
def test_what_cannot_be_granted(project: Project, sam: User, fields: dict[str, Any]) -> None:
    if days := fields.pop("days", None):
        fields["expires_at"] = timezone.now() + timedelta(days=days)
    with pytest.raises(ValidationError):
        grant(project.organization, sam, **fields)


@pytest.mark.parametrize("table", ["usage_creditgrant", "usage_creditrevocation"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET reason = 'other'", "DELETE FROM {}"])
def test_no_grant_is_changed_or_deleted(project: Project, sam: User, table: str, statement: str) -> None:
    home = project.organization
    revoke_grant(grant=grant(home, sam), reason="Mistaken", by=sam)
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


def test_grants_stay_when_their_organization_goes(project: Project, sam: User) -> None:
    kept = grant(project.organization, sam)
    project.organization.delete()
    assert CreditGrant.objects.get().public_id == kept.public_id
