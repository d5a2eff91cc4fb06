"""Whose counters count what: the keys in Redis below an organization's, and which of the ledger belongs to each."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import NamedTuple, Self, cast

from django.db.models import F, Q, Sum
from django.utils import timezone

from accounts.models import Cohort, Membership, Organization, Plan, Project, ProjectMembership
from accounts.roles import ProjectRole
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common import redis as servers
from common.limits import NO_LIMITS, Limited
from usage.events import Event
from usage.models import CreditDraw, CreditGrant, UsageRollup15Min
from usage.periods import Period, Periods, periods_at
from usage.policies import (
    CREDIT,
    KEY,
    MEMBER,
    MODEL,
    ORGANIZATION,
    PARTICIPANT,
    PLAN,
    PROJECT,
    Caller,
    Grant,
    Scope,
)

# Organizations with leases, for the reaper. A plain set: an entry too many costs one empty look.
ORGANIZATIONS = "ly:leases"


def base_of(organization_id: str) -> str:
    """What every key of an organization begins with. In a cluster all of them are on one server."""
    return f"ly:{{{organization_id}}}:"


class Counter(NamedTuple):
    """What a scope used in a period, of which it has a limit."""

    scope: Scope
    period: Period
    money: int | None
    requests: int | None = None
    tokens: int | None = None
    gpu_seconds: int | None = None

    @classmethod
    def of_grant(cls, grant: Grant) -> Self:
        """What calls drew on a grant of credits: of all limits it has only the money."""
        return cls(Scope(CREDIT, grant.id, NO_LIMITS), Period(grant.start, grant.end), grant.amount_nano)

    @property
    def is_grant(self) -> bool:
        return self.scope.kind == CREDIT

    @property
    def name(self) -> str:
        return f"{self.scope.kind}:{self.scope.id}:used:{self.period.name}"


@dataclass(frozen=True)
class Counted:
    """The keys that a call counts in, below its organization's: the same when it is admitted and when it is settled."""

    organization_id: str
    windows: tuple[str, ...]
    running: tuple[str, ...]
    counters: tuple[str, ...]

    def keys(self, third: str) -> tuple[str, ...]:
        """Those of `admit.lua` and `settle.lua`, which have their own third one."""
        return *self._records, third, *self._names

    @cached_property
    def _records(self) -> tuple[str, str]:
        base = base_of(self.organization_id)
        return f"{base}leases", f"{base}holds"

    @cached_property
    def _names(self) -> tuple[str, ...]:
        base = base_of(self.organization_id)
        return tuple(base + name for name in (*self.windows, *self.running, *self.counters))

    @cached_property
    def sizes(self) -> tuple[str, str]:
        """How the scripts tell them apart."""
        return str(len(self.windows)), str(len(self.running))


@dataclass(frozen=True)
class Reach:
    """The limits that hold for one call, of which each scope has only those that it sets.

    The last of the counters are the grants of credits that it draws on.
    """

    organization_id: str
    windows: tuple[Scope, ...]
    running: tuple[Scope, ...]
    counters: tuple[Counter, ...]

    @classmethod
    def of(cls, caller: Caller, at: datetime, *, model: Scope | None = None) -> "Reach":
        """Of a call that `caller` makes at that time; of a model that has limits as well."""
        scopes = caller.scopes if model is None else (*caller.scopes, model)
        second = at.timestamp()
        grants = tuple(grant for grant in caller.grants if second < grant.end)
        return _reach(caller.organization_id, scopes, grants, periods_at(at, caller.zone))

    @cached_property
    def limits(self) -> tuple[Counter, ...]:
        """The counters that can refuse a call."""
        return tuple(counter for counter in self.counters if not counter.is_grant)

    @cached_property
    def rates(self) -> tuple[list[int | None], list[int | None]]:
        """What each window allows of requests, and of tokens."""
        rates = [(scope.limits.requests_per_minute, scope.limits.tokens_per_minute) for scope in self.windows]
        return [requests for requests, _tokens in rates], [tokens for _requests, tokens in rates]

    @cached_property
    def counted(self) -> Counted:
        return Counted(
            self.organization_id,
            tuple(f"{scope.kind}:{scope.id}:window" for scope in self.windows),
            tuple(f"{scope.kind}:{scope.id}:running" for scope in self.running),
            tuple(counter.name for counter in self.counters),
        )

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """How `admit.lua` is told of them."""
        told: list[int | None] = [len(self.counters) - len(self.limits)]
        for scope in self.windows:
            told += scope.limits.requests_per_minute, scope.limits.tokens_per_minute
        told += (scope.limits.concurrent_requests for scope in self.running)
        for counter in self.limits:
            gpu_ms = None if counter.gpu_seconds is None else counter.gpu_seconds * 1000
            told += counter.money, counter.requests, counter.tokens, gpu_ms
        return *self.counted.sizes, *("" if number is None else str(number) for number in told)


# All that the calls of a caller have in common for a day at most.
@lru_cache(maxsize=4096)
def _reach(organization_id: str, scopes: tuple[Scope, ...], grants: tuple[Grant, ...], periods: Periods) -> Reach:
    windows, running, counters = [], [], []
    for scope in scopes:
        limits = scope.limits
        if limits.requests_per_minute is not None or limits.tokens_per_minute is not None:
            windows.append(scope)
        if limits.concurrent_requests is not None:
            running.append(scope)
        if limits.has_periods:
            counters += counters_of(scope, periods)
    counters += map(Counter.of_grant, grants)
    return Reach(organization_id, tuple(windows), tuple(running), tuple(counters))


def counters_of(scope: Scope, periods: Periods) -> list[Counter]:
    """Those of its limits on days, weeks and months."""
    limits, found = scope.limits, []
    daily = (limits.daily_budget_nano, limits.requests_per_day, limits.tokens_per_day, limits.gpu_seconds_per_day)
    if daily != (None, None, None, None):
        found.append(Counter(scope, periods.day, *daily))
    if limits.weekly_budget_nano is not None:
        found.append(Counter(scope, periods.week, limits.weekly_budget_nano))
    if limits.monthly_budget_nano is not None:
        found.append(Counter(scope, periods.month, limits.monthly_budget_nano))
    return found


# What the records hold for a counter ---------------------------------------------------------------------------------


class Used(NamedTuple):
    """What calls used. Those that reached no server count for nothing but money, of which they cost none."""

    cost_nano: int = 0
    requests: int = 0
    tokens: int = 0
    gpu_ms: int = 0

    @classmethod
    def by(cls, event: Event) -> "Used":
        tokens = event.prompt_tokens + event.completion_tokens
        return cls(event.cost_nano, int(event.backend != ""), tokens, event.server_ms)

    def plus(self, other: "Used") -> "Used":
        return Used(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def counted_in(self, kind: str, draws: Mapping[str, int] | None, id: str = "") -> "Used":  # noqa: A002
        """What of it counts against a scope of that kind, and id: a grant has its draw, an organization the rest."""
        if kind == CREDIT:
            return Used((draws or {}).get(id, 0))
        if kind == ORGANIZATION and draws:
            return self._replace(cost_nano=self.cost_nano - sum(draws.values()))
        return self


def used_of(caller: Caller, scope: Scope, period: Period) -> Used:
    """What the sums in PostgreSQL have for a scope in a period."""
    if scope.kind == CREDIT:
        drawn = CreditDraw.objects.filter(grant_id=scope.id).aggregate(sum=Sum("nano"))["sum"]
        return Used(int(drawn or 0))
    rows = UsageRollup15Min.objects.filter(
        of_scope(caller.organization_id, caller.project_id, scope),
        bucket_at__gte=period.starts_at,
        bucket_at__lt=period.ends_at,
    )
    sums = rows.aggregate(
        cost=Sum("cost_nano"),
        requests=Sum("latency_count"),
        prompt=Sum("prompt_tokens"),
        completion=Sum("completion_tokens"),
        gpu=Sum(F("latency_ms_sum") - F("waited_ms_sum")),
        credit=Sum("credit_nano"),
    )
    cost, requests, prompt, completion, gpu, credit = (int(value or 0) for value in sums.values())
    if scope.kind == ORGANIZATION:
        cost -= credit
    return Used(cost, requests, prompt + completion, gpu)


def belongs_to(caller: Caller, scope: Scope, period: Period) -> Callable[[Event], bool]:
    """Whether an event counts against a scope in a period."""
    kind, id_ = scope.kind, scope.id
    if kind == CREDIT:
        return lambda event: event.draws is not None and id_ in event.draws
    if kind in {PARTICIPANT, MEMBER}:
        place, user_id, key_ids = _person(scope)
        field = "project_id" if kind == PARTICIPANT else "organization_id"
        return lambda event: (
            getattr(event, field) == place
            and (event.user_id == user_id or event.key_id in key_ids)
            and period.holds(event.at)
        )
    field = {MODEL: "model", PLAN: "organization_id"}.get(kind, f"{kind}_id")
    return lambda event: (
        event.organization_id == caller.organization_id and getattr(event, field) == id_ and period.holds(event.at)
    )


def of_scope(organization_id: str, project_id: str, scope: Scope) -> Q:
    """Which sums of usage, and which calls of the ledger, count against a scope. They are found by project."""
    if scope.kind == PROJECT:
        return Q(project_id=scope.id)
    if scope.kind == PARTICIPANT:
        project_id, user_id, key_ids = _person(scope)
        return Q(project_id=project_id) & (Q(user_id=user_id) | Q(key_id__in=key_ids))
    if scope.kind == KEY:
        return Q(project_id=project_id, key_id=scope.id)
    projects = Project.objects.filter(organization__public_id=organization_id)
    everywhere = Q(project_id__in=list(projects.values_list("public_id", flat=True)))
    if scope.kind == MEMBER:
        _organization, user_id, key_ids = _person(scope)
        return everywhere & (Q(user_id=user_id) | Q(key_id__in=key_ids))
    return everywhere & Q(model=scope.id) if scope.kind == MODEL else everywhere


def _person(scope: Scope) -> tuple[str, str, frozenset[str]]:
    """Where somebody is held to a limit, who it is, and all keys that they ever made there."""
    place, _dot, user_id = scope.id.partition(".")
    keys = ApiKey.objects.made_by([user_id])
    keys = (
        keys.filter(project__public_id=place)
        if scope.kind == PARTICIPANT
        else keys.filter(project__organization__public_id=place)
    )
    return place, user_id, frozenset(keys.values_list("public_id", flat=True))


# Counters that begin anew ---------------------------------------------------------------------------------------------


def count_anew(limited: Limited) -> None:
    """Drop the counters of whatever has these limits: while it had none of a kind, nobody counted.

    The next call fills them from the records. Calls that run at this moment count when it ends in what they began with.
    """
    client = servers.durable()
    pipeline = client.pipeline(transaction=False)
    for organization_id, zone, scope in _scopes_of(limited):
        for period in periods_at(timezone.now(), zone):
            name = Counter(scope, period, None).name
            pipeline.delete(base_of(organization_id) + name)
    pipeline.execute()


def forget_grant(grant: CreditGrant) -> None:
    """Drop the counter of a grant that was revoked: calls that run draw what they reserved of it and nothing else."""
    servers.durable().delete(base_of(grant.organization_id) + Counter.of_grant(Grant.of(grant)).name)


def _scopes_of(limited: Limited) -> Iterable[tuple[str, str, Scope]]:
    """The scopes that a row of limits is for: with the id of their organization, and its time zone."""
    nothing = NO_LIMITS
    match limited:
        case Organization():
            yield limited.public_id, limited.time_zone, Scope(ORGANIZATION, limited.public_id, nothing)
            yield limited.public_id, limited.time_zone, Scope(PLAN, limited.public_id, nothing)
        case Plan():
            for home in limited.organizations.all():
                yield home.public_id, home.time_zone, Scope(PLAN, home.public_id, nothing)
        case Project():
            home = limited.organization
            yield home.public_id, home.time_zone, Scope(PROJECT, limited.public_id, nothing)
        case Membership():
            home, user = limited.organization, limited.user
            yield home.public_id, home.time_zone, Scope(MEMBER, f"{home.public_id}.{user.public_id}", nothing)
        case ApiKey(project=Project() as project):
            home = project.organization
            yield home.public_id, home.time_zone, Scope(KEY, limited.public_id, nothing)
        case Cohort():
            project, home = limited.project, limited.project.organization
            places = ProjectMembership.objects.filter(project=project, role=ProjectRole.PARTICIPANT)
            for user_id in places.values_list("membership__user__public_id", flat=True):
                yield home.public_id, home.time_zone, Scope(PARTICIPANT, f"{project.public_id}.{user_id}", nothing)
        case HostedModel():
            called = cast("set[str]", servers.durable().smembers(ORGANIZATIONS))
            for organization in Organization.objects.filter(public_id__in=called):
                yield organization.public_id, organization.time_zone, Scope(MODEL, limited.public_name, nothing)
