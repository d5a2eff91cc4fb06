"""A key's page, and what is done from there."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import AuditEvent, Project, User
from accounts.projects.services import open_service_account
from apikeys.leaks import report_leak
from apikeys.models import ApiKey, KeySecret
from apikeys.services import (
    change_key,
    disable_key,
    mint_key,
    mint_management_key,
    revoke_key,
    rotate_key,
)
from apikeys.terms import Terms
from apikeys.verification import find_keys


@pytest.fixture
def key(ada: User, project: Project) -> ApiKey:
    return mint_key(project=project, name="laptop", by=ada)[0]


@pytest.fixture
def url(key: ApiKey) -> str:
    return f"/keys/{key.public_id}/"


def acts(key: ApiKey) -> list[str]:
    return list(AuditEvent.objects.filter(target_id=key.public_id).order_by("at").values_list("action", flat=True))


def test_it_works(key: ApiKey, url: str, ada_client: Client) -> None:
    page = ada_client.get(url).content.decode()
    assert key.hint in page
    assert key.public_id in page
    assert key.secrets.get().digest not in page


def test_a_stranger_gets_404_everywhere(key: ApiKey, url: str, cyd_client: Client) -> None:
    secret = key.secrets.get()
    for address in (url, f"{url}edit/"):
        assert cyd_client.get(address).status_code == 404
    for act in ("edit", "rotate", "disable", "enable", "revoke", "fix", f"secrets/{secret.public_id}/retire"):
        assert cyd_client.post(f"{url}{act}/", {"overlap": "0", "fix": "expire"}).status_code == 404
    assert acts(key) == ["key.created"]


def test_a_team_mate_sees_it_and_does_not_change_it(key: ApiKey, url: str, ben_client: Client) -> None:
    page = ben_client.get(url).content.decode()
    assert key.name in page
    assert f"{url}rotate/" not in page
    for act in ("edit", "rotate", "disable", "enable", "revoke", "fix"):
        assert ben_client.post(f"{url}{act}/", {"overlap": "0", "fix": "expire"}).status_code == 403
    assert acts(key) == ["key.created"]


def test_nobody_else_sees_a_management_key(ada: User, ben_client: Client, ada_client: Client) -> None:
    key, _secret = mint_management_key(owner=ada, name="terraform")
    address = f"/keys/{key.public_id}/"
    assert ada_client.get(address).status_code == 200
    assert ben_client.get(address).status_code == 404
    assert ben_client.post(f"{address}revoke/").status_code == 404


def test_it_is_edited(key: ApiKey, url: str, ada_client: Client) -> None:
    fields = {
        "name": "desktop",
        "requests_per_minute": "7",
        "allowed_networks": "10.0.0.0/8",
        "alert_percents": "50 100",
    }
    assert ada_client.post(f"{url}edit/", fields).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.requests_per_minute, key.allowed_networks) == ("desktop", 7, ["10.0.0.0/8"])
    event = AuditEvent.objects.get(action="key.changed")
    none: dict[str, object] = {"requests_per_minute": None, "allowed_networks": [], "alert_percents": [80, 100]}
    assert event.before == {"name": "…", **none}
    terms = {"requests_per_minute": 7, "allowed_networks": ["10.0.0.0/8"], "alert_percents": [50, 100]}
    assert event.after == {"name": "…", **terms}
    shown = ada_client.get(url).content.decode()
    assert "10.0.0.0/8" in shown
    assert "80%, 100% → 50%, 100%" in shown


def test_the_log_which_cannot_forget_holds_no_words_about_a_persons_key(
    key: ApiKey, url: str, ada: User, ada_client: Client, project: Project
) -> None:
    networks = "192.0.2.7 10.0.0.0/8"
    ada_client.post(f"{url}edit/", {"name": "Ada’s desktop", "description": "At Ada’s", "allowed_networks": networks})
    mint_management_key(owner=ada, name="Ada’s terraform", terms=Terms(description="At Ada’s"))
    log = str(list(AuditEvent.objects.values()))
    assert "Ada’s" not in log
    assert "192.0.2.7" not in log
    assert "10.0.0.0/8" in log
    assert AuditEvent.objects.filter(target_label=key.hint).count() == 2


def test_a_service_key_is_the_projects_and_so_is_its_name(ada: User, ada_client: Client, project: Project) -> None:
    account = open_service_account(project=project, name="nightly", by=ada)
    key, _secret = mint_key(project=project, name="crawler", by=ada, service_account=account)
    ada_client.post(f"/keys/{key.public_id}/edit/", {"name": "spider", "alert_percents": "80, 100"})
    event = AuditEvent.objects.get(action="key.changed")
    assert (event.target_label, event.before, event.after) == ("spider", {"name": "crawler"}, {"name": "spider"})
    assert "crawler → spider" in ada_client.get(f"/keys/{key.public_id}/").content.decode()


def test_saving_what_is_there_changes_nothing(key: ApiKey, url: str, ada_client: Client) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(days=3, seconds=7))
    form = ada_client.get(f"{url}edit/").context["form"]
    expires = f"{form['expires_at'].value():%Y-%m-%dT%H:%M}"
    ada_client.post(f"{url}edit/", {"name": "laptop", "expires_at": expires, "alert_percents": "80, 100"})
    assert acts(key) == ["key.created"]


def test_a_rotated_key_has_a_new_secret_beside_the_old_one(key: ApiKey, url: str, ada_client: Client) -> None:
    old = key.secrets.get()
    response = ada_client.post(f"{url}rotate/", {"overlap": "60"})
    [secret] = set(find_keys(response.content.decode()))
    assert ApiKey.objects.behind(secret).get() == key
    old.refresh_from_db()
    assert old.valid_until is not None
    assert timedelta(minutes=59) < old.valid_until - timezone.now() < timedelta(minutes=61)
    assert (old.digest, key.secrets.count()) != (key.secrets.get(valid_until=None).digest, 1)
    assert acts(key) == ["key.created", "key.rotated"]
    key.refresh_from_db()
    assert secret.endswith(key.last4)


def test_a_second_rotation_gives_the_oldest_no_more_time(key: ApiKey, ada: User) -> None:
    first = key.secrets.get()
    rotate_key(key=key, overlap=timedelta(minutes=15), by=ada)
    rotate_key(key=key, overlap=timedelta(days=7), by=ada)
    first.refresh_from_db()
    assert first.valid_until is not None
    assert first.valid_until < timezone.now() + timedelta(minutes=16)


@pytest.mark.parametrize("overlap", ["", "-5", "30", "100000", "x"])
def test_only_an_offered_overlap_will_do(key: ApiKey, url: str, ada_client: Client, overlap: str) -> None:
    assert ada_client.post(f"{url}rotate/", {"overlap": overlap}).status_code == 400
    assert key.secrets.count() == 1


def test_a_reload_rotates_once(key: ApiKey, url: str, ada_client: Client) -> None:
    form = {"overlap": "60", "submission": "one-opened-form"}
    ada_client.post(f"{url}rotate/", form)
    again = ada_client.post(f"{url}rotate/", form, follow=True)
    assert "has made its secret already" in again.content.decode()
    assert key.secrets.count() == 2


@pytest.mark.parametrize(
    ("old_used", "new_used", "rotated", "is_safe"),
    [
        (None, None, timedelta(hours=2), False),
        (None, timedelta(minutes=5), timedelta(hours=2), True),
        (timedelta(minutes=30), timedelta(minutes=5), timedelta(hours=2), False),
        (timedelta(hours=2), timedelta(minutes=5), timedelta(days=1), True),
        (timedelta(days=3), timedelta(minutes=5), timedelta(minutes=10), False),
        (None, None, timedelta(days=8), True),
    ],
)
def test_when_an_old_secret_is_safe_to_retire(
    key: ApiKey,
    ada: User,
    url: str,
    ada_client: Client,
    old_used: timedelta | None,
    new_used: timedelta | None,
    rotated: timedelta,
    is_safe: bool,
) -> None:
    now = timezone.now()
    rotate_key(key=key, overlap=timedelta(days=7), by=ada)
    secrets = KeySecret.objects.filter(key=key)
    secrets.filter(valid_until=None).update(created_at=now - rotated, last_used_at=now - new_used if new_used else None)
    secrets.exclude(valid_until=None).update(
        created_at=now - timedelta(days=9), last_used_at=now - old_used if old_used else None
    )
    assert ("Safe to retire" in ada_client.get(url).content.decode()) is is_safe


def test_an_old_secret_is_retired_by_one_click_and_the_newest_never(
    key: ApiKey, ada: User, url: str, ada_client: Client
) -> None:
    rotate_key(key=key, overlap=timedelta(days=7), by=ada)
    for secret in key.secrets.all():
        ada_client.post(f"{url}secrets/{secret.public_id}/retire/")
    assert [secret.is_newest for secret in KeySecret.objects.valid()] == [True]
    assert acts(key) == ["key.created", "key.rotated", "key.secret_retired"]


def test_a_secret_of_another_key_is_not_reached_through_ones_own(
    key: ApiKey, url: str, ada: User, project: Project, ada_client: Client
) -> None:
    other, _secret = mint_key(project=project, name="other", by=ada)
    address = f"{url}secrets/{other.secrets.get().public_id}/retire/"
    assert ada_client.post(address).status_code == 404


def test_it_is_disabled_and_enabled(key: ApiKey, url: str, ada_client: Client) -> None:
    ada_client.post(f"{url}disable/")
    ada_client.post(f"{url}disable/")
    assert ApiKey.objects.in_state(ApiKey.objects.get().state).exists()
    assert ApiKey.objects.get().is_disabled
    ada_client.post(f"{url}enable/")
    assert not ApiKey.objects.get().is_disabled
    assert acts(key) == ["key.created", "key.disabled", "key.enabled"]


def test_nothing_brings_a_revoked_key_back(key: ApiKey, url: str, ada: User, ada_client: Client) -> None:
    disable_key(key=key, by=ada)
    revoke_key(key=key, by=ada)
    for act in ("edit", "rotate", "enable", "fix"):
        response = ada_client.post(f"{url}{act}/", {"name": "again", "overlap": "0", "fix": "limit"}, follow=True)
        assert "cannot be undone" in response.content.decode()
    assert ApiKey.objects.get().is_disabled
    assert acts(key) == ["key.created", "key.disabled", "key.revoked"]


def test_rotating_on_a_page_from_before_a_change_does_not_set_it_back(key: ApiKey, ada: User) -> None:
    change_key(key=ApiKey.objects.get(), changes={"name": "desktop"}, by=ada)
    rotate_key(key=key, overlap=timedelta(0), by=ada)
    now = ApiKey.objects.get()
    assert (now.name, now.last4, key.last4) == ("desktop", key.secrets.get(valid_until=None).last4, now.last4)


def test_it_leads_back_to_where_one_came_from_and_nowhere_else(key: ApiKey, url: str, ada_client: Client) -> None:
    for address, led_to in (("/keys/health/?finding=idle", "/keys/health/?finding=idle"), ("//evil.example", url)):
        assert ada_client.post(f"{url}disable/", {"next": address}).headers["Location"] == led_to


def test_its_history_is_told_in_the_words_of_the_audit_log(
    key: ApiKey, url: str, ada: User, ben: User, ada_client: Client
) -> None:
    disable_key(key=key, by=ben)
    ben.delete()
    old = f"“{key.hint}”"
    report_leak(text=rotate_key(key=key, overlap=timedelta(0), by=ada))
    told = [(act.who, act.what) for act in ada_client.get(url).context["history"]]
    new = f"“{key.hint}”"
    assert told == [
        ("The portal itself", f"revoked the key {new}"),
        ("Somebody not signed in", f"reported the key {new} as leaked"),
        ("Ada", f"rotated the key {new}"),
        ("someone who has been erased", f"disabled the key {old}"),
        ("Ada", f"created the key {old}"),
    ]


def test_all_of_its_history_can_be_leafed_through(key: ApiKey, url: str, ada: User, ada_client: Client) -> None:
    for number in range(30):
        change_key(key=ApiKey.objects.get(), changes={"name": f"laptop {number}"}, by=ada)
    newest = ada_client.get(url).context
    oldest = ada_client.get(url, {"cursor": newest["page"].older}).context
    acts = [act.what.split()[0] for page in (newest, oldest) for act in page["history"]]
    assert acts == ["changed"] * 30 + ["created"]
    assert ada_client.get(url, {"cursor": oldest["page"].newer}).context["history"] == newest["history"]


def test_its_queries_do_not_grow_with_the_history(
    key: ApiKey, url: str, ada: User, ada_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _number in range(5):
        rotate_key(key=key, overlap=timedelta(hours=1), by=ada)
    # session, user, standing, key, role (for whether they may see it, and for what), secrets, history, who did it, from
    # where, organizations, projects of the switcher, unread notifications
    with django_assert_num_queries(13):
        ada_client.get(url)
