"""What a notification says to its recipient now: in their language, and only about what they may still read."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext

from accounts.models import User
from notifications import registry
from notifications.models import Notification


@dataclass(frozen=True)
class Told:
    """A notification in words. `is_available` is False when nothing it is about may be read any more."""

    notification: Notification
    text: str
    is_available: bool


def tell(user: User, notifications: Sequence[Notification]) -> list[Told]:
    """Every notification in words, with one question to each reader for all of them."""
    sources = {event["source"] for row in notifications for event in row.events if event["source"]}
    readable = registry.readable(user, sources) if sources else set()
    return [_tell(row, readable) for row in notifications]


def _tell(row: Notification, readable: set[str]) -> Told:
    events = [event for event in row.events if not event["source"] or event["source"] in readable]
    if not events:
        return Told(row, gettext("Something you were told about has been removed since."), is_available=False)
    count = row.count - (len(row.events) - len(events))
    latest = registry.kind_named(events[-1]["kind"])
    if count == 1 or not latest.many:
        text = str(latest.one) % {"actor": events[-1]["actor"], "title": row.title}
    else:
        text = str(latest.many) % {"count": count, "title": row.title}
    return Told(row, text, is_available=True)
