"""What this month will have cost when it is over, and when a key's budget will be used up."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, Sum

from apikeys.models import ApiKey
from usage.models import UsageRollup15Min
from usage.periods import periods_at
from usage.reports import DAY, Narrowing
from usage.sight import Sights, seen_of

DAYS_BEFORE = 7


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of a month of the organization's clock: what was spent, and the daily mean for each day left.

    `limit_nano` is the budget of the key that is looked at, if it is one and has one.
    """

    now: datetime
    ends_at: datetime
    spent_nano: int
    daily_nano: int
    limit_nano: int | None

    @property
    def total_nano(self) -> int:
        return self.spent_nano + int(self.daily_nano * ((self.ends_at - self.now) / DAY))

    @property
    def is_over(self) -> bool:
        """Whether the budget does not last until the month is over."""
        return self.limit_nano is not None and self.total_nano > self.limit_nano

    @property
    def used_up_at(self) -> datetime | None:
        """When the budget will be used up at this pace; None where it lasts, or is used up already."""
        if self.limit_nano is None or not self.is_over or self.spent_nano >= self.limit_nano:
            return None
        return self.now + (self.limit_nano - self.spent_nano) / self.daily_nano * DAY


def forecast(*, sights: Sights, narrowing: Narrowing, now: datetime) -> Forecast | None:
    """None where nothing was charged this month and in the days before. One query, and one for the key's budget."""
    periods = periods_at(now, sights[0].project.organization.time_zone)
    month, today = periods.month, periods.day.starts_at
    week = today - DAY * DAYS_BEFORE
    sums = UsageRollup15Min.objects.filter(
        narrowing.applied(), seen_of(sights), bucket_at__gte=min(month.starts_at, week), bucket_at__lte=now
    )
    costs = sums.aggregate(
        spent=Sum("cost_nano", filter=Q(bucket_at__gte=month.starts_at)),
        before=Sum("cost_nano", filter=Q(bucket_at__gte=week, bucket_at__lt=today)),
    )
    if not any(costs.values()):
        return None
    keys = ApiKey.objects.filter(public_id=narrowing.key or "", project__in=[sight.project for sight in sights])
    return Forecast(
        now=now,
        ends_at=month.ends_at,
        spent_nano=int(costs["spent"] or 0),
        daily_nano=int(costs["before"] or 0) // DAYS_BEFORE,
        limit_nano=keys.values_list("monthly_budget_nano", flat=True).first() if narrowing.key else None,
    )
