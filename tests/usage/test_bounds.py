"""The usage page and the API say what is used of the limits that count the calls which they are about."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Project, User
from accounts.plans.services import assign_plan, make_plan
from apikeys.models import ApiKey
from catalog.models import HostedModel
from tests import services
from tests.usage.ledger import a_key, add_usage
from tests.usage.test_log import a_participant

pytestmark = pytest.mark.django_db

DOLLAR = 1_000_000_000
OVERVIEW = reverse("usage:overview")


@pytest.fixture(autouse=True)
def opened() -> None:
    """Whatever a test before these did to Redis."""
    services.open_budgets()


@pytest.fixture
def key(project: Project, ada: User, sam: User) -> ApiKey:
    """A key of Ada's that cost $2 today; all that counts it has a limit."""
    HostedModel.objects.create(public_name="qwen3-8b", tokens_per_day=30)
    plan = make_plan(changes={"name": "Team", "tokens_per_day": 90}, by=sam)
    assign_plan(organization=project.organization, plan=plan, by=sam)
    membership = Membership.objects.get(organization=project.organization, user=ada)
    for limited, dollars in ((project.organization, 10), (project, 8), (membership, 4)):
        limited.daily_budget_nano = dollars * DOLLAR
        limited.save(update_fields=["daily_budget_nano"])
    key = a_key(project, created_by=ada, requests_per_day=10, requests_per_minute=5)
    add_usage(project, timezone.now(), key=key, model="qwen3-8b", requests=2, latency_ms_sum=50, prompt_tokens=9,
              cost_nano=2 * DOLLAR)  # fmt: skip
    return key


def told(client: Client, **query: str) -> list[tuple[str, list[str]]]:
    """Whose limits the page tells, and how far each is used."""
    bounds = client.get(OVERVIEW, query).context["bounds"]
    return [
        (str(scope.whose), [f"{meter.used_in_words} of {meter.limit_in_words}" for meter in scope.meters])
        for scope in bounds
    ]


def test_it_works(key: ApiKey, project: Project, ada_client: Client) -> None:
    member = ("You in this organization", ["$2.00 of $4.00"])
    organization = [(project.organization.display_name, ["$2.00 of $10.00"]), ("Plan Team", ["9 of 90"])]
    assert told(ada_client) == [("This project", ["$2.00 of $8.00"]), *organization, member]
    assert told(ada_client, scope="organization") == [*organization, member]
    shown = ada_client.get(OVERVIEW)
    # First the one of which most is used.
    scope, meter = shown.context["nearest"]
    assert (str(scope.whose), meter.used_in_words) == ("You in this organization", "$2.00")
    assert shown.content.decode().count('value="0.5000" max="1" aria-label="Budget per day: $2.00 of $4.00"') == 2


def test_what_the_page_is_narrowed_to_has_its_own(key: ApiKey, ada: User, ada_client: Client) -> None:
    assert told(ada_client, key=key.public_id) == [("Key Laptop", ["2 of 10"])]
    assert told(ada_client, member=ada.public_id) == [(ada.display_name, ["$2.00 of $4.00"])]
    assert told(ada_client, model="qwen3-8b") == [("Model qwen3-8b", ["9 of 30"])]
    # Of these there is no limit.
    for nothing in ({"endpoint": "embeddings"}, {"key": key.public_id, "status": "failed"}, {"key": "playground"}):
        assert told(ada_client, **nothing) == []


def test_nobody_reads_of_a_limit_what_they_may_not_see(
    key: ApiKey, project: Project, ada: User, ben_client: Client
) -> None:
    """Ben sees the project, and of the organization's other projects nothing; Grace sees her own calls."""
    assert told(ben_client) == [("This project", ["$2.00 of $8.00"])]
    for query in ({"scope": "organization"}, {"member": ada.public_id}, {"model": "qwen3-8b"}):
        assert told(ben_client, **query) == []
    grace, client = a_participant(project)
    Membership.objects.filter(user=grace).update(daily_budget_nano=DOLLAR)
    own = a_key(project, name="Mine", created_by=grace, requests_per_day=7)
    add_usage(project, timezone.now(), key=own, requests=1, latency_ms_sum=5, cost_nano=0)
    assert told(client) == [("You in this organization", ["$0 of $1.00"])]
    assert told(client, key=own.public_id) == [("Key Mine", ["1 of 7"])]
    assert told(client, key=key.public_id) == []


def test_programs_read_the_same(key: ApiKey, project: Project, ada_client: Client) -> None:
    def read(**query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ada_client.get("/api/usage/limits/", query).json()["results"]
        return found

    (mine,) = read(key=key.public_id)
    assert mine.pop("resets_at") > timezone.now().isoformat()
    assert mine == {"scope": "key", "scope_id": key.public_id, "name": "requests_per_day", "limit": 10, "used": 2}
    assert [(limit["scope"], limit["name"]) for limit in read()] == [
        ("project", "daily_budget_nano"),
        ("organization", "daily_budget_nano"),
        ("plan", "tokens_per_day"),
        ("member", "daily_budget_nano"),
    ]
