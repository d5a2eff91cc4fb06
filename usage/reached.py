"""Programs are told when calls are refused because little is left of a budget, once for each of its periods."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef

from accounts.models import Cohort, Membership, Project
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common import redis as servers
from common.errors import BUDGET_CODES
from common.limits import NO_LIMITS, Limited
from usage.counters import Counter, base_of
from usage.events import Event
from usage.kinds import BUDGET_REACHED
from usage.models import CreditGrant
from usage.nearing import is_little
from usage.periods import Period, periods_at
from usage.policies import KEY, MEMBER, MODEL, ORGANIZATION, PARTICIPANT, PLAN, PROJECT, Scope
from webhooks.models import Endpoint, Message
from webhooks.services import announce


@dataclass(frozen=True, slots=True)
class _End:
    """A call of a key met the end of a budget."""

    key: ApiKey
    project: Project
    of: str
    span: str
    model: str
    at: datetime

    @property
    def once(self) -> str:
        """Names the budget and the period that it is of."""
        if self.of in {KEY, PARTICIPANT} and self.span == "monthly":
            # As it was before there were others.
            return f"budget:{self.budget}:{self.key.public_id}:{self.month}"
        return f"budget:{self.of}:{self._whose}:{self._period.name}"

    @property
    def budget(self) -> str:
        """What programs are told that it is of."""
        return "cohort" if self.of == PARTICIPANT else self.of

    @property
    def month(self) -> str:
        return f"{self.at.astimezone(self.project.organization.zone):%Y-%m}"

    @property
    def counter(self) -> str:
        """The name of what Redis knows of the budget in its period."""
        home = {MEMBER: self.project.organization.public_id, PARTICIPANT: self.project.public_id}.get(self.of)
        maker = self.key.created_by
        scope = Scope(self.of, f"{home}.{maker.public_id}" if home and maker else self._whose, NO_LIMITS)
        return base_of(self.project.organization.public_id) + Counter(scope, self._period, None).name

    @property
    def limit(self) -> int | None:
        """What it allows now; None when it was lifted since."""
        limited = self._limited()
        return getattr(limited, f"{self.span}_budget_nano") if limited else None

    @property
    def _period(self) -> Period:
        periods = periods_at(self.at, self.project.organization.time_zone)
        return {"daily": periods.day, "weekly": periods.week, "monthly": periods.month}[self.span]

    @property
    def _whose(self) -> str:
        whose = {
            ORGANIZATION: self.project.organization.public_id,
            PLAN: self.project.organization.public_id,
            PROJECT: self.project.public_id,
            MODEL: self.model,
            MEMBER: self.key.created_by.public_id if self.key.created_by else "",
        }
        return whose.get(self.of, self.key.public_id)

    def _limited(self) -> Limited | None:
        maker, organization = self.key.created_by, self.project.organization
        match self.of:
            case "organization":
                return organization
            case "plan":
                return organization.plan
            case "project":
                return self.project
            case "model":
                return HostedModel.objects.filter(public_name=self.model).first()
            case "member":
                return Membership.objects.filter(organization=organization, user=maker).first() if maker else None
            case "participant":
                return Cohort.objects.allowance_of(maker, self.project) if maker else None
        return self.key


def tell_of_budgets(events: Sequence[Event]) -> None:
    """Announce once for each of its periods that a budget is used up, or as good as that.

    Where nobody listens it costs one query, and none at best. A refused call in every batch must not have every batch
    write: what was told is looked up first.
    """
    refused = [event for event in events if event.error_code in BUDGET_CODES]
    if not refused:
        return
    listening = Endpoint.objects.filter(organization=OuterRef("project__organization"), disabled_at=None)
    keys = {
        key.public_id: key
        for key in ApiKey.objects.filter(Exists(listening), public_id__in={event.key_id for event in refused})
        .select_related("project__organization", "created_by")
        .order_by("pk")
    }
    ends = {end.once: end for event in refused if (end := _end_of(event, keys.get(event.key_id)))}
    if not ends:
        return
    organizations = {end.project.organization for end in ends.values()}
    told = set(
        Message.objects.filter(organization__in=organizations, once__in=list(ends)).values_list("once", flat=True)
    )
    for end, limit_nano in _with_little_left([ends[once] for once in sorted(ends.keys() - told)]):
        announce(
            BUDGET_REACHED.name,
            organization=end.project.organization,
            data={
                "key_id": end.key.public_id,
                "project_id": end.project.public_id,
                "month": end.month,
                "budget": end.budget,
                "span": end.span,
                "limit_nano_dollars": limit_nano,
            },
            once=end.once,
        )


def _with_little_left(ends: Sequence[_End]) -> Iterator[tuple[_End, int | None]]:
    """Those of budgets that are not known to have more left than a call commonly needs, each with what it allows."""
    pipeline = servers.durable().pipeline(transaction=False)
    for end in ends:
        pipeline.hmget(end.counter, ["spent", "seeding"])
    credits_left = CreditGrant.objects.left_to(
        {end.project.organization.public_id for end in ends if end.of == ORGANIZATION}
    )
    for end, (spent, seeding) in zip(ends, pipeline.execute(), strict=True):
        limit_nano = end.limit
        if limit_nano and spent is not None and seeding is None:
            credit_nano = credits_left.get(end.project.organization.public_id, 0) if end.of == ORGANIZATION else 0
            if not is_little(max(0, limit_nano - int(spent)) + credit_nano, limit_nano):
                continue
        yield end, limit_nano


def _end_of(event: Event, key: ApiKey | None) -> _End | None:
    budget = BUDGET_CODES.get(event.error_code)
    if key is None or key.project is None or budget is None:
        return None
    return _End(key, key.project, *budget, model=event.model, at=event.at)
