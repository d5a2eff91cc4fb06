from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = _("Webhooks")

    def ready(self) -> None:
        from accounts import holdings
        from accounts.auditing import actions
        from accounts.signals import member_joined
        from notifications import registry as kinds
        from webhooks import kinds as ours
        from webhooks import registry
        from webhooks.holding import HOLDING

        holdings.register(HOLDING)
        for event_type in ours.EVENT_TYPES:
            registry.register(event_type)
        kinds.register(ours.ENDPOINT_OFF)
        actions.register(ours.ACTIONS)
        member_joined.connect(announce_member, dispatch_uid="webhooks.member_joined")


def announce_member(*, membership: Any, **_signal: Any) -> None:
    """Tell the organization's endpoints who joined."""
    from webhooks.services import announce

    announce(
        "member.joined",
        organization=membership.organization,
        data={"user_id": membership.user.public_id, "role": membership.role},
    )
