"""Signing in with an account somewhere else: whom the portal believes, and what it says when it does not."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import requests
import structlog
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from accounts.models import User

OIDC = "oidc"
TIMEOUT_SECONDS = 10

log = structlog.get_logger(__name__)


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Believes an address only where its provider says that it was verified, and never joins accounts by it.

    An account elsewhere is known by the provider's own id for it. One whose address belongs to an account here already
    is connected on the settings page, by somebody who is signed in.
    """

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        if sociallogin.account.provider == OIDC:
            self._check_claims(request, sociallogin)
        is_new = not sociallogin.is_existing and sociallogin.state.get("process") != AuthProcess.CONNECT
        if is_new and any(_is_taken(address) for address in sociallogin.email_addresses if address.verified):
            raise _refusal(
                request,
                _("There is an account with your address already"),
                _(
                    "Sign in to it with your password or passkey, then connect the other account under Settings, "
                    "Connected accounts. From then on you can sign in with either."
                ),
            )

    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> SocialApp:
        """The provider as the settings name it; the pages of others do not exist."""
        try:
            return super().get_app(request, provider, client_id)
        except SocialApp.DoesNotExist:
            raise Http404 from None

    def get_requests_session(self) -> requests.Session:
        return _Session()

    def _check_claims(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        claims = _claims(sociallogin.account.extra_data)
        address = str(claims.get("email") or "").lower()
        if not address:
            raise _refusal(
                request,
                _("No e-mail address came along"),
                _("%(provider)s did not tell your address. Ask its administrator to release it to this portal.")
                % {"provider": settings.OIDC_NAME},
            )
        # Only the words themselves: a provider that says "false" in quotes says no.
        is_verified = claims.get("email_verified") in (True, "true") or settings.OIDC_EMAIL_IS_VERIFIED
        if not is_verified:
            raise _refusal(
                request,
                _("Your address is not confirmed"),
                _("Confirm %(address)s at %(provider)s first, then sign in here again.")
                % {"address": address, "provider": settings.OIDC_NAME},
            )
        domain = address.rpartition("@")[2]
        if settings.OIDC_DOMAINS and domain not in settings.OIDC_DOMAINS:
            raise _refusal(
                request,
                _("Your address is not from here"),
                _("This portal is for addresses at %(domains)s; yours is at %(domain)s. Sign in with another account.")
                % {"domains": ", ".join(settings.OIDC_DOMAINS), "domain": domain},
            )
        for email in sociallogin.email_addresses:
            email.verified = True


class LeavingMiddleware:
    """Leads from our button to a provider by a page of ours instead of a redirection.

    Browsers hold whatever a form leads to, each redirection at the provider too, to the form-action of our
    Content-Security-Policy, which names nobody but us.
    """

    VIEWS = frozenset({"github_login", "google_login", "openid_connect_login"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        match = request.resolver_match
        if match is None or match.view_name not in self.VIEWS or response.status_code != HTTPStatus.FOUND:
            return response
        return render(request, "socialaccount/leaving.html", {"url": response.headers["Location"]})


class _Session(requests.Session):
    """Asks a provider; one that does not answer becomes a page that says what to do."""

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", TIMEOUT_SECONDS)
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            raise _unreachable(type(error).__name__) from error
        if response.status_code >= 500 or (not response.ok and "/.well-known/" in str(url)):
            raise _unreachable(f"HTTP {response.status_code}")
        return response


def _unreachable(reason: str) -> ImmediateHttpResponse:
    log.warning("identity_provider_unreachable", reason=reason)
    return _refusal(
        context.request,
        _("The other site does not answer"),
        _("Try again in a few minutes, or sign in with your e-mail address. If it lasts, tell the operator."),
        status=502,
    )


def _refusal(request: HttpRequest, title: str, text: str, *, status: int = 403) -> ImmediateHttpResponse:
    page = render(request, "socialaccount/refused.html", {"title": title, "text": text}, status=status)
    return ImmediateHttpResponse(page)


def _claims(data: dict[str, Any]) -> dict[str, Any]:
    """What the provider says of the person: its answer to our question, else what came with the sign-in."""
    return data.get("userinfo") or data.get("id_token") or data


def _is_taken(address: EmailAddress) -> bool:
    known = EmailAddress.objects.filter(email__iexact=address.email)
    return bool(known.exists() or User.objects.filter(email__iexact=address.email).exists())
