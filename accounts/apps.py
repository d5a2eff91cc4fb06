from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


def open_workspace_at_sign_up(sender: object, user: Any, **kwargs: object) -> None:
    from accounts.services import open_workspace

    open_workspace(user=user)


def begin_session(sender: object, request: Any, user: Any, **kwargs: object) -> None:
    from accounts.access import resume_project
    from accounts.sessions import mark_seen

    mark_seen(request)
    resume_project(request, user)


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from accounts import holdings
        from accounts.holding import HOLDING

        holdings.register(HOLDING)
        from allauth.account.signals import user_signed_up
        from allauth.mfa.signals import authenticator_used
        from django.contrib.auth.signals import user_logged_in

        from accounts.auditing import actions, finding, receivers
        from accounts.second_factor import SEALED, tell_of_codes_left
        from common import sealed

        actions.register(actions.ACTIONS, by_strangers=actions.BY_STRANGERS)
        receivers.connect()
        authenticator_used.connect(tell_of_codes_left, dispatch_uid="accounts.tell_of_codes_left")
        finding.register(finding.service_accounts_called)
        sealed.register(SEALED)
        # From the form and from an identity provider alike.
        user_signed_up.connect(open_workspace_at_sign_up, dispatch_uid="accounts.open_workspace")
        user_logged_in.connect(begin_session, dispatch_uid="accounts.begin_session")
