"""Webhooks over the REST API: the same acts, the same permissions."""

import pytest
from django.test import Client

from accounts.models import Organization, User
from tests.fakes.receiver import Receiver
from webhooks.delivery import deliver_due
from webhooks.models import Endpoint
from webhooks.services import MOST_ENDPOINTS

JSON = "application/json"


@pytest.fixture
def base(organization: Organization) -> str:
    return f"/api/organizations/{organization.public_id}/webhooks/"


def test_it_works(base: str, ada_client: Client, server: Receiver) -> None:
    made = ada_client.post(base, {"url": server.url, "event_types": ["webhook.test"]}, JSON)
    assert made.status_code == 201
    assert made.json()["secret"] == Endpoint.objects.get().secret
    address = f"{base}{made.json()['id']}/"
    assert "secret" not in ada_client.get(address).json()
    assert [one["id"] for one in ada_client.get(base).json()["data"]] == [made.json()["id"]]

    assert ada_client.post(f"{address}test/").status_code == 202
    deliver_due()
    [delivery] = ada_client.get(f"{address}deliveries/").json()["data"]
    assert (delivery["state"], delivery["status"], delivery["body"]["type"]) == ("delivered", 204, "webhook.test")
    assert ada_client.post(f"{address}deliveries/{delivery['id']}/resend/").status_code == 202
    deliver_due()
    assert len(server.received) == 2

    changed = ada_client.patch(address, {"description": "Ours"}, JSON)
    assert (changed.json()["description"], changed.json()["url"]) == ("Ours", server.url)
    off = ada_client.put(f"{address}enabled/", {"is_enabled": False}, JSON)
    assert (off.json()["is_enabled"], off.json()["disabled_because"]) == (False, "someone")
    secret = ada_client.post(f"{address}secret/").json()["secret"]
    assert secret == Endpoint.objects.get().secret
    assert ada_client.delete(address).status_code == 204
    assert ada_client.get(address).status_code == 404


def test_one_too_many_is_a_conflict(base: str, organization: Organization, ada: User, ada_client: Client) -> None:
    Endpoint.objects.bulk_create(
        Endpoint(organization=organization, url="https://example.com/", secret="whsec_", created_by=ada)
        for _endpoint in range(MOST_ENDPOINTS)
    )
    refused = ada_client.post(base, {"url": "https://example.com/"}, JSON)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_endpoints")
    assert "Remove one first" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "https://example.com/", "event_types": ["no.such"]}, "event_types"),
        ({"url": "https://example.com/", "event_types": "all"}, "event_types"),
    ],
)
def test_a_refusal_names_the_field(base: str, ada_client: Client, body: dict[str, object], field: str) -> None:
    refused = ada_client.post(base, body, JSON)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == field


def test_who_does_not_manage_it_does_nothing(
    base: str, ada: User, ben_client: Client, cyd_client: Client, client: Client
) -> None:
    for method in ("get", "post"):
        assert getattr(ben_client, method)(base).status_code == 403
        assert getattr(cyd_client, method)(base).status_code == 404
        assert getattr(client, method)(base).status_code == 401
