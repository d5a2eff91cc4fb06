"""What a person has to do before the pages are theirs: set up a second factor, accept the terms of use."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from accounts.duties import page_before
from accounts.models import User
from common.api import problem_response

# Without these nobody could set up a factor, read what they are asked to accept, or leave. To say where a key was
# found is open to strangers, so to those who are signed in as well.
ALWAYS_OPEN = {
    "account_change_password",
    "account_confirm_email",
    "account_email_verification_sent",
    "account_logout",
    "account_reauthenticate",
    "account_set_password",
    "accounts:accept_terms",
    "accounts:addresses",
    "accounts:mail",
    "accounts:second_factor",
    "accounts:terms",
    "api-leaks",
    "leaks:found",
    "set_language",
    "set_theme",
}
OPEN_PREFIX = "mfa_"
# Nobody has to accept terms to take their data and go.
OPEN_WITHOUT_TERMS = {
    "accounts:data",
    "accounts:download_export",
    "accounts:erase",
    "accounts:export_progress",
    "accounts:start_export",
}


class StandingMiddleware:
    """Holds back what a person may not do yet, and leads them to where they can change that.

    A request with a management key is held to the same by what reads the key, with words for whoever reads its answer.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        match = request.resolver_match
        name = match.view_name if match else ""
        if name in ALWAYS_OPEN or name.startswith(OPEN_PREFIX) or not isinstance(request.user, User):
            return None
        page = page_before(request.user)
        if page is None or (page == "accounts:terms" and name in OPEN_WITHOUT_TERMS):
            return None
        if request.path.startswith("/api/"):
            return _problem(page)
        target = f"{reverse(page)}?{urlencode({'next': request.get_full_path()})}"
        # A part of a page is asked for by script: the page as a whole has to go there.
        return HttpResponseClientRedirect(target) if getattr(request, "htmx", False) else redirect(target)


def _problem(page: str) -> HttpResponse:
    if page == "accounts:terms":
        return problem_response(403, _("Accept the terms of use first."), code="terms_not_accepted")
    return problem_response(403, _("Set up a second factor first."), code="second_factor_required")
