"""Organizations, people and projects over the REST API, with the same permissions as the pages."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.cohorts.services import create_cohort
from accounts.invitations.links import create_join_link, join
from accounts.invitations.services import invite
from accounts.models import Cohort, Invitation, JoinLink, Membership, Organization, Project, ServiceAccount, User
from accounts.projects.services import create_service_account, set_place
from accounts.roles import ProjectRole, Role

JSON = "application/json"


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def base(organization: Organization) -> str:
    return f"/api/organizations/{organization.public_id}"


@pytest.fixture
def account(ada: User, project: Project) -> ServiceAccount:
    return create_service_account(project=project, name="nightly", description="", by=ada)


@pytest.fixture
def invitation(ada: User, organization: Organization) -> Invitation:
    return invite(organization=organization, email="x@example.com", role=Role.MEMBER, by=ada)


@pytest.fixture
def link(ada: User, organization: Organization) -> JoinLink:
    ends_at = timezone.now() + timedelta(days=1)
    return create_join_link(
        organization=organization, name="Chat", role=Role.MEMBER, most_joins=2, ends_at=ends_at, by=ada
    )


@pytest.fixture
def cohort(ada: User, organization: Organization) -> Cohort:
    ends_at = timezone.now() + timedelta(days=1)
    return create_cohort(
        organization=organization, name="Course", ends_at=ends_at, most_joins=5, limits={"tokens_per_minute": 9}, by=ada
    )


def test_it_works(ada_client: Client, ada: User) -> None:
    made = ada_client.post("/api/organizations/", {"name": "Engines"}, JSON)
    assert made.status_code == 201
    address = f"/api/organizations/{made.json()['id']}/"
    assert made.json() == ada_client.get(address).json()
    assert (made.json()["name"], made.json()["role"], made.json()["is_personal"]) == ("Engines", "owner", False)
    assert ada_client.patch(address, {"name": "Analytical"}, JSON).json()["name"] == "Analytical"
    listed = ada_client.get("/api/organizations/").json()["data"]
    assert [row["name"] for row in listed] == ["Analytical", "Personal"]


def test_members(ada_client: Client, ben: User, ben_client: Client, base: str) -> None:
    rows = ada_client.get(f"{base}/members/").json()["data"]
    assert [(row["name"], row["email"], row["role"]) for row in rows] == [
        ("Ben", "ben@example.com", "member"),
        ("Ada", "ada@example.com", "owner"),
    ]
    assert {row["email"] for row in ben_client.get(f"{base}/members/").json()["data"]} == {None}
    assert ben_client.get(f"{base}/members/?q=ada@").json()["data"] == []
    assert [row["id"] for row in ada_client.get(f"{base}/members/?q=ben@").json()["data"]] == [ben.public_id]
    address = f"{base}/members/{ben.public_id}/"
    assert ada_client.patch(address, {"role": "viewer"}, JSON).json()["role"] == "viewer"
    assert ada_client.get(address).json()["role"] == "viewer"
    assert ada_client.patch(address, {"role": "emperor"}, JSON).status_code == 400
    # One's own place is one's own to give up.
    assert ben_client.delete(address).status_code == 204
    assert ben_client.get(f"{base}/").status_code == 404
    assert ada_client.delete(address).status_code == 404


def test_the_last_owner_is_kept(ada_client: Client, ada: User, ben: User, base: str) -> None:
    address = f"{base}/members/{ada.public_id}/"
    for refused in (ada_client.delete(address), ada_client.patch(address, {"role": "member"}, JSON)):
        assert (refused.status_code, refused["Content-Type"]) == (409, "application/problem+json")
        assert refused.json()["code"] == "last_owner"
    assert ada_client.post(f"{base}/members/{ben.public_id}/transfer/").status_code == 204
    assert ada_client.delete(address).status_code == 204


def test_invitations(ada_client: Client, ben: User, project: Project, base: str) -> None:
    body = {"email": "Eve@example.com", "role": "guest", "projects": [project.public_id], "project_role": "viewer"}
    made = ada_client.post(f"{base}/invitations/", body, JSON)
    assert made.status_code == 201
    row = made.json()
    assert (row["email"], row["role"], row["projects"], row["project_role"], row["mailed_at"]) == (
        "eve@example.com", "guest", [project.public_id], "viewer", None,
    )  # fmt: skip
    assert ada_client.get(f"{base}/invitations/").json()["data"] == [row]
    assert ada_client.get(f"/api/invitations/{row['id']}/").json() == row
    assert ada_client.post(f"/api/invitations/{row['id']}/resend/").json()["code"] == "too_soon"
    Invitation.objects.update(mail_due_at=None)
    assert ada_client.post(f"/api/invitations/{row['id']}/resend/").status_code == 202
    assert ada_client.delete(f"/api/invitations/{row['id']}/").status_code == 204
    assert ada_client.delete(f"/api/invitations/{row['id']}/").status_code == 404
    assert ada_client.post(f"{base}/invitations/", {"email": ben.email}, JSON).json()["code"] == "is_member"
    for wrong in ({"email": "nobody"}, {**body, "projects": ["proj_none"]}, {**body, "email": "a\0@example.com"}):
        assert ada_client.post(f"{base}/invitations/", wrong, JSON).status_code == 400


def test_join_links(ada_client: Client, cyd: User, project: Project, base: str) -> None:
    body = {"name": "Chat", "most_joins": 2, "ends_at": "2050-01-01T00:00:00Z", "project": project.public_id}
    assert ada_client.post(f"{base}/join-links/", {**body, "project_role": "admin"}, JSON).status_code == 400
    row = ada_client.post(f"{base}/join-links/", body, JSON).json()
    link = JoinLink.objects.get()
    assert (row["state"], row["project"], row["project_role"]) == ("open", project.public_id, "member")
    assert row["address"].endswith(f"/join/{link.token}/")
    join(link=link, user=cyd)
    assert [one["join_count"] for one in ada_client.get(f"{base}/join-links/").json()["data"]] == [1]
    address = f"/api/join-links/{row['id']}/"
    assert ada_client.patch(address, {"is_on": False}, JSON).json()["state"] == "off"
    assert ada_client.get(address).json()["state"] == "off"
    for wrong in ({**body, "role": "owner"}, {**body, "most_joins": 0}, {**body, "project": "proj_none"}):
        assert ada_client.post(f"{base}/join-links/", wrong, JSON).status_code == 400


def test_projects(ada_client: Client, ben: User, base: str) -> None:
    made = ada_client.post(f"{base}/projects/", {"name": "Search", "is_open": False}, JSON)
    assert made.status_code == 201
    address = f"/api/projects/{made.json()['id']}/"
    changed = ada_client.patch(address, {"ends_at": "2050-01-01T00:00:00Z"}, JSON).json()
    assert (changed["name"], changed["is_open"], changed["ends_at"]) == ("Search", False, "2050-01-01T00:00:00Z")
    assert ada_client.patch(address, {"is_archived": True}, JSON).json()["archived_at"]
    assert [one["name"] for one in ada_client.get(f"{base}/projects/").json()["data"]] == ["First project"]
    archived = ada_client.get(f"{base}/projects/?archived=true&q=sea").json()["data"]
    assert [one["name"] for one in archived] == ["Search"]
    assert ada_client.patch(address, {"is_archived": False}, JSON).json()["archived_at"] is None
    place = f"{address}members/{ben.public_id}/"
    assert ada_client.put(place, {"role": "viewer"}, JSON).json()["role"] == "viewer"
    assert ada_client.put(place, {"role": "admin"}, JSON).json() == ada_client.get(place).json()
    rows = ada_client.get(f"{address}members/?q=ben").json()["data"]
    assert [(row["id"], row["email"], row["role"]) for row in rows] == [(ben.public_id, "ben@example.com", "admin")]
    assert ada_client.delete(place).status_code == 204
    assert ada_client.delete(place).status_code == 404


def test_service_accounts(ada_client: Client, project: Project) -> None:
    base = f"/api/projects/{project.public_id}/service-accounts/"
    row = ada_client.post(base, {"name": "nightly"}, JSON).json()
    assert ada_client.post(base, {"name": "nightly"}, JSON).json()["code"] == "name_taken"
    address = f"/api/service-accounts/{row['id']}/"
    assert ada_client.patch(address, {"description": "Evaluation"}, JSON).json()["description"] == "Evaluation"
    assert [one["name"] for one in ada_client.get(base).json()["data"]] == ["nightly"]
    assert ada_client.get(address).json()["project"] == project.public_id
    assert ada_client.delete(address).status_code == 204
    assert ada_client.get(address).status_code == 404


def test_cohorts(ada_client: Client, cyd: User, base: str) -> None:
    body = {"name": "Course", "ends_at": "2050-01-01T00:00:00Z", "most_joins": 5, "monthly_budget_nano": 10**9}
    made = ada_client.post(f"{base}/cohorts/", body, JSON)
    assert made.status_code == 201
    row = made.json()
    assert (row["monthly_budget_nano"], row["tokens_per_minute"], row["is_live"]) == (10**9, None, True)
    join(link=JoinLink.objects.get(), user=cyd)
    address = f"/api/cohorts/{row['id']}/"
    assert [one["email"] for one in ada_client.get(f"{address}roster/").json()["data"]] == ["cyd@example.com"]
    changed = ada_client.patch(address, {"tokens_per_minute": 9, "is_link_on": False}, JSON).json()
    assert (changed["tokens_per_minute"], changed["monthly_budget_nano"]) == (9, 10**9)
    assert changed["join_link"]["state"] == "off"
    assert ada_client.patch(address, {"ends_at": "2020-01-01T00:00:00Z"}, JSON).json()["is_live"] is False
    assert [one["join_link"]["join_count"] for one in ada_client.get(f"{base}/cohorts/").json()["data"]] == [1]
    for wrong in ({**body, "most_joins": 0}, {**body, "ends_at": None}, {**body, "monthly_budget_nano": -1}):
        assert ada_client.post(f"{base}/cohorts/", wrong, JSON).status_code == 400


@pytest.fixture
def everything(
    base: str,
    ada: User,
    project: Project,
    account: ServiceAccount,
    invitation: Invitation,
    link: JoinLink,
    cohort: Cohort,
) -> list[tuple[str, str, Any, int]]:
    """Every address and method, with a body, and what a member without any right but to look is answered."""
    mine = Membership.objects.get(user=ada, organization=project.organization)
    set_place(project=project, membership=mine, role=ProjectRole.ADMIN, by=ada)
    member, place = f"{base}/members/{ada.public_id}/", f"/api/projects/{project.public_id}/members/{ada.public_id}/"
    programs, program = (
        f"/api/projects/{project.public_id}/service-accounts/",
        f"/api/service-accounts/{account.public_id}/",
    )
    letter, joining = f"/api/invitations/{invitation.public_id}/", f"/api/join-links/{link.public_id}/"
    course, end = f"/api/cohorts/{cohort.public_id}/", "2050-01-01T00:00:00Z"
    return [
        ("get", f"{base}/", None, 200),
        ("patch", f"{base}/", {"name": "x"}, 403),
        ("get", f"{base}/members/", None, 200),
        ("get", member, None, 200),
        ("patch", member, {"role": "member"}, 403),
        ("delete", member, None, 403),
        ("post", f"{member}transfer/", None, 403),
        ("get", f"{base}/invitations/", None, 403),
        ("post", f"{base}/invitations/", {"email": "y@example.com"}, 403),
        ("get", letter, None, 403),
        ("post", f"{letter}resend/", None, 403),
        ("delete", letter, None, 403),
        ("get", f"{base}/join-links/", None, 403),
        ("post", f"{base}/join-links/", {"name": "x", "most_joins": 1, "ends_at": end}, 403),
        ("get", joining, None, 403),
        ("patch", joining, {"is_on": False}, 403),
        ("get", f"{base}/projects/", None, 200),
        ("post", f"{base}/projects/", {"name": "x"}, 403),
        ("get", f"/api/projects/{project.public_id}/", None, 200),
        ("patch", f"/api/projects/{project.public_id}/", {"name": "x"}, 403),
        ("get", f"/api/projects/{project.public_id}/members/", None, 200),
        ("get", place, None, 200),
        ("put", place, {"role": "viewer"}, 403),
        ("delete", place, None, 403),
        ("get", programs, None, 200),
        ("post", programs, {"name": "x"}, 403),
        ("get", program, None, 200),
        ("patch", program, {"name": "x"}, 403),
        ("delete", program, None, 403),
        ("get", f"{base}/cohorts/", None, 403),
        ("post", f"{base}/cohorts/", {"name": "x", "most_joins": 1, "ends_at": end}, 403),
        ("get", course, None, 403),
        ("patch", course, {"name": "x"}, 403),
        ("get", f"{course}roster/", None, 403),
    ]


def test_who_may_do_what(
    everything: list[tuple[str, str, Any, int]], client: Client, ben_client: Client, cyd_client: Client
) -> None:
    def ask(who: Client, method: str, address: str, body: Any) -> int:
        act: Callable[..., Any] = getattr(who, method)
        return int(act(address, body, JSON).status_code if body is not None else act(address).status_code)

    for method, address, body, status in everything:
        answers = [ask(who, method, address, body) for who in (ben_client, cyd_client, client)]
        assert answers == [status, 404, 401], (method, address)


def test_lists_take_as_many_queries_for_many(ada_client: Client, organization: Organization, base: str) -> None:
    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ada_client.get(address).status_code == 200
        return len(queries)

    lists = [f"{base}/{name}/" for name in ("members", "projects", "invitations", "join-links", "cohorts")]
    ada = organization.members.get()
    for number in range(2):
        name, ends_at = f"No. {number}", timezone.now() + timedelta(days=1)
        project = Project.objects.create(organization=organization, name=name)
        invite(organization=organization, email=f"p{number}@example.com", role=Role.GUEST, projects=[project], by=ada)
        create_cohort(organization=organization, name=name, ends_at=ends_at, most_joins=1, limits={}, by=ada)
        create_join_link(
            organization=organization, name=name, role=Role.GUEST, project=project, project_role=ProjectRole.VIEWER,
            most_joins=1, ends_at=ends_at, by=ada,
        )  # fmt: skip
        people = User.objects.bulk_create(User(email=f"m{number}{n}@example.com") for n in range(20))
        Membership.objects.bulk_create(Membership(organization=organization, user=person) for person in people)
        counts = [count(address) for address in lists]
        if number == 0:
            few = counts
    # Session, user, organization, rights, and the rows with what they name.
    assert counts == few
    assert max(few) <= 7
