"""What a cohort allows each participant binds all of their keys and runs in it together, and nobody else."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.cohorts.services import create_cohort
from accounts.invitations.links import join
from accounts.models import Cohort, Project, User
from apikeys.services import mint_key
from apikeys.terms import Terms
from apikeys.verification import digests_of
from common import redis as servers
from common.errors import BudgetError, RateLimitError
from tests.usage.ledger import add_usage
from tests.usage.test_admission import Desk, event, seeded
from usage.admission import Admissions
from usage.events import STREAM
from usage.link import RedisLink
from usage.periods import periods_at
from usage.policies import PARTICIPANT, Caller, caller_for_run, load
from usage.spool import Spool

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cohort(ada: User, ben: User, cyd: User) -> Cohort:
    """Ada's course, in which Ben and Cyd take part."""
    made = create_cohort(
        organization=ada.organizations.get(),
        name="Compilers 101",
        ends_at=timezone.now() + timedelta(days=60),  # later than the month that begins next
        most_joins=10,
        limits={"requests_per_minute": 2, "monthly_budget_nano": 1000},
        by=ada,
    )
    for person in (ben, cyd):
        join(link=made.join_link, user=person)
    return made


def caller_of(user: User, cohort: Cohort) -> Caller:
    """The caller behind a new key of the user."""
    _key, secret = mint_key(project=cohort.project, name="laptop", by=user)
    caller = load(digests_of(secret)[0])
    assert caller is not None
    return caller


def at_desks(work: Callable[[Admissions], Awaitable[None]]) -> None:
    async def run() -> None:
        link = RedisLink()
        await link.start()
        try:
            await work(Admissions(link, Spool()))
        finally:
            await link.close()

    asyncio.run(run())


def test_it_works(cohort: Cohort, ben: User, cyd: User) -> None:
    first, second = caller_of(ben, cohort), caller_of(ben, cohort)
    run, other = caller_for_run(ben, cohort.project), caller_of(cyd, cohort)

    async def work(admissions: Admissions) -> None:
        await Desk(admissions, first).admit()
        await Desk(admissions, run).admit()
        with pytest.raises(RateLimitError):
            await Desk(admissions, second).admit()
        await Desk(admissions, other).admit()

    at_desks(work)


def test_the_budget_is_that_of_all_their_keys(cohort: Cohort, ben: User, cyd: User) -> None:
    first, second = caller_of(ben, cohort), caller_of(ben, cohort)

    async def work(admissions: Admissions) -> None:
        desk = Desk(admissions, first)
        await desk.settle(await desk.admit(most_nano=700), cost=700)
        with pytest.raises(BudgetError) as refusal:
            await Desk(admissions, second).admit(most_nano=400)
        refused.append(refusal.value)

    refused: list[BudgetError] = []
    at_desks(work)
    [error] = refused
    assert error.code == "insufficient_quota"
    renews = periods_at(timezone.now(), "UTC").month.ends_at
    for said in (
        "allowance in the cohort “Compilers 101”", "all your keys", "does not cover this call", "limit $0.000001",
        "Ask for fewer tokens", f"{renews:%Y-%m-%d}",
    ):  # fmt: skip
        assert said in error.message


def test_a_budget_that_is_used_up_says_so(cohort: Cohort, ben: User) -> None:
    caller = caller_of(ben, cohort)

    async def work(admissions: Admissions) -> None:
        desk = Desk(admissions, caller)
        await desk.settle(await desk.admit(most_nano=1000), cost=1000)
        with pytest.raises(BudgetError, match="is used up: limit"):
            await desk.admit(most_nano=1)

    at_desks(work)


def test_the_first_call_of_a_key_that_has_a_budget_as_well(cohort: Cohort, ben: User) -> None:
    _key, secret = mint_key(project=cohort.project, name="laptop", by=ben, terms=Terms(monthly_budget_nano=500))
    caller = load(digests_of(secret)[0])
    assert caller is not None
    assert len([scope for scope in caller.scopes if scope.limits.monthly_budget_nano is not None]) == 2

    async def work(admissions: Admissions) -> None:
        await Desk(admissions, caller).admit(most_nano=400)

    at_desks(work)


def test_an_allowance_that_ends_before_the_month_does_not_begin_anew(cohort: Cohort, ben: User) -> None:
    ends_at = timezone.now() + timedelta(minutes=1)
    Project.objects.update(ends_at=ends_at)
    caller = caller_of(ben, cohort)

    async def work(admissions: Admissions) -> None:
        with pytest.raises(
            BudgetError, match=f"does not start anew before this key stops, on {ends_at:%Y-%m-%d %H:%M}"
        ):
            await Desk(admissions, caller).admit(most_nano=2000)

    at_desks(work)


def test_a_refusal_is_told_apart_in_the_ledger_from_the_key_s_own_budget() -> None:
    share = BudgetError("", of=PARTICIPANT)
    assert (share.code, share.ledger_code) == ("insufficient_quota", "cohort_allowance")
    assert BudgetError("").ledger_code == "key_monthly_budget"


def test_what_was_spent_before_is_counted_from_the_ledger_and_the_stream(cohort: Cohort, ben: User, cyd: User) -> None:
    first, second = caller_of(ben, cohort), caller_of(ben, cohort)
    for who, cost in ((ben, 100), (cyd, 5000)):
        add_usage(cohort.project, timezone.now(), user_id=who.public_id, cost_nano=cost)
    servers.durable().xadd(STREAM, {"e": event(first, cost=300).encode()})
    servers.durable().xadd(STREAM, {"e": event(caller_of(cyd, cohort), cost=9000).encode()})
    assert seeded(second)

    async def work(admissions: Admissions) -> None:
        await Desk(admissions, second).admit(most_nano=600)
        with pytest.raises(BudgetError):
            await Desk(admissions, first).admit(most_nano=1)

    at_desks(work)


def test_who_runs_the_cohort_is_not_bound(cohort: Cohort, ada: User) -> None:
    assert [scope.kind for scope in caller_of(ada, cohort).scopes] == ["key"]
    assert [scope.kind for scope in caller_for_run(ada, cohort.project).scopes] == ["user"]
