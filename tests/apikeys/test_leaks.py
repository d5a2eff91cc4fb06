"""Keys found where they should not be, and what becomes of them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.audit import person_token
from accounts.models import AuditEvent, AuditOrigin, Membership, Project, User
from accounts.roles import Role
from apikeys.health import Finding, with_finding
from apikeys.leak_views import REPORTS_PER_PERIOD
from apikeys.leaks import NO_NEWS, live_keys_in, report_leak
from apikeys.models import ApiKey, KeyPolicy, KeySecret
from apikeys.services import (
    change_policy,
    disable_key,
    mint_key,
    mint_management_key,
    retire_secret,
    revoke_key,
    rotate_key,
)
from apikeys.signals import key_leaked
from apikeys.verification import new_secret
from notifications.models import Notification

pytestmark = pytest.mark.django_db

PAGE, API = "/keys/found/", "/api/leaks/"


@pytest.fixture
def minted(ben: User, project: Project) -> tuple[ApiKey, str]:
    """A key of Ben's in Ada's project."""
    return mint_key(project=project, name="laptop", by=ben)


@pytest.fixture
def announced() -> Iterator[list[ApiKey]]:
    heard: list[ApiKey] = []

    def hear(sender: object, key: ApiKey, by: User | None, **said: object) -> None:
        heard.append(key)

    key_leaked.connect(hear)
    yield heard
    key_leaked.disconnect(hear)


def told() -> set[tuple[str, str]]:
    return set(Notification.objects.values_list("recipient__name", "kind"))


def test_it_works(client: Client, minted: tuple[ApiKey, str], announced: list[ApiKey]) -> None:
    key, secret = minted
    response = client.post(PAGE, {"text": f"API_KEY={secret}", "found_at": "a public repository"}, follow=True)
    assert "Thank you" in response.content.decode()
    assert secret not in response.content.decode()
    key.refresh_from_db()
    assert key.is_revoked
    assert key.leaked_at is not None
    assert told() == {("Ada", "apikeys.leaked_and_revoked"), ("Ben", "apikeys.leaked_and_revoked")}
    assert Notification.objects.filter(mail_due_at=None).count() == 0
    event = AuditEvent.objects.get(action="key.leaked")
    assert event.after == {"found_at": "a public repository", "revoked": True, "way": "page"}
    assert (event.actor, event.organization_id) == ("", key.project.organization.public_id if key.project else "")
    assert AuditEvent.objects.filter(action="key.revoked", actor="").exists()
    assert announced == [key]


def test_who_only_tells_us_leaves_no_address(client: Client, minted: tuple[ApiKey, str]) -> None:
    AuditOrigin.objects.all().delete()
    client.post(PAGE, {"text": minted[1]}, headers={"user-agent": "finder"})
    assert not AuditOrigin.objects.exists()


def test_by_policy_it_is_flagged_only(client: Client, minted: tuple[ApiKey, str], project: Project) -> None:
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    client.post(PAGE, {"text": minted[1]})
    key = ApiKey.objects.get()
    assert not key.is_revoked
    assert key.leaked_at is not None
    assert told() == {("Ada", "apikeys.leaked"), ("Ben", "apikeys.leaked")}


def rows() -> int:
    return AuditEvent.objects.filter(action="key.leaked").count()


def test_the_same_report_again_is_no_news(
    client: Client, minted: tuple[ApiKey, str], project: Project, announced: list[ApiKey]
) -> None:
    _key, secret = minted
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    answers = [client.post(PAGE, {"text": secret, "found_at": f"place {number}"}) for number in range(3)]
    answers += [client.post(API, {"key": secret}, content_type="application/json")]
    assert {answer.status_code for answer in answers} == {302, 202}
    assert (rows(), len(announced), Notification.objects.count()) == (1, 1, 2)
    assert list(Notification.objects.values_list("count", flat=True)) == [1, 1]
    # A day later it is told again, by now perhaps from another place.
    KeySecret.objects.update(leaked_at=timezone.now() - NO_NEWS)
    client.post(PAGE, {"text": secret})
    client.post(PAGE, {"text": secret})
    assert (rows(), len(announced)) == (2, 2)


def test_a_secret_made_since_is_news(client: Client, minted: tuple[ApiKey, str], ben: User, project: Project) -> None:
    key, secret = minted
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    client.post(PAGE, {"text": secret})
    new = rotate_key(key=key, overlap=timedelta(), by=ben)
    for _number in range(2):
        client.post(PAGE, {"text": new})
    assert rows() == 2


def test_the_other_secret_of_a_key_is_news(minted: tuple[ApiKey, str], ben: User, project: Project) -> None:
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    secrets = [minted[1], rotate_key(key=minted[0], overlap=timedelta(days=1), by=ben)]
    for secret in (*secrets, *secrets):
        report_leak(text=secret)
    assert rows() == 2


def test_a_policy_that_now_revokes_does_so_at_the_next_report(
    client: Client, ada: User, minted: tuple[ApiKey, str], project: Project
) -> None:
    change_policy(organization=project.organization, revokes_leaked=False, by=ada)
    client.post(PAGE, {"text": minted[1]})
    change_policy(organization=project.organization, revokes_leaked=True, by=ada)
    for _number in range(2):
        client.post(PAGE, {"text": minted[1]})
    assert ApiKey.objects.get().is_revoked
    assert rows() == 2


def test_a_management_key_ends_and_its_owner_is_told(client: Client, cyd: User) -> None:
    _key, secret = mint_management_key(owner=cyd, name="scripts")
    client.post(PAGE, {"text": secret})
    assert ApiKey.objects.get().is_revoked
    assert told() == {("Cyd", "apikeys.leaked_and_revoked")}


def test_every_kind_of_answer_is_the_same(
    client: Client, minted: tuple[ApiKey, str], project: Project, ada: User
) -> None:
    gone, gone_secret = mint_key(project=project, name="old", by=ada)
    revoke_key(key=gone, by=ada)
    answers = set()
    for secret in (minted[1], gone_secret, new_secret()):
        page = client.post(PAGE, {"text": secret})
        api = client.post(API, {"key": secret}, content_type="application/json")
        answers.add((page.status_code, page.headers["Location"], api.status_code, api.content))
    assert len(answers) == 1
    assert AuditEvent.objects.filter(action="key.leaked").count() == 1


def test_junk_is_refused_without_a_look_up(client: Client, minted: tuple[ApiKey, str]) -> None:
    broken = minted[1][:-1] + ("a" if minted[1][-1] != "a" else "b")
    with CaptureQueriesContext(connection) as queries:
        page = client.post(PAGE, {"text": broken})
        api = client.post(API, {"key": broken}, content_type="application/json")
    assert (page.status_code, api.status_code) == (400, 400)
    assert len(queries) == 0
    assert not ApiKey.objects.get().is_revoked


def test_the_api_takes_no_cookie_and_no_account(minted: tuple[ApiKey, str], ada_client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ada_client.cookies
    body = json.dumps({"key": minted[1], "found_at": "https://example.org/leak"})
    assert strict.post(API, body, content_type="application/json").status_code == 202
    event = AuditEvent.objects.get(action="key.leaked")
    assert (event.actor, event.after["found_at"]) == ("", "https://example.org/leak")


def test_a_report_of_someone_signed_in_is_theirs(cyd: User, cyd_client: Client, minted: tuple[ApiKey, str]) -> None:
    cyd_client.post(PAGE, {"text": minted[1]})
    assert AuditEvent.objects.get(action="key.leaked").actor == person_token(cyd)


def test_one_address_reports_only_so_often(client: Client, minted: tuple[ApiKey, str]) -> None:
    for _time in range(REPORTS_PER_PERIOD):
        assert client.post(PAGE, {"text": new_secret()}).status_code == 302
    page = client.post(PAGE, {"text": minted[1]})
    assert page.status_code == 429
    assert "Too many reports" in page.content.decode()
    answer = client.post(API, {"key": minted[1]}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert not ApiKey.objects.get().is_revoked
    assert client.get(PAGE).status_code == 200


def test_where_it_was_found_never_holds_the_key(minted: tuple[ApiKey, str]) -> None:
    _key, secret = minted
    report_leak(text=secret, found_at=f"https://example.org/?key={secret}")
    assert AuditEvent.objects.get(action="key.leaked").after["found_at"] == "https://example.org/?key=…"


def test_it_is_acted_on_once(minted: tuple[ApiKey, str]) -> None:
    for _time in range(2):
        report_leak(text=f"{minted[1]} {minted[1]}")
    assert AuditEvent.objects.filter(action="key.leaked").count() == 1


def test_a_disabled_key_is_still_worth_ending(minted: tuple[ApiKey, str], ada: User) -> None:
    disable_key(key=minted[0], by=ada)
    assert live_keys_in(minted[1]) == [minted[0]]


def test_members_who_do_not_manage_it_are_not_told(minted: tuple[ApiKey, str], project: Project, cyd: User) -> None:
    Membership.objects.create(organization=project.organization, user=cyd, role=Role.MEMBER)
    report_leak(text=minted[1])
    assert {name for name, _kind in told()} == {"Ada", "Ben"}


def test_a_name_is_not_a_key(settings: LazySettings, ada: User, ada_client: Client, project: Project) -> None:
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    page = ada_client.post("/settings/", {"name": secret, "language": "en"})
    assert page.status_code == 400
    assert "contains an API key that works" in page.content.decode()
    assert "“laptop”" in page.content.decode()
    ada.refresh_from_db()
    assert ada.name == "Ada"


def page_of(client: Client, key: ApiKey) -> str:
    return client.get(f"/keys/{key.public_id}/").content.decode()


def test_its_page_says_where_it_was_found_and_what_to_do(
    client: Client, minted: tuple[ApiKey, str], ben_client: Client, project: Project
) -> None:
    key, secret = minted
    ben_client.post(f"/projects/{project.public_id}/choose/")
    assert "where it should not be" not in page_of(ben_client, key)
    place = "https://evil.example/<script>x</script>"
    client.post(PAGE, {"text": secret, "found_at": place})
    page = page_of(ben_client, key)
    assert "https://evil.example/&lt;script&gt;x&lt;/script&gt;" in page
    assert 'href="https://evil.example' not in page
    assert "on the page for found keys" in page
    assert "It opens nothing any more" in page


def test_its_page_says_so_of_one_that_still_works_until_it_is_rotated(
    client: Client, minted: tuple[ApiKey, str], ben: User, ben_client: Client, project: Project
) -> None:
    key, secret = minted
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    client.post(API, {"key": secret}, content_type="application/json")
    page = page_of(ben_client, key)
    for words in ("A program, or somebody who uses the API", "The finder did not say", "Others may hold it"):
        assert words in page
    rotate_key(key=key, overlap=timedelta(days=1), by=ben)
    assert "Others may hold it" in page_of(ben_client, key)
    assert with_finding(ApiKey.objects.all(), Finding.LEAKED).exists()
    rotate_key(key=key, overlap=timedelta(), by=ben)
    assert "has been replaced" in page_of(ben_client, key)
    assert not with_finding(ApiKey.objects.all(), Finding.LEAKED).exists()


def test_a_clean_secret_is_not_blamed_for_the_old_one(
    minted: tuple[ApiKey, str], ben: User, ben_client: Client, project: Project
) -> None:
    key, old = minted
    KeyPolicy.objects.create(organization=project.organization, revokes_leaked=False)
    rotate_key(key=key, overlap=timedelta(days=1), by=ben)
    ben_client.post(f"/projects/{project.public_id}/choose/")
    report_leak(text=old)
    assert "Others may hold it" in page_of(ben_client, key)
    assert "Seen leaked" in ben_client.get("/keys/").content.decode()
    retire_secret(secret=key.secrets.exclude(valid_until=None).get(), by=ben)
    assert "has been replaced" in page_of(ben_client, key)
    assert "Seen leaked" not in ben_client.get("/keys/").content.decode()
    assert not with_finding(ApiKey.objects.all(), Finding.LEAKED).exists()


def test_of_keys_found_before_every_secret_of_that_time_is_blamed(minted: tuple[ApiKey, str], ben: User) -> None:
    key, _secret = minted
    for _number in range(3):
        rotate_key(key=key, overlap=timedelta(days=1), by=ben)
    ended, *blamed, later = key.secrets.order_by("pk")
    now = timezone.now()
    KeySecret.objects.filter(pk=ended.pk).update(valid_until=now - timedelta(hours=2))
    KeySecret.objects.filter(pk=later.pk).update(created_at=now)
    KeySecret.objects.exclude(pk=later.pk).update(created_at=now - timedelta(days=1))
    ApiKey.objects.update(leaked_at=now - timedelta(hours=1))
    import_module("apikeys.migrations.0007_which_secret_was_found").blame_the_secrets_of_that_time(apps, None)
    assert list(KeySecret.objects.leaked().order_by("pk")) == blamed
    assert not KeySecret.objects.exclude(pk__in=[one.pk for one in blamed]).exclude(leaked_at=None).exists()


def test_who_was_signed_in_is_named(cyd_client: Client, minted: tuple[ApiKey, str], ben_client: Client) -> None:
    cyd_client.post(PAGE, {"text": minted[1], "found_at": "a chat"})
    found = ben_client.get(f"/keys/{minted[0].public_id}/").context["found"]
    assert (found.by, found.place) == ("Cyd", "a chat")


def test_what_the_log_has_forgotten_is_not_made_up(minted: tuple[ApiKey, str], ben_client: Client) -> None:
    ApiKey.objects.update(leaked_at=timezone.now())
    assert "The audit log does not go back so far" in page_of(ben_client, minted[0])
