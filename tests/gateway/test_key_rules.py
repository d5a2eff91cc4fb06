"""What a key may do, and when it stops, as the gateway holds it to that."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import Membership, User
from accounts.organizations.services import change_role, leave_organization
from accounts.projects.services import (
    archive_project,
    change_project,
    open_service_account,
    remove_service_account,
    restore_project,
)
from accounts.roles import Role
from apikeys.models import ApiKey, KeyPolicy, KeySecret
from apikeys.services import (
    change_policy,
    disable_key,
    enable_key,
    mint_key,
    mint_management_key,
    retire_secret,
    rotate_key,
)
from tests.conftest import client_of, switch_account
from tests.gateway.conftest import Stage, ask, chat, wait_for

Mint = Callable[..., str]
Event = Callable[[str], Any]


def complete(url: str, secret: str, **body: Any) -> Any:
    return ask(url, "/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat(), **body})


def status(url: str, secret: str) -> int:
    answer: int = complete(url, secret).status
    return answer


def key_of(secret: str) -> ApiKey:
    return ApiKey.objects.behind(secret).get()


def test_it_works(url: str, mint: Mint) -> None:
    secret = mint(
        allowed_models=("fake-chat",),
        allowed_endpoints=("chat/completions",),
        allowed_networks=("127.0.0.0/8", "2001:db8::/32"),
        expires_at=timezone.now() + timedelta(hours=1),
    )
    assert status(url, secret) == 200


def test_a_model_that_is_not_allowed(url: str, mint: Mint) -> None:
    secret = mint(allowed_models=("plain-chat", "lab/slashed"))
    for model in ("fake-chat", "no-such-model"):
        reply = complete(url, secret, model=model)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (403, "model_not_allowed", "model")
        assert ask(url, f"/models/{model}", method="GET", secret=secret).status == 403
    assert complete(url, secret, model="plain-chat").status == 200
    assert ask(url, "/models/lab/slashed", method="GET", secret=secret).status == 200


def test_models_lists_only_what_the_key_may_use(url: str, mint: Mint) -> None:
    reply = ask(url, "/models", method="GET", secret=mint(allowed_models=("plain-chat", "gone-since")))
    assert [model["id"] for model in reply.json["data"]] == ["plain-chat"]


def test_an_endpoint_that_is_not_allowed(url: str, mint: Mint) -> None:
    secret = mint(allowed_endpoints=("embeddings",))
    reply = complete(url, secret)
    assert (reply.status, reply.error["code"]) == (403, "endpoint_not_allowed")
    assert ask(url, "/embeddings", secret=secret, body={"model": "fake-embed", "input": "x"}).status == 200


def test_an_address_that_is_not_allowed(url: str, mint: Mint) -> None:
    secret = mint(allowed_networks=("192.0.2.0/24", "2001:db8::/32"))
    for reply in (complete(url, secret), ask(url, "/models", method="GET", secret=secret)):
        assert (reply.status, reply.error["code"]) == (401, "ip_not_authorized")
        assert "127.0.0.1, which is not on this key's own list" in reply.error["message"]
    # No proxy is trusted here, so what a caller says of itself is nothing.
    claimed = ask(url, "/models", method="GET", secret=secret, headers={"X-Forwarded-For": "192.0.2.1"})
    assert claimed.status == 401


def test_an_address_that_a_caller_claims_before_a_proxy_says_another(
    url: str, mint: Mint, settings: LazySettings
) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    authorization = ("Authorization", f"Bearer {mint(allowed_networks=('192.0.2.0/24',))}")
    for hops, expected in (
        (["192.0.2.1"], 200),
        (["203.0.113.9", "192.0.2.1"], 200),
        (["192.0.2.1", "203.0.113.9"], 401),
        (["192.0.2.1, 203.0.113.9"], 401),
    ):
        # A header each: HAProxy adds its own to what came.
        headers = [authorization, *(("X-Forwarded-For", hop) for hop in hops)]
        assert httpx2.get(f"{url}/models", headers=headers).status_code == expected, hops


def test_a_key_ends_by_the_clock_whatever_is_held_of_it(url: str, mint: Mint) -> None:
    secret = mint(expires_at=timezone.now() + timedelta(seconds=5))
    assert status(url, secret) == 200
    wait_for(lambda: status(url, secret) == 401, seconds=10)
    assert "expired" in complete(url, secret).error["message"]


def test_a_disabled_key_is_refused_until_it_is_enabled(url: str, secret: str, stage: Stage) -> None:
    assert status(url, secret) == 200
    disable_key(key=key_of(secret), by=stage.ada)
    wait_for(lambda: status(url, secret) == 401)
    enable_key(key=key_of(secret), by=stage.ada)
    wait_for(lambda: status(url, secret) == 200)


def test_a_management_key_opens_no_model(url: str, stage: Stage) -> None:
    key, secret = mint_management_key(owner=stage.ada, name="terraform")
    for reply in (complete(url, secret), ask(url, "/models", method="GET", secret=secret)):
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert "management key" in reply.error["message"]
    key.delete()


def test_both_secrets_of_a_rotated_key_work_until_the_old_one_ends(
    url: str, secret: str, stage: Stage, event_of: Event
) -> None:
    assert status(url, secret) == 200
    key = key_of(secret)
    new = rotate_key(key=key, overlap=timedelta(hours=1), by=stage.ada)
    for one in (secret, new):
        reply = complete(url, one)
        assert reply.status == 200
        assert event_of(reply.headers["x-request-id"]).key_id == key.public_id
    retire_secret(secret=key.secrets.exclude(valid_until=None).get(), by=stage.ada)
    wait_for(lambda: status(url, secret) == 401)
    assert status(url, new) == 200


def test_without_an_overlap_the_old_secret_ends_at_once(url: str, secret: str, stage: Stage) -> None:
    assert status(url, secret) == 200
    new = rotate_key(key=key_of(secret), overlap=timedelta(), by=stage.ada)
    wait_for(lambda: status(url, secret) == 401)
    assert status(url, new) == 200


def test_where_it_was_used_from_is_noted_on_the_secret_and_not_in_the_ledger(
    url: str, secret: str, event_of: Event
) -> None:
    reply = ask(
        url,
        "/chat/completions",
        secret=secret,
        headers={"User-Agent": "nightly/7"},
        body={"model": "fake-chat", "messages": chat()},
    )
    event = event_of(reply.headers["x-request-id"])
    assert "127.0.0.1" not in str(vars(event))
    kept = KeySecret.objects.get(key=key_of(secret))
    assert (kept.last_used_at, kept.last_used_address, kept.last_used_agent) == (event.at, "127.0.0.1", "nightly/7")
    assert key_of(secret).last_used_at == event.at


@pytest.fixture
def ben(stage: Stage) -> Iterator[User]:
    user = User.objects.create_user("ben@gateway.example", name="Ben")
    Membership.objects.create(organization=stage.project.organization, user=user, role=Role.MEMBER)
    yield user
    user.delete()


@pytest.fixture
def bens(ben: User, stage: Stage) -> str:
    """The secret of a key that Ben made in Ada's project."""
    return mint_key(project=stage.project, name="Ben's", by=ben)[1]


def test_a_key_stops_when_its_maker_leaves(url: str, ben: User, bens: str) -> None:
    assert status(url, bens) == 200
    leave_organization(membership=ben.memberships.get())
    wait_for(lambda: status(url, bens) == 401)


def test_a_key_stops_when_its_maker_may_only_look(url: str, ben: User, bens: str, stage: Stage) -> None:
    assert status(url, bens) == 200
    change_role(membership=ben.memberships.get(), role=Role.VIEWER, by=stage.ada)
    wait_for(lambda: status(url, bens) == 401)


def test_a_key_stops_when_its_makers_account_is_switched_off(url: str, ben: User, bens: str) -> None:
    assert status(url, bens) == 200
    staff = User.objects.create_superuser("sam@gateway.example")
    switch_account(client_of(staff), ben)
    wait_for(lambda: status(url, bens) == 401)
    staff.delete()


def test_a_service_accounts_key_goes_on(url: str, ben: User, stage: Stage) -> None:
    account = open_service_account(project=stage.project, name="nightly", by=ben)
    _key, secret = mint_key(project=stage.project, name="nightly", by=ben, service_account=account)
    assert status(url, secret) == 200
    leave_organization(membership=ben.memberships.get())
    wait_for(lambda: status(url, secret) == 200)
    remove_service_account(account=account, by=stage.ada)
    wait_for(lambda: status(url, secret) == 401)


def test_the_keys_of_an_archived_project_wait_until_it_is_restored(url: str, secret: str, stage: Stage) -> None:
    assert status(url, secret) == 200
    archive_project(project=stage.project, by=stage.ada)
    wait_for(lambda: status(url, secret) == 401)
    restore_project(project=stage.project, by=stage.ada)
    wait_for(lambda: status(url, secret) == 200)


def test_the_keys_of_a_project_stop_at_its_end(url: str, secret: str, stage: Stage) -> None:
    assert status(url, secret) == 200
    for ends_at, expected in ((timezone.now(), 401), (None, 200)):
        change_project(
            project=stage.project, name=stage.project.name, is_open=stage.project.is_open, ends_at=ends_at, by=stage.ada
        )
        wait_for(lambda wanted=expected: status(url, secret) == wanted)  # type: ignore[misc]


def test_the_organizations_networks_hold_for_every_key_at_once(url: str, mint: Mint, stage: Stage) -> None:
    organization = stage.project.organization
    account = open_service_account(project=stage.project, name="nightly", by=stage.ada)
    _key, service = mint_key(project=stage.project, name="nightly", by=stage.ada, service_account=account)
    secrets = [mint(), mint(allowed_networks=("127.0.0.0/8",)), mint(allowed_networks=("127.0.0.1/32",)), service]
    assert [status(url, secret) for secret in secrets] == [200] * 4
    change_policy(organization=organization, by=stage.ada, allowed_networks=("198.51.100.0/24",))
    for secret in secrets:
        wait_for(lambda one=secret: status(url, one) == 401)  # type: ignore[misc]
        reply = complete(url, secret)
        assert reply.error["code"] == "ip_not_authorized"
        assert "127.0.0.1, which is not on the list that the organization sets" in reply.error["message"]
        assert "198.51.100" not in reply.error["message"]
    change_policy(organization=organization, by=stage.ada, allowed_networks=())
    for secret in secrets:
        wait_for(lambda one=secret: status(url, one) == 200)  # type: ignore[misc]
    KeyPolicy.objects.all().delete()


def test_a_key_without_a_list_of_its_own_is_kept_out_by_the_organizations_alone(
    url: str, mint: Mint, stage: Stage
) -> None:
    change_policy(organization=stage.project.organization, by=stage.ada, allowed_networks=("127.0.0.0/8",))
    assert status(url, mint()) == 200
    stray = mint()
    ApiKey.objects.filter(pk=key_of(stray).pk).update(allowed_networks=["192.0.2.0/24"])
    assert "this key's own list" in complete(url, stray).error["message"]
    KeyPolicy.objects.all().delete()
