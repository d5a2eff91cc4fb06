"""What goes out: a batch of due deliveries at a time, side by side, each under a deadline.

A delivery is taken by an UPDATE that moves its next attempt ahead, so that two workers never send it at once and one
that dies leaves it to the next. It may arrive twice, never not at all: a receiver tells by `webhook-id`.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import orjson
import structlog
from django.db import transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.models import User
from accounts.roles import IN_ORGANIZATION, Right
from common.connections import give_back_connection
from common.http import Failure, NoAnswerError, run
from common.outbound import Answer, ForbiddenAddressError, GuardedClient, gather_in_turn
from notifications.services import notify
from webhooks.models import Delivery, DeliveryState, Endpoint
from webhooks.signing import headers

log = structlog.get_logger(__name__)

DEADLINE_SECONDS = 10.0
# Longer than any attempt: what a dead worker had in hand is due again after this.
TAKEN = timedelta(seconds=60)
# Two rounds of AT_ONCE: a whole sweep of hanging servers ends well before another worker takes its messages.
BATCH = 40
AT_ONCE = 20
# One endpoint that answers slowly must not keep the others' messages waiting.
BATCH_PER_ENDPOINT = 10
# As the standard proposes: about three days in all, the first retries soon.
RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
GIVE_UP_ON_ENDPOINT_AFTER = timedelta(days=5)
GONE = 410
FORBIDDEN = "forbidden_address"
# What a delivery keeps in place of FORBIDDEN and of an unknown name. Told apart, they would tell members which names
# this network knows; only the log of the operator does.
UNREACHABLE = "no_public_address"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. `failure` is a word of `common.http.Failure`, or `no_public_address`."""

    status: int | None = None
    failure: str = ""
    answer: str = ""
    milliseconds: int | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def deliver_due() -> int:
    """Send a batch of what is due. Returns how many attempts were made."""
    taken = _take()
    # Nothing is asked of the database while strangers make us wait.
    give_back_connection()
    outcomes = run(_send_all(taken))
    for delivery, outcome in zip(taken, outcomes, strict=True):
        _note(delivery, outcome)
    return len(taken)


def _take() -> list[Delivery]:
    taken: list[Delivery] = []
    place = Window(RowNumber(), partition_by="endpoint", order_by="due_at")
    turn = Window(RowNumber(), partition_by="endpoint__organization", order_by="due_at")
    due = Delivery.objects.due().filter(endpoint__disabled_at=None).annotate(place=place)
    # What one endpoint has beyond its share takes no turn of its organization.
    first = Delivery.objects.filter(pk__in=due.filter(place__lte=BATCH_PER_ENDPOINT).values("pk"))
    # Organizations in turn: one whose many endpoints never answer must not keep the others' messages waiting either.
    some = first.annotate(turn=turn).order_by("turn", "due_at").select_related("endpoint", "message")
    for delivery in some[:BATCH]:
        now = timezone.now()
        won = Delivery.objects.filter(pk=delivery.pk, due_at=delivery.due_at).update(
            due_at=now + TAKEN, attempts=F("attempts") + 1, last_attempt_at=now
        )
        if won:
            delivery.attempts, delivery.last_attempt_at = delivery.attempts + 1, now
            taken.append(delivery)
    return taken


async def _send_all(deliveries: list[Delivery]) -> list[Outcome]:
    async with GuardedClient(deadline_seconds=DEADLINE_SECONDS) as client:
        return await gather_in_turn([_send(client, delivery) for delivery in deliveries], at_once=AT_ONCE)


async def _send(client: GuardedClient, delivery: Delivery) -> Outcome:
    body = orjson.dumps(delivery.message.body)
    signed = headers(
        delivery.endpoint.signing_secrets,
        message_id=delivery.message.public_id,
        timestamp=int(timezone.now().timestamp()),
        body=body,
    )
    try:
        # A server that trickles its answer is cut off here as well.
        async with asyncio.timeout(DEADLINE_SECONDS + 1):
            answer: Answer = await client.post(
                delivery.endpoint.url, body, headers={**signed, "content-type": "application/json"}
            )
    except ForbiddenAddressError:
        return _unreachable(delivery, FORBIDDEN)
    except NoAnswerError as error:
        if error.failure is Failure.UNKNOWN_HOST:
            return _unreachable(delivery, Failure.UNKNOWN_HOST)
        return Outcome(failure=error.failure.value)
    except TimeoutError:
        return Outcome(failure="timeout")
    return Outcome(status=answer.status, answer=answer.text, milliseconds=answer.milliseconds)


def _unreachable(delivery: Delivery, reason: str) -> Outcome:
    log.info(
        "webhook_unreachable", endpoint=delivery.endpoint.public_id, delivery=delivery.public_id, reason=str(reason)
    )
    return Outcome(failure=UNREACHABLE)


@transaction.atomic
def _note(delivery: Delivery, outcome: Outcome) -> None:
    """Save what became of an attempt, and draw the conclusions for the delivery and its endpoint."""
    endpoint = Endpoint.objects.select_for_update().filter(pk=delivery.endpoint_id).first()
    if endpoint is None:
        return
    now = timezone.now()
    delivery.status, delivery.failure = outcome.status, outcome.failure
    delivery.answer, delivery.milliseconds = outcome.answer[:1024], outcome.milliseconds
    if outcome.is_delivered:
        delivery.state, delivery.due_at = DeliveryState.DELIVERED, None
        endpoint.failing_since = None
    else:
        endpoint.failing_since = endpoint.failing_since or now
        if delivery.attempts > len(RETRY_AFTER):
            delivery.state, delivery.due_at = DeliveryState.FAILED, None
        else:
            # From when it began: how long a name took to be looked up is not for the reader of `due_at` either.
            delivery.due_at = (delivery.last_attempt_at or now) + RETRY_AFTER[delivery.attempts - 1]
    # Still this attempt: what somebody asked to be sent again meanwhile is sent again.
    attempt = Delivery.objects.filter(
        pk=delivery.pk, attempts=delivery.attempts, last_attempt_at=delivery.last_attempt_at
    )
    fields = ("status", "failure", "answer", "milliseconds", "state", "due_at")
    attempt.update(**{field: getattr(delivery, field) for field in fields})
    if outcome.status == GONE:
        _switch_off(endpoint, Endpoint.DisabledBecause.GONE)
    elif endpoint.failing_since and now - endpoint.failing_since > GIVE_UP_ON_ENDPOINT_AFTER:
        _switch_off(endpoint, Endpoint.DisabledBecause.FAILING)
    endpoint.save(update_fields=["failing_since", "disabled_at", "disabled_because"])


def _switch_off(endpoint: Endpoint, because: Endpoint.DisabledBecause) -> None:
    if not endpoint.is_enabled:
        return
    endpoint.disabled_at, endpoint.disabled_because = timezone.now(), because
    record(
        "webhook.disabled",
        by=None,
        target=endpoint,
        organization=endpoint.organization,
        label=endpoint.url,
        after={"because": because.value},
    )
    managers = [role for role, rights in IN_ORGANIZATION.items() if Right.MANAGE_ORGANIZATION in rights]
    people = User.objects.filter(
        memberships__organization=endpoint.organization, memberships__role__in=managers, is_active=True
    )
    for person in people:
        notify(
            recipient=person,
            kind="webhooks.endpoint_off",
            object_id=endpoint.public_id,
            title=endpoint.url,
            url=reverse("webhooks:endpoint", args=[endpoint.organization.public_id, endpoint.public_id]),
        )
    log.warning("webhook_endpoint_off", endpoint=endpoint.public_id, because=because.value)
