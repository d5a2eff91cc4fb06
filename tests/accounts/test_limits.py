"""Who sets what an organization, a project and a member may use, and what comes of it."""

import re

import pytest
from django.test import Client

from accounts.limits.services import change_project_limits
from accounts.models import AuditEvent, Membership, Project, User
from accounts.projects.services import set_place
from accounts.roles import ProjectRole
from accounts.signals import limits_changed
from catalog.models import HostedModel
from common.limits import LIMITS, Limited
from common.money import exact_dollars
from tests.conftest import client_of

pytestmark = pytest.mark.django_db
# What the inlines of the admin's forms say when nothing was touched there.
NO_PLACES = {
    f"{inline}-{count}_FORMS": "0"
    for inline in ("memberships", "aliases", "deployments")
    for count in ("TOTAL", "INITIAL")
}


@pytest.fixture
def places(project: Project, ada: User, ben: User) -> dict[str, str]:
    """The pages on which limits of Ada's organization, her project and Ben are set."""
    organization = f"/organizations/{project.organization.public_id}"
    return {
        "organization": f"{organization}/limits/",
        "project": f"/projects/{project.public_id}/limits/",
        "member": f"{organization}/members/{ben.public_id}/limits/",
    }


def row_of(kind: str, project: Project, ben: User) -> Limited:
    rows: dict[str, Limited] = {
        "organization": project.organization,
        "project": project,
        "member": Membership.objects.get(organization=project.organization, user=ben),
    }
    rows[kind].refresh_from_db()
    return rows[kind]


def limited(kind: str, project: Project, ben: User) -> dict[str, int | None]:
    row = row_of(kind, project, ben)
    return {name: value for name in LIMITS if (value := getattr(row, name)) is not None}


@pytest.mark.parametrize("kind", ["organization", "project", "member"])
def test_it_works(kind: str, places: dict[str, str], project: Project, ben: User, ada_client: Client) -> None:
    answers = {"daily_budget_nano": "2.50", "tokens_per_day": "3000000000", "time_zone": "Asia/Shanghai"}
    assert ada_client.post(places[kind], answers).status_code == 302
    assert limited(kind, project, ben) == {"daily_budget_nano": 2_500_000_000, "tokens_per_day": 3_000_000_000}
    event = AuditEvent.objects.get(action=f"{kind}.limits_changed")
    assert event.before["daily_budget_nano"] is None
    assert event.after["daily_budget_nano"] == 2_500_000_000
    shown = ada_client.get(places[kind]).content.decode()
    assert 'value="2.5"' in shown
    assert 'value="3000000000"' in shown


@pytest.mark.parametrize(
    ("typed", "nano"), [("0.000000001", 1), ("12.345678901", 12_345_678_901), ("1000", 1_000_000_000_000)]
)
def test_a_budget_is_shown_as_it_was_set(
    typed: str, nano: int, places: dict[str, str], project: Project, ada_client: Client
) -> None:
    """To its last digit, so that the page saved again changes nothing."""
    place = places["project"]
    assert ada_client.post(place, {"daily_budget_nano": typed}).status_code == 302
    fields = ada_client.get(place).context["form"]
    assert fields["daily_budget_nano"].value() == typed
    assert ada_client.post(place, {field.name: field.value() or "" for field in fields}).status_code == 302
    assert AuditEvent.objects.filter(action="project.limits_changed").count() == 1
    project.refresh_from_db()
    assert project.daily_budget_nano == nano
    assert exact_dollars(nano) in ada_client.get(f"/projects/{project.public_id}/").content.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [("requests_per_day", "0"), ("daily_budget_nano", "-1"), ("tokens_per_day", "1e30"), ("time_zone", "Mars/Olympus")],
)
def test_what_is_no_limit_is_refused(name: str, value: str, places: dict[str, str], ada_client: Client) -> None:
    response = ada_client.post(places["organization"], {"time_zone": "UTC", name: value})
    assert response.status_code == 400
    assert not AuditEvent.objects.filter(action="organization.limits_changed").exists()


def test_a_project_s_own_admin_does_not_lift_what_the_organization_set(
    places: dict[str, str], project: Project, ada: User, ben: User
) -> None:
    change_project_limits(project=project, changes={"requests_per_day": 5}, by=ada)
    place = Membership.objects.get(organization=project.organization, user=ben)
    set_place(project=project, membership=place, role=ProjectRole.ADMIN, by=ada)
    client = client_of(ben)
    assert client.post(places["project"], {}).status_code == 403
    assert (
        client.patch(
            f"/api/projects/{project.public_id}/limits/", {"requests_per_day": None}, content_type="application/json"
        ).status_code
        == 403
    )
    page = client.get(f"/projects/{project.public_id}/").content.decode()
    assert "Set limits and budgets" not in page
    assert places["project"] not in page
    project.refresh_from_db()
    assert project.requests_per_day == 5


def test_the_limits_of_a_project_are_one_of_its_tabs(
    places: dict[str, str], project: Project, ada_client: Client
) -> None:
    for tab in ("", "members/", "service-accounts/", "limits/"):
        page = ada_client.get(f"/projects/{project.public_id}/{tab}").content.decode()
        [link] = re.findall(rf'<a href="{places["project"]}"[^>]*>', page)[:1]
        assert ('aria-current="page"' in link) == (tab == "limits/")


def test_two_who_edit_at_once_do_not_overwrite_each_other(
    places: dict[str, str], project: Project, ada: User, ada_client: Client
) -> None:
    shown = ada_client.get(places["project"]).context["form"]["shown"].value()
    change_project_limits(project=project, changes={"requests_per_day": 5}, by=ada)
    answers = {"shown": shown, "requests_per_day": "7"}
    response = ada_client.post(places["project"], answers)
    assert response.status_code == 400
    assert "somebody changed this to: 5" in response.content.decode()
    project.refresh_from_db()
    assert project.requests_per_day == 5


def test_what_is_left_alone_stays(places: dict[str, str], project: Project, ada: User, ada_client: Client) -> None:
    shown = ada_client.get(places["project"]).context["form"]["shown"].value()
    change_project_limits(project=project, changes={"requests_per_day": 5}, by=ada)
    assert ada_client.post(places["project"], {"shown": shown, "tokens_per_minute": "9"}).status_code == 302
    project.refresh_from_db()
    assert (project.requests_per_day, project.tokens_per_minute) == (5, 9)


@pytest.mark.parametrize("kind", ["organization", "project", "member"])
def test_programs_set_the_same(kind: str, project: Project, ben: User, ada_client: Client) -> None:
    organization = f"/api/organizations/{project.organization.public_id}"
    address = {
        "organization": f"{organization}/limits/",
        "project": f"/api/projects/{project.public_id}/limits/",
        "member": f"{organization}/members/{ben.public_id}/limits/",
    }[kind]
    for change in ({"requests_per_day": 5, "weekly_budget_nano": 7}, {"requests_per_day": None}):
        answer = ada_client.patch(address, change, content_type="application/json")
        assert answer.status_code == 200
    assert limited(kind, project, ben) == {"weekly_budget_nano": 7}
    said = ada_client.get(address).json()
    assert {name: said[name] for name in ("requests_per_day", "weekly_budget_nano")} == {
        "requests_per_day": None,
        "weekly_budget_nano": 7,
    }
    wrong = {"requests_per_day": -1, "time_zone": "Mars"} if kind == "organization" else {"requests_per_day": -1}
    refused = ada_client.patch(address, wrong, content_type="application/json")
    assert refused.status_code == 400


@pytest.mark.parametrize("kind", ["organization", "project", "member"])
def test_who_sets_budgets_says_when_people_are_told(
    kind: str, places: dict[str, str], project: Project, ben: User, ada_client: Client
) -> None:
    assert 'value="80, 100"' in ada_client.get(places[kind]).content.decode()
    answers = {"daily_budget_nano": "2.50", "alert_percents": "90%, ５０％，90", "time_zone": "UTC"}
    assert ada_client.post(places[kind], answers).status_code == 302
    assert row_of(kind, project, ben).alert_percents == [50, 90]
    assert AuditEvent.objects.get(action=f"{kind}.limits_changed").after["alert_percents"] == [50, 90]
    assert ada_client.post(places[kind], {**answers, "alert_percents": ""}).status_code == 302
    assert row_of(kind, project, ben).alert_percents == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("0", "“0” is no whole number from 1 to 100. Write percentages such as 50, 80, 100."),
        ("80, 101", "“101” is no whole number"),
        ("33.3", "“33.3” is no whole number"),
        ("-5", "“-5” is no whole number"),
        ("often", "“often” is no whole number"),
        ("1 2 3 4 5 6", "At most 5 percentages."),
    ],
)
def test_what_is_no_percentage_is_refused(
    value: str, fault: str, places: dict[str, str], project: Project, ada_client: Client
) -> None:
    response = ada_client.post(places["project"], {"daily_budget_nano": "1", "alert_percents": value})
    assert response.status_code == 400
    assert fault in response.content.decode()
    project.refresh_from_db()
    assert (project.daily_budget_nano, project.alert_percents) == (None, [80, 100])


def test_programs_say_when_people_are_told(project: Project, ada_client: Client) -> None:
    address = f"/api/projects/{project.public_id}/limits/"
    assert ada_client.get(address).json()["alert_percents"] == [80, 100]
    for percents in ([0], [101], [1, 2, 3, 4, 5, 6], ["x"], None):
        answer = ada_client.patch(address, {"alert_percents": percents}, content_type="application/json")
        assert answer.status_code == 400
    answer = ada_client.patch(address, {"alert_percents": [90, 50, 90]}, content_type="application/json")
    assert answer.json()["alert_percents"] == [50, 90]
    ada_client.patch(address, {"requests_per_day": 5}, content_type="application/json")
    project.refresh_from_db()
    assert (project.requests_per_day, project.alert_percents) == (5, [50, 90])


def test_staff_may_set_them_in_the_admin(project: Project, sam_client: Client) -> None:
    organization = project.organization
    address = f"/admin/accounts/organization/{organization.pk}/change/"
    assert 'value="80, 100"' in sam_client.get(address).content.decode()
    fields = {"name": "Acme", "time_zone": "UTC", "initial-alert_percents": "80, 100", **NO_PLACES}
    answer = sam_client.post(address, {**fields, "alert_percents": "x"})
    assert "is no whole number from 1 to 100" in answer.content.decode()
    assert sam_client.post(address, {**fields, "alert_percents": "100 50"}).status_code == 302
    organization.refresh_from_db()
    assert organization.alert_percents == [50, 100]


@pytest.mark.parametrize("kind", ["accounts.organization", "accounts.project", "catalog.hostedmodel"])
def test_what_staff_set_in_the_admin_is_felt_and_on_record(
    kind: str, project: Project, sam: User, sam_client: Client
) -> None:
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    rows: dict[str, Limited] = {
        "accounts.organization": project.organization,
        "accounts.project": project,
        "catalog.hostedmodel": HostedModel.objects.create(public_name="small"),
    }
    row = rows[kind]
    told: list[tuple[int, int | None]] = []

    def hear(*, limited: Limited, **_signal: object) -> None:
        told.append((limited.pk, limited.daily_budget_nano))

    fields = {"name": "Acme", "time_zone": "UTC", "alert_percents": "80, 100", "daily_budget_nano": "7", **NO_PLACES}
    limits_changed.connect(hear, sender=type(row))
    try:
        address = f"/admin/{kind.replace('.', '/')}/{row.pk}/change/"
        assert sam_client.post(address, fields).status_code == 302
    finally:
        limits_changed.disconnect(hear, sender=type(row))
    row.refresh_from_db()
    assert row.daily_budget_nano == 7
    assert told == [(row.pk, 7)]
    changed = AuditEvent.objects.get(action__endswith=".limits_changed")
    assert (changed.before, changed.after) == ({"daily_budget_nano": None}, {"daily_budget_nano": 7})
