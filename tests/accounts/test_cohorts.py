"""Cohorts: making, joining, what each may use, the roster, the end."""

import csv
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.access import rights_in
from accounts.cohorts.services import change_cohort, create_cohort
from accounts.errors import RefusedError
from accounts.invitations.links import join
from accounts.models import AuditEvent, Cohort, JoinState, Membership, Organization, Project, ProjectMembership, User
from accounts.projects.services import set_place
from accounts.roles import IN_PROJECT, ProjectRole, Right, Rights, Role
from accounts.signals import project_changed
from common.spreadsheets import MARK


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def cohort(ada: User, organization: Organization) -> Cohort:
    return create_cohort(
        organization=organization,
        name="Compilers 101",
        ends_at=timezone.now() + timedelta(days=30),
        most_joins=3,
        limits={"requests_per_minute": 20},
        by=ada,
    )


FORM = {"name": "Compilers 101", "ends_at": "2050-01-01", "most_joins": "30"}


def test_it_works(ada_client: Client, ada: User, cyd: User, cyd_client: Client, organization: Organization) -> None:
    made = ada_client.post(
        f"/organizations/{organization.public_id}/cohorts/new/",
        {**FORM, "monthly_budget_nano": "2.50", "requests_per_minute": "20", "alert_percents": "50"},
    )
    cohort = Cohort.objects.get()
    assert made.headers["Location"] == f"/cohorts/{cohort.public_id}/"
    assert (cohort.monthly_budget_nano, cohort.requests_per_minute, cohort.alert_percents) == (2_500_000_000, 20, [50])
    assert not cohort.project.is_open
    address = f"/join/{cohort.join_link.token}/"
    assert address in ada_client.get(f"/cohorts/{cohort.public_id}/").content.decode()

    assert "Compilers 101" in cyd_client.get(address).content.decode()
    assert cyd_client.post(address).headers["Location"] == "/quickstart/"
    assert Membership.objects.get(organization=organization, user=cyd).role == Role.GUEST
    assert rights_in(cyd, cohort.project) == IN_PROJECT[ProjectRole.PARTICIPANT]
    # One works in it from here on, and sees nothing else of the organization.
    assert cyd_client.get("/keys/").context["project"] == cohort.project
    assert cyd_client.get(f"/organizations/{organization.public_id}/members/").status_code == 403
    assert cyd_client.get(f"/projects/{organization.projects.get(name='First project').public_id}/").status_code == 404
    roster = ada_client.get(f"/cohorts/{cohort.public_id}/")
    assert "cyd@example.com" in roster.content.decode()
    actions = set(AuditEvent.objects.filter(organization_id=organization.public_id).values_list("action", flat=True))
    assert actions >= {"cohort.created", "project.created", "join_link.created", "member.joined"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\0b"},
        {"ends_at": ""},
        {"ends_at": "2020-01-01"},
        {"most_joins": "0"},
        {"monthly_budget_nano": "-1"},
        {"monthly_budget_nano": "1e30"},
        {"requests_per_minute": "0"},
        {"alert_percents": "0"},
    ],
)
def test_one_that_cannot_be(ada_client: Client, organization: Organization, wrong: dict[str, str]) -> None:
    address = f"/organizations/{organization.public_id}/cohorts/new/"
    assert ada_client.post(address, {**FORM, **wrong}).status_code == 400
    assert not Cohort.objects.exists()


def test_the_allowance_binds_participants_only(
    ada: User, ben: User, cyd: User, cohort: Cohort, project: Project
) -> None:
    join(link=cohort.join_link, user=cyd)
    bens = Membership.objects.get(user=ben, organization=project.organization)
    set_place(project=cohort.project, membership=bens, role=ProjectRole.ADMIN, by=ada)
    assert Cohort.objects.allowance_of(cyd, cohort.project) == cohort
    assert Cohort.objects.allowance_of(ben, cohort.project) is None
    assert Cohort.objects.allowance_of(ada, cohort.project) is None
    assert Cohort.objects.allowance_of(cyd, project) is None


def test_who_may_not_manage_people_has_no_way_in(
    ben_client: Client, cyd_client: Client, cyd: User, cohort: Cohort, organization: Organization
) -> None:
    pages = [f"/cohorts/{cohort.public_id}/{page}" for page in ("", "settings/", "roster.csv")]
    pages.append(f"/organizations/{organization.public_id}/cohorts/")
    assert [ben_client.get(page).status_code for page in pages] == [403] * 4
    assert [cyd_client.get(page).status_code for page in pages] == [404] * 4
    for act in ("close", "link"):
        assert ben_client.post(f"/cohorts/{cohort.public_id}/{act}/").status_code == 403
        assert cyd_client.post(f"/cohorts/{cohort.public_id}/{act}/").status_code == 404
    join(link=cohort.join_link, user=cyd)
    assert [cyd_client.get(page).status_code for page in pages] == [403] * 4


def test_it_is_changed(ada: User, ada_client: Client, cyd: User, cohort: Cohort) -> None:
    join(link=cohort.join_link, user=cyd)
    heard = []

    def hear(project: Project, **kwargs: object) -> None:
        heard.append(project)

    project_changed.connect(hear)
    address = f"/cohorts/{cohort.public_id}/settings/"
    assert 'value="20"' in ada_client.get(address).content.decode()
    answers = {**FORM, "name": "Compilers", "tokens_per_minute": "9000", "alert_percents": "90"}
    ada_client.post(address, answers)
    cohort = Cohort.objects.get()
    assert cohort.alert_percents == [90]
    assert (cohort.project.name, cohort.join_link.most_joins) == ("Compilers", 30)
    assert (cohort.requests_per_minute, cohort.tokens_per_minute) == (None, 9000)
    assert set(heard) == {cohort.project}
    event = AuditEvent.objects.get(action="cohort.changed")
    assert (event.before["most_joins"], event.after["most_joins"], event.after["tokens_per_minute"]) == (3, 30, 9000)
    with pytest.raises(RefusedError, match="1 people came"):
        change_cohort(cohort=cohort, name="a", ends_at=timezone.now(), most_joins=0, limits={}, by=ada)


def test_it_is_closed_and_opened_again(ada_client: Client, cyd_client: Client, cohort: Cohort) -> None:
    for _click in range(2):
        ada_client.post(f"/cohorts/{cohort.public_id}/close/")
    closed = Project.objects.get(pk=cohort.project_id)
    assert not closed.is_live
    address = f"/join/{cohort.join_link.token}/"
    assert cyd_client.get(address).status_code == 410
    assert "is over" in cyd_client.post(address, follow=True).content.decode()
    ada_client.post(f"/cohorts/{cohort.public_id}/settings/", FORM)
    assert cyd_client.get(address).status_code == 200


def test_saving_what_is_over_as_it_is_does_not_open_it_again(ada_client: Client, cohort: Cohort) -> None:
    ada_client.post(f"/cohorts/{cohort.public_id}/close/")
    form = ada_client.get(f"/cohorts/{cohort.public_id}/settings/").context["form"]
    sent = {"name": "Compilers 102", "ends_at": str(form["ends_at"].value()), "most_joins": "30"}
    assert ada_client.post(f"/cohorts/{cohort.public_id}/settings/", sent).status_code == 302
    project = Project.objects.get(pk=cohort.project_id)
    assert project.name == "Compilers 102"
    assert not project.is_live


def test_the_last_day_is_shown_and_not_the_day_after(ada_client: Client, cohort: Cohort) -> None:
    ada_client.post(f"/cohorts/{cohort.public_id}/settings/", FORM)
    for address in [f"/cohorts/{cohort.public_id}/", f"/projects/{cohort.project.public_id}/"]:
        page = ada_client.get(address).content.decode()
        assert "2050-01-01T23:59:59" in page
        assert "2050-01-02" not in page


def test_when_it_is_over_its_participants_make_no_keys(
    ada_client: Client, cyd: User, cyd_client: Client, cohort: Cohort
) -> None:
    join(link=cohort.join_link, user=cyd)
    cyd_client.post(f"/projects/{cohort.project.public_id}/choose/")
    assert cyd_client.get("/keys/new/").status_code == 200
    ada_client.post(f"/cohorts/{cohort.public_id}/close/")
    page = cyd_client.get("/keys/").content.decode()
    assert "This project has ended" in page
    assert "/keys/new/" not in page
    assert cyd_client.get("/keys/new/").status_code == 403


def test_its_link_is_switched_off_and_on(ada_client: Client, cyd_client: Client, cohort: Cohort) -> None:
    ada_client.post(f"/cohorts/{cohort.public_id}/link/", {"on": "no"})
    assert cyd_client.get(f"/join/{cohort.join_link.token}/").status_code == 410
    assert Cohort.objects.get().join_link.state == JoinState.OFF
    ada_client.post(f"/cohorts/{cohort.public_id}/link/", {"on": "yes"})
    assert cyd_client.get(f"/join/{cohort.join_link.token}/").status_code == 200


def test_the_roster_is_no_formula(ada_client: Client, cyd: User, cohort: Cohort) -> None:
    cyd.name = '=HYPERLINK("http://evil.example")'
    cyd.save()
    join(link=cohort.join_link, user=cyd)
    answer = ada_client.get(f"/cohorts/{cohort.public_id}/roster.csv")
    assert answer["Content-Type"].startswith("text/csv")
    assert 'filename="roster-compilers-101-' in answer["Content-Disposition"]
    header, row = csv.reader(answer.content.decode().removeprefix(MARK).splitlines())
    assert header == ["name", "email", "role", "joined_at", "id"]
    assert row[:3] == [f"'{cyd.name}", "cyd@example.com", "participant"]


def test_a_thousand_people_take_no_more_queries(
    ada_client: Client, cyd: User, cohort: Cohort, organization: Organization
) -> None:
    join(link=cohort.join_link, user=cyd)

    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ada_client.get(address).status_code == 200
        return len(queries)

    pages = [f"/cohorts/{cohort.public_id}/", f"/cohorts/{cohort.public_id}/roster.csv"]
    few = [count(page) for page in pages]
    people = User.objects.bulk_create(
        User(email=f"p{number}@example.com", name=f"P {number}") for number in range(1000)
    )
    members = Membership.objects.bulk_create(
        Membership(organization=organization, user=person, role=Role.GUEST) for person in people
    )
    ProjectMembership.objects.bulk_create(
        ProjectMembership(project=cohort.project, membership=member, role=ProjectRole.PARTICIPANT) for member in members
    )
    # Session, user, standing, cohort, rights, roster, the keys of the people on it and what was used, switcher,
    # notifications.
    assert [count(page) for page in pages] == few
    assert few[0] <= 11
    found = ada_client.get(pages[0], {"q": "p777@"}).context["page"].items
    assert [place.membership.user.name for place in found] == ["P 777"]


def test_a_participant_who_is_removed_reaches_nothing_at_once(
    ada_client: Client, cyd: User, cyd_client: Client, cohort: Cohort, organization: Organization
) -> None:
    join(link=cohort.join_link, user=cyd)
    assert cyd_client.get(f"/projects/{cohort.project.public_id}/").status_code == 200
    ada_client.post(f"/organizations/{organization.public_id}/members/{cyd.public_id}/remove/")
    assert cyd_client.get(f"/projects/{cohort.project.public_id}/").status_code == 404
    rights: Rights = rights_in(cyd, cohort.project)
    assert Right.SEE not in rights
    assert Cohort.objects.allowance_of(cyd, cohort.project) is None
