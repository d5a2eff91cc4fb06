"""The pages of an organization's webhooks: for whoever manages it, and no secret shown twice."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Organization, User
from tests.fakes.receiver import Receiver
from webhooks import services
from webhooks.delivery import deliver_due
from webhooks.models import Delivery, Endpoint


@pytest.fixture
def base(organization: Organization) -> str:
    return f"/organizations/{organization.public_id}/webhooks/"


@pytest.fixture
def endpoint(organization: Organization, ada: User, server: Receiver) -> Endpoint:
    endpoint, _secret = services.create_endpoint(
        organization=organization, url=server.url, description="Our server", event_types=["webhook.test"], by=ada
    )
    return endpoint


def test_it_works(base: str, ada_client: Client, organization: Organization) -> None:
    assert "Nobody is told yet" in ada_client.get(base).content.decode()

    made = ada_client.post(
        f"{base}new/", {"url": "https://example.com/hook", "description": "Ours", "event_types": ["member.joined"]}
    )

    endpoint = Endpoint.objects.get()
    assert (endpoint.organization, endpoint.event_types) == (organization, ["member.joined"])
    secrets = re.findall(r"whsec_[\w+/=]+", made.content.decode())
    assert set(secrets) == {endpoint.secret}
    for path in (base, f"{base}{endpoint.public_id}/", f"{base}{endpoint.public_id}/edit/"):
        assert "whsec_" not in ada_client.get(path).content.decode()
    assert AuditEvent.objects.filter(action="webhook.created").exists()
    assert "whsec_" not in str(list(AuditEvent.objects.values()))


def test_endpoints_are_searched_and_sorted(base: str, ada_client: Client, organization: Organization) -> None:
    for url, description, types in (
        ("https://b.example/hook", "The pager", ["key.created"]),
        ("https://a.example/hook", "", ["member.joined"]),
        ("https://c.example/hook", "", []),
    ):
        Endpoint.objects.create(
            organization=organization, url=url, description=description, event_types=types, secret="whsec_"
        )

    def shown(**query: str) -> list[str]:
        return [endpoint.url[8] for endpoint in ada_client.get(base, query).context["page"].items]

    assert shown() == ["c", "a", "b"]
    assert shown(sort="address") == ["a", "b", "c"]
    assert shown(q="A.EXAMPLE") == shown(q="member.joi") == ["a"]
    assert shown(q="PAGER") == ["b"]
    assert "No endpoint found" in ada_client.get(base, {"q": "nothing like it"}).content.decode()


def test_deliveries_are_searched_and_sorted_and_stay_of_their_state(
    base: str, ada_client: Client, endpoint: Endpoint
) -> None:
    services.send_test(endpoint=endpoint)
    services.send_test(endpoint=endpoint)
    older, newer = Delivery.objects.order_by("created_at")
    Delivery.objects.filter(pk=older.pk).update(state="failed")
    path = f"{base}{endpoint.public_id}/"

    def shown(**query: str) -> list[str]:
        return [delivery.public_id for delivery in ada_client.get(path, query).context["page"].items]

    assert shown() == [newer.public_id, older.public_id]
    assert shown(sort="oldest") == [older.public_id, newer.public_id]
    assert len(shown(q="webhook.te")) == 2
    assert shown(q=older.public_id) == shown(q="test", state="failed") == [older.public_id]
    assert shown(q=newer.public_id, state="failed") == []
    kept = ada_client.get(path, {"q": "key.created", "state": "failed"}).content.decode()
    assert "No delivery found" in kept
    assert 'name="state" value="failed"' in kept


def test_since_when_nothing_arrives_is_said_in_both_languages(
    base: str, ada_client: Client, endpoint: Endpoint
) -> None:
    Endpoint.objects.update(failing_since=timezone.now())
    path = f"{base}{endpoint.public_id}/"
    assert "Failing since <time" in ada_client.get(path).content.decode()
    assert "开始失败于<time" in ada_client.get(path, headers={"accept-language": "zh-hans"}).content.decode()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"url": ""}, "Fill this in"),
        ({"url": "http://127.0.0.1/hook"}, "not on the public internet"),
        ({"url": "https://example.com/", "event_types": ["no.such"]}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_lost(
    base: str, ada_client: Client, values: dict[str, object], said: str
) -> None:
    page = ada_client.post(f"{base}new/", {"description": "Keep this", **values})
    assert page.status_code == 400
    assert said in page.content.decode()
    assert "Keep this" in page.content.decode()
    assert not Endpoint.objects.exists()


def test_an_organization_has_so_many_at_most(
    base: str, ada_client: Client, organization: Organization, ada: User
) -> None:
    Endpoint.objects.bulk_create(
        Endpoint(organization=organization, url="https://example.com/", secret="whsec_", created_by=ada)
        for _endpoint in range(services.MOST_ENDPOINTS)
    )
    page = ada_client.post(f"{base}new/", {"url": "https://example.com/"})
    assert "at most" in page.content.decode()


def test_who_does_not_manage_it_sees_nothing(
    base: str, endpoint: Endpoint, ben_client: Client, cyd_client: Client, client: Client
) -> None:
    for path in (base, f"{base}new/", f"{base}{endpoint.public_id}/"):
        assert ben_client.get(path).status_code == 403
        assert cyd_client.get(path).status_code == 404
        assert client.get(path).status_code == 302


def test_another_organization_s_endpoint_is_not_reached_through_one_s_own(
    endpoint: Endpoint, cyd: User, cyd_client: Client
) -> None:
    own = cyd.organizations.get()
    assert cyd_client.get(f"/organizations/{own.public_id}/webhooks/{endpoint.public_id}/").status_code == 404


def test_a_test_is_sent_seen_and_sent_again(
    base: str, endpoint: Endpoint, ada_client: Client, server: Receiver
) -> None:
    server.status = 500
    ada_client.post(f"{base}{endpoint.public_id}/test/")
    deliver_due()
    log = ada_client.get(f"{base}{endpoint.public_id}/").content.decode()
    assert "Messages do not arrive" in log
    delivery = Delivery.objects.get()
    address = f"{base}{endpoint.public_id}/deliveries/{delivery.public_id}/"
    shown = ada_client.get(address).content.decode()
    assert "words" in shown
    assert "webhook.test" in shown.split("What is sent")[2]

    server.status = 204
    ada_client.post(f"{address}resend/")
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.state == "delivered"
    assert len(server.received) == 2


def test_it_is_changed_switched_off_and_removed(base: str, endpoint: Endpoint, ada_client: Client) -> None:
    address = f"{base}{endpoint.public_id}/"
    ada_client.post(f"{address}edit/", {"url": "https://example.com/new", "description": ""})
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.event_types) == ("https://example.com/new", [])
    ada_client.post(f"{address}enabled/", {"enabled": "no"})
    assert "Nothing is sent here" in ada_client.get(address).content.decode()
    ada_client.post(f"{address}enabled/", {"enabled": "yes"})
    rotated = ada_client.post(f"{address}secret/").content.decode()
    endpoint.refresh_from_db()
    assert endpoint.secret in rotated.replace("&#x2B;", "+").replace("&#x3D;", "=")
    ada_client.post(f"{address}remove/")
    assert not Endpoint.objects.exists()
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"webhook.changed", "webhook.disabled", "webhook.enabled", "webhook.removed"} <= actions


def test_what_a_server_answers_becomes_no_markup(
    base: str, endpoint: Endpoint, ada_client: Client, server: Receiver
) -> None:
    services.send_test(endpoint=endpoint)
    Delivery.objects.update(status=500, milliseconds=3, answer="<script>alert(1)</script>")
    delivery = Delivery.objects.get()
    page = ada_client.get(f"{base}{endpoint.public_id}/deliveries/{delivery.public_id}/").content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
