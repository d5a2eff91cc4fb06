"""What the charts are told to draw."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from accounts.models import Project
from tests.usage.ledger import add_usage
from usage.charts import charts_of, colors_of, legend_of
from usage.reports import Group, Report, Window, failures, usage_report
from usage.sight import Sight

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 18, 12, 2, tzinfo=UTC)


def report(project: Project, window: Window = Window.TODAY) -> Report:
    return usage_report(
        sights=[Sight(project)], window=window, group=Group.MODEL, zone=ZoneInfo("Asia/Kathmandu"), now=NOON
    )


def test_it_works(project: Project) -> None:
    add_usage(project, NOON, requests=3, prompt_tokens=7, completion_tokens=2, cost_nano=2_500_000_000)
    add_usage(project, NOON, model="large", requests=1)
    charts = charts_of(report(project))
    requests = charts["requests"]
    assert [(series["name"], series["color"], series["values"][17]) for series in requests["series"]] == [
        ("small", 1, 3),
        ("large", 2, 1),
    ]
    assert (requests["labels"][17], requests["titles"][17]) == ("17:00", "March 18 · 17:00–18:00")
    assert charts["tokens"]["series"][0]["values"][17] == 9
    assert (charts["cost"]["unit"], charts["cost"]["series"][0]["values"][17]) == ("dollars", 2.5)


def test_days_are_named(project: Project) -> None:
    week = charts_of(report(project, Window.WEEK))["requests"]
    assert (week["labels"][-1], week["titles"][-1]) == ("Mar 18", "Wednesday · March 18")


def test_times_are_lines_with_gaps(project: Project) -> None:
    add_usage(project, NOON, requests=2, latency_ms_sum=900)
    add_usage(project, NOON, model="streamed", latency_ms_sum=900, first_token_ms_sum=80, first_token_count=1)
    charts = charts_of(report(project))
    assert charts["latency"]["kind"] == "lines"
    assert [series["name"] for series in charts["latency"]["series"]] == ["p50", "p95", "p99"]
    half, most, _all_but_few = (series["values"] for series in charts["latency"]["series"])
    assert (half[17], most[17], half[16]) == (pytest.approx(450, rel=0.1), pytest.approx(900, rel=0.1), None)
    assert charts["first_token"]["series"][0]["values"][17] == pytest.approx(80, rel=0.1)


def test_failures_are_shares_of_the_calls_by_code(project: Project) -> None:
    for number in range(10):
        add_usage(project, NOON, status=400, error_code=f"code_{number}", requests=2 if number == 0 else 1)
    add_usage(project, NOON, requests=9)
    add_usage(project, NOON - timedelta(hours=2), requests=4)
    asked = report(project)
    drawn = charts_of(asked, failures(asked, sights=[Sight(project)]))["failures"]
    assert drawn["unit"] == "share"
    series = drawn["series"]
    assert [(one["name"], one["color"], one["values"][15:18]) for one in (series[0], series[-1])] == [
        ("code_0", 1, [0, None, 0.1]),
        ("3 others", 8, [0, None, 0.15]),
    ]


def test_the_least_busy_share_the_last_color(project: Project) -> None:
    for i in range(10):
        add_usage(project, NOON, model=f"model-{i}", requests=10 - i)
    crowded = report(project)
    assert list(colors_of(crowded.rows).values()) == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    rest = charts_of(crowded)["requests"]["series"][-1]
    assert (rest["name"], rest["values"][17]) == ("3 others", 3 + 2 + 1)


@pytest.mark.parametrize(("models", "entries"), [(1, 0), (2, 2), (8, 8), (9, 8)])
def test_one_color_needs_no_legend(project: Project, models: int, entries: int) -> None:
    for i in range(models):
        add_usage(project, NOON, model=f"model-{i}")
    assert len(legend_of(report(project))) == entries
