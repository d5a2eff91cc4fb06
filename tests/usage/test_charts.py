"""What the charts are told to draw."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from accounts.models import Project
from tests.usage.ledger import add_usage
from usage.charts import charts_of, colors_of, legend_of, span
from usage.reports import Group, Report, Window, failures, usage_report
from usage.sight import Sight

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 18, 12, 2, tzinfo=UTC)


def report(project: Project, window: Window = Window.TODAY, **changes: Any) -> Report:
    asked: dict[str, Any] = {"group": Group.MODEL, "zone": ZoneInfo("Asia/Kathmandu"), "now": NOON, **changes}
    return usage_report(sights=[Sight(project)], window=window, **asked)


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


def test_a_line_tells_the_period_before(project: Project) -> None:
    yesterday = NOON - timedelta(days=1)
    add_usage(project, yesterday, requests=2, latency_ms_sum=900, prompt_tokens=5, cost_nano=2_500_000_000)
    add_usage(project, yesterday, model="large", requests=2, status=500, completion_tokens=2)
    assert {chart["before"] for chart in charts_of(report(project)).values()} == {None}
    compared = report(project, compares=True)
    charts = charts_of(compared, before=compared.before_slices)
    told = {name: chart["before"]["values"][16:18] for name, chart in charts.items()}
    assert told.pop("latency") == [None, pytest.approx(450, rel=0.1)]
    assert told == {
        "requests": [0, 4], "tokens": [0, 7], "cost": [0, 2.5], "first_token": [None, None], "failures": [None, 0.5],
    }  # fmt: skip
    before = charts["requests"]["before"]
    assert (before["name"], len(before["values"])) == ("Before", 24)
    assert [before["titles"][place] for place in (0, 17, 23)] == [
        "March 17 · 00:00–01:00",
        "March 17 · 17:00–18:00",
        "March 17 · 23:00–00:00",
    ]


@pytest.mark.parametrize(
    ("day", "place", "titles"),
    [
        # An hour is called by the clock of its own day, until the next begins.
        ("2026-03-29", 1, ["March 28 · 00:00–01:00", "March 28 · 01:00–03:00", "March 28 · 03:00–04:00"]),
        ("2026-03-30", 2, ["March 29 · 01:00–03:00", "", "March 29 · 03:00–04:00"]),
        ("2026-10-26", 2, ["October 25 · 01:00–02:00", "October 25 · 02:00–03:00", "October 25 · 03:00–04:00"]),
    ],
)
def test_hours_before_are_called_by_the_clock(project: Project, day: str, place: int, titles: list[str]) -> None:
    now = datetime.fromisoformat(f"{day}T15:00:00+00:00")
    compared = report(project, zone=ZoneInfo("Europe/Berlin"), now=now, compares=True)
    before = charts_of(compared, before=compared.before_slices)["requests"]["before"]
    assert before["titles"][place - 1 : place + 2] == titles
    assert before["values"][place] == (None if titles[1] == "" else 0)


@pytest.mark.parametrize(
    ("window", "name"),
    [
        (Window.HOUR, "March 18 · 15:50–16:50"),
        (Window.TODAY, "March 17"),
        (Window.WEEK, "March 5 – March 11"),
        (Window.YEAR, "April 2024 – March 2025"),
    ],
)
def test_the_period_before_has_a_name(project: Project, window: Window, name: str) -> None:
    found = report(project, window)
    assert span(found.period.before_start, found.period.start, found) == name


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
