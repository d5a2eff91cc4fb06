"""The operators' pages: what they tell of all organizations, to whom, and without Redis."""

import csv
import io
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization, Project, User
from catalog.models import Backend, Deployment, HostedModel
from common import redis
from common.ids import uuid7
from common.spreadsheets import MARK
from portal.operations import disk
from portal.operations.disk import Growth, Month
from portal.operations.views import TABLES
from portal.tasks import note_sizes
from tests import services
from tests.usage.test_ingest import event
from usage import installation
from usage.events import DEAD_LETTERS, STREAM
from usage.ingest import insert_all
from usage.installation import Span
from usage.models import ROLLUPS, SizeOnDay

pytestmark = pytest.mark.django_db

OVERVIEW, NOW = "/operations/", "/operations/now/"


def calls(project: Project, count: int = 1, *, at: datetime | None = None, **told: Any) -> None:
    """Write calls of a project into the ledger and its sums, as they come from the stream."""
    moment = int((at or timezone.now()).timestamp() * 1000)
    who = {"organization_id": project.organization.public_id, "project_id": project.public_id}
    insert_all([event(id=uuid7(milliseconds=moment).hex, **{**who, "backend": "gpu-1", **told}) for _ in range(count)])


@pytest.fixture
def other(cyd: User) -> Project:
    return Project.objects.for_member(cyd)[0]


@pytest.fixture
def used(project: Project, other: Project) -> None:
    """Calls of two organizations: of one three and a refusal, of the other one that a second server answered."""
    calls(project, 3, model="small", prompt_tokens=100, completion_tokens=10, cost_nano=5_000)
    refused: dict[str, Any] = {
        "status": 429,
        "error_code": "rate_limit_exceeded",
        "backend": "",
        "prompt_tokens": 0,
        "cost_nano": 0,
    }
    calls(project, model="small", **refused)
    calls(other, model="large", backend="gpu-2", failovers=1, retries=2)


def test_it_works(sam_client: Client, used: None, project: Project, other: Project) -> None:
    for span in Span:
        page = sam_client.get(OVERVIEW, {"span": span.value})
        organizations = [(row.id, row.sums.requests, row.sums.errors) for row in page.context["organizations"]]
        assert organizations == [(project.organization.public_id, 4, 1), (other.organization.public_id, 1, 0)]
        assert [(row.id, row.sums.requests) for row, _color in page.context["models"]] == [("small", 4), ("large", 1)]
        servers = [(one.backend, one.model, one.sums.requests, one.taken_over, one.repeated)
                   for one in page.context["servers"]]  # fmt: skip
        assert servers == [("gpu-1", "small", 3, 0, 0), ("", "", 1, 0, 0), ("gpu-2", "large", 1, 1, 1)]
        assert page.context["overview"].totals.latency is not None
        body = page.content.decode()
        assert f"/operations/organizations/{other.organization.public_id}/?span={span.value}" in body
        assert "/docs/errors-and-retries/#rate_limit_exceeded" in body
        assert "/admin/usage/usageevent/?status__exact=429&amp;error_code__exact=rate_limit_exceeded" in body
        # What can be taken along has somewhere to lead: charts have no files here.
        assert re.findall(r"<(\w+)[^>]* download", body) == ["a"] * len(TABLES)


def test_a_table_that_stops_says_so_and_leads_to_all(sam_client: Client, project: Project) -> None:
    assert "All of them are in the CSV file" not in sam_client.get(OVERVIEW).content.decode()
    for number in range(51):
        calls(project, model=f"m{number}", backend=f"gpu-{number}")
    page = sam_client.get(OVERVIEW).content.decode()
    # The models, and where they run.
    assert page.count("The first 50 of 51. All of them are in the CSV file.") == 2
    assert sam_client.get("/operations/models.csv").content.decode().count("\nm") == 51


def test_so_does_the_list_of_what_runs(sam_client: Client) -> None:
    backend = Backend.objects.create(name="gpu-1", base_url="http://127.0.0.1:9/v1")
    for number in range(51):
        model = HostedModel.objects.create(public_name=f"m{number}")
        Deployment.objects.create(hosted_model=model, backend=backend, backend_name=f"m{number}")
    page = sam_client.get(NOW).content.decode()
    assert "The busiest 50 of 51." in page
    assert 'href="/backends/">All backends</a>' in page


def test_an_error_leads_to_its_calls(sam_client: Client, used: None) -> None:
    ((failure, *_rest, address),) = sam_client.get(OVERVIEW).context["failures"]
    assert (failure.status, failure.calls) == (429, 1)
    found = sam_client.get(address)
    assert found.status_code == 200
    assert found.context["cl"].result_count == 1


def test_a_client_that_hung_up_is_no_error(sam_client: Client, project: Project) -> None:
    calls(project, status=499, error_code="client_closed")
    page = sam_client.get(OVERVIEW)
    assert page.context["overview"].totals.requests == 1
    assert page.context["failures"] == []
    assert "No call failed in this period" in page.content.decode()
    calls(project, status=502, error_code="server_failed")
    assert [failure.status for failure, *_rest in sam_client.get(OVERVIEW).context["failures"]] == [502]


def test_where_nothing_failed_no_failures_are_looked_for(
    project: Project, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """The first call to fail may come in between, and would be a share of nothing."""
    calls(project)
    time = installation.time_of(Span.DAY, now=timezone.now())
    with django_assert_num_queries(2):
        assert installation.overview(time).failures == ()
    with django_assert_num_queries(2):
        assert installation.of_organization(project.organization, time).failures == ()


def test_an_organization_is_told_by_project_and_model(sam_client: Client, used: None, project: Project) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    calls(second, 9, model="large")
    page = sam_client.get(f"/operations/organizations/{project.organization.public_id}/")
    found = page.context["found"]
    assert [(row.name.label, row.sums.requests) for row in found.projects] == [("Second", 9), (project.display_name, 4)]
    assert [(row.id, row.sums.requests) for row in found.models] == [("large", 9), ("small", 4)]
    assert [failure.code for failure in found.failures] == ["rate_limit_exceeded"]
    assert sam_client.get("/operations/organizations/org_nobody/").status_code == 404


def test_each_span_has_its_own_calls(project: Project) -> None:
    now = datetime(2026, 3, 31, 10, 20, tzinfo=UTC)
    for hours in (0, 2, 30, 24 * 10, 24 * 40):
        calls(project, at=now - timedelta(hours=hours, minutes=1))
    counted = [installation.overview(installation.time_of(span, now=now)).totals.requests for span in Span]
    assert counted == [1, 2, 3, 4]
    times = [installation.time_of(span, now=now) for span in Span]
    assert [installation.organizations(time).totals.requests for time in times] == counted
    assert [f"{time.start:%m-%d %H:%M}" for time in times] == [
        "03-31 09:00",
        "03-30 11:00",
        "03-25 00:00",
        "03-02 00:00",
    ]


def test_who_is_gone_is_still_counted(sam_client: Client, used: None, other: Project) -> None:
    Organization.objects.filter(pk=other.organization.pk).delete()
    body = sam_client.get(OVERVIEW).content.decode()
    assert "Deleted organization" in body
    assert f"/operations/organizations/{other.organization.public_id}/" not in body


def test_a_new_portal_is_told_what_comes_first(sam_client: Client) -> None:
    body = sam_client.get(OVERVIEW).content.decode()
    assert "Nothing was called in this period" in body
    assert "Connect a backend" in body


@pytest.mark.parametrize("path", [OVERVIEW, NOW, "/operations/models.csv"])
def test_it_is_for_staff(client: Client, ada_client: Client, ben_client: Client, path: str) -> None:
    assert client.get(path).headers["Location"] == f"/accounts/login/?next={path}"
    assert [one.get(path).status_code for one in (ada_client, ben_client)] == [404, 404]
    assert "/operations/" not in ada_client.get("/usage/").content.decode()


def test_an_organization_s_owner_sees_only_their_own_pages(ada_client: Client, project: Project) -> None:
    assert ada_client.get(f"/operations/organizations/{project.organization.public_id}/").status_code == 404


@pytest.mark.parametrize(
    ("table", "first", "cells"),
    [
        ("organizations", "organization_id", {"requests": "4", "errors": "1", "cost_usd": "0.000015"}),
        ("models", "model", {"model": "small", "input_tokens": "300"}),
        ("servers", "backend", {"backend": "gpu-1", "taken_over": "0", "repeated": "0"}),
        ("failures", "status", {"status": "429", "error_code": "rate_limit_exceeded", "calls": "1"}),
    ],
)
def test_tables_can_be_taken_along(
    sam_client: Client, used: None, table: str, first: str, cells: dict[str, str]
) -> None:
    file = sam_client.get(f"/operations/{table}.csv").content.decode()
    assert file.startswith(MARK)
    lines = list(csv.DictReader(io.StringIO(file.removeprefix(MARK))))
    assert first in lines[0]
    assert cells.items() <= lines[0].items()


def test_no_cell_is_a_formula_and_no_other_table_is_there(sam_client: Client, project: Project) -> None:
    calls(project, model="=HYPERLINK(1)", backend="=1+1")
    for table in ("models", "servers"):
        assert "\n=" not in sam_client.get(f"/operations/{table}.csv").content.decode()
    assert sam_client.get("/operations/keys.csv").status_code == 404


@pytest.fixture
def own_redis(settings: LazySettings) -> Iterator[services.Running]:
    with services.durable_redis_to_kill(settings) as server:
        yield server


def test_what_waits_is_told(sam_client: Client, own_redis: services.Running) -> None:
    client = redis.durable()
    client.xadd(STREAM, {"e": "[]"}, id=f"{int((time.time() - 600) * 1000)}-0")
    client.rpush(DEAD_LETTERS, "{}")
    client.rpush("ly:celery:usage", "{}", "{}")
    now = sam_client.get(NOW).context["now"]
    assert (now.waiting.events, now.waiting.dead_letters) == (1, 1)
    assert 599 < now.waiting.age_seconds < 700
    assert {queue.name: queue.messages for queue in now.queues}["usage"] == 2
    assert all(queue.wrong for queue in now.queues), "there are no workers"
    postgres, durable, volatile = now.stores
    assert postgres.most_connections > postgres.connections > 0 < postgres.size_bytes
    assert min(durable.size_bytes, volatile.size_bytes, durable.connections, volatile.connections) > 0
    assert not any(store.wrong for store in now.stores)


def test_a_drained_backend_and_one_that_fails_say_so(sam_client: Client) -> None:
    model = HostedModel.objects.create(public_name="small")
    for name, told in (
        ("gone", {"is_healthy": False}),
        ("drained", {"is_enabled": False}),
        ("well", {"is_healthy": True}),
    ):
        backend = Backend.objects.create(name=name, base_url="http://127.0.0.1:9/v1", **told)
        Deployment.objects.create(hosted_model=model, backend=backend, backend_name="small")
    body = sam_client.get(NOW).content.decode()
    for words in ("Not working", "Out of service", "Working", "No bound"):
        assert words in body


def test_it_works_without_redis(sam_client: Client, used: None, own_redis: services.Running) -> None:
    own_redis.kill()
    try:
        page = sam_client.get(OVERVIEW)
    finally:
        own_redis.start()
    assert page.status_code == 200
    body = page.content.decode()
    assert "Redis does not answer" in body
    now = page.context["now"]
    assert now.calls is now.waiting is now.processes is None
    assert page.context["overview"].totals.requests == 5


def test_a_frozen_redis_holds_it_up_for_moments(sam_client: Client, own_redis: services.Running) -> None:
    own_redis.process.send_signal(19)
    started = time.monotonic()
    try:
        page = sam_client.get(NOW)
    finally:
        own_redis.process.send_signal(18)
    assert page.status_code == 200
    assert "Redis does not answer" in page.content.decode()
    assert time.monotonic() - started < 4


def test_what_is_kept_is_told_by_month(sam_client: Client, project: Project) -> None:
    calls(project, 5)
    found = sam_client.get(OVERVIEW).context["disk"]
    this = found.months[0]
    assert (this.first_day, this.calls, this.per_million) == (timezone.now().date().replace(day=1), 5, None)
    assert Month(None, 2_000_000, 840_000_000).per_million == 420_000_000
    assert len(found.sums) == len(ROLLUPS)
    assert found.database_bytes == found.ledger_bytes + found.sums_bytes + found.rest_bytes
    assert min(this.size_bytes, found.ledger_bytes, found.sums_bytes, found.rest_bytes, found.free_bytes) > 0
    assert found.growth is found.full_at is None
    assert "Known after 7 days" in sam_client.get(OVERVIEW).content.decode()


@pytest.mark.parametrize(("then", "words"), [(0.0, "Full at this pace"), (2.0, "It does not grow")])
def test_the_pace_is_that_of_the_last_days(sam_client: Client, then: float, words: str) -> None:
    note_sizes()
    note_sizes()
    today = SizeOnDay.objects.get()
    for days in (10, 40):
        size = int(today.database_bytes * then)
        SizeOnDay.objects.create(day=today.day - timedelta(days=days), database_bytes=size, files_bytes=0)
    page = sam_client.get(OVERVIEW)
    found = page.context["disk"]
    assert found.growth.days == 10
    assert found.growth.bytes_a_day == pytest.approx((found.database_bytes - size) / 10)
    assert (found.days_left is None) == (
        found.growth.bytes_a_day < 0 or found.free_bytes > 3650 * found.growth.bytes_a_day
    )
    assert words in page.content.decode()


def test_it_is_told_when_the_disk_is_full() -> None:
    growth = Growth(30, 1_000_000.0)
    assert growth.days_until(90_000_000) == 90
    assert growth.days_until(10**12) is None, "in ten years anything may have happened"
    assert Growth(30, 0.0).days_until(1) is Growth(30, -5.0).days_until(1) is None


def test_a_database_elsewhere_has_no_disk_that_is_seen(sam_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "db.example.com")
    found = disk.measure()
    assert (found.free_bytes, found.total_bytes, found.full_at) == (None, None, None)
    assert found.database_bytes > 0
