"""How the portal signs people in, where it differs from allauth."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.signals import user_signed_up
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest

from accounts.audit import record
from accounts.models import User
from common.fields import decrypt, encrypt
from common.origins import client_address
from common.tokens import new_token

NO_ADDRESS = "::"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Counts failed sign-ins per account and address first.

    So somebody who guesses at an account shuts out their own address, not its owner. Beyond that an account takes few
    attempts from all addresses that are new to it: those where it is signed in already are never shut out by others.
    """

    _account_usage: ratelimit.RateLimitUsage | None = None

    def get_client_ip(self, request: HttpRequest) -> str:
        """The same address as in the audit log. Requests without one share one allowance."""
        address = client_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
        return address or NO_ADDRESS

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        super().pre_authenticate(request, **credentials)
        login = _login(credentials)
        # By whichever of its addresses the account signs in. One that is not confirmed may be somebody else's.
        confirmed = EmailAddress.objects.filter(user=OuterRef("user"), email=login, verified=True)
        own = Q(user__email=login) | Exists(confirmed)
        if UserSession.objects.filter(own, ip=self.get_client_ip(request)).exists():
            return
        self._account_usage = ratelimit.consume(
            request, app="allauth.account", action="login_failed_anywhere", key=login
        )
        if not self._account_usage:
            raise self.validation_error("too_many_login_attempts")

    def send_account_already_exists_mail(self, email: str) -> None:
        """Tell whoever reads the mail, after all that a new account would have taken."""
        self._rehearse_sign_up()
        super().send_account_already_exists_mail(email)

    @transaction.atomic
    def _rehearse_sign_up(self) -> None:
        """Make an account as the sign-up of an unknown address does, and take it back: no clock tells them apart.

        What PostgreSQL puts off to the commit is done here as well. The view has a transaction around it, so that both
        ways wait for the disk once.
        """
        user = User.objects.create_user(f"{new_token()}@nobody.invalid", "of nobody")
        EmailAddress.objects.create(user=user, email=user.email, primary=True)
        user_signed_up.send(sender=User, request=self.request, user=user)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.set_rollback(True)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        return f"{self.get_client_ip(request)} {_login(credentials)}"

    def _rollback_login_failed_rl_usage(self) -> None:
        super()._rollback_login_failed_rl_usage()
        if self._account_usage:
            self._account_usage.rollback()

    def _delete_login_attempts_cached_email(self, request: HttpRequest, **credentials: Any) -> None:
        super()._delete_login_attempts_cached_email(request, **credentials)
        ratelimit.clear(request, app="allauth.account", action="login_failed_anywhere", key=_login(credentials))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """Keeps secrets of authenticator apps and recovery codes encrypted, as those of backends are."""

    def encrypt(self, text: str) -> str:
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth has no types
    """Writes down who ended a session."""

    def end_sessions(self, sessions: list[UserSession]) -> None:
        super().end_sessions(sessions)
        for session in sessions:
            record("session.ended", by=session.user, target=session.user)


def _login(credentials: dict[str, Any]) -> str:
    return str(credentials.get("email") or credentials.get("username") or "").lower()
