"""The events this app knows by itself, what it tells people, and what acts on endpoints are called in the audit log."""

from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import Words
from notifications.registry import Kind
from webhooks.registry import EventType

TEST = "webhook.test"

EVENT_TYPES = (
    EventType(
        "member.joined",
        _("Somebody became a member of the organization."),
        {"user_id": "user_0353lkPT8K4OGtWbqVtQ9n", "role": "member"},
    ),
    EventType(TEST, _("You asked for a test message on the endpoint’s page."), {"message": "Hello."}),
)

ENDPOINT_OFF = Kind(
    name="webhooks.endpoint_off",
    group="webhooks.endpoint",
    one=_("The webhook endpoint %(title)s was switched off, because nothing could be delivered there"),
    many=_("The webhook endpoint %(title)s was switched off, because nothing could be delivered there"),
)

ACTIONS: dict[str, Words] = {
    "webhook.created": _("created the webhook endpoint %(target)s"),
    "webhook.changed": _("changed the webhook endpoint %(target)s"),
    "webhook.secret_rotated": _("rotated the signing secret of the webhook endpoint %(target)s"),
    "webhook.enabled": _("switched on the webhook endpoint %(target)s"),
    "webhook.disabled": _("switched off the webhook endpoint %(target)s"),
    "webhook.removed": _("removed the webhook endpoint %(target)s"),
}
