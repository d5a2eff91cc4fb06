"""What keys tell people and programs, and what acts on keys are called in the audit log."""

from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import Words
from notifications.registry import Kind
from webhooks.registry import EventType

REVOKED = "apikeys.leaked_and_revoked"
FLAGGED = "apikeys.leaked"
SHORTENED = "apikeys.shortened"

KINDS = [
    Kind(
        name=REVOKED,
        group="apikeys.leaked",
        one=_("Your API key “%(title)s” was found where it should not be, and is revoked"),
        many=_("Your API key “%(title)s” was found where it should not be, %(count)s times"),
    ),
    Kind(
        name=FLAGGED,
        group="apikeys.leaked",
        one=_("Your API key “%(title)s” was found where it should not be, and still works: rotate or revoke it"),
        many=_("Your API key “%(title)s” was found where it should not be, %(count)s times"),
    ),
    Kind(
        name=SHORTENED,
        group="apikeys.shortened",
        one=_("Your API key “%(title)s” will end: %(actor)s made it keep to how long the organization lets keys live"),
    ),
]

KEY_IN_EVENTS = {
    "id": "key_0353lkPT8K4OGtWbqVtQ9n",
    "name": "laptop",
    "kind": "project",
    "hint": "lyc_aB3x…9kQz",
    "project_id": "proj_0353lkPT8K4OGtWbqVtQ9n",
    "by": "user_0353lkPT8K4OGtWbqVtQ9n",
}
BY_NOBODY = KEY_IN_EVENTS | {"by": None}

EVENT_TYPES = [
    EventType("key.created", _("A key was made in one of the organization’s projects."), KEY_IN_EVENTS),
    EventType(
        "key.revoked",
        _("A key was revoked. “by” is null when the portal did it, because the key was found somewhere."),
        KEY_IN_EVENTS,
    ),
    EventType(
        "key.leaked",
        _("A key was found where it should not be. It is revoked as well, unless your policy for keys says otherwise."),
        BY_NOBODY,
    ),
]

ACTIONS: dict[str, Words] = {
    "key.created": _("created the key %(target)s"),
    "key.changed": _("changed the key %(target)s"),
    "key.rotated": _("rotated the key %(target)s"),
    "key.secret_retired": _("retired an old secret of the key %(target)s"),
    "key.disabled": _("disabled the key %(target)s"),
    "key.enabled": _("enabled the key %(target)s"),
    "key.leaked": _("reported the key %(target)s as leaked"),
    "key.revoked": _("revoked the key %(target)s"),
    "key_policy.changed": _("changed the policy for keys of %(target)s"),
}
