"""What goes out: signed, repeated until it is heard, and given up on in the end."""

import json
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from structlog.testing import capture_logs

from accounts.models import AuditEvent, Membership, Organization, User
from accounts.roles import Role
from accounts.services import open_workspace
from notifications.models import Notification
from portal.celery import app
from tests.fakes.receiver import Receiver
from webhooks import services
from webhooks.delivery import AT_ONCE, BATCH, DEADLINE_SECONDS, RETRY_AFTER, TAKEN, deliver_due
from webhooks.models import Delivery, DeliveryState, Endpoint, Message
from webhooks.signing import signature


@pytest.fixture
def endpoint(organization: Organization, ada: User, server: Receiver) -> Endpoint:
    endpoint, _secret = services.create_endpoint(
        organization=organization, url=server.url, description="", event_types=[], by=ada
    )
    return endpoint


def again() -> None:
    """As if the next attempt were due."""
    Delivery.objects.filter(due_at__isnull=False).update(due_at=timezone.now())


def test_it_works(endpoint: Endpoint, server: Receiver) -> None:
    services.announce("member.joined", organization=endpoint.organization, data={"user_id": "user_1"})
    assert deliver_due() == 1

    [request] = server.received
    assert json.loads(request.body)["data"] == {"user_id": "user_1"}
    assert json.loads(request.body)["type"] == "member.joined"
    message = Message.objects.get()
    assert request.headers["webhook-id"] == message.public_id
    assert request.headers["webhook-signature"] == signature(
        endpoint.secret,
        message_id=message.public_id,
        timestamp=int(request.headers["webhook-timestamp"]),
        body=request.body,
    )
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.status, delivery.due_at) == (DeliveryState.DELIVERED, 204, None)
    assert deliver_due() == 0


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the specification's reference libraries.
    secret, message_id, timestamp = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    signed = signature(secret, message_id=message_id, timestamp=timestamp, body=b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_only_what_an_endpoint_listens_to(
    organization: Organization, ada: User, server: Receiver, endpoint: Endpoint
) -> None:
    services.change_endpoint(endpoint=endpoint, url=server.url, description="", event_types=["webhook.test"], by=ada)
    services.announce("member.joined", organization=organization, data={})
    assert not Delivery.objects.exists()


def test_another_organization_hears_nothing(endpoint: Endpoint, cyd: User) -> None:
    services.announce("member.joined", organization=cyd.organizations.get(), data={})
    assert not Delivery.objects.exists()


def test_what_is_told_once_is_told_once(endpoint: Endpoint) -> None:
    for _time in range(2):
        services.announce("member.joined", organization=endpoint.organization, data={}, once="ben")
    assert Message.objects.count() == 1


def test_a_joining_member_is_announced(endpoint: Endpoint, ben: User, organization: Organization) -> None:
    from accounts.signals import member_joined

    membership = Membership.objects.get(user=ben, organization=organization)
    member_joined.send(sender=Membership, membership=membership)
    assert Message.objects.get().data == {"user_id": ben.public_id, "role": Role.MEMBER}


@pytest.mark.parametrize("status", [301, 400, 500])
def test_what_is_not_heard_is_said_again_later(endpoint: Endpoint, server: Receiver, status: int) -> None:
    server.status, server.location = status, "http://127.0.0.1:1/elsewhere"
    services.send_test(endpoint=endpoint)
    deliver_due()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.status, delivery.attempts) == (DeliveryState.WAITING, status, 1)
    assert delivery.due_at is not None
    assert timezone.now() < delivery.due_at <= timezone.now() + RETRY_AFTER[0]
    endpoint.refresh_from_db()
    assert endpoint.failing_since is not None

    server.status = 200
    again()
    deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.answer) == (DeliveryState.DELIVERED, 2, "words")
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None


def test_nobody_listening_is_a_failure_in_words(endpoint: Endpoint, ada: User) -> None:
    services.change_endpoint(endpoint=endpoint, url="http://127.0.0.1:9/", description="", event_types=[], by=ada)
    services.send_test(endpoint=endpoint)
    deliver_due()
    assert Delivery.objects.get().failure == "refused"


def test_nobody_learns_which_names_this_network_knows(
    organization: Organization, ada: User, ada_client: Client, settings: LazySettings
) -> None:
    """A name that leads to this machine and one that leads nowhere are the same to who entered them."""
    base, seen, logged = f"/organizations/{organization.public_id}/webhooks", [], []
    for url in ("http://localhost/hook", "http://no-such-name.invalid/hook"):
        endpoint, _secret = services.create_endpoint(
            organization=organization, url=url, description="", event_types=[], by=ada
        )
        services.send_test(endpoint=endpoint)
        with capture_logs() as logs:
            deliver_due()
        logged += [line["reason"] for line in logs if line["event"] == "webhook_unreachable"]
        delivery = Delivery.objects.get(endpoint=endpoint)
        told = ada_client.get(f"/api{base}/{endpoint.public_id}/deliveries/").json()["data"][0]
        page = ada_client.get(f"{base}/{endpoint.public_id}/deliveries/{delivery.public_id}/").content.decode()
        assert "leads to no server on the public internet" in page
        assert delivery.due_at is not None
        assert delivery.last_attempt_at is not None
        seen.append(
            (
                {name: told[name] for name in ("state", "attempts", "status", "failure", "answer", "milliseconds")},
                delivery.due_at - delivery.last_attempt_at,
            )
        )
    assert seen[0] == seen[1]
    assert logged == ["forbidden_address", "unknown_host"]


def test_in_the_end_it_is_given_up(endpoint: Endpoint, server: Receiver) -> None:
    server.status = 500
    services.send_test(endpoint=endpoint)
    for _attempt in range(len(RETRY_AFTER) + 1):
        again()
        deliver_due()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.due_at, delivery.attempts) == (DeliveryState.FAILED, None, len(RETRY_AFTER) + 1)
    assert len(server.received) == len(RETRY_AFTER) + 1


def test_resending_delivers_what_was_given_up(endpoint: Endpoint, server: Receiver) -> None:
    server.status = 500
    services.send_test(endpoint=endpoint)
    Delivery.objects.update(attempts=len(RETRY_AFTER))
    deliver_due()
    delivery = Delivery.objects.get()
    assert delivery.state == DeliveryState.FAILED

    server.status = 204
    services.resend(delivery=delivery)
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.DELIVERED


def test_a_server_that_is_gone_is_left_alone(endpoint: Endpoint, server: Receiver, ada: User) -> None:
    server.status = 410
    services.send_test(endpoint=endpoint)
    deliver_due()
    endpoint.refresh_from_db()
    assert endpoint.disabled_because == Endpoint.DisabledBecause.GONE
    assert Notification.objects.get(recipient=ada).kind == "webhooks.endpoint_off"
    assert AuditEvent.objects.filter(action="webhook.disabled", actor="").exists()
    again()
    assert deliver_due() == 0


def test_an_endpoint_that_fails_for_days_is_switched_off(endpoint: Endpoint, server: Receiver, ada: User) -> None:
    server.status = 500
    services.send_test(endpoint=endpoint)
    Endpoint.objects.update(failing_since=timezone.now() - timedelta(days=6))
    deliver_due()
    endpoint.refresh_from_db()
    assert endpoint.disabled_because == Endpoint.DisabledBecause.FAILING

    services.set_enabled(endpoint=endpoint, enabled=True, by=ada)
    server.status = 204
    again()
    assert deliver_due() == 1
    assert Delivery.objects.get().state == DeliveryState.DELIVERED


def test_a_delivery_that_is_in_hand_is_not_taken_twice(endpoint: Endpoint, server: Receiver) -> None:
    from webhooks.delivery import _take

    services.send_test(endpoint=endpoint)
    assert len(_take()) == 1
    assert _take() == []
    # Its worker died: after a while it is due again.
    again()
    assert len(_take()) == 1


def test_sent_again_while_an_attempt_is_in_hand(endpoint: Endpoint, server: Receiver) -> None:
    from webhooks.delivery import Outcome, _note, _take

    services.send_test(endpoint=endpoint)
    [in_hand] = _take()
    services.resend(delivery=in_hand)
    [sent_again] = _take()
    _note(in_hand, Outcome(status=500))
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.status) == (1, None)
    _note(sent_again, Outcome(status=204))
    assert Delivery.objects.get().state == DeliveryState.DELIVERED


def test_a_sweep_of_hanging_servers_ends_before_another_takes_its_messages() -> None:
    rounds = -(-BATCH // AT_ONCE)
    assert rounds * (DEADLINE_SECONDS + 1) * 2 < TAKEN.total_seconds()


def test_webhooks_have_a_queue_of_their_own() -> None:
    assert app.amqp.router.route({}, "webhooks.tasks.deliver")["queue"].name == "webhooks"


def test_no_more_sweeps_at_once_than_the_worker_can_spare(endpoint: Endpoint, server: Receiver) -> None:
    from webhooks import tasks

    services.send_test(endpoint=endpoint)
    for _sweep in range(tasks.MOST_SWEEPS):
        tasks._sweeps.acquire()
    tasks.deliver()
    assert server.received == []
    tasks._sweeps.release(tasks.MOST_SWEEPS)
    tasks.deliver()
    assert len(server.received) == 1


def test_a_slow_endpoint_leaves_room_for_others(
    endpoint: Endpoint, organization: Organization, ada: User, server: Receiver
) -> None:
    for _message in range(30):
        services.send_test(endpoint=endpoint)
    other, _secret = services.create_endpoint(
        organization=organization, url=f"{server.url}/other", description="", event_types=[], by=ada
    )
    services.send_test(endpoint=other)
    deliver_due()
    assert Delivery.objects.get(endpoint=other).state == DeliveryState.DELIVERED
    assert Delivery.objects.filter(endpoint=endpoint, state=DeliveryState.DELIVERED).count() == 10


def test_an_organization_with_many_slow_endpoints_leaves_room_for_others(
    organization: Organization, ada: User, cyd: User, server: Receiver
) -> None:
    for number in range(BATCH // 2):
        flooded, _secret = services.create_endpoint(
            organization=organization, url=f"{server.url}/{number}", description="", event_types=[], by=ada
        )
        for _message in range(5):
            services.send_test(endpoint=flooded)
    elsewhere = open_workspace(user=cyd).organization
    other, _secret = services.create_endpoint(
        organization=elsewhere, url=f"{server.url}/other", description="", event_types=[], by=cyd
    )
    services.send_test(endpoint=other)
    assert deliver_due() == BATCH
    assert Delivery.objects.get(endpoint=other).state == DeliveryState.DELIVERED


def test_what_waits_at_a_slow_endpoint_takes_no_turn_of_its_neighbor(
    endpoint: Endpoint, organization: Organization, ada: User, cyd: User, server: Receiver
) -> None:
    def another(owner: User, home: Organization, name: str) -> Endpoint:
        return services.create_endpoint(
            organization=home, url=f"{server.url}/{name}", description="", event_types=[], by=owner
        )[0]

    for _message in range(BATCH):
        services.send_test(endpoint=endpoint)
    neighbor = another(ada, organization, "neighbor")
    services.send_test(endpoint=neighbor)
    elsewhere = open_workspace(user=cyd).organization
    for number in range(BATCH // 10):
        busy = another(cyd, elsewhere, str(number))
        for _message in range(10):
            services.send_test(endpoint=busy)
    assert deliver_due() == BATCH
    assert Delivery.objects.get(endpoint=neighbor).state == DeliveryState.DELIVERED


def test_both_secrets_sign_for_a_day(endpoint: Endpoint, server: Receiver, ada: User) -> None:
    before = endpoint.secret
    after = services.rotate_secret(endpoint=endpoint, by=ada)
    services.send_test(endpoint=endpoint)
    deliver_due()
    [request] = server.received
    timestamp = int(request.headers["webhook-timestamp"])
    message_id = request.headers["webhook-id"]
    assert request.headers["webhook-signature"].split() == [
        signature(secret, message_id=message_id, timestamp=timestamp, body=request.body) for secret in (after, before)
    ]
    Endpoint.objects.update(old_secret_until=timezone.now())
    endpoint.refresh_from_db()
    assert endpoint.signing_secrets == [after]


def test_two_clicks_keep_the_secret_that_signs(endpoint: Endpoint, ada: User) -> None:
    stale = Endpoint.objects.get()
    first = services.rotate_secret(endpoint=endpoint, by=ada)
    second = services.rotate_secret(endpoint=stale, by=ada)
    assert Endpoint.objects.get().signing_secrets == [second, first]


def test_the_secret_is_encrypted_in_the_database(endpoint: Endpoint) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM webhooks_endpoint")
        assert endpoint.secret not in cursor.fetchone()[0]


def test_old_messages_are_forgotten(endpoint: Endpoint) -> None:
    services.send_test(endpoint=endpoint)
    Message.objects.update(created_at=timezone.now() - timedelta(days=31))
    services.forget_old()
    assert not Delivery.objects.exists()
