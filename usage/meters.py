"""What was used of limits by the day, the week and the month, as the gateway counts it, and when they begin anew."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.functional import Promise
from redis.exceptions import RedisError

from accounts.models import Membership, Organization, Project
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common import redis as servers
from common.limits import LABELS, LIMITS, Limited, limit_in_words
from common.money import display_dollars
from usage.counters import Counter, Used, base_of, used_of
from usage.models import Source
from usage.periods import Period, periods_at
from usage.policies import KEY, MEMBER, MODEL, ORGANIZATION, PLAN, PROJECT, Caller, Scope

NEARLY = 0.8
SPANS = {
    "requests_per_day": "day",
    "tokens_per_day": "day",
    "gpu_seconds_per_day": "day",
    "daily_budget_nano": "day",
    "weekly_budget_nano": "week",
    "monthly_budget_nano": "month",
}
"""The limits that begin anew, with the period that each is of."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A limit, by the name of its field. `used` has what running calls reserved of it; None where nothing counts it."""

    name: str
    limit: int
    used: int | None
    renews_at: datetime | None

    @property
    def label(self) -> str | Promise:
        return LABELS[self.name]

    @property
    def limit_in_words(self) -> str:
        return limit_in_words(self.name, self.limit)

    @property
    def used_in_words(self) -> str:
        return used_in_words(self.name, self.used or 0)

    @property
    def share(self) -> float:
        """The part that is used. Of a budget of nothing it is all."""
        return (self.used or 0) / self.limit if self.limit else 1.0

    @property
    def is_used_up(self) -> bool:
        return self.share >= 1

    @property
    def is_nearly_used_up(self) -> bool:
        return NEARLY <= self.share < 1


def meters_of(limited: Limited) -> list[Meter]:
    """The limits that an organization, a project, a member or a key of a project sets, in the order of forms.

    What is used is what the gateway refuses by; where it has not counted yet, or Redis is away, what the records hold.
    """
    match limited:
        case Organization():
            return _meters(Scope(ORGANIZATION, limited.public_id, limited.limits), limited)
        case Project():
            scope = Scope(PROJECT, limited.public_id, limited.limits)
            return _meters(scope, limited.organization, limited.public_id)
        case Membership():
            member = f"{limited.organization.public_id}.{limited.user.public_id}"
            return _meters(Scope(MEMBER, member, limited.limits), limited.organization)
        case ApiKey(project=Project() as project):
            return _meters(Scope(KEY, limited.public_id, limited.limits), project.organization, project.public_id)
    return []


def meters_of_plan(organization: Organization) -> list[Meter]:
    """The limits of the plan that an organization is on, with what all of it used of them."""
    plan = organization.plan
    return _meters(Scope(PLAN, organization.public_id, plan.limits), organization) if plan is not None else []


def meters_of_model(model: HostedModel, organization: Organization) -> list[Meter]:
    """The limits of a model, with what an organization used of them: they are the same for each, and counted apart."""
    return _meters(Scope(MODEL, model.public_name, model.limits), organization)


def renewing(meters: Iterable[Meter]) -> list[Meter]:
    """Those of limits that begin anew, of which it is known what was used."""
    return [meter for meter in meters if meter.used is not None]


def used_in_words(name: str, used: int) -> str:
    """What was used of the limit of this name. Money is rounded, where the limit itself is told to its last digit."""
    return display_dollars(used) if name.endswith("_nano") else limit_in_words(name, used)


def by_limit(day: Used, week: Used, month: Used) -> dict[str, int]:
    """What was used in each, by the name of the limit that it counts against."""
    return {
        "requests_per_day": day.requests,
        "tokens_per_day": day.tokens,
        "gpu_seconds_per_day": day.gpu_ms // 1000,
        "daily_budget_nano": day.cost_nano,
        "weekly_budget_nano": week.cost_nano,
        "monthly_budget_nano": month.cost_nano,
    }


def _meters(scope: Scope, organization: Organization, project_id: str = "") -> list[Meter]:
    limits = {name: limit for name in LIMITS if (limit := getattr(scope.limits, name)) is not None}
    spans = {SPANS[name] for name in limits if name in SPANS}
    periods = periods_at(timezone.now(), organization.time_zone)
    of_spans = {span: period for span, period in periods._asdict().items() if span in spans}
    caller = Caller(Source.KEY, organization.public_id, project_id, key_id="", user_id="", scopes=(scope,))
    counted = _counted(caller, scope, list(of_spans.values()))
    used = by_limit(*(counted.get(period, Used()) for period in periods))
    return [
        Meter(name, limit, used[name], of_spans[SPANS[name]].ends_at)
        if name in SPANS
        else Meter(name, limit, None, None)
        for name, limit in limits.items()
    ]


def _counted(caller: Caller, scope: Scope, periods: Sequence[Period]) -> dict[Period, Used]:
    """What Redis has counted, and the records for the rest."""
    known = dict(zip(periods, _in_redis(caller.organization_id, scope, periods), strict=True))
    return {period: used_of(caller, scope, period) if used is None else used for period, used in known.items()}


def _in_redis(organization_id: str, scope: Scope, periods: Sequence[Period]) -> Iterable[Used | None]:
    """None for what is not known there: no call came yet that counts, or it is being filled."""
    pipeline = servers.durable().pipeline(transaction=False)
    for period in periods:
        name = base_of(organization_id) + Counter(scope, period, None).name
        pipeline.hmget(name, ["spent", "held", "requests", "tokens", "gpu", "seeding"])
    try:
        found = pipeline.execute()
    except RedisError:
        return [None] * len(periods)
    return [
        None
        if spent is None or seeding is not None
        else Used(int(spent) + int(held), int(requests), int(tokens), int(gpu))
        for spent, held, requests, tokens, gpu, seeding in found
    ]
