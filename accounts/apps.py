from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


def open_workspace_at_sign_up(sender: object, user: Any, **kwargs: object) -> None:
    from accounts.services import open_workspace

    open_workspace(user=user)


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from allauth.account.signals import user_signed_up

        from accounts.auditing import actions, receivers

        actions.register(actions.ACTIONS, by_strangers=actions.BY_STRANGERS)
        receivers.connect()
        # From the form and from an identity provider alike.
        user_signed_up.connect(open_workspace_at_sign_up, dispatch_uid="accounts.open_workspace")
