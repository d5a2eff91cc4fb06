"""Keys over the REST API, with a session and with a management key alike."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Project, User
from apikeys.models import ApiKey, KeyMakers, KeyPolicy
from apikeys.services import change_key, mint_key, mint_management_key, revoke_key, rotate_key
from apikeys.verification import kind_of
from tests.races import at_once

URL = "/api/keys/"


def post(client: Client, address: str, body: Any = None) -> Any:
    return client.post(address, body or {}, content_type="application/json")


def patch(client: Client, address: str, body: Any) -> Any:
    return client.patch(address, body, content_type="application/json")


@pytest.fixture
def key(ada: User, project: Project) -> ApiKey:
    return mint_key(project=project, name="laptop", by=ada)[0]


@pytest.fixture
def url(key: ApiKey) -> str:
    return f"{URL}{key.public_id}/"


def test_it_works(ada_client: Client, project: Project) -> None:
    made = post(ada_client, URL, {"name": "laptop", "allowed_networks": ["10.0.0.0/8"], "requests_per_minute": 5})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    body = made.json()
    assert ApiKey.objects.behind(body["secret"]).get().public_id == body["id"]
    assert (body["kind"], body["state"], body["project"]) == ("project", "active", project.public_id)
    read = ada_client.get(f"{URL}{body['id']}/").json()
    assert (read["allowed_networks"], read["requests_per_minute"]) == (["10.0.0.0/8"], 5)
    assert "secret" not in read
    assert [secret["valid_until"] for secret in read["secrets"]] == [None]


def test_each_kind_is_made(ada: User, ada_client: Client, client: Client) -> None:
    _key, secret = mint_management_key(owner=ada, name="terraform")
    bearer = {"authorization": f"Bearer {secret}"}
    for caller, headers, body in (
        (client, bearer, {"name": "a", "kind": "project"}),
        (client, bearer, {"name": "b", "kind": "service", "service_account": "nightly"}),
        (ada_client, {}, {"name": "c", "kind": "management", "is_read_only": True}),
    ):
        made = caller.post(URL, body, content_type="application/json", headers=headers)
        assert made.status_code == 201
        assert kind_of(made.json()["secret"]) == body["kind"]
    listed = client.get(f"{URL}?kind=management", headers={"authorization": f"Bearer {secret}"}).json()["data"]
    assert [row["name"] for row in listed] == ["c", "terraform"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "x", "allowed_models": ["no-such-model"]}, "allowed_models"),
        ({"name": "x", "allowed_endpoints": ["fine-tuning"]}, "allowed_endpoints.0"),
        ({"name": "x", "allowed_networks": ["10.0.0.1/8"]}, "allowed_networks"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "requests_per_minute": 0}, "requests_per_minute"),
        ({"name": "x", "kind": "service"}, "service_account"),
        ({"name": "x", "service_account": "nightly"}, "service_account"),
        ({"name": "x", "kind": "root"}, "kind"),
    ],
)
def test_what_cannot_be_names_its_field(ada_client: Client, body: dict[str, Any], field: str) -> None:
    refusal = post(ada_client, URL, body)
    assert (refusal.status_code, refusal["Content-Type"]) == (400, "application/problem+json")
    assert [error["field"] for error in refusal.json()["errors"]] == [field]
    assert not ApiKey.objects.exists()


def test_it_is_changed_in_part(ada_client: Client, key: ApiKey, url: str) -> None:
    patch(ada_client, url, {"tokens_per_minute": 9, "description": "At home"})
    assert patch(ada_client, url, {"tokens_per_minute": None, "name": "desktop"}).json()["name"] == "desktop"
    key.refresh_from_db()
    assert (key.name, key.description, key.tokens_per_minute) == ("desktop", "At home", None)


@pytest.mark.parametrize("field", ["kind", "name", "no such field"])
def test_half_a_character_is_refused(ada_client: Client, field: str) -> None:
    refused = ada_client.post(URL, f'{{"name": "x", "{field}": ["\\ud800"]}}', content_type="application/json")
    assert (refused.status_code, refused["Content-Type"]) == (400, "application/problem+json")


def test_half_a_character_is_no_policy_and_no_role(ada_client: Client, project: Project) -> None:
    organization = project.organization.public_id
    for act, address, field in (
        (ada_client.patch, f"{URL}policy/", "makers"),
        (ada_client.post, f"/api/organizations/{organization}/join-links/", "role"),
    ):
        refused = act(address, f'{{"{field}": "\\ud800"}}', content_type="application/json")
        assert (refused.status_code, refused["Content-Type"]) == (400, "application/problem+json")


def test_a_whole_character_in_two_escapes_is_taken(ada_client: Client) -> None:
    made = ada_client.post(URL, '{"name": "\\ud83d\\ude00"}', content_type="application/json")
    assert made.json()["name"] == "😀"


@pytest.mark.django_db(transaction=True)
def test_changes_at_once_both_hold(ada: User, key: ApiKey) -> None:
    outcomes = at_once(
        lambda: change_key(key=key, changes={"requests_per_minute": 5}, by=ada),
        lambda: change_key(key=ApiKey.objects.get(pk=key.pk), changes={"tokens_per_minute": 9}, by=ada),
        lambda: change_key(key=ApiKey.objects.get(pk=key.pk), changes={"name": "desktop"}, by=ada),
    )
    assert outcomes == [None] * 3
    key.refresh_from_db()
    assert (key.requests_per_minute, key.tokens_per_minute, key.name) == (5, 9, "desktop")


def test_what_changed_since_it_was_read_stays(ada: User, key: ApiKey) -> None:
    change_key(key=ApiKey.objects.get(pk=key.pk), changes={"allowed_networks": ("10.0.0.0/8",)}, by=ada)
    change_key(key=key, changes={"tokens_per_minute": 9}, by=ada)
    assert key.allowed_networks == ["10.0.0.0/8"]
    key.refresh_from_db()
    assert (key.allowed_networks, key.tokens_per_minute) == (["10.0.0.0/8"], 9)


@pytest.mark.parametrize("expires_at", ["2001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_it_is_not_moved_into_the_past(ada_client: Client, url: str, expires_at: str) -> None:
    assert patch(ada_client, url, {"expires_at": expires_at}).status_code == 400


def test_it_is_rotated_and_the_old_secret_retired(ada_client: Client, key: ApiKey, url: str) -> None:
    rotated = post(ada_client, f"{url}rotate/", {"overlap_minutes": 60}).json()
    assert ApiKey.objects.behind(rotated["secret"]).get() == key
    newest, old = ada_client.get(url).json()["secrets"]
    assert (newest["valid_until"], old["valid_until"] is None) == (None, False)
    assert post(ada_client, f"{url}secrets/{newest['id']}/retire/").status_code == 400
    assert post(ada_client, f"{url}secrets/{old['id']}/retire/").status_code == 200
    assert key.secrets.valid().count() == 1
    assert post(ada_client, f"{url}rotate/", {"overlap_minutes": 30}).status_code == 400


def test_it_is_disabled_enabled_and_revoked(ada_client: Client, url: str) -> None:
    for act, state in (("disable", "disabled"), ("enable", "active"), ("revoke", "revoked"), ("revoke", "revoked")):
        assert post(ada_client, f"{url}{act}/").json()["state"] == state


def test_nothing_brings_a_revoked_key_back(ada: User, ada_client: Client, key: ApiKey, url: str) -> None:
    revoke_key(key=key, by=ada)
    for answer in (
        patch(ada_client, url, {"name": "again"}),
        post(ada_client, f"{url}enable/"),
        post(ada_client, f"{url}rotate/"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")


def test_who_may_what(ada: User, key: ApiKey, url: str, ben_client: Client, cyd_client: Client) -> None:
    rotate_key(key=key, overlap=timedelta(hours=1), by=ada)
    secret = key.secrets.exclude(valid_until=None).get().public_id
    acts = [f"{url}{act}/" for act in ("disable", "enable", "revoke", "rotate", f"secrets/{secret}/retire")]
    for client, reads, writes in ((ben_client, 200, 403), (cyd_client, 404, 404)):
        assert client.get(url).status_code == reads
        assert patch(client, url, {"name": "mine"}).status_code == writes
        assert [post(client, address).status_code for address in acts] == [writes] * len(acts)
    assert ApiKey.objects.get() == key


def test_a_strangers_project_is_not_there(cyd_client: Client, project: Project) -> None:
    for address in (URL, f"{URL}health/"):
        assert cyd_client.get(f"{address}?finding=idle&project={project.public_id}").status_code == 404
    assert post(cyd_client, f"{URL}?project={project.public_id}", {"name": "x"}).status_code == 404
    organization = project.organization.public_id
    assert cyd_client.get(f"{URL}policy/?organization={organization}").status_code == 404


def test_the_policy_is_read_and_changed(ada_client: Client, ben_client: Client, project: Project) -> None:
    address = f"{URL}policy/?organization={project.organization.public_id}"
    assert ben_client.get(address).json()["makers"] == "members"
    assert patch(ben_client, address, {"makers": "admins"}).status_code == 403
    changed = patch(ada_client, address, {"makers": "admins", "longest_lifetime_days": 30})
    assert (changed.json()["longest_lifetime_days"], changed.json()["revokes_leaked"]) == (30, True)
    refused = post(ben_client, f"{URL}?project={project.public_id}", {"name": "mine"})
    assert refused.status_code == 403
    assert "only admins make keys" in refused.json()["detail"]
    assert patch(ada_client, address, {"allowed_networks": ["x"]}).status_code == 400


def test_the_policy_is_explained_where_it_is_broken(ada_client: Client, project: Project, url: str) -> None:
    KeyPolicy.objects.create(
        organization=project.organization, longest_lifetime_days=30, default_budget_nano=7, makers=KeyMakers.ADMINS
    )
    for refusal in (
        post(ada_client, URL, {"name": "x"}),
        patch(ada_client, url, {"expires_at": "2099-01-01T00:00:00Z"}),
    ):
        [error] = refusal.json()["errors"]
        assert (error["field"], error["code"]) == ("expires_at", "key_policy")
        assert "at most 30 days" in error["detail"]
    soon = (timezone.now() + timedelta(days=3)).isoformat()
    assert post(ada_client, URL, {"name": "x", "expires_at": soon}).json()["monthly_budget_nano"] == 7
    free = post(ada_client, URL, {"name": "x", "expires_at": soon, "monthly_budget_nano": None})
    assert free.json()["monthly_budget_nano"] is None


def test_health(ada_client: Client, key: ApiKey) -> None:
    assert [row["id"] for row in ada_client.get(f"{URL}health/?finding=no_limit").json()["data"]] == [key.public_id]
    assert ada_client.get(f"{URL}health/?finding=idle").json()["data"] == []
    assert ada_client.get(f"{URL}health/").status_code == 400


def test_its_queries_do_not_grow_with_the_keys(
    ada: User, project: Project, ada_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        mint_key(project=project, name=f"key {number}", by=ada)
    # session, user, standing, project, role, keys
    with django_assert_num_queries(6):
        ada_client.get(URL)
