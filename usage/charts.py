"""What a usage report looks like drawn. The shapes are those that the behavior `chart` reads from the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Protocol

from django.utils import formats
from django.utils.dates import WEEKDAYS, WEEKDAYS_ABBR
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from common.money import dollars
from usage.histograms import Percentiles
from usage.reports import HOUR, NOTHING, Failure, Row, Slice, Sums, Week

COLORS = 8
LEVELS = 5
PERCENTILES = {"p50": 1, "p95": 2, "p99": 3}
"""The lines of a chart of times, with their colors."""


@dataclass(frozen=True)
class Series:
    """A name, one of the eight colors of the theme (from 1), and a value per slice; None leaves a gap."""

    name: str
    color: int
    values: Sequence[float | None]


@dataclass(frozen=True)
class Before:
    """A line of the period before, with its own titles: a value for each slice of a chart, None for a gap."""

    name: str
    titles: Sequence[str]
    values: Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """Bars that stack, or lines. `unit` says how values read, `titles` are the labels in full."""

    unit: str
    labels: Sequence[str]
    titles: Sequence[str]
    series: Sequence[Series]
    kind: str = "bars"
    before: Before | None = None


class Steps(Protocol):
    """How a time is cut into slices: in steps of one length, else in months or in days."""

    @property
    def start(self) -> datetime: ...
    @property
    def step(self) -> timedelta | None: ...
    @property
    def is_by_month(self) -> bool: ...


class Report(Protocol):
    """What can be drawn: slices of time, and the rows whose sums they hold."""

    @property
    def zone(self) -> tzinfo: ...
    @property
    def period(self) -> Steps: ...
    @property
    def slices(self) -> Sequence[Slice]: ...
    @property
    def rows(self) -> Sequence[Row]: ...


def colors_of(rows: Sequence[Row]) -> dict[str, int]:
    """A color for each row. When there are more rows than colors, the least busy share the last one."""
    alone = len(rows) if len(rows) <= COLORS else COLORS - 1
    return {row.id: min(place, alone + 1) for place, row in enumerate(rows, start=1)}


def charts_of(
    report: Report, failures: Sequence[Failure] = (), before: Sequence[Slice | None] = ()
) -> dict[str, dict[str, Any]]:
    """The charts of the page, ready to be JSON. One legend serves those of requests, tokens and cost.

    `before` are the slices that those of the report are compared with, one for each, if they are.
    """
    names = [_label(slice_.start, report) for slice_ in report.slices]
    labels, titles = [short for short, _full in names], [full for _short, full in names]
    before_titles = _titles_before(before, report)

    def line(measure: Callable[[Sums], float | None]) -> Before | None:
        if not before:
            return None
        return Before(_("Before"), before_titles, [measure(piece.sums) if piece else None for piece in before])

    def bars(unit: str, measure: Callable[[Sums], float]) -> dict[str, Any]:
        return asdict(Chart(unit, labels, titles, _stack(report, measure), before=line(measure)))

    def lines(measure: Callable[[Sums], Percentiles | None]) -> dict[str, Any]:
        half = line(lambda sums: getattr(measure(sums), "p50", None))
        return asdict(Chart("milliseconds", labels, titles, _speed(report, measure), "lines", half))

    return {
        "requests": bars("count", lambda sums: sums.requests),
        "tokens": bars("count", lambda sums: sums.tokens),
        "cost": bars("dollars", lambda sums: float(dollars(sums.cost_nano))),
        "first_token": lines(lambda sums: sums.first_token),
        "latency": lines(lambda sums: sums.latency),
        "failures": asdict(
            Chart("share", labels, titles, _failed(report, failures), before=line(lambda sums: sums.error_share))
        ),
    }


def span(start: datetime, end: datetime, report: Report) -> str:
    """From when until when, in months, in days, or of no more than an hour in minutes."""
    first, last, until = (moment.astimezone(report.zone) for moment in (start, end - timedelta(microseconds=1), end))
    if end - start <= HOUR:
        return f"{formats.date_format(first, 'MONTH_DAY_FORMAT')} · {first:%H:%M}–{until:%H:%M}"
    form = "YEAR_MONTH_FORMAT" if report.period.is_by_month else "MONTH_DAY_FORMAT"
    names = [formats.date_format(moment, form) for moment in (first, last)]
    return names[0] if names[0] == names[1] else " – ".join(names)


def _titles_before(before: Sequence[Slice | None], report: Report) -> list[str]:
    """Each slice in full, until the next begins; empty for none."""
    titles, end = [], report.period.start
    for piece in reversed(before):
        titles.append(_label(piece.start, report, end=end)[1] if piece else "")
        end = piece.start if piece else end
    return titles[::-1]


def _speed(report: Report, measure: Callable[[Sums], Percentiles | None]) -> list[Series]:
    """A line per percentile. A slice without calls has none: a gap rather than a dive to zero."""
    measured = [measure(piece.sums) for piece in report.slices]
    return [
        Series(name, color, [getattr(found, name, None) for found in measured]) for name, color in PERCENTILES.items()
    ]


def failure_colors(failures: Sequence[Failure]) -> list[int]:
    """A color for each kind of failure; the rarest share the last one."""
    return [min(place, COLORS) for place in range(1, len(failures) + 1)]


def _failed(report: Report, failures: Sequence[Failure]) -> list[Series]:
    """Of all calls of a slice, the part that failed in each way; of none there is no part."""
    by_color: dict[int, list[Failure]] = {}
    for color, kind in zip(failure_colors(failures), failures, strict=True):
        by_color.setdefault(color, []).append(kind)
    return [
        Series(
            kinds[0].label if len(kinds) == 1 else _("%(count)s others") % {"count": len(kinds)},
            color,
            [
                sum(kind.slices.get(piece.start, 0) for kind in kinds) / piece.sums.requests
                if piece.sums.requests
                else None
                for piece in report.slices
            ],
        )
        for color, kinds in by_color.items()
    ]


def legend_of(report: Report) -> list[Series]:
    """What each color stands for; empty when there is but one."""
    stack = _stack(report, lambda sums: sums.requests)
    return stack if len(stack) > 1 else []


def _stack(report: Report, measure: Callable[[Sums], float]) -> list[Series]:
    colors = colors_of(report.rows)
    by_color: dict[int, list[Row]] = {}
    for row in report.rows:
        by_color.setdefault(colors[row.id], []).append(row)
    stack = []
    for color, rows in by_color.items():
        name = rows[0].name.label if len(rows) == 1 else _("%(count)s others") % {"count": len(rows)}
        values = [measure(sum((piece.groups.get(row.id, NOTHING) for row in rows), NOTHING)) for piece in report.slices]
        stack.append(Series(name, color, values))
    return stack


@dataclass(frozen=True)
class Cell:
    """An hour of the week; `level` is 0 where nothing was asked for, and 5 where most was."""

    hours: str
    requests: int
    level: int


def heat_map(week: Week) -> list[tuple[str, list[Cell]]]:
    """A row per weekday, named, with its 24 hours."""
    most = week.most
    return [
        (
            str(WEEKDAYS_ABBR[day]),
            [Cell(_hours(hour), requests, math.ceil(requests / most * LEVELS)) for hour, requests in enumerate(hours)],
        )
        for day, hours in enumerate(week.days)
    ]


def busiest_hour(week: Week) -> str:
    """Its weekday and hours, in words."""
    day, hour = week.busiest
    return f"{WEEKDAYS[day]} · {_hours(hour)}"


def _hours(hour: int) -> str:
    return f"{hour:02}:00–{hour + 1:02}:00"


def _label(start: datetime, report: Report, *, end: datetime | None = None) -> tuple[str, str]:
    local = start.astimezone(report.zone)
    day = formats.date_format(local, "MONTH_DAY_FORMAT")
    if report.period.is_by_month:
        # Translators: Django's date format of a month on the axis of a chart, as short as can be.
        return formats.date_format(local, pgettext("axis", "M Y")), formats.date_format(local, "YEAR_MONTH_FORMAT")
    if report.period.step is None:
        # Translators: Django's date format of a day on the axis of a chart, as short as can be.
        return formats.date_format(local, pgettext("axis", "M j")), _("%(weekday)s · %(day)s") % {
            "weekday": formats.date_format(local, "l"),
            "day": day,
        }
    until = (end or start + report.period.step).astimezone(report.zone)
    return f"{local:%H:%M}", f"{day} · {local:%H:%M}–{until:%H:%M}"
