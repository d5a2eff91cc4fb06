from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.views import EmailView
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest, choose_project, organization_for, project_for, staff_required
from accounts.erasure import NotYetError, check_may_go, request_erasure
from accounts.exports import start_export
from accounts.forms import EraseForm, OperatorForm, ProfileForm, SecondFactorPolicyForm, TermsForm
from accounts.listing import NEWEST, Listing, Order
from accounts.models import AccountErasure, AccountExport, KeptMail, TermsVersion, User
from accounts.proof import proof_required
from accounts.roles import Right
from accounts.second_factor import (
    KINDS,
    NoSecondFactorError,
    is_required_of_staff,
    organizations_requiring,
    require_second_factor,
    second_factors_of,
)
from accounts.services import (
    InvitationSpentError,
    accept_operator_invitation,
    accept_terms,
    has_accepted_terms,
    operator_invitation_exists,
    publish_terms,
)
from accounts.sessions import matching, session_for
from accounts.signals import operator_arrived
from common import markdown
from common.redirects import next_address

SESSION_ORDERS = {"seen": Order(gettext_lazy("Last seen first"), "last_seen_at"), "newest": NEWEST}

DAYS_TO_ACCEPT = 7


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


class SessionsView(ListUserSessionsView):  # type: ignore[misc]  # allauth has no types
    """allauth's page of sessions, searched and sorted as other lists are."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        listing = Listing.of(self.request, SESSION_ORDERS)
        found = [session.pk for session in matching(context["sessions"], listing.query)]
        return context | {"listing": listing, "page": listing.page(UserSession.objects.filter(pk__in=found))}


class EmailAddressesView(EmailView):  # type: ignore[misc]  # allauth has no types
    """allauth's page of addresses. Only a confirmed one that is nobody else's may become the one to sign in with."""

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
    """Mail kept because no mail server is configured: everyone's own, and for superusers all of it."""
    if settings.EMAIL_URL:
        raise Http404
    kept = KeptMail.objects.order_by("-pk")
    # It holds links that sign in as somebody.
    if not request.user.is_superuser:
        kept = kept.filter(user=request.user)
    return render(request, "accounts/mail.html", {"mails": kept[:50]})


@login_required
@require_safe
def second_factor(request: AuthedRequest) -> HttpResponse:
    """Who asks for a second factor, and the way to one."""
    return render(
        request,
        "accounts/second_factor.html",
        {
            "organizations": organizations_requiring(request.user),
            "of_staff": is_required_of_staff(request.user),
            "factors": second_factors_of(request.user).count(),
            "next": next_address(request, default="quickstart"),
        },
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor_policy(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """An owner asks all members for a second factor, or no longer."""
    organization = organization_for(request.user, organization_id, to=Right.OWN)
    # An unticked box alone makes an empty form.
    form = SecondFactorPolicyForm(request.POST if request.method == "POST" else None, instance=organization)
    if request.method == "POST" and form.is_valid():
        required: bool = form.cleaned_data["requires_second_factor"]
        try:
            require_second_factor(organization=organization, required=required, by=request.user)
        except NoSecondFactorError as error:
            form.add_error("requires_second_factor", str(error))
        else:
            messages.success(request, _("Saved. It counts from everybody's next page on."))
            return redirect("accounts:second_factor_policy", organization.public_id)
    lacking = organization.members.exclude(authenticator__type__in=KINDS)
    return render(
        request,
        "accounts/second_factor_policy.html",
        {
            "form": form,
            "organization": organization,
            "lacking": lacking.count(),
            "is_lacking": lacking.filter(pk=request.user.pk).exists(),
        },
        status=400 if form.errors else 200,
    )


@require_safe
def terms(request: HttpRequest) -> HttpResponse:
    """The terms of use, and for somebody who has to accept them the way to do so."""
    version = TermsVersion.objects.newest()
    if version is None:
        raise Http404
    user = request.user
    return render(
        request,
        "accounts/terms.html",
        {
            "version": version,
            "html": markdown.render(version.text_in(get_language() or "")),
            "is_open": isinstance(user, User) and not version.acceptances.filter(user=user).exists(),
            "is_owed": isinstance(user, User) and not has_accepted_terms(user),
            "next": next_address(request, default="quickstart"),
        },
    )


@login_required
@require_POST
def accept(request: AuthedRequest, number: int) -> HttpResponse:
    """Accept the version that was read, and go on where one was going."""
    accept_terms(version=get_object_or_404(TermsVersion, number=number), by=request.user)
    return redirect(next_address(request, default="quickstart"))


@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def publish(request: AuthedRequest) -> HttpResponse:
    """Staff publish a version of the terms of use, and see who has accepted which."""
    newest = TermsVersion.objects.newest()
    # The next version begins as the last one did, with time for everybody to accept it.
    draft = TermsVersion(
        english=newest.english if newest else "",
        chinese=newest.chinese if newest else "",
        in_force_at=timezone.now() + timedelta(days=DAYS_TO_ACCEPT),
    )
    form = TermsForm(request.POST or None, instance=draft)
    if request.method == "POST" and form.is_valid():
        answers: dict[str, Any] = form.cleaned_data
        version = publish_terms(
            english=answers["english"], chinese=answers["chinese"], in_force_at=answers["in_force_at"], by=request.user
        )
        messages.success(request, _("Version %(number)s is published.") % {"number": version.number})
        return redirect("accounts:publish_terms")
    versions = TermsVersion.objects.annotate(accepted=Count("acceptances")).order_by("-number")
    return render(
        request,
        "accounts/publish_terms.html",
        {"form": form, "versions": versions[:50]},
        status=400 if form.errors else 200,
    )


@never_cache
@login_required
@require_safe
def data(request: AuthedRequest) -> HttpResponse:
    """What a person can do with all that is held about them: take a copy, or have it erased."""
    return render(request, "accounts/data.html", {"export": _newest_export(request.user)})


@login_required
@require_POST
def export(request: AuthedRequest) -> HttpResponse:
    """Have a copy made of everything held about the person."""
    start_export(user=request.user)
    return redirect("accounts:data")


@never_cache
@login_required
@require_safe
def export_progress(request: AuthedRequest) -> HttpResponse:
    """How far the copy is, for the page that waits for it."""
    return render(request, "accounts/_export.html", {"export": _newest_export(request.user)})


def _newest_export(user: User) -> AccountExport | None:
    return user.exports.order_by("-pk").first()


@never_cache
@proof_required
@require_safe
def download_export(request: AuthedRequest, export_id: str) -> HttpResponseBase:
    """The copy itself: for its owner alone, just after they proved who they are, and for a day."""
    export = get_object_or_404(AccountExport, public_id=export_id, user=request.user)
    if not export.is_ready:
        raise Http404
    return FileResponse(export.file.open("rb"), as_attachment=True, filename=f"{settings.PORTAL_NAME.lower()}-data.zip")


@never_cache
@proof_required
@require_http_methods(["GET", "HEAD", "POST"])
def erase(request: AuthedRequest) -> HttpResponseBase:
    """Erase one's own account, after reading what that means and typing its address."""
    form = EraseForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            erasure = request_erasure(user=request.user)
        except NotYetError:
            return redirect("accounts:erase")
        logout(request)
        return redirect("accounts:erased", erasure.public_id)
    obstacle = ""
    try:
        check_may_go(request.user)
    except NotYetError as error:
        obstacle = str(error)
    return render(
        request, "accounts/erase.html", {"form": form, "obstacle": obstacle}, status=400 if form.errors else 200
    )


@never_cache
@require_safe
def erased(request: HttpRequest, erasure_id: str) -> HttpResponse:
    """How far an erasure is. Nobody is signed in any more, so its unguessable id opens the page."""
    erasure = get_object_or_404(AccountErasure, public_id=erasure_id)
    part = request.headers.get("HX-Request") == "true"
    return render(request, "accounts/_erased.html" if part else "accounts/erased.html", {"erasure": erasure})
