"""What an organization demands of its keys."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Project, User
from accounts.roles import Role
from apikeys.models import ApiKey, KeyMakers, KeyPolicy
from apikeys.services import change_policy, mint_key
from apikeys.terms import PolicyViolationError
from tests.races import at_once

URL = "/keys/policy/"
STRICT = {
    "longest_lifetime_days": "30",
    "default_budget": "2.5",
    "allowed_networks": "10.0.0.0/8",
    "makers": "admins",
    "leaked": "flag",
}


def test_it_works(ada_client: Client, project: Project) -> None:
    assert ada_client.post(URL, STRICT).status_code == 302
    policy = KeyPolicy.objects.get()
    assert (policy.organization, policy.longest_lifetime_days, policy.makers) == (
        project.organization,
        30,
        KeyMakers.ADMINS,
    )
    assert (policy.default_budget_nano, policy.allowed_networks) == (2_500_000_000, ["10.0.0.0/8"])
    assert not policy.revokes_leaked
    event = AuditEvent.objects.get(action="key_policy.changed")
    assert (event.before["longest_lifetime_days"], event.after["longest_lifetime_days"]) == (None, 30)


def test_a_member_reads_it(ben: User, ben_client: Client, project: Project) -> None:
    ben_client.post(f"/projects/{project.public_id}/choose/")
    page = ben_client.get(URL)
    assert (page.status_code, page.context["may_manage"]) == (200, False)
    assert ben_client.post(URL, STRICT).status_code == 403
    assert not KeyPolicy.objects.exists()
    ben.memberships.filter(organization=project.organization).update(role=Role.ADMIN)
    assert ben_client.post(URL, STRICT).status_code == 302


@pytest.mark.parametrize(
    ("field", "value"),
    [("longest_lifetime_days", "0"), ("default_budget", "-1"), ("allowed_networks", "x"), ("makers", "robots")],
)
def test_what_cannot_be_is_refused(ada_client: Client, field: str, value: str) -> None:
    response = ada_client.post(URL, {**STRICT, field: value})
    assert (response.status_code, list(response.context["form"].errors)) == (400, [field])
    assert not KeyPolicy.objects.exists()


def test_no_road_leads_around_it(ada: User, project: Project) -> None:
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=30)
    with pytest.raises(PolicyViolationError, match="at most 30 days"):
        mint_key(project=project, name="for ever", by=ada)


@pytest.mark.django_db(transaction=True)
def test_two_who_make_the_first_one_at_once_both_hold(ada: User, project: Project) -> None:
    organization = project.organization
    outcomes = at_once(
        lambda: change_policy(organization=organization, by=ada, makers=KeyMakers.ADMINS),
        lambda: change_policy(organization=organization, by=ada, longest_lifetime_days=30),
        lambda: change_policy(organization=organization, by=ada, allowed_networks=("10.0.0.0/8",)),
    )
    assert outcomes == [None] * 3
    policy = KeyPolicy.objects.get()
    assert (policy.makers, policy.longest_lifetime_days, policy.allowed_networks) == ("admins", 30, ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("age", "expires_in", "reason"),
    [
        (0, None, "Choose a time until"),
        (0, 365, "Choose a time until"),
        (40, None, "Make a new key in its place"),
        (0, 29, ""),
        (40, 29, ""),
    ],
)
def test_a_rotated_secret_lives_no_longer_than_a_new_key(
    ada: User, ada_client: Client, project: Project, age: int, expires_in: int | None, reason: str
) -> None:
    now = timezone.now()
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    expires_at = now + timedelta(days=expires_in) if expires_in else None
    ApiKey.objects.filter(pk=key.pk).update(expires_at=expires_at)
    key.secrets.update(created_at=now - timedelta(days=age))
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=30)
    page = ada_client.post(f"/keys/{key.public_id}/rotate/", {"overlap": "60"})
    answer = ada_client.post(f"/api/keys/{key.public_id}/rotate/", {}, content_type="application/json")
    assert (page.status_code, answer.status_code) == ((400, 400) if reason else (200, 200))
    assert key.secrets.count() == (1 if reason else 3)
    if reason:
        assert reason in page.content.decode()
        [error] = answer.json()["errors"]
        assert (error["field"], error["code"]) == ("expires_at", "key_policy")
        assert reason in error["detail"]


def test_who_makes_no_keys_still_rotates_their_own(ben: User, ben_client: Client, project: Project) -> None:
    key, _secret = mint_key(project=project, name="laptop", by=ben)
    KeyPolicy.objects.create(organization=project.organization, makers=KeyMakers.ADMINS)
    assert ben_client.post(f"/keys/{key.public_id}/rotate/", {"overlap": "60"}).status_code == 200
