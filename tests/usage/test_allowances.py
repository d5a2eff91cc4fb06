"""Participants of a cohort see what is left to them wherever they look, and those who run it see it of everybody."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.cohorts.services import create_cohort
from accounts.invitations.links import join
from accounts.models import Cohort, Membership, Project, ProjectMembership, User
from accounts.roles import ProjectRole, Role
from tests.conftest import person
from tests.usage.ledger import a_key, add_usage
from usage.allowances import Allowance
from usage.periods import periods_at

pytestmark = pytest.mark.django_db
CENT = 10_000_000


@pytest.fixture
def cohort(ada: User, cyd: User) -> Cohort:
    """Ada's course, in which Cyd takes part and has used a part of a budget of five dollars."""
    made = create_cohort(
        organization=ada.organizations.get(),
        name="Compilers 101",
        ends_at=timezone.now() + timedelta(days=90),
        most_joins=10,
        limits={"requests_per_minute": 20, "monthly_budget_nano": 500 * CENT},
        by=ada,
    )
    join(link=made.join_link, user=cyd)
    add_usage(made.project, timezone.now(), key=a_key(made.project, created_by=cyd), cost_nano=100 * CENT)
    add_usage(made.project, timezone.now(), user_id=cyd.public_id, cost_nano=20 * CENT)
    # Not hers, not of this month, not of this project.
    add_usage(made.project, timezone.now(), key=a_key(made.project, created_by=ada), cost_nano=900 * CENT)
    last_month = timezone.now().astimezone(UTC).replace(day=1, hour=0, minute=0) - timedelta(minutes=30)
    add_usage(made.project, last_month, user_id=cyd.public_id, cost_nano=900 * CENT)
    add_usage(
        cyd.organizations.get(is_personal=True, memberships__role=Role.OWNER).projects.get(),
        timezone.now(),
        user_id=cyd.public_id,
        cost_nano=900 * CENT,
    )
    return made


def pages(cohort: Cohort) -> list[str]:
    return ["/quickstart/", "/keys/", "/usage/", f"/projects/{cohort.project.public_id}/"]


def allowance(client: Client, project: Project) -> Any:
    return client.get("/api/usage/allowance/", {"project": project.public_id}).json()["allowance"]


def test_it_works(cohort: Cohort, cyd_client: Client) -> None:
    cyd_client.post(f"/projects/{cohort.project.public_id}/choose/")
    for address in pages(cohort):
        page = cyd_client.get(address).content.decode()
        for said in ("Your allowance", "$1.20 of $5.00 used this month", "$3.80 left", "Begins anew", "Your keys stop"):
            assert said in page, address


def test_over_the_api(cohort: Cohort, cyd_client: Client) -> None:
    said = allowance(cyd_client, cohort.project)
    assert (said["cohort"], said["name"], said["requests_per_minute"]) == (cohort.public_id, "Compilers 101", 20)
    assert (said["limit_nano_usd"], said["used_nano_usd"], said["left_nano_usd"]) == (
        500 * CENT, 120 * CENT, 380 * CENT,
    )  # fmt: skip
    assert datetime.fromisoformat(said["renews_at"]) == periods_at(timezone.now(), "UTC").month.ends_at
    assert datetime.fromisoformat(said["ends_at"]) == cohort.project.ends_at


def test_what_is_used_up_says_so_and_never_less_than_nothing(cohort: Cohort, cyd: User, cyd_client: Client) -> None:
    add_usage(cohort.project, timezone.now(), user_id=cyd.public_id, model="large", cost_nano=700 * CENT)
    assert allowance(cyd_client, cohort.project)["left_nano_usd"] == 0
    page = cyd_client.get(f"/projects/{cohort.project.public_id}/").content.decode()
    assert "Used up" in page
    assert "Models without a price still answer" in page


def test_without_a_budget_nothing_runs_out(cohort: Cohort, cyd_client: Client) -> None:
    Cohort.objects.update(monthly_budget_nano=None)
    assert allowance(cyd_client, cohort.project)["left_nano_usd"] is None
    assert "there is no limit" in cyd_client.get(f"/projects/{cohort.project.public_id}/").content.decode()


def test_nothing_is_left_of_what_has_ended(cohort: Cohort, cyd_client: Client) -> None:
    Project.objects.filter(cohort=cohort).update(ends_at=timezone.now() - timedelta(days=1))
    page = cyd_client.get(f"/projects/{cohort.project.public_id}/").content.decode()
    assert "Your keys stopped" in page
    assert "$3.80 left" not in page
    assert "Begins anew" not in page


def test_who_runs_it_is_bound_by_none_and_a_stranger_learns_nothing(
    cohort: Cohort, ada_client: Client, sam_client: Client
) -> None:
    ada_client.post(f"/projects/{cohort.project.public_id}/choose/")
    for address in pages(cohort):
        assert "Your allowance" not in ada_client.get(address).content.decode()
    assert allowance(ada_client, cohort.project) is None
    assert sam_client.get("/api/usage/allowance/", {"project": cohort.project.public_id}).status_code == 404


def test_a_budget_does_not_begin_anew_after_the_end(cohort: Cohort) -> None:
    renews_at = periods_at(timezone.now(), "UTC").month.ends_at
    for ends_at, is_renewed in ((renews_at, False), (renews_at + timedelta(seconds=1), True)):
        cohort.project.ends_at = ends_at
        assert Allowance(cohort, 0, renews_at).is_renewed is is_renewed


def test_the_roster_says_it_of_everybody(cohort: Cohort, ada: User, ada_client: Client, cyd_client: Client) -> None:
    membership = Membership.objects.get(organization=cohort.project.organization, user=ada)
    ProjectMembership.objects.create(project=cohort.project, membership=membership, role=ProjectRole.ADMIN)
    page = ada_client.get(f"/cohorts/{cohort.public_id}/").content.decode()
    assert "$1.20" in page
    assert "$3.80" in page
    assert "$9.00" not in page
    address = f"/api/cohorts/{cohort.public_id}/allowances/"
    rows = {row["name"]: row["allowance"] for row in ada_client.get(address).json()["data"]}
    assert rows["Cyd"]["left_nano_usd"] == 380 * CENT
    assert rows["Ada"] is None
    assert cyd_client.get(address).status_code == 403


def test_a_roster_costs_the_same_however_long_it_is(cohort: Cohort, ada_client: Client) -> None:
    addresses = [f"/cohorts/{cohort.public_id}/", f"/api/cohorts/{cohort.public_id}/allowances/"]

    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ada_client.get(address).status_code == 200
        return len(queries)

    few = [count(address) for address in addresses]
    for number in range(5):
        join(link=cohort.join_link, user=person(f"Pia{number}"))
    assert [count(address) for address in addresses] == few
