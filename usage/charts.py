"""What a usage report looks like drawn. The shapes are those that the behavior `chart` reads from the page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from common.money import dollars
from usage.reports import NOTHING, Report, Row, Sums

COLORS = 8
PLAIN = 0
"""The color of what stands for no model and no key."""


@dataclass(frozen=True)
class Series:
    """A name, one of the eight colors of the theme (from 1) or PLAIN, and a value per slice; None leaves a gap."""

    name: str
    color: int
    values: Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """Bars that stack. `unit` says how values read, `titles` are the labels in full; one legend serves all charts."""

    unit: str
    labels: Sequence[str]
    titles: Sequence[str]
    series: Sequence[Series]


def colors_of(rows: Sequence[Row]) -> dict[str, int]:
    """A color for each row. When there are more rows than colors, the least busy share the last one."""
    alone = len(rows) if len(rows) <= COLORS else COLORS - 1
    return {row.id: min(place, alone + 1) for place, row in enumerate(rows, start=1)}


def charts_of(report: Report) -> dict[str, dict[str, Any]]:
    """The four charts of the page, ready to be JSON."""
    names = [_label(slice_.start, report) for slice_ in report.slices]
    labels, titles = [short for short, _full in names], [full for _short, full in names]

    def bars(unit: str, measure: Callable[[Sums], float]) -> dict[str, Any]:
        return asdict(Chart(unit, labels, titles, _stack(report, measure)))

    return {
        "requests": bars("count", lambda sums: sums.requests),
        "tokens": bars("count", lambda sums: sums.tokens),
        "cost": bars("dollars", lambda sums: float(dollars(sums.cost_nano))),
        "speed": asdict(Chart("milliseconds", labels, titles, [_speed(report)])),
    }


def _speed(report: Report) -> Series:
    """The time that is felt: until the first token where answers were streamed, until the last where none was.

    Means are not stacked by model, and a slice without calls has none: a gap rather than a dive to zero.
    """
    if report.totals.first_token_count:
        return Series(_("First token"), PLAIN, [piece.sums.mean_first_token_ms for piece in report.slices])
    return Series(_("Whole answer"), PLAIN, [piece.sums.mean_latency_ms for piece in report.slices])


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


def _label(start: datetime, report: Report) -> tuple[str, str]:
    local = start.astimezone(report.zone)
    day = formats.date_format(local, "MONTH_DAY_FORMAT")
    if report.period.step is None:
        # Translators: Django's date format of a day on the axis of a chart, as short as can be.
        return formats.date_format(local, pgettext("axis", "M j")), f"{formats.date_format(local, 'l')} · {day}"
    end = (start + report.period.step).astimezone(report.zone)
    return f"{local:%H:%M}", f"{day} · {local:%H:%M}–{end:%H:%M}"
