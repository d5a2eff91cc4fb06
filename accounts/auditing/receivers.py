"""What people do to their accounts and staff in the admin: recorded by what Django and allauth announce."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from allauth.socialaccount import signals as social
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntryManager
from django.contrib.auth import signals as auth
from django.db.models import Model
from django.dispatch import Signal

from accounts.audit import record
from accounts.models import Organization, User

THEIR_OWN: list[tuple[Signal, str]] = [
    (account.user_signed_up, "user.signed_up"),
    (account.user_logged_in, "user.signed_in"),
    (auth.user_logged_out, "user.signed_out"),
    (account.password_changed, "user.password_changed"),
    (account.password_set, "user.password_changed"),
    (account.password_reset, "user.password_reset"),
    (account.email_added, "user.email_added"),
    (account.email_changed, "user.email_changed"),
    (account.email_removed, "user.email_removed"),
    (mfa.authenticator_added, "user.second_factor_added"),
    (mfa.authenticator_removed, "user.second_factor_removed"),
    (mfa.authenticator_reset, "user.second_factor_renewed"),
    (social.social_account_added, "user.social_account_connected"),
    (social.social_account_removed, "user.social_account_removed"),
]
"""What a person does to their own account, by the signal that says so."""

IN_THE_ADMIN = {ADDITION: "admin.added", CHANGE: "admin.changed", DELETION: "admin.deleted"}


def connect() -> None:
    """Listen; called once, when the app is ready."""
    for signal, action in THEIR_OWN:
        signal.connect(_recorder(action), weak=False, dispatch_uid=f"accounts.auditing.{action}")
    auth.user_login_failed.connect(note_failed_sign_in, dispatch_uid="accounts.auditing.failed")
    # No signal tells of log entries that are made in bulk, as when several rows are deleted at once.
    LogEntryManager.log_actions = _recorded(LogEntryManager.log_actions)  # type: ignore[method-assign]


def _recorder(action: str) -> Callable[..., None]:
    def note(sender: object, **said: Any) -> None:
        login = said.get("sociallogin") or said.get("socialaccount")
        user = said.get("user") or (login and login.user)
        if isinstance(user, User):
            authenticator = said.get("authenticator")
            record(action, by=user, target=user, after={"kind": authenticator.type} if authenticator else None)

    return note


def note_failed_sign_in(sender: object, credentials: dict[str, Any], **said: Any) -> None:
    """A row whether there is such an account or not: one that only comes for some would be heard in the time it takes.

    What was typed is not kept: people type a password there by mistake.
    """
    typed = credentials.get("email") or credentials.get("username") or ""
    user = User.objects.filter(email=str(typed).lower()).first()
    record("user.sign_in_failed" if user else "user.unknown_sign_in_failed", by=None, target=user)


def _recorded(log_actions: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(log_actions)
    def recorded(
        manager: object,
        user_id: int,
        queryset: Iterable[Model],
        action_flag: int,
        change_message: Any = "",
        **more: Any,
    ) -> Any:
        rows = list(queryset)
        by = User.objects.get(pk=user_id)
        for row in rows:
            record(
                IN_THE_ADMIN[action_flag],
                by=by,
                target=row,
                organization=_organization_of(row),
                label=f"{row._meta.label} {getattr(row, 'public_id', row.pk)}",
                after={"fields": _fields(change_message)} if action_flag == CHANGE else None,
            )
        return log_actions(manager, user_id, rows, action_flag, change_message, **more)

    return recorded


def _organization_of(row: Model) -> Organization | None:
    """Whose log it belongs to: owners see what staff did to what is theirs."""
    for one in (row, getattr(row, "organization", None), getattr(getattr(row, "project", None), "organization", None)):
        if isinstance(one, Organization):
            return one
    return None


def _fields(change_message: Any) -> list[str]:
    """Names of the fields and of the rows beside them that were changed; never what they hold."""
    names: list[str] = []
    for part in change_message if isinstance(change_message, list) else []:
        for kind, what in part.items():
            names += what.get("fields", []) if kind == "changed" else [what["name"]] if "name" in what else []
    return names
