"""What every page's frame shows of notifications."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from notifications.models import Notification

MOST = 100


def unread_notifications(request: HttpRequest) -> dict[str, Any]:
    """`unread_notifications`: how many, at most MOST (more than is ever shown). Counted when a template reads it."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"unread_notifications": 0}
    return {"unread_notifications": SimpleLazyObject(lambda: Notification.objects.unread(user)[:MOST].count())}
