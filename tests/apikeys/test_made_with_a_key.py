"""Keys made, changed, rotated and enabled with a restricted management key: none is wider than it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Project, ServiceAccount, User
from apikeys.models import ApiKey
from apikeys.services import disable_key, mint_key, mint_management_key
from apikeys.terms import Terms

URL = "/api/keys/"
SOON, LATER = timezone.now() + timedelta(days=1), timezone.now() + timedelta(days=2)
WITHIN, AROUND = ("127.0.0.0/30",), ("127.0.0.0/8", "10.0.0.0/8")
BOTH = {"allowed_networks", "expires_at"}

Send = Callable[..., Any]


def send_as(client: Client, owner: User, terms: Terms) -> Send:
    _key, secret = mint_management_key(owner=owner, name="terraform", terms=terms)

    def send(method: str, address: str, **body: Any) -> Any:
        bearer = {"authorization": f"Bearer {secret}"}
        return getattr(client, method)(address, body, content_type="application/json", headers=bearer)

    return send


@pytest.fixture
def send(client: Client, ada: User) -> Send:
    """Asks with a management key of Ada's that ends tomorrow and may be used from this machine and its neighbors."""
    return send_as(client, ada, Terms(allowed_networks=("127.0.0.0/24", "192.0.2.0/24"), expires_at=SOON))


def wide(ada: User, project: Project, networks: tuple[str, ...] = (), expires_at: datetime | None = None) -> ApiKey:
    return mint_key(
        project=project, name="wide", by=ada, terms=Terms(allowed_networks=networks, expires_at=expires_at)
    )[0]


def blamed(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.content
    errors = answer.json()["errors"]
    assert {error["code"] for error in errors} == {"wider_than_your_key"}
    return {error["field"] for error in errors}


def test_it_works(send: Send, project: Project) -> None:
    made = send("post", URL, name="ci", allowed_networks=WITHIN, expires_at=SOON.isoformat())
    assert made.status_code == 201
    key = ApiKey.objects.get(name="ci")
    narrower = send("patch", f"{URL}{key.public_id}/", allowed_networks=["192.0.2.7/32"], requests_per_minute=5)
    assert narrower.status_code == 200
    assert send("post", f"{URL}{key.public_id}/rotate/").status_code == 200
    assert send("post", f"{URL}{key.public_id}/disable/").status_code == 200
    assert send("post", f"{URL}{key.public_id}/enable/").status_code == 200


@pytest.mark.parametrize("kind", [{}, {"kind": "service", "service_account": "nightly"}])
@pytest.mark.parametrize(
    ("terms", "faults"),
    [
        ({}, BOTH),
        ({"allowed_networks": [], "expires_at": None}, BOTH),
        ({"allowed_networks": WITHIN}, {"expires_at"}),
        ({"allowed_networks": WITHIN, "expires_at": LATER.isoformat()}, {"expires_at"}),
        ({"expires_at": SOON.isoformat()}, {"allowed_networks"}),
        ({"allowed_networks": AROUND, "expires_at": SOON.isoformat()}, {"allowed_networks"}),
        ({"allowed_networks": (*WITHIN, "::1/128"), "expires_at": SOON.isoformat()}, {"allowed_networks"}),
    ],
)
def test_a_wider_key_is_not_made(
    send: Send, project: Project, kind: dict[str, Any], terms: dict[str, Any], faults: set[str]
) -> None:
    answer = send("post", URL, name="wide", **kind, **terms)
    assert blamed(answer) == faults
    assert not ApiKey.objects.filter(name="wide").exists()
    assert not ServiceAccount.objects.exists()


def test_the_refusal_says_what_would_do(send: Send, project: Project) -> None:
    said = send("post", URL, name="wide").json()["detail"]
    assert "127.0.0.0/24, 192.0.2.0/24" in said
    assert f"{SOON:%Y-%m-%d %H:%M} (UTC)" in said


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"allowed_networks": []}, {"allowed_networks"}),
        ({"allowed_networks": AROUND}, {"allowed_networks"}),
        ({"expires_at": None}, {"expires_at"}),
        ({"expires_at": LATER.isoformat()}, {"expires_at"}),
    ],
)
def test_a_key_is_not_widened(
    send: Send, ada: User, project: Project, changes: dict[str, Any], faults: set[str]
) -> None:
    key = wide(ada, project, WITHIN, SOON)
    assert blamed(send("patch", f"{URL}{key.public_id}/", **changes)) == faults
    key.refresh_from_db()
    assert (tuple(key.allowed_networks), key.expires_at) == (WITHIN, SOON)


def test_what_else_a_wide_key_is_held_to_is_changed(send: Send, ada: User, project: Project) -> None:
    key = wide(ada, project)
    assert send("patch", f"{URL}{key.public_id}/", name="renamed", requests_per_minute=5).status_code == 200
    assert send("patch", f"{URL}{key.public_id}/", allowed_networks=WITHIN).status_code == 200


def test_no_new_secret_of_a_wider_key_is_given_out(send: Send, ada: User, project: Project) -> None:
    for key, faults in (
        (wide(ada, project), BOTH),
        (wide(ada, project, AROUND, SOON), {"allowed_networks"}),
        (wide(ada, project, WITHIN, LATER), {"expires_at"}),
    ):
        assert blamed(send("post", f"{URL}{key.public_id}/rotate/")) == faults
        assert key.secrets.count() == 1


def test_a_wider_key_is_not_brought_back(send: Send, ada: User, project: Project) -> None:
    key = wide(ada, project)
    disable_key(key=key, by=ada)
    assert blamed(send("post", f"{URL}{key.public_id}/enable/")) == BOTH
    key.refresh_from_db()
    assert key.is_disabled


@pytest.mark.parametrize(
    ("terms", "faults"),
    [
        (Terms(), set()),
        (Terms(expires_at=SOON), {"expires_at"}),
        (Terms(allowed_networks=("127.0.0.1/32",)), {"allowed_networks"}),
    ],
)
def test_only_what_the_management_key_is_held_to_counts(
    client: Client, ada: User, project: Project, terms: Terms, faults: set[str]
) -> None:
    answer = send_as(client, ada, terms)("post", URL, name="wide")
    assert (blamed(answer) if faults else answer.status_code) == (faults or 201)


def test_signed_in_its_owner_does_all_of_it(ada: User, ada_client: Client, project: Project, send: Send) -> None:
    key = wide(ada, project)
    for act in ("rotate", "disable", "enable"):
        assert ada_client.post(f"{URL}{key.public_id}/{act}/", {}, content_type="application/json").status_code == 200
