"""Days, weeks and months of limits begin at midnight in the organization's time zone."""

from datetime import datetime

import pytest

from usage.periods import Period, Periods, periods_at


def local(zone: str, text: str) -> Periods:
    return periods_at(datetime.fromisoformat(text), zone)


def test_it_works() -> None:
    periods = local("Asia/Shanghai", "2026-11-26T03:00+00:00")
    spans = [(period.starts_at.isoformat(), period.ends_at.isoformat()) for period in periods]
    assert spans == [
        ("2026-11-25T16:00:00+00:00", "2026-11-26T16:00:00+00:00"),
        ("2026-11-22T16:00:00+00:00", "2026-11-29T16:00:00+00:00"),
        ("2026-10-31T16:00:00+00:00", "2026-11-30T16:00:00+00:00"),
    ]
    assert Period.named(periods.day.name) == periods.day


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-12-31T23:59:59+00:00", "2027-01-01T00:00:00+00:00"),
        ("2027-01-31T23:59:59+00:00", "2027-02-01T00:00:00+00:00"),
        ("2028-02-29T23:59:59+00:00", "2028-03-01T00:00:00+00:00"),
    ],
)
def test_a_month_ends_with_its_last_second(before: str, after: str) -> None:
    old, new = local("UTC", before), local("UTC", after)
    assert old.month.end == new.month.start == old.day.end == new.day.start


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29T12:00+02:00", 23), ("2026-10-25T12:00+01:00", 25), ("2026-06-01T12:00+02:00", 24)]
)
def test_a_day_is_as_long_as_its_clock_says(day: str, hours: int) -> None:
    found = local("Europe/Berlin", day).day
    assert found.end - found.start == hours * 3600


def test_a_zone_that_is_no_more_counts_as_utc() -> None:
    assert local("Mars/Olympus", "2026-11-26T03:00+00:00") == local("UTC", "2026-11-26T03:00+00:00")


def test_a_day_may_begin_at_a_quarter_of_an_hour() -> None:
    # Kathmandu is at 5:45 from UTC.
    before, after = "2026-11-26T18:14:59+00:00", "2026-11-26T18:15:00+00:00"
    assert local("Asia/Kathmandu", before).day.end == local("Asia/Kathmandu", after).day.start
