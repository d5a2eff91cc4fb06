"""The pages of cohorts, for those who manage the people of an organization."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models.functions import Upper
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest, cohort_for, organization_for
from accounts.cohorts import services
from accounts.cohorts.forms import CohortForm
from accounts.errors import RefusedError
from accounts.invitations.links import switch_join_link
from accounts.listing import BY_NAME, NEWEST, Listing
from accounts.models import Cohort, ProjectMembership
from accounts.roles import Right
from common.spreadsheets import csv_answer, safe_cells

ORDERS = {
    "newest": NEWEST,
    "name": BY_NAME,
}
ROSTER_ORDERS = {
    "name": BY_NAME,
    "joined": NEWEST,
}


@login_required
@require_safe
def cohorts(request: AuthedRequest, organization_id: str) -> HttpResponse:
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_PEOPLE)
    listing = Listing.of(request, ORDERS)
    found = Cohort.objects.for_list(organization)
    if listing.query:
        found = found.filter(project__name__icontains=listing.query)
    context = {"organization": organization, "listing": listing, "page": listing.page(found)}
    return render(request, "accounts/cohorts.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_cohort(request: AuthedRequest, organization_id: str) -> HttpResponse:
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_PEOPLE)
    form = CohortForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        cohort = services.create_cohort(organization=organization, by=request.user, **form.answers())
        messages.success(request, _("The cohort is made. Give its join link to those who shall take part."))
        return redirect("accounts:cohort", cohort.public_id)
    context = {"organization": organization, "form": form}
    return render(request, "accounts/new_cohort.html", context, status=400 if form.errors else 200)


@never_cache
@login_required
@require_safe
def cohort(request: AuthedRequest, cohort_id: str) -> HttpResponse:
    """Who takes part, the way in, and what each may use."""
    found = cohort_for(request.user, cohort_id)
    listing = Listing.of(request, ROSTER_ORDERS)
    roster = ProjectMembership.objects.for_members_page(found.project)
    if listing.query:
        roster = roster.matching(listing.query, by_address=True)
    context = {
        "cohort": found,
        "listing": listing,
        "page": listing.page(roster),
        **_frame(found),
    }
    return render(request, "accounts/cohort.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def cohort_settings(request: AuthedRequest, cohort_id: str) -> HttpResponse:
    found = cohort_for(request.user, cohort_id)
    form = CohortForm.of(found, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.change_cohort(cohort=found, by=request.user, **form.answers())
        except RefusedError as error:
            form.add_error("most_joins", str(error))
        else:
            messages.success(request, _("The settings are saved."))
            return redirect("accounts:cohort", cohort_id)
    context = {"cohort": found, "form": form, **_frame(found)}
    return render(request, "accounts/cohort_settings.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def close_cohort(request: AuthedRequest, cohort_id: str) -> HttpResponse:
    services.close_cohort(cohort=cohort_for(request.user, cohort_id), by=request.user)
    messages.success(request, _("The cohort is closed, and none of its keys works. A later last day opens it again."))
    return redirect("accounts:cohort", cohort_id)


@login_required
@require_POST
def switch_cohort_link(request: AuthedRequest, cohort_id: str) -> HttpResponse:
    found = cohort_for(request.user, cohort_id)
    is_on = request.POST.get("on") == "yes"
    switch_join_link(link=found.join_link, is_on=is_on, by=request.user)
    messages.success(request, _("The join link is on.") if is_on else _("The join link is off. Who is in stays in."))
    return redirect("accounts:cohort", cohort_id)


@never_cache
@login_required
@require_safe
def roster(request: AuthedRequest, cohort_id: str) -> HttpResponse:
    """Everybody in the cohort, as CSV."""
    found = cohort_for(request.user, cohort_id)
    name = f"roster-{slugify(found.project.name) or found.public_id}-{timezone.localdate()}.csv"
    places = ProjectMembership.objects.for_members_page(found.project)
    return csv_answer(
        name,
        ["name", "email", "role", "joined_at", "id"],
        map(_roster_cells, places.order_by(Upper("membership__user__name"), "pk").iterator()),
    )


def _roster_cells(place: ProjectMembership) -> list[str]:
    person = place.membership.user
    joined = timezone.localtime(place.created_at).isoformat(timespec="seconds")
    return safe_cells([str(person), person.email, place.role, joined, person.public_id])


def _frame(found: Cohort) -> dict[str, object]:
    return {"organization": found.project.organization, "project": found.project, "link": found.join_link}
