"""The list of a project's keys: whose are seen, found and sorted."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import Project, User
from accounts.projects.services import open_service_account
from apikeys.models import ApiKey
from apikeys.services import disable_key, mint_key, mint_management_key, revoke_key

URL = "/keys/"


def names(client: Client, query: str = "") -> list[str]:
    return [key.name for key in client.get(f"{URL}?{query}").context["page"].items]


@pytest.fixture
def keys(ada: User, project: Project) -> dict[str, ApiKey]:
    """One of each kind and state."""
    account = open_service_account(project=project, name="crawler", by=ada)
    made = {name: mint_key(project=project, name=name, by=ada)[0] for name in ("Laptop", "off", "gone", "late")}
    made["nightly"] = mint_key(project=project, name="nightly", by=ada, service_account=account)[0]
    mint_management_key(owner=ada, name="terraform")
    disable_key(key=made["off"], by=ada)
    revoke_key(key=made["gone"], by=ada)
    ApiKey.objects.filter(pk=made["late"].pk).update(expires_at=timezone.now())
    return made


def test_it_works(ada_client: Client, keys: dict[str, ApiKey]) -> None:
    assert names(ada_client) == ["nightly", "late", "gone", "off", "Laptop"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=lap", ["Laptop"]),
        ("state=active", ["nightly", "Laptop"]),
        ("state=disabled", ["off"]),
        ("state=expired", ["late"]),
        ("state=revoked", ["gone"]),
        ("kind=service", ["nightly"]),
        ("kind=project&state=active", ["Laptop"]),
        ("owner=services", ["nightly"]),
        ("owner=me&state=active", ["Laptop"]),
        ("owner=people&state=active", ["Laptop"]),
        ("state=nonsense&kind=x&owner=y&sort=z&cursor=junk", ["nightly", "late", "gone", "off", "Laptop"]),
        ("q=nothing+like+this", []),
    ],
)
def test_what_is_asked_for(ada_client: Client, keys: dict[str, ApiKey], query: str, found: list[str]) -> None:
    assert names(ada_client, query) == found


def test_a_key_is_found_by_what_its_secret_looks_like_and_by_its_id(
    ada_client: Client, keys: dict[str, ApiKey]
) -> None:
    for words in (keys["Laptop"].hint, keys["Laptop"].public_id):
        assert names(ada_client, f"q={words}") == ["Laptop"]


def test_it_is_sorted_as_asked_across_pages(ada: User, project: Project, ada_client: Client) -> None:
    now = timezone.now()
    for number in range(60):
        key, _secret = mint_key(project=project, name=f"key {number:02}", by=ada)
        used = None if number % 2 else now - timedelta(minutes=number)
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=used)
    by_name = sorted(ApiKey.objects.values_list("name", flat=True))
    by_use = [f"key {number:02}" for number in (*range(0, 60, 2), *range(59, 0, -2))]
    for sort, expected in (("name", by_name), ("used", by_use), ("newest", by_name[::-1])):
        seen, cursor = [], ""
        while True:
            page = ada_client.get(URL, {"sort": sort, "cursor": cursor}).context["page"]
            seen += [key.name for key in page.items]
            if not page.older:
                break
            cursor = page.older
        assert seen == expected
        before = ada_client.get(URL, {"sort": sort, "cursor": page.newer}).context["page"]
        assert [key.name for key in before.items] == expected[:50]


def test_a_stranger_sees_none_of_them(ada: User, project: Project, cyd_client: Client) -> None:
    mint_key(project=project, name="secret plan", by=ada)
    assert "secret plan" not in cyd_client.get(URL).content.decode()


def test_someone_signed_out_is_sent_to_sign_in(client: Client) -> None:
    assert client.get(URL).headers["Location"].startswith("/accounts/login/")


def test_a_hostile_name_is_only_text(ada: User, project: Project, ada_client: Client) -> None:
    key, _secret = mint_key(project=project, name="<script>alert(1)</script>", by=ada)
    for address in (URL, f"{URL}{key.public_id}/", f"{URL}{key.public_id}/edit/", f"{URL}health/"):
        assert "<script>alert" not in ada_client.get(address).content.decode()


def test_its_queries_do_not_grow_with_the_keys(
    ada: User, project: Project, ada_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        mint_key(project=project, name=f"key {number}", by=ada)
    for address in (URL, f"{URL}?q=key&sort=used&state=active&owner=me"):
        # Session, user, standing, project, role, keys with their makers, policy, the binding cohort; of the frame:
        # notifications, projects.
        with django_assert_num_queries(10):
            ada_client.get(address)


def test_a_key_that_stops_with_its_project_does_not_read_as_one_that_never_does(
    ada: User, ada_client: Client, project: Project
) -> None:
    key = mint_key(project=project, name="course", by=ada)[0]
    addresses = ("/keys/", f"/keys/{key.public_id}/")
    for days, is_over in ((7, False), (-7, True)):
        Project.objects.filter(pk=project.pk).update(ends_at=timezone.now() + timedelta(days=days))
        for address in addresses:
            page = ada_client.get(address).content.decode()
            assert "With the project," in page
            assert ("Stopped with its project" in page) == is_over
    Project.objects.filter(pk=project.pk).update(ends_at=timezone.now() + timedelta(days=7))
    ApiKey.objects.update(expires_at=timezone.now() + timedelta(days=1))
    for address in addresses:
        assert "With the project," not in ada_client.get(address).content.decode()
