from django.test import Client

from accounts.models import Project, User


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
