"""allauth's forms for a code, which do not say that a recovery code is one."""

from typing import Any

from allauth.mfa.base import forms
from allauth.mfa.models import Authenticator
from django.utils.translation import gettext_lazy as _


class _CodeForm:
    fields: dict[str, Any]
    user: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if Authenticator.objects.filter(user=self.user, type=Authenticator.Type.RECOVERY_CODES).exists():
            self.fields["code"].help_text = _("Without your app or key, type one of your recovery codes instead.")


class AuthenticateForm(_CodeForm, forms.AuthenticateForm):  # type: ignore[misc]  # allauth has no types
    """At sign-in."""


class ReauthenticateForm(_CodeForm, forms.ReauthenticateForm):  # type: ignore[misc]  # allauth has no types
    """Before something that asks for it once more."""
