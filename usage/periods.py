"""The day, the week and the month that limits and budgets are of, in the time zone of an organization."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from common.zones import zone_named

# Every zone's days begin at one of these, and PostgreSQL's sums are of them.
QUARTER = 900


class Period(NamedTuple):
    """From a second since 1970 until another."""

    start: int
    end: int

    @property
    def name(self) -> str:
        """How it stands in the keys of counters. In another zone it is another one, and nothing has to be set back."""
        return f"{self.start}-{self.end}"

    @classmethod
    def named(cls, name: str) -> Self:
        start, _dash, end = name.partition("-")
        return cls(int(start), int(end))

    @property
    def starts_at(self) -> datetime:
        return datetime.fromtimestamp(self.start, UTC)

    @property
    def ends_at(self) -> datetime:
        return datetime.fromtimestamp(self.end, UTC)

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment.timestamp() < self.end


class Periods(NamedTuple):
    """Those that one moment is in."""

    day: Period
    week: Period
    month: Period


def periods_at(moment: datetime, zone: str) -> Periods:
    """The day, the week (from Monday) and the month of a moment in the zone of that name; UTC where there is none."""
    return _periods_from(int(moment.timestamp()) // QUARTER * QUARTER, zone)


@lru_cache(maxsize=4096)
def _periods_from(second: int, zone: str) -> Periods:
    where = zone_named(zone) or ZoneInfo("UTC")
    today = datetime.fromtimestamp(second, where).date()
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Periods(
        _between(today, today + timedelta(days=1), where),
        _between(monday, monday + timedelta(days=7), where),
        _between(first, following, where),
    )


def _between(first: date, end: date, zone: ZoneInfo) -> Period:
    start, stop = (datetime.combine(day, time.min, zone) for day in (first, end))
    return Period(int(start.timestamp()), int(stop.timestamp()))
