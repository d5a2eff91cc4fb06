"""Projects: choosing, making, closing, ending, archiving, and who has a place in them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import override

from accounts.models import AuditEvent, Membership, Organization, Project, ProjectMembership, User
from accounts.organizations.services import create_organization
from accounts.projects.services import set_place
from accounts.roles import ProjectRole, Role
from accounts.services import open_workspace
from accounts.signals import project_changed, rights_changed
from tests.conftest import client_of
from tests.plans import most_rows_read

pytestmark = pytest.mark.django_db


def in_use(client: Client) -> Project:
    """The project that the pages are about."""
    current: Project = client.get("/quickstart/").context["switcher"].current
    return current


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def changed() -> Iterator[list[object]]:
    """The projects and the people announced as changed."""
    heard: list[object] = []

    def hear_project(project: Project, **kwargs: object) -> None:
        heard.append(project)

    def hear_rights(user: User, **kwargs: object) -> None:
        heard.append(user)

    project_changed.connect(hear_project, weak=False, dispatch_uid="test")
    rights_changed.connect(hear_rights, weak=False, dispatch_uid="test")
    yield heard
    project_changed.disconnect(dispatch_uid="test")
    rights_changed.disconnect(dispatch_uid="test")


def test_it_works(project: Project, ben_client: Client) -> None:
    response = ben_client.post(f"/projects/{project.public_id}/choose/", {"next": "/keys/"})
    assert response.headers["Location"] == "/keys/"
    assert ben_client.get("/keys/").context["project"] == project


def test_a_stranger_gets_404(project: Project, cyd: User, cyd_client: Client) -> None:
    assert cyd_client.post(f"/projects/{project.public_id}/choose/").status_code == 404
    assert cyd_client.get("/keys/").context["project"] != project
    for page in ("", "members/", "members/add/", "service-accounts/"):
        assert cyd_client.get(f"/projects/{project.public_id}/{page}").status_code == 404
    for act in ("", "archive/", "restore/"):
        assert cyd_client.post(f"/projects/{project.public_id}/{act}").status_code == 404


@pytest.fixture
def second(ben: User) -> Project:
    """One in which no session of Ben's would begin by itself."""
    made = create_organization(name="Second", by=ben)
    assert Project.objects.for_member(ben)[0] != made
    return made


def next_session(user: User) -> Client:
    # As a sign-in reads it.
    return client_of(User.objects.get(pk=user.pk))


def test_the_next_session_begins_where_the_last_one_was(second: Project, ben: User, ben_client: Client) -> None:
    first = in_use(ben_client)
    ben_client.post(f"/projects/{second.public_id}/choose/")
    other = next_session(ben)
    assert in_use(other) == second
    ben_client.post(f"/projects/{first.public_id}/choose/")
    assert in_use(next_session(ben)) == first
    # What another browser is in the middle of stays as it is.
    assert in_use(other) == second


@pytest.mark.parametrize("way", ["archived", "left", "deleted"])
def test_a_session_does_not_begin_in_one_that_is_gone(second: Project, ben: User, ben_client: Client, way: str) -> None:
    ben_client.post(f"/projects/{second.public_id}/choose/")
    if way == "archived":
        Project.objects.filter(pk=second.pk).update(archived_at=timezone.now())
    elif way == "left":
        Membership.objects.get(user=ben, organization=second.organization).delete()
    else:
        second.delete()
    assert in_use(next_session(ben)) == Project.objects.for_member(ben)[0]


def test_who_left_the_organization_is_back_in_their_own(project: Project, ben: User, ben_client: Client) -> None:
    ben_client.post(f"/projects/{project.public_id}/choose/")
    ben.memberships.filter(organization=project.organization).delete()
    assert ben_client.get("/keys/").context["project"] == Project.objects.for_member(ben).get()


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_first_names_are_said_in_the_language_of_the_reader(language: str) -> None:
    with override(language):
        project = open_workspace(user=User.objects.create_user("eve@example.com"))
    with override("en"):
        assert (str(project.organization), str(project)) == ("Personal", "First project")
    with override("zh-hans"):
        assert (str(project.organization), str(project)) == ("个人", "默认项目")


def test_a_name_that_was_chosen_stays(project: Project) -> None:
    project.name = "Search"
    project.organization = Organization(name="Personal")
    with override("zh-hans"):
        assert (str(project.organization), str(project)) == ("Personal", "Search")


def test_one_is_made(ada_client: Client, organization: Organization) -> None:
    address = f"/organizations/{organization.public_id}/projects/"
    ada_client.cookies["tz"] = "Asia/Shanghai"
    made = ada_client.post(f"{address}new/", {"name": "Search", "ends_at": "2030-05-31"})
    project = Project.objects.get(name="Search")
    assert made.headers["Location"] == f"/projects/{project.public_id}/"
    assert not project.is_open
    # The last day is the reader's, and whole.
    assert project.ends_at is not None
    assert project.ends_at.isoformat() == "2030-05-31T16:00:00+00:00"
    assert 'value="2030-05-31"' in ada_client.get(f"/projects/{project.public_id}/").content.decode()
    assert ada_client.get("/keys/").context["project"] == project
    assert "Search" in ada_client.get(address).content.decode()


@pytest.mark.parametrize(
    "fields", [{"name": ""}, {"name": "x" * 81}, {"name": "a\0b"}, {"name": "a", "ends_at": "9999-12-31"}]
)
def test_one_that_cannot_be(ada_client: Client, organization: Organization, fields: dict[str, str]) -> None:
    assert ada_client.post(f"/organizations/{organization.public_id}/projects/new/", fields).status_code == 400
    assert organization.projects.count() == 1


def test_a_member_makes_and_changes_none(ben_client: Client, organization: Organization, project: Project) -> None:
    assert ben_client.get(f"/organizations/{organization.public_id}/projects/new/").status_code == 403
    assert ben_client.get(f"/projects/{project.public_id}/").context["form"] is None
    for act in ("", "archive/", "restore/"):
        assert ben_client.post(f"/projects/{project.public_id}/{act}", {"name": "Mine"}).status_code == 403


def test_it_is_changed(ada_client: Client, project: Project, changed: list[object]) -> None:
    ada_client.post(f"/projects/{project.public_id}/", {"name": "Renamed", "is_open": "on"})
    assert changed == []
    ada_client.post(f"/projects/{project.public_id}/", {"name": "Renamed", "ends_at": "2030-01-01"})
    project.refresh_from_db()
    assert (project.name, project.is_open, project.is_live) == ("Renamed", False, True)
    assert changed == [project]
    first, second = AuditEvent.objects.filter(action="project.changed").order_by("at")
    assert first.after == {"name": "Renamed"}
    assert second.after == {"is_open": False, "ends_at": "2030-01-02T00:00:00+00:00"}


def test_it_is_archived_and_restored(ada_client: Client, project: Project, changed: list[object]) -> None:
    Project.objects.create(organization=project.organization, name="Other")
    list_of = f"/organizations/{project.organization.public_id}/projects/"
    for _click in range(2):
        ada_client.post(f"/projects/{project.public_id}/archive/")
    assert not Project.objects.get(pk=project.pk).is_live
    assert project not in ada_client.get(list_of).context["page"].items
    assert ada_client.get(list_of, {"state": "archived"}).context["page"].items == [project]
    for _click in range(2):
        ada_client.post(f"/projects/{project.public_id}/restore/")
    project.refresh_from_db()
    assert project.is_live
    assert changed == [project, project]
    assert AuditEvent.objects.filter(action__in=["project.archived", "project.restored"]).count() == 2


def test_the_list_is_searched_and_takes_as_many_queries_for_many(
    ada_client: Client, organization: Organization
) -> None:
    address = f"/organizations/{organization.public_id}/projects/"

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ada_client.get(address).status_code == 200
        return len(queries)

    few = count()
    Project.objects.bulk_create(Project(organization=organization, name=f"No. {number}") for number in range(200))
    # Session, user, standing, organization, two for rights, projects, switcher, notifications.
    assert count() == few <= 9
    assert [one.name for one in ada_client.get(address, {"q": "no. 77"}).context["page"].items] == ["No. 77"]


def test_the_projects_of_others_are_not_read(ada: User, organization: Organization) -> None:
    others = Organization.objects.bulk_create(Organization(name="Other") for _number in range(1000))
    Project.objects.bulk_create(Project(organization=other, name="Theirs") for other in others)
    people = User.objects.bulk_create(User(email=f"p{number}@example.com") for number in range(1000))
    Membership.objects.bulk_create(
        Membership(organization=other, user=person, role=Role.OWNER)
        for other, person in zip(others, people, strict=True)
    )
    assert most_rows_read(Project.objects.for_member(ada)[:31]) < 10


def test_a_place_in_a_closed_project(
    ada_client: Client, ben: User, ben_client: Client, project: Project, changed: list[object]
) -> None:
    Project.objects.filter(pk=project.pk).update(is_open=False)
    assert ben_client.get(f"/projects/{project.public_id}/").status_code == 404
    offered = ada_client.get(f"/projects/{project.public_id}/members/add/").context["page"].items
    assert ben in [member.user for member in offered]
    role = f"/projects/{project.public_id}/members/{ben.public_id}/role/"
    ada_client.post(role, {"role": "viewer"})
    assert ben_client.get(f"/projects/{project.public_id}/").status_code == 200
    ada_client.post(role, {"role": "participant"})
    listed = ada_client.get(f"/projects/{project.public_id}/members/", {"q": "ben"}).context["page"].items
    assert [(place.membership.user, place.role) for place in listed] == [(ben, ProjectRole.PARTICIPANT)]
    ada_client.post(f"/projects/{project.public_id}/members/{ben.public_id}/remove/")
    assert ben_client.get(f"/projects/{project.public_id}/").status_code == 404
    assert changed == [ben, ben, ben]
    acts = AuditEvent.objects.filter(action="project.member_changed").order_by("at")
    assert [act.after["role"] for act in acts] == ["viewer", "participant", ""]
    assert ada_client.post(f"/projects/{project.public_id}/members/{ben.public_id}/remove/").status_code == 404


def test_a_stranger_gets_no_place(ada_client: Client, cyd: User, ben: User, project: Project) -> None:
    assert ada_client.post(f"/projects/{project.public_id}/members/{cyd.public_id}/role/").status_code == 404
    ada_client.post(f"/projects/{project.public_id}/members/{ben.public_id}/role/", {"role": "emperor"})
    assert not ProjectMembership.objects.exists()


def test_a_member_gives_no_places(ben_client: Client, ben: User, project: Project) -> None:
    assert ben_client.get(f"/projects/{project.public_id}/members/").status_code == 200
    assert ben_client.get(f"/projects/{project.public_id}/members/add/").status_code == 403
    address = f"/projects/{project.public_id}/members/{ben.public_id}/role/"
    assert ben_client.post(address, {"role": "admin"}).status_code == 403


def test_who_runs_one_project_does_not_read_the_whole_organization(
    ben: User, ben_client: Client, project: Project
) -> None:
    Membership.objects.filter(user=ben, organization=project.organization).update(role=Role.GUEST)
    bens = Membership.objects.get(user=ben, organization=project.organization)
    set_place(project=project, membership=bens, role=ProjectRole.ADMIN, by=ben)
    page = ben_client.get(f"/projects/{project.public_id}/members/")
    assert page.status_code == 200
    assert "/members/add/" not in page.content.decode()
    assert ben_client.get(f"/projects/{project.public_id}/members/add/").status_code == 403


def test_who_manages_is_led_to_whom_to_add(ada_client: Client, project: Project) -> None:
    page = ada_client.get(f"/projects/{project.public_id}/members/").content.decode()
    assert f"/projects/{project.public_id}/members/add/" in page


def test_an_ended_project_says_so(ada_client: Client, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(ends_at=timezone.now() - timedelta(hours=1))
    page = ada_client.get(f"/organizations/{project.organization.public_id}/projects/").content.decode()
    assert "Ended" in page


def test_the_switcher_holds_the_first_of_many(ada_client: Client, organization: Organization) -> None:
    projects = Project.objects.bulk_create(
        Project(organization=organization, name=f"No. {number:02}") for number in range(40)
    )
    ada_client.post(f"/projects/{projects[-1].public_id}/choose/")
    switcher = ada_client.get("/settings/").context["switcher"]
    assert switcher.current == projects[-1]
    assert (len(switcher.projects), switcher.has_more, switcher.may_make) == (30, True, True)


def test_staff_close_one_and_all_that_rests_on_it_is_told(
    sam_client: Client, project: Project, changed: list[object]
) -> None:
    address = f"/admin/accounts/project/{project.pk}/change/"
    fields = {"name": project.name, "ends_at_0": "", "ends_at_1": ""}
    management = {
        f"memberships-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")
    }
    assert sam_client.post(address, fields | management).status_code == 302
    assert not Project.objects.get(pk=project.pk).is_open
    assert changed == [project]
