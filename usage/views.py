"""The usage page: the frame of it, the part that renews itself, and its tables and charts as files."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import AuthedRequest, current_project, project_for
from accounts.models import Project, User
from catalog.models import HostedModel
from common.money import dollars
from common.spreadsheets import csv_answer, safe_cells
from usage import log
from usage.bounds import bounds_of, nearest
from usage.charts import PERCENTILES, busiest_hour, charts_of, colors_of, failure_colors, heat_map, legend_of, span
from usage.forecast import forecast
from usage.models import Source
from usage.outcomes import Outcome, is_outcome, outcome_named
from usage.reports import (
    NOBODY,
    Failure,
    Group,
    Name,
    Narrowing,
    Report,
    Sums,
    Window,
    failures,
    has_usage,
    key_names,
    last_change,
    member_names,
    period_of,
    usage_report,
    week_of,
)
from usage.sight import Sights, sights

COMPARED_WITH = {
    Window.HOUR: _("with the hour before"),
    Window.TODAY: _("with yesterday"),
    Window.WEEK: _("with the 7 days before"),
    Window.MONTH: _("with the 30 days before"),
    Window.QUARTER: _("with the 90 days before"),
    Window.YEAR: _("with the 12 months before"),
}

FIGURES = (
    "requests", "errors", "input_tokens", "output_tokens", "cost_usd", "mean_latency_ms", "mean_first_token_ms",
    "p50_latency_ms", "p95_latency_ms", "p99_latency_ms", "p50_first_token_ms", "p95_first_token_ms",
    "p99_first_token_ms",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What an address of the usage page asks for. Anything it does not understand is as if not there."""

    window: Window
    group: Group
    narrowing: Narrowing
    is_organization_wide: bool
    compares: bool = False
    # As an address that somebody was given names one; None is the one that the pages are about.
    project: str | None = None

    @classmethod
    def read(cls, query: QueryDict) -> "Asked":
        window, group, status = query.get("window"), query.get("group"), query.get("status")
        return cls(
            window=Window(window) if window in Window.values else Window.MONTH,
            group=Group(group) if group in Group.values else Group.MODEL,
            narrowing=Narrowing(
                model=_text(query, "model"),
                key=_text(query, "key"),
                member=_text(query, "member"),
                endpoint=_text(query, "endpoint"),
                status=status if status is not None and is_outcome(status) else None,
                code=_text(query, "code"),
            ),
            is_organization_wide=query.get("scope") == "organization",
            compares=query.get("compare") == "before",
            project=_text(query, "project"),
        )

    def query(self, **changes: str | None) -> str:
        """The query string of this page with `changes`; None takes a part out."""
        parts = {
            "window": self.window.value,
            "group": self.group.value,
            **asdict(self.narrowing),
            "compare": "before" if self.compares else None,
            "scope": "organization" if self.is_organization_wide else None,
            "project": self.project,
            **changes,
        }
        return "?" + urlencode({name: value for name, value in parts.items() if value is not None})

    def calls(self, *, since: datetime | None = None) -> log.Asked:
        """The same calls, in the log."""
        key = self.narrowing.key or ""
        is_source = key in Source.values
        return log.Asked(
            since=since,
            model=self.narrowing.model,
            key="" if is_source else key,
            source=key if is_source else "",
            member=self.narrowing.member or "",
            endpoint=self.narrowing.endpoint or "",
            outcome=self.narrowing.status or "",
            code=self.narrowing.code or "",
        )

    def log_query(self, **changes: str) -> str:
        """The query string of the log that shows these calls."""
        asked = self.calls()
        parts = {
            "window": self.window.value,
            "q": asked.key,
            "source": asked.source,
            "model": asked.model,
            "project": self.project,
            "member": asked.member,
            "endpoint": asked.endpoint,
            "outcome": asked.outcome,
            "code": asked.code,
            **changes,
        }
        if self.is_organization_wide:
            parts["scope"] = "organization"
        return "?" + urlencode({name: value for name, value in parts.items() if value})


@never_cache
@login_required
@require_safe
def overview(request: AuthedRequest) -> HttpResponse:
    """What the project used, with the part that renews itself already in place."""
    asked = Asked.read(request.GET)
    project = named_project(request)
    siblings = siblings_of(request.user, project)
    seen = sights(request.user, siblings if asked.is_organization_wide else [project])
    return render(
        request,
        "usage/overview.html",
        {
            **_report_context(asked, seen, request.user, version=_version(asked, seen)),
            "project": project,
            "is_own_only": any(sight.own is not None for sight in seen),
            "has_siblings": len(siblings) > 1,
            "windows": [(window.label, asked.query(window=window), window is asked.window) for window in Window],
            "scopes": [
                (_("This project"), asked.query(scope=None), not asked.is_organization_wide),
                (_("All projects"), asked.query(scope="organization"), asked.is_organization_wide),
            ],
            "live_url": reverse("usage:live") + asked.query(),
        },
    )


@never_cache
@login_required
@require_safe
def live(request: AuthedRequest) -> HttpResponse:
    """The part that renews itself; 204 while it would say what the page that asks has already `seen`."""
    asked = Asked.read(request.GET)
    seen = seen_by(request, is_organization_wide=asked.is_organization_wide)
    version = _version(asked, seen)
    if request.GET.get("seen") == version:
        return HttpResponse(status=204)
    return render(request, "usage/_report.html", _report_context(asked, seen, request.user, version=version))


@never_cache
@login_required
@require_safe
def export(request: AuthedRequest) -> HttpResponse:
    """The charts as CSV: a line per slice of time and model or key, in the reader's time zone."""
    asked, report, _seen = _asked_report(request)
    names = {row.id: row.name for row in report.rows}
    return _file(
        f"usage-{asked.window}-by-{asked.group}",
        ["from", asked.group.value, f"{asked.group.value}_id", *FIGURES],
        (
            [_local(piece.start, report), *safe_cells([names[id_].label, id_]), *figures(sums)]
            for piece in report.slices
            for id_, sums in sorted(piece.groups.items())
        ),
    )


@never_cache
@login_required
@require_safe
def totals_file(request: AuthedRequest) -> HttpResponse:
    """The table of models or keys as CSV, a line for each."""
    asked, report, _seen = _asked_report(request)
    return _file(
        f"usage-{asked.window}-by-{asked.group}-in-all",
        [asked.group.value, f"{asked.group.value}_id", *FIGURES],
        ([*safe_cells([row.name.label, row.id]), *figures(row.sums)] for row in report.rows),
    )


@never_cache
@login_required
@require_safe
def times_file(request: AuthedRequest) -> HttpResponse:
    """The report over time as CSV: a line per slice, which alone tells the percentiles of all together; beside each
    the slice that it is compared with, if it is."""
    asked, report, _seen = _asked_report(request)
    columns = ["from", *FIGURES]
    lines = [[_local(piece.start, report), *figures(piece.sums)] for piece in report.slices]
    if asked.compares:
        for line, piece in zip(lines, report.before_slices, strict=True):
            line += [_local(piece.start, report), *figures(piece.sums)] if piece else [""] * len(columns)
        columns += [f"before_{name}" for name in columns]
    return _file(f"usage-{asked.window}", columns, lines)


@never_cache
@login_required
@require_safe
def week_file(request: AuthedRequest) -> HttpResponse:
    """The hours of the week as CSV, weekdays being numbers from 1 for Monday; none where the page shows none."""
    asked, report, seen = _asked_report(request)
    week = week_of(report, sights=seen)
    return _file(
        f"week-{asked.window}",
        ["weekday", "hour", "requests"],
        (
            [weekday, hour, requests]
            for weekday, hours in enumerate(week.days if week else (), start=1)
            for hour, requests in enumerate(hours)
        ),
    )


@never_cache
@login_required
@require_safe
def failures_file(request: AuthedRequest) -> HttpResponse:
    """The failures of the report as CSV: a line per slice of time and code, in the reader's time zone, beside how many
    calls there were then."""
    asked, report, seen = _asked_report(request)
    requests = {piece.start: piece.sums.requests for piece in report.slices}
    return _file(
        f"failures-{asked.window}",
        ["from", "status", "error_code", "calls", "of_calls"],
        (
            [_local(start, report), failure.status, *safe_cells([failure.code]), count, requests[start]]
            for failure in failures(report, sights=seen)
            for start, count in sorted(failure.slices.items())
        ),
    )


def _asked_report(request: AuthedRequest) -> tuple[Asked, Report, Sights]:
    asked = Asked.read(request.GET)
    seen = seen_by(request, is_organization_wide=asked.is_organization_wide)
    return asked, _report(asked, seen), seen


def _file(name: str, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> HttpResponse:
    return csv_answer(f"{name}-{timezone.localdate()}.csv", columns, lines)


def _local(start: datetime, report: Report) -> str:
    return start.astimezone(report.zone).isoformat()


def _text(query: QueryDict, name: str) -> str | None:
    value = query.get(name)
    # PostgreSQL holds no NUL, so nothing is called by it.
    return None if value is None or "\0" in value else value


def named_project(request: AuthedRequest) -> Project:
    """The project that the address names, else the one that the pages are about.

    Raises Http404 for one the reader has no part in.
    """
    name = _text(request.GET, "project")
    return current_project(request) if name is None else project_for(request.user, name)


def siblings_of(user: User, project: Project) -> list[Project]:
    """The projects of the same organization that the user is in, this one among them."""
    return list(Project.objects.for_member(user).filter(organization=project.organization))


def seen_by(request: AuthedRequest, *, is_organization_wide: bool) -> Sights:
    """What the reader sees of the project that a page is about, or of all its organization's that they are in."""
    project = named_project(request)
    return sights(request.user, siblings_of(request.user, project) if is_organization_wide else [project])


def _report(asked: Asked, seen: Sights) -> Report:
    return usage_report(
        sights=seen,
        window=asked.window,
        group=asked.group,
        narrowing=asked.narrowing,
        zone=timezone.get_current_timezone(),
        now=timezone.now(),
        compares=asked.compares,
    )


def _version(asked: Asked, seen: Sights) -> str:
    """Changes when the report would: when something was added, and when the clock moves the window on."""
    now, zone = timezone.now(), timezone.get_current_timezone()
    period = period_of(asked.window, zone=zone, now=now)
    current_slice = max(start for start in period.starts if start <= now)
    change = last_change(sights=seen, period=period)
    return f"{zone}/{current_slice.timestamp():.0f}/{change.timestamp() if change else 0}"


def _report_context(asked: Asked, seen: Sights, reader: User, *, version: str) -> dict[str, Any]:
    """What the part that renews itself shows. `version` was read first: what came since is told again, not missed."""
    report = _report(asked, seen)
    context: dict[str, Any] = {
        "report": report,
        "version": version,
        "asked": asked,
        "is_new_here": not report.totals.requests and not has_usage(sights=seen),
        "compared_with": COMPARED_WITH[asked.window],
        "before_span": span(report.period.before_start, report.period.start, report),
    }
    if context["is_new_here"]:
        model = HostedModel.objects.for_chat().first()
        return {**context, "model": model, "base_url": f"{settings.PUBLIC_URL}/v1"}
    failed = failures(report, sights=seen)
    week = week_of(report, sights=seen)
    bounds = bounds_of(
        sights=seen, narrowing=asked.narrowing, is_organization_wide=asked.is_organization_wide, reader=reader
    )
    charts, colors = charts_of(report, failed, report.before_slices), colors_of(report.rows)
    page = reverse("usage:overview")
    inner = Group.KEY if asked.group is Group.MODEL else Group.MODEL
    tells_people = any(sight.sees_people for sight in seen)
    return {
        **context,
        "charts": charts,
        "legend": legend_of(report),
        "by_time": list(zip(charts["requests"]["titles"], (piece.sums for piece in report.slices), strict=True)),
        "groups": [
            (group.label, page + asked.query(group=group), group is asked.group)
            for group in Group
            if group is not Group.MEMBER or tells_people
        ],
        "compare_url": page + asked.query(compare=None if asked.compares else "before"),
        "export_url": reverse("usage:export") + asked.query(),
        "totals_url": reverse("usage:totals_file") + asked.query(),
        "times_url": reverse("usage:times_file") + asked.query(),
        "week_url": reverse("usage:week_file") + asked.query(),
        "rows": [(row, colors[row.id], _behind(row.id, asked, inner)) for row in report.rows],
        "filters": _filters(asked, seen),
        "failures": [
            (
                failure,
                color,
                failure.calls / report.totals.requests,
                failure.problem,
                page + asked.query(**_alike(failure, "status")),
                reverse("usage:calls") + asked.log_query(**_alike(failure, "outcome")),
            )
            for failure, color in zip(failed, failure_colors(failed), strict=True)
        ],
        "failures_url": reverse("usage:failures_file") + asked.query(),
        "week": week and heat_map(week),
        "busiest": week and busiest_hour(week),
        "forecast": forecast(
            sights=seen,
            narrowing=asked.narrowing,
            is_organization_wide=asked.is_organization_wide,
            reader=reader,
            now=report.period.end,
        ),
        "bounds": bounds,
        "nearest": nearest(bounds),
        "calls": log.recent_calls(seen=seen, asked=asked.calls(since=report.period.start)),
        "log_url": reverse("usage:calls") + asked.log_query(),
        "only_failed_url": page + asked.query(status=Outcome.FAILED),
        "failed_url": reverse("usage:calls") + asked.log_query(outcome=asked.narrowing.status or Outcome.FAILED),
    }


def _behind(id_: str, asked: Asked, inner: Group) -> str:
    """The query string for what is behind a row; empty where it cannot be asked for."""
    is_nobody = asked.group is Group.MEMBER and id_ == NOBODY
    return "" if is_nobody else asked.query(group=inner, **{asked.group.value: id_})


def _alike(failure: Failure, status: str) -> dict[str, str]:
    """What an address names for failures like this: their code, or where they have none their `status`."""
    return {"code": failure.code} if failure.code else {status: str(failure.status)}


def _filters(asked: Asked, seen: Sights) -> list[tuple[str | Promise, Name, str]]:
    """What the report is narrowed to, and the address that undoes it."""
    filters: list[tuple[str | Promise, Name, str]] = []
    page = reverse("usage:overview")
    if asked.narrowing.model is not None:
        filters.append((Group.MODEL.label, Name(asked.narrowing.model), page + asked.query(model=None)))
    if asked.narrowing.key is not None:
        name = key_names([asked.narrowing.key], sights=seen)[asked.narrowing.key]
        filters.append((Group.KEY.label, name, page + asked.query(key=None)))
    if asked.narrowing.member is not None:
        may_know = any(sight.sees_people for sight in seen)
        name = member_names([asked.narrowing.member])[asked.narrowing.member] if may_know else Name("–")
        filters.append((Group.MEMBER.label, name, page + asked.query(member=None)))
    if asked.narrowing.endpoint is not None:
        name = Name(f"/v1/{asked.narrowing.endpoint}")
        filters.append((Group.ENDPOINT.label, name, page + asked.query(endpoint=None)))
    if asked.narrowing.status is not None:
        name = Name(outcome_named(asked.narrowing.status))
        filters.append((Group.STATUS.label, name, page + asked.query(status=None)))
    if asked.narrowing.code is not None:
        filters.append((_("Error code"), Name(asked.narrowing.code), page + asked.query(code=None)))
    return filters


def figures(sums: Sums) -> list[object]:
    """The cells of a file that FIGURES are the columns of."""
    return [
        sums.requests,
        sums.errors,
        sums.prompt_tokens,
        sums.completion_tokens,
        f"{dollars(sums.cost_nano):f}",
        _rounded(sums.mean_latency_ms),
        _rounded(sums.mean_first_token_ms),
        *(_rounded(getattr(times, name, None)) for times in (sums.latency, sums.first_token) for name in PERCENTILES),
    ]


def _rounded(value: float | None) -> str:
    return "" if value is None else str(round(value))
