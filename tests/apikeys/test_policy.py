"""What an organization demands of its keys."""

import pytest
from django.test import Client

from accounts.models import AuditEvent, Project, User
from accounts.roles import Role
from apikeys.models import KeyMakers, KeyPolicy
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
