"""What GitHub's secret scanning reports, with real keys and over real HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from accounts.models import AuditEvent, Project, User
from apikeys.leak_views import REPORTS_PER_PERIOD
from apikeys.models import ApiKey, KeyPolicy
from apikeys.services import mint_key, revoke_key
from apikeys.verification import new_secret
from notifications.models import Notification
from tests.fakes.github import GitHub, github

pytestmark = pytest.mark.django_db

URL = "/keys/found/github/"
FILE = "https://github.com/octocat/Hello-World/blob/1234560/foo.py"


@pytest.fixture
def hub(settings: LazySettings) -> Iterator[GitHub]:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with github() as told:
        settings.GITHUB_SECRET_SCANNING_KEYS_URL = told.url
        yield told


@pytest.fixture
def minted(ada: User, project: Project) -> tuple[ApiKey, str]:
    return mint_key(project=project, name="laptop", by=ada)


def finding(token: str) -> dict[str, str]:
    return {"token": token, "type": "lyceum_api_key", "url": FILE, "source": "content"}


def report(hub: GitHub, found: Any, *, key: str = "first", **headers: str) -> Any:
    body = json.dumps(found).encode()
    strict = Client(enforce_csrf_checks=True)
    return strict.post(URL, body, content_type="application/json", headers={**hub.signed(key, body), **headers})


def test_it_works(hub: GitHub, minted: tuple[ApiKey, str], ada_client: Client) -> None:
    key, secret = minted
    unknown = new_secret()
    answer = report(hub, [finding(secret), finding(unknown), finding("ghp_something_else")])
    assert answer.status_code == 200
    assert [(one["token_raw"], one["token_type"], one["label"]) for one in answer.json()] == [
        (secret, "lyceum_api_key", "true_positive"),
        (unknown, "lyceum_api_key", "false_positive"),
        ("ghp_something_else", "lyceum_api_key", "false_positive"),
    ]
    key.refresh_from_db()
    assert key.is_revoked
    assert AuditEvent.objects.get(action="key.leaked").after == {"found_at": FILE, "revoked": True, "way": "github"}
    assert Notification.objects.get().kind == "apikeys.leaked_and_revoked"
    page = ada_client.get(f"/keys/{key.public_id}/").content.decode()
    assert FILE in page
    assert "GitHub’s secret scanning" in page


def test_what_was_revoked_before_was_a_key_all_the_same(hub: GitHub, ada: User, minted: tuple[ApiKey, str]) -> None:
    revoke_key(key=minted[0], by=ada)
    assert report(hub, [finding(minted[1])]).json()[0]["label"] == "true_positive"
    assert not AuditEvent.objects.filter(action="key.leaked").exists()


def test_the_policy_decides_here_as_well(hub: GitHub, minted: tuple[ApiKey, str], project: Project) -> None:
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    for _number in range(2):
        assert report(hub, [finding(minted[1])]).json()[0]["label"] == "true_positive"
    assert not ApiKey.objects.get().is_revoked
    assert AuditEvent.objects.filter(action="key.leaked").count() == 1


def test_the_keys_are_fetched_once(hub: GitHub) -> None:
    for _number in range(REPORTS_PER_PERIOD + 5):
        assert report(hub, []).status_code == 200
    assert hub.asked == 1


@pytest.mark.parametrize(
    "forged",
    [
        {"Github-Public-Key-Signature": ""},
        {"Github-Public-Key-Signature": "no base64"},
        {"Github-Public-Key-Signature": "MEUC"},
        {"Github-Public-Key-Identifier": "unknown"},
        {"Github-Public-Key-Identifier": ""},
    ],
)
def test_what_is_not_signed_is_refused(hub: GitHub, minted: tuple[ApiKey, str], forged: dict[str, str]) -> None:
    answer = report(hub, [finding(minted[1])], **forged)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_signed")
    assert minted[1] not in answer.content.decode()
    assert not ApiKey.objects.get().is_revoked


def test_a_signature_of_another_body_is_refused(hub: GitHub, minted: tuple[ApiKey, str]) -> None:
    other = hub.signed("first", b"[]")
    assert report(hub, [finding(minted[1])], **other).status_code == 403
    assert not ApiKey.objects.get().is_revoked


def test_unknown_names_fetch_no_more_than_once_a_minute(hub: GitHub) -> None:
    for number in range(5):
        assert report(hub, [], **{"Github-Public-Key-Identifier": f"x{number}"}).status_code == 403
    assert hub.asked == 1


@pytest.mark.parametrize("broken", [b"no JSON", b"{}", b'{"public_keys": [{"key_identifier": "first", "key": "x"}]}'])
def test_without_its_keys_it_is_asked_to_come_again(hub: GitHub, minted: tuple[ApiKey, str], broken: bytes) -> None:
    hub.broken = broken
    for _number in range(2):
        answer = report(hub, [finding(minted[1])])
        assert (answer.status_code, answer.json()["code"]) == (503, "keys_unknown")
    assert hub.asked == 1
    assert not ApiKey.objects.get().is_revoked


def test_its_keys_are_not_fetched_from_a_private_address(hub: GitHub, settings: LazySettings) -> None:
    settings.OUTBOUND_NETWORKS = []
    assert report(hub, []).status_code == 503
    assert hub.asked == 0


@pytest.mark.parametrize(
    "found", [{}, "x", None, [1], [{}], [{"token": 1, "type": "a"}], [finding("x\0")], [finding("x")] * 1001]
)
def test_what_is_no_list_of_findings_is_refused(hub: GitHub, found: Any) -> None:
    answer = report(hub, found)
    assert (answer.status_code, answer.json()["code"]) == (400, "unreadable")


def test_who_takes_no_part_has_no_such_address(client: Client) -> None:
    assert client.post(URL, b"[]", content_type="application/json").status_code == 404
