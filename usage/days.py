"""Holds an organization to its days, weeks and months while others limit what it may use in them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from accounts.errors import RefusedError
from accounts.models import Organization
from catalog.models import HostedModel
from common.zones import zone_named
from usage.admission import running_calls
from usage.counters import counters_of, of_scope
from usage.models import UsageRollup15Min
from usage.periods import Period, periods_at
from usage.policies import MODEL, PLAN, Scope

# What was used a moment ago may not be in the sums yet.
SUMMED = timedelta(minutes=5)


def refuse_to_begin_anew(*, organization: Organization, time_zone: str, **_signal: Any) -> None:
    """Raise RefusedError where something was used that would count no more in another time zone, now or before long:
    from zone to zone a day's limit could be used up every hour, and a month's when the month ends."""
    now = timezone.now()
    before, after = periods_at(now, organization.time_zone), periods_at(now, time_zone)
    for scope in _limits_of_others(organization):
        for old, new in zip(counters_of(scope, before), counters_of(scope, after), strict=True):
            if _may_have_used(organization, scope, Period(old.period.start, new.period.start), now):
                raise RefusedError(
                    _(
                        "In this time zone the day, the week or the month began later: what was used before would not "
                        "count against the limits that the operator of this portal has set. Try again at another time "
                        "of day, or ask them to change it."
                    ),
                    code="begins_anew",
                )
            is_earlier = _first_day(new.period, time_zone) < _first_day(old.period, organization.time_zone)
            # Who used nothing in all of it does not gain a second one.
            if is_earlier and _has_used(organization, scope, Period(new.period.start, int(now.timestamp()))):
                raise RefusedError(
                    _(
                        "In this time zone the day, the week or the month before is not over yet. When it ends, what "
                        "was used in the new one would not count against the limits that the operator of this portal "
                        "has set. Try again at another time of day, or ask them to change it."
                    ),
                    code="begins_anew",
                )


def _first_day(period: Period, zone: str) -> date:
    return period.starts_at.astimezone(zone_named(zone) or UTC).date()


def _limits_of_others(organization: Organization) -> Iterator[Scope]:
    if organization.plan is not None:
        yield Scope(PLAN, organization.public_id, organization.plan.limits)
    for model in HostedModel.objects.all():
        yield Scope(MODEL, model.public_name, model.limits)


def _may_have_used(organization: Organization, scope: Scope, time: Period, now: datetime) -> bool:
    if time.start >= time.end:
        return False
    return (
        time.ends_at > now - SUMMED or _has_used(organization, scope, time) or _may_run_since(organization, scope, time)
    )


def _has_used(organization: Organization, scope: Scope, time: Period) -> bool:
    sums = UsageRollup15Min.objects.filter(bucket_at__gte=time.starts_at, bucket_at__lt=time.ends_at)
    return sums.filter(of_scope(organization.public_id, "", scope)).exists()


def _may_run_since(organization: Organization, scope: Scope, time: Period) -> bool:
    """Whether a call goes on that began then: it is in no sum yet, and goes on for as long as its servers let it."""
    try:
        calls = list(running_calls(organization.public_id))
    except RedisError:
        return True
    return any(time.holds(call.at) and (scope.kind != MODEL or call.model == scope.id) for call in calls)
