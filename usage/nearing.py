"""Tells people and programs that a budget nears its end: once in each of its periods, before calls are refused."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Concat
from django.urls import reverse
from django.utils import timezone

from accounts.access import has_right, rights_in
from accounts.models import Cohort, Membership, Organization, Plan, Project, User
from accounts.roles import IN_ORGANIZATION, ProjectRole, Right
from apikeys.models import ApiKey, KeyKind
from catalog.models import HostedModel
from common import redis as servers
from common.errors import budget_code
from common.ids import new_id
from common.limits import ALERTS, NO_LIMITS
from common.money import display_dollars, exact_dollars
from notifications.services import notify
from usage.counters import Counter, base_of, of_scope
from usage.explaining import WINDOWS, usage_page
from usage.kinds import BUDGET_ALERT, Budget, Standing, alert_kind
from usage.models import BudgetAlert, CreditGrant, UsageEvent, UsageOrganizationDay
from usage.periods import Period, periods_at
from usage.policies import KEY, MEMBER, MODEL, ORGANIZATION, PARTICIPANT, PLAN, PROJECT, Scope
from webhooks.services import announce

READ_AT_ONCE = 1000
# Of what was not used meanwhile nothing has changed.
IN_USE = timedelta(hours=1)
USED_UP = 100
# A call reserves the most it could cost, so that the last ones are refused while a little is left.
NEARLY_USED_UP = 90
REFUSED_WITHIN = timedelta(minutes=10)
SPANS = ("daily", "weekly", "monthly")
BUDGETS = [f"{span}_budget_nano" for span in SPANS]
HAS_BUDGET = ~Q(**dict.fromkeys(BUDGETS))


class _Budgeted(NamedTuple):
    """A budget in its present period, and what people are told of it."""

    scope: Scope
    row: int
    organization_id: str
    project_id: str
    span: str
    period: Period
    zone: str
    limit: int
    percents: Sequence[int]

    @property
    def counter(self) -> str:
        return base_of(self.organization_id) + Counter(self.scope, self.period, None).name

    @property
    def is_after_credits(self) -> bool:
        """Whether it pays only what the organization's credits do not cover."""
        return self.scope.kind == ORGANIZATION


class _Hearers(NamedTuple):
    """Some who are told, whose budget it is to them, and what that is called; where it is a person's, `about` whom."""

    whose: Budget
    people: Iterable[User]
    title: str
    about: User | None = None
    facts: dict[str, str] = {}


def look_at_budgets() -> None:
    """Tell of each budget in use that has come to one of the percentages chosen for it, unless that was told before."""
    budgets = _budgets(timezone.now())
    while some := list(islice(budgets, READ_AT_ONCE)):
        _look_at(some)


def organizations_in_use(now: datetime) -> list[str]:
    """Those that made calls of late: of others nothing has changed."""
    changed = UsageOrganizationDay.objects.filter(bucket_at__gte=now - timedelta(days=2), updated_at__gte=now - IN_USE)
    return list(changed.values_list("organization_id", flat=True).distinct())


def managers_of(organization: Organization) -> QuerySet[User]:
    """Who can do something about what an organization may spend."""
    roles = [role for role, rights in IN_ORGANIZATION.items() if Right.MANAGE_ORGANIZATION in rights]
    return User.objects.filter(is_active=True, memberships__organization=organization, memberships__role__in=roles)


def is_news(counter: str, *, percent: int, limit_nano: int, used_nano: int, ends_at: datetime | None) -> bool:
    """Remember that this is told, of a budget or of credits, in the transaction at hand; False if it was before."""
    now = {"limit_nano": limit_nano, "used_nano": used_nano, "ends_at": ends_at}
    alert, is_new = BudgetAlert.objects.select_for_update().get_or_create(
        counter=counter, percent=percent, defaults=now
    )
    if not is_new:
        # Another look may have told it meanwhile.
        if alert.covers(percent, limit_nano):
            return False
        BudgetAlert.objects.filter(pk=alert.pk).update(**now)
    return True


def is_little(left_nano: int, limit_nano: int) -> bool:
    """Whether so little is left of a budget that calls which could cost more mean that it is used up.

    With more left, who was refused asked for uncommonly much.
    """
    return left_nano * 100 <= limit_nano * (100 - NEARLY_USED_UP)


def were_refused(organization_id: str, project_id: str, scope: Scope, spans: Iterable[str], since: datetime) -> bool:
    """Whether calls were refused `since` then because a budget of the scope, for one of these spans, is used up."""
    calls = UsageEvent.objects.between(since, None).filter(
        of_scope(organization_id, project_id, scope),
        status=429,
        error_code__in=[budget_code(scope.kind, span) for span in spans],
    )
    return calls.exists()


def forget_alerts() -> None:
    """Drop what was told of periods that are over."""
    BudgetAlert.objects.filter(ends_at__lte=timezone.now()).delete()


def _budgets(now: datetime) -> Iterator[_Budgeted]:
    for kind, rows in _rows(now).items():
        for row, id_, organization_id, zone, project_id, percents, *limits in rows:
            scope = Scope(kind, id_, NO_LIMITS)
            for span, period, limit in zip(SPANS, periods_at(now, zone), limits, strict=True):
                # Of nothing there is no part.
                if limit:
                    yield _Budgeted(scope, row, organization_id, project_id, span, period, zone, limit, percents)


def _rows(now: datetime) -> dict[str, Iterable[Any]]:
    """What has budgets that people are to be told of, by the kind of its scope.

    Plain values, since of thousands a few at most are to be told of.
    """
    used = organizations_in_use(now)
    nowhere = Value("")

    def of(rows: QuerySet[Any], home: str, id_: Any, project: Any) -> Iterable[Any]:
        found = rows.filter(HAS_BUDGET, **{f"{home}public_id__in": used}).exclude(alert_percents=[])
        found = found.annotate(scope=id_, within=project)
        names = ("pk", "scope", f"{home}public_id", f"{home}time_zone", "within", ALERTS, *BUDGETS)
        values: Iterable[Any] = found.values_list(*names).iterator(READ_AT_ONCE)
        return values

    def person(place: str, user: str) -> Concat:
        return Concat(f"{place}public_id", Value("."), f"{user}public_id")

    participants = Cohort.objects.filter(project__memberships__role=ProjectRole.PARTICIPANT)
    keys = ApiKey.objects.filter(last_used_at__gte=now - IN_USE)
    return {
        ORGANIZATION: of(Organization.objects.all(), "", F("public_id"), nowhere),
        PROJECT: of(Project.objects.all(), "organization__", F("public_id"), F("public_id")),
        MEMBER: of(Membership.objects.all(), "organization__", person("organization__", "user__"), nowhere),
        PARTICIPANT: of(
            participants,
            "project__organization__",
            person("project__", "project__memberships__membership__user__"),
            F("project__public_id"),
        ),
        KEY: of(keys, "project__organization__", F("public_id"), F("project__public_id")),
        PLAN: _plans(used),
        MODEL: _models(used),
    }


def _plans(used: Sequence[str]) -> Iterable[Any]:
    """Told at the percentages of the organization that is on the plan."""
    budgets = [f"plan__{name}" for name in BUDGETS]
    homes = Organization.objects.filter(~Q(**dict.fromkeys(budgets)), public_id__in=used, plan__isnull=False)
    homes = homes.exclude(alert_percents=[]).annotate(within=Value(""))
    values: Iterable[Any] = homes.values_list(
        "pk", "public_id", "public_id", "time_zone", "within", ALERTS, *budgets
    ).iterator(READ_AT_ONCE)
    return values


def _models(used: Sequence[str]) -> Iterator[Any]:
    models = list(
        HostedModel.objects.filter(HAS_BUDGET)
        .exclude(alert_percents=[])
        .values_list("pk", "public_name", ALERTS, *BUDGETS)
    )
    homes = Organization.objects.filter(public_id__in=used).values_list("public_id", "time_zone") if models else ()
    for home in homes:
        for row, name, *rest in models:
            yield row, name, *home, "", *rest


def _look_at(budgets: Sequence[_Budgeted]) -> None:
    pipeline = servers.durable().pipeline(transaction=False)
    for budget in budgets:
        pipeline.hmget(budget.counter, ["spent", "seeding", "born"])
    near = []
    for budget, (spent, seeding, born) in zip(budgets, pipeline.execute(), strict=True):
        # One that is not known was not used since it was last forgotten, or is being counted.
        if spent is not None and seeding is None and _is_near(budget, int(spent)):
            near.append((budget, int(spent), int(born)))
    told: defaultdict[str, list[BudgetAlert]] = defaultdict(list)
    for alert in BudgetAlert.objects.filter(counter__in=[one.counter for one, *_ in near]):
        told[alert.counter].append(alert)

    def is_told(budget: _Budgeted, percent: int) -> bool:
        return any(alert.covers(percent, budget.limit) for alert in told[budget.counter])

    unfinished = [one for one in near if not is_told(one[0], max(one[0].percents))]
    credits_left = CreditGrant.objects.left_to({one.organization_id for one, *_ in unfinished if one.is_after_credits})
    for budget, spent, born in unfinished:
        credit_nano = credits_left.get(budget.organization_id, 0) if budget.is_after_credits else 0
        left_nano = max(0, budget.limit - spent) + credit_nano
        percent = USED_UP if _is_used_up(budget, left_nano, born) else _highest(budget, spent)
        if percent and not is_told(budget, percent):
            _tell(budget, percent, spent, left_nano, has_credits=credit_nano > 0)


def _highest(budget: _Budgeted, spent: int) -> int:
    """The highest of the chosen percentages that is reached before it is used up; 0 for none."""
    reached = (percent for percent in budget.percents if spent * 100 >= budget.limit * percent)
    return max((percent for percent in reached if percent < USED_UP), default=0)


def _may_refuse(budget: _Budgeted, left_nano: int) -> bool:
    return USED_UP in budget.percents and is_little(left_nano, budget.limit)


def _is_near(budget: _Budgeted, spent: int) -> bool:
    return _highest(budget, spent) > 0 or _may_refuse(budget, budget.limit - spent)


def _is_used_up(budget: _Budgeted, left_nano: int, born: int) -> bool:
    """Whether nothing is left, or so little that calls are refused, where people are to know that."""
    if not _may_refuse(budget, left_nano):
        return False
    if not left_nano:
        return True
    # A counter is born anew whenever its limits are changed.
    since = max(datetime.fromtimestamp(born, budget.period.starts_at.tzinfo), timezone.now() - REFUSED_WITHIN)
    return were_refused(budget.organization_id, budget.project_id, budget.scope, [budget.span], since)


@transaction.atomic
def _tell(budget: _Budgeted, percent: int, spent: int, left_nano: int, *, has_credits: bool) -> None:
    if not is_news(
        budget.counter, percent=percent, limit_nano=budget.limit, used_nano=spent, ends_at=budget.period.ends_at
    ):
        return
    organization = Organization.objects.get(public_id=budget.organization_id)
    # Each is news of its own: it joins no notification that is yet to be read, for then no mail would be sent.
    object_id = new_id("budget")
    standing = Standing.NEARS
    if percent == USED_UP:
        standing = Standing.NEARLY_USED_UP if left_nano else Standing.USED_UP
    for hearers in _hearers(budget, organization, has_credits=has_credits):
        for person in hearers.people:
            notify(
                recipient=person,
                kind=alert_kind(hearers.whose, budget.span, standing),
                object_id=object_id,
                title=hearers.title,
                url=_page_for(person, budget, organization),
                actor=hearers.about,
                facts={
                    "percent": str(percent),
                    "used": display_dollars(spent),
                    "limit": exact_dollars(budget.limit),
                    "left": display_dollars(left_nano),
                    "day": f"{budget.period.ends_at.astimezone(organization.zone):%Y-%m-%d} ({budget.zone})",
                    **hearers.facts,
                },
            )
    announce(BUDGET_ALERT.name, organization=organization, data=_data(budget, percent, spent, organization))


def _hearers(budget: _Budgeted, organization: Organization, *, has_credits: bool) -> Iterator[_Hearers]:
    """Whose budget it is, where it is a person's; who can raise it, but for those of single keys and participants."""
    active = User.objects.filter(is_active=True)
    managers = managers_of(organization)
    match budget.scope.kind:
        case "organization":
            whose = Budget.AFTER_CREDITS if has_credits else Budget.ORGANIZATION
            yield _Hearers(whose, managers, organization.display_name)
        case "plan":
            plan = Plan.objects.get(organizations=organization)
            facts = {"organization": organization.display_name}
            yield _Hearers(Budget.PLAN, managers, plan.name, facts=facts)
        case "project":
            project = Project.objects.get(pk=budget.row)
            yield _Hearers(Budget.PROJECT, _who_has(Right.MANAGE_PROJECT, project), project.display_name)
        case "member":
            member = Membership.objects.select_related("user").get(pk=budget.row).user
            yield _Hearers(Budget.OWN, active.filter(pk=member.pk), organization.display_name)
            yield _Hearers(Budget.MEMBER, managers, organization.display_name, about=member)
        case "participant":
            project = Project.objects.get(public_id=budget.project_id)
            participants = active.filter(public_id=budget.scope.id.rpartition(".")[2])
            yield _Hearers(Budget.COHORT, participants, project.display_name)
        case "key":
            key = ApiKey.objects.select_related("project__organization", "created_by").get(pk=budget.row)
            yield _Hearers(Budget.KEY, _keepers(key), key.name)
        case "model":
            staff = active.filter(is_staff=True)
            facts = {"organization": organization.display_name}
            yield _Hearers(Budget.MODEL, staff, budget.scope.id, facts=facts)


def _keepers(key: ApiKey) -> Iterable[User]:
    """Who made a key, while they may still see to it; else those who manage the keys of its project."""
    assert key.project is not None  # noqa: S101 - only keys of projects make calls
    maker = key.created_by if key.kind == KeyKind.PROJECT else None
    if maker is not None and maker.is_active and Right.MAKE_KEYS in rights_in(maker, key.project):
        return [maker]
    return _who_has(Right.MANAGE_KEYS, key.project)


def _who_has(right: Right, project: Project) -> QuerySet[User]:
    memberships = Membership.objects.filter(organization=project.organization_id)
    return User.objects.filter(
        pk__in=memberships.filter(has_right(right, user="user", project=project)).values("user"), is_active=True
    )


def _page_for(person: User, budget: _Budgeted, organization: Organization) -> str:
    """What the budget counts, as this person may see it."""
    if budget.scope.kind == MODEL:
        # Of organizations that they are not in, staff see no calls.
        return reverse("catalog:model_limits", args=[budget.scope.id])
    project_id = budget.project_id or _first_id(Project.objects.for_member(person).filter(organization=organization))
    if not project_id:
        return reverse("accounts:organization", args=[organization.public_id])
    return usage_page(budget.scope, project_id=project_id, window=WINDOWS[budget.span])


def _data(budget: _Budgeted, percent: int, spent: int, organization: Organization) -> dict[str, Any]:
    scope = budget.scope
    project_id = budget.project_id or _first_id(organization.projects.order_by("pk"))
    return {
        "budget": "cohort" if scope.kind == PARTICIPANT else scope.kind,
        "id": scope.id.rpartition(".")[2] if scope.kind in {MEMBER, PARTICIPANT} else scope.id,
        "project_id": budget.project_id or None,
        "span": budget.span,
        "percent": percent,
        "used_nano_dollars": spent,
        "limit_nano_dollars": budget.limit,
        "resets_at": budget.period.ends_at.isoformat(timespec="seconds"),
        "url": settings.PUBLIC_URL + usage_page(scope, project_id=project_id, window=WINDOWS[budget.span]),
    }


def _first_id(projects: QuerySet[Project]) -> str:
    return projects.values_list("public_id", flat=True).first() or ""
