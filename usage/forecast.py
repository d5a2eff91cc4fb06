"""What this month will have cost when it is over, and when the budget for it will be used up."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.access import rights_in_organization
from accounts.models import Project, User
from accounts.roles import Right
from apikeys.models import ApiKey
from common.money import display_dollars, exact_dollars
from usage.credits.services import Balance, balance_of
from usage.models import UsageRollup15Min
from usage.periods import periods_at
from usage.reports import DAY, EVERYTHING, Narrowing, telling
from usage.sight import Sights, seen_of

DAYS_BEFORE = 7
# Whose calls cost nothing for so long begins anew: a mean of days without use would say that nothing more is spent.
DAYS_LOOKED_AT = 31


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of a month of the organization's clock: what was spent, and the daily mean for each day left.

    `days` is of how many days that is the mean; of none there is no pace yet, and nothing is forecast. `limit_nano` is
    the budget that counts what is looked at and nothing else, where there is one, with the credits that pay before it;
    `whose` says whose.
    """

    now: datetime
    ends_at: datetime
    spent_nano: int
    daily_nano: int
    days: int
    limit_nano: int | None
    whose: str | Promise
    counts_credits: bool

    @property
    def total_nano(self) -> int:
        return self.spent_nano + int(self.daily_nano * ((self.ends_at - self.now) / DAY))

    @property
    def whole_nano(self) -> int:
        """What a bar shows that holds the forecast and the budget."""
        return max(self.total_nano, self.limit_nano or 0)

    @property
    def limit_in_words(self) -> str:
        """To its last digit where somebody chose it. What credits add to it is what calls left of them, and rounded."""
        limit_nano = self.limit_nano or 0
        return display_dollars(limit_nano) if self.counts_credits else exact_dollars(limit_nano)

    @property
    def share_of_limit(self) -> float | None:
        """The part of the budget that the forecast is; None where there is no budget, or one of nothing."""
        return self.total_nano / self.limit_nano if self.limit_nano else None

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


def forecast(
    *, sights: Sights, narrowing: Narrowing, is_organization_wide: bool, reader: User, now: datetime
) -> Forecast | None:
    """None where nothing was charged this month and in the days before. One query, and four at most for the budget."""
    project = sights[0].project
    periods = periods_at(now, project.organization.time_zone)
    month, today = periods.month, periods.day.starts_at
    week, since = today - DAY * DAYS_BEFORE, today - DAY * DAYS_LOOKED_AT
    sights = telling(sights, by_member=narrowing.member is not None)
    whose, limit_nano, counted, pays_first = _budget(
        project, sights, narrowing, reader if is_organization_wide else None
    )
    sums = UsageRollup15Min.objects.filter(narrowing.applied(), counted)
    spending = sums.for_forecast(since=since, month=month.starts_at, week=week, today=today, now=now)
    if spending.first_at is None or not (spending.month_nano or spending.week_nano):
        return None
    zone = project.organization.zone
    days = min(DAYS_BEFORE, (now.astimezone(zone).date() - spending.first_at.astimezone(zone).date()).days)
    daily_nano = spending.week_nano // days if days else 0
    credit_nano = 0
    if limit_nano is not None and pays_first is not None:
        credit_nano = spending.credit_nano + _still_paid(pays_first, daily_nano if days else None, now, month.ends_at)
        if credit_nano:
            whose, limit_nano = _("Budget of the organization with its credits"), limit_nano + credit_nano
    return Forecast(
        now=now,
        ends_at=month.ends_at,
        spent_nano=spending.month_nano,
        daily_nano=daily_nano,
        days=days,
        limit_nano=limit_nano,
        whose=whose,
        counts_credits=credit_nano > 0,
    )


def _budget(
    project: Project, sights: Sights, narrowing: Narrowing, reader_of_all: User | None
) -> tuple[str | Promise, int | None, Q, Balance | None]:
    """What the budget is called that counts what is looked at, its amount, which sums it counts, and the credits that
    pay before it does."""
    seen = seen_of(sights)
    if narrowing.key is not None and narrowing == Narrowing(key=narrowing.key):
        keys = ApiKey.objects.filter(public_id=narrowing.key, project__in=[sight.project for sight in sights])
        return _("Budget of the key"), keys.values_list("monthly_budget_nano", flat=True).first(), seen, None
    if narrowing != EVERYTHING or any(sight.own is not None for sight in sights):
        return "", None, seen, None
    if reader_of_all is None:
        return _("Budget of the project"), project.monthly_budget_nano, seen, None
    limit_nano = project.organization.monthly_budget_nano
    # Who sees every project that is there need not have seen those that were archived, nor the credits.
    if limit_nano is None or Right.SEE_USAGE not in rights_in_organization(reader_of_all, project.organization):
        return "", None, seen, None
    # Those that were archived this month have used of it as well.
    counted = Q(project_id__in=list(project.organization.projects.values_list("public_id", flat=True)))
    return _("Budget of the organization"), limit_nano, counted, balance_of(project.organization)


def _still_paid(balance: Balance, daily_nano: int | None, now: datetime, ends_at: datetime) -> int:
    """What credits can still pay in the month: those that end before it does, only what calls cost until then.

    All of it where nobody knows yet what they cost a day.
    """
    paid = 0
    # The one that ends first is drawn on before the others.
    for grant in balance.grants:
        left_nano = grant.left_nano_at(now)
        if daily_nano is not None and grant.expires_at is not None and grant.expires_at < ends_at:
            left_nano = min(left_nano, max(0, int(daily_nano * ((grant.expires_at - now) / DAY)) - paid))
        paid += left_nano
    return paid
