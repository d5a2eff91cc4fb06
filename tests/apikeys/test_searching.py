"""A long list of management keys or of findings is searched and sorted like that of a project's keys."""

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Project, User
from apikeys.models import ApiKey
from apikeys.services import mint_key, mint_management_key

pytestmark = pytest.mark.django_db


def shown(client: Client, address: str, **query: str) -> list[str]:
    return [key.name for key in client.get(address, query).context["page"].items]


@pytest.fixture
def keys(ada: User, cyd: User, project: Project) -> dict[str, ApiKey]:
    names = ("beta", "alpha", "gamma")
    for name in names:
        mint_key(project=project, name=name, by=ada)
    mint_management_key(owner=cyd, name="alpha of another")
    return {name: mint_management_key(owner=ada, name=name)[0] for name in names}


@pytest.mark.parametrize("address", ["/keys/management/", "/keys/health/"])
def test_it_works(address: str, keys: dict[str, ApiKey], ada_client: Client) -> None:
    assert shown(ada_client, address) == ["gamma", "alpha", "beta"]
    assert shown(ada_client, address, sort="name") == ["alpha", "beta", "gamma"]
    ApiKey.objects.filter(name="beta").update(last_used_at=timezone.now())
    assert shown(ada_client, address, sort="used") == ["beta", "gamma", "alpha"]
    assert shown(ada_client, address, q="ALPH") == ["alpha"]
    assert "No such key" in ada_client.get(address, {"q": "delta"}).content.decode()


def test_a_key_is_found_by_its_hint(keys: dict[str, ApiKey], ada_client: Client) -> None:
    assert shown(ada_client, "/keys/management/", q=keys["beta"].hint) == ["beta"]


def test_a_search_stays_with_its_finding(keys: dict[str, ApiKey], ada_client: Client) -> None:
    page = ada_client.get("/keys/health/", {"finding": "no_limit", "q": "beta"})
    assert 'name="finding" value="no_limit"' in page.content.decode()
    assert [key.name for key in page.context["page"].items] == ["beta"]
    # What else a list of keys can be narrowed to is no filter here.
    assert len(shown(ada_client, "/keys/health/", owner="services", state="revoked")) == 3
