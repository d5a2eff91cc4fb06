"""Tells people and programs that credits run out, or end with something left: each once for a grant."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from common.ids import new_id
from common.limits import NO_LIMITS
from common.money import display_dollars
from notifications.services import notify
from usage.counters import base_of
from usage.kinds import CREDITS_ALERT, CreditsNotice, credits_kind
from usage.models import BudgetAlert, CreditGrant
from usage.nearing import (
    NEARLY_USED_UP,
    REFUSED_WITHIN,
    SPANS,
    USED_UP,
    is_news,
    managers_of,
    organizations_in_use,
    were_refused,
)
from usage.policies import ORGANIZATION, Scope
from webhooks.services import announce

LOW = 80
AHEAD = timedelta(days=7)


class _Remainder(NamedTuple):
    """What is left of credits: of all that were there once a grant was made, or, where that one `ends`, of it alone."""

    grant: CreditGrant
    left_nano: int
    of_nano: int
    ends: bool

    @property
    def counter(self) -> str:
        return f"{base_of(self.grant.organization_id)}credit:{self.grant.public_id}:{'end' if self.ends else 'left'}"

    @property
    def used_nano(self) -> int:
        return self.of_nano - self.left_nano

    def is_used(self, percent: int) -> bool:
        return self.used_nano * 100 >= self.of_nano * percent


def look_at_credits() -> None:
    """Tell of credits in use that are low or have run out, and of grants that end soon, unless that was told before."""
    now = timezone.now()
    some = [*_near(now), *_ending(now)]
    alerts = BudgetAlert.objects.filter(counter__in=[rest.counter for rest in some])
    told = dict(alerts.order_by("percent").values_list("counter", "percent"))
    news = [rest for rest in some if told.get(rest.counter, 0) < USED_UP]
    homes = Organization.objects.in_bulk({rest.grant.organization_id for rest in news}, field_name="public_id")
    for rest in news:
        # Grants stay when their organization is gone.
        if home := homes.get(rest.grant.organization_id):
            percent = USED_UP if rest.ends or _have_run_out(rest, home, now) else LOW
            if told.get(rest.counter, 0) < percent:
                _tell(rest, percent, home)


def _near(now: datetime) -> Iterator[_Remainder]:
    """Credits of organizations in use of which little is left.

    Compared to what was there once the last grant was made: of the sum of all amounts what was used up long ago would
    be a part, and a small grant after a large one would be low at once. It only falls until the next: nothing flaps.
    """
    grants = CreditGrant.objects.filter(organization_id__in=organizations_in_use(now), revocation=None).with_used()
    for _id, theirs in groupby(grants.order_by("organization_id", "pk"), lambda grant: grant.organization_id):
        all_of_them = list(theirs)
        last = all_of_them[-1]
        rest = _Remainder(last, sum(grant.left_nano for grant in all_of_them), last.at_hand_nano, ends=False)
        if rest.is_used(LOW):
            yield rest


def _ending(now: datetime) -> Iterator[_Remainder]:
    soon = CreditGrant.objects.filter(expires_at__gt=now, expires_at__lte=now + AHEAD, revocation=None)
    for grant in soon.with_used():
        assert grant.expires_at is not None  # noqa: S101 - it was asked for
        # Who was granted credits for a few days need not read at once that they end.
        if grant.left_nano and now - grant.at >= grant.expires_at - now:
            yield _Remainder(grant, grant.left_nano, grant.amount_nano, ends=True)


def _have_run_out(rest: _Remainder, organization: Organization, now: datetime) -> bool:
    """Whether nothing is left, or so little that calls which nothing else pays for are refused."""
    if not rest.left_nano:
        return True
    scope = Scope(ORGANIZATION, organization.public_id, NO_LIMITS)
    # Before the grant, calls may have been refused for want of it.
    since = max(rest.grant.at, now - REFUSED_WITHIN)
    unpaid = _unpaid_spans(organization)
    return (
        bool(unpaid) and rest.is_used(NEARLY_USED_UP) and were_refused(organization.public_id, "", scope, unpaid, since)
    )


def _unpaid_spans(organization: Organization) -> list[str]:
    """Those of which an organization has no money but its credits."""
    return [span for span in SPANS if getattr(organization, f"{span}_budget_nano") == 0]


@transaction.atomic
def _tell(rest: _Remainder, percent: int, organization: Organization) -> None:
    grant, ends_at = rest.grant, rest.grant.expires_at if rest.ends else None
    if not is_news(
        rest.counter,
        percent=percent,
        limit_nano=rest.of_nano,
        used_nano=rest.used_nano,
        ends_at=ends_at,
    ):
        return
    if rest.ends:
        notice = CreditsNotice.ENDS_SOON
    elif percent < USED_UP:
        notice = CreditsNotice.LOW
    else:
        notice = CreditsNotice.PREPAID_USED_UP if _unpaid_spans(organization) else CreditsNotice.USED_UP
    url = reverse("credits:overview", args=[organization.public_id])
    # Each is news of its own: it joins no notification that is yet to be read, for then no mail would be sent.
    object_id = new_id("credits")
    for person in managers_of(organization):
        notify(
            recipient=person,
            kind=credits_kind(notice),
            object_id=object_id,
            title=organization.display_name,
            url=url,
            actor=None,
            facts={
                "left": display_dollars(rest.left_nano),
                "of": display_dollars(rest.of_nano),
                "day": grant.last_day_in(organization.zone) if rest.ends else "",
            },
        )
    announce(
        CREDITS_ALERT.name,
        organization=organization,
        data={
            "notice": notice,
            "grant_id": grant.public_id,
            "left_nano_dollars": rest.left_nano,
            "of_nano_dollars": rest.of_nano,
            "ends_at": ends_at and ends_at.isoformat(timespec="seconds"),
            "url": settings.PUBLIC_URL + url,
        },
    )
