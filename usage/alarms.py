"""What whoever runs the portal has to hear about metering: in the log, in the site and by mail."""

from typing import Any

import structlog
from django.core.cache import cache
from django.urls import reverse

from accounts.models import User
from notifications.services import notify

log = structlog.get_logger(__name__)

# What goes on is logged each time; nobody needs more than a few mails a day about it.
TOLD_EVERY_SECONDS = 6 * 3600


def alarm(kind: str, **details: Any) -> None:
    """Log an error named `kind` with `details`, and tell staff unless they were told in the last hours."""
    log.error(kind, **details)
    if not cache.add(f"usage:alarm:{kind}", True, TOLD_EVERY_SECONDS):
        return
    for user in User.objects.filter(is_staff=True, is_active=True):
        notify(recipient=user, kind=kind, object_id=kind, title="", url=reverse("admin:usage_usageevent_changelist"))
