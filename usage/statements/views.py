"""An organization's monthly statements, for those who see all its usage."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import AuthedRequest, organization_for
from accounts.roles import Right
from common.money import dollars
from common.spreadsheets import csv_answer, safe_cells
from usage.statements.months import Charges, Month, Statement, months_of, statement

COLUMNS = (
    "month", "project_id", "project", "model", "key_id", "key", "requests", "input_tokens", "cached_input_tokens",
    "output_tokens", "cost_usd", "credits_usd", "due_usd",
)  # fmt: skip


@never_cache
@login_required
@require_safe
def statements(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """The months there are."""
    organization = organization_for(request.user, organization_id, to=Right.SEE_USAGE)
    context = {"organization": organization, "months": months_of(organization), "current": Month.of(timezone.now())}
    return render(request, "usage/statements.html", context)


@never_cache
@login_required
@require_safe
def month(request: AuthedRequest, organization_id: str, name: str) -> HttpResponse:
    """One of them, to read and to print."""
    return render(request, "usage/statement.html", {"statement": _statement(request, organization_id, name)})


@never_cache
@login_required
@require_safe
def file(request: AuthedRequest, organization_id: str, name: str) -> HttpResponse:
    """The same as CSV: a line for each project, model and key, to the nano-dollar."""
    found = _statement(request, organization_id, name)
    return csv_answer(f"statement-{found.month}-{organization_id}.csv", COLUMNS, _cells(found))


def _statement(request: AuthedRequest, organization_id: str, name: str) -> Statement:
    organization, now = organization_for(request.user, organization_id, to=Right.SEE_USAGE), timezone.now()
    asked = Month.named(name)
    if asked is None or asked > Month.of(now):
        raise Http404
    return statement(organization, asked, now=now)


def _cells(found: Statement) -> list[list[object]]:
    return [
        [
            str(found.month),
            *safe_cells([line.project.public_id, line.project.name, line.model, line.key_id, line.key.label]),
            *_figures(line.charges),
        ]
        for line in found.lines
    ]


def _figures(charges: Charges) -> list[object]:
    return [
        charges.requests,
        charges.prompt_tokens,
        charges.cached_tokens,
        charges.completion_tokens,
        *(f"{dollars(nano):f}" for nano in (charges.cost_nano, charges.credit_nano, charges.due_nano)),
    ]
