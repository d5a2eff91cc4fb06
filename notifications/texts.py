"""What a notification says to its recipient now: in their language, and only about what they may still read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from accounts.models import User, shown_name
from notifications import registry
from notifications.models import Notification


@dataclass(frozen=True)
class Told:
    """A notification in words.

    `is_available` is False when nothing that happened may be read any more, `is_reachable` when the place where it did
    may not be read either.
    """

    notification: Notification
    text: str
    is_available: bool
    is_reachable: bool


def tell(user: User, notifications: Sequence[Notification]) -> list[Told]:
    """Every notification in words, with one question to each reader for all of them."""
    sources = {event["source"] for row in notifications for event in row.events if event["source"]}
    objects = {row.object_id for row in notifications}
    readable = registry.readable(user, sources | objects) if sources else set()
    return [_tell(row, readable) for row in notifications]


def _tell(row: Notification, readable: set[str]) -> Told:
    events = [event for event in row.events if not event["source"] or event["source"] in readable]
    if not events:
        is_reachable = row.object_id in readable
        text = gettext("Something you were told about has been removed since.")
        if is_reachable:
            text = gettext("Something you were told about in “%(title)s” has been removed since") % {"title": row.title}
        return Told(row, text, is_available=False, is_reachable=is_reachable)
    count = row.count - (len(row.events) - len(events))
    latest = registry.kind_named(events[-1]["kind"])
    if count == 1 or not latest.many:
        facts = events[-1].get("facts", {})
        text = str(latest.one) % {**facts, "actor": _actor(events[-1]), "title": row.title}
    else:
        text = str(latest.many) % {"count": count, "title": row.title}
    return Told(row, text, is_available=True, is_reachable=True)


def _actor(event: dict[str, Any]) -> str:
    if not event["actor"] and not event.get("actor_id"):
        return gettext("Deleted user")
    return shown_name(event["actor"], event.get("actor_id", ""))
