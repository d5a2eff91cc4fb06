"""The pages by which people come into an organization, and those on which it is said who may."""

from typing import cast

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import (
    AuthedRequest,
    choose_project,
    invitation_for,
    join_link_for,
    organization_for,
    rights_in_organization,
)
from accounts.errors import RefusedError
from accounts.invitations import links, services
from accounts.invitations.forms import InvitationForm, JoinLinkForm
from accounts.listing import BY_NAME, NEWEST, Listing, Order
from accounts.models import Invitation, JoinLink, JoinState, Membership, Organization, Project, User
from accounts.organizations.forms import roles_to_give
from accounts.roles import Right

INVITATION_ORDERS = {"newest": NEWEST, "address": Order(gettext_lazy("E-mail address"), "email", ascending=True)}
LINK_ORDERS = {"newest": NEWEST, "name": BY_NAME}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def invitations(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """Invite by mail, and see who has not come yet."""
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_PEOPLE)
    rights = rights_in_organization(request.user, organization)
    form = InvitationForm(request.POST or None, organization=organization, roles=roles_to_give(rights))
    if request.method == "POST" and form.is_valid():
        _invite(request, organization, form)
        return redirect("accounts:invitations", organization_id)
    listing = Listing.of(request, INVITATION_ORDERS)
    pending = Invitation.objects.for_list(organization)
    if listing.query:
        pending = pending.filter(email__icontains=listing.query)
    context = {
        "organization": organization,
        "may_manage": True,
        "form": form,
        "listing": listing,
        "page": listing.page(pending),
    }
    return render(request, "accounts/invitations.html", context, status=400 if form.errors else 200)


def _invite(request: AuthedRequest, organization: Organization, form: InvitationForm) -> None:
    answers = form.cleaned_data
    sent = 0
    for email in answers["emails"]:
        try:
            services.invite(
                organization=organization,
                email=email,
                role=answers["role"],
                projects=list(answers["projects"]),
                project_role=answers["project_role"],
                by=request.user,
            )
        except RefusedError as error:
            messages.warning(request, str(error))
        else:
            sent += 1
    if sent and not settings.EMAIL_URL:
        words = ngettext("%(count)s invitation is made.", "%(count)s invitations are made.", sent)
        messages.success(request, words % {"count": sent})
    elif sent:
        words = ngettext("%(count)s invitation is on its way.", "%(count)s invitations are on their way.", sent)
        messages.success(request, words % {"count": sent})


@login_required
@require_POST
def resend_invitation(request: AuthedRequest, invitation_id: str) -> HttpResponse:
    invitation = invitation_for(request.user, invitation_id)
    try:
        services.resend_invitation(invitation=invitation, by=request.user)
    except RefusedError as error:
        messages.warning(request, str(error))
    else:
        if not settings.EMAIL_URL:
            words = _("The invitation has a new link. The one in the earlier mail does not work any more.")
        else:
            words = _("A new mail is on its way. The link in the earlier one does not work any more.")
        messages.success(request, words)
    return redirect("accounts:invitations", invitation.organization.public_id)


@login_required
@require_POST
def revoke_invitation(request: AuthedRequest, invitation_id: str) -> HttpResponse:
    invitation = invitation_for(request.user, invitation_id)
    services.revoke_invitation(invitation=invitation, by=request.user)
    messages.success(request, _("The invitation is taken back. Its link does not work any more."))
    return redirect("accounts:invitations", invitation.organization.public_id)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def join_links(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """The links by which many come in, shown to those who manage people as often as they like."""
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_PEOPLE)
    form = JoinLinkForm(request.POST or None, organization=organization)
    if request.method == "POST" and form.is_valid():
        links.create_join_link(organization=organization, by=request.user, **form.answers())
        messages.success(request, _("The link is made. Copy it from the list."))
        return redirect("accounts:join_links", organization_id)
    listing = Listing.of(request, LINK_ORDERS)
    found = JoinLink.objects.for_list(organization)
    if listing.query:
        found = found.filter(name__icontains=listing.query)
    context = {
        "organization": organization,
        "may_manage": True,
        "form": form,
        "listing": listing,
        "page": listing.page(found),
    }
    return render(request, "accounts/join_links.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def switch_join_link(request: AuthedRequest, link_id: str) -> HttpResponse:
    link = join_link_for(request.user, link_id)
    is_on = request.POST.get("on") == "yes"
    links.switch_join_link(link=link, is_on=is_on, by=request.user)
    messages.success(request, _("The join link is on.") if is_on else _("The join link is off. Who is in stays in."))
    return redirect("accounts:join_links", link.organization.public_id)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def accept_invitation(request: HttpRequest, token: str) -> HttpResponse:
    """What the mail leads to: for a visitor the way to an account and back, for the invited one button."""
    invitation = services.invitation_behind(token)
    if invitation is None:
        return render(request, "accounts/no_such_link.html", status=404)
    user = request.user
    if request.method == "POST":
        if not isinstance(user, User):
            return redirect_to_login(request.path)
        return _accept(cast(AuthedRequest, request), invitation)
    refusal = services.refusal_of(invitation)
    if not isinstance(user, User) and refusal is None:
        # The link came by mail: whoever signs up with this address from here need not prove it once more.
        get_adapter().stash_verified_email(request, invitation.email)
    context = {
        "invitation": invitation,
        "here": request.path,
        "refusal": refusal,
        "is_for_another": isinstance(user, User) and not services.is_for(invitation, user),
    }
    return render(request, "accounts/accept_invitation.html", context, status=410 if refusal else 200)


def _accept(request: AuthedRequest, invitation: Invitation) -> HttpResponse:
    try:
        services.accept_invitation(invitation=invitation, user=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect(request.path)
    messages.success(request, _("Welcome to %(name)s.") % {"name": invitation.organization})
    # Otherwise the pages would go on about what was theirs before, and not about where they were asked to come.
    others = Project.objects.for_member(request.user).filter(organization=invitation.organization)
    if project := invitation.projects.filter(archived_at=None).first() or others.first():
        choose_project(request, project)
    return redirect("accounts:projects", invitation.organization.public_id)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """What a join link leads to: for a visitor the way to an account and back, for everybody else one button."""
    link = links.link_behind(token)
    if link is None:
        return render(request, "accounts/no_such_link.html", status=404)
    user = request.user
    if request.method == "POST":
        if not isinstance(user, User):
            return redirect_to_login(request.path)
        return _come_in(cast(AuthedRequest, request), link)
    context = {"link": link, "here": request.path, "refusal": links.REFUSALS.get(link.state)}
    if isinstance(user, User):
        context["is_member"] = Membership.objects.filter(organization=link.organization, user=user).exists()
    return render(request, "accounts/join.html", context, status=200 if link.state == JoinState.OPEN else 410)


def _come_in(request: AuthedRequest, link: JoinLink) -> HttpResponse:
    try:
        came = links.join(link=link, user=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect(request.path)
    if came:
        messages.success(request, _("Welcome to %(name)s.") % {"name": link.organization})
    else:
        messages.info(request, _("You were in already. Nothing has changed."))
    if link.project:
        choose_project(request, link.project)
        return redirect("quickstart")
    return redirect("accounts:projects", link.organization.public_id)
