"""Holds an organization to its days, weeks and months while others limit what it may use in them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.errors import RefusedError
from accounts.models import Organization
from catalog.models import HostedModel
from usage.counters import counters_of, of_scope
from usage.models import UsageRollup15Min
from usage.periods import Period, periods_at
from usage.policies import MODEL, PLAN, Scope

# What was used a moment ago may not be in the sums yet.
SUMMED = timedelta(minutes=5)


def refuse_to_begin_anew(*, organization: Organization, time_zone: str, **_signal: Any) -> None:
    """Raise RefusedError where a period in another time zone began later, and something was used in between: it would
    count no more, and from zone to zone a day's limit could be used up every hour."""
    now = timezone.now()
    before, after = periods_at(now, organization.time_zone), periods_at(now, time_zone)
    for scope in _limits_of_others(organization):
        for old, new in zip(counters_of(scope, before), counters_of(scope, after), strict=True):
            if _may_have_used(organization, scope, Period(old.period.start, new.period.start)):
                raise RefusedError(
                    _(
                        "In this time zone the day, the week or the month began later: what was used before would not "
                        "count against the limits that the operator of this portal has set. Try again at another time "
                        "of day, or ask them to change it."
                    ),
                    code="begins_anew",
                )


def _limits_of_others(organization: Organization) -> Iterator[Scope]:
    if organization.plan is not None:
        yield Scope(PLAN, organization.public_id, organization.plan.limits)
    for model in HostedModel.objects.all():
        yield Scope(MODEL, model.public_name, model.limits)


def _may_have_used(organization: Organization, scope: Scope, time: Period) -> bool:
    if time.start >= time.end:
        return False
    sums = UsageRollup15Min.objects.filter(bucket_at__gte=time.starts_at, bucket_at__lt=time.ends_at)
    return time.ends_at > timezone.now() - SUMMED or sums.filter(of_scope(organization.public_id, "", scope)).exists()
