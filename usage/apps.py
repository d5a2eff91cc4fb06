from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class UsageConfig(AppConfig):
    name = "usage"
    verbose_name = _("Usage")

    def ready(self) -> None:
        from apikeys.signals import key_changed

        key_changed.connect(forget_policy, dispatch_uid="forget_policy")


def forget_policy(*, digest: str, **_signal: Any) -> None:
    """Every process checks a key that was made, changed or revoked anew."""
    from usage.policies import forget

    forget(digest)
