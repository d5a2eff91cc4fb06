"""What allauth asks us about signing in with identity providers."""

from typing import Any

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp
from django.http import Http404, HttpRequest


class IdentityProviders(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Those that the settings name; the pages of others do not exist."""

    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Any:
        try:
            return super().get_app(request, provider, client_id)
        except SocialApp.DoesNotExist:
            raise Http404 from None
