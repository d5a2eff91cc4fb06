"""What is used of limits: what the gateway has counted and refuses by, and the records until it has."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Project, User
from accounts.plans.services import assign_plan, make_plan
from apikeys.models import ApiKey
from apikeys.services import mint_key
from common import redis as servers
from tests import services
from tests.usage.ledger import a_key, add_usage
from tests.usage.test_admission import Desk, at_desk, counters_of, seeded
from usage.counters import base_of
from usage.credits.services import grant_credits
from usage.meters import Meter, meters_of
from usage.periods import periods_at
from usage.policies import load

pytestmark = pytest.mark.django_db

DOLLAR = 1_000_000_000


@pytest.fixture(autouse=True)
def opened() -> None:
    """Whatever a test before these did to Redis."""
    services.open_budgets()


@pytest.fixture
def key(project: Project, ada: User) -> ApiKey:
    """A key that was called twice today, for $2 and 9 tokens."""
    key, _secret = mint_key(project=project, name="Laptop", by=ada)
    key.requests_per_minute, key.requests_per_day, key.monthly_budget_nano = 60, 10, 5 * DOLLAR
    key.save()
    add_usage(
        project, timezone.now(), key=key, requests=2, latency_ms_sum=50, prompt_tokens=9, cost_nano=2 * DOLLAR
    )  # fmt: skip
    return key


def used(meters: list[Meter]) -> dict[str, int | None]:
    return {meter.name: meter.used for meter in meters}


def test_it_works(key: ApiKey) -> None:
    """First by the records, then by what Redis counts: with what a running call has reserved, and what it used."""
    asked = []

    def ask() -> None:
        asked.append(used(meters_of(key)))

    who = load(key.secrets.get().digest)
    assert who is not None
    ask()
    assert seeded(who)

    async def call(desk: Desk) -> None:
        admission = await desk.admit(most_nano=DOLLAR)
        ask()
        await desk.settle(admission, cost=DOLLAR // 2)

    at_desk(who, call)
    ask()
    assert asked == [
        {"requests_per_minute": None, "requests_per_day": 2, "monthly_budget_nano": 2 * DOLLAR},
        {"requests_per_minute": None, "requests_per_day": 3, "monthly_budget_nano": 3 * DOLLAR},
        {"requests_per_minute": None, "requests_per_day": 3, "monthly_budget_nano": 2 * DOLLAR + DOLLAR // 2},
    ]


def test_each_begins_anew_with_its_period(key: ApiKey, project: Project) -> None:
    project.organization.time_zone = "Asia/Kathmandu"
    project.organization.save()
    key.weekly_budget_nano = DOLLAR
    key.save()
    periods = periods_at(timezone.now(), "Asia/Kathmandu")
    renewed = {meter.name: meter.renews_at for meter in meters_of(ApiKey.objects.get(pk=key.pk))}
    assert renewed == {
        "requests_per_minute": None,
        "requests_per_day": periods.day.ends_at,
        "weekly_budget_nano": periods.week.ends_at,
        "monthly_budget_nano": periods.month.ends_at,
    }


def test_a_counter_that_is_being_filled_tells_nothing_yet(key: ApiKey) -> None:
    who = load(key.secrets.get().digest)
    assert who is not None
    assert seeded(who)
    for counter in counters_of(who):
        servers.durable().hset(base_of(who.organization_id) + counter.name, mapping={"spent": 0, "seeding": 1})
    assert used(meters_of(key))["monthly_budget_nano"] == 2 * DOLLAR


@pytest.fixture
def no_redis(settings: LazySettings) -> Iterator[None]:
    with services.durable_redis_to_kill(settings) as server:
        server.kill()
        yield


def test_without_redis_the_records_tell(key: ApiKey, no_redis: None) -> None:
    assert used(meters_of(key))["monthly_budget_nano"] == 2 * DOLLAR


def test_a_budget_of_nothing_is_used_up() -> None:
    assert Meter("monthly_budget_nano", 0, 0, None).is_used_up
    assert Meter("monthly_budget_nano", 100, 80, None).is_nearly_used_up
    assert not Meter("monthly_budget_nano", 100, 79, None).is_nearly_used_up


def test_the_page_of_a_key_tells_it(key: ApiKey, ada_client: Client) -> None:
    body = ada_client.get(reverse("apikeys:detail", args=[key.public_id])).content.decode()
    assert 'value="0.4000" max="1" aria-label="Budget per month: $2.00 of $5.00"' in body
    assert 'aria-label="Requests per day: 2 of 10"' in body
    assert "<dt>Requests per minute</dt><dd>60</dd>" in body
    assert "<dt>Budget alerts</dt><dd>80%, 100%</dd>" in body


def test_so_do_the_pages_of_limits(key: ApiKey, project: Project, ada: User, sam: User, ada_client: Client) -> None:
    organization = project.organization
    member = Membership.objects.get(organization=organization, user=ada)
    for limited, dollars in ((organization, 10), (project, 8), (member, 4)):
        limited.monthly_budget_nano = dollars * DOLLAR
        limited.save()
    pages = {
        "accounts:organization_limits": ([organization.public_id], "$2.00 of $10.00"),
        "accounts:project_limits": ([project.public_id], "$2.00 of $8.00"),
        "accounts:member_limits": ([organization.public_id, ada.public_id], "$2.00 of $4.00"),
    }
    for name, (ids, words) in pages.items():
        body = ada_client.get(reverse(name, args=ids)).content.decode()
        assert f'aria-label="Budget per month: {words}"' in body
        assert "What credits pay for" not in body
    grant_credits(organization=organization, amount_nano=DOLLAR, reason="A pilot", expires_at=None, by=sam)
    asked = ada_client.get(reverse("accounts:organization_limits", args=[organization.public_id]))
    assert "What credits pay for does not count" in asked.content.decode()


def test_so_does_the_page_of_the_plan_to_those_who_see_usage(
    key: ApiKey, project: Project, sam: User, ada_client: Client, ben_client: Client
) -> None:
    plan = make_plan(changes={"name": "Team", "tokens_per_day": 90}, by=sam)
    assign_plan(organization=project.organization, plan=plan, by=sam)
    url = reverse("plans:organization", args=[project.organization.public_id])
    assert 'aria-label="Tokens per day: 9 of 90"' in ada_client.get(url).content.decode()
    assert "Used so far" not in ben_client.get(url).content.decode()


def test_where_nothing_begins_anew_nothing_is_shown(project: Project, ada_client: Client) -> None:
    assert meters_of(a_key(project)) == []
    body = ada_client.get(reverse("accounts:project_limits", args=[project.public_id])).content.decode()
    assert "Used so far" not in body
