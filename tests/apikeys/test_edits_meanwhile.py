"""A form that was open while somebody else changed the same key or policy."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Project, User
from apikeys.models import ApiKey, KeyMakers, KeyPolicy
from apikeys.services import change_key, change_policy, mint_key, mint_management_key
from apikeys.terms import Terms
from tests.races import at_once

POLICY = "/keys/policy/"
TERMS = Terms(
    description="At home",
    allowed_endpoints=("embeddings", "chat/completions"),
    allowed_networks=("192.0.2.0/24", "10.0.0.0/8"),
    expires_at=timezone.now() + timedelta(days=3, seconds=7),
    requests_per_minute=5,
    monthly_budget_nano=2_500_000_000,
)


@pytest.fixture
def key(ada: User, project: Project) -> ApiKey:
    return mint_key(project=project, name="laptop", by=ada, terms=TERMS)[0]


@pytest.fixture
def url(key: ApiKey) -> str:
    return f"/keys/{key.public_id}/edit/"


def opened(client: Client, url: str) -> dict[str, Any]:
    """What a browser would send of the form as it is on the page."""
    form = client.get(url).context["form"]
    values = {field.html_name: field.value() for field in form}
    if values.get("expires_at"):
        values["expires_at"] = f"{values['expires_at']:%Y-%m-%dT%H:%M}"
    return {name: value for name, value in values.items() if value is not None}


def by_api(client: Client, key: ApiKey, **changes: Any) -> None:
    answer = client.patch(f"/api/keys/{key.public_id}/", changes, content_type="application/json")
    assert answer.status_code == 200


def errors(response: Any) -> dict[str, list[str]]:
    return dict(response.context["form"].errors)


def test_it_works(key: ApiKey, url: str, ada_client: Client) -> None:
    form = opened(ada_client, url)
    by_api(ada_client, key, tokens_per_minute=9, allowed_networks=[], expires_at=None, description="", name="desktop")
    assert ada_client.post(url, {**form, "requests_per_minute": "7"}).status_code == 302
    key.refresh_from_db()
    assert (key.requests_per_minute, key.tokens_per_minute, key.name) == (7, 9, "desktop")
    assert (key.allowed_networks, key.expires_at, key.description) == ([], None, "")
    assert AuditEvent.objects.filter(action="key.changed").order_by("at").last().after == {"requests_per_minute": 7}  # type: ignore[union-attr]


def test_a_form_saved_as_it_was_shown_changes_nothing(key: ApiKey, url: str, ada_client: Client) -> None:
    assert ada_client.post(url, opened(ada_client, url)).status_code == 302
    assert Terms.of(ApiKey.objects.get()) == TERMS
    assert not AuditEvent.objects.filter(action="key.changed").exists()


def test_the_other_order_holds_as_well(key: ApiKey, url: str, ada_client: Client) -> None:
    form = opened(ada_client, url)
    ada_client.post(url, {**form, "requests_per_minute": "7"})
    by_api(ada_client, key, tokens_per_minute=9)
    key.refresh_from_db()
    assert (key.requests_per_minute, key.tokens_per_minute) == (7, 9)


@pytest.mark.parametrize(
    ("name", "field", "theirs", "said", "mine", "stored"),
    [
        ("requests_per_minute", "requests_per_minute", 8, "changed this to: 8.", "7", 7),
        ("requests_per_minute", "requests_per_minute", None, "somebody emptied this", "7", 7),
        ("name", "name", "desktop", "changed this to: desktop.", "notebook", "notebook"),
        ("monthly_budget_nano", "monthly_budget_nano", 10**9, "changed this to: $1", "3", 3 * 10**9),
        (
            "allowed_networks",
            "allowed_networks",
            ["10.0.0.0/8"],
            "this to: 10.0.0.0/8.",
            "2001:db8::/32",
            ["2001:db8::/32"],
        ),
    ],
)
def test_what_both_changed_is_told_and_nothing_typed_is_lost(
    key: ApiKey, url: str, ada_client: Client, name: str, field: str, theirs: Any, said: str, mine: str, stored: Any
) -> None:
    form = opened(ada_client, url)
    by_api(ada_client, key, **{name: theirs})
    typed = {**form, field: mine, "description": "Upstairs"}
    refused = ada_client.post(url, typed)
    assert refused.status_code == 400
    assert list(errors(refused)) == [field]
    assert said in errors(refused)[field][0]
    shown = refused.context["form"]
    assert (shown[field].value(), shown["description"].value()) == (mine, "Upstairs")
    key.refresh_from_db()
    assert (getattr(key, name), key.description) == (theirs, "At home")
    # Who has read it and saves again means it.
    assert ada_client.post(url, {**typed, "shown": shown["shown"].value()}).status_code == 302
    key.refresh_from_db()
    assert (getattr(key, name), key.description) == (stored, "Upstairs")


def test_a_third_change_is_told_again(key: ApiKey, url: str, ada_client: Client) -> None:
    typed = {**opened(ada_client, url), "requests_per_minute": "7"}
    for theirs in (8, 9):
        by_api(ada_client, key, requests_per_minute=theirs)
        refused = ada_client.post(url, typed)
        assert f"this to: {theirs}." in errors(refused)["requests_per_minute"][0]
        typed["shown"] = refused.context["form"]["shown"].value()


def test_the_same_change_by_both_is_no_quarrel(key: ApiKey, url: str, ada_client: Client) -> None:
    form = opened(ada_client, url)
    by_api(ada_client, key, requests_per_minute=7)
    assert ada_client.post(url, {**form, "requests_per_minute": "7"}).status_code == 302


def test_a_management_key_is_edited_likewise(ada: User, ada_client: Client) -> None:
    key, _secret = mint_management_key(owner=ada, name="terraform")
    url = f"/keys/{key.public_id}/edit/"
    form = opened(ada_client, url)
    by_api(ada_client, key, is_read_only=True)
    assert ada_client.post(url, {**form, "description": "For CI"}).status_code == 302
    key.refresh_from_db()
    assert (key.is_read_only, key.description) == (True, "For CI")


@pytest.mark.django_db(transaction=True)
def test_of_two_at_the_same_moment_one_is_told(key: ApiKey, ada: User) -> None:
    shown = {"requests_per_minute": 5}

    def change(requests: int) -> Callable[[], None]:
        return lambda: change_key(
            key=ApiKey.objects.get(), changes={"requests_per_minute": requests}, shown=shown, by=ada
        )

    outcomes = at_once(change(7), change(8))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ChangedMeanwhileError", "NoneType"]


def test_the_policys_form(ada: User, ada_client: Client, project: Project) -> None:
    organization = project.organization
    form = opened(ada_client, POLICY)
    change_policy(organization=organization, by=ada, allowed_networks=("10.0.0.0/8",), makers=KeyMakers.ADMINS)
    assert ada_client.post(POLICY, {**form, "default_budget": "2"}).status_code == 302
    policy = KeyPolicy.objects.get()
    assert (policy.allowed_networks, policy.makers) == (["10.0.0.0/8"], "admins")
    assert policy.default_budget_nano == 2 * 10**9


def test_what_both_changed_of_the_policy_is_told(ada: User, ada_client: Client, project: Project) -> None:
    change_policy(organization=project.organization, by=ada, makers=KeyMakers.ADMINS, default_budget_nano=10**9)
    form = {**opened(ada_client, POLICY), "default_budget": "3", "makers": "members", "leaked": "flag"}
    # Somebody else changes two of the three, one of them to what this form wants as well.
    change_policy(organization=project.organization, by=ada, default_budget_nano=None, revokes_leaked=False)
    refused = ada_client.post(POLICY, form)
    assert (refused.status_code, list(errors(refused))) == (400, ["default_budget"])
    assert KeyPolicy.objects.get().makers == "admins"
    form["shown"] = refused.context["form"]["shown"].value()
    assert ada_client.post(POLICY, form).status_code == 302
    policy = KeyPolicy.objects.get()
    assert (policy.default_budget_nano, policy.makers, policy.revokes_leaked) == (3 * 10**9, "members", False)


def test_what_the_form_of_one_key_showed_is_nothing_to_another(
    key: ApiKey, url: str, ada: User, ada_client: Client, project: Project
) -> None:
    other, _secret = mint_key(project=project, name="other", by=ada)
    form = opened(ada_client, url)
    shown_of_other = opened(ada_client, f"/keys/{other.public_id}/edit/")["shown"]
    assert ada_client.post(url, {**form, "shown": shown_of_other, "requests_per_minute": "7"}).status_code == 302
    key.refresh_from_db()
    assert key.requests_per_minute == 7


@pytest.mark.parametrize("shown", ["", "junk", "e30:1vN:forged"])
def test_what_we_did_not_sign_is_as_if_nothing_was_said(key: ApiKey, url: str, ada_client: Client, shown: str) -> None:
    form: dict[str, Any] = {**opened(ada_client, url), "shown": shown, "requests_per_minute": "7"}
    assert ada_client.post(url, form).status_code == 302
