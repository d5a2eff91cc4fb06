"""What an organization demands of its keys."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Project, User
from accounts.roles import Role
from apikeys.health import Finding
from apikeys.models import ApiKey, KeyMakers, KeyPolicy
from apikeys.services import change_policy, disable_key, mint_key, mint_management_key, revoke_key, shorten_keys
from apikeys.terms import PolicyViolationError
from notifications.models import Notification
from tests.races import at_once, wait_until_somebody_waits

URL = "/keys/policy/"
STRICT = {
    "longest_lifetime_days": "30",
    "default_budget": "2.5",
    "allowed_networks": "10.0.0.0/8",
    "outside": "on",
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


def test_who_would_shut_themselves_out_is_asked_first(ada_client: Client, project: Project) -> None:
    rules = {"makers": "members", "leaked": "flag"}
    asked = ada_client.post(URL, {**rules, "allowed_networks": "10.0.0.0/8"})
    assert (asked.status_code, list(asked.context["form"].errors)) == (400, ["outside"])
    assert "you are at 127.0.0.1" in asked.content.decode()
    assert not KeyPolicy.objects.exists()
    for networks, meant in (("10.0.0.0/8\n127.0.0.0/8", {}), ("10.0.0.0/8", {"outside": "on"}), ("", {})):
        saved = ada_client.post(URL, {**rules, "allowed_networks": networks, **meant})
        assert saved.status_code == 302, networks


def test_a_list_that_was_there_is_not_asked_about_again(ada: User, ada_client: Client, project: Project) -> None:
    change_policy(organization=project.organization, by=ada, allowed_networks=("10.0.0.0/8",))
    page = ada_client.get(URL)
    assert "Refuse calls from where I am" not in page.content.decode()
    rules = {"allowed_networks": "10.0.0.0/8", "makers": "admins", "leaked": "flag"}
    assert ada_client.post(URL, {**rules, "shown": page.context["form"]["shown"].value()}).status_code == 302


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


DAY = timedelta(days=1)


@pytest.fixture
def older(ada: User, ben: User, project: Project) -> dict[str, ApiKey]:
    """Keys from before a longest lifetime of 30 days, by what is to be said of them."""
    now = timezone.now()
    ages_and_ends = {
        "young": (2, None),
        "old": (40, None),
        "late": (2, 60),
        "good": (2, 20),
        "nearly over": (40, 5),
        "over": (400, -1),
    }
    keys = {name: mint_key(project=project, name=name, by=ben)[0] for name in [*ages_and_ends, "gone"]}
    for name, (age, end) in ages_and_ends.items():
        ApiKey.objects.filter(name=name).update(expires_at=now + end * DAY if end else None)
        keys[name].secrets.update(created_at=now - age * DAY)
    revoke_key(key=keys["gone"], by=ada)
    return keys


def ends(*names: str) -> list[int]:
    """In how many days keys end, to the nearest; -999 for never."""
    found = dict(ApiKey.objects.values_list("name", "expires_at"))
    return [round((end - timezone.now()) / DAY) if (end := found[name]) else -999 for name in names]


def saved(client: Client, **fields: str) -> Any:
    return client.post(URL, {**STRICT, "allowed_networks": "", **fields})


def test_keys_that_break_a_new_rule_are_counted_before_it_is_saved(
    ada_client: Client, older: dict[str, ApiKey]
) -> None:
    answer = saved(ada_client)
    assert answer.status_code == 400
    assert "3 keys live longer than 30 days" in answer.context["form"].errors["older"][0]
    assert not KeyPolicy.objects.exists()
    assert ends("young", "late") == [-999, 60]


def test_they_are_brought_in_line(ada_client: Client, ben: User, older: dict[str, ApiKey]) -> None:
    assert saved(ada_client, older="shorten").status_code == 302
    # From when the secret was made, but no sooner than in a week.
    assert ends("young", "old", "late") == [28, 7, 28]
    assert ends("good", "nearly over", "over") == [20, 5, -1]
    assert set(Notification.objects.values_list("recipient", "kind", "title")) == {
        (ben.pk, "apikeys.shortened", name) for name in ("young", "old", "late")
    }
    assert AuditEvent.objects.filter(action="key.changed").count() == 3
    page = ada_client.get(URL)
    assert page.context["older"] == 0
    # One that was too old to be rotated can be, and then goes on.
    assert ada_client.post(f"/keys/{older['old'].public_id}/rotate/", {"overlap": "60"}).status_code == 200


def test_they_are_left_and_brought_in_line_later(ada_client: Client, older: dict[str, ApiKey]) -> None:
    assert saved(ada_client, older="keep").status_code == 302
    assert ends("young", "old", "late") == [-999, -999, 60]
    page = ada_client.get(URL)
    assert "3 keys that exist live longer" in page.content.decode()
    # The rule is as it was, so that nothing is asked.
    assert saved(ada_client, shown=page.context["form"]["shown"].value()).status_code == 302
    page = ada_client.post(f"{URL}shorten/", follow=True)
    assert "3 keys were brought in line" in page.content.decode()
    assert "live longer than the policy" not in page.content.decode()
    assert ends("young", "old", "late") == [28, 7, 28]


def test_without_such_keys_nothing_is_asked(ada_client: Client, project: Project) -> None:
    assert 'name="older"' not in ada_client.get(URL).content.decode()
    assert saved(ada_client).status_code == 302
    assert "live longer" not in ada_client.get(URL).content.decode().replace("exist and live longer", "")


def test_no_other_organizations_keys_are_touched(
    ada: User, cyd: User, ada_client: Client, project: Project, older: dict[str, ApiKey]
) -> None:
    other = Project.objects.for_member(cyd)[0]
    mint_key(project=other, name="Cyd's", by=cyd)
    mint_management_key(owner=ada, name="terraform")
    assert "3 keys live" in saved(ada_client).context["form"].errors["older"][0]
    saved(ada_client, older="shorten")
    KeyPolicy.objects.create(organization=other.organization, longest_lifetime_days=30)
    assert ends("Cyd's", "terraform") == [-999, -999]


def test_a_member_shortens_nothing(ben_client: Client, project: Project, older: dict[str, ApiKey]) -> None:
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=30)
    ben_client.post(f"/projects/{project.public_id}/choose/")
    assert ben_client.post(f"{URL}shorten/").status_code == 403
    assert ends("young") == [-999]


def test_the_api_counts_and_shortens_them(ada_client: Client, older: dict[str, ApiKey]) -> None:
    api = "/api/keys/policy/"
    answer = ada_client.patch(api, {"longest_lifetime_days": 30}, content_type="application/json")
    assert (answer.status_code, answer.json()["keys_outliving_it"]) == (200, 3)
    assert ada_client.post(f"{api}shorten/").json()["keys_outliving_it"] == 0
    assert ends("young", "old", "late") == [28, 7, 28]


@pytest.mark.django_db(transaction=True)
def test_one_that_is_revoked_meanwhile_stops_nothing(ada: User, project: Project, older: dict[str, ApiKey]) -> None:
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=30)

    def shorten() -> int:
        try:
            return shorten_keys(organization=project.organization, by=ada)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            revoke_key(key=older["old"], by=ada)
            count = pool.submit(shorten)
            wait_until_somebody_waits()
        assert count.result(5) == 2
    assert ends("young", "old", "late") == [28, -999, 28]


def test_health_lists_them_and_mends_one_by_one_click(ada_client: Client, older: dict[str, ApiKey]) -> None:
    saved(ada_client, older="keep")
    page = ada_client.get("/keys/health/?finding=outlives_policy")
    assert {key.name for key in page.context["page"].items} == {"young", "old", "late"}
    # A disabled one can be enabled again: the page of the policy counts it too.
    disable_key(key=older["old"], by=older["old"].created_by)
    page = ada_client.get("/keys/health/?finding=outlives_policy")
    assert dict(page.context["findings"])[Finding.OUTLIVES_POLICY] == ada_client.get(URL).context["older"] == 3
    ada_client.post(f"/keys/{older['old'].public_id}/fix/", {"fix": "shorten"})
    # Nothing is gained by asking for what is not needed.
    ada_client.post(f"/keys/{older['good'].public_id}/fix/", {"fix": "shorten"})
    assert ends("young", "old", "late", "good") == [-999, 7, 60, 20]
