"""The operators' pages: the whole installation, and what one organization used."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import AuthedRequest, staff_required
from accounts.models import Organization
from common.spreadsheets import csv_answer, safe_cells
from portal.operations import disk, now
from usage import installation
from usage.charts import charts_of, colors_of, failure_colors, legend_of
from usage.installation import Span, Time
from usage.models import first_id
from usage.reports import Failure, Row, Sums
from usage.views import FIGURES, figures

MOST_ROWS = 50


def _span(request: HttpRequest) -> Span:
    asked = request.GET.get("span")
    return Span(asked) if asked in Span.values else Span.DAY


@staff_required
@never_cache
@require_safe
def overview(request: AuthedRequest) -> HttpResponse:
    """Who uses what on which server, how the portal is at this moment, and how its disk fills."""
    span = _span(request)
    time = installation.time_of(span, now=timezone.now())
    found = installation.overview(time)
    charts, colors = charts_of(found, found.failures), colors_of(found.rows)
    period = _period(span, time, found.failures, found.totals)
    organizations = installation.organizations(time)
    return render(
        request,
        "operations/overview.html",
        {
            **period,
            "failures": period["failures"][:MOST_ROWS],
            "now": now.look(),
            "disk": disk.measure(),
            "fewest_days": disk.FEWEST_DAYS,
            "overview": found,
            "charts": charts,
            "legend": legend_of(found),
            "by_time": list(zip(charts["requests"]["titles"], (piece.sums for piece in found.slices), strict=True)),
            "models": [(row, colors[row.id]) for row in found.rows[:MOST_ROWS]],
            "servers": found.servers[:MOST_ROWS],
            "organizations": organizations.rows[:MOST_ROWS],
            "organizations_count": len(organizations.rows),
            "most_rows": MOST_ROWS,
            "files": {table: reverse("operations:file", args=[table]) + _query(span) for table in TABLES},
        },
    )


@staff_required
@never_cache
@require_safe
def now_part(request: AuthedRequest) -> HttpResponse:
    """The part that renews itself."""
    return render(request, "operations/_now.html", {"now": now.look()})


@staff_required
@never_cache
@require_safe
def organization(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """What one organization used, and which of its projects."""
    of = get_object_or_404(Organization, public_id=organization_id)
    span = _span(request)
    time = installation.time_of(span, now=timezone.now())
    found = installation.of_organization(of, time)
    context = {**_period(span, time, found.failures, found.totals), "organization": of, "found": found}
    return render(request, "operations/organization.html", context)


@staff_required
@never_cache
@require_safe
def file(request: AuthedRequest, table: str) -> HttpResponse:
    """A table of the overview as CSV, whole."""
    if table not in TABLES:
        raise Http404
    columns, rows = TABLES[table]
    span = _span(request)
    lines = rows(installation.time_of(span, now=timezone.now()))
    return csv_answer(f"{table}-{span}-{timezone.localdate()}.csv", columns, lines)


def _query(span: Span) -> str:
    return "?" + urlencode({"span": span.value})


def _period(span: Span, time: Time, failures: Sequence[Failure], totals: Sums) -> dict[str, Any]:
    """What both pages say of the time that they are about, and of what failed in it."""
    return {
        "span": span,
        "time": time,
        "spans": [(one.label, _query(one), one is span) for one in Span],
        "failures": [
            (failure, color, failure.calls / totals.requests, failure.problem, _log_of(failure, time))
            for failure, color in zip(failures, failure_colors(failures), strict=True)
        ],
    }


def _log_of(failure: Failure, time: Time) -> str:
    """The address of these calls in the ledger, where staff read it."""
    asked = {
        "status__exact": failure.status,
        "error_code__exact": failure.code,
        # By the id the months before are not opened.
        "id__gte": first_id(time.start),
    }
    return reverse("admin:usage_usageevent_changelist") + "?" + urlencode(asked)


def _of_organizations(time: Time) -> Iterator[list[object]]:
    return _of_rows(installation.organizations(time).rows)


def _of_models(time: Time) -> Iterator[list[object]]:
    return _of_rows(installation.overview(time).rows)


def _of_rows(rows: Sequence[Row]) -> Iterator[list[object]]:
    for row in rows:
        yield [*safe_cells([row.name.label, row.id]), *figures(row.sums)]


def _of_servers(time: Time) -> Iterator[list[object]]:
    for server in installation.overview(time).servers:
        again = [server.taken_over, server.repeated]
        yield [*safe_cells([server.backend, server.model]), *figures(server.sums), *again]


def _of_failures(time: Time) -> Iterator[list[object]]:
    for failure in installation.overview(time).failures:
        yield [failure.status, *safe_cells([failure.code]), failure.calls]


TABLES: dict[str, tuple[list[str], Callable[[Time], Iterator[list[object]]]]] = {
    "organizations": (["organization", "organization_id", *FIGURES], _of_organizations),
    "models": (["model", "model_id", *FIGURES], _of_models),
    "servers": (["backend", "model", *FIGURES, "taken_over", "repeated"], _of_servers),
    "failures": (["status", "error_code", "calls"], _of_failures),
}
"""The tables that can be taken along: their columns, and their rows."""
