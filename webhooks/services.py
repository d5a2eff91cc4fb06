"""Announcing what happened, and what owners do with endpoints. What goes out is `webhooks.delivery`'s."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.errors import RefusedError
from accounts.models import Organization, User
from common.hints import send_hint
from webhooks.kinds import TEST
from webhooks.models import Delivery, DeliveryState, Endpoint, Message
from webhooks.registry import is_registered
from webhooks.signing import new_secret

MOST_ENDPOINTS = 20
OLD_SECRET_SIGNS = timedelta(hours=24)
KEPT = timedelta(days=30)
HINT_SECONDS = 10


@transaction.atomic
def announce(event_type: str, *, organization: Organization, data: dict[str, Any], once: str = "") -> None:
    """Tell the organization's endpoints that something happened, once the transaction in hand is committed.

    `data` is what the type's example looks like: identifiers and facts, never a secret. An event with the same `once`
    is told a single time. Raises KeyError for a type that nobody registered.
    """
    if not is_registered(event_type):
        raise KeyError(event_type)
    endpoints = list(Endpoint.objects.listening_to(organization, event_type))
    if not endpoints:
        return
    message, is_new = (
        Message.objects.get_or_create(
            organization=organization, once=once, defaults={"event_type": event_type, "data": data}
        )
        if once
        else (Message.objects.create(organization=organization, event_type=event_type, data=data), True)
    )
    if is_new:
        _send(message, endpoints)


@transaction.atomic
def create_endpoint(
    *, organization: Organization, url: str, description: str, event_types: list[str], by: User
) -> tuple[Endpoint, str]:
    """A new endpoint and its signing secret, which is shown now and not again.

    Raises RefusedError when the organization has MOST_ENDPOINTS.
    """
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if organization.webhook_endpoints.count() >= MOST_ENDPOINTS:
        raise RefusedError(
            _("An organization has %(count)s endpoints at most. Remove one first.") % {"count": MOST_ENDPOINTS},
            code="too_many_endpoints",
        )
    secret = new_secret()
    endpoint = Endpoint.objects.create(
        organization=organization,
        url=url,
        description=description,
        event_types=sorted(event_types),
        secret=secret,
        created_by=by,
    )
    record("webhook.created", by=by, target=endpoint, organization=organization, label=url, after=_facts(endpoint))
    return endpoint, secret


@transaction.atomic
def change_endpoint(*, endpoint: Endpoint, url: str, description: str, event_types: list[str], by: User) -> None:
    """Move an endpoint, or change what it is told."""
    before = _facts(endpoint)
    endpoint.url, endpoint.description, endpoint.event_types = url, description, sorted(event_types)
    endpoint.save(update_fields=["url", "description", "event_types"])
    after = _facts(endpoint)
    if after != before:
        record(
            "webhook.changed",
            by=by,
            target=endpoint,
            organization=endpoint.organization,
            label=url,
            before=before,
            after=after,
        )


@transaction.atomic
def rotate_secret(*, endpoint: Endpoint, by: User) -> str:
    """A new signing secret, shown now and not again. The one before goes on signing as well for a day."""
    secret = new_secret()
    # As it is now: of two clicks at once, the second must not keep a secret that has ceased to sign.
    held = get_object_or_404(Endpoint.objects.select_for_update(of=("self",)), pk=endpoint.pk)
    endpoint.old_secret, endpoint.old_secret_until = held.secret, timezone.now() + OLD_SECRET_SIGNS
    endpoint.secret = secret
    endpoint.save(update_fields=["secret", "old_secret", "old_secret_until"])
    record("webhook.secret_rotated", by=by, target=endpoint, organization=endpoint.organization, label=endpoint.url)
    return secret


@transaction.atomic
def set_enabled(*, endpoint: Endpoint, enabled: bool, by: User) -> None:
    """Switch an endpoint off, keeping what waits for it, or on again."""
    if endpoint.is_enabled == enabled:
        return
    endpoint.disabled_at = None if enabled else timezone.now()
    endpoint.disabled_because = "" if enabled else Endpoint.DisabledBecause.SOMEONE
    endpoint.failing_since = None
    endpoint.save(update_fields=["disabled_at", "disabled_because", "failing_since"])
    action = "webhook.enabled" if enabled else "webhook.disabled"
    record(action, by=by, target=endpoint, organization=endpoint.organization, label=endpoint.url)
    transaction.on_commit(hint)


@transaction.atomic
def remove_endpoint(*, endpoint: Endpoint, by: User) -> None:
    """Forget an endpoint and its log; nothing more is sent there."""
    record("webhook.removed", by=by, target=endpoint, organization=endpoint.organization, label=endpoint.url)
    endpoint.delete()


@transaction.atomic
def send_test(*, endpoint: Endpoint) -> None:
    """Send a test message to this endpoint, whatever it listens to."""
    message = Message.objects.create(
        organization=endpoint.organization, event_type=TEST, data={"message": "Hello.", "endpoint": endpoint.public_id}
    )
    _send(message, [endpoint])


@transaction.atomic
def resend(*, delivery: Delivery) -> None:
    """Deliver a message again now, whatever became of it. A second click while it is on its way changes nothing."""
    Delivery.objects.filter(pk=delivery.pk).exclude(state=DeliveryState.WAITING, attempts=0).update(
        state=DeliveryState.WAITING, attempts=0, due_at=timezone.now()
    )
    transaction.on_commit(hint)


def forget_old() -> None:
    """Delete messages, and with them their log, once nobody looks for them any more."""
    Message.objects.filter(created_at__lt=timezone.now() - KEPT).delete()


def hint() -> None:
    """Ask a worker to deliver what is due now rather than at the next beat."""
    from webhooks.tasks import deliver  # tasks import this module

    # Beat comes by as often: a line of old hints would find nothing left to do.
    send_hint(partial(deliver.apply_async, expires=HINT_SECONDS), about="webhooks")


def _send(message: Message, endpoints: list[Endpoint]) -> None:
    Delivery.objects.bulk_create(Delivery(endpoint=endpoint, message=message) for endpoint in endpoints)
    transaction.on_commit(hint)


def _facts(endpoint: Endpoint) -> dict[str, Any]:
    return {"url": endpoint.url, "event_types": endpoint.event_types}
