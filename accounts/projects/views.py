"""The pages of projects, of the places in them, and of their service accounts."""

from typing import Any

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
    may_limit,
    membership_for,
    organization_for,
    place_for,
    project_for,
    rights_in,
    rights_in_organization,
    service_account_for,
)
from accounts.errors import RefusedError
from accounts.listing import BY_NAME, NEWEST, Listing, Order
from accounts.models import Membership, Project, ProjectMembership, ServiceAccount, User
from accounts.projects import services
from accounts.projects.forms import MEANINGS, PlaceForm, ProjectForm, ServiceAccountForm, project_role_choices
from accounts.roles import ProjectRole, Right

ORDERS = {"name": BY_NAME, "newest": NEWEST}
PLACE_ORDERS = {"name": BY_NAME, "role": Order(gettext_lazy("Role"), "role", ascending=True), "newest": NEWEST}


@login_required
@require_safe
def projects(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """The organization's projects that one may see; archived ones on a tab of their own."""
    organization = organization_for(request.user, organization_id)
    listing = Listing.of(request, ORDERS)
    is_archive = request.GET.get("state") == "archived"
    found = Project.objects.for_projects_page(organization, request.user).filter(archived_at__isnull=not is_archive)
    if listing.query:
        found = found.filter(name__icontains=listing.query)
    context = {
        "organization": organization,
        "may_make": Right.MANAGE_PROJECT in rights_in_organization(request.user, organization),
        "listing": listing,
        "is_archive": is_archive,
        "page": listing.page(found),
    }
    return render(request, "accounts/projects.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_project(request: AuthedRequest, organization_id: str) -> HttpResponse:
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_PROJECT)
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = services.create_project(organization=organization, by=request.user, **form.cleaned_data)
        choose_project(request, project)
        messages.success(request, _("The project is made, and you work in it now."))
        return redirect("accounts:project", project.public_id)
    context = {"organization": organization, "form": form}
    return render(request, "accounts/new_project.html", context, status=400 if form.errors else 200)


def _head(user: User, project: Project) -> dict[str, Any]:
    """What every page of a project shows above: what it is, and the tabs of what the user may do there."""
    return {"project": project, "rights": rights_in(user, project), "may_limit": may_limit(user, project)}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project(request: AuthedRequest, project_id: str) -> HttpResponse:
    """What a project is, and for those who manage it its settings."""
    found = project_for(request.user, project_id)
    rights = rights_in(request.user, found)
    may_change = Right.MANAGE_PROJECT in rights
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    form = ProjectForm.of(found, request.POST or None)
    if request.method == "POST" and form.is_valid():
        services.change_project(project=found, by=request.user, **form.cleaned_data)
        messages.success(request, _("The settings are saved."))
        return redirect("accounts:project", project_id)
    context = {
        **_head(request.user, found),
        "form": form if may_change else None,
    }
    return render(request, "accounts/project.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def archive_project(request: AuthedRequest, project_id: str) -> HttpResponse:
    found = project_for(request.user, project_id, to=Right.MANAGE_PROJECT)
    services.archive_project(project=found, by=request.user)
    messages.success(request, _("The project is archived. Its keys do not work until you restore it."))
    return redirect("accounts:project", project_id)


@login_required
@require_POST
def restore_project(request: AuthedRequest, project_id: str) -> HttpResponse:
    found = project_for(request.user, project_id, to=Right.MANAGE_PROJECT)
    services.restore_project(project=found, by=request.user)
    messages.success(request, _("The project is back, and its keys work again."))
    return redirect("accounts:project", project_id)


@login_required
@require_safe
def project_members(request: AuthedRequest, project_id: str) -> HttpResponse:
    """Who was added to a project, beside those who take part by their role in the organization."""
    found = project_for(request.user, project_id, to=Right.SEE_PEOPLE)
    listing = Listing.of(request, PLACE_ORDERS)
    places = ProjectMembership.objects.for_members_page(found)
    if listing.query:
        places = places.matching(listing.query, by_address=_sees_addresses(request, found))
    rights = rights_in(request.user, found)
    context = {
        **_head(request.user, found),
        "may_manage": Right.MANAGE_PROJECT in rights,
        # Whom to add is chosen among the people of the organization, whom not everyone here may see.
        "may_add": Right.MANAGE_PROJECT in rights
        and Right.SEE_PEOPLE in rights_in_organization(request.user, found.organization),
        "listing": listing,
        "page": listing.page(places),
        "roles": project_role_choices(),
    }
    return render(request, "accounts/project_members.html", context)


@login_required
@require_safe
def add_project_member(request: AuthedRequest, project_id: str) -> HttpResponse:
    """The people of the organization who have no place in the project yet, each with a way to give them one."""
    found = project_for(request.user, project_id, to=Right.MANAGE_PROJECT)
    organization = organization_for(request.user, found.organization.public_id, to=Right.SEE_PEOPLE)
    listing = Listing.of(request, {"name": BY_NAME})
    people = Membership.objects.for_members_page(organization).outside(found)
    if listing.query:
        people = people.matching(listing.query, by_address=_sees_addresses(request, found))
    context = {
        **_head(request.user, found),
        "listing": listing,
        "page": listing.page(people),
        "roles": ProjectRole.choices,
        "meanings": [(role.label, MEANINGS[role]) for role in ProjectRole],
        "usual_role": ProjectRole.MEMBER.value,
    }
    return render(request, "accounts/add_project_member.html", context)


@login_required
@require_POST
def set_place(request: AuthedRequest, project_id: str, member_id: str) -> HttpResponse:
    """Add somebody of the organization to a project, or change their role in it."""
    found = project_for(request.user, project_id, to=Right.MANAGE_PROJECT)
    form = PlaceForm(request.POST)
    places = ProjectMembership.objects.filter(project=found, membership__user__public_id=member_id)
    place = places.select_related("membership__user").first()
    # Whom to add is chosen among the people of the organization, which not everyone in a project may see.
    member = place.membership if place else membership_for(request.user, found.organization.public_id, member_id)
    if form.is_valid():
        services.set_place(project=found, membership=member, role=form.cleaned_data["role"], by=request.user)
        messages.success(request, _("%(name)s has a place in the project.") % {"name": member.user})
    else:
        messages.error(request, _("Choose one of the roles."))
    return redirect("accounts:project_members", project_id)


@login_required
@require_POST
def remove_place(request: AuthedRequest, project_id: str, member_id: str) -> HttpResponse:
    place = place_for(request.user, project_id, member_id, to=Right.MANAGE_PROJECT)
    services.remove_place(place=place, by=request.user)
    messages.success(request, _("%(name)s is not in the project any more.") % {"name": place.membership.user})
    return redirect("accounts:project_members", project_id)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def service_accounts(request: AuthedRequest, project_id: str) -> HttpResponse:
    """The programs that have a place in a project of their own."""
    found = project_for(request.user, project_id, to=Right.SEE_KEYS)
    rights = rights_in(request.user, found)
    may_manage = Right.MANAGE_KEYS in rights
    if request.method == "POST" and not may_manage:
        raise PermissionDenied
    form = ServiceAccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            account = services.create_service_account(project=found, by=request.user, **form.cleaned_data)
        except RefusedError as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("The service account is made. Now make it a key."))
            return redirect("accounts:service_account", account.public_id)
    listing = Listing.of(request, ORDERS)
    accounts = ServiceAccount.objects.for_list(found)
    if listing.query:
        accounts = accounts.filter(name__icontains=listing.query)
    context = {
        **_head(request.user, found),
        "may_manage": may_manage,
        "form": form,
        "listing": listing,
        "page": listing.page(accounts),
    }
    return render(request, "accounts/service_accounts.html", context, status=400 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def service_account(request: AuthedRequest, account_id: str) -> HttpResponse:
    """One service account: its name, and its end."""
    found = service_account_for(request.user, account_id, to=Right.MANAGE_KEYS)
    form = ServiceAccountForm(request.POST or None, instance=ServiceAccount.objects.get(pk=found.pk))
    if request.method == "POST" and form.is_valid():
        try:
            services.change_service_account(account=found, by=request.user, **form.cleaned_data)
        except RefusedError as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("The settings are saved."))
            return redirect("accounts:service_accounts", found.project.public_id)
    context = {
        **_head(request.user, found.project),
        "account": found,
        "form": form,
    }
    return render(request, "accounts/service_account.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def remove_service_account(request: AuthedRequest, account_id: str) -> HttpResponse:
    found = service_account_for(request.user, account_id, to=Right.MANAGE_KEYS)
    services.remove_service_account(account=found, by=request.user)
    messages.success(request, _("The service account is removed, and its keys are revoked."))
    return redirect("accounts:service_accounts", found.project.public_id)


def _sees_addresses(request: AuthedRequest, project: Project) -> bool:
    return Right.MANAGE_PEOPLE in rights_in_organization(request.user, project.organization)
