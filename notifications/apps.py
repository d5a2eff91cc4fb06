from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Notifications")

    def ready(self) -> None:
        from accounts import holdings
        from accounts.signals import owner_made
        from notifications import kinds, registry
        from notifications.holding import HOLDING

        holdings.register(HOLDING)
        registry.register(kinds.OWNER_MADE)
        owner_made.connect(tell_owner, dispatch_uid="notifications.owner_made")


def tell_owner(*, membership: Any, by: Any, **_signal: Any) -> None:
    """Tell somebody that an organization is theirs."""
    from django.urls import reverse

    from notifications.kinds import OWNER_MADE
    from notifications.services import notify

    organization = membership.organization
    notify(
        recipient=membership.user,
        kind=OWNER_MADE.name,
        object_id=organization.public_id,
        title=organization.display_name,
        url=reverse("accounts:organization", args=[organization.public_id]),
        actor=by,
    )
