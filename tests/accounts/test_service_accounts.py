"""Service accounts: a program's place in a project."""

import pytest
from django.test import Client

from accounts.models import AuditEvent, Membership, Project, ServiceAccount, User
from accounts.projects.services import create_service_account
from accounts.roles import Role
from apikeys.services import mint_key
from apikeys.verification import digest_of
from usage.policies import load


@pytest.fixture
def account(ada: User, project: Project) -> ServiceAccount:
    return create_service_account(project=project, name="nightly", description="", by=ada)


def test_it_works(ada_client: Client, project: Project) -> None:
    address = f"/projects/{project.public_id}/service-accounts/"
    made = ada_client.post(address, {"name": "nightly", "description": "The evaluation"})
    account = ServiceAccount.objects.get()
    assert made.headers["Location"] == f"/service-accounts/{account.public_id}/"
    assert (account.project, account.created_by.name) == (project, "Ada")  # type: ignore[union-attr]
    assert ada_client.get(address).context["page"].items == [account]
    ada_client.post(f"/service-accounts/{account.public_id}/", {"name": "weekly"})
    account.refresh_from_db()
    assert account.name == "weekly"
    actions = AuditEvent.objects.filter(target_id=account.public_id).order_by("at").values_list("action", flat=True)
    assert list(actions) == ["service_account.created", "service_account.changed"]


def test_its_page_leads_to_a_key_of_its_own(ada: User, ada_client: Client, project: Project) -> None:
    account = create_service_account(project=project, name="R&D nightly", description="", by=ada)
    page = ada_client.get(f"/service-accounts/{account.public_id}/").content.decode()
    target = f"/keys/new/?service_account={account.public_id}"
    assert f'name="next" value="{target}"' in page
    led = ada_client.post(f"/projects/{project.public_id}/choose/", {"next": target}, follow=True)
    form = led.context["form"]
    assert (form["service_account"].value(), form.is_restricting) == (account.public_id, True)


def test_a_removed_one_is_gone_and_its_name_is_free(ada: User, ada_client: Client, account: ServiceAccount) -> None:
    _key, secret = mint_key(project=account.project, name="nightly", by=ada, service_account=account)
    assert load(digest_of(secret) or "")
    assert ada_client.post(f"/service-accounts/{account.public_id}/remove/").status_code == 302
    assert ada_client.post(f"/service-accounts/{account.public_id}/remove/").status_code == 404
    assert load(digest_of(secret) or "") is None
    address = f"/projects/{account.project.public_id}/service-accounts/"
    assert ada_client.get(address).context["page"].items == []
    assert ada_client.post(address, {"name": "nightly"}).status_code == 302


def test_two_of_one_name_are_refused(ada_client: Client, account: ServiceAccount) -> None:
    address = f"/projects/{account.project.public_id}/service-accounts/"
    refused = ada_client.post(address, {"name": "nightly"})
    assert refused.status_code == 400
    assert "already" in refused.content.decode()
    ada_client.post(address, {"name": "weekly"})
    other = ServiceAccount.objects.get(name="weekly")
    assert ada_client.post(f"/service-accounts/{other.public_id}/", {"name": "nightly"}).status_code == 400


@pytest.mark.parametrize("name", ["", "x" * 81, "a\0b"])
def test_a_name_that_cannot_be(ada_client: Client, project: Project, name: str) -> None:
    address = f"/projects/{project.public_id}/service-accounts/"
    assert ada_client.post(address, {"name": name}).status_code == 400


def test_a_member_looks_and_changes_nothing(ben_client: Client, account: ServiceAccount) -> None:
    address = f"/projects/{account.project.public_id}/service-accounts/"
    assert ben_client.get(address).context["page"].items == [account]
    assert ben_client.post(address, {"name": "mine"}).status_code == 403
    assert ben_client.get(f"/service-accounts/{account.public_id}/").status_code == 403
    assert ben_client.post(f"/service-accounts/{account.public_id}/remove/").status_code == 403


def test_a_stranger_finds_nothing(cyd_client: Client, account: ServiceAccount) -> None:
    assert cyd_client.get(f"/projects/{account.project.public_id}/service-accounts/").status_code == 404
    assert cyd_client.get(f"/service-accounts/{account.public_id}/").status_code == 404
    assert cyd_client.post(f"/service-accounts/{account.public_id}/remove/").status_code == 404


def test_who_sees_only_cost_sees_none(ben: User, ben_client: Client, account: ServiceAccount) -> None:
    Membership.objects.filter(user=ben, organization=account.project.organization).update(role=Role.BILLING)
    assert ben_client.get(f"/projects/{account.project.public_id}/service-accounts/").status_code == 403
