"""The page of what is wrong with keys, and its fixes."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Project, User
from apikeys.health import Finding
from apikeys.models import ApiKey, KeyPolicy
from apikeys.services import disable_key, mint_key, revoke_key
from apikeys.terms import Terms

URL = "/keys/health/"
GOOD = Terms(allowed_endpoints=("embeddings",), expires_at=timezone.now() + timedelta(days=400), requests_per_minute=5)


def found(client: Client) -> dict[Finding, int]:
    return dict(client.get(URL).context["findings"])


def shown(client: Client, finding: Finding) -> list[str]:
    return [key.name for key in client.get(URL, {"finding": finding}).context["page"].items]


@pytest.fixture
def good(ada: User, project: Project) -> ApiKey:
    return mint_key(project=project, name="good", by=ada, terms=GOOD)[0]


@pytest.fixture
def plain(ada: User, project: Project) -> ApiKey:
    """As it comes when nothing but a name was given."""
    return mint_key(project=project, name="plain", by=ada)[0]


def test_it_works(good: ApiKey, plain: ApiKey, ada_client: Client) -> None:
    wrong = {Finding.TOO_WIDE, Finding.NEVER_EXPIRES, Finding.NO_LIMIT}
    assert found(ada_client) == {one: int(one in wrong) for one in Finding}
    for one in Finding:
        assert shown(ada_client, one) == (["plain"] if one in wrong else [])


def test_without_a_finding_it_says_so(good: ApiKey, ada_client: Client) -> None:
    assert "Nothing to mend" in ada_client.get(URL).content.decode()


def test_each_finding(good: ApiKey, ada_client: Client, settings: LazySettings) -> None:
    keys, now = ApiKey.objects.filter(pk=good.pk), timezone.now()
    for finding, fields in (
        (Finding.IDLE, {"last_used_at": now - timedelta(days=91)}),
        (Finding.IDLE, {"created_at": now - timedelta(days=91)}),
    ):
        before = keys.values(*fields).get()
        keys.update(**fields)
        assert shown(ada_client, finding) == ["good"]
        keys.update(**before)
    good.secrets.update(leaked_at=now)
    assert shown(ada_client, Finding.LEAKED) == ["good"]
    good.secrets.update(leaked_at=None)
    assert not any(found(ada_client).values())
    settings.KEY_PEPPERS = [*settings.KEY_PEPPERS, "2:another-pepper-of-the-tests-that-protects-nothing"]
    assert shown(ada_client, Finding.OLD_PEPPER) == ["good"]


def test_keys_that_do_not_work_are_nobodys_worry(ada: User, plain: ApiKey, ada_client: Client) -> None:
    disable_key(key=plain, by=ada)
    assert not any(found(ada_client).values())
    revoke_key(key=plain, by=ada)
    assert not any(found(ada_client).values())


def test_one_click_lets_it_expire(plain: ApiKey, ada_client: Client) -> None:
    ada_client.post(f"/keys/{plain.public_id}/fix/", {"fix": "expire"})
    plain.refresh_from_db()
    assert plain.expires_at is not None
    assert timedelta(days=89) < plain.expires_at - timezone.now() <= timedelta(days=90)


def test_the_policy_makes_it_expire_sooner(plain: ApiKey, project: Project, ada_client: Client) -> None:
    policy = KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=10)
    ada_client.post(f"/keys/{plain.public_id}/fix/", {"fix": "expire"})
    plain.refresh_from_db()
    assert plain.expires_at == policy.latest_expiry(plain.secrets.get().created_at)


def test_one_that_has_lived_too_long_is_not_ended_by_the_click(
    plain: ApiKey, project: Project, ada_client: Client
) -> None:
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=10)
    plain.secrets.update(created_at=timezone.now() - timedelta(days=20))
    page = ada_client.post(f"/keys/{plain.public_id}/fix/", {"fix": "expire"}, follow=True).content.decode()
    assert "at most 10 days" in page
    plain.refresh_from_db()
    assert plain.expires_at is None


def test_one_click_sets_limits(plain: ApiKey, ada_client: Client) -> None:
    ada_client.post(f"/keys/{plain.public_id}/fix/", {"fix": "limit"})
    plain.refresh_from_db()
    assert (plain.requests_per_minute, plain.tokens_per_minute) == (60, 100_000)


def test_what_is_no_fix_changes_nothing(plain: ApiKey, ada_client: Client) -> None:
    assert ada_client.post(f"/keys/{plain.public_id}/fix/", {"fix": "explode"}).status_code == 302
    assert Terms.of(ApiKey.objects.get()) == Terms()


def test_its_queries_do_not_grow_with_the_keys(
    ada: User, project: Project, ada_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        mint_key(project=project, name=f"key {number}", by=ada)
    # session, user, standing, project, role, a count for each of eight findings, keys, notifications, projects
    with django_assert_num_queries(16):
        ada_client.get(URL)
