"""The pages of an organization, and of the people in it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import (
    AuthedRequest,
    choose_project,
    membership_for,
    organization_for,
    rights_in_organization,
)
from accounts.errors import RefusedError
from accounts.listing import BY_NAME, NEWEST, Listing, Order
from accounts.models import Membership, Organization, ProjectMembership
from accounts.organizations import services
from accounts.organizations.forms import OrganizationForm, RoleForm, roles_to_give
from accounts.roles import Right, Rights, Role
from accounts.second_factor import second_factors_of

ORDERS = {
    "name": BY_NAME,
    "newest": NEWEST,
}
MEMBER_ORDERS = {
    "name": BY_NAME,
    "role": Order(gettext_lazy("Role"), "rank", ascending=True),
    "joined": NEWEST,
}


@login_required
@require_safe
def organizations(request: AuthedRequest) -> HttpResponse:
    """The organizations somebody belongs to, with their role in each."""
    listing = Listing.of(request, ORDERS)
    mine = Membership.objects.for_organizations_page(request.user)
    if listing.query:
        mine = mine.filter(organization__name__icontains=listing.query)
    return render(request, "accounts/organizations.html", {"listing": listing, "page": listing.page(mine)})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_organization(request: AuthedRequest) -> HttpResponse:
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = services.create_organization(name=form.cleaned_data["name"], by=request.user)
        choose_project(request, project)
        messages.success(request, _("The organization is made, with a first project. Now bring your people in."))
        return redirect("accounts:members", project.organization.public_id)
    return render(request, "accounts/new_organization.html", {"form": form}, status=400 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def organization(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """The organization's settings for who may change them, and for everybody the way out."""
    found = organization_for(request.user, organization_id)
    rights = rights_in_organization(request.user, found)
    may_change = Right.MANAGE_ORGANIZATION in rights
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    # A copy, so that a name that was refused does not stand in the page's frame.
    form = OrganizationForm(request.POST or None, instance=Organization.objects.get(pk=found.pk))
    if request.method == "POST" and form.is_valid():
        services.rename_organization(organization=found, name=form.cleaned_data["name"], by=request.user)
        messages.success(request, _("The settings are saved."))
        return redirect("accounts:organization", found.public_id)
    membership = Membership.objects.get(organization=found, user=request.user)
    context = {
        "organization": found,
        "rights": rights,
        "form": form if may_change else None,
        "membership": membership,
        "is_only_owner": membership.is_only_owner,
        "has_second_factor": second_factors_of(request.user).exists(),
    }
    return render(request, "accounts/organization.html", context, status=400 if form.errors else 200)


@login_required
@require_safe
def members(request: AuthedRequest, organization_id: str) -> HttpResponse:
    found = organization_for(request.user, organization_id, to=Right.SEE_PEOPLE)
    rights = rights_in_organization(request.user, found)
    may_manage = Right.MANAGE_PEOPLE in rights
    listing = Listing.of(request, MEMBER_ORDERS)
    people = Membership.objects.for_members_page(found)
    if listing.query:
        people = people.matching(listing.query, by_address=may_manage)
    context = {
        "organization": found,
        "rights": rights,
        "may_manage": may_manage,
        "listing": listing,
        "page": listing.page(people),
    }
    return render(request, "accounts/members.html", context)


@login_required
@require_safe
def member(request: AuthedRequest, organization_id: str, member_id: str) -> HttpResponse:
    """One member: who they are here, and for those who manage people what can be done about it."""
    found = membership_for(request.user, organization_id, member_id)
    rights = rights_in_organization(request.user, found.organization)
    return render(request, "accounts/member.html", _member_context(request, found, rights))


@login_required
@require_POST
def change_role(request: AuthedRequest, organization_id: str, member_id: str) -> HttpResponse:
    found = membership_for(request.user, organization_id, member_id, to=Right.MANAGE_PEOPLE)
    rights = rights_in_organization(request.user, found.organization)
    form = RoleForm(request.POST, roles=roles_to_give(rights))
    if not form.is_valid():
        context = {**_member_context(request, found, rights), "form": form}
        return render(request, "accounts/member.html", context, status=400)
    try:
        services.change_role(membership=found, role=form.cleaned_data["role"], by=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The role is changed. It holds from now on."))
    return redirect("accounts:member", organization_id, member_id)


@login_required
@require_POST
def remove_member(request: AuthedRequest, organization_id: str, member_id: str) -> HttpResponse:
    found = membership_for(request.user, organization_id, member_id, to=Right.MANAGE_PEOPLE)
    try:
        services.remove_member(membership=found, by=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect("accounts:member", organization_id, member_id)
    messages.success(request, _("%(name)s is removed and reaches nothing here any more.") % {"name": found.user})
    if found.user == request.user:
        return redirect("accounts:organizations")
    return redirect("accounts:members", organization_id)


@login_required
@require_POST
def leave(request: AuthedRequest, organization_id: str) -> HttpResponse:
    mine = membership_for(request.user, organization_id, request.user.public_id)
    try:
        services.leave_organization(membership=mine)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect("accounts:organization", organization_id)
    messages.success(request, _("You have left %(name)s.") % {"name": mine.organization})
    return redirect("accounts:organizations")


@login_required
@require_POST
def transfer(request: AuthedRequest, organization_id: str, member_id: str) -> HttpResponse:
    """Hand the organization over to a member."""
    successor = membership_for(request.user, organization_id, member_id, to=Right.OWN)
    try:
        services.transfer_ownership(to=successor, by=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect("accounts:member", organization_id, member_id)
    messages.success(request, _("%(name)s owns the organization now; you are an admin.") % {"name": successor.user})
    return redirect("accounts:members", organization_id)


def _member_context(request: AuthedRequest, found: Membership, rights: Rights) -> dict[str, object]:
    # Owners are made and unmade by owners only.
    may_manage = Right.MANAGE_PEOPLE in rights and (found.role != Role.OWNER or Right.OWN in rights)
    return {
        "organization": found.organization,
        "rights": rights,
        "member": found,
        "is_self": found.user_id == request.user.pk,
        "may_manage": may_manage,
        "sees_address": Right.MANAGE_PEOPLE in rights,
        "may_transfer": Right.OWN in rights and found.user_id != request.user.pk,
        "form": RoleForm(initial={"role": found.role}, roles=roles_to_give(rights)) if may_manage else None,
        "places": ProjectMembership.objects.filter(membership=found)
        .select_related("project")
        .order_by("project__name"),
    }
