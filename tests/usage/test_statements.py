"""Monthly statements: to the nano-dollar what the ledger holds, and for those who see all of it."""

import csv
import io
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Count, Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization, Project, User
from common.ids import new_id, uuid7
from common.money import nano_from_dollars
from tests.usage.ledger import a_key, add_usage
from usage.events import Event
from usage.ingest import insert_all
from usage.models import UsageEvent
from usage.statements.months import Month, months_of, statement

pytestmark = pytest.mark.django_db

LAST_YEAR = timezone.now().year - 1
MARCH = Month(LAST_YEAR, 3)


def address(organization: Organization, name: str = "month", month: Month = MARCH) -> str:
    ids = [organization.public_id] if name == "list" else [organization.public_id, str(month)]
    return reverse(f"statements:{name}", args=ids)


def rows_of(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def called(project: Project, at: datetime, **fields: Any) -> Event:
    milliseconds = int(at.timestamp() * 1000)
    values: dict[str, Any] = {
        "id": f"{milliseconds:012x}{uuid7().hex[12:]}",
        "request_id": new_id("req"),
        "source": "key",
        "organization_id": project.organization.public_id,
        "project_id": project.public_id,
        "key_id": "key_1",
        "user_id": "",
        "model": "small",
        "backend": "gpu-1",
        "endpoint": "chat/completions",
        "status": 200,
        "error_code": "",
        "is_streamed": False,
        "is_estimated": False,
        "prompt_tokens": 0,
        "cached_tokens": 0,
        "completion_tokens": 0,
        "cost_nano": 0,
        "latency_ms": 10,
        "first_token_ms": None,
    }
    return Event(**values | fields)


def test_it_works(ada_client: Client, project: Project, django_assert_num_queries: Any) -> None:
    """Calls of a month and of both ends of it; every line is what the ledger sums to."""
    chance = random.Random(7)
    other = Project.objects.create(organization=project.organization, name="=Other")
    keys = [(of, a_key(of, name=name)) for of, name in ((project, "Laptop"), (other, "Laptop"), (other, "Server"))]
    events = [
        called(
            of,
            MARCH.start + timedelta(seconds=chance.randrange(31 * 86_400)),
            key_id=key.public_id,
            model=chance.choice(["small", "large"]),
            prompt_tokens=(tokens := chance.randrange(10_000)),
            cached_tokens=chance.randrange(tokens + 1),
            completion_tokens=chance.randrange(5_000),
            cost_nano=chance.randrange(10**12),
        )
        for of, key in chance.choices(keys, k=300)
    ]
    edges = [(MARCH.start, 1), (MARCH.end - timedelta(milliseconds=1), 2)]
    beyond = [(MARCH.start - timedelta(milliseconds=1), 10**15), (MARCH.end, 10**15)]
    events += [called(project, at, source="playground", key_id="", cost_nano=cost) for at, cost in edges + beyond]
    assert insert_all(events) == 304

    organization = project.organization
    with django_assert_num_queries(3):
        found = statement(organization, MARCH, now=timezone.now())
    held = UsageEvent.objects.filter(at__gte=MARCH.start, at__lt=MARCH.end)
    cost = held.aggregate(sum=Sum("cost_nano"))["sum"]
    assert (found.is_over, found.total.requests, found.total.cost_nano) == (True, 302, cost)
    for parts in (found.by_project, found.by_model, found.by_key):
        assert sum(part.charges.cost_nano for part in parts) == cost
    assert len(found.by_key) == 4, "two keys of one name are two"

    of_the_ledger = {
        (row["project_id"], row["model"], row["key_id"] or row["source"]): row
        for row in held.values("project_id", "model", "key_id", "source").annotate(
            calls=Count("pk"),
            p=Sum("prompt_tokens"),
            k=Sum("cached_tokens"),
            c=Sum("completion_tokens"),
            n=Sum("cost_nano"),
        )
    }
    lines = rows_of(ada_client.get(address(organization, "file")))
    assert len(lines) == len(of_the_ledger)
    for line in lines:
        row = of_the_ledger[line["project_id"], line["model"], line["key_id"]]
        figures = [int(line[name]) for name in ("requests", "input_tokens", "cached_input_tokens", "output_tokens")]
        assert figures == [row["calls"], row["p"], row["k"], row["c"]]
        assert nano_from_dollars(Decimal(line["cost_usd"])) == row["n"]
    assert {line["project"] for line in lines} >= {"'=Other"}, "no formula for a spreadsheet"


def test_each_month_has_its_sums(ada_client: Client, project: Project) -> None:
    for month, cost in ((1, 1), (3, 20), (3, 4)):
        add_usage(project, Month(LAST_YEAR, month).start, cost_nano=cost * 10**9)
    assert [(str(month), charges.cost_nano) for month, charges in months_of(project.organization)] == [
        (f"{LAST_YEAR}-03", 24 * 10**9),
        (f"{LAST_YEAR}-01", 10**9),
    ]
    page = ada_client.get(address(project.organization, "list")).content.decode()
    assert "$24.00" in page
    assert "Not over yet" not in page
    assert address(project.organization, "file", Month(LAST_YEAR, 1)) in page


def test_a_month_that_runs_says_so(ada_client: Client, project: Project) -> None:
    add_usage(project, timezone.now(), cost_nano=10**9)
    assert "Not over yet" in ada_client.get(address(project.organization, "list")).content.decode()
    page = ada_client.get(address(project.organization, month=Month.of(timezone.now()))).content.decode()
    assert "This month is not over" in page
    assert "Cost so far" in page


def test_months_are_those_of_utc_whatever_the_reader_s_clock(ada_client: Client, project: Project) -> None:
    add_usage(project, MARCH.start, cost_nano=10**9)
    ada_client.cookies["tz"] = "America/Los_Angeles"
    page = ada_client.get(address(project.organization)).content.decode()
    assert f"March 1, {LAST_YEAR} – March 31, {LAST_YEAR} (UTC)" in page
    assert "$1.00" in page
    # When it was printed is told by the reader's clock, and which that is.
    assert "(America/Los_Angeles)</dd>" in page


@pytest.mark.parametrize("name", ["2999-01", "2026-13", "2026-1", "latest"])
def test_there_is_no_statement_of_another_month(ada_client: Client, project: Project, name: str) -> None:
    for kind in ("month", "file"):
        url = reverse(f"statements:{kind}", args=[project.organization.public_id, name])
        assert ada_client.get(url).status_code == 404


def test_nothing_used_teaches(ada_client: Client, project: Project) -> None:
    assert "No statement yet" in ada_client.get(address(project.organization, "list")).content.decode()
    assert "Nothing was used in this month" in ada_client.get(address(project.organization)).content.decode()


def test_what_others_used_is_in_nobody_else_s(ada_client: Client, project: Project, cyd: User) -> None:
    add_usage(Project.objects.get(organization__memberships__user=cyd), MARCH.start, cost_nano=10**9)
    assert months_of(project.organization) == []
    assert rows_of(ada_client.get(address(project.organization, "file"))) == []


def test_the_usage_page_leads_there_for_those_who_may(ada_client: Client, ben_client: Client, project: Project) -> None:
    link = address(project.organization, "list")
    assert link in ada_client.get(reverse("usage:overview")).content.decode()
    assert link not in ben_client.get(reverse("usage:overview")).content.decode()
