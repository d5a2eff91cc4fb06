"""Who calls the REST API with a management key instead of a session."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts.models import User
from accounts.services import has_accepted_terms
from apikeys.models import ApiKey, KeyKind, KeySecret
from apikeys.services import mark_used
from apikeys.verification import digests_of, kind_of
from common.context import current_origin
from common.networks import contains


class ManagementKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer` with a management key: the request is its owner's, with all that the owner may do.

    There is no session and no cookie, so no CSRF token is asked for. Whoever sends such a header is judged by it alone.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = self._secret(secret.strip())
        key, origin = found.key, current_origin.get()
        if key.allowed_networks and not contains(tuple(key.allowed_networks), origin.address):
            raise AuthenticationFailed(_("This key may not be used from your IP address."), code="ip_not_authorized")
        if key.is_read_only and request.method not in SAFE_METHODS:
            raise PermissionDenied(_("This key only reads. Make one that may also write."), code="read_only_key")
        # Each key belongs to somebody, which is what made it one for management.
        assert key.owner is not None  # noqa: S101
        if not has_accepted_terms(key.owner):
            raise PermissionDenied(
                _("Accept the terms of use first, on %(address)s. Then this key works at once.")
                % {"address": f"{settings.PUBLIC_URL}{reverse('accounts:terms')}"},
                code="terms_not_accepted",
            )
        mark_used(secret=found, address=origin.address, agent=origin.user_agent)
        return key.owner, key

    def _secret(self, presented: str) -> KeySecret:
        kind = kind_of(presented)
        if kind not in (None, KeyKind.MANAGEMENT):
            raise AuthenticationFailed(
                _("This is a key for models, which opens /v1 only. Here a management key is asked for."),
                code="wrong_kind_of_key",
            )
        # What cannot be a key is refused without looking anything up.
        found = KeySecret.objects.for_management().filter(digest__in=digests_of(presented)).first() if kind else None
        if found is None:
            raise AuthenticationFailed(
                _("This management key is unknown, or was revoked or disabled, or has expired."), code="invalid_api_key"
            )
        return found

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ManagementKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema says it."""

    target_class = "apikeys.authentication.ManagementKeyAuthentication"
    name = "managementKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A management key."}
