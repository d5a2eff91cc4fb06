"""The audit log of an organization, for those who may see it, and of the whole portal, for staff."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import AuthedRequest, organization_for, staff_required
from accounts.auditing.files import file_response
from accounts.auditing.forms import FilterForm
from accounts.auditing.reading import entries, events
from accounts.listing import Listing, Order
from accounts.models import Organization
from accounts.roles import Right

ORDERS = {
    "newest": Order(gettext_lazy("Newest first"), "at"),
    "oldest": Order(gettext_lazy("Oldest first"), "at", ascending=True),
}


@never_cache
@login_required
@require_safe
def organization_log(request: AuthedRequest, organization_id: str) -> HttpResponse:
    return _page(request, organization_for(request.user, organization_id, to=Right.SEE_AUDIT))


@never_cache
@login_required
@require_safe
def organization_file(request: AuthedRequest, organization_id: str, kind: str) -> HttpResponseBase:
    organization = organization_for(request.user, organization_id, to=Right.SEE_AUDIT)
    return _file(request, organization, kind)


@never_cache
@require_safe
@staff_required
def whole_log(request: AuthedRequest) -> HttpResponse:
    return _page(request, None)


@never_cache
@require_safe
@staff_required
def whole_file(request: AuthedRequest, kind: str) -> HttpResponseBase:
    return _file(request, None, kind)


def _page(request: AuthedRequest, organization: Organization | None) -> HttpResponse:
    form = FilterForm(request.GET)
    found = events(organization=organization, asked=form.asked())
    listing = Listing.of(request, ORDERS)
    page = listing.page(found)
    query = request.GET.copy()
    for of_the_page in ("cursor", "sort"):
        query.pop(of_the_page, None)
    if organization:
        address = reverse("audit:organization", args=[organization.public_id])
    else:
        address = reverse("audit:everything")
    context = {
        "organization": organization,
        "form": form,
        "is_filtered": any(form.cleaned_data.values()),
        "listing": listing,
        "page": page,
        "entries": entries(page.items),
        "address": address,
        "query": query.urlencode(),
    }
    return render(request, "accounts/audit.html", context)


def _file(request: AuthedRequest, organization: Organization | None, kind: str) -> HttpResponseBase:
    found = events(organization=organization, asked=FilterForm(request.GET).asked())
    return file_response(found, kind=kind, name=f"audit-{organization.public_id}" if organization else "audit")
