"""An organization's credits, for those who see all its usage."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import AuthedRequest, organization_for
from accounts.roles import Right
from usage.credits.services import balance_of
from usage.statements.months import months_of


@never_cache
@login_required
@require_safe
def overview(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """What was granted, what is left of it, and in which months it paid."""
    organization = organization_for(request.user, organization_id, to=Right.SEE_USAGE)
    months = [(month, charges) for month, charges in months_of(organization) if charges.credit_nano]
    context = {
        "organization": organization,
        "balance": balance_of(organization),
        "months": months,
    }
    return render(request, "usage/credits.html", context)
