"""Asking once more who somebody is, before what a browser left open must not be enough for."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from allauth.account import app_settings
from allauth.account.decorators import reauthentication_required
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseBase
from django.utils.translation import gettext as _

from accounts.access import AuthedRequest

P = ParamSpec("P")
View = Callable[Concatenate[AuthedRequest, P], HttpResponseBase]


def proof_required(view: View[P]) -> View[P]:
    """A page for who has just given their password or second factor again.

    Who has neither, because they sign in somewhere else, signs in anew.
    """

    @login_required
    @reauthentication_required  # type: ignore[untyped-decorator]
    @wraps(view)
    def guarded(request: AuthedRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not get_reauthentication_flows(request.user) and not _has_just_signed_in(request):
            logout(request)
            messages.info(request, _("Sign in again first, so that it is certain that it is you."))
            return redirect_to_login(request.get_full_path())
        return view(request, *args, **kwargs)

    proven: View[P] = guarded
    return proven


def _has_just_signed_in(request: AuthedRequest) -> bool:
    records = get_authentication_records(request, request.user)
    return any(time.time() - record["at"] < app_settings.REAUTHENTICATION_TIMEOUT for record in records)
