"""Management keys: a person's rights on the REST API, for a program."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import Project, User
from accounts.second_factor import require_second_factor
from accounts.services import accept_terms, publish_terms
from apikeys.models import ApiKey, KeySecret
from apikeys.services import disable_key, enable_key, mint_key, mint_management_key, revoke_key
from apikeys.terms import Terms
from apikeys.verification import new_secret, prefix_of
from tests.accounts.test_second_factor import give_factor

URL = "/api/keys/"


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def minted(ada: User) -> tuple[ApiKey, str]:
    return mint_management_key(owner=ada, name="terraform")


@pytest.fixture
def key(minted: tuple[ApiKey, str]) -> ApiKey:
    return minted[0]


@pytest.fixture
def secret(minted: tuple[ApiKey, str]) -> str:
    return minted[1]


def refusal(client: Client, secret: str) -> str:
    answer = client.get(URL, headers=bearer(secret))
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer["WWW-Authenticate"] == "Bearer"
    assert secret not in answer.content.decode()
    code: str = answer.json()["code"]
    return code


def test_it_works(client: Client, ada: User, project: Project, secret: str) -> None:
    assert secret.startswith(f"{prefix_of('management')}_")
    mint_key(project=project, name="laptop", by=ada)
    answer = client.get(URL, headers=bearer(secret))
    assert [row["name"] for row in answer.json()["data"]] == ["laptop"]
    assert not answer.cookies
    assert not Session.objects.exists()


def test_writing_needs_no_csrf_token(secret: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/api/runs/", {}, content_type="application/json", headers=bearer(secret))
    assert answer.status_code == 400


def test_it_opens_what_its_owner_may_and_no_more(client: Client, cyd: User, project: Project) -> None:
    _key, secret = mint_management_key(owner=cyd, name="curious")
    assert client.get(f"{URL}?project={project.public_id}", headers=bearer(secret)).status_code == 404


def test_the_key_is_judged_and_not_the_session(ada_client: Client) -> None:
    assert refusal(ada_client, new_secret("management")) == "invalid_api_key"


@pytest.mark.parametrize("junk", ["", "x", "lycadm_" + "a" * 36, "é" * 40, "Bearer"])
def test_junk_is_refused(client: Client, db: None, junk: str) -> None:
    answer = client.get(URL, headers={"authorization": f"Bearer {junk}".encode().decode("latin-1")})
    assert answer.status_code == 401


def test_a_revoked_one_is_refused(client: Client, ada: User, key: ApiKey, secret: str) -> None:
    revoke_key(key=key, by=ada)
    assert refusal(client, secret) == "invalid_api_key"


def test_a_disabled_one_is_refused_until_it_is_enabled(client: Client, ada: User, key: ApiKey, secret: str) -> None:
    disable_key(key=key, by=ada)
    assert refusal(client, secret) == "invalid_api_key"
    enable_key(key=key, by=ada)
    assert client.get(URL, headers=bearer(secret)).status_code == 200


def test_an_expired_one_is_refused(client: Client, key: ApiKey, secret: str) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    assert refusal(client, secret) == "invalid_api_key"


def test_a_retired_secret_is_refused(client: Client, key: ApiKey, secret: str) -> None:
    KeySecret.objects.filter(key=key).update(valid_until=timezone.now())
    assert refusal(client, secret) == "invalid_api_key"


def test_it_stops_with_its_owners_account(client: Client, ada: User, secret: str) -> None:
    ada.is_active = False
    ada.save()
    assert refusal(client, secret) == "invalid_api_key"


def test_from_another_address_it_is_refused(client: Client, ada: User) -> None:
    for networks, status in ((("127.0.0.0/8",), 200), (("192.0.2.0/24", "2001:db8::/32"), 401)):
        _key, secret = mint_management_key(owner=ada, name="office", terms=Terms(allowed_networks=networks))
        assert client.get(URL, headers=bearer(secret)).status_code == status


def test_a_key_of_a_project_opens_nothing_here(client: Client, ada: User, project: Project) -> None:
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    assert refusal(client, secret) == "wrong_kind_of_key"


def test_one_that_only_reads_does_not_write(client: Client, ada: User) -> None:
    _key, secret = mint_management_key(owner=ada, name="dashboard", terms=Terms(is_read_only=True))
    assert client.get(URL, headers=bearer(secret)).status_code == 200
    answer = client.post("/api/runs/", {}, content_type="application/json", headers=bearer(secret))
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only_key")


def test_it_waits_until_its_owner_accepts_the_terms(client: Client, ada: User, sam: User, secret: str) -> None:
    version = publish_terms(english="Be kind.", chinese="", in_force_at=timezone.now(), by=sam)
    answer = client.get(URL, headers=bearer(secret))
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert answer.json()["code"] == "terms_not_accepted"
    assert f"{settings.PUBLIC_URL}/terms/" in answer.json()["detail"]
    assert KeySecret.objects.get().last_used_at is None
    accept_terms(version=version, by=ada)
    assert client.get(URL, headers=bearer(secret)).status_code == 200


def test_it_waits_until_its_owner_has_the_second_factor_that_is_asked_for(
    client: Client, ada: User, ben: User, project: Project
) -> None:
    _key, secret = mint_management_key(owner=ben, name="terraform")
    give_factor(ada)
    require_second_factor(organization=project.organization, required=True, by=ada)
    answer = client.get(URL, headers=bearer(secret))
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert answer.json()["code"] == "second_factor_required"
    assert f"{settings.PUBLIC_URL}/second-factor/" in answer.json()["detail"]
    assert KeySecret.objects.get().last_used_at is None
    give_factor(ben)
    assert client.get(URL, headers=bearer(secret)).status_code == 200


def test_that_of_staff_waits_where_the_operator_asks_it_of_all_staff(
    client: Client, sam: User, settings: LazySettings
) -> None:
    _key, secret = mint_management_key(owner=sam, name="terraform")
    assert client.get(URL, headers=bearer(secret)).status_code == 200
    settings.REQUIRE_SECOND_FACTOR_FOR_STAFF = True
    assert client.get(URL, headers=bearer(secret)).json()["code"] == "second_factor_required"


def test_its_use_is_noted_once_a_minute(client: Client, key: ApiKey, secret: str) -> None:
    client.get(URL, headers=bearer(secret) | {"user-agent": "terraform/1.9"})
    kept = key.secrets.get()
    assert (kept.last_used_address, kept.last_used_agent) == ("127.0.0.1", "terraform/1.9")
    assert kept.last_used_at is not None
    client.get(URL, headers=bearer(secret) | {"user-agent": "curl/8"})
    assert key.secrets.get().last_used_agent == "terraform/1.9"
    key.secrets.update(last_used_at=kept.last_used_at - timedelta(minutes=2))
    client.get(URL, headers=bearer(secret) | {"user-agent": "curl/8"})
    assert key.secrets.get().last_used_agent == "curl/8"


def test_it_opens_no_page(client: Client, secret: str) -> None:
    assert client.get("/keys/", headers=bearer(secret)).status_code == 302


@pytest.mark.parametrize(
    ("method", "act", "body"),
    [
        ("POST", "", {"name": "free", "kind": "management"}),
        ("PATCH", "{key}/", {"allowed_networks": []}),
        ("POST", "{key}/rotate/", {}),
        ("POST", "{key}/enable/", {}),
    ],
)
def test_it_frees_neither_itself_nor_another(
    client: Client, ada: User, ada_client: Client, key: ApiKey, secret: str, method: str, act: str, body: dict[str, Any]
) -> None:
    other, _secret = mint_management_key(owner=ada, name="other", terms=Terms(allowed_networks=("192.0.2.0/24",)))
    disable_key(key=other, by=ada)
    for target in (key, other):
        address = URL + act.format(key=target.public_id)
        answer = client.generic(method, address, json.dumps(body), "application/json", headers=bearer(secret))
        assert (answer.status_code, answer.json()["code"]) == (403, "needs_a_person")
    other.refresh_from_db()
    assert (other.allowed_networks, other.is_disabled) == (["192.0.2.0/24"], True)
    assert ApiKey.objects.count() == KeySecret.objects.count() == 2
    address = URL + act.format(key=other.public_id)
    assert ada_client.generic(method, address, json.dumps(body), "application/json").status_code in (200, 201)


@pytest.mark.parametrize("act", ["disable", "revoke"])
def test_it_may_end_itself(client: Client, key: ApiKey, secret: str, act: str) -> None:
    assert client.post(f"{URL}{key.public_id}/{act}/", headers=bearer(secret)).status_code == 200
    assert refusal(client, secret) == "invalid_api_key"


def test_it_still_changes_keys_of_projects(client: Client, ada: User, project: Project, secret: str) -> None:
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    rotated = client.post(f"{URL}{key.public_id}/rotate/", {}, content_type="application/json", headers=bearer(secret))
    assert rotated.status_code == 200


@pytest.mark.parametrize(
    "terms", [Terms(allowed_networks=("127.0.0.0/8",)), Terms(expires_at=timezone.now() + timedelta(hours=1))]
)
def test_one_that_is_bound_lets_nobody_in_for_longer(
    client: Client, ada: User, ben: User, project: Project, terms: Terms
) -> None:
    _key, secret = mint_management_key(owner=ada, name="ci", terms=terms)
    organization = f"/api/organizations/{project.organization.public_id}"
    later = "2050-01-01T00:00:00Z"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{organization}/invitations/", {"email": "eve@example.com", "role": "owner"}),
        ("POST", f"{organization}/join-links/", {"name": "x", "role": "member", "most_joins": 5, "ends_at": later}),
        ("POST", f"{organization}/cohorts/", {"name": "x", "most_joins": 5, "ends_at": later}),
        ("PATCH", f"{organization}/members/{ben.public_id}/", {"role": "owner"}),
        ("POST", f"{organization}/members/{ben.public_id}/transfer/", {}),
        ("POST", f"{organization}/webhooks/", {"url": "https://example.com/", "event_types": []}),
        ("PATCH", f"/api/keys/policy/?organization={project.organization.public_id}", {"allowed_networks": []}),
    ]
    for method, address, body in asked:
        answer = client.generic(
            method, address, json.dumps(body), content_type="application/json", headers=bearer(secret)
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "needs_a_person"), address
    assert client.get(f"{organization}/members/", headers=bearer(secret)).status_code == 200
