"""Who calls the REST API with a management key instead of a session."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts.models import User
from apikeys.management_keys import Refusal, RefusedKeyError, open_with
from apikeys.models import ApiKey


class ManagementKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer` with a management key: the request is its owner's, with all that the owner may do.

    There is no session and no cookie, so no CSRF token is asked for. Whoever sends such a header is judged by it alone.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            return open_with(secret.strip(), writes=request.method not in SAFE_METHODS)
        except RefusedKeyError as refusal:
            raise _as_answer(refusal.reason) from refusal

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _as_answer(reason: Refusal) -> APIException:
    match reason:
        case Refusal.UNKNOWN:
            words = _("This management key is unknown, or was revoked or disabled, or has expired.")
        case Refusal.WRONG_KIND:
            words = _("This is a key for models, which opens /v1 only. Here a management key is asked for.")
        case Refusal.ADDRESS:
            words = _("This key may not be used from your IP address.")
        case Refusal.READ_ONLY:
            words = _("This key only reads. Make one that may also write.")
        case Refusal.SECOND_FACTOR:
            address = f"{settings.PUBLIC_URL}{reverse('accounts:second_factor')}"
            words = _(
                "The owner of this key must have a second factor: set one up on %(address)s. "
                "Then this key works at once."
            ) % {"address": address}
        case Refusal.TERMS:
            address = f"{settings.PUBLIC_URL}{reverse('accounts:terms')}"
            words = _("Accept the terms of use first, on %(address)s. Then this key works at once.") % {
                "address": address
            }
    # The key is known, and who it is of: what is missing is leave.
    forbids = reason in (Refusal.READ_ONLY, Refusal.SECOND_FACTOR, Refusal.TERMS)
    return (PermissionDenied if forbids else AuthenticationFailed)(words, code=reason.value)


class ManagementKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema says it."""

    target_class = "apikeys.authentication.ManagementKeyAuthentication"
    name = "managementKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A management key."}
