"""What happened to a key, out of the audit log, in words; and which key the log speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.auditing.reading import entries
from accounts.models import AuditEvent, Organization
from apikeys.models import ApiKey
from common.limits import ALERTS, LABELS, limit_in_words

TERMS: dict[str, str | Promise] = {
    "name": _("Name"),
    "description": _("Description"),
    "allowed_models": _("Models"),
    "allowed_endpoints": _("Endpoints"),
    "allowed_networks": _("IP addresses"),
    "is_read_only": _("Reads only"),
    "expires_at": _("Expires"),
    **LABELS,
}


@dataclass(frozen=True, slots=True)
class Change:
    what: str | Promise
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Act:
    """One act on a key, in the words of the audit log."""

    at: datetime
    who: str
    what: str
    changes: list[Change]


def history_of(key: ApiKey) -> QuerySet[AuditEvent]:
    """The acts on a key, in no order."""
    return AuditEvent.objects.filter(target_kind="apikey", target_id=key.public_id)


def told(events: Sequence[AuditEvent]) -> list[Act]:
    """The same acts in words, in three queries however many they are."""
    return [
        Act(
            at=entry.event.at,
            who=entry.by,
            what=entry.words,
            changes=_changes(entry.event) if entry.event.action == "key.changed" else [],
        )
        for entry in entries(events)
    ]


def keys_called(text: str, organization: Organization | None) -> "QuerySet[ApiKey, str]":
    """The ids of keys whose name holds `text`, or of whose secrets, old ones too, it is the hint or the last letters.

    The log itself calls the keys of people by a hint alone, for it cannot forget what they named them.
    """
    prefix, _dots, last4 = text.rpartition("…")
    hint = Q(secrets__last4=last4, secrets__prefix=prefix) if prefix else Q(secrets__last4=last4)
    found = ApiKey.objects.filter(Q(name__icontains=text) | hint)
    if organization is not None:
        found = found.of_organization(organization)
    return found.values_list("public_id", flat=True)


def _changes(event: AuditEvent) -> list[Change]:
    return [
        Change(label, in_words(name, event.before.get(name)) or "–", in_words(name, event.after.get(name)) or "–")
        for name, label in TERMS.items()
        if name in event.after
    ]


def in_words(name: str, value: Any) -> str:
    """A term of a key as people read it, from the key or from the log; empty for none."""
    if value in (None, "", [], ()):
        return ""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if name == ALERTS or name.endswith("_nano"):
        return limit_in_words(name, value)
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    moment = parse_datetime(str(value)) if name == "expires_at" else None
    return f"{localtime(moment):%Y-%m-%d %H:%M}" if moment else str(value)
