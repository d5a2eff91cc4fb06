from functools import partial
from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysConfig(AppConfig):
    name = "apikeys"
    verbose_name = _("API keys")

    def ready(self) -> None:
        from accounts import holdings
        from apikeys.holding import HOLDING

        holdings.register(HOLDING)
        from django.db.models.signals import post_delete

        from accounts import names
        from accounts.auditing import actions, finding
        from accounts.signals import service_account_removed
        from apikeys.history import keys_called
        from apikeys.kinds import ACTIONS, EVENT_TYPES, KINDS
        from apikeys.leaks import live_keys_in, refusal
        from apikeys.models import KeySecret
        from apikeys.services import announce_deleted
        from apikeys.signals import key_created, key_leaked, key_revoked
        from notifications import registry
        from webhooks import registry as events

        # In the admin, or with its project: a deleted key ends at once, as a revoked one does.
        post_delete.connect(announce_deleted, sender=KeySecret, dispatch_uid="apikeys.announce_deleted")
        service_account_removed.connect(revoke_its_keys, dispatch_uid="apikeys.revoke_its_keys")
        actions.register(ACTIONS, by_strangers={"key.leaked"})
        for kind in KINDS:
            registry.register(kind)
        for event_type in EVENT_TYPES:
            events.register(event_type)
        for name, signal in (("key.created", key_created), ("key.revoked", key_revoked), ("key.leaked", key_leaked)):
            signal.connect(partial(tell_programs, name), weak=False, dispatch_uid=f"apikeys.{name}")
        finding.register(keys_called)
        names.register_check(lambda user, name: refusal(user, keys) if (keys := live_keys_in(name)) else "")


def revoke_its_keys(*, service_account: Any, by: Any, **_signal: Any) -> None:
    """Keys of a removed service account end, and say so wherever they are shown."""
    from apikeys.models import ApiKey
    from apikeys.services import revoke_key

    for key in ApiKey.objects.unrevoked().filter(service_account=service_account):
        revoke_key(key=key, by=by)


def tell_programs(event_type: str, *, key: Any, by: Any, **_signal: Any) -> None:
    """Tell the endpoints of the organization whose key it is; a person's own key is nobody else's business."""
    from webhooks.services import announce

    if key.organization is not None:
        data = {
            "id": key.public_id,
            "name": key.name,
            "kind": str(key.kind),
            "hint": key.hint,
            "project_id": key.project.public_id,
            "by": by.public_id if by else None,
        }
        announce(event_type, organization=key.organization, data=data)
