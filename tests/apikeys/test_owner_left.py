"""A key whose owner has left works no more, and every place that names its state says so."""

from datetime import timedelta
from itertools import product

import pytest
from django.test import Client
from django.utils import timezone

from accounts.access import has_right, rights_in
from accounts.models import Membership, Project, ProjectMembership, User
from accounts.organizations.services import change_role, leave_organization
from accounts.projects.services import open_service_account
from accounts.roles import ProjectRole, Right, Role
from apikeys.health import Finding
from apikeys.models import ApiKey, KeyPolicy, KeyState
from apikeys.services import mint_key
from apikeys.terms import Terms

WORDS = "Stopped with its owner"


@pytest.fixture
def key(ben: User, project: Project) -> ApiKey:
    """A key of Ben's, who has left since."""
    made, _secret = mint_key(project=project, name="Ben’s laptop", by=ben)
    leave_organization(membership=Membership.objects.get(user=ben, organization=project.organization))
    return made


def test_it_works(key: ApiKey, ada_client: Client) -> None:
    page = ada_client.get(f"/keys/{key.public_id}/").content.decode()
    assert WORDS in page
    assert ">Active<" not in page
    # Once beside the key, once among the states to choose from.
    assert ada_client.get("/keys/").content.decode().count(WORDS) == 2
    assert ada_client.get(f"/api/keys/{key.public_id}/").json()["state"] == "stopped"
    assert [one["state"] for one in ada_client.get("/api/keys/").json()["data"]] == ["stopped"]


def test_the_list_tells_it_from_those_that_work(key: ApiKey, ada: User, project: Project, ada_client: Client) -> None:
    mint_key(project=project, name="laptop", by=ada)
    account = open_service_account(project=project, name="crawler", by=ada)
    mint_key(project=project, name="nightly", by=ada, service_account=account)
    for state, found in ((KeyState.ACTIVE, ["nightly", "laptop"]), (KeyState.STOPPED, ["Ben’s laptop"])):
        page = ada_client.get("/keys/", {"state": state}).context["page"]
        assert [one.name for one in page.items] == found
        assert {one.state for one in page.items} == {state}


def test_key_health_offers_to_revoke_it_and_finds_nothing_else_wrong(key: ApiKey, ada_client: Client) -> None:
    page = ada_client.get("/keys/health/")
    assert dict(page.context["findings"]) == {one: int(one is Finding.OWNER_LEFT) for one in Finding}
    assert f"/keys/{key.public_id}/revoke/" in page.content.decode()
    assert [one["id"] for one in ada_client.get("/api/keys/health/?finding=owner_left").json()["data"]] == [
        key.public_id
    ]
    ada_client.post(f"/keys/{key.public_id}/revoke/")
    assert not any(dict(ada_client.get("/keys/health/").context["findings"]).values())


def test_the_policy_does_not_count_it(key: ApiKey, ada: User, project: Project, ada_client: Client) -> None:
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=30)
    assert ada_client.get("/keys/policy/").context["older"] == 0
    mint_key(project=project, name="laptop", by=ada, terms=Terms(expires_at=timezone.now() + timedelta(days=20)))
    ApiKey.objects.filter(created_by=ada).update(expires_at=None)
    assert ada_client.get("/keys/policy/").context["older"] == 1


def test_it_works_again_when_its_owner_is_back(key: ApiKey, ben: User, project: Project, ada_client: Client) -> None:
    back = Membership.objects.create(organization=project.organization, user=ben, role=Role.MEMBER)
    assert ada_client.get(f"/api/keys/{key.public_id}/").json()["state"] == "active"
    change_role(membership=back, role=Role.VIEWER, by=_owner(project))
    assert ada_client.get(f"/api/keys/{key.public_id}/").json()["state"] == "stopped"


def test_a_key_of_somebody_whose_account_is_off_has_stopped(ada: User, project: Project) -> None:
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert ApiKey.objects.get(pk=key.pk).state is KeyState.STOPPED


def test_what_is_asked_of_many_rows_is_what_is_asked_of_one(ada: User, cyd: User, project: Project) -> None:
    """`has_right` and `rights_in` read the same tables of roles: for every place that a person can have."""
    key, _secret = mint_key(project=project, name="laptop", by=cyd)
    wrong = []
    for role, project_role, is_open in product((None, *Role), (None, *ProjectRole), (True, False)):
        Membership.objects.filter(user=cyd, organization=project.organization).delete()
        Project.objects.filter(pk=project.pk).update(is_open=is_open)
        project.is_open = is_open
        if role is not None:
            member = Membership.objects.create(user=cyd, organization=project.organization, role=role)
            if project_role is not None:
                ProjectMembership.objects.create(project=project, membership=member, role=project_role)
        rights = rights_in(cyd, project)
        for right in Right:
            for asked in ("project", project):
                found = ApiKey.objects.filter(has_right(right, user="created_by", project=asked), pk=key.pk).exists()
                if found != (right in rights):
                    wrong.append((role, project_role, is_open, right, asked))
    assert wrong == []


def _owner(project: Project) -> User:
    return User.objects.get(memberships__organization=project.organization, memberships__role=Role.OWNER)
