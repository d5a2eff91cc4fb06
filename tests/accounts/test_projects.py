import pytest
from django.test import Client
from django.utils.translation import override

from accounts.models import Organization, Project, User
from accounts.services import open_workspace

pytestmark = pytest.mark.django_db


def test_it_works(project: Project, ben_client: Client) -> None:
    response = ben_client.post(f"/projects/{project.public_id}/choose/", {"next": "/keys/"})
    assert response.headers["Location"] == "/keys/"
    assert ben_client.get("/keys/").context["project"] == project


def test_a_stranger_gets_404(project: Project, cyd: User, cyd_client: Client) -> None:
    assert cyd_client.post(f"/projects/{project.public_id}/choose/").status_code == 404
    assert cyd_client.get("/keys/").context["project"] != project


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
