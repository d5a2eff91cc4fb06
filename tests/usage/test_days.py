"""An organization changes its time zone, and limits that others set for it do not begin anew by that."""

from collections import defaultdict
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest
from django.test import Client
from django.utils import timezone

from accounts.errors import RefusedError
from accounts.limits.services import change_organization_limits
from accounts.models import Organization, Project, User
from accounts.plans.services import assign_plan, make_plan
from catalog.models import HostedModel
from common import redis as servers
from common.ids import uuid7
from common.zones import zone_names
from tests.usage.ledger import add_usage
from tests.usage.test_ingest import event
from usage.counters import base_of
from usage.days import SUMMED
from usage.periods import Period, periods_at

pytestmark = pytest.mark.django_db


def day_in(zone: str) -> Period:
    return periods_at(timezone.now(), zone).day


def date_in(zone: str) -> date:
    return timezone.now().astimezone(ZoneInfo(zone)).date()


@pytest.fixture
def zones() -> tuple[str, str]:
    """Of all at this moment, the one whose day began first of those that are a day behind, and the one whose day began
    last of those that are ahead, and not just now."""
    names = sorted(zone_names(), key=lambda name: (date_in(name), day_in(name).start))
    return names[0], [name for name in names if day_in(name).starts_at < timezone.now() - 2 * SUMMED][-1]


def same_day() -> tuple[str, str]:
    """Two zones that have the same date at this moment, in the first of which it began earlier."""
    starts: dict[date, dict[int, str]] = defaultdict(dict)
    for name in zone_names():
        starts[date_in(name)][day_in(name).start] = name
    names = max(starts.values(), key=len)
    return names[min(names)], names[max(names)]


@pytest.fixture
def organization(project: Project, zones: tuple[str, str]) -> Organization:
    """In the zone that is behind."""
    project.organization.time_zone = zones[0]
    project.organization.save()
    return project.organization


def hold_to_a_plan(organization: Organization, sam: User, **limits: int) -> None:
    assign_plan(organization=organization, plan=make_plan(changes={"name": "Free", **limits}, by=sam), by=sam)
    organization.refresh_from_db()


def test_it_works(
    organization: Organization, project: Project, zones: tuple[str, str], ada_client: Client, sam: User
) -> None:
    first, last = zones
    page, address = (f"{root}/organizations/{organization.public_id}/limits/" for root in ("", "/api"))
    hold_to_a_plan(organization, sam, requests_per_day=3)
    add_usage(project, day_in(last).starts_at - timedelta(hours=1), requests=3)
    answer = ada_client.post(page, {"time_zone": last})
    assert answer.status_code == 400
    assert "what was used before would not count" in answer.content.decode()
    answer = ada_client.patch(address, {"time_zone": last}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "begins_anew")
    organization.refresh_from_db()
    assert organization.time_zone == first


def test_in_a_day_that_began_earlier_what_was_used_counts(
    organization: Organization, project: Project, ada: User, sam: User
) -> None:
    earlier, later = same_day()
    Organization.objects.update(time_zone=later)
    hold_to_a_plan(organization, sam, requests_per_day=3)
    add_usage(project, timezone.now() - timedelta(minutes=1))
    change_organization_limits(organization=organization, changes={"time_zone": earlier}, by=ada)
    assert organization.time_zone == earlier


def test_a_day_does_not_begin_once_more_where_the_one_before_goes_on(
    organization: Organization, project: Project, zones: tuple[str, str], ada_client: Client, sam: User
) -> None:
    """What was used would count there until its day ends, which is soon, and then no more."""
    first, last = zones
    page, address = (f"{root}/organizations/{organization.public_id}/limits/" for root in ("", "/api"))
    hold_to_a_plan(organization, sam, requests_per_day=3)
    Organization.objects.update(time_zone=last)
    assert ada_client.post(page, {"time_zone": first}).status_code == 302
    Organization.objects.update(time_zone=last)
    add_usage(project, timezone.now() - timedelta(minutes=1), requests=3)
    answer = ada_client.post(page, {"time_zone": first})
    assert answer.status_code == 400
    assert "before is not over yet" in answer.content.decode()
    answer = ada_client.patch(address, {"time_zone": first}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "begins_anew")
    organization.refresh_from_db()
    assert organization.time_zone == last


def test_a_call_that_goes_on_was_used_as_well(
    organization: Organization, project: Project, zones: tuple[str, str], ada: User, sam: User
) -> None:
    began = day_in(zones[1]).starts_at - timedelta(seconds=1)
    call = event(
        id=uuid7(milliseconds=int(began.timestamp() * 1000)).hex,
        organization_id=organization.public_id,
        project_id=project.public_id,
    )
    hold_to_a_plan(organization, sam, requests_per_day=3)
    holds = f"{base_of(organization.public_id)}holds"
    servers.durable().hset(holds, call.id, f'0|0|0||{{"event":{orjson.dumps(call.encode().decode()).decode()}}}')
    with pytest.raises(RefusedError):
        change_organization_limits(organization=organization, changes={"time_zone": zones[1]}, by=ada)
    servers.durable().hdel(holds, call.id)
    change_organization_limits(organization=organization, changes={"time_zone": zones[1]}, by=ada)
    assert organization.time_zone == zones[1]


def test_who_is_held_by_nobody_changes_it_at_any_time(
    organization: Organization, project: Project, zones: tuple[str, str], ada: User, sam: User
) -> None:
    hold_to_a_plan(organization, sam, requests_per_minute=3)
    add_usage(project, day_in(zones[1]).starts_at - timedelta(hours=1))
    change_organization_limits(organization=organization, changes={"time_zone": zones[1]}, by=ada)
    assert organization.time_zone == zones[1]


def test_so_does_who_used_nothing_in_between(
    organization: Organization, project: Project, zones: tuple[str, str], ada: User, sam: User
) -> None:
    hold_to_a_plan(organization, sam, requests_per_day=3)
    add_usage(project, day_in(zones[1]).starts_at)
    change_organization_limits(organization=organization, changes={"time_zone": zones[1]}, by=ada)
    assert organization.time_zone == zones[1]


def test_the_limits_of_a_model_hold_as_well(
    organization: Organization, project: Project, zones: tuple[str, str], ada_client: Client
) -> None:
    HostedModel.objects.create(public_name="small", daily_budget_nano=5)
    page = f"/organizations/{organization.public_id}/limits/"
    add_usage(project, day_in(zones[1]).starts_at - timedelta(hours=1), model="large")
    assert ada_client.post(page, {"time_zone": zones[1]}).status_code == 302
    Organization.objects.update(time_zone=zones[0])
    add_usage(project, day_in(zones[1]).starts_at - timedelta(hours=1), model="small")
    assert ada_client.post(page, {"time_zone": zones[1]}).status_code == 400


def test_staff_change_it_all_the_same(
    organization: Organization, project: Project, zones: tuple[str, str], sam: User
) -> None:
    hold_to_a_plan(organization, sam, requests_per_day=3)
    add_usage(project, day_in(zones[1]).starts_at - timedelta(hours=1))
    change_organization_limits(organization=organization, changes={"time_zone": zones[1]}, by=sam)
    assert organization.time_zone == zones[1]
