"""Credits as staff grant them, and as those who see all usage of an organization see them."""

import csv
import io
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Project, User
from common.money import NANO
from notifications.models import Notification
from tests.usage.ledger import add_call, add_usage
from usage.credits.services import grant_credits, revoke_grant
from usage.models import CreditDraw, CreditGrant, CreditRevocation

pytestmark = pytest.mark.django_db

ADD = reverse("admin:usage_creditgrant_add")


def page_of(client: Client, project: Project) -> str:
    response = client.get(reverse("credits:overview", args=[project.organization.public_id]))
    assert response.status_code == 200
    return str(response.content.decode())


def grant(project: Project, by: User, dollars: int = 100, **fields: Any) -> CreditGrant:
    options = {"reason": "Welcome", "expires_at": None, **fields}
    return grant_credits(organization=project.organization, amount_nano=dollars * NANO, by=by, **options)


def draw(of: CreditGrant, dollars: int) -> None:
    day = timezone.now().date()
    CreditDraw.objects.create(grant_id=of.public_id, organization_id=of.organization_id, day=day, nano=dollars * NANO)


def test_it_works(sam_client: Client, ada_client: Client, project: Project, ada: User) -> None:
    """Staff grant, the owner is told and sees it."""
    asked = {"organization_id": project.organization.public_id, "amount_nano": "12.5", "reason": "For the hackathon"}
    response = sam_client.post(ADD, {**asked, "expires_at": ""})
    assert response.status_code == 302, response.content
    granted = CreditGrant.objects.get()
    assert (granted.amount_nano, granted.expires_at) == (12_500_000_000, None)
    draw(granted, 2)
    page = page_of(ada_client, project)
    assert "For the hackathon" in page
    assert "$10.50" in page
    assert Notification.objects.get(recipient=ada).kind == "usage.credits_granted"


@pytest.mark.parametrize(
    "wrong",
    [
        {"organization_id": "org_nobody"},
        {"amount_nano": "0"},
        {"amount_nano": "-3"},
        {"amount_nano": "9000001"},
        {"reason": ""},
        {"expires_at": "2020-01-01"},
        {"expires_at": "2020-01-01", "organization_id": "org_nobody"},
        {"expires_at": "9999-12-31"},
        {"expires_at": "soon"},
    ],
)
def test_what_staff_cannot_grant(sam_client: Client, project: Project, wrong: dict[str, str]) -> None:
    asked = {"organization_id": project.organization.public_id, "amount_nano": "5", "reason": "Welcome"}
    assert sam_client.post(ADD, {**asked, **wrong}).status_code == 200
    assert not CreditGrant.objects.exists()


def test_a_grant_goes_on_through_its_last_day_where_the_organization_is(sam_client: Client, project: Project) -> None:
    """Whatever the clock of whoever grants it, or of whoever looks at it."""
    zone = ZoneInfo("Asia/Shanghai")
    type(project.organization).objects.filter(pk=project.organization.pk).update(time_zone=str(zone))
    sam_client.cookies["tz"] = "America/Los_Angeles"
    assert "in the time zone of the organization" in sam_client.get(ADD).content.decode()
    today = timezone.now().astimezone(zone).date()
    asked = {"organization_id": project.organization.public_id, "amount_nano": "5", "reason": "Today"}
    assert sam_client.post(ADD, {**asked, "expires_at": f"{today:%Y-%m-%d}"}).status_code == 302
    granted = CreditGrant.objects.get()
    assert granted.expires_at == datetime.combine(today + timedelta(days=1), time.min, zone)
    listed = sam_client.get(reverse("admin:usage_creditgrant_changelist")).content.decode()
    assert f"{today:%Y-%m-%d} (Asia/Shanghai)" in listed


def test_what_staff_granted_they_take_back_once(
    sam_client: Client, ada_client: Client, project: Project, sam: User
) -> None:
    granted = grant(project, sam)
    add = reverse("admin:usage_creditrevocation_add")
    for status in (302, 200):
        assert sam_client.post(add, {"grant": granted.pk, "reason": "Mistaken"}).status_code == status
    assert CreditRevocation.objects.get().grant == granted
    page = page_of(ada_client, project)
    assert "Taken back" in page


def test_staff_read_whose_grant_they_take_back(sam_client: Client, project: Project, sam: User) -> None:
    granted, used_up = grant(project, sam, 7), grant(project, sam, 5, reason="Used up")
    draw(granted, 2)
    draw(used_up, 5)
    revoke_grant(grant=grant(project, sam, reason="Gone"), reason="Mistaken", by=sam)
    listed = sam_client.get(reverse("admin:usage_creditgrant_changelist")).content.decode()
    assert f"{project.organization.name} {project.organization.public_id}" in listed
    leads = reverse("admin:usage_creditrevocation_add") + f"?grant={granted.pk}"
    assert listed.count("?grant=") == 1
    assert f'href="{leads}"' in listed
    form = sam_client.get(leads).content.decode()
    named = f"{project.organization.name}: $5.00 left of $7.00, “Welcome” ({granted.public_id})"
    assert f'<option value="{granted.pk}" selected>{named}</option>' in form
    assert used_up.public_id not in form
    assert "Gone" not in form


def test_staff_read_a_grant_in_dollars(sam_client: Client, project: Project, sam: User) -> None:
    granted = grant(project, sam, 7)
    draw(granted, 2)
    shown = sam_client.get(reverse("admin:usage_creditgrant_change", args=[granted.pk])).content.decode()
    for words in ("$7.00", "$2.00", "$5.00", project.organization.name, "Welcome", f"?grant={granted.pk}"):
        assert words in shown
    assert "7000000000" not in shown


def test_each_grant_says_how_it_stands(ada_client: Client, project: Project, sam: User) -> None:
    draw(grant(project, sam, 7), 7)
    revoke_grant(grant=grant(project, sam), reason="Mistaken", by=sam)
    over = CreditGrant.objects.create(
        organization_id=project.organization.public_id, amount_nano=NANO + 1, at_hand_nano=NANO, reason="Last year",
        granted_by="x", expires_at=timezone.now() - timedelta(days=1),
    )  # fmt: skip
    draw(over, 0)
    page = page_of(ada_client, project)
    assert all(state in page for state in ("Used up", "Taken back", "Expired"))
    assert ">$1.000000001<" in page


def test_without_credits_the_page_says_what_they_are(ada_client: Client, project: Project) -> None:
    assert "No credits yet" in page_of(ada_client, project)


def test_what_others_were_granted_is_in_nobody_else_s(
    ada_client: Client, project: Project, cyd: User, sam: User
) -> None:
    grant(Project.objects.get(organization__memberships__user=cyd), sam)
    assert "No credits yet" in page_of(ada_client, project)


def test_the_page_makes_as_many_queries_for_any_number_of_grants(
    ada_client: Client, project: Project, sam: User, django_assert_max_num_queries: Any
) -> None:
    for _number in range(5):
        grant(project, sam)
    with django_assert_max_num_queries(13):
        page_of(ada_client, project)


def test_the_api_tells_the_balance(ada_client: Client, project: Project, sam: User) -> None:
    first, second = grant(project, sam, 5, expires_at=timezone.now() + timedelta(days=1)), grant(project, sam, 10)
    draw(first, 2)
    used_up = grant(project, sam, 1, expires_at=timezone.now() + timedelta(hours=1))
    draw(used_up, 1)
    told = ada_client.get(reverse("api-organization-credits", args=[project.organization.public_id])).json()
    assert told["left_nano_usd"] == 13 * NANO
    assert [one["id"] for one in told["grants"]] == [first.public_id, second.public_id, used_up.public_id]
    assert told["grants"][0]["used_nano_usd"] == 2 * NANO
    assert told["grants"][1]["expires_at"] is None


def test_the_statement_tells_what_credits_paid(ada_client: Client, project: Project) -> None:
    month = f"{timezone.now():%Y-%m}"
    organization = project.organization.public_id
    add_usage(project, timezone.now(), cost_nano=5 * NANO)
    address = reverse("statements:month", args=[organization, month])
    assert "Paid by credits" not in ada_client.get(address).content.decode()
    add_usage(project, timezone.now(), model="large", cost_nano=5 * NANO, credit_nano=3 * NANO)
    page = ada_client.get(address).content.decode()
    assert all(figure in page for figure in ("Paid by credits", "$10.00", "$3.00", "$7.00"))
    file = ada_client.get(reverse("statements:file", args=[organization, month])).content.decode("utf-8-sig")
    lines = {
        row["model"]: (row["cost_usd"], row["credits_usd"], row["due_usd"]) for row in csv.DictReader(io.StringIO(file))
    }
    assert lines == {"small": ("5", "0", "5"), "large": ("5", "3", "2")}


def test_a_call_tells_what_credits_paid_of_it(ada_client: Client, project: Project) -> None:
    call = add_call(project, timezone.now(), cost_nano=5000, credit_nano=3000)
    page = ada_client.get(reverse("usage:call", args=[call.request_id])).content.decode()
    assert "Credits paid $0.000003 of it." in page
