from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import Project, User
from accounts.projects.services import create_service_account
from accounts.roles import Role
from apikeys.models import ApiKey
from apikeys.services import mint_key, revoke_key
from apikeys.signals import key_changed


@pytest.fixture
def key(ada: User, project: Project) -> ApiKey:
    return mint_key(project=project, name="laptop", by=ada)[0]


def test_it_works(key: ApiKey, ada: User, ada_client: Client) -> None:
    response = ada_client.post(f"/keys/{key.public_id}/revoke/")
    assert response.status_code == 302
    key.refresh_from_db()
    assert key.is_revoked
    assert key.revoked_by == ada


def test_a_second_click_changes_nothing(key: ApiKey, ada: User, ben: User) -> None:
    revoke_key(key=key, by=ada)
    revoke_key(key=key, by=ben)
    key.refresh_from_db()
    assert key.revoked_by == ada


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Digests of the keys that were announced as changed."""
    told: list[str] = []

    def listen(sender: object, digests: list[str], **kwargs: object) -> None:
        told.extend(digests)

    key_changed.connect(listen)
    yield told
    key_changed.disconnect(listen)


def test_it_is_announced_after_commit(
    key: ApiKey, ada: User, heard: list[str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    digest = key.secrets.get().digest
    with django_capture_on_commit_callbacks(execute=True):
        revoke_key(key=key, by=ada)
        assert heard == []
    assert heard == [digest]


def test_a_deleted_project_takes_its_keys_along(
    key: ApiKey, heard: list[str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    digest = key.secrets.get().digest
    with django_capture_on_commit_callbacks(execute=True):
        Project.objects.filter(api_keys=key).get().delete()
    assert heard == [digest]


def test_a_stranger_gets_404(key: ApiKey, cyd_client: Client) -> None:
    assert cyd_client.post(f"/keys/{key.public_id}/revoke/").status_code == 404
    key.refresh_from_db()
    assert not key.is_revoked


def test_a_viewer_only_reads(key: ApiKey, project: Project, ben: User, ben_client: Client) -> None:
    ben.memberships.filter(organization=project.organization).update(role=Role.VIEWER)
    ben_client.post(f"/projects/{project.public_id}/choose/")
    page = ben_client.get("/keys/").content.decode()
    assert key.name in page
    assert "/revoke/" not in page
    assert ben_client.post("/keys/new/", {"name": "mine"}).status_code == 403
    assert ben_client.post(f"/keys/{key.public_id}/revoke/").status_code == 403
    assert not ApiKey.objects.get().is_revoked


def test_a_link_cannot_revoke(key: ApiKey, ada_client: Client) -> None:
    assert ada_client.get(f"/keys/{key.public_id}/revoke/").status_code == 405


def test_keys_of_a_removed_service_account_are_revoked(
    ada: User, ada_client: Client, project: Project, key: ApiKey
) -> None:
    account = create_service_account(project=project, name="nightly", description="", by=ada)
    robots = [mint_key(project=project, name=name, by=ada, service_account=account)[0] for name in ("one", "two")]
    revoke_key(key=robots[1], by=None)
    ada_client.post(f"/service-accounts/{account.public_id}/remove/")
    for robot in robots:
        robot.refresh_from_db()
    assert [robot.is_revoked for robot in robots] == [True, True]
    assert [robot.revoked_by for robot in robots] == [ada, None]
    assert "Revoked" in ada_client.get(f"/keys/{robots[0].public_id}/").content.decode()
    key.refresh_from_db()
    assert not key.is_revoked
