from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.views import EmailView
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest, choose_project, project_for
from accounts.forms import OperatorForm, ProfileForm
from accounts.models import KeptMail, User
from accounts.services import InvitationSpentError, accept_operator_invitation, operator_invitation_exists
from accounts.sessions import session_for
from accounts.signals import operator_arrived
from common.redirects import next_address


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: AuthedRequest) -> HttpResponse:
    """The person's own page: their name, and the way to addresses, password and second factors."""
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Your name is saved."))
        return redirect("accounts:settings")
    return render(request, "accounts/settings.html", {"form": form}, status=400 if form.errors else 200)


@login_required
@require_POST
def end_session(request: AuthedRequest, handle: str) -> HttpResponse:
    """Sign out another browser of one's own."""
    end_sessions(request, [session_for(request.user, handle)])
    messages.success(request, _("That browser is signed out."))
    return redirect("usersessions_list")


@login_required
@require_POST
def choose(request: AuthedRequest, project_id: str) -> HttpResponse:
    """Work in another project from here on, and go on where one was."""
    choose_project(request, project_for(request.user, project_id))
    return redirect(next_address(request, default="quickstart"))


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """The one-time page behind the link of the first start: the operator makes the first staff account."""
    if not operator_invitation_exists(token=token):
        return _setup_over(request)
    form = OperatorForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        answers: dict[str, Any] = form.cleaned_data
        try:
            user = accept_operator_invitation(token=token, email=answers["email"], password=answers["password"])
        except InvitationSpentError:
            return _setup_over(request)
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        UserSession.objects.create_from_request(request)
        operator_arrived.send(sender=type(user), user=user, wants_sample_data=answers["sample_data"])
        messages.success(request, _("Welcome. You are staff here: the Operate section on the left is yours."))
        return redirect("catalog:backends")
    return render(request, "accounts/setup.html", {"form": form}, status=400 if form.errors else 200)


def _setup_over(request: HttpRequest) -> HttpResponse:
    """For a link that does not work: once there is a staff account, where to go on instead."""
    if not User.objects.filter(is_staff=True).exists():
        raise Http404
    return render(request, "accounts/setup_used.html", status=410)


class EmailAddressesView(EmailView):  # type: ignore[misc]  # allauth has no types
    """allauth's page of addresses. Only a confirmed one that is nobody else's may become the one to sign in with."""

    http_method_names = ["get", "head", "post"]

    def post(self, request: AuthedRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        email = request.POST.get("email", "").lower()
        if "action_primary" in request.POST:
            if not EmailAddress.objects.filter(user=request.user, email=email, verified=True).exists():
                messages.error(request, _("Confirm this address first: it becomes the one you sign in with."))
                return redirect("account_email")
            if User.objects.exclude(pk=request.user.pk).filter(email=email).exists():
                messages.error(request, _("Another account signs in with this address."))
                return redirect("account_email")
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response


@never_cache
@login_required
@require_safe
def mail(request: AuthedRequest) -> HttpResponse:
    """Mail kept because no mail server is configured: everyone's own, and for staff all of it."""
    if settings.EMAIL_URL:
        raise Http404
    kept = KeptMail.objects.order_by("-pk")
    if not request.user.is_staff:
        kept = kept.filter(user=request.user)
    return render(request, "accounts/mail.html", {"mails": kept[:50]})
