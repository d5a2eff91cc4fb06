"""Programs are told once in each of its periods that calls are refused because little is left of a budget."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.cohorts.services import create_cohort
from accounts.invitations.links import join
from accounts.limits.services import change_organization_limits
from accounts.models import Membership, Organization, Project, User
from accounts.plans.services import assign_plan, make_plan
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common import redis as servers
from common.errors import budget_code
from tests.fakes.receiver import Receiver, receiver
from tests.usage.ledger import a_key
from tests.usage.test_ingest import emit, event, uuid7_at
from tests.usage.test_nearing import spend
from usage.credits.services import grant_credits
from usage.events import DEAD_LETTERS, STREAM, Event
from usage.ingest import drain
from usage.kinds import BUDGET_REACHED
from usage.models import CreditDraw
from webhooks.delivery import deliver_due
from webhooks.models import Endpoint, Message
from webhooks.services import create_endpoint


@pytest.fixture(autouse=True)
def empty_stream() -> Iterator[None]:
    servers.durable().delete(STREAM, DEAD_LETTERS)
    yield
    servers.durable().delete(STREAM, DEAD_LETTERS)


@pytest.fixture
def key(project: Project) -> ApiKey:
    return a_key(project, monthly_budget_nano=5_000_000_000)


@pytest.fixture
def server(settings: LazySettings, ada: User, project: Project) -> Iterator[Receiver]:
    """Receives what Ada's organization is told."""
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told:
        create_endpoint(organization=project.organization, url=told.url, description="", event_types=[], by=ada)
        yield told


def refused(key_id: str, *, month: int = 3, code: str = "key_monthly_budget") -> Event:
    at = datetime(2026, month, 1, 0, 0, 30, tzinfo=UTC)
    return event(id=uuid7_at(at), key_id=key_id, status=429, error_code=code, backend="", cost_nano=0)


def queries_of(*events: Event) -> int:
    emit(*events)
    with CaptureQueriesContext(connection) as queries:
        assert drain() == len(events)
    return len(queries)


def test_it_works(key: ApiKey, project: Project, server: Receiver) -> None:
    emit(event(key_id=key.public_id), refused(key.public_id), refused(key.public_id))
    assert drain() == 3
    deliver_due()
    [request] = server.received
    body = json.loads(request.body)
    assert body["type"] == "budget.reached"
    assert body["data"] == {
        "key_id": key.public_id,
        "project_id": project.public_id,
        "month": "2026-03",
        "budget": "key",
        "span": "monthly",
        "limit_nano_dollars": 5_000_000_000,
    }
    assert body["data"].keys() == BUDGET_REACHED.example.keys()


def test_it_says_whether_the_key_s_budget_or_the_share_in_a_cohort_ran_out(
    ada: User, cyd: User, project: Project, server: Receiver
) -> None:
    cohort = create_cohort(
        organization=project.organization,
        name="Compilers",
        ends_at=datetime.now(UTC) + timedelta(days=7),
        most_joins=30,
        limits={"monthly_budget_nano": 3_000_000_000},
        by=ada,
    )
    join(link=cohort.join_link, user=cyd)
    key = a_key(cohort.project, created_by=cyd, monthly_budget_nano=1_000_000_000)
    unbound = a_key(cohort.project, created_by=ada)
    for _batch in range(2):
        emit(
            *(
                refused(one.public_id, code=code)
                for one in (key, unbound)
                for code in ("key_monthly_budget", "cohort_allowance")
            )
        )
        drain()
    told = [message.data for message in Message.objects.filter(event_type="budget.reached")]
    limits = {(data["key_id"], data["budget"]): data["limit_nano_dollars"] for data in told}
    assert limits == {
        (key.public_id, "key"): 1_000_000_000,
        (key.public_id, "cohort"): 3_000_000_000,
        (unbound.public_id, "key"): None,
        (unbound.public_id, "cohort"): None,
    }
    assert len(told) == 4


def test_each_key_is_told_of_once_a_month(key: ApiKey, project: Project, server: Receiver) -> None:
    other = a_key(project, monthly_budget_nano=1)
    for _batch in range(2):
        emit(refused(key.public_id), refused(other.public_id), refused(key.public_id, month=4))
        drain()
    told = sorted((message.data["key_id"], message.data["month"]) for message in Message.objects.all())
    both = [(key.public_id, "2026-03"), (key.public_id, "2026-04"), (other.public_id, "2026-03")]
    assert told == sorted(both)


def test_a_budget_that_keys_share_is_told_of_once_in_each_of_its_days(
    project: Project, ada: User, server: Receiver
) -> None:
    organization = project.organization
    change_organization_limits(organization=organization, changes={"daily_budget_nano": 70}, by=ada)
    keys = [a_key(project, created_by=ada).public_id for _number in range(2)]
    for _batch in range(2):
        emit(*(refused(key, month=month, code="organization_daily_budget") for key in keys for month in (3, 4)))
        drain()
    told = sorted((message.data["month"], message.data["limit_nano_dollars"]) for message in Message.objects.all())
    assert told == [("2026-03", 70), ("2026-04", 70)]
    assert {(message.data["budget"], message.data["span"]) for message in Message.objects.all()} == {
        ("organization", "daily")
    }


@pytest.mark.parametrize("of", ["key", "participant", "member", "project", "plan", "model"])
def test_each_budget_says_whose_it_is(of: str, project: Project, ada: User, server: Receiver) -> None:
    key = a_key(project, created_by=ada, weekly_budget_nano=70)
    plan = make_plan(changes={"name": "Starter", "weekly_budget_nano": 80}, by=ada)
    assign_plan(organization=project.organization, plan=plan, by=ada)
    emit(refused(key.public_id, code=f"{of}_weekly_budget"))
    drain()
    told = Message.objects.get()
    assert told.data["budget"] == ("cohort" if of == "participant" else of)
    assert told.data["limit_nano_dollars"] == {"key": 70, "plan": 80}.get(of)


def now_refused(key: ApiKey, code: str) -> Event:
    at = timezone.now()
    return event(id=uuid7_at(at), key_id=key.public_id, status=429, error_code=code, backend="", cost_nano=0)


def told_after(refusal: Event) -> int:
    emit(refusal)
    drain()
    return Message.objects.filter(event_type="budget.reached").count()


@pytest.mark.parametrize("of", ["key", "participant", "member", "project", "organization", "plan", "model"])
def test_a_call_that_asks_for_much_has_not_reached_the_end(
    of: str, project: Project, ada: User, cyd: User, server: Receiver
) -> None:
    organization = project.organization
    limits: dict[str, Any] = {"monthly_budget_nano": 1000}
    cohort = create_cohort(
        organization=organization,
        name="Compilers",
        ends_at=timezone.now() + timedelta(days=7),
        most_joins=30,
        limits=limits,
        by=ada,
    )
    join(link=cohort.join_link, user=cyd)
    plan = make_plan(changes={"name": "Starter", **limits}, by=ada)
    assign_plan(organization=organization, plan=plan, by=ada)
    HostedModel.objects.create(public_name="m", **limits)
    for rows in (Organization.objects, Project.objects, Membership.objects):
        rows.update(**limits)
    key = a_key(cohort.project, created_by=cyd, **limits)
    ids = {
        "key": key.public_id,
        "participant": f"{cohort.project.public_id}.{cyd.public_id}",
        "member": f"{organization.public_id}.{cyd.public_id}",
        "project": cohort.project.public_id,
        "model": "m",
    }
    refusal = now_refused(key, budget_code(of, "monthly"))
    for spent, told in ((0, 0), (899, 0), (900, 1)):
        spend(spent, of, ids.get(of, organization.public_id), project)
        assert told_after(refusal) == told


def test_what_is_being_counted_has_been_reached(key: ApiKey, project: Project, server: Receiver) -> None:
    spend(0, "key", key.public_id, project, seeding=1)
    assert told_after(now_refused(key, "key_monthly_budget")) == 1


def test_a_budget_of_nothing_has_been_reached(key: ApiKey, project: Project, server: Receiver) -> None:
    ApiKey.objects.update(monthly_budget_nano=0)
    spend(0, "key", key.public_id, project)
    assert told_after(now_refused(key, "key_monthly_budget")) == 1


def test_while_credits_pay_the_end_of_an_organization_s_is_not_reached(
    project: Project, ada: User, server: Receiver
) -> None:
    organization = project.organization
    key = a_key(project, monthly_budget_nano=1000)
    Organization.objects.update(monthly_budget_nano=1000)
    grant = grant_credits(organization=organization, amount_nano=1000, reason="A pilot", expires_at=None, by=ada)
    for kind, id_ in (("organization", organization.public_id), ("key", key.public_id)):
        spend(990, kind, id_, project)
    emit(*(now_refused(key, f"{kind}_monthly_budget") for kind in ("organization", "key")))
    drain()
    assert Message.objects.get().data["budget"] == "key"
    CreditDraw.objects.create(
        grant_id=grant.public_id, organization_id=organization.public_id, day=timezone.now(), nano=910
    )
    assert told_after(now_refused(key, "organization_monthly_budget")) == 2


def test_another_refusal_is_no_reached_budget(key: ApiKey, server: Receiver) -> None:
    emit(event(key_id=key.public_id, status=429, error_code="rate_limit_exceeded"))
    drain()
    assert not Message.objects.exists()


def test_an_unknown_key_and_the_playground_keep_nothing_back(server: Receiver) -> None:
    emit(refused("key_gone"), refused(""))
    assert drain() == 2
    assert not Message.objects.exists()


def test_it_costs_one_query_where_nobody_listens(key: ApiKey) -> None:
    plain = queries_of(event(key_id=key.public_id), event(key_id=key.public_id))
    assert queries_of(event(key_id=key.public_id), refused(key.public_id)) == plain + 1
    assert not Message.objects.exists()


def test_it_costs_two_queries_once_it_was_told(key: ApiKey, server: Receiver) -> None:
    queries_of(refused(key.public_id))
    plain = queries_of(event(key_id=key.public_id))
    assert queries_of(*(refused(key.public_id) for _call in range(50))) == plain + 2
    Endpoint.objects.update(disabled_at=datetime.now(UTC))
    assert queries_of(refused(key.public_id)) == plain + 1
